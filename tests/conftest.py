"""What several test files need: images to estimate, and the data beside the project where it is there."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from PIL import Image

if TYPE_CHECKING:
    from s3_server import Server

settings.register_profile("shared machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("shared machine")
os.environ["HF_HUB_OFFLINE"] = "1"  # no test reaches the hub, nor do the commands that tests run

ROOT = Path(__file__).resolve().parents[1]
SHARED = ROOT.parent / "shared"
_PROGRESS = re.compile(r"(?m)^[a-z]+ing\b[^:\n]*: (?:\d+:\d\d|[\d,]+ (?:of [\d,]+ )?\w+.*)\n")
HANG_S = 600  # how long a test waits for what may hang: a loaded machine takes minutes for what takes seconds


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """Let a file of which all tests are left out, as slow ones, be no failure."""
    if exitstatus == pytest.ExitCode.NO_TESTS_COLLECTED:
        session.exitstatus = pytest.ExitCode.OK


def leave_out_progress(said: str) -> str:
    """Return what a command printed on stderr without what it prints every half minute: machines may be slow."""
    return _PROGRESS.sub("", said)


@pytest.fixture
def shared_data() -> Path:
    """Return ../shared/data, or skip."""
    if not (SHARED / "data").is_dir():
        pytest.skip("needs ../shared/data")
    return SHARED / "data"


@pytest.fixture(scope="session")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Return checkpoints(family), a folder with a small one of `torch_checkpoints.FAMILIES`, or skip."""
    pytest.importorskip("transformers")
    from torch_checkpoints import save_checkpoint

    made: dict[str, Path] = {}

    def get(family: str) -> Path:
        if family not in made:
            made[family] = save_checkpoint(family, tmp_path_factory.mktemp("checkpoints") / family)
        return made[family]

    return get


@pytest.fixture(scope="session")
def hub_cache(tmp_path_factory: pytest.TempPathFactory, checkpoints: Callable[[str], Path]) -> Path:
    """Return a HF_HOME whose cache holds a small checkpoint for every published model."""
    from torch_checkpoints import name_family, put_in_cache

    from cortexia_video.models.catalog import PUBLISHED

    home = tmp_path_factory.mktemp("hf_home")
    for info in PUBLISHED:
        assert info.hub_id
        put_in_cache(checkpoints(name_family(info.name)), info.hub_id, info.revision or "main", home)
    return home


@pytest.fixture
def use_hub_cache(hub_cache: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Let this process, and the commands that it runs, find the cache of `hub_cache`."""
    monkeypatch.setenv("HF_HOME", str(hub_cache))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(hub_cache / "hub"))
    return hub_cache


@pytest.fixture(scope="session")
def plugin_example(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the package of `examples/plugin`, installed by pip without a network."""
    site = tmp_path_factory.mktemp("site")
    offline = ["--no-index", "--no-deps", "--no-build-isolation", "--disable-pip-version-check"]
    command = [sys.executable, "-m", "pip", "install", *offline, "--target", site, ROOT / "examples/plugin"]
    ran = subprocess.run([*map(str, command)], capture_output=True, text=True, timeout=HANG_S)
    assert ran.returncode == 0, ran.stderr
    return site


@pytest.fixture
def use_plugin_example(plugin_example: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Let this process, and the commands that it runs, find the package of `plugin_example`."""
    monkeypatch.syspath_prepend(plugin_example)
    found = os.pathsep.join(filter(None, [str(plugin_example), os.environ.get("PYTHONPATH")]))
    monkeypatch.setenv("PYTHONPATH", found)
    return plugin_example


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """Yield an S3 server of this process, for one file of tests; or skip."""
    from s3_server import serve_s3

    with pytest.MonkeyPatch.context() as patch, serve_s3(patch.setenv) as running:
        yield running


@pytest.fixture
def place(server: Server, request: pytest.FixtureRequest) -> Iterator[str]:
    """Yield a prefix of the test's own; the server fails no more when the test ends."""
    yield request.node.name.replace("[", "-").rstrip("]")
    server.rule = None


@pytest.fixture
def make_image() -> Callable[..., Path]:
    """Return make_image(path, (height, width), seed), which writes an image of soft random colours."""

    def make(path: Path, size: tuple[int, int] = (48, 64), seed: int = 0) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        coarse = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), dtype=np.uint8)
        Image.fromarray(coarse).resize((size[1], size[0]), Image.Resampling.BICUBIC).save(path)
        return path

    return make


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Callable[[int | str], Path]]:
    """Yield disk(size), which mounts a small file system, or again in another size; skip where it cannot."""
    place = tmp_path / "disk"
    place.mkdir()

    def mount(size: int | str) -> Path:
        options = f"size={size}" + (",remount" if place.is_mount() else "")
        command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", place]
        if not shutil.which("mount") or subprocess.run(command, capture_output=True).returncode:
            pytest.skip("cannot mount a small file system here")
        return place

    yield mount
    if place.is_mount():
        subprocess.run(["umount", place], check=True)
