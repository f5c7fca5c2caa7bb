"""Pillow readers of a fixed list of formats, those of TIFF and PNG corrected where Pillow goes wrong."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import (
    AvifImagePlugin,
    BmpImagePlugin,
    GifImagePlugin,
    IcoImagePlugin,
    Image,
    ImageFile,
    Jpeg2KImagePlugin,
    JpegImagePlugin,
    PngImagePlugin,
    PpmImagePlugin,
    QoiImagePlugin,
    TgaImagePlugin,
    TiffImagePlugin,
    WebPImagePlugin,
)

from cortexia_video.errors import DecodeError
from cortexia_video.images.exif import read_exif
from cortexia_video.images.sniff import HEIF_REMEDY

_SAVE = "convert it to JPEG or PNG"
_SUBFILE, _WIDTH, _HEIGHT, _COMPRESSION, _COLOURS, _SUB_IFDS, _DNG_VERSION = (
    254,
    256,
    257,
    259,
    320,
    330,
    50706,
)
_ROWS_PER_STRIP, _TILE_WIDTH = 278, 322
_OF_CAMERAS = {32803, 34892}  # photometric interpretations: colour filter array, linear raw
_PALETTE = 3
_USUAL_COMPRESSIONS = {1, 5, 7, 8, 32773, 32946}
_COMPRESSIONS = {
    6: "an old kind of JPEG",
    32809: "ThunderScan",
    34712: "JPEG 2000",
    34887: "LERC",
    34892: "JPEG, as raw files of cameras are",
    34925: "LZMA",
    50000: "Zstandard",
    50001: "WebP",
    50002: "JPEG XL",
    52546: "JPEG XL",
}


class TiffReader(TiffImagePlugin.TiffImageFile):
    """Pillow's reader without its own size limit (`_check_size` came first) or turning a whole copy."""

    def _open(self) -> None:
        try:
            super()._open()
        except Exception as error:
            if kind := self._find_kind():
                raise DecodeError(
                    f"not supported: this kind of TIFF cannot be read ({kind}); {_SAVE}"
                ) from error
            raise
        if _DNG_VERSION in self.tag_v2 or (self.tag_v2.get(_SUBFILE, 0) & 1 and _SUB_IFDS in self.tag_v2):
            raise DecodeError(f"not supported: the raw file of a camera, with a small preview; {_SAVE}")

    def load(self) -> Any:
        """Decode the pixels; where that cannot be, what they are compressed by may be why."""
        try:
            return super().load()
        except OSError as error:
            compression = self.tag_v2.get(_COMPRESSION, 1)
            if compression in _USUAL_COMPRESSIONS or "decoder error" not in str(error):
                raise
            told = f"this kind of TIFF cannot be read ({_name_compression(compression)})"
            raise DecodeError(f"damaged, or not supported: {told}; {_SAVE}") from error

    def _find_kind(self) -> str | None:
        """Return what is unusual about the pixels, by the tags that were read until Pillow gave up."""
        tags = getattr(self, "tag_v2", {})
        if not tags.get(_WIDTH) or not tags.get(_HEIGHT):
            return None
        if tags.get(PHOTOMETRIC) in _OF_CAMERAS:
            return "the raw data of a camera"
        compression = tags.get(_COMPRESSION, 1)
        if compression not in TiffImagePlugin.COMPRESSION_INFO:
            return _name_compression(compression)
        if tags.get(PHOTOMETRIC) == _PALETTE and _COLOURS not in tags:
            return None
        bits, sort = tags.get(BITS_PER_SAMPLE, (1,)), tags.get(SAMPLE_FORMAT, (1,))[0]
        numbers = {2: ", signed", 3: ", floating point", 5: ", complex", 6: ", complex"}.get(sort, "")
        return f"{len(bits)} channel{'s'[: len(bits) > 1]} of {max(bits)} bits{numbers}"

    def load_prepare(self) -> None:
        if self._im is None:
            self.im = Image.core.new(self.mode, self._tile_size)  # type: ignore[attr-defined]
        super().load_prepare()

    def view_rgb(self, data: bytes) -> NDArray[np.uint8] | None:
        """Return stored uint8 (H, W, 3) over the file's own bytes where it holds just rows of them, else None.

        Pillow would take them by 64 KB at once, into a fourth channel and back.
        """
        width, height = self._tile_size
        start, row = self.tile[0].offset if self.tile else 0, 3 * width
        for tile in self.tile:
            left, top, right, _ = tile.extents or (1, 0, 0, 0)
            plain = (tile.codec_name, tile.args) == ("raw", ("RGB", 0, 1)) and (left, right) == (0, width)
            if self.mode != "RGB" or not plain or tile.offset != start + row * top:
                return None
        whole = bool(self.tile) and len(data) >= start + row * height
        return np.frombuffer(data, np.uint8, row * height, start).reshape(height, width, 3) if whole else None

    def strip_bytes(self) -> float:
        """Bytes of one decompressed strip, for each pixel of the whole image: libtiff buffers a strip."""
        if _TILE_WIDTH in self.tag_v2:
            return 0.0
        height = self._tile_size[1]
        rows = min(self.tag_v2.get(_ROWS_PER_STRIP, height), height)
        return float(sum(self.tag_v2.get(BITS_PER_SAMPLE, (1,)))) / 8.0 * rows / height

    def load_end(self) -> None:
        read_exif(self)  # now, while the file is open: Pillow keeps what it read
        self._size = self._tile_size


def _name_compression(number: int) -> str:
    return f"compressed by {_COMPRESSIONS.get(number, f'method {number}')}"


class _PngReader(PngImagePlugin.PngImageFile):
    """Pillow's reader with the transparent colour (tRNS) on the scale of the samples that Pillow returns."""

    def _open(self) -> None:
        super()._open()
        key = self.info.get("transparency")
        raw_mode = str(self.tile[0].args) if self.tile else ""
        if isinstance(key, int) and raw_mode in ("L;2", "L;4"):
            self.info["transparency"] = key * (85 if raw_mode == "L;2" else 17)
        if isinstance(key, tuple) and raw_mode == "RGB;16B":
            self.info["transparency"] = tuple(sample >> 8 for sample in key)


READERS: dict[str, type[ImageFile.ImageFile]] = {
    "JPEG": JpegImagePlugin.JpegImageFile,
    "PNG": _PngReader,
    "WEBP": WebPImagePlugin.WebPImageFile,
    "TIFF": TiffReader,
    "BMP": BmpImagePlugin.BmpImageFile,
    "AVIF": AvifImagePlugin.AvifImageFile,
    "GIF": GifImagePlugin.GifImageFile,
    "PPM": PpmImagePlugin.PpmImageFile,
    "ICO": IcoImagePlugin.IcoImageFile,
    "QOI": QoiImagePlugin.QoiImageFile,
    "JPEG2000": Jpeg2KImagePlugin.Jpeg2KImageFile,
    "TGA": TgaImagePlugin.TgaImageFile,
}


def import_heif_reader() -> type[ImageFile.ImageFile]:
    """Return the reader of HEIF, which is none of `READERS`; `DecodeError` where its extra is not installed."""
    try:
        from pillow_heif.as_plugin import HeifImageFile
    except ImportError as error:
        raise DecodeError(f"not supported: the content is a HEIC or HEIF image; {HEIF_REMEDY}") from error
    reader: type[ImageFile.ImageFile] = HeifImageFile
    return reader


BITS_PER_SAMPLE, PHOTOMETRIC, SAMPLE_FORMAT = 258, 262, 339
