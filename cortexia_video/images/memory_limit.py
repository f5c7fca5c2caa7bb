"""How much memory decoding an image takes, and the limit."""

from __future__ import annotations

import math

from PIL import Image

from cortexia_video.errors import DecodeError
from cortexia_video.images.pillow_readers import TiffReader

# Peak bytes a pixel beyond the file itself, reader and result together: measured at 20 to 200 megapixels.
_PEAK_BYTES = {
    "JPEG": 9.0,
    "PNG": 7.1,
    "BMP": 7.1,
    "TIFF": 7.1,
    "WEBP": 16.0,
    "AVIF": 20.0,
    "HEIF": 9.5,
    "JPEG2000": 20.0,
}
_PEAK_BYTES_OTHER = 12.0
_ALLOWED_BYTES = 10.2  # 2 GiB less 100 MB for Python and numpy, at 200 megapixels
_DEFAULT_MEGAPIXELS = 200.0
_EDGE_BYTES = 16.0  # of each row (a pointer, padding) and of each column (two rows of 16-bit RGBA unpacked)


def check_memory(pil_image: Image.Image, data: bytes, max_megapixels: float) -> None:
    """Refuse what would take over 10.2 bytes a pixel of the limit (2 GB for 200 megapixels or fewer)."""
    width, height = pil_image.size
    needed_mb = (len(data) + _peak_bytes(pil_image) * width * height + _EDGE_BYTES * (width + height)) / 1e6
    if needed_mb > _ALLOWED_BYTES * max(max_megapixels, _DEFAULT_MEGAPIXELS):
        raise DecodeError(
            f"too large: {width} x {height} as this kind of {pil_image.format} takes "
            f"{needed_mb / 1000:.1f} GB to decode; convert it, "
            f"or raise `max_megapixels` to {math.ceil(needed_mb / _ALLOWED_BYTES)}"
        )


def _peak_bytes(pil_image: Image.Image) -> float:
    """Peak bytes a pixel while decoding this image."""
    if isinstance(pil_image, TiffReader):
        return max(_PEAK_BYTES["TIFF"], 4.0 + pil_image.strip_bytes())
    if pil_image.format == "JPEG" and pil_image.mode == "CMYK" and "progressive" in pil_image.info:
        return 12.0
    return _PEAK_BYTES.get(pil_image.format or "", _PEAK_BYTES_OTHER)
