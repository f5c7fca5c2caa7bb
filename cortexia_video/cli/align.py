"""`cortexia align`: metres for depth files."""

from __future__ import annotations

from typing import Annotated, Any

from cyclopts import Group, Parameter

from cortexia_video.cli.job import run_job
from cortexia_video.cli.options import MEANING, OPTIONS, RUN, Output, take_options
from cortexia_video.formats.metadata import describe_files
from cortexia_video.jobs.align import align_folder
from cortexia_video.jobs.aligner import AlignTo
from cortexia_video.storage.paths import to_path

KNOWN = Group("Known distances", sort_key=0)
OF_DISTANCES = (
    "points",
    "known",
    "near_m",
    "far_m",
    "colmap",
    "transforms",
    "sparse",
    "sparse_from",
    "camera_height",
    "size",
    "unknown_beyond",
)
_OF_VALUES = ("kind", "scale", "unknown", "f_px", "along", "channel", "array", "page")


@take_options(
    align_folder,
    (OPTIONS, ("share", "format", "drop_relative", "write", "allow_loss", "overwrite")),
    (RUN, ("workers", "max_megapixels")),
)
@take_options(describe_files, (MEANING, _OF_VALUES))
@take_options(align_folder, (MEANING, ("convention",)))
@take_options(AlignTo, (KNOWN, ("to", *OF_DISTANCES)))
def align_command(
    inputs: Annotated[list[str], Parameter(name="DEPTH")],
    /,
    *,
    output: Output,
    **options: Any,
) -> int:
    """Turn relative depth into metres by known distances.

    Each depth file of DEPTH gets a metric one in OUTPUT: a robust fit of scale, or scale and shift, as its kind
    needs. OUTPUT/ledger.jsonl says of each the fit, points used and rejected, and how far off they are;
    `cortexia report OUTPUT` shows where. KEY.relative keeps the map before it.

        cortexia align depth --known 812,440=2.0 --known 300,200=5.5 --output metric
        cortexia align depth --points tape.csv --output metric
        cortexia align depth --colmap scene/sparse/0 --output metric
        cortexia align depth --sparse lidar --sparse-from kitti --output metric

    Exit code: 0 all done or skipped, 1 some failed, 2 wrong usage, 130 interrupted.

    Args:
        inputs: Depth files, folders with all that is in them, or lists: list.txt or @list, one path per line.
        output: Folder for the results; not that of the inputs.
    """
    about = describe_files(**{name: options.pop(name) for name in _OF_VALUES})
    to = AlignTo(**{name: options.pop(name) for name in ("to", *OF_DISTANCES)})
    return run_job(
        lambda on_outcome, stop: align_folder(
            inputs, output, to, about=about, on_outcome=on_outcome, stop=stop, **options
        ),
        to_path(output),
    )
