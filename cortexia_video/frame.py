"""`Frame`: one upright image, what sources yield."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from cortexia_video.errors import require_type

FocalSource = Literal["exif", "given", "estimated"]


def draw_png(value: object) -> bytes:
    """Return what a notebook shows of a frame, a depth map or a sample; the room that draws lies above these."""
    drawn: bytes = import_module("cortexia_video.html.notebook").draw_png(value)
    return drawn


def write_figure(value: object) -> str:
    """Return the same as HTML, with the value's `repr` below."""
    figure: str = import_module("cortexia_video.html.notebook").write_figure(value)
    return figure


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
        sparse: float32 (h, w), metres along the optical axis that a sensor measured over the whole image, at any
            size of its shape; NaN or 0 where unknown. For models that complete it (`takes_sparse`).

    Raises:
        ValueError: The image is not uint8 (H, W, 3), or `sparse` is not float32 (h, w).
        TypeError: It is no array.

    Example:
        >>> cx.Frame("a", np.zeros((48, 64, 3), np.uint8), f_px=50.0, f_source="given")
        Frame('a', 48x64, f_px=50 (given))
    """

    key: str
    image: NDArray[np.uint8]
    f_px: float | None = None
    f_source: FocalSource | None = None
    timestamp_s: float | None = None
    full_size: tuple[int, int] | None = None
    sparse: NDArray[np.float32] | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.image, np.ndarray):
            remedy = "files are read by `read_image`, images of Pillow's by `np.asarray`"
            require_type("image", self.image, np.ndarray, remedy)
        if self.image.dtype != np.uint8 or self.image.ndim != 3 or self.image.shape[2] != 3:
            raise ValueError(
                f"frame {self.key!r}: image must be uint8 (H, W, 3) RGB, "
                f"got {self.image.dtype} {self.image.shape}; convert it, or read files by `read_image`"
            )
        if self.sparse is not None and (self.sparse.dtype != np.float32 or self.sparse.ndim != 2):
            raise ValueError(
                f"frame {self.key!r}: sparse must be float32 (h, w) metres, got {self.sparse.dtype} "
                f"{self.sparse.shape}; `estimator(image, sparse=...)` takes samples and depth maps, too"
            )

    @property
    def height(self) -> int:
        """Of the whole image, pixels."""
        return self.full_size[0] if self.full_size else int(self.image.shape[0])

    @property
    def width(self) -> int:
        """Of the whole image, pixels."""
        return self.full_size[1] if self.full_size else int(self.image.shape[1])

    def __repr__(self) -> str:
        height, width = self.image.shape[:2]
        reduced = f", of {self.height}x{self.width}" if self.full_size else ""
        focal = f", f_px={self.f_px:.6g} ({self.f_source})" if self.f_px else ""
        time = "" if self.timestamp_s is None else f", {self.timestamp_s:.6g} s"
        known = "" if self.sparse is None else ", with sparse depth"
        return f"Frame({self.key!r}, {height}x{width}{reduced}{focal}{time}{known})"

    def _repr_png_(self) -> bytes:
        return draw_png(self)

    def _repr_html_(self) -> str:
        return write_figure(self)
