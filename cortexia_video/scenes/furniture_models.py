"""A person's furniture models: found in a folder, read once, kept in a cache, and named where they cannot be used.

A folder holds libraries of Sweet Home 3D (.sh3f), whose catalogue tells size and use, and .obj and .glb in metres.
"""

from __future__ import annotations

import hashlib
import io
import json
import logging
import os
import posixpath
import re
import zipfile
from dataclasses import asdict, dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from cortexia_video.errors import (
    CortexiaError,
    Failure,
    InputError,
    attempt,
    describe,
    format_count,
    printable,
)
from cortexia_video.images.decode import decode
from cortexia_video.runtime.progress import track
from cortexia_video.scenes.description import MeshModel
from cortexia_video.scenes.model_files import Part, RawModel, read_glb, read_obj
from cortexia_video.scenes.noise import SIDE
from cortexia_video.storage.atomic_file import make_folder, write_atomic
from cortexia_video.storage.documents import parse_json
from cortexia_video.storage.paths import read_named, require_size
from cortexia_video.storage.user_cache import find_cache

Role = Literal[
    "chair",
    "table",
    "big",
    "small",
    "hung",
    "door",
    "window",
    "person",
    "rug",
    "car",
    "tree",
    "outside",
    "other",
]

DEBIAN = Path("/usr/share/sweethome3d/furniture")
"""Where Debian's package sweethome3d-furniture puts its libraries."""

_CATALOGUE = "PluginFurnitureCatalog.properties"
_VERSION = 2
"""Raised when models are kept otherwise."""
_LARGEST_FILE = 200e6
_LARGEST_M, _SMALLEST_M = 15.0, 0.005
_MOST_NAMED = 8
_SUFFIXES = (".sh3f", ".obj", ".glb")
_SEATS = re.compile(r"chair|stool|bench|puff|ottoman")
_TABLES = re.compile(r"table|desk|workbench|trestle|island|counter")
_NO_TABLES = re.compile(r"tennis|lamp|fan|football|cloth|bedside|tablet")
_CARS = re.compile(r"(?<![a-z])(car|suv|van|sedan|taxi|bus|truck|lorry)(?![a-z])")
_TREES = re.compile(
    r"(?<![a-z])(tree|acacia|bamboo|beech|birch|blossom|chestnut|cypress|ficus|fir|maple|oak|palm|pine|poplar|willow)"
    r"s?(?![a-z])(?!.*(wardrobe|shelf|shelves|cupboard|cabinet|bookcase|door|bed|floor|house))"
)

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ModelEntry:
    """What is known of a model before it is read, in metres.

    source, member: its file, and its name there. size: width, height, depth; None as the file says. elevation_m:
    at which it hangs. top_m: at which things stand on it. turn: (9,) rotation before it is scaled.
    """

    source: Path
    member: str
    name: str
    category: str = ""
    size: tuple[float, float, float] | None = None
    elevation_m: float = 0.0
    top_m: float | None = None
    opens: bool = False
    turn: tuple[float, ...] | None = None


@dataclass(frozen=True, slots=True)
class Furniture:
    """A model that can be used: its file in the cache, what it is for, width, height and depth in metres."""

    kept: Path
    name: str
    role: Role
    size: tuple[float, float, float]
    elevation_m: float
    top_m: float | None
    triangles: int


@dataclass(frozen=True, slots=True, eq=False)
class LoadedPart:
    """A material of a model as its file has it; period_m: metres that one copy of the image covers."""

    colour: NDArray[np.float64]
    gloss: float
    emission: float
    clear: bool
    image: NDArray[np.uint8] | None
    period_m: float


class Loaded(NamedTuple):
    """A model ready to be placed, and its materials."""

    model: MeshModel
    parts: tuple[LoadedPart, ...]


class Library(NamedTuple):
    """The usable models of a folder, in order."""

    models: tuple[Furniture, ...]

    def of(self, *roles: Role) -> list[Furniture]:
        """List the models of some roles."""
        return [each for each in self.models if each.role in roles]


def find_folder(folder: Path | None) -> Path:
    """Return the folder of models to use; raises `InputError` with the remedy where there is none."""
    if folder is not None:
        if not folder.is_dir():
            raise InputError(f"`furniture`: {folder} is no folder: name one with .sh3f, .obj or .glb files")
        return folder
    for place in (find_cache() / "furniture", DEBIAN):
        if place.is_dir():
            return place
    raise InputError(
        "no furniture models found: `apt install sweethome3d-furniture`, or `make furniture` in a clone, or name "
        "a folder of .sh3f, .obj or .glb files as `furniture`"
    )


@lru_cache(maxsize=4)
def open_library(folder: Path) -> Library:
    """Read all models of a folder, or what the cache knows of them; those that cannot be used are named once.

    Raises `InputError` where none can be used.
    """
    files = _list_files(folder)
    about = [[os.fspath(path), (at := path.stat()).st_size, at.st_mtime_ns] for path in files]
    index = find_cache() / "models" / f"{_digest(about)}.json"
    if not index.exists():
        library = _read_all(files, index.parent)
        with write_atomic(index) as half:
            half.write_text(json.dumps([asdict(each) for each in library], default=os.fspath))
    told = parse_json(read_named(index), index)
    models = [Furniture(**{**each, "kept": Path(each["kept"]), "size": tuple(each["size"])}) for each in told]
    if not all(each.kept.exists() for each in models):
        index.unlink()
        raise InputError(f"models were removed from {index.parent}: run the same command again")
    return Library(tuple(models))


def describe_library(folder: Path) -> list[str]:
    """List names and sizes of the files of models: what tells one folder from another."""
    return [f"{path.relative_to(folder).as_posix()} {path.stat().st_size}" for path in _list_files(folder)]


def _list_files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.suffix.lower() in _SUFFIXES and path.is_file())


def _digest(about: object) -> str:
    return hashlib.sha256(json.dumps([_VERSION, about], default=os.fspath).encode()).hexdigest()[:24]


def _read_all(files: list[Path], cache: Path) -> list[Furniture]:
    """Read models into the cache; a file or a model that cannot be used is named and left out."""
    make_folder(cache)
    listed = [attempt(os.fspath(path), "decode", partial(_list_entries, path)) for path in files]
    left_out = [each for each in listed if isinstance(each, Failure)]
    entries = [entry for each in listed if not isinstance(each, Failure) for entry in each]
    models, bare = [], []
    for entry in track(entries, "reading furniture models", "models", len(entries)):
        named = f"{entry.source}, {entry.member}" if entry.member else os.fspath(entry.source)
        kept = attempt(named, "decode", partial(_keep, entry, cache))
        if isinstance(kept, Failure):
            left_out.append(kept)
        else:
            models.append(kept[0])
            bare += [f"{named}: {reason}" for reason in kept[1]]
    _warn("left out", [f"{printable(each.key)}: {each.reason}" for each in left_out])
    _warn("without a texture", [printable(each) for each in bare])
    if not models:
        raise InputError(
            f"none of {format_count(len(left_out), 'model')} can be used: give .sh3f, .obj or .glb files in metres"
        )
    return models


def _warn(what: str, lines: list[str]) -> None:
    """Name some of many models."""
    for line in lines[:_MOST_NAMED]:
        _log.warning("model %s: %s", what, line)
    if len(lines) > _MOST_NAMED:
        _log.warning("%d more models %s", len(lines) - _MOST_NAMED, what)


def _list_entries(path: Path) -> list[ModelEntry]:
    """List the models of a file: a catalogue has many."""
    if path.suffix.lower() != ".sh3f":
        return [ModelEntry(path, "", path.stem)]
    with zipfile.ZipFile(path) as archive:
        text = _read_member(archive, _CATALOGUE).decode("latin-1")
    told: dict[int, dict[str, str]] = {}
    for word, number, value in re.findall(r"^(\w+)#(\d+)=(.*)$", text, re.MULTILINE):
        told.setdefault(int(number), {})[word] = value.strip()
    return [_to_entry(path, told[number]) for number in sorted(told) if "model" in told[number]]


def _to_entry(path: Path, told: dict[str, str]) -> ModelEntry:
    def metres(word: str) -> float | None:
        return float(told[word]) / 100 if word in told else None

    try:
        width, height, depth = metres("width"), metres("height"), metres("depth")
        turn = tuple(float(each) for each in told.get("modelRotation", "").split())
        return ModelEntry(
            path,
            told["model"].lstrip("/"),
            told.get("name", ""),
            told.get("category", ""),
            (width, height, depth) if width and height and depth else None,
            metres("elevation") or 0.0,
            metres("dropOnTopElevation"),
            told.get("doorOrWindow") == "true",
            turn if len(turn) == 9 else None,
        )
    except ValueError as error:
        raise InputError(f"its catalogue has a size that is no number: {error}") from error


def _read_member(archive: zipfile.ZipFile, name: str) -> bytes:
    member = archive.getinfo(name)
    require_size(member.file_size, _LARGEST_FILE, name)
    return archive.read(member)


@lru_cache(maxsize=1)
def _open_archive(path: Path) -> zipfile.ZipFile:
    return zipfile.ZipFile(path)


def _read_raw(entry: ModelEntry) -> RawModel:
    if entry.member:
        archive, home = _open_archive(entry.source), posixpath.dirname(entry.member)
        return read_obj(
            _read_member(archive, entry.member),
            lambda name: _read_member(archive, posixpath.normpath(posixpath.join(home, name))),
        )
    data = read_named(entry.source, limit=_LARGEST_FILE)
    if entry.source.suffix.lower() == ".glb":
        return read_glb(data)
    folder = entry.source.parent
    return read_obj(data, lambda name: read_named(folder / name, limit=_LARGEST_FILE, within=folder))


def _keep(entry: ModelEntry, cache: Path) -> tuple[Furniture, list[str]]:
    """Read a model, put it in order, and write it to the cache; also return what is wrong with its textures."""
    raw = _read_raw(entry)
    corners, normals = _stand(raw, entry)
    spread = corners.max((0, 1)) - corners.min((0, 1))
    size = (float(spread[0]), float(spread[1]), float(spread[2]))
    if not (np.isfinite(spread).all() and _SMALLEST_M < max(size) < _LARGEST_M):
        raise InputError(f"it is {max(size):.3g} m large: give it in metres")
    numbers: list[list[float]] = []
    images: list[NDArray[np.uint8]] = []
    wrong: list[str] = []
    uv_m = np.full_like(raw.uv, np.nan)
    for number, part in enumerate(raw.parts):
        mine, place, period_m = raw.part == number, -1, 1.0
        try:
            image, period_m = _prepare_image(part, corners[mine], raw.uv[mine])
        except CortexiaError as error:
            wrong.append(describe(error))
            image = None
        if image is not None:
            uv_m[mine], place = raw.uv[mine] * np.float32(period_m), len(images)
            images.append(image)
        numbers.append([*part.colour, part.gloss, part.emission, part.clear, place, period_m])
    at = entry.source.stat()
    kept = cache / f"{_digest([entry.source, at.st_size, at.st_mtime_ns, entry.member])}.npz"
    with write_atomic(kept) as half, half.open("wb") as file:
        np.savez_compressed(
            file,
            corners=corners,
            normals=normals.astype(np.float16),
            uv_m=uv_m,
            part=raw.part.astype(np.int32),
            parts=np.array(numbers, np.float64),
            images=np.array(images, np.uint8).reshape(-1, SIDE, SIDE, 3),
        )
    role = _find_role(entry, size)
    return Furniture(kept, entry.name, role, size, entry.elevation_m, entry.top_m, len(corners)), wrong


def _stand(raw: RawModel, entry: ModelEntry) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Turn a model as its catalogue says, scale it, stand it on y = 0, and make its frame left-handed as ours."""
    corners, normals = raw.corners.astype(np.float64), raw.normals.astype(np.float64)
    if entry.turn is not None:
        turn = np.array(entry.turn).reshape(3, 3)
        corners, normals = corners @ turn.T, normals @ turn.T
    low, high = corners.min((0, 1)), corners.max((0, 1))
    scale = np.ones(3)
    if entry.size is not None:
        scale = np.array(entry.size) / np.maximum(high - low, 1e-6)
    middle = (low + high) / 2
    middle[1] = low[1]
    scale = scale * (-1, 1, 1)
    corners, normals = (corners - middle) * scale, normals / scale
    across = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    lacking = ~np.isfinite(normals).all(2) | (np.abs(normals).sum(2) < 1e-9)
    normals = np.where(lacking[:, :, None], across[:, None], normals)
    unit = normals / np.maximum(np.linalg.norm(normals, axis=2, keepdims=True), 1e-20)
    return corners.astype(np.float32), unit.astype(np.float32)


def _prepare_image(
    part: Part, corners: NDArray[np.float32], uv: NDArray[np.float32]
) -> tuple[NDArray[np.uint8] | None, float]:
    """Decode and shrink what a part shows, and find how many metres one copy covers; None where it shows nothing.

    Raises `InputError` for an image that is missing, `DecodeError` for one that cannot be read.
    """
    if not len(corners) or (part.image is None and part.missing is None):
        return None, 1.0
    if part.image is None:
        raise InputError(f"{part.missing} is missing")
    flat = np.concatenate([uv, np.zeros_like(uv[:, :, :1])], 2)
    sides = [(each[:, 1] - each[:, 0], each[:, 2] - each[:, 0]) for each in (corners, flat)]
    area, covered = (np.linalg.norm(np.cross(*each), axis=1).sum(dtype=np.float64) for each in sides)
    period_m = float(np.sqrt(area / covered)) if covered > 0 else 0.0
    if not 1e-4 < period_m < 1e3:
        return None, 1.0
    image = decode(part.image, "texture").image
    return np.asarray(Image.fromarray(image).resize((SIDE, SIDE), Image.Resampling.BOX)), period_m


def _find_role(entry: ModelEntry, size: tuple[float, float, float]) -> Role:
    """Decide by name, category and size what a model is for."""
    name, (width, height, depth) = entry.name.lower(), size
    largest = max(size)
    if entry.opens:
        return "door" if entry.elevation_m < 0.1 and height > 1.6 and width < 2.5 else "window"
    if depth > max(2.2, width) and height > 1 and (entry.category == "Vehicles" or _CARS.search(name)):
        return "car"
    if _TREES.search(name) and height > 2.6:
        return "tree"
    if (
        entry.category in ("Exterior", "Vehicles")
        and entry.elevation_m < 0.05
        and height > 0.25
        and largest < 3
    ):
        return "outside"
    if entry.category in ("Exterior", "Vehicles", "Staircases") or largest > 3.4 or height > 2.6:
        return "other"
    if entry.category == "Characters":
        return "person" if entry.elevation_m < 0.05 else "other"
    if entry.elevation_m > 0.25:
        return "hung"
    if height < 0.08 and min(width, depth) > 0.5:
        return "rug"
    if _SEATS.search(name) and 0.3 < height < 1.6 and max(width, depth) < 1.3:
        return "chair"
    if (
        _TABLES.search(name)
        and not _NO_TABLES.search(name)
        and 0.25 < height < 1.6
        and max(width, depth) > 0.4
    ):
        return "table"
    return "big" if largest > 0.4 else "small" if largest > 0.03 else "other"


@lru_cache(maxsize=96)
def load(furniture: Furniture) -> Loaded:
    """Read a model from the cache."""
    with np.load(io.BytesIO(read_named(furniture.kept))) as kept:
        images = list(kept["images"])
        parts = tuple(
            LoadedPart(
                row[:3], row[3], row[4], bool(row[5]), images[int(row[6])] if row[6] >= 0 else None, row[7]
            )
            for row in kept["parts"]
        )
        part, normals = kept["part"].astype(np.int64), kept["normals"].astype(np.float32)
        return Loaded(MeshModel(kept["corners"], part, kept["uv_m"], normals), parts)
