"""Which output of a graph is depth."""

from __future__ import annotations

import re
from collections.abc import Sequence

from cortexia_video.depth_map import DepthKind, larger_is_nearer
from cortexia_video.errors import ModelLoadError
from cortexia_video.models.onnx.ports import Port

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
    *(
        "disparity",
        "disp",
        "pred_disp",
        "pred_disparity",
        "predicted_disparity",
        "inverse_depth",
        "inv_depth",
    ),
    *("predicted_inverse_depth", "canonical_inverse_depth"),
}


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
