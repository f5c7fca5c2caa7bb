"""Focal length from EXIF against numbers worked out by hand."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL.TiffImagePlugin import IFDRational

from cortexia_video.images.exif import focal_length_px
from cortexia_video.pinhole import find_resize_factor

F, F35 = 0x920A, 0xA405
X_RESOLUTION, Y_RESOLUTION, UNIT = 0xA20E, 0xA20F, 0xA210
X_PIXELS, Y_PIXELS = 0xA002, 0xA003
CHANGED, TAKEN = 0x0132, 0x9003
UNTOUCHED = {CHANGED: "2016:05:24 18:07:04", TAKEN: "2016:05:24 18:07:04"}
INCH, CENTIMETRE, MILLIMETRE, MICROMETRE = 2, 3, 4, 5


def test_35_mm_on_a_3_to_2_image_is_the_width_times_35_over_36() -> None:
    assert focal_length_px({F35: 35}, 3600, 2400) == pytest.approx(3500.0)


def test_the_diagonal_counts_where_the_shape_is_not_that_of_film() -> None:
    # 4000 x 3000 has a diagonal of 5000 px; 43.2666 mm of film show 26 mm at 5000 * 26 / 43.2666 px.
    assert focal_length_px({F35: 26}, 4000, 3000) == pytest.approx(3004.62, abs=0.01)


@pytest.mark.parametrize(
    ("unit", "per_unit"), [(INCH, 25400.0), (CENTIMETRE, 10000.0), (MILLIMETRE, 1000.0), (MICROMETRE, 1.0)]
)
def test_focal_plane_resolution_in_every_unit(unit: int, per_unit: float) -> None:
    # 1000 pixels a millimetre and a 5 mm lens: 5000 px.
    assert focal_length_px(
        {**UNTOUCHED, F: 5.0, X_RESOLUTION: per_unit, UNIT: unit}, 6000, 4000
    ) == pytest.approx(5000.0)


def test_the_unit_is_inches_where_it_is_absent_and_the_vertical_resolution_will_do() -> None:
    assert focal_length_px({**UNTOUCHED, F: 5.0, Y_RESOLUTION: 25400.0}, 6000, 4000) == pytest.approx(5000.0)


@pytest.mark.parametrize("changed", [None, "2017:01:01 00:00:00"])
def test_a_file_changed_since_the_shot_is_not_trusted_with_its_resolution(changed: str | None) -> None:
    exif = {**UNTOUCHED, CHANGED: changed, F: 5.0, X_RESOLUTION: 10000.0, UNIT: CENTIMETRE}
    assert focal_length_px(exif, 6000, 4000) is None
    assert focal_length_px({**exif, F35: 35}, 3600, 2400) == pytest.approx(3500.0)


@pytest.mark.parametrize("size", [(3000, 2000), (2000, 3000)], ids=["same way", "turned"])
def test_a_resized_image_has_a_shorter_focal_length(size: tuple[int, int]) -> None:
    exif = {**UNTOUCHED, F: 5.0, X_RESOLUTION: 10000.0, UNIT: CENTIMETRE, X_PIXELS: 6000, Y_PIXELS: 4000}
    assert focal_length_px(exif, *size) == pytest.approx(2500.0)


def test_the_width_alone_tells_the_resize() -> None:
    exif = {**UNTOUCHED, F: 5.0, X_RESOLUTION: 10000.0, UNIT: CENTIMETRE, X_PIXELS: 6000}
    assert focal_length_px(exif, 3000, 2000) == pytest.approx(2500.0)


SIZES_LEFT_BY_RESIZING = [
    (3000, 2000),
    (2000, 3000),
    (640, 427),
    (640, 426),
    (160, 107),
    (6016, 4016),
    (9, 6),
]
SIZES_LEFT_BY_CROPPING = [(4000, 4000), (6000, 3375), (5000, 4000), (6000, 3900), (160, 120), (3000, 3000)]


@pytest.mark.parametrize("size", SIZES_LEFT_BY_RESIZING)
def test_a_resized_or_turned_image_keeps_its_35_mm_equivalent(size: tuple[int, int]) -> None:
    exif = {F35: 35, X_PIXELS: 6000, Y_PIXELS: 4000}
    assert focal_length_px(exif, *size) == focal_length_px({F35: 35}, *size) is not None


@pytest.mark.parametrize("size", SIZES_LEFT_BY_CROPPING)
def test_a_cropped_image_has_no_focal_length(size: tuple[int, int]) -> None:
    focal_plane = {**UNTOUCHED, F: 5.0, X_RESOLUTION: 10000.0, UNIT: CENTIMETRE}
    assert focal_length_px({F35: 35, **focal_plane, X_PIXELS: 6000, Y_PIXELS: 4000}, *size) is None
    assert focal_length_px({F35: 35, X_PIXELS: 6000}, *size) is not None
    assert focal_length_px({F35: 35, X_PIXELS: 6000, Y_PIXELS: 0}, *size) is not None


@given(
    original=st.tuples(st.integers(60, 9000), st.integers(60, 9000)),
    factor=st.floats(0.05, 3.0),
    up=st.tuples(st.booleans(), st.booleans()),
)
def test_however_sides_are_rounded_resizing_is_no_crop(
    original: tuple[int, int], factor: float, up: tuple[bool, bool]
) -> None:
    size = tuple(
        (math.ceil if each else math.floor)(side * factor) for side, each in zip(original, up, strict=True)
    )
    assert find_resize_factor((size[0], size[1]), original) == pytest.approx(max(size) / max(original))


@pytest.mark.parametrize(
    "broken", [0, -35, math.nan, math.inf, "35 mm", None, (35, 1), b"#", IFDRational(35, 0)]
)
def test_nonsense_counts_as_absent(broken: object) -> None:
    focal_plane = {**UNTOUCHED, F: 5.0, X_RESOLUTION: 10000.0, UNIT: CENTIMETRE}
    assert focal_length_px({F35: broken}, 6000, 4000) is None
    assert focal_length_px({**focal_plane, F35: broken}, 6000, 4000) == pytest.approx(5000.0)
    assert focal_length_px({**focal_plane, F: broken}, 6000, 4000) is None
    assert focal_length_px({**focal_plane, X_RESOLUTION: broken}, 6000, 4000) is None


def test_an_unknown_unit_is_no_focal_length() -> None:
    assert focal_length_px({**UNTOUCHED, F: 5.0, X_RESOLUTION: 10000.0, UNIT: 9}, 6000, 4000) is None


@pytest.mark.parametrize("f_35_mm", [1, 5000])
def test_absurd_fields_of_view_are_refused(f_35_mm: int) -> None:
    assert focal_length_px({F35: f_35_mm}, 6000, 4000) is None


@pytest.mark.parametrize("f_35_mm", [8, 3000])
def test_the_widest_and_longest_real_lenses_are_not(f_35_mm: int) -> None:
    assert focal_length_px({F35: f_35_mm}, 6000, 4000) is not None


def test_no_tags_no_focal_length() -> None:
    assert focal_length_px({}, 6000, 4000) is None
    assert focal_length_px({F: 5.0}, 6000, 4000) is None


@given(
    f_35_mm=st.integers(10, 2000),
    width=st.integers(1, 30000),
    height=st.integers(1, 30000),
)
def test_turning_an_image_changes_nothing(f_35_mm: int, width: int, height: int) -> None:
    assert focal_length_px({F35: f_35_mm}, width, height) == focal_length_px({F35: f_35_mm}, height, width)


TAGS = st.sampled_from([F, F35, X_RESOLUTION, Y_RESOLUTION, UNIT, X_PIXELS, Y_PIXELS])
VALUES = st.one_of(st.none(), st.integers(), st.floats(), st.text("0123456789.-/ m"), st.binary(max_size=9))


@given(exif=st.dictionaries(TAGS, VALUES))
def test_any_tags_give_a_positive_number_or_none(exif: dict[int, object]) -> None:
    f_px = focal_length_px(exif, 4000, 3000)
    assert f_px is None or (math.isfinite(f_px) and f_px > 0.0)
