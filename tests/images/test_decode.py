"""Every image people really have becomes the right pixels; everything else becomes a readable error."""

from __future__ import annotations

import io
import itertools
import random
import struct
import subprocess
import sys
import time
import tracemalloc
import zlib
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import PIL
import pytest
import tifffile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image, ImageOps

from cortexia_video.errors import DecodeError, say_install
from cortexia_video.images.decode import decode, read_header
from cortexia_video.images.pillow_readers import TiffReader
from cortexia_video.images.sniff import HEIF_SUFFIXES, IMAGE_SUFFIXES, SNIFF_BYTES, sniff

Array = NDArray[Any]
RNG = np.random.default_rng(7)
NOISE = RNG.integers(0, 256, (37, 53, 3), dtype=np.uint8)
GREY = NOISE[..., 0]
ALPHA = RNG.integers(0, 256, (37, 53), dtype=np.uint8)
# Smooth, so that lossy formats keep it to within a few levels.
SMOOTH = np.stack(np.broadcast_arrays(*np.ogrid[40:200:37j, 40:200:53j], 120), axis=-1).astype(np.uint8)
ORIENTATION = 0x0112
OLD_PILLOW = pytest.mark.skipif(
    int(PIL.__version__.partition(".")[0]) < 13,
    reason="Pillow before 13 reads one file less, writes no whole YCbCr TIFF, and takes more memory for a WebP",
)


def encode(pixels: Array | Image.Image, format: str, **options: Any) -> bytes:
    """A file made by Pillow."""
    stream = io.BytesIO()
    pil_image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    pil_image.save(stream, format, **options)
    return stream.getvalue()


def tiff(samples: Array, **options: Any) -> bytes:
    """A TIFF made by tifffile."""
    stream = io.BytesIO()
    tifffile.imwrite(stream, samples, **options)
    return stream.getvalue()


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png(samples: Array, depth: int, colour_type: int, *chunks: bytes) -> bytes:
    """A PNG by hand from (H, W, channels) samples; fewer than 8 bits are packed, 16 are big endian."""
    height, width = samples.shape[:2]
    rows = samples.reshape(height, -1)
    if depth < 8:
        bits = np.unpackbits(rows.astype(np.uint8)[..., None], axis=2)[..., 8 - depth :]
        packed = [np.packbits(row).tobytes() for row in bits.reshape(height, -1)]
    else:
        packed = [row.astype(">u2" if depth == 16 else "u1").tobytes() for row in rows]
    header = struct.pack(">IIBBBBB", width, height, depth, colour_type, 0, 0, 0)
    content = zlib.compress(b"".join(b"\0" + row for row in packed))
    ends = [chunk(b"IHDR", header), *chunks, chunk(b"IDAT", content), chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(ends)


def grey_rgb(grey: Array) -> Array:
    return np.repeat(grey[..., None], 3, axis=2)


def to_8_bits(samples: Array, white: float) -> Array:
    return np.floor(samples.astype(np.float64) * 255.0 / white + 0.5).astype(np.uint8)


def over_white(colour: Array, alpha: Array) -> Array:
    opacity = alpha[..., None].astype(np.float64) / 255.0
    return np.floor(colour * opacity + 255.0 * (1.0 - opacity) + 0.5).astype(np.uint8)


def assert_pixels(data: bytes, expected: Array, tolerance: int = 0) -> None:
    image = decode(data, "key").image
    assert image.dtype == np.uint8
    assert image.flags.c_contiguous
    assert image.shape == expected.shape
    assert np.abs(image.astype(int) - expected.astype(int)).max() <= tolerance


# ---- modes -----------------------------------------------------------------------------------------------

GREY_16 = RNG.integers(0, 65536, (37, 53), dtype=np.uint16)
RGB_16 = RNG.integers(0, 65536, (37, 53, 3), dtype=np.uint16)
GREY_4 = RNG.integers(0, 16, (37, 53), dtype=np.uint8)
GREY_2 = RNG.integers(0, 4, (37, 53), dtype=np.uint8)
INDICES = RNG.integers(0, 4, (37, 53), dtype=np.uint8)
PALETTE = np.array([[255, 0, 0], [0, 200, 0], [0, 0, 90], [9, 8, 7]], dtype=np.uint8)
PALETTE_ALPHA = np.array([255, 128, 0, 30], dtype=np.uint8)
BITS = GREY > 127
FLOATS = (GREY_16 / 65535.0).astype(np.float32)
CMYK = np.dstack([NOISE, ALPHA // 2])


def paletted() -> Image.Image:
    pil_image = Image.frombytes("P", (53, 37), INDICES.tobytes())
    pil_image.putpalette(PALETTE.tobytes())
    return pil_image


def cmyk_rgb() -> Array:
    ink = 255.0 - CMYK.astype(np.float64)
    return np.floor(ink[..., :3] * ink[..., 3:] / 255.0 + 0.5).astype(np.uint8)


def premultiplied_tiff() -> bytes:
    alpha = ALPHA[..., None].astype(int)
    return tiff(
        np.dstack([(NOISE * alpha // 255).astype(np.uint8), ALPHA]),
        photometric="rgb",
        extrasamples=["assocalpha"],
    )


def keyed(expected: Array, where: Array) -> Array:
    return np.where(where[..., None], np.uint8(255), expected)


def int_tiff(samples: Array) -> bytes:
    return tiff(samples, photometric="minisblack", byteorder="<")


# name: (bytes, expected, tolerance)
MODES: dict[str, tuple[bytes, Array, int]] = {
    "1-bit": (encode(Image.fromarray(BITS), "PNG"), grey_rgb(np.where(BITS, 255, 0)), 0),
    "grey": (encode(GREY, "PNG"), grey_rgb(GREY), 0),
    "grey, 2 bits": (png(GREY_2, 2, 0), grey_rgb(GREY_2 * 85), 0),
    "grey, 4 bits": (png(GREY_4, 4, 0), grey_rgb(GREY_4 * 17), 0),
    "grey with alpha": (
        encode(Image.fromarray(np.dstack([GREY, ALPHA])), "PNG"),
        over_white(grey_rgb(GREY), ALPHA),
        1,
    ),
    "RGB": (encode(NOISE, "PNG"), NOISE, 0),
    "RGBA": (encode(np.dstack([NOISE, ALPHA]), "PNG"), over_white(NOISE, ALPHA), 1),
    "16-bit grey": (png(GREY_16, 16, 0), grey_rgb(to_8_bits(GREY_16, 65535)), 0),
    "16-bit RGB": (png(RGB_16, 16, 2), to_8_bits(RGB_16, 65535), 1),
    "16-bit RGBA": (
        png(np.dstack([RGB_16, GREY_16]), 16, 6),
        over_white(to_8_bits(RGB_16, 65535), to_8_bits(GREY_16, 65535)),
        2,
    ),
    "16-bit grey with alpha": (
        png(np.dstack([GREY_16, RGB_16[..., 0]]), 16, 4),
        over_white(grey_rgb(to_8_bits(GREY_16, 65535)), to_8_bits(RGB_16[..., 0], 65535)),
        2,
    ),
    "palette": (encode(paletted(), "PNG"), PALETTE[INDICES], 0),
    "palette with alphas": (
        encode(paletted(), "PNG", transparency=PALETTE_ALPHA.tobytes()),
        over_white(PALETTE[INDICES], PALETTE_ALPHA[INDICES]),
        1,
    ),
    "palette with one transparent colour": (
        encode(paletted(), "PNG", transparency=2),
        keyed(PALETTE[INDICES], INDICES == 2),
        0,
    ),
    "1-bit, black transparent": (
        png(BITS.astype(np.uint8), 1, 0, chunk(b"tRNS", b"\0\0")),
        np.full((37, 53, 3), 255, np.uint8),
        0,
    ),
    "grey, one level transparent": (
        png(GREY, 8, 0, chunk(b"tRNS", struct.pack(">H", GREY[0, 0]))),
        keyed(grey_rgb(GREY), np.equal(GREY, GREY[0, 0])),
        0,
    ),
    "4-bit grey, one level transparent": (
        png(GREY_4, 4, 0, chunk(b"tRNS", b"\0\x05")),
        keyed(grey_rgb(GREY_4 * 17), GREY_4 == 5),
        0,
    ),
    "16-bit grey, one level transparent": (
        png(GREY_16, 16, 0, chunk(b"tRNS", struct.pack(">H", GREY_16[0, 0]))),
        keyed(grey_rgb(to_8_bits(GREY_16, 65535)), np.equal(GREY_16, GREY_16[0, 0])),
        0,
    ),
    "RGB, one colour transparent": (
        png(NOISE, 8, 2, chunk(b"tRNS", struct.pack(">3H", *NOISE[3, 4]))),
        keyed(NOISE, np.equal(NOISE, NOISE[3, 4]).all(axis=2)),
        0,
    ),
    "16-bit RGB, one colour transparent": (
        png(RGB_16, 16, 2, chunk(b"tRNS", struct.pack(">3H", *RGB_16[3, 4]))),
        keyed(to_8_bits(RGB_16, 65535), np.equal(RGB_16, RGB_16[3, 4]).all(axis=2)),
        1,
    ),
    "TIFF, 16-bit grey": (tiff(GREY_16), grey_rgb(to_8_bits(GREY_16, 65535)), 0),
    "TIFF, 16-bit grey, big endian": (
        tiff(GREY_16, byteorder=">"),
        grey_rgb(to_8_bits(GREY_16, 65535)),
        0,
    ),
    "TIFF, 16-bit grey, 0 is white": (
        tiff(GREY_16, photometric="miniswhite", byteorder="<"),
        255 - grey_rgb(to_8_bits(GREY_16, 65535)),
        0,
    ),
    "TIFF, 16-bit RGB": (tiff(RGB_16, photometric="rgb"), to_8_bits(RGB_16, 65535), 1),
    "TIFF, grey, 0 is white": (tiff(GREY, photometric="miniswhite"), 255 - grey_rgb(GREY), 0),
    "TIFF, 32-bit integers of 8 bits": (int_tiff(GREY.astype(np.int32)), grey_rgb(GREY), 0),
    "TIFF, 32-bit integers of 16 bits": (
        int_tiff(GREY_16.astype(np.int32)),
        grey_rgb(to_8_bits(GREY_16, 65535)),
        0,
    ),
    "TIFF, unsigned 32-bit integers": (
        int_tiff(GREY_16.astype(np.uint32) * 65537),
        grey_rgb(to_8_bits(GREY_16, 65535)),
        0,
    ),
    "TIFF, floats to 1": (tiff(FLOATS, photometric="minisblack"), grey_rgb(to_8_bits(FLOATS, 1)), 0),
    "TIFF, floats to 255": (tiff(GREY.astype(np.float32), photometric="minisblack"), grey_rgb(GREY), 0),
    "TIFF, CMYK": (encode(Image.frombytes("CMYK", (53, 37), CMYK.tobytes()), "TIFF"), cmyk_rgb(), 1),
    "TIFF, premultiplied alpha": (premultiplied_tiff(), over_white(NOISE, ALPHA), 2),
    "TIFF, palette": (encode(paletted(), "TIFF"), PALETTE[INDICES], 0),
    "TIFF, LZW": (encode(NOISE, "TIFF", compression="tiff_lzw"), NOISE, 0),
    "TIFF, planes apart": (
        tiff(NOISE.transpose(2, 0, 1), photometric="rgb", planarconfig="separate"),
        NOISE,
        0,
    ),
    "TIFF, tiles": (tiff(NOISE, photometric="rgb", tile=(16, 16)), NOISE, 0),
    "BigTIFF": (tiff(NOISE, photometric="rgb", bigtiff=True), NOISE, 0),
    "TIFF, first page": (
        encode(NOISE, "TIFF", save_all=True, append_images=[Image.new("L", (9, 9))]),
        NOISE,
        0,
    ),
    "BMP": (encode(NOISE, "BMP"), NOISE, 0),
    "BMP, palette": (encode(paletted(), "BMP"), PALETTE[INDICES], 0),
    "WebP, lossless": (encode(NOISE, "WEBP", lossless=True), NOISE, 0),
    "WebP, alpha": (
        encode(np.dstack([NOISE, ALPHA]), "WEBP", lossless=True, exact=True),
        over_white(NOISE, ALPHA),
        1,
    ),
    "WebP, lossy": (encode(SMOOTH, "WEBP", quality=95), SMOOTH, 6),
    "WebP, first frame": (
        encode(NOISE, "WEBP", lossless=True, save_all=True, append_images=[Image.new("RGB", (53, 37))]),
        NOISE,
        0,
    ),
    "PNG, first frame": (
        encode(NOISE, "PNG", save_all=True, append_images=[Image.new("RGB", (53, 37))]),
        NOISE,
        0,
    ),
    "AVIF": (encode(SMOOTH, "AVIF", quality=100, subsampling="4:4:4"), SMOOTH, 3),
    "AVIF, alpha": (
        encode(np.dstack([SMOOTH, ALPHA]), "AVIF", quality=100, subsampling="4:4:4"),
        over_white(SMOOTH, ALPHA),
        3,
    ),
    "JPEG": (encode(SMOOTH, "JPEG", quality=98), SMOOTH, 4),
    "JPEG, progressive": (encode(SMOOTH, "JPEG", quality=98, progressive=True), SMOOTH, 4),
    "JPEG, grey": (encode(SMOOTH[..., 0], "JPEG", quality=98), grey_rgb(SMOOTH[..., 0]), 3),
    "JPEG, RGB inside": (encode(SMOOTH, "JPEG", quality=98, keep_rgb=True), SMOOTH, 4),
    "JPEG, CMYK": (encode(Image.fromarray(SMOOTH).convert("CMYK"), "JPEG", quality=98), SMOOTH, 4),
    "MPO": (
        encode(SMOOTH, "MPO", quality=98, save_all=True, append_images=[Image.new("RGB", (53, 37))]),
        SMOOTH,
        4,
    ),
    "GIF, first frame": (
        encode(paletted(), "GIF", save_all=True, append_images=[Image.new("P", (53, 37))]),
        PALETTE[INDICES],
        0,
    ),
    "GIF, transparent": (
        encode(paletted(), "GIF", transparency=1),
        keyed(PALETTE[INDICES], INDICES == 1),
        0,
    ),
    "PPM": (encode(NOISE, "PPM"), NOISE, 0),
    "PBM": (encode(Image.fromarray(BITS), "PPM"), grey_rgb(np.where(BITS, 255, 0)), 0),
    "PGM, 16 bits": (
        b"P5 53 37 65535\n" + GREY_16.astype(">u2").tobytes(),
        grey_rgb(to_8_bits(GREY_16, 65535)),
        0,
    ),
    "PGM, 16 bits and dark": (
        b"P5 53 37 65535\n" + GREY.astype(">u2").tobytes(),
        np.where(grey_rgb(GREY) > 128, 1, 0),
        0,
    ),
    "TGA": (encode(NOISE, "TGA"), NOISE, 0),
    "QOI": (encode(NOISE, "QOI"), NOISE, 0),
    "JPEG 2000": (encode(NOISE, "JPEG2000", irreversible=False), NOISE, 0),
}


@pytest.mark.parametrize("name", MODES)
def test_pixels(name: str) -> None:
    assert_pixels(*MODES[name])


@pytest.mark.parametrize("compression", [None, "tiff_deflate"])
def test_lab_becomes_the_colours_it_means(compression: str | None) -> None:
    # CIE L*a*b* of sRGB red under D50 (Lindbloom): 54.29, 80.81, 69.89; grey 119 is 50, 0, 0.
    lab = np.array([[[138, 81, 70], [128, 0, 0]]] * 3, np.uint8)  # L* times 2.55; a* and b* signed
    pil_image = Image.frombytes("LAB", (2, 3), lab.tobytes())
    expected = np.array([[[255, 0, 0], [119, 119, 119]]] * 3, np.uint8)
    assert_pixels(encode(pil_image, "TIFF", compression=compression), expected, 6)


@OLD_PILLOW
def test_ycbcr_tiff_becomes_the_colours_it_means() -> None:
    data = encode(Image.fromarray(SMOOTH).convert("YCbCr"), "TIFF")
    assert_pixels(data, SMOOTH, 3)


def test_icon_is_its_largest_image() -> None:
    pil_image = Image.fromarray(np.dstack([NOISE[:32, :32], ALPHA[:32, :32]]))
    data = encode(pil_image, "ICO", sizes=[(16, 16), (32, 32)])
    assert_pixels(data, over_white(NOISE[:32, :32], ALPHA[:32, :32]), 1)


def test_more_strips_than_one_fit_together() -> None:
    tall = RNG.integers(0, 256, (1500, 1800, 4), dtype=np.uint8)
    image = decode(encode(tall, "TIFF"), "key").image
    expected = over_white(tall[..., :3], tall[..., 3])
    assert np.abs(image.astype(int) - expected).max() <= 1


@pytest.mark.parametrize("samples", [[0.5, 300.0], [-0.1, 0.5], [0.5, np.nan], [0.5, np.inf]])
def test_floats_of_unknown_range_are_refused(samples: list[float]) -> None:
    data = tiff(np.array([samples], np.float32), photometric="minisblack")
    with pytest.raises(
        DecodeError, match="which values are black and white is unknown: they run|some .* no numbers"
    ):
        decode(data, "key")


def test_negative_integers_are_refused() -> None:
    with pytest.raises(DecodeError, match="from -1 to 7"):
        decode(int_tiff(np.array([[-1, 7]], np.int32)), "key")


# ---- orientation -----------------------------------------------------------------------------------------

# Exif 2.32, tag 0x0112: where row 0 and column 0 of the stored image are in the upright one. Each entry
# gives, for stored (row, column) and upright (height, width), the upright (row, column).
UPRIGHT_OF: dict[int, Callable[[int, int, int, int], tuple[int, int]]] = {
    1: lambda row, column, height, width: (row, column),  # top, left
    2: lambda row, column, height, width: (row, width - 1 - column),  # top, right
    3: lambda row, column, height, width: (height - 1 - row, width - 1 - column),  # bottom, right
    4: lambda row, column, height, width: (height - 1 - row, column),  # bottom, left
    5: lambda row, column, height, width: (column, row),  # left, top
    6: lambda row, column, height, width: (column, width - 1 - row),  # right, top
    7: lambda row, column, height, width: (height - 1 - column, width - 1 - row),  # right, bottom
    8: lambda row, column, height, width: (height - 1 - column, row),  # left, bottom
}
# 2 x 3 blocks of 16 pixels, all different.
BLOCKS = np.array(
    [[[230, 20, 20], [20, 200, 20], [20, 20, 210]], [[20, 20, 20], [240, 240, 240], [90, 90, 90]]]
)


def stored(upright: Array, orientation: int) -> Array:
    height, width = upright.shape[:2]
    shape = (height, width) if orientation < 5 else (width, height)
    pil_image = np.empty((*shape, 3), np.uint8)
    for row, column in itertools.product(range(shape[0]), range(shape[1])):
        pil_image[row, column] = upright[UPRIGHT_OF[orientation](row, column, height, width)]
    return pil_image


FORMAT_OPTIONS: dict[str, tuple[dict[str, Any], int]] = {
    "JPEG": ({"quality": 95, "subsampling": 0}, 8),
    "PNG": ({}, 0),
    "WEBP": ({"lossless": True}, 0),
    "TIFF": ({}, 0),
    "AVIF": ({"quality": 100, "subsampling": "4:4:4"}, 8),
}


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("format", FORMAT_OPTIONS)
def test_all_eight_orientations_come_out_upright(format: str, orientation: int) -> None:
    upright = BLOCKS.repeat(16, axis=0).repeat(16, axis=1).astype(np.uint8)
    options, tolerance = FORMAT_OPTIONS[format]
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    assert_pixels(encode(stored(upright, orientation), format, exif=exif, **options), upright, tolerance)


@pytest.mark.parametrize("compression", ["tiff_lzw", "tiff_deflate"])
@pytest.mark.parametrize("orientation", [3, 6, 7])
def test_compressed_tiff_comes_out_upright(compression: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    data = encode(stored(NOISE, orientation), "TIFF", exif=exif, compression=compression)
    assert_pixels(data, NOISE)


def test_grey_and_alpha_are_turned_too() -> None:
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    turned = stored(grey_rgb(GREY), 6)[..., 0]
    assert_pixels(encode(turned, "PNG", exif=exif), grey_rgb(GREY))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_large_jpeg_is_decoded_no_larger_than_needed(orientation: int) -> None:
    rows, columns = np.indices((600, 808), dtype=np.float32)
    upright = np.stack([rows / 3, columns / 4, 100 + 0 * rows], axis=2).round().astype(np.uint8)
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    exif.get_ifd(0x8769)[0xA405] = 35
    data = encode(stored(upright, orientation), "JPEG", exif=exif, quality=95)
    whole, reduced = (
        decode(data, "a"),
        decode(data, "a", enough=lambda height, width: (height // 5, width // 5)),
    )
    assert (whole.full_size, reduced.full_size) == (None, (600, 808))
    assert (reduced.height, reduced.width) == (600, 808)
    assert reduced.image.shape == (150, 202, 3)
    assert reduced.f_px == whole.f_px is not None
    small = np.asarray(Image.fromarray(upright).reduce(4)).astype(int)
    assert abs(reduced.image.astype(int) - small).max() <= 4


def test_what_is_small_enough_or_no_jpeg_is_decoded_whole() -> None:
    for data in (encode(SMOOTH, "JPEG"), encode(SMOOTH, "PNG")):
        assert decode(data, "a", enough=lambda height, width: (height - 1, width - 1)).full_size is None
    assert decode(encode(SMOOTH, "PNG"), "a", enough=lambda height, width: (1, 1)).full_size is None


@pytest.mark.parametrize("orientation", [0, 9, 77])
def test_invalid_orientation_turns_nothing(orientation: int) -> None:
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    assert_pixels(encode(NOISE, "PNG", exif=exif), NOISE)


def test_exif_after_the_pixels_of_a_png_counts() -> None:
    exif = Image.Exif()
    exif[ORIENTATION] = 3
    plain = encode(stored(NOISE, 3), "PNG")
    end = plain.index(b"IEND") - 4
    data = plain[:end] + chunk(b"eXIf", exif.tobytes()[6:]) + plain[end:]
    assert_pixels(data, NOISE)


# ---- focal length ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("orientation", [1, 6])
@pytest.mark.parametrize("format", FORMAT_OPTIONS)
def test_focal_length_comes_from_exif(format: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    exif[0x010F] = "Maker"  # AVIF: Pillow drops EXIF without a first directory
    exif.get_ifd(0x8769)[0xA405] = 26
    exif.load(exif.tobytes())  # TIFF: Pillow writes only directories that it has read
    frame = decode(encode(np.zeros((300, 400, 3), np.uint8), format, exif=exif), "key")
    assert frame.f_source == "exif"
    assert frame.f_px == pytest.approx(500 * 26 / 43.2666, rel=1e-4)


def test_no_exif_no_focal_length_and_the_key_is_kept() -> None:
    frame = decode(encode(NOISE, "PNG"), "folder/name.png")
    assert (frame.key, frame.f_px, frame.f_source, frame.timestamp_s) == ("folder/name.png", None, None, None)


def test_broken_exif_does_not_make_a_broken_image() -> None:
    for exif in (
        b"Exif\0\0nonsense",
        b"Exif\0\0II*\0\xff\xff\xff\xff",
        b"Exif\0\0MM\0*\0\0\0\x08\0\x05\x01\x12\0\x03",
    ):
        data = encode(SMOOTH, "JPEG", quality=98, exif=exif)
        assert_pixels(data, SMOOTH, 4)


# ---- header and recognition ------------------------------------------------------------------------------

SNIFFED = {"JPEG", "PNG", "WEBP", "TIFF", "BMP", "AVIF"}


@pytest.mark.parametrize("name", MODES)
def test_content_tells_the_format(name: str) -> None:
    data, expected, _ = MODES[name]
    header = read_header(data)
    assert (header.width, header.height) == (expected.shape[1], expected.shape[0])
    assert sniff(data[:SNIFF_BYTES]) == (header.format if header.format in SNIFFED else None)


@pytest.mark.parametrize(
    "head", [b"", b"BMW is a car maker\n", b"II", b"RIFF....AVI LIST", b"GIF89a", b"P6 3 2 255\n"]
)
def test_other_content_is_not_scanned_for(head: bytes) -> None:
    assert sniff(head) is None


def test_suffixes_are_those_of_the_sniffed_formats() -> None:
    registered = {
        suffix for suffix, format in Image.registered_extensions().items() if format in {*SNIFFED, "DIB"}
    }
    assert registered - {".apng"} <= IMAGE_SUFFIXES - HEIF_SUFFIXES <= registered


def test_header_costs_no_decoding() -> None:
    data = encode(NOISE, "PNG")
    assert read_header(data[: len(data) // 2]) == ("PNG", 53, 37)


# ---- refusals --------------------------------------------------------------------------------------------


def refusal(data: bytes, **options: Any) -> str:
    """The message, checked to be fit for people."""
    with pytest.raises(DecodeError) as caught:
        decode(data, "SECRET-KEY", **options)
    message = str(caught.value)
    assert_readable(message)
    return message


def assert_readable(message: str) -> None:
    assert 0 < len(message) < 250
    assert message.isprintable()
    assert "SECRET-KEY" not in message
    for repr_of_python in ("<", ">", "b'", "Error", "object at", "\\x", "BytesIO"):
        assert repr_of_python not in message


FOREIGN = {
    "empty file": b"",
    "not an image: the content is plain text": "Grüße, this is a letter.\n".encode() * 50,
    "not an image: the content is a web page": b"<!DOCTYPE html><html>404</html>",
    "not an image: the content is only zero bytes": bytes(5000),
    "not an image: the content is of an unknown format": bytes(range(1, 256)) * 9,
    "not an image: the content is a PDF document": b"%PDF-1.7\n",
    "not an image: the content is a PostScript document": b"%!PS-Adobe-3.0 EPSF-3.0\n",
    "not an image: the content is a video": b"\0\0\0\x20ftypisom\0\0\2\0",
    "not supported: the content is an SVG drawing; convert it to PNG": b"<?xml version='1.0'?><svg/>",
}


@pytest.mark.parametrize("message", FOREIGN)
def test_what_is_no_image_is_named(message: str) -> None:
    assert refusal(FOREIGN[message]) == message


def test_readers_that_start_programs_are_not_used() -> None:
    eps = encode(NOISE, "EPS")
    wmf = b"\xd7\xcd\xc6\x9a\0\0" + bytes(100)
    assert "PostScript" in refusal(eps)
    assert "not an image" in refusal(wmf)


def test_the_original_error_is_kept_as_cause() -> None:
    with pytest.raises(DecodeError) as caught:
        decode(encode(NOISE, "JPEG")[:900], "key")
    assert isinstance(caught.value.__cause__, Exception)


def test_a_size_above_the_limit_is_refused_from_the_header() -> None:
    header = struct.pack(">IIBBBBB", 25000, 12000, 8, 2, 0, 0, 0)
    data = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b"") + chunk(b"IEND", b"")
    message = "too large: 25000 x 12000 is 300 megapixels, the limit is 200; raise `max_megapixels`"
    assert refusal(data) == message
    assert "the limit is 0.001; raise" in refusal(encode(NOISE, "JPEG"), max_megapixels=0.001)
    assert decode(encode(NOISE, "JPEG"), "key", max_megapixels=0.002).width == 53


@OLD_PILLOW
def test_a_format_that_needs_too_much_memory_is_refused_from_the_header() -> None:
    data = bytearray(encode(NOISE, "WEBP", lossless=True))
    data[21:25] = struct.pack("<I", 12499 | 12499 << 14)  # VP8L: sides less one, 14 bits each
    message = "too large: 12500 x 12500 as this kind of WEBP takes 2.5 GB to decode; convert it, or raise"
    assert refusal(bytes(data)) == f"{message} `max_megapixels` to 246"
    data[21:25] = struct.pack("<I", 15999 | 12499 << 14)
    assert refusal(bytes(data)).startswith("too large: 200 megapixels are more than can be read of a WEBP")


def test_a_tiff_of_one_huge_compressed_strip_is_refused_from_the_header() -> None:
    samples = np.zeros((37, 53, 4), np.uint16)
    data = bytearray(tiff(samples, photometric="rgb", extrasamples=["unassalpha"], compression="zlib"))
    page = tifffile.TiffFile(io.BytesIO(bytes(data))).pages[0]
    for tag, value in ((256, 16000), (257, 12500), (278, 12500)):
        entry = page.tags[tag]  # type: ignore[union-attr]
        data[entry.valueoffset : entry.valueoffset + 2] = struct.pack("<H", value)
    assert "16000 x 12500 as this kind of TIFF takes 2.4 GB" in refusal(bytes(data))


def test_an_icon_that_lies_about_its_size_is_refused() -> None:
    data = bytearray(encode(Image.new("RGB", (256, 256)), "ICO", sizes=[(256, 256)]))
    data[6:8] = bytes([16, 16])
    assert "too large" in refusal(bytes(data), max_megapixels=0.01)


def test_a_text_bomb_in_a_png_does_not_fill_the_memory() -> None:
    bomb = chunk(b"zTXt", b"Comment\0\0" + zlib.compress(bytes(50_000_000)))
    assert refusal(png(NOISE, 8, 2, bomb)) == "too large: the text in this PNG is; save it without metadata"


@pytest.mark.parametrize("size", [(0, 5), (5, 0)])
def test_a_side_of_zero_is_refused(size: tuple[int, int]) -> None:
    header = struct.pack(">IIBBBBB", *size, 8, 2, 0, 0, 0)
    refusal(
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(b""))
        + chunk(b"IEND", b"")
    )


# ---- broken files ----------------------------------------------------------------------------------------

BIG_NOISE = RNG.integers(0, 256, (120, 160, 3), dtype=np.uint8)
CUTTABLE = {
    "JPEG": encode(BIG_NOISE, "JPEG"),
    "JPEG, progressive": encode(BIG_NOISE, "JPEG", progressive=True),
    "JPEG, CMYK": encode(Image.fromarray(BIG_NOISE).convert("CMYK"), "JPEG"),
    "PNG": encode(BIG_NOISE, "PNG"),
    "PNG, RGBA": encode(np.dstack([BIG_NOISE, BIG_NOISE[..., 0]]), "PNG"),
    "WebP": encode(BIG_NOISE, "WEBP"),
    "WebP, lossless": encode(BIG_NOISE, "WEBP", lossless=True),
    "TIFF": encode(BIG_NOISE, "TIFF"),
    "TIFF, tifffile": tiff(BIG_NOISE, photometric="rgb"),
    "TIFF, LZW": encode(BIG_NOISE, "TIFF", compression="tiff_lzw"),
    "TIFF, deflate, tifffile": tiff(BIG_NOISE, photometric="rgb", compression="zlib", rowsperstrip=20),
    "BMP": encode(BIG_NOISE, "BMP"),
    "AVIF": encode(BIG_NOISE, "AVIF"),
    "GIF": encode(Image.fromarray(BIG_NOISE).convert("P"), "GIF"),
}


@pytest.mark.parametrize("name", CUTTABLE)
def test_a_cut_file_is_never_half_an_image(name: str) -> None:
    data = CUTTABLE[name]
    assert decode(data, "key").image.shape == (120, 160, 3)
    for percent in range(1, 100):
        refusal(data[: len(data) * percent // 100])


@pytest.mark.parametrize("name", [name for name in CUTTABLE if name.startswith("JPEG")])
def test_a_cut_jpeg_is_not_saved_by_an_end_marker(name: str) -> None:
    data = CUTTABLE[name]
    assert "cut short" in refusal(data[:-2])
    for percent in range(20, 100, 5):
        refusal(data[: len(data) * percent // 100] + b"\xff\xd9")


def test_stray_bytes_between_segments_of_a_jpeg_do_no_harm() -> None:
    data = encode(SMOOTH, "JPEG", quality=98)
    at = data.index(b"\xff\xdb")
    assert_pixels(data[:at] + bytes(3) + data[at:], SMOOTH, 4)
    assert_pixels(data + b"trailing bytes", SMOOTH, 4)


def test_odd_metadata_makes_no_noise(capfd: pytest.CaptureFixture[str]) -> None:
    plain = encode(NOISE, "PNG")
    at = plain.index(b"IDAT") - 4
    data = plain[:at] + chunk(b"acTL", bytes(8)) + plain[at:]  # Pillow warns: invalid APNG
    assert_pixels(data, NOISE)
    assert capfd.readouterr() == ("", "")


SEEDS = [data for name, (data, _, _) in MODES.items() if len(data) < 20000]


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    seed=st.sampled_from(SEEDS),
    edits=st.lists(st.tuples(st.floats(0, 0.999), st.integers(0, 255)), max_size=6),
    cut=st.floats(0, 1),
    head_only=st.booleans(),
)
def test_any_damage_gives_a_frame_or_a_readable_error(
    seed: bytes, edits: list[tuple[float, int]], cut: float, head_only: bool
) -> None:
    data = bytearray(seed)
    for place, value in edits:
        data[int(place * (min(len(data), 128) if head_only else len(data)))] = value
    data = data[: int(len(data) * (1.0 if cut > 0.5 else cut * 2))]
    try:
        frame = decode(bytes(data), "SECRET-KEY", max_megapixels=4)
    except DecodeError as error:
        assert_readable(str(error))
    else:
        assert frame.width * frame.height <= 4e6


@settings(max_examples=200, deadline=None)
@given(head=st.sampled_from([seed[:n] for seed in SEEDS for n in (4, 12, 40)]), tail=st.binary(max_size=300))
def test_any_bytes_after_a_magic_give_a_frame_or_a_readable_error(head: bytes, tail: bytes) -> None:
    try:
        decode(head + tail, "SECRET-KEY", max_megapixels=4)
    except DecodeError as error:
        assert_readable(str(error))


def test_threads_agree_with_one_thread() -> None:
    names = list(MODES) * 4
    random.Random(3).shuffle(names)
    with ThreadPoolExecutor(8) as pool:
        images = list(pool.map(lambda name: decode(MODES[name][0], name).image, names))
    for name, image in zip(names, images, strict=True):
        assert np.array_equal(image, decode(MODES[name][0], name).image)


# ---- real files ------------------------------------------------------------------------------------------

SECONDS_A_FILE = 5.0


@OLD_PILLOW
def test_every_file_of_the_robustness_collections_has_an_outcome(
    shared_data: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    counts: Counter[str] = Counter()
    for path in sorted((shared_data / "robustness").rglob("*.*")):
        start = time.process_time()  # not what others of the machine took
        try:
            decode(path.read_bytes(), "SECRET-KEY")
            counts[path.relative_to(shared_data / "robustness").parts[0]] += 1
        except DecodeError as error:
            assert_readable(str(error))
        assert time.process_time() - start < SECONDS_A_FILE, path
    assert counts == {"image-rs": 93, "pngsuite": 162, "exif-orientation-examples": 13}
    assert capfd.readouterr() == ("", "")


def test_pngsuite_pixels_are_those_of_pillow(shared_data: Path) -> None:
    compared = 0
    for path in sorted((shared_data / "robustness/pngsuite").glob("[!x]*.png")):
        with Image.open(path) as pil_image:
            if pil_image.mode == "I;16" or pil_image.has_transparency_data:
                continue
            expected = np.asarray(pil_image.convert("RGB"))
        assert np.array_equal(decode(path.read_bytes(), "key").image, expected), path
        compared += 1
    assert compared > 100


@pytest.mark.parametrize("shape", ["Landscape", "Portrait"])
def test_exif_examples_show_the_same_image_upright(shared_data: Path, shape: str) -> None:
    paths = sorted((shared_data / "robustness/exif-orientation-examples").glob(f"{shape}_*.jpg"))
    images = [decode(path.read_bytes(), path.name).image for path in paths]
    small = [np.asarray(Image.fromarray(image).resize((60, 40))).astype(int) for image in images]
    assert len({image.shape for image in images}) == 1
    assert (images[0].shape[0] > images[0].shape[1]) == (shape == "Portrait")
    for other in small[1:]:
        assert np.abs(other - small[0]).mean() < 12.0


def test_photographs_have_the_focal_length_of_their_exif(shared_data: Path) -> None:
    path = next(iter(sorted((shared_data / "photos/opensfm").glob("*.jpg"))))
    frame = decode(path.read_bytes(), "key")
    assert frame.f_px == pytest.approx(np.hypot(frame.width, frame.height) * 35 / 43.2666, rel=1e-4)


# ---- memory ----------------------------------------------------------------------------------------------

PEAK_RSS = """
import resource, sys
from cortexia_video.images.decode import decode
frame = decode(open(sys.argv[1], "rb").read(), "key")
assert frame.width * frame.height == 200_000_000, frame.image.shape
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)
"""
MAKE_JPEG = """
import sys
import numpy as np, simplejpeg
strip = np.full((10000, 20000, 1), 90, np.uint8)
open(sys.argv[1], "wb").write(simplejpeg.encode_jpeg(strip, colorspace="GRAY"))
"""


def write_big_png(path: Path, depth: int, colour_type: int, bytes_a_pixel: int) -> None:
    """200 megapixels of one colour, without holding them."""
    row = b"\0" + b"\x80" * (20000 * bytes_a_pixel)
    packer = zlib.compressobj(1)
    content = b"".join([packer.compress(row) for _ in range(10000)] + [packer.flush()])
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 20000, 10000, depth, colour_type, 0, 0, 0))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", content) + chunk(b"IEND", b""))


def run(script: str, path: Path) -> str:
    return subprocess.run(
        [sys.executable, "-c", script, str(path)], check=True, capture_output=True, text=True
    ).stdout


@pytest.mark.parametrize("size", [(1, 190_000_000), (190_000_000, 1)])
def test_a_line_of_pixels_takes_more_memory_than_a_square(size: tuple[int, int]) -> None:
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", *size, 8, 2, 0, 0, 0))
    data = b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(b"\0")) + chunk(b"IEND", b"")
    with pytest.raises(DecodeError, match=r"too large: .* as this kind of PNG takes 4.4 GB to decode"):
        decode(data, "key")


@pytest.mark.parametrize("shape", [(1, 8_000_000), (2, 4_000_001), (4_000_001, 2)])
def test_strips_are_cut_across_as_well(shape: tuple[int, int]) -> None:
    pixels = np.random.default_rng(1).integers(0, 255, shape, np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "TIFF")
    data = file.getvalue()
    tracemalloc.start()
    image = decode(data, "key").image
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    np.testing.assert_array_equal(image, np.repeat(pixels[..., None], 3, axis=2))
    assert peak < image.nbytes + 6_000_000  # and what becomes of a strip of a million pixels


@pytest.mark.parametrize(
    "kind", ["JPEG", *(pytest.param(kind, marks=pytest.mark.slow) for kind in ("RGBA PNG", "16-bit RGB PNG"))]
)
def test_200_megapixels_stay_below_2_gib(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "big"
    if kind == "JPEG":
        run(MAKE_JPEG, path)
    else:
        write_big_png(path, *((8, 6, 4) if kind == "RGBA PNG" else (16, 2, 6)))
    assert int(run(PEAK_RSS, path)) < 2 * 1024**3


def encode_heif(image: Image.Image, **options: object) -> bytes:
    plugin = pytest.importorskip("pillow_heif")
    file = io.BytesIO()
    plugin.from_pillow(image).save(file, **options)
    return file.getvalue()


def test_heif_is_read_upright_with_its_focal_length() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # a phone held upright: turned in the file, and said by EXIF
    exif.get_ifd(0x8769)[0xA405] = 26
    y, x = np.mgrid[0:96, 0:128]
    stored = np.stack([2 * x, 2 * y, x], -1).astype(np.uint8)
    data = encode_heif(Image.fromarray(stored), quality=95, exif=exif.tobytes())
    header = read_header(data)
    frame = decode(data, "a.heic")
    assert (header.format, frame.image.shape) == ("HEIF", (128, 96, 3))
    expected = np.rot90(stored, -1).astype(int)
    assert np.abs(frame.image.astype(int) - expected).mean() < 3
    assert frame.f_source == "exif" and frame.f_px == pytest.approx(26 / np.hypot(36, 24) * np.hypot(96, 128))


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA"])
def test_heif_of_other_modes_is_read_and_a_cut_one_refused(mode: str) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    data = encode_heif(Image.fromarray(noise).convert(mode))
    assert decode(data, "a.heic").image.shape == (64, 64, 3)
    for end in (40, len(data) // 2, len(data) - 100):
        assert_readable(refusal(data[:end]))


def test_heif_without_its_package_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pillow_heif.as_plugin", None)
    line = say_install("'cortexia-video[heif]'")
    for brand in (b"heic", b"heix", b"hevc", b"mif1", b"msf1"):
        said = refusal(b"\0\0\0\x18ftyp" + brand + b"\0\0\0\0mif1heic")
        assert said == (f"not supported: the content is a HEIC or HEIF image; {line}, or convert it to JPEG")
    code = """
import sys
from importlib import util
found = util.find_spec
util.find_spec = lambda name, *rest: None if name == "pillow_heif" else found(name, *rest)
from collections import Counter
from cortexia_video.sources.find import find_images
passed = Counter()
print([each.key for each in find_images([sys.argv[1]], passed_over=passed)], dict(passed))
"""
    for name in ("a.HEIC", "b.heif", "c.jpg"):
        (tmp_path / name).write_bytes(b"?")
    ran = subprocess.run([sys.executable, "-c", code, tmp_path], capture_output=True, text=True, check=True)
    remedy = f"{line}, or convert it to JPEG"
    assert ran.stdout.strip() == f"['c.jpg'] { ({f'HEIC ({remedy})': 1, f'HEIF ({remedy})': 1}) }"


@pytest.mark.parametrize("orientation", range(1, 9))
def test_an_unpacked_tiff_is_taken_from_its_bytes_with_the_pixels_that_pillow_gives(orientation: int) -> None:
    pixels = np.random.default_rng(orientation).integers(0, 256, (150, 170, 3), dtype=np.uint8)
    file, exif = io.BytesIO(), Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(pixels).save(file, "TIFF", exif=exif)
    data = file.getvalue()
    view = TiffReader(io.BytesIO(data)).view_rgb(data)
    assert view is not None and np.array_equal(view, pixels)
    image = decode(data, "a").image
    upright = np.asarray(ImageOps.exif_transpose(Image.open(file)))
    np.testing.assert_array_equal(image, upright)
    image[0, 0] = 7  # it is its own memory
    assert np.array_equal(view, pixels)
    with pytest.raises(DecodeError, match="cut short"):
        decode(data[:-1], "a")
