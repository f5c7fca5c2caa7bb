"""`cortexia verify`: are the outputs still what the ledger says?"""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from cortexia_video.cli import DONE, SOME_FAILED
from cortexia_video.cli.options import take_options
from cortexia_video.errors import printable
from cortexia_video.jobs.verify import verify


@take_options()
def verify_command(
    output: Annotated[str, Parameter(name="DIR")],
    /,
    *,
    requeue: bool = False,
    workers: int | None = None,
) -> int:
    """Check outputs against the ledger.

    Every output of DIR: there, size, digest, shape, nowhere infinite. Prints a line for each that is wrong.

        cortexia verify depth
        cortexia verify depth --requeue

    Exit code: 0 all right, 1 not all right, 2 no ledger there.

    Args:
        output: The --output of a run.
        requeue: Let the next `cortexia estimate` do again what is wrong; without it nothing is written.
        workers: Threads that read and check; one per core by default.
    """
    found = verify(output, requeue=requeue, workers=workers)
    for wrong in found.wrong:
        print(wrong)
    for key in found.unfinished:
        print(f"not finished: {printable(key)}: the next run does it")
    print(f"{found}{'; requeued: the next run does them' if requeue and found.wrong else ''}")
    return SOME_FAILED if found.wrong or found.unfinished else DONE
