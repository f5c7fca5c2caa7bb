"""`convert_clips`: depth of a clip as one file: of 16 bits, in colours, or as LeRobot keeps it.

Whatever it is made of becomes a clip of 16 bits first: files of frames, or a video of a LeRobot dataset.
"""

from __future__ import annotations

import math
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import replace
from functools import partial
from pathlib import PurePath
from typing import IO, Any, NamedTuple

import numpy as np

from cortexia_video.depth_map import DepthMap
from cortexia_video.errors import (
    DepthFileError,
    Failure,
    InputError,
    LossError,
    OutputExistsError,
    attempt,
    format_count,
    printable,
)
from cortexia_video.formats.metadata import Metadata
from cortexia_video.formats.registry import FORMATS, Format
from cortexia_video.jobs.clip_files import ScratchFile, place_frames
from cortexia_video.jobs.clip_parts import FilePieces
from cortexia_video.jobs.outcomes import Outcomes, Report, facts_of
from cortexia_video.ledger.artifacts import find_image
from cortexia_video.ledger.depth_reader import DepthReader
from cortexia_video.ledger.state import complete_depth_json
from cortexia_video.runtime.bounded_map import run_bounded
from cortexia_video.sources.depth_files import DepthFiles
from cortexia_video.sources.find import InputFile, find_images
from cortexia_video.sources.sequences import DepthSequence, group_depth
from cortexia_video.storage.paths import AnyPath, open_named, read_named_text, to_path
from cortexia_video.video import depth_clip, lerobot, preview
from cortexia_video.video.container import VIDEO_SUFFIXES
from cortexia_video.video.depth_clip import (
    Coding,
    DepthClip,
    DepthClipWriter,
    describe_clip,
    join_parts,
    parse_times,
)

LEROBOT = "lerobot"
_SAME = 1e-6  # relative: focal lengths that differ by no more are one


class ClipForm(NamedTuple):
    """A way to write depth of a clip. suffixes: of its files.

    files: of which each frame becomes one. write: gives what else is written, and what is lost, in words; None
    where the clip is kept as it is.
    """

    suffixes: tuple[str, ...]
    files: Format | None = None
    write: Callable[[DepthClip, IO[bytes]], tuple[list[bytes], str]] | None = None


def _write_lerobot(clip: DepthClip, out: IO[bytes]) -> tuple[list[bytes], str]:
    info, lost = lerobot.write_lerobot(clip, out)
    return [lerobot.describe_info(info)], lost


def _write_colors(clip: DepthClip, out: IO[bytes]) -> tuple[list[bytes], str]:
    preview.write_colors(clip, out)
    return [], f"{clip.metadata['kind']} depth becomes colours of one range, to look at: it cannot be undone"


CLIP_FORMS: Mapping[str, ClipForm] = {
    "mkv": ClipForm((depth_clip.SUFFIX,)),
    "mp4": ClipForm((preview.SUFFIX,), write=_write_colors),
    LEROBOT: ClipForm((lerobot.SUFFIX, lerobot.INFO_SUFFIX), write=_write_lerobot),
}


def find_clip_form(name: str) -> ClipForm:
    """Return the form of a name; of a format of files each frame becomes one."""
    form = FORMATS.get(name)
    return ClipForm((f"/{depth_clip.TIMES}", f"/000000{form.suffix}"), form) if form else CLIP_FORMS[name]


class _Source(NamedTuple):
    """Depth of a clip, frame by frame. about: what is known of the clip besides, by who made it."""

    depths: Callable[[], Iterator[DepthMap]]
    times_s: Sequence[float]
    rate: float
    about: Mapping[str, Any]


def find_clips(
    inputs: Sequence[str | os.PathLike[str]], root: AnyPath, convention: str | None, about: Metadata | None
) -> list[DepthSequence | Failure]:
    """Return the clips of inputs; `InputError` where there are none."""
    if convention == LEROBOT:
        found = find_images(inputs, recursive=True, output=root, videos=True)
        clips: list[DepthSequence | Failure] = [
            each if isinstance(each, Failure) else DepthSequence(each)
            for each in found
            if isinstance(each, Failure) or each.is_clip
        ]
    else:
        name = to_path(inputs[0]).resolve().name
        clips = group_depth(
            DepthFiles(inputs, output=root, convention=convention, about=about, whole=True), name
        )
    if not clips:
        places = ", ".join(printable(str(to_path(each))) for each in inputs)
        raise InputError(f"no depth in {places}: give clips of depth, or folders of frames")
    return clips


def convert_clips(
    clips: Sequence[DepthSequence | Failure],
    name: str,
    reader: DepthReader,
    opened: AbstractContextManager[Outcomes],
    *,
    workers: int,
    **options: Any,
) -> Report:
    """Write clips in the form of a name. options: of `ClipConversion`."""
    clips = name_for_lerobot(clips) if name == LEROBOT else clips
    with opened as outcomes:
        return ClipConversion(reader, find_clip_form(name), **options).run(clips, outcomes, workers)


class ClipConversion:
    """Clips of depth written anew, each an input with one outcome. fps: of files that do not say their times."""

    def __init__(
        self,
        reader: DepthReader,
        form: ClipForm,
        *,
        lerobot: bool,
        fps: float,
        allow_loss: bool,
        max_megapixels: float,
    ) -> None:
        self._reader, self._form, self._max_megapixels = reader, form, max_megapixels
        self._is_lerobot, self._fps, self._allow_loss = lerobot, fps, allow_loss

    def run(self, clips: Iterable[DepthSequence | Failure], outcomes: Outcomes, workers: int) -> Report:
        """Work on every clip until its outcome is recorded; the ledger then ends with the counts."""
        self._sink, self._ledger = outcomes.sink, outcomes.ledger
        files: dict[str, Sequence[InputFile]] = {}

        def note(each: DepthSequence | Failure) -> InputFile | Failure:
            if isinstance(each, Failure):
                return each
            files[each.item.key] = each.files
            return replace(each.item, is_clip=False)  # its files are those of the form

        with outcomes:
            self._ledger.keep_depth_json(self._sink)
            run_bounded(
                outcomes.claimed(map(note, clips)),
                lambda item: (
                    item,
                    attempt(item.key, "write", partial(self._convert, item, files[item.key])),
                ),
                lambda result: outcomes.record(*result),
                workers=workers,
            )
            complete_depth_json(self._sink, self._ledger.state)
        outcomes.record_end()
        return outcomes.report

    def _convert(self, item: InputFile, files: Sequence[InputFile]) -> None:
        with ExitStack() as stack:
            lost, image = "", None
            if files or self._is_lerobot:
                source, image = self._open(item, files)
                file: IO[bytes] = self._open_scratch(stack)
                lost = _write_clip(source, self._open_scratch(stack), file)
            else:
                place = to_path(item.place)
                if str(place) == str(self._sink.root / f"{item.key}{self._form.suffixes[0]}"):
                    raise OutputExistsError("it is its own output: choose another `output`")
                file = stack.enter_context(open_named(place))
            clip = stack.enter_context(DepthClip(file))
            height, width = clip.shape
            if height * width > self._max_megapixels * 1e6:
                raise DepthFileError(
                    f"its frames are {width} x {height}: raise `max_megapixels` if that is so"
                )
            out, more = file, list[bytes]()
            if self._form.write is not None:
                out = self._open_scratch(stack)
                more, lost_too = self._form.write(clip, out)
                lost = "; ".join(filter(None, (lost, lost_too)))
            if lost and not self._allow_loss:
                raise LossError(
                    f"{lost}: `allow_loss=True` writes it all the same, or choose another `format` or `to`"
                )
            depth, names = clip.read(0), [item.key + suffix for suffix in self._form.suffixes]
            self._ledger.record_begun(item.key, names)
            if self._form.files:
                outputs = place_frames(self._sink, item.key, self._form.files, clip)
            else:
                contents = [FilePieces(out), *([each] for each in more)]
                outputs = self._sink.place(dict(zip(names, contents, strict=True)))
        facts: dict[str, Any] = {
            **facts_of(depth),
            "model": depth.model,
            "weights_sha256": depth.weights_sha256,
        }
        facts |= {"clip": clip.metadata["clip"]} if self._form.write is None else {}
        facts |= {"lost": lost} if lost else {}
        facts |= {"image": image} if image else {}
        self._ledger.record_done(item.key, item.source, outputs, **facts, made_of="depth")

    def _open_scratch(self, stack: ExitStack) -> ScratchFile:
        return stack.enter_context(ScratchFile(self._sink.partial))

    def _open(self, item: InputFile, files: Sequence[InputFile]) -> tuple[_Source, Any]:
        """Return the frames of a clip that is no file of ours yet, and the video that it is of, if that is known."""
        if self._is_lerobot:
            found = lerobot.LeRobotClip(to_path(item.place), max_megapixels=self._max_megapixels)
            return _Source(lambda: iter(found), found.times_s, found.rate, {}), None
        line = self._reader.decode(self._reader.read_bytes(files[0].place), files[0].place).line
        about = line.get("clip", {}) if line.get("clip", {}).get("frames") == len(files) else {}
        times_s, beside = None, to_path(files[0].place).parent / depth_clip.TIMES
        if beside.is_file():
            listed = parse_times(read_named_text(beside))
            times_s = listed if len(listed) == len(files) and (np.diff(listed) > 0).all() else None
        rate = about.get("rate", self._fps)
        if times_s is None:
            times_s = [number / rate for number in range(len(files))]
        elif not about and len(times_s) > 1:
            rate = (len(times_s) - 1) / (times_s[-1] - times_s[0])

        def read() -> Iterator[DepthMap]:
            for each in files:
                yield self._reader.read(each.place)

        return _Source(read, times_s, rate, about), find_image(line) if about else None


def _write_clip(source: _Source, scratch: IO[bytes], out: IO[bytes]) -> str:
    """Write frames as a clip of 16 bits; return what is lost, in words. `DepthFileError` for frames that differ."""
    first = next(source.depths())
    low, high = (0.0, 1.0) if first.kind in ("metric", "scale_invariant") else _find_range(source.depths())
    coding, clipped, count, ends = Coding.of(first.kind, low, high), 0, 0, (65535, 0)
    lengths: list[float] = []
    with DepthClipWriter(scratch, *first.values.shape) as writer:
        for number, depth in enumerate(source.depths()):
            if (depth.values.shape, depth.kind, depth.full_size) != (
                first.values.shape,
                first.kind,
                first.full_size,
            ):
                raise DepthFileError(
                    f"frame {number} is not of the size and the kind of the first: frames of one clip are"
                )
            numbers, outside = coding.encode(depth.values)
            writer.add(numbers, round(1000 * (source.times_s[number] - source.times_s[0])))
            clipped, count = clipped + outside, count + 1
            ends = min(ends[0], int(numbers.min())), max(ends[1], int(numbers.max()))
            lengths += [depth.f_px] if depth.f_px else []
        writer.finish()
    f_px = float(np.median(lengths)) if lengths else None
    clip: dict[str, Any] = {
        "frames": count,
        "rate": round(source.rate, 6),
        "seconds": round(count / source.rate, 6),
    }
    clip |= {"held": 0, "clipped": clipped, "cuts": 0, "range": [*ends], "steady": "off", **source.about}
    scratch.seek(0)
    join_parts([scratch], out, describe_clip(replace(first, f_px=f_px), coding, clip))
    said = format_count(clipped, "value is", "values are")
    lost = f"{said} outside of what its numbers hold, and cut to that" if clipped else ""
    if f_px and max(lengths) - min(lengths) > _SAME * f_px:
        several = f"focal lengths of {min(lengths):g} to {max(lengths):g} pixels become one, {f_px:g}"
        lost = "; ".join(filter(None, (lost, several)))
    return lost


def _find_range(depths: Iterator[DepthMap]) -> tuple[float, float]:
    """Return the least and the largest value of all frames; infinite ones do not count."""
    low, high = math.inf, -math.inf
    for each in depths:
        known = each.values[np.isfinite(each.values)]
        if known.size:
            low, high = min(low, float(known.min())), max(high, float(known.max()))
    return (low, high) if low <= high else (0.0, 1.0)


def name_for_lerobot(clips: Sequence[DepthSequence | Failure]) -> list[DepthSequence | Failure]:
    """Return clips under the names of their videos without the ending, where no other one has that."""

    def strip(key: str) -> str:
        suffix = PurePath(key).suffix
        return key.removesuffix(suffix) if suffix.lower() in VIDEO_SUFFIXES else key

    keys = [each.key if isinstance(each, Failure) else each.item.key for each in clips]
    uses = Counter([*map(strip, keys), *keys])
    return [
        each
        if isinstance(each, Failure) or uses[strip(each.item.key)] > 1
        else each._replace(item=replace(each.item, key=strip(each.item.key)))
        for each in clips
    ]
