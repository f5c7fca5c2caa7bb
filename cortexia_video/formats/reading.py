"""Depth files of any format to `DepthMap`: told by content, then by name. Nothing is guessed."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cortexia_video.depth_map import KINDS, DepthMap
from cortexia_video.errors import DepthFileError, printable
from cortexia_video.formats.metadata import Metadata, with_metadata
from cortexia_video.formats.stored import Stored
from cortexia_video.formats.table import READERS, Reader


def read_depth(
    path: str | os.PathLike[str], *, about: Metadata | None = None, max_megapixels: float = 200.0
) -> DepthMap:
    """Read a depth file; the arguments and errors are those of `decode_depth`."""
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise DepthFileError(f"{printable(os.fspath(path))}: cannot be read: {error.strerror}") from error
    return decode_depth(data, os.fspath(path), about=about, max_megapixels=max_megapixels)


def decode_depth(
    data: bytes, name: str, *, about: Metadata | None = None, max_megapixels: float = 200.0
) -> DepthMap:
    """Give the depth in a file's bytes; the values may be read-only, over these bytes.

    name: the file's, for messages, and for its format where the content does not tell.
    about: what to take for so where the file does not say it: the words of `metadata`, and `scale`, which
    integers are multiplied by, and `unknown`, the values that stand for no depth: numbers, "nan", "inf".
    max_megapixels: larger maps are refused before there is memory for them.

    Raises `DepthFileError`, with name and remedy, for what is no depth file, is damaged, does not say what
    its numbers mean where `about` does not either, or holds numbers that cannot be depth.
    """
    try:
        stored = _find_reader(data, name).decode(data, max_megapixels * 1e6)
        return _understand(stored, about or {})
    except DepthFileError as error:
        raise DepthFileError(f"{printable(name)}: {error}") from error.__cause__
    except Exception as error:  # a reader of a broken file raises anything
        raise DepthFileError(
            f"{printable(name)}: it cannot be decoded: {printable(str(error))}; is it whole? "
            "Write or copy it again"
        ) from error


def _find_reader(data: bytes, name: str) -> Reader:
    for reader in READERS:
        if data.startswith(reader.magic):
            return reader
    suffixes = [suffix for reader in READERS for suffix in reader.suffixes]
    if name.lower().endswith(tuple(suffixes)):
        raise DepthFileError("its content is not what its name says: it is cut short or mislabelled")
    raise DepthFileError(f"not a depth file that can be read: give one of {', '.join(suffixes)}")


def _understand(stored: Stored, about: Metadata) -> DepthMap:
    """Join values with what the file says of them, and where it says nothing, with what the caller says."""
    metadata = {**about, **{name: value for name, value in stored.metadata.items() if value is not None}}
    if metadata.get("kind") not in KINDS:
        raise DepthFileError(
            "it does not say what its numbers mean: give its kind of depth, one of " + ", ".join(KINDS)
        )
    try:
        depth = with_metadata(_to_float32(_to_2d(stored.values), metadata), metadata)
    except ValueError as error:
        raise DepthFileError(str(error)) from error
    _check(depth)
    return depth


def _to_2d(values: NDArray[Any]) -> NDArray[Any]:
    """Drop axes of length one before and after height and width."""
    while values.ndim > 2 and values.shape[0] == 1:
        values = values[0]
    if values.ndim == 3 and values.shape[2] == 1:
        values = values[..., 0]
    if values.ndim != 2 or not values.size:
        raise DepthFileError(f"its shape is {values.shape}: depth is one number a pixel, (height, width)")
    return values


def _to_float32(values: NDArray[Any], metadata: Metadata) -> NDArray[np.float32]:
    """Give float32 with NaN where unknown; float32 without unknown values stays the same memory."""
    scale = metadata.get("scale")
    if values.dtype.kind not in "fiu":
        raise DepthFileError(f"it holds {values.dtype}, not numbers")
    if values.dtype.kind in "iu" and scale is None and metadata["kind"] == "metric":
        raise DepthFileError(
            f"it holds {values.dtype} and does not say what one step is: give scale, in metres (0.001 for mm)"
        )
    unknown = _find_unknown(values, metadata.get("unknown", "nan"))
    if scale is None:
        result = values.astype(np.float32, copy=unknown is not None)
    else:
        result = (values * np.float64(scale)).astype(np.float32)
    if unknown is not None:
        result[unknown] = np.nan
    return result


def _find_unknown(values: NDArray[Any], unknown: object) -> NDArray[np.bool_] | None:
    """Say which values stand for unknown; None where only NaN does."""
    given = unknown if isinstance(unknown, Sequence) and not isinstance(unknown, str) else [unknown]
    numbers = [number for number in map(float, given) if not math.isnan(number)]
    if not numbers:
        return None
    return np.isin(values, np.array(numbers).astype(np.result_type(values.dtype, np.float32)))


def _check(depth: DepthMap) -> None:
    """Refuse values that cannot be depth."""
    low, high = (float(each.reduce(depth.values, axis=None)) for each in (np.fmin, np.fmax))
    if math.isinf(low) or math.isinf(high):
        share = 100 * float(np.isinf(depth.values).mean())
        raise DepthFileError(f"{share:.3g} % of its values are infinite: if that means unknown, say so")
    if low < 0 and depth.kind in ("metric", "scale_invariant"):
        share = 100 * float((depth.values < 0).mean())
        raise DepthFileError(f"{share:.3g} % of its values are negative, which {depth.kind} depth is not")
