"""A small coloured JPEG of a depth map, for people: near is bright."""

from __future__ import annotations

import simplejpeg

from cortexia_video.depth_map import DepthMap
from cortexia_video.images.resampling import fit_short_side, resize_depth
from cortexia_video.viz.colormap import colored_depthmap

MARK = b"cortexia_video preview"
_SHORT_SIDE = 480


def encode(depth: DepthMap) -> list[bytes | memoryview]:
    """Return a JPEG with a short side of at most 480 pixels, brighter where nearer."""
    values = resize_depth(depth.values, *_fit(*depth.values.shape))
    image = colored_depthmap(values if depth.larger_is_nearer else -values)
    data = simplejpeg.encode_jpeg(image, quality=90)
    comment = b"\xff\xfe" + (len(MARK) + 2).to_bytes(2, "big") + MARK
    return [data[:2] + comment + data[2:]]


def check(data: bytes, height: int, width: int) -> str | None:
    """Return what is wrong with a preview of a (height, width) map, if anything is."""
    shape = simplejpeg.decode_jpeg(data).shape[:2]
    size = _fit(height, width)
    return None if shape == size else f"it is {shape[0]}x{shape[1]}, not {size[0]}x{size[1]}"


def _fit(height: int, width: int) -> tuple[int, int]:
    """Return the preview's size for a map's."""
    return fit_short_side(height, width, short_side=min(_SHORT_SIDE, height, width), multiple_of=1)
