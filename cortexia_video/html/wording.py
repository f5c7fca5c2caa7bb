"""Numbers and tables as people read them, with their units; and what kinds of depth mean, in sentences."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence

from cortexia_video.errors import format_count

MEANINGS = {
    "metric": "Metres along the optical axis of the camera.",
    "scale_invariant": "Depth up to an unknown factor: twice the number is twice as far in the same image. "
    "Numbers of two images cannot be compared.",
    "affine_invariant": "Depth up to an unknown factor and shift: a larger number is farther, but not in "
    "proportion. Numbers of two images cannot be compared.",
    "disparity": "Inverse depth up to an unknown factor and shift: a larger number is nearer. These are not "
    "metres, and 1 / disparity is no depth.",
}


def find_unit(kind: str) -> str:
    """Return the unit of a kind of depth; relative kinds have none."""
    return "m" if kind == "metric" else ""


def describe_unit(kind: str) -> str:
    """Return what stands behind a single value of a kind of depth."""
    return find_unit(kind) or f"(relative, larger is {'nearer' if kind == 'disparity' else 'farther'})"


def format_number(value: float) -> str:
    """Return three digits, or all before the point: 0.00123, 12.3, 1,230."""
    if not math.isfinite(value):
        return "unknown"
    size = abs(value)
    sign = "−" if value < 0 else ""
    if 999.5 <= size < 1e9:
        return f"{sign}{size:,.0f}"
    return sign + (f"{size:#.3g}" if 1e-4 <= size < 999.5 else f"{size:.3g}").rstrip(".")


def format_value(value: float, unit: str) -> str:
    """Return a number and its unit."""
    return f"{format_number(value)} {unit}".rstrip()


def format_inputs(images: int, clips: int, frames: int, one: str = "image") -> str:
    """Return `2 images`, `1 clip (300 frames)`, or both. one: what an image is called."""
    counted = [format_count(images, one)] if images or not clips else []
    counted += [f"{format_count(clips, 'clip')} ({format_count(frames, 'frame')})"] if clips else []
    return " and ".join(counted)


def format_bytes(count: float) -> str:
    """Return a size: 812 bytes, 1.2 kB, 45 MB, 1.3 GB."""
    for unit in ("bytes", "kB", "MB", "GB"):
        if count < 999.5:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} TB"


def format_share(share: float) -> str:
    """Return a share of the whole in per cent: 0.3 %, 12 %; never 0 or 100 of what is not."""
    if 0 < share < 0.001:
        return "under 0.1 %"
    if 0.995 <= share < 1:
        return "over 99 %"
    return f"{100 * share:.1f} %" if 0 < share < 0.01 else f"{100 * share:.0f} %"


def format_seconds(seconds: float) -> str:
    """Return a time by the clock: 9.1 s, 4 min 12 s, 3 h 05 min."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02} s" if minutes < 60 else f"{minutes // 60:,} h {minutes % 60:02} min"


def shorten(text: str, most: int = 120) -> str:
    """Leave out the middle of a text that is longer than `most`."""
    return text if len(text) <= most else f"{text[: most // 2]} … {text[len(text) - most // 2 + 3 :]}"


def shorten_digest(text: str) -> str:
    """Return the beginning of a long hexadecimal number, and other texts as they are."""
    return f"{text[:16]}…" if re.fullmatch(r"[0-9a-f]{32,}", text) else text


def lay_out(
    rows: Sequence[Sequence[str]], width: int | None = None, least: int | None = None
) -> Iterator[str]:
    """Yield the lines of a table, headings first; columns that a width has no room for are left out, and named.

    least: the column that is left out first; the others from the last on.
    """
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    shown = [*range(len(widths))]
    while width and len(shown) > 2 and sum(widths[each] + 2 for each in shown) - 2 > width:
        shown.remove(least if least in shown else shown[-1])
    for row in rows:
        yield "  ".join(row[each].ljust(widths[each]) for each in shown).rstrip()
    if left := [rows[0][each] for each in range(len(widths)) if each not in shown]:
        yield f"not shown in {width} columns: {', '.join(left)}"
