"""An `AnyPath` is a path of the file system, or a `RemotePath` for what is written with a scheme.

Here is also the one way to open what a data file, a ledger, a recipe or a user names (`open_named`). Only regular
files are opened, so that no command waits for a pipe's writer; no more is read than a limit; and what a data file
names lies inside its dataset's folder, links followed, unless that is allowed by name.
"""

from __future__ import annotations

import errno
import io
import math
import os
import re
import stat
from collections.abc import Iterable
from pathlib import Path, PurePosixPath
from typing import cast
from urllib.parse import unquote

from cortexia_video.errors import (
    ExplainedError,
    InputError,
    OutputError,
    OutputExistsError,
    in_words,
    printable,
)
from cortexia_video.storage.remote_path import EXTRAS, RemotePath, require_url
from cortexia_video.storage.system import AT_ONCE

AnyPath = Path | RemotePath
PathLike = str | os.PathLike[str] | RemotePath
"""What names a place: a path, or a URL as text."""
LARGEST_FILE = 10**9
"""Bytes of a file, or of what lies in an archive, that is read whole."""
LARGEST_TEXT = 10**8
"""Bytes of a text file that is read whole: a list, a calibration, JSON, TOML."""
_INSIDE = re.compile(r"(?P<shard>.+(?:\.tar|\.parquet))#(?P<where>\d+[+.]\d+)", re.DOTALL)
_DRIVE = re.compile(r"[A-Za-z]:")  # of Windows: file:///C:/photos
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+)://", re.ASCII)


def to_path(given: PathLike) -> AnyPath:
    """Return the place that a text or path names; raises `InputError` for a scheme that is not known."""
    if isinstance(given, RemotePath):
        return given
    try:
        text = os.fspath(given)
    except TypeError:
        raise TypeError(f"a path must be a str, a Path or a URL, got {type(given).__name__}") from None
    scheme = scheme_of(text)
    if scheme is None:
        return Path(text)
    if scheme == "file":
        # path of `file:///data/a%20b`; what else a URL can hold is part of the name here
        host, slash, path = text.partition("://")[2].partition("/")
        if not slash or host not in ("", "localhost"):
            raise InputError(f"{text} names no path of this machine: give file:///folder, with three slashes")
        return Path(name_of_url(path))
    require_url(text)
    return RemotePath(text)


def name_of_url(path: str, *, windows: bool = os.name == "nt") -> str:
    """Return the path that a `file:///` URL has after its slashes, from the root down, or from a drive of Windows."""
    named = unquote(path, errors="surrogateescape")
    return named if windows and _DRIVE.match(named) else f"/{named}"


def to_absolute(given: PathLike) -> AnyPath:
    """Return the place as it is named from the root down; links in a path are not followed."""
    place = to_path(given)
    return Path(os.path.abspath(place)) if isinstance(place, Path) else place  # noqa: PTH100 - resolve() would


def to_text(given: PathLike) -> str:
    """Return the path or URL as text, `file://` as a path."""
    place = to_path(given)
    if isinstance(place, RemotePath):
        return place.url
    return os.fspath(given) if isinstance(given, str) and not scheme_of(given) else os.fspath(place)


def to_places(given: Iterable[PathLike]) -> dict[str, AnyPath]:
    """Return the places that texts or paths name, by these as text; of `@list` the list's."""
    return {(text := to_text(each)): to_path(text.removeprefix("@")) for each in given}


def is_remote(given: PathLike) -> bool:
    """Return whether it is remote; raises `InputError` for a scheme that is not known."""
    return isinstance(to_path(given), RemotePath)


def is_folder(given: PathLike) -> bool:
    """Return whether it is a folder; not where that cannot be known."""
    place = to_path(given)
    try:
        return place.is_dir()
    except (OSError, ValueError):  # nobody may look; a name with a zero byte
        return False


def require_free(place: AnyPath, remedy: str) -> None:
    """Raise `OutputExistsError` where something is, `OutputError` where nobody can tell.

    remedy: what else could be done than to choose another place.
    """
    with in_words(f"cannot write {place}", "choose another `output`", OutputError, OSError):
        exists = os.path.lexists(place) if isinstance(place, Path) else place.exists()
    if exists:
        raise OutputExistsError(f"{place} exists already: choose another `output`, or {remedy}")


def scheme_of(text: str) -> str | None:
    """Return `s3` of `s3://bucket/key`, None of a path of the file system."""
    match = _SCHEME.match(text)
    scheme = match[1].lower() if match else None
    if scheme is not None and scheme != "file" and scheme not in EXTRAS:
        known = ", ".join(f"{each}://" for each in ("file", *EXTRAS))
        raise InputError(f"{text}: no such scheme here: use a path, or one of {known}")
    return scheme


def require_object(place: RemotePath) -> None:
    """Refuse a URL where nothing exists or nothing may be read; `InputError`."""
    with in_words(f"cannot open {place}", of=OSError):
        if "*" in place.name:
            next(place.parent.list_files(recursive=False), None)
        elif not place.exists():
            if place.can_list:
                next(place.list_files(), None)  # says what is wrong: no bucket, no permission
            raise InputError(f"no such object or folder: {printable(str(place))}")


def is_same_folder(one: PathLike, other: PathLike) -> bool:
    """Return whether two paths lead to the same; not where one leads nowhere, or nobody may look."""
    places = to_path(one), to_path(other)
    if not isinstance(places[0], Path) or not isinstance(places[1], Path):
        return places[0] == places[1]
    try:
        return places[0].samefile(places[1])
    except (OSError, ValueError):  # ValueError: a name with a zero byte
        return False


def find_inside(root: AnyPath, pattern: str) -> list[AnyPath]:
    """Return what fits a pattern, in the order of paths; `**/` stands for any folders. Raises `OSError`."""
    return sorted(root.glob(pattern))


def name_inside(place: AnyPath, root: AnyPath) -> str:
    """Return the name of what lies below `root`, with slashes between its parts; `ValueError` of others."""
    if isinstance(place, RemotePath) and isinstance(root, RemotePath):
        return place.relative_to(root).as_posix()
    if isinstance(place, Path) and isinstance(root, Path):
        return place.relative_to(root).as_posix()
    raise ValueError(f"{place} is not in {root}")


def is_inside(place: AnyPath, root: AnyPath) -> bool:
    """Return whether a place is, by its name, `root` or below it."""
    try:
        name_inside(place, root)
    except ValueError:
        return False
    return True


def follow(root: AnyPath, name: str) -> AnyPath:
    """Return the place that a file in `root` calls `name`: there may be `.` and `..` in it."""
    if isinstance(root, Path):
        return root / name
    for part in PurePosixPath(name).parts:
        root = root.parent if part == ".." else root / part
    return root


def split_inside(path: str) -> tuple[str, str] | None:
    """Divide `a.tar#512+30211` into its shard and the place there; None of a path of another sort."""
    match = _INSIDE.fullmatch(path)
    return (match["shard"], match["where"]) if match else None


def find_problem(key: str) -> str | None:
    """Return why a key cannot name an output, if that is so."""
    if {"..", ".", ""} & {*key.split("/")}:
        return "has a part that leads elsewhere ('..', '.' or nothing)"
    try:
        key.encode()
    except UnicodeEncodeError:
        return "is not UTF-8"
    return "has a zero byte" if "\0" in key else None


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


def read_named(given: PathLike, *, limit: float = LARGEST_FILE, within: AnyPath | None = None) -> bytes:
    """Read a regular file of at most `limit` bytes whole; the rest is as for `open_named`."""
    place = to_path(given)
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
        descriptor = os.open(path, flags | AT_ONCE)
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
