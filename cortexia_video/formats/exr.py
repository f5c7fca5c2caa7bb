"""OpenEXR, one channel `Y`, float or half; what the values mean is JSON in the attribute `cortexia_video`.

`Y` is what the format calls grey, which every reader of images takes; `Z` alone is zeros in OpenCV 4.

Of a renderer's file with many channels the depth is the one that its names say, by OpenEXR's rules for names
of layers and channels (openexr.com, "Technical Introduction", "Scene-Linear Image Representation").

Float files are not packed, since the noise in float depth cannot be; half files are, by deflate. The package
holds the interpreter's lock, so several threads write these files one after another.
"""

from __future__ import annotations

import contextlib
import io
import re
import threading
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from cortexia_video.depth_map import DepthMap
from cortexia_video.errors import DepthFileError, explain_import, format_count
from cortexia_video.formats.metadata import from_text, metadata_of, to_text
from cortexia_video.formats.raw_depth import Chunks, RawDepth, require_pixels

MAGIC = b"v/1\x01"
_ATTRIBUTE = "cortexia_video"
_CHANNEL = "Y"
_VECTOR = {"x", "y", "z"}
_NO_DEPTH = re.compile(  # layers that may have a Z, and what is said of depth
    r"normal|position|vector|velocity|motion|confidence|uncertainty|variance|mask|valid|(^|\.)(uv|n|p)\."
)
_MOST_CHANNELS = 64  # each as large as the image
# Redirects the process's stdout, so one thread at a time; nobody waits, since OpenEXR holds the interpreter's lock.
_printing = threading.Lock()
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
    over = int(np.count_nonzero(size >= _HALF_LIMIT))
    largest = float(np.fmax.reduce(size, axis=None))
    # where a shift is free, zero is no value of its own: an error counts against the largest value
    small = size if depth.kind in ("metric", "scale_invariant") else np.array([largest])
    under = np.count_nonzero((small > 0) & (small < _HALF_LEAST))
    large = f"from {_HALF_LIMIT:g} up"
    lost = format_count(over, f"value {large} becomes", f"values {large} become")
    losses = [f"{lost} unknown"] if over else []
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


def decode(data: bytes, most: float, channel: str | None = None) -> RawDepth:
    """Return the depth in a file, as large as its display window: NaN where the data window has no pixels.

    most: pixels. channel: its whole name, or the end of it, where the names do not say which is depth.
    Raises `DepthFileError`, `MissingExtraError`, and what OpenEXR does for a broken file.
    """
    openexr = _import()
    parts = openexr.File(io.BytesIO(data), header_only=True, num_threads=0).parts
    for part in parts:
        for window in ("dataWindow", "displayWindow"):
            require_pixels(*_measure(part.header[window])[2:], most)
    if sum(len(part.header["channels"]) for part in parts) > _MOST_CHANNELS:
        raise DepthFileError(
            f"it has more than {_MOST_CHANNELS} channels: write depth into a file of its own"
        )
    names = {
        ".".join(filter(None, (part.name() if len(parts) > 1 else "", each.name))): (number, each.name)
        for number, part in enumerate(parts)
        for each in part.header["channels"]
    }
    number, name = names[_choose([*names], channel)]
    with _printing, contextlib.redirect_stdout(io.StringIO()):  # OpenEXR prints what it also raises
        file = openexr.File(io.BytesIO(data), separate_channels=True, num_threads=0)
    part = file.parts[number]
    pixels = np.asarray(part.channels[name].pixels)
    top, left, height, width = _measure(part.header["dataWindow"])
    first, begin, rows, columns = _measure(part.header["displayWindow"])
    if pixels.shape != (height, width):
        raise DepthFileError(f"{name} is {pixels.shape} of {(height, width)}: deep or sampled, not depth")
    text = from_text(str(part.header.get(_ATTRIBUTE, "")))
    top, left = top - first, left - begin
    if (top, left, height, width) == (0, 0, rows, columns):
        return RawDepth(pixels, text)
    above, below = max(top, 0), min(top + height, rows)
    before, behind = max(left, 0), min(left + width, columns)
    if above >= below or before >= behind:
        raise DepthFileError(
            "its data window lies outside of its display window: it has no pixel of the image"
        )
    values = np.full((rows, columns), np.nan, np.result_type(pixels.dtype, np.float16))
    values[above:below, before:behind] = pixels[above - top : below - top, before - left : behind - left]
    return RawDepth(values, text)


def _measure(window: Any) -> tuple[int, int, int, int]:
    """Return top, left, height and width of a window."""
    (left, top), (right, bottom) = ((int(x), int(y)) for x, y in window)
    return top, left, bottom - top + 1, right - left + 1


def _choose(names: Sequence[str], wanted: str | None) -> str:
    """Return the name of the channel that is depth; `DepthFileError` where that is open.

    names: as "layer.channel", with the part's name before it where there are several.
    """
    if wanted is not None:
        found = [wanted] if wanted in names else [name for name in names if name.endswith(f".{wanted}")]
    else:
        layers: dict[str, set[str]] = {}
        for name in names:
            layer, _, last = name.lower().rpartition(".")
            layers.setdefault(layer, set()).add(last)
        vectors = {layer for layer, lasts in layers.items() if lasts >= _VECTOR}
        split = {name: name.lower().rpartition(".") for name in names if not _NO_DEPTH.search(name.lower())}
        plain = {name: each for name, each in split.items() if each[0] not in vectors and each[2] != "a"}
        tests: tuple[Callable[[str, str], bool], ...] = (
            lambda layer, last: "depth" in (layer.rpartition(".")[2], last),
            lambda layer, last: last == "z",
            lambda layer, last: "depth" in f"{layer}.{last}",
            lambda layer, last: True,
        )
        tried = ([name for name, (layer, _, last) in plain.items() if test(layer, last)] for test in tests)
        found = next((some for some in tried if some), [])
    if len(found) == 1:
        return found[0]
    reason = "which is depth is not clear" if wanted is None else f"{len(found)} of them are called {wanted}"
    raise DepthFileError(
        f"its channels are {', '.join(names)}: {reason}: give the one that is depth as `channel`"
    )


def _import() -> Any:
    try:
        import OpenEXR
    except ImportError as error:
        raise explain_import(error, "the format exr needs", "'cortexia-video[exr]'") from error
    return OpenEXR
