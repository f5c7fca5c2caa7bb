"""Folders of frames, each of which is one clip."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from cortexia_video.errors import Failure, InputError, printable
from cortexia_video.ledger.entries import Source
from cortexia_video.ledger.partition import Partition
from cortexia_video.sources.inputs import Found, InputFile
from cortexia_video.storage.paths import AnyPath, to_path
from cortexia_video.video.depth_clip import SUFFIX as CLIP
from cortexia_video.video.image_sequence import in_natural_order, list_images, stat_images


class DepthSequence(NamedTuple):
    """Depth of a clip. item: what it is as one input. files: of its frames, in order; none of a clip of depth."""

    item: InputFile
    files: Sequence[InputFile] = ()


def group_depth(found: Iterable[Found], name: str) -> list[DepthSequence | Failure]:
    """Return depth files as clips: those of each folder in natural order; a clip of depth is one already.

    name: the key of a folder whose files have no folder in their keys.
    """
    clips: list[DepthSequence | Failure] = []
    folders: dict[str, list[InputFile]] = {}
    for each in found:
        if isinstance(each, Failure):
            clips.append(each)
        elif each.source.path.lower().endswith(CLIP):
            clips.append(DepthSequence(each))
        else:
            folders.setdefault(each.key.rpartition("/")[0] or name, []).append(each)
    for key, files in folders.items():
        files.sort(key=lambda file: in_natural_order(file.key))
        sources = [each.source for each in files]
        path = sources[0].path.rpartition("/")[0]
        changed = max(each.mtime_ns for each in sources)
        source = Source(path, sum(each.size for each in sources), changed)
        clips.append(DepthSequence(InputFile(key, source), files))
    return clips


def find_sequences(
    inputs: Sequence[str | os.PathLike[str]],
    *,
    recursive: bool = False,
    output: AnyPath | None = None,
    partition: Partition | None = None,
) -> Iterator[Found]:
    """Yield the folders given, each as a clip; `recursive`: also those inside, as far as they hold images.

    A key is the folder's name, and of one inside the path from there.
    """
    partition, inside = partition or Partition(1, 1), output.resolve() if isinstance(output, Path) else None
    for given in inputs:
        root = to_path(given)
        if not isinstance(root, Path) or not root.is_dir():
            error = InputError(
                f"{printable(str(root))} is no folder of this machine: a sequence is one of frames"
            )
            yield Failure(printable(str(root)), "find", error)
            continue
        name, empty = root.resolve().name, True
        for place, folders, _ in os.walk(root):
            folder = Path(place)
            folders[:] = sorted(each for each in folders if recursive and not each.startswith("."))
            if folder.resolve() == inside and folder != root:
                folders.clear()
                continue
            if images := list_images(folder):
                empty = False
                key = os.fspath(Path(name) / folder.relative_to(root))
                if partition.holds(key):
                    absolute = os.path.abspath(folder)  # noqa: PTH100 - resolve() would follow links
                    yield InputFile(key, Source(absolute, *stat_images(images)), is_clip=True)
        if empty:
            yield Failure(name, "find", InputError(f"there are no images in {printable(str(root))}"))
