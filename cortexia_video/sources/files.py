"""Pictures in files and folders: found lazily, in one order on every machine, each under a key of its own."""

from __future__ import annotations

import hashlib
import logging
import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath

from cortexia_video.decode import IMAGE_SUFFIXES, SNIFF_BYTES, sniff
from cortexia_video.errors import Failure, InputError
from cortexia_video.formats.table import is_own_output
from cortexia_video.ledger import LEDGER_NAME, Fingerprint

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class PictureFile:
    """A picture's file. key: unique, relative; it names the output. source: its size and time of change."""

    key: str
    path: str
    source: Fingerprint


Found = PictureFile | Failure


def find_pictures(
    inputs: Sequence[str | os.PathLike[str]], *, recursive: bool = False, output: Path | None = None
) -> Iterator[Found]:
    """Yield the pictures of files, folders and lists, without reading them.

    inputs: picture files; folders (`recursive` descends); `list.txt` or `@list`: a path a line, relative to
    the list's folder or else to the working directory. A folder's files are pictures by name or by content;
    hidden files are left out, and so is all that this package wrote, and the folder `output`.
    A key is the path relative to the folder given; with several inputs a folder's name comes before it.

    Raises `InputError` at once for an input that is not there. What goes wrong later is yielded as `Failure`.
    """
    paths = [os.fspath(each) for each in inputs]
    if not paths:
        raise InputError("no input: give picture files, folders or a list.txt of paths")
    for path in paths:
        if not Path(_without_at(path)).exists():
            raise InputError(f"no such file or folder: {_without_at(path)}")
    scan = _Scan(recursive, _identify(output))
    found = (each for path in paths for each in scan.expand(path, prefix=len(paths) > 1))
    return found if len(paths) == 1 and Path(paths[0]).is_dir() else _keep_apart(found)


@dataclass(frozen=True, slots=True)
class _Scan:
    recursive: bool
    output: tuple[int, int] | None  # device and inode of the folder that is never descended into

    def expand(self, path: str, *, prefix: bool) -> Iterator[Found]:
        if path.startswith("@") or (path.lower().endswith(".txt") and not Path(path).is_dir()):
            return self._read_list(Path(_without_at(path)))
        if Path(path).is_dir():
            return self._walk(path, f"{Path(path).resolve().name}/" if prefix else "", frozenset())
        return self._explicit(Path(path).name, path)

    def _explicit(self, key: str, path: str) -> Iterator[Found]:
        """A file that a person named: an input whatever it is, unless we wrote it."""
        if Path(path).name != LEDGER_NAME and not is_own_output(path):
            yield _stat(key, path)

    def _read_list(self, path: Path) -> Iterator[Found]:
        with path.open("rb") as lines:
            for line in lines:
                written = os.fsdecode(line.rstrip(b"\r\n"))
                if written.strip():
                    beside = path.parent / written
                    yield from self._explicit(
                        _key_of(written), os.fspath(beside if beside.exists() else written)
                    )

    def _walk(self, folder: str, prefix: str, above: frozenset[tuple[int, int]]) -> Iterator[Found]:
        try:
            entries = sorted(os.scandir(folder), key=lambda entry: os.fsencode(entry.name))
        except OSError as error:
            yield Failure(
                prefix or folder, "find", InputError(f"cannot list the folder {folder}: {error.strerror}")
            )
            return
        here = above | {_identify(Path(folder)) or (0, 0)}
        for entry in entries:
            if entry.name.startswith(".") or entry.name == LEDGER_NAME:
                continue
            if _is_folder(entry):
                yield from self._descend(entry, f"{prefix}{entry.name}/", here)
            elif _is_picture(entry):
                yield _stat(prefix + entry.name, entry.path)

    def _descend(
        self, entry: os.DirEntry[str], prefix: str, above: frozenset[tuple[int, int]]
    ) -> Iterator[Found]:
        identity = _identify(Path(entry.path))
        if not self.recursive or identity == self.output:
            return
        if identity in above:
            _log.warning("not followed: %s is a link back to a folder above it", printable(entry.path))
            return
        yield from self._walk(entry.path, prefix, above)


def printable(text: str) -> str:
    """Make a path safe to print on one line: control characters and bytes that are not UTF-8 are escaped."""
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


def _keep_apart(found: Iterator[Found]) -> Iterator[Found]:
    """Drop a file that comes twice, and give a key of its own to another file of the same key."""
    taken: dict[str, str] = {}
    for each in found:
        if isinstance(each, Failure):
            yield each
            continue
        path = os.path.abspath(each.path)  # noqa: PTH100 - resolve() would follow links
        key = each.key if taken.get(each.key, path) == path else _tell_apart(each.key, path)
        if key not in taken:
            taken[key] = path
            yield PictureFile(key, each.path, each.source)


def _tell_apart(key: str, path: str) -> str:
    mark = hashlib.sha256(os.fsencode(path)).hexdigest()[:8]
    pure = PurePath(key)
    return os.fspath(pure.with_name(f"{pure.stem}~{mark}{pure.suffix}"))


def _key_of(written: str) -> str:
    """Turn a list's path into a key: as written where that stays inside a folder, else from the root down."""
    path = os.path.normpath(written)
    if path.startswith("..") or PurePath(path).is_absolute():
        path = os.path.abspath(path)  # noqa: PTH100 - resolve() would follow links
    return os.fspath(PurePath(path).relative_to(PurePath(path).anchor))


def _stat(key: str, path: str) -> Found:
    try:
        status = Path(path).stat()
    except OSError as error:
        return Failure(key, "find", InputError(f"cannot open {printable(path)}: {error.strerror}"))
    if not stat.S_ISREG(status.st_mode):
        return Failure(key, "find", InputError("not a file that can be read: a folder, pipe or device"))
    return PictureFile(key, path, (status.st_size, status.st_mtime_ns))


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:
        return False


def _is_picture(entry: os.DirEntry[str]) -> bool:
    """A picture by name, even where it cannot be opened, or by content."""
    if PurePath(entry.name).suffix.lower() in IMAGE_SUFFIXES:
        return (entry.is_symlink() or entry.is_file()) and not is_own_output(entry.path)
    try:
        if not entry.is_file():
            return False
        with Path(entry.path).open("rb") as file:
            return sniff(file.read(SNIFF_BYTES)) is not None
    except OSError:
        return False


def _identify(path: Path | None) -> tuple[int, int] | None:
    try:
        status = path.stat() if path else None
    except OSError:
        return None
    return (status.st_dev, status.st_ino) if status else None


def _without_at(path: str) -> str:
    return path if Path(path).exists() else path.removeprefix("@")
