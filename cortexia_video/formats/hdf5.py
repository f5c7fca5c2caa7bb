"""HDF5 files, MATLAB's of version 7.3 among them: the one owner of h5py.

What lies in other files (external storage, external and soft links, virtual datasets) is not read, and
an array is bounded by its shape before any of it is read.
"""

from __future__ import annotations

import io
import math
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cortexia_video.errors import DepthFileError, explain_import, in_words
from cortexia_video.formats.raw_depth import RawDepth, require_pixels
from cortexia_video.storage.paths import AnyPath, open_named, read_named, require_size

MAGIC = b"\x89HDF\r\n\x1a\n"
LARGEST_ARRAY = 1 << 28
"""Bytes of an array, or of one element of its first axis: 67 megapixels of float32."""
_REMEDY = "is it whole? Copy it again"
_BLOCK = 1 << 16  # bytes of a request
_MOST_ARRAYS = 64


def read_array(path: AnyPath, name: str, index: int | None = None) -> NDArray[Any]:
    """Return an array of numbers of a file, or one element of its first axis.

    Raises `DepthFileError` where it cannot be read, is too large or lies elsewhere; `MissingExtraError`
    without h5py.
    """
    reading = in_words(f"{path}: cannot read {name}", _REMEDY, DepthFileError)
    with _open(path, whole=index is None) as file, reading:
        found = _find(file, name)
        # refuse more than `LARGEST_ARRAY` by shape; HDF5 unpacks whole chunks, even for one number
        read = found.shape if index is None else found.shape[1:]
        for shape in (read, found.chunks or ()):
            require_size(math.prod(shape) * found.dtype.itemsize, LARGEST_ARRAY, "the array")
        return np.asarray(found[() if index is None else index])


def decode(data: bytes, most: float, array: str | None = None) -> RawDepth:
    """Return the array that is depth: the only one of two axes or more, the one called so, or `array`.

    most: pixels. Raises `DepthFileError`, `MissingExtraError`, and what h5py does for a broken file.
    """
    h5py = _import("HDF5 depth")
    with h5py.File(io.BytesIO(data), "r") as file:
        names: list[str] = []

        def add(name: str, found: Any) -> bool | None:  # visits what lies in this file, and no links
            if isinstance(found, h5py.Dataset) and found.dtype.kind in "fiu" and len(found.shape or ()) > 1:
                names.append(name)
            return len(names) > _MOST_ARRAYS or None

        file.visititems(add)
        called = [name for name in names if name.rpartition("/")[2] == "depth"]
        wanted = array.strip("/") if array else None
        found = [wanted] if wanted in names else [] if wanted else called if len(called) == 1 else names
        if len(found) != 1 or found[0] is None:
            raise DepthFileError(
                f"its arrays are {', '.join(names) or 'none'}, which is depth is not clear: give one as `array`"
            )
        chosen = _find(file, found[0])
        require_pixels(math.prod(chosen.shape[:-1]), chosen.shape[-1], most)
        require_size(math.prod(chosen.chunks or ()) * chosen.dtype.itemsize, LARGEST_ARRAY, "a part of it")
        return RawDepth(np.asarray(chosen[()]), {})


def count(path: AnyPath, name: str) -> int:
    """Return the length of the first axis of an array; raises what `read_array` does."""
    counting = in_words(f"{path}: has no array {name}", _REMEDY, DepthFileError)
    with _open(path, whole=False) as file, counting:
        return int(_find(file, name).shape[0])


def _find(file: Any, name: str) -> Any:
    """Return the array of a name if it is one of numbers and all of it lies in this file."""
    import h5py

    link = file.get(name, getlink=True)
    if link is not None and not isinstance(link, h5py.HardLink):
        raise ValueError("it is a link, which is not followed: copy the array itself into the file")
    found = file[name]
    if not isinstance(found, h5py.Dataset) or found.dtype.kind not in "fiu" or found.shape is None:
        raise ValueError(f"it is not an array of numbers ({getattr(found, 'dtype', 'a group')})")
    if found.external or found.is_virtual:
        raise ValueError("its values are in other files, which are not read: copy them into the file")
    return found


def _open(path: AnyPath, *, whole: bool) -> Any:
    """Open a file; of a remote one all is read at once, or what is asked for (`whole`)."""
    h5py = _import(f"reading {path}")
    with in_words(f"{path}: cannot be read", _REMEDY, DepthFileError):
        if isinstance(path, Path):
            open_named(path).close()  # h5py would wait for the writer of a pipe
            return h5py.File(path, "r")
        return h5py.File(io.BytesIO(read_named(path)) if whole else path.open("rb", _BLOCK), "r")


def _import(what: str) -> Any:
    try:
        import h5py
    except ImportError as error:
        raise explain_import(error, f"{what} needs", "'cortexia-video[datasets]'") from error
    return h5py
