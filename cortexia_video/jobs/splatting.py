"""Aligned depth for trainers of 3-D Gaussian splatting: graphdeco's depth_params.json, nerfstudio's transforms.json.

Sources, read beside (docs/align.md): graphdeco-inria/gaussian-splatting, `scene/dataset_readers.py` and
`utils/camera_utils.py`: inverse depth is number / 65536 * scale + offset; nerfstudio, `get_depth_image_from_path`:
depth is number * depth_unit_scale_factor, 0.001 by default, and 0 where unknown.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from cortexia_video.depth_map import DepthMap, require_perspective
from cortexia_video.errors import Failure, InputError, OutputExistsError, attempt, format_count, printable
from cortexia_video.formats.metadata import metadata_of
from cortexia_video.formats.png16 import encode_numbers
from cortexia_video.formats.quantization import LAST, Quantizer
from cortexia_video.formats.raw_depth import Chunks
from cortexia_video.formats.registry import is_own_output
from cortexia_video.ledger.artifacts import Line, read_run_depth
from cortexia_video.ledger.lines import read_done
from cortexia_video.runtime.bounded_map import map_bounded
from cortexia_video.sparse_depth.colmap import ColmapModel
from cortexia_video.sparse_depth.nerfstudio import TRANSFORMS, Transforms
from cortexia_video.storage.atomic_file import write_atomic

Written = Literal["depth_params.json", "transforms.json"]
DEPTH_PARAMS: Written = "depth_params.json"
FOLDERS: dict[str, str] = {"depth_params.json": "inverse_depth", "transforms.json": "nerfstudio_depth"}
_STEPS = 65536  # what graphdeco's loader divides by
_APART = 4.99  # how many times the least of graphdeco's scales the largest may be
_NEARER = 20  # how many times nearer than the nearest point of most images depth is still told apart
_MILLIMETRE = 0.001  # nerfstudio's default
_SPLITS = {"train_filenames", "val_filenames", "test_filenames"}

_log = logging.getLogger(__name__)


def write_depth_params(root: Path, model: ColmapModel | None, *, workers: int) -> int:
    """Write `inverse_depth/NAME.png` of every map of an output folder, and depth_params.json; return how many.

    The trainer leaves out images whose scale is more than five times the median, or less than a fifth of it, and
    fails for an image of the model without a file: scales are kept within five times each other, and such an image
    gets a blank file with the scale 0, for which it is trained without depth.

    model: has the images' names, where there is one. Raises `OutputExistsError` where a file of somebody else's stands.
    """
    ranges = map_bounded(read_done(root), lambda line: _find_range(root, line), workers=workers)
    nearest = np.array([1 / low for low, high in ranges if high > 0])
    limit = _NEARER * float(np.median(nearest)) if len(nearest) else 0.0
    least = min(limit, nearest.max(initial=0.0)) / _APART

    def write(line: Line) -> tuple[str, dict[str, float]] | Failure:
        return attempt(line["key"], "write", lambda: make(line))

    def make(line: Line) -> tuple[str, dict[str, float]]:
        stem = _drop_suffix((model and model.find_image(line["key"])) or line["key"])
        values = _read(root, line).values.astype(np.float64)
        inverse = np.minimum(1 / values, limit).astype(np.float32)
        largest = max(float(np.nanmax(inverse, initial=0.0)), least)
        if not (0 < largest < np.inf and np.isfinite(inverse).any()):
            raise InputError("no depth is known in it")
        _put_inverse(root, stem, inverse, largest / LAST)
        return stem, {"scale": largest / LAST * _STEPS, "offset": 0.0}

    params = dict(_keep(map_bounded(read_done(root), write, workers=workers)))

    def fill(name: str) -> tuple[str, dict[str, float]]:
        stem = _drop_suffix(name)
        if stem not in params:
            _put_inverse(root, stem, np.full((1, 1), np.nan, np.float32), 1.0)
        return stem, params.get(stem, {"scale": 0.0, "offset": 0.0})

    names = model.names if model else []
    filled = params | dict(_keep(attempt(name, "write", partial(fill, name)) for name in names))
    if without := len(filled) - len(params):
        what = format_count(without, "image of the model has", "images of the model have")
        _log.warning("%s no depth: graphdeco's trainer takes them without", what)
    _put_json(root / DEPTH_PARAMS, filled, "scale")
    return len(params)


def _put_inverse(root: Path, stem: str, inverse: NDArray[np.float32], step: float) -> None:
    steps = {"scale": step, "offset": 0.0, "unknown": 0}
    metadata = {**metadata_of(DepthMap(inverse, "disparity")), **steps}
    _put(root / FOLDERS[DEPTH_PARAMS] / f"{stem}.png", encode_numbers(Quantizer(inverse, steps), metadata))


def write_transforms(root: Path, transforms: Transforms, *, workers: int) -> int:
    """Write `nerfstudio_depth/NAME.png` of every map, and a transforms.json that names them; return how many.

    Frames without depth are left out, since nerfstudio takes depth of all frames or none. Where millimetres do not
    hold the depth, a warning says what nerfstudio's `depth_unit_scale_factor` is to be.
    """
    largest, smallest = 0.0, np.inf
    for low, high in map_bounded(read_done(root), lambda line: _find_range(root, line), workers=workers):
        smallest, largest = min(smallest, low), max(largest, high)
    step = _MILLIMETRE
    if largest > LAST * step or smallest < 100 * step:
        step = largest / LAST
        _log.warning(
            "depth of %.3g to %.3g: train with a depth_unit_scale_factor of %.6g", smallest, largest, step
        )
    steps = {"scale": step, "offset": 0.0, "unknown": 0}

    def write(line: Line) -> tuple[str, str] | Failure:
        return attempt(line["key"], "write", lambda: make(line))

    def make(line: Line) -> tuple[str, str]:
        name = transforms.find_frame(line["key"])
        if name is None:
            raise InputError(f"{TRANSFORMS} has no frame of its name: its file_path must end in that")
        depth = _read(root, line)
        chunks = encode_numbers(Quantizer(depth.values, steps), {**metadata_of(depth), **steps})
        inside = f"{FOLDERS[TRANSFORMS]}/{_drop_suffix(name)}.png"
        _put(root / inside, chunks)
        return name, inside

    places = dict(_keep(map_bounded(read_done(root), write, workers=workers)))
    base = transforms.place.parent
    frames = [
        {**_make_absolute(frame, base), "depth_file_path": places[name]}
        for name, frame in transforms.frames.items()
        if name in places
    ]
    left_out = len(transforms.frames) - len(frames)
    if left_out:
        what = format_count(left_out, "frame without depth is", "frames without depth are")
        _log.warning("%s left out of %s", what, TRANSFORMS)
    splits = {}  # frames that have depth, as absolute paths: nerfstudio refuses a split with others
    for name in _SPLITS & transforms.said.keys():
        split = transforms.said[name]
        named = [each for each in split if isinstance(each, str)] if isinstance(split, list) else []
        splits[name] = [str(base.resolve() / each) for each in named if str(PurePosixPath(each)) in places]
    said = {**_make_absolute(transforms.said, base), **splits, "frames": frames}
    _put_json(root / TRANSFORMS, said, "frames")
    return len(frames)


def _keep(results: Any) -> Any:
    """Yield what was written; what was not is said."""
    for each in results:
        if isinstance(each, Failure):
            _log.warning("%s", each)
        else:
            yield each


def _find_range(root: Path, line: Line) -> tuple[float, float]:
    found = attempt(line["key"], "decode", lambda: _read(root, line).values)
    if isinstance(found, Failure) or np.isnan(found).all():
        return np.inf, 0.0
    return float(np.nanmin(found)), float(np.nanmax(found))


def _read(root: Path, line: Line) -> DepthMap:
    depth = read_run_depth(root, line)
    require_perspective(depth, "these trainers' maps")
    return depth


def _drop_suffix(name: str) -> str:
    """Leave out what follows the last dot, as graphdeco's loader does; `InputError` for a name that leads out."""
    path = PurePosixPath(name.rpartition(".")[0] or name)
    if path.is_absolute() or ".." in path.parts:
        raise InputError(f"{printable(name)} leads out of the folder: no depth is written there")
    return str(path)


def _make_absolute(said: Mapping[str, Any], base: Any) -> dict[str, Any]:
    """Return what transforms.json says, its paths absolute, since it moves to another folder."""
    paths = {name: str(base.resolve() / said[name]) for name in said if name.endswith("_path") and said[name]}
    return {**said, **paths}


def _put(place: Path, chunks: Chunks) -> None:
    if place.exists() and not is_own_output(place):
        raise OutputExistsError(f"{printable(str(place))} exists and is not ours: choose another `output`")
    place.parent.mkdir(parents=True, exist_ok=True)
    with write_atomic(place) as file, file.open("wb") as opened:
        opened.writelines(chunks)


def _put_json(place: Path, said: Mapping[str, Any], mark: str) -> None:
    if place.exists() and f'"{mark}"' not in place.read_text(errors="replace"):
        raise OutputExistsError(f"{printable(str(place))} exists and is not ours: choose another `output`")
    with write_atomic(place) as file:
        file.write_text(json.dumps(said, indent=1))
