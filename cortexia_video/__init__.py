"""Depth for image collections: images in, depth maps that say what they mean out."""

from typing import TYPE_CHECKING

from cortexia_video.runtime.lazy_names import load_lazily
from cortexia_video.runtime.telemetry import turn_off_telemetry
from cortexia_video.runtime.torch_cache import use_temporary_cache

if TYPE_CHECKING:
    from cortexia_video import (
        augmentation,
        datasets,
        errors,
        evaluation,
        geometry,
        jobs,
        point_clouds,
        scenes,
        sparse_depth,
        training,
        viz,
    )
    from cortexia_video.datasets.builder import build_dataset
    from cortexia_video.datasets.huggingface import from_hf, to_hf
    from cortexia_video.datasets.registry import open_dataset
    from cortexia_video.depth_estimation import DepthEstimator, load_estimator
    from cortexia_video.depth_map import DepthMap
    from cortexia_video.errors import CortexiaError, Failure
    from cortexia_video.evaluation.evaluator import evaluate
    from cortexia_video.frame import Frame
    from cortexia_video.geometry.alignment import align
    from cortexia_video.images.decode import decode, read_image
    from cortexia_video.jobs.align import align_folder
    from cortexia_video.jobs.aligner import AlignTo
    from cortexia_video.jobs.convert import convert
    from cortexia_video.jobs.estimate import estimate
    from cortexia_video.jobs.export import export
    from cortexia_video.jobs.inspect import inspect
    from cortexia_video.jobs.outcomes import Report
    from cortexia_video.jobs.plan import plan
    from cortexia_video.jobs.status import status
    from cortexia_video.jobs.verify import verify
    from cortexia_video.ledger.depth_reader import DepthReader, read_depth
    from cortexia_video.ledger.ledger import merge_ledgers, read_ledger
    from cortexia_video.models.protocol import DepthModel, ModelInfo
    from cortexia_video.models.registry import list_models
    from cortexia_video.models.synthetic import SyntheticModel
    from cortexia_video.pinhole import Pinhole
    from cortexia_video.point_clouds.cloud import point_cloud
    from cortexia_video.point_clouds.files import save_point_cloud
    from cortexia_video.reporting.job import report
    from cortexia_video.rgbd_sample import RGBDSample
    from cortexia_video.runtime.progress import watch_progress
    from cortexia_video.sinks.depth_file import write_depth
    from cortexia_video.training.start import train
    from cortexia_video.viewing.job import view
    from cortexia_video.viz.colormap import colored_depthmap
    from cortexia_video.viz.figures import collage, merge_into_row, show_depthmap

__all__ = [
    "AlignTo",
    "CortexiaError",
    "DepthEstimator",
    "DepthMap",
    "DepthModel",
    "DepthReader",
    "Failure",
    "Frame",
    "ModelInfo",
    "Pinhole",
    "RGBDSample",
    "Report",
    "SyntheticModel",
    "align",
    "align_folder",
    "augmentation",
    "build_dataset",
    "collage",
    "colored_depthmap",
    "convert",
    "datasets",
    "decode",
    "errors",
    "estimate",
    "evaluate",
    "evaluation",
    "export",
    "from_hf",
    "geometry",
    "inspect",
    "jobs",
    "list_models",
    "load_estimator",
    "merge_into_row",
    "merge_ledgers",
    "open_dataset",
    "plan",
    "point_cloud",
    "point_clouds",
    "read_depth",
    "read_image",
    "read_ledger",
    "report",
    "save_point_cloud",
    "scenes",
    "show_depthmap",
    "sparse_depth",
    "status",
    "to_hf",
    "train",
    "training",
    "verify",
    "view",
    "viz",
    "watch_progress",
    "write_depth",
]

turn_off_telemetry()  # nothing above imports a library that these two are for
use_temporary_cache()

_ROOMS = (
    "augmentation",
    "datasets",
    "errors",
    "evaluation",
    "geometry",
    "jobs",
    "point_clouds",
    "scenes",
    "sparse_depth",
    "training",
    "viz",
)
_HOMES = {
    "datasets.builder": ("build_dataset",),
    "datasets.huggingface": (
        "from_hf",
        "to_hf",
    ),
    "datasets.registry": ("open_dataset",),
    "depth_estimation": (
        "DepthEstimator",
        "load_estimator",
    ),
    "depth_map": ("DepthMap",),
    "errors": (
        "CortexiaError",
        "Failure",
    ),
    "evaluation.evaluator": ("evaluate",),
    "frame": ("Frame",),
    "geometry.alignment": ("align",),
    "images.decode": (
        "decode",
        "read_image",
    ),
    "jobs.align": ("align_folder",),
    "jobs.aligner": ("AlignTo",),
    "jobs.convert": ("convert",),
    "jobs.estimate": ("estimate",),
    "jobs.export": ("export",),
    "jobs.inspect": ("inspect",),
    "jobs.outcomes": ("Report",),
    "jobs.plan": ("plan",),
    "jobs.status": ("status",),
    "jobs.verify": ("verify",),
    "ledger.depth_reader": (
        "DepthReader",
        "read_depth",
    ),
    "ledger.ledger": (
        "merge_ledgers",
        "read_ledger",
    ),
    "models.protocol": (
        "DepthModel",
        "ModelInfo",
    ),
    "models.registry": ("list_models",),
    "models.synthetic": ("SyntheticModel",),
    "pinhole": ("Pinhole",),
    "point_clouds.cloud": ("point_cloud",),
    "point_clouds.files": ("save_point_cloud",),
    "reporting.job": ("report",),
    "rgbd_sample": ("RGBDSample",),
    "runtime.progress": ("watch_progress",),
    "sinks.depth_file": ("write_depth",),
    "training.start": ("train",),
    "viewing.job": ("view",),
    "viz.colormap": ("colored_depthmap",),
    "viz.figures": (
        "collage",
        "merge_into_row",
        "show_depthmap",
    ),
}
__getattr__, __dir__ = load_lazily(__name__, _HOMES, _ROOMS)
