"""Any folder of images and depth files whose names go together: paired by two patterns."""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from typing import Any

from cortexia_video.datasets.dataset import RGBDDataset
from cortexia_video.datasets.dataset_info import DatasetInfo
from cortexia_video.datasets.readers._calibration import Calibration
from cortexia_video.datasets.readers._pair import Pair, read_pair
from cortexia_video.depth_map import DepthKind
from cortexia_video.errors import InputError
from cortexia_video.storage.paths import AnyPath, find_inside, name_inside

_WILD = re.compile(r"\*\*/|\*|\?")
_GROUPS = {"**/": "((?:[^/]+/)*)", "*": "([^/]*)", "?": "([^/])"}
_log = logging.getLogger(__name__)


def _open(
    root: AnyPath,
    split: str | None,
    *,
    images: str = "rgb/*.*",
    depths: str = "depth/*.*",
    convention: str | None = None,
    kind: DepthKind | None = None,
    scale: float | None = None,
    camera: Sequence[float] | None = None,
    sparse: bool = False,
) -> RGBDDataset:
    """Pair what `*`, `?` and `**/` stand for in the two patterns.

    convention: of the depth files, or kind and, for whole numbers, scale; those of our own formats say it.
    camera: fx, fy, cx, cy in pixels of every image, the centre of the first pixel at (0, 0).
    sparse: as of `RGBDSample`.
    """
    depth_files = _match(root, depths)
    about: dict[str, Any] = {"kind": kind, **({} if scale is None else {"scale": scale, "unknown": [0]})}
    calibration = None if camera is None else Calibration(*camera)
    pairs, alone = [], 0
    for parts, image in _match(root, images).items():
        depth = depth_files.get(parts)
        if depth is None or depth == image:
            alone += 1
            continue
        key = name_inside(image, root)
        means = (convention, about, calibration)
        pairs.append(Pair(key, image, depth, root.name, *means, sparse=sparse))
    if alone:
        _log.warning("%s: %d of %d images have no depth of their name", root, alone, alone + len(pairs))
    return RGBDDataset("pairs", pairs, read_pair, kind if convention is None else "metric")


def _match(root: AnyPath, pattern: str) -> dict[tuple[str, ...], AnyPath]:
    """Return the files of a pattern by what its wild cards stand for, without the suffix after `.*`."""
    if not _WILD.search(pattern):
        raise InputError(f"the pattern {pattern!r} names one file: put a * where names differ, rgb/*.png")
    stem, suffix = (pattern[:-2], r"\.[^./]+") if pattern.endswith(".*") else (pattern, "")
    literal = [re.escape(each) for each in _WILD.split(stem)]
    wild = [_GROUPS[each] for each in _WILD.findall(stem)] + [""]
    expression = re.compile("".join(a + b for a, b in zip(literal, wild, strict=True)) + suffix)
    found: dict[tuple[str, ...], AnyPath] = {}
    for path in find_inside(root, pattern):
        match = expression.fullmatch(name_inside(path, root))
        if match is None or not path.is_file():
            continue
        if match.groups() in found:
            raise InputError(f"{path} and {found[match.groups()]} both fit {pattern!r}: give a suffix")
        found[match.groups()] = path
    return found


INFO = DatasetInfo(
    name="pairs",
    summary="any images and depth files, by two patterns",
    licence="yours",
    where="your own files",
    layout="images='rgb/*.png' and depths='depth/*.png' or other patterns, and convention= or kind=",
    open=_open,
)
