"""Some of the inputs of a run, chosen at random, and their headers: what all of them are like, before they are read."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable, Iterable
from functools import partial
from itertools import islice
from pathlib import Path

from cortexia_video.errors import Failure, attempt
from cortexia_video.html.wording import format_bytes
from cortexia_video.images.decode import Header, read_header, read_image_bytes
from cortexia_video.sources.find import Found, InputFile

_LOOKED_AT, _COUNTED = 24, 20_000  # inputs, to know how much a run needs
_PIXEL_BYTES = {"npy": 4, "npz": 4, "tiff": 4, "exr": 4, "pfm": 4, "exr16": 2, "png16": 2, "jxl": 2, "png": 1}
_PLENTY = 3  # times what is needed


def sample_inputs(
    found: Iterable[Found], most: int, note: Callable[[InputFile], None] = lambda item: None
) -> tuple[int, int, int, list[InputFile]]:
    """Return the number of inputs, of lost ones, of bytes, and some inputs by reservoir sampling."""
    chance = random.Random(0)
    count, lost, total = 0, 0, 0
    samples: list[InputFile] = []
    for each in found:
        if not isinstance(each, InputFile):
            lost += 1
            continue
        count += 1
        note(each)
        total += each.source.size
        if len(samples) < most:
            samples.append(each)
        elif (place := chance.randrange(count)) < most:
            samples[place] = each
    chance.shuffle(samples)
    return count, lost, total, samples


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


def describe_need(found: Iterable[Found], root: Path, format: str) -> str | None:
    """Return for people what depth as large as the images takes on the disk, where that is not a little.

    At most: what a format compresses is not foretold. Of very many inputs only the first are counted.
    """
    images = (each for each in islice(found, _COUNTED) if not isinstance(each, Failure) and not each.is_clip)
    count, _, _, samples = sample_inputs(images, _LOOKED_AT)
    if not samples:
        return None
    pixels = sum(each.width * each.height for each in read_headers(samples).values()) / len(samples)
    need, free = count * pixels * _PIXEL_BYTES[format], shutil.disk_usage(find_existing(root)).free
    if need * _PLENTY <= free:
        return None
    least = "more than" if count == _COUNTED else "up to"
    return (
        f"depth of {count:,} images takes {least} {format_bytes(need)}, and {format_bytes(free)} are free in {root}: "
        "`size='native'` takes some 60 times less, `format='png16'` half"
    )


def find_existing(folder: Path) -> Path:
    """Return a folder, or the nearest one above it that is there: what it is made in lies on the same disk."""
    absolute = folder.absolute()
    return next(each for each in (absolute, *absolute.parents) if each.is_dir())
