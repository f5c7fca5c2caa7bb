"""What a figure can be at most. None that is more is printed: it would be a mistake of measuring."""

from __future__ import annotations


class ImpossibleFigureError(Exception):
    """A figure exceeds what the arithmetic allows."""


def require_possible(what: str, value: float, limit: float) -> float:
    """Return the value back; raises ImpossibleFigureError where it is above its limit, or not a number."""
    if not value <= limit:
        raise ImpossibleFigureError(f"{what}: {value:.4g} was measured, at most {limit:.4g} is possible")
    return value


def check_guard() -> None:
    """See that the guard stops what it must and nothing else, before anything relies on it."""
    if require_possible("a share", 1.0, 1.0) != 1.0:
        raise AssertionError("the guard changes figures")
    for value in (1.01, float("nan")):
        try:
            require_possible("a share", value, 1.0)
        except ImpossibleFigureError as error:
            if f"{value:.4g} was" not in str(error) or "most 1 is" not in str(error):
                raise AssertionError(f"the guard does not name both numbers: {error}") from error
        else:
            raise AssertionError(f"the guard lets {value} pass where 1 is the limit")
