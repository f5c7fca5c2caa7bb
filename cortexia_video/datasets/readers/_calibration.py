"""`Calibration`: a camera as datasets write it, without the size of its image."""

from __future__ import annotations

import re
from functools import partial
from typing import NamedTuple

from cortexia_video.errors import Failure, InputError, attempt, in_words
from cortexia_video.pinhole import Pinhole
from cortexia_video.storage.paths import AnyPath, read_named_text

_NUMBER = re.compile(r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?")


class Calibration(NamedTuple):
    """Focal lengths and principal point in pixels, the centre of the first pixel at (0, 0) as in OpenCV."""

    fx: float
    fy: float
    cx: float
    cy: float

    def for_image(self, width: int, height: int) -> Pinhole:
        """Return the camera of the calibrated image, whose pixels `Pinhole` counts from their corner."""
        return Pinhole(self.fx, self.fy, self.cx + 0.5, self.cy + 0.5, width, height)


def read_matrix(path: AnyPath) -> Calibration:
    """Read a file that is a camera matrix: 9 numbers (3 x 3) or 16 (4 x 4), row by row.

    Raises `InputError` where it cannot be read or holds something else.
    """
    return parse_matrix(read_calibration(path), str(path))


def try_matrix(path: AnyPath) -> Calibration | Failure:
    """Read a matrix as `read_matrix` does, or return what is wrong with it, which costs the samples it is of."""
    return attempt(path.name, "find", partial(read_matrix, path))


def read_calibration(path: AnyPath) -> str:
    """Return the text of a camera's file; `InputError` where it cannot be read."""
    with in_words(f"cannot read the camera {path}"):
        return read_named_text(path)


def parse_matrix(text: str, name: str) -> Calibration:
    """Return the camera of a matrix in text, 3 x 3, 3 x 4 or 4 x 4; `InputError` names the file."""
    numbers = [float(each) for each in _NUMBER.findall(text)]
    columns = {9: 3, 12: 4, 16: 4}.get(len(numbers))
    if columns is None:
        raise InputError(f"{name} holds {len(numbers)} numbers: a camera matrix has 9, 12 or 16")
    return Calibration(numbers[0], numbers[columns + 1], numbers[2], numbers[columns + 2])
