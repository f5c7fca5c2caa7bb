"""`Ledger`: the result of every input, so that a second run does only what is missing.

`DIR/ledger.jsonl` holds a JSON object a line (the last one of a key counts):
  {"run": id, "settings": {...}, "version": ..., "started": ...}         a run begins
  {"key": ..., "outcome": "begun", "outputs": [name, ...]}               its files are about to be placed
  {"key": ..., "outcome": "done", "run": id, "path": ..., "source": [size, mtime_ns],
   "outputs": {name: [size, digest]}, "height": ..., "width": ..., ...}
                 packed, with "inside": {name: [place in the shard, size, digest]}; "beside": digest of a sensor's maps
  {"key": ..., "outcome": "failed", "run": id, "path": ..., "stage": ..., "reason": ...}
                 with "unplaced": true where the begun line before it came to nothing
  {"key": ..., "outcome": "requeued", "reason": ...}                     its files were found wrong
  {"key": ..., "outcome": "forgotten", "reason": ...}                    that it failed counts no more
  {"progress": id, "at": ..., "found": n, ...}                           how far a run is
  {"end": id, "at": ..., "found": n, "done": n, "skipped": n, "failed": n, ...}     a run ends
A partition writes the same to `DIR/ledger.3-of-16.jsonl`, until the next run of all, or `cortexia merge`,
joins it to the first. At a URL the lines are in objects (`ledger_segments`).
Keys that are not UTF-8 are written as JSON's escapes of Python's surrogates and read
back the same. A line that cannot be read is left out: its input is done again.
"""

from __future__ import annotations

import contextlib
import datetime
import errno
import json
import os
import secrets
import threading
from collections import Counter, deque
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from importlib.metadata import version
from itertools import islice
from pathlib import Path
from typing import Any, Literal, NamedTuple, Protocol, Self, TypeVar

from cortexia_video.errors import (
    Failure,
    LossError,
    OutputError,
    OutputExistsError,
    OutputLostError,
    attempt,
    describe,
    printable,
    put_in_words,
)
from cortexia_video.ledger.entries import CLAIMED, Outputs, Source, WrittenFile
from cortexia_video.ledger.object_log import ObjectStoreLog, merge_segments
from cortexia_video.ledger.partition import Partition
from cortexia_video.ledger.state import (
    BEGINNING_OF_RUN,
    LEDGER_NAME,
    Folder,
    LedgerState,
    Run,
    describe_settings,
    join_statements,
    list_partitions,
    name_partition,
    parse_line,
    read_lines,
    read_state,
    require_ledger,
    write_depth_json,
)
from cortexia_video.runtime.progress import track
from cortexia_video.storage.archive_member import SHARD_SUFFIXES
from cortexia_video.storage.documents import parse_json
from cortexia_video.storage.own_folder import LOOKED_AT
from cortexia_video.storage.paths import AnyPath, PathLike, split_inside, to_path
from cortexia_video.storage.remote_path import RemotePath
from cortexia_video.storage.system import flush_to_disk, open_plain, read_at, require_lock, try_lock_shared

State = Literal["done", "changed", "missing"]
FORGOTTEN = "forgotten"
PROGRESS_S = 30  # seconds between a run's lines on how far it is
LEDGER_MARKS = (BEGINNING_OF_RUN, b'{"key": ')
_JOINED_AT_ONCE = 1 << 20  # bytes
_LONGEST_VALUE = 20  # of a setting, in a message


class AppendLog:
    """Open a file to append lines; it and its folder are made where they are missing. A context manager.

    marks: how lines of ours can begin. beside: a log that must stay in its place, too. Raises
    `OutputExistsError` for a link, and for a file without any line of ours; `OutputError` where nothing can be
    written.
    """

    def __init__(
        self, path: Path, marks: tuple[bytes, ...] = LEDGER_MARKS, *, beside: AppendLog | None = None
    ) -> None:
        self.path = path
        self._beside = beside
        self._writing = threading.Lock()
        self._torn = False  # the file ends in the middle of a line
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._descriptor = open_plain(path, os.O_RDWR | os.O_CREAT | os.O_APPEND)
        except OSError as error:
            raise put_in_words(
                error, f"cannot write {path}", "choose another `output`", OutputError
            ) from error
        is_new = not os.fstat(self._descriptor).st_size
        if not is_new and not has_line(read_at(self._descriptor, LOOKED_AT, 0), marks):
            self.close()
            raise OutputExistsError(f"{path} is not ours: move it away, or choose another `output`")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file, and so unlock it."""
        os.close(self._descriptor)

    def lock(self, *words: str) -> None:
        """Keep other processes off, to append. words: of the error that `require_lock` raises."""
        require_lock(self._descriptor, self.path.parent, *words)
        size = os.fstat(self._descriptor).st_size
        self._torn = size > 0 and read_at(self._descriptor, 1, size - 1) != b"\n"

    def lock_shared(self) -> bool:
        """Keep off those who `lock`, but not each other; say False where one is there."""
        return try_lock_shared(self._descriptor)

    def append(self, entry: Mapping[str, object]) -> None:
        """Append one line; `OutputLostError` where that cannot be, and where the file was taken away."""
        self.append_lines([json.dumps(entry).encode() + b"\n"])

    def append_lines(self, lines: Iterable[bytes]) -> None:
        """Append lines as they are; one that a kill or a full disk left torn is ended first."""
        data = memoryview(b"".join(lines))
        try:
            with self._writing:
                if self._torn:
                    data = memoryview(b"\n" + data)
                while data:
                    self._torn = True
                    written = os.write(self._descriptor, data)
                    self._torn = data[written - 1] != b"\n"[0]
                    data = data[written:]
        except OSError as error:
            raise OutputLostError(self.path, error) from error
        self.require_in_place()

    def sync(self) -> None:
        """Flush to the disk, where the file system can; `OutputLostError` where the disk cannot."""
        try:
            flush_to_disk(self._descriptor)
        except OSError as error:
            raise OutputLostError(self.path, error) from error

    def require_in_place(self) -> None:
        """Raise `OutputLostError` where the path leads to another file or none: nobody would find this."""
        try:
            is_there = os.path.samestat(os.lstat(self.path), os.fstat(self._descriptor))
        except OSError:
            is_there = False
        if not is_there:
            gone = FileNotFoundError(errno.ENOENT, "it was moved, removed or replaced meanwhile")
            raise OutputLostError(self.path, gone, "put it back")
        if self._beside:
            self._beside.require_in_place()


def has_line(head: bytes, marks: tuple[bytes, ...]) -> bool:
    """Return whether a file that begins so has a line that begins as ours, or is but the piece of one."""
    *lines, last = head.split(b"\n")
    torn = not lines and any(mark.startswith(last) for mark in marks)
    return torn or any(line.startswith(marks) for line in (*lines, last))


class _Keyed(Protocol):
    @property
    def key(self) -> str: ...


_Item = TypeVar("_Item", bound=_Keyed)


class LookUp(NamedTuple):
    """What a ledger knows of an input.

    state: `done`; `changed`: made with other settings; `missing`: also of another source, or without its files.
    other: path of another file, which still exists, that the outputs of its key were made from.
    is_moved: its path is not that of its line, where nothing lies any more. outputs: its files.
    """

    state: State
    other: str | None = None
    is_moved: bool = False
    outputs: Mapping[str, WrittenFile] = {}


class Ledger:
    """The record of one output folder. A context manager; one process at a time, or one for each partition.

    settings: what the outputs depend on (model, weights, format...).
    sink: that of the run, or whatever else knows what lies in the folder.
    refuse_changed: inputs whose outputs must not have been made with other settings.
    follows: `state` is kept up to date with what is recorded, so that nobody reads the ledger again for it.
    Raises `OutputError` on entering where the file cannot be written, another process has it, or an output of
    `refuse_changed` is changed; a run is then not begun.
    """

    def __init__(
        self,
        root: AnyPath,
        settings: Mapping[str, object],
        partition: Partition | None = None,
        *,
        sink: Outputs,
        refuse_changed: Iterable[tuple[str, Source]] = (),
        follows: bool = False,
    ) -> None:
        self.root = root
        self._sink = sink
        self.settings: dict[str, Any] = {**settings}
        if not all(map(_is_plain, settings.values())):  # else they are read back as they are
            text = json.dumps(self.settings, default=str)
            self.settings = parse_json(text, "settings", finite=False)
        self.partition = partition
        self.is_alone = partition is None and isinstance(
            root, Path
        )  # all partitions are joined, it is locked
        self.run = secrets.token_hex(4)
        self._refuse_changed = refuse_changed
        self._claims = self._is_over = False
        self._alike: dict[
            tuple[str, frozenset[str]], bool
        ] = {}  # whether a run of these settings does as this
        self._follows, self._following = follows, threading.Lock()
        self._open = contextlib.ExitStack()
        self._counting = threading.Lock()
        self._archives: set[str] = set()
        self.bytes = 0  # of the outputs that were counted
        self.kinds: Counter[str] = Counter()  # of their depth
        self.clips = self.frames = 0  # videos among them, and the frames of these

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as stack:
            self._file = self._lock(stack)
            self._state = read_state(self.root, [self.root / LEDGER_NAME] if self.is_alone else None)
            self._not_found = {*self._state.failed}  # again, so far
            for key, source in self._refuse_changed:
                if self.look_up(key, source).state == "changed":
                    raise OutputError(
                        f"{printable(key)} was made with other settings ({self.difference(key)}): "
                        "`changed='redo'` or `changed='keep'`, or choose another `output`"
                    )
            entry = {"run": self.run, "settings": self.settings, "version": version("cortexia-video")}
            try:  # on the disk before all else
                self._append({**entry, "started": _now()})
                self._file.sync()
            except OutputLostError as error:
                reason = describe(error.__cause__) if isinstance(error.__cause__, OSError) else error
                raise OutputError(
                    f"cannot write to {self.root}: {reason}; choose another `output`"
                ) from error
            self._open = stack.pop_all()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._is_over = True
        with self._open, contextlib.suppress(OutputLostError) if kind else contextlib.nullcontext():
            self._file.sync()

    def look_up(self, key: str, source: Source, *, besides: frozenset[str] = frozenset()) -> LookUp:
        """Return whether `key` was made from this source and all its files exist; and who else has its place.

        besides: settings that do not matter to it.
        """
        self._not_found.discard(key)
        entry = self._state.get(key)
        if entry is None:
            return LookUp("missing")
        other = entry.path if entry.path != source.path and _is_another(entry.path, source.path) else None
        if not entry.made_of(source):
            return LookUp("missing", other)
        for name, each in entry.outputs.items():
            if self._sink.size_of(name) != each.size:
                return LookUp("missing", other)
        if (entry.run, besides) not in self._alike:
            theirs = self._state.settings(entry.run)
            names = {*(theirs or {}), *self.settings} - besides
            same = theirs is not None and all(theirs.get(each) == self.settings.get(each) for each in names)
            self._alike[entry.run, besides] = same
        state: State = "done" if self._alike[entry.run, besides] else "changed"
        return LookUp(state, other, entry.path != source.path, entry.outputs)

    def read_beside(self, key: str) -> str | None:
        """Return the digest of what `key`, which is done, was made of beside its source; None where nobody said it."""
        entry = self._state.get(key)
        return entry.beside if entry else None

    def difference(self, key: str) -> str:
        """Return for people how the settings of a key that is `changed` differ: `format: npy -> png`."""
        entry = self._state.get(key)
        theirs, ours = self._state.settings(entry.run) if entry else None, self.settings
        if theirs is None:
            return "the ledger has lost them"
        names = [name for name in {**theirs, **ours} if theirs.get(name) != ours.get(name)]
        return ", ".join(
            f"{name}: {_shorten(theirs.get(name))} -> {_shorten(ours.get(name))}" for name in names
        )

    @property
    def state(self) -> LedgerState:
        """Return what the ledger came to when this began; now, where it `follows`."""
        return self._state

    def _append(self, entry: dict[str, Any]) -> None:
        self._file.append(entry)
        if self._follows:
            with self._following:
                self._state.add(entry)

    def owns(self, key: str, name: str) -> bool:
        """Return whether a run of ours wrote, or was about to write, the output `name` of `key`."""
        return self._state.owns(key, name)

    def settings_in_use(self) -> list[dict[str, object]]:
        """Return the different settings that files in the folder may be made with, those of this run too.

        Of earlier runs those whose outputs are done; all of them where one of their other files is there. Of
        partitions, which may be at work, all. A run whose settings the ledger has lost has none: `{}`.
        """
        if self.is_alone and not any(size for _, size in self._state.files):  # the first run
            return [self.settings]
        of_parts: dict[str, Run] = {}
        if not self.is_alone:
            lines = (line for path in list_partitions(self.root) for line in read_lines(path))
            of_parts = LedgerState(line for line in lines if line.startswith(BEGINNING_OF_RUN)).runs
        known = {name: run.settings for name, run in {**self._state.runs, **of_parts}.items()}
        known[self.run] = self.settings
        runs = {self.run, *of_parts, *(each.run for each in self._state.made_by())}
        if any(each != self.settings for each in known.values()) and any(
            self._sink.holds(name) for name in self._state.leftovers()
        ):
            runs |= known.keys()
        different = {json.dumps(known.get(run, {})): known.get(run, {}) for run in runs}
        return [different[text] for text in sorted(different)]

    def keep_depth_json(self, folder: Folder) -> None:
        """Write what the files of a folder have in common with those of the run that begins, before the first.

        It follows from the ledger alone, so that it heals itself. Of partitions that begin at the same time the
        last to write has seen the settings of all.
        """
        said = None
        while said != (said := join_statements(map(describe_settings, self.settings_in_use()))):
            write_depth_json(folder, said)
            if self.is_alone:
                return

    def claim(self, items: Iterable[_Item], *, ahead: int = 1) -> Iterator[_Item]:
        """Pass on items that are about to be worked on.

        ahead: say of so many that they are begun, before the first is; `record_begun` then has nothing to say.
        Of `CLAIMED` it is said at a URL, where a line costs a request.
        """
        ahead = CLAIMED if isinstance(self.root, RemotePath) else ahead
        self._claims = ahead > 1
        return self._claim_ahead(iter(items), ahead) if self._claims else iter(items)

    def _claim_ahead(self, items: Iterator[_Item], count: int) -> Generator[_Item, None, None]:
        while group := deque(islice(items, count)):
            for each in group:
                names = self._sink.output_names(each.key, is_clip=getattr(each, "is_clip", False))
                self._append({"key": each.key, "outcome": "begun", "outputs": names})
            self._file.sync()
            try:
                while group:
                    yield group.popleft()
            finally:
                for each in () if self._is_over else group:  # nobody takes them: what is there is not ours
                    unplaced = {"unplaced": True, "reason": "the run ended before it"}
                    with contextlib.suppress(OutputLostError):
                        self._append({"key": each.key, "outcome": FORGOTTEN, **unplaced})

    def record_begun(self, key: str, names: Sequence[str], *, unclaimed: bool = False) -> None:
        """Append that the outputs of `key` are about to be placed: from here on they are ours.

        On the disk, too, before they are: or a power cut could leave files that no line knows. unclaimed: names are
        among them that the sink could not foresee, so that `claim` did not say them.
        """
        if unclaimed or not self._claims:
            self._append({"key": key, "outcome": "begun", "outputs": list(names)})
            self._file.sync()

    def record_done(
        self, key: str, source: Source, outputs: Mapping[str, WrittenFile], **facts: object
    ) -> None:
        """Append that `key` is done; call it after its files are in place."""
        entry = {"key": key, "outcome": "done", "run": self.run, "path": source.path}
        self._append({**entry, "source": source[1:], "outputs": dict(outputs), **facts})
        self.count(outputs, facts)

    def count_kept(self, key: str, outputs: Mapping[str, WrittenFile], *, is_clip: bool) -> None:
        """Count the outputs of an earlier run, which are left as they are."""
        facts = {"kind": self.settings.get("kind")}
        self.count(outputs, self._state.read_line(self._state.place(key)) if is_clip else facts)

    def count(self, outputs: Mapping[str, WrittenFile], facts: Mapping[str, object]) -> None:
        """Count outputs that are there; of an archive with many maps the bytes count once. facts: of their line."""
        kind, clip = facts.get("kind"), facts.get("clip")
        with self._counting:
            for name, each in outputs.items():
                if name not in self._archives:
                    self.bytes += each.size
                if name.endswith(SHARD_SUFFIXES):
                    self._archives.add(name)
            if isinstance(kind, str):
                self.kinds[kind] += 1
            if isinstance(clip, Mapping):
                self.clips += 1
                self.frames += clip["frames"]

    def record_failure(self, failure: Failure, path: str | None = None) -> None:
        """Append that an input failed, where and why."""
        self._not_found.discard(failure.key)
        entry = {"key": failure.key, "outcome": "failed", "run": self.run, "path": path}
        kept = {"kept": True} if isinstance(failure.error, OutputExistsError) else {}
        is_early = failure.stage in ("find", "decode") or isinstance(failure.error, LossError)
        unplaced = {"unplaced": True} if self._claims and is_early else {}
        self._append({**entry, "stage": failure.stage, "reason": failure.reason, **kept, **unplaced})

    def record_moved(self, key: str, source: Source) -> None:
        """Append the line of a key that is done once more, with the path that its source has now."""
        line = self._state.read_line(self._state.place(key))
        if line.get("key") == key:
            self._append({**line, "path": source.path})

    def sync(self) -> None:
        """Write what was recorded to where others can read it."""
        self._file.sync()

    def record_progress(self, **counts: object) -> None:
        """Append how far the run is; every `PROGRESS_S` seconds."""
        self._append({"progress": self.run, "at": _now(), **counts})

    def record_end(self, *, found_all: bool = False, **counts: object) -> None:
        """Append the counts of the run.

        found_all: no input is left that it did not look up. Earlier failures of inputs that are gone, as those of
        a folder given by mistake, are then forgotten: they count no more.
        """
        for key in self._not_found if found_all and self.partition is None else ():
            path = self._state.read_line(self._state.failed[key]).get("path")
            if path is None or _is_gone(path):
                self._append({"key": key, "outcome": FORGOTTEN, "reason": "its input is gone"})
        self._append({"end": self.run, "at": _now(), **counts})

    def _lock(self, stack: contextlib.ExitStack) -> AppendLog | ObjectStoreLog:
        """Open the file to append to, and keep others off where that can be."""
        if isinstance(self.root, RemotePath):
            return stack.enter_context(ObjectStoreLog(self.root, self.run))
        main = stack.enter_context(AppendLog(self.root / LEDGER_NAME))
        if self.partition is None:
            lock_whole(main)
            return main
        if not main.lock_shared():
            raise OutputError(f"another process is writing to {self.root}, not a partition: wait for it")
        for path, other in list_partitions(self.root).items():
            if other.count != self.partition.count:
                raise OutputError(
                    f"{path} is of {other.count} partitions, not {self.partition.count}: "
                    f"cortexia merge {self.root}"
                )
        own = AppendLog(self.root / name_partition(self.partition), beside=main)
        stack.enter_context(own).lock(f"does partition {self.partition} of", "give another")
        return own


def _is_plain(value: object) -> bool:
    """Return whether JSON gives a value back as it was, and nothing in it can be refused."""
    if type(value) is str:
        return value.isprintable()
    return value is None or type(value) in (bool, float) or (type(value) is int and abs(value) < 1 << 63)


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")


def read_ledger(root: PathLike) -> Iterator[dict[str, Any]]:
    """Yield every line of an output folder's ledger as written, oldest first; a damaged line is left out.

    Args:
        root: The output folder.

    Yields:
        A dict with `key`, `outcome` and so on (docs/outputs.md).

    Raises:
        InputError: There is no ledger, or it cannot be read.

    Example:
        >>> outcomes = [line.get("outcome") for line in cx.read_ledger("depth")]  # doctest: +SKIP
    """
    for path in require_ledger(to_path(root)):
        yield from (entry for entry in map(parse_line, read_lines(path)) if entry)


def merge_ledgers(root: PathLike) -> int:
    """Join the ledgers that runs over partitions left in an output folder to one `ledger.jsonl`.

    Args:
        root: The output folder.

    Returns:
        The number of files that were joined.

    Raises:
        InputError: There is no ledger.
        OutputError: Another process writes there.

    Example:
        >>> cx.merge_ledgers("depth")  # doctest: +SKIP
        16
    """
    place = to_path(root)
    require_ledger(place)
    if isinstance(place, RemotePath):
        return merge_segments(place)
    with AppendLog(place / LEDGER_NAME) as main:
        return lock_whole(main)


@contextlib.contextmanager
def append_to_ledger(root: AnyPath) -> Iterator[AppendLog | ObjectStoreLog]:
    """Open a whole ledger to append to; `OutputError` while another process writes there, if that is seen."""
    if isinstance(root, RemotePath):
        with ObjectStoreLog(root, secrets.token_hex(4)) as segments:
            yield segments
        return
    with AppendLog(root / LEDGER_NAME) as main:
        lock_whole(main)
        yield main


def lock_whole(main: AppendLog) -> int:
    """Lock `ledger.jsonl` and join what partitions left to it; return the number of files joined."""
    main.lock("is writing to")
    return join_partitions(main)


def join_partitions(main: AppendLog) -> int:
    """Move the lines of all partitions into `main`, which is locked; say how many files that were.

    After a kill in the middle it is done again: lines can then be there twice, saying the same.
    """
    partitions = list_partitions(main.path.parent)
    for path in track(partitions, "joining", "partitions", len(partitions)) if partitions else ():
        with os.fdopen(open_plain(path, os.O_RDONLY), "rb") as file:
            while lines := file.readlines(_JOINED_AT_ONCE):
                main.append_lines(lines)
        main.sync()
        path.unlink()
    return len(partitions)


def _shorten(value: object) -> str:
    text = printable(str(value))
    return text if len(text) <= _LONGEST_VALUE else f"{text[: _LONGEST_VALUE - 8]}..."


def _is_gone(path: str) -> bool:
    """Return whether nothing is at the path or URL of an input, or of its archive; not where nobody can tell."""
    inside = split_inside(path)
    place = to_path(inside[0] if inside else path)
    try:
        return not (os.path.lexists(place) if isinstance(place, Path) else place.is_file())
    except OSError:
        return False


def _is_another(path: str, than: str) -> bool:
    """Return whether a path or URL leads to a file that is there, and is another file than `than`."""

    def compare() -> bool:
        places = to_path(path), to_path(than)
        if isinstance(places[0], Path) and isinstance(places[1], Path):
            return not places[0].samefile(places[1])
        return places[0] != places[1] and places[0].is_file()

    return attempt(path, "find", compare) is True  # a failure: it is gone, moved, say
