"""What a teacher's labels are beside their images."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cortexia_video.training.pseudo_labels import label_images


@pytest.mark.parametrize("orientation", [1, 6])
def test_labels_smaller_than_their_image_show_what_it_shows(tmp_path: Path, orientation: int) -> None:
    """An image that EXIF turns stays upright, as its label is."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    pixels = np.random.default_rng(0).integers(0, 256, (480, 640, 3), np.uint8)
    (tmp_path / "photos").mkdir()
    Image.fromarray(pixels).save(tmp_path / "photos/a.jpg", exif=exif)
    (sample,) = label_images(str(tmp_path / "photos"), tmp_path / "labels", "synthetic", any_licence=True)
    height, width = sample.depth.values.shape
    upright = (480, 640) if orientation == 1 else (640, 480)
    assert sample.frame.image.shape == (height, width, 3) and height < upright[0]
    assert (height > width) == (orientation == 6)
