"""DIODE: indoors and outdoors by laser. Vasiljevic et al., arXiv:1908.00463.

Whether depth is along the axis or the ray it does not say: taken as along the axis, as evaluations do.
"""

from __future__ import annotations

from dataclasses import dataclass

from cortexia_video.datasets.dataset import RGBDDataset
from cortexia_video.datasets.dataset_info import DatasetInfo
from cortexia_video.datasets.readers._pair import make_sample, read_image
from cortexia_video.errors import DepthFileError
from cortexia_video.formats.decode_depth import decode_depth, decode_stored, read_file
from cortexia_video.pinhole import Pinhole
from cortexia_video.rgbd_sample import RGBDSample
from cortexia_video.storage.paths import AnyPath, find_inside, name_inside

_SPLITS = ("train", "val")
_CAMERA = Pinhole(886.81, 927.06, 512.0, 384.0, 1024, 768)  # of a computed view: its axis meets the middle


@dataclass(frozen=True, slots=True)
class _Scan:
    key: str
    image: AnyPath

    def beside(self, end: str) -> AnyPath:
        return self.image.with_name(self.image.stem + end)


def _open(root: AnyPath, split: str | None) -> RGBDDataset:
    images = [
        path for each in ((split,) if split else _SPLITS) for path in find_inside(root / each, "**/*.png")
    ]
    scans = [_Scan(name_inside(path, root), path) for path in images]
    return RGBDDataset("diode", scans, _read)


def _read(scan: _Scan) -> RGBDSample:
    image = read_image(scan.image, scan.key)
    path = scan.beside("_depth.npy")
    depth = decode_depth(read_file(path), str(path), convention="metres")
    path = scan.beside("_depth_mask.npy")
    mask = decode_stored(read_file(path), str(path)).values
    if mask.dtype.kind not in "bfiu":
        raise DepthFileError(f"{path}: it holds {mask.dtype}, not numbers: copy it again")
    height, width = depth.values.shape
    camera = _CAMERA if (width, height) == (_CAMERA.width, _CAMERA.height) else None
    return make_sample(scan.key, image, depth, origin="diode", camera=camera, mask=mask > 0)


INFO = DatasetInfo(
    name="diode",
    summary="DIODE: indoors and outdoors, dense laser depth in metres",
    licence="MIT",
    where="https://diode-dataset.org",
    layout="train/ and val/ with indoors/scene_00019/scan_00183/*.png, *_depth.npy and *_depth_mask.npy",
    open=_open,
    splits=_SPLITS,
    marks=("**/scan_*/*_depth_mask.npy",),
)
