"""`DepthMap`: depth values together with what they mean."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Literal, Self, get_args

import numpy as np
from numpy.typing import NDArray

from cortexia_video.errors import InputError, printable, require_type
from cortexia_video.frame import FocalSource, draw_png, write_figure
from cortexia_video.pinhole import Pinhole

DepthKind = Literal["metric", "scale_invariant", "affine_invariant", "disparity"]
KINDS: tuple[DepthKind, ...] = get_args(DepthKind)
Projection = Literal["perspective", "equirectangular"]
ScaleSource = Literal["sparse"]
Share = Literal["none", "clip", "all"]
SHARES: tuple[Share, ...] = get_args(Share)
_BESIDE = (("valid", np.bool_, ()), ("confidence", np.float32, ()), ("normals", np.float32, (3,)))


def larger_is_nearer(kind: DepthKind) -> bool:
    """Return which way the numbers of a kind run."""
    return kind == "disparity"


MEANING: dict[DepthKind, dict[str, str | None]] = {
    kind: {
        "unit": "metres" if kind == "metric" else None,
        "larger_is": "nearer" if larger_is_nearer(kind) else "farther",
    }
    for kind in KINDS
}
"""What follows from the kind, in the words of files' metadata: the unit, and what is larger."""


def _is_text(text: str) -> bool:
    """Return whether the files that say it, JSON and others, are read back."""
    try:
        return b"\0" not in text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return False


@dataclass(frozen=True, slots=True, kw_only=True)
class Alignment:
    """How relative depth became metres: depth, or 1 / depth for `disparity`, is scale * value + shift.

    Attributes:
        by: What the distances came from: points, known, near_far, colmap, transforms, sparse, camera_height or
            size.
        kind: Of the values before.
        scale: For these values.
        shift: For these values; 0 where the kind leaves only a factor open.
        share: Whether the fit is this image's own (none), or that of its folder (clip) or of all images.
        points_used: Samples in this image that the fit agrees with.
        points_rejected: Samples in it that are too far from the fit.
        residual_m: Median distance of the used samples from the fit, metres; None without any.
        residual_share: The same as a share of their depth.
        held_out_m: Median error at a tenth of all samples, of a fit to the others; None for too few.
        held_out_share: The same as a share of their depth.
        uncertainty: One standard deviation of depth in the middle of the samples, as a share of it; None where
            the samples are no more than the unknowns.
        near_m: Depth of the nearest sample that the fit is made of.
        far_m: Depth of the farthest.
        beyond: Share of the map's known pixels outside of near_m to far_m, where the fit extrapolates.
        residual_grid: Median signed residual, as a share, of the samples in each ninth of the image, by rows;
            None where there are none.
    """

    by: str
    kind: DepthKind
    scale: float
    shift: float = 0.0
    share: Share = "none"
    points_used: int
    points_rejected: int = 0
    residual_m: float | None = None
    residual_share: float | None = None
    held_out_m: float | None = None
    held_out_share: float | None = None
    uncertainty: float | None = None
    near_m: float
    far_m: float
    beyond: float = 0.0
    residual_grid: tuple[float | None, ...] = (None,) * 9

    def __post_init__(self) -> None:
        for name, choices in (("kind", KINDS), ("share", SHARES)):
            if getattr(self, name) not in choices:
                raise ValueError(f"{name} is {getattr(self, name)!r}: it must be one of {', '.join(choices)}")

    def as_dict(self) -> dict[str, Any]:
        """Return the fields, as JSON holds them."""
        return {**asdict(self), "residual_grid": [*self.residual_grid]}

    @classmethod
    def from_dict(cls, said: Any) -> Self:
        """Return what `as_dict` gave; words that are not known are ignored. `ValueError` for anything else."""
        if not isinstance(said, dict):
            raise ValueError(f"alignment is {said!r}: it must be an object, or null")
        known = {each.name: said[each.name] for each in fields(cls) if each.name in said}
        texts, grid = ("by", "kind", "share"), known.pop("residual_grid", [None] * 9)
        numbers = {name: value for name, value in known.items() if name not in texts and value is not None}
        for name, value in [
            *numbers.items(),
            *(("residual_grid", each) for each in grid if each is not None),
        ]:
            if type(value) not in (int, float) or not math.isfinite(value):
                raise ValueError(f"{name} of the alignment is {value!r}: it must be a number")
        try:
            return cls(**known, residual_grid=tuple(grid))
        except TypeError as error:
            raise ValueError(f"the alignment is not whole: {error}") from None


@dataclass(frozen=True, slots=True, eq=False)
class DepthMap:
    """Depth of every pixel of one image, NaN where unknown.

    Attributes:
        values: float32 (H, W).
        kind: What the values mean. `metric`: metres along the optical axis. `scale_invariant`: depth up to an
            unknown factor. `affine_invariant`: depth up to an unknown factor and shift. `disparity`: inverse
            depth up to an unknown factor and shift: larger is nearer.
        f_px: Focal length in pixels of the image that the values go with, None where unknown.
        f_source: Where it came from: exif, given or estimated.
        full_size: (height, width) of that image where `values` is a smaller map of all of it, else None.
        model: The model that made it; None for a sensor's depth.
        weights_sha256: The digest of its weights.
        alignment: How its metres came about, where relative depth was aligned to known distances.
        relative: The map before that, as it was; files of their own hold it.
        projection: `equirectangular` of a panorama: the values are distances along the rays of its pixels
            (`geometry.sphere`), for disparity inverse ones; `perspective` else.
        scale_from: `sparse` where its metres are those of a sensor's depth that the model completed, else None.
        valid: bool (H, W), False where the model says that there is no depth to know: sky, and what it cannot
            tell. None where the model says nothing of it. Files of their own hold this and what follows.
        confidence: float32 (H, W), larger is surer, in the model's own unit.
        normals: float32 (H, W, 3), unit vectors in OpenCV's axes (x right, y down, z forward) towards the
            camera; NaN where unknown.

    Raises:
        ValueError: The values are not float32 (H, W), a map beside them has another size, or there is no such
            kind.
        TypeError: The values are no array.

    Example:
        >>> depth = cx.DepthMap(np.full((48, 64), 2, np.float32), "metric")
        >>> depth
        DepthMap(48x64, metric, 2..2 m)
        >>> depth.larger_is_nearer
        False
    """

    values: NDArray[np.float32]
    kind: DepthKind
    f_px: float | None = None
    f_source: FocalSource | None = None
    full_size: tuple[int, int] | None = None
    model: str | None = None
    weights_sha256: str | None = None
    alignment: Alignment | None = None
    relative: DepthMap | None = None
    projection: Projection = "perspective"
    scale_from: ScaleSource | None = None
    valid: NDArray[np.bool_] | None = None
    confidence: NDArray[np.float32] | None = None
    normals: NDArray[np.float32] | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.values, np.ndarray):
            require_type("values", self.values, np.ndarray, "files are read by `read_depth`")
        if self.values.dtype != np.float32 or self.values.ndim != 2:
            raise ValueError(
                f"depth must be float32 (H, W), got {self.values.dtype} {self.values.shape}: "
                "use values.astype(np.float32) on a two-dimensional array"
            )
        if self.kind not in KINDS:
            raise ValueError(f"unknown kind of depth {self.kind!r}: use one of {', '.join(KINDS)}")
        if self.projection not in get_args(Projection):
            raise ValueError(
                f"unknown projection {self.projection!r}: use {' or '.join(get_args(Projection))}"
            )
        if self.projection == "equirectangular" and self.f_px is not None:
            raise ValueError("an equirectangular panorama has no focal length: leave `f_px` out")
        for name, dtype, more in _BESIDE:
            array = getattr(self, name)
            if array is not None and (array.dtype != dtype or array.shape != (*self.values.shape, *more)):
                shape = (*self.values.shape, *more)
                raise ValueError(
                    f"{name} must be {np.dtype(dtype)} {shape}, as its depth, got {array.dtype} {array.shape}"
                )
        for text in (self.model, self.weights_sha256):
            if text is not None and not _is_text(text):
                raise ValueError(f"{text!r} holds a zero byte or half a character, as no file's text may")

    @property
    def camera(self) -> Pinhole | None:
        """The camera of these pixels, of the size of `values`; None where no focal length is known."""
        if self.f_px is None:
            return None
        height, width = self.values.shape
        full_height, full_width = self.full_size or (height, width)
        return Pinhole.centred(self.f_px, full_width, full_height).resized(width, height)

    @property
    def known_values(self) -> NDArray[np.float32]:
        """The values, NaN also where `valid` says that there is no depth, whatever number stands there."""
        if self.valid is None:
            return self.values
        return np.where(self.valid, self.values, np.float32(np.nan))

    def without_maps(self) -> Self:
        """Return the depth alone: what lies beside it would not fit values of another size."""
        return replace(self, valid=None, confidence=None, normals=None)

    @property
    def larger_is_nearer(self) -> bool:
        """Whether larger values are nearer, as of disparity."""
        return larger_is_nearer(self.kind)

    def __repr__(self) -> str:
        """Return size, meaning, range of the known values and the model; never the values."""
        height, width = self.values.shape
        known = self.values[np.isfinite(self.values)]
        unit = " m" if self.kind == "metric" else ""
        span = f"{known.min():.3g}..{known.max():.3g}{unit}" if known.size else "nothing known"
        size = f"{height}x{width}" + (" of {}x{}".format(*self.full_size) if self.full_size else "")
        more: list[str] = [self.projection] if self.projection != "perspective" else []
        more += [printable(self.model)] if self.model else []
        more += [f"f_px={self.f_px:.6g} ({self.f_source})"] if self.f_px else []
        more += [f"aligned by {self.alignment.by}"] if self.alignment else []
        more += [f"with {name}" for name, *_ in _BESIDE if getattr(self, name) is not None]
        return f"DepthMap({', '.join([size, self.kind, span, *more])})"

    def _repr_png_(self) -> bytes:
        return draw_png(self)

    def _repr_html_(self) -> str:
        return write_figure(self)


def find_usable(values: NDArray[Any], kind: str) -> NDArray[np.bool_]:
    """Return which values are numbers that their kind can have, bool of their shape.

    Distances are above 0; what is fixed only up to a shift (`affine_invariant`, `disparity`) may be 0 or below.
    """
    usable = np.isfinite(values)
    if kind in ("metric", "scale_invariant"):
        np.logical_and(usable, values > 0, out=usable)
    return usable


def require_perspective(depth: DepthMap, what: str) -> None:
    """Raise `InputError` for a panorama, where `what`, in the plural, takes none."""
    if depth.projection != "perspective":
        raise InputError(f"it is a panorama: {what} need a perspective camera")


def require_depth(depth: object) -> None:
    """Raise `TypeError` for what is no `DepthMap`: what its values mean cannot be known."""
    require_type("depth", depth, DepthMap, "files are read by `read_depth`, arrays go into `DepthMap`")
