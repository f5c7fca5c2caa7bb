"""`cortexia merge`: the ledgers of shards into one."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from cortexia_video.ledger import merge_ledgers
from cortexia_video.ledger_file import LEDGER_NAME


def merge_command(output: Annotated[Path, Parameter(name="DIR")], /) -> None:
    """Join what shards left in DIR to DIR/ledger.jsonl, as the next run without --shard also does.

    Shards of machines without a common disk: copy their output folders into one before.

    Parameters
    ----------
    output
        The --output of the shards.
    """
    count = merge_ledgers(output)
    print(f"{count} shard{'' if count == 1 else 's'} joined to {output / LEDGER_NAME}")
