"""Datasets of the Hugging Face hub, and copies of them in folders: read as they come, or streamed."""

from __future__ import annotations

import atexit
import functools
import os
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from cortexia_video.datasets.dataset import AnyDataset
from cortexia_video.datasets.dataset_info import DatasetInfo
from cortexia_video.datasets.huggingface import from_hf, import_datasets
from cortexia_video.datasets.readers.nyu_labeled import NYU_CAMERA, NYU_EVALUATION
from cortexia_video.datasets.row_schema import UNSAID, AssumedMeaning
from cortexia_video.errors import InputError
from cortexia_video.storage.paths import AnyPath
from cortexia_video.storage.remote_path import RemotePath

_SAVED = ("dataset_info.json", "dataset_dict.json")  # by `save_to_disk`
_CACHES = ("HF_DATASETS_CACHE", "HF_HOME")
_CONVERTED = "refs/convert/parquet"


@dataclass(frozen=True, slots=True)
class _Opener:
    """Opens any dataset, or copies of a known one: convention, and what else `from_hf` is told of them."""

    convention: str | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)

    def __call__(
        self,
        root: AnyPath,
        split: str | None,
        *,
        streaming: bool = False,
        revision: str | None = None,
        image: str = "image",
        depth: str = "depth_map",
        meaning: AssumedMeaning = UNSAID,
        allow_outside: bool = False,
    ) -> AnyDataset:
        """Open a dataset of the hub (org/name), or a folder: of its files, or made by `save_to_disk`.

        streaming: nothing is kept on the disk. revision: a branch of the hub; refs/convert/parquet has what
        the hub itself made of many older datasets. The others are as for `from_hf`.
        """
        found = load(root, split or "train", streaming=streaming, revision=revision)
        if self.convention and not meaning.is_said:
            meaning = meaning._replace(convention=self.convention)
        return from_hf(
            found,
            image=image,
            depth=depth,
            **meaning._asdict(),
            within=None if allow_outside or isinstance(root, RemotePath) else root,
            **self.facts,
        )


def load(root: AnyPath, split: str, *, streaming: bool, revision: str | None) -> Any:
    """Return what `datasets` finds; every error of it is an `InputError` with a remedy."""
    if isinstance(root, RemotePath):
        raise InputError(
            f"{root}: a dataset of the hub is org/name, or a folder of this machine; its parquet files "
            "at a URL are opened as parquet (`name='parquet'`)"
        )
    hf = import_datasets()
    try:
        if any((root / name).exists() for name in _SAVED):
            saved = hf.load_from_disk(str(root))
            if isinstance(saved, hf.DatasetDict):
                if split not in saved:
                    raise InputError(f"{root} has no split {split!r}, only {', '.join(saved)}")
                saved = saved[split]
            return saved.to_iterable_dataset() if streaming else saved
        cache = _make_cache() if root.exists() and not any(name in os.environ for name in _CACHES) else None
        return hf.load_dataset(
            str(root), split=split, streaming=streaming, revision=revision, cache_dir=cache
        )
    except InputError:
        raise
    except Exception as error:  # it raises what its file systems, Arrow and the hub raise
        reason = " ".join(str(error).split()) or type(error).__name__
        words = f"cannot open {root}: {reason[:300]}; give a folder that exists, or org/name of the hub"
        if "scripts are no longer supported" in reason:
            words = (
                f"{root} is a script, which current `datasets` does not run: open its parquet conversion by "
                f"revision={_CONVERTED!r}, or a folder with its parquet files; or nyu-labeled, the official .mat"
            )
        raise InputError(words) from error


@functools.cache
def _make_cache() -> str:
    """Return a folder, gone when the process ends, for the copies that `datasets` reads local files by.

    Else they would stay in the home folder. Where the person named a cache they are kept there.
    """
    folder = tempfile.mkdtemp(prefix="cortexia-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


HUB = DatasetInfo(
    name="hub",
    summary="any dataset of the Hugging Face hub with images and depth in two columns",
    licence="see its page",
    where="https://huggingface.co/datasets",
    layout="org/name, or a folder of its files; image= and depth= name the columns, convention= (or kind= and "
    "scale=) the meaning",
    open=_Opener(),
    splits=None,
    marks=("dataset_info.json",),
)
NYU = DatasetInfo(
    name="nyu",
    summary="NYU Depth V2 of the hub: rooms, Kinect, float TIFF in metres; splits train, validation",
    licence="none stated: research",
    where="https://huggingface.co/datasets/sayakpaul/nyu_depth_v2, with revision='refs/convert/parquet'",
    layout="sayakpaul/nyu_depth_v2, or a folder with its parquet files; columns image and depth_map",
    open=_Opener("metres", {"camera": NYU_CAMERA, "name": "nyu", "evaluation": NYU_EVALUATION}),
    splits=None,
)
