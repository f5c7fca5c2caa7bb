"""`write_atomic`: a file that is at its place when all of it is written, or does not exist.

Here is also what every writer keeps to: nothing is written through a link, what is half written has a random
name, and what a killed writer left is told by that name and by nobody holding it: its lock goes when the process
ends, however it ends.
"""

from __future__ import annotations

import errno
import os
import re
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from cortexia_video.errors import OutputError, OutputExistsError, describe, output_lost
from cortexia_video.storage.paths import AnyPath
from cortexia_video.storage.remote_path import RemotePath
from cortexia_video.storage.system import (
    MOVES_OPEN_FILES,
    flush_folder,
    flush_to_disk,
    open_plain,
    replace,
    require_plain,
    try_lock,
)

_PARTIAL = r"\.{name}\.[0-9a-f]{{16}}\.partial"  # of `.NAME.RANDOM.partial`, until the file is whole
_SCRATCH = re.compile(r"\.cortexia-scratch-[0-9a-f]{16}")
_LOCK = "lock"
_NEVER = frozenset(  # no file can be here, whatever room is made; Windows says so of names by the last two
    {errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EEXIST, errno.ENAMETOOLONG}
    | {errno.ENOENT, errno.EINVAL}
)


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
    with ExitStack() as stack:
        stack.callback(partial.unlink, missing_ok=True)
        held = stack.enter_context(os.fdopen(descriptor, "rb"))
        try_lock(descriptor)  # so others know that its writer lives
        yield partial
        if not MOVES_OPEN_FILES:
            held.close()
        move_whole(partial, place)


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
    finally:
        os.close(descriptor)
    replace(file, place)
    flush_folder(place.parent)


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
                if _is_left(folder / name):
                    (folder / name).unlink()


@contextmanager
def scratch_folder(parent: Path | None) -> Iterator[Path]:
    """Yield a new folder in `parent`, by default in the system's for what is temporary; it is gone afterwards.

    Those that killed processes left in `parent` are removed first: folders named as these are, whose lock nobody
    holds. Raises `OSError`.
    """
    with suppress(OSError):
        for name in filter(_SCRATCH.fullmatch, os.listdir(parent) if parent else ()):  # noqa: PTH208
            left = Path(parent or "", name)
            with suppress(OSError, OutputExistsError):  # not a link, nor where somebody works
                is_ours = not left.is_symlink() and {each.name for each in left.iterdir()} <= {_LOCK, "new"}
                if is_ours and _is_left(left / _LOCK):
                    shutil.rmtree(left, ignore_errors=True)
    folder = Path(parent or tempfile.gettempdir(), f".cortexia-scratch-{secrets.token_hex(8)}")
    folder.mkdir(mode=0o700)
    descriptor = open_plain(folder / _LOCK, os.O_RDWR | os.O_CREAT | os.O_EXCL)
    try:
        try_lock(descriptor)
        (inside := folder / "new").mkdir()
        yield inside
    finally:
        os.close(descriptor)
        shutil.rmtree(folder, ignore_errors=True)


def _is_left(file: Path) -> bool:
    """Return whether no process holds a plain file any more."""
    descriptor = open_plain(file, os.O_RDWR)
    try:
        return try_lock(descriptor)
    finally:
        os.close(descriptor)
