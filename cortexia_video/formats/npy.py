"""NumPy's format 1.0, float32 (H, W): the numbers as they are."""

from __future__ import annotations

import io

import numpy as np

from cortexia_video.depth_map import DepthMap

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
