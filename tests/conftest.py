"""What several test files need: pictures to estimate, and the data beside the project where it is there."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

SHARED = Path(__file__).resolve().parents[2] / "shared"


@pytest.fixture
def shared_data() -> Path:
    """Give ../shared/data, or skip."""
    if not (SHARED / "data").is_dir():
        pytest.skip("needs ../shared/data")
    return SHARED / "data"


@pytest.fixture
def make_picture() -> Callable[..., Path]:
    """Give make_picture(path, (height, width), seed), which writes a picture of soft random colours."""

    def make(path: Path, size: tuple[int, int] = (48, 64), seed: int = 0) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        coarse = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), dtype=np.uint8)
        Image.fromarray(coarse).resize((size[1], size[0]), Image.Resampling.BICUBIC).save(path)
        return path

    return make
