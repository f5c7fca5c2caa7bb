"""`report`: one HTML page about an output folder."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from cortexia_video.errors import InputError, OutputExistsError, format_count, printable, require_at_least_1
from cortexia_video.html.notebook import write_text
from cortexia_video.ledger.artifacts import expand_clip
from cortexia_video.ledger.state import require_ledger
from cortexia_video.reporting.contact_sheet import PAIRS, make_contact_sheet
from cortexia_video.reporting.depth_sample import DepthSample, measure_sample
from cortexia_video.reporting.ledger_summary import LedgerSummary, summarise_ledger
from cortexia_video.reporting.outliers import Outlier, find_focal_outliers, find_outliers
from cortexia_video.reporting.page import Findings, write_page
from cortexia_video.reporting.page_images import MOST_PAIRS
from cortexia_video.runtime.resources import choose_workers
from cortexia_video.sinks.sink import open_sink
from cortexia_video.storage.atomic_file import write_atomic
from cortexia_video.storage.paths import AnyPath, to_path

REPORT_NAME = "report.html"
_FRAMES = 4  # of a clip that are looked at
SAMPLE = 500  # maps that are measured


@dataclass(frozen=True, slots=True)
class FolderReport:
    """What the page about a folder says.

    Attributes:
        path: Of the page.
        bytes: Of the page.
        summary: Of the ledger.
        sample: What some of the depth maps look like.
        outliers: Of these, those unlike the others.
        focal_outliers: Of all images.
    """

    path: AnyPath
    bytes: int
    summary: LedgerSummary
    sample: DepthSample
    outliers: list[Outlier]
    focal_outliers: list[Outlier]

    def __str__(self) -> str:
        counts = f"{self.summary.done} done, {self.summary.failed} failed"
        broken = f", {len(self.sample.unreadable)} damaged" if self.sample.unreadable else ""
        some = len(self.focal_outliers)
        focal = f", {format_count(some, 'unusual focal length')}" if some else ""
        looked = f"of {self.sample.images} looked at {len(self.outliers)} unusual{broken}"
        looked = looked if self.summary.done else "no depth to look at yet"
        return f"{self.path}: {counts}; {looked}{focal}; {self.bytes / 1e6:.1f} MB"

    def __repr__(self) -> str:
        return f"FolderReport({printable(str(self))})"

    def _repr_html_(self) -> str:
        return write_text(str(self))


def report(
    folder: str | os.PathLike[str],
    *,
    output: str | os.PathLike[str] | None = None,
    sample: int = SAMPLE,
    shown: int = PAIRS,
    images: str | os.PathLike[str] | None = None,
    workers: int | None = None,
) -> FolderReport:
    """Write a page about a folder that `estimate` wrote: one HTML file, readable without a network.

    The folder is only read: a run may be going on, and damaged outputs are on the page.

    Args:
        folder: The output folder.
        output: The file to write, whose name ends in .html; report.html in the folder by default. An earlier
            report is replaced.
        sample: Depth maps that are measured at most, chosen by a hash of their keys: the same each time.
        shown: Images beside their depth on the page at most, up to 1000; more than 24 are all measured, too. Beyond
            40 they get smaller, so that the page stays small.
        images: The folder that the images are in now, by their keys, if they were moved.
        workers: Threads; one per core by default.

    Returns:
        What the page says.

    Raises:
        InputError: There is no ledger.
        OutputExistsError: `output` is a file that is no report of ours.
        OutputError: No file can be written there.

    Example:
        >>> cx.report("depth").path  # doctest: +SKIP
    """
    root, workers = to_path(folder), choose_workers(workers)
    path = root / REPORT_NAME if output is None else to_path(output)
    require_at_least_1(sample=sample)
    if not 1 <= shown <= MOST_PAIRS:
        raise InputError(f"`shown` must be 1 to {MOST_PAIRS}, got {shown}")
    require_ledger(root)
    if path.suffix != ".html":  # before the work
        raise InputError(f"`output` must be a file name that ends in .html, got {path}")
    sink = open_sink(path.parent)
    if sink.holds(path.name) and not sink.holds_own(path.name):
        raise OutputExistsError(f"{path} exists and is no report: choose another `output`")
    summary = summarise_ledger(root, sample=max(sample, shown if shown > PAIRS else 0))
    lines = [each for line in summary.sample for each in expand_clip(line, _FRAMES)]
    measured = measure_sample(root, lines, summary.meaning, workers=workers)
    outliers, focal_outliers = find_outliers(measured.measured), find_focal_outliers(summary.focal_lengths)
    first = [*outliers, *focal_outliers]
    moved_to = to_path(images) if images else None
    failed = summary.failed_sample
    pairs = make_contact_sheet(
        root, failed, first, measured, page=path, shown=shown, images=moved_to, workers=workers
    )
    readable = max(summary.done, measured.images) - len(measured.unreadable)
    showable = max(len(pairs), readable + sum(pair.why == "failed" for pair in pairs))
    name = (root.resolve() if isinstance(root, Path) else root).name or str(root)
    page = write_page(Findings(name, summary, measured, outliers, focal_outliers, pairs, showable)).encode()
    with write_atomic(path) as file:
        file.write_bytes(page)
    return FolderReport(path, len(page), summary, measured, outliers, focal_outliers)
