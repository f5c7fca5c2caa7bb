"""`GroundTruth`: what depth is measured against: datasets, sets of sets, or a folder of depth files."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import NamedTuple

import numpy as np

from cortexia_video.datasets.dataset import AnyDataset, RGBDDataset, RGBDStream
from cortexia_video.datasets.readers.rgbd_folder import SET_JSON
from cortexia_video.datasets.registry import DATASETS, open_dataset, recognise
from cortexia_video.errors import DepthFileError, Failure, InputError, in_words
from cortexia_video.evaluation.protocol import Protocol, describe_fitting
from cortexia_video.formats.registry import READERS, is_map
from cortexia_video.frame import Frame
from cortexia_video.images.sniff import IMAGE_SUFFIXES
from cortexia_video.ledger.depth_reader import DepthReader
from cortexia_video.pinhole import Pinhole
from cortexia_video.rgbd_sample import RGBDSample
from cortexia_video.storage.documents import parse_json
from cortexia_video.storage.listing import remember_listings
from cortexia_video.storage.paths import (
    LARGEST_TEXT,
    AnyPath,
    find_inside,
    name_inside,
    read_named,
    require_object,
    to_path,
)
from cortexia_video.storage.remote_path import RemotePath
from cortexia_video.storage.retries import RemoteError
from cortexia_video.video.container import VIDEO_SUFFIXES
from cortexia_video.video.depth_clip import SUFFIX as CLIP
from cortexia_video.video.depth_clip import is_depth_clip, list_numbers, read_about

# of depth files and images, the longest first
_ENDINGS = (
    *sorted({each for reader in READERS for each in reader.suffixes} | IMAGE_SUFFIXES, key=len, reverse=True),
)


@dataclass(frozen=True, slots=True)
class GroundTruthSet:
    """References of one set. name: before its keys, where there are several. counts: it is in the mean of
    sets.

    has_images: its samples have images, which a model can look at. layout: its name in the table of datasets.
    """

    name: str
    dataset: AnyDataset
    max_m: float | None = None
    counts: bool = True
    has_images: bool = True
    layout: str = ""

    def list_samples(self) -> Iterator[tuple[str, Callable[[], RGBDSample]]]:
        """Yield the key of each sample, and what reads it; that raises what is wrong with it."""
        if isinstance(self.dataset, RGBDDataset):
            read = self.dataset.read
            yield from ((entry.key, partial(read, entry)) for entry in self.dataset.entries)
        else:
            yield from ((each.key, partial(unwrap, each)) for each in self.dataset.attempt())


def unwrap(sample: RGBDSample | Failure) -> RGBDSample:
    """Return a sample, or raise the failure in its place."""
    if isinstance(sample, Failure):
        raise sample.error
    return sample


class GroundTruth(NamedTuple):
    """References that depth is measured against.

    Attributes:
        path: Where they are: a path or a URL, or the name of a dataset in memory.
        sets: The references of each dataset.
    """

    path: str
    sets: tuple[GroundTruthSet, ...]

    @property
    def has_images(self) -> bool:
        """Whether all samples have images, which a model can look at."""
        return all(each.has_images for each in self.sets)

    def list_keys(self) -> list[str]:
        """Return the keys of all images among all sets; of streams, which are not known before, none."""
        return [
            self.name(within, entry.key)
            for within in self.sets
            if isinstance(within.dataset, RGBDDataset)
            for entry in within.dataset.entries
        ]

    def name(self, within: GroundTruthSet, key: str) -> str:
        """Return the key of an image among all sets.

        Args:
            within: The set that it is in.
            key: Its key in that set.

        Returns:
            `SET/KEY`, or the key where there is one set.
        """
        return f"{within.name}/{key}" if len(self.sets) > 1 else key


def to_ground_truth(samples: AnyDataset | Sequence[RGBDSample], *, max_m: float | None = None) -> GroundTruth:
    """Return samples in memory, or of a dataset, as ground truth for `evaluate`.

    Args:
        samples: With metric depth; the keys must differ.
        max_m: The largest depth that counts, in metres, where the protocol leaves that to the dataset.

    Returns:
        The ground truth.
    """
    if not isinstance(samples, RGBDDataset | RGBDStream):
        samples = RGBDDataset("samples", samples, lambda sample: sample)
    return GroundTruth(samples.name, (GroundTruthSet(samples.name, samples, max_m),))


class DepthFile(NamedTuple):
    """A reference that is a file of its own."""

    key: str
    path: AnyPath


def open_truth(
    root: str | os.PathLike[str] | RemotePath,
    protocol: Protocol,
    *,
    convention: str | None = None,
    allow_outside: bool = False,
    allow_unregistered: bool = False,
) -> GroundTruth:
    """Return the references in a folder: a dataset that is known, a folder of such with set.json, or depth
    files; also at a URL.

    convention: what numbers of depth files mean that do not say it, as `decode_depth` takes it.
    allow_outside, allow_unregistered: as of `open_dataset`.
    Raises `InputError` where there is nothing, or a known dataset is not that of the protocol.
    """
    place = to_path(root)
    with in_words(f"cannot read {place}", of=RemoteError), remember_listings():
        if isinstance(place, RemotePath):
            require_object(place)
        elif not place.is_dir() and not place.is_file():
            raise InputError(f"{place} does not exist: give a dataset, or a folder of depth files")
        folders = {path.parent: "rgbd" for path in find_inside(place, "*/set.json")}
        if not folders and convention is None:
            with contextlib.suppress(InputError):
                folders = {place: recognise(place)}
        allowed = {"allow_outside": allow_outside, "allow_unregistered": allow_unregistered}
        sets = [_open_set(name, each, protocol, allowed) for each, name in folders.items()]
        return GroundTruth(str(place), tuple(sets or [_open_files(place, convention)]))


def _open_set(name: str, root: AnyPath, protocol: Protocol, allowed: Mapping[str, bool]) -> GroundTruthSet:
    if protocol.dataset not in ("any", name):
        raise InputError(
            f"{root} is {name}, protocol {protocol.name} is for {protocol.dataset}; {describe_fitting(name)}"
        )
    own = protocol.dataset == name
    if own and protocol.split not in (None, *(DATASETS[name].splits or (protocol.split,))):
        raise InputError(
            f"protocol {protocol.name} is for the list {protocol.split!r} of {name}, which is not shipped: put the "
            "depth of its images into a folder and give that; "
            f"{describe_fitting(name)}"
        )
    options = dict(protocol.options) if own else {}
    dataset = open_dataset(name, root, split=protocol.split if own else None, **allowed, **options)
    range_m = dataset.evaluation.range_m
    about = {}
    if name == "rgbd":
        about = parse_json(read_named(root / SET_JSON, limit=LARGEST_TEXT), root / SET_JSON)
    counts = about.get("kind", "real") == "real"
    return GroundTruthSet(root.name, dataset, range_m[1] if range_m else None, counts, layout=name)


def _open_files(root: AnyPath, convention: str | None) -> GroundTruthSet:
    reader = DepthReader(convention=convention)

    def read(entry: DepthFile) -> RGBDSample:
        """Read a reference without an image: that is black, in no memory."""
        try:
            depth = reader.read(entry.path)
        except DepthFileError as error:  # only its convention can be said to an evaluation
            words = str(error).replace("`convention`", "`truth_convention`")
            raise DepthFileError(re.sub("`(kind|scale|unknown)`", r"cortexia convert --\1", words)) from error
        if depth.kind != "metric":
            raise InputError(f"{entry.path}: {depth.kind} depth is no reference: metres are")
        height, width = depth.values.shape
        black = np.broadcast_to(np.uint8(0), (height, width, 3))
        tall, wide = depth.full_size or (height, width)
        camera = Pinhole.centred(depth.f_px, wide, tall).resized(width, height) if depth.f_px else None
        depth = replace(depth, full_size=None, f_px=(camera.fx + camera.fy) / 2 if camera else None)
        return RGBDSample(Frame(entry.key, black), depth, camera)

    files = list_depth_files(root)
    if not files:
        names = ", ".join(DATASETS)
        raise InputError(f"no reference in {root}: neither depth files nor one of the datasets {names}")
    entries = [DepthFile(key, path) for key, path in files.items()]
    return GroundTruthSet(root.name, RGBDDataset("depth files", entries, read), has_images=False)


WRITERS = (  # what others call the depth of an image
    "{key}_raw_depth_meter.npy",  # Depth Anything V2, metric_depth/run.py
    "depth_npy/{key}_depth.npy",  # Marigold, script/depth/run.py
    "{key}_depth.npy",  # the same, the folder depth_npy given
    "{key}/depth.exr",  # MoGe, moge infer
    "{key}_depth_new.npy",  # scripts/batch_depth_estimation.py, before it kept a ledger
)


def find_depth_files(root: AnyPath) -> dict[str, AnyPath]:
    """Return the depth files below a folder by their path in it; hidden files and folders are left out.

    A clip of depth stands for its frames: `clip.mp4/000123`, by the number that each has in the video.
    """
    endings = (*(suffix for reader in READERS for suffix in reader.suffixes), CLIP)
    found: dict[str, AnyPath] = {}
    for path in find_inside(root, "**/*"):
        inside = name_inside(path, root)
        if any(part.startswith(".") for part in inside.split("/")) or not path.name.lower().endswith(endings):
            continue
        if path.name.endswith(".preview.jpg") or is_map(path.name) or not path.is_file():
            continue
        if not inside.endswith(CLIP):
            found[inside] = path
        elif is_depth_clip(path):
            for position, number in enumerate(
                list_numbers(read_about(path, path.stat().st_mtime_ns)["clip"])
            ):
                found[f"{inside.removesuffix(CLIP)}/{number:06}"] = path.parent / f"{path.name}#{position}"
    return found


def index_depth_files(files: Mapping[str, AnyPath], pattern: str) -> dict[str, AnyPath]:
    """Return the files whose path fits a pattern by key: what `{key}` stands for, without endings.

    pattern: a path with one `{key}`; `*` stands for a part of a name. Raises `InputError` where it has none,
    or two files have one key.
    """
    if pattern.count("{key}") != 1:
        raise InputError(f"`pattern` {pattern!r} must have one {{key}}, such as '{{key}}_depth.npy'")
    words = re.escape(pattern).replace(r"\*", "[^/]*").replace(r"\{key\}", "(?P<key>.+)")
    found: dict[str, AnyPath] = {}
    for inside, path in files.items():
        fitting = re.fullmatch(words, inside)
        if fitting is None:
            continue
        key = bare(fitting["key"])
        if key in found:
            raise InputError(f"{found[key]} and {path} are both depth of {key}: give folders with one each")
        found[key] = path
    return found


def list_depth_files(root: AnyPath) -> dict[str, AnyPath]:
    """Return the depth files below a folder by key: their path without the endings of images and depth."""
    return index_depth_files(find_depth_files(root), "{key}")


def bare(key: str) -> str:
    """Remove endings of depth files and images from a key: `a.jpg.npy` and `a.png` are both `a`.

    So are those of videos off the folder of their frames: `a.mp4/000123` is `a/000123`.
    """
    folder, slash, name = key.rpartition("/")
    stem, dot, end = folder.rpartition(".")
    if dot + end.lower() in VIDEO_SUFFIXES and stem and not stem.endswith("/"):
        key = stem + slash + name
    while (lower := key.lower()).endswith(_ENDINGS):
        ending = next(each for each in _ENDINGS if lower.endswith(each))
        if lower == ending or lower.endswith("/" + ending):
            break
        key = key[: -len(ending)]
    return key
