"""What a parquet file says of its row groups, without pyarrow, which ends the process over damaged words.

`FileMetaData` in the compact protocol of Apache Thrift; numbers of fields are of Apache Parquet's
`parquet.thrift`, <https://github.com/apache/parquet-format>.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

_BOOLEANS, _BYTE, _INTEGERS, _I32, _I64 = (1, 2), 3, (4, 5, 6), 5, 6
_BINARY, _LIST, _SET, _MAP, _STRUCT = 8, 9, 10, 11, 12
_FIXED = {1: 0, 2: 0, _BYTE: 1, 7: 8, 13: 16}  # bytes; a boolean is its type, 7 a double, 13 a UUID
_DEEPEST = 32

Readers = Mapping[int, tuple[int, Callable[[], Any]]]


class ColumnChunk(NamedTuple):
    """The values of a column in a row group. column: with dots where nested. unpacked, packed: bytes.

    start: where its pages begin in the file; `packed` counts their headers, too.
    """

    column: str
    unpacked: int
    packed: int
    start: int


class RowGroup(NamedTuple):
    """A row group's number of rows, and its columns."""

    rows: int
    chunks: list[ColumnChunk]


def parse_footer(footer: bytes) -> list[RowGroup]:
    """Return the row groups of a footer: of `FileMetaData`, without the length and the mark that follow it.

    Raises `ValueError` for what is no footer, or lacks a size. Sizes are as the file says them, below 0, too.
    """
    source = _Compact(footer)
    integer, text = (_I64, source.read_integer), (_BINARY, source.read_text)

    def read_column() -> ColumnChunk:
        fields = dict.fromkeys((6, 7, 9, 11), integer)  # unpacked, packed, first data page, dictionary
        said = source.read_struct({3: source.list_of(*text), **fields})
        start = min(place for place in (said.get(9, 0), said.get(11, 0) or said.get(9, 0)))
        return ColumnChunk(".".join(_require(said, 3)), _require(said, 6), _require(said, 7), start)

    def read_chunk() -> ColumnChunk:
        return _require(source.read_struct({3: (_STRUCT, read_column)}), 3)

    def read_group() -> RowGroup:
        said = source.read_struct({1: source.list_of(_STRUCT, read_chunk), 3: integer})
        return RowGroup(_require(said, 3), _require(said, 1))

    try:
        return _require(source.read_struct({4: source.list_of(_STRUCT, read_group)}), 4)
    except IndexError as error:
        raise ValueError("it ends too early") from error


class PageHeader(NamedTuple):
    """What a page says before its values. size: of the header; unpacked, packed: of the values; all bytes."""

    size: int
    unpacked: int
    packed: int


def parse_page(data: bytes) -> PageHeader:
    """Return the header of a page, with which `data` begins; `IndexError` where it goes on, `ValueError`."""
    source = _Compact(data)
    said = source.read_struct(dict.fromkeys((2, 3), (_I32, source.read_integer)))
    return PageHeader(source.place, _require(said, 2), _require(said, 3))


def _require(said: Mapping[int, Any], number: int) -> Any:
    if number not in said:
        raise ValueError("what its columns hold is not said")
    return said[number]


class _Compact:
    """Reads Thrift's compact protocol from its beginning; `IndexError` and `ValueError` for what is none.

    <https://github.com/apache/thrift/blob/master/doc/specs/thrift-compact-protocol.md>
    """

    def __init__(self, data: bytes) -> None:
        self._data, self._at = data, 0

    @property
    def place(self) -> int:
        """How many bytes were read."""
        return self._at

    def read_struct(self, readers: Readers, depth: int = 0) -> dict[int, Any]:
        """Read a struct. readers: type and reader of the fields that matter; others are skipped."""
        found: dict[int, Any] = {}
        number = 0
        while head := self._read_byte():
            number = number + (head >> 4) if head >> 4 else self.read_integer()
            if number in readers and readers[number][0] == head & 15:
                found[number] = readers[number][1]()
            else:
                self._skip(head & 15, depth)
        return found

    def list_of(self, kind: int, read: Callable[[], Any]) -> tuple[int, Callable[[], list[Any]]]:
        """Return type and reader of a list, of the type and the reader of its items."""

        def read_list() -> list[Any]:
            size, found = self._read_list_head()
            if size and found != kind:
                raise ValueError(f"a list in it holds values of type {found}, not {kind}")
            return [read() for _ in range(size)]

        return _LIST, read_list

    def read_text(self) -> str:
        size = self._read_varint()
        self._pass(size)
        return self._data[self._at - size : self._at].decode("utf-8", "replace")

    def read_integer(self) -> int:
        value = self._read_varint()
        return (value >> 1) ^ -(value & 1)

    def _read_byte(self) -> int:
        self._at += 1
        return self._data[self._at - 1]

    def _read_varint(self) -> int:
        value = 0
        for shift in range(0, 70, 7):
            byte = self._read_byte()
            value |= (byte & 127) << shift
            if byte < 128:
                return value
        raise ValueError("a number in it has more than 64 bits")

    def _read_list_head(self) -> tuple[int, int]:
        head = self._read_byte()
        return head >> 4 if head < 240 else self._read_varint(), head & 15

    def _skip(self, kind: int, depth: int) -> None:
        if kind in _FIXED:
            self._pass(_FIXED[kind])
        elif kind in _INTEGERS:
            self._read_varint()
        elif kind == _BINARY:
            self._pass(self._read_varint())
        elif depth == _DEEPEST:
            raise ValueError(f"it is nested more than {_DEEPEST} deep")
        elif kind == _STRUCT:
            self.read_struct({}, depth + 1)
        elif kind in (_LIST, _SET):
            size, each = self._read_list_head()
            self._skip_items(size, [each], depth + 1)
        elif kind == _MAP:
            size = self._read_varint()
            pair = self._read_byte() if size else 0
            self._skip_items(size, [pair >> 4, pair & 15], depth + 1)
        else:
            raise ValueError(f"there is no type {kind} of values")

    def _skip_items(self, size: int, kinds: list[int], depth: int) -> None:
        """Skip the items of a list or map: each takes a byte at least, there a boolean, too."""
        kinds = [_BYTE if kind in _BOOLEANS else kind for kind in kinds]
        for _ in range(size):
            for kind in kinds:
                self._skip(kind, depth)

    def _pass(self, size: int) -> None:
        self._at += size
        if self._at > len(self._data):
            raise IndexError
