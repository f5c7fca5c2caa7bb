"""What the numbers of a `DepthMap` mean, as a plain dict: one vocabulary for all formats and for depth.json.

    kind            "metric", "scale_invariant", "affine_invariant" or "disparity"
    unit            "metres", or null: up to a factor
    larger_is       "nearer" or "farther"
    unknown         what stands for unknown: "nan" or a number, or a list of these and of "inf"
    f_px            focal length in pixels of the whole image, or null
    f_source        "exif", "given", "estimated" or null
    full_size       [height, width] of the whole image
    model           the model that made it, or null: a sensor, or nobody said
    weights_sha256  digest of the model's weights, or null
    aligned_by      what the metres of relative depth came from (points, colmap ...); only where it was aligned
    projection      "equirectangular": the values are distances along the rays of a panorama's pixels; else left out
    scale_from      "sparse": metres of a sensor's depth that the model completed; only where it did
    alignment       the fit, its points and residuals (`depth_map.Alignment`); only where it was aligned

What a caller says of other people's files, besides: `along` (distances along the "axis" or the "ray" of each
pixel, which f_px turns into depth), and `channel`, `array` or `page` of a file that holds several.

Of whole numbers it says what they stand for, too (`quantization`):

    scale, offset   value = offset + scale * number
    near, far       value = near * (far / near) ** ((number - 1) / 65534)
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from cortexia_video.depth_map import KINDS, MEANING, Alignment, DepthKind, DepthMap, ScaleSource
from cortexia_video.errors import InputError
from cortexia_video.frame import FocalSource
from cortexia_video.storage.documents import parse_json

Metadata = Mapping[str, Any]
MARK = b"cortexia_video depth"  # in the first bytes of every file of ours that has room for text


def metadata_of(depth: DepthMap) -> dict[str, Any]:
    """Return what a depth map's values mean, as JSON can hold it; NaN is unknown."""
    aligned = depth.alignment
    return {
        "kind": depth.kind,
        **MEANING[depth.kind],
        "unknown": "nan",
        "f_px": None if depth.f_px is None else float(depth.f_px),
        "f_source": depth.f_source,
        "full_size": [*(depth.full_size or depth.values.shape)],
        "model": depth.model,
        "weights_sha256": depth.weights_sha256,
        **({"projection": depth.projection} if depth.projection != "perspective" else {}),
        **({"scale_from": depth.scale_from} if depth.scale_from else {}),
        **({"aligned_by": aligned.by, "alignment": aligned.as_dict()} if aligned else {}),
    }


def describe_files(
    *,
    kind: DepthKind | None = None,
    scale: float | None = None,
    unknown: Sequence[float] = (),
    f_px: float | None = None,
    along: Literal["axis", "ray"] = "axis",
    channel: str | None = None,
    array: str | None = None,
    page: int | None = None,
) -> dict[str, Any]:
    """Return what a person knows of depth files that do not say it themselves: `read_depth`'s `about`.

    Args:
        kind: What the values mean.
        scale: What whole numbers are multiplied by: 0.001 for millimetres. Numbers of 8 bits need it.
        unknown: A value that stands for unknown; several times for several.
        f_px: Focal length of the whole image, in its pixels.
        along: What distances were measured along: the optical axis, or the ray of each pixel, which takes a focal
            length to undo.
        channel: Channel of OpenEXR files that is depth, where their names leave it open.
        array: Array of npz and HDF5 files that is depth; by default the only one, or the one called depth.
        page: Page of TIFF files that have several, from 1.

    Raises:
        InputError: A scale or a focal length is not above 0.

    Example:
        >>> describe_files(kind="metric", scale=0.001)
        {'kind': 'metric', 'scale': 0.001}
    """
    for name, value in (("scale", scale), ("f_px", f_px)):
        if value is not None and not 0 < value < math.inf:
            raise InputError(f"`{name}` must be a number above 0, got {value:g}")
    about = {
        "kind": kind,
        "scale": scale,
        "unknown": [*unknown] or None,
        "f_px": f_px,
        "f_source": "given" if f_px else None,
        "along": "ray" if along == "ray" else None,
        "channel": channel,
        "array": array,
        "page": page,
    }
    return {name: value for name, value in about.items() if value is not None}


def with_metadata(values: NDArray[np.float32], metadata: Metadata) -> DepthMap:
    """Return values float32 (H, W), NaN where unknown, their meaning back: the inverse of `metadata_of`.

    Names that are not of the vocabulary are ignored. Raises `ValueError` where `kind` is missing, and for
    what cannot be, such as a focal length of 0.
    """
    kind = metadata.get("kind")
    if kind not in KINDS:
        raise ValueError(f"kind is {kind!r}: it must be one of {', '.join(KINDS)}")
    for name, meant in MEANING[kind].items():
        if metadata.get(name, meant) != meant:
            raise ValueError(f"{name} is {metadata[name]!r}, but of kind {kind} it is {meant!r}")
    f_px = metadata.get("f_px")
    if f_px is not None and not (
        isinstance(f_px, int | float) and not isinstance(f_px, bool) and 0 < f_px < math.inf
    ):
        raise ValueError(f"f_px is {f_px!r}: it must be a number of pixels above 0, or null")
    source, sources = metadata.get("f_source"), get_args(FocalSource)
    if source is not None and source not in sources:
        raise ValueError(f"f_source is {source!r}: it must be null or one of {', '.join(sources)}")
    size = metadata.get("full_size")
    if size is not None:
        if (
            not isinstance(size, list | tuple)
            or len(size) != 2
            or any(type(side) is not int or side < 1 for side in size)
        ):
            raise ValueError(f"full_size is {size!r}: it must be [height, width] in pixels, or null")
        size = None if tuple(size) == values.shape else (size[0], size[1])
    scale_from = metadata.get("scale_from")
    if scale_from is not None and scale_from not in get_args(ScaleSource):
        raise ValueError(f"scale_from is {scale_from!r}: it must be sparse or null")
    for name in ("model", "weights_sha256"):
        if not isinstance(metadata.get(name), str | None):
            raise ValueError(f"{name} is {metadata[name]!r}: it must be a text or null")
    said = metadata.get("alignment") if kind == "metric" else None  # a ledger's, of a map before it
    return DepthMap(
        values,
        kind,
        None if f_px is None else float(f_px),
        source,
        size,
        metadata.get("model"),
        metadata.get("weights_sha256"),
        None if said is None else Alignment.from_dict(said),
        projection=metadata.get("projection") or "perspective",
        scale_from=scale_from,
    )


def add(about: Metadata, said: Metadata) -> dict[str, Any]:
    """Return what two say of a map: `said` comes first, null says nothing; f_px keeps its source."""
    said = {name: value for name, value in said.items() if value is not None}
    if "f_px" in said:
        about = {name: value for name, value in about.items() if name != "f_source"}
    return {**about, **said}


def to_text(metadata: Metadata) -> bytes:
    """Return metadata as one line of JSON in ASCII that begins with `MARK`."""
    return json.dumps({"software": MARK.decode(), **metadata}, allow_nan=False).encode("ascii")


def from_text(text: bytes | str) -> dict[str, Any]:
    """Read what `to_text` gave; anybody else's text says nothing to us."""
    try:
        read = parse_json(text, "metadata")
    except InputError:
        return {}
    ours = isinstance(read, dict) and read.pop("software", None) == MARK.decode()
    return read if ours else {}
