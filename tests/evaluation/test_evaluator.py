"""`evaluate`: what the command does, for Python."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import cortexia_video as cx
from cortexia_video.errors import OutputLostError
from cortexia_video.evaluation import ModelPredictor, evaluator, to_ground_truth


def make_samples() -> list[cx.RGBDSample]:
    rng = np.random.default_rng(0)
    frames = [cx.Frame(f"{n}", rng.integers(0, 256, (24, 32, 3), np.uint8)) for n in range(6)]
    depth = [cx.DepthMap(rng.uniform(1, 5, (24, 32)).astype(np.float32), "metric") for _ in frames]
    return [cx.RGBDSample(*each) for each in zip(frames, depth, strict=True)]


def test_a_model_folders_and_held_samples_are_measured_and_written(tmp_path: Path) -> None:
    samples = make_samples()
    for each in samples:
        cx.write_depth(each.depth, tmp_path / f"true/{each.key}.npz")
    estimator = cx.DepthEstimator(cx.SyntheticModel())
    truth, folder = to_ground_truth(samples, max_m=10.0), tmp_path / "true"
    result = cx.evaluate([estimator, str(folder)], truth=truth, output=tmp_path / "out", workers=2)
    totals = result.summary.totals
    assert totals[str(folder)]["abs_rel"].value == pytest.approx(0, abs=1e-6)
    assert totals["synthetic"]["abs_rel"].value > 0.1
    assert result.is_complete
    assert "synthetic" in str(result)
    written = json.loads((tmp_path / "out/results.json").read_text())
    assert written["totals"]["synthetic"]["abs_rel"]["value"] == totals["synthetic"]["abs_rel"].value
    assert {path.name for path in (tmp_path / "out").iterdir()} >= {"page.html", "images.csv", "scores.jsonl"}
    again = cx.evaluate(ModelPredictor("mine", estimator), truth=truth)
    assert again.summary.totals["mine"]["abs_rel"] == totals["synthetic"]["abs_rel"]


def test_what_was_measured_is_reported_where_it_cannot_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise OutputLostError(tmp_path, OSError(28, "No space left on device"))

    monkeypatch.setattr(evaluator, "save_results", fail)
    estimator = cx.DepthEstimator(cx.SyntheticModel())
    with pytest.raises(OutputLostError) as raised:
        cx.evaluate(estimator, truth=to_ground_truth(make_samples()), output=tmp_path / "out")
    assert "synthetic" in str(raised.value.report)
