"""What a model lacks on this machine: packages, weights in the hub's cache."""

from __future__ import annotations

import dataclasses
import importlib.metadata
from pathlib import Path

import pytest

from cortexia_video import list_models
from cortexia_video.models.catalog import PUBLISHED, find_published
from cortexia_video.models.readiness import find_lack
from cortexia_video.models.registry import find_model


def test_what_is_in_the_cache_is_ready(use_hub_cache: Path) -> None:
    for info in PUBLISHED:
        assert find_lack(info) == ""


def test_weights_that_are_not_there_or_cut_off_are_to_be_downloaded(
    hub_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import shutil

    info = find_published("da3-metric-large")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    assert find_lack(info) == "weights: 1.3 GB"
    cached = "models--depth-anything--DA3METRIC-LARGE"
    shutil.copytree(hub_cache / "hub" / cached, tmp_path / "hub" / cached)
    assert find_lack(info) == ""
    next((tmp_path / "hub" / cached).rglob("model.safetensors")).unlink()
    assert find_lack(info) == "weights: 1.3 GB"


def test_packages_that_are_not_installed_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    real = importlib.metadata.distribution

    def find(name: str) -> importlib.metadata.Distribution:
        if name == "transformers":
            raise importlib.metadata.PackageNotFoundError(name)
        return real(name)

    monkeypatch.setattr("cortexia_video.models.readiness.distribution", find)
    assert find_lack(find_published("zoedepth")) == "packages: transformers"
    assert find_lack(find_model("hf:x")) == "packages: transformers"
    other = dataclasses.replace(find_model("synthetic"), needs="no-such-package[gpu]")
    assert find_lack(other) == "packages: no-such-package"


def test_what_needs_nothing_is_ready() -> None:
    assert [find_lack(find_model(name)) for name in ("compact", "synthetic", "onnx:x")] == ["", "", ""]


def test_terms_of_training_are_said_for_every_row() -> None:
    for info in list_models():
        assert info.free_training is not True or info.name == "synthetic"  # nothing published says so today
        assert (info.hub_id is None) == (info.size == "" or info.name == "compact")
