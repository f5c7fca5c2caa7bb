"""To and from Hugging Face `datasets`; the one owner of that package."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cortexia_video.datasets.dataset import AnyDataset, Attempt, Load, RGBDDataset, RGBDStream, list_loads
from cortexia_video.datasets.eval_region import EVERYWHERE, Region
from cortexia_video.datasets.readers._calibration import Calibration
from cortexia_video.datasets.row_schema import from_row, make_schema, require_columns, to_row
from cortexia_video.errors import DecodeError, InputError, explain_import
from cortexia_video.rgbd_sample import RGBDSample
from cortexia_video.runtime.input_boundary import attempt
from cortexia_video.storage.arrow import import_arrow
from cortexia_video.storage.named_file import NamedFileError, read_named, require_inside

if TYPE_CHECKING:
    import datasets


def import_datasets() -> Any:
    """Return the package `datasets`; `MissingExtraError` without it."""
    try:
        import datasets
    except ImportError as error:
        raise explain_import(error, "Hugging Face datasets need", "'cortexia-video[datasets]'") from error
    return datasets


def to_hf(samples: Iterable[RGBDSample]) -> datasets.Dataset:
    """Return samples as a `datasets.Dataset` in memory, with what the values mean.

    `image` and `depth_map` decode to images of Pillow's of mode RGB and F. Their bytes are in the table, so
    that what is saved can be moved. For more samples than fit in memory there is `build_dataset`.

    Args:
        samples: Such as `open_dataset` opens.

    Returns:
        A dataset with the columns image, depth_map, key, origin, kind, unit, fx, fy, cx, cy and so on
        (docs/datasets.md).

    Raises:
        InputError: There are no samples.
        MissingExtraError: The extra `datasets` is not installed.

    Example:
        >>> cx.to_hf(cx.open_dataset("tum", "data/tum")).to_parquet("tum.parquet")  # doctest: +SKIP
    """
    hf = import_datasets()
    pa = import_arrow()
    schema = make_schema()
    batches = [pa.RecordBatch.from_pylist([to_row(sample)], schema=schema) for sample in samples]
    if not batches:
        raise InputError("no samples: a dataset needs at least one")
    table = pa.Table.from_batches(batches).combine_chunks()
    return hf.Dataset(hf.table.InMemoryTable(table))


def from_hf(
    dataset: datasets.Dataset | datasets.IterableDataset,
    *,
    image: str = "image",
    depth: str = "depth_map",
    convention: str | None = None,
    camera: Calibration | None = None,
    name: str = "hub",
    evaluation: Region = EVERYWHERE,
    within: Path | None = None,
) -> AnyDataset:
    """Return the samples of a Hugging Face dataset: by number, or of a streaming one in a row.

    Args:
        dataset: A `datasets.Dataset` or `datasets.IterableDataset`.
        image: The column of the images.
        depth: The column of the depth.
        convention: What the depth means where neither file nor columns say it, such as `metres` for float
            TIFFs.
        camera: Of every image, where the columns have none.
        name: Of the dataset.
        evaluation: What is compared of an image.
        within: The folder that files which cells only name must lie in, unless `datasets` unpacked them
            itself.

    Returns:
        An `RGBDDataset`, or of a streaming dataset an `RGBDStream`.

    Raises:
        InputError: A column is missing.
        MissingExtraError: The extra `datasets` is not installed.

    Example:
        >>> samples = cx.from_hf(datasets.load_dataset("org/name", split="train"))  # doctest: +SKIP
    """
    hf = import_datasets()
    streaming = isinstance(dataset, hf.IterableDataset)
    raw = dataset if streaming else dataset.with_format(None)
    raw = raw.rename_columns(
        {old: new for old, new in ((image, "image"), (depth, "depth_map")) if old != new}
    )
    columns = list(raw.column_names or ())
    require_columns(columns, f"the dataset {name}")
    for column in ("image", "depth_map", "mask"):
        if column in columns:
            raw = raw.cast_column(column, hf.Image(decode=False))
    folders = (
        () if within is None else (within, *map(Path, (hf.config.HF_CACHE_HOME, hf.config.HF_DATASETS_CACHE)))
    )
    reader = _RowReader(raw, convention, camera, folders)
    if streaming:
        shards = [_Shard(reader, number) for number in range(raw.num_shards)]
        return RGBDStream(name, shards, None, evaluation)
    keys = list(raw["key"]) if "key" in columns else [f"{index:08d}" for index in range(len(raw))]
    entries = [_RowEntry(key, index) for index, key in enumerate(keys)]
    return RGBDDataset(name, entries, reader, _find_kind(raw, columns, convention), evaluation)


@dataclass(frozen=True, slots=True)
class _RowEntry:
    key: str
    index: int


@dataclass(frozen=True, slots=True)
class _RowReader:
    """Reads rows of a Hugging Face dataset whose images are not decoded."""

    dataset: Any
    convention: str | None
    camera: Calibration | None
    folders: tuple[Path, ...]  # that hold what cells only name; none: it may lie anywhere

    def __call__(self, entry: _RowEntry) -> RGBDSample:
        return self._read(self.dataset[entry.index], entry.key)

    def attempt(self, row: dict[str, Any], key: str) -> Attempt:
        return attempt(key, "decode", lambda: self._read(row, key))

    def _read(self, row: dict[str, Any], key: str) -> RGBDSample:
        for name in ("image", "depth_map", "mask"):
            row = {**row, name: _embed(row.get(name), key, self.folders)}
        return from_row(row, key, convention=self.convention, camera=self.camera)


@dataclass(frozen=True, slots=True)
class _Shard:
    """One of the shards of a streaming dataset, by its number."""

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


def _embed(cell: Any, key: str, folders: tuple[Path, ...]) -> Any:
    """Return a cell with the bytes of the file that it only names."""
    if isinstance(cell, dict) and cell.get("bytes") is None and cell.get("path"):
        path = Path(cell["path"])
        try:
            if folders:
                require_inside(path, *folders)
            return {"bytes": read_named(path), "path": None}
        except NamedFileError as error:
            raise DecodeError(f"{key!r}: cannot read {path}: {error}") from error
        except (OSError, ValueError):  # ValueError: a name with a zero byte
            return cell
    return cell


def _find_kind(dataset: Any, columns: list[str], convention: str | None) -> Any:
    """Return the one kind of all samples, or None where they differ or do not say it."""
    if "kind" not in columns:
        return "metric" if convention else None
    kinds = set(dataset["kind"])
    return kinds.pop() if len(kinds) == 1 else None
