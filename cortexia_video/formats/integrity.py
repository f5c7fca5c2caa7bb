"""Whether a depth file that a run wrote can be read back, for every format alike."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from cortexia_video.formats.quantization import to_values
from cortexia_video.formats.raw_depth import Decode


def checks(decode: Decode) -> Callable[[bytes, int, int], str | None]:
    """Return the `check` of a format: depth has the size of its map and is finite; NaN is unknown."""

    def check(data: bytes, height: int, width: int) -> str | None:
        stored = decode(data, math.inf)
        if stored.values.shape != (height, width):
            return f"its shape is {stored.values.shape}, not {(height, width)}"
        values = to_values(stored.values, stored.metadata)
        infinite = np.count_nonzero(np.isinf(values))
        return f"{infinite} of its {values.size} values are infinite" if infinite else None

    return check
