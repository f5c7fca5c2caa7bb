"""`FolderSink`: one file or more per key in a folder, each there atomically."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import secrets
import stat
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePath
from typing import Any, NamedTuple, Self

import numpy as np
import xxhash

from cortexia_video.errors import OutputError, OutputExistsError, OutputLostError, in_words
from cortexia_video.formats import npy
from cortexia_video.formats.raw_depth import Chunks
from cortexia_video.formats.registry import is_own_output
from cortexia_video.ledger.entries import Placed
from cortexia_video.sinks.sink import PARTIAL, Sink
from cortexia_video.storage.atomic_file import open_plain, try_lock, try_lock_shared

_LOCK = "lock"
_OURS = re.compile(r"[0-9a-f]{16}")  # names of what is half written
_INSIDE = (
    os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW
)  # how a folder in the output is opened: never by a link
_FULL_OR_READ_ONLY = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS})
_DEVICE_IS_GONE = frozenset({errno.ENODEV, errno.ENXIO, errno.ESTALE})
_HOST_IS_GONE = frozenset(
    {errno.ENOTCONN, errno.EHOSTDOWN, errno.EHOSTUNREACH, errno.ENETUNREACH, errno.ETIMEDOUT}
)


_NOT_DIRECTLY = frozenset({errno.EINVAL, errno.ENOTSUP})  # this file system, or not with these pages
_PAGE = npy.PAGE
_WORTH_IT = 1 << 20  # bytes


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

    def __enter__(self) -> Self:
        """Make the folder; where no other process uses it, remove what a killed one left half-written."""
        with in_words(f"cannot write to {self.root}", "choose another `output`", OutputError, OSError):
            self._partial.enter()
        return self

    def __exit__(self, *_: object) -> None:
        self._partial.leave()

    def place(self, files: Mapping[str, Chunks]) -> dict[str, Placed]:
        """Write files as `encode` gives them, each whole and flushed to the disk.

        Raises `OSError` for trouble with one file, and `OutputLostError` where no other file could be written
        either: a full disk, a mount or folder that is gone. What then stands in its place is not written to.
        """
        return {name: self._place(name, chunks) for name, chunks in files.items()}

    def size_of(self, name: str) -> int | None:
        try:
            return (self.root / name).stat().st_size
        except (OSError, ValueError):
            return None

    def holds(self, name: str) -> bool:
        return os.path.lexists(self.root / name)

    def holds_own(self, name: str) -> bool:
        return is_own_output(self.root / name)

    def _place(self, name: str, chunks: Chunks) -> Placed:
        path = PurePath(name)
        try:
            with self._partial.new_file() as partial:
                placed = _write(partial.descriptor, chunks)
                self._partial.require()  # else a folder would be made where a mount was
                with self._open_folder(path.parts[:-1]) as folder:
                    self._partial.move(partial, path.name, folder)
        except OSError as error:
            # some errors (EIO, say) can be one file's or the folder's, so another file is tried
            full_or_gone = _FULL_OR_READ_ONLY | _DEVICE_IS_GONE | _HOST_IS_GONE
            if error.errno in full_or_gone or not self._partial.takes_files():
                raise OutputLostError(self.root / name, error) from error
            raise
        return placed

    @contextlib.contextmanager
    def _open_folder(self, parts: Sequence[str]) -> Iterator[int]:
        """Yield the descriptor of a folder in the root, made if it is missing; the root never is.

        Only the root itself may be a link: `OutputExistsError` for one inside, which leads to where nobody
        knows what is whose.
        """
        folder = os.open(self.root, os.O_RDONLY | os.O_DIRECTORY)
        try:
            for number, part in enumerate(parts, start=1):
                with contextlib.suppress(FileExistsError):
                    os.mkdir(part, dir_fd=folder)
                above = folder
                try:
                    folder = os.open(part, _INSIDE, dir_fd=above)
                except OSError as error:
                    _refuse_link(Path(*parts[:number]), part, above, error)
                    raise
                os.close(above)
            yield folder
        finally:
            os.close(folder)


class _Partial(NamedTuple):
    """A file that is not whole: its name in the folder of these, and its descriptor."""

    name: str
    descriptor: int


class _PartialFolder:
    """The folder of half-written files, shared by the processes that write to one output.

    A lock on a file in it says who uses it: shared while in use, exclusive to clean it and to remove it. Not
    on the folder itself: on network mounts other machines would not see that. All is done by the folder's
    descriptor: a link in its place, or put there later, leads nowhere.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._folder = self._lock = -1

    def enter(self) -> None:
        while not self._try_enter():
            time.sleep(0.01)  # another process cleans or removes it

    def leave(self) -> None:
        with contextlib.suppress(OSError):
            if try_lock(self._lock) and self.is_there() and self._list() == [_LOCK]:
                os.unlink(_LOCK, dir_fd=self._folder)
                self.path.rmdir()
        os.close(self._lock)
        os.close(self._folder)

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
            with self.new_file() as partial:
                _write(partial.descriptor, [b"\0"])
                os.unlink(partial.name, dir_fd=self._folder)
        except OSError:
            return False
        return self.is_there()

    @contextlib.contextmanager
    def new_file(self) -> Iterator[_Partial]:
        """Make a file that nobody else uses; on an error it is removed."""
        name = secrets.token_hex(8)
        descriptor = open_plain(name, os.O_RDWR | os.O_CREAT | os.O_EXCL, folder=self._folder)
        try:
            yield _Partial(name, descriptor)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(name, dir_fd=self._folder)
            raise
        finally:
            os.close(descriptor)

    def move(self, partial: _Partial, name: str, folder: int) -> None:
        """Put a file that is whole in its place. folder: descriptor of that in which it gets `name`."""
        os.replace(partial.name, name, src_dir_fd=self._folder, dst_dir_fd=folder)

    def _try_enter(self) -> bool:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(FileExistsError):
            self.path.mkdir()
        try:
            self._folder = os.open(self.path, _INSIDE)
        except FileNotFoundError:  # another process removed it in this moment
            return False
        except OSError as error:
            _refuse_link(self.path, self.path, None, error)
            raise
        with contextlib.ExitStack() as stack:
            stack.callback(os.close, self._folder)
            try:
                self._lock = open_plain(_LOCK, os.O_RDWR | os.O_CREAT, folder=self._folder)
            except FileNotFoundError:
                return False
            except OutputExistsError as error:
                raise OutputExistsError(f"{self.path}/{error}") from error
            stack.callback(os.close, self._lock)
            if try_lock(self._lock) and self.is_there():
                self._clean()
            if not try_lock_shared(self._lock) or not self.is_there():
                return False
            stack.pop_all()
        return True

    def _list(self) -> list[str]:
        return os.listdir(self._folder)  # noqa: PTH208 - a Path takes no descriptor

    def _clean(self) -> None:
        """Remove what a killed run left half-written; what else is here is somebody's."""
        for name in filter(_OURS.fullmatch, self._list()):
            if stat.S_ISREG(os.lstat(name, dir_fd=self._folder).st_mode):
                os.unlink(name, dir_fd=self._folder)


def _refuse_link(shown: Path, path: Path | str, folder: int | None, error: OSError) -> None:
    """Raise `OutputExistsError` where what could not be opened as a folder is there, and is none."""
    with contextlib.suppress(OSError):
        mode = os.lstat(path, dir_fd=folder).st_mode
        if not stat.S_ISDIR(mode):
            kind = "a link" if stat.S_ISLNK(mode) else "no folder"
            raise OutputExistsError(f"{shown} is {kind}: remove it, or choose another `output`") from error


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
        data = data[_write_directly(descriptor, data[:whole]) :]
    while data:
        data = data[os.write(descriptor, data) :]


def _write_directly(descriptor: int, data: memoryview) -> int:
    """Write whole pages past the system's cache; give how many bytes that were, 0 where that cannot be."""
    if not hasattr(os, "O_DIRECT"):
        return 0
    import fcntl

    flags = fcntl.fcntl(descriptor, fcntl.F_GETFL)
    written = 0
    try:
        fcntl.fcntl(descriptor, fcntl.F_SETFL, flags | os.O_DIRECT)
        while written < len(data) and written % _PAGE == 0:
            written += os.write(descriptor, data[written:])
    except OSError as error:
        if error.errno not in _NOT_DIRECTLY:
            raise
    finally:
        fcntl.fcntl(descriptor, fcntl.F_SETFL, flags)
    return written
