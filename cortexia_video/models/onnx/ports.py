"""What goes into an ONNX graph and comes out: names, types and shapes."""

from __future__ import annotations

from typing import NamedTuple

FLOAT32 = "float32"


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
    """Return what a backend's error says first; the rest is for its developers."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0][:300]
