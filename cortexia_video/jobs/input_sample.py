"""Some of the inputs of a run, chosen at random, and their headers: what all of them are like, before they are read."""

from __future__ import annotations

import random
from collections.abc import Iterable
from functools import partial
from pathlib import Path

from cortexia_video.errors import Failure, attempt, format_count
from cortexia_video.html.wording import format_bytes
from cortexia_video.images.decode import Header, read_header, read_image_bytes
from cortexia_video.sources.find import Found, InputFile

COUNTED = 20_000  # inputs, to know how much a run needs; of these are looked at
_LOOKED_AT = 24
_PIXEL_BYTES = {"npy": 4, "npz": 4, "tiff": 4, "exr": 4, "pfm": 4, "exr16": 2, "png16": 2, "jxl": 2, "png": 1}
_PIXEL_BYTES |= {"normals": 6, "mask": 0, "confidence": 4, "points": 12}
PLENTY = 3  # times what is needed


class Tally:
    """How many inputs there are, with their bytes, and some of them by reservoir sampling. most: of these."""

    def __init__(self, most: int) -> None:
        self.found = self.bytes = 0
        self._most = most
        self._samples: list[InputFile] = []
        self._chance = random.Random(0)

    def add(self, item: InputFile) -> None:
        """Count an input."""
        self.found += 1
        self.bytes += item.source.size
        if len(self._samples) < self._most:
            self._samples.append(item)
        elif (place := self._chance.randrange(self.found)) < self._most:
            self._samples[place] = item

    def shuffle(self) -> list[InputFile]:
        """Return the samples in no order."""
        self._chance.shuffle(self._samples)
        return self._samples


def read_headers(samples: Iterable[InputFile]) -> dict[InputFile, Header]:
    """Return the headers that can be read."""
    headers = {}
    for each in samples:
        data = attempt(each.key, "decode", partial(read_image_bytes, each.place))
        header = (
            data if isinstance(data, Failure) else attempt(each.key, "decode", partial(read_header, data))
        )
        if not isinstance(header, Failure):
            headers[each] = header
    return headers


def describe_need(found: Iterable[Found], free: int, root: Path, formats: Iterable[str]) -> str | None:
    """Return for people what depth as large as the images takes of the bytes free in `root`, where that is much.

    formats: of the files of a map. At most: what a format compresses is not foretold. Of very many inputs only the
    first are counted.
    """
    tally = Tally(_LOOKED_AT)
    for each in found:
        if not isinstance(each, Failure) and not each.is_clip:
            tally.add(each)
    headers = read_headers(tally.shuffle()).values()
    count, looked_at = tally.found, max(1, min(tally.found, _LOOKED_AT))
    pixels = sum(each.width * each.height for each in headers) / looked_at
    need = count * pixels * sum(_PIXEL_BYTES[name] for name in formats)
    if need * PLENTY <= free:
        return None
    least = "more than" if count == COUNTED else "up to"
    return (
        f"depth of {format_count(count, 'image')} takes {least} {format_bytes(need)}, and {format_bytes(free)} are "
        f"free in {root}: `size='native'` takes some 60 times less, `format='png16'` half"
    )


def find_existing(folder: Path) -> Path:
    """Return a folder, or the nearest one above it that exists: what it is made in lies on the same disk."""
    absolute = folder.absolute()
    return next(each for each in (absolute, *absolute.parents) if each.is_dir())
