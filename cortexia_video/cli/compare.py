"""`cortexia compare`: models side by side on one's own images."""

from __future__ import annotations

from typing import Annotated, Any

from cyclopts import Parameter

from cortexia_video.cli.options import OPTIONS, RUN, take_options
from cortexia_video.evaluation.side_by_side import compare


@take_options(
    compare,
    (OPTIONS, ("output", "images", "recursive", "sparse", "sparse_from", "shown")),
    (RUN, ("device", "batch_size", "workers")),
)
def compare_command(
    models: Annotated[list[str], Parameter(name="MODEL")],
    /,
    **options: Any,
) -> None:
    """Show models side by side on images of your own.

    Writes OUTPUT/compare.html: how fast each MODEL is, how far each two agree, and the images on which they disagree
    most, aligned so that they can be looked at. The same command continues where it was stopped.

        cortexia compare compact depth-anything-v2-small --images photos -o page
        cortexia compare depth other-depth --output page

    Exit code: 0 written, 2 wrong usage, 130 interrupted.

    Args:
        models: Names of models, or output folders of runs on the same images.
    """
    print(compare(models, **options))
