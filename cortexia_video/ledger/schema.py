"""What a line of a run's ledger can say, so that nobody who reads it meets a word of another type."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any, get_args

from cortexia_video.depth_map import KINDS
from cortexia_video.frame import FocalSource

_NULL = type(None)
_TYPES: dict[str, tuple[type, ...]] = {
    **dict.fromkeys(
        ("key", "outcome", "run", "end", "progress", "at", "reason", "version", "started"), (str,)
    ),
    **dict.fromkeys(
        (
            "path",
            "stage",
            "model",
            "weights_sha256",
            "lost",
            "made_of",
            "beside",
            "aligned_by",
            "projection",
            "scale_from",
        ),
        (str, _NULL),
    ),
    **dict.fromkeys(("kept", "unplaced", "interrupted", "f_px_used", "in_float32"), (bool,)),
    **dict.fromkeys(("settings", "passed_over"), (dict,)),
    "alignment": (dict, _NULL),
    "speed": (dict, _NULL),
}
_LARGEST_SIDE = 1 << 31
_LARGEST_COUNT = 1 << 63
_LARGEST_NUMBER = 1e300


def is_sound(line: Mapping[str, Any]) -> bool:
    """Return whether each word of a line that this package knows is what it can be; others may be anything."""
    if line.get("outcome") == "done" and type(line.get("outputs", {})) is not dict:
        return False  # names alone are what was begun
    checks = _choose_checks((*line,), (*map(type, line.values()),))
    if checks is None:
        return False
    for name, check in checks:  # noqa: SIM110 - a generator takes twice as long
        if not check(line[name]):
            return False
    return True


@lru_cache(maxsize=32)
def _choose_checks(
    names: Sequence[str], types: Sequence[type]
) -> list[tuple[str, Callable[[Any], bool]]] | None:
    """Return what is left to check of lines of these words and types; None where a type cannot be.

    Of nothing, where that can be, nothing is left.
    """
    if any(given not in _TYPES.get(name, (given,)) for name, given in zip(names, types, strict=True)):
        return None
    checks = [
        (name, given, _CHECKS[name]) for name, given in zip(names, types, strict=True) if name in _CHECKS
    ]
    return [(name, check) for name, given, check in checks if given is not _NULL or not check(None)]


def _is_count(value: object) -> bool:
    return type(value) is int and 0 <= value < _LARGEST_COUNT


def _is_side(value: object) -> bool:
    return type(value) is int and 0 < value < _LARGEST_SIDE


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and 0 <= value <= _LARGEST_NUMBER


def _is_focal_length(value: Any) -> bool:
    return value is None or (type(value) in (int, float) and 0 < value <= _LARGEST_SIDE)


def _is_size(value: Any) -> bool:
    return value is None or (
        type(value) is list and len(value) == 2 and _is_side(value[0]) and _is_side(value[1])
    )


def _is_source(value: Any) -> bool:
    """Return whether it is a file's size, and its time of change, which may lie before 1970."""
    if type(value) is not list or len(value) != 2:
        return False
    size, mtime_ns = value
    if type(size) is not int or type(mtime_ns) is not int:
        return False
    return 0 <= size < _LARGEST_COUNT and -_LARGEST_COUNT < mtime_ns < _LARGEST_COUNT


def _is_image(value: Any) -> bool:
    return type(value) is list and len(value) == 3 and type(value[0]) is str and _is_source(value[1:])


def _are_outputs(value: Any) -> bool:
    """Return whether these are names, or size and digest of each."""
    if type(value) is list:
        return all(type(name) is str for name in value)
    return type(value) is dict and all(map(_is_placed, value.values()))


def _is_placed(value: Any) -> bool:
    if type(value) is not list or len(value) != 2:
        return False
    size, digest = value
    if type(size) is not int or type(digest) is not str:
        return False
    return 0 <= size < _LARGEST_COUNT and len(digest) == 32 and not digest.strip("0123456789abcdef")


def _are_parts(value: Any) -> bool:
    """Return whether these are places in a shard, each with size and digest, by name."""
    return type(value) is dict and all(
        type(each) is list and len(each) == 3 and type(each[0]) is str and _is_placed(each[1:])
        for each in value.values()
    )


def _are_clips(value: Any) -> bool:
    """Return whether these are clips at work: frames that are done, of so many, how many per second, and where there
    is to be a preview how many it lacks."""
    return type(value) is dict and all(
        type(each) is list
        and (len(each) == 3 or (len(each) == 4 and _is_count(each[3])))
        and _is_count(each[0])
        and _is_side(each[1])
        and _is_number(each[2])
        for each in value.values()
    )


def _is_clip(value: Any) -> bool:
    return type(value) is dict and _is_count(value.get("frames"))


_CHECKS: dict[str, Callable[[Any], bool]] = {
    **dict.fromkeys(("found", "done", "skipped", "failed", "frames"), _is_count),
    **dict.fromkeys(("seconds", "images_per_second"), _is_number),
    **dict.fromkeys(("height", "width"), _is_side),
    **dict.fromkeys(("f_px", "rescaled_from"), _is_focal_length),
    "f_source": (None, *get_args(FocalSource)).__contains__,
    "kind": (None, *KINDS).__contains__,
    "full_size": _is_size,
    "source": _is_source,
    "image": _is_image,
    "outputs": _are_outputs,
    "inside": _are_parts,
    "clip": _is_clip,
    "clips": _are_clips,
}
