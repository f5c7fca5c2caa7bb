"""Models that complete a sensor's depth, measured and compared: with a folder's maps, or points of the ground truth."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from completing_model import Completing
from PIL import Image

import cortexia_video as cx
from cortexia_video import DepthEstimator, DepthMap, Frame, SyntheticModel
from cortexia_video.errors import InputError, ModelError
from cortexia_video.evaluation.ground_truth import GroundTruth, to_ground_truth
from cortexia_video.evaluation.protocol import load_protocol
from cortexia_video.evaluation.side_by_side import compare
from cortexia_video.rgbd_sample import RGBDSample

SIZE = (30, 40)


def make_depth(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).uniform(1, 5, SIZE).astype(np.float32)


@pytest.fixture
def truth() -> GroundTruth:
    """Two images; of the second the upper half is unknown."""
    samples = []
    for seed, key in enumerate("ab"):
        depth = make_depth(seed)
        depth[: 15 * seed] = np.nan
        image = np.random.default_rng(seed).integers(0, 256, (*SIZE, 3), dtype=np.uint8)
        samples.append(RGBDSample(Frame(key, image), DepthMap(depth, "metric"), None))
    return to_ground_truth(samples)


def measure(truth: GroundTruth, model: object, **options: object) -> cx.evaluation.EvaluationResult:
    return cx.evaluate(model, truth=truth, protocol="moge-metric", **options)  # type: ignore[arg-type]


def test_points_of_the_ground_truth_are_drawn_and_always_the_same(truth: GroundTruth) -> None:
    models = [Completing(), Completing()]
    first, second = (measure(truth, DepthEstimator(model), sparse="truth:50") for model in models)
    assert str(first) == str(second)
    for seed, key in enumerate("ab"):
        sparse = models[0].seen[key]
        known = np.isfinite(sparse)
        assert known.sum() == 50 and not known[: 15 * seed].any()
        np.testing.assert_array_equal(sparse[known], make_depth(seed)[known])
    expected = [  # by hand: known pixels are right, the others the mean of these
        np.nanmean(
            np.where(np.isfinite(models[0].seen[key]), 0, np.abs(np.nanmean(models[0].seen[key]) / depth - 1))
        )
        for key, depth in (
            ("a", make_depth(0)),
            ("b", np.where(np.arange(30)[:, None] < 15, np.nan, make_depth(1))),
        )
    ]
    assert first.summary.totals["completing"]["abs_rel"].value == pytest.approx(np.mean(expected), rel=1e-4)
    measure(truth, DepthEstimator(models[1]), sparse="truth:100000")
    assert np.isfinite(models[1].seen["b"]).sum() == 15 * 40  # all that there are


def test_points_outside_of_the_window_make_an_image_again(truth: GroundTruth, tmp_path: Path) -> None:
    """Points are drawn of the whole ground truth: what is measured alone does not say what the model was given."""

    window = replace(
        load_protocol("moge-metric"), window=(20, 30)
    )  # at the bottom, as KITTI's benchmark has it

    def count_kept(samples: list[RGBDSample]) -> int:
        options = {"sparse": "truth:50", "protocol": window, "output": tmp_path / "out"}
        cx.evaluate(DepthEstimator(Completing()), truth=to_ground_truth(samples), **options)  # type: ignore[arg-type]
        return (tmp_path / "out/scores.jsonl").read_text().count("abs_rel")

    samples = [read() for within in truth.sets for _, read in within.list_samples()]
    first = count_kept(samples)
    assert count_kept(samples) == first > 0 == first % 2
    values = samples[1].depth.values.copy()
    values[:9] = 2.0
    assert count_kept([samples[0], replace(samples[1], depth=DepthMap(values, "metric"))]) == first * 3 // 2


def test_maps_of_a_folder_are_found_by_the_names_of_the_images(truth: GroundTruth, tmp_path: Path) -> None:
    (tmp_path / "lidar").mkdir()
    values = (make_depth(0) * 1000).astype(np.uint16)
    Image.fromarray(values).save(tmp_path / "lidar/a.png")
    model = Completing()
    options = {"sparse": tmp_path / "lidar", "sparse_from": "scannet", "output": tmp_path / "out"}
    result = measure(truth, DepthEstimator(model), **options)
    np.testing.assert_allclose(model.seen["a"], values / 1000, rtol=1e-6)
    assert [*model.seen] == ["a"] and not result.is_complete
    (remark,) = result.evaluation.columns[0].remarks()
    assert remark[0] == "b" and "of sparse depth has its name" in remark[1]
    Image.fromarray(values).save(tmp_path / "lidar/b.png")
    model.seen.clear()
    assert measure(truth, DepthEstimator(model), **options).is_complete
    assert next(iter(model.seen)) == "b"  # a's score was kept, since its map is the same; the page shows both


def test_what_cannot_be_given_is_refused_before_anything_is_measured(truth: GroundTruth) -> None:
    completing, other = DepthEstimator(Completing()), DepthEstimator(SyntheticModel(kind="metric"))
    with pytest.raises(ModelError, match=r"completing completes a sensor's depth: give that \(`sparse`\)"):
        measure(truth, completing)
    with pytest.raises(InputError, match="none of these models takes sparse depth"):
        measure(truth, other, sparse="truth:5")
    with pytest.raises(InputError, match="'truth:few': truth: takes a number of pixels, as truth:500"):
        measure(truth, completing, sparse="truth:few")
    with pytest.raises(InputError, match="`sparse_from` says whose files the folder"):
        measure(truth, completing, sparse="truth:5", sparse_from="kitti")
    both = measure(truth, [completing, other], sparse="truth:5").summary.totals
    assert {"completing", "synthetic"} <= both.keys()


def test_models_are_compared_each_with_what_it_takes(truth: GroundTruth, tmp_path: Path) -> None:
    for name in ("photos", "lidar"):
        (tmp_path / name).mkdir()
    Image.fromarray(np.zeros((*SIZE, 3), np.uint8)).save(tmp_path / "photos/a.png")
    cx.write_depth(DepthMap(make_depth(0), "metric"), tmp_path / "lidar/a.npz")
    models = [DepthEstimator(Completing()), DepthEstimator(SyntheticModel(kind="metric"))]
    options = {"images": tmp_path / "photos", "output": tmp_path / "compared"}
    found = compare(models, sparse=tmp_path / "lidar", **options)  # type: ignore[arg-type]
    assert found.images == 1
    with pytest.raises(InputError, match="none of these models takes sparse depth"):
        compare([models[1], "compact"], sparse=tmp_path / "lidar", **options)  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r"give that \(`sparse`\)"):
        compare(models, images=options["images"], output=tmp_path / "others")
