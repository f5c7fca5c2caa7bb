"""One way to open what a data file, a ledger, a recipe or a user names.

Only regular files are opened, so that no command waits for a pipe's writer; no more is read than a limit; and
what a data file names lies inside its dataset's folder, links followed, unless that is allowed by name.
"""

from __future__ import annotations

import errno
import io
import math
import os
import stat
from pathlib import Path
from typing import cast

from cortexia_video.errors import ExplainedError, in_words
from cortexia_video.storage.paths import AnyPath, is_inside
from cortexia_video.storage.remote_path import RemotePath

LARGEST_FILE = 10**9
"""Bytes of a file, or of what lies in an archive, that is read whole."""
LARGEST_TEXT = 10**8
"""Bytes of a text file that is read whole: a list, a calibration, JSON, TOML."""


class NamedFileError(ExplainedError):
    """A file is not opened: it is a pipe or a device, too large, or outside; `strerror` says which."""

    def __str__(self) -> str:
        return str(self.strerror)


class FileTooLargeError(NamedFileError):
    """A file has more bytes than are read."""


def open_named(place: AnyPath, *, within: AnyPath | None = None) -> io.BufferedReader:
    """Open a regular file to read its bytes; of anything else it does not wait for a writer.

    within: the folder that it must lie in, with all links followed. Raises `NamedFileError`, `OSError`.
    """
    if within is not None:
        require_inside(place, within)
    if isinstance(place, RemotePath):
        return cast("io.BufferedReader", place.open("rb"))
    return open(place, "rb", opener=_open_regular)


def read_named(place: AnyPath, *, limit: float = LARGEST_FILE, within: AnyPath | None = None) -> bytes:
    """Read a regular file of at most `limit` bytes whole; the rest is as for `open_named`."""
    if isinstance(place, RemotePath):
        if within is not None:
            require_inside(place, within)
        data = place.read_bytes() if math.isinf(limit) else place.read_bytes(0, int(limit) + 1)
    else:
        with open_named(place, within=within) as file:
            require_size(os.fstat(file.fileno()).st_size, limit)
            data = file.read()
    require_size(len(data), limit)
    return data


def read_named_text(place: AnyPath, *, errors: str = "strict") -> str:
    """Read a file of UTF-8 text, as `read_named` reads bytes; raises `UnicodeDecodeError`, too."""
    return read_named(place, limit=LARGEST_TEXT).decode("utf-8", errors)


def require_size(size: float, limit: float, what: str = "the file") -> None:
    """Raise `FileTooLargeError` for more bytes than are read."""
    if size > limit:
        scale, unit = (1e9, "GB") if limit >= 1e9 else (1e6, "MB")
        said = f"too large: {what} has {size / scale:.1f} {unit}, the limit is {limit / scale:.3g}"
        raise FileTooLargeError(errno.EFBIG, said)


def require_inside(place: AnyPath, *folders: AnyPath) -> None:
    """Raise `NamedFileError` for a place that is in none of the folders, with all links followed."""
    if not any(is_inside(_follow_links(place), _follow_links(each)) for each in folders):
        said = f"it lies outside of {folders[0]}: copy it there, or allow that by `allow_outside=True`"
        raise NamedFileError(errno.EPERM, said)


def _follow_links(place: AnyPath) -> AnyPath:
    return Path(os.path.realpath(place)) if isinstance(place, Path) else place


def _open_regular(path: str, flags: int) -> int:
    """Open without waiting; a folder is left to `open`, which says so."""
    try:
        descriptor = os.open(path, flags | os.O_NONBLOCK)
    except OSError as error:
        if error.errno == errno.ENXIO:
            raise NamedFileError(errno.EINVAL, "it is a socket, not a file") from error
        raise
    mode = os.fstat(descriptor).st_mode
    if stat.S_ISREG(mode) or stat.S_ISDIR(mode):
        return descriptor
    os.close(descriptor)
    what = "pipe" if stat.S_ISFIFO(mode) else "device"
    raise NamedFileError(errno.EINVAL, f"it is a {what}, not a file: write it to a file first")


def read_whole(path: AnyPath) -> bytes:
    """Read a file; `InputError` where that cannot be."""
    with in_words(f"cannot read {path}"):
        return read_named(path)
