"""How far a job is, by its ledger alone: while it runs, when it ended, and when it was killed."""

from __future__ import annotations

import datetime
import json
import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

import cortexia_video as cx
from cortexia_video.cli import main
from cortexia_video.jobs.status import Status, status
from cortexia_video.ledger.ledger import AppendLog

BEGIN = {"run": "a1", "settings": {"model": "some"}, "version": "0"}


def write_ledger(root: Path, *lines: dict[str, object]) -> None:
    root.mkdir(exist_ok=True)
    (root / "ledger.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))


def ago(seconds: float) -> str:
    return (datetime.datetime.now(datetime.UTC) - datetime.timedelta(seconds=seconds)).isoformat()


def begin(seconds_ago: float) -> dict[str, object]:
    return {**BEGIN, "started": ago(seconds_ago)}


def test_a_run_that_goes_on_says_so(
    tmp_path: Path, make_image: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cortexia_video.jobs.outcomes.PROGRESS_S", 0)
    for index in range(6):
        make_image(tmp_path / "in" / f"{index}.jpg", seed=index)
    seen: list[Status] = []

    def look(report: cx.Report, _: object) -> None:
        if report.done == 4:
            seen.append(status(tmp_path / "out", inputs=[tmp_path / "in"]))

    cx.estimate(tmp_path / "in", tmp_path / "out", model="synthetic", on_outcome=look)
    (run,) = seen[0].runs
    assert run.is_at_work(seen[0].now) and not run.ended
    assert run.counts["done"] == 3 and run.slowest
    assert seen[0].found == 6 and seen[0].images_per_second > 0
    ended = status(tmp_path / "out")
    assert (ended.done, ended.failed, ended.begun) == (6, 0, 0) and ended.runs[0].ended
    assert ended.images_per_second == 0


def test_the_time_left_follows_from_all_that_are_at_work(tmp_path: Path) -> None:
    counts = {"found": 50, "done": 20, "skipped": 0, "failed": 0, "seconds": 10.0}
    line = {"outcome": "done", "run": "a1", "path": "/a.jpg", "source": [1, 2], "outputs": {}}
    done = [{"key": f"{index}.jpg", **line} for index in range(40)]
    progress = {"progress": "a1", "at": ago(1), **counts, "slowest": "decode"}
    write_ledger(tmp_path / "out", begin(20), *done, progress)
    for index in range(100):
        image = tmp_path / f"{index}.jpg"
        image.write_bytes(b"?")
        os.utime(image, ns=(2, 2))
    with AppendLog(tmp_path / "out/ledger.jsonl") as log:
        log.lock("writes to")
        found = status(tmp_path / "out", inputs=[tmp_path])
    assert found.images_per_second == 2.0
    assert found.seconds_left == 60 / 2.0
    assert str(found).endswith("of 100 inputs 60 are left, 0:00:30 at this rate")
    assert "slowest: decode" in str(found)


def test_a_run_of_which_nothing_is_heard_counts_for_nothing(tmp_path: Path) -> None:
    counts = {"found": 5, "done": 5, "skipped": 0, "failed": 0, "seconds": 10.0}
    key = {"key": "a.jpg", "outcome": "begun", "outputs": ["a.jpg.npy"]}
    write_ledger(tmp_path / "out", begin(4000), {"progress": "a1", "at": ago(3600), **counts}, key)
    with AppendLog(tmp_path / "out/ledger.jsonl") as log:
        log.lock("writes to")
        assert "silent for 1:00:0" in str(status(tmp_path / "out"))
    found = status(tmp_path / "out")
    assert ": died: 5 done" in str(found) and found.images_per_second == 0
    assert found.begun == 1


def test_a_run_without_an_end_whose_ledger_nobody_holds_died(tmp_path: Path) -> None:
    counts = {"found": 5, "done": 5, "skipped": 0, "failed": 0, "seconds": 10.0}
    out = tmp_path / "out"
    ended = {**begin(9), "run": "c3"}, {"end": "c3", "at": ago(8), **counts}
    write_ledger(out, begin(9), *ended, {**begin(5), "run": "b2"}, {"progress": "b2", "at": ago(1), **counts})
    part = json.dumps({**begin(4), "run": "p1"}) + "\n"
    (out / "ledger.1-of-2.jsonl").write_text(part)
    (out / "ledger.2-of-2.jsonl").write_text(part.replace("p1", "p2"))

    def died() -> dict[str, bool]:
        return {each.run: each.died for each in status(out).runs}

    assert died() == {"a1": True, "c3": False, "b2": True, "p1": True, "p2": True}
    with AppendLog(out / "ledger.2-of-2.jsonl") as log:
        log.lock("does partition 2 of")
        assert died() == {"a1": True, "c3": False, "b2": True, "p1": True, "p2": False}
    with AppendLog(out / "ledger.jsonl") as log:
        log.lock("writes to")
        assert died() == {"a1": True, "c3": False, "b2": False, "p1": True, "p2": True}


def test_to_look_keeps_nobody_off(tmp_path: Path, make_image: Callable[..., Path]) -> None:
    make_image(tmp_path / "in/a.jpg")
    cx.estimate(tmp_path / "in", tmp_path / "out", model="synthetic")
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*")}
    over = threading.Event()

    def look() -> None:
        while not over.is_set():
            status(tmp_path / "out")

    watcher = threading.Thread(target=look)
    watcher.start()
    try:
        for _ in range(20):
            assert cx.estimate(tmp_path / "in", tmp_path / "out", model="synthetic").skipped == 1
    finally:
        over.set()
        watcher.join()
    assert {
        path: path.stat().st_mtime_ns for path in before if path.suffix == ".npy"
    }.items() <= before.items()


def test_what_is_left_goes_by_keys_and_what_they_are(tmp_path: Path, make_image: Callable[..., Path]) -> None:
    images, out = tmp_path / "in", tmp_path / "out"
    for name in "abcde":
        make_image(images / f"{name}.jpg")
    (images / "f.jpg").write_bytes(b"no image")
    cx.estimate(images, out, model="synthetic")

    def left() -> tuple[int | None, int | None]:
        found = status(out, inputs=[images])
        return found.found, found.left

    assert left() == (6, 0)
    make_image(images / "a.jpg", (40, 50), seed=9)  # another image of that name
    make_image(images / "new.jpg")
    assert left() == (7, 2)
    for path in images.iterdir():
        path.rename(path.with_name(f"other-{path.name}"))
    assert left() == (7, 7)  # as many as before, and others
    assert "none of them is in the ledger" in str(status(out, inputs=[images]))
    (images / "other-b.jpg").rename(images / "b.jpg")
    assert left() == (7, 6)
    assert "none of them" not in str(status(out, inputs=[images]))


def test_the_last_word_on_a_key_counts(tmp_path: Path) -> None:
    words = ("begun", "failed", "begun", "done", "requeued")
    write_ledger(tmp_path / "out", begin(5), *({"key": "a", "outcome": word} for word in words))
    found = status(tmp_path / "out")
    assert (found.done, found.failed, found.begun) == (0, 0, 1)


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_ledger(tmp_path / "out", begin(5), {"key": "a", "outcome": "failed"})
    for folder, code in ((tmp_path / "out", 1), (tmp_path / "none", 2)):
        with pytest.raises(SystemExit) as ended:
            main(["status", str(folder)])
        assert ended.value.code == code
    said = capsys.readouterr()
    assert "0 done, 1 failed, 0 begun" in said.out and "no ledger in" in said.err
