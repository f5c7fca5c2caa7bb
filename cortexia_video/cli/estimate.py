"""`cortexia estimate`: the job, from the command line."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Annotated, Any, Literal

from cyclopts import Parameter

from cortexia_video.cli.job import run_job
from cortexia_video.cli.options import (
    CAMERA,
    CLUSTER,
    MODEL,
    MODEL_OPTIONS,
    OPTIONS,
    OUTPUT,
    RUN,
    VIDEO,
    Output,
    take_options,
)
from cortexia_video.errors import InputError
from cortexia_video.jobs.estimate import estimate
from cortexia_video.jobs.ray_cluster import RayExecutor
from cortexia_video.storage.paths import to_path

_OF_CLUSTERS = ("address", "num_workers", "gpus_per_worker")


@take_options(RayExecutor, (CLUSTER, _OF_CLUSTERS))
@take_options(
    estimate,
    (OPTIONS, ("model", "recursive", "format", "preview", "overwrite")),
    (OUTPUT, ("size", "also", "sky", "projection", "changed", "pack", "pack_size", "pack_images")),
    (VIDEO, ("steady", "video_size", "video_format", "every", "frames", "sequence", "fps")),
    (MODEL, MODEL_OPTIONS),
    (CAMERA, ("f_px", "intrinsics", "sparse", "sparse_from", "align_to", "drop_relative")),
    (RUN, ("batch_size", "device", "workers", "decode", "max_megapixels", "partition", "profile")),
)
def estimate_command(
    inputs: Annotated[list[str], Parameter(name="INPUT")],
    /,
    *,
    output: Output,
    executor: Annotated[Literal["local", "ray"], Parameter(group=CLUSTER)] = "local",
    **options: Any,
) -> int:
    """Estimate depth for images and videos.

    Each image of INPUT gets OUTPUT/KEY.npy, or another format, and each video OUTPUT/KEY.mkv, 16 bits per pixel.
    Only what is missing or changed is done. OUTPUT/ledger.jsonl has the result of every input.

        cortexia estimate photos --output depth --recursive
        cortexia estimate clip.mp4 --output depth
        cortexia estimate frames --sequence --fps 30 --output depth
        cortexia estimate a.jpg b.jpg --output depth --format png16 --preview
        cortexia estimate list.txt --output s3://bucket/depth --backend openvino
        cortexia estimate photos --output depth --partition 3/16

    Exit code: 0 all done or skipped, 1 some failed, 2 wrong usage, 130 interrupted.

    Args:
        executor: Where the run is done. local: on this machine. ray: on many (docs/scale.md).
    """
    cluster = {name: options.pop(name) for name in _OF_CLUSTERS}
    given = next((name for name, value in cluster.items() if value is not None), None)
    if executor == "local" and given:
        raise InputError(f"`{given}` is for many machines: give `executor='ray'`, too")
    with nullcontext() if executor == "local" else RayExecutor(**cluster) as where:
        return run_job(
            lambda on_outcome, stop: estimate(
                inputs, output, executor=where, on_outcome=on_outcome, stop=stop, **options
            ),
            to_path(output),
        )
