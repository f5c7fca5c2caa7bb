"""GLB, the binary form of glTF 2.0: points, perhaps normals, colours; in glTF's axes: y up, z backward.

Source: Khronos, glTF 2.0 Specification, 3.4 (axes, metres), 3.7 (meshes; vertex colours are linear, not sRGB)
and 4.4 (GLB). KHR_materials_unlit: a photo has its light in it. `extras` of the mesh tell the unit.
"""

from __future__ import annotations

import json
import struct
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cortexia_video.errors import OutputError
from cortexia_video.formats.raw_depth import Chunks
from cortexia_video.point_clouds.cloud import PointCloud

_FLOAT, _UNSIGNED_BYTE, _ARRAY_BUFFER, _POINTS = 5126, 5121, 34962, 0
_MOST = (1 << 32) - 1  # bytes in a file
_HEADER, _CHUNK = struct.Struct("<4sII"), struct.Struct("<I4s")
_TO_GLTF = np.array([1, -1, -1], np.float32)  # from OpenCV's axes: half a turn about x
_UNLIT = "KHR_materials_unlit"
_SHARES = np.arange(256) / 255
# The linear value, 0..255, of each sRGB value. Source: IEC 61966-2-1.
_LINEAR = np.rint(
    255 * np.where(_SHARES <= 0.04045, _SHARES / 12.92, ((_SHARES + 0.055) / 1.055) ** 2.4)
).astype(np.uint8)


def encode_glb(cloud: PointCloud) -> Chunks:
    """Return the file in pieces; raises `OutputError` for more points than it can hold."""
    points = cloud.points * _TO_GLTF
    # uint8 (N, 4): linear red, green, blue, and alpha, which fills up the four bytes of each
    linear = np.full((len(cloud.colors), 4), 255, np.uint8)
    for channel in range(3):
        linear[:, channel] = _LINEAR[cloud.colors[:, channel]]
    attributes: dict[str, NDArray[Any]] = {"POSITION": points, "COLOR_0": linear}
    if cloud.normals is not None:
        attributes["NORMAL"] = cloud.normals * _TO_GLTF
    text = json.dumps(_describe(attributes, cloud.unit), separators=(",", ":")).encode("ascii")
    text = text.ljust(-(-len(text) // 4) * 4)
    count = sum(values.nbytes for values in attributes.values())
    length = _HEADER.size + _CHUNK.size + len(text) + _CHUNK.size + count
    if length > _MOST:
        raise OutputError(
            f"a GLB holds no more than 4 GiB, {len(points)} points are {length} bytes: use .ply"
        )
    head = _HEADER.pack(b"glTF", 2, length) + _CHUNK.pack(len(text), b"JSON") + text
    pieces = [values.reshape(-1).view(np.uint8).data for values in attributes.values()]
    return [head + _CHUNK.pack(count, b"BIN\0"), *pieces]


def _describe(attributes: dict[str, NDArray[Any]], unit: str) -> dict[str, Any]:
    """Return the JSON of one mesh of points, whose attributes lie one behind the other in the buffer."""
    views, accessors, offset = [], [], 0
    for index, (name, values) in enumerate(attributes.items()):
        views.append(
            {"buffer": 0, "byteOffset": offset, "byteLength": values.nbytes, "target": _ARRAY_BUFFER}
        )
        kind: dict[str, Any] = {"componentType": _FLOAT, "type": "VEC3"}
        if name == "COLOR_0":
            kind = {"componentType": _UNSIGNED_BYTE, "normalized": True, "type": "VEC4"}
        if name == "POSITION":  # float32 is exact in JSON's numbers
            kind |= {"min": values.min(axis=0).tolist(), "max": values.max(axis=0).tolist()}
        accessors.append({"bufferView": index, "count": len(values), **kind})
        offset += values.nbytes
    primitive = {
        "attributes": {name: index for index, name in enumerate(attributes)},
        "mode": _POINTS,
        "material": 0,
    }
    return {
        "asset": {"version": "2.0", "generator": "cortexia_video"},
        "extensionsUsed": [_UNLIT],
        "scene": 0,
        "scenes": [{"nodes": [0]}],
        "nodes": [{"mesh": 0}],
        "meshes": [{"primitives": [primitive], "extras": {"unit": unit}}],
        "materials": [{"pbrMetallicRoughness": {"metallicFactor": 0}, "extensions": {_UNLIT: {}}}],
        "buffers": [{"byteLength": offset}],
        "bufferViews": views,
        "accessors": accessors,
    }
