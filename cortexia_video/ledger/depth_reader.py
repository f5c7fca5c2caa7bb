"""Depth files with all that is known of them: by the file itself, by the ledger beside it, by depth.json."""

from __future__ import annotations

import logging
import threading
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import xxhash

from cortexia_video.depth_map import DepthMap
from cortexia_video.errors import DepthFileError, InputError, describe, not_known, printable
from cortexia_video.formats.conventions import CONVENTIONS
from cortexia_video.formats.decode_depth import count_pixels, decode_stored, interpret, read_file
from cortexia_video.formats.maps import DECODE_MAPS, add_maps
from cortexia_video.formats.metadata import Metadata, add
from cortexia_video.formats.registry import choose_maps, is_map
from cortexia_video.ledger.artifacts import OF_FILE, read_maps, read_output
from cortexia_video.ledger.index import LedgerIndex
from cortexia_video.ledger.state import DEPTH_JSON, LEDGER_NAME, list_files, read_depth_json
from cortexia_video.storage.paths import AnyPath, PathLike, name_inside, read_named_text, to_absolute, to_path
from cortexia_video.storage.remote_path import RemotePath
from cortexia_video.video.depth_clip import read_frame_file, split_frame

_OF_MODEL = ("model", "weights_sha256")
_OF_FOLDER = ("kind", "unit", "larger_is", "unknown", "convention", "projection", "scale_from", *_OF_MODEL)


class _Known(NamedTuple):
    """What a folder says of a file. metadata: in the words of `formats.metadata`, none of them null.

    source: the file that says it, or None. line: of the ledger, where that is it. changed: the ledger knows
    the file's name, and other bytes. root: the folder of that ledger.
    """

    metadata: Metadata
    source: str | None = None
    line: Mapping[str, Any] = {}
    changed: bool = False
    root: AnyPath | None = None


_NOTHING = _Known({})
_log = logging.getLogger(__name__)

CHANGED = "it is not what was written: its meaning is that of its folder, which may not fit"


class Reading(NamedTuple):
    """A depth map as it was read.

    said_by: who says its kind: `file`, a file beside it, by its name, or `caller`.
    line: the ledger's, where it has one of this very file. changed: the ledger says that other bytes were
    written: the file is damaged, or somebody edited it. root: the folder of the run that wrote it.
    """

    depth: DepthMap
    said_by: str
    line: Mapping[str, Any]
    changed: bool = False
    root: AnyPath | None = None

    def read_maps(self, names: Collection[str]) -> dict[str, bytes]:
        """Return the files beside it that its run wrote, as `artifacts.read_maps` does."""
        return {} if self.root is None else read_maps(self.root, self.line, names)


class DepthReader:
    """Read depth files as `read_depth` does, and remember their folders. Threads may share it.

    Args:
        about: As `read_depth` takes it.
        convention: As `read_depth` takes it.
        max_megapixels: Refuse larger maps.

    Raises:
        DepthFileError: There is no such convention.

    Example:
        >>> reader = cx.DepthReader()
        >>> maps = [reader.read(path) for path in sorted(Path("depth").rglob("*.npz"))]  # doctest: +SKIP
    """

    def __init__(
        self, *, about: Metadata | None = None, convention: str | None = None, max_megapixels: float = 200.0
    ) -> None:
        if convention is not None and convention not in CONVENTIONS:
            raise DepthFileError(not_known("convention", convention, CONVENTIONS))
        self._about = {name: value for name, value in (about or {}).items() if value is not None}
        self._convention = convention
        self._max_megapixels = max_megapixels
        self._folders: dict[AnyPath, list[_Folder]] = {}
        self._lock = threading.Lock()

    def read(self, path: PathLike, *, also: str | Iterable[str] = ()) -> DepthMap:
        """Read a depth file, and maps beside it.

        Args:
            path: As of `read_depth`.
            also: As of `read_depth`.

        Returns:
            The depth: float32 (H, W), NaN where unknown.

        Raises:
            DepthFileError, InputError, MissingExtraError: As of `read_depth`.
        """
        names = choose_maps(also, DECODE_MAPS)
        reading = self.decode(self.read_bytes(path), path)
        if reading.changed:
            _log.warning("%s: %s", printable(str(to_path(path))), CHANGED)
        return add_maps(reading.depth, reading.read_maps(names))

    def read_bytes(self, path: PathLike) -> bytes:
        """Read a depth file, undecoded.

        What a run packed into an archive is read by the name that its file would have; a frame of a clip of
        depth as `clip.mp4.mkv#123`.

        Args:
            path: A path or a URL.

        Returns:
            The bytes of the file.

        Raises:
            DepthFileError: It cannot be read, or is too large for a map of `max_megapixels`.
        """
        if frame := split_frame(path):
            return read_frame_file(*frame, max_megapixels=self._max_megapixels)
        try:
            return read_file(path, max_megapixels=self._max_megapixels)
        except DepthFileError as error:
            if isinstance(error.__cause__, FileNotFoundError | NotADirectoryError):
                place = to_absolute(path)
                for folder in self._list_known(place):
                    name = name_inside(place, folder.root)
                    line = folder.find_packed(name)
                    if line:
                        return read_output(folder.root, name, line)
            raise

    def decode(self, data: bytes, path: PathLike) -> Reading:
        """Return the depth in a file's bytes, with what its folder says.

        Args:
            data: What `read_bytes` gave.
            path: Where they are from.

        Returns:
            The depth, who said what it means, and its line in the ledger.

        Raises:
            DepthFileError: They are no depth, or nobody says what the values mean.
            MissingExtraError: The format needs a package that is not installed.
        """
        place = to_path(path)
        name = str(place)
        stored = decode_stored(data, name, about=self._about, max_megapixels=self._max_megapixels)
        known = self._look_up(data, to_absolute(place))
        if self._convention and known.source != LEDGER_NAME:
            known = _NOTHING  # of other people's files a depth.json above knows less than who names them
        convention = None if "kind" in known.metadata else self._convention
        beside = _read_beside(place, known.metadata.get("convention") or convention)
        about = add(add(self._about, beside), known.metadata)
        if "kind" in known.metadata:  # then its numbers need no scale, and what stands for unknown is known
            about = {name: value for name, value in about.items() if name not in ("scale", "unknown")}
            about |= {"unknown": known.metadata["unknown"]} if "unknown" in known.metadata else {}
        depth = interpret(stored, name, about=about, convention=convention)
        said_by = "file" if stored.metadata.get("kind") else known.source or "caller"
        return Reading(depth, said_by, known.line, known.changed, known.root)

    def count_pixels(self, data: bytes, path: PathLike) -> int:
        """Return how many pixels a file's depth will have by its header, or its bytes where that cannot be.

        Args:
            data: What `read_bytes` gave.
            path: Where they are from.

        Returns:
            The number of pixels.
        """
        return count_pixels(data, str(to_path(path)), about=self._about)

    def time_beside(self, path: PathLike) -> int:
        """Return when what the convention has beside a depth file, such as a calibration, was changed.

        Args:
            path: The depth file.

        Returns:
            Nanoseconds since 1970; 0 where there is no such file.
        """
        beside = CONVENTIONS[self._convention].beside if self._convention else None
        try:
            return (to_path(path).parent / beside[0]).stat().st_mtime_ns if beside else 0
        except OSError:
            return 0

    def open_folder(self, path: PathLike) -> None:
        """Open ledgers and `depth.json` of a folder and of those above it, ahead of its files.

        Args:
            path: The folder.

        Raises:
            InputError: A ledger cannot be read.
        """
        with self._lock:
            self._list_folders(to_absolute(path))

    def _look_up(self, data: bytes, place: AnyPath) -> _Known:
        """Ask the nearest folder above that is ours and knows the file; of what is no depth none says anything."""
        if is_map(place.name):
            return _NOTHING
        for folder in self._list_known(place):
            known = folder.look_up(name_inside(place, folder.root), data)
            if known.source:
                return known
        return _NOTHING

    def _list_known(self, place: AnyPath) -> list[_Folder]:
        """Return the folders of ours that a file is in, the nearest first."""
        with self._lock:
            return self._list_folders(place.parent)

    def _list_folders(self, place: AnyPath) -> list[_Folder]:
        """Return the folders of ours that a folder is in, or is, the nearest first; none of a web server's."""
        if isinstance(place, RemotePath) and not place.can_list:
            return []
        below: list[AnyPath] = []
        while place not in self._folders:
            below.append(place)
            if place.parent == place:
                break
            place = place.parent
        found = self._folders.get(place, [])
        for each in reversed(below):
            is_ours = _has_ledger(each) or _is_file(each / DEPTH_JSON)
            found = self._folders[each] = [_Folder(each), *found] if is_ours else found
        return found


def read_depth(
    path: PathLike,
    *,
    about: Metadata | None = None,
    convention: str | None = None,
    max_megapixels: float = 200.0,
    also: str | Iterable[str] = (),
) -> DepthMap:
    """Read a depth file of any format with all that is known of it.

    What the file itself says comes first, then what `ledger.jsonl` of the output folder that it lies in says
    of this very file, then that folder's `depth.json`, then `about`: where a `.npy` cannot say whether it is
    metres, its folder does. A file that is not what was written any more is read with what its folder's files
    have in common, and a warning. For many files of large folders a `DepthReader` is faster.

    Args:
        path: A path or a URL; of a frame of a clip `depth/clip.mp4.mkv#123`.
        about: What is known where nobody else says it: `kind`, `scale`, `unknown`, `f_px`, `f_source` ...
            (docs/formats.md).
        convention: Whose file it is: tum, kitti, nyu, metres ... (docs/convert.md).
        max_megapixels: Refuse larger maps.
        also: What to read of the maps that its run wrote beside it: mask, normals, confidence. Those that are not
            there stay None.

    Returns:
        The depth: float32 (H, W), NaN where unknown, in metres where its kind is metric.

    Raises:
        DepthFileError: The file cannot be read, or nobody says what its values mean.
        InputError: The ledger of its folder cannot be read, or there is no such map.
        MissingExtraError: The format needs a package that is not installed.

    Example:
        >>> np.save("room.npy", np.full((48, 64), 1250, np.uint16))
        >>> depth = cx.read_depth("room.npy", about={"kind": "metric", "scale": 0.001})
        >>> float(depth.values[0, 0])
        1.25
    """
    return DepthReader(about=about, convention=convention, max_megapixels=max_megapixels).read(
        path, also=also
    )


class _Folder:
    """A folder that a run wrote to: its ledger, if that is there, and its depth.json."""

    def __init__(self, root: AnyPath) -> None:
        self.root = root
        said = read_depth_json(root)
        words = {name: said[name] for name in _OF_FOLDER if said.get(name) is not None}
        self._common = _Known(words, DEPTH_JSON) if words else _NOTHING
        self._ledger = LedgerIndex(root) if _has_ledger(root) else None

    def look_up(self, name: str, data: bytes) -> _Known:
        """Return what is known of a file: a line of the ledger counts where the file is what it was then.

        One that a run began, and did not finish, is as unknown as one that somebody changed.

        depth.json speaks of the files that the ledger names, or of all where there is no ledger.
        """
        if self._ledger is None:
            return self._common
        known, digest = _NOTHING, None
        for line in self._ledger.find(name):  # newest first
            placed: object = None  # size and digest, as the line of what is done has them
            if line.get("outcome") == "done":
                inside = line.get("inside", {})
                placed = inside[name][1:] if name in inside else line["outputs"][name]
            if known is _NOTHING:
                known = self._common._replace(changed=placed is None or isinstance(placed, list))
            if isinstance(placed, list) and placed[0] == len(data):
                digest = digest or xxhash.xxh3_128_hexdigest(data)
                if placed[1] == digest:
                    run = self._ledger.settings(str(line.get("run"))) if self._ledger else {}
                    words = {name: line.get(name) for name in OF_FILE}
                    words |= {
                        name: line.get(name, run.get(name)) for name in _OF_MODEL
                    }  # its own, or the run's
                    said = {name: value for name, value in words.items() if value is not None}
                    return _Known(said, LEDGER_NAME, line, root=self.root)
        return known

    def find_packed(self, name: str) -> Mapping[str, Any] | None:
        """Return the line of what was last done under a name, if that is in a shard."""
        lines = self._ledger.find(name) if self._ledger else ()
        last = next((line for line in lines if line.get("outcome") == "done"), {})
        return last if name in last.get("inside", ()) else None


def _has_ledger(place: AnyPath) -> bool:
    if isinstance(place, Path):
        return _is_file(place / LEDGER_NAME)
    try:
        return bool(list_files(place))
    except InputError as error:
        if isinstance(error.__cause__, FileNotFoundError | PermissionError):
            return False
        raise


def _is_file(place: AnyPath) -> bool:
    try:
        return place.is_file()
    except (FileNotFoundError, PermissionError):  # of a folder that nobody may look into
        return False
    except OSError as error:
        if isinstance(place, RemotePath):  # what it says may be there
            raise InputError(f"cannot open {place}: {describe(error)}") from error
        return False


def _read_beside(place: AnyPath, convention: str | None) -> Metadata:
    """Read what a source convention has in a file beside the depth: the calibration of a Middlebury scene."""
    beside = CONVENTIONS[convention].beside if convention else None
    if beside is None:
        return {}
    name, parse = beside
    try:
        return parse(read_named_text(place.parent / name, errors="replace"))
    except OSError:
        return {}
