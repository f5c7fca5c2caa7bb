"""`ArchiveSink`: the files of many depth maps as one archive, a tar or a parquet file, placed atomically.

An archive is called `depth-HASH.tar` after the keys that were given to it, so that the same inputs get the
same name, and no name is anybody else's. A tar holds, in the order of keys, `KEY.npy` (or another format),
`KEY.json` with what the ledger says of it, and, if asked for, the image as `KEY`. Parquet has the columns
key, name, depth, facts (JSON), and preview and image where asked for. The same depth gives the same bytes.
"""

from __future__ import annotations

import io
import json
import mmap
import tarfile
import tempfile
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import IO, Any, Literal, NamedTuple, Self

import xxhash

from cortexia_video.errors import (
    DecodeError,
    Failure,
    InputError,
    OutputLostError,
    printable,
    require_at_least_1,
    require_one_of,
)
from cortexia_video.formats.raw_depth import Chunks
from cortexia_video.ledger.entries import ItemDone, WrittenFile
from cortexia_video.runtime.resources import StageClock
from cortexia_video.sinks.sink import Item, Keyed, Sink
from cortexia_video.storage.archive_writers import add_member, write_parquet
from cortexia_video.storage.arrow import import_arrow
from cortexia_video.storage.paths import find_problem

PackName = Literal["tar", "parquet"]
_GROUP_BYTES = 1 << 24  # of a row group of parquet


class Packing(NamedTuple):
    """How depth is packed. size: inputs of an archive. images: put the images beside their depth."""

    name: PackName
    size: int = 256
    images: bool = False

    def check(self) -> Self:
        """Return it back; raise `InputError` for what cannot be, `MissingExtraError` where a package is not."""
        require_one_of(pack=(self.name, PackName))
        require_at_least_1(pack_size=self.size)
        if self.name == "parquet":
            import_arrow()
        return self


class _Row(NamedTuple):
    """A depth map in an archive. files: by name, in the order of formats. image: its bytes, or none."""

    key: str
    files: dict[str, bytes]
    facts: bytes
    image: bytes


class _Filling:
    """The files of one archive while it is filled, in a temporary file. Threads may share it."""

    def __init__(self, name: str, file: IO[bytes]) -> None:
        self.name = name
        self._file = file
        self._spans: dict[str, tuple[int, int]] = {}  # of each file: where it begins, and its bytes
        self._writing = threading.Lock()

    def add(self, name: str, data: bytes) -> WrittenFile:
        with self._writing:
            self._spans[name] = self._file.seek(0, io.SEEK_END), len(data)
            self._file.write(data)
        return WrittenFile(len(data), xxhash.xxh3_128_hexdigest(data))

    def read(self, name: str) -> bytes:
        begin, size = self._spans[name]
        self._file.seek(begin)
        return self._file.read(size)


class ArchiveSink(Sink):
    """Puts the files of many inputs into one archive, which it places by another sink.

    An input is done once its archive is placed; but a clip's file is as large as an archive, and stays one of its
    own. read_image: returns the bytes of an item's image, or raises `DecodeError`. Threads may share it.
    """

    def __init__(self, sink: Sink, packing: Packing, read_image: Callable[[Any], bytes]) -> None:
        self.root, self.formats, self.suffixes = sink.root, sink.formats, sink.suffixes
        self.clip_suffixes = sink.clip_suffixes
        self._sink, self.partial = sink, sink.partial
        self._packing = packing
        self._read_image = read_image
        self._filling: dict[str, _Filling] = {}  # by the first name of each key that goes there

    def __enter__(self) -> Self:
        self._sink.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self._sink.__exit__(*error)

    def output_names(self, key: str, *, is_clip: bool = False) -> list[str]:
        """Return none of an image: an archive's name is nobody else's, whatever the key."""
        return self._sink.output_names(key, is_clip=True) if is_clip else []

    def size_of(self, name: str) -> int | None:
        return self._sink.size_of(name)

    def holds(self, name: str) -> bool:
        return self._sink.holds(name)

    def holds_own(self, name: str) -> bool:
        return self._sink.holds_own(name)

    def check_key(self, key: str) -> None:
        super().check_key(key)
        problem = find_problem(key) if self._packing.name == "parquet" else None
        if problem:
            words = f"key '{printable(key)}' {problem}, as parquet needs"
            raise InputError(f"{words}: rename it, or `pack='tar'`")

    def place(self, files: Mapping[str, Chunks]) -> dict[str, WrittenFile]:
        """Keep the files of an input for its archive; place others, such as depth.json, as they are."""
        filling = self._filling.get(next(iter(files), ""))
        if filling is None:
            return self._sink.place(files)
        with self._lost_if_full(filling.name):
            return {name: filling.add(name, b"".join(chunks)) for name, chunks in files.items()}

    def gather(
        self,
        items: Iterable[Item],
        work: Callable[[Iterable[Item]], Iterator[tuple[Item, ItemDone | Failure]]],
        clock: StageClock,
    ) -> Iterator[tuple[Item, ItemDone | Failure]]:
        """Yield what `work` makes of items, images of an archive together, once it is placed.

        Where `work` leaves items of an archive out, as after a stop, nothing of that archive is placed or
        yielded: half of it would come to another name.
        """
        items = iter(items)
        while group := self._take_group(items):
            images = [item for item in group if not _is_clip(item)]
            with self._fill([item.key for item in images]) as filling:
                outcomes = {}
                for item, outcome in work(group):
                    if _is_clip(item):
                        yield item, outcome
                    else:
                        outcomes[item] = outcome
                if len(outcomes) < len(images):
                    return
                done = {item: each for item, each in outcomes.items() if isinstance(each, ItemDone)}
                with clock.measure("pack", filling.name):
                    packed = self._place_archive(filling, done) if done else {}
            yield from {**outcomes, **packed}.items()

    def _take_group(self, items: Iterator[Item]) -> list[Item]:
        """Return the images of an archive, with the clips that come between."""
        group: list[Item] = []
        count = 0
        for item in items:
            group.append(item)
            count += not _is_clip(item)
            if count == self._packing.size:
                break
        return group

    @contextmanager
    def _fill(self, keys: list[str]) -> Iterator[_Filling]:
        """Let what is placed of these keys go to a temporary file: beside a local output, else in TMPDIR."""
        digest = xxhash.xxh3_128_hexdigest(json.dumps(sorted(keys)).encode())
        archive = f"depth-{digest[:16]}.{self._packing.name}"
        names = [key + self.formats[0].suffix for key in keys]
        with self._lost_if_full(archive):
            file = tempfile.TemporaryFile(dir=self._sink.partial)  # noqa: SIM115 - closed below
        filling = _Filling(archive, file)
        self._filling.update(dict.fromkeys(names, filling))
        try:
            yield filling
        finally:
            for name in names:
                del self._filling[name]
            with suppress(OSError):  # on a full disk, of what was not written: it is placed, or lost
                file.close()

    def _place_archive(self, filling: _Filling, done: Mapping[Item, ItemDone]) -> dict[Item, ItemDone]:
        """Place the archive of inputs that are done, and return where in it their files are."""
        rows = (self._make_row(filling, item, done[item]) for item in sorted(done, key=lambda item: item.key))
        with self._lost_if_full(filling.name), tempfile.TemporaryFile(dir=self._sink.partial) as file:
            where = (_write_tar if self._packing.name == "tar" else _write_parquet)(file, rows)
            file.flush()
            # the map is never closed: it ends with the last that looks at it, which an error may keep
            data = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
            placed = self._sink.place({filling.name: [data]})
        packed = {}
        for item, each in done.items():
            inside = {name: (where[name], *part) for name, part in each.outputs.items()}
            packed[item] = ItemDone(placed, {**each.facts, "inside": inside})
        return packed

    def _make_row(self, filling: _Filling, item: Item, done: ItemDone) -> _Row:
        image = b""
        if self._packing.images:
            with suppress(DecodeError):  # gone since: the depth is here
                image = self._read_image(item)
        files = {name: filling.read(name) for name in done.outputs}
        return _Row(item.key, files, json.dumps(dict(done.facts), sort_keys=True).encode(), image)

    @contextmanager
    def _lost_if_full(self, name: str) -> Iterator[None]:
        """Raise `OutputLostError` where an archive cannot be written: no other one could be."""
        try:
            yield
        except OSError as error:
            raise OutputLostError(self.root / name, error) from error


def _is_clip(item: Keyed) -> bool:
    return bool(getattr(item, "is_clip", False))


def _write_tar(file: IO[bytes], rows: Iterable[_Row]) -> dict[str, str]:
    """Write members, and say where each is: its offset and its bytes."""
    places: dict[str, str] = {}
    with tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for row in rows:
            members = {
                **row.files,
                f"{row.key}.json": row.facts,
                **({row.key: row.image} if row.image else {}),
            }
            for name, data in members.items():
                where = add_member(archive, name, data)
                if name in row.files:
                    places[name] = where
    return places


def _write_parquet(file: IO[bytes], rows: Iterable[_Row]) -> dict[str, str]:
    """Write rows, and say where each file is: row group and row; which column follows from its name."""
    pa = import_arrow()
    columns = [("key", pa.string()), ("name", pa.string()), ("depth", pa.binary())]
    columns += [("preview", pa.binary()), ("facts", pa.string()), ("image", pa.binary())]
    names: list[list[str]] = []

    def describe(row: _Row) -> dict[str, Any]:
        names.append([*row.files])
        (name, depth), *others = row.files.items()
        preview = others[0][1] if others else None
        known = {"key": row.key, "name": name, "depth": depth, "preview": preview}
        return {**known, "facts": row.facts.decode(), "image": row.image or None}

    places = write_parquet(
        file,
        pa.schema(columns),
        map(describe, rows),
        size_of=lambda row: len(row["depth"]) + len(row["image"] or b""),
        group_bytes=_GROUP_BYTES,
        compression="lz4",
    )
    return {name: where for each, where in zip(names, places, strict=True) for name in each}
