"""Whether a depth file that a run wrote can be read back, for every format alike."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from cortexia_video.formats.steps import to_values
from cortexia_video.formats.stored import Decode


def checks(decode: Decode) -> Callable[[bytes, int, int], str | None]:
    """Give the `check` of a format: a run's depth has the size of its map, and is known everywhere."""

    def check(data: bytes, height: int, width: int) -> str | None:
        stored = decode(data, math.inf)
        if stored.values.shape != (height, width):
            return f"its shape is {stored.values.shape}, not {(height, width)}"
        values = to_values(stored.values, stored.metadata)
        unknown = values.size - np.count_nonzero(np.isfinite(values))
        return f"{unknown} of its {values.size} values are not finite" if unknown else None

    return check
