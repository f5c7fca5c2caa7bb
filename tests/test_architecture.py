"""The shape of the package: its rooms, which way their imports go, and what it offers."""

from __future__ import annotations

import ast
import re
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import cortexia_video

PACKAGE = Path(cortexia_video.__file__).parent
FLOORS = [
    ["errors", "frame", "depth_map", "pinhole", "rgbd_sample"],
    ["storage"],
    ["runtime"],
    ["images", "geometry"],
    ["viz", "models", "augmentation"],
    ["formats", "html"],
    ["video"],
    ["inference", "depth_estimation"],
    ["ledger"],
    ["sources", "sinks"],
    ["datasets", "point_clouds", "reporting", "scenes"],
    ["sparse_depth"],
    ["jobs"],
    ["evaluation"],
    ["training", "viewing"],
    ["cli"],
    ["__init__", "__main__"],
]
SIDE_BY_SIDE = {
    frozenset(FLOORS[0]),
    frozenset({"inference", "depth_estimation"}),  # the estimator, and what runs it
}
ROOT_FILES = {
    "__init__.py",
    "__main__.py",
    "depth_estimation.py",  # named by the specification
    "depth_map.py",
    "errors.py",
    "frame.py",
    "pinhole.py",
    "rgbd_sample.py",
}
OWNERS = {  # of heavy packages: rooms (with a slash) or files that may import them, lazily or not
    "torch": {"models/torch/", "datasets/torch/", "training/", "scenes/", "runtime/process_pool.py"},
    "transformers": {"models/torch/", "training/"},
    "ray": {"jobs/ray_cluster.py"},
    "cv2": {"augmentation/opencv_ops.py"},
    "matplotlib": {"viz/figures.py"},
    "onnxruntime": {"models/onnx/"},
    "openvino": {"models/onnx/"},
    "pyarrow": {"storage/", "jobs/ray_cluster.py"},
    "av": {"video/"},
    "fsspec": {"storage/remote_path.py"},
    "aiobotocore": {"storage/s3_answers.py"},
    "botocore": {"storage/s3_answers.py"},
    "rerun": {"viewing/recording.py"},
    "embreex": {"scenes/meshes.py"},
    "pillow_heif": {"images/pillow_readers.py"},
    "fcntl": {"storage/system.py"},  # of some systems only, as those below
    **{name: set() for name in ("grp", "msvcrt", "pty", "pwd", "resource", "termios", "tty", "winreg")},
}
OF_SOME_SYSTEMS = {  # names of `os` and `signal`, and who may use them, having looked whether they are there
    "O_(DIRECT|DIRECTORY|NOFOLLOW|NONBLOCK|BINARY)|pread|pwrite|supports_dir_fd": "storage/system.py",
    "sched_getaffinity": "runtime/resources.py",
    "pthread_sigmask": "runtime/process_pool.py",
    "fork|forkpty|getuid|geteuid|mkfifo|statvfs|fchmod|killpg|setsid|nice|posix_fadvise|SIGKILL|SIGHUP|SIGALRM": "",
}


@cache
def find_imports(path: Path, *, lazy: bool = True) -> list[tuple[str, str | None]]:
    """Return the module and the name of each import of a file; lazy: also those inside functions."""
    tree = ast.parse(path.read_text())
    found: list[tuple[str, str | None]] = []
    for node in ast.walk(tree) if lazy else tree.body:
        if isinstance(node, ast.Import):
            found += ((alias.name, None) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            found += ((node.module, alias.name) for alias in node.names)
    return found


def find_room(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


FILES = sorted(PACKAGE.rglob("*.py"))


def test_only_eight_files_stand_at_the_root() -> None:
    assert {path.name for path in PACKAGE.glob("*.py")} == ROOT_FILES


def test_every_file_has_a_room_and_rooms_import_from_lower_floors_only() -> None:
    floor = {room: number for number, rooms in enumerate(FLOORS) for room in rooms}
    for path in FILES:
        room = find_room(path)
        assert room in floor, f"{path} is in no room of the table"
        for module, name in find_imports(path):
            parts = module.split(".")
            if parts[0] != "cortexia_video":
                continue
            other = parts[1] if len(parts) > 1 else name
            if other == room or (len(parts) == 1 and room == "cli"):
                continue
            beside = any({room, other} <= together for together in SIDE_BY_SIDE)
            assert beside or floor[other] < floor[room], (
                f"{path} imports {module} from its own floor or above"
            )


def test_no_two_modules_import_each_other() -> None:
    names = {
        path: "cortexia_video." + ".".join(path.relative_to(PACKAGE).with_suffix("").parts) for path in FILES
    }
    known = set(names.values())
    graph = {
        names[path]: {
            found
            for module, name in find_imports(path, lazy=False)
            for found in (module, f"{module}.{name}")
            if found in known
        }
        for path in FILES
    }
    TopologicalSorter(graph).prepare()  # raises CycleError, which names the circle


def test_nobody_imports_what_is_private_to_another_file() -> None:
    for path in FILES:
        for module, name in find_imports(path):
            private = name and name.startswith("_") and name != "__version__"
            assert not (module.startswith("cortexia_video.") and private), (
                f"{path} imports {name} of {module}"
            )


@cache
def find_doors(room: str) -> set[str]:
    """Return what other rooms may import: names of `__all__`, and modules that the docstring calls doors."""
    tree = ast.parse((PACKAGE / room / "__init__.py").read_text())
    names = next(
        (
            ast.literal_eval(node.value)
            for node in tree.body
            if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "__all__"
        ),
        [],
    )
    return {*names, *re.findall(r"`([\w.]+)`", (ast.get_docstring(tree) or "").partition("Doors: ")[2])}


def test_doors_lead_somewhere() -> None:
    for room in PACKAGE.glob("*/__init__.py"):
        code = room.read_text().split('"""', 2)[-1]
        for door in find_doors(room.parent.name):
            place = room.parent / door.replace(".", "/")
            assert place.is_dir() or place.with_suffix(".py").is_file() or door in code, f"{room}: {door}"


def test_rooms_are_entered_by_their_doors() -> None:
    for path in FILES:
        for module, name in find_imports(path):
            parts = module.split(".")
            if parts[0] != "cortexia_video" or len(parts) == 1 or parts[1] == find_room(path):
                continue
            if (PACKAGE / parts[1]).is_dir() and parts[1] != "cli":
                entered = ".".join(parts[2:]) or name
                assert entered in find_doors(parts[1]), (
                    f"{path} enters {parts[1]} by {entered}, which is no door"
                )


@pytest.mark.parametrize("package", OWNERS)
def test_a_heavy_package_has_one_owner(package: str) -> None:
    for path in FILES:
        if any(module.split(".")[0] == package for module, _ in find_imports(path)):
            inside = path.relative_to(PACKAGE).as_posix()
            assert any(inside.startswith(owner) for owner in OWNERS[package]), f"{inside} imports {package}"


@pytest.mark.parametrize("names", OF_SOME_SYSTEMS)
def test_what_some_systems_lack_is_used_in_one_file(names: str) -> None:
    use = re.compile(rf"\b(?:os|signal)\.(?:{names})\b")
    users = {path.relative_to(PACKAGE).as_posix() for path in FILES if use.search(path.read_text())}
    assert users == {OF_SOME_SYSTEMS[names]} - {""}


def test_nothing_of_some_systems_is_imported_before_it_is_needed() -> None:
    for path in FILES:
        early = {module.split(".")[0] for module, _ in find_imports(path, lazy=False)}
        assert not early & {"fcntl", "grp", "msvcrt", "pty", "pwd", "resource", "termios", "tty", "winreg"}


def test_no_function_has_a_body_over_60_lines() -> None:
    """A function tells one story; its signature and its docstring do not count."""
    long = []
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                said = node.body[0] if ast.get_docstring(node) else None
                first = node.body[0].lineno if said is None else (said.end_lineno or 0) + 1
                if (node.end_lineno or 0) - first >= 60:
                    long.append(f"{path.name}: {node.name}")
    assert long == []
