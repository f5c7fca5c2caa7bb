"""Colours, bars, rows and sheets: any depth, any size; what is unknown has a colour of its own."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image

from cortexia_video import DepthMap, collage, colored_depthmap, merge_into_row, show_depthmap
from cortexia_video.errors import MissingExtraError
from cortexia_video.viz import color_bar
from cortexia_video.viz import colormap as coloring
from cortexia_video.viz.color_tables import COLOR_TABLES, find_color_table, find_unknown_color
from cortexia_video.viz.colormap import find_range

DARK, BRIGHT, GREY = [0x44, 0x01, 0x54], [0xFD, 0xE7, 0x25], [128, 128, 128]
NAMES = [name + end for name in COLOR_TABLES for end in ("", "_r")]


def colors_of(depth: object, **options: object) -> list[list[int]]:
    return colored_depthmap(depth, **options).reshape(-1, 3).tolist()  # type: ignore[arg-type]


@pytest.mark.parametrize("name", NAMES)
def test_the_tables_are_matplotlibs(name: str) -> None:
    matplotlib = pytest.importorskip("matplotlib")
    theirs = matplotlib.colormaps[name](np.arange(256))[:, :3]
    np.testing.assert_array_equal(find_color_table(name), np.rint(255 * theirs))


@pytest.mark.parametrize("name", NAMES)
def test_images_are_matplotlibs(name: str) -> None:
    matplotlib = pytest.importorskip("matplotlib")
    depth = np.random.default_rng(0).uniform(3, 7, (97, 101))  # not of even size
    theirs = matplotlib.colormaps[name]((depth - depth.min()) / (depth.max() - depth.min()))[..., :3]
    np.testing.assert_array_equal(colored_depthmap(depth, cmap=name), np.rint(255 * theirs))


@pytest.mark.parametrize("name", NAMES)
def test_unknown_pixels_have_a_color_that_is_far_from_the_table(name: str) -> None:
    differences = find_color_table(name).astype(int) - find_unknown_color(name)
    assert np.abs(differences).max(axis=1).min() > 40


def test_an_unknown_name_is_refused() -> None:
    with pytest.raises(ValueError, match=r"unknown cmap 'jet': use viridis, .* or one reversed: viridis_r"):
        colored_depthmap(np.eye(2), cmap="jet")
    with pytest.raises(ValueError, match="unknown spacing 'log'"):
        colored_depthmap(np.eye(2), spacing="log")  # type: ignore[arg-type]


def test_the_ends_of_the_range_have_the_ends_of_viridis() -> None:
    image = colored_depthmap(np.array([[1, 5, 3]], np.float32))
    assert image.dtype == np.uint8
    assert (image[0, 0].tolist(), image[0, 1].tolist()) == (DARK, BRIGHT)


def test_limits_can_be_given_and_clip() -> None:
    depth = np.array([[-9, 0, 10, 99, 3e38]], np.float32)
    assert colors_of(depth, d_min=0, d_max=10) == [DARK, DARK, BRIGHT, BRIGHT, BRIGHT]
    assert colors_of(depth, d_min=1e39) == [DARK] * 5
    assert colors_of(depth, d_max=-10) == [DARK] + [DARK] * 4


@pytest.mark.parametrize("limits", [(2, 1), (np.nan, 1), (0, np.inf)])
def test_limits_that_are_no_range_are_refused(limits: tuple[float, float]) -> None:
    with pytest.raises(ValueError, match=r"is no range: swap them, and use cmap='viridis_r'"):
        colored_depthmap(np.eye(2), *limits)
    with pytest.raises(ValueError, match="d_min must be above 0 where the spacing is inverse, got 0"):
        colored_depthmap(np.eye(2), 0, 1, spacing="inverse")


def test_unknown_pixels_are_grey_and_constant_maps_dark() -> None:
    assert colors_of([[np.nan, 1, 2], [np.inf, -np.inf, 1]])[::2] == [GREY, BRIGHT, GREY]
    assert colors_of([[np.nan, 1, 2], [np.inf, -np.inf, 1]])[3:] == [GREY, GREY, DARK]
    assert colors_of(np.full((2, 2), 7, np.float32)) == [DARK] * 4
    assert colors_of(np.full((1, 1), np.nan, np.float32)) == [GREY]
    assert colors_of([[0, 0], [0, 0]], unknown=0) == [GREY] * 4
    assert colors_of([[np.nan, 2]], cmap="grey") == [[144, 48, 208], [0, 0, 0]]


def test_zero_is_unknown_only_where_given() -> None:
    assert colors_of([[0, 5, 9]]) == [DARK, colors_of([[0, 5, 9]])[1], BRIGHT]
    assert colors_of([[0, 5, 9]], unknown=0) == [GREY, DARK, BRIGHT]
    assert colors_of(np.array([[65535, 5, 9]], np.uint16), unknown=65535) == [GREY, DARK, BRIGHT]


def test_a_range_of_percentiles_leaves_out_the_extremes() -> None:
    depth = np.array([[np.nan, -1e6, *range(1, 99), 1e6]])
    assert find_range(depth, percentiles=(1, 99)) == (1.0, 98.0)
    assert colors_of(depth, percentiles=(2, 98))[1] == DARK
    assert find_range(depth, 5, percentiles=(0, 50)) == (5, 50)


def test_inverse_spacing_is_linear_in_inverse_depth() -> None:
    depth = np.random.default_rng(0).uniform(0.5, 20, (40, 40))
    np.testing.assert_array_equal(
        colored_depthmap(depth, spacing="inverse"),
        colored_depthmap(-1 / depth),  # near is dark in both
    )
    assert colors_of([[0, -3, 1, 2]], spacing="inverse") == [GREY, GREY, DARK, BRIGHT]
    assert find_range([[0, -3, 1, 2]], spacing="inverse") == (1, 2)


def test_a_map_without_a_known_pixel_has_a_range_of_nothing() -> None:
    assert find_range([[np.nan]]) == find_range([[0]], unknown=0) == (1, 1)


FORMS: dict[str, Callable[[np.ndarray], object]] = {
    "float32": lambda depth: depth.astype(np.float32),
    "float16": lambda depth: depth.astype(np.float16),
    "big endian": lambda depth: depth.astype(">f4"),
    "uint16": lambda depth: depth.astype(np.uint16),
    "int64, by columns": lambda depth: np.asfortranarray(depth.astype(np.int64)),
    "a list": lambda depth: depth.tolist(),
    "a channel": lambda depth: depth[..., None],
    "a batch of one": lambda depth: depth[None],
    "every other row of more": lambda depth: np.repeat(depth, 2, axis=0)[::2],
    "PIL F": lambda depth: Image.fromarray(depth.astype(np.float32)),
    "PIL I;16": lambda depth: Image.fromarray(depth.astype(np.uint16)),
    "PIL I": lambda depth: Image.fromarray(depth.astype(np.int32)),
    "PIL L": lambda depth: Image.fromarray(depth.astype(np.uint8)),
    "DepthMap": lambda depth: DepthMap(depth.astype(np.float32), "metric"),
}


@pytest.mark.parametrize("form", FORMS)
def test_any_form_of_depth_gives_the_same_image(form: str) -> None:
    depth = np.random.default_rng(0).integers(0, 200, (33, 47)).astype(np.float64)
    given = FORMS[form](depth)
    before = np.array(given.values if isinstance(given, DepthMap) else given)
    np.testing.assert_array_equal(colored_depthmap(given), colored_depthmap(depth))
    np.testing.assert_array_equal(given.values if isinstance(given, DepthMap) else given, before)


@pytest.mark.parametrize(
    ("depth", "message"),
    [
        (np.zeros((4, 5, 3), np.uint8), r"not uint8 \(4, 5, 3\): give one channel"),
        (np.zeros(4), r"not float64 \(4,\)"),
        (np.zeros((0, 4)), r"not float64 \(0, 4\)"),
        (np.zeros((2, 2), bool), "not bool"),
        ([["a"]], "not <U1"),
        (Image.new("RGB", (2, 2)), "not an image of mode RGB: give F or I;16"),
        (Image.new("P", (2, 2)), "not an image of mode P"),
    ],
)
def test_what_is_no_depth_is_refused(depth: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        colored_depthmap(depth)  # type: ignore[arg-type]


@given(
    depth=arrays.arrays(
        st.sampled_from([np.float32, np.float64, np.uint16, np.int32, np.float16]),
        arrays.array_shapes(min_dims=2, max_dims=2, max_side=9),
    ),
    spacing=st.sampled_from(["linear", "inverse"]),
    unknown=st.sampled_from([None, 0]),
    percentiles=st.sampled_from([(0, 100), (5, 95)]),
)
def test_no_numbers_break_it(depth: np.ndarray, **options: object) -> None:
    image = colored_depthmap(depth, **options)  # type: ignore[arg-type]
    known = np.isfinite(depth)
    if options["unknown"] == 0:
        known &= depth != 0
    if options["spacing"] == "inverse":
        known &= depth > 0
    assert image.shape == (*depth.shape, 3) and image.dtype == np.uint8
    np.testing.assert_array_equal((image == GREY).all(axis=2), ~known)


@pytest.mark.parametrize("pixels", [2, 64, 1550])
def test_a_map_of_many_strips_is_one_image(monkeypatch: pytest.MonkeyPatch, pixels: int) -> None:
    depth = np.random.default_rng(0).uniform(1, 2, (33, 47))
    depth[20:, 30:] = np.nan
    whole = colored_depthmap(depth)
    monkeypatch.setattr(coloring, "_STRIP_PIXELS", pixels)
    np.testing.assert_array_equal(colored_depthmap(depth), whole)


def test_a_range_too_small_for_a_factor_is_of_one_value() -> None:
    assert colors_of(np.array([[1e-45, 3e-45, np.nan]], np.float32)) == [DARK, DARK, GREY]
    assert colors_of([[5e-324, 1e-323]]) == [DARK, DARK]


def test_threads_do_not_disturb_each_other() -> None:
    maps = [np.random.default_rng(seed).random((300, 400), dtype=np.float32) for seed in range(4)]
    alone = [colored_depthmap(each) for each in maps]
    together = threading.Barrier(4)

    def color(depth: np.ndarray) -> np.ndarray:
        together.wait()
        return colored_depthmap(depth)

    with ThreadPoolExecutor(4) as pool:
        for one, other in zip(alone, pool.map(color, maps), strict=True):
            np.testing.assert_array_equal(one, other)


def test_a_bar_runs_upwards_and_says_its_numbers() -> None:
    bar = color_bar(0.5, 4, height=480, unit="m")
    assert bar.shape[0] == 480 and bar.shape[2] == 3 and bar.dtype == np.uint8
    table = find_color_table("viridis")
    np.testing.assert_array_equal(bar[[0, -1], 20], table[[-1, 0]])
    np.testing.assert_array_equal(bar[:, 20], table[((np.arange(480)[::-1] + 0.5) * 256 / 480).astype(int)])
    assert (bar[:, 40:] < 100).any(), "no ink"


def test_a_bar_says_other_numbers_where_the_spacing_is_inverse() -> None:
    linear, inverse = (color_bar(1, 9, height=200, spacing=each) for each in ("linear", "inverse"))  # type: ignore[arg-type]
    np.testing.assert_array_equal(linear[:, :12], inverse[:, :12])
    assert linear.shape != inverse.shape or (linear != inverse).any()


@pytest.mark.parametrize("height", [1, 5, 4000])
def test_a_bar_of_any_height_can_stand_beside_its_image(height: int) -> None:
    assert color_bar(1, 1, "turbo_r", height=height, unit="m").shape[0] == height


def test_a_row_and_a_sheet_hold_their_images() -> None:
    red = np.full((30, 40, 3), (255, 0, 0), np.uint8)
    depth = np.arange(1200, dtype=np.float32).reshape(30, 40)
    row = merge_into_row(red, depth)
    assert row.shape == (30, 80, 3) and row.dtype == np.uint8
    np.testing.assert_array_equal(row[:, :40], red)
    np.testing.assert_array_equal(row[:, 40:], colored_depthmap(depth))
    sheet = collage([(red, depth)] * 3, columns=2, height=60)
    assert sheet.shape == (2 * 68 + 8, 2 * 168 + 8, 3)
    assert ((sheet[..., 0] == 255) & (sheet[..., 1] == 0)).sum() >= 3 * 60 * 79
    with pytest.raises(ValueError, match="at least one sample"):
        collage([])


def test_depth_of_another_size_is_sampled_and_never_mixed() -> None:
    image = np.zeros((60, 80, 3), np.uint8)
    depth = np.array([[1, 1, 9], [1, np.nan, 9]])
    np.testing.assert_array_equal(
        merge_into_row(image, depth)[:, 80:].reshape(60, 80, 3)[[15, 45]][:, [13, 40, 66]],
        colored_depthmap(depth),
    )
    large = np.kron(depth, np.ones((100, 100)))
    for row in (merge_into_row(image, large)[:, 80:], collage([(image, large)], height=45)[8:53, 68:128]):
        assert {*map(tuple, row.reshape(-1, 3).tolist())} == {tuple(DARK), tuple(BRIGHT), tuple(GREY)}


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "P", "CMYK"])
def test_images_of_pillows_can_be_given(mode: str) -> None:
    image = Image.new("RGB", (8, 6), (200, 200, 200)).convert(mode)
    row = merge_into_row(image, Image.fromarray(np.ones((6, 8), np.float32)))
    np.testing.assert_array_equal(row[:, :8], np.asarray(image.convert("RGB")))


def test_grey_and_transparent_arrays_are_images_and_floats_are_not() -> None:
    depth = np.ones((2, 3))
    assert merge_into_row(np.full((2, 3), 9, np.uint8), depth)[0, 0].tolist() == [9, 9, 9]
    assert merge_into_row(np.full((2, 3, 4), 9, np.uint8), depth).shape == (2, 6, 3)
    with pytest.raises(ValueError, match=r"uint8 \(H, W, 3\) RGB, got float64 \(2, 3, 3\): convert it"):
        merge_into_row(np.ones((2, 3, 3)), depth)


def test_a_row_is_colored_by_the_given_options() -> None:
    image, depth = np.zeros((1, 3, 3), np.uint8), [[0, 5, 9]]
    row = merge_into_row(image, depth, cmap="grey_r", d_min=0, d_max=18, unknown=0)
    assert row[0, 3:].tolist() == colors_of(depth, cmap="grey_r", d_min=0, d_max=18, unknown=0)


@pytest.mark.filterwarnings("ignore:FigureCanvasAgg is non-interactive")
def test_a_window_shows_the_image_and_leaves_no_figure(monkeypatch: pytest.MonkeyPatch) -> None:
    matplotlib = pytest.importorskip("matplotlib")
    matplotlib.use("Agg")
    from matplotlib import pyplot

    shown = []
    monkeypatch.setattr(pyplot, "show", lambda block: shown.append(pyplot.gca().images[0].get_array()))
    depth = np.random.default_rng(0).random((5, 6))
    show_depthmap(depth, cmap="turbo")
    np.testing.assert_array_equal(shown[0], colored_depthmap(depth, cmap="turbo"))
    assert pyplot.get_fignums() == []


def test_without_matplotlib_a_window_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(MissingExtraError, match=r"install '.*\[plot\]'"):
        show_depthmap([[1, 2]])
