"""`DatasetInfo`: one row of the table of datasets."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from cortexia_video.datasets.dataset import AnyDataset
from cortexia_video.storage.paths import AnyPath


@dataclass(frozen=True, slots=True)
class DatasetInfo:
    """How a dataset is read, and what a person must know of it.

    summary: what it holds; licence: its terms; where: a person gets it there; layout: what its folder holds.
    open: `open(root, split, **options)` gives the samples; it may give none, where the layout is another.
    marks: glob patterns; a folder with all of them is taken for this dataset.
    splits: their names, or None: those that the files say. Unnamed, a person gets all, or what `open` says.
    """

    name: str
    summary: str
    licence: str
    where: str
    layout: str
    open: Callable[..., AnyDataset]
    splits: tuple[str, ...] | None = ()
    marks: tuple[str, ...] = ()

    def describe_missing(self, root: AnyPath | str) -> str:
        """Return for people that a folder does not hold it, what it should hold, and where to get that."""
        return f"no {self.name} in {root}: expected {self.layout}; get it from {self.where}"
