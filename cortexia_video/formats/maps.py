"""What a run writes beside a depth file, each in a file of its own: normals, mask, confidence, points.

    KEY.normals.png     16 bits, RGB: x, y, z of the unit normal, n = (number - 32768) / 32767; 0, 0, 0 is unknown
    KEY.mask.png        8 bits, grey: 255 where depth is known, 0 where it is not, sky among it
    KEY.confidence.npy  float32 (H, W), larger is surer, in the model's own unit
    KEY.points.npy      float32 (H, W, 3): x, y, z of each pixel's point, in the unit of the depth, NaN where unknown

Axes are those of OpenCV: x to the right, y down, z forward. Normals point to the camera: z is below 0, save at the
edges of wide images; of a panorama axes are those of its middle. All are as large as the depth beside them.
"""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, PngImagePlugin

from cortexia_video.depth_map import DepthMap
from cortexia_video.errors import DepthFileError, InputError
from cortexia_video.formats import npy, png16
from cortexia_video.formats.metadata import metadata_of, to_text
from cortexia_video.formats.quantization import Quantizer, to_values
from cortexia_video.formats.raw_depth import Chunks
from cortexia_video.geometry.normals import find_normals, find_points

_STEPS = {"scale": 1 / 32767, "offset": -1 - 1 / 32767, "unknown": 0}


def encode_normals(depth: DepthMap) -> Chunks:
    """Return the pieces of a PNG of its normals; of depth without them, those that follow from it.

    Raises `InputError` where none follow.
    """
    normals = find_normals(depth)
    numbers = Quantizer(normals.reshape(len(normals), -1), _STEPS)
    return png16.encode_numbers(numbers, _describe(depth, "normals") | _STEPS, channels=3)


def decode_normals(data: bytes) -> NDArray[np.float32]:
    """Return the normals of such a file, float32 (H, W, 3), unit vectors, NaN where unknown.

    Raises `DepthFileError` for a file of another sort, and what zlib does for a broken one.
    """
    numbers = png16.decode_rgb(data)
    normals = to_values(numbers.reshape(len(numbers), -1), _STEPS).reshape(numbers.shape)
    return normals / np.sqrt(np.einsum("hwc,hwc->hw", normals, normals))[..., None]


def check_normals(data: bytes, height: int, width: int) -> str | None:
    """Return what is wrong with the normals of a map of (height, width), if anything is."""
    shape = png16.decode_rgb(data).shape
    return None if shape == (height, width, 3) else f"its shape is {shape}, not {(height, width, 3)}"


def encode_mask(depth: DepthMap) -> Chunks:
    """Return a PNG of where depth is known; raises `InputError` for depth without a mask."""
    if depth.valid is None:
        raise InputError("the model said nothing of where depth is valid: there is no mask")
    text = PngImagePlugin.PngInfo()
    text.add_text(png16.KEYWORD, to_text(_describe(depth, "mask")).decode("ascii"))
    file = io.BytesIO()
    Image.fromarray(depth.valid.astype(np.uint8) * np.uint8(255)).save(
        file, "PNG", pnginfo=text, compress_level=1
    )
    return [file.getbuffer()]


def decode_mask(data: bytes) -> NDArray[np.bool_]:
    """Return the mask of such a file, bool (H, W); raises `DepthFileError`, and what Pillow does for a broken one."""
    with PngImagePlugin.PngImageFile(io.BytesIO(data)) as image:  # Image.open refuses large ones
        if image.mode != "L":
            raise DepthFileError(f"its mode is {image.mode}, not L: it is no mask")
        return np.asarray(image) >= 128


def encode_confidence(depth: DepthMap) -> Chunks:
    """Return an .npy of its confidence; raises `InputError` for depth without."""
    if depth.confidence is None:
        raise InputError("its model gives no confidence: leave that out")
    return npy.encode_array(depth.confidence)


def decode_confidence(data: bytes) -> NDArray[np.float32]:
    """Return the confidence of such a file, float32 (H, W); raises what `npy.decode` raises."""
    return np.asarray(npy.decode(data, math.inf).values, np.float32)


def encode_points(depth: DepthMap) -> Chunks:
    """Return an .npy of the point of each pixel; raises `InputError` for depth without shape or focal length."""
    return npy.encode_array(find_points(depth))


def check_points(data: bytes, height: int, width: int) -> str | None:
    """Return what is wrong with the points of a map of (height, width), if anything is."""
    points = npy.decode(data, math.inf).values
    if points.shape != (height, width, 3):
        return f"its shape is {points.shape}, not {(height, width, 3)}"
    infinite = np.count_nonzero(np.isinf(points))
    return f"{infinite} of its {points.size} values are infinite" if infinite else None


def _describe(depth: DepthMap, name: str) -> dict[str, object]:
    """Return what a file says of its map: whose it is, and what camera it was seen by."""
    said = metadata_of(depth)
    kept = ("f_px", "f_source", "full_size", "model", "weights_sha256", "projection")
    known = {each: said[each] for each in kept if each in said}
    return {"map": name, "axes": "x right, y down, z forward", **known}


DECODE_MAPS: dict[str, Callable[[bytes], NDArray[Any]]] = {
    "normals": decode_normals,
    "mask": decode_mask,
    "confidence": decode_confidence,
}  # points follow from depth
_FIELDS = {"mask": "valid"}  # of a `DepthMap`, where it has another name


def add_maps(depth: DepthMap, files: Mapping[str, bytes]) -> DepthMap:
    """Return depth with what files beside it hold; files: their bytes, by their names in the table of formats.

    Raises what `DECODE_MAPS` do, and `ValueError` for a map of another size than its depth.
    """
    read: dict[str, Any] = {
        _FIELDS.get(name, name): DECODE_MAPS[name](data)
        for name, data in files.items()
        if name in DECODE_MAPS
    }
    return replace(depth, **read)
