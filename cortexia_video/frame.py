"""`Frame`: one upright image, what sources yield."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

FocalSource = Literal["exif", "given", "estimated"]


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """One image, upright (EXIF orientation applied).

    Attributes:
        key: Unique and relative to the source; it names the output.
        image: uint8 (H, W, 3) RGB.
        f_px: Focal length in pixels of the image, or None where unknown.
        f_source: Where it came from: exif, given or estimated.
        timestamp_s: Seconds since the start of a video, or None.
        full_size: (height, width) of the image where `image` is a reduced copy of it, else None.

    Raises:
        ValueError: The image is not uint8 (H, W, 3).
    """

    key: str
    image: NDArray[np.uint8]
    f_px: float | None = None
    f_source: FocalSource | None = None
    timestamp_s: float | None = None
    full_size: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        if self.image.dtype != np.uint8 or self.image.ndim != 3 or self.image.shape[2] != 3:
            raise ValueError(
                f"frame {self.key!r}: image must be uint8 (H, W, 3) RGB, "
                f"got {self.image.dtype} {self.image.shape}; convert it, or read files by `read_image`"
            )

    @property
    def height(self) -> int:
        """Of the whole image, pixels."""
        return self.full_size[0] if self.full_size else int(self.image.shape[0])

    @property
    def width(self) -> int:
        """Of the whole image, pixels."""
        return self.full_size[1] if self.full_size else int(self.image.shape[1])
