"""`cortexia status`: how far is a job?"""

from __future__ import annotations

from typing import Annotated, Any

from cyclopts import Parameter

from cortexia_video.cli import DONE, SOME_FAILED
from cortexia_video.cli.options import OPTIONS, take_options
from cortexia_video.jobs.status import status


@take_options(status, (OPTIONS, ("recursive",)))
def status_command(
    output: Annotated[str, Parameter(name="DIR")],
    inputs: Annotated[list[str] | None, Parameter(name="INPUT")] = None,
    /,
    **options: Any,
) -> int:
    """Show the progress of a run.

    How far the runs that write to DIR are: done, failed, rate, slowest stage; with INPUT also the time left.
    Only the ledger is read, from any machine; runs write their progress there every half minute.

        cortexia status depth
        cortexia status s3://bucket/depth s3://bucket/photos --recursive

    Exit code: 0 none failed, 1 some inputs failed, 2 no ledger.

    Args:
        output: The --output of the runs: a folder, or a URL such as s3://bucket/depth.
        inputs: What the runs were given; each is looked up, to say how many are left.
    """
    found = status(output, inputs=inputs or (), **options)
    print(found)
    return SOME_FAILED if found.failed else DONE
