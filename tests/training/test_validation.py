"""What a recipe's validation measures against."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from dataset_layouts import make_rgbd, make_scene

from cortexia_video.errors import Failure, InputError
from cortexia_video.training.recipe import ValidationPlan
from cortexia_video.training.validation import open_references


@pytest.mark.parametrize("allowed", [False, True])
def test_what_lies_outside_is_read_where_the_recipe_allows_it(tmp_path: Path, allowed: bool) -> None:
    make_rgbd(tmp_path / "set", make_scene(), 1)
    (image,) = (tmp_path / "set/rgb").iterdir()
    image.symlink_to(image.rename(tmp_path / "elsewhere.png"))
    plan = ValidationPlan(truth=(str(tmp_path / "set"),), allow_outside=allowed)
    (truth,) = open_references(plan).truths
    assert truth.sets[0].dataset
    (sample,) = truth.sets[0].dataset.attempt()
    assert isinstance(sample, Failure) is not allowed


def test_ground_truth_off_its_images_is_refused_unless_the_recipe_allows_it(tmp_path: Path) -> None:
    make_rgbd(tmp_path / "set", make_scene(), 1, registered=False)
    plan = ValidationPlan(truth=(str(tmp_path / "set"),))
    with pytest.raises(InputError, match=r"not registered.*`allow_unregistered=True`"):
        open_references(plan)
    assert open_references(replace(plan, allow_unregistered=True)).truths
