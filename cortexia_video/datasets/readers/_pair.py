"""`Pair`: an image's file and the file of its depth, read to a sample."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal, Protocol

import numpy as np

from cortexia_video.datasets.eval_region import Region
from cortexia_video.datasets.readers._calibration import Calibration
from cortexia_video.depth_map import DepthMap
from cortexia_video.errors import DecodeError, Failure, InputError, in_words
from cortexia_video.formats.decode_depth import decode_depth, read_file
from cortexia_video.frame import Frame
from cortexia_video.images.decode import decode, read_orientation
from cortexia_video.images.pixels import turn
from cortexia_video.images.resampling import resize_image
from cortexia_video.images.sniff import IMAGE_SUFFIXES
from cortexia_video.pinhole import Pinhole, has_same_shape
from cortexia_video.rgbd_sample import RGBDSample
from cortexia_video.storage.paths import AnyPath, find_inside, read_named


@dataclass(frozen=True, slots=True)
class Pair:
    """Where a sample lies and what its numbers mean.

    convention, about: of the depth file, as `decode_depth` takes them. range_m: other depths are masked out.
    camera: a `Failure` where what says it is broken; reading raises its error. camera_size: (width, height)
    of the image that the camera is for, or whose it is.
    fits_depth: the image is larger than its depth, of the same view, and is reduced to its size.
    sparse: as of `RGBDSample`.
    within: the folder that both files must lie in, where a file of the set names them; None: anywhere.
    problem: what is wrong with what says all this; reading raises it.
    """

    key: str
    image: AnyPath
    depth: AnyPath
    origin: str
    convention: str | None = None
    about: Mapping[str, Any] = field(default_factory=dict)
    camera: Calibration | Failure | None = None
    camera_size: tuple[int, int] | Literal["image", "depth"] = "image"
    range_m: tuple[float, float] | None = None
    fits_depth: bool = False
    sparse: bool = False
    within: AnyPath | None = None
    problem: Exception | None = None


def read_pair(pair: Pair) -> RGBDSample:
    """Read a sample; raises `DecodeError`, `DepthFileError`, and `InputError` where sizes differ."""
    if pair.problem:
        raise pair.problem
    if isinstance(pair.camera, Failure):
        raise pair.camera.error
    data = read_file(pair.depth, within=pair.within)
    depth = decode_depth(data, str(pair.depth), convention=pair.convention, about=pair.about)
    file = _read_file(pair.image, pair.within)
    image = _decode(file, pair.image, pair.key)
    if depth.model is None:  # a model's depth is upright, as the image it was made of
        image = _turn_back(image, file, pair.key, depth.values.shape)
    (image_height, image_width), (height, width) = image.shape[:2], depth.values.shape
    if pair.fits_depth and image.shape[:2] != depth.values.shape:
        said = depth.full_size == image.shape[:2]  # networks squeeze images a little
        if not said and not has_same_shape((width, height), (image_width, image_height)):
            raise InputError(
                f"{pair.key!r}: an image of {image_width} x {image_height} and depth of {width} x {height} "
                "pixels are of another shape: they do not show the same view"
            )
        image = np.ascontiguousarray(resize_image(image, height, width))
        depth = replace(depth, full_size=None)
    camera = None
    if pair.camera:
        sizes = {"image": (image_width, image_height), "depth": (width, height)}
        size = sizes[pair.camera_size] if isinstance(pair.camera_size, str) else pair.camera_size
        if not has_same_shape((width, height), size):
            raise InputError(
                f"{pair.key!r}: its camera is for an image of {size[0]} x {size[1]}, it has {width} x {height}, "
                "of another shape: give the camera of the image as it is"
            )
        camera = pair.camera.for_image(*size).resized(width, height)
    sample = make_sample(pair.key, image, depth, origin=pair.origin, camera=camera, range_m=pair.range_m)
    return replace(sample, sparse=pair.sparse)


def _turn_back(image: np.ndarray, file: bytes, key: str, size: tuple[int, int]) -> np.ndarray:
    """Return an upright image as a sensor's depth of `size` has it, which EXIF does not turn.

    Raises `InputError` where its size does not tell whether the depth was turned with the image.
    """
    orientation = read_orientation(file)
    if orientation == 1:
        return image
    stored = image.swapaxes(0, 1) if orientation >= 5 else image  # 6 and 8 are quarters of a turn
    fits = [has_same_shape(size, each.shape[:2]) for each in (image, stored)]
    if fits[0] == fits[1]:
        raise InputError(
            f"{key!r}: EXIF turns the image (orientation {orientation}), and whether its depth is turned, too, "
            "is not known: turn the image's pixels, and remove the orientation"
        )
    return turn(image, {6: 8, 8: 6}.get(orientation, orientation)) if fits[1] else image


class HasImage(Protocol):
    """A `Pair`, or what else knows the file of its image."""

    @property
    def image(self) -> AnyPath: ...


def read_image_file(entry: HasImage) -> bytes | None:
    """Return the JPEG that the image of an entry is, or None where it is none by its name."""
    if entry.image.suffix.lower() not in (".jpg", ".jpeg"):
        return None
    return read_named(entry.image, within=getattr(entry, "within", None))


def list_images(folder: AnyPath) -> list[AnyPath]:
    """Return the images of a folder by their names' ends, in order; other files are passed over."""
    return [path for path in find_inside(folder, "*.*") if path.suffix.lower() in IMAGE_SUFFIXES]


def read_image(path: AnyPath, key: str) -> np.ndarray:
    """Return the pixels of an image, uint8 (H, W, 3); `DecodeError` names the file."""
    return _decode(_read_file(path), path, key)


def _read_file(path: AnyPath, within: AnyPath | None = None) -> bytes:
    with in_words(f"cannot read {path}", kind=DecodeError):
        return read_named(path, within=within)


def _decode(data: bytes, path: AnyPath, key: str) -> np.ndarray:
    try:
        return decode(data, key).image
    except DecodeError as error:
        raise DecodeError(f"{path}: {error}") from error


def make_sample(
    key: str,
    image: np.ndarray,
    depth: DepthMap,
    *,
    origin: str,
    camera: Calibration | Pinhole | None = None,
    mask: np.ndarray | None = None,
    range_m: tuple[float, float] | None = None,
) -> RGBDSample:
    """Join what was read; frame and depth repeat the camera's focal length."""
    height, width = depth.values.shape
    pinhole = camera.for_image(width, height) if isinstance(camera, Calibration) else camera
    f_px = (pinhole.fx + pinhole.fy) / 2 if pinhole else None
    f_source = None if f_px is None else "given"
    frame = Frame(key, image, f_px, f_source)  # type: ignore[arg-type]
    facts = (depth.full_size, depth.model, depth.weights_sha256)
    depth = DepthMap(depth.values, depth.kind, f_px, f_source, *facts)  # type: ignore[arg-type]
    return Region(range_m).restrict(RGBDSample(frame, depth, pinhole, mask, origin))
