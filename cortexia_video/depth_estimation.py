"""`DepthEstimator`: frames in, depth maps out, whatever the model; `load_estimator` makes one by name."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cortexia_video.batching import Batcher
from cortexia_video.depth_map import DepthMap
from cortexia_video.errors import Failure, ModelError, ModelOutputError
from cortexia_video.frame import FocalSource, Frame
from cortexia_video.models.model import DepthModel
from cortexia_video.models.table import load_model
from cortexia_video.resampling import resize_depth

_BATCHES_WAITING = 4


@dataclass(frozen=True, slots=True, eq=False)
class Prepared:
    """A frame made ready for the network: the big picture is gone, what `finish` needs is kept."""

    key: str
    pixels: NDArray[Any]
    height: int
    width: int
    f_px: float | None
    f_source: FocalSource | None


class DepthEstimator:
    """Estimate depth for frames of any sizes.

    `estimate` does everything. The job in `pipeline` calls its three steps on different threads:
    `prepare` (worker), `infer` (the model's thread), `finish` (worker).
    """

    def __init__(self, model: DepthModel, *, batch_size: int = 4) -> None:
        if batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, not {batch_size}")
        self.model = model
        self.batch_size = min(batch_size, model.max_batch or batch_size)

    def estimate(self, frames: Iterable[Frame | Failure]) -> Iterator[DepthMap | Failure]:
        """Yield one `DepthMap` or `Failure` per frame, in order, each the size of its frame.

        A failure that comes in goes out in its place. Frames are read a few batches ahead, no more.
        """
        batcher: Batcher[tuple[int, Prepared]] = Batcher(self.batch_size, self.window)
        done: dict[int, DepthMap | Failure] = {}
        following = 0
        for index, frame in enumerate(frames):
            prepared = frame if isinstance(frame, Failure) else self.prepare(frame)
            if isinstance(prepared, Failure):
                done[index] = prepared
            else:
                for batch in batcher.add(prepared.pixels.shape, (index, prepared)):
                    self._complete(batch, done)
            while following in done:
                yield done.pop(following)
                following += 1
        for batch in batcher.flush():
            self._complete(batch, done)
        yield from (done[index] for index in sorted(done))

    @property
    def window(self) -> int:
        """How many prepared frames may wait for others of their size."""
        return _BATCHES_WAITING * self.batch_size

    def enough(self, height: int, width: int) -> tuple[int, int]:
        """Say how large an image of a picture has all that the network will see: twice the size it sees."""
        processed_height, processed_width = self.model.processed_size(height, width)
        return 2 * processed_height, 2 * processed_width

    def prepare(self, frame: Frame) -> Prepared | Failure:
        """Preprocess one frame; the result does not hold on to its picture."""
        try:
            size = self.model.processed_size(frame.height, frame.width)
            pixels = self.model.preprocess(frame.image, size)
            if not isinstance(pixels, np.ndarray):
                raise ModelError(
                    f"{self.model.name} preprocesses to {type(pixels).__name__}, not to an array"
                )
        except Exception as error:  # noqa: BLE001 - a plugin's code
            return Failure(frame.key, "estimate", _as_model_error(error))
        return Prepared(frame.key, pixels, frame.height, frame.width, frame.f_px, frame.f_source)

    def infer(self, batch: Sequence[Prepared]) -> list[NDArray[np.float32] | Failure]:
        """Run the network on frames prepared to one shape; give float32 (h, w) or a failure for each.

        A batch that raises is halved until it fits or the guilty picture stands alone.
        """
        try:
            output = self.model.infer(np.stack([prepared.pixels for prepared in batch]))
            return [*_check_output(output, len(batch), self.model.name)]
        except Exception as error:  # noqa: BLE001 - a network's forward pass can raise anything
            if len(batch) == 1:
                return [Failure(batch[0].key, "estimate", _as_model_error(error))]
        middle = len(batch) // 2
        return self.infer(batch[:middle]) + self.infer(batch[middle:])

    def finish(self, prepared: Prepared, values: NDArray[np.float32]) -> DepthMap | Failure:
        """Check the network's float32 (h, w) output and bring it to the size of the frame."""
        unusable = values.size - int(np.isfinite(values).sum())
        if unusable or not values.size:
            share = f"{100 * unusable / values.size:.1f} % of the pixels" if values.size else "no pixels"
            error = ModelOutputError(f"{self.model.name} gave NaN or infinite depth for {share}")
            return Failure(prepared.key, "estimate", error)
        full = resize_depth(values, prepared.height, prepared.width)
        return DepthMap(full, self.model.kind, prepared.f_px, prepared.f_source)

    def _complete(self, batch: list[tuple[int, Prepared]], done: dict[int, DepthMap | Failure]) -> None:
        outputs = self.infer([prepared for _, prepared in batch])
        for (index, prepared), output in zip(batch, outputs, strict=True):
            done[index] = output if isinstance(output, Failure) else self.finish(prepared, output)


def load_estimator(
    model: str = "compact", *, device: str = "auto", batch_size: int = 4, **options: object
) -> DepthEstimator:
    """Load a model by name and wrap it.

    model: a name that `cortexia models` lists, or `onnx:FILE`. device: auto, cpu, cuda, cuda:1 or mps.
    options: the model's own, such as `kind`, `input_size` and `normalize` of `onnx:`.

    Raises `ModelError` (a subclass says which): unknown name, missing package, unusable weights.
    """
    return DepthEstimator(load_model(model, device=device, **options), batch_size=batch_size)


def _check_output(output: object, count: int, name: str) -> NDArray[np.float32]:
    """Hold a model to its promise: numbers (B, h, w), one for each picture."""
    values = np.asarray(output, dtype=np.float32)
    if values.ndim != 3 or len(values) != count:
        raise ModelOutputError(
            f"{name} gives an array of shape {values.shape} for {count} pictures: it must be (B, h, w)"
        )
    return values


def _as_model_error(error: Exception) -> ModelError:
    if isinstance(error, ModelError):
        return error
    wrapped = ModelError(f"the model failed: {type(error).__name__}: {error}")
    wrapped.__cause__ = error
    return wrapped
