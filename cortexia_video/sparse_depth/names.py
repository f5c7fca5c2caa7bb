"""Which name of another program an image's key goes with: names are compared from their ends."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from operator import eq
from pathlib import PurePosixPath

from cortexia_video.errors import InputError, printable
from cortexia_video.images.sniff import IMAGE_SUFFIXES


class NameIndex:
    """Names, found by keys of which one is the other's end: `cam1/a.jpg` for the key `trip/cam1/a.jpg` or `a.jpg`.

    The end of an image's name, such as .jpg, may differ where no name has the same.
    """

    def __init__(self, names: Iterable[str]) -> None:
        self._by_file: dict[str, list[str]] = defaultdict(list)
        self._by_stem: dict[str, list[str]] = defaultdict(list)
        for name in names:
            self._by_file[PurePosixPath(name).name].append(name)
            self._by_stem[_find_stem(name)].append(name)

    def find(self, key: str) -> str | None:
        """Return the name that shares most folders with a key, None where there is none.

        Raises `InputError` where several share as many.
        """
        folders = PurePosixPath(key).parts[-2::-1]

        def keep(names: Iterable[str]) -> list[tuple[float, str]]:
            """Return names whose folders, as far as both have some, are the key's, with how many these are.

            Of those with as many one with no others is better.
            """
            parts = [(PurePosixPath(name).parts[-2::-1], name) for name in names]
            fitting = [(each, name) for each, name in parts if all(map(eq, each, folders))]
            return [(min(len(each), len(folders)) + (each == folders) / 2, name) for each, name in fitting]

        found = keep(self._by_file.get(PurePosixPath(key).name, ())) or keep(
            self._by_stem.get(_find_stem(key), ())
        )
        best = [name for shared, name in found if shared == max(found)[0]]
        if len(best) > 1:
            said = ", ".join(printable(name) for name in best[:3])
            raise InputError(f"{len(best)} images may be meant ({said} ...): keep their folders in the names")
        return best[0] if best else None


def _find_stem(name: str) -> str:
    path = PurePosixPath(name)
    return path.stem if path.suffix.lower() in IMAGE_SUFFIXES else path.name
