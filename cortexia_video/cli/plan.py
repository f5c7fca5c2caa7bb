"""`cortexia plan`: what a run would take, before it is begun."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from cortexia_video.batch_limits import BatchSize
from cortexia_video.cli.estimate import ModelOptions, Switch
from cortexia_video.depth_estimation import Size
from cortexia_video.pipeline import Decoding
from cortexia_video.planning import Plan, find_existing, plan

_AS_THE_MODEL_SAYS = ModelOptions()


def plan_command(
    inputs: Annotated[list[Path], Parameter(name="INPUT", negative=(), json_list=False)],
    /,
    *,
    output: Annotated[Path | None, Parameter(alias="-o")] = None,
    model: str = "compact",
    recursive: Switch = False,
    size: Size = "full",
    decode: Decoding = "exact",
    batch_size: BatchSize = 4,
    device: str = "auto",
    options: ModelOptions = _AS_THE_MODEL_SAYS,
) -> None:
    """Count the pictures, estimate a few, and say what all would take in hours and bytes. Writes nothing.

    Parameters
    ----------
    inputs
        Picture files, folders, or lists, as `cortexia estimate` takes them.
    output
        Where the outputs would go: says whether there is room.
    model
        As for `cortexia estimate`; so are those below.
    recursive
        Descend into the folders inside.
    size
        full or native.
    decode
        exact or fast.
    batch_size
        Pictures in one call of the model, or auto.
    device
        auto, cpu, cuda, cuda:1 or mps.
    """
    cost = plan(
        inputs,
        output=output,
        model=model,
        recursive=recursive,
        size=size,
        decode=decode,
        batch_size=batch_size,
        device=device,
        **options.given(),
    )
    _show(cost)
    if output:
        print(f"free in {output}: {_format_bytes(shutil.disk_usage(find_existing(output)).free)}")


def _show(cost: Plan) -> None:
    lost = f"; {cost.lost} inputs cannot be opened" if cost.lost else ""
    print(f"{cost.found} pictures, {_format_bytes(cost.bytes)}{lost}")
    smallest, largest = (f"{width} x {height}" for width, height in (cost.smallest, cost.largest))
    print(
        f"of {cost.looked_at} looked at: {smallest} to {largest} pixels, {cost.megapixels:.3g} megapixels on "
        f"average, {cost.unreadable} cannot be read"
    )
    print(f"from {cost.timed} timed:")
    for name, each in cost.formats.items():
        print(f"  --format {name:<5} {_format_hours(each.hours):>12} {_format_bytes(each.bytes):>10}")


def _format_hours(hours: float) -> str:
    if hours < 1:
        return f"{hours * 60:.2g} minutes" if hours * 60 >= 1 else f"{hours * 3600:.2g} seconds"
    return f"{hours:.3g} hours"


def _format_bytes(count: float) -> str:
    for unit in ("bytes", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} TB"
