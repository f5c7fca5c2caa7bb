"""The benchmark for GPUs runs, on the processor with tiny networks, and knows the published sizes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import HANG_S

pytest.importorskip("transformers")
pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
PARAMETERS = {  # millions, as their authors state them
    "depth-pro": 952.0,
    "depth-anything-v2-small": 24.8,
    "depth-anything-v2-base": 97.5,
    "depth-anything-v2-large": 335.3,
}
OWN_PARAMETERS = {"moge-2-vitl-normal": 331.0, "da3metric-large": 350.0}  # as theirs say, in tens of millions


@pytest.mark.slow
def test_the_gpu_benchmark_runs_with_tiny_networks(tmp_path: Path) -> None:
    networks = ["depth-pro", "depth-anything-v2-small", "moge-2-vitl-normal", "da3metric-large"]
    options = ["--device", "cpu", "--tiny", "--work", str(tmp_path)]
    command = [sys.executable, str(ROOT / "benchmarks/gpu.py"), *networks, *options]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=HANG_S)
    assert ran.returncode == 0, ran.stderr
    figures = json.loads((tmp_path / "gpu.json").read_text())["figures"]
    for name in networks:
        (alone,) = (each for each in figures if each["what"] == f"{name}: ours, bfloat16, network alone")
        assert len(alone["values"]) == 2 and min(alone["values"]) > 0
        for way in ("compiled", "CUDA graph", "two streams"):
            assert f"| {name}: ours, bfloat16, {way}, network alone | " in ran.stdout
        assert f"| {name}: ours, full-size .npy, of the network alone | " in ran.stdout
        for precision in ("float32", "bfloat16", "float16") if name.startswith("depth") else ():
            assert f"| {name}: plain transformers, {precision}, network alone | " in ran.stdout


def test_a_device_that_is_not_there_is_named() -> None:
    command = [sys.executable, str(ROOT / "benchmarks/gpu.py"), "--device", "cuda:99"]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=HANG_S)
    assert ran.returncode == 1
    assert "device 'cuda:99' cannot be used" in ran.stderr and "Traceback" not in ran.stderr


def test_figures_that_cannot_be_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    from arithmetic import ImpossibleFigureError
    from gpu import require_possible_rates

    alone, job = "ours, bfloat16, network alone", "ours, full-size .npy"
    limits = {alone: 40.0, job: 40.0}
    require_possible_rates("net", {alone: [25, 24], job: [24, 24]}, limits)
    for rates in ({alone: [25, 41], job: [24, 24]}, {alone: [25, 24], job: [24, 26]}):
        with pytest.raises(ImpossibleFigureError, match="images/s, net, ours"):
            require_possible_rates("net", rates, limits)


@pytest.mark.parametrize("name", PARAMETERS)
def test_the_networks_are_of_published_size(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    from random_networks import make_config, make_on_meta

    network = make_on_meta(make_config(name))
    assert network.num_parameters() / 1e6 == pytest.approx(PARAMETERS[name], rel=2e-3)


@pytest.mark.parametrize("name", OWN_PARAMETERS)
def test_networks_that_transformers_lacks_are_of_published_size(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    from own_networks import make_own

    count = sum(each.numel() for each in make_own(name)[0].parameters()) / 1e6
    assert count == pytest.approx(OWN_PARAMETERS[name], rel=0.05)


def test_depth_pro_has_the_arithmetic_that_the_goal_counts_with(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    from random_networks import count_flop, make_config

    assert count_flop(make_config("depth-pro"), 1536, 1536) == pytest.approx(19.25e12, rel=0.01)


@pytest.mark.slow
def test_the_benchmark_of_images_runs() -> None:
    command = [sys.executable, str(ROOT / "benchmarks/visualization.py"), "--rounds", "1"]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=HANG_S)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.count(" ms |") == 10 and ran.stdout.count(" times |") == 2
