"""What bytes are that no reader of images takes: said in words for people, with what to do about it."""

from __future__ import annotations

import re

_CAMERA = "not supported: the content is the raw file of a camera; export it as JPEG"
_ARCHIVE = "not an image: the content is an archive; unpack it"
_SOUND = "not an image: the content is sound"
_VIDEO = "not an image: the content is a video"
_TABLE = "not an image: the content is a file of data, "
_LATER = "; convert it to PNG or JPEG"

# Offset, magic, what it is: content that ends up in image folders.
_FOREIGN = [
    (0, b"%PDF", "not an image: the content is a PDF document"),
    (0, b"%!PS", "not an image: the content is a PostScript document"),
    (0, b"\xc5\xd0\xd3\xc6", "not an image: the content is a PostScript document"),
    (0, b"PK\3\4", "not an image: the content is a ZIP archive or an office document"),
    (0, b"\x1f\x8b", "not an image: the content is a gzip archive"),
    (0, b"7z\xbc\xaf'\x1c", _ARCHIVE),
    (0, b"Rar!\x1a\7", _ARCHIVE),
    (0, b"BZh", _ARCHIVE),
    (0, b"\xfd7zXZ\0", _ARCHIVE),
    (0, b"\x28\xb5\x2f\xfd", _ARCHIVE),
    (257, b"ustar", _ARCHIVE),
    (0, b"\x93NUMPY", "not an image: the content is a NumPy array"),
    (0, b"\x89HDF\r\n\x1a\n", f"{_TABLE}HDF5"),
    (0, b"PAR1", f"{_TABLE}Parquet"),
    (0, b"SQLite format 3", f"{_TABLE}SQLite"),
    (0, b"\x1aE\xdf\xa3", _VIDEO),
    (8, b"AVI ", _VIDEO),
    (0, b"\0\0\1\xba", _VIDEO),
    (0, b"\0\0\1\xb3", _VIDEO),
    (8, b"WAVE", _SOUND),
    (0, b"OggS", _SOUND),
    (0, b"ID3", _SOUND),
    (4, b"ftypM4A", _SOUND),
    (4, b"ftypcrx", _CAMERA),
    (0, b"II*\0\x10\0\0\0CR", _CAMERA),
    (6, b"HEAPCCDR", _CAMERA),
    (0, b"IIRO", _CAMERA),
    (0, b"IIRS", _CAMERA),
    (0, b"MMOR", _CAMERA),
    (0, b"IIU\0", _CAMERA),
    (0, b"FUJIFILMCCD-RAW", _CAMERA),
    (0, b"FOVb", _CAMERA),
    (0, b"\0MRM", _CAMERA),
    (4, b"ftyp", _VIDEO),
    (0, b"v/1\1", f"not supported: the content is an OpenEXR image{_LATER}"),
    (0, b"#?RADIANCE", f"not supported: the content is a Radiance HDR image{_LATER}"),
    (0, b"#?RGBE", f"not supported: the content is a Radiance HDR image{_LATER}"),
    (0, b"8BPS", "not supported: the content is a Photoshop document; export it as PNG or JPEG"),
    (0, b"gimp xcf", "not supported: the content is a GIMP document; export it as PNG or JPEG"),
    (0, b"\xff\x0a", f"not supported: the content is a JPEG XL image{_LATER}"),
    (4, b"JXL ", f"not supported: the content is a JPEG XL image{_LATER}"),
    (0, b"II\xbc\1", f"not supported: the content is a JPEG XR image{_LATER}"),
    (0, b"farbfeld", f"not supported: the content is a farbfeld image{_LATER}"),
    (0, b"DDS ", f"not supported: the content is a texture (DDS){_LATER}"),
    (128, b"DICM", f"not supported: the content is a medical image (DICOM){_LATER}"),
    (0, b"SIMPLE  =", f"not supported: the content is a FITS image{_LATER}"),
    (0, b"\0\5\x16\7", "not an image: the content is what macOS keeps beside a file (._NAME); leave it out"),
    (0, b"Salted__", "not an image: the content is encrypted"),
    (0, b"-----BEGIN PGP", "not an image: the content is encrypted"),
    (
        0,
        b"version https://git-lfs",
        "not an image: only a pointer of Git LFS is here; fetch the file by `git lfs pull`",
    ),
]
_TEXTS = [
    (
        re.compile(rb"(?:\.\.?/)*(?:\.git/annex/|/annex/)objects/"),
        "not an image: only a pointer of git-annex is here; fetch the file by `git annex get`",
    ),
    (re.compile(rb"\s*(<!doctype html|<html)", re.IGNORECASE), "not an image: the content is a web page"),
    (re.compile(rb"(?s).*<svg"), "not supported: the content is an SVG drawing; convert it to PNG"),
    (
        re.compile(rb"\s*(<\?xml|<Error>)"),
        "not an image: the content is XML, perhaps what a server said instead of it; fetch it again",
    ),
    (
        re.compile(rb'\s*\{\s*"'),
        "not an image: the content is JSON, perhaps what a server said instead of it; fetch it again",
    ),
]
_AS_TEXT = (b"\x89PNG", b"\xc2\x89PNG", b"\xef\xbf\xbdPNG", b"\xc3\xbf\xc3\x98", b"\xef\xbf\xbd\xef\xbf\xbd")


def describe_foreign(data: bytes) -> str:
    """Return what bytes are that no reader claims."""
    if not data:
        return "empty file"
    for offset, magic, description in _FOREIGN:
        if data.startswith(magic, offset):
            return description
    head = data[:512]
    if len(head) > 16 and len({*head}) == 1:
        only = "zero bytes" if not head[0] else "one byte, again and again"
        return f"not an image: the content is only {only}"
    if data.startswith(_AS_TEXT):
        return "damaged: its bytes were changed, as when a file is sent as text; copy it again, as it is"
    for begins, description in _TEXTS:
        if begins.match(head):
            return description
    text = head.decode("utf-8", "replace").rstrip("\ufffd")  # perhaps cut within a character
    readable = all(character.isprintable() or character.isspace() for character in text)
    what = "plain text" if text and "\ufffd" not in text and readable else "of an unknown format"
    return f"not an image: the content is {what}"


def find_camera_file(data: bytes) -> str | None:
    """Return of a camera's raw file what it is, if it is one that begins as a TIFF does."""
    return _CAMERA if data.startswith(b"CR", 8) else None
