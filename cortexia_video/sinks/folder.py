"""`FolderSink`: one file or more per key in a folder, each there whole or not at all."""

from __future__ import annotations

import errno
import itertools
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Self

from cortexia_video.depth_map import DepthMap
from cortexia_video.errors import InputError, OutputError, OutputLostError
from cortexia_video.formats.table import FORMATS, PREVIEW, Format

_PARTIAL = ".partial"
_NO_MORE_CAN_BE_WRITTEN = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.ESTALE, errno.ENODEV}


class FolderSink:
    """Write depth maps to `root/<key><suffix>`: first under `root/.partial`, then renamed. A context manager.

    Raises `OutputError` for an unknown format, and on entering where the folder cannot be made or written.
    """

    def __init__(self, root: Path, *, format: str = "npy", preview: bool = False) -> None:
        if format not in FORMATS:
            raise OutputError(f"unknown format {format!r}: use one of {', '.join(FORMATS)}")
        self.root = root
        self.formats: tuple[Format, ...] = (FORMATS[format], PREVIEW) if preview else (FORMATS[format],)
        self._partial = root / _PARTIAL
        self._number = itertools.count()

    def __enter__(self) -> Self:
        """Make the folder, and remove what a killed run left half-written."""
        try:
            shutil.rmtree(self._partial, ignore_errors=True)
            self._partial.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(
                f"cannot write to {self.root}: {error.strerror}; choose another --output"
            ) from error
        return self

    def __exit__(self, *_: object) -> None:
        shutil.rmtree(self._partial, ignore_errors=True)

    def find_existing(self, key: str) -> list[str]:
        """Give the names of outputs of `key` that are there already."""
        names = [key + each.suffix for each in self.formats]
        return [name for name in names if os.path.lexists(self.root / name)]

    def write(self, key: str, depth: DepthMap) -> dict[str, int]:
        """Write one depth map in every format of this sink; give the name and size in bytes of each file.

        Raises `InputError` for a key that leads out of the folder, `OSError` for trouble with this one file,
        and `OutputLostError` where no other file could be written either.
        """
        self._check_key(key)
        sizes = {}
        for each in self.formats:
            name = key + each.suffix
            sizes[name] = self._write_whole(self.root / name, each.encode(depth))
        return sizes

    def _check_key(self, key: str) -> None:
        parts = Path(key).parts
        if not parts or ".." in parts or Path(key).is_absolute() or parts[0] == _PARTIAL:
            raise InputError(
                f"key {key!r} does not name a file inside {self.root}: use a relative path without '..'"
            )

    def _write_whole(self, path: Path, chunks: Sequence[bytes | memoryview]) -> int:
        try:
            return write_whole(path, chunks, self._partial / f"{next(self._number)}")
        except OSError as error:
            if error.errno in _NO_MORE_CAN_BE_WRITTEN:
                raise OutputLostError(_explain_lost(path, error)) from error
            raise


def write_whole(path: Path, chunks: Sequence[bytes | memoryview], partial: Path) -> int:
    """Write a file so that it appears whole or not at all, also after a power cut; give its size in bytes.

    partial: a path on the same file system, that nobody else uses, to write to first.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with partial.open("wb", buffering=0) as file:
            for chunk in chunks:
                _write_all(file.fileno(), memoryview(chunk))
            os.fsync(file.fileno())
        partial.replace(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
    return sum(len(chunk) for chunk in chunks)


def _write_all(descriptor: int, data: memoryview) -> None:
    """Write every byte; the system may take fewer at a time, never over 2 GiB."""
    while data:
        data = data[os.write(descriptor, data) :]


def _explain_lost(path: Path, error: OSError) -> str:
    return (
        f"cannot write {path}: {error.strerror}; what is done is kept: "
        "make room (or choose another --output) and run the same command again"
    )
