"""`Stitch`: the depth of windows of frames as that of one clip; what a model's `Window` says, carried out.

Chen et al., Video Depth Anything: Consistent Depth Estimation for Super-Long Videos, CVPR 2025, sections 3.3 and 3.4.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cortexia_video.depth_map import DepthKind
from cortexia_video.errors import InputError, printable
from cortexia_video.geometry.normals import SHAPED
from cortexia_video.models.protocol import DepthModel, Window
from cortexia_video.video.steady import SteadyMode

_Maps = NDArray[np.float32]


class Stitch:
    """Joins windows, which come in order, as `Window` says.

    The first of the carried frames, which is the clip's first in every window, is compared with its depth in the first
    window, so that the scale does not drift. Metres are left as they are.

    Args:
        window: Of the model.
        kind: Of the depth.
        state: Of an earlier one, to go on from there.
    """

    def __init__(self, window: Window, kind: DepthKind, state: Mapping[str, _Maps] | None = None) -> None:
        self._window, self._fits = window, kind not in SHAPED
        self._state = dict(state or {})

    def add(self, values: _Maps) -> _Maps:
        """Take a window's depth (frames, h, w); return that of the frames it finishes, which follow the last ones."""
        window, known = self._window, self._state
        fitted, last = window.fitted, window.frames - window.blended
        aligned, settled = values, values[:last]
        if known:
            if self._fits:
                scale, shift = _fit(values[:fitted], known["fitted"])
                aligned = np.maximum(scale * values + shift, 0)
            here = np.linspace(0, 1, window.blended, dtype=np.float32)[:, None, None]
            over = fitted + window.blended
            blended = (1 - here) * known["blended"] + here * aligned[fitted:over]
            settled = np.concatenate([blended, aligned[over:last]])
        first = known["fitted"][:1] if known else aligned[:1]
        others = aligned[list(window.carried[1:fitted])]
        self._state = {"fitted": np.concatenate([first, others]), "blended": aligned[last:].copy()}
        return settled

    def state(self) -> dict[str, _Maps]:
        """Return all that later windows depend on."""
        return dict(self._state)


def choose_steady(mode: SteadyMode, model: DepthModel) -> SteadyMode:
    """Return the mode of the filter against flicker for a model: off for one that sees windows of frames itself.

    Raises `InputError` for `align`: its windows are aligned to each other already.
    """
    if not hasattr(model, "window"):
        return mode
    if mode == "align":
        raise InputError(f"{printable(model.name)} aligns its windows itself: leave `steady` out")
    return "off"


def fill_window(
    window: Window, carried: Sequence[NDArray[Any]], inputs: Sequence[NDArray[Any] | None]
) -> NDArray[Any]:
    """Return a window's input: what is carried, the inputs that follow, and the last again where the clip has ended.

    None, of a frame that is not known, becomes the one before, at the beginning the first that is known.
    """
    together = [*carried, *inputs]
    before = next(each for each in together if each is not None)
    filled = [before := before if each is None else each for each in together]
    return np.stack(filled + filled[-1:] * (window.frames - len(filled)))


def _fit(values: _Maps, target: _Maps) -> tuple[np.float32, np.float32]:
    """Return scale and shift that bring values nearest to a target, by least squares; 1 and 0 where none do."""
    x, y = (each.astype(np.float64) for each in (values, target))
    spread = x - x.mean()
    square = float((spread * spread).sum())
    scale = float((spread * y).sum()) / square if square else 1.0
    return np.float32(scale), np.float32(y.mean() - scale * x.mean() if square else 0.0)
