"""HDF5 files, MATLAB's of version 7.3 among them: the one owner of h5py."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cortexia_video.boundary import in_words
from cortexia_video.errors import DepthFileError, MissingExtraError
from cortexia_video.places.place import Place

_REMEDY = "is it whole? Copy it again"
_BLOCK = 1 << 16  # bytes of a request


def read_array(path: Place, name: str, index: int | None = None) -> NDArray[Any]:
    """Give an array of a file, or one element of its first axis.

    Raises `DepthFileError` where it cannot be read, `MissingExtraError` without h5py.
    """
    reading = in_words(f"{path}: cannot read {name}", _REMEDY, DepthFileError)
    with _open(path, whole=index is None) as file, reading:
        return np.asarray(file[name][() if index is None else index])


def count(path: Place, name: str) -> int:
    """Give the length of the first axis of an array; raises what `read_array` does."""
    counting = in_words(f"{path}: has no array {name}", _REMEDY, DepthFileError)
    with _open(path, whole=False) as file, counting:
        return int(file[name].shape[0])


def _open(path: Place, *, whole: bool) -> Any:
    """Open a file; of one behind an address all is read at once, or what is asked for (`whole`)."""
    try:
        import h5py
    except ImportError as error:
        raise MissingExtraError(f"reading {path} needs: pip install 'cortexia-video[datasets]'") from error
    with in_words(f"{path}: cannot be read", _REMEDY, DepthFileError):
        if isinstance(path, Path):
            return h5py.File(path, "r")
        return h5py.File(io.BytesIO(path.read_bytes()) if whole else path.open("rb", _BLOCK), "r")
