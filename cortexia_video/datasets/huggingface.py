"""To and from Hugging Face `datasets`; the one owner of that package, whose reports home are off."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from cortexia_video.arrow import import_arrow
from cortexia_video.boundary import attempt
from cortexia_video.datasets.calibration import Calibration
from cortexia_video.datasets.columns import from_row, make_schema, require_columns, to_row
from cortexia_video.datasets.dataset import AnyDataset, Attempt, Load, RGBDDataset, RGBDStream, list_loads
from cortexia_video.datasets.region import EVERYWHERE, Region
from cortexia_video.errors import InputError, MissingExtraError
from cortexia_video.rgbd_sample import RGBDSample

if TYPE_CHECKING:
    import datasets


def import_datasets() -> Any:
    """Give the package `datasets`, telemetry off; `MissingExtraError` without it."""
    os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"  # read when huggingface_hub is first imported
    try:
        import datasets
        import huggingface_hub.constants
    except ImportError as error:
        raise MissingExtraError(
            "Hugging Face data sets need: pip install 'cortexia-video[datasets]'"
        ) from error
    huggingface_hub.constants.HF_HUB_DISABLE_TELEMETRY = True
    return datasets


def to_hf(samples: Iterable[RGBDSample]) -> datasets.Dataset:
    """Give samples as a `datasets.Dataset` in memory, with the guide's columns and what the numbers mean.

    Columns: `cortexia_video.datasets.columns`. `image` and `depth_map` decode to pictures of Pillow's of mode
    RGB and F. Their bytes are in the table, so that what is saved can be moved. For more samples than fit in
    memory: `build_dataset`. Raises `InputError` for no samples, `MissingExtraError`.
    """
    hf = import_datasets()
    pa = import_arrow()
    schema = make_schema()
    batches = [pa.RecordBatch.from_pylist([to_row(sample)], schema=schema) for sample in samples]
    if not batches:
        raise InputError("no samples: a data set needs at least one")
    table = pa.Table.from_batches(batches).combine_chunks()
    return hf.Dataset(hf.table.InMemoryTable(table))


def from_hf(
    dataset: datasets.Dataset | datasets.IterableDataset,
    *,
    image: str = "image",
    depth: str = "depth_map",
    dialect: str | None = None,
    camera: Calibration | None = None,
    name: str = "hub",
    evaluation: Region = EVERYWHERE,
) -> AnyDataset:
    """Give the samples of a Hugging Face data set: by number, or of a streaming one in a row.

    image, depth: the columns. dialect: what the depth means where neither file nor columns say it, such as
    `metres` for float TIFFs of the guide. camera: of every picture, where the columns have none.
    Raises `InputError` where a column is missing.
    """
    hf = import_datasets()
    streaming = isinstance(dataset, hf.IterableDataset)
    raw = dataset if streaming else dataset.with_format(None)
    raw = raw.rename_columns(
        {old: new for old, new in ((image, "image"), (depth, "depth_map")) if old != new}
    )
    columns = list(raw.column_names or ())
    require_columns(columns, f"the data set {name}")
    for column in ("image", "depth_map", "mask"):
        if column in columns:
            raw = raw.cast_column(column, hf.Image(decode=False))
    reader = _RowReader(raw, dialect, camera)
    if streaming:
        shards = [_Shard(reader, number) for number in range(raw.num_shards)]
        return RGBDStream(name, shards, None, evaluation)
    keys = list(raw["key"]) if "key" in columns else [f"{index:08d}" for index in range(len(raw))]
    entries = [_RowEntry(key, index) for index, key in enumerate(keys)]
    return RGBDDataset(name, entries, reader, _find_kind(raw, columns, dialect), evaluation)


@dataclass(frozen=True, slots=True)
class _RowEntry:
    key: str
    index: int


@dataclass(frozen=True, slots=True)
class _RowReader:
    """Reads rows of a Hugging Face data set whose pictures are not decoded."""

    dataset: Any
    dialect: str | None
    camera: Calibration | None

    def __call__(self, entry: _RowEntry) -> RGBDSample:
        return self._read(self.dataset[entry.index], entry.key)

    def attempt(self, row: dict[str, Any], key: str) -> Attempt:
        return attempt(key, "decode", lambda: self._read(row, key))

    def _read(self, row: dict[str, Any], key: str) -> RGBDSample:
        for name in ("image", "depth_map", "mask"):
            row = {**row, name: _embed(row.get(name))}
        return from_row(row, key, dialect=self.dialect, camera=self.camera)


@dataclass(frozen=True, slots=True)
class _Shard:
    """One of the shards of a streaming data set, by its number."""

    reader: _RowReader
    number: int

    def __call__(self) -> Iterator[Load]:
        return list_loads(f"shard {self.number}", self._list_loads())

    def _list_loads(self) -> Iterator[Load]:
        whole = self.reader.dataset
        prefix = f"{self.number:05d}-" if whole.num_shards > 1 else ""
        shard = whole.shard(num_shards=whole.num_shards, index=self.number)
        # not `for row in shard`: in a worker of torch's that would give this worker's part of the shard alone
        for index, batch in enumerate(shard.iter(batch_size=1)):
            row = {name: values[0] for name, values in batch.items()}
            yield partial(self.reader.attempt, row, str(row.get("key") or f"{prefix}{index:08d}"))


def _embed(cell: Any) -> Any:
    """Give a cell with the bytes of the file that it only names."""
    if isinstance(cell, dict) and cell.get("bytes") is None and cell.get("path"):
        try:
            with open(cell["path"], "rb") as file:  # noqa: PTH123 - as `datasets` names it
                return {"bytes": file.read(), "path": None}
        except OSError:
            return cell
    return cell


def _find_kind(dataset: Any, columns: list[str], dialect: str | None) -> Any:
    """Say the one kind of all samples, or None where they differ or do not say it."""
    if "kind" not in columns:
        return "metric" if dialect else None
    kinds = set(dataset["kind"])
    return kinds.pop() if len(kinds) == 1 else None
