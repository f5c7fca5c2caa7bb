"""What is wrong with an image that a reader refused, in words for people."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

from PIL import Image

from cortexia_video.errors import DecodeError, describe
from cortexia_video.images.sniff import SNIFF_BYTES, name_format

_CUT_SHORT = re.compile(
    "premature end of jpeg|truncated|end of (file|image|stream)|not enough|unexpected end|not large enough",
    re.IGNORECASE,
)
_UNSUPPORTED = re.compile(
    "unsupported|unknown|not (yet )?supported|cannot handle|bad (mode|bits)", re.IGNORECASE
)
# What readers say of kinds that they do not know, and the words for it.
_KINDS = [
    (re.compile(r"cannot handle (\d+)-bit layers"), r"\1 bits a colour"),
    (re.compile(r"cannot handle (\d+)-layer images"), r"\1 colour channels"),
    (re.compile(r"Unsupported BMP pixel depth \((\d+)\)"), r"\1 bits a pixel"),
    (re.compile(r"Unsupported BMP compression \((\d+)\)"), r"compression \1"),
    (re.compile("Unsupported BMP bitfields layout"), "colours of unusual bits"),
]
_LONG_TEXT = re.compile("MAX_TEXT_(CHUNK|MEMORY)")


@contextmanager
def decode_errors(data: bytes) -> Iterator[None]:
    """Turn whatever a reader raises into a DecodeError that keeps the original as cause."""
    try:
        yield
    except DecodeError:
        raise
    except Exception as error:  # foreign boundary: readers raise anything on broken files
        raise DecodeError(_describe(data, error)) from error


def _describe(data: bytes, error: Exception) -> str:
    """Return in one line what is wrong with a file that a reader refused."""
    name, detail = name_format(data[:SNIFF_BYTES]) or "image", " ".join(str(error).split())
    if isinstance(error, MemoryError):
        return describe(error)
    if isinstance(error, Image.DecompressionBombError):
        pixels = re.search(r"\d+", detail)
        megapixels = f"{int(pixels[0]) / 1e6:.4g}" if pixels else "so many"
        return f"too large: {megapixels} megapixels are more than can be read of a {name}; convert it to JPEG"
    if _LONG_TEXT.search(detail):
        return f"too large: the text in this {name} is; save it without metadata"
    shorter = name == "WEBP" and len(data) < int.from_bytes(data[4:8], "little") + 8
    shorter = shorter or (name == "PNG" and b"IEND" not in data[-1024:])
    if isinstance(error, EOFError) or _CUT_SHORT.search(detail) or shorter:
        return "cut short: the file ends before the image does"
    if isinstance(error, NotImplementedError) or _UNSUPPORTED.search(detail):
        kinds = (match.expand(words) for says, words in _KINDS if (match := says.search(detail)))
        told = f" ({kind})" if (kind := next(kinds, None)) else ""
        return f"not supported: this kind of {name} cannot be read{told}; convert it to JPEG or PNG"
    return f"damaged: the {name} cannot be read; copy it again from where it came"
