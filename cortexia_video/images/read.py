"""`read_image`: an image file, wherever it lies, as a `Frame`; `read_image_bytes`: as it is stored."""

from __future__ import annotations

from cortexia_video.errors import DecodeError, InputError, in_words, printable
from cortexia_video.frame import Frame
from cortexia_video.images.decode import decode
from cortexia_video.storage.archive_member import IMAGES, read_part, split_inside
from cortexia_video.storage.named_file import NamedFileError, read_named
from cortexia_video.storage.paths import PathLike, to_path
from cortexia_video.storage.remote_path import RemotePath


def read_image(path: PathLike, *, max_megapixels: float = 200.0) -> Frame:
    """Read one image file, as `estimate` does: upright, 8-bit RGB, with the focal length that EXIF has.

    Args:
        path: A path, or a URL such as `s3://bucket/a.jpg`.
        max_megapixels: Refuse larger images from their header; an image of 200 takes less than 2 GiB.

    Returns:
        The frame: image uint8 (H, W, 3) RGB, `f_px` in pixels or None. Its key is the file's name.

    Raises:
        InputError: There is no such file.
        DecodeError: The file cannot be read, is no image, is cut short, or is too large.

    Example:
        >>> cx.read_image("examples/room_900002.jpg").image.shape
        (480, 640, 3)
    """
    place = to_path(path)
    try:
        return decode(read_image_bytes(path), place.name, max_megapixels=max_megapixels)
    except DecodeError as error:
        if isinstance(error.__cause__, FileNotFoundError):
            raise InputError(f"no such file: {printable(str(place))}") from error
        raise DecodeError(f"{printable(str(place))}: {error}") from error


def read_image_bytes(path: PathLike) -> bytes:
    """Read a whole file, or an image inside an archive; raise `DecodeError` with a reason for people."""
    place = to_path(path)
    if inside := split_inside(place.url if isinstance(place, RemotePath) else str(place)):
        with in_words("its shard cannot be read", kind=DecodeError):
            return read_part(to_path(inside[0]), inside[1], IMAGES)
    if isinstance(place, RemotePath):
        with in_words("cannot be read", kind=DecodeError, of=OSError):
            try:
                return read_named(place)
            except FileNotFoundError as error:
                raise DecodeError("it was removed after the bucket was listed") from error
    with in_words("cannot be read", kind=DecodeError):
        try:
            return read_named(place)
        except NamedFileError as error:
            raise DecodeError(str(error)) from error
