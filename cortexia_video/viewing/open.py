"""`open_columns`: what paths are, as columns; `open_results`: what an evaluation measured."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from cortexia_video.datasets.readers.rgbd_folder import SET_JSON
from cortexia_video.datasets.registry import DATASETS, open_dataset, recognise
from cortexia_video.depth_map import DepthKind
from cortexia_video.errors import InputError, printable
from cortexia_video.evaluation.ground_truth import open_truth, to_ground_truth
from cortexia_video.evaluation.job import FITTED
from cortexia_video.evaluation.predictors import ModelPredictor, StoredPredictor, open_predictor
from cortexia_video.evaluation.protocol import Protocol, load_protocol
from cortexia_video.evaluation.results import RESULTS
from cortexia_video.formats.metadata import Metadata
from cortexia_video.images.sniff import IMAGE_SUFFIXES
from cortexia_video.ledger.state import list_files
from cortexia_video.storage.documents import parse_json
from cortexia_video.storage.paths import LARGEST_TEXT, AnyPath, find_inside, is_folder, read_named, to_path
from cortexia_video.video.container import VIDEO_SUFFIXES
from cortexia_video.video.depth_clip import is_depth_clip, split_frame
from cortexia_video.viewing.columns import (
    VIEWABLE,
    Column,
    FilesColumn,
    ModelColumn,
    RunColumn,
    StoredColumn,
    TruthColumn,
)

PROTOCOL = "real-frames"  # by which depth is measured beside a dataset
_MAY_BE_DEPTH = (".png", ".tiff", ".tif")


def open_columns(
    paths: Sequence[str],
    opened: ExitStack,
    *,
    images: AnyPath | None,
    kind: DepthKind | None,
    convention: str | None,
) -> list[Column]:
    """Return what the paths are: a dataset first, wherever it stands, since its images and keys are everyone's.

    Raises `InputError` for a path at which there is nothing to look at.
    """
    names = name_apart(paths)
    is_plain = kind is None and convention is None  # else they are files whose meaning is given
    truths = [_open_truth(name, each) if is_plain else None for name, each in zip(names, paths, strict=True)]
    first = next((each for each in truths if each), None)
    keys = first.truth.list_keys() if first else []
    columns: list[Column] = [first] if first else []
    for name, path, truth in zip(names, paths, truths, strict=True):
        if truth:
            if truth is not first:
                raise InputError(f"{path} is a second dataset: view one at a time, with depth of its images")
        elif first:
            columns.append(_open_beside(name, path, keys, kind, convention))
        else:
            place = _require_viewable(path)
            if is_folder(place) and list_files(place):
                columns.append(RunColumn(name, place, images, opened))
            elif is_folder(place) and columns:
                columns.append(_open_beside(name, path, keys, kind, convention))
            else:
                about: Metadata = {"kind": kind} if kind else {}
                columns.append(FilesColumn(name, place, images, about, convention))
    return columns


def open_results(root: AnyPath) -> tuple[list[Column], Protocol]:
    """Return what an evaluation measured: the ground truth, then its predictors, and its protocol.

    Raises `InputError` where one of them does not exist any more.
    """
    said = parse_json(read_named(root / RESULTS, limit=LARGEST_TEXT), root / RESULTS)
    protocol = load_protocol(said["protocol"]["name"])
    if protocol.digest != said["protocol"]["digest"]:
        raise InputError(
            f"{root} was measured by another protocol {protocol.name} than this one: evaluate again"
        )
    truth = open_truth(said["truth"], protocol)
    fits = [name.removesuffix(FITTED) for name, fit in said["fit"].items() if fit != "baseline"]
    predictors = [*dict.fromkeys(fits)]
    keys = truth.list_keys()
    columns = [_open_beside(name, name, keys, None, None) for name in predictors]
    return [TruthColumn("ground truth", truth), *columns], protocol


def is_results(place: AnyPath) -> bool:
    """Return whether a folder is that of an evaluation."""
    return is_folder(place) and (place / RESULTS).is_file()


def _open_beside(
    name: str, path: str, keys: Sequence[str], kind: DepthKind | None, convention: str | None
) -> Column:
    """Open what has depth of images with these keys: a run, a folder of files, or a model."""
    predictor = open_predictor(path, kind=kind, convention=convention)
    if isinstance(predictor, ModelPredictor):
        if predictor.estimator.takes_sparse:
            raise InputError(
                f"{printable(path)} completes a sensor's depth: run cortexia estimate, and give its output folder"
            )
        return ModelColumn(name, predictor.estimator)
    assert isinstance(predictor, StoredPredictor)
    return StoredColumn(name, predictor, keys)


def _open_truth(name: str, path: str) -> TruthColumn | None:
    """Open a path that is a dataset or a folder of them, or says of which layout it is; None for others."""
    layout, _, root = path.partition(":")
    if layout in DATASETS and root:
        dataset = open_dataset(layout, root)
        range_m = dataset.evaluation.range_m
        return TruthColumn(name, to_ground_truth(dataset, max_m=range_m[1] if range_m else None))
    place = to_path(path)
    if not is_folder(place) or list_files(place):
        return None
    if not find_inside(place, f"*/{SET_JSON}"):
        try:
            recognise(place)
        except InputError:
            return None
    return TruthColumn(name, open_truth(place, load_protocol(PROTOCOL)))


def _require_viewable(path: str) -> AnyPath:
    place = to_path(path)
    if isinstance(place, Path) and split_frame(place) is None:
        if not place.exists():
            raise InputError(f"{printable(path)} does not exist: {VIEWABLE}")
        suffix = place.suffix.lower()
        is_image = suffix in IMAGE_SUFFIXES and suffix not in _MAY_BE_DEPTH
        is_video = suffix in VIDEO_SUFFIXES and not is_depth_clip(place)
        if place.is_file() and (is_image or is_video):
            what = "an image" if is_image else "a video"
            raise InputError(
                f"{printable(path)} is {what}: run cortexia estimate on it, then view its output"
            )
    return place


def name_apart(paths: Sequence[str]) -> list[str]:
    """Return short names for paths: the last part, or as many of the last as tell them apart."""
    parts = [each.rstrip("/").split("/") for each in paths]
    longest = max(map(len, parts))
    for taken in range(1, longest + 1):
        names = ["/".join(each[-taken:]) for each in parts]
        if len({*names}) == len(names):
            return names
    raise InputError(f"{', '.join(paths)}: one is given twice: give each once")
