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

from cortexia_video import DepthMap, Frame, Pinhole, RGBDSample, to_hf
from cortexia_video.augmentation import ApplyTransforms, Photometric
from cortexia_video.augmentation.albumentations_adapter import _only_moves
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


A = albumentations
MOVES: dict[str, Any] = {
    "flip": lambda: A.HorizontalFlip(p=1),
    "crop": lambda: A.RandomCrop(30, 40),
    "pad": lambda: A.PadIfNeeded(70, 90, position="random"),
    "pad, filled": lambda: A.PadIfNeeded(70, 90, fill_mask=1),
    "pad, far": lambda: A.PadIfNeeded(70, 90, fill_mask=255),
    "rotate": lambda: A.Rotate((30, 30), p=1),
    "rotate, filled": lambda: A.Rotate((30, 30), p=1, fill_mask=7),
    "affine": lambda: A.Affine(translate_percent=0.3, scale=0.7, p=1),
    "linear": lambda: A.Affine(scale=1.3, mask_interpolation=1, p=1),
    "dropout": lambda: A.CoarseDropout(fill_mask=0, p=1),
    "perspective": lambda: A.Perspective(scale=0.2, fit_output=True, p=1),
}
KINDS = {
    "metric": 1.0,
    "scale_invariant": 1.0,
    "affine_invariant": -5.0,
    "disparity": 0.0,
}  # the least values


def make_row(kind: str, least: float) -> dict[str, list[Any]]:
    """Return a batch of one sample: depth is red times 10 and something, unknown above and masked out below."""
    random = np.random.default_rng(3)
    red = random.integers(0, 200, (48, 64), dtype=np.uint8)
    depth = red.astype(np.float32) + np.float32(least)
    depth[:8] = np.nan
    mask = np.full((48, 64), 255, np.uint8)
    mask[-6:] = 0
    return {
        "image": [Image.fromarray(np.repeat(red[..., None], 3, axis=2) + np.uint8(50))],
        "depth_map": [Image.fromarray(depth)],
        "mask": [Image.fromarray(mask)],
        "kind": [kind],
    }


@pytest.mark.parametrize("move", MOVES)
@pytest.mark.parametrize("kind", KINDS)
def test_what_is_valid_is_what_was_known_and_is_moved(move: str, kind: str) -> None:
    """Each valid pixel shows its own depth; borders, holes and what the mask leaves out are not valid."""
    pipeline = albumentations.Compose([MOVES[move]()], additional_targets=TARGETS, seed=1)
    columns = make_row(kind, KINDS[kind])
    batch = ApplyTransforms(pipeline)(columns)
    image, labels, valid = (batch[name][0] for name in ("pixel_values", "labels", "valid"))
    assert valid.dtype == bool and valid.shape == labels.shape == image.shape[:2]
    assert batch["kind"] == [kind] and batch["mask"] is columns["mask"]
    assert np.isfinite(labels[valid]).all()
    if move in ("flip", "crop", "pad", "pad, filled", "pad, far", "dropout"):  # pixels stay pixels
        np.testing.assert_array_equal(labels[valid], image[..., 0][valid] - np.float32(50) + KINDS[kind])
    share = valid.sum() / (48 * 64)
    whole = (48 - 8 - 6) / 48
    if move in ("flip", "pad", "pad, filled", "pad, far"):
        assert share == pytest.approx(whole)
    assert 0.1 < share <= whole * (1.3**2 if move == "linear" else 1.01)


@pytest.mark.parametrize("fills", [False, True])
def test_the_mask_goes_through_a_pipeline_that_may_fill_or_mix_alone(fills: bool) -> None:
    """Without it, what is valid is read from the moved depth: the same, in a fifth less time."""

    class Own(A.ImageOnlyTransform):  # of another package: what it does to masks is not known
        def apply(self, img: Any, **_: Any) -> Any:
            return img

    columns = {**make_row("metric", 1), "mask": [None]}
    moves = [A.RandomRotate90(p=1), A.RandomCrop(20, 30, pad_if_needed=fills), A.RandomGamma(p=1)]
    batches = []
    for steps in (moves, [*moves, Own(p=1)]):
        pipeline = albumentations.Compose(
            [A.OneOf([steps[0]], p=1), *steps[1:]], additional_targets=TARGETS, seed=4
        )
        assert _only_moves(pipeline) == (steps is moves and not fills)
        batches.append(ApplyTransforms(pipeline)(columns))
    one, other = (each["valid"][0] for each in batches)
    assert one.dtype == bool and 0 < one.mean() < 1
    np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(
    ("name", "kind"), [("sky", "disparity"), ("low", "disparity"), ("low", "affine_invariant")]
)
def test_disparity_at_or_below_nothing_stays_valid_on_the_way_of_the_guide(name: str, kind: str) -> None:
    """Case 01: 3072 of 3072 pixels are known; by the sign alone it was 58 %."""
    hf = pytest.importorskip("datasets")
    values = np.linspace(-1 if name == "low" else 0, 3, 48 * 64, dtype=np.float32).reshape(48, 64)
    if name == "sky":
        values[:20] = 0
    sample = RGBDSample(Frame("a.png", np.zeros((48, 64, 3), np.uint8)), DepthMap(values, kind))  # type: ignore[arg-type]
    pipeline = albumentations.Compose([A.HorizontalFlip(p=1)], additional_targets=TARGETS)
    for dataset in (to_hf([sample]), to_hf([sample]).remove_columns("kind")):
        said = "kind" in dataset.column_names
        dataset.set_transform(ApplyTransforms(pipeline) if said else ApplyTransforms(pipeline, kind=kind))  # type: ignore[arg-type]
        assert np.asarray(dataset[0]["valid"]).all() and sample.valid.all()
        assert dataset[0]["kind"] == kind
    assert hf


def test_whole_numbers_and_tensors() -> None:
    """16-bit millimetres with 0 for unknown, and pipelines that end in tensors."""
    torch = pytest.importorskip("torch")
    numbers = np.arange(48 * 64, dtype=np.uint16).reshape(48, 64)
    columns = {**make_row("metric", 1), "depth_map": [Image.fromarray(numbers)], "mask": [None]}
    for steps in ([], [A.ToTensorV2()]):
        batch = ApplyTransforms(albumentations.Compose(steps, additional_targets=TARGETS))(columns)
        valid = batch["valid"][0]
        assert isinstance(valid, torch.Tensor if steps else np.ndarray)
        np.testing.assert_array_equal(np.asarray(valid), numbers > 0)
    with pytest.raises(InputError, match="an image of 64 x 48 and a mask of 9 x 9 pixels"):
        ApplyTransforms(albumentations.Compose([]))(
            {**columns, "mask": [Image.fromarray(np.ones((9, 9), np.uint8))]}
        )
