"""The data set guide's own code runs with our functions in the place of those that it defines."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from conftest import SHARED
from PIL import Image

import cortexia_video
from cortexia_video import colored_depthmap

GUIDE = SHARED / "spec/depth_estimation_dataset.md"
OURS = ("colored_depthmap", "show_depthmap", "merge_into_row")
HEIGHT, WIDTH = 480, 640

pytestmark = pytest.mark.filterwarnings("ignore:FigureCanvasAgg is non-interactive")


class Dataset:
    """Stands in for `datasets.Dataset`: pictures with depth, and a transform of batches."""

    def __init__(self) -> None:
        self._transform: Callable[[dict[str, list]], dict[str, list]] | None = None

    def __len__(self) -> int:
        return 40

    def __getitem__(self, index: int) -> dict[str, Any]:
        random = np.random.default_rng(index)
        depth = random.uniform(0.7, 10, (HEIGHT // 40, WIDTH // 40)).repeat(40, axis=0).repeat(40, axis=1)
        depth[: 10 * (index % 3), :100] = np.nan  # the guide's functions would fail on these
        sample = {
            "image": Image.fromarray(random.integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)),
            "depth_map": Image.fromarray(depth.astype(np.float32)),
        }
        if self._transform is None:
            return sample
        return {
            name: values[0] for name, values in self._transform({k: [v] for k, v in sample.items()}).items()
        }

    def set_transform(self, transform: Callable[[dict[str, list]], dict[str, list]]) -> None:
        self._transform = transform


class Augmentation:
    """Stands in for albumentations, all of it: crops the picture and what goes with it."""

    def __init__(self, *sizes: int, **_: object) -> None: ...

    def __call__(self, image: np.ndarray, depth: np.ndarray) -> dict[str, np.ndarray]:
        return {"image": image[16:464, 32:608], "depth": depth[16:464, 32:608]}


def make_module(name: str, **attributes: object) -> ModuleType:
    module = ModuleType(name)
    vars(module).update(attributes)
    return module


@pytest.fixture
def stand_ins(monkeypatch: pytest.MonkeyPatch) -> None:
    names = ("HorizontalFlip", "RandomCrop", "RandomBrightnessContrast", "RandomGamma", "HueSaturationValue")
    modules = [
        make_module("datasets", load_dataset=lambda name, split: Dataset()),
        make_module("albumentations", Compose=Augmentation, **dict.fromkeys(names, Augmentation)),
    ]
    for module in modules:
        monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setattr(Image.Image, "show", lambda self: None)


def read_guide() -> ast.Module:
    """Give the guide's code without the functions that ours take the place of."""
    text = "\n".join(re.findall(r"```python\n(.*?)```", GUIDE.read_text(), re.DOTALL))
    code = ast.parse(text)
    theirs = [node for node in code.body if isinstance(node, ast.FunctionDef) and node.name in OURS]
    assert {node.name for node in theirs} == {*OURS}
    code.body = [node for node in code.body if node not in theirs]
    return code


@pytest.mark.skipif(not GUIDE.exists(), reason="needs ../shared/spec")
def test_the_guide_runs_with_our_functions(stand_ins: None, capsys: pytest.CaptureFixture[str]) -> None:
    matplotlib = pytest.importorskip("matplotlib")
    matplotlib.use("Agg")
    from matplotlib import pyplot

    names: dict[str, Any] = {name: getattr(cortexia_video, name) for name in OURS}
    try:
        exec(compile(read_guide(), str(GUIDE), "exec"), names)
        figures = [pyplot.figure(number) for number in pyplot.get_fignums()]
        shown = [[axes.images[0].get_array() for axes in figure.axes] for figure in figures]
    finally:
        pyplot.close("all")
    assert "depth_map" in capsys.readouterr().out
    assert [len(pictures) for pictures in shown] == [9, 9]
    example = names["example"]
    last = shown[-1][-1]
    assert last.shape == (448, 2 * 576, 3) and last.dtype == np.uint8
    np.testing.assert_array_equal(last[:, :576], example["pixel_values"])
    np.testing.assert_array_equal(last[:, 576:], colored_depthmap(example["labels"]))
