"""A file with Python objects is never loaded, and no message says how to."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
from dataset_layouts import MAKERS, make_scene

import cortexia_video as cx


class Marker:
    """Leaves a file where it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[Path]]:
        return Path.touch, (self.path,)


@pytest.fixture
def ran(tmp_path: Path) -> Path:
    return tmp_path / "code_was_run"


def refuse(ran: Path, error: Exception) -> None:
    assert not ran.exists()
    words = str(error)
    assert not any(advice in words for advice in ("allow_pickle", "weights_only", "pickle.load", "trust")), (
        words
    )


@pytest.mark.parametrize("name", ["a.npy", "a.npz", "raw.npy", "raw.npz"])
def test_depth(name: str, tmp_path: Path, ran: Path) -> None:
    path = tmp_path / name
    if name.startswith("raw"):
        path.write_bytes(pickle.dumps(Marker(ran)))
    elif name.endswith("npz"):
        np.savez(path, depth=np.array([Marker(ran)]))
    else:
        np.save(path, np.array([Marker(ran)]))
    with pytest.raises(cx.errors.DepthFileError) as raised:
        cx.read_depth(path, about={"kind": "metric"})
    refuse(ran, raised.value)


@pytest.mark.parametrize("raw", [False, True])
def test_a_mask_of_diode(raw: bool, tmp_path: Path, ran: Path) -> None:
    MAKERS["diode"](tmp_path, make_scene(), 1)
    (mask, *_) = sorted(tmp_path.rglob("*_depth_mask.npy"))
    if raw:
        mask.write_bytes(pickle.dumps(Marker(ran)))
    else:
        np.save(mask, np.array([[Marker(ran)]]))
    with pytest.raises(cx.errors.DepthFileError) as raised:
        list(cx.open_dataset("diode", tmp_path))
    refuse(ran, raised.value)


def test_weights(tmp_path: Path, ran: Path) -> None:
    torch = pytest.importorskip("torch")
    from cortexia_video.training.backbone import read_state

    torch.save(Marker(ran), tmp_path / "a.pth")
    with pytest.raises(cx.errors.ModelLoadError, match="Python objects, which are never loaded") as raised:
        read_state(tmp_path / "a.pth")
    refuse(ran, raised.value)


def test_scenes_of_a_pool(tmp_path: Path, ran: Path) -> None:
    pytest.importorskip("torch")
    from cortexia_video.training.scene_pool import PooledScene, read_scene

    path = tmp_path / "seed_000000.npy"
    path.write_bytes(pickle.dumps(Marker(ran)))
    with pytest.raises(cx.errors.InputError, match="remove it to render it again") as raised:
        read_scene(PooledScene("seed_000000", path, 0))
    refuse(ran, raised.value)
