"""`cortexia merge`: the ledgers of partitions into one."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from cortexia_video.cli.options import take_options
from cortexia_video.errors import format_count
from cortexia_video.ledger.ledger import merge_ledgers
from cortexia_video.ledger.state import LEDGER_NAME
from cortexia_video.storage.paths import is_remote, to_path


@take_options()
def merge_command(output: Annotated[str, Parameter(name="DIR")], /) -> None:
    """Join the ledgers of partitions.

    Joins the ledgers that partitions left in DIR into DIR/ledger.jsonl; the next run without --partition does
    the same. Partitions of machines without a common disk: copy their output folders into one first.

        cortexia estimate photos --output depth --partition 1/2
        cortexia estimate photos --output depth --partition 2/2
        cortexia merge depth

    Exit code: 0 joined, 2 wrong usage.

    Args:
        output: The --output of the partitions.
    """
    place = to_path(output)
    count = merge_ledgers(place)
    what = "object" if is_remote(place) else "partition"
    if count:
        print(f"{format_count(count, what)} joined to {place / LEDGER_NAME}")
    else:
        print(f"{place / LEDGER_NAME}: nothing to join")
