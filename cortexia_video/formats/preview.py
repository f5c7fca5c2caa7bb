"""A small coloured JPEG of a depth map, for people: near is bright."""

from __future__ import annotations

import simplejpeg

from cortexia_video.depth_map import DepthMap
from cortexia_video.resampling import fit_short_side, resize_depth
from cortexia_video.visualization import colored_depthmap

MARK = b"cortexia_video preview"
_SHORT_SIDE = 480


def encode(depth: DepthMap) -> list[bytes | memoryview]:
    """Give a JPEG with a short side of at most 480 pixels, brighter where nearer."""
    height, width = depth.values.shape
    short_side = min(_SHORT_SIDE, height, width)
    size = fit_short_side(height, width, short_side=short_side, multiple_of=1)
    values = resize_depth(depth.values, *size)
    image = colored_depthmap(values if depth.larger_is_nearer else -values)
    data = simplejpeg.encode_jpeg(image, quality=90)
    comment = b"\xff\xfe" + (len(MARK) + 2).to_bytes(2, "big") + MARK
    return [data[:2] + comment + data[2:]]
