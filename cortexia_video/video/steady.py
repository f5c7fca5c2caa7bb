"""`Steady`: depth of a clip without flicker, by a causal running mean along the motion in it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from cortexia_video.depth_map import DepthKind
from cortexia_video.errors import InputError, require_one_of
from cortexia_video.video.optical_flow import Array, box_mean, find_flow, sample

SteadyMode = Literal["off", "mean", "align"]

_MOST = 4  # frames that the mean goes over
_TREND = 0.13  # of what a frame tells, that goes to the trend
_GREY = 10.0  # of 255: so much another grey value is another thing
_DEPTH = 0.3  # of the range: so much another depth is another thing
_SAME = 0.5  # weight from which a pixel counts as seen again
_CUT = 0.3  # a smaller share of pixels that are seen again is a cut
_LEAK = 0.3  # of an alignment that is given up at each frame, so that it cannot drift
_NEAREST, _FARTHEST = 1e-3, 1e6  # of depth whose logarithm is taken


class Steady:
    """Takes away from a clip what changes from frame to frame though the scene does not.

    Each pixel becomes the mean of its own depth and what was there before, up to four frames, followed along
    the motion in the images; another grey value or another depth there counts less, down to nothing. What was
    there goes on as it went (Holt 1957: a level and a trend): a mean alone lags behind depth that changes.
    Metres and scale-invariant depth are averaged as logarithms. At a cut it begins anew. What is NaN, such as sky,
    stays so, and tells nothing to the frame that follows.

    Args:
        mode: off; mean; or align, which first takes away changes of scale and shift, and is for models whose
            depth has none of its own.
        kind: Of the depth.
        state: Of an earlier one, to go on from there.

    Raises:
        InputError: `align` for metres, whose scale is not to be touched, or no such mode.
    """

    def __init__(
        self, mode: SteadyMode, kind: DepthKind, state: Mapping[str, NDArray[np.float32]] | None = None
    ) -> None:
        require_mode(mode, kind)
        self._mode = mode
        self._log = kind in ("metric", "scale_invariant")
        self._state = dict(state or {})

    def add(
        self, number: int, grey: Array | NDArray[np.uint8], values: NDArray[np.float32]
    ) -> list[tuple[int, NDArray[np.float32]]]:
        """Take a frame, in order; return those that are finished, which may be earlier ones. grey: (h, w), 0..255.

        After the last frame it is given again, with numbers beyond, until all are finished.
        """
        if self._mode == "off":
            return [(number, values)]
        depth = np.log(np.clip(values, _NEAREST, _FARTHEST)) if self._log else values
        steadied = self._add(np.ascontiguousarray(grey, np.float32), depth)
        return [(number, np.exp(steadied) if self._log else steadied)]

    def state(self) -> dict[str, NDArray[np.float32]]:
        """Return all that later frames depend on."""
        return dict(self._state)

    @property
    def cuts(self) -> int:
        """How often it began anew."""
        return int(self._state.get("cuts", np.zeros(1))[0])

    def _add(self, grey: Array, depth: Array) -> Array:
        known = self._state
        if not known or known["depth"].shape != depth.shape:
            return self._begin(grey, depth, cuts=np.zeros(1, np.float32))
        rows, columns = np.indices(depth.shape, np.float32)
        down, across = find_flow(grey, known["grey"])
        maps = [known["depth"], known["grey"], known["count"], known["trend"]]
        (before, grey_before, count, trend), inside = sample(maps, rows + down, columns + across)
        other = box_mean(np.abs(grey_before - grey), 2) / np.float32(_GREY)
        same = np.exp(-other * other)
        if float((same > _SAME).mean()) < _CUT:
            return self._begin(grey, depth, cuts=known["cuts"] + np.float32(1))
        if self._mode == "align":
            depth = _align(depth, before, (same > _SAME) & np.isfinite(before + depth) & inside)
        deeper = (before - depth) / (np.float32(_DEPTH) * known["range"])
        agrees = same * np.exp(-deeper * deeper) * inside
        if (fresh := np.isnan(agrees)).any():  # unknown before, or now
            agrees[fresh], trend[fresh], before[fresh] = 0, 0, depth[fresh]
        weight = count * agrees
        expected = before + agrees * trend
        step = (depth - expected) / (weight + 1)
        steadied = expected + step
        trend = agrees * (trend + np.float32(_TREND) * np.nan_to_num(step))
        count = np.minimum(weight + 1, np.float32(_MOST))
        self._state = {**known, "depth": steadied, "grey": grey, "count": count, "trend": trend}
        return steadied

    def _begin(self, grey: Array, depth: Array, cuts: Array) -> Array:
        known = depth[np.isfinite(depth)]
        low, high = np.quantile(known, (0.01, 0.99)) if known.size else (0.0, 0.0)
        spread = np.array([max(high - low, 1e-6)], np.float32)
        ones, zeros = np.ones_like(depth), np.zeros_like(depth)
        maps = {"depth": depth, "grey": grey, "count": ones, "trend": zeros}
        self._state = {**maps, "range": spread, "cuts": cuts}
        return depth


def to_grey(image: NDArray[np.uint8], height: int, width: int) -> NDArray[np.uint8]:
    """Return an image (H, W, 3) as small as a map (height, width) of it, as `Steady.add` takes it: its green."""
    step = max(1, min(len(image) // (2 * height), image.shape[1] // (2 * width)))
    green = Image.fromarray(np.ascontiguousarray(image[::step, ::step, 1]))
    return np.asarray(green.resize((width, height), Image.Resampling.BILINEAR))


def require_mode(mode: str, kind: DepthKind | None = None) -> None:
    """Raise `InputError` for a mode that does not exist, or does not fit the kind of depth."""
    require_one_of(steady=(mode, SteadyMode))
    if mode == "align" and kind == "metric":
        raise InputError("`steady` is align, which changes the scale, and the model gives metres: use mean")


def _align(depth: Array, before: Array, same: NDArray[np.bool_]) -> Array:
    """Bring depth most of the way to the scale and shift of what was there before.

    The ratio of spreads, not least squares, which shrinks a little at every frame.
    """
    now, then = depth[same], before[same]
    if not len(now):
        return depth
    middle, middle_then = np.median(now), np.median(then)
    spread, spread_then = (
        np.abs(each - centre).mean() for each, centre in ((now, middle), (then, middle_then))
    )
    if not (spread > 0 and spread_then > 0):
        return depth
    scale = np.float32((spread_then / spread) ** (1 - _LEAK))
    target = np.float32(middle + (1 - _LEAK) * (middle_then - middle))
    return target + scale * (depth - np.float32(middle))
