"""`RawDepth`: what is in a depth file, before anybody says what it means."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

from numpy.typing import NDArray

from cortexia_video.errors import DepthFileError
from cortexia_video.formats.metadata import Metadata

Chunks = Sequence[bytes | memoryview]  # the pieces of a file


_NOTHING: Mapping[str, str] = MappingProxyType({})


class RawDepth(NamedTuple):
    """What a file holds.

    values: numbers of any type, (H, W) if it is depth. metadata: what the file says of them, as in `metadata`.
    text: what it says for other programs, which `conventions` may know.
    """

    values: NDArray[Any]
    metadata: Metadata
    text: Mapping[str, str] = _NOTHING


Decode = Callable[..., RawDepth]  # of a file's bytes, and of the most pixels that it may have
PICKS = ("channel", "array", "page")  # what a person may choose of a file that holds several


class TooLargeError(DepthFileError):
    """A map has more pixels than there may be. pixels: about how many."""

    def __init__(self, pixels: int, message: str) -> None:
        super().__init__(f"{message}: raise `max_megapixels` if that is so")
        self.pixels = pixels


def require_pixels(height: int, width: int, most: float) -> None:
    """Raise `TooLargeError` for a map larger than `most` pixels, `DepthFileError` for one without any."""
    if height < 1 or width < 1:
        raise DepthFileError(f"it is {width} x {height}: there is no depth in it")
    if height * width > most:
        pixels = height * width
        raise TooLargeError(pixels, f"it says that it has {pixels} pixels, the limit is {most:.0f}")
