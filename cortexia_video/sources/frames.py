"""Frames of the inputs that can be decoded, to compare backends on."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import partial

from cortexia_video.errors import Failure
from cortexia_video.frame import Frame
from cortexia_video.images.decode import decode
from cortexia_video.images.read import read_image_bytes
from cortexia_video.runtime.input_boundary import attempt
from cortexia_video.sources.find import InputFile


def decode_readable(images: Iterable[InputFile], *, max_megapixels: float = 200.0) -> Iterator[Frame]:
    """Yield frames to compare backends on: of the images that can be decoded, in their order."""
    for each in images:
        frame = attempt(each.key, "decode", partial(_decode, each, max_megapixels))
        if not isinstance(frame, Failure):
            yield frame


def _decode(image: InputFile, max_megapixels: float) -> Frame:
    return decode(read_image_bytes(image.place), image.key, max_megapixels=max_megapixels)
