"""`cortexia merge`: the ledgers of partitions into one."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from cortexia_video.ledger.ledger import merge_ledgers
from cortexia_video.ledger.local_log import LEDGER_NAME
from cortexia_video.storage.paths import is_remote, to_path


def merge_command(output: Annotated[str, Parameter(name="DIR")], /) -> None:
    """Join the ledgers of partitions into DIR/ledger.jsonl, as the next run of all also does.

    Partitions of machines without a common disk: copy their output folders into one before.

    Parameters
    ----------
    output
        The --output of the partitions.
    """
    place = to_path(output)
    count = merge_ledgers(place)
    what = "object" if is_remote(place) else "partition"
    print(f"{count} {what}{'' if count == 1 else 's'} joined to {place / LEDGER_NAME}")
