"""TUM RGB-D: images and depth with time stamps of their own, paired here.

Source: Sturm et al., "A Benchmark for the Evaluation of RGB-D SLAM Systems", IROS 2012, and its pages "File
Formats" and "Intrinsic Camera Calibration of the Kinect". The lens of freiburg1 and 2 distorts a little:
a pinhole camera leaves that out.
"""

from __future__ import annotations

import re

from cortexia_video.datasets.dataset import RGBDDataset
from cortexia_video.datasets.dataset_info import DatasetInfo
from cortexia_video.datasets.readers._association import associate
from cortexia_video.datasets.readers._calibration import Calibration
from cortexia_video.datasets.readers._pair import Pair, read_image_file, read_pair
from cortexia_video.errors import InputError, in_words
from cortexia_video.storage.paths import AnyPath, find_inside, follow, is_inside, name_inside, read_named_text

_CAMERAS = {
    "1": Calibration(517.306408, 516.469215, 318.643040, 255.313989),
    "2": Calibration(520.908620, 521.007327, 325.141442, 249.701764),
    "3": Calibration(535.4, 539.2, 320.1, 247.6),
}


def _open(
    root: AnyPath, split: str | None, *, max_difference_s: float = 0.02, allow_outside: bool = False
) -> RGBDDataset:
    """Pair what is at most `max_difference_s` apart; root: a sequence, or a folder of sequences."""
    within, pairs = None if allow_outside else root, list[Pair]()
    for sequence in (path.parent for path in find_inside(root, "**/rgb.txt")):
        found = re.search(r"freiburg([123])", sequence.resolve().name)
        camera = _CAMERAS[found[1]] if found else None
        lists = []  # of each the time stamps and names, ascending
        try:
            for path in (sequence / "rgb.txt", sequence / "depth.txt"):
                with in_words(f"{path} is no list of time stamps and names", "get the sequence again"):
                    text = read_named_text(path)
                    lines = [line.split() for line in text.splitlines() if not line.startswith("#")]
                    lists.append(sorted((float(line[0]), line[1]) for line in lines if line))
        except InputError as error:  # it costs its sequence
            key = name_inside(sequence / "rgb.txt", root)
            pairs.append(Pair(key, sequence, sequence, "tum", problem=error))
            continue
        images, depths = lists
        times = [time for time, _ in images], [time for time, _ in depths]
        for i, j in associate(*times, max_difference_s):
            written = images[i][1]
            image = follow(sequence, written)
            key = name_inside(image, root) if is_inside(image, root) else written
            depth = follow(sequence, depths[j][1])
            pairs.append(Pair(key, image, depth, "tum", "tum", camera=camera, within=within))
    problems = [pair.problem for pair in pairs if pair.problem]
    if problems and len(problems) == len(pairs):
        raise problems[0]
    return RGBDDataset("tum", pairs, read_pair, read_file=read_image_file)


INFO = DatasetInfo(
    name="tum",
    summary="TUM RGB-D: Kinect sequences indoors, metres",
    licence="CC BY 4.0",
    where="https://cvg.cit.tum.de/data/datasets/rgbd-dataset/download",
    layout="rgbd_dataset_freiburg1_desk with rgb.txt, depth.txt, rgb/ and depth/; or a folder of such",
    open=_open,
    marks=("**/rgb.txt", "**/depth.txt"),
)
