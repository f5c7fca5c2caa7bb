"""The dataset guide, on real frames: its own code with our names, and ours as a script and as a notebook."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import HANG_S, ROOT, SHARED
from PIL import Image

import cortexia_video
from cortexia_video import colored_depthmap, open_dataset, to_hf
from cortexia_video.augmentation import ApplyTransforms

GUIDE = SHARED / "spec/depth_estimation_dataset.md"
SCRIPT = ROOT / "examples/depth_dataset_guide.py"
OURS = ("colored_depthmap", "show_depthmap", "merge_into_row")
SIZES = {
    "sample.png": (640, 480),
    "target.png": (640, 480),
    "target_viz.png": (640, 480),
    "row.png": (1280, 480),
    "sample_aug.png": (576, 448),
    "target_aug.png": (576, 448),
}


@pytest.fixture
def sets(shared_data: Path) -> list[Path]:
    pytest.importorskip("albumentations")
    return sorted(path.parent for path in (shared_data / "rgbd").glob("*/set.json"))


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))


@pytest.mark.usefixtures("environment")
def test_the_script_runs_and_every_figure_exists(sets: list[Path], tmp_path: Path) -> None:
    command = [sys.executable, SCRIPT, *sets]
    ran = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=HANG_S)
    assert ran.returncode == 0, ran.stderr
    check_output(ran.stdout)
    check_figures(tmp_path / "figures")


@pytest.mark.slow
@pytest.mark.usefixtures("environment")
def test_the_notebook_runs_and_shows_every_figure(sets: list[Path], tmp_path: Path) -> None:
    nbclient, nbformat = pytest.importorskip("nbclient"), pytest.importorskip("nbformat")
    pytest.importorskip("ipykernel")
    (tmp_path / "data").mkdir()
    for each in sets:
        (tmp_path / "data" / each.name).symlink_to(each)
    notebook = nbformat.read(SCRIPT.with_suffix(".ipynb"), as_version=4)
    resources = {"metadata": {"path": str(tmp_path)}}
    nbclient.NotebookClient(notebook, timeout=HANG_S, kernel_name="python3", resources=resources).execute()
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", ())]
    check_output("".join(output.text for output in outputs if output.output_type == "stream"))
    assert sum("image/png" in output.get("data", ()) for output in outputs) == len(SIZES) + 2
    check_figures(tmp_path / "figures")


def check_output(printed: str) -> None:
    assert "38 samples; 0 skipped" in printed and "TiffImageFile image mode=F size=640x480" in printed


def check_figures(folder: Path) -> None:
    figures = {path.name: Image.open(path) for path in folder.iterdir()}
    assert {name: figures[name].size for name in SIZES} == SIZES
    assert set(figures) == {*SIZES, "collage.png", "aug_collage.png"}
    for name, figure in figures.items():
        spread = np.asarray(figure.convert("RGB")).std()
        assert spread < 10 if name == "target.png" else spread > 20, name
        figure.close()


def test_the_notebook_is_what_the_script_is() -> None:
    sys.path.insert(0, str(ROOT / "examples"))
    try:
        from make_notebook import make_notebook
    finally:
        sys.path.pop(0)
    made = make_notebook(SCRIPT.read_text())
    again = "run python examples/make_notebook.py examples/depth_dataset_guide.py"
    assert SCRIPT.with_suffix(".ipynb").read_text() == made, again
    pytest.importorskip("nbformat").validate(pytest.importorskip("nbformat").reads(made, as_version=4))


def read_guide(ours: tuple[str, ...]) -> ast.Module:
    """Return all of the guide's code, in order, without the functions that ours take the place of."""
    code = ast.parse("\n".join(re.findall(r"```python\n(.*?)```", GUIDE.read_text(), re.DOTALL)))
    theirs = [node for node in code.body if isinstance(node, ast.FunctionDef) and node.name in ours]
    assert {node.name for node in theirs} == {*ours}
    code.body = [node for node in code.body if node not in theirs]
    return code


@pytest.mark.skipif(not GUIDE.exists(), reason="needs ../shared/spec")
@pytest.mark.parametrize("more", [(), ("apply_transforms",)])
def test_the_guides_own_code_runs_with_our_functions(
    more: tuple[str, ...], sets: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """All of its code in order; the hub, which is not reached, has the frames as it has NYU's."""
    datasets, matplotlib = pytest.importorskip("datasets"), pytest.importorskip("matplotlib")
    matplotlib.use("Agg")
    from matplotlib import pyplot

    samples = chain.from_iterable(open_dataset("rgbd", each) for each in sets)
    large = to_hf(each for each in samples if each.size >= (448, 576)).select_columns(["image", "depth_map"])
    asked: list[tuple[str, str]] = []
    monkeypatch.setattr(datasets, "load_dataset", lambda name, split: asked.append((name, split)) or large)
    seen: list[Image.Image] = []
    monkeypatch.setattr(Image.Image, "show", lambda self: seen.append(self))
    monkeypatch.setattr(pyplot, "show", lambda **_: None)
    names: dict[str, Any] = {name: getattr(cortexia_video, name) for name in OURS}
    names["apply_transforms"] = ApplyTransforms(lambda **pair: names["aug"](**pair))
    try:
        exec(compile(read_guide((*OURS, *more)), str(GUIDE), "exec"), names)
        figures = [pyplot.figure(number) for number in pyplot.get_fignums()]
        shown = [[axes.images[0].get_array() for axes in figure.axes] for figure in figures]
    finally:
        pyplot.close("all")
    assert asked == [("sayakpaul/nyu_depth_v2", "train")]
    assert [image.size for image in seen] == [(640, 480)]
    check_collages(shown, names["example"])


def check_collages(shown: list[list[Any]], example: dict[str, Any]) -> None:
    """See to nine images beside their depth, and nine augmented, the last of them the example."""
    assert [len(images) for images in shown] == [9, 9]
    last = shown[-1][-1]
    assert last.shape == (448, 2 * 576, 3) and last.dtype == np.uint8
    np.testing.assert_array_equal(last[:, :576], example["pixel_values"])
    np.testing.assert_array_equal(last[:, 576:], colored_depthmap(example["labels"]))
