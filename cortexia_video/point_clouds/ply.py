"""PLY, binary, little endian: points, perhaps normals, colours; in metres, in OpenCV's axes.

Source: G. Turk, The PLY Polygon File Format, 1994; names of properties as MeshLab and Open3D read them.
"""

from __future__ import annotations

import numpy as np

from cortexia_video.formats.raw_depth import Chunks
from cortexia_video.point_clouds.cloud import PointCloud

_TYPES = {"<f4": "float", "u1": "uchar"}
_POINT = [("x", "<f4"), ("y", "<f4"), ("z", "<f4")]
_NORMAL = [("nx", "<f4"), ("ny", "<f4"), ("nz", "<f4")]
_COLOR = [("red", "u1"), ("green", "u1"), ("blue", "u1")]


def encode_ply(cloud: PointCloud) -> Chunks:
    """Return the file in two pieces, header and points."""
    groups = [(_POINT, cloud.points), (_NORMAL, cloud.normals), (_COLOR, cloud.colors)]
    there = [(fields, values) for fields, values in groups if values is not None]
    vertices = np.empty(len(cloud.points), [field for fields, _ in there for field in fields])
    for fields, values in there:
        for (name, _), column in zip(fields, values.T, strict=True):
            vertices[name] = column
    properties = [f"property {_TYPES[kind]} {name}" for fields, _ in there for name, kind in fields]
    lines = [
        "ply",
        "format binary_little_endian 1.0",
        "comment written by cortexia_video",
        f"comment unit: {cloud.unit}",
        "comment axes: OpenCV camera, x right, y down, z forward",
        f"element vertex {len(vertices)}",
        *properties,
        "end_header\n",
    ]
    return ["\n".join(lines).encode("ascii"), vertices.view(np.uint8).data]
