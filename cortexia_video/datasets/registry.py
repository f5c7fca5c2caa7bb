"""The table of datasets: a name to its row. A new one is one file and one line here."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Sequence
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
from cortexia_video.datasets.row_schema import AssumedMeaning
from cortexia_video.depth_map import DepthKind
from cortexia_video.errors import InputError, in_words, not_known, propose
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
_LOOKED_AT = 10_000  # objects at a URL
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
    """Open a dataset in a folder; its samples are read when they are asked for.

    Args:
        name: Of the dataset's layout: rgbd, tum, kitti, scannet, hub ... (`cortexia dataset info` lists
            them).
        root: The folder, a path or a URL (`s3://bucket/set`); for `hub` and `nyu` a folder, or org/name.
        split: One of the dataset's.
        allow_unregistered: Open also depth that does not lie on its image.
        allow_outside: Read also what a file of the dataset, such as set.json, names outside of its folder,
            links followed.
        **options: Those of the layout's reader, such as `max_difference_s` of tum, `streaming` of hub,
            `images` and `depths` of pairs; `columns=(image, depth)` stands for the two options of these names.

    Returns:
        An `RGBDDataset`, or an `RGBDStream` where nobody knows the number of samples.

    Raises:
        InputError: The name, split or option is not known, the folder does not hold the dataset (the message
            says where to get it), or its depth is not registered.
        MissingExtraError: The layout needs a package that is not installed.

    Example:
        >>> len(cx.open_dataset("tum", "data/tum", max_difference_s=0.02))  # doctest: +SKIP
        573
    """
    info = find_info(name)
    if split is not None and info.splits is not None and split not in info.splits:
        offered = ", ".join(info.splits) or "none: leave it out"
        raise InputError(f"{info.name} has no split {split!r}: it has {offered}")
    known = [*inspect.signature(info.open).parameters][2:]
    means = "meaning" in known
    if means:
        known += AssumedMeaning._fields
        known.remove("meaning")
    if "columns" in options and "image" in known:
        options["image"], options["depth"] = options.pop("columns")
    unknown = [each for each in options if each not in known]
    if unknown:
        offered = ", ".join(known) or "none"
        raise InputError(f"{name} has no option {unknown[0]!r}: it has {offered}")
    if means:
        options["meaning"] = AssumedMeaning(
            **{name: options.pop(name) for name in AssumedMeaning._fields if name in options}
        )
    place = to_path(root)
    if "allow_outside" in known:  # the others read what they find in the folder
        options["allow_outside"] = allow_outside
    with in_words(f"cannot read {place}", of=RemoteError), remember_listings():
        dataset = info.open(place, split, **options)
    if isinstance(dataset, RGBDDataset) and not dataset.entries:
        if isinstance(place, RemotePath):
            require_object(place)
        with remember_listings():
            whole = None if split is None else info.open(place, None, **options)
        if isinstance(whole, RGBDDataset) and whole.entries:
            raise InputError(
                f"{place} holds {info.name}, but nothing of its split {split!r}: leave `split` out, or get "
                f"what belongs to it from {info.where}"
            )
        raise InputError(info.describe_missing(place))
    if not dataset.registered and not allow_unregistered:
        raise InputError(
            f"the depth of {place} is not registered to its images: edges lie elsewhere; register it, or "
            "open it with `allow_unregistered=True`"
        )
    return replace(dataset, root=str(place))


def open_folder(
    root: str | os.PathLike[str] | RemotePath,
    name: str | None = None,
    *,
    split: str | None = None,
    allow_unregistered: bool = False,
    allow_outside: bool = False,
    **options: Any,
) -> AnyDataset:
    """Open the dataset in a folder: that of the name, by default what its files show it to be.

    Args:
        root: The folder, a path or a URL.
        name: Of its layout, as `open_dataset` takes it.
        split: One of the dataset's.
        allow_unregistered: Open also depth that does not lie on its image.
        allow_outside: Read also what a file of the dataset names outside of its folder.
        **options: Those of the layout's reader, as `open_dataset` takes them.

    Returns:
        An `RGBDDataset`, or an `RGBDStream` where nobody knows the number of samples.

    Raises:
        InputError: There is no such folder, or what `open_dataset` raises it for.
        MissingExtraError: The layout needs a package that is not installed.
    """
    place = to_path(root)
    if isinstance(place, RemotePath):
        require_object(place)
    elif not place.exists():
        raise InputError(
            f"no such folder: {place}; {propose(str(place), DATASETS)}the names are {', '.join(DATASETS)}"
        )
    allowed = {"allow_unregistered": allow_unregistered, "allow_outside": allow_outside}
    with remember_listings():
        return open_dataset(name or recognise(place), place, split=split, **allowed, **options)


def describe_reading(
    *,
    images: str | None = None,
    depths: str | None = None,
    columns: tuple[str, str] | None = None,
    convention: str | None = None,
    kind: DepthKind | None = None,
    scale: float | None = None,
    unknown: Sequence[float] = (),
    camera: tuple[float, float, float, float] | None = None,
    sparse: bool = False,
    same_view: bool = False,
    revision: str | None = None,
) -> dict[str, Any]:
    """Return those options of readers that are given, for `open_dataset`; which it takes depends on the layout.

    Args:
        images: Of a folder of pairs: pattern of the images, as "rgb/*.png".
        depths: And of their depth, as "depth/*.png".
        columns: Of hub, nyu or parquet: columns of image and depth; of webdataset: how the names of the two end.
        convention: What depth means: tum, kitti, nyu, scannet, 7scenes, sunrgbd, metres and so on.
        kind: Or what its values mean.
        scale: And what whole numbers are multiplied by: 0.001 for millimetres.
        unknown: A value that stands for unknown, besides 0 in metres; several times for several.
        camera: Of pairs: fx, fy, cx, cy of every image, in pixels.
        sparse: Of pairs: depth is known at scattered pixels only, as of a laser.
        same_view: Of pairs: depth that is smaller than its image shows the same view; the image is reduced.
        revision: Of the hub: branch of the dataset.
    """
    return {name: value for name, value in locals().items() if value not in (None, False, ())}


def find_info(name: str) -> DatasetInfo:
    """Return a row of the table; `InputError` where there is none."""
    if name not in DATASETS:
        raise InputError(not_known("dataset", name, DATASETS))
    return DATASETS[name]


def recognise(root: str | os.PathLike[str] | RemotePath) -> str:
    """Return which dataset a folder holds, by what is in it; of a URL by the first 10,000 objects.

    Args:
        root: The folder, a path or a URL.

    Returns:
        A name that `open_dataset` takes.

    Raises:
        InputError: It holds none that is known.
    """
    place = to_path(root)
    names: list[str] = []
    with in_words(f"cannot read {place}", of=RemoteError):
        if place.is_file():
            names = [info.name for info in _ROWS if any(place.match(mark) for mark in info.marks)]
        if not names and (is_remote(place) or not place.is_file()):  # https answers for folders, too
            has = _look_into(place)
            names = [info.name for info in _ROWS if info.marks and all(map(has, info.marks))]
    if not names:
        some = isinstance(place, RemotePath) and place.can_list
        seen = f" (of its objects the first {_LOOKED_AT:,} were looked at)" if some else ""
        raise InputError(
            f"no dataset that is known lies in {place}{seen}: give its `name`, one of {', '.join(DATASETS)}; "
            "images and depth in folders of your own are `name='pairs'`"
        )
    return names[0]


def _look_into(root: AnyPath) -> Callable[[str], bool]:
    """Return what says whether something in a folder fits a mark; at a URL by one listing."""
    if not isinstance(root, RemotePath):
        return lambda mark: next(root.glob(mark), None) is not None
    beginning = take_listing(root, _LOOKED_AT) if root.can_list else Listing((), whole=False)

    def has(mark: str) -> bool:
        if beginning.whole or is_pattern(mark):
            return bool(beginning.match(mark))
        return (root / mark).exists()

    return has
