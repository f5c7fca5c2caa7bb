"""`Sink`: where the files of depth maps go, and what those files are; `FolderSink`: each in a folder, atomically."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import secrets
import time
import unicodedata
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path, PurePath
from typing import Any, Protocol, Self, TypeVar

import numpy as np
import xxhash

from cortexia_video.depth_map import DepthMap
from cortexia_video.errors import (
    Failure,
    InputError,
    OutputError,
    OutputExistsError,
    OutputLostError,
    describe,
    not_known,
    put_in_words,
)
from cortexia_video.formats import npy
from cortexia_video.formats.raw_depth import Chunks
from cortexia_video.formats.registry import FORMATS, MAPS, PREVIEW, RELATIVE, Format, is_own_output
from cortexia_video.ledger.entries import ItemDone, Placed
from cortexia_video.runtime.throughput import StageClock
from cortexia_video.storage.paths import AnyPath
from cortexia_video.storage.remote_path import RemotePath
from cortexia_video.storage.system import (
    MOVES_OPEN_FILES,
    HeldFolder,
    find_bad_name,
    try_lock,
    try_lock_shared,
    write_past_cache,
)
from cortexia_video.video import depth_clip
from cortexia_video.video import preview as video_preview

PARTIAL = ".cortexia-partial"
_LOCK = "lock"
_OURS = re.compile(r"[0-9a-f]{16}")  # names of what is half written
_FULL_OR_READ_ONLY = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS})
_DEVICE_IS_GONE = frozenset({errno.ENODEV, errno.ENXIO, errno.ESTALE})
_HOST_IS_GONE = frozenset(
    {errno.ENOTCONN, errno.EHOSTDOWN, errno.EHOSTUNREACH, errno.ENETUNREACH, errno.ETIMEDOUT}
)
_PAGE = npy.PAGE
_WORTH_IT = 1 << 20  # bytes


class Keyed(Protocol):
    @property
    def key(self) -> str: ...


Item = TypeVar("Item", bound=Keyed)


class Sink(ABC):
    """Write depth maps to `root/<key><suffix>`, each file there atomically. A context manager.

    format: its name, or the formats of the files of a key. preview, relative, also: also write a coloured image,
    the map before it was aligned, and maps of these names of `MAPS`. suffixes: of the files of a key, where they are
    no depth maps but, say, made of them. clip_files: clips become folders with a file for each frame.
    Raises `OutputError` for an unknown format, `MissingExtraError` for one whose package is not installed, and on
    entering `OutputError` where nothing can be written.
    """

    root: AnyPath
    partial: Path | None = (
        None  # the folder for what is not whole yet; None: the system's for temporary files
    )
    refuse: Callable[[str], OutputError | None] | None = None
    """Asked about each key of a run, once: why its files cannot be here, beside those of the keys before."""

    def __init__(
        self,
        *,
        format: str | Sequence[Format] = "npy",
        preview: bool = False,
        relative: bool = False,
        also: Sequence[str] = (),
        suffixes: Sequence[str] | None = None,
        clip_files: bool = False,
    ) -> None:
        if isinstance(format, str) and format not in FORMATS:
            raise OutputError(not_known("format", format, FORMATS))
        chosen = (FORMATS[format],) if isinstance(format, str) else tuple(format)
        for each in chosen:
            if each.extra:
                each.require()
        more = [each for each, wanted in ((PREVIEW, preview), (RELATIVE, relative)) if wanted]
        self.formats: tuple[Format, ...] = (*chosen, *more, *(MAPS[each] for each in also))
        self.suffixes = suffixes or [each.suffix for each in self.formats]
        of_clips = (
            [f"/{depth_clip.TIMES}", f"/000000{chosen[0].suffix}"] if clip_files else [depth_clip.SUFFIX]
        )
        self.clip_suffixes = [*of_clips, *([video_preview.SUFFIX] if preview else [])]

    @abstractmethod
    def __enter__(self) -> Self: ...

    @abstractmethod
    def __exit__(self, *_: object) -> None: ...

    @abstractmethod
    def place(self, files: Mapping[str, Chunks]) -> dict[str, Placed]:
        """Write files as `encode` gives them, each whole and safe when this returns.

        Raises `OSError` for trouble with one file, and `OutputLostError` where no other file could be written
        either.
        """

    @abstractmethod
    def size_of(self, name: str) -> int | None:
        """Return the bytes of a file, None where there is none."""

    @abstractmethod
    def holds(self, name: str) -> bool:
        """Return whether anything of this name is there."""

    @abstractmethod
    def holds_own(self, name: str) -> bool:
        """Return whether what is there is, by its content, an output of ours."""

    def output_names(self, key: str, *, is_clip: bool = False) -> list[str]:
        """Return the names, relative to the root, of the files of an input; of a clip's frames the first."""
        return [key + suffix for suffix in (self.clip_suffixes if is_clip else self.suffixes)]

    def gather(
        self,
        items: Iterable[Item],
        work: Callable[[Iterable[Item]], Iterator[tuple[Item, ItemDone | Failure]]],
        clock: StageClock,
    ) -> Iterator[tuple[Item, ItemDone | Failure]]:
        """Yield what `work` makes of items, each when its files are in place: here, at once."""
        return work(items)

    def write(self, key: str, depth: DepthMap) -> dict[str, Placed]:
        """Encode and place one depth map; raises what `encode` and `place` raise."""
        return self.place(self.encode(key, depth))

    def encode(self, key: str, depth: DepthMap, form: Format | None = None) -> dict[str, Chunks]:
        """Return the files of a depth map, by name, each in pieces. form: in place of the first of the formats.

        Raises `InputError` for a key that leads out of the root, before anything is encoded.
        """
        self.check_key(key)
        forms = (form or self.formats[0], *self.formats[1:])
        return {key + each.suffix: each.encode(depth) for each in forms}

    def check_key(self, key: str) -> None:
        """Raise `InputError` for a key that leads out of the root."""
        parts = Path(key).parts
        if not parts or ".." in parts or Path(key).is_absolute() or parts[0] == PARTIAL:
            raise InputError(
                f"key {key!r} does not name a file inside {self.root}: use a relative path without '..'"
            )


def open_sink(root: AnyPath, **options: Any) -> Sink:
    """Return the sink that fits a place; options and errors are those of `Sink`."""
    if not isinstance(root, RemotePath):
        return FolderSink(root, **options)
    from cortexia_video.sinks.objects import ObjectSink

    return ObjectSink(root, **options)


class FolderSink(Sink):
    """Write depth maps to `root/<key><suffix>`: first under a hidden folder in `root`, then renamed.

    A context manager; several processes may write to one folder. options: those of `Sink`, which also says
    what is raised.
    """

    root: Path

    def __init__(self, root: Path, **options: Any) -> None:
        super().__init__(**options)
        self.root = root
        self.partial = root / PARTIAL
        self._partial = _PartialFolder(self.partial)
        self._folded: set[int] = set()  # of the keys so far, where that matters

    def __enter__(self) -> Self:
        """Make the folder; where no other process uses it, remove what a killed one left half-written."""
        try:
            self._partial.enter()
        except OSError as error:
            beginning, remedy = f"cannot write to {self.root}", "choose another `output`"
            raise put_in_words(error, beginning, remedy, OutputError) from error
        if self._partial.folds_case or os.name != "posix":
            self.refuse = self._refuse
        return self

    def __exit__(self, *_: object) -> None:
        self._partial.leave()

    def _refuse(self, key: str) -> OutputError | None:
        """Refuse names that the system does not have, and keys that differ from earlier ones in case alone.

        Unicode's two ways to write an accent are one name, too, on most file systems that fold case.
        """
        if problem := find_bad_name(key):
            return OutputError(f"its key {problem}: rename it, or choose another `output`")
        folded = hash(unicodedata.normalize("NFC", unicodedata.normalize("NFD", key).casefold()))
        if self._partial.folds_case and folded in self._folded:
            return OutputExistsError(
                "its name differs from another input's in upper and lower case only, which the file system of the "
                "output does not tell apart: choose another `output`"
            )
        self._folded.add(folded)
        return None

    def place(self, files: Mapping[str, Chunks]) -> dict[str, Placed]:
        """Write files as `encode` gives them, each whole and flushed to the disk.

        Raises `OSError` for trouble with one file, and `OutputLostError` where no other file could be written
        either: a full disk, a mount or folder that is gone. What then stands in its place is not written to.
        """
        return {name: self._place(name, chunks) for name, chunks in files.items()}

    def size_of(self, name: str) -> int | None:
        try:
            return os.stat(f"{self.root}/{name}").st_size  # noqa: PTH116 - of each output of a million
        except (OSError, ValueError):
            return None

    def holds(self, name: str) -> bool:
        return os.path.lexists(self.root / name)

    def holds_own(self, name: str) -> bool:
        return is_own_output(self.root / name)

    def _place(self, name: str, chunks: Chunks) -> Placed:
        path = PurePath(name)
        try:
            with self._partial.new_file(chunks) as (partial, placed):
                self._partial.require()  # else a folder would be made where a mount was
                with self._open_folder(path.parts[:-1]) as folder:
                    self._partial.move(partial, folder, path.name)
        except OSError as error:
            # some errors (EIO, say) can be one file's or the folder's, so another file is tried
            full_or_gone = _FULL_OR_READ_ONLY | _DEVICE_IS_GONE | _HOST_IS_GONE
            if error.errno in full_or_gone or not self._partial.takes_files():
                raise OutputLostError(self.root / name, error) from error
            if self._partial.folds_case and (problem := find_bad_name(name, windows=True)):
                raise OutputError(f"{describe(error)}: its name {problem}") from error
            raise
        return placed

    @contextlib.contextmanager
    def _open_folder(self, parts: Sequence[str]) -> Iterator[HeldFolder]:
        """Yield a folder in the root, made if it is missing; the root never is.

        Only the root itself may be a link: `OutputExistsError` for one inside, which leads to where nobody
        knows what is whose.
        """
        folder = HeldFolder(self.root, follows=True)
        try:
            for part in parts:
                folder.make_folder(part)
                above = folder
                folder = HeldFolder(part, above=above)
                above.close()
            yield folder
        finally:
            folder.close()


class _PartialFolder:
    """The folder of half-written files, shared by the processes that write to one output.

    A lock on a file in it says who uses it: shared while in use, exclusive to clean it and to remove it. Not
    on the folder itself: on network mounts other machines would not see that. The folder is held: a link in its
    place, or put there later, leads nowhere.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = -1
        self.folds_case = False  # `a` and `A` are one file

    def enter(self) -> None:
        while not self._try_enter():
            time.sleep(0.01)  # another process cleans or removes it

    def leave(self) -> None:
        with contextlib.ExitStack() as stack, contextlib.suppress(OSError):
            stack.callback(self._folder.close)
            lock = stack.enter_context(os.fdopen(self._lock, "rb"))
            if try_lock(self._lock) and self.is_there() and self._folder.list_names() == [_LOCK]:
                if not MOVES_OPEN_FILES:
                    lock.close()  # the system itself keeps off what others have open
                self._folder.remove(_LOCK)
                lock.close()  # or a network mount would keep it in the folder, by another name
                self.path.rmdir()

    def is_there(self) -> bool:
        """Return whether the path still leads to the folder that was entered."""
        try:
            return os.path.samestat((self.path / _LOCK).lstat(), os.fstat(self._lock))
        except OSError:
            return False

    def require(self) -> None:
        """Raise `OSError` where it does not exist any more."""
        if not self.is_there():
            raise FileNotFoundError(errno.ENOENT, "the output folder is gone")

    def takes_files(self) -> bool:
        """Return whether another file can be written here."""
        try:
            with self.new_file([b"\0"]) as (name, _):
                self._folder.remove(name)
        except OSError:
            return False
        return self.is_there()

    @contextlib.contextmanager
    def new_file(self, chunks: Chunks) -> Iterator[tuple[str, Placed]]:
        """Write a file that nobody else uses, and flush it to the disk; on an error it is removed."""
        name = secrets.token_hex(8)
        descriptor = self._folder.open_plain(name, os.O_RDWR | os.O_CREAT | os.O_EXCL)
        try:
            try:
                placed = _write(descriptor, chunks)
            finally:
                os.close(descriptor)
            yield name, placed
        except BaseException:
            with contextlib.suppress(OSError):
                self._folder.remove(name)
            raise

    def move(self, name: str, folder: HeldFolder, new: str) -> None:
        """Put a file that is whole in its place: `new` in a folder."""
        self._folder.move(name, folder, new)

    def _try_enter(self) -> bool:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(FileExistsError):
            self.path.mkdir()
        with contextlib.ExitStack() as stack:
            try:
                self._folder = stack.enter_context(HeldFolder(self.path))
                self._lock = self._folder.open_plain(_LOCK, os.O_RDWR | os.O_CREAT)
            except FileNotFoundError:  # another process removed it in this moment
                return False
            stack.callback(os.close, self._lock)
            names = [name for name in self._folder.list_names() if _OURS.fullmatch(name)]
            if names and try_lock(self._lock) and self.is_there():
                for name in filter(self._folder.is_plain, names):  # what else is here is somebody's
                    self._folder.remove(name)
            if not try_lock_shared(self._lock) or not self.is_there():
                return False
            self.folds_case = self._folder.is_plain(_LOCK.upper())
            stack.pop_all()
        return True


def _write(descriptor: int, chunks: Chunks) -> Placed:
    """Fill a new file and flush it to the disk."""
    digest = xxhash.xxh3_128()
    for chunk in chunks:
        digest.update(chunk)
        _write_all(descriptor, memoryview(chunk))
    os.fsync(descriptor)
    return Placed(sum(len(chunk) for chunk in chunks), digest.hexdigest())


def _write_all(descriptor: int, data: memoryview) -> None:
    """Write every byte; the system may take fewer at a time, never over 2 GiB.

    What is large, and lies on pages in memory and in the file, goes to the disk without a copy in the cache:
    48 MB take 8 ms of a core, not 20 to 40.
    """
    whole = len(data) // _PAGE * _PAGE
    begin = np.frombuffer(data, np.uint8).ctypes.data if whole >= _WORTH_IT else 1
    if begin % _PAGE == 0 and os.lseek(descriptor, 0, os.SEEK_CUR) % _PAGE == 0:
        data = data[write_past_cache(descriptor, data[:whole], _PAGE) :]
    while data:
        data = data[os.write(descriptor, data) :]
