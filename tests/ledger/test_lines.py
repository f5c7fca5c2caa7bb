"""A ledger is read by one pass, whatever is asked of it."""

from __future__ import annotations

import json
import tracemalloc
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from ledgers import open_ledger

from cortexia_video import Failure, convert, estimate, report, status, verify
from cortexia_video.datasets.build_items import list_run_items
from cortexia_video.errors import DecodeError, InputError
from cortexia_video.evaluation.predictors import open_predictor
from cortexia_video.jobs.point_clouds import CloudOptions, make_point_clouds
from cortexia_video.ledger.entries import Source, WrittenFile
from cortexia_video.ledger.ledger import read_ledger
from cortexia_video.ledger.lines import LedgerLines, read_done
from cortexia_video.ledger.partition import Partition
from cortexia_video.ledger.state import LEDGER_NAME, LedgerState
from cortexia_video.storage import paths
from cortexia_video.storage.paths import AnyPath, to_path
from cortexia_video.storage.remote_path import RemotePath

Make = Callable[..., Path]
PLACED = {"a.npy": WrittenFile(5, "0123456789abcdef" * 2)}
COMMANDS: dict[str, Callable[[Path, Path, Path], object]] = {
    "estimate": lambda images, run, to: estimate(images, run, model="synthetic", kind="metric", f_px=20),
    "verify": lambda images, run, to: verify(run, workers=1),
    "status": lambda images, run, to: status(run),
    "report": lambda images, run, to: report(run, output=to / "report.html", workers=1),
    "pointcloud": lambda images, run, to: make_point_clouds(run, to, options=CloudOptions(max_gap=9)),
    "convert": lambda images, run, to: convert(run, to, format="npz", workers=1),
    "evaluate": lambda images, run, to: open_predictor(str(run)),
    "dataset build": lambda images, run, to: [*list_run_items(images, run, Counter())],
}


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> Counter[Path]:
    """Count how often each file is opened to be read."""
    counts: Counter[Path] = Counter()
    read = paths._open_regular

    def count(path: str, flags: int) -> int:
        counts[Path(path)] += 1
        return read(path, flags)

    monkeypatch.setattr(paths, "_open_regular", count)
    return counts


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_reads_the_ledger_of_its_input_by_one_pass(
    command: str, tmp_path: Path, make_image: Make, opened: Counter[Path]
) -> None:
    images, run = tmp_path / "in", tmp_path / "run"
    for index in range(6):
        make_image(images / f"{index}.jpg", seed=index)
    (images / "broken.jpg").write_bytes(b"\xff\xd8\xff")
    estimate(images, run, model="synthetic", kind="metric", f_px=20)
    opened.clear()
    COMMANDS[command](images, run, tmp_path / "to")
    assert opened[run / LEDGER_NAME] == 1
    assert opened[tmp_path / "to" / LEDGER_NAME] <= 1


def test_a_packed_run_is_converted_by_one_pass_beside_the_index(
    tmp_path: Path, make_image: Make, opened: Counter[Path]
) -> None:
    for index in range(6):
        make_image(tmp_path / "in" / f"{index}.jpg", seed=index)
    estimate(tmp_path / "in", tmp_path / "run", model="synthetic", kind="metric", pack="tar", pack_size=4)
    opened.clear()
    assert convert(tmp_path / "run", tmp_path / "to", format="npz", workers=1).done == 6
    assert opened[tmp_path / "run" / LEDGER_NAME] == 2


def write_partitions(root: Path) -> None:
    """Write a ledger with a line that is torn at the end of each of its three files."""
    for number, partition in enumerate((None, Partition(1, 2), Partition(2, 2))):
        with open_ledger(root, {"model": str(number)}, partition) as ledger:
            for key in ("all", f"own{number}"):
                ledger.record_begun(key, ["a.npy"])
                ledger.record_done(key, Source("/x", number, 1), PLACED, height=3)
            ledger.record_failure(Failure(f"bad{number}", "decode", DecodeError(str(number))))
            ledger.record_done(f"last{number}", Source("/x", number, 1), PLACED)
    for path in root.glob("ledger*.jsonl"):
        path.write_bytes(path.read_bytes()[:-1])


def count_last(root: AnyPath) -> Iterator[dict[str, object]]:
    """Yield the lines that count of what is done, by the plainest rule there is."""
    last = {line["key"]: line for line in read_ledger(root) if "key" in line}
    return (line for line in last.values() if line["outcome"] == "done")


def test_the_lines_that_count_are_those_of_the_file(tmp_path: Path, opened: Counter[Path]) -> None:
    write_partitions(tmp_path)
    expected = sorted(count_last(tmp_path), key=str)
    opened.clear()
    assert sorted(read_done(tmp_path), key=str) == expected and len(expected) == 7
    assert set(opened.values()) == {1} and len(opened) == 3
    with LedgerLines(tmp_path) as lines:
        state = LedgerState(lines)
        failed = [line["reason"] for line in lines.at(sorted(state.failed.values()))]
    assert failed == ["0", "1", "2"]
    assert state.counts() == {"done": 7, "failed": 3, "begun": 0, "requeued": 0}
    assert [run.settings["model"] for run in state.runs.values()] == ["0", "1", "2"]


def test_lines_that_come_meanwhile_are_not_among_them(tmp_path: Path) -> None:
    with open_ledger(tmp_path, {}) as ledger:
        for key in "ab":
            ledger.record_done(key, Source("/x", 1, 1), PLACED)
        lines = read_done(tmp_path)
        keys = [next(lines)["key"]]
        ledger.record_done("a", Source("/x", 2, 1), PLACED)
        ledger.record_done("c", Source("/x", 1, 1), PLACED)
        keys += [line["key"] for line in lines]
    assert keys == ["a", "b"]


@pytest.mark.parametrize(
    ("words", "counts"),
    [
        (["begun", "done"], {"done": 1}),
        (["begun", "done", "begun"], {"begun": 1}),
        (["begun", "done", "failed"], {"failed": 1}),
        (["begun", "done", "requeued"], {"requeued": 1}),
        (["begun", "done", "requeued", "begun"], {"begun": 1}),
        (["failed", "begun", "done"], {"done": 1}),
        (["begun", "done", "kept"], {"failed": 1}),
        (["begun", "kept"], {"failed": 1}),
        (["begun", "done", "begun", "unplaced"], {"failed": 1}),
        (["begun", "damaged"], {"begun": 1}),
        (["begun", "done", "damaged"], {"done": 1}),
    ],
)
def test_the_last_word_on_a_key_counts(tmp_path: Path, words: list[str], counts: dict[str, int]) -> None:
    with open_ledger(tmp_path, {}) as ledger:
        pass
    done = {"run": ledger.run, "path": "/x", "source": [1, 1], "outputs": PLACED}
    more: dict[str, dict[str, object]] = {
        "begun": {"outputs": ["a.npy"]},
        "done": done,
        "damaged": {**done, "outcome": "done", "height": "long"},
        "kept": {"outcome": "failed", "kept": True},
        "unplaced": {"outcome": "failed", "unplaced": True},
    }
    with (tmp_path / LEDGER_NAME).open("a") as file:
        for word in words:
            file.write(json.dumps({"key": "a", "outcome": word, **more.get(word, {})}) + "\n")
    with LedgerLines(tmp_path) as lines:
        state = LedgerState(lines)
    with LedgerLines(tmp_path) as lines:
        assert LedgerState(lines, counts_only=True).counts() == state.counts()
    assert {name: count for name, count in state.counts().items() if count} == counts
    assert (state.get("a") is not None) == (counts == {"done": 1} or words == ["begun", "done", "kept"])


@pytest.mark.parametrize(
    ("path", "most"),
    [
        ("/run/out/{}.npy", 450),  # of converted depth
        ("/run/in/{}", 450),
        ("/a/clip.mkv#{}", 550),  # whose key is another
        ("/a/\udcff", 550),
    ],
)
def test_what_a_ledger_knows_of_an_input_is_small(path: str, most: int) -> None:
    keys = [f"{number:06}.jpg" for number in range(2000)]
    paths = [path.format(number if "#" in path else key) for number, key in enumerate(keys)]
    done = {"outcome": "done", "run": "r", "source": [5, 6], "kind": "metric", "height": 3, "width": 4}
    entries = [
        {"key": key, **done, "path": where, "outputs": {f"{key}.npz": [*PLACED["a.npy"]]}}
        for key, where in zip(keys, paths, strict=True)
    ]
    lines = [json.dumps(each).encode() + b"\n" for each in entries]
    tracemalloc.start()
    state = LedgerState(lines)
    held = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert [entry.path for _, entry in state.done()] == paths
    assert dict(state.done())[keys[7]].outputs == {f"{keys[7]}.npz": PLACED["a.npy"]}
    assert held / len(keys) < most


def test_where_no_ledger_is_nothing_is_done(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no ledger in"):
        next(read_done(tmp_path))


def test_a_ledger_in_an_object_store_is_fetched_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("fsspec")
    root = to_path(f"memory://{tmp_path.name}/out")
    for run in range(2):
        with open_ledger(root, {"model": str(run)}) as ledger:
            for key in ("all", f"own{run}"):
                ledger.record_done(key, Source("/x", run, 1), PLACED)
    expected = sorted(count_last(root), key=str)
    fetched: Counter[str] = Counter()
    fetch = RemotePath.open

    def count(path: RemotePath, *mode: str) -> object:
        fetched[path.name] += 1
        return fetch(path, *mode)

    monkeypatch.setattr(RemotePath, "open", count)
    assert sorted(read_done(root), key=str) == expected and len(expected) == 3
    assert set(fetched.values()) == {1}
