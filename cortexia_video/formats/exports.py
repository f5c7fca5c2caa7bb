"""Depth as other people's programs read it, one row for each convention: what `convert(to=)` writes.

Each is read back by the same name (`conventions`, which names the sources), and says beside its numbers, where
it has room, what they mean.
"""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, PngImagePlugin

from cortexia_video.depth_map import DepthMap
from cortexia_video.errors import InputError, format_count
from cortexia_video.formats import colmap, npz, pfm, png16, tiff
from cortexia_video.formats.conventions import LAST_24, PER_METRE
from cortexia_video.formats.integrity import checks
from cortexia_video.formats.metadata import metadata_of, to_text
from cortexia_video.formats.quantization import INTERVALS, LAST, Quantizer, find_loss
from cortexia_video.formats.raw_depth import Chunks, Decode
from cortexia_video.formats.registry import Format, find_format

_BOUND = 0.01  # of a value: a larger error by a convention's steps is refused
_BASELINE_M = 0.1  # of the stereo pair that depth is made the disparity of
_NO_MEANING = ("kind", "unit", "larger_is", "unknown")

Encode = Callable[[DepthMap], Chunks]
Lost = Callable[[DepthMap], str | None]


@dataclass(frozen=True, slots=True)
class Export:
    """A row of the table.

    formats: of the files of a map, its depth first. facts: what the ledger says of each besides. keeps_ending:
    names keep that of the image; else `trip/a.jpg` becomes `trip/a` and the format's ending.
    """

    formats: tuple[Format, ...]
    facts: Mapping[str, Any] = field(default_factory=dict)
    keeps_ending: bool = False


def _whole(name: str, *, last: int = LAST, turn: int = 0) -> Export:
    """Return the export as whole numbers of 16 bits in a PNG."""
    steps = {"scale": 1 / PER_METRE[name], "offset": 0.0, "unknown": 0 if last == LAST else [0, LAST]}

    def encode(depth: DepthMap) -> Chunks:
        said = _without_meaning(depth, name) if turn else {**metadata_of(depth), **steps}
        return png16.encode_numbers(Quantizer(depth.values, steps, turn=turn), said)

    lost = partial(find_loss, steps=steps, bound=_BOUND, last=last)
    return _export(name, ".png", encode, png16.decode, lost)


def _metres(name: str, suffix: str, encode: Encode, decode: Decode) -> Export:
    """Return the export as floats, of which 0 is unknown; in an npz NaN is, too."""
    zeros = encode if suffix == ".npz" else lambda depth: encode(_zeros_for_unknown(depth))
    return _export(name, suffix, zeros, decode, _find_zeros)


def _find_zeros(depth: DepthMap) -> str | None:
    zeros = int(np.count_nonzero(depth.values == 0))
    return f"{format_count(zeros, 'value is', 'values are')} 0, which means unknown there" if zeros else None


def _export(name: str, suffix: str, encode: Encode, decode: Decode, lost: Lost, **options: Any) -> Export:
    """Return an export of metres in one file; depth of another kind is refused."""

    def write(depth: DepthMap) -> Chunks:
        if depth.kind != "metric":
            raise InputError(
                f"`to={name}` holds metres, not {depth.kind} depth: estimate with a metric model, or make metres "
                "of it by `cortexia_video.geometry.anchor_depth`"
            )
        return encode(depth)

    form = Format(
        suffix,
        write,
        checks(decode),
        decode,
        True,
        lambda depth: lost(depth) if depth.kind == "metric" else None,
    )
    return Export((form,), **options)


def _without_meaning(depth: DepthMap, name: str) -> dict[str, Any]:
    """Return what a file says beside numbers that only its convention can tell."""
    kept = {name: value for name, value in metadata_of(depth).items() if name not in _NO_MEANING}
    return {**kept, "convention": name}


def _zeros_for_unknown(depth: DepthMap) -> DepthMap:
    return replace(depth, values=np.nan_to_num(depth.values, nan=0.0, posinf=np.inf, neginf=-np.inf))


def _carla() -> Export:
    """Return the export as 24 bits in the colours of a PNG, all set where nothing is known."""

    def encode(depth: DepthMap) -> Chunks:
        with np.errstate(invalid="ignore"):
            numbers = np.rint(depth.values.astype(np.float64) / 1000 * LAST_24)
            numbers[~((numbers >= 0) & (numbers < LAST_24))] = LAST_24
        whole = numbers.astype(np.uint32)
        pixels = np.stack([whole & 255, whole >> 8 & 255, whole >> 16], -1).astype(np.uint8)
        text = PngImagePlugin.PngInfo()
        text.add_text(png16.KEYWORD, to_text(_without_meaning(depth, "carla")).decode("ascii"))
        file = io.BytesIO()
        Image.fromarray(pixels).save(file, "PNG", pnginfo=text, compress_level=1)
        return [file.getbuffer()]

    steps = {"scale": 1000 / LAST_24, "offset": 0.0}
    lost = partial(find_loss, steps=steps, bound=_BOUND, first=0.5, last=LAST_24 - 1)
    (form,) = _export("carla", ".png", encode, png16.decode, lost).formats
    return Export((replace(form, check=_check_size(png16.decode)),))


def _colmap() -> Export:
    """Return the export as a dense map of COLMAP, 0 where unknown."""

    def encode(depth: DepthMap) -> Chunks:
        if depth.kind not in ("metric", "scale_invariant"):
            raise InputError(
                f"`to=colmap` holds depth in the unit of a reconstruction, not {depth.kind} depth"
            )
        return colmap.encode(_zeros_for_unknown(depth).values)

    form = Format(".geometric.bin", encode, checks(colmap.decode), colmap.decode, lost=_find_zeros)
    return Export((form,), keeps_ending=True)


def _middlebury() -> Export:
    """Return the export as the disparity of a pair whose second camera is `_BASELINE_M` to the right."""

    def find_disparity(depth: DepthMap) -> tuple[NDArray[np.float64], float]:
        """Return disparity in pixels, infinite where unknown, and the focal length in pixels of the map."""
        if depth.f_px is None:
            raise InputError("`to=middlebury` needs a focal length: give `f_px` or `intrinsics`")
        width = depth.values.shape[1]
        f_px = depth.f_px * width / (depth.full_size or depth.values.shape)[1]
        with np.errstate(divide="ignore"):
            disparity = f_px * _BASELINE_M / depth.values.astype(np.float64)
        return np.where(np.isfinite(depth.values), disparity, np.inf), f_px

    def encode(depth: DepthMap) -> Chunks:
        return pfm.encode(replace(depth, values=find_disparity(depth)[0].astype(np.float32)))

    def calibrate(depth: DepthMap) -> Chunks:
        disparity, f_px = find_disparity(depth)
        height, width = depth.values.shape
        matrix = f"[{f_px!r} 0 {(width - 1) / 2!r}; 0 {f_px!r} {(height - 1) / 2!r}; 0 0 1]"
        levels = math.ceil(float(np.max(disparity, where=np.isfinite(disparity), initial=0))) + 1
        lines = {"cam0": matrix, "cam1": matrix, "doffs": 0, "baseline": _BASELINE_M * 1000}
        lines |= {"width": width, "height": height, "ndisp": levels}
        return ["".join(f"{name}={value}\n" for name, value in lines.items()).encode()]

    (form,) = _export("middlebury", "/disp0.pfm", encode, pfm.decode, _find_zeros).formats
    calibration = Format("/calib.txt", calibrate, lambda data, height, width: None)
    facts = {"baseline_m": _BASELINE_M, "doffs_px": 0.0}
    return Export((replace(form, check=_check_size(pfm.decode)), calibration), facts)


def _moge() -> Export:
    """Return the export as log steps between the nearest and the farthest value of a map."""

    def find_steps(depth: DepthMap) -> tuple[dict[str, Any], dict[str, str]]:
        """Return the steps of a map, and what its text says of them."""
        known = depth.values[np.isfinite(depth.values) & (depth.values > 0)]
        near, far = (float(known.min()), float(known.max())) if known.size else (1.0, 1.0)
        far = max(far, 1.1 * near)
        beyond = near * (far / near) ** (INTERVALS / (INTERVALS - 1))
        text = {"near": repr(near), "far": repr(far)} | ({"unit": "1.0"} if depth.kind == "metric" else {})
        return {"near": near, "far": beyond, "unknown": [0, LAST]}, text

    def encode(depth: DepthMap) -> Chunks:
        if depth.kind not in ("metric", "scale_invariant"):
            raise InputError(f"`to=moge` holds depth, not {depth.kind}")
        steps, text = find_steps(depth)
        return png16.encode_numbers(Quantizer(depth.values, steps), {**metadata_of(depth), **steps}, text)

    def lost(depth: DepthMap) -> str | None:
        return find_loss(depth, find_steps(depth)[0], last=LAST - 1)

    return Export((Format(".png", encode, checks(png16.decode), png16.decode, True, lost),))


def _iw3() -> Export:
    """Return the export as equal steps from a map's smallest value to its largest."""

    def encode(depth: DepthMap) -> Chunks:
        known = depth.values[np.isfinite(depth.values)]
        if known.size < depth.values.size:
            raise InputError(
                "`to=iw3` has no number for unknown pixels, and some are: choose another convention"
            )
        low, high = float(known.min()), float(known.max())
        steps = {"scale": (high - low) / LAST, "offset": low}
        text = {"iw3_min_depth_value": repr(low), "iw3_max_depth_value": repr(high)}
        said = {**metadata_of(depth), "unknown": "nan", **steps}
        return png16.encode_numbers(Quantizer(depth.values, steps, first=0), said, text)

    return Export((Format(".png", encode, checks(png16.decode), png16.decode, True),))


def _check_size(decode: Decode) -> Callable[[bytes, int, int], str | None]:
    """Return the check of numbers that only their convention turns into depth."""

    def check(data: bytes, height: int, width: int) -> str | None:
        shape = decode(data, math.inf).values.shape[:2]
        return None if shape == (height, width) else f"its shape is {shape}, not {(height, width)}"

    return check


def _along_axis(export: Export) -> Export:
    """Return an export whose readers take values for depth along an axis: of a panorama that is lost."""
    form, *beside = export.formats

    def lost(depth: DepthMap) -> str | None:
        if depth.projection == "equirectangular":
            return "a panorama's distances along its rays are read there as depth along an axis"
        return form.lost(depth) if form.lost else None

    return replace(export, formats=(replace(form, lost=lost), *beside))


_ROWS: dict[str, Export] = {
    **{name: _whole(name) for name in ("tum", "kitti", "nyu", "scannet")},
    "7scenes": _whole("7scenes", last=LAST - 1),
    "sunrgbd": _whole("sunrgbd", turn=3),
    "middlebury": _middlebury(),
    "metres": _metres("metres", ".tiff", partial(tiff.encode_unpacked, unknown=0), tiff.decode),
    "depth-pro": _metres("depth-pro", ".npz", npz.encode, npz.decode),
    "moge": _moge(),
    "iw3": _iw3(),
    "colmap": _colmap(),
    **dict.fromkeys(("carla", "shift"), _carla()),
}
EXPORTS = {name: _along_axis(export) for name, export in _ROWS.items()}


def find_output_format(name: str, convention: object) -> Format | None:
    """Return the format of an output of a run. convention: what the run wrote by, by its settings or its lines."""
    export = EXPORTS.get(str(convention))
    if export is None:
        return find_format(name)
    return next((form for form in export.formats if name.endswith(form.suffix)), None)
