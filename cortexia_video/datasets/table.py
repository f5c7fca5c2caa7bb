"""The table of data sets: a name to its row. A new one is one file and one line here."""

from __future__ import annotations

import difflib
import inspect
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

from cortexia_video.datasets import (
    diode,
    hub,
    hypersim,
    kitti,
    middlebury,
    nyu_labeled,
    parquet,
    patterns,
    rgbd_folder,
    scannet,
    seven_scenes,
    sun_rgbd,
    tum,
    webdataset,
)
from cortexia_video.datasets.dataset import AnyDataset, RGBDDataset
from cortexia_video.datasets.info import DatasetInfo
from cortexia_video.errors import InputError

_ROWS = (
    rgbd_folder.INFO,
    patterns.INFO,
    parquet.INFO,
    webdataset.INFO,
    hub.HUB,
    hub.NYU,
    nyu_labeled.INFO,
    kitti.INFO,
    tum.INFO,
    sun_rgbd.INFO,
    scannet.INFO,
    seven_scenes.INFO,
    diode.INFO,
    middlebury.INFO,
    hypersim.INFO,
)
DATASETS: dict[str, DatasetInfo] = {info.name: info for info in _ROWS}


def open_dataset(
    name: str,
    root: str | os.PathLike[str],
    *,
    split: str | None = None,
    allow_unregistered: bool = False,
    **options: Any,
) -> AnyDataset:
    """Give the samples of a data set in a folder, read when they are asked for.

    name: a row of `DATASETS`. root: the folder (for `hub` and `nyu` also org/name). split: one of the row's.
    allow_unregistered: also depth that does not lie on its picture. options: those of the row's reader, such
    as `max_difference_s` of tum, `streaming` of hub, `images` and `depths` of pairs.

    Raises `InputError` for an unknown name, split or option, where the folder does not hold the data set
    (with where to get it), and for depth that is not registered; `MissingExtraError`.
    """
    info = find_info(name)
    _require_split(info, split)
    known = inspect.signature(info.open).parameters
    unknown = [each for each in options if each not in known]
    if unknown:
        offered = ", ".join(list(known)[2:]) or "none"
        raise InputError(f"{name} has no option {unknown[0]!r}: it has {offered}")
    dataset = info.open(Path(root), split, **options)
    if isinstance(dataset, RGBDDataset) and not dataset.entries:
        raise InputError(info.describe_missing(os.fspath(root)) + (f" (split {split})" if split else ""))
    if not dataset.registered and not allow_unregistered:
        raise InputError(
            f"the depth of {root} is not registered to its pictures: edges lie elsewhere; register it, or "
            "open it with allow_unregistered=True (--allow-unregistered)"
        )
    return replace(dataset, root=os.fspath(root))


def find_info(name: str) -> DatasetInfo:
    """Give a row of the table; `InputError` where there is none."""
    if name not in DATASETS:
        raise InputError(f"unknown data set {name!r}: {propose(name)}use one of {', '.join(DATASETS)}")
    return DATASETS[name]


def propose(name: str) -> str:
    """Ask whether the data set of the most similar name is meant; nothing where none is similar."""
    near = difflib.get_close_matches(name, DATASETS, n=1)
    return f"did you mean {near[0]}? " if near else ""


def recognise(root: str | os.PathLike[str]) -> str:
    """Say which data set a folder holds, by what is in it; `InputError` where that is none."""
    path = Path(root)
    if path.is_file():
        names = [info.name for info in _ROWS if any(path.match(mark) for mark in info.marks)]
    else:
        names = [info.name for info in _ROWS if info.marks and all(_has(path, mark) for mark in info.marks)]
    if not names:
        raise InputError(
            f"no data set that is known lies in {root}: name it, one of {', '.join(DATASETS)}; pictures and "
            "depth in folders of your own are `pairs`"
        )
    return names[0]


def _has(root: Path, mark: str) -> bool:
    return next(root.glob(mark), None) is not None


def _require_split(info: DatasetInfo, split: str | None) -> None:
    if split is not None and info.splits is not None and split not in info.splits:
        offered = ", ".join(info.splits) or "none: leave it out"
        raise InputError(f"{info.name} has no split {split!r}: it has {offered}")
