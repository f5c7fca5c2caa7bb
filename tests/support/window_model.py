"""A model that sees windows of frames, in numpy, and its clips' depth as the paper has it, written out plainly."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cortexia_video.depth_map import DepthKind
from cortexia_video.models.protocol import Window


class OfWindows:
    """A `DepthModel` whose windows each have a scale and shift of their own, as their images are bright or dark."""

    name, weights_digest, device, max_batch = "of-windows", "0" * 64, "cpu", 1
    settings: Mapping[str, object] = {}
    window = Window(frames=8, carried=(0, 3, 6, 7), fitted=2)

    def __init__(self, kind: DepthKind = "disparity") -> None:
        self.kind: DepthKind = kind
        self.calls = 0

    def processed_size(self, height: int, width: int) -> tuple[int, int]:
        return height // 2, width // 2

    def preprocess(self, image: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
        return image[::2, ::2][: size[0], : size[1]].copy()

    def infer(self, batch: NDArray[Any]) -> NDArray[np.float32]:
        self.calls += 1
        maps = []
        for each in batch:
            frames = each.reshape(-1, *each.shape[-3:]).astype(np.float32) / 255
            if len(frames) == 1:
                frames = np.repeat(frames, self.window.frames, 0)
            order = np.linspace(1, 1.2, len(frames), dtype=np.float32)[:, None, None]
            depth = (1 + frames[..., 1]) * order * (0.5 + frames.mean()) + frames.std()
            maps.append(depth[: 1 if each.ndim == 3 else None].reshape(-1, depth.shape[2]))
        return np.stack(maps).astype(np.float32)


def depth_by_the_paper(model: Any, inputs: Sequence[NDArray[Any]]) -> NDArray[np.float64]:
    """Return what all frames get: first all windows, of which each begins with frames of the one before; then, from
    the second on, scale and shift by least squares, and a line from one window's depth to the next's."""
    window = model.window
    count, new = len(inputs), window.frames - len(window.carried)
    shown, seen = list[NDArray[Any]](), list[NDArray[np.float64]]()
    for start in range(0, count, new):
        numbers = range(start, start + window.frames)
        images = [inputs[min(number, count - 1)] for number in numbers]
        images[: len(window.carried)] = (
            [shown[n] for n in window.carried] if shown else images[: len(window.carried)]
        )
        shown = images
        depth = model.infer(np.stack(images)[None])[0]
        seen.append(depth.reshape(window.frames, -1, depth.shape[1]).astype(np.float64))
    result, references = [*seen[0]], [seen[0][n] for n in window.carried[: window.fitted]]
    for depth in seen[1:]:
        if model.kind != "metric":
            ours = np.concatenate([each.ravel() for each in depth[: window.fitted]])
            matrix = np.stack([ours, np.ones_like(ours)], 1)
            factors = np.linalg.lstsq(
                matrix, np.concatenate([each.ravel() for each in references]), rcond=None
            )[0]
            depth = np.maximum(depth * factors[0] + factors[1], 0)
        blended = len(window.carried) - window.fitted
        for n in range(blended):
            share = n / (blended - 1)
            before = result[len(result) - blended + n]
            result[len(result) - blended + n] = before * (1 - share) + depth[window.fitted + n] * share
        result += [*depth[len(window.carried) :]]
        references = [references[0], *(depth[n] for n in window.carried[1 : window.fitted])]
    return np.array(result[:count])
