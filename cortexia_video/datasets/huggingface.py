"""To and from Hugging Face `datasets`; the one owner of that package."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cortexia_video.datasets.dataset import AnyDataset, Load, RGBDDataset, RGBDStream, list_loads
from cortexia_video.datasets.eval_region import EVERYWHERE, Region
from cortexia_video.datasets.readers._calibration import Calibration
from cortexia_video.datasets.row_schema import AssumedMeaning, from_row, make_schema, require_columns, to_row
from cortexia_video.depth_map import DepthKind
from cortexia_video.errors import DecodeError, InputError, attempt, explain_import
from cortexia_video.rgbd_sample import RGBDSample
from cortexia_video.storage.arrow import import_arrow
from cortexia_video.storage.paths import NamedFileError, read_named, require_inside

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
    kind: DepthKind | None = None,
    scale: float | None = None,
    unknown: Sequence[float] = (),
    camera: Calibration | None = None,
    name: str = "hub",
    evaluation: Region = EVERYWHERE,
    within: Path | None = None,
) -> AnyDataset:
    """Return the samples of a Hugging Face dataset: by number, or of a streaming one in a row.

    Args:
        dataset: A `datasets.Dataset` or `datasets.IterableDataset`.
        image: The column of the images.
        depth: The column of the depth: images, or arrays (H, W), (1, H, W) or (H, W, 1).
        convention: What the depth means where neither file nor columns say it, such as `metres` for float
            TIFFs.
        kind: Or its kind.
        scale: And what its whole numbers are multiplied by: 0.001 for millimetres.
        unknown: What stands for unknown depth, besides 0 in metres.
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
    columns = list(raw.column_names or ())
    require_columns(columns, f"the dataset {name}", (image, depth))
    for column in (image, depth, "mask"):
        feature = (raw.features or {}).get(
            column
        )  # whose cells can be numbers themselves, no files of images
        numbers = (list, hf.List, hf.LargeList, hf.Array2D, hf.Array3D)
        is_array = column == depth and isinstance(feature, numbers)
        if column in columns and not is_array:
            raw = raw.cast_column(column, hf.Image(decode=False))
    known = (hf.config.HF_CACHE_HOME, hf.config.HF_DATASETS_CACHE)
    folders = () if within is None else (within, *map(Path, known))
    meaning = AssumedMeaning(convention, kind, scale, tuple(unknown))
    reader = _RowReader(raw, image, depth, meaning, camera, folders)
    said = not meaning.is_assumed
    if streaming:
        shards = [
            partial(list_loads, f"shard {number}", partial(_list_shard, reader, number))
            for number in range(raw.num_shards)
        ]
        return RGBDStream(name, shards, None, evaluation, scale_is_said=said)
    keys = list(raw["key"]) if "key" in columns else [f"{index:08d}" for index in range(len(raw))]
    entries = [_RowEntry(key, index) for index, key in enumerate(keys)]
    kinds = set(raw["kind"]) if "kind" in columns else {"metric" if convention else kind}
    only = kinds.pop() if len(kinds) == 1 else None
    return RGBDDataset(
        name, entries, reader, only, evaluation, scale_is_said=said, read_file=reader.read_file
    )


@dataclass(frozen=True, slots=True)
class _RowEntry:
    key: str
    index: int


@dataclass(frozen=True, slots=True)
class _RowReader:
    """Reads rows of a Hugging Face dataset whose images are not decoded."""

    dataset: Any
    image: str
    depth: str
    meaning: AssumedMeaning
    camera: Calibration | None
    folders: tuple[Path, ...]  # that hold what cells only name; none: it may lie anywhere

    def __call__(self, entry: _RowEntry) -> RGBDSample:
        return self.read(self.dataset[entry.index], entry.key)

    def read(self, row: dict[str, Any], key: str) -> RGBDSample:
        names = {"image": self.image, "depth_map": self.depth, "mask": "mask"}
        cells = {name: self._embed(row.get(column), key) for name, column in names.items()}
        return from_row({**row, **cells}, key, self.meaning, self.camera)

    def read_file(self, entry: _RowEntry) -> bytes | None:
        """Return the file of an entry's image, if there is one."""
        row = self.dataset.select_columns([self.image])[entry.index]
        cell = self._embed(row[self.image], entry.key)
        return cell.get("bytes") if isinstance(cell, dict) else None

    def _embed(self, cell: Any, key: str) -> Any:
        """Return a cell with the bytes of the file that it only names."""
        if not isinstance(cell, dict) or cell.get("bytes") is not None or not cell.get("path"):
            return cell
        path = Path(cell["path"])
        try:
            if self.folders:
                require_inside(path, *self.folders)
            return {"bytes": read_named(path), "path": None}
        except NamedFileError as error:
            raise DecodeError(f"{key!r}: cannot read {path}: {error}") from error
        except (OSError, ValueError):  # ValueError: a name with a zero byte
            return cell


def _list_shard(reader: _RowReader, number: int) -> Iterator[Load]:
    """Yield what reads each sample of one of the shards of a streaming dataset, by its number."""
    whole = reader.dataset
    prefix = f"{number:05d}-" if whole.num_shards > 1 else ""
    shard = whole.shard(num_shards=whole.num_shards, index=number)
    # not `for row in shard`: in a worker of torch's that would give this worker's part of the shard alone
    for index, batch in enumerate(shard.iter(batch_size=1)):
        row = {name: values[0] for name, values in batch.items()}
        key = str(row.get("key") or f"{prefix}{index:08d}")
        yield partial(attempt, key, "decode", partial(reader.read, row, key))
