"""Depth files of any format to `DepthMap`: told by content, then by name. Nothing is guessed."""

from __future__ import annotations

import contextlib
import math
import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cortexia_video.depth_map import KINDS, DepthMap
from cortexia_video.errors import DepthFileError, MissingExtraError, describe, in_words, not_known, printable
from cortexia_video.formats.conventions import CONVENTIONS
from cortexia_video.formats.metadata import Metadata, add, with_metadata
from cortexia_video.formats.quantization import split_rows, to_values
from cortexia_video.formats.raw_depth import PICKS, RawDepth, TooLargeError
from cortexia_video.formats.registry import READERS, Reader
from cortexia_video.images.foreign_content import describe_foreign
from cortexia_video.pinhole import Pinhole
from cortexia_video.storage.paths import AnyPath, FileTooLargeError, PathLike, read_named, to_path

_TOLD = [  # what readers say of a file, and what to say
    (re.compile("truncat|EOF|not a zip file|end of|premature", re.IGNORECASE), "it is cut short"),
    (re.compile("CRC|checksum", re.IGNORECASE), "its checksum is wrong"),
    (re.compile("encrypted"), "it is encrypted"),
    (re.compile("MAX_TEXT_(CHUNK|MEMORY)"), "the text in it is too large"),
]
_LARGEST = 16  # bytes of a number in a file
_HEADERS = 1 << 24  # bytes of what else may be there
_FACTS = ("f_px", "f_source", "full_size", "model", "weights_sha256", "alignment")


def read_file(path: PathLike, *, max_megapixels: float = 200.0, within: AnyPath | None = None) -> bytes:
    """Read a file; raise `DepthFileError` where it cannot be read or is too large for such a depth map.

    path: also a URL, as `s3://bucket/a.npy`. within: as of `open_named`.
    """
    place = to_path(path)
    name = printable(str(place))
    with in_words(f"{name}: cannot be read", kind=DepthFileError, of=(OSError, ValueError)):
        try:
            return read_named(place, limit=max_megapixels * 1e6 * _LARGEST + _HEADERS, within=within)
        except FileTooLargeError as error:
            raise DepthFileError(
                f"{name}: {error} for {max_megapixels:g} megapixels: raise `max_megapixels` if that is so"
            ) from error


def count_pixels(data: bytes, name: str, *, about: Metadata | None = None) -> int:
    """Return how many pixels a file's depth will have by its header, or its bytes where that cannot be."""
    try:
        _decode(data, name, about or {}, 0)
    except TooLargeError as error:
        return error.pixels
    except Exception:  # noqa: BLE001 - `decode_depth` will say what is wrong
        return len(data)
    return len(data)


def decode_depth(
    data: bytes,
    name: str,
    *,
    about: Metadata | None = None,
    convention: str | None = None,
    max_megapixels: float = 200.0,
    strict: bool = True,
) -> DepthMap:
    """Return the depth in a file's bytes; the values may be read-only, over these bytes.

    name: the file's, for messages. The content says of what format it is.
    about: what to take for so where the file does not say it, as in `metadata`. A file that says
    its kind says what its numbers are: of `about` it then takes the camera, the model and the size only.
    Where it does not, 0 is unknown in metric and scale-invariant depth, unless `unknown` is NaN alone.
    convention: whose file it is, one of `CONVENTIONS`, where it does not say its kind; what `about`
    calls unknown is so besides what the convention does. `middlebury` needs in `about` what
    `parse_calibration` gives.
    max_megapixels: larger maps are refused before there is memory for them.
    strict: False leaves metres below 0 and infinite values, which no depth has, to the caller.

    Raises `DepthFileError`, with name and remedy, for what is no depth file, is damaged, does not say what
    its numbers mean where nobody else does, or holds numbers that cannot be depth; `MissingExtraError`.
    """
    stored = decode_stored(data, name, about=about, max_megapixels=max_megapixels)
    return interpret(stored, name, about=about, convention=convention, strict=strict)


def decode_stored(
    data: bytes, name: str, *, about: Metadata | None = None, max_megapixels: float = 200.0
) -> RawDepth:
    """Return what a file's bytes hold; the first half of `decode_depth`. about: may choose, one of `PICKS`."""
    with _naming(name):
        return _decode(data, name, about or {}, max_megapixels * 1e6)


def _decode(data: bytes, name: str, about: Metadata, most: float) -> RawDepth:
    reader = find_reader(data, name)
    picked = {each: about[each] for each in PICKS if about.get(each) is not None}
    for each in picked.keys() - {reader.picks}:
        raise DepthFileError(f"a {reader.suffixes[0]} file has no `{each}` to choose: leave it out")
    return reader.decode(data, most, **picked)


def interpret(
    stored: RawDepth,
    name: str,
    *,
    about: Metadata | None = None,
    convention: str | None = None,
    strict: bool = True,
) -> DepthMap:
    """Return what the numbers of a file mean; the second half of `decode_depth`."""
    about = about or {}
    with _naming(name), np.errstate(all="ignore"):  # what comes of anybody's numbers is checked afterwards
        convention = convention or about.get("convention") or stored.metadata.get("convention")
        if convention is not None and convention not in CONVENTIONS:
            raise DepthFileError(not_known("convention", convention, CONVENTIONS))
        said = stored.metadata.get("kind") is not None
        if said or convention is None or not CONVENTIONS[convention].in_colour:
            stored = stored._replace(values=_to_2d(stored.values))
        if said:
            metadata = add({name: about[name] for name in _FACTS if name in about}, stored.metadata)
        else:
            stored = _translate(stored, about, convention) if convention else stored
            metadata = add(about, stored.metadata)
            unknown = [*_listed(about.get("unknown", [])), *_listed(stored.metadata.get("unknown", []))]
            only_nan = bool(unknown) and all(str(each) == "nan" for each in unknown)
            if metadata.get("kind") in ("metric", "scale_invariant") and not (convention or only_nan):
                unknown.append(0)  # no thing is at no distance: sensors have it for what they do not see
            if unknown:
                metadata["unknown"] = unknown
        _require_meaning(stored.values, metadata)
        try:
            depth = with_metadata(to_values(stored.values, metadata), metadata)
        except ValueError as error:
            raise DepthFileError(str(error)) from error
        depth = depth if said or metadata.get("along", "axis") == "axis" else _turn_to_axis(depth, metadata)
        low, high = (float(each.reduce(depth.values, axis=None)) for each in (np.fmin, np.fmax))
        if strict and (math.isinf(low) or math.isinf(high)):
            share = 100 * float(np.isinf(depth.values).mean())
            raise DepthFileError(
                f"{share:.3g} % of its values are infinite: if they are unknown, give that as `unknown`"
            )
        if strict and low < 0 and depth.kind in ("metric", "scale_invariant"):
            share = 100 * float((depth.values < 0).mean())
            raise DepthFileError(
                f"{share:.3g} % of its values are negative, which {depth.kind} depth is not: if they are "
                f"unknown, give them as `unknown`, else give another `kind`"
            )
        return depth


@contextlib.contextmanager
def _naming(name: str) -> Iterator[None]:
    """Make one error, with the file's name, of all that can be wrong with it."""
    try:
        yield
    except MissingExtraError:
        raise
    except DepthFileError as error:
        raise DepthFileError(f"{printable(name)}: {error}") from error.__cause__
    except MemoryError as error:
        raise DepthFileError(f"{printable(name)}: {describe(error)}") from error
    except Exception as error:  # a reader of a broken file raises anything, about its own program
        message = describe(error)
        known = (told for says, told in _TOLD if says.search(message))
        reason = next(known, "its content is not as its format has it")
        raise DepthFileError(
            f"{printable(name)}: it cannot be decoded: {reason}; is it whole? Write or copy it again"
        ) from error


def find_reader(data: bytes, name: str) -> Reader:
    """Return the reader for a file's content; `DepthFileError` where there is none."""
    for reader in READERS:
        if reader.reads(data):
            return reader
    foreign = describe_foreign(data)
    if data and not foreign.endswith(("plain text", "of an unknown format")):
        raise DepthFileError(f"not a depth file: {foreign.partition(': ')[2]}")
    suffixes = [suffix for reader in READERS for suffix in reader.suffixes]
    if name.lower().endswith(tuple(suffixes)):
        raise DepthFileError("its content is not what its name says: it is cut short or mislabelled")
    raise DepthFileError(f"not a depth file that can be read: give one of {', '.join(suffixes)}")


def _listed(unknown: Any) -> list[Any]:
    return [*unknown] if isinstance(unknown, list | tuple) else [unknown]


def _translate(stored: RawDepth, about: Metadata, convention: str) -> RawDepth:
    """Return what values mean by a source convention; one whose kind is known leaves no choice of another."""
    said, row = about.get("kind"), CONVENTIONS[convention]
    if said is not None and row.kind not in (None, said):
        raise DepthFileError(
            f"`convention={convention}` means {row.kind} depth, `kind` says {said}: leave one out"
        )
    translated = row.translate(stored, about)
    if translated.metadata["kind"] is None:
        raise DepthFileError(f"a file of {convention} does not say its kind of depth: give `kind`, too")
    return translated


def _require_meaning(values: NDArray[Any], metadata: Metadata) -> None:
    """Refuse numbers of which nobody says what they mean."""
    if values.dtype == np.uint8 and "scale" not in metadata:
        raise DepthFileError(
            "it has 8 bits per pixel, as photos and views have, of which no depth can be read; where it is depth, "
            "give `scale`, what one step is, and `kind`"
        )
    if metadata.get("kind") is None:
        raise DepthFileError(
            f"it holds {values.dtype} and does not say what it means: give its convention (`convention`), "
            f"one of {', '.join(CONVENTIONS)}; or its kind of depth (`kind`), one of {', '.join(KINDS)}"
        )
    whole = np.issubdtype(values.dtype, np.integer)
    if whole and metadata["kind"] == "metric" and not {"scale", "near"} & metadata.keys():
        raise DepthFileError(
            f"it holds {values.dtype} and does not say what one step is: give its convention (`convention`), "
            f"one of {', '.join(CONVENTIONS)}; or `scale`, in metres (0.001 for millimetres)"
        )


def _to_2d(values: NDArray[Any]) -> NDArray[Any]:
    """Drop axes of length one before and after height and width."""
    while values.ndim > 2 and values.shape[0] == 1:
        values = values[0]
    if values.ndim == 3 and values.shape[2] == 1:
        values = values[..., 0]
    if values.ndim == 3 and values.dtype == np.uint8:
        coded = ", ".join(name for name, row in CONVENTIONS.items() if row.in_colour)
        raise DepthFileError(
            f"it has 8 bits per channel and {values.shape[2]} channels, as photos and views have: where it is depth "
            f"in the bytes of colours, give its convention (`convention`), one of {coded}"
        )
    if values.ndim != 2 or not values.size:
        raise DepthFileError(f"its shape is {values.shape}: depth is one number a pixel, (height, width)")
    if values.dtype.kind not in "fiu":
        raise DepthFileError(f"it holds {values.dtype}, not numbers")
    return values


def _turn_to_axis(depth: DepthMap, metadata: Metadata) -> DepthMap:
    """Return distances along the ray of each pixel as depth along the axis: z = d / |(x / z, y / z, 1)|."""
    if metadata["along"] != "ray":
        raise DepthFileError(f"along is {metadata['along']!r}: it must be axis or ray")
    if depth.f_px is None or depth.kind not in ("metric", "scale_invariant"):
        raise DepthFileError(
            f"{depth.kind} depth along rays cannot be turned to the axis without a focal length: give `f_px`"
            if depth.f_px is None
            else f"{depth.kind} values are no distances along rays: leave `along` out"
        )
    height, width = depth.values.shape
    f_px = depth.f_px * width / (depth.full_size or depth.values.shape)[1]
    across, down = Pinhole.centred(f_px, width, height).find_rays()
    values = np.empty_like(depth.values)
    for rows in split_rows(height, width):
        values[rows] = depth.values[rows] / np.sqrt(1 + across**2 + down[rows] ** 2)
    return replace(depth, values=values)
