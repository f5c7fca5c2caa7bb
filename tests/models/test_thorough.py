"""`thorough`: each image seen as it is and mirrored."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from camera_model import Camera

from cortexia_video import (
    DepthEstimator,
    DepthMap,
    Frame,
    SyntheticModel,
    estimate,
    load_estimator,
    read_image,
)
from cortexia_video.errors import InputError
from cortexia_video.models.protocol import Prediction
from cortexia_video.models.thorough import Thorough

EXAMPLES = sorted((Path(__file__).parents[2] / "examples").glob("*.jpg"))


class Slanted(SyntheticModel):
    """Nearness that also grows to the right, which no mirror image confirms."""

    def infer(self, batch: np.ndarray) -> Any:
        return super().infer(batch) + np.linspace(0, 1, batch.shape[2], dtype=np.float32)


class Telling(Slanted):
    """The same, with all that a model can tell beside it: the left half is valid, the top is sky."""

    maps = ("normals", "mask", "confidence")

    def infer(self, batch: np.ndarray, also: frozenset[str] = frozenset()) -> Prediction:
        values = super().infer(batch)
        valid, sky = np.zeros(values.shape, bool), np.zeros(values.shape, bool)
        valid[:, :, : values.shape[2] // 2 + 4] = True
        sky[:, :8] = True
        normals = np.broadcast_to(np.float32([0.6, 0.0, -0.8]), (*values.shape, 3))
        return Prediction(values, np.full(len(values), 50.0), valid, sky, values, normals)


def read() -> Frame:
    return read_image(next(path for path in EXAMPLES if path.name == "room_900002.jpg"))


def mirror(frame: Frame) -> Frame:
    return Frame("mirrored", np.ascontiguousarray(frame.image[:, ::-1]))


def test_depth_is_the_mean_of_image_and_mirror_image() -> None:
    frame = read()
    plain, thorough = (load_estimator("compact", size="native", thorough=each) for each in (False, True))
    one, other = plain(frame).values, plain(mirror(frame)).values[:, ::-1]
    assert np.abs(one - other).max() > 0.1, "the network is not the same to both sides"
    assert np.array_equal(thorough(frame).values, (one + other) / 2)
    assert np.array_equal(thorough(mirror(frame)).values, thorough(frame).values[:, ::-1])
    assert thorough.identity == {**plain.identity, "thorough": True}


def test_an_image_does_not_depend_on_its_batch() -> None:
    estimator = load_estimator("compact", thorough=True, batch_size=3)
    together = [*estimator.estimate(EXAMPLES[:3])]
    for path, depth in zip(EXAMPLES, together, strict=False):
        assert isinstance(depth, DepthMap) and np.array_equal(depth.values, estimator(path).values)


def test_a_focal_length_is_estimated_and_used_as_without() -> None:
    frame = Frame("a", np.random.default_rng(0).integers(50, 200, (48, 64, 3), dtype=np.uint8))
    plain, thorough = DepthEstimator(Camera()), DepthEstimator(Thorough(Camera()))
    assert thorough.uses_focal_length and thorough.can_run_again
    found, wanted = thorough(frame), plain(frame)
    assert found.f_px == wanted.f_px and found.f_source == "estimated"
    assert found.values == pytest.approx(wanted.values, rel=1e-5)  # its formula is the same to both sides
    known = Frame("b", frame.image, f_px=70.0, f_source="given")
    assert thorough(known).values == pytest.approx(plain(known).values, rel=1e-5)


def test_a_model_that_estimates_no_focal_length_says_so_as_without() -> None:
    class Blind(Camera):
        estimates_fov = False

    frame = Frame("a", np.full((48, 64, 3), 100, np.uint8))
    said = [list(DepthEstimator(model).estimate([frame])) for model in (Blind(), Thorough(Blind()))]
    assert said[0][0].reason == said[1][0].reason and "estimates no focal length" in said[0][0].reason


def test_all_that_a_model_tells_is_mirrored_back() -> None:
    model = Thorough(Telling(short_side=32))
    image = np.full((32, 48, 3), 100, np.uint8)
    answer = model.infer(model.preprocess(image, (32, 48))[None], also=frozenset({"normals"}))
    assert isinstance(answer, Prediction)
    assert answer.values == pytest.approx(answer.values[:, :, ::-1]), "the slant is averaged away"
    assert answer.fov_deg == pytest.approx(50) and np.array_equal(answer.confidence, answer.values)
    assert np.flatnonzero(answer.valid[0, 0]).tolist() == [*range(20, 28)], "where both know"
    assert answer.sky[0, :, 0].tolist() == [True] * 8 + [False] * 24
    assert answer.normals == pytest.approx(np.broadcast_to([0.0, 0.0, -1.0], (1, 32, 48, 3)))


def test_where_one_sees_sky_and_the_other_depth_the_depth_is_not_mixed() -> None:
    class Sided(SyntheticModel):
        def infer(self, batch: np.ndarray) -> Prediction:
            values = np.full(batch.shape[:3], 2, np.float32)
            sky = np.zeros(values.shape, bool)
            sky[:, :8], sky[:, 8:, :6] = True, True
            values[sky] = 900
            return Prediction(values, sky=sky)

    model = Thorough(Sided(short_side=32))
    answer = model.infer(model.preprocess(np.full((32, 48, 3), 100, np.uint8), (32, 48))[None])
    assert isinstance(answer, Prediction) and answer.sky is not None
    assert answer.sky[0, :8].all() and not answer.sky[0, 8:].any()
    assert (answer.values[0, 8:] == 2).all() and (answer.values[0, :8] == 900).all()


def test_loaded_models_are_taken_as_they_are(tmp_path: Path) -> None:
    loaded = DepthEstimator(SyntheticModel())
    with pytest.raises(InputError, match="a loaded model takes no options here: thorough"):
        estimate(EXAMPLES[0], tmp_path / "out", model=loaded, thorough=True)
