"""What goes into an ONNX graph and comes out: names, types and shapes; which output is depth."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from cortexia_video.depth_map import DepthKind, larger_is_nearer
from cortexia_video.errors import ModelLoadError

FLOAT32 = "float32"

# What networks give beside depth: in a name's letters, or as one of its words.
_NEVER_WITHIN = ("conf", "uncert", "mask", "varianc", "sigma", "normals")
_NEVER_WORDS = {
    *("normal", "var", "logvar", "std", "error", "prob", "probability", "valid", "validity", "log", "logits"),
    *("weight", "weights", "fov", "focal", "camera", "pose", "intrinsics", "extrinsics", "rays", "points"),
    *("pts", "xyz", "scale", "shift", "sky", "seg", "semantic"),
}
# What depth and nearness are called.
_DEPTH = {
    *("depth", "depths", "depth_map", "depth_pred", "pred_depth", "predicted_depth", "metric_depth"),
    "relative_depth",
}
_NEARNESS = {
    *("disparity", "disp", "pred_disp", "pred_disparity", "predicted_disparity", "inverse_depth"),
    *("inv_depth", "predicted_inverse_depth", "canonical_inverse_depth"),
}
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


def choose_output(outputs: Sequence[Port], kind: DepthKind, given: str | None, path: object) -> str:
    """Return the name of the output that is depth of this kind.

    That is the one that is called so exactly, else the only one with depth or disparity in its name, else
    the only one at all. Confidence, uncertainty, masks, normals and arrays of more than one channel never
    are, unless `given` names them. Raises `ModelLoadError`, with all outputs, where it stays open.
    """
    names = [port.name for port in outputs]
    sides = [", ".join("?" if side is None else str(side) for side in port.shape) for port in outputs]
    listed = (
        ", ".join(f"{port.name} ({each})" for port, each in zip(outputs, sides, strict=True)) or "nothing"
    )
    if given is not None:
        if given not in names:
            raise ModelLoadError(f"{path} has no output {given!r}: it gives {listed}")
        return given
    possible = [port.name for port in outputs if _can_be_depth(port)]
    by_meaning = (_NEARNESS, _DEPTH) if larger_is_nearer(kind) else (_DEPTH, _NEARNESS)
    for wanted in by_meaning:
        exact = [name for name in possible if name.lower() in wanted]
        if len(exact) == 1:
            return exact[0]
        if exact:
            possible = exact
    named = [name for name in possible if "depth" in name.lower() or "disp" in name.lower()]
    possible = named or possible
    if len(possible) != 1:
        raise ModelLoadError(
            f"{path} does not say which of its outputs is depth: it gives {listed}; name it (`output_name`)"
        )
    return possible[0]


def _can_be_depth(port: Port) -> bool:
    words = {word.lower() for word in re.findall(r"[A-Z]?[a-z]+|[A-Z]+", port.name)}
    of_four = len(port.shape) == 4
    is_map = not port.shape or len(port.shape) == 3 or (of_four and port.shape[1] in (1, None))
    is_map = is_map and not (of_four and port.shape[3] in (2, 3, 4))  # vectors
    never = any(each in port.name.lower() for each in _NEVER_WITHIN) or words & _NEVER_WORDS
    return is_map and not never and port.dtype.startswith("float")
