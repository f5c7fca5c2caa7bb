"""`build_dataset`: what the command does, for Python."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from dataset_layouts import make_scene, make_tum

import cortexia_video as cx
from cortexia_video.datasets import open_folder, recognise
from cortexia_video.errors import InputError


def test_images_and_their_depth_become_a_dataset(tmp_path: Path, make_image: Callable[..., Path]) -> None:
    for index in range(3):
        make_image(tmp_path / f"photos/{index}.jpg", seed=index)
    cx.estimate(tmp_path / "photos", tmp_path / "depth", model=cx.DepthEstimator(cx.SyntheticModel()))
    report = cx.build_dataset(tmp_path / "photos", tmp_path / "set", depth=tmp_path / "depth")
    assert (report.rows, report.failed) == (3, 0)
    assert recognise(tmp_path / "set") == "parquet"
    assert [each.key for each in open_folder(tmp_path / "set")] == ["0.jpg", "1.jpg", "2.jpg"]
    with pytest.raises(InputError, match="`name` is for a dataset: with `depth` leave it out"):
        cx.build_dataset(tmp_path / "photos", tmp_path / "b", depth=tmp_path / "depth", name="tum")


def test_a_folder_and_the_dataset_opened_from_it_are_the_same(tmp_path: Path) -> None:
    make_tum(tmp_path / "tum", make_scene(), 3)
    dataset = cx.open_dataset("tum", tmp_path / "tum")
    assert cx.build_dataset(dataset, tmp_path / "set").shards_made == 1
    assert cx.build_dataset(tmp_path / "tum", tmp_path / "set").shards_kept == 1
    with pytest.raises(InputError, match="a dataset has depth of its own"):
        cx.build_dataset(dataset, tmp_path / "b", depth=tmp_path)
