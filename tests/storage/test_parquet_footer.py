"""What a parquet file says of its row groups, read without pyarrow: the same numbers, and errors in words."""

from __future__ import annotations

import io
import random
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cortexia_video import open_dataset
from cortexia_video.errors import CortexiaError, DecodeError, Failure
from cortexia_video.sources.archives import find_in_shard
from cortexia_video.storage.archive_member import read_part
from cortexia_video.storage.parquet_footer import ColumnChunk, RowGroup, parse_footer
from cortexia_video.storage.paths import FileTooLargeError
from cortexia_video.storage.row_groups import list_row_groups, open_parquet, read_row_group, require_rows

CORPUS = Path(__file__).parents[1] / "corpora/dataset-parquet"

TABLE = pa.table(
    {
        "key": [f"image {number}" for number in range(1000)],
        "image": [{"bytes": bytes(number % 300), "path": None} for number in range(1000)],
        "size": pa.array([[number, 2] for number in range(1000)], pa.list_(pa.int16())),
        "names": pa.array([[("a", number)] for number in range(1000)], pa.map_(pa.string(), pa.int64())),
        "sparse": pa.array([None, True] * 500),
        "f_px": pa.array([0.5, None] * 500),
        "moment": pa.array(range(1000), pa.timestamp("us", "Europe/Berlin")),
        "price": pa.array(range(1000), pa.decimal128(12, 2)),
    }
)


def write(table: pa.Table = TABLE, **options: object) -> bytes:
    file = io.BytesIO()
    pq.write_table(table, file, **options)
    return file.getvalue()


def write_some_columns() -> bytes:
    """Return a file with every kind of column that the footer says something else of, in two groups."""
    return write(TABLE.select(["key", "image", "names", "sparse", "price"]), row_group_size=500)


def take_footer(data: bytes) -> bytes:
    return data[-8 - int.from_bytes(data[-8:-4], "little") : -8]


def read_with_arrow(data: bytes) -> list[RowGroup]:
    about = pq.ParquetFile(io.BytesIO(data)).metadata
    groups = [about.row_group(number) for number in range(about.num_row_groups)]
    return [
        RowGroup(
            group.num_rows,
            [
                ColumnChunk(
                    each.path_in_schema,
                    each.total_uncompressed_size,
                    each.total_compressed_size,
                    min(each.data_page_offset, each.dictionary_page_offset or each.data_page_offset),
                )
                for each in map(group.column, range(group.num_columns))
            ],
        )
        for group in groups
    ]


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"row_group_size": 7, "compression": "zstd"},
        {"write_page_index": True, "write_page_checksum": True, "use_dictionary": False},
        {"sorting_columns": [pq.SortingColumn(0)], "store_schema": False, "version": "1.0"},
        {
            "column_encoding": {"f_px": "BYTE_STREAM_SPLIT"},
            "use_dictionary": False,
            "data_page_version": "2.0",
        },
        {"bloom_filter_options": {"key": True}},
    ],
)
def test_the_numbers_are_those_that_arrow_reads(options: dict[str, object]) -> None:
    try:
        data = write(**options)
    except TypeError:
        pytest.skip(f"this pyarrow has no {', '.join(options)}")
    expected = read_with_arrow(data)
    assert parse_footer(take_footer(data)) == expected
    assert list_row_groups(pq.ParquetFile(io.BytesIO(data))) == expected
    assert len(expected) == -(-1000 // options.get("row_group_size", 1000))  # type: ignore[operator]


def test_a_file_without_rows_has_no_groups_or_empty_ones() -> None:
    data = write(TABLE.slice(0, 0))
    assert parse_footer(take_footer(data)) == read_with_arrow(data)


def test_what_is_cut_short_is_an_error_in_words() -> None:
    footer = take_footer(write_some_columns())
    for length in range(len(footer)):
        with pytest.raises(ValueError, match="it ends too early|is not said"):
            parse_footer(footer[:length])


def test_damaged_bytes_are_read_or_an_error_in_words() -> None:
    footer, chance = take_footer(write_some_columns()), random.Random(0)
    refused = set()
    for at in range(len(footer)):
        data = bytearray(footer)
        data[at] = chance.randrange(256)
        try:
            parse_footer(bytes(data))
        except ValueError as error:
            refused.add(str(error).rstrip("0123456789"))
    assert {"it ends too early", "what its columns hold is not said"} < refused


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "it ends too early"),
        (b"\0", "what its columns hold is not said"),
        (b"\x49\xfc\xff\xff\xff\xff\x07", "it ends too early"),  # 2 thousand million row groups
        (b"\x58\xff\xff\xff\xff\x07\0", "it ends too early"),  # as many bytes of text
        (b"\x56" + b"\xff" * 11, "more than 64 bits"),
        (b"\x1c" * 100, "nested more than 32 deep"),
        (b"\x19" * 100, "nested more than 32 deep"),
        (b"\x5e", "no type 14 of values"),
        (b"\x49\x16\x02\0", "holds values of type 6, not 12"),
    ],
)
def test_hostile_bytes_are_an_error_in_words(data: bytes, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        parse_footer(data)


def test_metadata_over_which_arrow_ends_the_process_is_an_error() -> None:
    folder = CORPUS / "found-metadata-ends-the-process"
    dataset = open_dataset("parquet", folder)
    with pytest.raises(DecodeError, match="row group 0 is broken: .* level histogram size mismatch"):
        next(iter(dataset))


def test_sizes_below_0_are_an_error() -> None:
    """They would make a sum of sizes small that is not."""
    data = write(TABLE.select(["key"]), compression="none", use_dictionary=False)
    size = read_with_arrow(data)[0].chunks[0].unpacked
    said, damaged = write_integer(size), write_integer(-size)
    assert len(said) == len(damaged) and take_footer(data).count(said * 2) == 0
    start = len(data) - 8 - len(take_footer(data))
    broken = data[:start] + data[start:].replace(b"\x16" + said, b"\x16" + damaged)
    assert broken != data
    with pytest.raises(ValueError, match="less than 0 bytes"):
        read_row_group(pq.ParquetFile(io.BytesIO(broken)), 0, ["key"])


def write_integer(value: int) -> bytes:
    left, data = (value << 1) ^ (value >> 63), b""
    while left > 127:
        data, left = data + bytes([left & 127 | 128]), left >> 7
    return data + bytes([left])


def test_more_rows_than_bytes_are_not_listed(tmp_path: Path) -> None:
    """Images in a parquet archive without keys: each would be a key and a place in memory."""
    table = pa.table({"image": pa.nulls(3_000_000, pa.binary())})
    (tmp_path / "a.parquet").write_bytes(write(table))
    with pytest.raises(ValueError, match="3000000 rows in [0-9]+ bytes"):
        require_rows(pq.ParquetFile(tmp_path / "a.parquet"), (tmp_path / "a.parquet").stat().st_size)
    (found,) = find_in_shard("a.parquet", tmp_path / "a.parquet")
    assert isinstance(found, Failure) and isinstance(found.error, CortexiaError)
    assert "it says it has 3000000 rows in" in str(found.error)


def encode_varint(number: int, length: int) -> bytes:
    """Return a number above 0 in zigzag and groups of 7 bits, filled up to a length."""
    value = 2 * number
    return bytes((value >> 7 * each) & 127 | (128 if each < length - 1 else 0) for each in range(length))


@pytest.mark.parametrize("codec", ["zstd", "snappy", "gzip"])
@pytest.mark.parametrize("pages", [1, 4])
def test_pages_that_unpack_to_more_than_the_footer_says_are_not_read(
    codec: str, pages: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Some kilobytes of zeros, packed; the footer says that the column has 1000 bytes unpacked."""
    monkeypatch.setattr("cortexia_video.storage.row_groups._SMALL", 1 << 26)
    sizes = [(80 << 20) // pages] * pages
    table = pa.table(
        {"key": ["a"] * pages, "image": pa.array([bytes(size) for size in sizes], pa.large_binary())}
    )
    path = tmp_path / "a.parquet"
    options = {"compression": codec, "use_dictionary": False, "write_statistics": False, "data_page_size": 1}
    pq.write_table(table, path, write_batch_size=1, **options)
    said = pq.ParquetFile(path).metadata.row_group(0).column(1).total_uncompressed_size
    data, footer = path.read_bytes(), take_footer(path.read_bytes())
    true = encode_varint(said, 5)
    true = true[: next(n for n in range(5, 0, -1) if true[n - 1])]
    true = bytes([*true[:-1], true[-1] & 127])
    assert footer.count(true) >= 1
    path.write_bytes(data.replace(true, encode_varint(1000, len(true))))
    assert pq.ParquetFile(path).metadata.row_group(0).column(1).total_uncompressed_size == 1000
    before = pa.default_memory_pool().bytes_allocated()
    with path.open("rb") as file:
        for opened in (open_parquet(path), open_parquet(file)):
            with pytest.raises(FileTooLargeError, match="its pages, unpacked,.* the limit is"):
                read_row_group(opened, 0, ["key", "image"])
            assert read_row_group(opened, 0, ["key"]).num_rows == pages
    assert pa.default_memory_pool().bytes_allocated() - before < 50e6
    with pytest.raises(FileTooLargeError, match="limit"):
        read_part(path, "0.0", ["image"])


@pytest.mark.parametrize("place", range(4, 60, 5))
def test_damaged_pages_are_an_error_in_words(place: int, tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    data = bytearray(write(TABLE.select(["key", "image"])))
    data[place] ^= 0xFF
    path.write_bytes(data)
    try:
        read_row_group(open_parquet(path), 0, ["key", "image"])
    except (OSError, ValueError, pa.ArrowException) as error:
        assert str(error)


def test_whole_files_are_read_with_their_pages_looked_at(tmp_path: Path) -> None:
    for number, options in enumerate(
        [
            {},
            {"compression": "zstd", "data_page_size": 100},
            {"data_page_version": "2.0", "row_group_size": 9},
        ]
    ):
        path = tmp_path / f"{number}.parquet"
        path.write_bytes(write(**options))
        file = open_parquet(path)
        tables = [read_row_group(file, group, TABLE.column_names) for group in range(file.num_row_groups)]
        assert pa.concat_tables(tables).equals(TABLE)
