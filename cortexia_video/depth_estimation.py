"""`DepthEstimator`: frames in, depth maps out, whatever the model; `load_estimator` makes one by name."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Literal, cast, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image

from cortexia_video.depth_map import DepthMap, Projection, ScaleSource, larger_is_nearer
from cortexia_video.errors import (
    Failure,
    InputError,
    ModelError,
    ModelOutputError,
    attempt,
    printable,
    require_one_of,
)
from cortexia_video.formats.registry import choose_maps
from cortexia_video.frame import FocalSource, Frame
from cortexia_video.geometry.normals import SHAPED, depth_to_normals
from cortexia_video.geometry.sparse_map import to_sparse_map
from cortexia_video.geometry.sphere import distance_to_normals
from cortexia_video.images.decode import ImageLike, to_frame
from cortexia_video.images.resampling import resize_depth, resize_known, resize_mask
from cortexia_video.inference.batches import Batcher, BatchLimits, BatchSize, Group, is_out_of_memory
from cortexia_video.inference.maps import Maps, find_known, find_maps, find_wrong, resize_maps, take_maps
from cortexia_video.models.protocol import AUTO, MAPS, CameraModel, CommercialOnly, DepthModel, Prediction
from cortexia_video.models.registry import load_model, require_commercial
from cortexia_video.pinhole import Pinhole, to_f_px, to_fov_deg
from cortexia_video.runtime.resources import BufferPool
from cortexia_video.storage.paths import PathLike
from cortexia_video.storage.remote_path import RemotePath
from cortexia_video.video.steady import SteadyMode

Size = Literal["full", "native"]
Sky = Literal["unknown", "keep"]


@dataclass(frozen=True, slots=True)
class FrameInfo:
    """What is kept of a frame while its depth is made: all but the pixels."""

    key: str
    height: int
    width: int
    f_px: float | None
    f_source: FocalSource | None


@dataclass(frozen=True, slots=True, eq=False)
class PreparedFrame:
    """A frame made ready for the network; it does not hold on to its image.

    group: frames of one group can share a batch. estimate_fov: the model needs a focal length, and none is
    known.
    """

    origin: FrameInfo
    pixels: NDArray[Any]
    group: Group
    estimate_fov: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class ModelOutput:
    """What the network gave for one image.

    values: float32 (h, w). fov_deg: where it was estimated. maps: what else it predicted, by the names of `Prediction`.
    """

    values: NDArray[np.float32]
    fov_deg: float | None = None
    maps: Maps = field(default_factory=dict)


ModelResult = ModelOutput | ModelError


class DepthEstimator:
    """Estimate depth for images of any sizes.

    `estimator(image)` is for one image and `estimate` for many; the other methods are the steps of it, which
    the run's executor calls on different threads: `prepare` and `finish` on workers, `run` on the model's
    thread, `stack` and `check` between them.

    Args:
        model: A loaded model.
        batch_size: Images in one call of the model, or `auto`.
        size: `full` gives each map the size of its image, `native` the size that the network gives.
        also: Which maps beside depth to carry: normals, confidence, mask; a mask is, whenever the model gives one.
            Normals of a model that has none follow from its depth, if that is metric or scale-invariant and a focal
            length is known.
        sky: `unknown` makes depth NaN (disparity 0) where the model knows that there is sky, and NaN where it knows
            of no depth; `keep` leaves the network's numbers.

    Raises:
        InputError: The batch size, the size or the sky cannot be, or the model has none of these maps.

    Example:
        >>> estimator = cx.DepthEstimator(cx.SyntheticModel(), batch_size=8)
        >>> frames = [cx.read_image("examples/room_900002.jpg")]
        >>> [depth.values.shape for depth in estimator.estimate(frames)]
        [(480, 640)]
    """

    def __init__(
        self,
        model: DepthModel,
        *,
        batch_size: BatchSize = 4,
        size: Size = "full",
        also: str | Iterable[str] = (),
        sky: Sky = "unknown",
    ) -> None:
        if size not in get_args(Size) or sky not in get_args(Sky):
            require_one_of(size=(size, Size), sky=(sky, Sky))
        self.model = model
        self.size = size
        self.also, self.sky = frozenset(choose_maps(also, MAPS) if also else ()), sky
        given = find_maps(model) if self.also else ()
        if lacking := sorted(self.also - {"normals", *given}):
            has = dict.fromkeys((*(["normals"] if model.kind in SHAPED else []), *given))
            can = f"`also` can be {', '.join(has)}" if has else "leave `also` out"
            raise InputError(f"{printable(model.name)} gives no {', '.join(lacking)}: {can}")
        self._asks = self.also & {*given} - {"mask"}
        self.limits = BatchLimits(batch_size, model.max_batch)

    def __repr__(self) -> str:
        model = self.model
        return f"DepthEstimator({printable(model.name)}, {model.kind}, {self.size} size, on {model.device})"

    @property
    def identity(self) -> dict[str, object]:
        """Return what the numbers depend on."""
        model = self.model
        named = {"model": model.name, "weights_sha256": model.weights_digest, "kind": model.kind}
        kept = {"sky": self.sky} if self.sky == "keep" else {}
        scale = {"scale_from": self.scale_from} if self.scale_from else {}
        return {**named, "size": self.size, **kept, **scale, **model.settings}

    @property
    def uses_focal_length(self) -> bool:
        """Return whether depth is proportional to the focal length: another one scales it."""
        return self._camera_model is not None

    @property
    def takes_sparse(self) -> bool:
        """Return whether the model completes a sensor's depth: frames need it then (`Frame.sparse`)."""
        return bool(getattr(self.model, "takes_sparse", False))

    @property
    def scale_from(self) -> ScaleSource | None:
        """Return where metres come from, as `DepthMap` says it."""
        return "sparse" if self.takes_sparse else None

    @property
    def projection(self) -> Projection:
        """Return what images are, and what their values mean, as `DepthMap` says it."""
        projection: Projection = getattr(self.model, "projection", "perspective")
        return projection

    @property
    def batch_size(self) -> int:
        """Return the largest batch that is asked for now."""
        return self.limits.largest

    def estimate(
        self, frames: Iterable[Frame | Failure | ImageLike | PathLike]
    ) -> Iterator[DepthMap | Failure]:
        """Return an iterator of one depth map or failure for each image, in order.

        Args:
            frames: Frames, paths or what else stands for one image; taken a few batches ahead, no more. A path
                that cannot be read is a failure, and a failure that comes in goes out in its place.

        Returns:
            Depth, float32 (H, W), or what went wrong, one after the other.

        Raises:
            TypeError: `frames` is one image, not several.

        Example:
            >>> estimator = cx.DepthEstimator(cx.SyntheticModel())
            >>> list(estimator.estimate(["examples/room_900002.jpg", "no.jpg"]))
            [DepthMap(480x640, disparity, 0.142..0.892, synthetic), Failure('no.jpg', decode, no such file: no.jpg)]
        """
        if isinstance(frames, str | bytes | os.PathLike | RemotePath | Frame | np.ndarray | Image.Image):
            raise TypeError(
                f"frames must be several images, got one {type(frames).__name__}: call estimator(image) for "
                "one, or give a list"
            )
        return self._estimate(frames)

    def _estimate(
        self, frames: Iterable[Frame | Failure | ImageLike | PathLike]
    ) -> Iterator[DepthMap | Failure]:
        batcher: Batcher[tuple[int, PreparedFrame]] = Batcher(self.limits.of, self.limits.window)
        done: dict[int, DepthMap | Failure] = {}
        following = 0
        for index, given in enumerate(frames):
            if isinstance(given, Failure | Frame):
                frame: Frame | Failure = given
            else:
                key = str(given) if isinstance(given, str | os.PathLike | RemotePath) else "image"
                frame = attempt(key, "decode", partial(to_frame, given))
            prepared = frame if isinstance(frame, Failure) else self.prepare(frame)
            if isinstance(prepared, Failure):
                done[index] = prepared
            else:
                for batch in batcher.add(prepared.group, (index, prepared)):
                    self._complete(batch, done)
            while following in done:
                yield done.pop(following)
                following += 1
        for batch in batcher.flush():
            self._complete(batch, done)
        yield from (done[index] for index in sorted(done))

    def estimate_video(
        self,
        path: PathLike,
        *,
        steady: SteadyMode = "mean",
        numbers: slice = slice(None),
        f_px: float | None = None,
        fps: float = 24.0,
    ) -> Iterator[tuple[Frame, DepthMap | Failure]]:
        """Yield the frames of a video with their depth, which does not flicker.

        Args:
            path: A video, or a folder of its frames, taken in natural order; a path or a URL.
            steady: mean, align or off, as of `estimate` (docs/video.md).
            numbers: Which frames, as `slice(0, 500)`, `slice(None, None, 5)`.
            f_px: Focal length of its frames, by default as EXIF says; else a model that needs one estimates one for
                all.
            fps: Frames per second of a folder.

        Yields:
            The frame, with `timestamp_s` and its number as key, and its depth, or what went wrong. Frames
            that cannot be decoded are left out.

        Raises:
            DecodeError: It is no video that can be read.
            MissingExtraError: PyAV is not installed.

        Example:
            >>> for frame, depth in estimator.estimate_video("clip.mp4"):  # doctest: +SKIP
            ...     print(frame.timestamp_s, depth.values.mean())
        """
        from cortexia_video.inference.clip_estimation import estimate_video

        native = DepthEstimator(self.model, size="native", sky=self.sky)
        native.limits = self.limits
        return estimate_video(self, native, path, steady=steady, numbers=numbers, f_px=f_px, fps=fps)

    def __call__(
        self, image: Frame | ImageLike | PathLike, *, sparse: DepthMap | ArrayLike | None = None
    ) -> DepthMap:
        """Estimate the depth of one image.

        Args:
            image: uint8 (H, W, 3) RGB, upright; an image that Pillow opened; a `Frame`; a path or a URL. Of
                a file and of Pillow's image the EXIF orientation and focal length are used.
            sparse: For models that complete a sensor's depth, and need it: its metric `DepthMap` of the same view, at
                any size and with holes, or samples (N, 3) as `align` takes them: x, y, metres.

        Returns:
            The depth: float32 (H, W), or as large as the network's where `size` is native.

        Raises:
            InputError: There is no such file, an array is no image, or `sparse` is not of it.
            DecodeError: The file is no image that can be read.
            ModelError: The model failed, its values cannot be depth, or it needs `sparse` or takes none.

        Example:
            >>> estimator = cx.DepthEstimator(cx.SyntheticModel())
            >>> estimator(np.zeros((48, 64, 3), np.uint8)).values.shape
            (48, 64)
        """
        frame = to_frame(image)
        if sparse is not None:
            frame = replace(frame, sparse=to_sparse_map(sparse, frame.width, frame.height))
        (depth,) = self.estimate([frame])
        if isinstance(depth, Failure):
            raise depth.error
        return depth

    def require_sparse(self, *, given: bool) -> None:
        """Raise `ModelError` where sparse depth is given and the model takes none, or the other way round.

        Args:
            given: Sparse depth is given.

        Raises:
            ModelError: It is not wanted, or is missing.
        """
        if given == self.takes_sparse:
            return
        if given:
            raise ModelError(
                f"{printable(self.model.name)} takes no sparse depth (`sparse`): its depth can be aligned to it "
                "(`align_to`)"
            )
        raise ModelError(f"{printable(self.model.name)} completes a sensor's depth: give that (`sparse`)")

    def enough(self, height: int, width: int) -> tuple[int, int]:
        """Return how large a reduced image must be to hold all that the network will see: twice the size it sees.

        Args:
            height: Of the full image, pixels.
            width: Of the full image, pixels.

        Returns:
            Height and width in pixels.
        """
        try:
            processed_height, processed_width = self.model.processed_size(height, width)
        except Exception:  # noqa: BLE001 - a plugin's code; `prepare` will say what is wrong
            return height, width
        return 2 * processed_height, 2 * processed_width

    def prepare(self, frame: Frame) -> PreparedFrame | Failure:
        """Preprocess one frame.

        Args:
            frame: uint8 (H, W, 3) RGB, with its focal length where that is known.

        Returns:
            The network's input, or a `Failure` that holds what is wrong (`ModelError`).
        """
        height, width = frame.full_size or frame.image.shape[:2]
        estimate_fov = self._camera_model is not None and frame.f_px is None
        try:
            if estimate_fov and not getattr(self.model, "estimates_fov", True):
                raise ModelError(
                    f"{self.model.name} estimates no focal length, and gives metres only with one: images need it "
                    "in EXIF, or given (`f_px`, `intrinsics`)"
                )
            self.require_sparse(given=frame.sparse is not None)
            processed_size = self.model.processed_size(height, width)
            if preprocess_frame := getattr(self.model, "preprocess_frame", None):
                pixels = preprocess_frame(frame, processed_size)
            else:
                pixels = self.model.preprocess(frame.image, processed_size)
            if not isinstance(pixels, np.ndarray):
                raise ModelError(
                    f"{self.model.name} preprocesses to {type(pixels).__name__}, not to an array"
                )
        except Exception as error:  # noqa: BLE001 - a plugin's code
            return Failure(frame.key, "estimate", as_model_error(error))
        if np.may_share_memory(pixels, frame.image):
            pixels = pixels.copy()
        camera = (frame.f_px, frame.f_source) if self.projection == "perspective" else (None, None)
        origin = FrameInfo(frame.key, height, width, *camera)
        return PreparedFrame(origin, pixels, _name_group(pixels, estimate_fov), estimate_fov)

    def stack(self, batch: Sequence[PreparedFrame]) -> NDArray[Any]:
        """Join frames prepared to one shape into the model's input.

        Args:
            batch: At least one, all of one `group`.

        Returns:
            An array (B, ...), of the type that the model preprocesses to.
        """
        first = batch[0].pixels
        allocate = getattr(self.model, "allocate", np.empty)
        together: NDArray[Any] = allocate((len(batch), *first.shape), first.dtype)
        return np.stack([prepared.pixels for prepared in batch], out=together)

    def record_full_memory(self, error: Exception, first: PreparedFrame, count: int) -> None:
        """Remember that so many frames of a group do not fit; raise what is another error.

        Args:
            error: What the model or an allocation raised.
            first: A frame of the batch.
            count: Frames in the batch.

        Raises:
            Exception: `error`, where it is not one of memory.
        """
        if not is_out_of_memory(error):
            raise error
        self.limits.record_full_memory(first.group, count)

    def run(self, pixels: NDArray[Any], estimate_fov: bool = False) -> list[ModelResult]:
        """Run the network on a stack.

        What does not fit in memory is halved, and how many do is remembered for the shape. A batch that
        raises for any other reason is halved until the guilty image stands alone.

        Args:
            pixels: What `stack` gives, (B, ...).
            estimate_fov: The model shall estimate focal lengths, too (`PreparedFrame.estimate_fov`).

        Returns:
            An output or an error for each image, in order.
        """
        count, group = len(pixels), _name_group(pixels[0], estimate_fov)
        if count > self.limits.fitting(group):
            return self._run_halves(pixels, estimate_fov)
        started = time.perf_counter()
        try:
            outputs = self._infer("infer", pixels, estimate_fov)
        except Exception as error:  # noqa: BLE001 - a network's forward pass can raise anything
            if is_out_of_memory(error):
                self.limits.record_full_memory(group, count)
            if count == 1:
                return [as_model_error(error)]
        else:
            if self.limits.is_auto:
                self.limits.record_time(group, count, time.perf_counter() - started)
            return [*outputs]
        return self._run_halves(pixels, estimate_fov)

    @property
    def can_run_again(self) -> bool:
        """Return whether the model computes in half precision and can do so in float32, too."""
        return hasattr(self.model, "infer_float32")

    def run_again(self, pixels: NDArray[Any], estimate_fov: bool = False) -> list[ModelResult]:
        """Run a stack whose outputs were wrong once more, in float32; only where `can_run_again`.

        Args:
            pixels: As of `run`.
            estimate_fov: As of `run`.

        Returns:
            An output or an error for each image, in order.
        """
        try:
            return [*self._infer("infer_float32", pixels, estimate_fov)]
        except Exception as error:  # noqa: BLE001 - a network's forward pass can raise anything
            return [as_model_error(error)] * len(pixels)

    def check(self, answer: ModelResult) -> ModelResult:
        """Look whether an output can be depth.

        Args:
            answer: What `run` gave for one image.

        Returns:
            The same, or a `ModelOutputError` for NaN, infinite, constant or negative metric depth.
        """
        if isinstance(answer, ModelError):
            return answer
        values, fov_deg = answer.values, answer.fov_deg
        if not values.size:
            return ModelOutputError(f"{self.model.name} gave depth without pixels")
        if fov_deg is not None and not 0 < fov_deg < 180:
            return ModelOutputError(f"{self.model.name} gave a field of view of {fov_deg:g} degrees")
        if answer.maps:
            if wrong := find_wrong(answer.maps):
                return ModelOutputError(f"{self.model.name} gave NaN or infinite {wrong}")
            if (used := self._find_used(answer)) is not None:
                values = values[used]
            if not values.size:  # an image of the sky
                return answer
        low, high = float(values.min()), float(values.max())  # NaN comes through both
        if not np.isfinite((low, high)).all():
            return self._blame("NaN or infinite depth", ~np.isfinite(values))
        if low == high and values.size > 1:
            return ModelOutputError(f"{self.model.name} gave the same depth, {low:g}, for every pixel")
        if low < 0 and self.model.kind in ("metric", "scale_invariant"):
            return self._blame("negative depth", values < 0)
        return answer

    def add_focal_length(self, origin: FrameInfo, output: ModelOutput) -> FrameInfo:
        """Add the focal length that the network estimated, if it did.

        Args:
            origin: Of the prepared frame.
            output: Of the network for it.

        Returns:
            `origin`, with `f_px` in pixels of the image where none was known and the output has one.
        """
        if output.fov_deg is None or origin.f_px is not None:
            return origin
        return replace(origin, f_px=to_f_px(output.fov_deg, origin.width), f_source="estimated")

    def finish(self, origin: FrameInfo, output: ModelOutput, scratch: BufferPool | None = None) -> DepthMap:
        """Bring the network's checked output to the size that is asked for.

        Args:
            origin: What `add_focal_length` gave.
            output: What `check` let pass.
            scratch: Memory for a full-size map, which then holds until the thread finishes another.

        Returns:
            The depth: float32 (H, W) of the image, or (h, w) of the network where `size` is native.

        Raises:
            ModelOutputError: The model needs a focal length, and estimated none.
        """
        full_size = (origin.height, origin.width)
        height, width = full_size if self.size == "full" else output.values.shape
        memory = scratch.take(4 * origin.height * origin.width) if scratch and self.size == "full" else None
        out = None if memory is None else np.frombuffer(memory, np.float32).reshape(full_size)
        maps = {**self._derive_normals(origin, output), **output.maps}
        used, around = self._find_used(output), self.projection == "equirectangular"
        if used is None:
            values = resize_depth(output.values, height, width, out, around=around)
        else:
            values = resize_known(output.values, used, height, width, out, around=around)
        if values is output.values and self._camera_model:
            values = values.copy()  # `to_depth` may write into it, and an output can be finished again
        values = self._to_depth(origin, values)
        sky = output.maps.get("sky")
        if sky is not None and sky.any() and self.sky == "unknown" and larger_is_nearer(self.model.kind):
            values[resize_mask(sky, height, width)] = 0  # infinitely far
        return DepthMap(
            values,
            self.model.kind,
            origin.f_px,
            origin.f_source,
            full_size if self.size == "native" else None,
            self.model.name,
            self.model.weights_digest,
            projection=self.projection,
            scale_from=self.scale_from,
            **(resize_maps(maps, height, width, around=around) if maps else {}),
        )

    def _find_used(self, output: ModelOutput) -> NDArray[np.bool_] | None:
        """Return bool (h, w), where the network's numbers are taken for depth; None where all are.

        Where it says that there is none, they are kept by `sky="keep"`, unless no depth can be such a number.
        """
        known = find_known(output.maps) if output.maps else None
        if known is None or self.sky == "unknown":
            return known
        lowest = 0 if self.model.kind in SHAPED else -np.inf
        return known | (np.isfinite(output.values) & (output.values >= lowest))

    def _derive_normals(self, origin: FrameInfo, output: ModelOutput) -> Maps:
        """Return normals by name that follow from depth at the network's size: larger, it is made of facets.

        Where they are asked for, the model gives none and they follow.
        """
        wanted = "normals" in self.also - self._asks
        around = self.projection == "equirectangular"
        if not wanted or self.model.kind not in SHAPED or (origin.f_px is None and not around):
            return {}
        values = self._to_depth(origin, output.values.copy())
        if (known := find_known(output.maps)) is not None:
            values = np.where(known, values, np.float32(np.nan))
        if origin.f_px is None:
            return {"normals": distance_to_normals(values)}
        camera = Pinhole.centred(origin.f_px, origin.width, origin.height)
        return {"normals": depth_to_normals(values, camera.resized(*values.shape[::-1]))}

    @property
    def _camera_model(self) -> CameraModel | None:
        """The model, if its numbers become depth only with the focal length."""
        return cast("CameraModel", self.model) if hasattr(self.model, "to_depth") else None

    def _to_depth(self, origin: FrameInfo, values: NDArray[np.float32]) -> NDArray[np.float32]:
        if self._camera_model is None:
            return values
        if origin.f_px is None:
            raise ModelOutputError(
                f"{self.model.name} needs a focal length and estimated none: give one (`f_px`)"
            )
        return self._camera_model.to_depth(values, to_fov_deg(origin.f_px, origin.width))

    def _infer(self, method: str, pixels: NDArray[Any], estimate_fov: bool) -> list[ModelOutput]:
        """Call `infer` or `infer_float32`, and hold the model to its promise."""
        infer = getattr(self.model, method)
        asked = {"estimate_fov": True} if estimate_fov else {}
        answer = infer(pixels, **asked, **({"also": self._asks} if self._asks else {}))
        if is_bare := not isinstance(answer, Prediction):
            answer = Prediction(answer)
        count, name = len(pixels), self.model.name
        values = np.asarray(answer.values, dtype=np.float32)
        if values.ndim != 3 or len(values) != count:
            raise ModelOutputError(
                f"{name} gives an array of shape {values.shape} for {count} images: it must be (B, h, w)"
            )
        maps = {} if is_bare else take_maps(answer, values.shape, name)
        lacking = self._asks - maps.keys()
        if "mask" in self.also and find_known(maps) is None:
            lacking |= {"mask"}
        if lacking:
            raise ModelOutputError(f"{name} was asked for {', '.join(sorted(lacking))} and gave none")
        fov_deg = [None] * count if answer.fov_deg is None else [*map(float, answer.fov_deg)]
        return [
            ModelOutput(values[i], fov_deg[i], {name: array[i] for name, array in maps.items()})
            for i in range(count)
        ]

    def _complete(self, batch: list[tuple[int, PreparedFrame]], done: dict[int, DepthMap | Failure]) -> None:
        first = batch[0][1]
        try:
            pixels = self.stack([prepared for _, prepared in batch])
        except Exception as error:  # noqa: BLE001 - memory of a device has errors of its own
            self.record_full_memory(error, first, len(batch))
            if len(batch) == 1:
                done[batch[0][0]] = Failure(first.origin.key, "estimate", as_model_error(error))
                return
            for half in (batch[: len(batch) // 2], batch[len(batch) // 2 :]):
                self._complete(half, done)
            return
        estimate_fov = first.estimate_fov
        answers = self.run(pixels, estimate_fov)
        for (index, prepared), one, answer in zip(batch, pixels, answers, strict=True):
            checked = self.check(answer)
            if isinstance(checked, ModelOutputError) and self.can_run_again:
                checked = self.check(self.run_again(one[None], estimate_fov)[0])
            if isinstance(checked, ModelError):
                done[index] = Failure(prepared.origin.key, "estimate", checked)
            else:
                origin = self.add_focal_length(prepared.origin, checked)
                try:
                    done[index] = self.finish(origin, checked)
                except MemoryError as error:
                    done[index] = Failure(origin.key, "estimate", as_model_error(error))

    def _run_halves(self, pixels: NDArray[Any], estimate_fov: bool) -> list[ModelResult]:
        middle = len(pixels) // 2
        return self.run(pixels[:middle], estimate_fov) + self.run(pixels[middle:], estimate_fov)

    def _blame(self, what: str, where: NDArray[np.bool_]) -> ModelOutputError:
        share = 100 * float(where.mean())
        return ModelOutputError(f"{self.model.name} gave {what} for {share:.1f} % of the pixels")


def load_estimator(
    model: str = "compact",
    *,
    device: str = "auto",
    batch_size: BatchSize = 4,
    size: Size = "full",
    also: str | Iterable[str] = (),
    sky: Sky = "unknown",
    commercial_only: CommercialOnly = False,
    thorough: bool = False,
    projection: Projection = "perspective",
    **options: Any,
) -> DepthEstimator:
    """Load a model by name.

    Args:
        model: A name that `list_models` lists, `onnx:FILE`, or `hf:` and a folder or hub id.
        device: auto, cpu, cuda, cuda:1 or mps.
        batch_size: Images in one call of the model, or `auto`.
        size: `full` gives each map the size of its image, `native` the size that the network gives.
        also: Which maps beside depth to carry: normals, confidence, mask.
        sky: `unknown` makes depth NaN (disparity 0) where the model knows of sky; `keep` leaves the numbers.
        commercial_only: Refuse weights that are not known to be free for use in a product; `strict` also those
            whose training data or teachers are not.
        thorough: Take the mean of each image and its mirror image: twice the time, somewhat better depth.
        projection: `equirectangular` takes panoramas, twice as wide as high, and gives distances all around.
        **options: The model's own: `kind` and `input_size` of `onnx:` and `hf:`, `multiple_of`, `normalize`,
            `output_name` and `canonical_f` of `onnx:`, `backend`, `precision` and `compile` of what torch runs;
            None and `auto` stand for what the model says; `backend="reference"` is float32 by torch, or by ONNX
            Runtime of ONNX files.

    Returns:
        The estimator: `estimator(image)` for one image, `estimator.estimate(frames)` for many.

    Raises:
        UnknownModelError: There is no such model.
        ModelLoadError: The weights cannot be used.
        ModelError: Anything else that is wrong with the model.
        InputError: The model has no such map.
        MissingExtraError: The model needs a package that is not installed.

    Example:
        >>> depth = cx.load_estimator("compact")("examples/room_900002.jpg")
        >>> depth.kind, depth.values.shape
        ('disparity', (480, 640))
    """
    if commercial_only:
        require_commercial(model, strict=commercial_only == "strict")
    if projection not in get_args(Projection):
        require_one_of(projection=(projection, Projection))
    loaded = load_model(model, device=device, thorough=thorough, **_keep_given(options))
    if projection == "equirectangular":
        from cortexia_video.inference.panorama import Panorama

        loaded = Panorama(loaded)
    return DepthEstimator(loaded, batch_size=batch_size, size=size, also=also, sky=sky)


def load_estimators(
    model: str | DepthEstimator | Sequence[DepthEstimator],
    *,
    device: str = "auto",
    batch_size: BatchSize = 4,
    size: Size = "full",
    also: str | Iterable[str] = (),
    sky: Sky = "unknown",
    projection: Projection = "perspective",
    **options: Any,
) -> Sequence[DepthEstimator]:
    """Load a model once for each of `device`, several with commas between; they share what fits and is fast.

    Loaded ones are only looked at: they must be alike, and take no options here. Raises `InputError` where
    that is not so, and what `load_estimator` raises.
    """
    if isinstance(model, str):
        options |= {
            "batch_size": batch_size,
            "size": size,
            "also": also,
            "sky": sky,
            "projection": projection,
        }
        loaded = [load_estimator(model, device=each.strip(), **options) for each in device.split(",")]
        for estimator in loaded[1:]:
            estimator.limits = loaded[0].limits
        return loaded
    estimators = [model] if isinstance(model, DepthEstimator) else model
    if not estimators:
        raise InputError("no model is given: one for each device is needed")
    if given := _keep_given(options):
        raise InputError(f"a loaded model takes no options here: {', '.join(sorted(given))}")
    first, maps = estimators[0], frozenset(choose_maps(also, MAPS))
    asked: dict[str, tuple[Any, Any]] = {"size": (size, "full"), "sky": (sky, "unknown")}
    asked |= {"projection": (projection, "perspective")}
    for name, (wanted, usual) in {**asked, "also": (maps, frozenset())}.items():
        has = getattr(first, name)
        if wanted not in (usual, has):
            if isinstance(has, frozenset):
                has, wanted = sorted(has), sorted(wanted)
            raise InputError(
                f"the loaded model gives {name} {has!r}, not {wanted!r}: load it with {name}={wanted!r}"
            )
    if any(each.identity != first.identity for each in estimators):
        raise InputError("the loaded models differ: one run takes one model, on one device or several")
    return estimators


def _keep_given(options: Mapping[str, Any]) -> dict[str, Any]:
    """Leave out what asks for nothing: a model takes only the options that it has. auto: its own backend."""
    return {
        name: value
        for name, value in options.items()
        if value is not None and value is not False and value != AUTO
    }


def _name_group(pixels: NDArray[Any], estimate_fov: bool) -> Group:
    """Name what images must have in common to share a batch: shape, type, what is asked of the model."""
    return (*pixels.shape, str(pixels.dtype), *(["fov"] if estimate_fov else []))


def as_model_error(error: Exception) -> ModelError:
    """Return an error of a model, or one whose cause it is."""
    if isinstance(error, ModelError):
        return error
    wrapped = ModelError(f"the model failed: {type(error).__name__}: {error}")
    wrapped.__cause__ = error
    return wrapped
