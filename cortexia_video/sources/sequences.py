"""Folders of frames, each of which is one clip."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from itertools import chain
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from cortexia_video.errors import Failure, InputError, attempt, attempt_all, in_words, printable, redact
from cortexia_video.ledger.entries import Source
from cortexia_video.ledger.partition import Partition
from cortexia_video.sources.find import keep_apart
from cortexia_video.sources.inputs import FRAMES, Found, InputFile
from cortexia_video.storage.paths import AnyPath, to_path, to_text
from cortexia_video.storage.remote_path import RemotePath
from cortexia_video.video.depth_clip import SUFFIX as CLIP
from cortexia_video.video.image_sequence import (
    describe_images,
    in_natural_order,
    is_frame_name,
    list_images,
)

_FRAME = ""  # in counts of what a folder holds


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
    passed_over: Counter[str] | None = None,
) -> Iterator[Found]:
    """Yield the folders given, each as a clip; `recursive`: also those inside, as far as they hold images.

    A key is the folder's name, and of one inside the path from there; that of another folder of the same key has a
    mark of its own, as files have it. passed_over: counts what may look like an input, as `find_images` does.
    """
    whole, partition = Partition(1, 1), partition or Partition(1, 1)
    scan = partial(
        _find_in,
        recursive=recursive,
        output=output,
        passed_over=Counter() if passed_over is None else passed_over,
    )
    if len(inputs) == 1:
        return scan(inputs[0], partition=partition)
    each = (scan(given, partition=whole) for given in inputs)
    return keep_apart(chain.from_iterable(each), partition)


def _find_in(
    given: str | os.PathLike[str],
    *,
    recursive: bool,
    output: AnyPath | None,
    partition: Partition,
    passed_over: Counter[str],
) -> Iterator[Found]:
    root, empty = to_path(given), True
    for folder in attempt_all(redact(to_text(given)), "find", _find(root, recursive, output, passed_over)):
        empty = False
        if isinstance(folder, Failure):
            yield folder
        elif partition.holds(key := os.fspath(PurePosixPath(root.resolve().name) / folder)):
            yield attempt(key, "find", partial(_describe, key, root / folder if folder else root))
    if empty:
        hint = "" if recursive else "; `recursive=True` looks into the folders inside"
        reason = f"there are no images in {printable(str(root))}{hint}"
        yield Failure(root.resolve().name, "find", InputError(reason))


def _find(root: AnyPath, recursive: bool, output: AnyPath | None, passed_over: Counter[str]) -> Iterator[str]:
    """Yield the folders that hold images, as paths from the root; `InputError` for what is no folder."""
    with in_words(f"cannot open {printable(str(root))}", of=OSError):
        if not root.is_dir():
            raise InputError(
                f"{printable(str(root))} is no folder: with `sequence` each input is one, of frames"
            )
    output = output.resolve() if output else None
    if isinstance(root, RemotePath):
        yield from _list_remote(root, recursive, output, passed_over)
        return
    for place, folders, names in os.walk(root, followlinks=recursive):
        folder = Path(place)
        inside = (each for each in folders if recursive and not each.startswith("."))
        folders[:] = sorted(each for each in inside if not _leads_back(folder / each, root))
        if folder != root and folder.resolve() == output:
            folders.clear()
            continue
        for name in names:
            FRAMES.note(name, passed_over)
        if any(map(is_frame_name, names)) and list_images(folder):
            yield "" if folder == root else folder.relative_to(root).as_posix()


def _leads_back(folder: Path, root: Path) -> bool:
    """Return whether a folder is, behind a link, one that it is in."""
    above = (each for each in folder.parents if each == root or root in each.parents)
    return folder.resolve() in {each.resolve() for each in above}


def _list_remote(
    root: RemotePath, recursive: bool, output: AnyPath | None, passed_over: Counter[str]
) -> Iterator[str]:
    others: dict[PurePosixPath, Counter[str]] = {}
    with in_words(f"cannot list {root}", of=OSError):
        for each, _ in root.list_files(recursive=recursive):
            path = PurePosixPath(each)
            noted = others.setdefault(path.parent, Counter())
            FRAMES.note(path.name, noted)
            noted[_FRAME] += is_frame_name(path.name)
    for folder, noted in sorted(others.items()):
        hidden = any(part.startswith(".") for part in folder.parts)
        above = {root / os.fspath(each) for each in (folder, *folder.parents) if each.parts}
        if not hidden and output not in above:
            has_frames = noted.pop(_FRAME)
            passed_over.update(noted)
            if has_frames:
                yield "" if not folder.parts else os.fspath(folder)


def _describe(key: str, folder: AnyPath) -> InputFile:
    images = list_images(folder)
    if isinstance(folder, RemotePath):
        return InputFile(key, Source(str(folder), *describe_images(images)), folder.url, is_clip=True)
    absolute = os.path.abspath(folder)  # noqa: PTH100 - resolve() would follow links
    return InputFile(key, Source(absolute, *describe_images(images)), absolute, is_clip=True)
