"""Models as others keep them: Wavefront OBJ with MTL, and glTF binary (GLB), read to triangles and materials.

What comes out is right-handed, as the files are: y up, front +z. The sizes are whatever the file says.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from cortexia_video.errors import InputError
from cortexia_video.storage.documents import parse_json

MOST_TRIANGLES = 300_000
"""A model with more is left out: a scene of such would not fit."""
_MOST_WORDS = 60 * MOST_TRIANGLES  # of an OBJ: nine vectors, and a face that names them

Floats = NDArray[np.float32]
Open = Callable[[str], bytes]
"""Reads a file beside the model, by the name that the model has for it; raises OSError or KeyError."""

_GLB_TYPES = {5120: "<i1", 5121: "<u1", 5122: "<i2", 5123: "<u2", 5125: "<u4", 5126: "<f4"}
_GLB_WIDTHS = {"SCALAR": 1, "VEC2": 2, "VEC3": 3, "VEC4": 4}
_MOST_NODES = 10_000


@dataclass(slots=True)
class Part:
    """A material. colour: linear (3,). image: bytes of what it shows instead. clear: as glass is."""

    colour: tuple[float, ...] = (0.5, 0.5, 0.5)
    gloss: float = 0.0
    emission: float = 0.0
    clear: bool = False
    image: bytes | None = None
    missing: str | None = None


@dataclass(frozen=True, slots=True)
class RawModel:
    """corners, normals: (T, 3, 3); uv: (T, 3, 2), v up; NaN where the file has none. part: (T,) of parts."""

    corners: Floats
    normals: Floats
    uv: Floats
    part: NDArray[np.int64]
    parts: list[Part]


def require_triangles(corners: int) -> None:
    """Raise `InputError` for a model with no triangles, or too many; corners: three for each."""
    if corners < 3:
        raise InputError("it has no faces")
    if corners // 3 > MOST_TRIANGLES:
        raise InputError(f"it has {corners // 3:,} triangles, more than {MOST_TRIANGLES:,}: simplify it")


@dataclass(slots=True)
class _Lines:
    """The lines of an OBJ by what they are; of a face also which part it is of."""

    values: dict[bytes, list[list[bytes]]] = field(default_factory=lambda: {b"v": [], b"vt": [], b"vn": []})
    faces: list[list[bytes]] = field(default_factory=list)
    part: list[int] = field(default_factory=list)
    parts: dict[str, int] = field(default_factory=dict)
    libraries: list[str] = field(default_factory=list)


def read_obj(data: bytes, open_beside: Open) -> RawModel:
    """Read an OBJ and its MTL; polygons are cut into fans. Raises `InputError` for what cannot be read."""
    if (faces := data.count(b"\nf ")) > MOST_TRIANGLES:
        require_triangles(3 * faces)
    if (words := data.count(b" ")) + data.count(b"\n") + data.count(b"\r") > _MOST_WORDS:
        raise InputError(f"it has {words:,} values, more than {MOST_TRIANGLES:,} triangles need: simplify it")
    try:
        lines = _sort_lines(data)
        v, vt, vn = (
            np.array([each[:width] for each in lines.values[word]], "S32")
            .reshape(-1, width)
            .astype(np.float32)
            for word, width in ((b"v", 3), (b"vt", 2), (b"vn", 3))
        )
        corner, part = _cut_faces(lines)
        require_triangles(len(corner))
        if corner[:, 0].min() < 0:
            raise InputError("a corner of a face is no vertex")
        picked = [_pick(table, corner[:, column]) for column, table in enumerate((v, vt, vn))]
    except (ValueError, IndexError) as error:
        raise InputError(f"it is no OBJ that can be read: {error}") from error
    positions, uv, normals = (each.reshape(-1, 3, each.shape[1]) for each in picked)
    told: dict[str, Part] = {}  # materials that faces name; those that no file tells of are grey
    for library in lines.libraries:
        try:
            told |= _read_mtl(open_beside(library).decode(errors="replace"), open_beside)
        except (OSError, KeyError, ValueError):
            continue  # as without one: the shape is what counts
    return RawModel(positions, normals, uv, part, [told.get(name, Part()) for name in lines.parts])


def _sort_lines(data: bytes) -> _Lines:
    lines, current = _Lines(parts={"": 0}), 0
    for line in data.splitlines():
        words = line.split()
        head = words[0] if words else b""
        if head in lines.values:
            lines.values[head].append(words[1:])
        elif head == b"f":
            if b"-" in line:
                words = _count_from_first(words, [len(each) for each in lines.values.values()])
            lines.faces.append(words[1:])
            lines.part.append(current)
        elif head == b"usemtl":
            name = line.strip()[6:].strip().decode(errors="replace")
            current = lines.parts.setdefault(name, len(lines.parts))
        elif head == b"mtllib":
            lines.libraries.append(line.strip()[6:].strip().decode(errors="replace"))
    return lines


def _count_from_first(words: list[bytes], counts: list[int]) -> list[bytes]:
    """Rewrite a face whose numbers count back from the last value so far."""
    corners = [[int(each) if each else 0 for each in corner.split(b"/")] for corner in words[1:]]
    turned = [
        [n + count + 1 if n < 0 else n for n, count in zip(corner, counts, strict=False)]
        for corner in corners
    ]
    return [words[0], *(b"/".join(b"%d" % n if n else b"" for n in corner) for corner in turned)]


def _cut_faces(lines: _Lines) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Cut polygons into fans: (3 T, 3) v, vt and vn of each corner, -1 is none, and (T,) the part."""
    known: dict[bytes, int] = {}
    rows = np.array(
        [known.setdefault(corner, len(known)) for face in lines.faces for corner in face], np.int64
    )
    table = np.full((len(known) + 1, 3), -1, np.int64)
    for corner, row in known.items():
        numbers = corner.split(b"/")[:3]
        table[row, : len(numbers)] = [int(number or 0) - 1 for number in numbers]
    sizes = np.array([len(face) for face in lines.faces], np.int64)
    triangles = np.maximum(sizes - 2, 0)
    face = np.repeat(np.arange(len(sizes)), triangles)
    step = np.arange(len(face)) - np.repeat(np.cumsum(triangles) - triangles, triangles) + 1
    first = (np.cumsum(sizes) - sizes)[face]
    corners = np.stack([first, first + step, first + step + 1], 1).ravel()
    return table[rows[corners]], np.array(lines.part, np.int64)[face]


def _pick(table: Floats, index: NDArray[np.int64]) -> Floats:
    """Return rows of a table; NaN for -1, and where the table is empty."""
    if not len(table):
        return np.full((len(index), table.shape[1]), np.nan, np.float32)
    picked: Floats = table[np.maximum(index, 0)]
    picked[index < 0] = np.nan
    return picked


def _read_mtl(text: str, open_beside: Open) -> dict[str, Part]:
    parts: dict[str, Part] = {}
    part = Part()
    for line in text.splitlines():
        head, _, rest = line.strip().partition(" ")
        head, rest = head.lower(), rest.strip()
        try:
            if head == "newmtl":
                part = parts[rest] = Part()
            elif head == "kd":
                part.colour = tuple(min(max(float(each), 0.0), 1.0) ** 2.2 for each in rest.split()[:3])
            elif head == "ks":
                part.gloss = min(0.5, 0.4 * max(float(each) for each in rest.split()[:3]))
            elif head == "ke":
                part.emission = min(2.0, max(float(each) for each in rest.split()[:3]))
            elif head in ("d", "tr"):
                solid = float(rest.split()[-1])
                part.clear = (solid if head == "d" else 1 - solid) < 0.95
            elif head == "map_kd":
                _set_image(part, rest, open_beside)
        except (ValueError, IndexError):
            continue
    return parts


def _set_image(part: Part, name: str, open_beside: Open) -> None:
    """Read the image that an MTL names, after options if it gives any; a missing one is noted."""
    for guess in (name, name.split()[-1]):
        try:
            part.image = open_beside(guess.replace("\\", "/"))
            return
        except (OSError, KeyError, ValueError):
            part.missing = name


def read_glb(data: bytes) -> RawModel:
    """Read a GLB: triangles of its scene, placed, with base colours. Raises `InputError` for what cannot be."""
    try:
        magic, version, _ = struct.unpack_from("<4sII", data)
        if magic != b"glTF" or version != 2:
            raise InputError("it is no GLB of version 2")
        size, kind = struct.unpack_from("<I4s", data, 12)
        about = parse_json(data[20 : 20 + size], "its JSON") if kind == b"JSON" else {}
        glb = _Glb(about, data[20 + size + 8 :])
        needs = glb.about.get("extensionsRequired", [])
        if needs:
            raise InputError(f"it needs {', '.join(map(str, needs))}: export it without compression")
        pieces = []
        for node in _walk_nodes(glb.about):
            pieces += _read_mesh(glb, *node)
            require_triangles(
                max(3, 3 * sum(len(each[0]) for each in pieces))
            )  # one mesh may be placed often
        require_triangles(3 * sum(len(each[0]) for each in pieces))
        corners, normals, uv, part = (np.concatenate(each) for each in zip(*pieces, strict=True))
        return RawModel(corners, normals, uv, part, [*map(glb.part, glb.about.get("materials", [])), Part()])
    except (KeyError, IndexError, TypeError, ValueError, AttributeError, struct.error) as error:
        raise InputError(f"it is no GLB that can be read: {type(error).__name__} {error}") from error


class _Glb(NamedTuple):
    """A file in its two chunks: what it says, and the bytes that this refers to."""

    about: dict[str, Any]
    data: bytes

    def view(self, number: int) -> bytes:
        """Return the bytes of a view of the buffer."""
        view = self.about["bufferViews"][number]
        start = view.get("byteOffset", 0)
        return self.data[start : start + view["byteLength"]]

    def array(self, number: int) -> NDArray[Any]:
        """Return the values of an accessor, (count, width), as numbers; whole ones that mean shares are scaled."""
        accessor = self.about["accessors"][number]
        if "sparse" in accessor or "bufferView" not in accessor:
            raise InputError("it has sparse accessors: export it without")
        kind = np.dtype(_GLB_TYPES[accessor["componentType"]])
        width, count = _GLB_WIDTHS[accessor["type"]], int(accessor["count"])
        require_triangles(max(count, 3) if count <= 3 * MOST_TRIANGLES else count)
        data = self.view(accessor["bufferView"])
        step = self.about["bufferViews"][accessor["bufferView"]].get("byteStride") or kind.itemsize * width
        start = accessor.get("byteOffset", 0)
        values = np.ndarray((count, width), kind, data, start, (step, kind.itemsize))
        if accessor.get("normalized"):
            return (values / np.iinfo(kind).max).astype(np.float32)
        return np.array(values)

    def part(self, material: dict[str, Any]) -> Part:
        """Read a material: its base colour, and whether one sees through it."""
        surface = material.get("pbrMetallicRoughness", {})
        factor = [float(each) for each in surface.get("baseColorFactor", (1.0, 1.0, 1.0, 1.0))]
        part = Part(tuple(factor[:3]), 0.3 * (1 - float(surface.get("roughnessFactor", 1.0))))
        part.clear = material.get("alphaMode") == "BLEND" and factor[3] < 0.95
        part.emission = max(float(each) for each in material.get("emissiveFactor", (0.0,)))
        if "baseColorTexture" in surface:
            texture = self.about["textures"][surface["baseColorTexture"]["index"]]
            image = self.about["images"][texture["source"]]
            if "bufferView" in image:
                part.image = self.view(image["bufferView"])
            else:
                part.missing = str(image.get("uri", "an image"))
        return part


def _walk_nodes(about: dict[str, Any]) -> list[tuple[int, NDArray[np.float64]]]:
    """Return the meshes that a scene shows, each with its matrix (4, 4)."""
    nodes, scenes = about.get("nodes", []), about.get("scenes", [])
    roots = scenes[about.get("scene", 0)].get("nodes", []) if scenes else range(len(nodes))
    waiting = [(int(each), np.eye(4)) for each in roots]
    found, seen = [], 0
    while waiting:
        number, above = waiting.pop()
        node, seen = nodes[number], seen + 1
        if seen > _MOST_NODES:
            raise InputError(f"it has more than {_MOST_NODES:,} nodes, or a circle of them")
        here = above @ _matrix_of(node)
        if "mesh" in node:
            found.append((int(node["mesh"]), here))
        waiting += [(int(child), here) for child in node.get("children", [])]
    return found


def _matrix_of(node: dict[str, Any]) -> NDArray[np.float64]:
    if "matrix" in node:
        return np.array(node["matrix"], np.float64).reshape(4, 4).T
    x, y, z, w = node.get("rotation", (0.0, 0.0, 0.0, 1.0))
    turn = np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
            [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
            [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
        ]
    )
    matrix = np.eye(4)
    matrix[:3, :3] = turn * np.array(node.get("scale", (1.0, 1.0, 1.0)))
    matrix[:3, 3] = node.get("translation", (0.0, 0.0, 0.0))
    return matrix


def _read_mesh(glb: _Glb, number: int, matrix: NDArray[np.float64]) -> list[tuple[NDArray[Any], ...]]:
    """Read what of a mesh is triangles: corners, normals, uv and part of each."""
    pieces = []
    last = len(glb.about.get("materials", []))
    for piece in glb.about["meshes"][number]["primitives"]:
        if piece.get("mode", 4) != 4:
            continue
        has = piece["attributes"]
        points = glb.array(has["POSITION"]) @ matrix[:3, :3].T + matrix[:3, 3]
        index = glb.array(piece["indices"])[:, 0] if "indices" in piece else np.arange(len(points))
        index = index[: len(index) // 3 * 3].astype(np.int64).reshape(-1, 3)
        empty = np.full((len(points), 3), np.nan, np.float32)
        normals = glb.array(has["NORMAL"]) @ np.linalg.inv(matrix[:3, :3]) if "NORMAL" in has else empty
        uv = glb.array(has["TEXCOORD_0"]) * (1.0, -1.0) + (0.0, 1.0) if "TEXCOORD_0" in has else empty[:, :2]
        part = np.full(len(index), piece.get("material", last), np.int64)
        pieces.append((*(each.astype(np.float32)[index] for each in (points, normals, uv)), part))
    return pieces
