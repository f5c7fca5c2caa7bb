"""`inspect`: what a depth file says and holds, or what is in a folder of them."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cortexia_video.depth_map import DepthKind, DepthMap
from cortexia_video.errors import DepthFileError, Failure, attempt, format_count, printable
from cortexia_video.formats.decode_depth import find_reader
from cortexia_video.formats.metadata import Metadata, metadata_of
from cortexia_video.formats.raw_depth import PICKS
from cortexia_video.images.resampling import pick_points
from cortexia_video.ledger.artifacts import find_missing, list_maps
from cortexia_video.ledger.depth_reader import DepthReader
from cortexia_video.ledger.index import LedgerIndex
from cortexia_video.ledger.state import read_depth_json
from cortexia_video.pinhole import to_fov_deg
from cortexia_video.runtime.bounded_map import map_bounded
from cortexia_video.runtime.progress import track
from cortexia_video.runtime.resources import MemoryBudget, count_cores
from cortexia_video.sources.depth_files import DepthFiles, find_suffix
from cortexia_video.storage.paths import AnyPath, PathLike, is_folder, to_path, to_text
from cortexia_video.video.depth_clip import SUFFIX, DepthClip, split_frame

PERCENTS = (0, 1, 25, 50, 75, 99, 100)
_MEMORY = 1 << 30  # bytes of files and arrays in work at once; a larger file is looked at alone
_BYTES = 9  # a pixel: its value, whether it is known, and a copy of what is, to sort
_THUMBNAIL = 128  # pixels of its longer side
_SAMPLED = 16  # files of a folder
_UNSAID = {"kind": "affine_invariant"}  # of which any number can be, and none is scaled


@dataclass(frozen=True, slots=True, eq=False)
class Inspection:
    """What a depth file says and holds.

    Attributes:
        path: Of the file.
        format: By its content.
        bytes: Of the file.
        height: Of the map.
        width: Of the map.
        kind: None where nobody says it: then `unsaid` is why, and the values are as the file has them.
        unsaid: Why the kind is not known.
        changed: The ledger of its folder says that other bytes were written.
        said_by: Who says what the values mean: "file", the name of what lies beside it, or "caller".
        metadata: All that is known (docs/formats.md).
        fov_deg: Horizontal, of the image.
        percentiles: Of the known values, with the lowest at 0 and the highest at 100; none where none is
            known.
        unknown_share: Of the pixels.
        clip: Of a clip of depth, whose first frame this is then: its frames, rate and so on.
        maps: What else the run wrote of the image that is still there: normals, mask, confidence, points.
        maps_missing: What of that does not exist any more.
        thumbnail: float32, every k-th row and column, 128 at most.
    """

    path: str
    format: str
    bytes: int
    height: int
    width: int
    kind: DepthKind | None
    unsaid: str | None
    changed: bool
    said_by: str | None
    metadata: Metadata
    fov_deg: float | None
    percentiles: dict[int, float]
    unknown_share: float
    clip: Mapping[str, Any]
    maps: tuple[str, ...]
    maps_missing: tuple[str, ...]
    thumbnail: NDArray[np.float32]

    def __repr__(self) -> str:
        size = f"{self.height}x{self.width}"
        return (
            f"Inspection({printable(str(self.path))}, {self.format}, {size}, {self.kind or 'kind unknown'})"
        )

    def as_dict(self) -> dict[str, Any]:
        """Return all but the thumbnail, as JSON can hold it."""
        left_out = ("metadata", "thumbnail")
        named = {each.name: getattr(self, each.name) for each in fields(self) if each.name not in left_out}
        return {**self.metadata, **named}


@dataclass(slots=True)
class FolderInspection:
    """What is in a folder of depth files, and in the folders inside.

    Attributes:
        path: Of the folder.
        files: How many, by the ending of their names.
        bytes: Of all.
        images: PNG files that cannot be depth.
        common: What depth.json says.
        last_run: The counts of the ledger's last run.
        sampled: Files that were looked at, chosen at random.
        failures: Those of them that cannot be read.
    """

    path: str
    files: Counter[str] = field(default_factory=Counter)
    bytes: int = 0
    images: int = 0
    common: dict[str, Any] = field(default_factory=dict)
    last_run: dict[str, int] = field(default_factory=dict)
    sampled: list[Inspection] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)

    def __repr__(self) -> str:
        return f"FolderInspection({printable(self.path)}, {format_count(self.files.total(), 'file')})"

    def as_dict(self) -> dict[str, Any]:
        """Return all of it as JSON can hold it."""
        named = {each.name: getattr(self, each.name) for each in fields(self)}
        named["sampled"] = [each.as_dict() for each in self.sampled]
        named["failures"] = [{"path": each.key, "error": each.reason} for each in self.failures]
        return named


def inspect(
    path: PathLike,
    *,
    about: Metadata | None = None,
    convention: str | None = None,
    max_megapixels: float = 200.0,
) -> Inspection | FolderInspection:
    """Look at a depth file, or at a folder of them: what the files say, and what they hold.

    A file of which nobody says what its numbers mean is looked at all the same. Of a folder, and the folders
    inside, all files are counted and sixteen, chosen at random, are looked at.

    Args:
        path: A depth file or a folder; a path or a URL.
        about: What is known of the files, as `read_depth` takes it.
        convention: Whose files they are: tum, kitti, nyu, scannet, 7scenes, sunrgbd, middlebury, metres,
            depth-pro, moge, iw3, colmap, carla, shift.
        max_megapixels: Refuse larger maps.

    Returns:
        Of a file its kind, unit, size, camera and percentiles; of a folder counts and such a sample.

    Raises:
        DepthFileError: The file cannot be read.
        InputError: The folder cannot be listed, or its ledger cannot be read.

    Example:
        >>> cx.inspect("depth/0.jpg.npy").percentiles[50]  # doctest: +SKIP
        2.31
    """
    inspector = _Inspector(about, convention, max_megapixels)
    return _inspect_folder(to_path(path), inspector) if is_folder(path) else inspector.inspect(to_path(path))


def _inspect_folder(root: AnyPath, inspector: _Inspector) -> FolderInspection:
    found = FolderInspection(str(root))
    counts = LedgerIndex(root).last_end()  # of the last run that ended
    found.common = read_depth_json(root)
    found.last_run = {name: counts[name] for name in ("found", "done", "skipped", "failed") if name in counts}

    def look(each: str) -> Inspection | Failure:
        place = to_path(each)
        return attempt(str(place), "decode", lambda: inspector.inspect(place))

    sample = _count(found, root, inspector)
    for result in track(
        map_bounded(sample, look, workers=count_cores()), "looking", "depth maps", len(sample)
    ):
        if isinstance(result, Failure):
            found.failures.append(result)
        else:
            found.sampled.append(result)
    found.sampled.sort(key=lambda each: each.path)
    found.failures.sort(key=lambda each: each.key)
    return found


class _Inspector:
    """Looks at one file after another."""

    def __init__(self, about: Metadata | None, convention: str | None, max_megapixels: float) -> None:
        self._reader = DepthReader(about=about, convention=convention, max_megapixels=max_megapixels)
        self._convention, self._about = convention, about
        picked = {name: about[name] for name in PICKS if about and name in about}
        self._reader_of_numbers = DepthReader(about={**_UNSAID, **picked}, max_megapixels=max_megapixels)
        self._budget = MemoryBudget(_MEMORY)

    def find_files(self, root: AnyPath) -> DepthFiles:
        """Return the depth files of a folder."""
        return DepthFiles([to_text(root)], convention=self._convention, about=self._about)

    def inspect(self, place: AnyPath) -> Inspection:
        if place.suffix.lower() == SUFFIX:
            with DepthClip(place) as clip:
                about = {**clip.metadata["clip"], "frames": len(clip)}
            return replace(self.inspect(to_path(f"{to_text(place)}#0")), path=str(place), clip=about)
        data = self._reader.read_bytes(place)
        with self._budget.hold(len(data) + self._reader.count_pixels(data, place) * _BYTES):
            return self._inspect(data, place)

    def _inspect(self, data: bytes, place: AnyPath) -> Inspection:
        try:
            depth, said_by, line, changed, root = self._reader.decode(data, place)
        except DepthFileError as raised:
            error = DepthFileError(str(raised))  # `raised` holds on to what was decoded until then
        else:
            words = metadata_of(depth)
            missing = find_missing(root, line) if root is not None else []
            maps = [each for each in list_maps(line) if each not in missing]
            return replace(
                _describe(str(place), data, depth, words),
                kind=depth.kind,
                said_by=said_by,
                changed=changed,
                maps=(*maps,),
                maps_missing=(*missing,),
            )
        # a file that is whole, though its meaning is not known
        try:
            depth = self._reader_of_numbers.decode(data, place).depth
        except DepthFileError:
            raise error from None
        metadata = {**metadata_of(depth), "unit": None, "larger_is": None}
        unsaid = str(error).removeprefix(f"{printable(str(place))}: ")
        return replace(_describe(str(place), data, depth, metadata), unsaid=unsaid)


def _describe(path: str, data: bytes, depth: DepthMap, metadata: Metadata) -> Inspection:
    """Return what the values are; what they mean is not said yet."""
    height, width = depth.values.shape
    known = depth.values[np.isfinite(depth.values)]
    percentiles = np.percentile(known, PERCENTS, overwrite_input=True) if known.size else ()
    image_width = (depth.full_size or (height, width))[1]
    factor = max(1.0, max(height, width) / _THUMBNAIL)
    small = (max(1, round(height / factor)), max(1, round(width / factor)))
    return Inspection(
        path=path,
        format="mkv" if split_frame(path) else find_reader(data, path).suffixes[0].removeprefix("."),
        bytes=len(data),
        height=height,
        width=width,
        kind=None,
        unsaid=None,
        changed=False,
        said_by=None,
        metadata=metadata,
        fov_deg=None if depth.f_px is None else to_fov_deg(depth.f_px, image_width),
        percentiles=dict(zip(PERCENTS, map(float, percentiles), strict=False)),
        unknown_share=1 - known.size / depth.values.size,
        clip={},
        maps=(),
        maps_missing=(),
        thumbnail=pick_points(depth.values, *small),
    )


def _count(found: FolderInspection, root: AnyPath, inspector: _Inspector) -> list[str]:
    """Count the files of a folder; return some of them, by reservoir sampling."""
    files, chance = inspector.find_files(root), random.Random(0)
    sample: list[str] = []
    for number, each in enumerate(track(files, "counting", "files")):
        if isinstance(each, Failure):
            found.failures.append(each)
            continue
        frame = split_frame(each.source.path)
        if frame is None or frame[1] == 0:
            found.files[find_suffix(each.source.path)] += 1
            found.bytes += each.source.size
        if len(sample) < _SAMPLED:
            sample.append(each.place)
        elif (number_of := chance.randrange(number + 1)) < _SAMPLED:
            sample[number_of] = each.place
    found.images = files.images
    return sample
