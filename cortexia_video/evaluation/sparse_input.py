"""`SparseInput`: what models that complete a sensor's depth are given of the images of a ground truth."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Protocol

import numpy as np
import xxhash

from cortexia_video.errors import InputError, printable
from cortexia_video.evaluation.reference import EvalItem
from cortexia_video.frame import Frame
from cortexia_video.sparse_depth.depth_folder import DepthFolder
from cortexia_video.sparse_depth.source import open_sparse
from cortexia_video.storage.paths import PathLike

_TRUTH = re.compile(r"truth:([1-9]\d{0,8})")


class SparseInput(Protocol):
    """Sparse depth of images. settings: what it is, as a score depends on it."""

    settings: Mapping[str, object]

    def identify(self, key: str) -> bytes:
        """Return what an image is given, besides what follows from its ground truth, all of which is in its digest."""

    def add_to(self, item: EvalItem) -> Frame:
        """Return the image with what is known of it; raises `InputError` where that is nothing."""


class _FolderInput:
    """A `SparseInput`: maps of a folder, as `estimate` takes it."""

    def __init__(self, folder: DepthFolder) -> None:
        self.settings = folder.settings_of_each
        self._folder = folder

    def identify(self, key: str) -> bytes:
        return self._folder.digest(key).encode()

    def add_to(self, item: EvalItem) -> Frame:
        return self._folder.add_to(item.frame, [item.frame.key])


class _DrawnInput:
    """A `SparseInput`: pixels of the ground truth, drawn at random, the same ones of an image whenever it is asked."""

    def __init__(self, count: int) -> None:
        self.settings: Mapping[str, object] = {"sparse": f"truth:{count}"}
        self._count = count

    def identify(self, key: str) -> bytes:
        return b""

    def add_to(self, item: EvalItem) -> Frame:
        depth = item.sample.depth.values
        places = np.flatnonzero(item.sample.valid & np.isfinite(depth) & (depth > 0))
        if not places.size:
            raise InputError("its ground truth has no known pixel to take as sparse depth")
        draw = np.random.default_rng(xxhash.xxh3_64_intdigest(item.frame.key.encode(errors="surrogatepass")))
        chosen = draw.choice(places, min(self._count, places.size), replace=False)
        sparse = np.full(depth.shape, np.nan, np.float32)
        sparse.flat[chosen] = depth.flat[chosen]
        return replace(item.frame, sparse=sparse)


def open_sparse_input(sparse: PathLike | None, sparse_from: str | None) -> SparseInput | None:
    """Return what `sparse` names: a folder of maps, or `truth:500`, so many pixels of each ground truth.

    None for nothing; raises `InputError` for what it cannot be.
    """
    drawn = _TRUTH.fullmatch(str(sparse))
    if not drawn and str(sparse).startswith("truth:"):
        raise InputError(
            f"`sparse` is {printable(str(sparse))[:40]!r}: truth: takes a number of pixels, as truth:500"
        )
    if folder := open_sparse(None if drawn else sparse, sparse_from):
        return _FolderInput(folder)
    return _DrawnInput(int(drawn[1])) if drawn else None
