"""Images with depth: datasets as other people lay them out, as Hugging Face has them, and our own.

Doors: `builder`, `dataset`, `dataset_info`, `eval_region`, `huggingface`, `mixture`, `readers._pair`,
`readers.rgbd_folder`, `registry`, `sample_checks`, `summary`, `torch.datasets`.
"""

from typing import TYPE_CHECKING

from cortexia_video.runtime.lazy_names import load_lazily

if TYPE_CHECKING:
    from cortexia_video.datasets.build import BuildReport
    from cortexia_video.datasets.builder import build_dataset
    from cortexia_video.datasets.dataset import RGBDDataset, RGBDStream
    from cortexia_video.datasets.huggingface import from_hf, to_hf
    from cortexia_video.datasets.mixture import Mixture
    from cortexia_video.datasets.registry import open_dataset, open_folder, recognise
    from cortexia_video.datasets.sample_checks import ProblemCount, raise_problem, usable_samples
    from cortexia_video.datasets.torch.datasets import MixedBatches, SampleDataset
    from cortexia_video.datasets.torch.tensors import to_tensors

__all__ = [
    "BuildReport",
    "MixedBatches",
    "Mixture",
    "ProblemCount",
    "RGBDDataset",
    "RGBDStream",
    "SampleDataset",
    "build_dataset",
    "from_hf",
    "open_dataset",
    "open_folder",
    "raise_problem",
    "recognise",
    "to_hf",
    "to_tensors",
    "usable_samples",
]

_HOMES = {
    "datasets.build": ("BuildReport",),
    "datasets.builder": ("build_dataset",),
    "datasets.dataset": (
        "RGBDDataset",
        "RGBDStream",
    ),
    "datasets.huggingface": (
        "from_hf",
        "to_hf",
    ),
    "datasets.mixture": ("Mixture",),
    "datasets.registry": (
        "open_dataset",
        "open_folder",
        "recognise",
    ),
    "datasets.sample_checks": (
        "ProblemCount",
        "raise_problem",
        "usable_samples",
    ),
    "datasets.torch.datasets": (
        "MixedBatches",
        "SampleDataset",
    ),
    "datasets.torch.tensors": ("to_tensors",),
}
__getattr__, __dir__ = load_lazily(__name__, _HOMES)
