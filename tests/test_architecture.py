"""The shape of the package: what it offers, and which way its imports go."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import cortexia_video
from cortexia_video import augmentation, evaluation

PACKAGE = Path(cortexia_video.__file__).parent
LAYERS = [
    [
        "errors",
        "telemetry",
        "torch_cache",
        "spreadsheet",
        "boundary",
        "documents",
        "foreign_content",
        "arrow",
        "frame",
        "depth_map",
        "file_lock",
        "scratch",
        "shard",
        "places",
        "ledger_line",
        "ledger_segments",
        "ledger_file",
    ],
    ["camera", "projection", "depth_gaps", "anchoring"],
    ["intrinsics", "normals", "rgbd_sample", "decode", "resampling", "batching", "batch_limits"],
    ["color_tables", "coloring", "visualization", "color_bar"],
    ["byte_budget", "look_ahead", "stage_clock", "speed", "formats", "models"],
    ["augmentation"],
    ["depth_estimation", "sinks", "history", "ledger", "ledger_index", "run_files"],
    ["sources", "datasets", "scenes", "parity"],
    ["engine", "engine_choice", "outcomes", "depth_json", "depth_folder"],
    ["image_steps", "packing", "order", "block_worker"],
    ["pipeline", "status"],
    ["conversion", "inspection", "verification", "point_clouds", "reporting"],
    ["planning", "exporting", "evaluation", "distributed"],
    ["training"],
    ["cli"],
    ["__init__", "__main__"],
]
PUBLIC_NAMES = [
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
AUGMENTATION_NAMES = [
    "ApplyTransforms",
    "CanonicalDepth",
    "Compose",
    "Crop",
    "Flip",
    "Motion",
    "PerspectiveCrop",
    "Photometric",
    "RandomCrop",
    "RandomPerspectiveCrop",
    "RandomRotate",
    "RandomTransform",
    "RandomZoom",
    "Resize",
    "Rotate",
    "Sometimes",
    "Transform",
    "View",
    "Zoom",
]
TORCH_ROOMS = {"scenes", "training", "models"}


def imported(path: Path) -> set[str]:
    """Return the modules that a file names in its imports."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module}
    return names


def room(path: Path) -> str:
    first = path.relative_to(PACKAGE).parts[0]
    return first.removesuffix(".py")


def test_every_file_has_a_room_and_imports_go_down_only() -> None:
    level = {name: index for index, names in enumerate(LAYERS) for name in names}
    for path in PACKAGE.rglob("*.py"):
        assert room(path) in level, f"{path} is in no layer"
        for name in imported(path):
            parts = name.split(".")
            if parts[0] == "cortexia_video" and len(parts) > 1:
                assert level[parts[1]] <= level[room(path)], f"{path} imports {name} from above"


def test_torch_stays_in_its_rooms() -> None:
    for path in PACKAGE.rglob("*.py"):
        if room(path) not in TORCH_ROOMS:
            assert not any(
                name.split(".")[0] in ("torch", "tensorboard", "onnx") for name in imported(path)
            ), path


def test_matplotlib_has_one_owner() -> None:
    owners = [path.name for path in PACKAGE.rglob("*.py") if "matplotlib" in imported(path)]
    assert owners == ["visualization.py"]


def test_transforms_have_these_names_and_import_nothing_heavy() -> None:
    assert augmentation.__all__ == AUGMENTATION_NAMES
    for name in AUGMENTATION_NAMES:
        assert (getattr(augmentation, name).__doc__ or "").strip(), f"{name} says nothing of itself"
    heavy = "{'cv2', 'albumentations', 'torch'}"
    code = f"import sys, cortexia_video.augmentation; print(*{heavy} & {{*sys.modules}})"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.split() == []


def test_opencv_has_one_owner() -> None:
    owners = [path.name for path in PACKAGE.rglob("*.py") if "cv2" in imported(path)]
    assert owners == ["pixels.py"]


def test_the_public_names_are_these() -> None:
    assert sorted(cortexia_video.__all__) == cortexia_video.__all__
    for name in cortexia_video.__all__:
        assert (getattr(cortexia_video, name).__doc__ or "").strip(), f"{name} says nothing of itself"
    assert cortexia_video.__all__ == PUBLIC_NAMES


def test_the_public_names_of_the_evaluation_are_these() -> None:
    names = [
        "PixelSums",
        "add_sums",
        "align",
        "boundary_f1",
        "boundary_recall",
        "measure_pixels",
        "score_pixels",
    ]
    assert evaluation.__all__ == names
