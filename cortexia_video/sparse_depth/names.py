"""Which name of another program an image's key goes with: names are compared from their ends."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from pathlib import PurePosixPath

from cortexia_video.errors import InputError, printable
from cortexia_video.images.sniff import IMAGE_SUFFIXES


class NameIndex:
    """Names, found by keys that share their last parts: `cam1/a.jpg` for the key `trip/cam1/a.jpg` or `a.jpg`.

    The end of an image's name, such as .jpg, may differ where no name has the same.
    """

    def __init__(self, names: Iterable[str]) -> None:
        self._by_file: dict[str, list[str]] = defaultdict(list)
        self._by_stem: dict[str, list[str]] = defaultdict(list)
        for name in names:
            self._by_file[PurePosixPath(name).name].append(name)
            self._by_stem[_find_stem(name)].append(name)

    def find(self, key: str) -> str | None:
        """Return the name that shares most parts with a key, None where there is none.

        Raises `InputError` where several share as many.
        """
        same = self._by_file.get(PurePosixPath(key).name)
        candidates = same or self._by_stem.get(_find_stem(key), [])
        if not candidates:
            return None
        shared = [_count_shared(key, name) for name in candidates]
        best = [name for name, count in zip(candidates, shared, strict=True) if count == max(shared)]
        if len(best) > 1:
            said = ", ".join(printable(name) for name in best[:3])
            raise InputError(f"{len(best)} images may be meant ({said} ...): keep their folders in the names")
        return best[0]


def _find_stem(name: str) -> str:
    path = PurePosixPath(name)
    return path.stem if path.suffix.lower() in IMAGE_SUFFIXES else path.name


def _count_shared(key: str, name: str) -> int:
    """Return how many folders before the file two names have in common."""
    count = 0
    for one, other in zip(PurePosixPath(key).parts[-2::-1], PurePosixPath(name).parts[-2::-1], strict=False):
        if one != other:
            break
        count += 1
    return count
