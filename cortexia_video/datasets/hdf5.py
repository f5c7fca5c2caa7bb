"""HDF5 files, MATLAB's of version 7.3 among them: the one owner of h5py."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cortexia_video.errors import DepthFileError, MissingExtraError


def read_array(path: Path, name: str, index: int | None = None) -> NDArray[Any]:
    """Give an array of a file, or one element of its first axis.

    Raises `DepthFileError` where it cannot be read, `MissingExtraError` without h5py.
    """
    with _open(path) as file:
        try:
            return np.asarray(file[name][() if index is None else index])
        except Exception as error:  # h5py raises anything on broken files
            raise DepthFileError(
                f"{path}: cannot read {name}: {error}; is it whole? Copy it again"
            ) from error


def count(path: Path, name: str) -> int:
    """Give the length of the first axis of an array; raises what `read_array` does."""
    with _open(path) as file:
        try:
            return int(file[name].shape[0])
        except Exception as error:
            raise DepthFileError(f"{path}: has no array {name}: {error}; copy it again") from error


def _open(path: Path) -> Any:
    try:
        import h5py
    except ImportError as error:
        raise MissingExtraError(f"reading {path} needs: pip install 'cortexia-video[datasets]'") from error
    try:
        return h5py.File(path, "r")
    except OSError as error:
        raise DepthFileError(f"{path}: cannot be read: {error}; is it whole? Copy it again") from error
