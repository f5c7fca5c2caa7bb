"""Depth files in files and folders, each under the key that its picture had, or would have had."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from cortexia_video.formats.table import FORMATS, READERS
from cortexia_video.sources.files import Found, Rule, find_files

_SUFFIXES = tuple(suffix for reader in READERS for suffix in reader.suffixes)
_LONG_FIRST = sorted({*_SUFFIXES, *(form.suffix for form in FORMATS.values())}, key=len, reverse=True)
_PNG = b"\x89PNG\r\n\x1a\n"
_PNG_BEGINNING = 26  # bytes: its size in pixels, then bits and sort of its channels
_GREY_16 = b"\x10\0"


class DepthFiles:
    """The depth files of files, folders with all that is in them, and lists, as `find_pictures` takes them.

    In folders a file is an input by its name, whatever it holds; PNG of 8 bits or in colour is a picture, and
    only counted. Iterating raises `InputError` at once for an input that is not there.

    A key is as `find_pictures` gives it, without the ending of the file's format: `a.jpg` of `a.jpg.npy`.
    Where that would be the key of two files of a folder, or is a file's name, they keep their whole names.

    pictures: how many were passed over.
    """

    def __init__(self, inputs: Sequence[str | os.PathLike[str]], *, output: Path | None = None) -> None:
        self.pictures = 0
        self._inputs = inputs
        self._output = output

    def __iter__(self) -> Iterator[Found]:
        self.pictures = 0
        rule = Rule(_name_keys, self._accepts, lambda path: True)
        return find_files(self._inputs, rule, recursive=True, output=self._output)

    def _accepts(self, entry: os.DirEntry[str]) -> bool:
        if not entry.is_symlink() and not entry.is_file():
            return False
        if _is_picture(entry.path):
            self.pictures += 1
            return False
        return True


def find_suffix(name: str) -> str:
    """Give the ending of a depth file's name, of `.16.png` the whole."""
    lower = name.lower()
    return name[-next(len(suffix) for suffix in _LONG_FIRST if lower.endswith(suffix)) :]


def _name_keys(names: Sequence[str]) -> Mapping[str, str]:
    depth = [name for name in names if name.lower().endswith(_SUFFIXES)]
    stems = {name: name[: -len(find_suffix(name))] or name for name in depth}
    uses = Counter(stems.values())
    return {name: stem if uses[stem] == 1 and stem not in stems else name for name, stem in stems.items()}


def _is_picture(path: str) -> bool:
    """Say whether a file is a PNG that cannot be depth; what cannot be read may be."""
    if not path.lower().endswith(".png"):
        return False
    try:
        with Path(path).open("rb") as file:
            head = file.read(_PNG_BEGINNING)
    except OSError:
        return False
    return len(head) == _PNG_BEGINNING and head.startswith(_PNG) and not head.endswith(_GREY_16)
