"""Depth for image collections: images in, depth maps that say what they mean out."""

from cortexia_video.datasets.huggingface import from_hf, to_hf
from cortexia_video.datasets.registry import open_dataset
from cortexia_video.datasets.sample_checks import usable_samples
from cortexia_video.depth_estimation import DepthEstimator, load_estimator
from cortexia_video.depth_map import DepthMap
from cortexia_video.errors import (
    CortexiaError,
    DecodeError,
    DepthFileError,
    Failure,
    InputError,
    LossError,
    MissingExtraError,
    ModelError,
    ModelLoadError,
    ModelOutputError,
    OutputError,
    OutputExistsError,
    OutputLostError,
    ParityError,
    UnknownModelError,
)
from cortexia_video.frame import Frame
from cortexia_video.geometry.anchors import anchor_depth
from cortexia_video.geometry.normals import depth_to_normals
from cortexia_video.images.decode import decode
from cortexia_video.jobs.convert import convert
from cortexia_video.jobs.estimate import estimate
from cortexia_video.jobs.inspect import FolderInspection, Inspection, inspect, inspect_folder
from cortexia_video.jobs.outcomes import Report
from cortexia_video.jobs.status import Status, status
from cortexia_video.jobs.verify import Verification, verify
from cortexia_video.ledger.depth_reader import DepthReader, read_depth
from cortexia_video.ledger.ledger import merge_ledgers, read_ledger
from cortexia_video.models.protocol import DepthModel, ModelInfo
from cortexia_video.models.registry import list_models
from cortexia_video.models.synthetic import SyntheticModel
from cortexia_video.pinhole import Pinhole
from cortexia_video.point_clouds.cloud import PointCloud, point_cloud
from cortexia_video.point_clouds.files import save_point_cloud
from cortexia_video.reporting.job import FolderReport, report
from cortexia_video.rgbd_sample import RGBDSample
from cortexia_video.runtime.telemetry import turn_off_telemetry
from cortexia_video.runtime.torch_cache import use_temporary_cache
from cortexia_video.viz.color_bar import color_bar
from cortexia_video.viz.colormap import colored_depthmap
from cortexia_video.viz.figures import collage, merge_into_row, show_depthmap

__all__ = [
    "CortexiaError",
    "DecodeError",
    "DepthEstimator",
    "DepthFileError",
    "DepthMap",
    "DepthModel",
    "DepthReader",
    "Failure",
    "FolderInspection",
    "FolderReport",
    "Frame",
    "InputError",
    "Inspection",
    "LossError",
    "MissingExtraError",
    "ModelError",
    "ModelInfo",
    "ModelLoadError",
    "ModelOutputError",
    "OutputError",
    "OutputExistsError",
    "OutputLostError",
    "ParityError",
    "Pinhole",
    "PointCloud",
    "RGBDSample",
    "Report",
    "Status",
    "SyntheticModel",
    "UnknownModelError",
    "Verification",
    "anchor_depth",
    "collage",
    "color_bar",
    "colored_depthmap",
    "convert",
    "decode",
    "depth_to_normals",
    "estimate",
    "from_hf",
    "inspect",
    "inspect_folder",
    "list_models",
    "load_estimator",
    "merge_into_row",
    "merge_ledgers",
    "open_dataset",
    "point_cloud",
    "read_depth",
    "read_ledger",
    "report",
    "save_point_cloud",
    "show_depthmap",
    "status",
    "to_hf",
    "usable_samples",
    "verify",
]

turn_off_telemetry()  # nothing above imports a library that these two are for
use_temporary_cache()
