"""Views: values for the pointer are the map's, links lead to their files, text stays text, colours can be read."""

from __future__ import annotations

import base64
import itertools
import os
import re
import struct
from importlib.resources import files
from pathlib import Path
from urllib.parse import unquote_to_bytes, urljoin
from xml.etree.ElementTree import tostring

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from cortexia_video.html.blocks import table, write_document
from cortexia_video.html.markup import element
from cortexia_video.html.views import Layer, Values, find_bar, fit_within, link_to, pick_values, show_view
from cortexia_video.storage.paths import to_path

HOSTILE = "</script><img src=x onerror=alert(1)>\"'&\x00\x1b"


def read_codes(found: Values) -> np.ndarray:
    """Return what the codes stand for, as `Values` says it: an independent reading."""
    data = base64.b64decode(found.codes)
    numbers = [number for (number,) in struct.iter_unpack("<H", data)]
    steps = [(number - 1) / 65534 for number in numbers]
    low, high = found.low, found.high
    known = [low * (high / low) ** t if low > 0 else low + (high - low) * t for t in steps]
    read = [np.nan if number == 0 else value for number, value in zip(numbers, known, strict=True)]
    return np.array(read).reshape(-1, found.columns)


@settings(max_examples=40)
@given(
    npst.arrays(
        np.float32,
        npst.array_shapes(min_dims=2, max_dims=2, max_side=300),
        elements=st.one_of(
            st.floats(-(2.0**100), 2.0**100, width=32), st.floats(0.25, 80, width=32), st.just(np.nan)
        ),
        fill=st.floats(1, 2, width=32),
    )
)
def test_values_for_the_pointer_are_the_maps_within_their_step(values: np.ndarray) -> None:
    found = pick_values(values, "m")
    if found is None:
        assert np.isnan(values).any()
        return
    read = read_codes(found)
    assert read.shape[0] <= 96 and read.shape[1] <= 128 and found.columns == read.shape[1]
    for row, column in itertools.product(range(0, len(read), 7), range(0, read.shape[1], 7)):
        true = values[
            int((row + 0.5) * values.shape[0] / len(read)),
            int((column + 0.5) * values.shape[1] / read.shape[1]),
        ].astype(float)
        if np.isnan(true):
            assert np.isnan(read[row, column])
        elif found.low > 0:  # half a step, and a little for rounding
            assert (
                abs(np.log(read[row, column] / true)) <= 0.51 * np.log(found.high / found.low) / 65534 + 1e-9
            )
        else:
            step = (found.high - found.low) / 65534
            assert abs(read[row, column] - true) <= 0.51 * step + 1e-9 * abs(true)


def test_infinite_is_unknown_and_a_constant_is_read() -> None:
    values = np.full((4, 4), 7, np.float32)
    values[0, 0] = np.inf
    found = pick_values(values, "m")
    assert found is not None and (found.low, found.high) == (7, 7)
    assert np.isnan(read_codes(found)[0, 0]) and (read_codes(found).ravel()[1:] == 7).all()
    assert pick_values(np.full((4, 4), np.nan, np.float32), "m") is None


@pytest.mark.parametrize(
    ("size", "fitted"), [((3000, 4000), (90, 120)), ((9, 4000), (1, 120)), ((5, 6), (5, 6))]
)
def test_what_is_fitted_keeps_its_shape(size: tuple[int, int], fitted: tuple[int, int]) -> None:
    assert fit_within(*size, 100, 120) == fitted


@pytest.mark.parametrize(
    "name",
    [
        "a.jpg",
        "javascript:alert(1).npy",
        "//host/x",
        "a b#c?d%41&\"'<>.npy",
        os.fsdecode(b"caf\xe9/\xff\n.npy"),
    ],
)
def test_a_link_leads_to_its_file_wherever_both_move(name: str, tmp_path: Path) -> None:
    for folder in (tmp_path / "here", tmp_path / "elsewhere"):
        page, file = folder / "pages/report.html", folder / "depth" / name.lstrip("/")
        link = link_to(file, page)
        assert link is not None and re.fullmatch(r"[\w./%~-]+", link)
        led = urljoin(page.as_uri(), link)
        assert unquote_to_bytes(led.removeprefix("file://")) == os.fsencode(file)


def test_links_of_objects_stay_in_their_folder() -> None:
    page = to_path("memory://bucket/run/report.html")
    assert link_to(to_path("memory://bucket/run/a b.npy"), page) == "a%20b.npy"
    assert link_to(to_path("memory://other/a.npy"), page) is None
    assert link_to(Path("/photos/a.jpg"), page) is None


def test_text_stays_text() -> None:
    view = show_view(
        [Layer(HOSTILE, "data:image/jpeg;base64,"), Layer("depth", why_not=HOSTILE)],
        HOSTILE,
        links={HOSTILE: "a.npy", "none": None},
        tags=HOSTILE,
    )
    main = element("main", view, find_bar({HOSTILE: HOSTILE}), table(HOSTILE, [HOSTILE], [[HOSTILE]]))
    html = write_document(main, HOSTILE, b"mark")
    assert html.count("</script>") == html.count("<script>") == 1
    assert "onerror=alert(1)>" not in html and "\x00" not in html and "\x1b" not in html
    assert [each.get("href") for each in view.iter("a")] == ["a.npy"]


def test_a_layer_without_an_image_says_why() -> None:
    view = show_view([Layer("image", why_not="the image no longer exists")], "a.jpg")
    assert "img" not in tostring(view, "unicode") and "the image no longer exists" in tostring(
        view, "unicode"
    )


def test_text_has_contrast_in_both_schemes() -> None:
    """WCAG 2.2: 4.5 of text against what is behind it, 3 of the edges of controls."""
    css = files("cortexia_video.html").joinpath("page.css").read_text()
    schemes = [dict(re.findall(r"--(\w+): (#[0-9a-f]{6});", part)) for part in css.split("@media")[:2]]
    assert len(schemes) == 2 and schemes[0]["paper"] != schemes[1]["paper"]

    def find_luminance(color: str) -> float:
        parts = [int(color[start : start + 2], 16) / 255 for start in (1, 3, 5)]
        linear = [each / 12.92 if each <= 0.04045 else ((each + 0.055) / 1.055) ** 2.4 for each in parts]
        return float(np.dot(linear, (0.2126, 0.7152, 0.0722)))

    for scheme in schemes:
        for ink, paper in itertools.product(("ink", "quiet", "accent", "bad"), ("paper", "card")):
            bright, dark = sorted((find_luminance(scheme[ink]), find_luminance(scheme[paper])), reverse=True)
            assert (bright + 0.05) / (dark + 0.05) >= 4.5, (ink, paper, scheme)
        for paper in ("paper", "card"):
            bright, dark = sorted(
                (find_luminance(scheme["edge"]), find_luminance(scheme[paper])), reverse=True
            )
            assert (bright + 0.05) / (dark + 0.05) >= 3, (paper, scheme)
        bright, dark = sorted((find_luminance(scheme["quiet"]), find_luminance(scheme["tag"])), reverse=True)
        assert (bright + 0.05) / (dark + 0.05) >= 4.5
