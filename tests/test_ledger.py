"""What the ledger remembers over runs, kills and odd names."""

from __future__ import annotations

import json
import multiprocessing
from pathlib import Path

import pytest

from cortexia_video import DecodeError, Failure, OutputError, OutputExistsError, read_ledger
from cortexia_video.ledger import LEDGER_NAME, Ledger

SETTINGS = {"model": "synthetic"}
SOURCE = (10, 20)


def record(root: Path, key: str = "a.jpg") -> None:
    (root / "a.npy").write_bytes(b"12345")
    with Ledger(root, SETTINGS) as ledger:
        ledger.record_done(key, SOURCE, {"a.npy": 5}, height=3)


def test_what_is_done_stays_done(tmp_path: Path) -> None:
    record(tmp_path)
    with Ledger(tmp_path, SETTINGS) as ledger:
        assert ledger.is_done("a.jpg", SOURCE)
        assert not ledger.is_done("b.jpg", SOURCE)
        assert not ledger.is_done("a.jpg", None)


@pytest.mark.parametrize("source", [(11, 20), (10, 21)])
def test_a_changed_source_is_not_done(tmp_path: Path, source: tuple[int, int]) -> None:
    record(tmp_path)
    with Ledger(tmp_path, SETTINGS) as ledger:
        assert not ledger.is_done("a.jpg", source)


def test_other_settings_are_not_done(tmp_path: Path) -> None:
    record(tmp_path)
    with Ledger(tmp_path, {"model": "compact"}) as ledger:
        assert not ledger.is_done("a.jpg", SOURCE)


@pytest.mark.parametrize("left", [None, b"123"])
def test_a_missing_or_cut_output_is_not_done(tmp_path: Path, left: bytes | None) -> None:
    record(tmp_path)
    (tmp_path / "a.npy").unlink() if left is None else (tmp_path / "a.npy").write_bytes(left)
    with Ledger(tmp_path, SETTINGS) as ledger:
        assert not ledger.is_done("a.jpg", SOURCE)


def test_a_later_failure_counts(tmp_path: Path) -> None:
    record(tmp_path)
    with Ledger(tmp_path, SETTINGS) as ledger:
        ledger.record_failure(Failure("a.jpg", "decode", DecodeError("cut short")), SOURCE)
    with Ledger(tmp_path, SETTINGS) as ledger:
        assert not ledger.is_done("a.jpg", SOURCE)
    last = [line for line in read_ledger(tmp_path) if "key" in line][-1]
    assert (last["outcome"], last["stage"], last["reason"]) == ("failed", "decode", "cut short")


def test_a_line_torn_at_any_place_loses_itself_only(tmp_path: Path) -> None:
    record(tmp_path)
    path = tmp_path / LEDGER_NAME
    whole = path.read_bytes()
    line = json.dumps(
        {"key": "b.jpg", "outcome": "done", "run": "1", "source": SOURCE, "outputs": {}}
    ).encode()
    for cut in range(1, len(line)):
        path.write_bytes(whole + line[:cut])
        with Ledger(tmp_path, SETTINGS) as ledger:
            assert ledger.is_done("a.jpg", SOURCE)
            assert not ledger.is_done("b.jpg", SOURCE)
            ledger.record_done("c.jpg", SOURCE, {"a.npy": 5})
        with Ledger(tmp_path, SETTINGS) as ledger:
            assert ledger.is_done("c.jpg", SOURCE)


@pytest.mark.parametrize(
    "key", ["a b.jpg", "line\nbreak.jpg", "\udcff\udcfe.jpg", "日本.jpg", '"quoted".jpg']
)
def test_any_name_is_kept(tmp_path: Path, key: str) -> None:
    record(tmp_path, key)
    with Ledger(tmp_path, SETTINGS) as ledger:
        assert ledger.is_done(key, SOURCE)


def test_files_that_were_there_before_are_somebody_elses(tmp_path: Path) -> None:
    with Ledger(tmp_path, SETTINGS) as ledger:
        assert ledger.may_be_foreign("a.jpg")
        ledger.record_failure(Failure("a.jpg", "write", OutputExistsError("a.npy")), SOURCE)
    with Ledger(tmp_path, SETTINGS) as ledger:
        assert ledger.may_be_foreign("a.jpg")
        assert not ledger.may_be_foreign("b.jpg")
        ledger.record_done("a.jpg", SOURCE, {})
    with Ledger(tmp_path, SETTINGS) as ledger:
        assert not ledger.may_be_foreign("a.jpg")


def _open_elsewhere(root: str, answer: multiprocessing.Queue) -> None:
    try:
        with Ledger(Path(root), SETTINGS):
            answer.put("opened")
    except OutputError as error:
        answer.put(str(error))


def test_a_second_process_is_refused(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    answer = context.Queue()
    with Ledger(tmp_path, SETTINGS):
        process = context.Process(target=_open_elsewhere, args=(str(tmp_path), answer))
        process.start()
        assert "another process is writing to" in answer.get(timeout=60)
        process.join()


def test_a_folder_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with (
        pytest.raises(OutputError, match="choose another --output"),
        Ledger(tmp_path / "file" / "out", SETTINGS),
    ):
        pass
