"""The depth estimation data set guide, from loading to augmented batches, every figure in a file.

    python examples/depth_dataset_guide.py SET [SET ...] --output figures

Each SET is a folder that holds a data set (`cortexia dataset info SET` says what is in it). Needs
pip install 'cortexia-video[datasets,augment]'.
"""

from __future__ import annotations

import argparse
import os
from itertools import chain
from pathlib import Path

import numpy as np
from PIL import Image

from cortexia_video import collage, colored_depthmap, merge_into_row, open_dataset, to_hf, usable_samples
from cortexia_video.augmentation import ApplyTransforms
from cortexia_video.datasets.problems import ProblemCount
from cortexia_video.datasets.table import recognise

os.environ["NO_ALBUMENTATIONS_UPDATE"] = "1"  # else it asks its server for a newer version
import albumentations as A

CROP = (448, 576)


def main() -> None:
    arguments = read_arguments()
    output: Path = arguments.output
    output.mkdir(parents=True, exist_ok=True)

    # the data set: two columns of pictures, and what the numbers mean beside them
    sets = [open_dataset(recognise(each), each) for each in arguments.sets]
    skipped = ProblemCount()
    samples = (sample for sample in chain(*(usable_samples(each, skipped) for each in sets)) if fits(sample))
    train_dataset = to_hf(samples)
    index = min(17, len(train_dataset) - 1)
    example = train_dataset[index]
    print(len(train_dataset), "samples;", skipped.total, "skipped")
    print({name: example[name] for name in ("image", "depth_map", "key", "origin", "kind", "unit")})

    # one sample: its picture, its depth as it is (black to the eye), and coloured
    example["image"].save(output / "sample.png")
    example["depth_map"].convert("RGB").save(output / "target.png")
    save(colored_depthmap(example["depth_map"]), output / "target_viz.png")
    save(merge_into_row(example["image"], example["depth_map"]), output / "row.png")

    # several of them
    count = min(9, len(train_dataset))
    random_indices = np.random.default_rng(0).choice(len(train_dataset), count, replace=False).tolist()
    examples = [train_dataset[i] for i in random_indices]
    save(
        collage([(each["image"], each["depth_map"]) for each in examples], columns=3), output / "collage.png"
    )

    # augmentation, when a sample is asked for
    transforms = [
        A.HorizontalFlip(p=0.5),
        A.RandomCrop(*CROP),
        A.RandomBrightnessContrast(),
        A.RandomGamma(),
        A.HueSaturationValue(),
    ]
    aug = A.Compose(transforms=transforms, additional_targets={"depth": "mask"}, seed=0)
    train_dataset.set_transform(ApplyTransforms(aug))
    example = train_dataset[index]
    save(example["pixel_values"], output / "sample_aug.png")
    save(colored_depthmap(example["labels"]), output / "target_aug.png")
    examples = [train_dataset[i] for i in random_indices]
    pairs = [(each["pixel_values"], each["labels"]) for each in examples]
    save(collage(pairs, columns=3), output / "aug_collage.png")


def fits(sample) -> bool:
    """Say whether the crop fits into a picture."""
    return sample.size[0] >= CROP[0] and sample.size[1] >= CROP[1]


def save(image: np.ndarray, path: Path) -> None:
    Image.fromarray(image).save(path)


def read_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("sets", nargs="+", type=Path)
    parser.add_argument("--output", type=Path, default=Path("figures"))
    return parser.parse_args()


if __name__ == "__main__":
    main()
