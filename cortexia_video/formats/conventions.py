"""What other people's depth files mean that do not say it themselves: the caller names the convention.

Sources: TUM RGB-D "File Formats"; KITTI depth devkit; NYU Depth V2 and ScanNet as they are exported to PNG;
SUNRGBDtoolbox (read3dPoints.m); 7-Scenes "Dataset description"; Middlebury stereo 2014 "Calibration file
format"; ml-depth-pro (cli/run.py); MoGe (docs/train.md, utils/io.py); nunif
(iw3/base_depth_model.py, iw3/utils.py); CARLA "Sensors reference", depth camera; SysCV/shift-dev issue 2;
COLMAP "Output format", dense maps.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from cortexia_video.depth_map import DepthKind
from cortexia_video.errors import DepthFileError
from cortexia_video.formats.metadata import Metadata
from cortexia_video.formats.quantization import INTERVALS, LAST
from cortexia_video.formats.raw_depth import RawDepth
from cortexia_video.pinhole import has_same_shape

LAST_24 = (1 << 24) - 1
PER_METRE = {"tum": 5000, "kitti": 256, "nyu": 1000, "scannet": 1000, "7scenes": 1000, "sunrgbd": 1000}
"""Steps of the conventions that have whole numbers of 16 bits."""


@dataclass(frozen=True, slots=True)
class Convention:
    """One row of the table of conventions.

    summary: for people. translate: gives what a file holds with metadata, told what the caller says; raises
    `DepthFileError` for what is not of the convention. beside: the name of a file in the same folder that
    tells the caller more, and what reads its text. kind: of its depth; None where the caller may have to say
    it, and what `translate` gives may then have none. in_colour: its numbers are the bytes of RGB pixels.
    """

    summary: str
    translate: Callable[[RawDepth, Metadata], RawDepth]
    beside: tuple[str, Callable[[str], dict[str, Any]]] | None = None
    kind: DepthKind | None = "metric"
    in_colour: bool = False


def parse_calibration(text: str) -> dict[str, Any]:
    """Read a calib.txt of Middlebury stereo 2014: what the convention `middlebury` needs to be told.

    Gives f_px, doffs_px (how far apart the principal points are), baseline_m (it stands there in millimetres)
    and, where it has them, calibrated_size, the height and width that it is for. Raises `DepthFileError` for
    what is missing.
    """
    number = r"\s*=\s*\[?\s*([-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)(?![^\s;\]])"
    found = {
        name: re.search(rf"^{name}{number}", text, re.MULTILINE) for name in ("cam0", "doffs", "baseline")
    }
    missing = [name for name, match in found.items() if match is None]
    if missing:
        raise DepthFileError(f"the calibration has no {', '.join(missing)}: give the calib.txt of the scene")
    f_px, doffs, baseline = (float(match.group(1)) for match in found.values() if match)
    metadata = {"f_px": f_px, "f_source": "given", "doffs_px": doffs, "baseline_m": baseline / 1000}
    sides = [re.search(rf"^{name}\s*=\s*(\d{{1,9}})\s*$", text, re.MULTILINE) for name in ("height", "width")]
    return metadata | ({"calibrated_size": [int(side[1]) for side in sides if side]} if all(sides) else {})


def _whole(name: str, unknown: Sequence[int] = (0,)) -> Callable[[RawDepth, Metadata], RawDepth]:
    """Return the translation of whole numbers of 16 bits or more."""

    def translate(stored: RawDepth, about: Metadata) -> RawDepth:
        if stored.values.dtype.kind not in "iu" or stored.values.itemsize < 2:
            raise _misfit(stored)
        metadata = {"kind": "metric", "scale": 1 / PER_METRE[name], "unknown": [*unknown]}
        return RawDepth(stored.values, metadata)

    return translate


def _metres(stored: RawDepth, about: Metadata) -> RawDepth:
    _require(stored, np.floating)
    return RawDepth(stored.values, {"kind": "metric", "unknown": 0})


def _turn_bits(stored: RawDepth, about: Metadata) -> RawDepth:
    """Undo SUN RGB-D's rotation by three bits."""
    _require(stored, np.uint16)
    numbers = stored.values.astype(np.uint16)
    return _whole("sunrgbd")(RawDepth((numbers >> 3) | (numbers << 13), {}), about)


def _triangulate(stored: RawDepth, about: Metadata) -> RawDepth:
    """Turn a stereo pair's disparity in pixels, infinite where unknown, into metres."""
    _require(stored, np.floating)
    try:
        f_px, baseline_m, doffs_px = (float(about[name]) for name in ("f_px", "baseline_m", "doffs_px"))
    except KeyError as error:
        raise DepthFileError(
            f"disparity of Middlebury needs {error.args[0]}: give the calib.txt of its scene"
        ) from error
    height, width = stored.values.shape
    whole = about.get("full_size")  # which f_px is of, where somebody says it
    calibrated = whole or about.get("calibrated_size", (height, width))
    if not has_same_shape((width, height), calibrated[::-1]):
        raise DepthFileError(
            f"it is {width} x {height}, its calib.txt is for {calibrated[1]} x {calibrated[0]}, of another shape"
        )
    factor = width / calibrated[1]
    f_px, doffs_px = f_px * factor, doffs_px * factor
    shifted = stored.values.astype(np.float64) + doffs_px
    shifted[~(np.isfinite(shifted) & (shifted > 0))] = np.nan
    camera = {} if whole else {"f_px": f_px, "f_source": "given"}
    return RawDepth((f_px * baseline_m / shifted).astype(np.float32), {"kind": "metric", **camera})


def _read_moge(stored: RawDepth, about: Metadata) -> RawDepth:
    """Numbers 1 to 65534 are log-spaced from `near` to `far`; with a `unit` they are metres after it."""
    _require(stored, np.uint16)
    near, far = (_number(stored, name) for name in ("near", "far"))
    unit = _number(stored, "unit") if "unit" in stored.text else 1.0
    kind = "metric" if "unit" in stored.text else about.get("kind")
    beyond = near * (far / near) ** (INTERVALS / (INTERVALS - 1))  # of 65535, which means infinite there
    metadata = {"near": near * unit, "far": beyond * unit, "unknown": [0, LAST]}
    return RawDepth(stored.values, {"kind": kind, **metadata})


def _read_iw3(stored: RawDepth, about: Metadata) -> RawDepth:
    """Numbers 0 to 65535 are linear between two values in its text; without them 0 to 1, larger is nearer."""
    _require(stored, np.uint16)
    kind = about.get("kind")
    low, high = 0.0, 1.0
    if "iw3_min_depth_value" not in stored.text and kind not in (None, "disparity"):
        raise DepthFileError(
            f"it has no iw3_min_depth_value in its text: larger numbers are nearer then, which {kind} "
            "depth is not: its kind is disparity, if a model of disparity made it"
        )
    if "iw3_min_depth_value" in stored.text:
        low, high = (_number(stored, f"iw3_{name}_depth_value") for name in ("min", "max"))
    return RawDepth(stored.values, {"kind": kind, "scale": (high - low) / LAST, "offset": low})


def _read_colmap(stored: RawDepth, about: Metadata) -> RawDepth:
    """Read floats in the unit of a reconstruction, 0 where unknown."""
    _require(stored, np.floating)
    return RawDepth(stored.values, {"kind": about.get("kind", "scale_invariant"), "unknown": 0})


def _read_carla(stored: RawDepth, about: Metadata) -> RawDepth:
    """Read the 24 bits of R, G and B, least first, as shares of 1000 m; all are set where nothing is."""
    if stored.values.dtype != np.uint8 or stored.values.shape[2:] != (3,):
        raise _misfit(stored)
    red, green, blue = np.moveaxis(stored.values.astype(np.uint32), -1, 0)
    metadata = {"kind": "metric", "scale": 1000 / LAST_24, "unknown": LAST_24}
    return RawDepth(red | (green << 8) | (blue << 16), metadata)


def _require(stored: RawDepth, dtype: type) -> None:
    if not np.issubdtype(stored.values.dtype, dtype):
        raise _misfit(stored)


def _misfit(stored: RawDepth) -> DepthFileError:
    colour = " of three channels" if stored.values.ndim == 3 else ""
    return DepthFileError(f"it holds {stored.values.dtype}{colour}, which files of this convention do not")


def _number(stored: RawDepth, name: str) -> float:
    try:
        return float(stored.text[name])
    except (KeyError, ValueError) as error:
        raise DepthFileError(
            f"it has no number called {name} in its text: it is not of this convention"
        ) from error


_CALIBRATION = ("calib.txt", parse_calibration)
CONVENTIONS: dict[str, Convention] = {
    "tum": Convention("16 bits, 5000 a metre, 0 unknown: TUM RGB-D", _whole("tum")),
    "kitti": Convention("16 bits, 256 a metre, 0 unknown: KITTI", _whole("kitti")),
    "nyu": Convention("16 bits, millimetres, 0 unknown: NYU Depth V2", _whole("nyu")),
    "scannet": Convention("16 bits, millimetres, 0 unknown: ScanNet, 3DMatch, Redwood", _whole("scannet")),
    "7scenes": Convention(
        "16 bits, millimetres, 0 and 65535 unknown: 7-Scenes", _whole("7scenes", (0, LAST))
    ),
    "sunrgbd": Convention(
        "16 bits, millimetres turned by three bits, 0 unknown: SUN RGB-D, SUN3D", _turn_bits
    ),
    "middlebury": Convention(
        "disparity in pixels, inf unknown; needs calib.txt: Middlebury 2014", _triangulate, _CALIBRATION
    ),
    "metres": Convention("floats, metres, 0 unknown: TIFF of the dataset guide", _metres),
    "depth-pro": Convention("floats, metres: the .npz of Depth Pro", _metres),
    "moge": Convention(
        "16 bits, log-spaced, near and far in its text, 0 and 65535 unknown: MoGe", _read_moge, kind=None
    ),
    "iw3": Convention(
        "16 bits, linear, least and largest in its text; kind is needed: iw3", _read_iw3, kind=None
    ),
    "colmap": Convention(
        "floats, 0 unknown, up to a factor: *.geometric.bin, *.photometric.bin of COLMAP",
        _read_colmap,
        kind=None,
    ),
    "carla": Convention("24 bits in R, G, B, of 1000 m: CARLA", _read_carla, in_colour=True),
    "shift": Convention("as carla: SHIFT", _read_carla, in_colour=True),
}
