"""NYU Depth V2, the 1449 labelled images. Silberman et al., ECCV 2012.

Depth is the sensor's, not the filled one. MATLAB's arrays come out of HDF5 with their axes the other way
round: (N, 3, W, H) and (N, W, H).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cortexia_video.datasets.dataset import RGBDDataset
from cortexia_video.datasets.dataset_info import DatasetInfo
from cortexia_video.datasets.eval_region import EIGEN_CROP, Region
from cortexia_video.datasets.readers._calibration import Calibration
from cortexia_video.datasets.readers._matlab import read_mat
from cortexia_video.datasets.readers._pair import make_sample
from cortexia_video.depth_map import DepthMap
from cortexia_video.formats.hdf5 import count, read_array
from cortexia_video.rgbd_sample import RGBDSample
from cortexia_video.storage.paths import AnyPath

NYU_CAMERA = Calibration(
    518.857901, 519.469611, 325.582449, 253.736166
)  # of its toolbox, of the colour camera
NYU_EVALUATION = Region((1e-3, 10.0), EIGEN_CROP)
_FILE, _LIST = "nyu_depth_v2_labeled.mat", "splits.mat"
_SPLITS = {"train": "trainNdxs", "test": "testNdxs"}


@dataclass(frozen=True, slots=True)
class _Labeled:
    key: str
    path: AnyPath
    index: int


def _open(root: AnyPath, split: str | None) -> RGBDDataset:
    path = root / _FILE if root.is_dir() else root
    if not path.exists():
        return RGBDDataset("nyu-labeled", (), _read)
    # images of a split, counted from 0
    numbers = (
        range(count(path, "images"))
        if split is None
        else [int(number) - 1 for number in read_mat(path.parent / _LIST, _SPLITS[split], np.ndarray).flat]
    )
    entries = [_Labeled(f"{number + 1:05d}", path, number) for number in numbers]
    return RGBDDataset("nyu-labeled", entries, _read, evaluation=NYU_EVALUATION)


def _read(entry: _Labeled) -> RGBDSample:
    image = read_array(entry.path, "images", entry.index)
    depth = read_array(entry.path, "rawDepths", entry.index).T.astype(np.float32)
    depth[depth <= 0] = np.nan
    pixels = np.ascontiguousarray(image.transpose(2, 1, 0))
    metres = DepthMap(depth, "metric")
    return make_sample(entry.key, pixels, metres, origin="nyu", camera=NYU_CAMERA)


INFO = DatasetInfo(
    name="nyu-labeled",
    summary="NYU Depth V2, 1449 labelled images: rooms, Kinect, metres",
    licence="none stated: research",
    where="https://cs.nyu.edu/~fergus/datasets/nyu_depth_v2.html",
    layout=f"{_FILE} (2.8 GB); for splits {_LIST}, too",
    open=_open,
    splits=tuple(_SPLITS),
    marks=("nyu_depth_v2_labeled.mat",),
)
