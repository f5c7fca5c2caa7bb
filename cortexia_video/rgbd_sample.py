"""`RGBDSample`: one image with its depth, what datasets yield and transforms take."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cortexia_video.depth_map import DepthMap, find_usable, require_depth
from cortexia_video.errors import InputError, require_type
from cortexia_video.frame import Frame, draw_png, write_figure
from cortexia_video.pinhole import Pinhole


@dataclass(frozen=True, slots=True, eq=False)
class RGBDSample:
    """An image, the depth of its pixels, and the camera that saw both.

    Attributes:
        frame: The image, and its key in the dataset.
        depth: As many pixels, registered to it: what is in a pixel of one is in that pixel of the other.
        camera: Of these pixels, for pixel centres at + 0.5, or None where unknown. Where it is known, `f_px`
            of frame and depth only repeat it.
        mask: bool (H, W), False for pixels that are not to be used though their depth is known (outside an
            evaluation's crop, a mirror, the sky), or None where there are none.
        origin: The dataset that it is of, or None where unknown.
        sparse: Depth is known at scattered pixels only, as a laser scanner gives it. Transforms move these
            one by one; what is between them stays unknown.

    Raises:
        InputError: Sizes differ; the message names both.
        TypeError: The frame is no `Frame`, or the depth no `DepthMap`.

    Example:
        >>> frame = cx.Frame("a", np.zeros((48, 64, 3), np.uint8))
        >>> cx.RGBDSample(frame, cx.DepthMap(np.full((48, 64), 2, np.float32), "metric"))
        RGBDSample('a', 48x64, metric, 100 % known)
    """

    frame: Frame
    depth: DepthMap
    camera: Pinhole | None = None
    mask: NDArray[np.bool_] | None = None
    origin: str | None = None
    sparse: bool = False

    def __post_init__(self) -> None:
        require_type("frame", self.frame, Frame, "files are read by `read_image`, arrays go into `Frame`")
        require_depth(self.depth)
        size = self.size
        # what must be as large as the image, each with its (height, width)
        sizes: list[tuple[str, tuple[int, ...]]] = [("depth of", self.depth.values.shape)]
        if self.frame.full_size:
            sizes.append(("an image reduced from", self.frame.full_size))
        if self.depth.full_size:
            sizes.append(("depth reduced from", self.depth.full_size))
        if self.camera:
            sizes.append(("a camera for", (self.camera.height, self.camera.width)))
        if self.mask is not None:
            sizes.append(("a mask of", self.mask.shape))
        for what, other in sizes:
            if other != size:
                raise InputError(
                    f"{self.frame.key!r}: an image of {_show(size)} and {what} {_show(other)} pixels: "
                    "they must be of the same view and size; resample or register one to the other first"
                )
        if self.mask is not None and self.mask.dtype != np.bool_:
            raise InputError(
                f"{self.frame.key!r}: the mask must be bool, got {self.mask.dtype}: use mask.astype(bool)"
            )

    @property
    def key(self) -> str:
        """The frame's."""
        return self.frame.key

    @property
    def size(self) -> tuple[int, int]:
        """Return (height, width) in pixels."""
        height, width = self.frame.image.shape[:2]
        return height, width

    @property
    def valid(self) -> NDArray[np.bool_]:
        """Return which pixels can be used, bool (H, W): known, a distance (finite, above 0), not masked out.

        Numbers that are fixed only up to a shift (`affine_invariant`, `disparity`) may be 0 or below.
        """
        values = np.ascontiguousarray(self.depth.values)  # of a flipped view it would take thrice as long
        valid = find_usable(values, self.depth.kind)
        if self.mask is not None:
            np.logical_and(valid, self.mask, out=valid)
        return valid

    @property
    def valid_share(self) -> float:
        """Return the share of pixels that can be used, 0 to 1."""
        return float(self.valid.mean())

    def __repr__(self) -> str:
        height, width = self.size
        more = [f"{100 * self.valid_share:.0f} % known"]
        more += [f"fx={self.camera.fx:.6g}"] if self.camera else []
        more += [repr(self.origin)] if self.origin else []
        return f"RGBDSample({self.key!r}, {height}x{width}, {self.depth.kind}, {', '.join(more)})"

    def _repr_png_(self) -> bytes:
        return draw_png(self)

    def _repr_html_(self) -> str:
        return write_figure(self)


def _show(size: tuple[int, ...]) -> str:
    return " x ".join(map(str, reversed(size)))
