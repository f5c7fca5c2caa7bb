"""The one boundary around the work on one input: whatever goes wrong inside is that input's, with a reason.

An input is made by anybody, and read by libraries that raise anything on what is broken; so no list of
exceptions is ever complete. What ends a run goes through: `OutputLostError`, and what is no `Exception`, as
Ctrl-C. `MemoryError` and `RecursionError` are the input's.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from cortexia_video.errors import (
    CortexiaError,
    Failure,
    OutputLostError,
    Stage,
    printable,
)

_Result = TypeVar("_Result")
_log = logging.getLogger(__name__)


def attempt(key: str, stage: Stage, work: Callable[[], _Result]) -> _Result | Failure:
    """Do the work on one input; give what comes of it, or the `Failure` that it ended in."""
    try:
        return work()
    except OutputLostError:
        raise
    except Exception as error:  # noqa: BLE001 - the boundary
        return _fail(key, stage, error)


def attempt_all(key: str, stage: Stage, items: Iterable[_Result]) -> Iterator[_Result | Failure]:
    """Yield what a generator gives; where it breaks off, at last the `Failure` that it ended in."""
    try:
        yield from items
    except OutputLostError:
        raise
    except Exception as error:  # noqa: BLE001 - the boundary
        yield _fail(key, stage, error)


def _fail(key: str, stage: Stage, error: Exception) -> Failure:
    if not isinstance(error, CortexiaError):
        _log.debug("%s failed", printable(key), exc_info=error)
    return Failure(key, stage, error)
