"""`FolderSink`: one file or more per key in a folder, each there whole or not at all."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import time
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePath
from typing import Any, Self

import numpy as np
import xxhash

from cortexia_video.errors import OutputError, OutputLostError
from cortexia_video.file_lock import try_lock, try_lock_shared
from cortexia_video.formats import npy
from cortexia_video.formats.stored import Chunks
from cortexia_video.formats.table import is_own_output
from cortexia_video.sinks.sink import PARTIAL, Placed, Sink

_LOCK = "lock"
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
        try:
            self._partial.enter()
        except OSError as error:
            raise OutputError(
                f"cannot write to {self.root}: {error.strerror}; choose another --output"
            ) from error
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
        path = self.root / name
        try:
            with self._partial.new_file() as partial:
                placed = _write(partial, chunks)
                self._partial.require()  # else a folder would be made where a mount was
                self._make_folders(name)
                partial.replace(path)
        except OSError as error:
            if self._takes_no_more(error):
                raise OutputLostError(path, error) from error
            raise
        return placed

    def _make_folders(self, name: str) -> None:
        """Make the folders above a file, but never the root: where that is gone it stays so."""
        if not (self.root / name).parent.is_dir():
            for folder in reversed(PurePath(name).parents[:-1]):
                (self.root / folder).mkdir(exist_ok=True)

    def _takes_no_more(self, error: OSError) -> bool:
        """Say whether an error is not one file's; some (EIO, say) can be either, so another file is tried."""
        known = _FULL_OR_READ_ONLY | _DEVICE_IS_GONE | _HOST_IS_GONE
        return error.errno in known or not self._partial.takes_files()


class _PartialFolder:
    """The folder of half-written files, shared by the processes that write to one output.

    A lock on a file in it says who uses it: shared while in use, exclusive to clean it and to remove it. Not
    on the folder itself: on network mounts other machines would not see that.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._descriptor = -1

    def enter(self) -> None:
        while not self._try_enter():
            time.sleep(0.01)  # another process cleans or removes it

    def leave(self) -> None:
        if try_lock(self._descriptor) and self.is_there():
            with contextlib.suppress(OSError):
                (self.path / _LOCK).unlink()
                self.path.rmdir()
        os.close(self._descriptor)

    def is_there(self) -> bool:
        """Say whether the path still leads to the folder that was entered."""
        try:
            return os.path.samestat((self.path / _LOCK).stat(), os.fstat(self._descriptor))
        except OSError:
            return False

    def require(self) -> None:
        """Raise `OSError` where it is not there any more."""
        if not self.is_there():
            raise FileNotFoundError(errno.ENOENT, "the output folder is gone")

    def takes_files(self) -> bool:
        """Say whether another file can be written here."""
        try:
            with self.new_file() as partial:
                _write(partial, [b"\0"])
                partial.unlink()
        except OSError:
            return False
        return self.is_there()

    @contextlib.contextmanager
    def new_file(self) -> Iterator[Path]:
        """Give a path that nobody else uses; on an error, what is there is removed."""
        partial = self.path / secrets.token_hex(8)
        try:
            yield partial
        except BaseException:
            with contextlib.suppress(OSError):
                partial.unlink()
            raise

    def _try_enter(self) -> bool:
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except FileExistsError:
            if not self.path.exists():  # another process removed it in this moment
                return False
            raise
        try:
            self._descriptor = os.open(self.path / _LOCK, os.O_RDWR | os.O_CREAT, 0o666)
        except FileNotFoundError:
            return False
        try:
            if try_lock(self._descriptor) and self.is_there():
                self._clean()
            entered = try_lock_shared(self._descriptor) and self.is_there()
        except BaseException:
            os.close(self._descriptor)
            raise
        if not entered:
            os.close(self._descriptor)
        return entered

    def _clean(self) -> None:
        for leftover in self.path.iterdir():
            if leftover.name != _LOCK:
                leftover.unlink()


def _write(path: Path, chunks: Chunks) -> Placed:
    """Write a new file and flush it to the disk."""
    digest = xxhash.xxh3_128()
    with path.open("xb", buffering=0) as file:
        for chunk in chunks:
            digest.update(chunk)
            _write_all(file.fileno(), memoryview(chunk))
        os.fsync(file.fileno())
    return Placed(sum(len(chunk) for chunk in chunks), digest.hexdigest())


def _write_all(descriptor: int, data: memoryview) -> None:
    """Write every byte; the system may take fewer at a time, never over 2 GiB.

    What is large, and lies on pages in memory and in the file, goes to the disk without a copy in the cache:
    48 MB take 8 ms of a core, not 20 to 40.
    """
    whole = len(data) // _PAGE * _PAGE
    if whole >= _WORTH_IT and _lies_on_pages(descriptor, data):
        data = data[_write_directly(descriptor, data[:whole]) :]
    while data:
        data = data[os.write(descriptor, data) :]


def _lies_on_pages(descriptor: int, data: memoryview) -> bool:
    address = np.frombuffer(data, np.uint8).ctypes.data
    return address % _PAGE == 0 and os.lseek(descriptor, 0, os.SEEK_CUR) % _PAGE == 0


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
