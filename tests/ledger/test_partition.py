"""Every key is in exactly one shard, on every machine the same."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cortexia_video.errors import InputError
from cortexia_video.ledger.partition import Partition, parse_partition

KEYS = st.binary(max_size=20).map(lambda name: name.decode("utf-8", "surrogateescape"))


@given(KEYS, st.integers(1, 40))
def test_a_key_is_in_exactly_one_shard(key: str, count: int) -> None:
    assert sum(Partition(index, count).holds(key) for index in range(1, count + 1)) == 1


def test_the_split_is_the_same_for_ever() -> None:
    keys = ["a.jpg", "trip/b.jpg", "日本.jpg", "\udcff.jpg", ""]
    assert [next(i for i in range(1, 17) if Partition(i, 16).holds(key)) for key in keys] == [11, 2, 4, 9, 5]


def test_shards_are_about_equal() -> None:
    sizes = Counter(i for n in range(4000) for i in range(1, 5) if Partition(i, 4).holds(f"IMG_{n:04}.jpg"))
    assert all(900 < size < 1100 for size in sizes.values())


@pytest.mark.parametrize("text", ["1/1", "3/16", "16/16"])
def test_shards_are_written_as_they_are_read(text: str) -> None:
    assert str(parse_partition(text)) == text


@pytest.mark.parametrize(
    "text", ["0/4", "5/4", "x", "", "3", "1/0", "-1/4", "1/4/2", " 1/4", "1.5/4", "²/4", "1/"]
)
def test_what_is_no_shard_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="`partition` must be like 3/16, from 1/16 to 16/16, got ") as raised:
        parse_partition(text)
    assert repr(text) in str(raised.value)
