"""The sections that list images: what failed, what is damaged, what is unusual."""

from __future__ import annotations

from collections.abc import Sequence
from xml.etree.ElementTree import Element

from cortexia_video.errors import format_count
from cortexia_video.html.blocks import code, fold, quiet, section, tag
from cortexia_video.html.markup import element
from cortexia_video.html.wording import shorten
from cortexia_video.reporting.depth_sample import DepthSample
from cortexia_video.reporting.ledger_summary import LedgerSummary
from cortexia_video.reporting.outliers import Outlier

_REASONS = 20  # of failures
_KEYS_OPEN, _OUTLIERS_OPEN = 6, 15  # shown without a click
_DAMAGED, _OUTLIERS = 40, 60  # shown at all


def tag_failures(summary: LedgerSummary) -> tuple[dict[str, str], dict[str, str]]:
    """Return words to choose the failures on the page by, with their titles; and those of each key."""
    groups = summary.failures.largest()[:_REASONS]
    titles = {
        f"reason-{number}": f"failed: {shorten(group.reason, 60)} ({group.count:,})"
        for number, group in enumerate(groups)
    }
    return titles, {key: f"reason-{number}" for number, group in enumerate(groups) for key, _ in group.keys}


def show_failures(summary: LedgerSummary) -> Element | None:
    """List what failed, by reason."""
    if not summary.failed:
        return None
    groups = summary.failures.largest()
    more = sum(group.count for group in groups[_REASONS:])
    rest = (
        f"And {format_count(more, 'failure')} for other reasons: ledger.jsonl has them all." if more else ""
    )
    shown = []
    for number, group in enumerate(groups[:_REASONS]):
        varied = any(reason != group.reason for _, reason in group.keys)
        items = [
            element(
                "li", code(key), element("span", shorten(reason, 160), class_="quiet") if varied else None
            )
            for key, reason in group.keys
        ]
        count = element("span", f"{group.count:,}", class_="count")
        heading = element("h3", count, " ", shorten(group.reason, 300), " ", tag(group.stage))
        keys = fold(items, _KEYS_OPEN, group.count - len(items))
        tags = f"failed reason-{number}"
        shown.append(element("div", heading, *keys, class_="group", data_tags=tags))
    return section("Failures", *shown, quiet(rest) if rest else None)


def show_damaged(sample: DepthSample) -> Element | None:
    """List the damaged outputs that were met."""
    if not sample.unreadable:
        return None
    items = [
        element("li", element("span", shorten(each.reason, 240))) for each in sample.unreadable[:_DAMAGED]
    ]
    said = element(
        "p",
        f"{len(sample.unreadable):,} of {format_count(sample.images, 'output')} looked at cannot be read. ",
        element("code", "cortexia verify --requeue"),
        " finds all such; the next run then does them again.",
    )
    more = len(sample.unreadable) - len(items)
    listed = element("div", *fold(items, _KEYS_OPEN, more), data_tags="damaged")
    return section("Damaged outputs", said, listed)


def show_outliers(
    sample: DepthSample, outliers: Sequence[Outlier], focal_outliers: Sequence[Outlier], known: int
) -> Element | None:
    """List what is unusual. known: how many focal lengths are."""
    lists = [
        _list(f"Depth: {len(outliers):,} of {format_count(len(sample.measured), 'map')} looked at", outliers),
        _list(f"Focal length: {len(focal_outliers):,} of {known:,}", focal_outliers),
    ]
    return section("Unusual images", *lists) if outliers or focal_outliers else None


def _list(heading: str, outliers: Sequence[Outlier]) -> Element | None:
    if not outliers:
        return None
    items = [
        element("li", code(each.key), element("span", "; ".join(each.reasons)))
        for each in outliers[:_OUTLIERS]
    ]
    more = len(outliers) - len(items)
    listed = fold(items, _OUTLIERS_OPEN, more)
    return element("div", element("h3", heading), *listed, class_="group", data_tags="unusual")
