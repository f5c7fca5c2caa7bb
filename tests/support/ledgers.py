"""Ledgers for tests: opened as the jobs do, with the sink of their folder."""

from __future__ import annotations

from typing import Any

from cortexia_video.ledger.ledger import Ledger
from cortexia_video.sinks.sink import open_sink
from cortexia_video.storage.paths import AnyPath


def open_ledger(root: AnyPath, *arguments: Any, **options: Any) -> Ledger:
    """Return the ledger of a folder, to be entered; arguments as `Ledger` takes them after the folder."""
    return Ledger(root, *arguments, sink=open_sink(root), **options)
