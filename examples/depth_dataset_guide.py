# %% [markdown]
# # Depth estimation datasets
#
# From folders of images with depth to augmented training samples, every figure on the way. The same as a
# script, `python examples/depth_dataset_guide.py SET [SET ...]`, and as a notebook, which `make_notebook.py`
# makes of the script. It needs `pip install 'cortexia-video[datasets,augment]'`.

# %%
import os
from itertools import chain
from pathlib import Path

import numpy as np
from PIL import Image

from cortexia_video import collage, colored_depthmap, merge_into_row
from cortexia_video.augmentation import ApplyTransforms
from cortexia_video.datasets import ProblemCount, open_folder, to_hf, usable_samples

os.environ["NO_ALBUMENTATIONS_UPDATE"] = "1"  # else it asks its server for a newer version
import albumentations as A

# %% [markdown]
# The datasets: folders that `cortexia dataset info FOLDER` knows. Figures are written to `figures`.

# %%
folders, figures = sorted(Path("data").glob("*")), Path("figures")

# %% [script]
import sys  # noqa: E402 - not in the notebook, whose arguments are others

folders = [Path(each) for each in sys.argv[1:]] or folders
if not folders:
    sys.exit(f"no datasets: {sys.argv[0]} SET [SET ...], or put them in data/")

# %% [markdown]
# Broken samples, and what cannot be metres, are left out and counted. `to_hf` makes a `datasets.Dataset` of
# the rest, with the columns `image` and `depth_map` (float32 TIFF, mode F), and beside them what the numbers
# mean.

# %%
crop_size = (448, 576)
skipped = ProblemCount()
opened = [open_folder(folder) for folder in folders]
samples = chain.from_iterable(usable_samples(each, skipped) for each in opened)
train_dataset = to_hf(
    each for each in samples if each.size[0] >= crop_size[0] and each.size[1] >= crop_size[1]
)
print(len(train_dataset), "samples;", skipped.total, "skipped")

index = min(17, len(train_dataset) - 1)
example = train_dataset[index]
print({name: example[name] for name in ("image", "depth_map", "key", "origin", "kind", "unit")})

# %% [markdown]
# One sample.


# %%
def show(image, name):
    """Write a figure, uint8 (H, W, 3) or Pillow's; a notebook shows what it gives."""
    pil_image = Image.fromarray(image) if isinstance(image, np.ndarray) else image
    figures.mkdir(parents=True, exist_ok=True)
    pil_image.save(figures / f"{name}.png")
    return pil_image


show(example["image"], "sample")

# %% [markdown]
# Its depth in metres, as it is: black to the eye.

# %%
show(example["depth_map"].convert("RGB"), "target")

# %% [markdown]
# Coloured: far is bright, and what no sensor saw is grey.

# %%
show(colored_depthmap(example["depth_map"]), "target_viz")

# %%
show(merge_into_row(example["image"], example["depth_map"]), "row")

# %% [markdown]
# Several of them.

# %%
count = min(9, len(train_dataset))
random_indices = np.random.default_rng(0).choice(len(train_dataset), count, replace=False).tolist()
examples = [train_dataset[i] for i in random_indices]
show(collage([(each["image"], each["depth_map"]) for each in examples], columns=3), "collage")

# %% [markdown]
# Augmentation, done when a sample is asked for: flip and crop move image and depth, the rest colours only.

# %%
transforms = [
    A.HorizontalFlip(p=0.5),
    A.RandomCrop(*crop_size),
    A.RandomBrightnessContrast(),
    A.RandomGamma(),
    A.HueSaturationValue(),
]
aug = A.Compose(transforms=transforms, additional_targets={"depth": "mask"}, seed=0)
train_dataset.set_transform(ApplyTransforms(aug))
example = train_dataset[index]
show(example["pixel_values"], "sample_aug")

# %%
show(colored_depthmap(example["labels"]), "target_aug")

# %%
examples = [train_dataset[i] for i in random_indices]
show(collage([(each["pixel_values"], each["labels"]) for each in examples], columns=3), "aug_collage")
