"""NumPy's format: float32 (H, W), the numbers as they are. Of what they mean it holds nothing."""

from __future__ import annotations

import io
import math
import re
import threading
import warnings
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from cortexia_video.depth_map import DepthMap
from cortexia_video.errors import DepthFileError
from cortexia_video.formats.raw_depth import Chunks, RawDepth, require_pixels
from cortexia_video.storage.system import PAGE

MAGIC = b"\x93NUMPY"
_DTYPE = np.dtype("<f4")
_LARGE = 1 << 20  # bytes of values
_BEFORE_TEXT = (
    10  # bytes: magic, version and, in two of them, the length of the text that describes the array
)
_READ_HEADER = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}
_USUAL = re.compile(  # a header as NumPy writes it of numbers (H, W): read without `ast`, in a tenth of the time
    rb"\x93NUMPY\x01\x00(..)\{'descr': '([<>]f[248]|[<>][iu][248]|\|[iub]1)', 'fortran_order': (True|False), "
    rb"'shape': \((\d{1,9}), (\d{1,9})\), \} *\n",
    re.DOTALL,
)

_parsing = (
    threading.Lock()
)  # NumPy's reading is `ast`'s, which fails for threads in Python 3.11 (cpython 106905)


def encode(depth: DepthMap, begin: int = 0) -> Chunks:
    """Return a file of depth; begin: as `encode_array` takes it."""
    return encode_array(depth.values, begin)


def encode_array(values: NDArray[np.float32], begin: int = 0) -> Chunks:
    """Return a file of format 1.0 in two pieces, the header and the values, without a copy of the values.

    In a large file the values begin at a page, so that a disk can take them from memory as they are.
    begin: where the header will stand, in bytes.
    """
    values = np.ascontiguousarray(values, dtype=_DTYPE)
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(file, np.lib.format.header_data_from_array_1_0(values))
    header = file.getvalue()
    if values.nbytes >= _LARGE:
        size = len(header) + -(begin + len(header)) % PAGE
        text = header[_BEFORE_TEXT:-1].ljust(size - _BEFORE_TEXT - 1) + b"\n"
        header = header[: _BEFORE_TEXT - 2] + len(text).to_bytes(2, "little") + text
    return [header, values.reshape(-1).view(np.uint8).data]


def decode(data: bytes, most: float) -> RawDepth:
    """Return an array of numbers of format 1.0 or 2.0, over the file's own bytes.

    most: pixels. Pickles are never loaded. Raises `DepthFileError`, and what NumPy does for a broken header.
    """
    usual = _USUAL.match(data)
    if usual and usual.end() == _BEFORE_TEXT + int.from_bytes(usual[1], "little"):
        height, width = int(usual[4]), int(usual[5])
        by_columns, dtype, begin = usual[3] == b"True", np.dtype(usual[2].decode()), usual.end()
        require_pixels(height, width, most)
        shape: tuple[int, ...] = (height, width)
    else:
        file = io.BytesIO(data)
        shape, by_columns, dtype = read_header(file, most)
        begin = file.tell()
    expected = math.prod(shape) * dtype.itemsize
    if len(data) - begin != expected:
        raise DepthFileError(
            f"it has {len(data) - begin} bytes of values, its header says {expected}: it is not whole"
        )
    values = np.frombuffer(data, dtype, offset=begin)
    return RawDepth(values.reshape(shape[::-1]).T if by_columns else values.reshape(shape), {})


def read_header(file: IO[bytes], most: float) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Return shape, whether columns come first, and type; raises what `decode` does."""
    version = np.lib.format.read_magic(file)
    read = _READ_HEADER.get(version)
    if read is None:
        raise DepthFileError(f"it is of NumPy's format {version[0]}.{version[1]}: write 1.0 or 2.0")
    with _parsing, warnings.catch_warnings():
        warnings.simplefilter(
            "ignore", DeprecationWarning
        )  # Python's, of what damage makes an escape sequence
        shape, by_columns, dtype = read(file)
    if dtype.hasobject:
        raise DepthFileError(
            "it holds Python objects (a pickle), which are never loaded: save an array of numbers"
        )
    if dtype.fields or dtype.subdtype:
        raise DepthFileError(f"it holds {dtype}: save an array of numbers")
    require_pixels(math.prod(shape[:-1]), shape[-1] if shape else 0, most)
    return shape, by_columns, dtype
