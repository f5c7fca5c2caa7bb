"""`examples/depth_dataset_guide.py` runs from top to bottom on real sets, and every figure is there."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT
from PIL import Image

SIZES = {
    "sample.png": (640, 480),
    "target.png": (640, 480),
    "target_viz.png": (640, 480),
    "row.png": (1280, 480),
    "sample_aug.png": (576, 448),
    "target_aug.png": (576, 448),
}


def test_the_guide_runs_and_every_figure_exists(shared_data: Path, tmp_path: Path) -> None:
    pytest.importorskip("albumentations")
    sets = sorted(path.parent for path in (shared_data / "rgbd").glob("*/set.json"))
    command = [
        sys.executable,
        ROOT / "examples/depth_dataset_guide.py",
        *sets,
        "--output",
        tmp_path / "figures",
    ]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    ran = subprocess.run(command, capture_output=True, text=True, timeout=120, env=environment)
    assert ran.returncode == 0, ran.stderr
    assert "38 samples; 0 skipped" in ran.stdout and "TiffImageFile image mode=F size=640x480" in ran.stdout
    figures = {path.name: Image.open(path) for path in (tmp_path / "figures").iterdir()}
    assert {name: figures[name].size for name in SIZES} == SIZES
    assert set(figures) == {*SIZES, "collage.png", "aug_collage.png"}
    for name, figure in figures.items():
        spread = np.asarray(figure.convert("RGB")).std()
        assert spread < 10 if name == "target.png" else spread > 20, name
        figure.close()
