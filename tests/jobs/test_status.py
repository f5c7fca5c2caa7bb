"""How far a job is, by its ledger alone: while it runs, when it ended, and when it was killed."""

from __future__ import annotations

import datetime
import json
from collections.abc import Callable
from pathlib import Path

import pytest

import cortexia_video as cx
from cortexia_video.cli import main
from cortexia_video.jobs.status import Status, status

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
    write_ledger(
        tmp_path / "out",
        begin(20),
        {**begin(20), "run": "b2"},
        *done,
        {"progress": "a1", "at": ago(1), **counts, "slowest": "decode"},
        {"progress": "b2", "at": ago(2), **counts},
    )
    for index in range(100):
        (tmp_path / f"{index}.jpg").touch()
    found = status(tmp_path / "out", inputs=[tmp_path])
    assert found.images_per_second == 4.0
    assert found.seconds_left == 60 / 4.0
    assert str(found).endswith("of 100 inputs 60 are left, 0:00:15 at this rate")
    assert "slowest: decode" in str(found)


def test_a_killed_run_is_silent_and_counts_for_nothing(tmp_path: Path) -> None:
    counts = {"found": 5, "done": 5, "skipped": 0, "failed": 0, "seconds": 10.0}
    key = {"key": "a.jpg", "outcome": "begun", "outputs": ["a.jpg.npy"]}
    write_ledger(tmp_path / "out", begin(4000), {"progress": "a1", "at": ago(3600), **counts}, key)
    found = status(tmp_path / "out")
    assert "silent for 1:00:0" in str(found) and found.images_per_second == 0
    assert found.begun == 1


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
