"""The example package, installed as a user would: it is listed, it estimates, its images stay apart."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from conftest import HANG_S, leave_out_progress

from cortexia_video import DepthMap, Frame, list_models, load_estimator
from cortexia_video.models.registry import load_model, require_commercial

NAME = "example-multi-view"


def cortexia(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "cortexia_video", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=HANG_S)


def photos() -> np.ndarray:
    """Return five images (5, 64, 88, 3), of noise, of one colour, and dark."""
    images = np.random.default_rng(0).integers(0, 256, (5, 64, 88, 3), dtype=np.uint8)
    images[3], images[4] = 255, images[4] // 8
    return images


@pytest.mark.usefixtures("use_plugin_example")
def test_the_command_line_lists_it_and_estimates(tmp_path: Path, make_image: Callable[..., Path]) -> None:
    listed = cortexia("models")
    assert (listed.returncode, listed.stderr) == (0, "")
    assert any(line.startswith(f"{NAME}\t") and "broken" not in line for line in listed.stdout.splitlines())
    for index, size in enumerate([(48, 64), (64, 48), (100, 64)]):
        make_image(tmp_path / f"photos/{index}.jpg", size, seed=index)
    ran = cortexia("estimate", tmp_path / "photos", "--output", tmp_path / "depth", "--model", NAME)
    assert (ran.returncode, leave_out_progress(ran.stderr)) == (0, "")
    assert ran.stdout.startswith("3 found: 3 done, 0 skipped, 0 failed; ")
    depth = np.load(tmp_path / "depth/1.jpg.npy")
    assert depth.shape == (64, 48) and np.ptp(depth) > 0


@pytest.mark.usefixtures("use_plugin_example")
def test_five_at_once_are_five_alone() -> None:
    assert NAME in [info.name for info in list_models()]
    require_commercial(NAME)
    frames = [Frame(f"{index}", image) for index, image in enumerate(photos())]
    together = [*load_estimator(NAME, batch_size=5).estimate(frames)]
    alone = [*load_estimator(NAME, batch_size=1).estimate(frames)]
    for one, other in zip(together, alone, strict=True):
        assert isinstance(one, DepthMap) and isinstance(other, DepthMap)
        np.testing.assert_allclose(one.values, other.values, atol=1e-6)


@pytest.mark.usefixtures("use_plugin_example")
def test_as_views_of_one_scene_the_same_images_would_differ() -> None:
    model = load_model(NAME)
    batch = np.stack([model.preprocess(image, (64, 88)) for image in photos()])
    apart, mixed = model.infer(batch), model.network(batch[None])[0]
    assert apart.shape == mixed.shape
    assert (np.abs(apart - mixed).max(axis=(1, 2)) > 0.01 * np.ptp(apart)).all()
