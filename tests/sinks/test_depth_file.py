"""`write_depth`: one depth map as one file, which `read_depth` reads back."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import numpy as np
import pytest

import cortexia_video as cx
from cortexia_video.errors import OutputError, OutputExistsError
from cortexia_video.formats.registry import FORMATS, FormatName

DEPTH = cx.DepthMap(np.linspace(1, 5, 48, dtype=np.float32).reshape(6, 8), "metric", 50.0, "given", model="m")
KEEPING = [name for name, form in FORMATS.items() if form.holds_metadata]


@pytest.mark.parametrize("name", KEEPING)
def test_the_end_of_the_name_says_the_format(name: str, tmp_path: Path) -> None:
    path = tmp_path / f"new/a{FORMATS[name].suffix}"
    cx.write_depth(DEPTH, path)
    read = cx.read_depth(path)
    assert (read.kind, read.f_px, read.f_source, read.model) == ("metric", 50.0, "given", "m")
    np.testing.assert_allclose(read.values, DEPTH.values, rtol=2e-3)
    assert [each.name for each in path.parent.iterdir()] == [path.name]


def test_a_format_by_name_needs_no_ending(tmp_path: Path) -> None:
    cx.write_depth(DEPTH, tmp_path / "a.png", format="png16")
    np.testing.assert_allclose(cx.read_depth(tmp_path / "a.png").values, DEPTH.values, rtol=1e-3)
    cx.write_depth(DEPTH, "memory://depth/a.npz")
    assert cx.read_depth("memory://depth/a.npz").f_px == 50.0
    assert set(get_args(FormatName)) == set(FORMATS)


@pytest.mark.parametrize("name", ["a", "a.jpg", "a.png", "a.preview.jpg"])
def test_a_name_that_says_no_format_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="says no format that keeps depth: end it in .npz"):
        cx.write_depth(DEPTH, tmp_path / name)
    assert not [*tmp_path.iterdir()]


def test_a_file_is_replaced_only_where_that_is_said(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    path.write_text("mine")
    with pytest.raises(OutputExistsError, match="give `overwrite=True`"):
        cx.write_depth(DEPTH, path)
    assert path.read_text() == "mine"
    cx.write_depth(DEPTH, path, overwrite=True)
    assert cx.read_depth(path).kind == "metric"
