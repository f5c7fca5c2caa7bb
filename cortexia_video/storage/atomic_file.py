"""`write_atomic`: a file that is at its place when all of it is written, or does not exist.

Here is also what every writer keeps to: nothing is written through a link, what is half written has a random
name, and what a killed writer left is told by that name and by nobody holding it. Locks keep other processes
off a file; the system lets go when the process ends, however it ends.
"""

from __future__ import annotations

import errno
import functools
import logging
import os
import re
import secrets
import shutil
import stat
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from cortexia_video.errors import OutputError, OutputExistsError, describe, output_lost
from cortexia_video.storage.paths import AnyPath
from cortexia_video.storage.remote_path import RemotePath

_PARTIAL = r"\.{name}\.[0-9a-f]{{16}}\.partial"  # of `.NAME.RANDOM.partial`, until the file is whole
_SCRATCH = re.compile(r"\.cortexia-scratch-[0-9a-f]{16}")
_LOCK = "lock"
_NEVER = frozenset(  # a file can be here, whatever room is made
    {errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EEXIST, errno.ENAMETOOLONG}
)
_LOCK_TRIES, _LOOK_S = 4, 0.02
_log = logging.getLogger(__name__)
_NO_FLUSHING = frozenset({errno.EINVAL, errno.ENOTSUP, errno.ENOSYS})


@contextmanager
def write_atomic(place: AnyPath) -> Iterator[Path]:
    """Yield the name of an empty file to fill; after the block it is put in its place, on the disk.

    Until then it lies beside that, or in the system's folder for what is temporary where `place` is an
    URL. Where the block raises, nothing changes. Raises `OutputExistsError` where a link, a folder or a
    device stands, `OutputError` where no file can be, and `OutputLostError` for every other `OSError`.
    """
    writing = _write_and_put(place) if isinstance(place, RemotePath) else _write_and_rename(place)
    with output_lost(place), writing as file:
        yield file


@contextmanager
def _write_and_rename(place: Path) -> Iterator[Path]:
    partial = place.with_name(f".{place.name}.{secrets.token_hex(8)}.partial")
    try:
        require_plain(place)
        place.parent.mkdir(parents=True, exist_ok=True)
        remove_partials(place.parent, re.escape(place.name))
        descriptor = open_plain(partial, os.O_RDWR | os.O_CREAT | os.O_EXCL)
    except OSError as error:
        if error.errno in _NEVER:
            raise OutputError(f"cannot write {place}: {describe(error)}; choose another `output`") from error
        raise
    try:
        try_lock(descriptor)  # so others know that its writer lives
        yield partial
        move_whole(partial, place)
    finally:
        partial.unlink(missing_ok=True)
        os.close(descriptor)


@contextmanager
def _write_and_put(place: RemotePath) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="cortexia-") as folder:
        local = Path(folder) / "whole"
        local.touch()
        yield local
        move_whole(local, place)


def move_whole(file: Path, place: AnyPath) -> None:
    """Move a file that is whole to its place, and let the disk have both; raises as `write_atomic` does."""
    if isinstance(place, RemotePath):
        place.put_file(file)
        return
    require_plain(place)
    descriptor = open_plain(file, os.O_RDWR)
    try:
        flush_to_disk(descriptor)
        file.replace(place)
    finally:
        os.close(descriptor)
    with suppress(PermissionError):  # a folder may be one to write to and not to read
        descriptor = os.open(place.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            flush_to_disk(descriptor)
        finally:
            os.close(descriptor)


def make_folder(folder: Path) -> None:
    """Make a folder where none is; raises `OSError`, and `OutputExistsError` for a link in its place."""
    if folder.is_symlink():
        raise OutputExistsError(f"{folder} is a link: remove it")
    folder.mkdir(parents=True, exist_ok=True)


def remove_partials(folder: Path, names: str) -> None:
    """Remove what killed writers of `names`, a regular expression, left half written; nothing else.

    That is plain files named as `write_atomic` names them, which no process holds.
    """
    ours = re.compile(_PARTIAL.format(name=f"(?:{names})"))
    with suppress(OSError):  # nobody may look: what is there does no harm
        for name in filter(ours.fullmatch, os.listdir(folder)):  # noqa: PTH208 - names, not paths, are matched
            with suppress(OSError, OutputExistsError):
                descriptor = open_plain(folder / name, os.O_RDWR)
                try:
                    if try_lock(descriptor):
                        (folder / name).unlink()
                finally:
                    os.close(descriptor)


@contextmanager
def scratch_folder(parent: Path | None) -> Iterator[Path]:
    """Yield a new folder in `parent`, by default in the system's for what is temporary; it is gone afterwards.

    Those that killed processes left in `parent` are removed first: folders named as these are, whose lock nobody
    holds. Raises `OSError`.
    """
    with suppress(OSError):
        for name in filter(_SCRATCH.fullmatch, os.listdir(parent) if parent else ()):  # noqa: PTH208
            _remove_scratch(Path(parent or "", name))
    folder = Path(parent or tempfile.gettempdir(), f".cortexia-scratch-{secrets.token_hex(8)}")
    folder.mkdir(mode=0o700)
    descriptor = open_plain(folder / _LOCK, os.O_RDWR | os.O_CREAT | os.O_EXCL)
    try:
        try_lock(descriptor)
        (inside := folder / "new").mkdir()
        yield inside
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(descriptor)


def _remove_scratch(folder: Path) -> None:
    """Remove a folder of `scratch_folder`, unless it is a link or somebody works in it."""
    with suppress(OSError, OutputExistsError):
        if folder.is_symlink() or {each.name for each in folder.iterdir()} - {_LOCK, "new"}:
            return
        descriptor = open_plain(folder / _LOCK, os.O_RDWR)
        try:
            if try_lock(descriptor):
                shutil.rmtree(folder, ignore_errors=True)
        finally:
            os.close(descriptor)


def open_plain(path: Path | str, flags: int, *, folder: int | None = None) -> int:
    """Open a plain file, or make it where `flags` say so; give its descriptor.

    folder: descriptor of the folder that `path` is a name in. Raises `OSError`, and `OutputExistsError` for a
    link, which is not followed, and for a pipe or a device, which is not waited for.
    """
    try:
        descriptor = os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK, 0o666, dir_fd=folder)
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


def flush_to_disk(descriptor: int) -> None:
    """Let the disk have what was written, where the file system can; `OSError` where the disk cannot."""
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in _NO_FLUSHING:
            raise


def try_lock(descriptor: int) -> bool:
    """Lock a file, open for writing, until it is closed; say False where another process has it.

    A shared lock of one's own becomes this one, and is lost where that fails. Where there are no such locks
    (Windows, some network mounts) it says True: nobody is kept off.
    """
    return _try("LOCK_EX", descriptor)


def try_lock_shared(descriptor: int) -> bool:
    """Lock an open file as `try_lock` does, beside others who do the same."""
    return _try("LOCK_SH", descriptor)


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
        import fcntl

        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    except (ImportError, OSError):  # Windows; a file that is gone, or that nobody may open
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError as error:
        return True if error.errno in (errno.EWOULDBLOCK, errno.EACCES) else None
    finally:
        os.close(descriptor)
    return False


def _try(kind: str, descriptor: int) -> bool:
    try:
        import fcntl
    except ImportError:  # Windows
        return True
    try:
        fcntl.flock(descriptor, getattr(fcntl, kind) | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
            return False
        _warn(describe(error))
    return True


@functools.cache
def _warn(reason: str) -> None:
    _log.warning("this file system has no locks (%s): run one process at a time", reason)
