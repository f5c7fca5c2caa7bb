"""`Thorough`: a model that sees each image as it is and mirrored, and gives the mean of both."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from cortexia_video.depth_map import DepthKind
from cortexia_video.errors import InputError, printable
from cortexia_video.frame import Frame
from cortexia_video.models.protocol import DepthModel, Prediction

_Number = TypeVar("_Number", bound=np.number[Any])
_AWAY = np.array([-1, 1, 1], np.float32)  # a mirrored normal's x


class Thorough:
    """A `DepthModel` of any other, with its members: twice the time for somewhat better depth.

    An input is (2, ...): that of the image and that of its mirror image. The model runs on all images and then on
    all mirror images, so batches are as large as without.
    """

    def __init__(self, model: DepthModel) -> None:
        if hasattr(model, "window"):
            raise InputError(f"{printable(model.name)} sees frames of clips together: leave `thorough` out")
        self.name = model.name
        self.kind: DepthKind = model.kind
        self.weights_digest = model.weights_digest
        self.device = model.device
        self.max_batch = model.max_batch
        self.settings: Mapping[str, object] = {**model.settings, "thorough": True}
        self.processed_size = model.processed_size
        self._model = model
        for name in ("maps", "to_depth", "estimates_fov", "takes_sparse", "takes_averaged"):
            if hasattr(model, name):
                setattr(self, name, getattr(model, name))
        if hasattr(model, "infer_float32"):
            self.infer_float32 = partial(_infer_twice, model.infer_float32)
        if hasattr(model, "preprocess_frame"):
            self.preprocess_frame = self._preprocess_frame

    def preprocess(self, image: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[Any]:
        """See `DepthModel`."""
        return np.stack([self._model.preprocess(each, size) for each in (image, _mirror(image))])

    def infer(self, batch: NDArray[Any], **asked: Any) -> NDArray[np.float32] | Prediction:
        """See `DepthModel` and `CameraModel`."""
        return _infer_twice(self._model.infer, batch, **asked)

    def _preprocess_frame(self, frame: Frame, size: tuple[int, int]) -> NDArray[Any]:
        sparse = None if frame.sparse is None else _mirror(frame.sparse)
        both = (frame, replace(frame, image=_mirror(frame.image), sparse=sparse))
        return np.stack([self._model.preprocess_frame(each, size) for each in both])  # type: ignore[attr-defined]


def _mirror(image: NDArray[_Number]) -> NDArray[_Number]:
    return image[:, ::-1].copy()  # one a pixel wide counts as contiguous, and torch takes no negative stride


def _infer_twice(
    infer: Callable[..., NDArray[np.float32] | Prediction], batch: NDArray[Any], **asked: Any
) -> NDArray[np.float32] | Prediction:
    """Infer a batch (B, 2, ...) of images and their mirror images, and average.

    What one of both does not know is unknown; sky is what both take for it, and where one does not its depth stands.
    """
    plain, mirrored = (infer(np.ascontiguousarray(batch[:, side]), **asked) for side in (0, 1))
    if not isinstance(plain, Prediction) or not isinstance(mirrored, Prediction):
        return _mean(plain, np.asarray(mirrored)[:, :, ::-1])
    turned = {
        name: value if name == "fov_deg" else value[:, :, ::-1]
        for name, value in mirrored._asdict().items()
        if value is not None
    }
    merged: dict[str, Any] = {}
    for name, other in turned.items():
        ours = getattr(plain, name)
        if name == "values" and plain.sky is not None:  # depth of sky is a number that stands for none
            here, there = plain.sky, turned["sky"]
            ours, other = np.where(here & ~there, other, ours), np.where(there & ~here, ours, other)
        if name in ("valid", "sky"):
            merged[name] = ours & other
        elif name == "normals":
            total = ours + other * _AWAY
            merged[name] = total / np.maximum(np.linalg.norm(total, axis=-1, keepdims=True), 1e-6)
        else:
            merged[name] = _mean(ours, other)
    return Prediction(**merged)


def _mean(one: Any, other: Any) -> NDArray[Any]:
    mean: NDArray[Any] = (np.asarray(one) + other) / 2
    return mean.astype(np.float32, copy=False)
