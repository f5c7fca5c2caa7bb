"""`Pair`: an image's file and the file of its depth, read to a sample."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from cortexia_video.datasets.eval_region import Region
from cortexia_video.datasets.readers._calibration import Calibration
from cortexia_video.depth_map import DepthMap
from cortexia_video.errors import DecodeError, in_words
from cortexia_video.formats.decode_depth import decode_depth, read_file
from cortexia_video.frame import Frame
from cortexia_video.images.decode import decode
from cortexia_video.images.resampling import resize_image
from cortexia_video.pinhole import Pinhole
from cortexia_video.rgbd_sample import RGBDSample
from cortexia_video.storage.named_file import read_named
from cortexia_video.storage.paths import AnyPath


@dataclass(frozen=True, slots=True)
class Pair:
    """Where a sample lies and what its numbers mean.

    convention, about: of the depth file, as `decode_depth` takes them. range_m: other depths are masked out.
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
    camera: Calibration | None = None
    range_m: tuple[float, float] | None = None
    fits_depth: bool = False
    sparse: bool = False
    within: AnyPath | None = None
    problem: Exception | None = None


def read_pair(pair: Pair) -> RGBDSample:
    """Read a sample; raises `DecodeError`, `DepthFileError`, and `InputError` where sizes differ."""
    if pair.problem:
        raise pair.problem
    data = read_file(pair.depth, within=pair.within)
    depth = decode_depth(data, str(pair.depth), convention=pair.convention, about=pair.about)
    image = read_image(pair.image, pair.key, pair.within)
    if pair.fits_depth:
        image = np.ascontiguousarray(resize_image(image, *depth.values.shape))
    sample = make_sample(pair.key, image, depth, origin=pair.origin, camera=pair.camera, range_m=pair.range_m)
    return replace(sample, sparse=pair.sparse)


def read_image(path: AnyPath, key: str, within: AnyPath | None = None) -> np.ndarray:
    """Return the pixels of an image, uint8 (H, W, 3); `DecodeError` names the file. within: as of `Pair`."""
    with in_words(f"cannot read {path}", kind=DecodeError):
        data = read_named(path, within=within)
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
