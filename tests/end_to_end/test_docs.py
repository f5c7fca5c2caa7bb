"""The documents say what is so: their snippets run, and the README stays short."""

from __future__ import annotations

import json
import multiprocessing
import os
import re
import runpy
import shlex
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from clips import write_clip
from colmap_files import make_views
from conftest import HANG_S
from dataset_layouts import make_rgbd, make_scene, make_tum
from furniture_files import write_furniture
from PIL import Image

import cortexia_video as cx
from cortexia_video.cli import main

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
INSTALLING = ("git ", "python3 -m venv", "pip ", ".venv/bin/pip", "make ", "cd ", "source ")


def snippets(language: str) -> list[str]:
    texts = [document.read_text() for document in DOCUMENTS]
    return [found for text in texts for found in re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)]


@pytest.fixture
def workplace(
    tmp_path: Path, make_image: Callable[..., Path], use_hub_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> Path:
    """Return a folder as the README supposes it: images in `photos`, depth in `kitti`, scripts in `scripts`.

    The weights of published models are there, too: small random ones in their places.
    """
    for index in range(3):
        make_image(tmp_path / "photos" / f"{index}.jpg", seed=index)
    make_image(tmp_path / "photos/trip/a.jpg")
    write_furniture(tmp_path / "models")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / ".cache"))
    write_clip(tmp_path / "clip.mp4", 20)
    (tmp_path / "kitti").mkdir()
    Image.fromarray(np.full((9, 16), 3 * 256, np.uint16)).save(tmp_path / "kitti/0000000005.png")  # 3 m
    (tmp_path / "list.txt").write_text("photos/0.jpg\n")
    make_tum(tmp_path / "data/tum", make_scene(), 3)
    make_rgbd(tmp_path / "data/room", make_scene(), 9)
    make_set(tmp_path / "indoor", make_image)
    make_hub(tmp_path / "downloaded", tmp_path / "indoor")
    (tmp_path / "scripts").symlink_to(ROOT / "scripts")
    shutil.copy(ROOT / "examples/room_900002.jpg", tmp_path / "room.jpg")
    make_colmap_scene(tmp_path / "scene")
    for name in ("0", "1", "2", "trip/a"):
        measured = np.random.default_rng(0).integers(900, 6000, (12, 16), dtype=np.uint16)
        (tmp_path / "lidar" / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(measured).save(tmp_path / f"lidar/{name}.png")
    return tmp_path


def make_colmap_scene(root: Path) -> None:
    """Make a scene whose model has points at a scale of its own, as docs/align.md supposes it."""
    images = root / "images"
    images.mkdir(parents=True)
    metres = {}
    for name in ("room_900002", "facade_900003"):
        shutil.copy(ROOT / f"examples/{name}.jpg", images)
        values = cx.load_estimator("compact")(images / f"{name}.jpg").values
        metres[f"{name}.jpg"] = 1 / (0.05 * values[:480, :640].astype(np.float64) + 0.02)
        Image.open(images / f"{name}.jpg").crop((0, 0, 640, 480)).save(images / f"{name}.jpg")
    make_views(metres, 500, 40).write(root / "sparse" / "0", "bin")
    lines = [
        f"{key},{x},{y},{found[y, x]}"
        for key, found in metres.items()
        for x, y in ((9, 9), (300, 400), (600, 90))
    ]
    (root / "points.csv").write_text("key,x,y,depth_m\n" + "\n".join(lines) + "\n")


def make_set(root: Path, make_image: Callable[..., Path]) -> None:
    """Make a dataset of the layout with set.json, as docs/evaluation.md supposes it."""
    frames = []
    (root / "depth").mkdir(parents=True)
    (root.parent / "da2").mkdir()
    for index in range(2):
        image = make_image(root / "rgb" / f"{index}.jpg", seed=index)
        with Image.open(image) as opened:
            width, height = opened.size
        depth = np.random.default_rng(index).integers(1000, 5000, (height, width), dtype=np.uint16)
        Image.fromarray(depth).save(root / "depth" / f"{index}.png")
        np.save(
            root.parent / f"da2/{index}_raw_depth_meter.npy", depth / np.float32(900)
        )  # another's estimate
        frames.append({"name": str(index), "rgb": f"rgb/{index}.jpg", "depth": f"depth/{index}.png"})
    about = {"name": "indoor", "frames": frames, "depth_scale": 1000, "max_depth_m": 10.0, "intrinsics": None}
    (root / "set.json").write_text(json.dumps(about))


def make_hub(root: Path, made: Path) -> None:
    """Make a dataset as Hugging Face's hub has it, with columns that docs/datasets.md names, of one by `make_set`."""
    root.mkdir()
    files = {"image": sorted(made.glob("rgb/*")), "raw": sorted(made.glob("depth/*"))}
    rows = {
        name: [{"bytes": path.read_bytes(), "path": path.name} for path in paths]
        for name, paths in files.items()
    }
    pq.write_table(pa.table(rows), root / "train-00000-of-00001.parquet")


def run(command: str, folder: Path) -> None:
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    subprocess.run(command, shell=True, cwd=folder, check=True, env=environment, timeout=HANG_S)


def run_here(command: str) -> None:
    """Run a command of cortexia's in this process: what forty commands import takes longer than they do."""
    with pytest.raises(SystemExit) as ended:
        main(shlex.split(command)[1:])
    assert ended.value.code == 0, command


@pytest.mark.slow
@pytest.mark.filterwarnings("default")  # as in a process of their own
def test_the_commands_in_the_documents_run(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = [line.split("  #")[0] for snippet in snippets("bash") for line in snippet.splitlines()]
    commands = [line for line in lines if line.strip() and not line.startswith((*INSTALLING, "#"))]
    runnable = [line for line in commands if "-m cortexia_video." not in line and "benchmarks/" not in line]
    assert len(runnable) >= 6
    monkeypatch.chdir(workplace)
    for command in runnable:
        if command.startswith("cortexia ") and "ray" not in command:
            run_here(command)
        else:
            run(command, workplace)


@pytest.mark.slow
@pytest.mark.filterwarnings("default")
def test_the_fine_tuning_of_the_readme_runs(workplace: Path) -> None:
    """With two small steps; the same four lines are in docs/training.md."""
    (commands,) = snippets("sh")
    (recipe,) = re.findall(r"printf '(.*)' > mine.toml", commands)
    (documented,) = [each for each in snippets("toml") if 'weights = "compact" }' in each]
    assert tomllib.loads(recipe.replace("\\n", "\n")) == tomllib.loads(documented)
    small = r"steps=2\nbatch_size=2\nshort_sides=[64]\nworkers=0"
    for command in commands.replace("steps=300", small).splitlines():
        run(command, workplace)
    assert (workplace / "runs/mine/mine.onnx").is_file()


# each in a process of its own, of one that has imported what takes longer than they do
_processes = multiprocessing.get_context("forkserver")
_processes.set_forkserver_preload(
    [
        "cortexia_video.jobs.estimate",
        "cortexia_video.evaluation",
        "cortexia_video.datasets",
        "onnxruntime",
        "torch",
    ]
)


def run_snippet(folder: Path) -> None:
    usual = multiprocessing.get_all_start_methods()[
        0
    ]  # the first is what a process has that nobody started so
    multiprocessing.set_start_method(usual, force=True)
    os.chdir(folder)
    sys.path.insert(0, str(folder))
    runpy.run_path("snippet.py", run_name="__main__")


@pytest.mark.parametrize("index", range(len(snippets("python"))))
def test_the_python_in_the_documents_runs(workplace: Path, index: int) -> None:
    (workplace / "snippet.py").write_text(snippets("python")[index])
    process = _processes.Process(target=run_snippet, args=(workplace,))
    process.start()
    process.join(HANG_S)
    assert process.exitcode == 0, snippets("python")[index]


def test_what_the_documents_link_to_is_there() -> None:
    for document in DOCUMENTS:
        for target in re.findall(r"\]\(([^)#]+)\)", document.read_text()):
            assert target.startswith("http") or (document.parent / target).exists(), f"{document}: {target}"


def test_the_site_leads_to_every_page() -> None:
    nav = (ROOT / "mkdocs.yml").read_text().partition("\nnav:\n")[2]
    named = re.findall(r"(\S+\.md)$", nav, re.MULTILINE)
    pages = [path.relative_to(ROOT / "docs").as_posix() for path in (ROOT / "docs").rglob("*.md")]
    assert sorted(named) == sorted(pages)


def test_the_version_stands_in_one_place_and_the_citation() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert f"\nversion: {version}\n" in (ROOT / "CITATION.cff").read_text()


def test_the_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text().splitlines()) < 150
