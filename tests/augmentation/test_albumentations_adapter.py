"""The dataset guide's augmentation runs word for word, with albumentations itself and `datasets` itself."""

from __future__ import annotations

import os
import pickle
import re
from typing import Any

import numpy as np
import pytest
from conftest import SHARED
from PIL import Image

from cortexia_video import DepthMap, Frame, Pinhole, RGBDSample
from cortexia_video.augmentation import ApplyTransforms, Photometric
from cortexia_video.errors import InputError

os.environ["NO_ALBUMENTATIONS_UPDATE"] = "1"  # no look for a newer version over the network
albumentations = pytest.importorskip("albumentations")

GUIDE = SHARED / "spec/depth_estimation_dataset.md"
TARGETS = {"depth": "mask"}


def make_columns(count: int) -> dict[str, list[Image.Image]]:
    """Return the guide's columns; depth is ten times the red of the image, and unknown at the left."""
    random = np.random.default_rng(0)
    red = random.integers(10, 250, (count, 480, 640), dtype=np.uint8)
    depth = red.astype(np.float32) / 10
    depth[:, :, :40] = np.nan
    images = np.repeat(red[..., None], 3, axis=3)
    return {"image": [*map(Image.fromarray, images)], "depth_map": [*map(Image.fromarray, depth)]}


def read_guide() -> str:
    """Return the guide's code from `import albumentations` to its function, the seed aside."""
    blocks = re.findall(r"```python\n(.*?)```", GUIDE.read_text(), re.DOTALL)
    wanted = ("import albumentations", "additional_targets =", "def apply_transforms")
    chosen = [block for block in blocks if any(word in block for word in wanted)]
    assert len(chosen) == 3
    return "\n".join(chosen)


@pytest.mark.skipif(not GUIDE.exists(), reason="needs ../shared/spec")
def test_the_guide_augments_a_data_set_word_for_word() -> None:
    datasets = pytest.importorskip("datasets")
    names: dict[str, Any] = {"np": np}
    exec(compile(read_guide(), str(GUIDE), "exec"), names)
    features = datasets.Features(image=datasets.Image(), depth_map=datasets.Image())
    train_dataset = datasets.Dataset.from_dict(make_columns(3), features=features)
    assert train_dataset[0]["depth_map"].mode == "F" and train_dataset[0]["image"].mode == "RGB"
    for apply_transforms in (names["apply_transforms"], ApplyTransforms(names["aug"])):
        names["aug"].set_random_seed(5)
        train_dataset.set_transform(apply_transforms)
        example = train_dataset[1]
        assert example["pixel_values"].shape == (448, 576, 3) and example["labels"].shape == (448, 576)
        assert example["pixel_values"].dtype == np.uint8 and example["labels"].dtype == np.float32
        values = set(np.unique(example["labels"][np.isfinite(example["labels"])]))
        assert values <= {*(np.arange(256, dtype=np.float32) / 10)}


def test_ours_gives_what_the_guide_gives_and_what_is_valid() -> None:
    pipeline = albumentations.Compose(
        [albumentations.HorizontalFlip(p=0.5), albumentations.RandomCrop(448, 576)],
        additional_targets=TARGETS,
        seed=0,
    )
    columns = {**make_columns(8), "name": list("abcdefgh")}
    batch = pickle.loads(pickle.dumps(ApplyTransforms(pipeline)))(columns)
    assert batch["name"] == columns["name"]
    holes = 0
    for image, depth, valid in zip(batch["pixel_values"], batch["labels"], batch["valid"], strict=True):
        np.testing.assert_array_equal(valid, np.isfinite(depth))
        np.testing.assert_allclose(depth[valid] * 10, image[..., 0][valid], rtol=1e-6)  # moved together
        holes += (~valid).sum()
    assert holes


def test_images_of_other_modes_and_sizes() -> None:
    apply = ApplyTransforms(albumentations.Compose([], additional_targets=TARGETS))
    columns = make_columns(1)
    grey = apply({**columns, "image": [columns["image"][0].convert("L")]})
    assert grey["pixel_values"][0].shape == (480, 640, 3)
    with pytest.raises(InputError, match="an image of 64 x 48 and depth of 640 x 480 pixels"):
        apply({**columns, "image": [columns["image"][0].resize((64, 48))]})


def test_albumentations_changes_colours_by_seed_and_key_alone() -> None:
    change = albumentations.Compose(
        [albumentations.RandomBrightnessContrast(p=1), albumentations.HueSaturationValue(p=1)]
    )
    image = np.random.default_rng(0).integers(0, 256, (30, 40, 3), dtype=np.uint8)
    depth = DepthMap(np.ones((30, 40), np.float32), "metric")
    step = pickle.loads(pickle.dumps(Photometric(change)))
    samples = [RGBDSample(Frame(key, image), depth, Pinhole.centred(50, 40, 30)) for key in "abc"]
    first = [step(sample, 3) for sample in samples]
    again = [Photometric(change)(sample, 3) for sample in reversed(samples)][::-1]
    for one, other in zip(first, again, strict=True):
        np.testing.assert_array_equal(one.frame.image, other.frame.image)
        assert one.depth is depth
    assert len({each.frame.image.tobytes() for each in first}) == 3
