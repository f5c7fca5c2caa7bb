"""`Partition`: one of several equal parts of any input, the same on every machine."""

from __future__ import annotations

import hashlib
import os
import re
from dataclasses import dataclass

from cortexia_video.errors import InputError


@dataclass(frozen=True, slots=True, order=True)
class Partition:
    """Part `index` of `count`, from 1. Every key is in exactly one part, whatever other keys there are."""

    index: int
    count: int

    def holds(self, key: str) -> bool:
        """Return whether a key is in this part: its hash says so, and nothing else."""
        if self.count == 1:
            return True
        digest = hashlib.sha256(os.fsencode(key)).digest()
        return int.from_bytes(digest[:8], "big") % self.count == self.index - 1

    def __str__(self) -> str:
        return f"{self.index}/{self.count}"


def parse_partition(text: str) -> Partition:
    """Read `3/16` as the third of sixteen parts; raise `InputError` for what is none."""
    match = re.fullmatch(r"(\d{1,9})/(\d{1,9})", text, re.ASCII)
    part = Partition(int(match[1]), int(match[2])) if match else Partition(0, 0)
    if not 1 <= part.index <= part.count:
        raise InputError(f"`partition` must be like 3/16, from 1/16 to 16/16, got {text!r}")
    return part
