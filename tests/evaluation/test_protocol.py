"""Protocols say exactly which pixels count and how; images are scored by them, whatever is wrong."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.interpolate import RegularGridInterpolator

from cortexia_video.depth_map import DepthMap
from cortexia_video.errors import InputError
from cortexia_video.evaluation.image_score import fit_size, score_image
from cortexia_video.evaluation.protocol import list_protocols, load_protocol
from cortexia_video.evaluation.reference import find_reference

DIGESTS = {  # another digest is another protocol: give it another version, too
    "depth-anything-v2-kitti": "5b62240aa152",
    "depth-pro-middlebury": "2ac69f161934",
    "depth-pro-sun-rgbd": "497d9de9cc0b",
    "kitti-eigen": "542fcf6e7638",
    "kitti-garg": "7dd339bca322",
    "midas-kitti": "8098e1e39c23",
    "midas-nyu": "1beb0281f086",
    "moge-affine": "727d0141a399",
    "moge-disparity": "98e45b1bdf6a",
    "moge-metric": "55f5e615bf11",
    "moge-scale": "ffdc6549b78e",
    "nyu-eigen": "102a1e09322d",
    "real-frames": "dba08e34e810",
    "zoedepth-kitti": "d7487e2bee6c",
    "zoedepth-nyu": "0cefa84c47c3",
}


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(7)


def depth_of(values, kind="metric"):
    return DepthMap(np.asarray(values, np.float32), kind)


def test_no_protocol_changes_unnoticed():
    assert {each.name: each.digest[:12] for each in list_protocols()} == DIGESTS


@pytest.mark.parametrize("protocol", list_protocols(), ids=lambda each: each.name)
def test_every_protocol_says_what_it_follows(protocol):
    assert protocol.sources
    assert load_protocol(protocol.name) == protocol


@pytest.mark.parametrize(
    ("name", "shape", "rows", "columns"),
    [
        ("nyu-eigen", (480, 640), (45, 471), (41, 601)),
        ("kitti-garg", (375, 1242), (153, 371), (44, 1197)),
        ("kitti-eigen", (375, 1242), (124, 342), (44, 1197)),
        ("kitti-garg", (352, 1216), (143, 349), (43, 1172)),
    ],
)
def test_crops_are_those_of_their_sources(name, shape, rows, columns):
    mask = load_protocol(name).find_mask(np.full(shape, 5.0), 80.0)
    inside = np.zeros(shape, bool)
    inside[slice(*rows), slice(*columns)] = True
    assert np.array_equal(mask, inside)


def test_the_window_is_at_the_bottom_centre():
    rows = np.tile(np.arange(375.0)[:, None], (1, 1242))
    cut = load_protocol("zoedepth-kitti").cut(rows + 1j * np.arange(1242))
    assert (cut.shape, cut[0, 0], cut[-1, -1]) == ((352, 1216), 23 + 13j, 374 + 1228j)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("midas-nyu", [0, 1, 1, 0, 0]),  # (0, 10)
        ("depth-pro-middlebury", [0, 1, 1, 1, 0]),  # [0.001, 10]
        ("real-frames", [0, 1, 1, 1, 0]),  # (0, set]
        ("moge-metric", [0, 1, 1, 1, 1]),  # (0, largest of the image]
    ],
)
def test_the_ends_of_the_range_count_as_the_protocol_says(name, expected):
    protocol = load_protocol(name)
    reference = np.array([[0.0, 0.001, 5.0, 10.0, 10.5], [np.nan, np.inf, -1.0, 0, 0]])
    mask = protocol.find_mask(reference, protocol.find_max_m(reference, 10.0))
    assert mask[0].tolist() == [bool(each) for each in expected]
    assert not mask[1].any()


def test_an_own_protocol_is_a_file_and_a_wrong_one_is_explained(tmp_path):
    path = tmp_path / "mine.toml"
    text = (
        'name="mine"\nversion=1\nabout=""\nsources=[]\nmin_m=0\nmax_m=10\nbounds="(]"\nalignment="median"\n'
    )
    text += 'clip_min_m=0.1\nclip="all"\nresize="refuse"\naggregation="pixel"\n'
    path.write_text(text)
    mine = load_protocol(str(path))
    assert mine.alignment == "median"
    path.write_text(text.replace('about=""', 'about="other words"'))
    assert load_protocol(str(path)).digest == mine.digest
    path.write_text(text.replace("max_m=10", "max_m=11"))
    assert load_protocol(str(path)).digest != mine.digest
    for wrong, words in [
        (text.replace("median", "medium"), "alignment 'medium' is none of none, median"),
        (text + "crops=1\n", "crops"),
        (text.replace("clip_min_m=0.1", "clip_min_m=0"), "must be above 0"),
        (text.replace("\nmin_m=0", '\nmin_m="0"'), "min_m is '0': it must be a number"),
        (text.replace("max_m=10", "max_m=[]"), r"max_m is \(\): it must be a number of metres, set"),
        (text.replace("max_m=10", "max_m=1e10"), "max_m is 10"),
        (text + "crop=[0, 1, 0]\n", "crop is .* top, bottom, left and right"),
        (text + "crop=[0.5, 0.5, 0, 1]\n", "crop is .* top, bottom, left and right"),
        (text + "window=[0, 1]\n", "window is .* height and width"),
        (text + "boundaries=1\n", "boundaries is 1: it must be true or false"),
        ("=", r"mine.toml: not TOML: .*line 1"),
    ]:
        path.write_text(wrong)
        with pytest.raises(InputError, match=words):
            load_protocol(str(path))


def test_depth_between_corners_agrees_with_scipy(rng):
    values = rng.random((5, 7))
    grid = np.stack(np.meshgrid(np.linspace(0, 4, 10), np.linspace(0, 6, 14), indexing="ij"), axis=-1)
    expected = RegularGridInterpolator((np.arange(5), np.arange(7)), values)(grid)
    assert fit_size(values, (10, 14), load_protocol("zoedepth-nyu")) == pytest.approx(expected)


def test_unknown_depth_counts_as_the_farther_end_of_the_clip(rng):
    protocol = load_protocol("moge-metric")  # up to the largest depth of the image
    reference = find_reference("a", np.array([[1.0, 4.0, 9.0, 0.0]]), protocol)
    score = score_image(depth_of([[np.nan, -1.0, 9.0, np.nan]]), reference, protocol)
    assert score.unknown == 1  # one is negative, one has no reference
    assert score.sums.within == (1,) * 5
    # 1 m and 4 m are both farther from 0.001 m in ratio than from 9 m
    assert score.metrics["abs_rel"] == pytest.approx((0.999 + (4 - 0.001) / 4) / 3)


@pytest.mark.parametrize(
    ("depth", "words"),
    [
        (None, "no depth"),
        (depth_of(np.full((6, 8), np.nan)), "no finite depth"),
        (depth_of(np.ones((6, 6))), "depth of 6 x 6 for a reference of 8 x 6"),
    ],
)
def test_what_cannot_be_measured_counts_as_unknown_everywhere(depth, words, rng):
    protocol = load_protocol("moge-metric")
    reference = find_reference("a", rng.uniform(1, 5, (6, 8)), protocol)
    score = score_image(depth, reference, protocol)
    assert (score.remark, score.unknown) == (words, 48)
    assert score.metrics["delta1"] == 0
    assert score.metrics["abs_rel"] > 0.99


@pytest.mark.parametrize(
    ("factor", "words"),
    [(1000, "depth is 1,000 times the reference"), (0.001, "reference is 1,000 times the")],
)
def test_a_mismatch_of_units_is_named(rng, factor, words):
    protocol = load_protocol("moge-metric")
    values = rng.uniform(1, 5, (6, 8))
    reference = find_reference("a", values, protocol)
    assert words in score_image(depth_of(factor * values), reference, protocol).remark
    assert score_image(depth_of(5 * values), reference, protocol).remark == ""


def test_an_image_without_valid_pixels_is_refused_in_words():
    with pytest.raises(InputError, match=r"0 valid pixels .* is its unit metres\?"):
        find_reference("a", np.full((4, 4), 2000.0), load_protocol("nyu-eigen"))
    with pytest.raises(InputError, match="9 valid pixels .* needs 10"):
        find_reference("a", np.full((3, 3), 5.0), load_protocol("depth-anything-v2-kitti"))


def test_a_kind_is_refused_by_name(rng):
    protocol = load_protocol("nyu-eigen")
    reference = find_reference("a", rng.uniform(1, 5, (48, 64)), protocol)
    with pytest.raises(InputError, match="disparity depth does not allow the alignment 'none'"):
        score_image(depth_of(np.ones((48, 64)), "disparity"), reference, protocol)


def test_boundaries_are_measured_only_where_the_reference_is_dense_and_registered(rng):
    protocol = load_protocol("depth-pro-middlebury")
    values = rng.choice([1.0, 2.0], (20, 20))
    dense = find_reference("a", values, protocol)
    groups = ("boundary",)
    assert score_image(depth_of(values), dense, protocol, groups).more["boundary_f1"] == pytest.approx(1)
    loose = find_reference("a", values, protocol, registered=False)
    score = score_image(depth_of(values), loose, protocol, groups)
    assert not score.more and "registered" in score.lacking["boundary"]
    sparse = find_reference("a", np.where(rng.random((20, 20)) < 0.3, values, 0), protocol)
    score = score_image(depth_of(values), sparse, protocol, groups)
    assert not score.more and "unknown" in score.lacking["boundary"]
