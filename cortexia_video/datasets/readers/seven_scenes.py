"""7-Scenes: Kinect sequences. Shotton et al., CVPR 2013. Its depth is not registered to its images."""

from __future__ import annotations

import re
from itertools import groupby

from cortexia_video.datasets.dataset import RGBDDataset
from cortexia_video.datasets.dataset_info import DatasetInfo
from cortexia_video.datasets.readers._pair import Pair, read_pair
from cortexia_video.errors import InputError, in_words
from cortexia_video.storage.paths import AnyPath, find_inside, name_inside, read_named_text

_LISTS = {"train": "TrainSplit.txt", "test": "TestSplit.txt"}


def _open(root: AnyPath, split: str | None) -> RGBDDataset:
    sequences = sorted({path.parent for path in find_inside(root, "**/seq-*/frame-*.color.png")})
    pairs = []
    for scene, parts in groupby(sequences, lambda sequence: sequence.parent):
        wanted = None
        if split:
            path = scene / _LISTS[split]
            try:
                with in_words(f"no {path}", "unpack the scene's archive again, or open it without split"):
                    numbers = re.findall(r"sequence\s*(\d+)", read_named_text(path))
            except InputError as error:
                pairs.append(Pair(name_inside(path, root), path, path, "7scenes", problem=error))
                continue
            wanted = {f"seq-{int(number):02d}" for number in numbers}
        pairs += (
            Pair(
                key=name_inside(image, root),
                image=image,
                depth=image.with_name(image.name.replace(".color.", ".depth.")),
                origin="7scenes",
                convention="7scenes",
            )
            for sequence in parts
            if wanted is None or sequence.name in wanted
            for image in find_inside(sequence, "frame-*.color.png")
        )
    return RGBDDataset("7scenes", pairs, read_pair, registered=False)


INFO = DatasetInfo(
    name="7scenes",
    summary="7-Scenes: Kinect sequences, metres, depth of a camera beside the image's",
    licence="Microsoft: research, not commercial",
    where="https://www.microsoft.com/en-us/research/project/rgb-d-dataset-7-scenes/",
    layout="chess/seq-01/frame-000000.color.png and .depth.png; for splits chess/TrainSplit.txt",
    open=_open,
    splits=tuple(_LISTS),
    marks=("**/seq-*/frame-*.color.png",),
)
