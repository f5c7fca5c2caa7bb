"""MATLAB's files: those before version 7.3 by SciPy."""

from __future__ import annotations

import io
import struct
import zlib
from typing import Any

from cortexia_video.errors import InputError, MissingExtraError
from cortexia_video.places.named_file import read_named, require_size
from cortexia_video.places.place import Place
from cortexia_video.places.remote_errors import describe_error

_LARGEST = 10**8  # bytes of a file, and of what is packed in it
_HEADER, _COMPRESSED = 128, 15


def read_mat(path: Place) -> dict[str, Any]:
    """Give the arrays of a file by name; `InputError` where it cannot be read, `MissingExtraError`."""
    try:
        import scipy.io
    except ImportError as error:
        raise MissingExtraError(f"reading {path} needs: pip install 'cortexia-video[datasets]'") from error
    try:
        data = read_named(path, limit=_LARGEST)
        _require_unpacked_size(data)
        return dict(scipy.io.loadmat(io.BytesIO(data)))
    except Exception as error:  # of a broken file it raises anything
        reason = describe_error(error, "get it from the data set's page")
        raise InputError(f"cannot read {path}: {reason}") from error


def _require_unpacked_size(data: bytes) -> None:
    """Refuse a file of version 5 whose packed elements hold more than a file may (`miCOMPRESSED`)."""
    order = {b"IM": "<", b"MI": ">"}.get(data[126:128])
    place, left = _HEADER, _LARGEST
    while order and left >= 0 and place + 8 <= len(data):
        kind, size = struct.unpack_from(f"{order}II", data, place)
        if kind == _COMPRESSED:
            left -= len(zlib.decompressobj().decompress(data[place + 8 : place + 8 + size], left + 1))
        place += 8 + size
    require_size(_LARGEST - left, _LARGEST, "what is packed in it")
