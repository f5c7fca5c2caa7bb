"""`cortexia report`: a page about a folder of depth."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from cortexia_video.reporting.job import SAMPLE, report


def report_command(
    folder: Annotated[str, Parameter(name="DIR")],
    /,
    *,
    output: Annotated[str | None, Parameter(alias="-o")] = None,
    sample: int = SAMPLE,
    workers: int | None = None,
) -> None:
    """Write one HTML page about DIR, to open from the disk or to send: nothing else is needed to read it.

    Counts, failures with reasons, what the numbers mean, what is unusual, images beside their depth,
    distributions, speed.

    Parameters
    ----------
    folder
        The --output of a run.
    output
        The file, by default DIR/report.html; an earlier report is replaced.
    sample
        Depth maps that are measured, always the same ones.
    workers
        Threads that read them; one a core by default.
    """
    made = report(folder, output=output, sample=sample, workers=workers)
    print(made)
