"""`Panorama`: a model that sees equirectangular images by perspective views, and gives distances all around."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cortexia_video.depth_map import DepthKind, Projection
from cortexia_video.errors import InputError, ModelError, printable
from cortexia_video.frame import Frame
from cortexia_video.geometry.panorama import MergedViews, merge_views
from cortexia_video.geometry.sphere import FOV_DEG, cut_view, list_views
from cortexia_video.images.resampling import resize_image
from cortexia_video.inference.batches import is_out_of_memory
from cortexia_video.inference.maps import Maps, find_known, find_maps, take_maps
from cortexia_video.models.protocol import DepthModel, Prediction
from cortexia_video.pinhole import to_f_px

_TOGETHER = 4  # views in one call of the model, at most
_FINE = 1.5  # pixels of a view for one of what the network sees, at least, where the panorama has them
_OFF = 2  # pixels that a panorama may be off from twice as wide as high


class Panorama:
    """A `DepthModel` of any other, for panoramas: their distances are merged from twelve views.

    An input is (12, ...), one of each view, whose camera is known. What a model says beside depth is what its views
    say; normals are turned into the panorama's axes.
    """

    projection: Projection = "equirectangular"

    def __init__(self, model: DepthModel) -> None:
        if getattr(model, "takes_sparse", False):
            raise InputError(
                f"{printable(model.name)} completes a sensor's depth: panoramas have none (`projection`)"
            )
        if hasattr(model, "window"):
            raise InputError(
                f"{printable(model.name)} is for clips of a perspective camera, not for panoramas (`projection`)"
            )
        self.name = model.name
        self.kind: DepthKind = model.kind
        self.weights_digest = model.weights_digest
        self.device = model.device
        self.max_batch: int | None = 1  # of panoramas
        self.settings: Mapping[str, object] = {**model.settings, "projection": self.projection}
        self.maps = find_maps(model)
        self._model, self._together = model, min(_TOGETHER, model.max_batch or _TOGETHER)
        if hasattr(model, "infer_float32"):
            self.infer_float32 = partial(self._predict, model.infer_float32)

    def processed_size(self, height: int, width: int) -> tuple[int, int]:
        """Return (height, width) of the panorama that has as many pixels in the middle of a view as the network sees.

        Raises `ModelError` for an image that is not twice as wide as high.
        """
        if abs(width - 2 * height) > _OFF:
            raise ModelError(
                f"it is {width} x {height}, and an equirectangular panorama is twice as wide as high: take whole "
                "ones, or leave `projection` out"
            )
        tall = _find_height(max(self._see(width)))
        return tall, 2 * tall

    def preprocess(self, image: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[Any]:
        """See `DepthModel`."""
        return self.preprocess_frame(Frame("", image), size)

    def preprocess_frame(self, frame: Frame, size: tuple[int, int]) -> NDArray[Any]:
        """Cut the views out of a panorama, and prepare each; of a large one first its pixels are averaged."""
        height, width = frame.image.shape[:2]
        seen = self._see(frame.width)
        smaller = max(1, int(width / np.pi / (_FINE * max(seen))))
        image = resize_image(frame.image, max(1, height // smaller), max(1, width // smaller))
        side = max(1, round(image.shape[1] / np.pi))

        def prepare(rotation: NDArray[np.float64]) -> NDArray[Any]:
            view = cut_view(image, rotation, side)
            if hasattr(self._model, "preprocess_frame"):
                one = Frame(frame.key, view, to_f_px(FOV_DEG, side), "given")
                prepared: NDArray[Any] = self._model.preprocess_frame(one, seen)
                return prepared
            return self._model.preprocess(view, seen)

        return np.stack([*map(prepare, list_views())])

    def infer(
        self, batch: NDArray[Any], *, also: frozenset[str] = frozenset()
    ) -> NDArray[np.float32] | Prediction:
        """Run the model on the views (B, 12, ...) of panoramas; return distances (B, h, 2 h) of `kind`."""
        return self._predict(self._model.infer, batch, also=also)

    def _see(self, width: int) -> tuple[int, int]:
        """Return at what size the network sees a view of a panorama that is so wide."""
        side = max(1, round(width / np.pi))
        return self._model.processed_size(side, side)

    def _predict(
        self,
        infer: Callable[..., NDArray[np.float32] | Prediction],
        batch: NDArray[Any],
        *,
        also: frozenset[str] = frozenset(),
    ) -> NDArray[np.float32] | Prediction:
        asking = partial(infer, also=also) if also else infer
        merged = [self._merge([*self._run(asking, views)]) for views in batch]
        distances = np.stack([each.values for each in merged])
        maps = {name: [getattr(each, name) for each in merged] for name in ("valid", "confidence", "normals")}
        said = {name: np.stack(each) for name, each in maps.items() if all(one is not None for one in each)}
        return Prediction(distances, **said) if said else distances

    def _merge(self, found: Sequence[tuple[NDArray[np.float32], Maps]]) -> MergedViews:
        """Return the panorama of a model's answers for all views: depth, and what else it told of each."""
        values = np.concatenate([each for each, _ in found])
        masks = [known for _, maps in found if (known := find_known(maps)) is not None]
        valid = np.concatenate(masks) if len(masks) == len(found) else None
        told = {
            name: np.concatenate([maps[name] for _, maps in found])
            for name in ("confidence", "normals")
            if all(name in maps for _, maps in found)
        }
        return merge_views(values, self.kind, _find_height(max(values.shape[1:])), valid, **told)

    def _run(
        self, infer: Callable[..., NDArray[np.float32] | Prediction], views: NDArray[Any]
    ) -> Iterator[tuple[NDArray[np.float32], Maps]]:
        """Yield depth of views and what is told beside it, of as many at once as there is memory for."""
        begin = 0
        while begin < len(views):
            some = np.ascontiguousarray(views[begin : begin + self._together])
            try:
                answer = infer(some)
            except Exception as error:
                if self._together == 1 or not is_out_of_memory(error):
                    raise
                self._together //= 2
                continue
            begin += len(some)
            told = answer if isinstance(answer, Prediction) else Prediction(answer)
            values = np.asarray(told.values, np.float32)
            if hasattr(self._model, "to_depth"):
                values = np.stack([self._model.to_depth(each.copy(), FOV_DEG) for each in values])
            yield values, take_maps(told, values.shape, self.name)


def _find_height(side: int) -> int:
    """Return the height of a panorama that has as many pixels a degree as the middle of a view of so many."""
    half = math.tan(math.radians(FOV_DEG) / 2)
    return max(2, round(side * math.pi / (4 * half)) * 2)
