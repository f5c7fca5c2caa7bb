"""`build_dataset`: what `cortexia dataset build` does: images with depth in, shards out."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Literal

from cortexia_video.datasets.build import BuildReport, write_shards
from cortexia_video.datasets.build_items import BuildItem, list_dataset_items, list_run_items
from cortexia_video.datasets.dataset import AnyDataset, RGBDDataset, RGBDStream
from cortexia_video.datasets.registry import open_folder
from cortexia_video.datasets.sample_checks import raise_problem
from cortexia_video.errors import Failure, InputError
from cortexia_video.ledger.state import read_state
from cortexia_video.storage.paths import PathLike, to_path

Problems = Literal["skip", "stop"]


def build_dataset(
    images: PathLike | RGBDDataset,
    output: PathLike,
    *,
    depth: PathLike | None = None,
    name: str | None = None,
    split: str | None = None,
    options: Mapping[str, Any] | None = None,
    format: Literal["parquet", "webdataset"] = "parquet",
    shard_size: int = 256,
    problems: Problems = "skip",
    allow_unregistered: bool = False,
    allow_outside: bool = False,
    workers: int | None = None,
) -> BuildReport:
    """Make a dataset of images and the depth that `estimate` made of them, or of a dataset.

    Finished shards are kept: the same call again does only what is missing.

    Args:
        images: The images that were given to `estimate`; without `depth` the folder of a dataset, or one that
            `open_dataset` opened. Here and below a path or a URL.
        output: The folder of the shards, in which one process builds at a time.
        depth: The output folder of cortexia estimate.
        name: Name of the dataset that is read, where its files do not show it.
        split: Split of the dataset that is read; the shards are named after it, else train.
        options: Those of the reader of the dataset, as `open_dataset` takes them.
        format: parquet, for Hugging Face datasets and random access, or webdataset, tar files to stream.
        shard_size: Samples per shard.
        problems: skip leaves out what cannot be used; stop ends there.
        allow_unregistered: Take depth that does not lie on its images.
        allow_outside: Read also what set.json and lists of the dataset name outside of its folder.
        workers: Threads; one per core by default.

    Returns:
        How many samples there are, in how many shards, and what was left out and why.

    Raises:
        InputError: Nothing to build, a dataset that is not known, or with `problems="stop"` a sample.
        OutputExistsError: `output` holds other files, or another dataset.
        OutputError: An unknown format, or another process builds there.
        OutputLostError: The output is full or unwritable; a second call goes on.

    Example:
        >>> cx.estimate("photos", "depth", recursive=True)  # doctest: +SKIP
        >>> print(cx.build_dataset("photos", "photos-depth", depth="depth"))  # doctest: +SKIP
        120 samples in 1 shards made, 0 kept; 0 failed
    """
    report = BuildReport()
    items: Iterator[BuildItem | Failure]
    if depth is None:
        dataset: AnyDataset
        if isinstance(images, RGBDDataset | RGBDStream):
            dataset = images
        else:
            allowed = {"allow_unregistered": allow_unregistered, "allow_outside": allow_outside}
            dataset = open_folder(images, name, split=split, **allowed, **(options or {}))
        if not isinstance(dataset, RGBDDataset):
            raise InputError(
                f"{dataset.root} is a stream, which cannot be resumed: give a dataset with numbers"
            )
        where = str(to_path(dataset.root).resolve()) if dataset.root else dataset.name
        source = {"images": where, "name": dataset.name}
        source |= {"part": split} if split and dataset is not images else {}
        source |= {"options": json.dumps(options, sort_keys=True, default=str)} if options else {}
        items = list_dataset_items(dataset)
        find_total: Callable[[], int] = dataset.__len__
    else:
        given = {"name": name, "allow_unregistered": allow_unregistered, "allow_outside": allow_outside}
        wrong = next(filter({**given, **(options or {})}.get, [*given, *(options or {})]), None)
        if wrong:
            raise InputError(f"`{wrong}` is for a dataset: with `depth` leave it out")
        if isinstance(images, RGBDDataset):
            raise InputError("a dataset has depth of its own: leave out `depth`, or give the images")
        place, run = to_path(images), to_path(depth)
        source = {"images": str(place.resolve()), "depth": str(run.resolve())}
        items = list_run_items(place, run, report.skipped, report.passed_over)

        def find_total() -> int:
            return read_state(run).counts()["done"]

    return write_shards(
        items,
        output,
        format=format,
        split=split or "train",
        shard_size=shard_size,
        on_problem=raise_problem if problems == "stop" else None,
        workers=workers,
        source=source,
        report=report,
        find_total=find_total,
    )
