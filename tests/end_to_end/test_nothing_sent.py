"""Nothing is sent home and nothing is written outside of the outputs, by any command and any extra.

Each process runs with an empty home and temporary folder, and with `no_network.c` before the C library: names
are looked up nowhere, nothing leaves this machine, and what is tried is logged, also from code in C.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
COMPILER = shutil.which("cc") or shutil.which("gcc")
pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or COMPILER is None, reason="needs Linux and a compiler"
)


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("library") / "no_network.so"
    source = ROOT / "tests" / "support" / "no_network.c"
    subprocess.run([str(COMPILER), "-shared", "-fPIC", "-o", made, source, "-ldl"], check=True, timeout=600)
    return made


class Cage:
    """Runs Python in an empty home; `found` is what was left there, `tried` what was looked up or sent."""

    def __init__(self, library: Path, root: Path) -> None:
        self.home, self.temporary, self.outputs, self._log = (root / name for name in ("h", "t", "o", "log"))
        for each in (self.home, self.temporary, self.outputs):
            each.mkdir()
        self._environment = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests" / "support")]),
            "PYTHONDONTWRITEBYTECODE": "1",
            "HOME": str(self.home),
            "TMPDIR": str(self.temporary),
            "LD_PRELOAD": str(library),
            "LOOKUP_LOG": str(self._log),
        }

    def run(self, program: str, **environment: str) -> str:
        ran = subprocess.run(
            [sys.executable, "-c", program],
            cwd=self.outputs,
            env=self._environment | environment,
            capture_output=True,
            text=True,
            timeout=600,
        )
        assert ran.returncode == 0, ran.stdout[-2000:] + ran.stderr[-4000:]
        return ran.stdout

    @property
    def found(self) -> list[str]:
        return sorted(str(each) for top in (self.home, self.temporary) for each in top.rglob("*"))

    @property
    def tried(self) -> list[str]:
        return self._log.read_text().splitlines() if self._log.exists() else []


@pytest.fixture
def cage(library: Path) -> Iterator[Cage]:
    root = Path(tempfile.mkdtemp(dir="/tmp"))  # short: Ray's sockets lie below, and have few bytes for names
    try:
        yield Cage(library, root)
    finally:
        shutil.rmtree(root)


def needs(*packages: str) -> None:
    for each in packages:
        if find_spec(each) is None:
            pytest.skip(f"needs {each}")


COMMANDS = """
import sys
from cortexia_video.cli import main

def run(line):
    try:
        main(line.split())
    except SystemExit as ended:
        assert not ended.code, (line, ended.code)
"""
BUILT_IN = """
for seed in range(2):
    import cortexia_video as cx, numpy as np, PIL.Image
    pixels = np.random.default_rng(seed).integers(0, 256, (48, 64, 3), np.uint8)
    PIL.Image.fromarray(pixels).resize((96, 64)).save(f"{seed}.png")
run("models")
run("plan 0.png --output o")
run("estimate 0.png 1.png --output o --format npz --preview")
run("estimate 0.png 1.png --output packed --pack tar")
run("status o 0.png 1.png")
run("verify o --requeue")
run("merge o")
run("info o o/0.png.npz")
run("convert o --output c --format npy")
run("report o")
run("pointcloud 0.png --depth o/0.png.npz --output 0.ply --near-m 1 --far-m 9 --fov-deg 60")
cx.load_estimator("compact").estimate([cx.decode(open("0.png", "rb").read(), key="0.png")])
"""


def test_the_built_in_model(cage: Cage) -> None:
    needs("onnxruntime")
    cage.run(COMMANDS + BUILT_IN)
    assert (cage.found, cage.tried) == ([], [])


EXTRAS = """
import cortexia_video as cx
run("scenes --count 2 --size 48 64 --workers 1 --output sc")
run("evaluate compact --truth sc --output scores")
run("estimate sc --output d --recursive --model synthetic --format npz")
run("dataset build sc --output pairs")
run("dataset info pairs")
run("dataset preview pairs --output a.png --augment")
run("dataset info pairs --name hub")
cx.to_hf(cx.open_dataset("parquet", "pairs")).save_to_disk("saved")
assert len(cx.open_dataset("hub", "saved")) == 2
"""
NETWORKS = """
import PIL.Image
PIL.Image.new("RGB", (64, 48)).save("0.png")
run("scenes --count 2 --size 48 64 --workers 1 --output sc")
run("dataset build sc --output pairs")
run("estimate 0.png --output hf --model hf:checkpoint")
run("export hf:checkpoint --output net.onnx --size 56x56")
run("train recipe.toml --output trained")
"""
RECIPE = """
name = "n"
steps = 1
batch_size = 2
short_sides = [64]
workers = 1
[network]
architecture = "hf:checkpoint"
[[data]]
dataset = "parquet"
root = "pairs"
"""
OPENVINO = """
import PIL.Image
PIL.Image.new("RGB", (64, 48)).save("0.png")
run("estimate 0.png --output o --backend openvino --precision float32")
run("estimate 0.png --output a --backend openvino --precision auto")
"""


@pytest.mark.slow
def test_datasets(cage: Cage) -> None:
    needs("scipy", "pyarrow", "datasets", "albumentations")
    cage.run(COMMANDS + EXTRAS)
    assert (cage.found, cage.tried) == ([], [])


@pytest.mark.slow
def test_networks_of_torch(cage: Cage, checkpoints: Callable[[str], Path]) -> None:
    needs("torch", "transformers", "tensorboard", "onnxscript", "pyarrow")
    shutil.copytree(checkpoints("depth-anything"), cage.outputs / "checkpoint")
    (cage.outputs / "recipe.toml").write_text(RECIPE)
    cage.run(COMMANDS + NETWORKS)
    assert (cage.found, cage.tried) == ([], [])


VIEW = """
import os, signal, subprocess, sys, urllib.request
import PIL.Image
PIL.Image.new("RGB", (64, 48)).save("0.png")
run("estimate 0.png --output o --model synthetic")
run("view o --save o.rrd")
web = [sys.executable, "-m", "cortexia_video", "view", "o", "--web", "--port", "0"]
served = subprocess.Popen(web, stdout=subprocess.PIPE, text=True)
page, _, recording = served.stdout.readline().strip().partition("?url=")
assert urllib.request.urlopen(page).read() and urllib.request.urlopen(recording).read()
from listening import find_listening
print(*find_listening(), sep="\\n")
served.send_signal(signal.SIGINT)
assert served.wait() == 0
"""


def test_the_viewer(cage: Cage) -> None:
    needs("rerun")
    places = cage.run(COMMANDS + VIEW).splitlines()[-2:]
    assert {each.rpartition(":")[0] for each in places} == {"127.0.0.1"}
    assert (cage.found, cage.tried) == ([], [])


def test_openvino(cage: Cage) -> None:
    needs("openvino")
    cage.run(COMMANDS + OPENVINO)
    assert (cage.found, cage.tried) == ([], [])


LISTENING = """
import cortexia_video as cx, PIL.Image
from cortexia_video.jobs.ray_cluster import RayExecutor
from listening import find_listening
for name in ("0.png", "1.png"):
    PIL.Image.new("RGB", (64, 48)).save(name)
with RayExecutor() as executor:
    report = cx.estimate(["0.png", "1.png"], "o", model="compact", executor=executor)
    assert report.done == 2, report
    print(*find_listening(), sep="\\n")
"""


@pytest.mark.slow
def test_ray(cage: Cage) -> None:
    needs("ray", "pyarrow")
    places = cage.run(LISTENING).splitlines()
    assert len(places) > 3, "its processes were not found"
    assert {each.rpartition(":")[0] for each in places} == {"127.0.0.1"}
    assert (cage.found, cage.tried) == ([], [])


@pytest.mark.parametrize(
    ("package", "name"),
    [("onnxruntime", "ORT_DISABLE_TELEMETRY"), ("albumentations", "NO_ALBUMENTATIONS_UPDATE")],
)
def test_the_cage_sees_what_a_library_reports(package: str, name: str, cage: Cage) -> None:
    """It is off because of us alone: a person who sets it decides otherwise."""
    needs(package)
    if package == "onnxruntime" and tuple(map(int, version(package).split(".")[:2])) < (1, 30):
        pytest.skip("it reports from 1.30 on")
    cage.run(f"import cortexia_video, {package}", **{name: "0"})
    assert cage.found or cage.tried


def test_a_package_that_was_imported_before_stays(cage: Cage) -> None:
    needs("openvino_telemetry")
    cage.run("import openvino_telemetry, sys, cortexia_video; assert sys.modules['openvino_telemetry']")


def test_nothing_is_sent_to_the_hub(cage: Cage) -> None:
    needs("huggingface_hub", "datasets")
    cage.run(
        "import cortexia_video, datasets, huggingface_hub.constants as hub\n"
        "assert hub.HF_HUB_DISABLE_TELEMETRY and not datasets.config.HF_UPDATE_DOWNLOAD_COUNTS"
    )


def test_importing_imports_nothing_with_telemetry(cage: Cage) -> None:
    packages = (
        "onnxruntime",
        "openvino",
        "ray",
        "transformers",
        "datasets",
        "albumentations",
        "huggingface_hub",
        "rerun",
    )
    cage.run(f"import sys, cortexia_video; assert not {{*{packages}}} & {{*sys.modules}}")
