"""The splits of a folder of shards, as the files' names say them: train-00000.parquet is of train."""

from __future__ import annotations

import re

from cortexia_video.errors import InputError
from cortexia_video.storage.paths import AnyPath, find_inside


def list_split(root: AnyPath, suffix: str, split: str | None) -> list[AnyPath]:
    """List the files of a split, or of all, in a folder and those inside; or the one that `root` is.

    Raises `InputError`, with the splits that are there, where there are files and none of this split.
    """
    paths = [root] if root.is_file() else find_inside(root, f"**/*{suffix}")
    chosen = [path for path in paths if split is None or path.name.startswith(split)]
    if paths and not chosen:
        splits = sorted({re.sub(r"-\d+(-of-\d+)?$", "", path.stem) for path in paths})
        raise InputError(f"{root} has no split {split!r}: its files are named {', '.join(splits)}")
    return chosen
