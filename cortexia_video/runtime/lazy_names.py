"""`load_lazily`: the public names of a package, each imported when it is first used (PEP 562)."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from importlib.metadata import version
from types import FunctionType
from typing import Any


def load_lazily(
    package: str, homes: Mapping[str, Sequence[str]], rooms: Sequence[str] = ()
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """Return the `__getattr__` and the `__dir__` of a package; `__version__` is that of its installation.

    homes: modules of `cortexia_video`, such as `jobs.plan`, and the names that are theirs. rooms: modules
    that are names of the package themselves.
    """
    home_of = {name: f"cortexia_video.{module}" for module, names in homes.items() for name in names}

    def load(name: str) -> Any:
        if name in rooms:
            return import_module(f"{package}.{name}")
        if name == "__version__":
            return version(package.replace("_", "-"))
        if name not in home_of:
            raise AttributeError(f"module {package!r} has no attribute {name!r}", name=name, obj=package)
        value = getattr(import_module(home_of[name]), name)
        value = import_module("cortexia_video.errors").suggest_keywords(value)
        if isinstance(value, FunctionType):
            value.__module__ = package  # where pickles find it
        setattr(sys.modules[package], name, value)  # the next time nobody asks
        return value

    def list_names() -> list[str]:
        return [*vars(sys.modules[package])["__all__"]]

    return load, list_names
