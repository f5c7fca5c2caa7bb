"""Mixtures of streams: by weight, one kind a batch, the same again from any position; and torch's loaders."""

from __future__ import annotations

import json
import pickle
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from dataset_layouts import make_rgbd, make_scene

from cortexia_video import DepthMap, Failure, Frame, InputError, RGBDSample, from_hf, open_dataset, to_hf
from cortexia_video.datasets.build import write_shards
from cortexia_video.datasets.build_items import list_dataset_items
from cortexia_video.datasets.dataset import Attempt, Load, RGBDDataset, RGBDStream
from cortexia_video.datasets.sample_checks import ProblemCount
from cortexia_video.datasets.stream_mixture import StreamMixture, StreamPosition, advance
from cortexia_video.depth_map import DepthKind


def decode(key: str, kind: DepthKind) -> Attempt:
    if "broken" in key:
        return Failure(key, "decode", InputError("broken"))
    values = np.ones((6, 8), np.float32)
    return RGBDSample(Frame(key, np.zeros((6, 8, 3), np.uint8)), DepthMap(values, kind))


@dataclass(frozen=True)
class Made:
    """A shard of so many samples."""

    name: str
    count: int
    kind: DepthKind

    def __call__(self) -> Iterator[Load]:
        return (partial(decode, f"{self.name}{number}", self.kind) for number in range(self.count))


def make_stream(name: str, counts: list[int], kind: DepthKind = "metric") -> RGBDStream:
    return RGBDStream(name, [Made(f"{name}{n}-", count, kind) for n, count in enumerate(counts)], None)


@pytest.fixture(params=[1, 5])
def mixture(request: pytest.FixtureRequest) -> StreamMixture:
    streams = {
        "a": make_stream("a", [5, 4, 6]),
        "b": make_stream("b", [50]),
        "c": make_stream("c", [3, 4], "disparity"),
    }
    return StreamMixture(streams, {"a": 3.0, "b": 1.0, "c": 4.0}, batch_size=4, seed=2, shuffle=request.param)


def keys(mixture: StreamMixture, count: int, **options: Any) -> list[list[str]]:
    return [[each.key for each in batch.samples] for batch in islice(mixture.batches(**options), count)]


def test_weights_say_how_often_and_a_batch_is_of_one_kind(mixture: StreamMixture) -> None:
    batches = keys(mixture, 2000)
    shares = {name: n / 8000 for name, n in Counter(key[0] for batch in batches for key in batch).items()}
    assert shares == {
        name: pytest.approx(w, abs=0.03) for name, w in (("a", 3 / 8), ("b", 1 / 8), ("c", 0.5))
    }
    assert all({key[0] for key in batch} in ({"c"}, {"a"}, {"b"}, {"a", "b"}) for batch in batches)


@pytest.mark.parametrize("readers", [1, 2, 3])
def test_each_epoch_gives_every_sample_once_in_another_order(mixture: StreamMixture, readers: int) -> None:
    """Of each stream, whether it has fewer shards than readers or more."""
    for name, total in (("a", 15), ("b", 50)):
        alone = StreamMixture({name: mixture.datasets[name]}, {name: 1}, 1, 2, mixture.shuffle)
        epochs: list[list[str]] = [[], [], []]
        for index in range(readers):
            for (key,), batch in zip(
                keys(alone, 400, part=(index, readers)), alone.batches(part=(index, readers)), strict=False
            ):
                epoch = batch.position["readers"][str(index)]["places"][name][0]
                if epoch < 3:
                    epochs[epoch].append(key)
        assert [len(epoch) for epoch in epochs] == [total] * 3
        assert len({frozenset(epoch) for epoch in epochs}) == 1 and len(set(epochs[0])) == total
        if mixture.shuffle > 1 or name == "a":
            assert len({tuple(epoch) for epoch in epochs}) > 1


@pytest.mark.parametrize("start", [0, 1, 17, 40])
def test_it_goes_on_from_any_position(mixture: StreamMixture, start: int) -> None:
    whole = list(islice(mixture.batches(), start + 60))
    position = None
    for batch in whole[:start]:
        position = advance(position, batch.position)
    copy, kept = pickle.loads(pickle.dumps(mixture)), json.loads(json.dumps(position))
    rest = list(islice(copy.batches(kept), 60))
    assert [[s.key for s in b.samples] for b in rest] == [[s.key for s in b.samples] for b in whole[start:]]
    assert [b.number for b in rest] == list(range(start, start + 60))


def test_what_is_passed_over_is_not_decoded() -> None:
    decoded: list[str] = []

    def load(key: str) -> Attempt:
        decoded.append(key)
        return decode(key, "metric")

    stream = RGBDStream("a", [lambda: (partial(load, f"{n}") for n in range(100))])
    mixture = StreamMixture({"a": stream}, {"a": 1}, 1, shuffle=10)
    *_, last = islice(mixture.batches(), 95)
    decoded.clear()
    next(mixture.batches(last.position))
    assert len(decoded) == 1


def test_positions_that_do_not_fit_are_refused(mixture: StreamMixture) -> None:
    position = next(mixture.batches()).position
    other = StreamMixture(mixture.datasets, mixture.weights, 4, seed=3)
    with pytest.raises(InputError, match="start anew"):
        next(other.batches(position))
    with pytest.raises(InputError, match="use num_workers=1"):
        next(mixture.batches(position, part=(0, 2)))


def test_broken_samples_are_left_out_or_end_it_as_asked() -> None:
    streams = {"broken": make_stream("broken", [3]), "b": make_stream("b", [9])}
    streams["broken"] = RGBDStream("broken", streams["broken"].shards, "metric")
    mixture = StreamMixture(streams, {"broken": 1, "b": 1}, 4)
    count = ProblemCount()
    *batches, last = islice(mixture.batches(on_problem=count), 30)
    given = sum(len(batch.samples) for batch in [*batches, last])
    assert given + count.total == 4 * last.position["readers"]["0"]["drawn"] and 0 < count.total < 120
    with pytest.raises(InputError, match="broken"):
        list(islice(mixture.batches(), 30))


@pytest.mark.parametrize(
    ("streams", "words"),
    [
        ({"a": make_stream("a", [])}, "no sample can be read"),
        ({"a": RGBDStream("a", [Made("a", 0, "metric")], "metric")}, "'a' has no sample for reader 1 of 1"),
        ({"a": RGBDStream("a", [Made("a", 3, "disparity")], "metric")}, "its depth is disparity, that of a"),
    ],
)
def test_streams_that_cannot_be_mixed(streams: dict[str, RGBDStream], words: str) -> None:
    with pytest.raises(InputError, match=words):
        next(StreamMixture(streams, {"a": 1}, 2).batches())
    for options in ({"weights": {}}, {"weights": {"a": 1}, "shuffle": 0}):
        with pytest.raises(InputError, match=r"weights are for nothing|shuffle=0"):
            StreamMixture(streams, batch_size=2, **options)


@pytest.fixture
def shards(tmp_path: Path) -> StreamMixture:
    """Return a mixture of tar shards, a streaming dataset of Hugging Face's, and one with numbers."""
    pytest.importorskip("datasets")
    for name, count in (("tar", 11), ("numbers", 5)):
        make_rgbd(tmp_path / name, make_scene(), count)
    items = list_dataset_items(open_dataset("rgbd", tmp_path / "tar"))  # type: ignore[arg-type]
    write_shards(items, tmp_path / "shards", format="webdataset", shard_size=4)
    numbers = open_dataset("rgbd", tmp_path / "numbers")
    assert isinstance(numbers, RGBDDataset)
    hub = from_hf(to_hf(numbers).to_iterable_dataset(num_shards=2))
    tar = open_dataset("webdataset", tmp_path / "shards")
    return StreamMixture(
        {"tar": tar, "hub": hub, "n": numbers}, dict.fromkeys(("tar", "hub", "n"), 1), 3, shuffle=3
    )


def test_streams_of_files_go_on_from_any_position(shards: StreamMixture) -> None:
    whole = list(islice(shards.batches(), 12))
    rest = list(islice(shards.batches(whole[4].position), 7))
    assert [[s.key for s in b.samples] for b in rest] == [[s.key for s in b.samples] for b in whole[5:]]
    assert {s.key for b in whole for s in b.samples} == {str(number) for number in range(11)}


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("used", [1, 4])
def test_torch_goes_on_where_it_was(shards: StreamMixture, workers: int, used: int) -> None:
    data = pytest.importorskip("torch.utils.data")
    from cortexia_video.augmentation import Flip, Sometimes
    from cortexia_video.datasets.torch.datasets import StreamBatches

    def load(position: StreamPosition | None, count: int) -> list[dict[str, Any]]:
        batches = StreamBatches(shards, Sometimes(Flip()), position)
        return list(islice(data.DataLoader(batches, batch_size=None, num_workers=workers), count))

    whole, position = load(None, 9), None
    for batch in whole[:used]:
        position = advance(position, batch["position"])
    rest = load(json.loads(json.dumps(position)), 9 - used)
    assert [batch["key"] for batch in rest] == [batch["key"] for batch in whole[used:]]
    assert [batch["batch"] for batch in rest] == list(range(used, 9))
    for one, other in zip(rest, whole[used:], strict=True):
        np.testing.assert_array_equal(one["pixel_values"], other["pixel_values"])


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.filterwarnings("ignore:'set_vital' is deprecated")  # torchdata 0.11 with torch 2.13
def test_torchdatas_loader_keeps_the_position_itself(shards: StreamMixture, workers: int) -> None:
    stateful = pytest.importorskip("torchdata.stateful_dataloader")
    from cortexia_video.datasets.torch.datasets import StreamBatches

    def make() -> Any:
        return stateful.StatefulDataLoader(StreamBatches(shards), batch_size=None, num_workers=workers)

    whole = [batch["key"] for batch in islice(make(), 9)]
    first, again = make(), make()
    begun = iter(first)
    assert [next(begun)["key"] for _ in range(5)] == whole[:5]
    again.load_state_dict(first.state_dict())
    assert [batch["key"] for batch in islice(again, 4)] == whole[5:]
