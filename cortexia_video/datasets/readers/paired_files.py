"""Any folder of images and depth files whose names go together: paired by two patterns."""

from __future__ import annotations

import logging
import re
from collections.abc import Collection, Sequence

from cortexia_video.datasets.dataset import RGBDDataset
from cortexia_video.datasets.dataset_info import DatasetInfo
from cortexia_video.datasets.readers._calibration import Calibration
from cortexia_video.datasets.readers._pair import Pair, read_image_file, read_pair
from cortexia_video.depth_map import DepthKind
from cortexia_video.errors import InputError
from cortexia_video.formats.metadata import describe_files
from cortexia_video.formats.registry import READERS
from cortexia_video.images.sniff import IMAGE_SUFFIXES
from cortexia_video.ledger.state import LEDGER_NAME
from cortexia_video.storage.paths import AnyPath, find_inside, name_inside

_WILD = re.compile(r"\*\*/|\*|\?")
_GROUPS = {"**/": "((?:[^/]+/)*)", "*": "([^/]*)", "?": "([^/])"}
_DEPTH_SUFFIXES = frozenset(suffix for reader in READERS for suffix in reader.suffixes)
_log = logging.getLogger(__name__)


def _open(
    root: AnyPath,
    split: str | None,
    *,
    images: str = "rgb/*.*",
    depths: str | None = None,
    convention: str | None = None,
    kind: DepthKind | None = None,
    scale: float | None = None,
    unknown: Sequence[float] = (),
    camera: Sequence[float] | None = None,
    sparse: bool = False,
    same_view: bool = False,
) -> RGBDDataset:
    """Pair what `*`, `?` and `**/` stand for in the two patterns; that of `depths` is by default depth/*.*.

    convention: of the depth files, or kind and, for whole numbers, scale; those of our own formats say it.
    unknown: what stands for unknown depth, besides 0 in metres.
    camera: fx, fy, cx, cy in pixels of every image, the centre of the first pixel at (0, 0).
    sparse: as of `RGBDSample`. same_view: depth smaller than its image shows the same view: the image is
    reduced to its size.
    """
    if depths is None and (root / "depth" / LEDGER_NAME).exists():
        raise InputError(
            f"{root / 'depth'} is the output of cortexia estimate, no ground truth: give it to cortexia dataset "
            "build as `depth`, or name it by `depths`"
        )
    depth_files = _match(root, depths or "depth/*.*", _DEPTH_SUFFIXES)
    about = describe_files(kind=kind, scale=scale, unknown=unknown)
    if camera is not None and len(camera) != len(Calibration._fields):
        raise InputError(f"`camera` must be the numbers fx, fy, cx and cy, got {len(camera)} of them")
    calibration = None if camera is None else Calibration(*camera)
    pairs, alone = [], 0
    for parts, image in _match(root, images, IMAGE_SUFFIXES).items():
        depth = depth_files.get(parts)
        if depth is None or depth == image:
            alone += 1
            continue
        key = name_inside(image, root)
        means = (convention, about, calibration)
        pairs.append(Pair(key, image, depth, root.name, *means, fits_depth=same_view, sparse=sparse))
    if alone:
        _log.warning("%s: %d of %d images have no depth of their name", root, alone, alone + len(pairs))
    return RGBDDataset(
        "pairs",
        pairs,
        read_pair,
        kind if convention is None else "metric",
        scale_is_said=scale is not None,
        read_file=read_image_file,
    )


def _match(root: AnyPath, pattern: str, suffixes: Collection[str]) -> dict[tuple[str, ...], AnyPath]:
    """Return the files of a pattern by what its wild cards stand for, without the suffix after `.*`.

    suffixes: those that `.*` stands for, so that a Thumbs.db is passed over.
    """
    if not _WILD.search(pattern):
        raise InputError(f"the pattern {pattern!r} names one file: put a * where names differ, rgb/*.png")
    stem, suffix = (pattern[:-2], r"\.[^./]+") if pattern.endswith(".*") else (pattern, "")
    literal = [re.escape(each) for each in _WILD.split(stem)]
    wild = [_GROUPS[each] for each in _WILD.findall(stem)] + [""]
    expression = re.compile("".join(a + b for a, b in zip(literal, wild, strict=True)) + suffix)
    found: dict[tuple[str, ...], AnyPath] = {}
    for path in find_inside(root, pattern):
        match = expression.fullmatch(name_inside(path, root))
        if match is None or (suffix and path.suffix.lower() not in suffixes) or not path.is_file():
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
