"""`cortexia verify`: are the outputs still what the ledger says?"""

from __future__ import annotations

from typing import Annotated, Any

from cyclopts import Parameter

from cortexia_video.cli import DONE, SOME_FAILED
from cortexia_video.cli.options import OPTIONS, RUN, take_options
from cortexia_video.errors import format_count, printable
from cortexia_video.jobs.verify import verify


@take_options(verify, (OPTIONS, ("requeue", "forget_failed")), (RUN, ("workers",)))
def verify_command(
    output: Annotated[str, Parameter(name="DIR")],
    /,
    **options: Any,
) -> int:
    """Check outputs against the ledger.

    Every output of DIR must exist, with its size, digest and shape, and have no infinite value. Prints a line
    for each that is wrong.

        cortexia verify depth
        cortexia verify depth --requeue
        cortexia verify depth --forget-failed

    Exit code: 0 all right, 1 not all right, 2 no ledger.

    Args:
        output: The --output of a run.
    """
    found = verify(output, **options)
    for wrong in found.wrong:
        print(wrong)
    for key in found.unfinished:
        print(f"not finished: {printable(key)}: the next run does it")
    requeued = "; requeued: the next run does them" if options["requeue"] and found.wrong else ""
    forgotten = f"; {format_count(found.forgotten, 'failure')} forgotten" if options["forget_failed"] else ""
    print(f"{found}{requeued}{forgotten}")
    return SOME_FAILED if found.wrong or found.unfinished else DONE
