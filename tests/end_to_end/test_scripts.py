"""The spec's scripts: file names, console lines and error handling as its document shows them."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from conftest import HANG_S, leave_out_progress
from dataset_layouts import make_rgbd, make_scene
from PIL import Image

import cortexia_video as cx

ROOT = Path(__file__).resolve().parents[2]
Make = Callable[..., Path]

DIRECT = """\
Found 15 images for processing in photos
Loading images into buffer...
Loaded 15 images
Starting batch processing for folder photos...
Processing batch 1/4
Infering 4 images
Infered 4 images
Saved ./photos/image01_depth_new.npy
Saved ./photos/image02_depth_new.npy
"""
RECURSIVE = """\
Found 2 images for processing in video_001
Processing subdirectory video_001...
Loading images into buffer...
Loaded 2 images
Starting batch processing for folder video_001...
Processing batch 1/1
Infering 2 images
Infered 2 images
Saved ./video_dataset/video_001/1_depth_new.npy
Saved ./video_dataset/video_001/2_depth_new.npy
Found 1 images for processing in video_002
Processing subdirectory video_002...
"""


def run(
    folder: Path, *arguments: str, script: str = "batch_depth_estimation.py"
) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "scripts" / script), *arguments]
    return subprocess.run(command, capture_output=True, text=True, cwd=folder, timeout=HANG_S)


@pytest.fixture
def photos(tmp_path: Path, make_image: Make) -> Path:
    suffixes = [".jpg", ".jpeg", ".JPG", ".JPEG", ".png", ".PNG"]
    for index in range(1, 16):
        make_image(
            tmp_path / "photos" / f"image{index:02}{suffixes[index % 6]}", (40 + index % 2, 60), seed=index
        )
    make_image(tmp_path / "photos/ignored.webp")
    return tmp_path


def test_a_single_folder(photos: Path) -> None:
    ran = run(photos, "--folder", "./photos", "--model", "compact")
    assert (ran.returncode, leave_out_progress(ran.stderr)) == (0, "")
    assert ran.stdout.startswith(DIRECT)
    assert ran.stdout.count("Saved ./photos/") == 15
    depth = np.load(photos / "photos/image02_depth_new.npy")
    assert (depth.dtype, depth.shape) == (np.float32, (40, 60))
    others = {
        path.name
        for path in (photos / "photos").iterdir()
        if path.suffix not in (".npy", ".webp") and path.suffix.lower() not in (".jpg", ".jpeg", ".png")
    }
    assert others == {"depth.json", "ledger.jsonl"}


def test_png_and_a_second_run_that_does_not_read_its_own_outputs(photos: Path) -> None:
    for _ in range(2):
        ran = run(
            photos, "--folder", "./photos", "--save_format", "png", "--batch_size", "8", "--model", "compact"
        )
        assert ran.stdout.startswith("Found 15 images for processing in photos\n")
        assert "Processing batch 2/2\n" in ran.stdout
        assert "Saved ./photos/image01_depth_new.png\n" in ran.stdout
    with Image.open(photos / "photos/image02_depth_new.png") as view:
        assert (view.mode, view.size) == ("L", (60, 40))


def test_subdirectories(tmp_path: Path, make_image: Make) -> None:
    for name in ("video_001/1.jpg", "video_001/2.png", "video_002/1.jpg", "top.jpg"):
        make_image(tmp_path / "video_dataset" / name)
    (tmp_path / "video_dataset/empty").mkdir()
    ran = run(tmp_path, "--folder", "./video_dataset", "--recursive", "--model", "compact")
    assert ran.returncode == 0
    assert ran.stdout.startswith(RECURSIVE)
    assert "empty" not in ran.stdout and "top" not in ran.stdout
    assert not (tmp_path / "video_dataset/top_depth_new.npy").exists()


def test_two_images_with_one_stem_are_both_saved(tmp_path: Path, make_image: Make) -> None:
    for name, height in (("a.jpg", 30), ("a.png", 40), ("a.jpg.png", 50), ("b.png", 60)):
        make_image(tmp_path / name, (height, 64))
    assert run(tmp_path, "--folder", ".", "--model", "compact").returncode == 0
    heights = {path.name: np.load(path).shape[0] for path in tmp_path.glob("*.npy")}
    assert heights == {
        "a.jpg_depth_new.npy": 30,
        "a.png_depth_new.npy": 40,
        "a.jpg.png_depth_new.npy": 50,
        "b_depth_new.npy": 60,
    }


def test_what_is_no_depth_map_is_not_replaced(photos: Path, make_image: Make) -> None:
    (photos / "photos/image01_depth_new.npy").write_bytes(b"my notes")
    mine = make_image(photos / "photos/image02_depth_new.png").read_bytes()
    make_image(photos / "photos/holiday_depth_new.jpg")
    ran = run(photos, "--folder", "./photos", "--save_format", "png", "--model", "compact")
    assert "Found 17 images" in ran.stdout
    assert "Failed (write) image02_depth_new: image02_depth_new.png exists already" in ran.stdout
    assert (photos / "photos/image02_depth_new.png").read_bytes() == mine
    assert run(photos, "--folder", "./photos", "--model", "compact").returncode == 1
    assert (photos / "photos/image01_depth_new.npy").read_bytes() == b"my notes"


def test_the_last_line_says_what_the_numbers_mean(photos: Path) -> None:
    ran = run(photos, "--folder", "./photos", "--model", "compact")
    last = ran.stdout.splitlines()[-1]
    counts = "15 found, 15 saved, 0 skipped, 0 failed"
    assert last == f"{counts}; compact gives disparity, larger is nearer, not metres"


def test_bad_images_are_skipped_and_the_others_done(photos: Path) -> None:
    good = (photos / "photos/image06.jpg").read_bytes()
    (photos / "photos/a-text.jpg").write_text("dear diary")
    (photos / "photos/cut.jpg").write_bytes(good[:-60])
    (photos / "photos/image03_depth_new.npy").mkdir()
    ran = run(photos, "--folder", "./photos", "--model", "compact")
    assert ran.returncode == 1
    assert "Found 17 images" in ran.stdout
    assert "Skipped ./photos/a-text.jpg: " in ran.stdout
    assert "Skipped ./photos/cut.jpg: cut short" in ran.stdout
    assert "Loaded 15 images" in ran.stdout
    assert "Failed (write) image03_depth_new: " in ran.stdout
    assert ran.stdout.count("Saved ") == 14
    assert "17 found, 14 saved, 2 skipped, 1 failed" in ran.stdout


def test_the_folder_is_understood_as_any_other(tmp_path: Path) -> None:
    """By what reads a folder: metadata of each file, the page, checking, converting, measuring."""
    scene = make_scene()
    make_rgbd(tmp_path / "room", scene, 6)
    for image in (tmp_path / "room/rgb").iterdir():
        shutil.copy(image, tmp_path / image.name)
    (tmp_path / "text.jpg").write_text("dear diary")
    assert run(tmp_path, "--folder", ".", "--model", "compact").returncode == 1
    reader = cx.DepthReader()
    for number in range(6):  # from the fifth on they are looked up in an index
        depth = reader.read(tmp_path / f"{number}_depth_new.npy")
        assert (depth.kind, depth.model) == ("disparity", "compact")
    about = cx.inspect(tmp_path)
    assert isinstance(about, cx.jobs.FolderInspection) and about.common["kind"] == "disparity"
    assert about.last_run == {"found": 7, "done": 6, "skipped": 0, "failed": 1}
    assert "6 done, 1 failed; of 6 looked at" in str(cx.report(tmp_path, output=tmp_path / "page.html"))
    assert cx.verify(tmp_path).checked == 6
    assert cx.convert(tmp_path, tmp_path / "npz", format="npz").done == 6
    assert cx.read_depth(tmp_path / "npz/0_depth_new.npz").kind == "disparity"
    measured = cx.evaluate(["compact", str(tmp_path)], truth=tmp_path / "room")
    assert measured.is_complete
    ours, theirs = (measured.summary.totals[name]["abs_rel"].value for name in ("compact", str(tmp_path)))
    assert ours == pytest.approx(theirs, rel=1e-6)
    (tmp_path / "0_depth_new.npy").write_bytes(b"")
    assert [wrong.key for wrong in cx.verify(tmp_path).wrong] == ["0.png"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "--folder"),
        (["--folder", "gone", "--model", "compact"], "no such folder: gone"),
        (["--folder", "empty", "--model", "compact"], "no images (jpg, jpeg, png) found in empty"),
        (["--folder", "empty"], "run 'hf download apple/DepthPro-hf'"),
        (["--folder", "empty"], "or --model compact: built in, no download"),
        (["--folder", "empty", "--save_format", "tiff"], "tiff"),
        (["--folder", "empty", "--batch_size", "0"], "--batch_size must be at least 1, got 0"),
    ],
)
def test_wrong_usage_is_one_line(tmp_path: Path, arguments: list[str], message: str) -> None:
    (tmp_path / "empty").mkdir()
    ran = run(tmp_path, *arguments)
    assert ran.returncode == 2
    assert message in ran.stdout + ran.stderr
    assert "Traceback" not in ran.stderr


def test_the_example(photos: Path) -> None:
    ran = run(photos, "photos", script="examples/batch_depth_example.py")
    assert (ran.returncode, leave_out_progress(ran.stderr)) == (0, "")
    assert "15 found, 15 saved, 0 skipped, 0 failed" in ran.stdout
    assert "image02.JPG: float32 (40, 60)" in ran.stdout
