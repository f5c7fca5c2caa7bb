"""`PackSink`: the files of many depth maps as one shard, a tar or a parquet file, there whole or not at all.

A shard is called `depth-HASH.tar` after the keys that were given to it, so that the same inputs come to the
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
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import IO, Any, Literal, NamedTuple, Self

import xxhash

from cortexia_video.errors import DecodeError, InputError, OutputLostError, printable
from cortexia_video.formats.raw_depth import Chunks
from cortexia_video.ledger.entries import Placed
from cortexia_video.sinks.sink import Sink
from cortexia_video.sources.find import InputFile, read_image
from cortexia_video.storage.arrow import import_arrow
from cortexia_video.storage.object_keys import find_problem

PackName = Literal["tar", "parquet"]
_GROUP_BYTES = 1 << 24  # of a row group of parquet


class Packing(NamedTuple):
    """How depth is packed. size: inputs of a shard. images: put the images beside their depth."""

    name: PackName
    size: int = 256
    images: bool = False

    def check(self) -> Self:
        """Return it back; raise `InputError` for what cannot be, `MissingExtraError` where a package is not."""
        if self.name not in ("tar", "parquet"):
            raise InputError(f"`pack` must be tar or parquet, not {self.name!r}")
        if self.size < 1:
            raise InputError(f"`pack_size` must be more than 0, not {self.size}")
        if self.name == "parquet":
            import_arrow()
        return self


class _Part(NamedTuple):
    offset: int
    placed: Placed


class _Row(NamedTuple):
    """A depth map in a shard. files: by name, in the order of the formats. image: the image, or nothing."""

    key: str
    files: dict[str, bytes]
    facts: bytes
    image: bytes


class Packed(NamedTuple):
    """Where what was packed is. shard: its name, size and digest.

    parts: of each file its place in the shard, as `places.shard_part` takes it, its size and its digest.
    """

    shard: dict[str, Placed]
    parts: dict[str, tuple[str, int, str]]


class PackSink(Sink):
    """Gathers files in a temporary one; `close` places them, all at once, by the sink of the run.

    A context manager; threads may share it.
    """

    def __init__(self, sink: Sink, packing: Packing, keys: Sequence[str]) -> None:
        self.root, self.formats, self.suffixes = sink.root, sink.formats, sink.suffixes
        self._sink = sink
        self._packing = packing
        digest = xxhash.xxh3_128_hexdigest(json.dumps(sorted(keys)).encode())
        self.name = f"depth-{digest[:16]}.{packing.name}"
        self._parts: dict[str, _Part] = {}
        self._writing = threading.Lock()

    def __enter__(self) -> Self:
        try:
            self._file = self._open_temporary()
        except OSError as error:
            raise OutputLostError(self._sink.root / self.name, error) from error
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(
            OSError
        ):  # on a full disk, of what it could not write: the shard has it, or was not made
            self._file.close()

    def place(self, files: Mapping[str, Chunks]) -> dict[str, Placed]:
        """Keep files for the shard."""
        return {name: self._keep(name, b"".join(chunks)) for name, chunks in files.items()}

    def size_of(self, name: str) -> int | None:
        return self._sink.size_of(name)

    def holds(self, name: str) -> bool:
        return self._sink.holds(name)

    def holds_own(self, name: str) -> bool:
        return self._sink.holds_own(name)

    def close(self, done: Mapping[InputFile, Mapping[str, object]]) -> Packed:
        """Place the shard of inputs that are done, each with its facts, and say where all of it is.

        Raises what the sink's `place` raises. Of nothing there is no shard.
        """
        if not done:
            return Packed({}, {})
        rows = (self._make_row(item, done[item]) for item in sorted(done, key=lambda item: item.key))
        try:
            with self._open_temporary() as file:
                places = (_write_tar if self._packing.name == "tar" else _write_parquet)(file, rows)
                file.flush()
                # the map is never closed: it ends with the last that looks at it, which an error may keep
                data = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
                placed = self._sink.place({self.name: [data]})
        except OSError as error:
            raise OutputLostError(self._sink.root / self.name, error) from error
        parts = {name: (where, *self._parts[name].placed) for name, where in places.items()}
        return Packed(placed, parts)

    def _open_temporary(self) -> IO[bytes]:
        """Open a file without a name: beside an output on this disk, else where TMPDIR says."""
        return tempfile.TemporaryFile(dir=self._sink.partial)

    def check_key(self, key: str) -> None:
        super().check_key(key)
        problem = find_problem(key) if self._packing.name == "parquet" else None
        if problem:
            words = f"key '{printable(key)}' {problem}, as parquet needs"
            raise InputError(f"{words}: rename it, or `pack='tar'`")

    def _keep(self, name: str, data: bytes) -> Placed:
        placed = Placed(len(data), xxhash.xxh3_128_hexdigest(data))
        with self._writing:
            try:
                self._parts[name] = _Part(self._file.seek(0, io.SEEK_END), placed)
                self._file.write(data)
            except OSError as error:
                raise OutputLostError(self._sink.root / self.name, error) from error
        return placed

    def _make_row(self, item: InputFile, facts: Mapping[str, object]) -> _Row:
        files = {}
        for form in self.formats:
            part = self._parts[item.key + form.suffix]
            self._file.seek(part.offset)
            files[item.key + form.suffix] = self._file.read(part.placed.size)
        image = b""
        if self._packing.images:
            with suppress(DecodeError):  # gone since: the depth is here
                image = read_image(item.place)
        return _Row(item.key, files, json.dumps(facts, sort_keys=True).encode(), image)


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
                member = tarfile.TarInfo(name)  # without time and owner, which would differ each time
                member.size = len(data)
                archive.addfile(member, io.BytesIO(data))
                begin = archive.offset - -(-len(data) // tarfile.BLOCKSIZE) * tarfile.BLOCKSIZE
                if name in row.files:
                    places[name] = f"{begin}+{len(data)}"
    return places


def _write_parquet(file: IO[bytes], rows: Iterable[_Row]) -> dict[str, str]:
    """Write rows, and say where each file is: row group and row; which column follows from its name."""
    pa = import_arrow()
    columns = [("key", pa.string()), ("name", pa.string()), ("depth", pa.binary())]
    columns += [("preview", pa.binary()), ("facts", pa.string()), ("image", pa.binary())]
    schema = pa.schema(columns)
    places = {}
    with pa.parquet.ParquetWriter(file, schema, compression="lz4", write_statistics=False) as writer:
        for number, group in enumerate(_group(rows)):
            places.update({name: f"{number}.{at}" for at, row in enumerate(group) for name in row.files})
            table = [_describe(row) for row in group]
            writer.write_table(pa.Table.from_pylist(table, schema=schema), len(group))
    return places


def _group(rows: Iterable[_Row]) -> Iterator[list[_Row]]:
    """Put rows together until they are large enough for a row group."""
    group: list[_Row] = []
    size = 0
    for row in rows:
        group.append(row)
        size += len(next(iter(row.files.values()))) + len(row.image)
        if size >= _GROUP_BYTES:
            yield group
            group, size = [], 0
    if group:
        yield group


def _describe(row: _Row) -> dict[str, Any]:
    (name, depth), *others = row.files.items()
    preview = others[0][1] if others else None
    known = {"key": row.key, "name": name, "depth": depth, "preview": preview}
    return {**known, "facts": row.facts.decode(), "image": row.image or None}
