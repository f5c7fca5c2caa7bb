"""Folders with a set.json: pictures, depth as PNG or TIFF, and what they mean in one file."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from cortexia_video.datasets.calibration import Calibration
from cortexia_video.datasets.dataset import RGBDDataset
from cortexia_video.datasets.info import DatasetInfo
from cortexia_video.datasets.pair import Pair, read_pair
from cortexia_video.datasets.region import Region
from cortexia_video.errors import InputError
from cortexia_video.places.inside import follow
from cortexia_video.places.named_file import read_named_text
from cortexia_video.places.place import Place


def _open(root: Place, split: str | None, *, allow_outside: bool = False) -> RGBDDataset:
    path = root / "set.json"
    try:
        about = json.loads(read_named_text(path))
        pairs = _list_pairs(root, about, None if allow_outside else root)
        range_m = _find_range(about)
    except FileNotFoundError:
        return RGBDDataset("rgbd", (), read_pair)
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from error
    except (ValueError, TypeError, KeyError, ZeroDivisionError, AttributeError) as error:
        raise InputError(f"{path} is no description of a set: {error!r}; see docs/datasets.md") from error
    registered = bool(about.get("registered", True))
    return RGBDDataset("rgbd", pairs, read_pair, evaluation=Region(range_m), registered=registered)


def _list_pairs(root: Place, about: Mapping[str, Any], within: Place | None) -> list[Pair]:
    meaning = {"kind": "metric", "scale": 1 / about["depth_scale"], "unknown": [0]}
    return [
        Pair(
            key=str(frame["name"]),
            image=follow(root, frame["rgb"]),
            depth=follow(root, frame["depth"]),
            origin=str(about["name"]),
            about=meaning,
            camera=_read_camera(frame.get("intrinsics") or about.get("intrinsics")),
            range_m=_find_range(about),
            sparse=bool(about.get("sparse", False)),
            within=within,
        )
        for frame in about["frames"]
    ]


def _read_camera(words: Mapping[str, float] | None) -> Calibration | None:
    return None if words is None else Calibration(*(float(words[name]) for name in Calibration._fields))


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
    marks=("set.json",),
)
