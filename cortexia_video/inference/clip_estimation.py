"""`estimate_video`: the frames of a video with their depth, steadied; what `DepthEstimator.estimate_video` does."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from cortexia_video.depth_map import DepthMap
from cortexia_video.errors import DecodeError, Failure, format_count
from cortexia_video.frame import FocalSource, Frame
from cortexia_video.images.resampling import resize_depth
from cortexia_video.storage.paths import PathLike, to_path
from cortexia_video.video.clip_index import ClipIndex, choose_probes
from cortexia_video.video.frames import read_frames, read_some
from cortexia_video.video.image_sequence import read_any_index
from cortexia_video.video.steady import Steady, SteadyMode, to_grey

if TYPE_CHECKING:
    from cortexia_video.depth_estimation import DepthEstimator


def estimate_video(
    estimator: DepthEstimator,
    native: DepthEstimator,
    path: PathLike,
    *,
    steady: SteadyMode = "mean",
    numbers: slice = slice(None),
    f_px: float | None = None,
    fps: float = 24.0,
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
    sequencer = Steady(steady, estimator.model.kind)
    waiting: deque[Frame] = deque()

    def read() -> Iterator[Frame]:
        for frame in _to_frames(index, read_frames(place, index, chosen)):
            known = replace(frame, f_px=f_px, f_source=f_source)
            waiting.append(known)
            yield known

    for position, depth in enumerate(native.estimate(read())):
        frame = waiting.popleft()
        if isinstance(depth, Failure):
            yield frame, depth
            continue
        ((_, values),) = sequencer.add(position, to_grey(frame.image, *depth.values.shape), depth.values)
        if estimator.size == "full":
            values = resize_depth(values, frame.height, frame.width)
        full_size = (frame.height, frame.width) if values.shape != (frame.height, frame.width) else None
        yield frame, replace(depth.without_maps(), values=values, full_size=full_size)


def _to_frames(index: ClipIndex, images: Iterable[tuple[int, NDArray[np.uint8] | None]]) -> Iterator[Frame]:
    for number, image in images:
        if image is not None:
            yield Frame(f"{number:06}", image, timestamp_s=index.time_s(number))
