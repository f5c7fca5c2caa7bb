"""Whether a network's output covers all of its input, and at which sizes of input it does.

A vision transformer drops what is beyond a multiple of its patch. Its depth is then of a part of the image,
and would silently be stretched over all of it.
"""

from __future__ import annotations

from collections.abc import Callable

from cortexia_video.errors import ModelLoadError, ModelOutputError
from cortexia_video.models.onnx.ports import first_line

Size = tuple[int, ...]  # height and width

_STEPS = (1, 2, 4, 8, 14, 16, 28, 32, 56, 64)  # that networks want sides to be multiples of
_ALL_STEPS = 448  # a multiple of each
_PRIMES = (3, 5, 11, 13, 17, 19, 23, 29, 31, 37, 41, 53, 59, 83, 89, 163, 167)  # that divide no step
_SMALLEST_TRIED = 160


def covers(seen: Size, given: Size, scale: tuple[float, float] | None) -> bool:
    """Return whether an output of size `given` can be of all of an input of size `seen`.

    scale: output pixels per input pixel along each side, where known. Where not, an output of whole patches
    alone, in pixels or a number for each, is of a part.
    """
    if scale:
        return all(side - out / each <= 1 for side, out, each in zip(seen, given, scale, strict=True))
    for step in _STEPS:
        whole = tuple(side // step for side in seen)
        if given in (whole, tuple(step * each for each in whole)) and any(side % step > 1 for side in seen):
            return False
    return True


def find_step(run: Callable[[int, int], Size], path: object) -> tuple[int, tuple[float, float]]:
    """Return the smallest step whose multiples a network takes and covers evenly, and its output's scale.

    run: gives the output's size for an input of (height, width), or raises what the backend does. Raises
    `ModelLoadError` where no step is found.
    """
    try:
        height, width = run(_ALL_STEPS, _ALL_STEPS)
    except ModelOutputError:
        raise
    except Exception as error:
        raise ModelLoadError(
            f"{path} loads but does not run at {_ALL_STEPS}x{_ALL_STEPS}: {first_line(error)}; give the size "
            "that it was made for (`input_size`, height and width), or `multiple_of`"
        ) from error
    scale = height / _ALL_STEPS, width / _ALL_STEPS
    for step in _STEPS:
        size = [step * prime for prime in _PRIMES if step * prime >= _SMALLEST_TRIED][:2]
        try:
            given = run(*size)
            too_large = [out / each - side for side, out, each in zip(size, given, scale, strict=True)]
            if covers(tuple(size), given, scale) and max(too_large) <= max(1, 1 / min(scale)):
                return step, scale
        except Exception:  # noqa: BLE001 - whatever a backend raises: it does not run at this size
            continue
    raise ModelLoadError(
        f"{path} runs at {_ALL_STEPS}x{_ALL_STEPS}, but covers its input at no multiple of {_STEPS[1]} to "
        f"{_STEPS[-1]} that was tried: give `multiple_of`, or one size (`input_size`, height and width)"
    )
