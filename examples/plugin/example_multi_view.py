"""A multi-view depth network, fed so that the images of a batch do not influence each other.

The network is a toy with random weights; what is around it is what a real one needs.
"""

from __future__ import annotations

import hashlib

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from cortexia_video import ModelInfo
from cortexia_video.errors import ModelLoadError

_SHORT_SIDE, _LONG_SIDE, _PATCH = 64, 512, 8
_CHANNELS = 16


class ViewAttention:
    """Patches attend to all patches of all views of their scene, as in Depth Anything 3."""

    def __init__(self) -> None:
        rng = np.random.default_rng(0)
        inner = (_CHANNELS, _CHANNELS)
        shapes = {
            "embed": (5, _CHANNELS),
            "query": inner,
            "key": inner,
            "value": inner,
            "head": (_CHANNELS, 1),
        }
        self.weights = {
            name: rng.normal(0, shape[0] ** -0.5, shape).astype(np.float32) for name, shape in shapes.items()
        }

    def __call__(self, scenes: NDArray[np.float32]) -> NDArray[np.float32]:
        """Turn scenes of views, float32 (B, N, h, w, 3) in -1..1, into nearness (B, N, h / 8, w / 8)."""
        count, views, height, width, _ = scenes.shape
        rows, columns = height // _PATCH, width // _PATCH
        colours = scenes.reshape(count, views, rows, _PATCH, columns, _PATCH, 3).mean(axis=(3, 5))
        down, across = np.meshgrid(np.linspace(-1, 1, rows), np.linspace(-1, 1, columns), indexing="ij")
        places = np.broadcast_to(np.stack([down, across], axis=-1), (*colours.shape[:-1], 2))
        patches = np.concatenate([colours, places], axis=-1, dtype=np.float32)
        mixed = self._attend(patches.reshape(count, views * rows * columns, 5))
        return _squash(mixed @ self.weights["head"]).reshape(count, views, rows, columns)

    def _attend(self, patches: NDArray[np.float32]) -> NDArray[np.float32]:
        """Mix the patches (B, all patches of a scene, 5) of each scene; give (B, patches, channels)."""
        tokens = patches @ self.weights["embed"]
        queries, keys, values = (tokens @ self.weights[name] for name in ("query", "key", "value"))
        likeness = queries @ keys.swapaxes(1, 2) / np.float32(_CHANNELS**0.5)
        shares = np.exp(likeness - likeness.max(axis=2, keepdims=True))
        return tokens + shares @ values / shares.sum(axis=2, keepdims=True)


class MultiViewModel:
    """The network as a `cortexia_video.DepthModel`: every image is a scene of one view."""

    kind = "disparity"
    device = "cpu"
    max_batch = None  # or the most images in one call
    settings = {"short_side": _SHORT_SIDE}  # noqa: RUF012 - what the numbers depend on beside the weights

    def __init__(self, name: str) -> None:
        self.name = name
        self.network = ViewAttention()
        weights = b"".join(each.tobytes() for each in self.network.weights.values())
        self.weights_digest = hashlib.sha256(weights).hexdigest()

    def processed_size(self, height: int, width: int) -> tuple[int, int]:
        """Keep the aspect ratio in whole patches; long panoramas shrink, so that none fills the memory."""
        scale = min(_SHORT_SIDE / min(height, width), _LONG_SIDE / max(height, width)) / _PATCH
        return max(1, round(height * scale)) * _PATCH, max(1, round(width * scale)) * _PATCH

    def preprocess(self, image: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.float32]:
        """Resample one uint8 (H, W, 3) image to float32 (h, w, 3) in -1..1. Runs on worker threads."""
        small = Image.fromarray(image).resize((size[1], size[0]), Image.Resampling.BILINEAR, reducing_gap=2)
        return np.asarray(small, np.float32) / np.float32(127.5) - 1

    def infer(self, batch: NDArray[np.float32]) -> NDArray[np.float32]:
        """Estimate nearness, float32 (B, h', w'), for images (B, h, w, 3)."""
        # The images of a batch have nothing to do with each other. As views of one scene, batch[None], they
        # would be mixed, and depth would depend on what else was in the folder: each is a scene of its own.
        scenes = batch[:, None]  # (B, N = 1, h, w, 3)
        return self.network(scenes)[:, 0]  # (B, N = 1, h', w') -> (B, h', w')


def load(name: str, *, device: str = "auto") -> MultiViewModel:
    """Make the model; options of `--model` would be further keyword arguments."""
    if device not in ("auto", "cpu"):
        raise ModelLoadError(f"{name} runs on the processor only, not on {device!r}: leave --device out")
    return MultiViewModel(name)


def _squash(values: NDArray[np.float32]) -> NDArray[np.float32]:
    return 1 / (1 + np.exp(-values))


INFO = ModelInfo(
    name="example-multi-view",
    summary="an example of a package: a toy multi-view network, random weights",
    kind="disparity",
    licence_code="Apache-2.0",
    licence_weights="none",
    commercial=True,
    weights="none: made from a seed",
    needs="",
    load=load,  # or text, "module:function": then heavy imports wait until the model is used
)
