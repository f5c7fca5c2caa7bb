"""`cortexia info`: what depth files, and folders of them, say and hold."""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from functools import partial
from typing import Annotated, Any

from cyclopts import Parameter
from rich.console import Console

from cortexia_video.cli import DONE, SOME_FAILED
from cortexia_video.cli.option_words import to_options
from cortexia_video.cli.options import MEANING, RUN, take_options
from cortexia_video.cli.terminal_image import draw_depth
from cortexia_video.errors import Failure, attempt, format_count, printable, redact
from cortexia_video.formats.metadata import describe_files
from cortexia_video.html.wording import format_bytes
from cortexia_video.jobs.inspect import FolderInspection, Inspection, inspect
from cortexia_video.ledger.depth_reader import CHANGED

_OF_FILES = ("kind", "scale", "unknown", "f_px", "along", "channel", "array", "page")
_MEANINGS = {
    "metric": "metres along the optical axis",
    "scale_invariant": "depth up to a factor",
    "affine_invariant": "depth up to a factor and a shift",
    "disparity": "inverse depth up to a factor and a shift",
}
_SPEAKERS = {"file": "the file", "caller": "the command"}
_NAME_WIDTH = 12


@take_options(describe_files, (MEANING, _OF_FILES))
@take_options(inspect, (MEANING, ("convention",)), (RUN, ("max_megapixels",)))
def info_command(
    paths: Annotated[list[str], Parameter(name="PATH")],
    /,
    *,
    json_lines: Annotated[bool, Parameter(name="--json")] = False,
    **options: Any,
) -> int:
    """Inspect depth files.

    What depth files are and what their numbers mean, with a small image; of folders, a summary.

        cortexia info depth/a.jpg.npy
        cortexia info depth/clip.mp4.mkv#123
        cortexia info --json depth
        cortexia info 0000000005.png --from kitti

    Exit code: 0 all right, 1 some cannot be read, 2 wrong usage.

    Args:
        paths: Depth files, and folders of them.
        json_lines: Print an object of JSON for each, one per line, without an image.
    """
    about = describe_files(**{name: options.pop(name) for name in _OF_FILES})
    failed, console = False, Console(highlight=False)
    for number, path in enumerate(paths):
        look = partial(inspect, path, about=about, **options)
        found = attempt(redact(path), "decode", look)
        if isinstance(found, Failure):
            failed = True
            if json_lines:
                print(json.dumps({"path": found.key, "error": found.reason}))
            print(f"cortexia: {to_options(found.reason)}", file=sys.stderr)
            continue
        if json_lines:
            print(json.dumps(found.as_dict()))
        else:
            print("" if number == 0 else "\n", printable(found.path), sep="")
            lines = _describe_file(found) if isinstance(found, Inspection) else _describe_folder(found)
            for name, text in lines:
                print(f"  {name:<{_NAME_WIDTH}}{printable(text)}")
        if isinstance(found, FolderInspection):
            failed = failed or bool(found.failures)
            for failure in found.failures if not json_lines else ():
                print(f"  failed: {to_options(failure.reason)}")
        elif not json_lines:
            sys.stdout.flush()
            draw_depth(console, found.thumbnail, larger_is_nearer=found.metadata["larger_is"] == "nearer")
    return SOME_FAILED if failed else DONE


def _describe_file(found: Inspection) -> Iterator[tuple[str, str]]:
    yield "format", f"{found.format}, {found.height} x {found.width}, {format_bytes(found.bytes)}"
    if found.kind:
        meaning = f"{_MEANINGS[found.kind]}, larger is {found.metadata['larger_is']}"
        said_by = _SPEAKERS.get(str(found.said_by), str(found.said_by))
        yield "kind", f"{found.kind}: {meaning} (so says {said_by})"
    else:
        yield "kind", f"not known: {to_options(found.unsaid or '')}"
    if found.changed:
        yield "changed", CHANGED
    unit = " m" if found.kind == "metric" else ""
    if found.percentiles:
        low, high = found.percentiles[0], found.percentiles[100]
        yield "range", f"{low:.4g} to {high:.4g}{unit}"
        inner = {percent: value for percent, value in found.percentiles.items() if 0 < percent < 100}
        yield "values", ", ".join(f"{percent} %: {value:.4g}" for percent, value in inner.items())
    yield "unknown", f"{found.unknown_share:.2%} of the pixels"
    said: Any = found.metadata
    if found.fov_deg is not None:
        source = said["f_source"] or "source not known"
        yield "focal", f"{said['f_px']:.6g} px ({source}), {found.fov_deg:.4g} degrees wide"
    else:
        yield "focal", "not known"
    if said.get("projection"):
        yield "projection", f"{said['projection']}: distances along the rays of a panorama's pixels"
    if said.get("scale_from"):
        yield "metres", "of a sensor's sparse depth, which the model completed"
    if said["model"]:
        digest = f", weights {said['weights_sha256'][:12]}" if said["weights_sha256"] else ""
        yield "model", f"{said['model']}{digest}"
    if found.maps:
        yield "beside it", ", ".join(found.maps)
    if found.maps_missing:
        yield "missing", f"{', '.join(found.maps_missing)} beside it"
    if found.clip:
        clip = found.clip
        frames, cuts = format_count(clip["frames"], "frame"), format_count(clip.get("cuts", 0), "cut")
        told = f"{frames}, {clip.get('rate', 0):g} per second, {clip.get('seconds', 0):g} s"
        yield "clip", f"{told}; {clip.get('held', 0)} held, {cuts}; this is frame 0"
    size = said["full_size"]
    if size != [found.height, found.width]:
        yield "image", f"{size[0]} x {size[1]}, of which this is all, smaller"


def _describe_folder(found: FolderInspection) -> Iterator[tuple[str, str]]:
    files = ", ".join(f"{count} {suffix}" for suffix, count in sorted(found.files.items()))
    images = f"; {found.images} PNG that are no depth" if found.images else ""
    yield "files", f"{files or 'no depth'}, {format_bytes(found.bytes)}{images}"
    if found.last_run:
        yield "last run", ", ".join(f"{count} {name}" for name, count in found.last_run.items())
    if found.common:
        words = ("kind", "view_of", "model", "format")
        said = [f"{word} {found.common[word]}" for word in words if found.common.get(word)]
        differ = [word for word in words if word in found.common.get("in_ledger", ())]
        said += [f"{', '.join(differ)} differ"] if differ else []
        yield "depth.json", "; ".join(said)
    sampled = found.sampled
    if not sampled:
        return
    yield "read", format_count(len(sampled), "file")
    yield "kind", _tally(each.kind or "not known" for each in sampled)
    yield "model", _tally(str(each.metadata["model"] or "none") for each in sampled)
    sizes = sorted({(each.height, each.width) for each in sampled}, key=lambda size: size[0] * size[1])
    yield "size", " to ".join(f"{height} x {width}" for height, width in (sizes[0], sizes[-1])[: len(sizes)])
    known = [each.percentiles for each in sampled if each.percentiles]
    if known:
        low, high = min(each[0] for each in known), max(each[100] for each in known)
        yield "range", f"{low:.4g} to {high:.4g}"
    yield "unknown", f"{sum(each.unknown_share for each in sampled) / len(sampled):.2%} of the pixels"
    if beside := _tally(name for each in sampled for name in each.maps):
        yield "beside it", beside
    if missing := _tally(name for each in sampled for name in each.maps_missing):
        yield "missing", f"{missing} beside it: `cortexia verify` names them"
    yield "focal", _tally(str(each.metadata["f_source"] or "not known") for each in sampled)
    fields = [each.fov_deg for each in sampled if each.fov_deg is not None]
    if fields:
        yield "view", f"{min(fields):.4g} to {max(fields):.4g} degrees wide"


def _tally(names: Iterable[str]) -> str:
    return ", ".join(f"{name} ({count})" for name, count in Counter(names).most_common())
