"""`cortexia status`: how far is a job?"""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from cortexia_video.cli import DONE, SOME_FAILED
from cortexia_video.jobs.status import status


def status_command(
    output: Annotated[str, Parameter(name="DIR")],
    inputs: Annotated[list[str] | None, Parameter(name="INPUT", negative=(), json_list=False)] = None,
    /,
    *,
    recursive: Annotated[bool, Parameter(negative=())] = False,
) -> int:
    """Return how far the runs that write to DIR are: done, failed, rate, slowest stage; with INPUT time left.

    Reads the ledger alone, from any machine; runs say how far they are every half minute. Exit code: 0, 1 if
    some inputs failed, 2 no ledger there.

    Parameters
    ----------
    output
        The --output of the runs: a folder, or an address such as s3://bucket/depth.
    inputs
        What the runs were given: it is counted, to say what is left.
    recursive
        As the runs were told.
    """
    found = status(output, inputs=inputs or (), recursive=recursive)
    print(found)
    return SOME_FAILED if found.failed else DONE
