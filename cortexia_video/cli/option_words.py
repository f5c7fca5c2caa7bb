"""Messages of the library, which name `parameters`, in the words of the command line: their --options."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cached_property

from cyclopts import App

_PARAMETER = re.compile(r"`([a-z][a-z0-9_]*)(?:=([^`]*))?`")
_PAGE = re.compile(r"`?docs/([\w/]+)\.md`?")
_OF_FILES = ("kind", "scale", "unknown", "f_px", "along", "page", "channel", "array", "max_megapixels")
_OF_CONVERT = {
    "convention": "cortexia convert --from",
    **{name: f"cortexia convert --{name.replace('_', '-')}" for name in _OF_FILES},
}


class _Command:
    """The command that runs: what its parameters are called is looked up for the first message."""

    def __init__(self, app: App, words: list[str]) -> None:
        self._app, self._words = app, words

    @cached_property
    def options(self) -> Mapping[str, str]:
        command = self._app.parse_commands(self._words)[1][-1]
        if getattr(command.default_command, "__module__", "cyclopts").startswith("cyclopts"):
            return {}  # none, or --help or --version, which cyclopts does itself
        arguments = command.assemble_argument_collection(parse_docstring=False)
        return {(each.keys or (each.field_info.name,))[-1]: each.name for each in arguments}


_running: list[_Command] = []


def set_command(app: App, words: list[str]) -> None:
    """Remember the command line that `to_options` speaks of."""
    _running[:] = [_Command(app, words)]


def to_options(message: str) -> str:
    """Replace the parameters that a message names in backticks by the options of the command that runs.

    `workers` becomes --workers, `overwrite=True` --overwrite and `device='cpu'` --device cpu. What the
    command has no option for stays, but what says what depth files mean: that can be said to `cortexia
    convert`.

    Example:
        to_options("raise `max_megapixels`")  # "raise --max-megapixels"
    """
    options = {**_OF_CONVERT, **(_running[0].options if _running else {})}

    def rename(match: re.Match[str]) -> str:
        name, value = match.groups()
        if name not in options:
            return match[0]
        return options[name] if value in (None, "True") else f"{options[name]} {value.strip(chr(39))}"

    return to_pages(_PARAMETER.sub(rename, message))


def to_pages(text: str) -> str:
    """Replace the files of the documentation that a text names by the command that shows them."""
    return _PAGE.sub(r"`cortexia help docs/\1`", text)
