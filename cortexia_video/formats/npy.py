"""NumPy's format: float32 (H, W), the numbers as they are. Of what they mean it holds nothing."""

from __future__ import annotations

import io
import math

import numpy as np

from cortexia_video.depth_map import DepthMap
from cortexia_video.errors import DepthFileError
from cortexia_video.formats.stored import Stored, require_pixels

MAGIC = b"\x93NUMPY"
PAGE = 4096
_DTYPE = np.dtype("<f4")
_LARGE = 1 << 20  # bytes of values
_BEFORE_TEXT = (
    10  # bytes: magic, version and, in two of them, the length of the text that describes the array
)


def encode(depth: DepthMap) -> list[bytes | memoryview]:
    """Give the file in two pieces, the header and the values, without a copy of the values.

    In a large file the values begin at a page, so that a disk can take them from memory as they are.
    """
    values = np.ascontiguousarray(depth.values, dtype=_DTYPE)
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(file, np.lib.format.header_data_from_array_1_0(values))
    header = file.getvalue()
    if values.nbytes >= _LARGE:
        text = header[_BEFORE_TEXT:-1].ljust(PAGE - _BEFORE_TEXT - 1) + b"\n"
        header = header[: _BEFORE_TEXT - 2] + len(text).to_bytes(2, "little") + text
    return [header, values.reshape(-1).view(np.uint8).data]


def decode(data: bytes, most: float) -> Stored:
    """Give an array of numbers of format 1.0 or 2.0, over the file's own bytes.

    most: pixels. Pickles are never loaded. Raises `DepthFileError`, and what NumPy does for a broken header.
    """
    file = io.BytesIO(data)
    version = np.lib.format.read_magic(file)
    read_header = _READ_HEADER.get(version)
    if read_header is None:
        raise DepthFileError(f"it is of NumPy's format {version[0]}.{version[1]}: write 1.0 or 2.0")
    shape, by_columns, dtype = read_header(file)
    if dtype.hasobject:
        raise DepthFileError(
            "it holds Python objects (a pickle), which are never loaded: save an array of numbers"
        )
    if dtype.fields or dtype.subdtype:
        raise DepthFileError(f"it holds {dtype}: save an array of numbers")
    require_pixels(math.prod(shape[:-1]), shape[-1] if shape else 0, most)
    expected = math.prod(shape) * dtype.itemsize
    if len(data) - file.tell() != expected:
        raise DepthFileError(
            f"it has {len(data) - file.tell()} bytes of values, its header says {expected}: it is not whole"
        )
    values = np.frombuffer(data, dtype, offset=file.tell())
    return Stored(values.reshape(shape[::-1]).T if by_columns else values.reshape(shape), {})


_READ_HEADER = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}


def check(data: bytes, height: int, width: int) -> str | None:
    """Say what is wrong with a file of (height, width) values, if anything is."""
    file = io.BytesIO(data)
    if np.lib.format.read_magic(file) != (1, 0):
        return "it is not of NumPy's format 1.0"
    shape, by_columns, dtype = np.lib.format.read_array_header_1_0(file)
    if shape != (height, width):
        return f"its shape is {shape}, not {(height, width)}"
    if dtype != _DTYPE or by_columns:
        return f"it holds {dtype}{' by columns' if by_columns else ''}, not float32"
    values = np.frombuffer(data, _DTYPE, offset=file.tell())
    if len(values) != height * width:
        return f"it holds {len(values)} values, not {height * width}"
    unknown = len(values) - np.count_nonzero(np.isfinite(values))
    return f"{unknown} of its {len(values)} values are not finite" if unknown else None
