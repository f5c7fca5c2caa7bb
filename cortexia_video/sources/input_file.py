"""`InputFile`: one input of a job, as it was found."""

from __future__ import annotations

from dataclasses import dataclass, field

from cortexia_video.errors import Failure
from cortexia_video.ledger.entries import Source


@dataclass(frozen=True, slots=True)
class InputFile:
    """A file to work on. key: unique, relative; it names the output. source: where it is, as it was found.

    address: where it is read from, if that holds what must not be written down: a signed query.
    """

    key: str
    source: Source
    address: str | None = field(default=None, kw_only=True)

    @property
    def place(self) -> str:
        """Return the path or URL to read."""
        return self.address or self.source.path


Found = InputFile | Failure
