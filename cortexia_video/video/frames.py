"""`read_frames`: the images of a clip, by number: upright, of square pixels, one field of two."""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from itertools import chain
from typing import IO, TYPE_CHECKING, Any, cast

import numpy as np
import xxhash
from numpy.typing import NDArray

from cortexia_video.errors import DecodeError, printable
from cortexia_video.images.resampling import resize_image
from cortexia_video.storage.paths import AnyPath
from cortexia_video.video.clip_index import ClipIndex, choose_stream, decode_packet, read_index
from cortexia_video.video.container import open_container
from cortexia_video.video.image_sequence import FOLDER, read_images

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.video.frame import VideoFrame

ImageArray = NDArray[np.uint8]
Size = tuple[int, int]  # height, width
_EARLIER_S = 1  # decoding begins this much before a frame: packets lie in another order than they are shown
_NO_PROOF: Mapping[int, str] = {}


def read_frames(
    place: AnyPath | IO[bytes],
    index: ClipIndex,
    numbers: range | None = None,
    *,
    only: Container[int] | None = None,
    proof: Mapping[int, str] = _NO_PROOF,
    enough: Size | None = None,
) -> Iterator[tuple[int, ImageArray | None]]:
    """Yield frames, each with its number: uint8 (H, W, 3) RGB; None for one that cannot be decoded.

    numbers: ascending; by default all. only: yield these of them alone. proof: digests of images just before
    the first of `numbers`, as `digest_of` gives them: decoding begins near them if they come out again, else at
    the start of the clip. enough: (height, width) to which an image may be averaged; one comes in that size or as
    large as it is.

    Raises `DecodeError` where the size of the frames changes on the way.
    """
    numbers = range(index.frames) if numbers is None else numbers
    chosen = numbers if only is None else [each for each in numbers if each in only]
    if not numbers:
        return
    if index.codec == FOLDER:
        yield from read_images(cast("AnyPath", place), index, chosen)
        return
    if numbers[0] > 0 and index.pts is not None:
        with open_container(place) as container:
            decoded = _seek(container, index, numbers[0], proof, enough)
            if decoded is not None:
                yield from _pick(decoded, index, chosen, enough)
                return
    with open_container(place) as container:
        yield from _pick(_decode(container, index), index, chosen, enough)


def read_some(
    place: AnyPath, index: ClipIndex, numbers: Sequence[int], enough: Size | None = None
) -> Iterator[tuple[int, ImageArray | None]]:
    """Yield frames here and there, ascending, as `read_frames` does, by decoding as little as need be.

    The images are right where they are keyframes, else nearly always.
    """
    every = range(numbers[0], numbers[-1] + 1)
    before = np.searchsorted(index.keyframes, numbers, "right") - 1  # where decoding would begin
    is_far = len(index.keyframes) and before[0] >= 0
    if not is_far or np.sum(numbers - index.keyframes[before] + 1) >= len(every) or index.codec == FOLDER:
        yield from read_frames(place, index, every, only=frozenset(numbers), enough=enough)
        return
    assert index.pts is not None
    with open_container(place) as container:
        for number in numbers:
            container.seek(int(index.pts[number]), stream=choose_stream(container), backward=True)
            found = next((each for each in _decode(container, index) if each[0] >= number), None)
            if found and found[0] == number:
                yield number, to_image(found[1], index, enough)
            else:
                yield from read_frames(place, index, range(number, number + 1), enough=enough)


def read_frame(place: AnyPath, number: int, index: ClipIndex | None = None) -> ImageArray:
    """Return one frame; raise `DecodeError` where there is none of this number, or it cannot be decoded."""
    index = index or read_index(place)
    if not 0 <= number < index.frames:
        raise DecodeError(f"{printable(str(place))} has the frames 0 to {index.frames - 1}, not {number}")
    ((_, image),) = read_frames(place, index, range(number, number + 1))
    if image is None:
        raise DecodeError(f"frame {number} of {printable(str(place))} cannot be decoded")
    return image


def digest_of(image: ImageArray) -> str:
    """Return what tells an image from others."""
    return xxhash.xxh3_128_hexdigest(np.ascontiguousarray(image).data)


def _seek(
    container: InputContainer, index: ClipIndex, number: int, proof: Mapping[int, str], enough: Size | None
) -> Iterator[tuple[int, VideoFrame]] | None:
    """Return the frames from `number` on by beginning near it; None where they might not be the right ones."""
    assert index.pts is not None
    earliest = min((number, *proof))
    start = int(index.pts[earliest]) - int(_EARLIER_S / index.time_base)
    container.seek(max(int(index.pts[0]), start), stream=choose_stream(container), backward=True)
    decoded = _decode(container, index)
    unproven = dict(proof)
    for found, frame in decoded:
        if found > earliest and unproven == proof:
            return None
        if found >= number:
            return chain([(found, frame)], decoded) if not unproven else None
        if found in unproven:
            image = to_image(frame, index, enough)
            if image is None or digest_of(image) != unproven.pop(found):
                return None
    return None


def _decode(container: InputContainer, index: ClipIndex) -> Iterator[tuple[int, VideoFrame]]:
    """Yield what can be decoded from here on with its numbers, ascending."""
    import av

    stream = choose_stream(container)
    numbers = None if index.pts is None else {int(pts): number for number, pts in enumerate(index.pts)}
    count, last = 0, -1
    packets = container.demux(stream)
    while True:
        try:
            packet = next(packets, None)
        except av.error.FFmpegError:  # a damaged end
            return
        if packet is None:
            return
        for frame in decode_packet(packet):
            number = count if numbers is None else numbers.get(frame.pts) if frame.pts is not None else None
            count += 1
            if number is not None and number > last and not frame.is_corrupt:
                last = number
                _require_size(frame, number, index)
                yield number, frame


def _require_size(frame: VideoFrame, number: int, index: ClipIndex) -> None:
    if (frame.height, frame.width) != index.stored:
        height, width = index.stored
        raise DecodeError(
            f"its frames change from {width} x {height} to {frame.width} x {frame.height} pixels at frame {number} "
            f"({index.time_s(number):.3f} s): cut it there into two clips"
        )


def _pick(
    decoded: Iterator[tuple[int, VideoFrame]],
    index: ClipIndex,
    numbers: Sequence[int],
    enough: Size | None,
) -> Iterator[tuple[int, ImageArray | None]]:
    wanted = iter(numbers)
    following = next(wanted, None)
    for number, frame in decoded:
        while following is not None and following < number:
            yield following, None
            following = next(wanted, None)
        if following is None:
            return
        if following == number:
            yield number, to_image(frame, index, enough)
            following = next(wanted, None)
            if following is None:
                return
    if following is not None:
        yield following, None
        yield from ((number, None) for number in wanted)


def write_frames(out: IO[bytes], images: Iterable[ImageArray], rate: int) -> None:
    """Write images uint8 (H, W, 3) RGB as a video without loss (FFV1 in Matroska); the same bytes each time."""
    import av

    with av.open(out, "w", format="matroska", container_options={"fflags": "+bitexact"}) as container:
        stream = None
        for image in images:
            if stream is None:
                stream = container.add_stream("ffv1", rate=rate, options={"level": "3", "flags": "+bitexact"})
                stream.height, stream.width, stream.pix_fmt = *image.shape[:2], "bgr0"
                stream.codec_context.thread_count = 1
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, "rgb24")))
        if stream is not None:
            container.mux(stream.encode())


def to_image(frame: VideoFrame, index: ClipIndex, enough: Size | None = None) -> ImageArray | None:
    """Return a decoded frame as it is shown, uint8 (H, W, 3) RGB; None where its colours make no sense.

    enough: as of `read_frames`.
    """
    import av

    height, width = frame.height, max(1, round(frame.width * index.aspect))
    small = enough if enough is None or index.rotation % 180 == 0 else enough[::-1]
    try:
        if small is not None and _can_average(frame, *small):
            image = _average(frame, *small)
            height, width = small
        else:
            image = _to_rgb(frame)
    except av.error.FFmpegError:
        return None
    if frame.interlaced_frame:
        image = image[::2]
    image = resize_image(np.ascontiguousarray(image), height, width)
    turned: ImageArray = np.ascontiguousarray(np.rot90(image, k=index.rotation // 90))
    return turned


def _can_average(frame: VideoFrame, height: int, width: int) -> bool:
    """Return whether FFmpeg can make a small image of a frame in one step: of whole planes of brightness and colour."""
    is_smaller = height < frame.height and width < frame.width
    form = frame.format
    return is_smaller and form.is_planar and not form.is_rgb and not frame.interlaced_frame


def _average(frame: VideoFrame, height: int, width: int) -> ImageArray:
    """Return a frame's pixels, each a mean of those around it: docs/decisions/video.md."""
    from av.video.reformatter import Interpolation

    exact = Interpolation.BILINEAR | Interpolation.ACCURATE_RND | Interpolation.BITEXACT
    small = frame.reformat(width, height, "gbrp", interpolation=exact, threads=1)
    return cast("ImageArray", small.to_ndarray())


def _to_rgb(frame: VideoFrame) -> ImageArray:
    """Return a frame's pixels; those that FFmpeg converts are in its memory, which the array keeps."""
    if frame.format.name == "rgb24":  # of a decoder, maybe from the last row to the first
        return cast("ImageArray", frame.to_ndarray())
    plane: Any = frame.reformat(format="rgb24").planes[0]
    rows = np.frombuffer(plane, np.uint8).reshape(frame.height, plane.line_size)
    return rows[:, : 3 * frame.width].reshape(frame.height, frame.width, 3)
