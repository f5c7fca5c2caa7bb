"""Folders of frames, each of which is one clip."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from cortexia_video.errors import Failure, InputError, attempt, attempt_all, in_words, printable, redact
from cortexia_video.ledger.entries import Source
from cortexia_video.ledger.partition import Partition
from cortexia_video.sources.inputs import Found, InputFile
from cortexia_video.storage.paths import AnyPath, to_path, to_text
from cortexia_video.storage.remote_path import RemotePath
from cortexia_video.video.depth_clip import SUFFIX as CLIP
from cortexia_video.video.image_sequence import (
    describe_images,
    in_natural_order,
    is_frame_name,
    list_images,
)


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
        clips.append(DepthSequence(InputFile(key, source, source.path), files))
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
    partition = partition or Partition(1, 1)
    for given in inputs:
        root, empty = to_path(given), True
        for folder in attempt_all(redact(to_text(given)), "find", _find(root, recursive, output)):
            empty = False
            if isinstance(folder, Failure):
                yield folder
            elif partition.holds(key := os.fspath(PurePosixPath(root.resolve().name) / folder)):
                yield attempt(key, "find", partial(_describe, key, root / folder if folder else root))
        if empty:
            hint = "" if recursive else "; `recursive=True` looks into the folders inside"
            reason = f"there are no images in {printable(str(root))}{hint}"
            yield Failure(root.resolve().name, "find", InputError(reason))


def _find(root: AnyPath, recursive: bool, output: AnyPath | None) -> Iterator[str]:
    """Yield the folders that hold images, as paths from the root; `InputError` for what is no folder."""
    with in_words(f"cannot open {printable(str(root))}", of=OSError):
        if not root.is_dir():
            raise InputError(
                f"{printable(str(root))} is no folder: with `sequence` each input is one, of frames"
            )
    output = output.resolve() if output else None
    if isinstance(root, RemotePath):
        yield from _list_remote(root, recursive, output)
        return
    for place, folders, names in os.walk(root):
        folder = Path(place)
        folders[:] = sorted(each for each in folders if recursive and not each.startswith("."))
        if folder != root and folder.resolve() == output:
            folders.clear()
        elif any(map(is_frame_name, names)) and list_images(folder):
            yield "" if folder == root else folder.relative_to(root).as_posix()


def _list_remote(root: RemotePath, recursive: bool, output: AnyPath | None) -> Iterator[str]:
    with in_words(f"cannot list {root}", of=OSError):
        names = (PurePosixPath(name) for name, _ in root.list_files(recursive=recursive))
        folders = {each.parent for each in names if is_frame_name(each.name)}
    for folder in sorted(folders):
        hidden = any(part.startswith(".") for part in folder.parts)
        above = {root / os.fspath(each) for each in (folder, *folder.parents) if each.parts}
        if not hidden and output not in above:
            yield "" if not folder.parts else os.fspath(folder)


def _describe(key: str, folder: AnyPath) -> InputFile:
    images = list_images(folder)
    if isinstance(folder, RemotePath):
        return InputFile(key, Source(str(folder), *describe_images(images)), folder.url, is_clip=True)
    absolute = os.path.abspath(folder)  # noqa: PTH100 - resolve() would follow links
    return InputFile(key, Source(absolute, *describe_images(images)), absolute, is_clip=True)
