"""What the package offers to people: names and signatures. `python tests/support/public_api.py` pins them."""

from __future__ import annotations

import inspect
import json
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import cortexia_video as cx

PINNED = Path(__file__).resolve().parents[1] / "public_api.json"
DOORS = (
    "cortexia_video",
    *(f"cortexia_video.{name}" for name in cx.__all__ if inspect.ismodule(getattr(cx, name))),
)


def list_names(door: str) -> list[str]:
    """Return the names that a door lists, without the rooms behind it."""
    module = import_module(door)
    return [name for name in module.__all__ if not inspect.ismodule(getattr(module, name))]


def describe_api() -> dict[str, dict[str, Any]]:
    """Return every public name by its door, with its signature; of a class those of what it does, too."""
    return {
        door: {name: describe(getattr(import_module(door), name)) for name in list_names(door)}
        for door in DOORS
    }


def describe(thing: Any) -> Any:
    if inspect.isclass(thing):
        return {"": _sign(thing), **{name: _describe_member(each) for name, each in list_members(thing)}}
    return _sign(thing) if callable(thing) else type(thing).__name__


def list_members(thing: type) -> Iterator[tuple[str, Any]]:
    """Yield the public members that a class defines itself, and `__call__`."""
    for name, each in sorted(vars(thing).items()):
        is_ours = inspect.isroutine(each) or isinstance(each, property | classmethod | staticmethod)
        if is_ours and (not name.startswith("_") or name == "__call__"):
            yield name, each


def _describe_member(member: Any) -> str:
    if isinstance(member, property):
        return "property"
    return _sign(member.__func__ if isinstance(member, classmethod | staticmethod) else member)


def _sign(thing: Any) -> str:
    """Return a signature that is the same on every machine: a default that is a function is `...`."""
    try:
        signature = inspect.signature(thing)
    except (TypeError, ValueError):
        return "()"
    parameters = [
        each.replace(default=...) if callable(each.default) and each.default is not each.empty else each
        for each in signature.parameters.values()
    ]
    return str(signature.replace(parameters=parameters)).replace("Ellipsis", "...").replace("'", "")


def main() -> None:
    PINNED.write_text(json.dumps(describe_api(), indent=1) + "\n")


if __name__ == "__main__":
    main()
