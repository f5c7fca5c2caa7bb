"""`OptionNames`: how a caller writes what says what numbers mean, so that errors name what it has."""

from __future__ import annotations

from typing import NamedTuple


class OptionNames(NamedTuple):
    """The names of options, in errors; the defaults are those of most commands."""

    convention: str = "--from"
    kind: str = "--kind"
    scale: str = "--scale"
    unknown: str = "--unknown"


OF_COMMANDS = OptionNames()
