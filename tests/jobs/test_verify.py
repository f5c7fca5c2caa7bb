"""Outputs that are not what the ledger says are found, named and done again."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xxhash
from ledgers import open_ledger

from cortexia_video import DepthMap, estimate, read_ledger
from cortexia_video.cli import main
from cortexia_video.errors import InputError, OutputError
from cortexia_video.formats.registry import FORMATS, PREVIEW, Format, find_format
from cortexia_video.jobs.verify import Verification, verify
from cortexia_video.ledger.entries import Source
from cortexia_video.ledger.partition import Partition
from cortexia_video.ledger.state import LEDGER_NAME
from cortexia_video.sinks.sink import FolderSink, WrittenFile
from cortexia_video.storage import paths

DEPTH = DepthMap(np.random.default_rng(0).random((30, 40), np.float32), "metric")
EVERY = pytest.mark.parametrize("form", [*FORMATS.values(), PREVIEW], ids=lambda form: form.suffix)


def encode(form: Format, depth: DepthMap = DEPTH) -> bytes:
    return b"".join(bytes(chunk) for chunk in form.encode(depth))


@EVERY
@pytest.mark.parametrize("shape", [(1, 1), (30, 40), (3000, 7), (700, 900)])
def test_what_a_format_writes_is_right(form: Format, shape: tuple[int, int]) -> None:
    depth = DepthMap(np.random.default_rng(0).random(shape, np.float32), "metric")
    assert form.check(encode(form, depth), *shape) is None
    assert find_format(f"a.npy/b.jpg{form.suffix}") is form


@EVERY
def test_another_size_is_wrong(form: Format) -> None:
    assert "not" in str(form.check(encode(form), 30, 39))


@EVERY
def test_half_a_file_is_wrong(form: Format) -> None:
    data = encode(form)
    for end in {0, 1, 9, len(data) // 2}:
        try:
            reason = form.check(data[:end], 30, 40)
        except Exception:  # noqa: BLE001 - a reader of a broken file raises anything
            continue
        assert reason


def test_infinite_numbers_are_wrong_and_unknown_ones_are_not() -> None:
    values = DEPTH.values.copy()
    values[0, :3] = np.nan, np.inf, -np.inf
    data = encode(FORMATS["npy"], DepthMap(values, "metric"))
    assert FORMATS["npy"].check(data, 30, 40) == "2 of its 1200 values are infinite"


@pytest.fixture
def out(tmp_path: Path, make_image: Callable[..., Path]) -> Path:
    """Return the output of six images: a.jpg to e.jpg and one whose name is not UTF-8."""
    for name in ["a.jpg", "b.jpg", "c.jpg", "d.jpg", "e.jpg", "\udcff.jpg"]:
        make_image(tmp_path / "photos/x.jpg").rename(tmp_path / "photos" / name)
    redo(tmp_path / "out")
    return tmp_path / "out"


def redo(out: Path) -> None:
    """Run as the fixture did."""
    report = estimate(out.parent / "photos", out, model="synthetic", preview=True)
    assert report.found == report.done + report.skipped == 6


def reasons(found: Verification) -> dict[str, str]:
    return {each.output: each.reason for each in found.wrong}


def test_what_a_run_wrote_is_right(out: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*")}
    assert verify(out) == Verification(12, [], [])
    assert str(verify(out, workers=1)) == "12 outputs checked: 12 right, 0 wrong"
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*")} == before


def damage(out: Path) -> dict[str, str]:
    """Damage five outputs; give what is to be said of each."""
    (out / "a.jpg.npy").unlink()
    os.truncate(out / "b.jpg.npy", 100)
    data = bytearray((out / "c.jpg.npy").read_bytes())
    size = len(data)
    data[-1] ^= 1
    (out / "c.jpg.npy").write_bytes(data)
    (out / "d.jpg.preview.jpg").unlink()
    (out / "d.jpg.preview.jpg").mkdir()
    (out / "\udcff.jpg.npy").write_bytes(b"")
    folder_size = (out / "d.jpg.preview.jpg").stat().st_size
    preview = next(line for line in read_ledger(out) if line.get("key") == "d.jpg" and "run" in line)
    return {
        "a.jpg.npy": "it is missing",
        "b.jpg.npy": f"it has 100 bytes, not {size}",
        "c.jpg.npy": "its content is not what was written",
        "d.jpg.preview.jpg": f"it has {folder_size} bytes, not {preview['outputs']['d.jpg.preview.jpg'][0]}",
        "\udcff.jpg.npy": f"it has 0 bytes, not {size}",
    }


def test_damage_is_found_requeued_and_done_again(out: Path) -> None:
    whole = {path.name: path.read_bytes() for path in out.iterdir() if path.name != LEDGER_NAME}
    expected = damage(out)
    assert reasons(verify(out)) == expected
    assert reasons(verify(out, requeue=True)) == expected
    assert verify(out) == Verification(2, [], ["a.jpg", "b.jpg", "c.jpg", "d.jpg", "\udcff.jpg"])
    (out / "d.jpg.preview.jpg").rmdir()
    redo(out)
    assert verify(out) == Verification(12, [], [])
    assert {path.name: path.read_bytes() for path in out.iterdir() if path.name != LEDGER_NAME} == whole
    done = [line["key"] for line in read_ledger(out) if line.get("outcome") == "done"]
    assert {key: done.count(key) for key in done} == {key: 2 - (key == "e.jpg") for key in done}


def test_a_file_that_was_written_wrong_is_found(tmp_path: Path) -> None:
    data = encode(FORMATS["npy"])
    placed = WrittenFile(len(data), xxhash.xxh3_128_hexdigest(data))
    with open_ledger(tmp_path, {}) as ledger:
        for key, height in (("a", 30), ("b", 31)):
            (tmp_path / f"{key}.npy").write_bytes(data)
            ledger.record_done(key, Source("/x", 1, 1), {f"{key}.npy": placed}, height=height, width=40)
        (tmp_path / "c.npy").write_bytes(b"text")
        text = WrittenFile(4, xxhash.xxh3_128_hexdigest(b"text"))
        ledger.record_done("c", Source("/x", 1, 1), {"c.npy": text}, height=30, width=40)
    told = reasons(verify(tmp_path))
    assert told.pop("c.npy").startswith("it cannot be decoded: ")
    assert told == {"b.npy": "its shape is (30, 40), not (31, 40)"}


def test_what_was_begun_and_not_done_is_named(tmp_path: Path) -> None:
    with open_ledger(tmp_path, {}, Partition(1, 2)) as ledger, FolderSink(tmp_path) as sink:
        for key in ("a", "b"):
            ledger.record_begun(key, [f"{key}.npy"])
        placed = sink.write("a", DEPTH)
        ledger.record_done("a", Source("/x", 1, 1), placed, height=30, width=40)
        assert verify(tmp_path) == Verification(1, [], ["b"])
        with pytest.raises(OutputError, match="another process is writing"):
            verify(tmp_path, requeue=True)


def test_what_a_run_does_again_meanwhile_is_not_called_wrong(
    out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (out / "a.jpg.npy").unlink()
    lines = (out / LEDGER_NAME).read_bytes()
    begun = next(line for line in lines.splitlines() if b'"a.jpg", "outcome": "begun"' in line)
    read = paths.read_named

    def begin_again(path: Path, **options: Any) -> bytes:
        (out / LEDGER_NAME).write_bytes(lines + begun + b"\n")
        return read(path, **options)

    monkeypatch.setattr("cortexia_video.jobs.verify.read_named", begin_again)
    assert verify(out).wrong == []


def run(capsys: pytest.CaptureFixture[str], *arguments: Path | str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as ended:
        main([str(each) for each in arguments])
    return int(str(ended.value.code)), *capsys.readouterr()


def test_the_command_tells_and_requeues(out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(capsys, "verify", out) == (0, "12 outputs checked: 12 right, 0 wrong\n", "")
    (out / "a.jpg.npy").unlink()
    (out / "\udcff.jpg.npy").unlink()
    wrong = (
        "wrong: a.jpg: a.jpg.npy: it is missing\nwrong: \\udcff.jpg: \\udcff.jpg.npy: it is missing\n"
        "12 outputs checked: 10 right, 2 wrong"
    )
    assert run(capsys, "verify", out, "--workers", "1") == (1, f"{wrong}\n", "")
    assert run(capsys, "verify", out, "--requeue") == (1, f"{wrong}; requeued: the next run does them\n", "")
    unfinished = (
        "not finished: a.jpg: the next run does it\nnot finished: \\udcff.jpg: the next run does it\n"
        "8 outputs checked: 8 right, 0 wrong\n"
    )
    assert run(capsys, "verify", out) == (1, unfinished, "")


def test_the_command_refuses_what_it_cannot_check(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    complaint = f"cortexia: no ledger in {tmp_path}: give the output folder of a run\n"
    assert run(capsys, "verify", tmp_path, "--requeue") == (2, "", complaint)
    assert run(capsys, "merge", tmp_path) == (2, "", complaint)
    assert not list(tmp_path.iterdir())
    with open_ledger(tmp_path, {}), pytest.raises(InputError, match="`workers` must be at least 1, got 0"):
        verify(tmp_path, workers=0)


def test_shards_are_merged_by_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for index in (1, 2):
        with open_ledger(tmp_path, {}, Partition(index, 2)):
            pass
    assert run(capsys, "merge", tmp_path) == (0, f"2 partitions joined to {tmp_path / LEDGER_NAME}\n", "")
    assert run(capsys, "merge", tmp_path) == (0, f"{tmp_path / LEDGER_NAME}: nothing to join\n", "")


def test_a_ledger_that_cannot_be_read_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / LEDGER_NAME).mkdir()
    complaint = f"cortexia: cannot read {tmp_path / LEDGER_NAME}: Is a directory\n"
    assert run(capsys, "verify", tmp_path) == (2, "", complaint)
