"""`place_frames`: depth of a clip as a folder with a file for each frame, all of one coding.

`clip.mp4/000000.npy` and so on; `clip.mp4/depth.txt`, as TUM RGB-D writes it, has the time of each, in seconds.
"""

from __future__ import annotations

import contextlib
import io
import os
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from cortexia_video.depth_map import DepthMap
from cortexia_video.errors import OutputLostError, output_lost
from cortexia_video.formats.quantization import to_values
from cortexia_video.formats.registry import FORMATS, Format
from cortexia_video.ledger.entries import WrittenFile
from cortexia_video.runtime.bounded_map import map_bounded
from cortexia_video.sinks.sink import Sink
from cortexia_video.storage.remote_path import RemotePath
from cortexia_video.video.depth_clip import TIMES, DepthClip, describe_times

_PUT = 4  # objects at once


def choose_format(form: Format, about: Mapping[str, Any]) -> Format:
    """Return a format in which frames of a clip do not flicker by their scaling: one range for all.

    about: what the clip's tag says.
    """
    if form is FORMATS["png"]:
        low, high = to_values(np.array([about["clip"]["range"]], np.uint16), about)[0]
        return replace(form, encode=partial(form.encode, ends=(float(low), float(high))))
    return form if about.get("scale") is None else form.with_steps(about["scale"], about.get("offset", 0.0))


def place_frames(sink: Sink, key: str, form: Format, clip: DepthClip) -> dict[str, WrittenFile]:
    """Write a file for each frame, and their times; return what was written. Raises what `Sink.place` does.

    Frames that an earlier, longer clip left behind these are removed.
    """
    chosen, outputs = choose_format(form, clip.metadata), dict[str, WrittenFile]()
    sink.check_key(key)

    def place(numbered: tuple[int, DepthMap]) -> dict[str, WrittenFile]:
        number, depth = numbered
        chosen.require_kept(depth)
        return sink.place({f"{key}/{number:06}{form.suffix}": chosen.encode(depth)})

    is_remote = isinstance(sink.root, RemotePath)
    for placed in map_bounded(enumerate(clip), place, workers=_PUT if is_remote else 1):
        outputs |= placed
    times = describe_times(clip.times_s, form.suffix)
    outputs |= sink.place({f"{key}/{TIMES}": [times.encode("ascii")]})
    number = len(clip)
    while sink.holds(name := f"{key}/{number:06}{form.suffix}"):
        (sink.root / name).unlink(missing_ok=True)
        number += 1
    return outputs


class ScratchFile(io.FileIO):
    """A file without a name, which remembers why it could not be written: FFmpeg says so in its own words.

    Not buffered: what a full disk refuses is known in `write`, and not when it is closed. It closes itself with
    whoever holds it.
    """

    def __init__(self, folder: Path | None) -> None:
        with tempfile.TemporaryFile(dir=folder, buffering=0) as file:
            super().__init__(os.dup(file.fileno()), "rb+")
        self.error: OSError | None = None

    def __del__(self) -> None:
        self.close()

    def write(self, data: Any) -> int:
        """Write every byte; the system may take fewer at a time."""
        left = memoryview(data).cast("B")
        size = len(left)
        try:
            while left:
                left = left[super().write(left) :]
        except OSError as error:
            self.error = error
            raise
        return size


@contextlib.contextmanager
def disk_errors(place: object, *files: ScratchFile) -> Iterator[None]:
    """Make `OutputLostError` for `place` of whatever is raised once the disk has refused one of the files."""
    try:
        with output_lost(place):
            yield
    except Exception as error:
        full = next((each.error for each in files if each.error), None)
        if full is None or isinstance(error, OutputLostError):
            raise
        raise OutputLostError(place, full) from error
