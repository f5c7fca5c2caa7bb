"""The table of datasets: a name to its row. A new one is one file and one line here."""

from __future__ import annotations

import difflib
import inspect
import os
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from cortexia_video.datasets.dataset import AnyDataset, RGBDDataset
from cortexia_video.datasets.dataset_info import DatasetInfo
from cortexia_video.datasets.readers import (
    diode,
    hypersim,
    kitti,
    middlebury,
    nyu_labeled,
    parquet,
    rgbd_folder,
    scannet,
    seven_scenes,
    sun_rgbd,
    tum,
    webdataset,
)
from cortexia_video.datasets.readers import huggingface_hub as hub
from cortexia_video.datasets.readers import paired_files as patterns
from cortexia_video.errors import InputError
from cortexia_video.storage.listing import Listing, is_pattern, remember_listings, take_listing
from cortexia_video.storage.paths import AnyPath, is_remote, require_object, to_path
from cortexia_video.storage.remote_path import RemotePath
from cortexia_video.storage.retries import RemoteError

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
_LOOKED_AT = 10_000  # objects behind an address
DATASETS: dict[str, DatasetInfo] = {info.name: info for info in _ROWS}


def open_dataset(
    name: str,
    root: str | os.PathLike[str] | RemotePath,
    *,
    split: str | None = None,
    allow_unregistered: bool = False,
    allow_outside: bool = False,
    **options: Any,
) -> AnyDataset:
    """Return the samples of a dataset in a folder, read when they are asked for.

    name: a row of `DATASETS`. root: the folder, here or behind an address (`s3://bucket/set`); for `hub` and
    `nyu` a folder here, or org/name. split: one of the row's.
    allow_unregistered: also depth that does not lie on its image. allow_outside: read also what a file of
    the set, such as set.json, names outside of the set's folder, links followed.
    options: those of the row's reader, such as `max_difference_s` of tum, `streaming` of hub, `images` and
    `depths` of pairs.

    Raises `InputError` for an unknown name, split or option, where the folder does not hold the dataset
    (with where to get it), and for depth that is not registered; `MissingExtraError`.
    """
    info = find_info(name)
    if split is not None and info.splits is not None and split not in info.splits:
        offered = ", ".join(info.splits) or "none: leave it out"
        raise InputError(f"{info.name} has no split {split!r}: it has {offered}")
    known = inspect.signature(info.open).parameters
    unknown = [each for each in options if each not in known]
    if unknown:
        offered = ", ".join(list(known)[2:]) or "none"
        raise InputError(f"{name} has no option {unknown[0]!r}: it has {offered}")
    place = to_path(root)
    if "allow_outside" in known:  # the others read what they find in the folder
        options["allow_outside"] = allow_outside
    try:
        with remember_listings():
            dataset = info.open(place, split, **options)
    except RemoteError as error:
        raise InputError(f"cannot read {place}: {error.strerror}") from error
    if isinstance(dataset, RGBDDataset) and not dataset.entries:
        if isinstance(place, RemotePath):
            require_object(place)
        raise InputError(info.describe_missing(place) + (f" (split {split})" if split else ""))
    if not dataset.registered and not allow_unregistered:
        raise InputError(
            f"the depth of {place} is not registered to its images: edges lie elsewhere; register it, or "
            "open it with allow_unregistered=True (--allow-unregistered)"
        )
    return replace(dataset, root=str(place))


def find_info(name: str) -> DatasetInfo:
    """Return a row of the table; `InputError` where there is none."""
    if name not in DATASETS:
        raise InputError(f"unknown dataset {name!r}: {propose(name)}use one of {', '.join(DATASETS)}")
    return DATASETS[name]


def propose(name: str) -> str:
    """Ask whether the dataset of the most similar name is meant; nothing where none is similar."""
    near = difflib.get_close_matches(name, DATASETS, n=1)
    return f"did you mean {near[0]}? " if near else ""


def recognise(root: str | os.PathLike[str] | RemotePath) -> str:
    """Return which dataset a folder holds, by what is in it; `InputError` where that is none.

    Behind an address it looks at the first 10,000 objects.
    """
    place = to_path(root)
    try:
        names = _list_fitting(place)
    except RemoteError as error:
        raise InputError(f"cannot read {place}: {error.strerror}") from error
    if not names:
        some = isinstance(place, RemotePath) and place.can_list
        seen = f" (of its objects the first {_LOOKED_AT:,} were looked at)" if some else ""
        raise InputError(
            f"no dataset that is known lies in {place}{seen}: name it, one of {', '.join(DATASETS)}; "
            "images and depth in folders of your own are `pairs`"
        )
    return names[0]


def _list_fitting(place: AnyPath) -> list[str]:
    """Return the datasets whose marks a file or a folder has."""
    if place.is_file():
        names = [info.name for info in _ROWS if any(place.match(mark) for mark in info.marks)]
        if names or not is_remote(place):
            return names  # a server of https answers for folders, too
    has = _look_into(place)
    return [info.name for info in _ROWS if info.marks and all(map(has, info.marks))]


def _look_into(root: AnyPath) -> Callable[[str], bool]:
    """Return what says whether something in a folder fits a mark; behind an address by one listing."""
    if not isinstance(root, RemotePath):
        return lambda mark: next(root.glob(mark), None) is not None
    beginning = take_listing(root, _LOOKED_AT) if root.can_list else Listing((), whole=False)

    def has(mark: str) -> bool:
        if beginning.whole or is_pattern(mark):
            return bool(beginning.match(mark))
        return (root / mark).exists()

    return has
