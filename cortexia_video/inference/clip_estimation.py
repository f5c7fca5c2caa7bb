"""`estimate_video`: the frames of a video with their depth, steadied; what `DepthEstimator.estimate_video` does."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterable, Iterator
from dataclasses import replace
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cortexia_video.depth_map import DepthMap
from cortexia_video.errors import DecodeError, Failure, ModelError, ModelOutputError, format_count
from cortexia_video.frame import FocalSource, Frame
from cortexia_video.images.resampling import resize_depth
from cortexia_video.models.protocol import Window
from cortexia_video.storage.paths import PathLike, to_path
from cortexia_video.video.clip_index import ClipIndex, choose_probes
from cortexia_video.video.frames import read_frames, read_some
from cortexia_video.video.image_sequence import read_any_index
from cortexia_video.video.steady import Steady, SteadyMode, to_grey
from cortexia_video.video.windows import Stitch, choose_steady, fill_window

if TYPE_CHECKING:
    from cortexia_video.depth_estimation import DepthEstimator, FrameInfo


def estimate_video(
    estimator: DepthEstimator,
    native: DepthEstimator,
    path: PathLike,
    *,
    steady: SteadyMode,
    numbers: slice,
    f_px: float | None,
    fps: float,
) -> Iterator[tuple[Frame, DepthMap | Failure]]:
    """Yield what `DepthEstimator.estimate_video` does. native: the estimator at the network's size."""
    place = to_path(path)
    index = read_any_index(place, fps=fps)
    chosen = range(index.frames)[numbers]
    if not chosen:
        raise DecodeError(
            f"{place} has {format_count(index.frames, 'frame')}, and `numbers` takes none of them"
        )
    f_source: FocalSource | None = "given" if f_px else "exif" if index.f_px else None
    f_px = f_px or index.f_px
    if f_px is None and estimator.uses_focal_length:
        some = _to_frames(index, read_some(place, index, choose_probes(index, chosen)))
        found = [each.f_px for each in native.estimate(some) if isinstance(each, DepthMap) and each.f_px]
        if found:
            f_px, f_source = float(np.median(found)), "estimated"
    waiting: deque[Frame] = deque()

    def read() -> Iterator[Frame]:
        for frame in _to_frames(index, read_frames(place, index, chosen)):
            known = replace(frame, f_px=f_px, f_source=f_source)
            waiting.append(known)
            yield known

    window: Window | None = getattr(estimator.model, "window", None)
    sequencer = Steady(choose_steady(steady, estimator.model), estimator.model.kind)
    depths = _estimate_windows(native, window, read(), waiting) if window else native.estimate(read())
    for position, depth in enumerate(depths):
        frame = waiting.popleft()
        if isinstance(depth, Failure):
            yield frame, depth
            continue
        ((_, values),) = sequencer.add(position, to_grey(frame.image, *depth.values.shape), depth.values)
        if estimator.size == "full":
            values = resize_depth(values, frame.height, frame.width)
        full_size = (frame.height, frame.width) if values.shape != (frame.height, frame.width) else None
        yield frame, replace(depth.without_maps(), values=values, full_size=full_size)


def _estimate_windows(
    native: DepthEstimator, window: Window, frames: Iterator[Frame], waiting: Collection[Frame]
) -> Iterator[DepthMap]:
    """Yield the depth of frames, as many as are waiting in the end, by windows; what a window fails by raises."""
    stitch, carried = Stitch(window, native.model.kind), list[NDArray[Any]]()
    origin: FrameInfo | None = None
    while True:
        inputs: list[NDArray[Any]] = []
        for frame in islice(frames, window.frames - len(carried)):
            prepared = native.prepare(frame)
            if isinstance(prepared, Failure):
                raise prepared.error
            origin = prepared.origin
            inputs.append(prepared.pixels)
        if not waiting or origin is None:
            return
        pixels = fill_window(window, carried, inputs)
        carried = [*pixels[[*window.carried]]]
        (output,) = map(native.check, native.run(pixels[None]))
        if isinstance(output, ModelOutputError) and native.can_run_again:
            (output,) = map(native.check, native.run_again(pixels[None]))
        if isinstance(output, ModelError):
            raise output
        settled = stitch.add(output.values.reshape(window.frames, -1, output.values.shape[1]))
        for values in settled[: len(waiting)]:
            yield native.finish(origin, replace(output, values=values))


def _to_frames(index: ClipIndex, images: Iterable[tuple[int, NDArray[np.uint8] | None]]) -> Iterator[Frame]:
    for number, image in images:
        if image is not None:
            yield Frame(f"{number:06}", image, timestamp_s=index.time_s(number))
