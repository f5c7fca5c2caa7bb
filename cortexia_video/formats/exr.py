"""OpenEXR, one channel `Z`, float or half; what the values mean is JSON in the attribute `cortexia_video`.

Float files are not packed, since the noise in float depth cannot be; half files are, by deflate. The package
holds the interpreter's lock, so several threads write these files one after another.
"""

from __future__ import annotations

import contextlib
import io
import threading
from typing import Any

import numpy as np

from cortexia_video.depth_map import DepthMap
from cortexia_video.errors import DepthFileError, explain_import
from cortexia_video.formats.metadata import from_text, metadata_of, to_text
from cortexia_video.formats.raw_depth import Chunks, RawDepth, require_pixels

MAGIC = b"v/1\x01"
_ATTRIBUTE = "cortexia_video"
_CHANNEL = "Z"
_printing = threading.Lock()  # nobody waits for it: the package holds the interpreter's
_HALF_LIMIT = 65520.0  # from here on a half is infinite
_HALF_LEAST = 2.0**-14  # below it has fewer digits


def encode(depth: DepthMap) -> Chunks:
    """Return the file in one piece, float32."""
    return _encode(depth, depth.values, "NO_COMPRESSION")


def encode_half(depth: DepthMap) -> Chunks:
    """Return the file in one piece, float16: values to 2^-11 of themselves; what is too large is unknown."""
    with np.errstate(over="ignore"):
        values = depth.values.astype(np.float16)
    values[np.isinf(values)] = np.nan
    return _encode(depth, values, "ZIP_COMPRESSION")


def lost_in_half(depth: DepthMap) -> str | None:
    """Return which values are outside a half's range."""
    size = np.abs(depth.values)
    over = np.count_nonzero(size >= _HALF_LIMIT)
    largest = float(np.fmax.reduce(size, axis=None))
    # where a shift is free, zero is no value of its own: an error counts against the largest value
    small = size if depth.kind in ("metric", "scale_invariant") else np.array([largest])
    under = np.count_nonzero((small > 0) & (small < _HALF_LEAST))
    losses = [f"{over} values are from {_HALF_LIMIT:g} up and become unknown"] if over else []
    losses += [f"values below {_HALF_LEAST:g} keep fewer digits"] if under else []
    return "; ".join(losses) or None


def _encode(depth: DepthMap, values: np.ndarray[Any, Any], compression: str) -> Chunks:
    openexr = _import()
    header = {
        "compression": getattr(openexr, compression),
        "type": openexr.scanlineimage,
        _ATTRIBUTE: to_text(metadata_of(depth)).decode(),
    }
    if depth.f_px:  # standard: how wide the image is at distance 1
        header["screenWindowWidth"] = (depth.full_size or depth.values.shape)[1] / depth.f_px
    file = io.BytesIO()
    channels = {_CHANNEL: np.ascontiguousarray(values)}
    openexr.File(header, channels, num_threads=0).write(file)
    return [file.getbuffer()]


def decode(data: bytes, most: float) -> RawDepth:
    """Return the channel Z, or the only one. most: pixels."""
    openexr = _import()
    header = openexr.File(io.BytesIO(data), header_only=True, num_threads=0).header()
    (left, top), (right, bottom) = header["dataWindow"]
    require_pixels(int(bottom) - int(top) + 1, int(right) - int(left) + 1, most)
    with _printing, contextlib.redirect_stdout(io.StringIO()):  # it prints there what it raises
        file = openexr.File(io.BytesIO(data), separate_channels=True, num_threads=0)
    channels = file.channels()
    names = [name for name in channels if name.split(".")[-1] == _CHANNEL] or [*channels]
    if len(names) != 1:
        raise DepthFileError(f"its channels are {', '.join(channels)}: depth is one channel, called Z")
    return RawDepth(channels[names[0]].pixels, from_text(str(header.get(_ATTRIBUTE, ""))))


def _import() -> Any:
    try:
        import OpenEXR
    except ImportError as error:
        raise explain_import(error, "the format exr needs", "'cortexia-video[exr]'") from error
    return OpenEXR
