"""`cortexia report`: a page about a folder of depth."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from cortexia_video.cli.options import take_options
from cortexia_video.reporting.job import SAMPLE, report


@take_options()
def report_command(
    folder: Annotated[str, Parameter(name="DIR")],
    /,
    *,
    output: Annotated[str | None, Parameter(alias="-o")] = None,
    sample: int = SAMPLE,
    workers: int | None = None,
) -> None:
    """Write one HTML page about an output folder.

    The page needs nothing else to be read, and can be sent: counts, failures with reasons, what the numbers
    mean, what is unusual, images beside their depth, distributions, speed.

        cortexia report depth
        cortexia report s3://bucket/depth --output depth.html

    Exit code: 0 written, 2 wrong usage.

    Args:
        folder: The --output of a run.
        output: The file, by default DIR/report.html; an earlier report is replaced.
        sample: Depth maps that are measured, always the same ones.
        workers: Threads that read them; one per core by default.
    """
    made = report(folder, output=output, sample=sample, workers=workers)
    print(made)
