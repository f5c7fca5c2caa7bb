"""`Listing`: what lies below a URL, listed once; folders and patterns as `pathlib` has them.

An object store knows keys only: a folder is what keys begin with, and is found from them.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import lru_cache
from itertools import islice
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cortexia_video.storage.remote_path import RemotePath

_WILD = re.compile(r"\*\*/|\*|\?|\[!?[^/\]]+\]")
_MEANING = {"**/": "(?:[^/]+/)*", "*": "[^/]*", "?": "[^/]"}
_LAST = chr(0x10FFFF)
_remembered: ContextVar[dict[str, Listing] | None] = ContextVar("remembered", default=None)


class Listing:
    """The objects below a URL, by name relative to it, and the folders that follow from them.

    whole: there are no others.
    """

    def __init__(self, names: Iterable[str], *, whole: bool = True) -> None:
        self.whole = whole
        self._files = sorted(names)
        folders = above = {name.rpartition("/")[0] for name in self._files}
        while above:
            above = {name.rpartition("/")[0] for name in above} - folders
            folders |= above
        self._folders = sorted(folders - {""})

    def has_file(self, name: str) -> bool:
        """Return whether an object has this name."""
        place = bisect_left(self._files, name)
        return self._files[place : place + 1] == [name]

    def has_folder(self, name: str) -> bool:
        """Return whether something lies in a folder of this name; `` is the URL itself."""
        place = bisect_left(self._folders, name)
        return self._folders[place : place + 1] == [name] if name else bool(self._files)

    def match(self, pattern: str, within: str = "") -> list[str]:
        """Return what is in the folder `within` and fits a pattern, relative to it, as `pathlib` sorts it."""
        start = f"{within}/" if within else ""
        fits = _compile(pattern).fullmatch
        found = {
            name[len(start) :]
            for names in (self._files, self._folders)
            for name in names[bisect_left(names, start) : bisect_left(names, start + _LAST)]
            if fits(name, len(start))
        }
        return sorted(found, key=lambda name: name.split("/"))


def is_pattern(text: str) -> bool:
    """Return whether a text stands for many names."""
    return _WILD.search(text) is not None


def take_listing(folder: RemotePath, most: int | None = None) -> Listing:
    """List what is below a URL, or its first `most` objects; raises `OSError`."""
    names = [name for name, _ in islice(folder.list_files(), None if most is None else most + 1)]
    whole = most is None or len(names) <= most
    listing = Listing(names[:most], whole=whole)
    remembered = _remembered.get()
    if remembered is not None and whole:
        remembered[folder.url] = listing
    return listing


def match_below(folder: RemotePath, pattern: str) -> list[str]:
    """Return what fits a pattern below a URL, relative to it; one listing of where the pattern begins."""
    parts = pattern.split("/")  # divided before the first that stands for many names, or before the last
    first = next((place for place, part in enumerate(parts[:-1]) if is_pattern(part)), len(parts) - 1)
    literal, rest = "/".join(parts[:first]), "/".join(parts[first:])
    below = folder / literal if literal else folder
    found = find_listing(below)
    listing, inside = found if found is not None else (take_listing(below), "")
    start = f"{literal}/" if literal else ""
    return [start + name for name in listing.match(rest, inside)]


@contextmanager
def remember_listings() -> Iterator[None]:
    """Within the block, on this thread, list nothing twice: a URL stays as it was when it was listed."""
    if _remembered.get() is not None:
        yield
        return
    token = _remembered.set({})
    try:
        yield
    finally:
        _remembered.reset(token)


def find_listing(place: RemotePath) -> tuple[Listing, str] | None:
    """Return a remembered listing that a URL lies in, and its name in there."""
    for url, listing in (_remembered.get() or {}).items():
        if place.url == url or place.url.startswith(f"{url}/"):
            return listing, place.url[len(url) + 1 :]
    return None


@lru_cache
def _compile(pattern: str) -> re.Pattern[str]:
    literal = [re.escape(each) for each in _WILD.split(pattern)]
    wild = [_MEANING.get(each) or each.replace("[!", "[^") for each in _WILD.findall(pattern)] + [""]
    return re.compile("".join(a + b for a, b in zip(literal, wild, strict=True)), re.DOTALL)
