"""Runs in every format: outputs are never inputs, are verified, and metres get another focal length."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from camera_model import Camera

from cortexia_video import DepthEstimator, convert, estimate, read_depth, verify
from cortexia_video.formats.registry import FORMATS

EVERY = pytest.mark.parametrize("name", FORMATS)
METRES = pytest.mark.parametrize("name", [name for name, form in FORMATS.items() if form.decode])
KEYS = ("a.jpg", "b.png", "c.tiff")
ABOUT = {"kind": "metric"}


@pytest.fixture
def photos(tmp_path: Path, make_image: Callable[..., Path]) -> Path:
    for index, key in enumerate(KEYS):
        make_image(tmp_path / key, seed=index)
    return tmp_path


def run(photos: Path, name: str, **options: object) -> tuple[int, int, int]:
    report = estimate(photos, photos, model=DepthEstimator(Camera()), f_px=50, format=name, **options)
    return report.found, report.done, report.skipped


def damage(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-30] ^= 255
    path.write_bytes(data)


@EVERY
def test_a_run_beside_its_images_does_them_once_and_can_be_verified(photos: Path, name: str) -> None:
    assert run(photos, name, preview=True) == (3, 3, 0)
    assert run(photos, name, preview=True) == (3, 0, 3)
    found = verify(photos)
    assert (found.checked, found.wrong, found.unfinished) == (6, [], [])
    suffix = FORMATS[name].suffix
    damage(photos / f"a.jpg{suffix}")
    (photos / f"b.png{suffix}").write_bytes(b"")
    assert [each.output for each in verify(photos).wrong] == [f"a.jpg{suffix}", f"b.png{suffix}"]


def test_outputs_of_all_formats_lie_beside_each_other_and_none_is_an_input(photos: Path) -> None:
    for name in FORMATS:
        assert run(photos, name) == (3, 3, 0)
    assert len([*photos.glob("a.jpg.*")]) == len(FORMATS)


@METRES
def test_metres_of_every_format_follow_the_focal_length(photos: Path, name: str) -> None:
    before, out = photos / "run", photos / "scaled"
    estimate(photos, before, model=DepthEstimator(Camera()), f_px=50, format=name)
    report = convert(before, out, f_px=75)
    assert (report.found, report.done) == (3, 3)
    assert (verify(out).wrong, verify(out).unfinished) == ([], [])
    for key in KEYS:
        old, new = (
            read_depth(folder / (key + FORMATS[name].suffix), about=ABOUT) for folder in (before, out)
        )
        np.testing.assert_allclose(new.values, 1.5 * old.values, rtol=6e-4, atol=6e-4)
        if FORMATS[name].holds_metadata:
            assert (old.f_px, old.f_source, old.model) == (50, "given", "synthetic")
            assert (new.f_px, new.f_source) == (75, "given")
            assert (new.model, new.weights_sha256) == (old.model, old.weights_sha256)
