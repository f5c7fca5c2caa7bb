"""`cortexia plan`: what a run would take, before it is begun."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from cortexia_video.cli.options import CAMERA, MODEL, MODEL_OPTIONS, OPTIONS, RUN, take_options
from cortexia_video.errors import format_count
from cortexia_video.html.wording import format_bytes, format_number
from cortexia_video.jobs.estimate import estimate
from cortexia_video.jobs.input_sample import find_existing
from cortexia_video.jobs.plan import ClipCost, plan
from cortexia_video.storage.paths import to_path


@take_options(
    estimate,
    (OPTIONS, ("model", "recursive", "size", "also", "sky", "projection")),
    (MODEL, MODEL_OPTIONS),
    (CAMERA, ("f_px", "intrinsics", "sparse", "sparse_from")),
    (RUN, ("batch_size", "device", "decode")),
)
@take_options(plan, (OPTIONS, ("output",)), (RUN, ("num_workers",)))
def plan_command(
    inputs: Annotated[list[str], Parameter(name="INPUT")],
    /,
    **options: Any,
) -> None:
    """Estimate time and storage of a run.

    Images and videos are counted, and a few of them are estimated: what all would take in hours and bytes, images
    by format. Nothing is written to OUTPUT.

        cortexia plan photos --recursive --output depth
        cortexia plan photos --model moge-2-vits --also normals,mask
        cortexia plan s3://bucket/photos --recursive --num-workers 16

    Exit code: 0 done, 2 wrong usage.
    """
    cost = plan(inputs, **options)
    lost = f"; {format_count(cost.lost, 'input')} cannot be opened" if cost.lost else ""
    done, left = "", cost.found - cost.done
    if options["output"]:
        some = format_count(cost.done, "is", "are") if cost.done else "none is"
        done = f"; {some} done with these settings"
        done += f", what follows is for the other {left:,}" if cost.done and left else ""
    if cost.found:
        print(f"{format_count(cost.found, 'image')}, {format_bytes(cost.bytes)}{lost}{done}")
        smallest, largest = (f"{width} x {height}" for width, height in (cost.smallest, cost.largest))
        print(
            f"of {cost.looked_at} looked at: {smallest} to {largest} pixels, {cost.megapixels:.3g} megapixels on "
            f"average, {cost.unreadable} cannot be read"
        )
    shared = f", shared by {cost.num_workers} workers" if cost.num_workers > 1 else ""
    if cost.formats and left:
        print(f"from {cost.timed} timed{shared}:")
    for name, each in cost.formats.items() if left else ():
        together = format_number(each.hours * cost.num_workers)
        total = f"  {together} worker-hours" if cost.num_workers > 1 else ""
        print(f"  --format {name:<5} {_format_hours(each.hours):>12} {format_bytes(each.bytes):>10}{total}")
    if cost.maps:
        beside = ", ".join(f"{name} {format_bytes(size)}" for name, size in cost.maps.items())
        print(f"  of this, maps beside depth: {beside}")
    if cost.clips:
        _print_clips(cost.clips, shared, lost if not cost.found else "")
    if any(cost.requests.values()):
        asked = ", ".join(f"{count} {name}" for name, count in cost.requests.items())
        print(f"requests to object stores: {asked}; {format_bytes(cost.bytes)} read from there")
    place = to_path(options["output"]) if options["output"] else None
    if isinstance(place, Path):
        print(f"free in {place}: {format_bytes(shutil.disk_usage(find_existing(place)).free)}")


def _print_clips(cost: ClipCost, shared: str, lost: str) -> None:
    done = f"; {format_count(cost.done, 'is', 'are')} done" if cost.done else ""
    bad = f"; {cost.unreadable} of those looked at cannot be read" if cost.unreadable else ""
    length = f"{format_count(cost.frames, 'frame')}, {_format_hours(cost.seconds / 3600)}"
    print(f"{format_count(cost.found, 'video')}, {format_bytes(cost.bytes)}, about {length}{lost}{done}{bad}")
    print(f"from {format_count(cost.timed, 'frame')} timed{shared}:")
    print(f"  videos         {_format_hours(cost.hours):>12} {format_bytes(cost.output_bytes):>10}")


def _format_hours(hours: float) -> str:
    number, unit = format_number(hours), "hour"
    if hours < 1:
        number, unit = (
            (f"{hours * 60:.2g}", "minute") if hours * 60 >= 1 else (f"{hours * 3600:.2g}", "second")
        )
    return f"{number} {unit}{'' if number == '1' else 's'}"
