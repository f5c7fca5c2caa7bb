"""NumPy's format 1.0, float32 (H, W): the numbers as they are."""

from __future__ import annotations

import io

import numpy as np

from cortexia_video.depth_map import DepthMap

MAGIC = b"\x93NUMPY"


def encode(depth: DepthMap) -> list[bytes | memoryview]:
    """Give the file in two pieces, the header and the values, without a copy of the values."""
    values = np.ascontiguousarray(depth.values, dtype="<f4")
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, np.lib.format.header_data_from_array_1_0(values))
    return [header.getvalue(), values.reshape(-1).view(np.uint8).data]
