"""What EXIF says of an image: how it is turned, and its focal length in pixels.

Tags and units: CIPA DC-008 (Exif 2.32). Two sources, in this order:

1. FocalLengthIn35mmFilm (0xA405, mm): the focal length that gives the same diagonal field of view on
   36 x 24 mm film (CIPA DCG-001), so f_px = f_35 * diagonal_px / 43.27 mm.
2. FocalLength (0x920A, mm) with FocalPlaneXResolution (0xA20E) or FocalPlaneYResolution (0xA20F), pixels per
   FocalPlaneResolutionUnit (0xA210) on the sensor, so f_px = f_mm * pixels_per_mm, scaled when the image
   was resized after PixelXDimension x PixelYDimension (0xA002, 0xA003) were written. Only in a file that
   nobody changed since the shot (DateTime, 0x0132, equals DateTimeOriginal, 0x9003): editors that resize set
   the new dimensions and leave the old resolution. In the 6 such photos we looked at it was 11 to 55 %
   off, by the makers' sensor widths.

Pixels are taken as square, so one number serves both axes and the EXIF orientation does not matter: turning a
image by 90 degrees changes neither its diagonal nor its long side.

Both are wrong after a crop. It is noticed where the image is of another shape than PixelXDimension x
PixelYDimension; a crop to the same shape looks like a smaller image, and some editors write the new size.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

from PIL import Image

from cortexia_video.pinhole import find_resize_factor, is_plausible

FILM_DIAGONAL_MM = math.hypot(36.0, 24.0)

_PIXEL_X_DIMENSION, _PIXEL_Y_DIMENSION = 0xA002, 0xA003
_CHANGED, _TAKEN = 0x0132, 0x9003
_FOCAL_LENGTH, _FOCAL_LENGTH_35MM = 0x920A, 0xA405
_FOCAL_PLANE_X_RESOLUTION, _FOCAL_PLANE_Y_RESOLUTION, _FOCAL_PLANE_UNIT = 0xA20E, 0xA20F, 0xA210
# Exif 2.32 allows 2 (inch, also the default) and 3 (cm); 4 (mm) and 5 (micrometre) are TIFF/EP (ISO 12234-2).
_UNIT_MM = {2.0: 25.4, 3.0: 10.0, 4.0: 1.0, 5.0: 0.001}
_INCH = 2.0
_EXIF_IFD, _ORIENTATION = 0x8769, 0x0112


class Exif(NamedTuple):
    """Tags of the first and the Exif directory by number, and the orientation, 1 to 8, that they name."""

    tags: Mapping[int, object]
    orientation: int


def read_exif(pil_image: Image.Image) -> Exif:
    """Read an image's tags; broken metadata does not make a broken image, and another orientation turns nothing."""
    try:
        exif = pil_image.getexif()
        tags: dict[int, object] = {**exif, **exif.get_ifd(_EXIF_IFD)}
    except Exception:  # noqa: BLE001  (foreign boundary: Pillow raises anything on broken EXIF)
        tags = {}
    value = tags.get(_ORIENTATION)
    return Exif(tags, value if isinstance(value, int) and 1 <= value <= 8 else 1)


def focal_length_px(exif: Mapping[int, object], width: int, height: int) -> float | None:
    """Return the focal length in pixels of an image of width x height, or None where EXIF does not tell.

    exif: tags of the Exif IFD by number, values as the file has them; zero, negative, not-a-number and absurd
    ones (a diagonal field of view outside 0.5 to 170 degrees) count as absent. A cropped image has none.
    """
    if _resize_factor(exif, width, height) is None:
        return None
    for estimate in (_from_film_equivalent, _from_focal_plane):
        f_px = estimate(exif, width, height)
        if f_px is not None and is_plausible(f_px, width, height):
            return f_px
    return None


def _from_film_equivalent(exif: Mapping[int, object], width: int, height: int) -> float | None:
    """Return the focal length in pixels from the 35 mm equivalent, by the diagonal."""
    f_35_mm = _positive(exif.get(_FOCAL_LENGTH_35MM))
    return None if f_35_mm is None else f_35_mm * math.hypot(width, height) / FILM_DIAGONAL_MM


def _from_focal_plane(exif: Mapping[int, object], width: int, height: int) -> float | None:
    """Return the focal length in pixels from the lens's focal length and the sensor's pixel density."""
    if exif.get(_CHANGED) is None or exif.get(_CHANGED) != exif.get(_TAKEN):
        return None
    f_mm = _positive(exif.get(_FOCAL_LENGTH))
    pixels_per_unit = _positive(exif.get(_FOCAL_PLANE_X_RESOLUTION)) or _positive(
        exif.get(_FOCAL_PLANE_Y_RESOLUTION)
    )
    unit_mm = _UNIT_MM.get(_positive(exif.get(_FOCAL_PLANE_UNIT)) or _INCH)
    factor = _resize_factor(exif, width, height)
    if f_mm is None or pixels_per_unit is None or unit_mm is None or factor is None:
        return None
    return f_mm * pixels_per_unit / unit_mm * factor


def _resize_factor(exif: Mapping[int, object], width: int, height: int) -> float | None:
    """Size now over size when the camera wrote the file; 1 where that is not recorded, None after a crop."""
    width_then, height_then = (_positive(exif.get(tag)) for tag in (_PIXEL_X_DIMENSION, _PIXEL_Y_DIMENSION))
    if width_then is None:
        return 1.0
    if height_then is None:
        return width / width_then
    return find_resize_factor((width, height), (width_then, height_then))


def _positive(value: object) -> float | None:
    """Return the value as a finite number above zero, or None; rationals may divide by 0, tags hold text."""
    try:
        number = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, ZeroDivisionError, OverflowError):
        return None
    return number if math.isfinite(number) and number > 0.0 else None
