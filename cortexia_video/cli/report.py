"""`cortexia report`: a page about a folder of depth."""

from __future__ import annotations

from typing import Annotated, Any

from cyclopts import Parameter

from cortexia_video.cli.options import OPTIONS, RUN, take_options
from cortexia_video.reporting.job import report


@take_options(report, (OPTIONS, ("output", "images", "shown", "sample")), (RUN, ("workers",)))
def report_command(
    folder: Annotated[str, Parameter(name="DIR")],
    /,
    **options: Any,
) -> None:
    """Write one HTML page about an output folder.

    The page needs nothing else to be read, and can be sent: counts, failures with reasons, what the numbers
    mean, what is unusual, images beside their depth, distributions, speed.

        cortexia report depth
        cortexia report depth --shown 200
        cortexia report s3://bucket/depth --output depth.html

    Exit code: 0 written, whatever the page says of the run; 2 no ledger, or wrong usage.

    Args:
        folder: The --output of a run.
    """
    print(report(folder, **options))
