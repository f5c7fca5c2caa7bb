"""`SparseDepth`: what is known of images' depth in metres; and the sources that need one file or none."""

from __future__ import annotations

import csv
import hashlib
import io
import math
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from cortexia_video.errors import InputError, in_words, printable
from cortexia_video.sparse_depth.names import NameIndex
from cortexia_video.storage.paths import LARGEST_TEXT, PathLike, read_named, to_path
from cortexia_video.storage.spreadsheet import read_text

if TYPE_CHECKING:
    from cortexia_video.sparse_depth.depth_folder import DepthFolder

Floats = NDArray[np.float64]
_EVERY = "*"
_COLUMNS = ("key", "x", "y", "depth_m")
_NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?"
_KNOWN = re.compile(rf"\s*({_NUMBER})\s*,\s*({_NUMBER})\s*=\s*({_NUMBER})\s*")

_LENGTH = re.compile(
    rf"\s*({_NUMBER})\s*,\s*({_NUMBER})\s*,\s*({_NUMBER})\s*,\s*({_NUMBER})\s*=\s*({_NUMBER})\s*"
)


def open_sparse(folder: PathLike | None, convention: str | None) -> DepthFolder | None:
    """Return the folder that `sparse` and `sparse_from` name, None of nothing; raises `InputError`."""
    if folder is None:
        if convention:
            raise InputError("`sparse_from` says whose files the folder `sparse` has: give that, too")
        return None
    from cortexia_video.sparse_depth.depth_folder import DepthFolder  # readers that other runs do not need

    return DepthFolder(folder, convention)


class SparseDepth(Protocol):
    """Distances that are known of some pixels of images. Threads may share it.

    by: what they come from, as `Alignment.by` says it. settings: what a run's settings say of them.
    """

    by: str
    settings: Mapping[str, object]

    def find(self, key: str, width: int, height: int) -> Floats:
        """Return what is known of an image of width x height: (N, 3) or (N, 4), as `geometry.align` takes samples.

        Raises `InputError` where it knows no such image, or one of another size.
        """


class KnownPoints:
    """Points that hold for every image, as of a camera that stands still, or for one.

    points: text of each: `812,440=2.0` is 2 m at pixel x 812, y 440 of the whole image.
    """

    by = "known"

    def __init__(self, points: Sequence[str]) -> None:
        rows = []
        for text in points:
            match = _KNOWN.fullmatch(text)
            row = tuple(map(float, match.groups())) if match else (math.nan,) * 3
            if not all(map(math.isfinite, row)) or not row[2] > 0:
                raise InputError(f"`known` must be x,y=metres, as 812,440=2.0, not {printable(text)[:60]!r}")
            rows.append(row)
        self._rows = np.array(rows, np.float64)
        self.settings: Mapping[str, object] = {"known": self._rows.tolist()}

    def find(self, key: str, width: int, height: int) -> Floats:
        return self._rows


class PointsFile:
    """Points of images in a CSV file: key,x,y,depth_m in UTF-8, `*` for all images; perhaps a column weight.

    A key may be an image's file name alone, where that is clear.
    """

    by = "points"

    def __init__(self, path: PathLike) -> None:
        self._place = to_path(path)
        with in_words(f"cannot read points from {printable(str(self._place))}"):
            data = read_named(self._place, limit=LARGEST_TEXT)
        rows: dict[str, list[tuple[float, ...]]] = defaultdict(list)
        for key, row in self._read(data.decode("utf-8-sig", "surrogateescape")):
            rows[key].append(row)
        if not rows:
            raise InputError(f"{self._place}: no point in it: give lines of key,x,y,depth_m")
        self._rows = {key: np.array(each, np.float64) for key, each in rows.items()}
        self._names = NameIndex(self._rows)
        self.settings: Mapping[str, object] = {"points": hashlib.sha256(data).hexdigest()}

    def find(self, key: str, width: int, height: int) -> Floats:
        name = key if key in self._rows else self._names.find(key)
        found = [self._rows[each] for each in (name, _EVERY) if each in self._rows]
        if not found:
            raise InputError(
                f"{printable(self._place.name)} has no point of it: give lines of its key, or of *"
            )
        return np.concatenate(found)

    def _read(self, text: str) -> Iterator[tuple[str, tuple[float, ...]]]:
        place = printable(str(self._place))
        rows = csv.reader(io.StringIO(text, newline=""), strict=True)
        try:
            names = [name.strip() for name in next(rows, [])]
            if not {*_COLUMNS} <= {*names} <= {*_COLUMNS, "weight"}:
                found = printable(",".join(names)) or "nothing"
                raise InputError(f"{place}, line 1: the header must be {','.join(_COLUMNS)}; it is {found}")
            for row in rows:
                if not row:
                    continue
                where = f"{place}, line {rows.line_num}"
                if len(row) != len(names):
                    raise InputError(f"{where}: {len(row)} fields, the header has {len(names)}")
                said = dict(zip(names, row, strict=True))
                key = read_text(said.pop("key"))
                numbers = tuple(
                    _to_number(said[name], where) for name in (*_COLUMNS[1:], "weight") if name in said
                )
                yield key, (*numbers, 1.0)[:4]
        except csv.Error as error:
            raise InputError(
                f"{place}, line {rows.line_num}: not CSV ({error}): put quotes around keys"
            ) from error


def _to_number(text: str, where: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise InputError(f"{where}: {printable(text)[:40]!r} is no number") from None


def read_length(text: str) -> tuple[float, ...]:
    """Read x1,y1,x2,y2=metres; raises `InputError`."""
    match = _LENGTH.fullmatch(text)
    row = tuple(map(float, match.groups())) if match else (math.nan,)
    if not all(map(math.isfinite, row)) or not row[-1] > 0:
        raise InputError(
            f"`size` must be x1,y1,x2,y2=metres, as 410,300,655,310=0.297, not {printable(text)[:60]!r}"
        )
    return row
