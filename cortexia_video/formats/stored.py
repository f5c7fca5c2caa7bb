"""`Stored`: what is in a depth file, before anybody says what it means."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from numpy.typing import NDArray

from cortexia_video.errors import DepthFileError
from cortexia_video.formats.metadata import Metadata

Chunks = Sequence[bytes | memoryview]  # the pieces of a file


class Stored(NamedTuple):
    """values: numbers of any type, (H, W) if it is depth. metadata: what the file says of them."""

    values: NDArray[Any]
    metadata: Metadata


def require_pixels(height: int, width: int, most: float) -> None:
    """Raise `DepthFileError` for a map larger than `most` pixels, or without any."""
    if height < 1 or width < 1:
        raise DepthFileError(f"it is {width} x {height}: there is no depth in it")
    if height * width > most:
        megapixels = height * width / 1e6
        raise DepthFileError(
            f"it says that it has {megapixels:.0f} megapixels, the limit is {most / 1e6:g}: "
            "raise max_megapixels if that is so"
        )
