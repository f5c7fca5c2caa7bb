"""A teacher: a bigger model that labels a person's images, once, into a folder that can be looked at."""

from __future__ import annotations

import logging
from pathlib import Path

from cortexia_video.datasets.dataset import RGBDDataset
from cortexia_video.datasets.readers._pair import Pair, read_pair
from cortexia_video.depth_map import KINDS, DepthKind
from cortexia_video.errors import Failure, InputError, ModelLoadError
from cortexia_video.jobs.estimate import estimate
from cortexia_video.ledger.artifacts import find_depth
from cortexia_video.ledger.lines import read_done
from cortexia_video.models.registry import describe_model, load_model, require_commercial
from cortexia_video.sources.find import find_images
from cortexia_video.storage.paths import to_path

_log = logging.getLogger(__name__)


def check_teacher(images: str, labels: Path, teacher: str, *, any_licence: bool = False) -> DepthKind:
    """Return what kind of depth a teacher gives, before hours of labelling; nothing is written.

    Raises `InputError` where there is no image, and where the labels would lie among the images, and so
    the sheets of the training: these would be labelled the next time; and what is wrong with the teacher, as
    `label_images` does.
    """
    place = to_path(images)
    if isinstance(place, Path) and labels.resolve().is_relative_to(place.resolve()):
        raise InputError(
            f"{labels} is inside {place}, whose images it labels: give an `output` outside of it, "
            "or move the one that exists"
        )
    if next(find_images([images], recursive=True), None) is None:
        raise InputError(f"{images} holds no images to label: name another folder")
    if not any_licence:
        _require_permissive(teacher)
    model = load_model(teacher, device="cpu")
    if getattr(model, "takes_sparse", False):
        raise InputError(
            f"{teacher} completes a sensor's depth, which these images lack: name another teacher"
        )
    return model.kind


def label_images(images: str, labels: Path, teacher: str, *, any_licence: bool = False) -> RGBDDataset:
    """Estimate depth of all images in a folder by a model, as `cortexia estimate` does it; return both as a
    dataset.

    images: a path, or a URL.

    What is labelled is not labelled again. Images that fail are left out, and counted.
    Raises `ModelLoadError` for weights that are not known to be free for use in a product, unless
    `any_licence`.
    """
    if not any_licence:
        _require_permissive(teacher)
    report = estimate(images, labels, model=teacher, recursive=True, size="native")
    _log.info("teacher %s: %s", teacher, report)
    done = {line["key"]: line for line in read_done(labels)}
    pairs = []
    for image in find_images([images], recursive=True, output=labels):
        line = None if isinstance(image, Failure) else done.get(image.key)
        depth = find_depth(line) if line else None
        if line and depth and not isinstance(image, Failure):
            about = {word: line.get(word) for word in ("kind", "f_px", "f_source", "full_size")}
            about["model"] = teacher  # whose depth is upright, as the image is
            path, label = to_path(image.place), labels / depth[0]
            pairs.append(Pair(image.key, path, label, "teacher", about=about, fits_depth=True))
    pairs.sort(key=lambda pair: pair.key)
    kinds = {str(pair.about["kind"]) for pair in pairs}
    if len(kinds) != 1:
        raise InputError(
            f"{labels} holds labels of {', '.join(kinds) or 'nothing'}: give another folder, or images"
        )
    kind = next(each for each in KINDS if each in kinds)
    return RGBDDataset("images", pairs, read_pair, kind)


def _require_permissive(teacher: str) -> None:
    try:
        require_commercial(teacher)
    except ModelLoadError as error:
        raise ModelLoadError(
            f"the licence of the teacher {teacher!r} is {describe_model(teacher).licence_weights}, which may bind "
            "what is trained on its depth: choose another, or `any_licence=True`"
        ) from error
