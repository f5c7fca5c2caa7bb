"""`Items`: the pictures of a truth, each with its reference made ready, as often as they are asked for."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from cortexia_video.errors import Failure, InputError
from cortexia_video.evaluation.picture_score import Reference, find_reference
from cortexia_video.evaluation.protocol import Protocol
from cortexia_video.evaluation.score_file import find_digest
from cortexia_video.evaluation.truth import Truth, TruthSet
from cortexia_video.frame import Frame
from cortexia_video.rgbd_sample import RGBDSample


class Item(NamedTuple):
    """A picture. frame: with its key among all sets. digest: of protocol, picture and reference."""

    within: TruthSet
    frame: Frame
    reference: Reference
    digest: str


class Items:
    """The pictures of a truth. left: those without a usable reference that were met, by key."""

    def __init__(self, truth: Truth, protocol: Protocol, *, workers: int) -> None:
        self.left: dict[str, Failure] = {}
        self._truth = truth
        self._protocol = protocol
        self._workers = workers

    def read(self, keys: Collection[str] | None = None) -> Iterator[Item]:
        """Yield the pictures, or those with these keys; they are read a few ahead."""
        for within in self._truth.sets:
            wanted = keys and {key for key in within.keys if self._truth.name(within, key) in keys}
            for sample in within.read(wanted, workers=self._workers):
                key = self._truth.name(within, sample.key)
                if isinstance(sample, Failure):
                    self.left[key] = replace(sample, key=key)
                    continue
                try:
                    yield self._prepare(within, sample, key)
                except InputError as error:
                    self.left[key] = Failure(key, "decode", error)

    def _prepare(self, within: TruthSet, sample: RGBDSample, key: str) -> Item:
        if sample.depth.kind != "metric":
            raise InputError(f"its reference is {sample.depth.kind} depth: metres are needed")
        reference = find_reference(
            key,
            sample.depth.values,
            self._protocol,
            mask=sample.mask,
            set_max_m=within.max_m,
            registered=within.dataset.registered,
        )
        image = sample.frame.image if within.has_pictures else np.empty(0, np.uint8)
        parts = (reference.depth_m, reference.mask, image)
        digest = find_digest(
            self._protocol.digest.encode(),
            repr((reference.max_m, reference.registered, sample.frame.f_px)).encode(),
            *(np.ascontiguousarray(part).tobytes() for part in parts),
        )
        return Item(within, replace(sample.frame, key=key), reference, digest)
