"""`cortexia rescale`: another focal length for metres that are there."""

from __future__ import annotations

import sys
from typing import Annotated

from cyclopts import Parameter

from cortexia_video.cli import DONE, SOME_FAILED
from cortexia_video.cli.quiet import quiet_libraries
from cortexia_video.rescaling import rescale


def rescale_command(
    output: Annotated[str, Parameter(name="DIR")],
    /,
    *,
    f_px: float | None = None,
    intrinsics: str | None = None,
    workers: int | None = None,
) -> int:
    """Multiply the metres in DIR by the given focal length over the one they were made with. No network runs.

    What is not metres of a model that uses the focal length, or a view, is counted and left as it is. Exit
    code: 0 all right, 1 some failed, 2 wrong usage.

    Parameters
    ----------
    output
        The --output of a run.
    f_px
        Focal length of every picture, in its pixels.
    intrinsics
        CSV or JSON file of focal lengths by key, as for `cortexia estimate`.
    workers
        Threads; one a core by default.
    """
    with quiet_libraries():
        report = rescale(output, f_px=f_px, intrinsics=intrinsics, workers=workers)
    for failure in report.failures:
        print(failure, file=sys.stderr)
    if report.failed > len(report.failures):
        print(f"and {report.failed - len(report.failures)} more", file=sys.stderr)
    print(report)
    return SOME_FAILED if report.failed else DONE
