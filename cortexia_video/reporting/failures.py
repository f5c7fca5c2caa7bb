"""`FailureGroups`: the failures of a folder, by what went wrong."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import Any

from cortexia_video.errors import printable

KEYS_KEPT = 40  # of each group
_GROUPS_KEPT = 200
_NUMBER = re.compile(r"\d+(?:[.,x]\d+)*")
_OTHER = "other reasons"


@dataclass(slots=True)
class FailureGroup:
    """Failures of one stage whose reasons differ in names and numbers at most.

    reason: the one that all have, or what they have in common, with … for the rest. count: how many there
    are. keys: the first of them with their own reasons.
    """

    stage: str
    reason: str
    count: int = 0
    keys: list[tuple[str, str]] = field(default_factory=list)


class FailureGroups:
    """Groups failures as they come; memory does not grow with them, but for 200 reasons of 40 keys."""

    def __init__(self) -> None:
        self._groups: dict[tuple[str, str], FailureGroup] = {}

    def add(self, line: Mapping[str, Any]) -> None:
        """Count a line of a ledger that says `failed`."""
        key, stage, reason = line["key"], str(line.get("stage")), str(line.get("reason"))
        shape = find_shape(reason, key, str(line.get("path") or key))
        if (stage, shape) not in self._groups and len(self._groups) >= _GROUPS_KEPT:
            stage, shape = "", _OTHER
        group = self._groups.setdefault((stage, shape), FailureGroup(stage, reason))
        if group.reason != reason:
            group.reason = shape
        group.count += 1
        if len(group.keys) < KEYS_KEPT:
            group.keys.append((key, reason))

    def largest(self) -> list[FailureGroup]:
        """Return the groups, the largest first."""
        return sorted(self._groups.values(), key=lambda group: (-group.count, group.stage, group.reason))


def find_shape(reason: str, key: str, path: str) -> str:
    """Return a reason without what is of its own image alone: `too large: … megapixels, the limit is …`."""
    names = {printable(each) for each in (path, key, PurePath(key).name)}
    for name in sorted(names - {""}, key=len, reverse=True):
        reason = reason.replace(name, "…")
    return _NUMBER.sub("…", reason)
