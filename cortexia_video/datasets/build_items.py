"""`BuildItem`: a row that can be made; from any dataset, or from a run (`run_items`)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

from cortexia_video.datasets.dataset import RGBDDataset
from cortexia_video.datasets.row_schema import Row, to_row
from cortexia_video.datasets.sample_checks import check
from cortexia_video.errors import Failure
from cortexia_video.rgbd_sample import RGBDSample


@dataclass(frozen=True, slots=True)
class BuildItem:
    """A row before it is made. fingerprint: of all that it depends on. load: makes it, or says what is wrong;
    raises a `CortexiaError` for what cannot be read."""

    key: str
    fingerprint: str
    load: Callable[[], Row | Failure]


def list_dataset_items(dataset: RGBDDataset) -> Iterator[BuildItem]:
    """Yield an item for each sample; that files changed under the same key is not noticed."""
    for index, key in enumerate(dataset.keys):
        yield BuildItem(key, key, partial(_load, dataset, index))


def _load(dataset: RGBDDataset, index: int) -> Row | Failure:
    return checked_row(dataset[index], to_row)


def checked_row(sample: RGBDSample, make: Callable[[RGBDSample], Row]) -> Row | Failure:
    """Return a sample's row, or what is wrong with the sample."""
    checked = check(sample)
    return checked if isinstance(checked, Failure) else make(checked)
