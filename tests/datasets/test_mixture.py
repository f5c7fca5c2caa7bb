"""Mixtures: by weight, one kind a batch, the same again from any position; and torch's loaders."""

from __future__ import annotations

import json
import pickle
from collections import Counter
from dataclasses import dataclass
from itertools import islice

import numpy as np
import pytest

from cortexia_video import DepthMap, Frame, RGBDSample
from cortexia_video.datasets.dataset import RGBDDataset
from cortexia_video.datasets.mixture import Mixture
from cortexia_video.datasets.sample_checks import ProblemCount
from cortexia_video.depth_map import DepthKind
from cortexia_video.errors import InputError


@dataclass(frozen=True)
class Entry:
    key: str
    kind: DepthKind
    value: float


def read(entry: Entry) -> RGBDSample:
    if entry.value < 0:
        raise InputError("broken")
    values = np.full((6, 8), entry.value, np.float32)
    return RGBDSample(Frame(entry.key, np.zeros((6, 8, 3), np.uint8)), DepthMap(values, entry.kind))


def make_set(name: str, count: int, kind: DepthKind = "metric", value: float = 1.0) -> RGBDDataset:
    return RGBDDataset(name, [Entry(f"{name}{n}", kind, value) for n in range(count)], read, kind)


@pytest.fixture
def mixture() -> Mixture:
    sets = {"a": make_set("a", 5), "b": make_set("b", 50), "c": make_set("c", 7, "disparity")}
    return Mixture(sets, {"a": 3.0, "b": 1.0, "c": 4.0}, batch_size=4, seed=2)


def test_weights_say_how_often(mixture: Mixture) -> None:
    picks = [pick.name for batch in islice(mixture.plan(), 4000) for pick in batch]
    shares = {name: count / len(picks) for name, count in Counter(picks).items()}
    assert shares == {
        name: pytest.approx(w, abs=0.03) for name, w in (("a", 3 / 8), ("b", 1 / 8), ("c", 0.5))
    }


def test_a_batch_is_of_one_kind(mixture: Mixture) -> None:
    kinds = [{sample.depth.kind for sample in batch} for batch in islice(mixture.batches(), 60)]
    assert all(len(kind) == 1 for kind in kinds)
    assert {next(iter(kind)) for kind in kinds} == {"metric", "disparity"}


def test_each_set_is_gone_through_before_it_begins_anew(mixture: Mixture) -> None:
    rounds = [pick.number for batch in islice(mixture.plan(), 400) for pick in batch if pick.name == "a"]
    whole = [rounds[start : start + 5] for start in range(0, len(rounds) - 5, 5)]
    assert all(sorted(each) == [0, 1, 2, 3, 4] for each in whole)
    assert len({tuple(each) for each in whole}) > 20


@pytest.mark.parametrize("start", [0, 1, 17])
def test_it_goes_on_from_any_position(mixture: Mixture, start: int) -> None:
    position = json.loads(json.dumps(mixture.position(start)))
    copy = pickle.loads(pickle.dumps(mixture))
    expected = [[s.key for s in batch] for batch in islice(mixture.batches(), start, start + 9)]
    assert [[s.key for s in batch] for batch in islice(copy.batches(position), 9)] == expected
    parts = [copy.batches(position, part=((start + i) % 2, 2)) for i in range(2)]
    mixed = [[s.key for s in next(parts[n % 2])] for n in range(9)]
    assert mixed == expected


def test_the_position_of_another_mixture_is_refused(mixture: Mixture) -> None:
    other = Mixture(mixture.datasets, mixture.weights, batch_size=4, seed=3)
    with pytest.raises(InputError, match="start anew"):
        next(other.batches(mixture.position(3)))


def test_broken_samples_are_left_out_or_end_it_as_asked() -> None:
    broken = Mixture({"a": make_set("a", 3, value=-1.0), "b": make_set("b", 9)}, {"a": 1, "b": 1}, 4)
    count = ProblemCount()
    sizes = [len(batch) for batch in islice(broken.batches(on_problem=count), 30)]
    assert sum(sizes) + count.total == 120 and 0 < count.total < 120
    with pytest.raises(InputError, match="broken"):
        list(islice(broken.batches(), 30))


def test_a_set_that_lies_about_its_kind_is_noticed() -> None:
    liar = RGBDDataset("a", make_set("a", 3, "disparity").entries, read, "metric")
    with pytest.raises(InputError, match="its depth is disparity, that of a metric"):
        next(Mixture({"a": liar}, {"a": 1}, 2).batches())


@pytest.mark.parametrize(
    ("sets", "weights", "words"),
    [
        ({}, {}, "datasets are none"),
        ({"a": make_set("a", 2)}, {"b": 1}, "weights are for b"),
        ({"a": make_set("a", 2)}, {"a": 0}, "must be above 0"),
        ({"a": make_set("a", 0)}, {"a": 1}, "'a' is empty"),
        ({"a": RGBDDataset("a", [Entry("k", "metric", 1)], read, None)}, {"a": 1}, "several kinds"),
    ],
)
def test_mixtures_that_cannot_be_are_refused(
    sets: dict[str, RGBDDataset], weights: dict[str, float], words: str
) -> None:
    with pytest.raises(InputError, match=words):
        Mixture(sets, weights, 2)


@pytest.mark.parametrize("workers", [0, 2])
def test_torch_gets_the_same_batches_from_any_number_of_workers(mixture: Mixture, workers: int) -> None:
    data = pytest.importorskip("torch.utils.data")
    from cortexia_video.augmentation import Flip, Sometimes
    from cortexia_video.datasets.torch.datasets import MixedBatches, SampleDataset

    loader = data.DataLoader(
        MixedBatches(mixture, Sometimes(Flip()), mixture.position(3)), batch_size=None, num_workers=workers
    )
    batches = list(islice(loader, 5))
    expected = [[s.key for s in batch] for batch in islice(mixture.batches(), 3, 8)]
    assert [batch["key"] for batch in batches] == expected
    assert batches[0]["pixel_values"].shape == (4, 3, 6, 8) and batches[0]["labels"].shape == (4, 1, 6, 8)
    assert all(len(set(batch["kind"])) == 1 for batch in batches)
    assert [batch["batch"] for batch in batches] == [3, 4, 5, 6, 7]
    by_number = data.DataLoader(SampleDataset(mixture.datasets["b"]), batch_size=10, num_workers=workers)
    assert [len(batch["key"]) for batch in by_number] == [10] * 5
