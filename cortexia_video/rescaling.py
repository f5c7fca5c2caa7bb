"""`rescale`: another focal length for metric depth that is there, without a network."""

from __future__ import annotations

import math
import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Any, NamedTuple

import numpy as np

from cortexia_video.byte_budget import ByteBudget
from cortexia_video.errors import Failure, InputError, OutputLostError
from cortexia_video.formats.table import Format
from cortexia_video.intrinsics import Intrinsics, load_intrinsics
from cortexia_video.ledger import CLAIMED, append_to_ledger, read_last_done, require_ledger
from cortexia_video.ledger_file import LedgerFile
from cortexia_video.ledger_segments import LedgerSegments
from cortexia_video.look_ahead import run_ahead
from cortexia_video.places.place import as_place
from cortexia_video.places.remote_path import RemotePath
from cortexia_video.run_files import find_depth, read_run_depth
from cortexia_video.sinks.sink import Sink
from cortexia_video.sinks.table import open_sink
from cortexia_video.speed import choose_workers

MEMORY = 1 << 30  # bytes of files and arrays in work at once, over all workers; a larger one is done alone
_BYTES = 16  # a pixel: its value as it was read and in float64, and another file
_FAILURES_KEPT = 1000  # in the report
_SAME = 1e-9  # relative: what a focal length loses on its way through text

NOT_METRIC = "not metric"
NO_FOCAL_LENGTH = "no focal length recorded"
NOT_USED = "the model used no focal length"
NO_METRES = "there is only a view of it, without metres"
PACKED = "it is packed in a shard, which is not written again"
NONE_GIVEN = "no focal length given for it"
SAME = "has this focal length"

_Line = dict[str, Any]


class _Work(NamedTuple):
    """A picture whose output `name` gets the focal length `f_px`."""

    line: _Line
    name: str
    form: Format
    f_px: float


@dataclass(slots=True)
class Rescaling:
    """What became of a folder's done pictures. left: how many stay as they are, by reason."""

    rescaled: int = 0
    failed: int = 0
    left: Counter[str] = field(default_factory=Counter)
    failures: list[Failure] = field(default_factory=list)

    def __str__(self) -> str:
        left = "".join(f"; {count} left: {reason}" for reason, count in sorted(self.left.items()))
        return f"{self.rescaled} rescaled, {self.failed} failed{left}"


def rescale(
    output: str | os.PathLike[str],
    *,
    f_px: float | None = None,
    intrinsics: str | os.PathLike[str] | None = None,
    workers: int | None = None,
) -> Rescaling:
    """Multiply metres in a folder by the given focal length over the one they were made with.

    f_px, intrinsics: as `estimate` takes them. workers: threads; one a core by default.

    Exact for models whose depth is proportional to the focal length, as Depth Pro's is (the ledger says
    `f_px_used`), but for what its limits cut off: 0.1 mm and 10 km are scaled like other values. Others,
    such as ZoeDepth, made their metres without it and stay as they are, and so does what is not metric. NaN
    stays NaN. Previews show no metres and stay, too.

    Each file is replaced whole. The ledger says `begun` before and `done` after, with the new `f_px` and
    `rescaled_from`, and the run that the depth is from: the same `estimate` takes it for done. A kill between
    the two leaves a key to the next `estimate`, and then to `rescale`.

    Raises `InputError` where there is no ledger or no focal length, `OutputError` while another process
    writes there, `OutputLostError` when the disk takes no more; its `report` says what was done.
    """
    root, workers = as_place(output), choose_workers(workers)
    if f_px is None and intrinsics is None:
        raise InputError("no focal length to scale to: give --f-px or --intrinsics")
    given = load_intrinsics(f_px, intrinsics)
    require_ledger(root)
    with append_to_ledger(root) as ledger, open_sink(root) as sink:
        return _Job(sink, ledger, given).run(workers)


class _Job:
    """One rescaling: what it needs while it lasts."""

    def __init__(self, sink: Sink, ledger: LedgerFile | LedgerSegments, given: Intrinsics) -> None:
        self.sink = sink
        self.ledger = ledger
        self.given = given
        self.report = Rescaling()
        self._budget = ByteBudget(MEMORY)
        self._is_remote = isinstance(sink.root, RemotePath)

    def run(self, workers: int) -> Rescaling:
        try:
            run_ahead(self._claim(self._find_work()), self._rescale, self._count, workers=workers)
        except OutputLostError as error:
            error.report = self.report
            raise
        finally:
            self.report.failures.sort(key=lambda failure: failure.key)
        self.ledger.sync()
        return self.report

    def _find_work(self) -> Iterator[_Work]:
        """Yield the pictures that are to change, each with its new focal length; count the others."""
        for line in read_last_done(self.sink.root):
            try:
                work = _choose(line, self.given)
            except InputError as error:
                self._count(Failure(line["key"], "decode", error))
                continue
            if isinstance(work, str):
                self.report.left[work] += 1
            else:
                yield work

    def _claim(self, works: Iterator[_Work]) -> Iterator[_Work]:
        """Behind an address say of many at once that they are begun: each time it is an object."""
        if not self._is_remote:
            yield from works
        while group := [*islice(works, CLAIMED)]:
            for each in group:
                self._record_begun(each.line)
            self.ledger.sync()
            yield from group

    def _record_begun(self, line: _Line) -> None:
        self.ledger.append({"key": line["key"], "outcome": "begun", "outputs": [*line["outputs"]]})

    def _rescale(self, work: _Work) -> Failure | None:
        """On a worker: rescale one depth map."""
        line, name, form, f_px = work
        key, size = line["key"], line["outputs"][name][0]
        try:
            self.sink.check_key(key)
            with self._budget.hold(size + _BYTES * line.get("height", 0) * line.get("width", 0)):
                depth = read_run_depth(self.sink.root, line)
                factor = f_px / line["f_px"]  # in float64, so that numbers are rounded once
                values = (depth.values * np.float64(factor)).astype(np.float32)
                scaled = replace(depth, values=values, f_px=f_px, f_source="given")
                if not line.get("lost"):
                    form.require_kept(scaled)
                files = {name: form.encode(scaled)}
                if not self._is_remote:
                    self._record_begun(line)
                    self.ledger.sync()
                outputs = {**line["outputs"], **self.sink.place(files)}
        except OutputLostError:
            raise
        except Exception as error:  # noqa: BLE001 - readers raise anything on broken files, and the system
            if self._is_remote:
                self.ledger.append(line)  # it was called begun, and is what it was
            return Failure(key, "write", error)
        facts = {"f_px": f_px, "f_source": "given", "rescaled_from": line["f_px"]}
        self.ledger.append({**line, "outputs": outputs, **facts})
        return None

    def _count(self, failure: Failure | None) -> None:
        if failure is None:
            self.report.rescaled += 1
            return
        self.report.failed += 1
        if len(self.report.failures) < _FAILURES_KEPT:
            self.report.failures.append(failure)


def _choose(line: _Line, given: Intrinsics) -> _Work | str:
    """Give what is to be done to a picture, or why it stays as it is; raises what `Intrinsics.find` does."""
    before = line.get("f_px")
    if line.get("kind") != "metric":
        return NOT_METRIC
    if not isinstance(before, int | float) or not 0 < before < math.inf:
        return NO_FOCAL_LENGTH
    if not line.get("f_px_used"):
        return NOT_USED
    found = find_depth(line)
    if found is None:
        return NO_METRES
    if "inside" in line:
        return PACKED
    height, width = line.get("full_size") or (line.get("height", 0), line.get("width", 0))
    f_px = given.find(line["key"], width, height)
    if f_px is None:
        return NONE_GIVEN
    return SAME if math.isclose(f_px, before, rel_tol=_SAME) else _Work(line, *found, f_px)
