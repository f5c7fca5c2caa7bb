"""What goes into an ONNX graph and comes out: names, types and shapes."""

from __future__ import annotations

import re
from typing import NamedTuple

FLOAT32 = "float32"
_FOR_DEVELOPERS = re.compile(  # where in their code it was, and headings of what follows
    r"\[ONNXRuntimeError\] : \d+ : \w+ : |Exception from .*|Check '.*' failed.*|FrontEnd API failed.*"
    r"|Model wasn't fully converted\.|Summary:|-- "
)


class Port(NamedTuple):
    """An input or output of a graph. dtype: as NumPy names it. shape: None where a side is free."""

    name: str
    dtype: str
    shape: tuple[int | None, ...]


class Ports(NamedTuple):
    """What goes into a network and what comes out, by name and in order.

    one_by_one: its graph holds for the number of images that it was exported with, so it takes one.
    """

    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    one_by_one: bool = False


def first_line(error: Exception) -> str:
    """Return the first line of a backend's error that is not for its developers."""
    lines = [_FOR_DEVELOPERS.sub("", line).strip() for line in str(error).splitlines()]
    return next(filter(None, lines), type(error).__name__)[:300]
