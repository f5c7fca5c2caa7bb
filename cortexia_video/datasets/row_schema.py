"""A sample as a row of a table: the columns of the dataset guide, and what their numbers mean beside them.

image       an image's file, uint8 RGB: the JPEG that it came as, or TIFF, not packed: Pillow takes ten
            times as long for a PNG, and shards are packed anyway
depth_map   TIFF of one float32 channel, NaN where unknown, not packed; what it means is in its text, too
mask        PNG, 0 where known depth is not to be used, or null
key         unique in the dataset
origin      the dataset that it is of, or null
sparse      depth is known at scattered pixels only: transforms move these one by one
kind, unit  of depth; unit is "metres" or null
width, height, fx, fy, cx, cy     the camera in pixels, the centre of the first pixel at (0.5, 0.5), or null
f_px, f_source, model, weights_sha256     as `DepthMap` has them, or null
timestamp_s of a frame of a video, seconds from its start, or null
"""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, JpegImagePlugin

from cortexia_video.datasets.readers._calibration import Calibration
from cortexia_video.depth_map import DepthKind, DepthMap
from cortexia_video.errors import DecodeError, InputError, printable
from cortexia_video.formats import tiff
from cortexia_video.formats.decode_depth import decode_depth, interpret
from cortexia_video.formats.metadata import describe_files, metadata_of
from cortexia_video.formats.raw_depth import RawDepth
from cortexia_video.frame import Frame
from cortexia_video.images.decode import decode, read_header
from cortexia_video.pinhole import Pinhole
from cortexia_video.rgbd_sample import RGBDSample
from cortexia_video.storage.arrow import import_arrow

Row = dict[str, Any]

IMAGES = ("image", "depth_map", "mask")
TEXTS = ("key", "origin", "kind", "unit", "f_source", "model", "weights_sha256")
COUNTS = ("width", "height")
NUMBERS = ("fx", "fy", "cx", "cy", "f_px", "timestamp_s")
FLAGS = ("sparse",)
_ORIENTATION = 0x0112  # of EXIF


class AssumedMeaning(NamedTuple):
    """What depth is taken for where neither it nor its row says so: as of `decode_depth`."""

    convention: str | None = None
    kind: DepthKind | None = None
    scale: float | None = None
    unknown: tuple[float, ...] = ()

    @property
    def about(self) -> dict[str, Any]:
        return describe_files(kind=self.kind, scale=self.scale, unknown=self.unknown)

    @property
    def is_said(self) -> bool:
        """Whether anything is said of all depth."""
        return self.convention is not None or self.kind is not None

    @property
    def is_assumed(self) -> bool:
        """Whether the scale is that of a convention, which nothing in the files bears out."""
        return self.is_said and self.scale is None


UNSAID = AssumedMeaning()


def to_row(sample: RGBDSample, file: bytes | None = None) -> Row:
    """Return a sample as a row. file: what its image came as; what is no plain JPEG becomes a TIFF."""
    frame, depth, camera = sample.frame, sample.depth, sample.camera
    height, width = sample.size
    words = metadata_of(depth)
    mask = None if sample.mask is None else _to_cell(_encode(sample.mask.astype(np.uint8) * 255, "PNG"))
    return {
        "image": _to_cell(file if file and _is_plain_jpeg(file) else _encode(frame.image, "TIFF")),
        "depth_map": _to_cell(b"".join(tiff.encode_unpacked(depth))),
        "mask": mask,
        "key": sample.key,
        "origin": sample.origin,
        "sparse": sample.sparse,
        **{name: words[name] for name in ("kind", "unit", "f_px", "f_source", "model", "weights_sha256")},
        "width": width,
        "height": height,
        **{name: getattr(camera, name) if camera else None for name in ("fx", "fy", "cx", "cy")},
        "timestamp_s": frame.timestamp_s,
    }


def from_row(
    row: Mapping[str, Any], key: str, meaning: AssumedMeaning = UNSAID, camera: Calibration | None = None
) -> RGBDSample:
    """Return the sample of a row; columns that do not exist are unknown.

    key: where the row has none. meaning, camera: what to take for so where the row does not say it.
    Raises `DecodeError`, `DepthFileError`, and `InputError` where sizes differ.
    """
    key = str(row.get("key") or key)
    # read the depth of a row, which says what it means itself, or by its columns, or by the convention
    names = ("kind", "f_px", "f_source", "model", "weights_sha256")
    about = {**meaning.about, **{name: row[name] for name in names if row.get(name) is not None}}
    name, cell = f"{key}: depth_map", row.get("depth_map")
    if isinstance(cell, list | np.ndarray):  # numbers instead of a file
        stored = RawDepth(np.asarray(cell), {})
        depth = interpret(stored, name, about=about, convention=meaning.convention)
    else:
        data = _read_cell(row, "depth_map", key)
        depth = decode_depth(data, name, about=about, convention=meaning.convention)
    decoded = decode(_read_cell(row, "image", key), key)
    height, width = depth.values.shape
    pinhole = camera.for_image(width, height) if camera else None
    numbers = [row.get(name) for name in ("fx", "fy", "cx", "cy")]
    if None not in numbers:
        fx, fy, cx, cy = (float(each) for each in numbers if each is not None)
        pinhole = Pinhole(fx, fy, cx, cy, width, height)
    if pinhole is not None and depth.f_px is None:
        f_px = (pinhole.fx + pinhole.fy) / 2
        facts = (depth.full_size, depth.model, depth.weights_sha256)
        depth = DepthMap(depth.values, depth.kind, f_px, "given", *facts)
    time_s = row.get("timestamp_s")
    known = (depth.f_px, depth.f_source) if depth.f_px else (decoded.f_px, decoded.f_source)
    frame = Frame(key, decoded.image, *known, time_s if isinstance(time_s, int | float) else None)
    mask, origin, sparse = None, row.get("origin"), bool(row.get("sparse"))
    if row.get("mask") is not None:
        mask = decode(_read_cell(row, "mask", key), key).image[..., 0] > 0
    return RGBDSample(frame, depth, pinhole, mask, origin, sparse)


def _is_plain_jpeg(data: bytes) -> bool:
    """Return whether anybody's reader gives the pixels that ours does: upright, three channels."""
    if read_header(data).format != "JPEG":
        return False
    with JpegImagePlugin.JpegImageFile(io.BytesIO(data)) as image:
        return image.mode == "RGB" and image.getexif().get(_ORIENTATION, 1) == 1


def _read_cell(row: Mapping[str, Any], name: str, key: str) -> bytes:
    """Return the bytes of an image's cell: a dict with bytes, as Arrow has it, or bytes."""
    cell = row.get(name)
    data = cell.get("bytes") if isinstance(cell, Mapping) else cell
    if not isinstance(data, bytes) or not data:
        kept = "only a path to a file" if isinstance(cell, Mapping) and cell.get("path") else "no bytes"
        raise DecodeError(
            f"{key!r}: column {name!r} holds {kept}: embed the images before saving, as to_hf does"
        )
    return data


def _to_cell(data: bytes) -> dict[str, bytes | None]:
    return {"bytes": data, "path": None}


def _encode(pixels: NDArray[np.uint8], form: str) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, form)
    return file.getvalue()


def make_schema() -> Any:
    """Return the Arrow schema of the rows, with what Hugging Face `datasets` reads column types from."""
    pa = import_arrow()
    cell = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    fields = [(name, cell) for name in IMAGES]
    fields += [(name, pa.string()) for name in TEXTS]
    fields += [(name, pa.int32()) for name in COUNTS] + [(name, pa.float64()) for name in NUMBERS]
    fields += [(name, pa.bool_()) for name in FLAGS]
    return pa.schema(
        fields, metadata={"huggingface": json.dumps({"info": {"features": describe_features()}})}
    )


def describe_features() -> dict[str, Any]:
    """Return the columns' types in the words of Hugging Face `datasets`."""
    types = {
        **dict.fromkeys(TEXTS, "string"),
        **dict.fromkeys(COUNTS, "int32"),
        **dict.fromkeys(NUMBERS, "float64"),
        **dict.fromkeys(FLAGS, "bool"),
    }
    values = {name: {"dtype": dtype, "_type": "Value"} for name, dtype in types.items()}
    return {**{name: {"_type": "Image"} for name in IMAGES}, **values}


def require_texts(row: Row) -> None:
    """Raise `InputError` where a text of a row is none that tables and JSON can hold."""
    for name in TEXTS:
        try:
            (row[name] or "").encode()
        except UnicodeEncodeError as error:
            words = f"its {name} {printable(row[name])} is not UTF-8, which datasets must be"
            raise InputError(f"{words}: rename the file or folder") from error


def require_columns(names: Sequence[str], where: str, columns: tuple[str, str]) -> None:
    """Raise `InputError` where a table has no images or no depth."""
    missing = [name for name in columns if name not in names]
    if missing:
        raise InputError(
            f"{where} has no column {' and no '.join(map(repr, missing))}, only {', '.join(names)}: "
            "say which two are image and depth by `columns`"
        )
