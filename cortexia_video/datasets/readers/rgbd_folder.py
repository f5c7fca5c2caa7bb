"""Folders with a set.json: images, depth as PNG or TIFF, and what they mean in one file."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from cortexia_video.datasets.dataset import RGBDDataset
from cortexia_video.datasets.dataset_info import DatasetInfo
from cortexia_video.datasets.eval_region import Region
from cortexia_video.datasets.readers._calibration import Calibration
from cortexia_video.datasets.readers._pair import Pair, read_pair
from cortexia_video.errors import Failure, InputError, in_words
from cortexia_video.runtime.input_boundary import attempt
from cortexia_video.storage.documents import parse_json
from cortexia_video.storage.named_file import LARGEST_TEXT, read_named
from cortexia_video.storage.paths import AnyPath, follow

SET_JSON = "set.json"


def _open(root: AnyPath, split: str | None, *, allow_outside: bool = False) -> RGBDDataset:
    path = root / SET_JSON
    with in_words(f"cannot read {path}"):
        try:
            about = parse_json(read_named(path, limit=LARGEST_TEXT), path)
        except FileNotFoundError:
            return RGBDDataset("rgbd", (), read_pair)
    with in_words(f"{path} is no description of a set", "see docs/datasets.md"):
        if not isinstance(about, dict):
            raise ValueError("it is no object with name, frames and depth_scale")
        pairs = _list_pairs(root, about, None if allow_outside else root)
        range_m = _find_range(about)
    registered = bool(about.get("registered", True))
    return RGBDDataset("rgbd", pairs, read_pair, evaluation=Region(range_m), registered=registered)


def _list_pairs(root: AnyPath, about: Mapping[str, Any], within: AnyPath | None) -> list[Pair]:
    """List what the frames name; one that cannot be understood is a pair whose reading says so."""
    common = {
        "origin": str(about["name"]),
        "about": {"kind": "metric", "scale": 1 / about["depth_scale"], "unknown": [0]},
        "range_m": _find_range(about),
        "sparse": bool(about.get("sparse", False)),
        "within": within,
    }
    camera = _read_camera(about.get("intrinsics"))
    pairs = []
    for number, frame in enumerate(about["frames"]):
        read = partial(_read_frame, root, frame, camera, common)
        found = attempt(str(number), "find", read)
        if isinstance(found, Failure):
            problem = InputError(
                f"frame {number} of {SET_JSON} lacks name, rgb or depth, or has a wrong camera"
            )
            name = frame.get("name") if isinstance(frame, Mapping) else None
            key = name if isinstance(name, str) else f"frame {number}"
            found = Pair(key, root, root, "rgbd", problem=problem)
        pairs.append(found)
    return pairs


def _read_frame(root: AnyPath, frame: Any, camera: Calibration | None, common: Mapping[str, Any]) -> Pair:
    camera = _read_camera(frame.get("intrinsics")) or camera
    places = follow(root, frame["rgb"]), follow(root, frame["depth"])
    return Pair(str(frame["name"]), *places, camera=camera, **common)


def _read_camera(words: Mapping[str, float] | None) -> Calibration | None:
    return Calibration(*(float(words[name]) for name in Calibration._fields)) if words else None


def _find_range(about: Mapping[str, Any]) -> tuple[float, float] | None:
    most = about.get("max_depth_m")
    return None if most is None else (0.0, float(most))


INFO = DatasetInfo(
    name="rgbd",
    summary="a folder that says what it holds: set.json, depth as 16-bit PNG or TIFF",
    licence="in its set.json",
    where="anybody: docs/datasets.md says how to write one",
    layout="set.json with name, frames (name, rgb, depth), depth_scale, max_depth_m, intrinsics",
    open=_open,
    marks=(SET_JSON,),
)
