"""MATLAB's files of level 5 as SciPy writes them, and damaged ones, on which SciPy's reader dies."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest
from scipy.io import savemat

from cortexia_video.datasets.readers._matlab import read_mat
from cortexia_video.errors import InputError

NUMBERS = [np.arange(6.0).reshape(2, 3), np.arange(795, dtype=np.uint16)[:, None], np.array([[7]], np.int8)]
TEXTS = ["/SUNRGBD/kv1/a", "räume", "abc", "a" * 4000]


@pytest.fixture(params=[False, True], ids=["plain", "packed"])
def path(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    words = {f"number{index}": each for index, each in enumerate(NUMBERS)}
    words |= {"texts": np.array([TEXTS], object), "text": TEXTS[0], "late": np.eye(2)}
    savemat(tmp_path / "list.mat", words, do_compression=request.param)
    return tmp_path / "list.mat"


def test_numbers_and_texts_come_back(path: Path) -> None:
    for index, each in enumerate(NUMBERS):
        np.testing.assert_array_equal(read_mat(path, f"number{index}", np.ndarray), each)
    assert read_mat(path, "texts", list) == TEXTS
    assert read_mat(path, "text", str) == TEXTS[0]
    np.testing.assert_array_equal(read_mat(path, "late", np.ndarray), np.eye(2))


def test_what_is_not_there_is_said(path: Path) -> None:
    with pytest.raises(InputError, match="has no variable other"):
        read_mat(path, "other", list)
    with pytest.raises(InputError, match="texts is no ndarray"):
        read_mat(path, "texts", np.ndarray)
    with pytest.raises(InputError, match=r"no such file|No such file"):
        read_mat(path.with_name("gone.mat"), "texts", list)


def test_damaged_files_are_read_or_refused(path: Path) -> None:
    whole, chance = path.read_bytes(), random.Random(0)
    refused = 0
    for _ in range(300):
        data = bytearray(whole[: chance.choice((len(whole), chance.randrange(len(whole))))])
        for _ in range(3):
            if data:
                data[chance.randrange(len(data))] = chance.choice((0, 255, chance.randrange(256)))
        path.write_bytes(data)
        try:
            read_mat(path, "texts", list)
        except InputError:
            refused += 1
    assert refused > 100
