"""What benchmarks do about disturbed rounds and losses; memory over a listing; doubles of what a GPU has."""

from __future__ import annotations

import contextlib
import io
import tracemalloc
from collections.abc import Iterator
from concurrent.futures import Future
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from PIL import Image

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


@pytest.fixture(autouse=True)
def benchmarks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(BENCHMARKS)


def test_a_loss_is_a_ratio_that_no_round_brings_back() -> None:
    from bench import find_losses

    known = {"a": [1.0, 1.1, 1.2], "b": [2.0], "c": [1.0, 1.01]}
    assert find_losses(known, {"a": [0.8, 0.9], "b": [2.1], "new": [0.1]}) == ["a"]
    assert (
        find_losses(known, {"a": [0.8, 1.05], "c": [0.97, 0.99]}) == []
    )  # within the rounds, within the noise


@pytest.fixture
def turns(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Let jobs take no time but, turn by turn, the seconds of others that the list holds."""
    import race

    foreign: list[float] = []

    class Pool:
        def submit(self, work: object, photos: list[Path], output: Path) -> Future[Any]:
            done: Future[Any] = Future()
            done.set_result(race.Run(len(photos), 1.0, 1.0, foreign.pop(0) if foreign else 0.0, 0, 0, 0))
            return done

    @contextlib.contextmanager
    def start(load: object) -> Iterator[Pool]:
        yield Pool()

    monkeypatch.setattr(race, "_start", start)
    monkeypatch.setattr(race, "count_cores", lambda: 1)
    return foreign


def test_a_disturbed_round_is_repeated_and_said(
    turns: list[float], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from race import race

    turns += [0, 0, 0, 0.5]  # two turns that warm up, then a round whose second job is disturbed
    runs = race({"ours": print, "theirs": print}, [tmp_path], tmp_path, 2)  # type: ignore[dict-item]
    assert [len(each) for each in runs.values()] == [2, 2]
    assert all(run.foreign_seconds == 0 for each in runs.values() for run in each)
    said = capsys.readouterr().err
    assert "this round is repeated: others used 50% of the cores while theirs ran" in said
    turns += [0, *[0.5] * 9]  # a machine that is never quiet does not hold it up for ever
    assert len(race({"ours": print}, [tmp_path], tmp_path, 3)["ours"]) == 3  # type: ignore[dict-item]


def test_a_share_that_cannot_be_is_repeated(turns: list[float], tmp_path: Path) -> None:
    from race import race
    from sections import _find_impossible

    seen = []

    def judge(runs: Any) -> str | None:
        seen.append(len(runs["no cost"]))
        return "it cannot be" if len(seen) == 1 else None

    assert len(race({"no cost": print}, [tmp_path], tmp_path, 2, judge)["no cost"]) == 2  # type: ignore[dict-item]
    assert seen == [1, 1, 2]  # the first one was repeated
    (run,) = race({"no cost": print}, [tmp_path], tmp_path, 1)["no cost"]  # type: ignore[dict-item]
    slow = type(run)(
        1, 1.08, 1, 0, 0, 0, 0
    )  # of the job whose model costs nothing, by which the bound is known
    assert _find_impossible({"simulated GPU": [run], "no cost": [run]}) is None
    assert _find_impossible({"simulated GPU": [run], "no cost": [slow]}) == "1.080 of the bound was measured"


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    registry = pytest.importorskip("fsspec.registry")
    import listed_store

    from cortexia_video.storage import remote_path

    remote_path._open_file_system.cache_clear()
    yield listed_store
    remote_path._open_file_system.cache_clear()
    registry._registry.pop("s3", None)  # it is found anew by its name


@pytest.mark.parametrize("given", ["a bucket", "several", "a list"])
def test_memory_of_counting_does_not_grow_with_the_keys(
    given: str, store: ModuleType, tmp_path: Path
) -> None:
    """As `plan` counts: a page and a sample are known at a time, of 1,000 keys or of 100 million."""
    from cortexia_video.jobs.input_sample import Tally
    from cortexia_video.sources.find import InputFile, find_images

    peaks = []
    listing = tmp_path / "list.txt"
    inputs = {"a bucket": ["s3://bucket/in"], "several": ["s3://bucket/in", tmp_path], "a list": [listing]}
    Image.new("RGB", (64, 48)).save(tmp_path / "a.png")
    for count in (2_000, 2_000, 10_000):  # the first also fills what is kept for good
        store.begin(count, b"\xff\xd8\xff")
        listing.write_text("".join(f"s3://bucket/in/{number:08d}.jpg\n" for number in range(count)))
        tally = Tally(200)
        tracemalloc.start()
        for each in find_images(inputs[given], videos=True, apart=500):
            assert isinstance(each, InputFile)
            tally.add(each)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert tally.found == count + (given == "several")
    assert peaks[2] < 1.2 * peaks[1]


def test_a_finished_run_over_a_bucket_is_taken_up_without_a_request_for_each_key(store: ModuleType) -> None:
    import cortexia_video as cx

    file = io.BytesIO()
    Image.new("RGB", (64, 48)).save(file, "JPEG")
    store.begin(1, file.getvalue())
    asked: dict[str, Any] = {"model": "synthetic", "size": "native"}
    cx.estimate("s3://bucket/in", "s3://bucket/out", **asked)
    store.finish(2_500)
    report = cx.estimate("s3://bucket/in", "s3://bucket/out", **asked)
    assert (report.found, report.skipped, report.done, report.failed) == (2_500, 2_500, 0, 0)
    assert store.ListedStore.asked["list_objects_v2"] < 20
    assert store.ListedStore.asked["info"] + store.ListedStore.asked["cat_file"] < 40


def test_a_replayed_network_gives_what_the_network_gives() -> None:
    torch = pytest.importorskip("torch")
    from device_ways import ReplayedNetwork

    network = torch.nn.Linear(3, 2)
    replayed = ReplayedNetwork(
        lambda pixels, double: (network(pixels) * (2 if double else 1), [pixels.sum()])
    )  # type: ignore[arg-type]
    with torch.no_grad():
        first = replayed(torch.ones(4, 3), True)
        kept = first[0].clone()
        for batch, double in ((torch.zeros(4, 3), True), (torch.rand(2, 3), False), (torch.ones(4, 3), True)):
            found = replayed(batch, double)
            torch.testing.assert_close(found[0], network(batch) * (2 if double else 1))
            torch.testing.assert_close(found[1][0], batch.sum())
        torch.testing.assert_close(first[0], kept)  # what was given stays as it was
