"""The shape of the package: which way its imports go. What it offers: test_public_api.py."""

from __future__ import annotations

import ast
from pathlib import Path

import cortexia_video

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


def test_opencv_has_one_owner() -> None:
    owners = [path.name for path in PACKAGE.rglob("*.py") if "cv2" in imported(path)]
    assert owners == ["pixels.py"]
