"""What differs between systems, in one place: links, folders that are held, locks, renaming, the system's cache.

POSIX has all of it. Where a system has less (Windows, some network mounts) each function does what comes nearest,
and says so. Nothing that only some systems have is imported before it is needed.
"""

from __future__ import annotations

import errno
import functools
import logging
import os
import re
import stat
import time
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

from cortexia_video.errors import OutputError, OutputExistsError, describe

MOVES_OPEN_FILES = os.open in os.supports_dir_fd
"""Whether a file that is open can be renamed and removed; not on Windows, which holds no folders open either."""
_NO_WAIT = getattr(os, "O_NONBLOCK", 0)  # for a pipe's writer
_NO_LINK = getattr(os, "O_NOFOLLOW", 0)
_BYTES = getattr(os, "O_BINARY", 0)  # as they are: Windows would add carriage returns
_FOLDER = os.O_RDONLY | getattr(os, "O_DIRECTORY", 0)
_NO_FLUSHING = frozenset({errno.EINVAL, errno.ENOTSUP, errno.ENOSYS})
_NOT_DIRECTLY = frozenset({errno.EINVAL, errno.ENOTSUP})  # this file system, or not with these pages
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
    """Open a plain file, or make it where `flags` say so; give its descriptor.

    Raises `OSError`, and `OutputExistsError` for a link, which is not followed, and for a pipe or a device, which is
    not waited for. On Windows a link that is put there in that moment is followed.
    """
    return _open_plain(path, flags, Path(path), None)


def _open_plain(name: Path | str, flags: int, path: Path, folder: int | None) -> int:
    if not _NO_LINK:
        require_plain(path)
    try:
        descriptor = os.open(name, flags | _NO_LINK | _NO_WAIT | _BYTES, 0o666, dir_fd=folder)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise OutputExistsError(f"{path} is a link: remove it") from error
        raise
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OutputExistsError(f"{path} is no plain file: remove it")
    return descriptor


def open_at_once(path: Path | str, flags: int = os.O_RDONLY) -> int:
    """Open what is there, a link's target too, without waiting for a pipe's writer; give its descriptor."""
    return os.open(path, flags | _NO_WAIT | _BYTES)


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
        """Let it go."""
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


def write_past_cache(descriptor: int, data: memoryview, page: int) -> int:
    """Write whole pages past the system's cache; give how many bytes that were, 0 where that cannot be."""
    if not hasattr(os, "O_DIRECT"):
        return 0
    import fcntl

    flags = fcntl.fcntl(descriptor, fcntl.F_GETFL)
    written = 0
    try:
        fcntl.fcntl(descriptor, fcntl.F_SETFL, flags | os.O_DIRECT)
        while written < len(data) and written % page == 0:
            written += os.write(descriptor, data[written:])
    except OSError as error:
        if error.errno not in _NOT_DIRECTLY:
            raise
    finally:
        fcntl.fcntl(descriptor, fcntl.F_SETFL, flags)
    return written


def try_lock(descriptor: int) -> bool:
    """Lock a file, open for writing, until it is closed; say False where another process has it.

    A shared lock of one's own becomes this one, and is lost where that fails. Where there are no such locks (some
    network mounts) it says True, and warns once: nobody is kept off. Locked is the file itself, with nothing
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
        descriptor = open_at_once(path)
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
    """Lock a file, or say False; `OSError` where that cannot be asked for."""
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
