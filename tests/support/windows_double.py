"""A double of Windows: what it does not have is taken away, what it refuses is refused; the rest is this system's.

`install()` must come before the package is imported. Then `python -m windows_double '[["estimate", ...], ...]'`
runs commands one after another, and prints their exit codes. What it cannot show: what Windows' own calls answer.
"""

from __future__ import annotations

import builtins
import ctypes
import errno
import getpass
import io
import json
import multiprocessing.util
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from types import ModuleType, SimpleNamespace
from typing import Any

BLOCKED = ("fcntl", "resource", "pwd", "grp", "termios", "tty", "pty", "syslog", "crypt", "nis", "spwd")
_TAKEN = {  # what Windows' modules have not
    "os": "O_NOFOLLOW O_NONBLOCK O_DIRECTORY O_DIRECT O_NOATIME O_SYNC pread pwrite preadv pwritev sched_getaffinity "
    "sched_setaffinity getuid geteuid getgid getegid fork forkpty mkfifo mknod fchmod fchown chown lchown chroot "
    "fchdir posix_fadvise posix_fallocate sendfile copy_file_range getloadavg killpg setsid wait3 wait4 nice "
    "openpty login_tty sysconf",
    "signal": "SIGKILL SIGHUP SIGUSR1 SIGUSR2 SIGCHLD SIGPIPE SIGALRM pthread_sigmask pthread_kill alarm",
}
_RESERVED = frozenset('<>:"|?*')
_USED = (
    getpass,
    io,
    multiprocessing.util,
    signal,
    subprocess,
    tempfile,
)  # imported before: they ask what there is


def install() -> None:
    """Make this process one of Windows, as far as Python's own modules go."""
    import fcntl

    flock = fcntl.flock
    for name in BLOCKED:
        sys.modules[name] = None  # type: ignore[assignment]
    for module, names in _TAKEN.items():
        for name in names.split():
            vars(sys.modules[module]).pop(name, None)
    os.supports_dir_fd, os.supports_fd = set(), set()
    shutil._use_fd_functions = False  # type: ignore[attr-defined]
    for name in (
        "stat",
        "lstat",
        "mkdir",
        "unlink",
        "remove",
        "rmdir",
        "rename",
        "replace",
        "open",
        "listdir",
    ):
        setattr(os, name, _without_folders(getattr(os, name)))
    os.open = _refuse_folders(os.open)  # type: ignore[assignment]
    for name in ("unlink", "remove", "rename", "replace"):
        setattr(os, name, _refuse_open_files(getattr(os, name)))
    builtins.open = io.open = _refuse_names(builtins.open)  # type: ignore[assignment]
    _install_locks(flock)


def is_open(path: Any) -> bool:
    """Return whether any process of this user has a file open, or this one a folder."""
    try:
        wanted = Path(path).stat(follow_symlinks=False)
    except OSError:
        return False
    for each in Path("/proc").glob("[0-9]*/fd/*"):
        try:
            if os.path.samestat(each.stat(), wanted):
                return True
        except OSError:
            continue
    return False


def _without_folders(call: Callable[..., Any]) -> Callable[..., Any]:
    def wrapped(*given: Any, **options: Any) -> Any:
        if any(options.pop(name, None) is not None for name in ("dir_fd", "src_dir_fd", "dst_dir_fd")):
            raise NotImplementedError("no folder can be open on Windows")
        if call.__name__ == "listdir" and given and isinstance(given[0], int):
            raise TypeError("no folder can be open on Windows")
        return call(*given, **options)

    return wrapped


def _refuse_folders(call: Callable[..., Any]) -> Callable[..., Any]:
    def wrapped(path: Any, flags: int, *given: Any, **options: Any) -> Any:
        _require_name(path)
        if Path(path).is_dir() and not flags & os.O_TMPFILE == os.O_TMPFILE:  # a file without a name: as good
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        return call(path, flags, *given, **options)

    return wrapped


def _refuse_names(call: Callable[..., Any]) -> Callable[..., Any]:
    def wrapped(path: Any, *given: Any, **options: Any) -> Any:
        if not isinstance(path, int):
            _require_name(path)
        return call(path, *given, **options)

    return wrapped


def _require_name(path: Any) -> None:
    parts = PurePosixPath(os.fsdecode(path)).parts
    if any(_RESERVED & {*part} or (part[-1:] in (" ", ".") and part not in (".", "..")) for part in parts):
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL), str(path))


def _refuse_open_files(call: Callable[..., Any]) -> Callable[..., Any]:
    def wrapped(*paths: Any, **options: Any) -> Any:
        for path in paths[:2]:
            if not Path(path).is_dir() and is_open(path):
                raise PermissionError(errno.EACCES, "it is being used by another process", str(path))
        return call(*paths, **options)

    return wrapped


def _install_locks(flock: Callable[[int, int], None]) -> None:
    """Let the kernel of Windows lock by `flock`: of a handle, shared or alone, and never a byte that is read."""
    failed = [0]

    def lock(handle: Any, flags: int, reserved: int, low: int, high: int, where: Any) -> int:
        assert (reserved, low, high) == (0, 1, 0) and flags & 1, "one byte, and nobody waits"
        assert where._obj[2] >= 1 << 62, "nobody could read a byte that is locked"
        try:
            flock(handle.value or 0, (2 if flags & 2 else 1) | 4)
        except BlockingIOError:
            failed[0] = 33
            return 0
        return 1

    def unlock(handle: Any, reserved: int, low: int, high: int, where: Any) -> int:
        flock(handle.value or 0, 8)
        return 1

    kernel = SimpleNamespace(LockFileEx=lock, UnlockFileEx=unlock)
    system: Any = ctypes
    system.WinDLL = lambda name, use_last_error: kernel
    system.get_last_error = lambda: failed[0]
    sys.modules["msvcrt"] = module = ModuleType("msvcrt")
    module.get_osfhandle = lambda descriptor: descriptor  # type: ignore[attr-defined]


def main() -> None:
    """Run the commands given as JSON; print their exit codes as JSON, last."""
    install()
    from cortexia_video.cli import main as run

    codes = []
    for command in json.loads(sys.argv[1]):
        try:
            run(command)
        except SystemExit as ended:
            codes.append(ended.code or 0)
    print(json.dumps(codes))


if __name__ == "__main__":
    main()
