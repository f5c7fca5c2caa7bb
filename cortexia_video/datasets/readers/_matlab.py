"""MATLAB's files before version 7.3, in which datasets have lists: arrays of numbers, texts, cells of these.

Source: MathWorks, "MAT-File Format", level 5. Not by SciPy, whose reader ends the process on damaged files.
"""

from __future__ import annotations

import math
import struct
import zlib
from collections.abc import Iterator
from typing import Any, TypeVar

import numpy as np

from cortexia_video.errors import in_words
from cortexia_video.storage.paths import AnyPath, read_named

_LARGEST = 10**8  # bytes of what is packed in a file
_HEADER = 128  # bytes; the last two say the byte order
_NUMBERS = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}
_TEXTS = {1: "latin-1", 2: "utf-8", 4: "utf-16", 16: "utf-8", 17: "utf-16", 18: "utf-32"}
_MATRIX, _COMPRESSED = 14, 15  # kinds of element
_CELL, _CHAR, _DOUBLE, _UINT64 = 1, 4, 6, 15  # classes of matrix; those of numbers are from double on
_DEEPEST = 4  # cells in cells

_Element = tuple[int, bytes]  # kind, content
_Value = TypeVar("_Value")


def read_mat(path: AnyPath, name: str, kind: type[_Value]) -> _Value:
    """Return a variable of a file: an array of finite numbers, a text, or, of a cell array, a list of such.

    Raises `InputError` where the file cannot be read or has no such variable of this kind.
    """
    with in_words(f"cannot read {path}", "get it from the dataset's page"):
        data = read_named(path, limit=_LARGEST)
        order = {b"IM": "<", b"MI": ">"}.get(data[_HEADER - 2 : _HEADER])
        if order is None:
            raise ValueError("it is no MAT file of MATLAB 5 to 7.2")
        left = _LARGEST
        for element, content in _list_elements(data[_HEADER:], order):
            if element == _COMPRESSED:
                content = zlib.decompressobj().decompress(content, left)
                left -= len(content)
                if left <= 0:
                    raise ValueError(f"more than {_LARGEST / 1e6:.0f} MB are packed in it")
                element, content = next(_list_elements(content, order), (0, b""))
            if element != _MATRIX:
                continue
            found, value = _read_matrix(content, order, 0)
            if found == name and not isinstance(value, kind):
                raise ValueError(f"its {name} is no {kind.__name__}")
            if found == name:
                return value
        raise ValueError(f"it has no variable {name}")


def _list_elements(data: bytes, order: str) -> Iterator[_Element]:
    """Yield the elements that follow each other; up to four bytes stand in the tag itself."""
    place = 0
    while place + 8 <= len(data):
        kind, size = struct.unpack_from(f"{order}II", data, place)
        begin, padding = place + 8, 8
        if kind >> 16:
            kind, size, begin, padding = kind & 0xFFFF, kind >> 16, place + 4, 4
        if begin + size > len(data):
            raise ValueError("it is cut short")
        yield kind, data[begin : begin + size]
        place = begin + (size if kind == _COMPRESSED else -(-size // padding) * padding)


def _read_matrix(data: bytes, order: str, depth: int) -> tuple[str, Any]:
    """Return name and value of a matrix; None is that of a class which no list has."""
    elements = _list_elements(data, order)
    flags, sizes, named = (next(elements, (0, b"")) for _ in range(3))
    kind = int(_to_numbers(flags, order)[:1].sum()) & 0xFF
    name = named[1].decode("latin-1")
    if kind == _CELL and depth < _DEEPEST:
        return name, [_read_matrix(content, order, depth + 1)[1] for _, content in elements]
    content = next(elements, (0, b""))
    if kind == _CHAR:
        if content[0] not in _TEXTS:
            raise ValueError(f"its text is of the unknown kind {content[0]}")
        byte_order = {"<": "-le", ">": "-be"}[order] if content[0] in (4, 17, 18) else ""
        return name, content[1].decode(_TEXTS[content[0]] + byte_order)
    if not _DOUBLE <= kind <= _UINT64:
        return name, None
    numbers, shape = _to_numbers(content, order), _to_numbers(sizes, order).tolist()
    if math.prod(shape) != numbers.size or not np.isfinite(numbers).all():
        raise ValueError(f"{name} has {numbers.size} numbers, not {shape}, or some that are none")
    return name, numbers.reshape(shape, order="F")


def _to_numbers(element: _Element, order: str) -> np.ndarray[Any, Any]:
    kind, content = element
    if kind not in _NUMBERS:
        raise ValueError(f"its numbers are of the unknown kind {kind}")
    return np.frombuffer(content, order + _NUMBERS[kind])
