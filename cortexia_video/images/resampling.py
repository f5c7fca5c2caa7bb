"""The size a network takes, an image resampled to it, and depth resampled back."""

from __future__ import annotations

import itertools
from functools import lru_cache
from typing import Any, Literal, cast

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Filter = Literal["bilinear", "bicubic"]

_GAP = 2.0  # what is left to the bilinear step after the whole-numbered one; Pillow's `reducing_gap`
_STRIP_PIXELS = 1 << 18
_SAMPLED_ROWS = 8
_MOST_COLUMNS = 1 << 26  # numbers between the two steps of an enlargement
_POSITIONS = 1 << 20  # rows whose places are computed together
_SUPPORT = {"bilinear": 1, "bicubic": 2}  # pixels to each side, of the image or, where it shrinks, the result
_EXACT_FLOAT32 = 1 << 24  # up to here float32 holds every whole number
_ROWS = 32  # in a product, with so few columns that it stays in the cache and BLAS starts no threads for it:
_TOGETHER, _PIXELS = 4, 16  # new pixels, more where they come of fewer than so many old ones
_HALF = np.float32(0.5)
_LONGEST = 8  # times the short side: beyond this a panorama gets a smaller short side instead of more pixels


def fit_short_side(height: int, width: int, *, short_side: int, multiple_of: int) -> tuple[int, int]:
    """Return the (height, width) nearest to the image's aspect ratio at a chosen short side.

    Both are multiples of `multiple_of`, so the ratio is kept to half a multiple. A side longer than eight
    times `short_side` is not made: the short side shrinks instead, so that no strip fills the memory.
    """
    scale = min(short_side / min(height, width), _LONGEST * short_side / max(height, width))

    def fit(side: int) -> int:
        return max(1, round(side * scale / multiple_of)) * multiple_of

    return fit(height), fit(width)


def resize_image(image: NDArray[np.uint8], height: int, width: int) -> NDArray[np.uint8]:
    """Resample a uint8 (H, W, 3) image to (height, width), averaging where it shrinks (no aliasing).

    Gives what Pillow's bilinear resize with `reducing_gap=2` gives. Ours takes the first, whole-numbered step
    of a large reduction in strips, so that Pillow's copy of the image stays in the cache.
    """
    if image.shape[:2] == (height, width):
        return image
    tall, wide = (
        max(1, int(old / new / _GAP)) for old, new in zip(image.shape, (height, width), strict=False)
    )
    box = (0.0, 0.0, image.shape[1] / wide, image.shape[0] / tall)
    if tall > 1 or wide > 1:
        rows = tall * max(1, _STRIP_PIXELS // (tall * image.shape[1]))
        strips = [image[top : top + rows] for top in range(0, len(image), rows)]
        image = np.concatenate([np.asarray(Image.fromarray(strip).reduce((wide, tall))) for strip in strips])
    return np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.BILINEAR, box))


def sample_image(
    image: NDArray[np.uint8], height: int, width: int, *, corners: bool = False
) -> NDArray[np.float32]:
    """Interpolate a uint8 (H, W, 3) image bilinearly at height x width points; float32, 0..255.

    Nothing is averaged where it shrinks, as torch's `interpolate` without `antialias`. Networks that were
    trained on such input are to see it. corners: the outermost points are the outermost pixels' centres.
    Positions are computed in float32, as torch does: in float64 the weights would differ from its by 2e-4
    in an image 4000 pixels wide.
    """
    above, below, down = _find_neighbours(image.shape[0], height, corners)
    left, right, across = _find_neighbours(image.shape[1], width, corners)
    left, right = (
        np.add.outer(3 * each, np.arange(3)).ravel() for each in (left, right)
    )  # of bytes in a row
    across, down = np.repeat(across, 3), down[:, None]
    rows = image.reshape(len(image), -1)
    sampled = np.empty((height, 3 * width), np.float32)
    for start in range(0, height, _SAMPLED_ROWS):  # strips, so that what is in between stays in the cache
        strip = slice(start, start + _SAMPLED_ROWS)
        top = _mix_columns(rows[above[strip]], left, right, across)
        bottom = _mix_columns(rows[below[strip]], left, right, across)
        bottom -= top
        bottom *= down[strip]
        np.add(top, bottom, out=sampled[strip])
    return sampled.reshape(height, width, 3)


def average_image(image: NDArray[np.uint8], height: int, width: int, filter: Filter) -> NDArray[np.uint8]:
    """Resample a uint8 (H, W, 3) image to (height, width), each pixel a weighted mean of those around it.

    Gives the bits of torch's `interpolate(..., antialias=True)` on 8-bit images, which is torchvision's
    filter and so that of transformers' processors: first along rows, then along columns, with 16-bit weights
    in as fine steps as these allow, rounded to 8 bits after each. Pillow's has finer weights, and differs
    by a level in some pixels. Sums are whole numbers that float32 or float64 holds exactly, so they are
    left to matrix products.
    """
    old_height, old_width = image.shape[:2]
    if old_width != width:
        blocks, dtype = _weigh(old_width, width, filter)
        joined = [(start, first, np.kron(block.T, np.eye(3, dtype=dtype))) for start, first, block in blocks]
        rows = image.reshape(old_height, -1)  # colours are beside each other: each block thrice
        averaged = np.empty((old_height, 3 * width), np.uint8)
        sums = np.empty((_ROWS, 3 * width), dtype)
        for top in range(0, old_height, _ROWS):
            strip = rows[top : top + _ROWS].astype(dtype)
            some = sums[: len(strip)]
            for start, first, block in joined:
                columns = strip[:, 3 * first : 3 * first + len(block)]
                np.matmul(columns, block, out=some[:, 3 * start : 3 * start + block.shape[1]])
            averaged[top : top + _ROWS] = np.clip(some + dtype(0.5), 0, 255)  # and cut to whole numbers
        image = averaged.reshape(old_height, width, 3)
    if old_height != height:
        blocks, dtype = _weigh(old_height, height, filter)
        rows = image.reshape(old_height, -1)
        averaged = np.empty((height, 3 * width), np.uint8)
        for start, first, block in blocks:
            some = block @ rows[first : first + block.shape[1]].astype(dtype)
            averaged[start : start + len(block)] = np.clip(some + dtype(0.5), 0, 255)
        image = averaged.reshape(height, width, 3)
    return image


def cover_image(image: NDArray[np.uint8], height: int, width: int) -> NDArray[np.uint8]:
    """Resample a uint8 (H, W, 3) image as OpenCV's INTER_AREA does, or INTER_CUBIC where a side grows.

    By area each pixel is the mean of those it covers, of those at its edge in part. Rounded once: OpenCV's differs by
    a level in 1 of 10,000 pixels, in up to 3 of 100 where both sides are divided by 4.
    """
    old_height, old_width = image.shape[:2]
    if (old_height, old_width) == (height, width):
        return image
    if height > old_height or width > old_width:
        across = _interpolate_cubic(image.astype(np.float32), width)
        both = _interpolate_cubic(across.transpose(1, 0, 2), height).transpose(1, 0, 2)
        return np.rint(both).clip(0, 255).astype(np.uint8)
    rows, edges = image.reshape(old_height, -1), np.arange(height + 1) * (old_height / height)
    sums = np.empty((height, 3 * old_width), np.float32)
    for row, (top, bottom) in enumerate(itertools.pairwise(edges)):
        first, last = int(top), int(bottom)
        covered = np.add.reduce(rows[first:last], axis=0, dtype=np.float32)
        covered -= np.float32(top - first) * rows[first]
        if last < old_height:
            covered += np.float32(bottom - last) * rows[last]
        sums[row] = covered
    columns = sums.reshape(height, old_width, 3)
    edges = np.arange(width + 1) * (old_width / width)
    whole = np.minimum(edges.astype(np.intp), old_width - 1)
    before = np.zeros((height, old_width + 1, 3))
    np.cumsum(columns, axis=1, dtype=np.float64, out=before[:, 1:])
    upto = before[:, whole] + (edges - whole)[:, None] * columns[:, whole]
    means = np.diff(upto, axis=1) * (width / old_width * height / old_height)
    return np.floor(means + 0.5).clip(0, 255).astype(np.uint8)


def _interpolate_cubic(values: NDArray[np.float32], width: int) -> NDArray[np.float32]:
    """Return (h, width, 3) of (h, w, 3) by Keys' cubic with a = -0.75, edges held."""
    old, a = values.shape[1], np.float32(-0.75)
    centres = (np.arange(width) + 0.5) * (old / width) - 0.5
    first = np.floor(centres).astype(np.intp)
    x = (centres - first).astype(np.float32)
    y = 1 - x
    far = ((a * (x + 1) - 5 * a) * (x + 1) + 8 * a) * (x + 1) - 4 * a
    near, other = (((a + 2) * each - (a + 3)) * each * each + 1 for each in (x, y))
    taps = zip(range(-1, 3), (far, near, other, 1 - far - near - other), strict=True)
    parts = (weight[:, None] * values[:, np.clip(first + tap, 0, old - 1)] for tap, weight in taps)
    return cast("NDArray[np.float32]", sum(parts))


def pick_points(values: NDArray[np.float32], height: int, width: int) -> NDArray[np.float32]:
    """Return (height, width) of the values (h, w, ...) at even distances, as they are: nothing is averaged."""
    rows, columns = (
        ((np.arange(new) + 0.5) * old / new).astype(np.intp)
        for old, new in zip(values.shape[:2], (height, width), strict=True)
    )
    return values[np.ix_(rows, columns)]


def resize_depth(
    values: NDArray[np.float32],
    height: int,
    width: int,
    out: NDArray[np.float32] | None = None,
    *,
    around: bool = False,
) -> NDArray[np.float32]:
    """Interpolate float32 (h, w) values bilinearly to (height, width): half-pixel centres, edges held.

    Ours because Pillow's is three times slower on float images; equal to it within float rounding when
    enlarging. NaN spreads to the pixels that it would have been mixed into. out: (height, width) to write to.
    around: what follows the last column is the first, as of a panorama.
    """
    if values.shape == (height, width):
        return values
    if height < len(values) and width * len(values) > _MOST_COLUMNS:  # of a strip a few pixels high
        values = _interpolate_rows(values, np.empty((height, values.shape[1]), np.float32))
    columns = _interpolate_rows(values.T, np.empty((width, len(values)), np.float32))
    out = np.empty((height, width), np.float32) if out is None else out
    _interpolate_rows(np.ascontiguousarray(columns.T), out)
    if around:
        _join_ends(values, out)
    return out


def _join_ends(values: NDArray[np.float32], out: NDArray[np.float32]) -> None:
    """Mix the columns of `out` that lie between the last and the first of `values`, (h, w), of these two."""
    places = (np.arange(out.shape[1]) + 0.5) * (values.shape[1] / out.shape[1]) - 0.5
    beyond = np.flatnonzero((places < 0) | (places > values.shape[1] - 1))
    weight = (places[beyond] % values.shape[1] - (values.shape[1] - 1)).astype(np.float32)  # of the first
    ends = _interpolate_rows(values[:, [-1, 0]], np.empty((len(out), 2), np.float32))
    out[:, beyond] = ends[:, :1] + weight * (ends[:, 1:] - ends[:, :1])


def resize_known(
    values: NDArray[np.float32],
    known: NDArray[np.bool_],
    height: int,
    width: int,
    out: NDArray[np.float32] | None = None,
    *,
    around: bool = False,
) -> NDArray[np.float32]:
    """Interpolate as `resize_depth`, but of what is `known`, bool (h, w), alone; unknown is NaN.

    A pixel is known where at least half of what it is mixed of is. So no depth is made between a thing and
    what is not behind it.
    """
    if known.all():
        return resize_depth(values, height, width, out, around=around)
    weight = resize_depth(known.astype(np.float32), height, width, around=around)
    weight[weight < _HALF] = np.nan
    mixed = resize_depth(np.where(known, values, np.float32(0)), height, width, out, around=around)
    return np.divide(mixed, weight, out=mixed)


def resize_mask(
    mask: NDArray[np.bool_], height: int, width: int, *, around: bool = False
) -> NDArray[np.bool_]:
    """Resample bool (h, w) to (height, width): True where at least half of what is mixed is."""
    return resize_depth(mask.astype(np.float32), height, width, around=around) >= _HALF


def _find_neighbours(
    old: int, new: int, corners: bool
) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.float32]]:
    """Return for each of `new` points along `old` pixels, both pixels beside it and the second's weight."""
    points = np.arange(new, dtype=np.float64)
    if corners:
        at = (points * np.float32((old - 1) / max(new - 1, 1))).astype(np.float32)
    else:  # float64 holds the product exactly: rounded once, as by a processor's fused multiply and add
        at = ((points + 0.5) * np.float64(np.float32(old / new)) - 0.5).astype(np.float32)
    at = np.maximum(at, np.float32(0))
    before = np.minimum(at.astype(np.intp), old - 1)
    return before, np.minimum(before + 1, old - 1), at - before.astype(np.float32)


def _mix_columns(
    rows: NDArray[np.uint8],
    left: NDArray[np.intp],
    right: NDArray[np.intp],
    weight: NDArray[np.float32],
) -> NDArray[np.float32]:
    mixed = np.take(rows, right, axis=1, mode="clip").astype(np.float32)
    start = np.take(rows, left, axis=1, mode="clip").astype(np.float32)
    mixed -= start
    mixed *= weight
    mixed += start
    return mixed


def _interpolate_rows(values: NDArray[np.float32], rows: NDArray[np.float32]) -> NDArray[np.float32]:
    """Fill `rows`, float32 (count, w), each between two of `values`, float32 (n, w)."""
    for top in range(0, len(rows), _POSITIONS):
        some = rows[top : top + _POSITIONS]
        places = np.arange(top, top + len(some)) + 0.5
        centres = np.clip(places * (len(values) / len(rows)) - 0.5, 0, len(values) - 1)
        before = centres.astype(np.intp)
        weight = (centres - before).astype(np.float32)[:, None]
        starts = np.flatnonzero(np.diff(before, prepend=-1))
        first = values[before[starts]]
        slopes = values[np.minimum(before[starts] + 1, len(values) - 1)] - first
        ends = [*starts[1:], len(some)]
        for start, end, base, slope in zip(starts, ends, first, slopes, strict=True):  # between the same two
            np.multiply(weight[start:end], slope, out=some[start:end])
            some[start:end] += base
    return rows


@lru_cache(maxsize=64)
def _weigh(old: int, new: int, filter: Filter) -> tuple[list[tuple[int, int, NDArray[Any]]], Any]:
    """Return the weights of `old` pixels in each of `new`, a few of these together, and the float type to use.

    Each is (start, first, weights): weights (n, count) of the old pixels from `first` in the new from
    `start`. They are multiples of a power of two, so sums of products with 8-bit values are exact.
    """
    scale = old / new
    support = _SUPPORT[filter] * max(scale, 1.0)
    centres = scale * (np.arange(new) + 0.5)
    first = np.maximum((centres - support + 0.5).astype(np.intp), 0)
    count = np.minimum((centres + support + 0.5).astype(np.intp), old) - first
    taps = np.arange(count.max())
    at = np.abs((taps + first[:, None] - centres[:, None] + 0.5) * (1 / max(scale, 1.0)))
    if filter == "bilinear":
        weights = np.maximum(1 - at, 0)
    else:  # Keys' cubic with a = -0.5, in the order of torch's operations
        near = (1.5 * at - 2.5) * at * at + 1
        weights = np.where(at < 1, near, np.where(at < 2, (((at - 5) * at + 8) * at - 4) * -0.5, 0.0))
    weights[taps >= count[:, None]] = 0
    weights /= np.cumsum(weights, axis=1)[:, -1:]  # one by one: a sum of numpy's adds in another order
    precision = 0
    while precision < 22 and int(0.5 + weights.max() * (1 << (precision + 1))) < 1 << 15:
        precision += 1
    weights *= 1 << precision
    weights = np.trunc(weights + np.copysign(0.5, weights))
    dtype = np.float32 if 255 * np.abs(weights).sum(axis=1).max() < _EXACT_FLOAT32 else np.float64
    blocks = []
    together = max(_TOGETHER, int(_PIXELS / scale))
    for start in range(0, new, together):
        some = slice(start, start + together)
        offsets = first[some] - first[start]
        block = np.zeros((len(offsets), offsets[-1] + len(taps)), dtype)
        np.put_along_axis(block, offsets[:, None] + taps, weights[some] * 2.0**-precision, axis=1)
        blocks.append((start, int(first[start]), block[:, : old - first[start]]))
    return blocks, dtype
