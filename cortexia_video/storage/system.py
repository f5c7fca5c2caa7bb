"""The file system, and what differs between systems: links, folders that are held, locks, renaming, flushing.

`PartialFolder` is where files are written until they are whole; it needs all of it.

POSIX has all of it. Where a system has less (Windows, some network mounts) each function does what comes nearest,
and says so. Nothing that only some systems have is imported before it is needed.
"""

from __future__ import annotations

import errno
import functools
import logging
import os
import re
import secrets
import stat
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path, PurePath
from typing import Any, Self

import xxhash

from cortexia_video.errors import OutputError, OutputExistsError, describe

MOVES_OPEN_FILES = os.open in os.supports_dir_fd
"""Whether a file that is open can be renamed and removed; not on Windows, which holds no folders open either."""
AT_ONCE = getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
"""Flags of `os.open`: do not wait for a pipe's writer; bytes as they are, to which Windows adds carriage returns."""
PAGE = 4096
"""Bytes of memory, and of a file, that a disk takes as they are."""
_NO_LINK = getattr(os, "O_NOFOLLOW", 0)
_FOLDER = os.O_RDONLY | getattr(os, "O_DIRECTORY", 0)
_NO_FLUSHING = frozenset({errno.EINVAL, errno.ENOTSUP, errno.ENOSYS})
_NOT_DIRECTLY = frozenset({errno.EINVAL, errno.ENOTSUP})  # this file system, or not with these pages
_LOCK_FILE = "lock"
_OURS = re.compile(r"[0-9a-f]{16}")  # names of what is half written
_WORTH_IT = 1 << 20  # bytes
_LOCK_TRIES, _LOOK_S = 4, 0.02
_REPLACE_TRIES, _REPLACE_S = 8, 0.01  # 2.5 s in all
_LOCKED_BYTE = 1 << 62  # on Windows nobody may read a byte that is locked: one that no file has
_IS_LOCKED = 33  # an error of Windows
_IS_WINDOWS = os.name == "nt"
_DEVICE = re.compile(
    r"(?:con|prn|aux|nul|com[0-9\u00b9\u00b2\u00b3]|lpt[0-9\u00b9\u00b2\u00b3])(?:\..*)?", re.IGNORECASE
)
_NO_LETTER = re.compile(r'[<>:"|?*\\\x00-\x1f]')
_log = logging.getLogger(__name__)


def open_plain(path: Path | str, flags: int) -> int:
    """Open a plain file, or make it where `flags` say so; return its descriptor.

    Raises `OSError`, and `OutputExistsError` for a link, which is not followed, and for a pipe or a device, which is
    not waited for. On Windows a link that is put there in that moment is followed.
    """
    return _open_plain(path, flags, Path(path), None)


def _open_plain(name: Path | str, flags: int, path: Path, folder: int | None) -> int:
    if not _NO_LINK:
        require_plain(path)
    try:
        descriptor = os.open(name, flags | _NO_LINK | AT_ONCE, 0o666, dir_fd=folder)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise OutputExistsError(f"{path} is a link: remove it") from error
        raise
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OutputExistsError(f"{path} is no plain file: remove it")
    return descriptor


def require_plain(path: Path) -> None:
    """Raise `OutputExistsError` where a link, a folder, a pipe or a device stands in a file's place."""
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISREG(mode):
        raise OutputExistsError(f"{path} is {'a link' if stat.S_ISLNK(mode) else 'no plain file'}: remove it")


def find_bad_name(path: str, *, windows: bool = _IS_WINDOWS) -> str | None:
    """Return why no file can have a name, whose parts are between slashes, on this system; None where one can.

    Windows takes some names for devices, a colon for a part of a file, and leaves dots and spaces at the end away.
    """
    for part in path.split("/") if windows else ():
        if _NO_LETTER.search(part):
            return f"has {_NO_LETTER.findall(part)[0]!r} in it, which no name on a disk of Windows may have"
        if _DEVICE.fullmatch(part):
            return f"has the part {part!r}, which is a device of Windows"
        if part.endswith((".", " ")):
            return f"has the part {part!r}: Windows leaves away what it ends with"
    return None


class HeldFolder:
    """A folder that is open: what is done by it is done there, also where a link takes its name meanwhile.

    On Windows, where none can be held, its names are looked up each time. above: the folder that `path` is a name in.
    follows: it may be a link. Raises `OSError` where it cannot be opened, and `OutputExistsError` for a link or what
    is no folder.
    """

    def __init__(self, path: Path | str, *, above: HeldFolder | None = None, follows: bool = False) -> None:
        self.path: Path = above.path / path if above else Path(path)
        self._at: int | None = None
        inside = above._at if above else None
        try:
            if MOVES_OPEN_FILES:
                self._at = os.open(path, _FOLDER | (0 if follows else _NO_LINK), dir_fd=inside)
            elif not stat.S_ISDIR((self.path.stat() if follows else self.path.lstat()).st_mode):
                raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(self.path))
        except OSError as error:
            if not follows:
                _refuse_link(self.path, error)
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close it."""
        if self._at is not None:
            os.close(self._at)

    def open_plain(self, name: str, flags: int) -> int:
        """Open a plain file in it; as `open_plain` does."""
        return _open_plain(self._name(name), flags, self.path / name, self._at)

    def make_folder(self, name: str) -> None:
        """Make a folder in it, unless one is there."""
        with suppress(FileExistsError):
            os.mkdir(self._name(name), dir_fd=self._at)

    def list_names(self) -> list[str]:
        """Return what is in it, in no order."""
        return os.listdir(self.path if self._at is None else self._at)  # noqa: PTH208 - a Path takes no descriptor

    def is_plain(self, name: str) -> bool:
        """Return whether a plain file of this name is in it."""
        try:
            return stat.S_ISREG(os.lstat(self._name(name), dir_fd=self._at).st_mode)
        except FileNotFoundError:
            return False

    def remove(self, name: str) -> None:
        """Remove a file in it."""
        os.unlink(self._name(name), dir_fd=self._at)

    def move(self, name: str, folder: HeldFolder, new: str) -> None:
        """Rename a file in it into another folder, over what is there; as `replace` does."""
        replace(self._name(name), folder._name(new), src_dir_fd=self._at, dst_dir_fd=folder._at)

    def _name(self, name: str) -> str | Path:
        return self.path / name if self._at is None else name


def _refuse_link(path: Path, error: OSError) -> None:
    """Raise `OutputExistsError` where what could not be opened as a folder is there, and is none."""
    with suppress(OSError):
        mode = path.lstat().st_mode
        if not stat.S_ISDIR(mode):
            kind = "a link" if stat.S_ISLNK(mode) else "no folder"
            raise OutputExistsError(f"{path} is {kind}: remove it, or choose another `output`") from error


def replace(file: Path | str, place: Path | str, **folders: int | None) -> None:
    """Rename a file over what is in its place. folders: as `os.replace` takes them.

    Windows refuses that while somebody reads what is there: it is tried for 2.5 s.
    """
    for left in reversed(range(_REPLACE_TRIES)):
        try:
            os.replace(file, place, **folders)  # noqa: PTH105 - a Path takes no descriptors
            return
        except PermissionError:
            if MOVES_OPEN_FILES or not left:
                raise
            time.sleep(_REPLACE_S * 2 ** (_REPLACE_TRIES - left))


def flush_to_disk(descriptor: int) -> None:
    """Let the disk have what was written, where the file system can; `OSError` where the disk cannot."""
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in _NO_FLUSHING:
            raise


def flush_folder(folder: Path) -> None:
    """Let the disk have the names in a folder, where that can be asked for."""
    if not MOVES_OPEN_FILES:
        return
    with suppress(PermissionError):  # a folder may be one to write to and not to read
        descriptor = os.open(folder, _FOLDER)
        try:
            flush_to_disk(descriptor)
        finally:
            os.close(descriptor)


def read_at(descriptor: int, count: int, begin: int) -> bytes:
    """Read bytes of a file that is appended to; its position is nobody's."""
    if hasattr(os, "pread"):
        return os.pread(descriptor, count, begin)
    os.lseek(descriptor, begin, os.SEEK_SET)
    return os.read(descriptor, count)


def _write(descriptor: int, chunks: Sequence[bytes | memoryview]) -> tuple[int, str]:
    """Fill a new file and flush it to the disk; return its size and its digest.

    What is large, and lies on pages in memory and in the file, goes to the disk without a copy in the cache:
    48 MB take 8 ms of a core, not 20 to 40.
    """
    digest = xxhash.xxh3_128()
    for chunk in chunks:
        digest.update(chunk)
        data, whole = memoryview(chunk), len(chunk) // PAGE * PAGE
        if whole >= _WORTH_IT:
            import numpy as np

            begin = np.frombuffer(data, np.uint8).ctypes.data
            if begin % PAGE == 0 and os.lseek(descriptor, 0, os.SEEK_CUR) % PAGE == 0:
                data = data[_write_past_cache(descriptor, data[:whole]) :]
        while data:  # the system may take fewer bytes at a time, never over 2 GiB
            data = data[os.write(descriptor, data) :]
    os.fsync(descriptor)
    return sum(len(chunk) for chunk in chunks), digest.hexdigest()


def _write_past_cache(descriptor: int, data: memoryview) -> int:
    """Write whole pages past the system's cache; return how many bytes that were, 0 where that cannot be."""
    if not hasattr(os, "O_DIRECT"):
        return 0
    import fcntl

    flags = fcntl.fcntl(descriptor, fcntl.F_GETFL)
    written = 0
    try:
        fcntl.fcntl(descriptor, fcntl.F_SETFL, flags | os.O_DIRECT)
        while written < len(data) and written % PAGE == 0:
            written += os.write(descriptor, data[written:])
    except OSError as error:
        if error.errno not in _NOT_DIRECTLY:
            raise
    finally:
        fcntl.fcntl(descriptor, fcntl.F_SETFL, flags)
    return written


def try_lock(descriptor: int) -> bool:
    """Lock a file, open for writing, until it is closed; return False where another process has it.

    A shared lock of one's own becomes this one, and is lost where that fails. Where there are no such locks (some
    network mounts) it returns True, and warns once: nobody is kept off. Locked is the file itself, with nothing
    beside it, and everybody may read it all the same.
    """
    return _try_lock(descriptor, shared=False)


def try_lock_shared(descriptor: int) -> bool:
    """Lock an open file as `try_lock` does, beside others who do the same."""
    return _try_lock(descriptor, shared=True)


def require_lock(descriptor: int, folder: Path, doing: str, remedy: str = "choose another `output`") -> None:
    """Keep other processes off a folder by a lock on a file in it; `OutputError` where one is there.

    doing, remedy: for the error: what it does, as in `is writing to`, and what to do but wait for it.
    """
    for left in reversed(range(_LOCK_TRIES)):
        if try_lock(descriptor):
            return
        if left:
            time.sleep(_LOOK_S)  # it may be one that only looks
    raise OutputError(f"another process {doing} {folder}: wait for it, or {remedy}")


def is_locked(path: Path) -> bool | None:
    """Return whether a process has locked a file; None where nobody can tell. Nothing is written.

    To see that, the file is held for microseconds: `require_lock` tries again.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | AT_ONCE)
    except OSError:  # a file that is gone, or that nobody may open
        return None
    try:
        return not _lock(descriptor, shared=True)
    except OSError:
        return None
    finally:
        os.close(descriptor)


def _try_lock(descriptor: int, *, shared: bool) -> bool:
    try:
        return _lock(descriptor, shared=shared)
    except OSError as error:
        _warn(describe(error))
        return True


@functools.cache
def _warn(reason: str) -> None:
    _log.warning("this file system has no locks (%s): run one process at a time", reason)


def _lock(descriptor: int, *, shared: bool) -> bool:
    """Lock a file, or return False; `OSError` where that cannot be asked for."""
    try:
        import fcntl
    except ImportError:
        return _lock_on_windows(descriptor, shared=shared)
    try:
        fcntl.flock(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
            return False
        raise
    return True


def _lock_on_windows(descriptor: int, *, shared: bool) -> bool:
    """Lock a byte that lies past the end of every file, so that all others can be read by anybody."""
    import ctypes

    handle_of, kernel, last_error = _find_windows()
    handle = ctypes.c_void_p(handle_of(descriptor))
    where = ctypes.byref((ctypes.c_uint64 * 4)(0, 0, _LOCKED_BYTE, 0))  # an OVERLAPPED of 64 bits
    kernel.UnlockFileEx(handle, 0, 1, 0, where)  # one's own, which would be in the way
    at_once, alone = 1, 0 if shared else 2
    if kernel.LockFileEx(handle, at_once | alone, 0, 1, 0, where):
        return True
    if (code := last_error()) != _IS_LOCKED:
        raise OSError(errno.ENOTSUP, f"LockFileEx: error {code}")
    return False


def _find_windows() -> tuple[Any, Any, Any]:
    """Return what only Windows has: the handle of a descriptor, the kernel's functions, why the last one failed."""
    import ctypes
    from importlib import import_module

    system: Any = ctypes
    kernel = system.WinDLL("kernel32", use_last_error=True)
    return import_module("msvcrt").get_osfhandle, kernel, system.get_last_error


class PartialFolder:
    """The folder of half-written files, shared by the processes that write to one output; whole ones leave it.

    A lock on a file in it says who uses it: shared while in use, exclusive to clean it and to remove it. Not
    on the folder itself: on network mounts other machines would not see that. The folder is held: a link in its
    place, or put there later, leads nowhere.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = -1
        self.folds_case = False  # `a` and `A` are one file

    def enter(self) -> None:
        """Make it; where no other process uses it, remove what a killed one left half-written."""
        while not self._try_enter():
            time.sleep(0.01)  # another process cleans or removes it

    def leave(self) -> None:
        """Close it, and remove it where no other process uses it."""
        with ExitStack() as stack, suppress(OSError):
            stack.callback(self._folder.close)
            lock = stack.enter_context(os.fdopen(self._lock, "rb"))
            if try_lock(self._lock) and self.is_there() and self._folder.list_names() == [_LOCK_FILE]:
                if not MOVES_OPEN_FILES:
                    lock.close()  # the system itself keeps off what others have open
                self._folder.remove(_LOCK_FILE)
                lock.close()  # or a network mount would keep it in the folder, by another name
                self.path.rmdir()

    def is_there(self) -> bool:
        """Return whether the path still leads to the folder that was entered."""
        try:
            return os.path.samestat((self.path / _LOCK_FILE).lstat(), os.fstat(self._lock))
        except OSError:
            return False

    def require(self) -> None:
        """Raise `OSError` where it does not exist any more."""
        if not self.is_there():
            raise FileNotFoundError(errno.ENOENT, "the output folder is gone")

    def takes_files(self) -> bool:
        """Return whether another file can be written here."""
        try:
            with self._new_file([b"\0"]) as (name, _):
                self._folder.remove(name)
        except OSError:
            return False
        return self.is_there()

    def place(self, chunks: Sequence[bytes | memoryview], root: Path, path: PurePath) -> tuple[int, str]:
        """Write a file at a path below `root`, whole and on the disk; return its size and its digest.

        Folders that are missing there are made; `root` never is. It alone may be a link: `OutputExistsError` for one
        inside, which leads to where nobody knows what is whose.
        """
        with self._new_file(chunks) as (name, placed):
            self.require()  # else a folder would be made where a mount was
            folder = HeldFolder(root, follows=True)
            try:
                for part in path.parts[:-1]:
                    folder.make_folder(part)
                    above = folder
                    folder = HeldFolder(part, above=above)
                    above.close()
                self._folder.move(name, folder, path.name)
            finally:
                folder.close()
        return placed

    @contextmanager
    def _new_file(self, chunks: Sequence[bytes | memoryview]) -> Iterator[tuple[str, tuple[int, str]]]:
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
            with suppress(OSError):
                self._folder.remove(name)
            raise

    def _try_enter(self) -> bool:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with suppress(FileExistsError):
            self.path.mkdir()
        with ExitStack() as stack:
            try:
                self._folder = stack.enter_context(HeldFolder(self.path))
                self._lock = self._folder.open_plain(_LOCK_FILE, os.O_RDWR | os.O_CREAT)
            except FileNotFoundError:  # another process removed it in this moment
                return False
            stack.callback(os.close, self._lock)
            names = [name for name in self._folder.list_names() if _OURS.fullmatch(name)]
            if names and try_lock(self._lock) and self.is_there():
                for name in filter(self._folder.is_plain, names):  # what else is here is somebody's
                    self._folder.remove(name)
            if not try_lock_shared(self._lock) or not self.is_there():
                return False
            self.folds_case = self._folder.is_plain(_LOCK_FILE.upper())
            stack.pop_all()
        return True
