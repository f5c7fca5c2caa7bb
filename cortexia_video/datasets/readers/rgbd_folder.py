"""Folders with a set.json: images, depth as PNG or TIFF, and what they mean in one file."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

from cortexia_video.datasets.dataset import RGBDDataset
from cortexia_video.datasets.dataset_info import DatasetInfo
from cortexia_video.datasets.eval_region import Region
from cortexia_video.datasets.readers._calibration import Calibration
from cortexia_video.datasets.readers._pair import Pair, read_image_file, read_pair
from cortexia_video.errors import InputError, describe, in_words
from cortexia_video.storage.documents import parse_json
from cortexia_video.storage.paths import LARGEST_TEXT, AnyPath, follow, read_named

SET_JSON = "set.json"
_FLAGS = {"registered": True, "sparse": False, "same_view": False}  # what is so where it is not said


def _open(root: AnyPath, split: str | None, *, allow_outside: bool = False) -> RGBDDataset:
    path = root / SET_JSON
    with in_words(f"cannot read {path}"):
        try:
            about = parse_json(read_named(path, limit=LARGEST_TEXT), path)
        except FileNotFoundError:
            return RGBDDataset("rgbd", (), read_pair)
    with in_words(f"{path} is no description of a set", "see docs/datasets.md"):
        if not isinstance(about, dict) or not isinstance(about.get("frames"), list):
            raise ValueError("it is no object with name, frames (a list) and depth_scale")
        steps, farthest = (_read_number(about, name) for name in ("depth_scale", "max_depth_m"))
        if steps is None:
            raise ValueError("depth_scale is missing: how many steps of depth make a metre")
        flags = {name: about.get(name, usual) for name, usual in _FLAGS.items()}
        for name, flag in flags.items():
            if not isinstance(flag, bool):
                raise ValueError(f"{name} must be true or false, not {json.dumps(flag)[:80]}")
        camera = _read_camera(about.get("intrinsics"))
    range_m = None if farthest is None else (0.0, farthest)
    pairs = []
    for number, frame in enumerate(about["frames"]):  # one that cannot be understood costs itself
        key = frame.get("name") if isinstance(frame, Mapping) else None
        key = key if isinstance(key, str) else f"frame {number}"
        try:
            own = _read_camera(frame.get("intrinsics")) or camera
            places = follow(root, frame["rgb"]), follow(root, frame["depth"])
            pair = Pair(
                str(frame["name"]),
                *places,
                origin=str(about["name"]),
                about={"kind": "metric", "scale": 1 / steps, "unknown": [0]},
                camera=own and own[0],
                camera_size=(own and own[1]) or "image",
                range_m=range_m,
                fits_depth=flags["same_view"],
                sparse=flags["sparse"],
                within=None if allow_outside else root,
            )
        except Exception as error:  # noqa: BLE001 - whatever somebody wrote there
            reason = f" ({describe(error)})" if isinstance(error, ValueError) else ""
            words = f"frame {number} of {SET_JSON} lacks name, rgb or depth, or has a wrong camera{reason}"
            pair = Pair(key, root, root, "rgbd", problem=InputError(words))
        pairs.append(pair)
    return RGBDDataset(
        "rgbd",
        pairs,
        read_pair,
        evaluation=Region(range_m),
        registered=flags["registered"],
        scale_is_said=True,
        read_file=read_image_file,
    )


def _read_number(words: Mapping[str, Any], name: str) -> float | None:
    """Return a number above 0, or None where there is none; `ValueError` for anything else."""
    number = words.get(name)
    if number is None:
        return None
    if isinstance(number, bool) or not isinstance(number, int | float) or not 0 < number < math.inf:
        raise ValueError(f"{name} must be a number above 0, not {json.dumps(number)[:80]}")
    return float(number)


def _read_camera(words: Any) -> tuple[Calibration, tuple[int, int] | None] | None:
    """Return a camera of set.json and, where it is said, the (width, height) of its image.

    words: fx, fy, cx, cy by name, perhaps width and height, or the four in a list. `ValueError` for others.
    """
    if not words:
        return None
    if isinstance(words, list) and len(words) == 4:
        words = dict(zip(Calibration._fields, words, strict=True))
    known = isinstance(words, Mapping) and words.keys() >= {*Calibration._fields}
    numbers: list[Any] = [words[name] for name in Calibration._fields] if known else [None]
    if (
        not all(isinstance(each, int | float) and math.isfinite(each) for each in numbers)
        or min(numbers[:2]) <= 0
    ):
        raise ValueError(
            "intrinsics must be an object with the numbers fx, fy, cx, cy, or a list of the four"
        )
    width, height = (_read_number(words, name) for name in ("width", "height"))
    return Calibration(*map(float, numbers)), (int(width), int(height)) if width and height else None


INFO = DatasetInfo(
    name="rgbd",
    summary="a folder that says what it holds: set.json, depth as 16-bit PNG or TIFF",
    licence="in its set.json",
    where="anybody: docs/datasets.md says how to write one",
    layout="set.json with name, frames (name, rgb, depth), depth_scale, max_depth_m, intrinsics",
    open=_open,
    marks=(SET_JSON,),
)
