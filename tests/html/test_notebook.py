"""What notebooks show: bounded, escaped, never in the way; drawn without matplotlib."""

from __future__ import annotations

import base64
import re
import subprocess
import sys
from io import BytesIO
from typing import Any

import numpy as np
import pytest
from PIL import Image

import cortexia_video as cx
from cortexia_video.html.notebook import SIDE, image_of

HOSTILE = 'a<script>alert(1)</script>&"\n\x1b.jpg'


def make_values(key: str = "a.jpg", height: int = 3000, width: int = 2000) -> list[Any]:
    """Return one of each type that has a picture."""
    image = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    values = np.linspace(1, 1.2, height * width, dtype=np.float32).reshape(height, width)
    values[:5] = np.nan
    frame, depth = cx.Frame(key, image), cx.DepthMap(values, "metric", f_px=900.0, model=key)
    return [frame, depth, cx.RGBDSample(frame, depth, origin=key), cx.point_cloud(depth, image)]


def test_drawn_images_are_small_whatever_the_size() -> None:
    for value in make_values():
        png, page = value._repr_png_(), value._repr_html_()
        shown = Image.open(BytesIO(png))
        width, height = shown.size
        assert height <= SIDE and width <= 2 * SIDE, "a sample is two pictures beside each other"
        assert len(png) < 450_000 and len(page) < 150_000
        data = re.search(r'src="data:image/jpeg;base64,([^"]+)"', page)
        assert data and Image.open(BytesIO(base64.b64decode(data[1]))).size == shown.size
        assert f"<code>{value!r}</code>" in page


def test_text_of_others_is_escaped() -> None:
    failure = cx.Failure(HOSTILE, "decode", cx.errors.DecodeError(HOSTILE))
    shown = [value._repr_html_() for value in make_values(HOSTILE, 24, 32)]
    shown.append(cx.jobs.Report(found=1, failed=1, failures=[failure])._repr_html_())
    for page in shown:
        assert "<script" not in page and "\x1b" not in page
    assert "&lt;script&gt;" in shown[0] and "&lt;script&gt;" in shown[-1]


def test_a_report_shows_its_counts_and_the_first_failures() -> None:
    failures = [cx.Failure(f"{number}.jpg", "decode", OSError("cut short")) for number in range(900)]
    report = cx.Report(found=900, failed=900, failures=failures)
    assert repr(report) == f"Report({report})" and len(repr(report)) < 120
    page = report._repr_html_()
    assert "900 found: 0 done, 0 skipped, 900 failed" in page and "and 890 more" in page
    assert len(page) < 3000


def test_near_is_bright_and_unknown_is_grey() -> None:
    values = np.array([[1, 2], [4, np.nan]], np.float32)
    metres, disparity = (image_of(cx.DepthMap(values, kind)) for kind in ("metric", "disparity"))
    assert metres[0, 0].sum() > metres[1, 0].sum() and disparity[0, 0].sum() < disparity[1, 0].sum()
    assert metres[1, 1].tolist() == disparity[1, 1].tolist() == [128, 128, 128]


@pytest.mark.parametrize("shape", [(0, 0), (0, 5), (1, 1), (1, 5000)])
def test_odd_sizes_are_shown_too(shape: tuple[int, int]) -> None:
    unknown = cx.DepthMap(np.full(shape, np.nan, np.float32), "metric")
    assert repr(unknown) == f"DepthMap({shape[0]}x{shape[1]}, metric, nothing known)"
    for value in (unknown, cx.Frame("a", np.zeros((*shape, 3), np.uint8))):
        assert value._repr_png_().startswith(b"\x89PNG") and value._repr_html_()


def test_no_image_needs_matplotlib() -> None:
    code = (
        "import sys; sys.modules['matplotlib'] = None; import numpy as np, cortexia_video as cx;"
        "print(len(cx.DepthMap(np.eye(9, dtype=np.float32), 'metric')._repr_png_()))"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(ran.stdout) > 50


def test_points_are_drawn_where_the_camera_saw_them() -> None:
    """A near point hides the far one behind it; what is right and above in the image is so in the picture."""
    points = np.array([[0, 0, 1], [0, 0, 2], [1, -1, 1], [-1, 1, 1]], np.float32)
    colors = np.array([[255, 0, 0], [0, 255, 0], [0, 0, 255], [0, 0, 0]], np.uint8)
    cloud = cx.point_clouds.PointCloud(points, colors, None, "unknown")
    assert repr(cloud) == "PointCloud(4 points, unit unknown)"
    image = np.asarray(Image.open(BytesIO(cloud._repr_png_())))
    middle = np.argwhere((image == (255, 0, 0)).all(2))
    assert len(middle) == 1 and np.abs(middle[0] - SIDE / 2).max() <= 1
    assert not (image == (0, 255, 0)).all(2).any()
