"""CSV that a spreadsheet may open: text is never taken for a formula.

Excel and others run a cell that begins with = + - @, and take control characters for ends of cells. Such text
gets a single quote before it (OWASP, CSV Injection), numbers stay numbers; `read_text` takes it away again.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Sequence
from typing import TextIO

_RISKY = re.compile(r"'*[=+\-@＝＋－＠]|[^\x00-\x1f\x7f]*[\x00-\x1f\x7f]")


def write_rows(file: TextIO, rows: Iterable[Sequence[object]]) -> None:
    """Write rows of text and numbers as CSV."""
    writer = csv.writer(file, lineterminator="\n")
    writer.writerows([write_text(cell) if isinstance(cell, str) else cell for cell in row] for row in rows)


def write_text(text: str) -> str:
    """Return a text as it stands in a cell."""
    return f"'{text}" if _RISKY.match(text) else text


def read_text(cell: str) -> str:
    """Return the text that a cell stands for."""
    return cell[1:] if cell.startswith("'") and _RISKY.match(cell[1:]) else cell
