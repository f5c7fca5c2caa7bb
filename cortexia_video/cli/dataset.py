"""`cortexia dataset`: datasets of images with depth: built, described, looked at."""

from __future__ import annotations

import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter
from numpy.random import Generator
from PIL import Image, PngImagePlugin

from cortexia_video.augmentation import (
    Compose,
    Flip,
    Photometric,
    RandomCrop,
    RandomTransform,
    Sometimes,
    Transform,
    View,
)
from cortexia_video.cli import DONE, SOME_FAILED
from cortexia_video.cli.failures import FailureGroups
from cortexia_video.cli.option_words import to_options
from cortexia_video.cli.options import MEANING, OPTIONS, RUN, Output, take_options
from cortexia_video.cli.streams import find_width
from cortexia_video.datasets.builder import Problems, build_dataset
from cortexia_video.datasets.registry import DATASETS, describe_reading, open_folder
from cortexia_video.datasets.sample_checks import ProblemCount, raise_problem
from cortexia_video.datasets.summary import make_sheet, summarise
from cortexia_video.errors import (
    Failure,
    OutputError,
    OutputExistsError,
    explain_import,
    require_at_least_1,
)
from cortexia_video.formats.metadata import MARK
from cortexia_video.formats.registry import HEAD_BYTES, is_own_head
from cortexia_video.storage.atomic_file import write_atomic
from cortexia_video.storage.paths import to_path

_OF_BUILD = (
    *("depth", "name", "split", "format", "shard_size", "problems"),
    *("allow_unregistered", "allow_outside"),
)
_OF_READING = (
    *("images", "depths", "columns", "convention", "kind", "scale", "unknown"),
    *("camera", "sparse", "same_view", "revision"),
)
_IMAGES = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG"}


@take_options(build_dataset, (OPTIONS, _OF_BUILD), (RUN, ("workers",)))
@take_options(describe_reading, (MEANING, _OF_READING))
def build_command(
    source: Annotated[str, Parameter(name="INPUT")],
    /,
    *,
    output: Output,
    **options: Any,
) -> int:
    """Make a dataset of images and depth.

    Of images and the depth that `cortexia estimate` made of them, or of a dataset. Finished shards are kept:
    the same command again does only what is missing. What cannot be used is left out, counted and printed.

        cortexia estimate photos --output depth --recursive
        cortexia dataset build photos --depth depth --output photos-depth
        cortexia dataset build my --images "rgb/*" --depths "d/*" --from nyu -o out

    Exit code: 0 all right, 1 some were left out, 2 wrong usage.

    Args:
        source: The images that were given to `cortexia estimate`; or, without --depth, the folder of a
            dataset. A path, or a URL such as s3://bucket/photos, as the others are.
        output: The folder of the shards. At a URL one process builds at a time.
    """
    reading = describe_reading(**{name: options.pop(name) for name in _OF_READING})
    report = build_dataset(source, output, options=reading, **options)
    print(report)
    return _list_failures(report.failures, report.failed)


@take_options(describe_reading, (MEANING, _OF_READING))
def info_command(
    what: Annotated[str | None, Parameter(name="NAME|DIR")] = None,
    /,
    *,
    name: str | None = None,
    split: str | None = None,
    samples: int = 200,
    allow_unregistered: bool = False,
    allow_outside: bool = False,
    **reading: Any,
) -> int:
    """Describe a dataset, or list all.

    What a dataset is and where it comes from; or, of one in a folder: samples, sizes, share of valid pixels,
    a histogram of depth, and what cannot be used.

        cortexia dataset info
        cortexia dataset info kitti
        cortexia dataset info data/kitti --split train

    Exit code: 0 all right, 1 some samples cannot be used, 2 wrong usage.

    Args:
        what: A name of the list, or a folder, also a URL such as s3://bucket/set.
        name: Name of the dataset in the folder, where its files do not show it.
        split: Look at this split only.
        samples: How many samples are looked at, spread over the dataset.
        allow_unregistered: Look at depth that does not lie on its images, too.
        allow_outside: Read also what set.json and lists of the dataset name outside of its folder.
    """
    if what is None:
        longest = max(map(len, DATASETS))
        for info in DATASETS.values():
            if find_width():
                print(f"{info.name:<{longest}}  {info.summary}; licence: {info.licence}")
            else:
                print(f"{info.name}\t{info.summary}\t{info.licence}")
        return DONE
    if what in DATASETS and not Path(what).exists():
        info = DATASETS[what]
        splits = "as its files say" if info.splits is None else ", ".join(info.splits) or "none"
        print(f"{info.name}: {info.summary}\nlicence  {info.licence}\nfrom     {info.where}")
        print(f"folder   {info.layout}\nsplits   {splits}")
        return DONE
    allowed = {"allow_unregistered": allow_unregistered, "allow_outside": allow_outside}
    dataset = open_folder(what, name, split=split, **allowed, **describe_reading(**reading))
    summary = summarise(dataset, samples=samples)
    print(to_options(str(summary)))
    return SOME_FAILED if summary.failures else DONE


@take_options(describe_reading, (MEANING, _OF_READING))
def preview_command(
    root: Annotated[str, Parameter(name="DIR")],
    /,
    *,
    output: Output,
    name: str | None = None,
    split: str | None = None,
    count: int = 9,
    per_row: int = 3,
    augment: bool = False,
    seed: int = 0,
    problems: Problems = "skip",
    allow_unregistered: bool = False,
    allow_outside: bool = False,
    **reading: Any,
) -> int:
    """Write a contact sheet of a dataset.

    Some of its images beside their depth, in one image.

        cortexia dataset preview data/kitti --output kitti.png
        cortexia dataset preview photos-depth -o sheet.jpg --count 16 --augment

    Exit code: 0 all right, 1 some samples cannot be used, 2 wrong usage.

    Args:
        root: The folder of the dataset.
        output: A .png or .jpg file.
        name: Name of the dataset, where its files do not show it.
        split: Take samples of this split.
        count: How many samples, drawn by the seed; of a stream the first.
        per_row: Samples in a row.
        augment: Show them augmented as in the dataset guide: flip, crop, brightness, contrast, gamma, hue.
        seed: Seed of the draw.
        problems: skip leaves out what cannot be used; stop ends there.
        allow_unregistered: Show depth that does not lie on its images, too.
        allow_outside: Read also what set.json and lists of the dataset name outside of its folder.
    """
    place = to_path(output)
    form = _IMAGES.get(place.suffix.lower())
    if form is None:
        raise OutputError(f"{place} is no name of an image: end it in .png or .jpg")
    require_at_least_1(count=count, per_row=per_row)
    with suppress(OSError), place.open("rb") as file:  # else whatever writes to it will say what is wrong
        if not is_own_head(file.read(HEAD_BYTES)):
            raise OutputExistsError(f"{place} exists and is no sheet of ours: choose another `output`")
    allowed = {"allow_unregistered": allow_unregistered, "allow_outside": allow_outside}
    dataset = open_folder(root, name, split=split, **allowed, **describe_reading(**reading))
    skipped = ProblemCount()
    on_problem = raise_problem if problems == "stop" else skipped
    change = guide_augmentation() if augment else None
    sheet = make_sheet(dataset, on_problem, count=count, columns=per_row, augment=change, seed=seed)
    with write_atomic(place) as file:
        text = PngImagePlugin.PngInfo()
        text.add_text("Software", MARK.decode())
        Image.fromarray(sheet).save(file, form, pnginfo=text, comment=MARK)
    print(f"{place}: {sheet.shape[1]} x {sheet.shape[0]}")
    return _list_failures(skipped.failures, skipped.total)


@dataclass(frozen=True, slots=True)
class _GuideCrop(RandomTransform):
    """Cut out as much of any image as the dataset guide does of 640 x 480."""

    def draw(self, view: View, rng: Generator) -> Transform:
        height, width = round(view.height * 448 / 480), round(view.width * 576 / 640)
        return RandomCrop(height, width).draw(view, rng)


def guide_augmentation() -> Compose:
    """Return the dataset guide's augmentation as a joint transform.

    Raises `MissingExtraError` without albumentations, which changes the colours.
    """
    try:
        import albumentations as A
    except ImportError as error:
        raise explain_import(error, "augmenting colours needs", "'cortexia-video[augment]'") from error
    colours = A.Compose([A.RandomBrightnessContrast(), A.RandomGamma(), A.HueSaturationValue()])
    return Compose([Sometimes(Flip()), _GuideCrop(), Photometric(colours)])


def _list_failures(failures: list[Failure], total: int) -> int:
    FailureGroups(failures).print()
    if total > len(failures):
        print(f"  and {total - len(failures)} more", file=sys.stderr)
    return SOME_FAILED if total else DONE
