"""`Intrinsics`: focal lengths that a person gives, one for every image or by key from a CSV or JSON file.

    key,f_px                    {"trip/a.jpg": 3050.5,
    trip/a.jpg,3050.5            "b.jpg": {"fx": 1520, "fy": 1522, "width": 2000, "height": 1500},
    *,3000                       "*": 3000}

A camera is f_px, or fx and fy (their mean), with width and height of the image that it was measured on, or
without: then it holds for the image as it is. cx and cy, where the optical axis meets the image (`pinhole`),
are for point clouds only, and so are fx and fy that differ. Which entry is an image's: that of its key; that of
its file name, where no other entry ends in this name; `*`.

A file that holds one camera is for every image: an object of the above; a matrix in text or lists, 3 x 3, 3 x 4
or 4 x 4; the JSON of Open3D's `PinholeCameraIntrinsic` and `PinholeCameraParameters`, whose matrix goes down its
columns; ROS's camera_info, as YAML (`camera_matrix`, or `K`) or JSON. Their cx and cy count from the centre of
the first pixel: 0.5 is added.
"""

from __future__ import annotations

import csv
import hashlib
import io
import math
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, NamedTuple

from cortexia_video.errors import InputError, in_words, printable
from cortexia_video.frame import Frame
from cortexia_video.pinhole import Pinhole, find_resize_factor, has_same_shape, is_plausible
from cortexia_video.storage.documents import parse_json
from cortexia_video.storage.paths import LARGEST_TEXT, AnyPath, read_named, to_path
from cortexia_video.storage.spreadsheet import read_text

_EVERY = "*"
_CAMERA_FIELDS = frozenset({"f_px", "fx", "fy", "cx", "cy", "width", "height"})
_FIELDS = "f_px, or fx and fy; perhaps cx, cy, width and height"
_NAMES = ("intrinsic_matrix", "camera_matrix", "K", "k")  # of matrices: Open3D's, ROS's and OpenCV's
_WITHIN = "its axis is within"
_SIDES = ("width", "height")
_MATRICES = {9: 3, 12: 4, 16: 4}  # how many columns a matrix of so many numbers has
_NUMBER = re.compile(r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?")
_SQUARE = 0.01  # how far fx and fy may be apart, as a share of the smaller


class _Camera(NamedTuple):
    """What is given for an image.

    size: (width, height) of the image that it holds for, or any. axis: cx and cy as they are written.
    within: the axis meets the image, as that of a matrix does, which does not say its size. place: where it
    stands, for messages.
    """

    fx: float
    fy: float
    size: tuple[float, float] | None = None
    axis: tuple[object, object] | None = None
    within: bool = False
    place: str = ""

    @property
    def f_px(self) -> float:
        return (self.fx + self.fy) / 2


class Intrinsics:
    """Focal lengths by key; `load_intrinsics` makes them.

    Args:
        cameras: By key.
        settings: What a run's settings say of them, nothing where none are given.
    """

    def __init__(self, cameras: Mapping[str, _Camera], settings: Mapping[str, object]) -> None:
        self.settings = settings
        self._cameras = cameras
        self._used, self._missed = False, ""  # that some image had an entry; the key of one that had none
        self._names_in_folders = {key.rpartition("/")[2] for key in cameras if "/" in key}

    def require_square(self) -> None:
        """Raise `InputError` for a camera whose fx and fy differ: one focal length cannot stand for both."""
        for camera in self._cameras.values():
            if max(camera.fx, camera.fy) > (1 + _SQUARE) * min(camera.fx, camera.fy):
                raise InputError(
                    f"{camera.place}: fx {camera.fx:g} and fy {camera.fy:g} differ by more than 1 %, pixels are "
                    "taken as square: stretch the images to square pixels, or give one f_px"
                )

    def describe_unused(self) -> str | None:
        """Return that no entry was any image's, of those that were looked up, or None where one was."""
        if self._used or not self._missed:
            return None
        some = printable(", ".join(list(self._cameras)[:3]))
        return (
            f"no camera in `intrinsics` is of an image here: its keys are {some}, an image's is "
            f"{printable(self._missed)}: write keys as the ledger has them, or * for all"
        )

    def find(self, key: str, width: int, height: int) -> float | None:
        """Return the focal length of an image.

        Args:
            key: Of the image.
            width: Of the image, pixels.
            height: Of the image, pixels.

        Returns:
            In pixels of this image; None where none is given.

        Raises:
            InputError: The camera's image has another shape, or no lens can be so.
        """
        camera = self._look_up(key)
        if camera is None:
            return None
        size = camera.size or (width, height)
        factor = find_resize_factor((width, height), size)
        if factor is None:
            raise InputError(
                f"its intrinsics are for an image of {size[0]:g} x {size[1]:g}, it has {width} x {height}, "
                "of another shape: give those of the image as it is"
            )
        axis = [_to_number(each) for each in camera.axis or ()]
        if camera.within and not (0 < axis[0] < width and 0 < axis[1] < height):
            raise InputError(
                f"its matrix has cx {axis[0]:g} and cy {axis[1]:g}, outside of an image of {width} x {height}: "
                "it is of another size; give fx, fy, cx, cy with the width and height that they are for"
            )
        f_px = camera.f_px * factor
        if not is_plausible(f_px, width, height):
            raise InputError(
                f"no lens has a focal length of {f_px:g} pixels for {width} x {height}: give pixels, not mm"
            )
        return f_px

    def find_camera(self, key: str, width: int, height: int) -> Pinhole | None:
        """Return the camera of an image.

        Args:
            key: Of the image.
            width: Of the image, pixels.
            height: Of the image, pixels.

        Returns:
            The camera; None where none is given.

        Raises:
            InputError: As of `find`; or cx and cy are no numbers, or of a turned image.
        """
        f_px, camera = self.find(key, width, height), self._look_up(key)
        if f_px is None or camera is None:
            return None
        factor = f_px / camera.f_px
        turned = camera.size is not None and not has_same_shape((width, height), camera.size)
        if camera.axis is None:
            fx, fy = (camera.fy, camera.fx) if turned else (camera.fx, camera.fy)
            return Pinhole(fx * factor, fy * factor, width / 2, height / 2, width, height)
        if camera.size and turned:
            raise InputError(
                f"its cx and cy are for {camera.size[0]:g} x {camera.size[1]:g}, it is {width} x {height}: "
                "which way it was turned is not known, give those of the image as it is"
            )
        cx, cy = map(_to_number, camera.axis)  # which may lie outside of an image that was cropped
        for name, number, written in zip(("cx", "cy"), (cx, cy), camera.axis, strict=True):
            if not math.isfinite(number):
                raise InputError(f"its {name} must be a number of pixels, got {printable(str(written))[:40]}")
        return Pinhole(camera.fx * factor, camera.fy * factor, cx * factor, cy * factor, width, height)

    def apply(self, frame: Frame) -> Frame:
        """Return the frame with its given focal length, or as it is.

        Args:
            frame: An image with its key.

        Returns:
            A frame with `f_px` and `f_source="given"`, or the same.

        Raises:
            InputError: As of `find`.
        """
        f_px = self.find(frame.key, frame.width, frame.height)
        return frame if f_px is None else replace(frame, f_px=f_px, f_source="given")

    def _look_up(self, key: str) -> _Camera | None:
        camera = self._cameras.get(key)
        name = key.rpartition("/")[2]
        if camera is None and name not in self._names_in_folders:
            camera = self._cameras.get(name)
        camera = camera or self._cameras.get(_EVERY)
        if camera is None and self._cameras:
            self._missed = self._missed or key
        self._used = self._used or camera is not None
        return camera


NO_INTRINSICS = Intrinsics({}, {})
"""Nothing is given."""


def load_intrinsics(f_px: float | None = None, path: str | os.PathLike[str] | None = None) -> Intrinsics:
    """Return what is given: one focal length for every image, or those of a file, or none.

    Args:
        f_px: Focal length of every image, in its pixels.
        path: A CSV or JSON file in UTF-8 of focal lengths by key (docs/cameras.md). File names that are not
            are in it as they are, or in JSON as escapes of Python's surrogates, as the ledger has them.

    Returns:
        Focal lengths by key.

    Raises:
        InputError: Something is no focal length; the message names the line.
    """
    cameras: dict[str, _Camera] = {}
    settings: dict[str, object] = {}
    if path is not None:
        place = to_path(path)
        with in_words(f"cannot read intrinsics from {place}"):
            data = read_named(place, limit=LARGEST_TEXT)
        settings["intrinsics"] = hashlib.sha256(data).hexdigest()
        text = data.decode("utf-8-sig", "surrogateescape")
        for where, key, fields in _read_entries(text, place):
            if not key:
                raise InputError(f"{where}: no key: give that of an image, as the ledger has it, or *")
            if key in cameras:
                raise InputError(f"{where}: {printable(key)} was there before: give each key once")
            try:
                within = bool(dict(fields).get(_WITHIN)) and not {*_SIDES} & fields.keys()
                fields = {name: value for name, value in fields.items() if name != _WITHIN}
                cameras[key] = _read_camera(fields)._replace(
                    within=within, place=f"{where}: {printable(key)}"
                )
            except ValueError as error:
                raise InputError(f"{where}: {printable(key)}: {error}") from None
        if not cameras:
            raise InputError(
                f"{place}: no focal length in it: give a line key,f_px for each image, or * for all"
            )
    if f_px is not None:
        if not (math.isfinite(f_px) and f_px > 0):
            raise InputError(f"`f_px` must be a number above 0, got {f_px:g}")
        return Intrinsics({_EVERY: _Camera(float(f_px), float(f_px))}, {"f_px": float(f_px)})
    return Intrinsics(cameras, settings)


_Entry = tuple[str, str, Mapping[str, object]]  # where it stands, key, fields by name


def _read_entries(text: str, path: AnyPath) -> Iterator[_Entry]:
    """Yield the cameras of a file; one camera alone is every image's."""
    is_yaml = re.search(r"^\s*(camera_matrix|[Kk])\s*:", text, re.MULTILINE)
    if path.suffix.lower() == ".json" or text.lstrip().startswith(("{", "[")):
        document = parse_json(text, path, build=_Pairs)
        one = [
            {"f_px"},
            {"fx", "fy"},
            {"intrinsic"},
            *({name} for name in _NAMES),
        ]  # names that make a camera
        if isinstance(document, _Pairs) and not any(names <= dict(document).keys() for names in one):
            for key, value in document:
                yield str(path), key, _to_fields(value, f"{path}: {printable(key)}")
            return
        if not isinstance(document, _Pairs | list):
            raise InputError(f'{path}: not an object: give {{"a.jpg": 3050.5}}')
        yield str(path), _EVERY, _to_fields(document, str(path))
    elif is_yaml:
        sizes = {
            name: re.search(rf"^\s*(?:image_)?{name}\s*:\s*(\d+)", text, re.MULTILINE) for name in _SIDES
        }
        rest = text[is_yaml.end() :]
        data = re.search(r"\bdata\s*:", rest) if is_yaml[1] == "camera_matrix" else None
        numbers = re.match(r"(?:[\s,\[-]*[-+]?[\d.]+(?:[eE][-+]?\d+)?)*", rest[data.end() if data else 0 :])
        matrix = list(map(float, _NUMBER.findall(numbers[0] if numbers else "")))
        fields = {name: match[1] for name, match in sizes.items() if match}
        yield str(path), _EVERY, _to_fields(_Pairs([*fields.items(), ("K", matrix)]), str(path))
    elif re.fullmatch(r"[-+\d.eE\s,;\[\]]+", text) and len(found := _NUMBER.findall(text)) in _MATRICES:
        yield str(path), _EVERY, _to_fields(list(map(float, found)), str(path))
    else:
        yield from _read_csv(text, path)


def _to_fields(value: object, place: str) -> Mapping[str, object]:
    """Return the fields of a camera in one of the forms that others write; raises `InputError`."""
    if not isinstance(value, _Pairs | list):
        return {"f_px": value}
    fields = dict(value) if isinstance(value, _Pairs) else {"K": value}
    inner = fields.get("intrinsic")
    if isinstance(inner, _Pairs):  # within Open3D's PinholeCameraParameters
        fields = dict(inner)
    name = next((name for name in _NAMES if name in fields), None)
    if name is None:
        return fields
    matrix: Any = fields[name]
    if isinstance(matrix, _Pairs):
        matrix = dict(matrix).get("data")
    rows = matrix if isinstance(matrix, list) else []
    flat = [_to_number(each) for row in rows for each in (row if isinstance(row, list) else [row])]
    columns = _MATRICES.get(len(flat))
    if columns is None or not all(map(math.isfinite, flat)):
        raise InputError(
            f"{place}: {name} must be a matrix of 3 x 3, 3 x 4 or 4 x 4 numbers: it has {len(flat)}"
        )
    down = columns == 3 and not (flat[2] or flat[5]) and bool(flat[6] or flat[7])  # as Open3D has it
    cx, cy = (flat[6], flat[7]) if down else (flat[2], flat[columns + 2])
    said = {"fx": flat[0], "fy": flat[columns + 1], "cx": cx + 0.5, "cy": cy + 0.5, _WITHIN: 1}
    sides = {side: fields.get(side, fields.get(f"image_{side}")) for side in _SIDES}
    return said | {side: length for side, length in sides.items() if length is not None}


def _read_csv(text: str, path: AnyPath) -> Iterator[_Entry]:
    rows = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        names = [name.strip() for name in next(rows, [])]
        if "key" not in names or len({*names}) < len(names) or not {*names} <= {"key", *_CAMERA_FIELDS}:
            found = printable(",".join(names)) or "nothing"
            raise InputError(f"{path}, line 1: the header must name key and {_FIELDS}; it is {found}")
        for row in rows:
            place = f"{path}, line {rows.line_num}"
            if row and len(row) != len(names):
                raise InputError(
                    f"{place}: {len(row)} fields, the header has {len(names)}: {','.join(names)}"
                )
            fields = dict(zip(names, row, strict=False))
            if fields:
                yield (
                    place,
                    read_text(fields.pop("key")),
                    {name: value for name, value in fields.items() if value.strip()},
                )
    except csv.Error as error:
        raise InputError(
            f"{path}, line {rows.line_num}: not CSV ({error}): put quotes around keys"
        ) from error


class _Pairs(tuple[tuple[str, object], ...]):
    """An object of JSON, with keys that are there twice."""

    __slots__ = ()


def _read_camera(fields: Mapping[str, object]) -> _Camera:
    """Read one camera; raises ValueError with words for people."""
    unknown = sorted({*fields} - _CAMERA_FIELDS)
    if unknown:
        raise ValueError(f"{printable(unknown[0])!r} is not known: give {_FIELDS}")
    numbers = {name: _to_number(value) for name, value in fields.items() if name not in ("cx", "cy")}
    for name, number in numbers.items():
        if not (math.isfinite(number) and number > 0):
            written = printable(str(fields[name]))[:40]
            raise ValueError(f"{name} must be a number of pixels above 0, got {written}")
    size = _read_pair(numbers, "width", "height")
    axis = (fields.get("cx"), fields.get("cy")) if {"cx", "cy"} & {*fields} else None
    both = _read_pair(numbers, "fx", "fy")
    if (both is None) == ("f_px" not in numbers):
        raise ValueError(f"give {_FIELDS}" if both is None else "f_px is given, and fx and fy, too: give one")
    if both is None:
        return _Camera(numbers["f_px"], numbers["f_px"], size, axis)
    return _Camera(*both, size, axis)


def _read_pair(numbers: Mapping[str, float], first: str, second: str) -> tuple[float, float] | None:
    if (first in numbers) != (second in numbers):
        raise ValueError(f"{first} and {second} belong together: give both or none")
    return (numbers[first], numbers[second]) if first in numbers else None


def _to_number(value: object) -> float:
    try:
        return math.nan if isinstance(value, bool) else float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        return math.nan
