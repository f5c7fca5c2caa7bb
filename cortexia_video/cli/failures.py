"""Failures on stderr: three examples of each reason, and how many more there are; the ledger has every one."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from dataclasses import dataclass, field

from cortexia_video.cli.option_words import to_options
from cortexia_video.errors import Failure
from cortexia_video.reporting.failures import find_shape

_EXAMPLES = 3
_REASONS = 20
_OTHERS = ("", "other reasons")


@dataclass(slots=True)
class _Group:
    count: int = 0
    examples: list[Failure] = field(default_factory=list)


class FailureGroups:
    """Groups failures whose reasons differ in names and numbers at most; memory does not grow with them."""

    def __init__(self, failures: Iterable[Failure] = ()) -> None:
        self._groups: dict[tuple[str, str], _Group] = {}
        for each in failures:
            self.add(each)

    def add(self, failure: Failure) -> None:
        """Take in a failure."""
        kind: tuple[str, str] = (failure.stage, find_shape(failure.reason, failure.key, failure.key))
        if kind not in self._groups and len(self._groups) >= _REASONS:
            kind = _OTHERS
        group = self._groups.setdefault(kind, _Group())
        group.count += 1
        if len(group.examples) < _EXAMPLES:
            group.examples.append(failure)

    def print(self) -> None:
        """Print the reasons, the most frequent first."""
        for kind, group in sorted(self._groups.items(), key=lambda item: (-item[1].count, item[0])):
            for each in sorted(group.examples, key=lambda failure: failure.key):
                print(to_options(str(each)), file=sys.stderr)
            if more := group.count - len(group.examples):
                why = "for other reasons" if kind == _OTHERS else "for the same reason"
                print(f"  and {more:,} more {why}", file=sys.stderr)
