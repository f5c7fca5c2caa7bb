"""What the ledger remembers over runs, kills and odd names."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from ledgers import open_ledger

import cortexia_video.ledger.state as state_module
from cortexia_video import Failure, read_ledger
from cortexia_video.errors import DecodeError, InputError, OutputError, OutputLostError
from cortexia_video.ledger.entries import Source
from cortexia_video.ledger.ledger import merge_ledgers
from cortexia_video.ledger.partition import Partition
from cortexia_video.ledger.state import LEDGER_NAME, name_partition, read_state
from cortexia_video.sinks.sink import WrittenFile
from cortexia_video.sources.inputs import InputFile

SETTINGS = {"model": "synthetic"}
SOURCE = Source("/photos/a.jpg", 10, 20)
PLACED = {"a.npy": WrittenFile(5, "0123456789abcdef" * 2)}


@pytest.fixture
def quick_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave out the flushes, for tests that open hundreds of ledgers."""
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)


def record(root: Path, key: str = "a.jpg") -> None:
    (root / "a.npy").write_bytes(b"12345")
    with open_ledger(root, SETTINGS) as ledger:
        ledger.record_done(key, SOURCE, PLACED, height=3)


def test_what_is_done_stays_done(tmp_path: Path) -> None:
    record(tmp_path)
    with open_ledger(tmp_path, SETTINGS) as ledger:
        assert ledger.look_up("a.jpg", SOURCE)[0] == "done"
        assert ledger.look_up("b.jpg", SOURCE)[0] == "missing"
        assert ledger.look_up("a.jpg", SOURCE._replace(mtime_ns=21))[0] == "missing"


def test_what_an_input_is_made_of_beside_its_file_is_known_without_reading_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    digest = "00112233445566778899aabbccddeeff"
    with open_ledger(tmp_path, SETTINGS) as ledger:
        for key, said in (
            ("a.jpg", {"beside": digest}),
            ("b.jpg", {}),
            ("c.jpg", {"beside": "of another sort"}),
        ):
            ledger.record_done(key, SOURCE, {f"{key}.npy": PLACED["a.npy"]}, height=3, **said)
    with open_ledger(tmp_path, SETTINGS) as ledger:
        monkeypatch.setattr(state_module, "open_named", pytest.fail)
        found = {key: ledger.read_beside(key) for key in ("a.jpg", "b.jpg", "c.jpg", "d.jpg")}
        assert found == {"a.jpg": digest, "b.jpg": None, "c.jpg": None, "d.jpg": None}
        entry = ledger.state.get("a.jpg")
        assert entry and entry.outputs == {"a.jpg.npy": PLACED["a.npy"]}


@pytest.mark.parametrize("change", [{"size": 11}, {"mtime_ns": 21}])
def test_a_changed_source_is_not_done(tmp_path: Path, change: dict[str, int]) -> None:
    record(tmp_path)
    with open_ledger(tmp_path, SETTINGS) as ledger:
        assert ledger.look_up("a.jpg", SOURCE._replace(**change))[0] == "missing"


def test_other_settings_are_reported(tmp_path: Path) -> None:
    record(tmp_path)
    with open_ledger(tmp_path, SETTINGS) as ledger:
        assert ledger.look_up("a.jpg", SOURCE)[0] == "done"
    with open_ledger(tmp_path, {"model": "x", "sha256": "f" * 64}) as ledger:
        assert ledger.look_up("a.jpg", SOURCE)[0] == "changed"
        assert ledger.look_up("a.jpg", SOURCE._replace(size=11))[0] == "missing"
        assert ledger.difference("a.jpg") == "model: synthetic -> x, sha256: None -> ffffffffffff..."


def test_changed_settings_can_be_refused_before_anything_is_written(tmp_path: Path) -> None:
    record(tmp_path)
    before = (tmp_path / LEDGER_NAME).read_bytes()
    refusal = (
        r"a.jpg was .*\(model: synthetic -> x\): `changed='redo'` or `changed='keep'`, "
        "or choose another `output`"
    )
    inputs = [("new.jpg", SOURCE), ("a.jpg", SOURCE)]
    with (
        pytest.raises(OutputError, match=refusal),
        open_ledger(tmp_path, {"model": "x"}, refuse_changed=inputs),
    ):
        pass
    assert (tmp_path / LEDGER_NAME).read_bytes() == before
    with open_ledger(tmp_path, {"model": "x"}, refuse_changed=inputs[:1]):
        pass  # what is not an input of this run may be as it is
    with open_ledger(tmp_path, SETTINGS, refuse_changed=inputs) as ledger:
        assert ledger.look_up("a.jpg", SOURCE)[0] == "done"


def test_settings_of_any_type_are_known_again(tmp_path: Path) -> None:
    settings = {"input_size": (392, 518), "path": tmp_path}
    with open_ledger(tmp_path, settings) as ledger:
        ledger.record_done("a.jpg", SOURCE, {})
    with open_ledger(tmp_path, settings) as ledger:
        assert ledger.look_up("a.jpg", SOURCE)[0] == "done"


@pytest.mark.parametrize("left", [None, b"123"])
def test_a_missing_or_cut_output_is_not_done(tmp_path: Path, left: bytes | None) -> None:
    record(tmp_path)
    (tmp_path / "a.npy").unlink() if left is None else (tmp_path / "a.npy").write_bytes(left)
    with open_ledger(tmp_path, SETTINGS) as ledger:
        assert ledger.look_up("a.jpg", SOURCE)[0] == "missing"


def test_a_later_failure_counts(tmp_path: Path) -> None:
    record(tmp_path)
    with open_ledger(tmp_path, SETTINGS) as ledger:
        ledger.record_failure(Failure("a.jpg", "decode", DecodeError("cut short")))
    with open_ledger(tmp_path, SETTINGS) as ledger:
        assert ledger.look_up("a.jpg", SOURCE)[0] == "missing"
    last = [line for line in read_ledger(tmp_path) if "key" in line][-1]
    assert (last["outcome"], last["stage"], last["reason"]) == ("failed", "decode", "cut short")


@pytest.mark.usefixtures("quick_disk")
def test_a_line_torn_at_any_place_loses_itself_only(tmp_path: Path) -> None:
    record(tmp_path)
    path = tmp_path / LEDGER_NAME
    whole = path.read_bytes()
    done = next(line for line in whole.splitlines() if b'"done"' in line)
    line = done.replace(b'"a.jpg"', b'"b.jpg"')
    assert json.loads(line)["key"] == "b.jpg"
    for cut in range(1, len(line)):
        path.write_bytes(whole + line[:cut])
        with open_ledger(tmp_path, SETTINGS) as ledger:
            assert ledger.look_up("a.jpg", SOURCE)[0] == "done"
            assert ledger.look_up("b.jpg", SOURCE)[0] == "missing"
            ledger.record_done("c.jpg", SOURCE, PLACED)
        with open_ledger(tmp_path, SETTINGS) as ledger:
            assert ledger.look_up("c.jpg", SOURCE)[0] == "done"


@pytest.mark.parametrize(
    "key", ["a b.jpg", "line\nbreak.jpg", "\udcff\udcfe.jpg", "日本.jpg", '"quoted".jpg']
)
def test_any_name_is_kept(tmp_path: Path, key: str) -> None:
    record(tmp_path, key)
    with open_ledger(tmp_path, SETTINGS) as ledger:
        assert ledger.look_up(key, SOURCE)[0] == "done"


def test_only_what_a_run_began_is_ours(tmp_path: Path) -> None:
    with open_ledger(tmp_path, SETTINGS) as ledger:
        assert not ledger.owns("a.jpg", "a.npy")
        ledger.record_begun("a.jpg", ["a.npy"])
    with open_ledger(tmp_path, SETTINGS) as ledger:
        assert ledger.owns("a.jpg", "a.npy")
        assert not ledger.owns("b.jpg", "b.npy")
        ledger.record_done("a.jpg", SOURCE, PLACED)
        ledger.record_begun("a.jpg", ["a.png"])
    with open_ledger(tmp_path, SETTINGS) as ledger:
        assert ledger.owns("a.jpg", "a.npy") and ledger.owns("a.jpg", "a.png")


def test_what_was_said_to_be_begun_and_nobody_took_is_not_ours(tmp_path: Path) -> None:
    items = [InputFile(f"{name}.jpg", SOURCE, "") for name in "abcd"]
    with open_ledger(tmp_path, SETTINGS) as ledger:
        taken = ledger.claim(items, ahead=3)
        assert [next(taken).key, next(taken).key] == ["a.jpg", "b.jpg"]
        taken.close()
    with open_ledger(tmp_path, SETTINGS) as ledger:
        assert [ledger.owns(each.key, f"{each.key}.npy") for each in items] == [True, True, False, False]
        assert ledger.state.counts()["begun"] == 2


def test_files_of_an_earlier_format_stay_ours(tmp_path: Path) -> None:
    for name in ("a.npy", "a.png"):
        with open_ledger(tmp_path, {"format": name}) as ledger:
            ledger.record_begun("a.jpg", [name])
            ledger.record_done("a.jpg", SOURCE, {name: PLACED["a.npy"]})
    with open_ledger(tmp_path, SETTINGS) as ledger:
        assert ledger.owns("a.jpg", "a.npy") and ledger.owns("a.jpg", "a.png")
        assert not ledger.owns("a.jpg", "a.tiff")


def test_what_was_begun_again_is_not_done(tmp_path: Path) -> None:
    record(tmp_path)
    with open_ledger(tmp_path, {"model": "another"}) as ledger:
        ledger.record_begun("a.jpg", ["a.npy"])  # and killed before it was done
    with open_ledger(tmp_path, SETTINGS) as ledger:
        assert ledger.look_up("a.jpg", SOURCE)[0] == "missing"


def test_another_file_of_the_key_is_reported(tmp_path: Path) -> None:
    one, two = tmp_path / "one/a.jpg", tmp_path / "two/a.jpg"
    for path in (one, two):
        path.parent.mkdir()
        path.touch()
    with open_ledger(tmp_path, SETTINGS) as ledger:
        ledger.record_done("a.jpg", Source(str(one), 0, 0), {})
    with open_ledger(tmp_path, SETTINGS) as ledger:
        assert ledger.look_up("a.jpg", Source(str(one), 0, 0))[1] is None
        assert ledger.look_up("a.jpg", Source(str(two), 0, 0))[1] == str(one)
        one.unlink()  # the folder moved
        assert ledger.look_up("a.jpg", Source(str(two), 0, 0))[1] is None


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
    with open_ledger(tmp_path, SETTINGS) as ledger:
        assert ledger.look_up("a.jpg", SOURCE)[0] == "done"
        assert ledger.look_up("b.jpg", SOURCE)[0] == "missing"


def test_a_run_whose_settings_are_lost_is_not_taken_for_ours(tmp_path: Path) -> None:
    record(tmp_path)
    path = tmp_path / LEDGER_NAME
    path.write_bytes(b"garbage\n" + b"".join(path.read_bytes().splitlines(keepends=True)[1:]))
    for _ in range(2):
        with open_ledger(tmp_path, SETTINGS) as ledger:
            assert ledger.look_up("a.jpg", SOURCE)[0] == "changed"
            assert ledger.difference("a.jpg") == "the ledger has lost them"


@pytest.mark.usefixtures("quick_disk")
def test_a_torn_end_loses_no_ownership(tmp_path: Path) -> None:
    with open_ledger(tmp_path, SETTINGS) as ledger:
        ledger.record_begun("a.jpg", ["a.npy"])
        ledger.record_begun("a.jpg", ["a.png"])
        ledger.record_done("a.jpg", SOURCE, {"a.png": PLACED["a.npy"]})
    whole = (tmp_path / LEDGER_NAME).read_bytes()
    start = whole.index(b'{"key": "a.jpg", "outcome": "done"')
    for end in range(start, len(whole)):
        (tmp_path / LEDGER_NAME).write_bytes(whole[:end])
        with open_ledger(tmp_path, SETTINGS) as ledger:
            assert ledger.owns("a.jpg", "a.npy") and ledger.owns("a.jpg", "a.png")


def test_a_line_that_a_full_disk_cut_spoils_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.npy").write_bytes(b"12345")
    whole, taken = os.write, []

    def write(descriptor: int, data: memoryview) -> int:
        taken.append(whole(descriptor, data[:9]))
        if len(taken) == 2:
            raise OSError(errno.ENOSPC, "No space left on device")
        return taken[-1]

    with open_ledger(tmp_path, SETTINGS) as ledger:
        monkeypatch.setattr(os, "write", write)
        with pytest.raises(OutputLostError, match=r"cannot write .*ledger.jsonl: No space left on device"):
            ledger.record_begun("b.jpg", ["b.npy"])
        ledger.record_done("a.jpg", SOURCE, PLACED)
    monkeypatch.undo()
    with open_ledger(tmp_path, SETTINGS) as ledger:
        assert ledger.look_up("a.jpg", SOURCE)[0] == "done"


def refusal(root: Path, shard: Partition | None = None) -> str | None:
    """Return why a ledger cannot be opened; flock keeps off this process, too, if it opens it again."""
    try:
        with open_ledger(root, SETTINGS, shard):
            return None
    except OutputError as error:
        return str(error)


def test_a_second_process_is_refused(tmp_path: Path) -> None:
    with open_ledger(tmp_path, SETTINGS):
        assert refusal(tmp_path) == (
            f"another process is writing to {tmp_path}: wait for it, or choose another `output`"
        )
        assert refusal(tmp_path, Partition(1, 2)) == (
            f"another process is writing to {tmp_path}, not a partition: wait for it"
        )
    assert refusal(tmp_path) is None


def test_shards_work_beside_each_other_and_nobody_else_does(tmp_path: Path) -> None:
    with open_ledger(tmp_path, SETTINGS, Partition(1, 2)), open_ledger(tmp_path, SETTINGS, Partition(2, 2)):
        assert refusal(tmp_path, Partition(2, 2)) == (
            f"another process does partition 2/2 of {tmp_path}: wait for it, or give another"
        )
        assert "another process is writing" in str(refusal(tmp_path))
        with pytest.raises(OutputError, match="another process is writing"):
            merge_ledgers(tmp_path)
    assert refusal(tmp_path, Partition(1, 3)) == (
        f"{tmp_path}/ledger.1-of-2.jsonl is of 2 partitions, not 3: cortexia merge {tmp_path}"
    )
    assert not (tmp_path / name_partition(Partition(1, 3))).exists()
    assert merge_ledgers(tmp_path) == 2
    assert refusal(tmp_path, Partition(1, 3)) is None


def record_shards(root: Path) -> list[bytes]:
    """Let main and two shards do a key each, the second one twice; give the files' lines."""
    (root / "a.npy").write_bytes(b"12345")
    with open_ledger(root, SETTINGS) as ledger:
        ledger.record_done("main", SOURCE, PLACED)
        ledger.record_done("one", SOURCE._replace(size=1), PLACED)
    for shard, key in ((Partition(1, 2), "one"), (Partition(2, 2), "two")):
        with open_ledger(root, SETTINGS, shard) as ledger:
            ledger.record_done(key, SOURCE, PLACED)
    return [path.read_bytes() for path in sorted(root.glob("ledger*"), key=lambda path: path.name[7] != "j")]


def open_whole(root: Path) -> None:
    with open_ledger(root, SETTINGS):
        pass


@pytest.mark.parametrize("join", [merge_ledgers, open_whole])
def test_what_shards_did_is_joined(tmp_path: Path, join: Callable[[Path], object]) -> None:
    files = record_shards(tmp_path)
    before = list(read_ledger(tmp_path))
    join(tmp_path)
    assert [path.name for path in tmp_path.glob("ledger*")] == [LEDGER_NAME]
    assert (tmp_path / LEDGER_NAME).read_bytes().startswith(b"".join(files))
    assert list(read_ledger(tmp_path))[: len(before)] == before
    with open_ledger(tmp_path, SETTINGS) as ledger:
        assert {ledger.look_up(key, SOURCE)[0] for key in ("main", "one", "two")} == {"done"}


@pytest.mark.usefixtures("quick_disk")
def test_a_join_that_was_killed_is_done_again(tmp_path: Path) -> None:
    main, *shards = record_shards(tmp_path)
    names = [path.name for path in sorted(tmp_path.glob("ledger.*-of-*"))]
    joined = main + b"".join(shards)
    for end in range(len(main), len(joined) + 1):
        (tmp_path / LEDGER_NAME).write_bytes(joined[:end])
        for name, data in zip(names, shards, strict=True):
            (tmp_path / name).write_bytes(data)
        if end >= len(main + shards[0]):
            (tmp_path / names[0]).unlink()  # as it was when the second was begun
        assert merge_ledgers(tmp_path) == (2 if end < len(main + shards[0]) else 1)
        with open_ledger(tmp_path, SETTINGS) as ledger:
            assert {ledger.look_up(key, SOURCE)[0] for key in ("main", "one", "two")} == {"done"}


def test_a_shard_knows_what_was_done_without_shards(tmp_path: Path) -> None:
    record(tmp_path)
    with open_ledger(tmp_path, SETTINGS, Partition(1, 2)) as ledger:
        assert ledger.look_up("a.jpg", SOURCE)[0] == "done"


def test_a_folder_without_a_ledger_is_not_merged(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no ledger in .*/gone: give the output folder of a run"):
        merge_ledgers(tmp_path / "gone")
    assert not (tmp_path / "gone").exists()


MEASURE = """
import resource, sys
from pathlib import Path
from cortexia_video.ledger.state import (read_state)
def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
before = peak()
state = read_state(Path(sys.argv[1]))
print(sum(1 for _ in state.done()), (peak() - before) * 1024)
"""


def test_a_large_ledger_takes_little_memory(tmp_path: Path) -> None:
    keys = 100_000
    with (tmp_path / LEDGER_NAME).open("w") as file:
        for number in range(keys):
            key = f"2026/holiday/IMG_{number:012}.jpg"
            begun = {"key": key, "outcome": "begun", "outputs": [f"{key}.npy"]}
            source = {
                "path": f"/mnt/archive/photographs/{key}",
                "source": [5 * 10**6 + number, 10**18 + number],
            }
            outputs = {f"{key}.npy": [48_000_128, f"{number:032x}"]}
            done = {"key": key, "outcome": "done", "run": "0123abcd", **source, "outputs": outputs}
            file.write(f"{json.dumps(begun)}\n{json.dumps(done)}\n")
    told = subprocess.run(
        [sys.executable, "-c", MEASURE, tmp_path], check=True, capture_output=True, text=True
    )
    count, taken = map(int, told.stdout.split())
    assert count == keys
    assert taken < 500 * keys  # 1 GiB for two million


def test_a_folder_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with (
        pytest.raises(OutputError, match="choose another `output`"),
        open_ledger(tmp_path / "file" / "out", SETTINGS),
    ):
        pass


@pytest.mark.parametrize("name", ["ledger.jsonl", "ledger.1-of-2.jsonl"])
def test_a_partition_notices_when_a_file_of_its_ledger_is_taken_away(name: str, tmp_path: Path) -> None:
    with open_ledger(tmp_path, {}, Partition(1, 2)) as ledger:
        ledger.record_begun("a", ["a.npy"])
        (tmp_path / name).rename(tmp_path / "elsewhere")
        with pytest.raises(OutputLostError, match="moved, removed or replaced") as lost:
            ledger.record_begun("b", ["b.npy"])
        assert name in str(lost.value)


def test_a_ledger_that_follows_is_up_to_date(tmp_path: Path) -> None:
    with open_ledger(tmp_path, {"model": "one"}) as ledger:
        ledger.record_begun("a", ["a.npy"])
        ledger.record_done("a", SOURCE, PLACED)
    with open_ledger(tmp_path, {"model": "two"}, follows=True) as ledger:
        assert {each.run for each in ledger.state.made_by()} != {ledger.run}
        for key in ("a", "b"):
            ledger.record_begun(key, [f"{key}.npy"])
            ledger.record_done(key, SOURCE, {f"{key}.npy": PLACED["a.npy"]})
        ledger.record_begun("c", ["c.npy"])
        ledger.record_failure(Failure("d", "decode", DecodeError("broken")))
        ledger.sync()
        now, read = ledger.state, read_state(tmp_path)
        assert now.made_by() == read.made_by() and {each.run for each in now.made_by()} == {ledger.run}
        assert {*now.leftovers()} == {*read.leftovers()} == {"c.npy"}
        assert (now.counts(), now.unfinished) == (read.counts(), read.unfinished)
        assert now.settings(ledger.run) == {"model": "two"} == read.settings(ledger.run)


def test_a_folder_can_be_named_by_a_text(tmp_path: Path) -> None:
    """As the docstrings show it; `Path` is for who has one."""
    with open_ledger(tmp_path, SETTINGS, Partition(1, 2)) as ledger:
        ledger.record_done("a.jpg", SOURCE, PLACED, height=3)
    assert [line["key"] for line in read_ledger(str(tmp_path)) if "key" in line] == ["a.jpg"]
    assert merge_ledgers(str(tmp_path)) == 1
    assert (tmp_path / LEDGER_NAME).exists()
