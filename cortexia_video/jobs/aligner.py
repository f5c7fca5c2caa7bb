"""`Aligner`: metres for the depth of one image after another, by what `AlignTo` says is known."""

from __future__ import annotations

import logging
import statistics
import threading
from array import array
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Self

from cortexia_video.depth_map import Alignment, DepthMap, Share, require_perspective
from cortexia_video.errors import InputError, format_count, printable
from cortexia_video.geometry.alignment import (
    Fit,
    Floats,
    Samples,
    apply_fit,
    fit_samples,
    join_samples,
    take_samples,
)
from cortexia_video.geometry.anchors import fit_extremes, require_distances
from cortexia_video.geometry.known_lengths import fit_camera_height, fit_known_length
from cortexia_video.pinhole import Pinhole
from cortexia_video.sparse_depth.source import SparseDepth, read_length
from cortexia_video.storage.paths import to_absolute, to_text

OF_EACH = 400  # samples of an image that a shared fit takes
_PATHS = ("to", "points", "colmap", "transforms", "sparse")
_FAR = 0.2  # of the distance: known ones so far off their fit are hardly of this image
_MANY = 1 / 3  # of an image's points, which no fit of the others takes
_OF_CLIP = 16  # frames whose samples the fit of a clip takes

_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class AlignTo:
    """What is known in metres; one of these.

    Args:
        to: A CSV of points, a COLMAP model, a transforms.json, or a folder of sparse depth, told by what it is.
        points: CSV file of points: key,x,y,depth_m; * stands for all images.
        known: A distance at a pixel, as 812,440=2.0 (x,y=metres); several times for several. Of all images.
        near_m: Metres to the nearest thing in each image, for disparity and affine_invariant depth.
        far_m: Metres to the farthest thing; both or none.
        colmap: Folder of a COLMAP model (cameras, images and points3D, .bin or .txt). Its unit counts as metres.
        transforms: nerfstudio's transforms.json, or its folder, with a PLY of sparse points.
        sparse: Folder of sensors' depth of the same images, with holes: LiDAR, RealSense; with a rig.json in it, which
            says the lenses and the pose, of another camera.
        sparse_from: Whose files the sparse ones are, where they do not say it: tum, kitti, nyu, scannet ...
        camera_height: Metres from the lens to the ground, upright; for depth that lacks a factor only, with a focal
            length.
        size: A thing of known size, as 410,300,655,310=0.297 (x1,y1,x2,y2=metres); several times for several. For the
            same depth.
        unknown_beyond: Make pixels unknown that the fit puts behind the camera or beyond infinity, rather than
            fail the image.

    Example:
        >>> tape = cx.AlignTo(known=("320,432=0.87", "320,144=1.69"))
        >>> report = cx.estimate("room.jpg", "metres", align_to=tape)  # doctest: +SKIP
    """

    to: str | None = None
    points: str | None = None
    known: tuple[str, ...] = ()
    near_m: float | None = None
    far_m: float | None = None
    colmap: str | None = None
    transforms: str | None = None
    sparse: str | None = None
    sparse_from: str | None = None
    camera_height: float | None = None
    size: tuple[str, ...] = ()
    unknown_beyond: bool = False

    def list_sources(self) -> list[str]:
        """Return the names of the sources that are given."""
        names = [each.name for each in fields(self)]
        names = [name for name in names if name not in ("sparse_from", "unknown_beyond", "far_m")]
        return [name for name in names if getattr(self, name) not in (None, ())]


class FitErrors:
    """How far known distances are from their fits, of all images of a run. Threads may share it."""

    def __init__(self) -> None:
        self._adding = threading.Lock()
        self._shares = array("d")
        self._exact = self._count = self._bad = 0
        self._worst = (0.0, "")
        self._first = ""  # of the bad ones, for people

    def add(self, key: str, found: Alignment | None) -> None:
        """Count an image, or a clip, if something is known of it."""
        if found is None or not (points := found.points_used + found.points_rejected):
            return
        share = found.residual_share
        with self._adding:
            if found.uncertainty is None and not found.points_rejected:
                self._exact += 1
                return
            self._count += 1
            if share is not None:
                self._shares.append(share)
                self._worst = max(self._worst, (share, key))
            if share is None or share > _FAR or found.points_rejected > _MANY * points:
                off = f"{share:.1%} off, " if share is not None else ""
                self._first = self._first or (
                    f"{printable(key)}: {off}{found.points_rejected} of {points} points rejected"
                )
                self._bad += 1

    def log(self) -> None:
        """Log it, in a line or two."""
        if self._exact:
            many = format_count(self._exact, "image")
            _log.info("for %s only as many distances are known as a fit needs: its error is unknown", many)
        if self._shares:
            middle, (worst, key) = statistics.median(self._shares), self._worst
            said = f"; at most {worst:.1%}: {printable(key)}" if len(self._shares) > 1 else ""
            many = format_count(len(self._shares), "image")
            _log.info("known distances are %.1f%% off their fits (median of %s%s)", 100 * middle, many, said)
        if self._bad:
            _log.warning(
                "%d of %s do not fit what is known of them (%s): are the distances theirs?",
                self._bad,
                format_count(self._count, "image"),
                self._first,
            )


class Aligner:
    """Makes depth metric by what is known of it. Threads may share it.

    Raises `InputError` for a source that cannot be read, and unless there is one.
    """

    def __init__(self, to: AlignTo) -> None:
        given = to.list_sources()
        if (to.near_m is None) != (to.far_m is None):
            raise InputError("`near_m` and `far_m` belong together: give both or none")
        if len(given) != 1:
            said = f"{len(given)} are given ({', '.join(given)})" if given else "nothing is given"
            sources = "`points`, `known`, `colmap`, `transforms`, `sparse`, `near_m`, `camera_height`, `size`"
            raise InputError(f"{said}: align to one of `to`, {sources}")
        self._to = to
        self.source: SparseDepth | None = None
        self.settings: dict[str, object] = {"unknown_beyond": True} if to.unknown_beyond else {}
        if to.near_m is not None and to.far_m is not None:
            require_distances(to.near_m, to.far_m)
            self.by = "near_far"
            self.settings |= {"near_m": to.near_m, "far_m": to.far_m}
        elif to.camera_height is not None:
            self.by = "camera_height"
            self.settings |= {"camera_height": to.camera_height}
        elif to.size:
            self.by = "size"
            self._lengths = [read_length(each) for each in to.size]
            self.settings |= {"size": self._lengths}
        else:
            from cortexia_video.sparse_depth.open import (
                open_sparse_depth,
            )  # readers that other runs do not need

            value = getattr(to, given[0])
            self.source = open_sparse_depth(given[0], value, convention=to.sparse_from)
            self.by = self.source.by
            self.settings |= self.source.settings

    def __reduce__(self) -> tuple[type[Self], tuple[AlignTo]]:
        """Let another process, which may stand in another folder, open the source anew."""
        given = {name: getattr(self._to, name) for name in _PATHS}
        paths: dict[str, Any] = {
            name: to_text(to_absolute(path)) for name, path in given.items() if path is not None
        }
        return type(self), (replace(self._to, **paths),)

    def take(self, key: str, depth: DepthMap) -> Samples:
        """Return what is known of an image's depth; raises `InputError` where that is nothing."""
        if self.source is None:
            return take_samples(depth, [])
        height, width = depth.full_size or depth.values.shape
        return take_samples(depth, self.source.find(key, width, height))

    def fit(self, depth: DepthMap, samples: Samples) -> Fit:
        """Return the fit of one image; raises `InputError` where there is none."""
        to = self._to
        if to.near_m is not None and to.far_m is not None:
            return fit_extremes(depth, near_m=to.near_m, far_m=to.far_m)
        if self.source is not None:
            return fit_samples(samples, depth.kind)
        require_perspective(depth, "`camera_height` and `size`")
        if depth.f_px is None:
            raise InputError("no focal length is known: give `f_px`")
        height, width = depth.full_size or depth.values.shape
        camera = Pinhole.centred(depth.f_px, width, height)
        if to.camera_height is not None:
            return fit_camera_height(depth, camera, to.camera_height)
        return fit_known_length(depth, camera, self._lengths)

    def align(self, key: str, depth: DepthMap, shared: Fit | None = None, share: Share = "none") -> DepthMap:
        """Return metric depth of one image, by its own fit or a shared one; raises `InputError`."""
        try:
            samples = self.take(key, depth)
        except InputError:
            if shared is None:
                raise
            samples = take_samples(depth, [])
        fit = shared or self.fit(depth, samples)
        unknown_beyond = self._to.unknown_beyond
        return apply_fit(depth, fit, samples, self.by, share=share, unknown_beyond=unknown_beyond)

    def find_clip(
        self, name: Callable[[int], Sequence[str]], numbers: Iterable[int], width: int, height: int
    ) -> dict[int, Floats]:
        """Return what is known of frames of a clip, by number; of the first that something is known of.

        name: gives the keys that may mean a frame. Raises `InputError` where nothing is known of any.
        """
        if self.source is None:
            raise InputError(
                "`near_m`, `far_m`, `camera_height` and `size` are of each image: videos need points or sparse depth"
            )
        known: dict[int, Floats] = {}
        reason: InputError | None = None
        for number in numbers:
            for key in name(number):
                try:
                    known[number] = self.source.find(key, width, height)
                    break
                except InputError as error:
                    reason = error
            if len(known) == _OF_CLIP:
                break
        if not known:
            raise InputError(f"nothing is known of its frames: {reason}")
        return known

    def fit_clip(self, known: Mapping[int, Floats], depths: Mapping[int, DepthMap]) -> Alignment:
        """Return one fit for all frames of a clip, by the depth of those that something is known of."""
        some = {
            number: depths[number] for number in sorted(depths) if number in known
        }  # they come as they end
        if not some:
            raise InputError("there is no depth of the frames that something is known of")
        samples = join_samples(
            [take_samples(depth, known[number]) for number, depth in some.items()], most=OF_EACH
        )
        depth = next(iter(some.values()))
        fit = fit_samples(samples, depth.kind)
        aligned = apply_fit(depth, fit, samples, self.by, share="clip", unknown_beyond=True).alignment
        assert aligned is not None
        return aligned
