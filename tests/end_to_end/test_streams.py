"""Streams and disks that take no more: one line and the right exit code from every command, no traceback."""

from __future__ import annotations

import multiprocessing
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from dataset_layouts import make_rgbd, make_scene
from file_digests import file_digests
from PIL import Image
from recipes import network, write_recipe

from cortexia_video import DepthEstimator, SyntheticModel, estimate
from cortexia_video.cli import main

COUNT = 8
GUARD = 600  # seconds
WRITING = {
    "estimate": "estimate IN/photos --output OUT/x --model synthetic --preview",
    "pack tar": "estimate IN/photos --output OUT/x --model synthetic --pack tar --pack-size 3",
    "pack parquet": "estimate IN/photos --output OUT/x --model synthetic --pack parquet --pack-size 3",
    "convert": "convert IN/metres --output OUT/x --format tiff",
    "pointcloud": "pointcloud IN/metres --output OUT/x",
    "one pointcloud": "pointcloud IN/photos/0.jpg --depth IN/metres/0.jpg.npy --output OUT/x.ply",
    "report": "report IN/metres --output OUT/x.html",
    "dataset build": "dataset build IN/photos --depth IN/metres --output OUT/x --shard-size 3",
    "webdataset": "dataset build IN/photos --depth IN/metres --output OUT/x --format webdataset",
    "dataset preview": "dataset preview IN/set --output OUT/x.png",
    "evaluate": "evaluate IN/guess --truth IN/set --output OUT/x",
    "models compared": "compare IN/metres synthetic --images IN/photos --output OUT/x",
    "train": "train IN/recipe.toml --output OUT/x",
    "scenes": "scenes --count 2 --size 48 64 --kinds close --workers 1 --output OUT/x",
}
READING = {
    "info": "info IN/metres IN/metres/0.jpg.npy",
    "info --json": "info --json IN/metres",
    "verify": "verify IN/metres",
    "status": "status IN/metres IN/photos",
    "plan": "plan IN/photos --model synthetic",
    "models": "models",
    "dataset info": "dataset info IN/set",
    "compare": "evaluate IN/photos --compare onnx",
    "merge": "merge IN/metres",
    "--help": "--help",
    "--version": "--version",
}
SILENT = ("train",)  # prints nothing to stdout

# each command runs in a process of its own, of one that has imported what they need
_processes = multiprocessing.get_context("forkserver")
_processes.set_forkserver_preload(
    ["cortexia_video.cli.estimate", "onnxruntime", "transformers", "cortexia_video.training.job"]
)


class Ran(NamedTuple):
    code: int | None
    out: str
    err: str

    @property
    def complaints(self) -> list[str]:
        return [line for line in self.err.splitlines() if line.startswith("cortexia: ")]


QUICK = ("estimate", "pack tar", "evaluate", "info", "--help", "--version")  # the others: make test-slow


def some_slow(names: list[str]) -> list[object]:
    return [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in names]


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory, checkpoints: Callable[[str], Path]) -> Path:
    """Return a folder with images, depth in metres, a dataset with a guess at it, a recipe."""
    root = tmp_path_factory.mktemp("inputs")
    (root / "photos").mkdir()
    for number in range(COUNT):
        pixels = np.random.default_rng(number).integers(0, 256, (60, 80, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(root / f"photos/{number}.jpg")
    metric = DepthEstimator(SyntheticModel(kind="metric"))
    estimate(root / "photos", root / "metres", model=metric, f_px=100)
    make_rgbd(root / "set", make_scene(), COUNT)
    estimate(root / "set/rgb", root / "guess", model=metric)
    shutil.copytree(checkpoints("depth-anything"), root / "checkpoint")
    write_recipe(root, network(f"hf:{root}/checkpoint"), root=root / "set", bfloat16=False)
    return root


def run(
    command: str, inputs: Path, out: Path, *, stdout: str = "", stderr: str = "", temporary: bool = True
) -> Ran:
    """Run a command. stdout, stderr: `full`, `closed` or `gone`, a pipe that nobody reads; else a file."""
    out.mkdir(exist_ok=True)
    words = [word.replace("IN", str(inputs)).replace("OUT", str(out)) for word in command.split()]
    with tempfile.TemporaryDirectory() as folder:
        files = [Path(folder, name) for name in ("out", "err")]
        process = _processes.Process(target=_run, args=(words, [stdout, stderr], files, temporary))
        process.start()
        process.join(GUARD)
        assert process.exitcode is not None, f"{command} hangs"
        said = (file.read_text(errors="replace") if file.exists() else "" for file in files)
        return Ran(process.exitcode, *said)


def _run(words: list[str], streams: list[str], files: list[Path], temporary: bool) -> None:
    """In the process: arrange the streams as the interpreter finds them, and run the command."""
    for number, (how, file) in enumerate(zip(streams, files, strict=True), 1):
        place = os.open("/dev/full" if how == "full" else file, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        if how == "gone":
            read, place = os.pipe()
            os.close(read)
        os.dup2(place, number)
        os.close(place)
    for number, (name, how) in enumerate(zip(("stdout", "stderr"), streams, strict=True), 1):
        if how == "closed":
            os.close(number)
            setattr(sys, name, None)
    if not temporary:
        tempfile.tempdir, tempfile._candidate_tempdir_list = None, lambda: ["/nowhere"]  # type: ignore[attr-defined]
    main(words)


def _names(out: Path) -> list[str]:
    """List the files of a folder; TensorBoard's are called by the time."""
    return sorted(file_digests(out, lambda name: not name.startswith("events")))


def needs(name: str) -> None:
    if name in ("train", "scenes"):
        pytest.importorskip("torch")
        pytest.importorskip("tensorboard")


@pytest.mark.parametrize("name", some_slow([*WRITING, *READING]))
def test_streams_that_take_nothing(name: str, inputs: Path, tmp_path: Path) -> None:
    needs(name)
    command = {**WRITING, **READING}[name]
    made: list[list[str]] = []
    for stdout, stderr in (("gone", "gone"), ("full", ""), ("closed", "closed")):
        out = tmp_path / f"{stdout}-{stderr}"
        ran = run(command, inputs, out, stdout=stdout, stderr=stderr)
        lost = stdout in ("full", "closed") and name not in SILENT
        assert ran.code == int(lost), (stdout, stderr, ran)
        assert "Traceback" not in ran.err and "Exception ignored" not in ran.err
        if lost and not stderr:
            (complaint,) = ran.complaints
            assert complaint == "cortexia: cannot write what is printed: No space left on device"
        made.append(_names(out))
    assert all(each == made[0] for each in made) and bool(made[0]) == (name in WRITING)


@pytest.mark.parametrize("name", some_slow([*WRITING, *READING]))
def test_no_folder_for_temporary_files(name: str, inputs: Path, tmp_path: Path) -> None:
    needs(name)
    ran = run({**WRITING, **READING}[name], inputs, tmp_path / "out", temporary=False)
    assert "Traceback" not in ran.err
    if ran.code:
        assert (ran.code, len(ran.complaints)) == (1, 1)
        assert "TMPDIR" in ran.complaints[0]


@pytest.mark.parametrize(
    "name", some_slow([name for name in WRITING if name != "scenes"])
)  # slow to begin: torture.py
def test_a_full_disk(name: str, inputs: Path, tmp_path: Path, disk: Callable[[int], Path]) -> None:
    needs(name)
    disk(4096)
    whole = tmp_path / "whole"
    assert run(WRITING[name], inputs, whole).code == 0
    need = sum(path.stat().st_size for path in whole.rglob("*"))
    for share in (0.0, 0.6):
        out = disk(max(4096, int(share * need) // 4096 * 4096))
        ran = run(WRITING[name], inputs, out)
        complaints = [each for each in ran.complaints if not re.search(r"depth of \d+ images takes", each)]
        assert (ran.code, len(complaints)) == (1, 1), (share, ran)  # beside what is said before the run
        assert "No space left on device" in complaints[0] and "Traceback" not in ran.err, (share, ran)
        disk(1 << 28)
        assert run(WRITING[name], inputs, out).code == 0
        assert _names(out) == _names(whole)
        for each in out.iterdir():
            shutil.rmtree(each) if each.is_dir() else each.unlink()
