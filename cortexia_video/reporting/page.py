"""The page: what was found, as HTML that needs nothing but itself."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from xml.etree.ElementTree import Element

from cortexia_video.errors import format_count
from cortexia_video.formats.registry import REPORT_MARK
from cortexia_video.html.blocks import quiet, write_document
from cortexia_video.html.markup import element
from cortexia_video.html.views import find_bar
from cortexia_video.html.wording import format_inputs, format_share
from cortexia_video.reporting.contact_sheet import Pair
from cortexia_video.reporting.depth_sample import DepthSample
from cortexia_video.reporting.ledger_summary import LedgerSummary
from cortexia_video.reporting.outliers import MANY_UNKNOWN, SATURATED, UNUSUAL, Outlier
from cortexia_video.reporting.page_images import show_pairs
from cortexia_video.reporting.page_lists import show_damaged, show_failures, show_outliers, tag_failures
from cortexia_video.reporting.page_numbers import show_distributions, show_meanings
from cortexia_video.reporting.page_runs import show_runs, show_speed


@dataclass(frozen=True, slots=True)
class Findings:
    """All that the page tells. folder: its name. showable: how many images could be shown."""

    folder: str
    summary: LedgerSummary
    sample: DepthSample
    outliers: Sequence[Outlier]
    focal_outliers: Sequence[Outlier]
    pairs: Sequence[Pair]
    showable: int


def write_page(found: Findings) -> str:
    """Return the page's HTML."""
    summary, sample = found.summary, found.sample
    known = len(summary.focal_lengths)
    now = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC")
    written = f"Written {now} by cortexia {version('cortexia-video')}."
    said = (
        f"Depth was measured on {sample.images:,} of {format_count(summary.done, 'output')}, chosen by a "
        "hash of their keys. Unusual is a map whose median or range is over "
        f"{UNUSUAL} robust standard deviations from the others' of its model, and 1.5 times theirs or more; "
        f"that is constant; of whose pixels over {format_share(MANY_UNKNOWN)} are unknown, or over "
        f"{format_share(SATURATED)} share its largest or smallest value."
    )
    titles, tags = tag_failures(summary)
    unusual = [*found.outliers, *found.focal_outliers]
    reasons: dict[str, str] = {}
    for each in unusual:
        reasons[each.key] = "; ".join([*filter(None, [reasons.get(each.key)]), *each.reasons])
    listed = {"unusual": bool(unusual), "failed": summary.failed > 0, "damaged": bool(sample.unreadable)}
    choices = {each: each for each, any_ in listed.items() if any_} | titles
    main = element(
        "main",
        _show_header(found),
        find_bar(choices) if summary.images else None,
        show_meanings(summary.meanings),
        show_failures(summary),
        show_damaged(sample),
        summary.alignments.show(),
        show_outliers(sample, found.outliers, found.focal_outliers, known),
        show_pairs(
            found.pairs,
            sample,
            showable=found.showable,
            tags=tags,
            why=reasons,
        ),
        show_distributions(sample, summary.focal_lengths),
        show_speed(summary.runs),
        show_runs(summary.runs),
        element("footer", element("p", f"{written} {said}")),
    )
    return write_document(main, f"Depth report: {found.folder}", REPORT_MARK)


def _show_header(found: Findings) -> Element:
    summary, sample = found.summary, found.sample
    tiles = {
        "inputs" if summary.clips else "images": summary.images,
        "done": summary.done,
        "failed": summary.failed,
        "requeued": summary.requeued,
        "not finished": summary.unfinished,
    }
    boxes = []
    for label, count in tiles.items():
        bad = count and label not in ("images", "inputs", "done")
        number = element("dd", f"{count:,}", class_="bad" if bad else None)
        boxes.append(element("div", element("dt", label), number))
    # for a person who reads no more
    said = "No image was done or failed here yet."
    if summary.images:
        failed = f", {summary.failed:,} failed" if summary.failed else ""
        have = "has" if summary.images == 1 else "have"
        one = "input" if summary.clips else "image"
        made = format_inputs(summary.done - summary.clips, summary.clips, summary.frames)
        of_them = f": {made}" if summary.clips else ""
        said = f"{summary.done:,} of {format_count(summary.images, one)} {have} depth{failed}{of_them}."
    if summary.images and sample.images:
        unusual = f"{len(found.outliers):,} {'looks' if len(found.outliers) == 1 else 'look'} unusual"
        broken = f" and {len(sample.unreadable):,} cannot be read" if sample.unreadable else ""
        focal = (
            f", and {format_count(len(found.focal_outliers), 'focal length')}" if found.focal_outliers else ""
        )
        said += f" Of {format_count(sample.images, 'output')} looked at, {unusual}{focal}{broken}."
    waiting = quiet("The next run does again what is requeued or not finished.")
    return element(
        "header",
        element("p", "Depth report", class_="kicker"),
        element("h1", found.folder),
        element("p", said, class_="lead"),
        element("dl", *boxes, class_="tiles"),
        waiting if summary.requeued or summary.unfinished else None,
    )
