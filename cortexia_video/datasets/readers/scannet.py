"""ScanNet: rooms by a structured-light sensor. Dai et al., CVPR 2017.

Images are larger than depth (1296 x 968, 640 x 480), of the same view: they are reduced to its size.
"""

from __future__ import annotations

from cortexia_video.datasets.dataset import RGBDDataset
from cortexia_video.datasets.dataset_info import DatasetInfo
from cortexia_video.datasets.eval_region import Region
from cortexia_video.datasets.readers._calibration import try_matrix
from cortexia_video.datasets.readers._pair import Pair, list_images, read_image_file, read_pair
from cortexia_video.errors import in_words
from cortexia_video.storage.paths import AnyPath, find_inside, name_inside, read_named_text

_SPLITS = ("train", "val", "test")
_CAMERAS = ("intrinsic/intrinsic_depth.txt", "intrinsics_depth.txt")


def _open(root: AnyPath, split: str | None) -> RGBDDataset:
    scenes = sorted(path.parent for path in find_inside(root, "**/scene*/color"))
    if split is not None:
        path = root / f"scannetv2_{split}.txt"
        with in_words(f"no list of the scenes of {split}", f"put {path.name} of ScanNet in {root}"):
            wanted = frozenset(read_named_text(path).split())
        scenes = [scene for scene in scenes if scene.name in wanted]
    pairs: list[Pair] = []
    for scene in scenes:
        intrinsics = next((scene / name for name in _CAMERAS if (scene / name).exists()), None)
        camera = try_matrix(intrinsics) if intrinsics else None
        # 9.jpg before 10.jpg
        images = sorted(list_images(scene / "color"), key=lambda path: (len(path.stem), path.stem))
        pairs += (
            Pair(
                key=name_inside(image, root),
                image=image,
                depth=scene / "depth" / f"{image.stem}.png",
                origin="scannet",
                convention="scannet",
                camera=camera,
                camera_size="depth",
                fits_depth=True,
            )
            for image in images
        )
    region = Region((1e-3, 10.0))
    return RGBDDataset("scannet", pairs, read_pair, evaluation=region, read_file=read_image_file)


INFO = DatasetInfo(
    name="scannet",
    summary="ScanNet: rooms, structured light, metres",
    licence="ScanNet terms of use: research",
    where="http://www.scan-net.org (after signing; .sens files by its SensReader, or scannet_frames_25k)",
    layout="scene0000_00/ with color/, depth/, intrinsic/; for splits scannetv2_train.txt and so on",
    open=_open,
    splits=_SPLITS,
    marks=("**/scene*_*/color", "**/scene*_*/depth"),
)
