"""`FolderSink`: one file or more per key in a folder, each there whole or not at all."""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Self

from cortexia_video.depth_map import DepthMap
from cortexia_video.errors import Failure, InputError, OutputError, OutputLostError
from cortexia_video.file_lock import try_lock
from cortexia_video.formats.table import FORMATS, PREVIEW, Format

_PARTIAL = ".cortexia-partial"
_NO_MORE_CAN_BE_WRITTEN = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.ESTALE, errno.ENODEV}


class FolderSink:
    """Write depth maps to `root/<key><suffix>`: first under a hidden folder in `root`, then renamed.

    A context manager. Raises `OutputError` for an unknown format, and on entering where the folder cannot be
    made or written.
    """

    def __init__(self, root: Path, *, format: str = "npy", preview: bool = False) -> None:
        if format not in FORMATS:
            raise OutputError(f"unknown format {format!r}: use one of {', '.join(FORMATS)}")
        self.root = root
        self.formats: tuple[Format, ...] = (FORMATS[format], PREVIEW) if preview else (FORMATS[format],)
        self._partial = root / _PARTIAL
        self._number = itertools.count()
        self._descriptor = -1

    def __enter__(self) -> Self:
        """Make the folder; where no other process uses it, remove what a killed one left half-written."""
        try:
            self._partial.mkdir(parents=True, exist_ok=True)
            self._descriptor = os.open(self._partial, os.O_RDONLY)
            if try_lock(self._descriptor):
                for leftover in self._partial.iterdir():
                    leftover.unlink()
        except OSError as error:
            raise OutputError(
                f"cannot write to {self.root}: {error.strerror}; choose another --output"
            ) from error
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._descriptor)
        with contextlib.suppress(OSError):  # another process still uses it
            self._partial.rmdir()

    def output_names(self, key: str) -> list[str]:
        """Give the names, relative to the folder, of the files that `write` makes."""
        return [key + each.suffix for each in self.formats]

    def write(self, key: str, depth: DepthMap) -> dict[str, int]:
        """Write one depth map in every format of this sink; give the name and size in bytes of each file.

        Raises `InputError` for a key that leads out of the folder, `OSError` for trouble with this one file,
        and `OutputLostError` where no other file could be written either.
        """
        self._check_key(key)
        sizes = {}
        for name, each in zip(self.output_names(key), self.formats, strict=True):
            sizes[name] = self._write_whole(self.root / name, each.encode(depth))
        return sizes

    def place(self, key: str, depth: DepthMap) -> dict[str, int] | Failure:
        """Write as `write` does; trouble with this one file, whatever it is, becomes a `Failure`."""
        try:
            return self.write(key, depth)
        except OutputLostError:
            raise
        except Exception as error:  # noqa: BLE001 - an encoder or the system can raise anything
            return Failure(key, "write", error)

    def _check_key(self, key: str) -> None:
        parts = Path(key).parts
        if not parts or ".." in parts or Path(key).is_absolute() or parts[0] == _PARTIAL:
            raise InputError(
                f"key {key!r} does not name a file inside {self.root}: use a relative path without '..'"
            )

    def _write_whole(self, path: Path, chunks: Sequence[bytes | memoryview]) -> int:
        try:
            return write_whole(path, chunks, self._partial / f"{os.getpid()}-{next(self._number)}")
        except OSError as error:
            if error.errno in _NO_MORE_CAN_BE_WRITTEN or not self._partial.is_dir():
                raise OutputLostError(path, error) from error
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
