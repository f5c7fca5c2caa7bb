"""PLY: ours are binary, little endian: points, perhaps normals, colours; in metres, in OpenCV's axes.

Of other people's files, binary or text, the points are read.

Source: G. Turk, The PLY Polygon File Format, 1994; names of properties as MeshLab and Open3D read them.
"""

from __future__ import annotations

import re

import numpy as np
from numpy.typing import NDArray

from cortexia_video.errors import InputError, printable
from cortexia_video.formats.raw_depth import Chunks
from cortexia_video.point_clouds.cloud import PointCloud

_TYPES = {"<f4": "float", "u1": "uchar"}
_POINT = [("x", "<f4"), ("y", "<f4"), ("z", "<f4")]
_NORMAL = [("nx", "<f4"), ("ny", "<f4"), ("nz", "<f4")]
_COLOR = [("red", "u1"), ("green", "u1"), ("blue", "u1")]
_NAMES = {
    "i1": "char int8",
    "u1": "uchar uint8",
    "i2": "short int16",
    "u2": "ushort uint16",
    "i4": "int int32",
}
_NAMES |= {"u4": "uint uint32", "f4": "float float32", "f8": "double float64"}
_NUMBERS = {name: code for code, names in _NAMES.items() for name in names.split()}
_HEADER_END = re.compile(rb"end_header[ \t]*\r?\n")
_LONGEST_HEADER = 1 << 16


def encode_ply(cloud: PointCloud, *, axes: str = "OpenCV camera, x right, y down, z forward") -> Chunks:
    """Return the file in two pieces, header and points. axes: what its comment says of them."""
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
        f"comment axes: {axes}",
        f"element vertex {len(vertices)}",
        *properties,
        "end_header\n",
    ]
    return ["\n".join(lines).encode("ascii"), vertices.view(np.uint8).data]


def decode_points(data: bytes) -> NDArray[np.float64]:
    """Return the points of a PLY file of anybody's, (N, 3); its vertices must come first, as they do.

    Raises `InputError` for what is no PLY, is cut short, or has no x, y and z.
    """
    end = _HEADER_END.search(data, 0, _LONGEST_HEADER) if data.startswith(b"ply") else None
    if end is None:
        raise InputError("it is no PLY file: its header has no end")
    words = [line.split() for line in data[: end.start()].decode("ascii", "replace").splitlines()]
    said = [line for line in words if line and line[0] in ("format", "element", "property")]
    broken = next((line for line in said if len(line) < 3), None)
    if broken is not None:
        raise InputError(
            f"its header has a line of {len(broken)} words, {printable(' '.join(broken))[:40]!r}: it needs 3"
        )
    kinds = [line[1] for line in said if line[0] == "format"]
    first = next((number for number, line in enumerate(said) if line[0] == "element"), len(said))
    element = said[first] if first < len(said) else ["element", "nothing", "0"]
    if element[1] != "vertex" or not element[2].isdigit() or len(kinds) != 1:
        raise InputError(f"its first element is {element[1]}, not vertex: write points first")
    fields: list[tuple[str, str]] = []
    for line in said[first + 1 :]:
        if line[0] == "element":
            break
        if line[1] not in _NUMBERS:
            raise InputError(f"a vertex has a property of type {line[1]}, not a number")
        fields.append((line[-1], _NUMBERS[line[1]]))
    names, count = [name for name, _ in fields], int(element[2])
    if not {"x", "y", "z"} <= {*names}:
        raise InputError(f"its vertices have {', '.join(names) or 'nothing'}, not x, y and z")
    if count > len(data):
        raise InputError("it is cut short")
    places = [names.index(name) for name in "xyz"]
    if kinds[0] == "ascii":
        numbers = data[end.end() :].split(None, count * len(names))[: count * len(names)]
        if len(numbers) < count * len(names):
            raise InputError("it is cut short")
        try:
            return np.array(numbers, np.float64).reshape(count, len(names))[:, places]
        except ValueError as error:
            raise InputError(f"its points are no numbers: {error}") from error
    order = {"binary_little_endian": "<", "binary_big_endian": ">"}.get(kinds[0])
    if order is None:
        raise InputError(f"its format is {kinds[0]}, not of PLY 1.0")
    record = np.dtype([(f"{number}", order + code) for number, (_, code) in enumerate(fields)])
    if len(data) - end.end() < count * record.itemsize:
        raise InputError("it is cut short")
    points = np.frombuffer(data, record, count, end.end())
    return np.stack([points[str(place)].astype(np.float64) for place in places], axis=1)
