"""What the ledger remembers over runs, kills and odd names."""

from __future__ import annotations

import json
import multiprocessing
from pathlib import Path

import pytest

from cortexia_video import DecodeError, Failure, OutputError, read_ledger
from cortexia_video.ledger import LEDGER_NAME, Ledger, Source

SETTINGS = {"model": "synthetic"}
SOURCE = Source("/photos/a.jpg", 10, 20)


def record(root: Path, key: str = "a.jpg") -> None:
    (root / "a.npy").write_bytes(b"12345")
    with Ledger(root, SETTINGS) as ledger:
        ledger.record_done(key, SOURCE, {"a.npy": 5}, height=3)


def test_what_is_done_stays_done(tmp_path: Path) -> None:
    record(tmp_path)
    with Ledger(tmp_path, SETTINGS) as ledger:
        assert ledger.is_done("a.jpg", SOURCE)
        assert not ledger.is_done("b.jpg", SOURCE)
        assert not ledger.is_done("a.jpg", SOURCE._replace(mtime_ns=21))


@pytest.mark.parametrize("change", [{"size": 11}, {"mtime_ns": 21}])
def test_a_changed_source_is_not_done(tmp_path: Path, change: dict[str, int]) -> None:
    record(tmp_path)
    with Ledger(tmp_path, SETTINGS) as ledger:
        assert not ledger.is_done("a.jpg", SOURCE._replace(**change))


def test_other_settings_are_not_done(tmp_path: Path) -> None:
    record(tmp_path)
    with Ledger(tmp_path, {"model": "compact"}) as ledger:
        assert not ledger.is_done("a.jpg", SOURCE)


def test_settings_of_any_type_are_known_again(tmp_path: Path) -> None:
    settings = {"input_size": (392, 518), "path": tmp_path}
    with Ledger(tmp_path, settings) as ledger:
        ledger.record_done("a.jpg", SOURCE, {})
    with Ledger(tmp_path, settings) as ledger:
        assert ledger.is_done("a.jpg", SOURCE)


@pytest.mark.parametrize("left", [None, b"123"])
def test_a_missing_or_cut_output_is_not_done(tmp_path: Path, left: bytes | None) -> None:
    record(tmp_path)
    (tmp_path / "a.npy").unlink() if left is None else (tmp_path / "a.npy").write_bytes(left)
    with Ledger(tmp_path, SETTINGS) as ledger:
        assert not ledger.is_done("a.jpg", SOURCE)


def test_a_later_failure_counts(tmp_path: Path) -> None:
    record(tmp_path)
    with Ledger(tmp_path, SETTINGS) as ledger:
        ledger.record_failure(Failure("a.jpg", "decode", DecodeError("cut short")))
    with Ledger(tmp_path, SETTINGS) as ledger:
        assert not ledger.is_done("a.jpg", SOURCE)
    last = [line for line in read_ledger(tmp_path) if "key" in line][-1]
    assert (last["outcome"], last["stage"], last["reason"]) == ("failed", "decode", "cut short")


def test_a_line_torn_at_any_place_loses_itself_only(tmp_path: Path) -> None:
    record(tmp_path)
    path = tmp_path / LEDGER_NAME
    whole = path.read_bytes()
    done = next(line for line in whole.splitlines() if b'"done"' in line)
    line = done.replace(b'"a.jpg"', b'"b.jpg"')
    assert json.loads(line)["key"] == "b.jpg"
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


def test_only_what_a_run_began_is_ours(tmp_path: Path) -> None:
    with Ledger(tmp_path, SETTINGS) as ledger:
        assert not ledger.owns("a.jpg", "a.npy")
        ledger.record_begun("a.jpg", ["a.npy"])
    with Ledger(tmp_path, SETTINGS) as ledger:
        assert ledger.owns("a.jpg", "a.npy")
        assert not ledger.owns("b.jpg", "b.npy")
        ledger.record_done("a.jpg", SOURCE, {"a.npy": 5})
        ledger.record_begun("a.jpg", ["a.png"])
    with Ledger(tmp_path, SETTINGS) as ledger:
        assert ledger.owns("a.jpg", "a.npy") and ledger.owns("a.jpg", "a.png")


def test_what_was_begun_again_is_not_done(tmp_path: Path) -> None:
    record(tmp_path)
    with Ledger(tmp_path, {"model": "another"}) as ledger:
        ledger.record_begun("a.jpg", ["a.npy"])  # and killed before it was done
    with Ledger(tmp_path, SETTINGS) as ledger:
        assert not ledger.is_done("a.jpg", SOURCE)


def test_another_file_of_the_key_is_told(tmp_path: Path) -> None:
    one, two = tmp_path / "one/a.jpg", tmp_path / "two/a.jpg"
    for path in (one, two):
        path.parent.mkdir()
        path.touch()
    with Ledger(tmp_path, SETTINGS) as ledger:
        ledger.record_done("a.jpg", Source(str(one), 0, 0), {})
    with Ledger(tmp_path, SETTINGS) as ledger:
        assert ledger.other_source("a.jpg", Source(str(one), 0, 0)) is None
        assert ledger.other_source("a.jpg", Source(str(two), 0, 0)) == str(one)
        one.unlink()  # the folder moved
        assert ledger.other_source("a.jpg", Source(str(two), 0, 0)) is None


DONE = '{"key": "%s", "outcome": "done", "run": "1", "path": "x", "source": %s, "outputs": %s}'


@pytest.mark.parametrize(
    "damage",
    [
        b"\x00\xff garbage \xfe",
        b"[" * 100_000,
        b'{"outcome": "done"}',
        b'{"key": ["a"], "outcome": "done", "run": "1", "path": "x", "source": [1, 2], "outputs": {}}',
        (DONE % ("a.jpg", "5", "{}")).encode(),
        (DONE % ("a.jpg", "[1]", "[1]")).encode(),
        (DONE % ("b.jpg", "[10, 20]", '{"\\u0000": 1}')).encode(),
        b'{"key": "b.jpg", "outcome": "begun", "outputs": [1, null]}',
        b'{"settings": {}}',
        b"7",
    ],
)
def test_a_damaged_line_harms_nothing_else(tmp_path: Path, damage: bytes) -> None:
    record(tmp_path)
    path = tmp_path / LEDGER_NAME
    path.write_bytes(damage + b"\n" + path.read_bytes() + damage + b"\n")
    with Ledger(tmp_path, SETTINGS) as ledger:
        assert ledger.is_done("a.jpg", SOURCE)
        assert not ledger.is_done("b.jpg", SOURCE)


def test_a_run_whose_settings_are_lost_is_not_taken_for_another(tmp_path: Path) -> None:
    record(tmp_path)
    path = tmp_path / LEDGER_NAME
    path.write_bytes(b"garbage\n" + b"".join(path.read_bytes().splitlines(keepends=True)[1:]))
    for _ in range(2):
        with Ledger(tmp_path, SETTINGS) as ledger:
            assert not ledger.is_done("a.jpg", SOURCE)


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
