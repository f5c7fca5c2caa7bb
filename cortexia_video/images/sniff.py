"""What bytes are, by their beginning: the image format that a reader is chosen by."""

from __future__ import annotations

import re
from importlib.util import find_spec

from cortexia_video.errors import say_install

HEIF_SUFFIXES = frozenset({".heic", ".heif", ".hif"})
HEIF_REMEDY = say_install("'cortexia-video[heif]'") + ", or convert it to JPEG"
IMAGE_SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".tif", ".tiff", ".bmp", ".dib", ".avif", ".avifs"}
) | (HEIF_SUFFIXES if find_spec("pillow_heif") else frozenset())
SNIFF_BYTES = 64
JPEG = b"\xff\xd8\xff"  # how each begins


def sniff(head: bytes) -> str | None:
    """Return JPEG, PNG, WEBP, TIFF, BMP or AVIF by the first `SNIFF_BYTES` of a file, or None."""
    if head.startswith(JPEG):
        return "JPEG"
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return "PNG"
    if head.startswith(b"RIFF") and head[8:12] == b"WEBP":
        return "WEBP"
    if head.startswith((b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")):
        return "TIFF"
    if head.startswith(b"BM") and int.from_bytes(head[14:18], "little") in _BMP_HEADER_BYTES:
        return "BMP"
    # major and compatible brands of an ISO base media file (ISO 14496-12, box `ftyp`)
    end = min(int.from_bytes(head[:4], "big"), len(head))
    brands = {head[8:12], *(head[start : start + 4] for start in range(16, end - 3, 4))}
    return "AVIF" if head[4:8] == b"ftyp" and _AVIF_BRANDS & brands else None


_BMP_HEADER_BYTES = {12, 16, 40, 52, 56, 64, 108, 124}
_AVIF_BRANDS = {b"avif", b"avis"}


# Readable when named explicitly; folders are not scanned for their content.
_OTHER_MAGIC = [
    ("GIF", re.compile(rb"GIF8[79]a")),
    ("PPM", re.compile(rb"P[1-6]\s")),
    ("ICO", re.compile(rb"\x00\x00\x01\x00[^\x00]", re.DOTALL)),
    ("QOI", re.compile(rb"qoif")),
    ("HEIF", re.compile(rb"....ftyp(hei[cmsx]|hev[cmsx]|mif1|msf1)", re.DOTALL)),
    ("JPEG2000", re.compile(rb"\xff\x4f\xff\x51|\x00\x00\x00\x0cjP  \r\n\x87\n")),
    # TGA has no magic: colour map type, image type, then anything up to the bits per pixel.
    ("TGA", re.compile(rb".[\x00\x01][\x01-\x03\x09-\x0b].{13}[\x01\x08\x0f\x10\x18\x20]", re.DOTALL)),
]


def name_format(head: bytes) -> str | None:
    return sniff(head) or next((name for name, magic in _OTHER_MAGIC if magic.match(head)), None)
