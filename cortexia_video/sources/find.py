"""Inputs in files and folders: found lazily, in one order on every machine, each under a key of its own."""

from __future__ import annotations

import dataclasses
import fnmatch
import hashlib
import logging
import os
import stat
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache, partial
from itertools import chain, islice
from pathlib import Path, PurePath

from cortexia_video.errors import (
    CortexiaError,
    Failure,
    InputError,
    attempt,
    attempt_all,
    describe,
    in_words,
    printable,
    propose,
    redact,
)
from cortexia_video.formats.registry import OWN_NAMES, is_own_output
from cortexia_video.images.sniff import IMAGE_SUFFIXES
from cortexia_video.ledger.entries import Source
from cortexia_video.ledger.partition import Partition
from cortexia_video.ledger.state import is_ledger
from cortexia_video.runtime.bounded_map import AT_ONCE, map_bounded
from cortexia_video.sources.archives import find_in_shard
from cortexia_video.sources.inputs import DEPTH, IMAGES_AND_VIDEOS, OWN, Rule, holds_video, list_images
from cortexia_video.sources.inputs import Found as Found
from cortexia_video.sources.inputs import InputFile as InputFile
from cortexia_video.sources.objects import find_named, find_objects
from cortexia_video.storage.archive_member import SHARD_SUFFIXES
from cortexia_video.storage.paths import AnyPath, open_named, require_object, to_path, to_places, to_text
from cortexia_video.storage.remote_path import RemotePath
from cortexia_video.video.container import IS_INSTALLED, is_video_name

_OURS = (*OWN_NAMES, b".jsonl")
_BESIDE = 1000  # names that a wrong one is compared with
_LONGEST_LINE = 1 << 16  # bytes: no name is as long, and a file without lines is not read whole
_log = logging.getLogger(__name__)


def find_images(
    inputs: Sequence[str | os.PathLike[str]],
    *,
    recursive: bool = False,
    output: AnyPath | None = None,
    partition: Partition | None = None,
    passed_over: Counter[str] | None = None,
    videos: bool = False,
    apart: int | None = None,
) -> Iterator[Found]:
    """Yield the images of files, folders and lists, without reading them.

    inputs: image files; folders (`recursive` descends); `list.txt` or `@list`: a path a line, relative to
    the list's folder or else to the working directory. A folder's files are images by name or by content;
    hidden files are left out, and so is all that this package wrote, and the folder `output`. URLs
    (`s3://bucket/photos`, `file:///photos`) are taken as paths are, and in lists; images there go by name.
    A tar or parquet file that is named, also by `s3://bucket/shards/*.tar`, stands for the images inside.
    A key is the path relative to the folder given; with several inputs a folder's name comes before it.
    partition: yield only what is in this part; over all parts every input, failures too, is yielded once.
    passed_over: counts what is no input, though it may look like one to a person, by type.
    videos: these are inputs, too, where PyAV is installed.
    apart: of so many inputs it is kept in memory that they came, of several and of lists; by default of all. To count,
    where a file that comes again after many others may count again.

    Raises `InputError` at once where none of the inputs exists. All else that goes wrong is yielded as
    `Failure`, and so is a folder or list, one of several, without an image.
    """
    rule = IMAGES_AND_VIDEOS if videos and IS_INSTALLED else list_images(IS_INSTALLED)
    return find_files(
        inputs,
        rule,
        recursive=recursive,
        output=output,
        partition=partition,
        passed_over=passed_over,
        apart=apart,
    )


def find_files(
    inputs: Sequence[str | os.PathLike[str]],
    rule: Rule,
    *,
    recursive: bool = False,
    output: AnyPath | None = None,
    partition: Partition | None = None,
    passed_over: Counter[str] | None = None,
    apart: int | None = None,
) -> Iterator[Found]:
    """Yield the files that are inputs by a rule; all else is as `find_images` has it."""
    places = to_places(inputs)
    if not places:
        raise InputError("no input: give files, folders or a list.txt of paths")
    wrong: dict[str, CortexiaError] = {}
    for path, place in places.items():
        try:
            _require(path, place)
        except CortexiaError as error:
            wrong[path] = error
    if len(wrong) == len(places):
        raise next(iter(wrong.values()))
    partition, passed_over = partition or Partition(1, 1), Counter() if passed_over is None else passed_over
    if len(inputs) == 1:
        ((path, place),) = places.items()
        try:
            is_folder = (place if isinstance(place, RemotePath) else Path(path)).is_dir()
        except OSError as error:
            raise _cannot_open(str(place), error) from error
        if is_folder:
            return _Scan(rule, recursive, output, partition, passed_over).expand(path, place, prefix=False)
    whole = Partition(1, 1)  # whose keys meet is seen among all
    scan = _Scan(rule, recursive, output, whole, passed_over)
    found = (
        [Failure(redact(path), "find", wrong[path])] if path in wrong else scan.expand_named(path, place)
        for path, place in places.items()
    )
    return keep_apart(chain.from_iterable(found), partition, sys.maxsize if apart is None else apart)


@dataclass(frozen=True, slots=True)
class _Scan:
    rule: Rule
    recursive: bool
    output: AnyPath | None  # the folder that is never descended into
    partition: Partition  # what else is in a folder is not even looked at
    passed_over: Counter[str]

    def expand_named(self, path: str, place: AnyPath) -> Iterator[Found]:
        """Yield what one of several inputs stands for: at least a failure, if it is not ours."""
        nothing, before = True, self.passed_over[OWN]
        try:
            for each in self.expand(path, place, prefix=True):
                nothing = False
                yield each
        except Exception as error:  # noqa: BLE001 - as `attempt_all` does, without its calls for each file
            nothing = False
            _log.debug("%s failed", printable(path), exc_info=error)
            yield Failure(redact(path), "find", error)
        if nothing and self.passed_over[OWN] == before:
            hint = (
                "" if self.recursive or place.suffix else "; `recursive=True` looks into the folders inside"
            )
            yield Failure(redact(path), "find", InputError(f"there are no {self.rule.noun} in it{hint}"))

    def expand(self, path: str, place: AnyPath, *, prefix: bool) -> Iterator[Found]:
        if isinstance(place, RemotePath):
            with in_words(f"cannot open {place}", of=OSError):
                if place.suffix.lower() == ".txt":
                    return self._read_list(place)
                if "*" in place.name:
                    listed = [name for name, _ in place.parent.list_files(recursive=False)]
                    return chain.from_iterable(
                        find_named(self._name_key(name), place.parent / name, self.rule)
                        for name in fnmatch.filter(listed, place.name)
                    )
                if not place.is_dir():
                    return find_named(self._name_key(place.name), place, self.rule)
                return find_objects(
                    place,
                    self.rule,
                    prefix=f"{place.name}/" if prefix else "",
                    recursive=self.recursive,
                    output=self.output,
                    partition=self.partition,
                    passed_over=self.passed_over,
                )
        if _exists(path) and Path(path).is_dir():
            return self._walk(path, f"{Path(path).resolve().name}/" if prefix else "")
        if not _exists(path) or path.lower().endswith(".txt"):
            return self._read_list(Path(_without_at(path)))
        return self._explicit(self._name_key(Path(path).name), path)

    def _name_key(self, name: str) -> str:
        """Return the last part of the key of a file that a person named."""
        return self.rule.name_keys([name]).get(name, name) if self.rule.name_keys else name

    def _explicit(self, key: str, path: str) -> Iterator[Found]:
        """A file that a person named: an input whatever it is, unless we wrote it."""
        if path.endswith(SHARD_SUFFIXES) and self.rule.opens_shards:
            yield from find_in_shard(key, Path(path))
        elif os.fsencode(path).endswith(_OURS) and (
            is_ledger(Path(path).name) or (not self.rule.takes_own and is_own_output(path))
        ):
            self.passed_over[OWN] += 1
        else:
            is_image = PurePath(path).suffix.lower() in IMAGE_SUFFIXES
            yield _stat(key, path, is_clip=self.rule.takes_clips and not is_image and holds_video(path))

    def _read_list(self, path: AnyPath) -> Iterator[Found]:
        """Yield what the lines of a list name; one that names nothing that can be is its own failure."""

        def find(line: str | Failure) -> list[Found]:
            if isinstance(line, Failure):
                return [line]
            found = attempt(redact(line), "find", lambda: self._open_line(path, line))
            return [found] if isinstance(found, Failure) else found

        for found in map_bounded(attempt_all(str(path), "find", _list_lines(path)), find, workers=AT_ONCE):
            yield from found

    def _open_line(self, listing: AnyPath, written: str) -> list[Found]:
        """Find what a line of a list names: a URL, a path beside the list, or one from where we are."""
        opened = to_text(to_path(written))
        if not isinstance(to_path(written), RemotePath):
            if isinstance(listing, RemotePath):
                opened = (listing.parent / written).url
            else:
                beside = os.path.join(listing.parent, opened)  # noqa: PTH118 - keeps ..
                opened = beside if _exists(beside) else opened
        named = to_path(
            written
        )  # the key: as written where that stays inside a folder, else from the root down
        if isinstance(named, RemotePath):
            key = "/".join(named.parts)
        else:
            path = os.path.normpath(named)
            if path.startswith("..") or PurePath(path).is_absolute():
                path = os.path.abspath(opened)  # noqa: PTH100 - resolve() would follow links
            key = PurePath(path).relative_to(PurePath(path).anchor).as_posix()
        folder, slash, name = key.rpartition("/")
        key, place = folder + slash + self._name_key(name), to_path(opened)
        if isinstance(place, RemotePath):
            return [*find_named(key, place, self.rule)]
        return [*self._explicit(key, opened)]

    def _walk(self, folder: str, prefix: str) -> Iterator[Found]:
        """Yield a folder's images in order; by a stack, since folders can be deeper than calls."""

        rule = self.rule

        @cache
        def has_images() -> bool:  # besides what looks like depth; asked only where something does
            def accepts(entry: os.DirEntry[str]) -> bool:
                return rule.accepts(entry) and not rule.is_depth(entry.path)

            others = dataclasses.replace(rule, accepts=accepts, is_depth=lambda path: False)
            scan = _Scan(others, self.recursive, self.output, Partition(1, 1), Counter())
            found = scan.expand(folder, Path(folder), prefix=False)
            return any(isinstance(each, InputFile) and not each.is_clip for each in found)

        stack = [(self._list(folder, prefix, has_images), frozenset({_identify(Path(folder))}))]
        while stack:
            entries, above = stack[-1]
            each = next(entries, None)
            if each is None:
                stack.pop()
            elif isinstance(each, tuple):
                path, inner = each
                if not self.recursive:
                    continue
                identity = _identify(Path(path))
                output = _identify(self.output) if isinstance(self.output, Path) else None  # made meanwhile
                if identity is not None and identity == output:
                    continue
                if identity in above:
                    _log.warning("not followed: %s is a link back to a folder above it", printable(path))
                    continue
                stack.append((self._list(path, inner, has_images), above | {identity}))
            else:
                yield each

    def _list(
        self, folder: str, prefix: str, has_images: Callable[[], bool]
    ) -> Iterator[Found | tuple[str, str]]:
        """Yield a folder's images, and its folders as path and prefix. has_images: in all that is walked."""
        try:
            with os.scandir(folder) as scanned:
                entries = sorted(scanned, key=lambda entry: os.fsencode(entry.name))
        except OSError as error:
            reason = f"cannot list the folder {printable(folder)}: {describe(error)}"
            if self.partition.holds(prefix):
                yield Failure(prefix or folder, "find", InputError(reason))
            return
        entries = [each for each in entries if not each.name.startswith(".") and not is_ledger(each.name)]
        names = [entry.name for entry in entries]
        keys = self.rule.name_keys(names) if self.rule.name_keys else dict(zip(names, names, strict=True))
        absolute = os.path.abspath(folder)  # noqa: PTH100 - resolve() would follow links
        for entry in entries:
            key = prefix + keys.get(entry.name, entry.name)
            if _is_folder(entry):
                yield entry.path, f"{prefix}{entry.name}/"
            elif self.partition.holds(key):
                if entry.name not in keys or not self.rule.accepts(entry):
                    self.rule.note(entry.name, self.passed_over)
                elif self.rule.is_depth(entry.path) and has_images():
                    self.passed_over[DEPTH] += 1
                else:
                    is_clip = self.rule.takes_clips and is_video_name(entry.name)
                    yield _stat(key, entry.path, os.path.join(absolute, entry.name), is_clip=is_clip)  # noqa: PTH118
        yield from self.rule.list_packed(
            Path(folder), (each.name for each in entries), prefix, self.partition
        )


def _list_lines(path: AnyPath) -> Iterator[str]:
    """Yield the lines of a list that say anything."""
    with open_named(path) as lines:
        for number, line in enumerate(iter(partial(lines.readline, _LONGEST_LINE), b"")):
            if len(line) == _LONGEST_LINE:
                raise InputError(
                    f"{printable(str(path))}, line {number + 1}: too long for a path: is it a list?"
                )
            text = line.removeprefix(b"\xef\xbb\xbf") if number == 0 else line
            written = os.fsdecode(text.rstrip(b"\r\n"))
            if written.strip():
                yield written


def mark_key(key: str, path: str) -> str:
    """Return the key of a file whose own another file has: with a mark of its path."""
    mark, pure = hashlib.sha256(os.fsencode(path)).hexdigest()[:8], PurePath(key)
    return pure.with_name(f"{pure.stem}~{mark}{pure.suffix}").as_posix()


def keep_apart(found: Iterator[Found], partition: Partition, most: int = sys.maxsize) -> Iterator[Found]:
    """Drop a file that comes twice, and give a key of its own to another file of the same key.

    most: files that are remembered.

    The partition goes by the key as it was, since paths, and so marks, can differ between machines.
    """
    keys: set[str] = set()
    seen: set[str] = set()
    for each in found:
        path = each.place if isinstance(each, InputFile) else f"{each.key}: {each.reason}"
        if path in seen:
            continue
        key = mark_key(each.key, path) if each.key in keys else each.key
        if len(seen) < most:
            seen.add(path)
            keys.add(key)
        if partition.count == 1 or partition.holds(each.key):
            yield each if key == each.key else dataclasses.replace(each, key=key)


def _stat(key: str, path: str, absolute: str | None = None, *, is_clip: bool = False) -> Found:
    try:
        status = os.stat(path)  # noqa: PTH116 - of each of a million, half the time
    except (OSError, ValueError) as error:
        return Failure(key, "find", _cannot_open(path, error))
    if not stat.S_ISREG(status.st_mode):
        return Failure(key, "find", InputError("not a file that can be read: a folder, pipe or device"))
    absolute = absolute or os.path.abspath(path)  # noqa: PTH100
    return InputFile(key, Source(absolute, status.st_size, status.st_mtime_ns), absolute, is_clip=is_clip)


def _require(path: str, place: AnyPath) -> None:
    """Refuse an input that does not exist or is not ours to open."""
    if isinstance(place, RemotePath):
        return require_object(place)
    actual = _without_at(path)
    try:
        Path(actual).stat()
        if path != actual or (path.lower().endswith(".txt") and not Path(path).is_dir()):
            open_named(Path(actual)).close()
    except FileNotFoundError as error:
        near = ""
        with suppress(OSError), os.scandir(Path(actual).parent) as beside:
            near = propose(Path(actual).name, (each.name for each in islice(beside, _BESIDE)))
        raise InputError(
            printable(f"no such file or folder: {actual}{near and '; '}{near}".rstrip())
        ) from error
    except (OSError, ValueError) as error:
        raise _cannot_open(actual, error) from error
    return None


def _cannot_open(path: str, error: OSError | ValueError) -> InputError:
    return InputError(f"cannot open {printable(path)}: {describe(error)}")


def _without_at(path: str) -> str:
    """Return the list that `@list` names, unless a file is really called so."""
    return path if _exists(path) else path.removeprefix("@")


def _exists(path: str) -> bool:
    try:
        return Path(path).exists()
    except (OSError, ValueError):
        return False


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:
        return False


def _identify(path: Path | None) -> tuple[int, int] | None:
    try:
        status = path.stat() if path else None
    except OSError:
        return None
    return (status.st_dev, status.st_ino) if status else None
