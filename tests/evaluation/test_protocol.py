"""Protocols say exactly which pixels count and how; images are scored by them, whatever is wrong."""

from __future__ import annotations

import inspect
from dataclasses import replace

import numpy as np
import pytest
from scipy.interpolate import RegularGridInterpolator

from cortexia_video.datasets.registry import DATASETS
from cortexia_video.depth_map import DepthMap
from cortexia_video.errors import InputError
from cortexia_video.evaluation.image_score import fit_size, score_image
from cortexia_video.evaluation.protocol import describe_fitting, list_protocols, load_protocol
from cortexia_video.evaluation.reference import find_reference

DIGESTS = {  # another digest is another protocol: give it another version, too
    "depth-anything-v2-kitti": "1495fe87d494",
    "depth-pro-middlebury": "2400eefaf485",
    "depth-pro-sun-rgbd": "133216294fa9",
    "kitti-eigen": "55261d9621c4",
    "kitti-garg": "fc6f25d99c31",
    "midas-kitti": "c0c34b3c4c8d",
    "midas-nyu": "114c0d5c443e",
    "moge-affine": "aa7700807623",
    "moge-disparity": "7c746bfe83c8",
    "moge-metric": "65e19e085aa0",
    "moge-scale": "a20ca492bcc4",
    "nyu-eigen": "12f6711f8e2b",
    "real-frames": "4adf0dfe2f40",
    "zoedepth-kitti": "5fbaaf9e8d08",
    "zoedepth-nyu": "292c2ca27194",
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
    path.write_text(text + 'place="rgbd"\n')  # as files of before call it
    assert load_protocol(str(path)).truth == "rgbd"
    path.write_text(text.replace('about=""', 'about="other words"'))
    assert load_protocol(str(path)).digest == mine.digest
    path.write_text(text.replace("max_m=10", "max_m=11"))
    assert load_protocol(str(path)).digest != mine.digest
    for wrong, words in [
        (text.replace("median", "medium"), "alignment 'medium' is none of none, median"),
        (text + "crops=1\n", "crops"),
        (text + 'dataset="sun-rgbd"\n', "dataset 'sun-rgbd' is none of any, rgbd"),
        (text + "cap_m=0\n", "cap_m is 0: it must be metres above 0"),
        (text + "options=1\n", "options is 1: it must be a table"),
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


def test_unknown_depth_counts_as_the_worse_end_of_the_clip_for_each_metric():
    protocol = load_protocol("moge-metric")  # up to the largest depth of the image
    reference = find_reference("a", np.array([[1.0, 4.0, 9.0, 0.0]]), protocol)
    score = score_image(depth_of([[np.nan, 4.0, 9.0, np.nan]]), reference, protocol)
    assert (score.unknown, score.metrics["coverage"]) == (1, pytest.approx(2 / 3))  # one has no reference
    assert score.sums.within == (2,) * 5
    assert score.metrics["abs_rel"] == pytest.approx(8 / 3)  # 9 m for 1 m
    assert score.metrics["rmse"] == pytest.approx(8 / 3**0.5)
    assert score.metrics["log10"] == pytest.approx(1)  # 0.001 m for 1 m


def test_a_tenth_unknown_is_no_better_than_a_tenth_at_the_far_clip():
    """10 % wrong at 10 m: AbsRel 0.495, RMSE 2.539, worked out by numpy."""
    rng = np.random.default_rng(0)
    truth = rng.uniform(1, 3, (480, 640)).astype(np.float32)
    protocol, lost = load_protocol("nyu-eigen"), rng.random(truth.shape) < 0.1
    reference = find_reference("a", truth, protocol)
    known = np.where(lost, np.float32(10), truth * np.float32(1.05))[reference.mask].astype(float)
    exact = truth[reference.mask].astype(float)
    guess = np.where(lost, np.float32(np.nan), truth * np.float32(1.05))
    unknown = score_image(depth_of(guess), reference, protocol).metrics
    assert unknown["abs_rel"] == pytest.approx(np.mean(abs(known - exact) / exact), abs=1e-9)
    assert unknown["rmse"] == pytest.approx(np.sqrt(np.mean((known - exact) ** 2)), abs=1e-9)
    assert round(unknown["abs_rel"], 3) == 0.495 and round(unknown["rmse"], 3) == 2.539
    assert unknown["coverage"] == pytest.approx(1 - lost[reference.mask].mean())


def test_pixels_below_0_are_clipped_as_zoedepth_clips_them():
    """Values of compute_metrics of isl-org/ZoeDepth at d87f17b on the same maps, one pixel in 2,500 at -0.1 mm."""
    rng = np.random.default_rng(0)
    truth = rng.uniform(0.5, 11, (480, 640))
    guess = truth * np.exp(rng.normal(0, 0.2, truth.shape))
    guess[::50, ::50], guess[25::50, ::50] = -0.0001, 10
    protocol = load_protocol("zoedepth-nyu")
    found = score_image(depth_of(guess), find_reference("a", truth, protocol), protocol).metrics
    expected = {
        "abs_rel": 0.151206758959684,
        "sq_rel": 0.1799650282173919,
        "rmse": 1.0318755446525438,
        "rmse_log": 0.26345630566902833,
        "log10": 0.06704062792930733,
        "silog": 26.313455573720063,
        "delta1": 0.7622473719277465,
        "delta2": 0.9783692996742671,
        "delta3": 0.9986767100977199,
    }
    for name, value in expected.items():
        assert found[name] == pytest.approx(value, rel=1e-7), name  # of float32 there


@pytest.mark.parametrize("value", [-0.0001, 0.0, -5.0])
@pytest.mark.parametrize("clip", ["all", "unknown"])
@pytest.mark.parametrize("alignment", ["none", "median", "disparity"])
def test_a_pixel_at_or_below_0_is_clipped_and_counted(rng, value, clip, alignment):
    protocol = replace(load_protocol("nyu-eigen"), clip=clip, alignment=alignment, crop=None)
    values = rng.uniform(1, 5, (6, 8))
    reference = find_reference("a", values, protocol)
    wrong = values.copy()
    wrong[2, 3] = value
    score = score_image(depth_of(wrong), reference, protocol)
    assert (score.raised, score.unknown, score.remark) == (1, 0, "")
    if alignment != "median":  # which the pixel moves
        assert score.metrics["abs_rel"] == pytest.approx((1 - 0.001 / values[2, 3]) / 48, rel=1e-4)
    assert score_image(depth_of(values), reference, protocol).raised == 0


def test_metres_beyond_the_largest_reference_are_clipped_only_where_a_largest_depth_is_known(rng):
    protocol = load_protocol("real-frames").plain
    values = rng.uniform(1, 5, (6, 8))
    for largest, expected in ((None, 0.15), (5.0, np.mean(np.minimum(1.15, 5 / values) - 1))):
        reference = find_reference("a", values, protocol, set_max_m=largest)
        found = score_image(depth_of(1.15 * values), reference, protocol).metrics["abs_rel"]
        assert found == pytest.approx(expected, rel=1e-5)


def test_midas_on_kitti_caps_its_estimates_not_the_ground_truth():
    """Depth beyond 80 m takes part in the fit and in the mean; its estimate becomes 80 m."""
    protocol = load_protocol("midas-kitti")
    reference = find_reference("a", np.array([[10.0, 20.0, 100.0, 0.0]]), protocol)
    assert reference.mask.tolist() == [[True, True, True, False]]
    disparity = depth_of([[1 / 10, 1 / 20, 1 / 100, 0.0]], "disparity")
    found = score_image(disparity, reference, protocol).metrics
    assert found["abs_rel"] == pytest.approx(0.2 / 3, rel=1e-5)
    assert found["delta1"] == pytest.approx(2 / 3)  # 100 / 80 is 1.25, not below it


def test_the_data_set_of_every_protocol_is_in_the_table_and_can_be_split_so():
    for protocol in list_protocols():
        if protocol.dataset != "any":
            info = DATASETS[protocol.dataset]
            told = " ".join((protocol.about, *protocol.sources))
            assert (
                protocol.split in (None, *(info.splits or ()))
                or "as folders" in told
                or "give folders" in told
            )
            assert protocol.options.keys() <= inspect.signature(info.open).parameters.keys()


def test_the_protocols_that_fit_are_listed():
    for dataset, kind, fitting, others in [
        ("nyu-labeled", "metric", ("nyu-eigen", "zoedepth-nyu", "real-frames"), ("kitti-eigen",)),
        ("nyu-labeled", "disparity", ("midas-nyu", "moge-disparity"), ("nyu-eigen", "midas-kitti")),
        ("tum", "affine_invariant", ("moge-affine",), ("moge-scale", "real-frames")),
        ("", "metric", ("kitti-eigen", "nyu-eigen"), ()),
    ]:
        listed = describe_fitting(dataset, [kind])
        assert f"{kind} depth: " in listed and all(f" {name}" in listed for name in fitting)
        assert not any(f" {name}" in listed for name in others)


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
    assert score.metrics["delta1"] == score.metrics["coverage"] == 0
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
