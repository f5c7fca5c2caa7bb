"""What libraries print of broken files stays off stderr, but for `-v`; a crash does not."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import leave_out_progress
from PIL import Image

COMMANDS = {
    "estimate": "estimate in --output out --model synthetic",
    "plan": "plan in --output out --model synthetic",
    "convert": "convert in --output out --format npy --kind metric",
    "info": "info in/a.tif",
    "evaluate": "evaluate synthetic --truth in",
}


@pytest.fixture
def broken(tmp_path: Path) -> Path:
    """Return a folder with a TIFF of which libtiff says, from C, that its LZW data is broken."""
    (tmp_path / "in").mkdir()
    pixels = np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)
    path = tmp_path / "in" / "a.tif"
    Image.fromarray(pixels).save(path, compression="tiff_lzw")
    data = bytearray(path.read_bytes())
    data[100:2000] = b"\xff" * 1900
    path.write_bytes(data)
    return tmp_path


def run(command: str, folder: Path) -> subprocess.CompletedProcess[str]:
    words = [sys.executable, "-m", "cortexia_video", *command.split()]
    return subprocess.run(words, cwd=folder, capture_output=True, text=True, timeout=600)


def test_what_libtiff_prints_is_shown_on_demand_only(broken: Path) -> None:
    shown = run(f"{COMMANDS['estimate']} -v", broken).stderr
    assert "LZW" in shown or "tempfile.tif" in shown, shown


@pytest.mark.parametrize("name", COMMANDS)
def test_no_command_prints_what_its_libraries_do(name: str, broken: Path) -> None:
    ran = run(COMMANDS[name], broken)
    ours = ("failed ", "cortexia: ", "left out: ")
    assert all(line.startswith(ours) for line in leave_out_progress(ran.stderr).splitlines()), ran.stderr
    assert ran.returncode in (1, 2) or name == "plan"


def test_warnings_and_logs_of_libraries_are_shown_on_demand_only(tmp_path: Path) -> None:
    program = (
        "import logging, sys, warnings\n"
        "from cyclopts import App\n"
        "from cortexia_video.cli import run_app\n"
        "app = App()\n"
        "@app.default\n"
        "def command():\n"
        "    warnings.warn('of a library')\n"
        "    logging.getLogger('library').warning('logged by it')\n"
        "    logging.getLogger('cortexia_video.here').warning('ours')\n"
        "run_app(app)\n"
    )
    quiet, loud = (
        subprocess.run(
            [sys.executable, "-c", program, *more], capture_output=True, text=True, timeout=600
        ).stderr
        for more in ((), ("-v",))
    )
    assert quiet == "cortexia: ours\n"
    assert all(words in loud for words in ("of a library", "library: logged by it", "ours"))


def test_a_crash_is_still_reported(tmp_path: Path) -> None:
    program = (
        "import faulthandler\n"
        "from cyclopts import App\n"
        "from cortexia_video.cli import run_app\n"
        "app = App()\n"
        "app.default(lambda: faulthandler._sigsegv())\n"
        "run_app(app)\n"
    )
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=600)
    assert ran.returncode < 0 and "Segmentation fault" in ran.stderr
