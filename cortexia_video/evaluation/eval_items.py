"""`Items`: the images of a ground truth, each with its reference made ready, as often as they are asked for."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from cortexia_video.errors import Failure, InputError
from cortexia_video.evaluation.ground_truth import GroundTruth, GroundTruthSet
from cortexia_video.evaluation.protocol import Protocol
from cortexia_video.evaluation.reference import Reference, find_reference
from cortexia_video.evaluation.score_file import find_digest
from cortexia_video.frame import Frame
from cortexia_video.rgbd_sample import RGBDSample
from cortexia_video.runtime.input_boundary import attempt


class Destination(NamedTuple):
    """Where an image is. key: among all sets. read: gives it, or raises what is wrong with it."""

    within: GroundTruthSet
    key: str
    read: Callable[[], RGBDSample]


class EvalItem(NamedTuple):
    """An image. frame: with its key among all sets. digest: of protocol, image and reference."""

    within: GroundTruthSet
    frame: Frame
    reference: Reference
    digest: str


class Items:
    """The images of a ground truth. left: those without a usable reference that were met, by key."""

    def __init__(self, truth: GroundTruth, protocol: Protocol, groups: Sequence[str] = ()) -> None:
        self.left: dict[str, Failure] = {}
        self._truth = truth
        self._protocol = protocol
        self._facts = f"{protocol.digest} {' '.join(groups)}".encode()

    def list_places(self, keys: Collection[str] | None = None) -> Iterator[Destination]:
        """Yield where the images are, or those with these keys."""
        for within in self._truth.sets:
            for key, read in within.list_samples():
                name = self._truth.name(within, key)
                if keys is None or name in keys:
                    yield Destination(within, name, read)

    def open(self, place: Destination) -> EvalItem | None:
        """Read an image; None where its reference cannot be used, which `left` then says. Thread-safe."""
        opened = attempt(place.key, "decode", lambda: self._prepare(place.within, place.read(), place.key))
        if isinstance(opened, Failure):
            self.left[place.key] = opened
            return None
        return opened

    def _prepare(self, within: GroundTruthSet, sample: RGBDSample, key: str) -> EvalItem:
        if sample.depth.kind != "metric":
            raise InputError(f"its reference is {sample.depth.kind} depth: metres are needed")
        reference = find_reference(
            key,
            sample.depth.values,
            self._protocol,
            mask=sample.mask,
            set_max_m=within.max_m,
            registered=within.dataset.registered,
            camera=sample.camera,
        )
        frame = replace(sample.frame, key=key)
        if self._protocol.cameras == "hidden":
            frame = replace(frame, f_px=None, f_source=None)
        image = frame.image if within.has_images else np.empty(0, np.uint8)
        parts = (reference.depth_m, reference.mask, image)
        facts = (reference.max_m, reference.registered, reference.camera, frame.f_px)
        digest = find_digest(
            self._facts,
            repr(facts).encode(),
            *(np.ascontiguousarray(part).tobytes() for part in parts),
        )
        return EvalItem(within, frame, reference, digest)
