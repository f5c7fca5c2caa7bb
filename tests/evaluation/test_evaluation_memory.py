"""What an evaluation keeps of each image: little, and all of it."""

from __future__ import annotations

import gc
import tracemalloc

import numpy as np

from cortexia_video import DepthMap, Frame, RGBDSample
from cortexia_video.datasets.dataset import RGBDDataset
from cortexia_video.evaluation.ground_truth import to_ground_truth
from cortexia_video.evaluation.job import measure_predictors
from cortexia_video.evaluation.predictors import StoredPredictor
from cortexia_video.evaluation.protocol import load_protocol
from cortexia_video.evaluation.score_file import ScoreFile

METRIC = load_protocol("moge-metric")
DEPTH = np.linspace(1, 5, 48, dtype=np.float32).reshape(6, 8)


class Entry:
    def __init__(self, number: int) -> None:
        self.key = f"folder/{number:07d}"


def read_sample(entry):
    return RGBDSample(Frame(entry.key, np.zeros((6, 8, 3), np.uint8)), DepthMap(DEPTH, "metric"))


class Near(StoredPredictor):
    name = "near"

    def identify(self, key):
        return key.encode()

    def read(self, key):
        return DepthMap(DEPTH * np.float32(0.8 + 1e-6 * int(key[-7:])), "metric")


def count_bytes(make):
    """Give what is held of the result of `make`, in bytes."""
    gc.collect()
    tracemalloc.start()
    held = make()
    gc.collect()
    size = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    del held
    return size


def evaluate_some(count, **options):
    truth = to_ground_truth(RGBDDataset("small", [Entry(number) for number in range(count)], read_sample))
    return measure_predictors(truth, [Near()], METRIC, workers=1, **options)


def test_an_image_of_one_predictor_and_three_baselines_is_kept_in_3_kilobytes():
    evaluate_some(10)  # what is made once
    few, many = (count_bytes(lambda count=count: evaluate_some(count).columns) for count in (40, 160))
    assert 4 * 15 * 8 < (many - few) / 120 < 3000


def test_a_score_that_was_kept_before_costs_300_bytes_until_it_is_asked_for(tmp_path):
    with ScoreFile(tmp_path) as scores:
        evaluate_some(200, kept=scores)

    def reopen():
        with ScoreFile(tmp_path) as kept:
            return kept

    assert count_bytes(reopen) < 200 * 300
