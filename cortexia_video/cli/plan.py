"""`cortexia plan`: what a run would take, before it is begun."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from cortexia_video.cli.options import MODEL, MODEL_OPTIONS, OPTIONS, RUN, take_options
from cortexia_video.html.wording import format_bytes
from cortexia_video.jobs.estimate import estimate
from cortexia_video.jobs.input_sample import find_existing
from cortexia_video.jobs.plan import plan
from cortexia_video.storage.paths import to_path


@take_options(plan, (OPTIONS, ("output",)), (RUN, ("num_workers",)))
@take_options(
    estimate,
    (OPTIONS, ("model", "recursive", "size")),
    (MODEL, MODEL_OPTIONS),
    (RUN, ("batch_size", "device", "decode")),
)
def plan_command(
    inputs: Annotated[list[str], Parameter(name="INPUT")],
    /,
    **options: Any,
) -> None:
    """Estimate time and storage of a run.

    The images are counted, and a few of them are estimated: what all would take in hours and bytes, by
    format. Nothing is written to OUTPUT.

        cortexia plan photos --recursive --output depth
        cortexia plan s3://bucket/photos --model depth-pro --num-workers 16

    Exit code: 0 done, 2 wrong usage.
    """
    cost = plan(inputs, **options)
    lost = f"; {cost.lost} inputs cannot be opened" if cost.lost else ""
    done = (
        f"; {cost.done} are done, what follows is for the other {cost.found - cost.done}" if cost.done else ""
    )
    print(f"{cost.found} images, {format_bytes(cost.bytes)}{lost}{done}")
    if cost.videos:
        print(
            f"{cost.videos} videos are there, too: of them nothing is foretold; `cortexia status` does, once they run"
        )
    smallest, largest = (f"{width} x {height}" for width, height in (cost.smallest, cost.largest))
    print(
        f"of {cost.looked_at} looked at: {smallest} to {largest} pixels, {cost.megapixels:.3g} megapixels on "
        f"average, {cost.unreadable} cannot be read"
    )
    shared = f", shared by {cost.num_workers} workers" if cost.num_workers > 1 else ""
    print(f"from {cost.timed} timed{shared}:")
    for name, each in cost.formats.items():
        hours, minutes = f"{each.hours:.3g} hours", f"{each.hours * 60:.2g} minutes"
        seconds = f"{each.hours * 3600:.2g} seconds"
        time = hours if each.hours >= 1 else minutes if each.hours * 60 >= 1 else seconds
        total = f"  {each.hours * cost.num_workers:.3g} worker-hours" if cost.num_workers > 1 else ""
        print(f"  --format {name:<5} {time:>12} {format_bytes(each.bytes):>10}{total}")
    if any(cost.requests.values()):
        asked = ", ".join(f"{count} {name}" for name, count in cost.requests.items())
        print(f"requests to object stores: {asked}; {format_bytes(cost.bytes)} read from there")
    place = to_path(options["output"]) if options["output"] else None
    if isinstance(place, Path):
        print(f"free in {place}: {format_bytes(shutil.disk_usage(find_existing(place)).free)}")
