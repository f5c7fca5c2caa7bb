"""NumPy's archive: `depth`, float32 (H, W), and JSON that says what it means. Not packed: fast, like npy."""

from __future__ import annotations

import io
import math
import struct
import zipfile
from typing import Any

from cortexia_video.depth_map import DepthMap
from cortexia_video.errors import DepthFileError
from cortexia_video.formats import npy
from cortexia_video.formats.metadata import MARK, from_text, metadata_of, to_text
from cortexia_video.formats.raw_depth import Chunks, RawDepth

MAGIC = b"PK\x03\x04"
_DEPTH = "depth"  # as Depth Pro calls it
_VALUES = f"{_DEPTH}.npy"
_TEXT = f"{MARK.decode()}.json"
_MEMBER_HEADER = 30  # bytes before a member's name
_EXTRA = struct.pack("<HH", 0x7663, len(MARK)) + MARK  # a field of our own, which readers pass over
_TEXT_BYTES = 1 << 20
_UNIX = 3  # of the systems that a zip archive names


def encode(depth: DepthMap) -> Chunks:
    """Return the pieces of an archive, without a copy of the values, which begin at a page as in npy.

    The depth comes first, as whoever takes the first array expects; the mark of our files is beside its name.
    """
    pieces = _Pieces()
    with zipfile.ZipFile(pieces, "w", zipfile.ZIP_STORED) as archive:
        member, text = zipfile.ZipInfo(_VALUES), zipfile.ZipInfo(_TEXT)  # dated 1980, not now
        member.create_system = text.create_system = _UNIX  # nor does a file depend on where it was written
        member.extra = _EXTRA
        member.file_size = depth.values.size * depth.values.itemsize
        begin = _MEMBER_HEADER + len(_VALUES) + len(_EXTRA)
        with archive.open(member, "w") as file:
            for piece in npy.encode(depth, begin):
                file.write(piece)
        archive.writestr(text, to_text(metadata_of(depth)))
    return pieces.chunks


def decode(data: bytes, most: float, array: str | None = None) -> RawDepth:
    """Return the values of an archive of ours, or of one that has a single array or one called `depth`.

    most: pixels. array: the name of another. Pickles are never loaded. Raises `DepthFileError`, and what
    readers do for a broken file.
    """
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        names = archive.namelist()
        if _TEXT in names and archive.getinfo(_TEXT).file_size > _TEXT_BYTES:
            raise DepthFileError(f"its {_TEXT} is too large: what the numbers mean takes a few lines")
        text = archive.read(_TEXT) if _TEXT in names else b""
        arrays = [name.removesuffix(".npy") for name in names if name.endswith(".npy")]
        chosen = array or (arrays[0] if len(arrays) == 1 else _DEPTH)
        if chosen not in arrays:
            raise DepthFileError(
                f"its arrays are {', '.join(arrays) or 'none'}, and none is {chosen}: give one as `array`"
            )
        name = f"{chosen}.npy"
        with archive.open(name) as member:
            shape, _, dtype = npy.read_header(member, most)
            there = archive.getinfo(name).file_size - member.tell()  # zipfile reads no more than that
        expected = math.prod(shape) * dtype.itemsize
        if there != expected:
            raise DepthFileError(
                f"it has {there} bytes of values, its header says {expected}: it is not whole"
            )
        values = archive.read(name)
    return RawDepth(npy.decode(values, most).values, from_text(text))


class _Pieces(io.RawIOBase):
    """Keeps what is written as it is, so that large arrays are not copied. It cannot go back."""

    def __init__(self) -> None:
        self.chunks: list[bytes | memoryview] = []

    def write(self, data: Any, /) -> int:
        self.chunks.append(data)
        return len(data)

    def tell(self) -> int:
        return sum(len(chunk) for chunk in self.chunks)
