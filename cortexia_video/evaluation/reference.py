"""`Reference`: what an image is measured against, and where it counts; `Items`: those of a ground truth."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import xxhash

from cortexia_video.depth_map import Projection
from cortexia_video.errors import Failure, InputError, attempt
from cortexia_video.evaluation.ground_truth import GroundTruth, GroundTruthSet
from cortexia_video.evaluation.metrics.pixel_sums import Array, Mask
from cortexia_video.evaluation.protocol import SCORING, Protocol
from cortexia_video.frame import Frame
from cortexia_video.pinhole import Pinhole
from cortexia_video.rgbd_sample import RGBDSample

_DENSE = 0.5  # share of known pixels from which neighbours of a reference mean something


@dataclass(frozen=True, slots=True, eq=False)
class Reference:
    """What an image is measured against: depth (H, W) metres, and where it counts.

    max_m: the largest depth that there is, by the protocol, the dataset, or else this reference: disparity is
    clamped there, and what is unknown counts as at most that. limit_m: what known depth is clipped to;
    infinite where neither protocol nor dataset knows a largest depth. registered: its edges lie where the
    image's do. camera: of these pixels, where it is known. projection: of what it measures, as far as it says it.
    """

    key: str
    depth_m: Array
    mask: Mask
    max_m: float
    limit_m: float = math.inf
    registered: bool = True
    camera: Pinhole | None = None
    projection: Projection = "perspective"

    @property
    def size(self) -> tuple[int, int]:
        height, width = self.depth_m.shape
        return height, width

    @property
    def is_dense(self) -> bool:
        """Return whether more than half of the pixels are known."""
        return bool(np.count_nonzero(self.mask) > _DENSE * self.mask.size)


def find_reference(
    key: str,
    depth_m: Array,
    protocol: Protocol,
    *,
    mask: Mask | None = None,
    set_max_m: float | None = None,
    registered: bool = True,
    camera: Pinhole | None = None,
    projection: Projection = "perspective",
) -> Reference:
    """Prepare the reference of an image, (H, W) in metres, not finite or 0 where unknown.

    mask: True for pixels that the dataset lets be used. camera: of all of these pixels. Raises `InputError`
    where no pixel is to be measured.
    """
    depth = protocol.cut(depth_m)
    exact = depth.astype(np.float64)
    max_m = protocol.find_max_m(exact, set_max_m)
    counts = protocol.find_mask(exact, max_m)
    if mask is not None:
        counts &= protocol.cut(mask)
    known = int(np.count_nonzero(counts))
    if known < protocol.min_pixels:
        raise InputError(
            f"{known} valid pixels of the reference by protocol {protocol.name}, which needs "
            f"{protocol.min_pixels}: is its unit metres?"
        )
    limit_m = max_m if protocol.cap_m is None else protocol.cap_m
    max_m = limit_m if math.isfinite(limit_m) else float(exact[counts].max())
    seen = camera and protocol.cut_camera(camera)
    return Reference(key, depth, counts, max_m, limit_m, registered, seen, projection)


class PendingItem(NamedTuple):
    """An image that is still to be read. key: among all sets. read: returns it, or raises what is wrong with it."""

    within: GroundTruthSet
    key: str
    read: Callable[[], RGBDSample]


class EvalItem(NamedTuple):
    """An image. frame: with its key among all sets. digest: of protocol, image and reference. sample: all of it."""

    within: GroundTruthSet
    frame: Frame
    reference: Reference
    digest: str
    sample: RGBDSample


class Items:
    """The images of a ground truth. skipped: those without a usable reference that were met, by key."""

    def __init__(self, truth: GroundTruth, protocol: Protocol, groups: Sequence[str] = ()) -> None:
        self.skipped: dict[str, Failure] = {}
        self._truth = truth
        self._protocol = protocol
        self._facts = f"{protocol.digest} {' '.join(groups)}".encode()

    def list_pending(self, keys: Collection[str] | None = None) -> Iterator[PendingItem]:
        """Yield all images, or those with these keys, unread."""
        for within in self._truth.sets:
            for key, read in within.list_samples():
                name = self._truth.name(within, key)
                if keys is None or name in keys:
                    yield PendingItem(within, name, read)

    def open(self, pending: PendingItem) -> EvalItem | None:
        """Read an image; None where its reference cannot be used, which `skipped` then says. Thread-safe."""

        def prepare() -> EvalItem:
            sample, within, protocol = pending.read(), pending.within, self._protocol
            if sample.depth.kind != "metric":
                raise InputError(f"its reference is {sample.depth.kind} depth: metres are needed")
            reference = find_reference(
                pending.key,
                sample.depth.values,
                protocol,
                mask=sample.mask,
                set_max_m=within.max_m,
                registered=within.dataset.registered,
                camera=sample.camera,
                projection=sample.depth.projection,
            )
            frame = replace(sample.frame, key=pending.key)
            if protocol.cameras == "hidden":
                frame = replace(frame, f_px=None, f_source=None)
            image = frame.image if within.has_images else np.empty(0, np.uint8)
            facts = (reference.max_m, reference.limit_m, reference.registered, reference.camera, frame.f_px)
            around = () if reference.projection == "perspective" else (reference.projection,)
            parts = (sample.depth.values, sample.valid, reference.mask, image)  # a model may see all of it
            content = (np.ascontiguousarray(part).tobytes() for part in parts)
            digest = find_digest(self._facts, repr((*facts, *around)).encode(), *content)
            return EvalItem(within, frame, reference, digest, sample)

        opened = attempt(pending.key, "decode", prepare)
        if isinstance(opened, Failure):
            self.skipped[pending.key] = opened
            return None
        return opened


def find_digest(*parts: bytes) -> str:
    """Return one digest of all that a score depends on."""
    digest = xxhash.xxh3_128(bytes([SCORING]))
    for part in parts:
        digest.update(len(part).to_bytes(8, "little"))
        digest.update(part)
    return digest.hexdigest()
