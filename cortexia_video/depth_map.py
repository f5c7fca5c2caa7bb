"""`DepthMap`: depth values together with what they mean."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from cortexia_video.frame import FocalSource

DepthKind = Literal["metric", "scale_invariant", "affine_invariant", "disparity"]
KINDS: tuple[DepthKind, ...] = get_args(DepthKind)


def larger_is_nearer(kind: DepthKind) -> bool:
    """Return which way the numbers of a kind run."""
    return kind == "disparity"


def _is_text(text: str) -> bool:
    """Return whether the files that say it, JSON and others, are read back."""
    try:
        return b"\0" not in text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return False


@dataclass(frozen=True, slots=True, eq=False)
class DepthMap:
    """Depth of every pixel of one image, NaN where unknown.

    Attributes:
        values: float32 (H, W).
        kind: What the values mean. `metric`: metres along the optical axis. `scale_invariant`: depth up to an
            unknown factor. `affine_invariant`: depth up to an unknown factor and shift. `disparity`: inverse
            depth up to an unknown factor and shift: larger is nearer.
        f_px: Focal length in pixels of the image that the values go with, None where unknown.
        f_source: Where it came from: exif, given or estimated.
        full_size: (height, width) of that image where `values` is a smaller map of all of it, else None.
        model: The model that made it; None for a sensor's depth.
        weights_sha256: The digest of its weights.

    Raises:
        ValueError: The values are not float32 (H, W), or there is no such kind.

    Example:
        >>> cx.DepthMap(np.full((48, 64), 2, np.float32), "metric").larger_is_nearer
        False
    """

    values: NDArray[np.float32]
    kind: DepthKind
    f_px: float | None = None
    f_source: FocalSource | None = None
    full_size: tuple[int, int] | None = None
    model: str | None = None
    weights_sha256: str | None = None

    def __post_init__(self) -> None:
        if self.values.dtype != np.float32 or self.values.ndim != 2:
            raise ValueError(
                f"depth must be float32 (H, W), not {self.values.dtype} {self.values.shape}: "
                "use values.astype(np.float32) on a two-dimensional array"
            )
        if self.kind not in KINDS:
            raise ValueError(f"unknown kind of depth {self.kind!r}: use one of {', '.join(KINDS)}")
        for text in (self.model, self.weights_sha256):
            if text is not None and not _is_text(text):
                raise ValueError(f"{text!r} holds a zero byte or half a character, as no file's text may")

    @property
    def larger_is_nearer(self) -> bool:
        """Whether larger values are nearer, as of disparity."""
        return larger_is_nearer(self.kind)
