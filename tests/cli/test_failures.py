"""Many failures are few lines: three examples of each reason, and how many more there are."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from cortexia_video.cli import main
from cortexia_video.cli.failures import FailureGroups
from cortexia_video.errors import DecodeError, Failure
from cortexia_video.ledger.ledger import read_ledger

Make = Callable[..., Path]


def test_reasons_that_differ_in_names_and_numbers_are_one(capsys: pytest.CaptureFixture[str]) -> None:
    failures = [
        Failure(f"{number:03}.jpg", "decode", DecodeError(f"too large: {number} megapixels"))
        for number in range(400)
    ]
    failures += [Failure("z.jpg", "decode", DecodeError("empty file"))]
    FailureGroups(failures).print()
    assert capsys.readouterr().err.splitlines() == [
        "failed (decode): 000.jpg: too large: 0 megapixels",
        "failed (decode): 001.jpg: too large: 1 megapixels",
        "failed (decode): 002.jpg: too large: 2 megapixels",
        "  and 397 more for the same reason",
        "failed (decode): z.jpg: empty file",
    ]


def test_many_reasons_are_bounded(capsys: pytest.CaptureFixture[str]) -> None:
    letters = "abcdefghijklmnopqrstuvwxyz"
    reasons = [first + second for first in letters for second in letters]
    FailureGroups(
        Failure(f"{each}{each}.jpg", "decode", DecodeError(f"no {each}")) for each in reasons
    ).print()
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 20 + 3 + 1 and "  and 653 more for other reasons" in lines


def test_four_hundred_broken_files(
    tmp_path: Path, make_image: Make, capsys: pytest.CaptureFixture[str]
) -> None:
    make_image(tmp_path / "in/good.jpg", (60, 80))
    for number in range(400):
        (tmp_path / f"in/{number:03}.jpg").write_bytes(b"")
    with pytest.raises(SystemExit) as ended:
        main(["estimate", str(tmp_path / "in"), "--output", str(tmp_path / "out"), "--model", "synthetic"])
    told = capsys.readouterr()
    assert ended.value.code == 1
    assert told.err.splitlines()[3:] == ["  and 397 more for the same reason"]
    failed = [line for line in read_ledger(tmp_path / "out") if line.get("outcome") == "failed"]
    assert len(failed) == 400  # each is there
    out = tmp_path / "out"
    size = (out / "good.jpg.npy").stat().st_size
    assert told.out.splitlines()[1:] == [
        f"  why each failed: {out}/ledger.jsonl",
        f"in {out}/: 1 depth map, {size / 1000:.3g} kB; relative, not metres (disparity: larger is nearer)",
        f"next: cortexia view {out}",
    ]
