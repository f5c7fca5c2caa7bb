"""NumPy's archive: `depth`, float32 (H, W), and JSON that says what it means. Not packed: fast, like npy."""

from __future__ import annotations

import io
import zipfile
from typing import Any

from cortexia_video.depth_map import DepthMap
from cortexia_video.errors import DepthFileError
from cortexia_video.formats import npy
from cortexia_video.formats.metadata import MARK, from_text, metadata_of, to_text
from cortexia_video.formats.stored import Chunks, Stored, TooLargeError

MAGIC = b"PK\x03\x04"
_VALUES = "depth.npy"  # as Depth Pro calls it
_TEXT = f"{MARK.decode()}.json"
_MEMBER_HEADER = 30  # bytes before a member's name
_TEXT_BYTES = 1 << 20
_VALUE_BYTES = 8  # the most that one number may have
_HEADER_BYTES = 1 << 16


def encode(depth: DepthMap) -> Chunks:
    """Give the pieces of an archive, without a copy of the values, which begin at a page as in npy."""
    pieces = _Pieces()
    with zipfile.ZipFile(pieces, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr(zipfile.ZipInfo(_TEXT), to_text(metadata_of(depth)))
        member = zipfile.ZipInfo(_VALUES)  # dated 1980: no file depends on when it was written
        member.file_size = depth.values.size * depth.values.itemsize
        begin = pieces.tell() + _MEMBER_HEADER + len(_VALUES)
        with archive.open(member, "w") as file:
            for piece in npy.encode(depth, begin):
                file.write(piece)
    return pieces.chunks


def decode(data: bytes, most: float) -> Stored:
    """Give the values of an archive of ours, or of one that has a single array or one called `depth`.

    most: pixels. Pickles are never loaded. Raises `DepthFileError`, and what readers do for a broken file.
    """
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        names = archive.namelist()
        text = _read(archive, _TEXT, _TEXT_BYTES) if _TEXT in names else b""
        name = _choose(names)
        with archive.open(name) as member:
            npy.read_header(member, most)
        values = _read(archive, name, most * _VALUE_BYTES + _HEADER_BYTES)
    return Stored(npy.decode(values, most).values, from_text(text))


def _choose(names: list[str]) -> str:
    arrays = [name for name in names if name.endswith(".npy")]
    if _VALUES in arrays or len(arrays) == 1:
        return _VALUES if _VALUES in arrays else arrays[0]
    raise DepthFileError(f"its arrays are {', '.join(arrays) or 'none'}: one must be called depth")


def _read(archive: zipfile.ZipFile, name: str, most: float) -> bytes:
    """Read a member, which zipfile cuts off at the size that it declares."""
    size = archive.getinfo(name).file_size
    if size > most:
        raise TooLargeError(size // 4, f"its {name} has {size} bytes, the limit is {most:.0f}")
    return archive.read(name)


class _Pieces(io.RawIOBase):
    """Keeps what is written as it is, so that large arrays are not copied. It cannot go back."""

    def __init__(self) -> None:
        self.chunks: list[bytes | memoryview] = []

    def write(self, data: Any, /) -> int:
        self.chunks.append(data)
        return len(data)

    def tell(self) -> int:
        return sum(len(chunk) for chunk in self.chunks)
