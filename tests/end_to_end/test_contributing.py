"""Who follows CONTRIBUTING.md by its words ends with something that works: its examples, applied to a copy."""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from conftest import HANG_S
from PIL import Image

ROOT = Path(__file__).resolve().parents[2]
BLOCKS = re.findall(
    r"```python\n# (\S+?)(?:, (in|before) ([^\n]+))?\n(.*?)```",
    (ROOT / "CONTRIBUTING.md").read_text(),
    re.DOTALL,
)


@pytest.fixture(scope="module")
def changed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a copy of the package with all that CONTRIBUTING.md adds."""
    root = tmp_path_factory.mktemp("clone")
    shutil.copytree(
        ROOT / "cortexia_video", root / "cortexia_video", ignore=shutil.ignore_patterns("__pycache__")
    )
    for name, how, where, code in BLOCKS:
        path = root / name
        if not how:
            assert not path.exists()
            path.write_text(code)
        elif how == "before":
            text = path.read_text()
            assert text.count(f"\n{where}") == 1
            path.write_text(text.replace(f"\n{where}", f"\n{code}{where}"))
        else:
            add_to_table(path, where, code)
    return root


def add_to_table(path: Path, name: str, code: str) -> None:
    """Put code before the bracket that ends a table."""
    text = path.read_text()
    assigned = [node for node in ast.parse(text).body if isinstance(node, ast.Assign | ast.AnnAssign)]
    named = {
        target.id: node.value
        for node in assigned
        for target in (node.targets if isinstance(node, ast.Assign) else [node.target])
        if isinstance(target, ast.Name)
    }
    table = named[name]
    assert table is not None and table.end_lineno and table.end_col_offset
    lines = text.splitlines(keepends=True)
    end = sum(map(len, lines[: table.end_lineno - 1])) + table.end_col_offset - 1
    before = text[:end].rstrip(" ")
    path.write_text(before + ("" if before.rstrip().endswith(",") else ", ") + code + text[end:])


def run(root: Path, *command: str) -> str:
    environment = {**os.environ, "PYTHONPATH": str(root), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    done = subprocess.run(
        [sys.executable, "-m", *command],
        cwd=root,
        env=environment,
        timeout=HANG_S,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_a_source_convention(changed: Path) -> None:
    Image.fromarray(np.full((9, 16), 6000, np.uint16)).save(changed / "shot.png")
    said = run(changed, "cortexia_video", "info", "shot.png", "--from", "l515")
    assert "metric" in said and "1.5" in said  # 6000 quarters of a millimetre


@pytest.mark.slow
def test_a_depth_format_keeps_the_contract(changed: Path) -> None:
    contract = ROOT / "tests" / "contracts" / "test_formats.py"
    options = [
        "-k",
        "asc",
        "-p",
        "no:cacheprovider",
        "--rootdir",
        str(ROOT),
        "-c",
        str(ROOT / "pyproject.toml"),
    ]
    assert " passed" in run(changed, "pytest", "-v", *options, str(contract))


def test_a_dataset(changed: Path, make_image: Callable[..., Path]) -> None:
    frames = changed / "vkitti" / "Scene01" / "clone" / "frames"
    image = make_image(frames / "rgb" / "Camera_0" / "rgb_00000.jpg")
    with Image.open(image) as opened:
        width, height = opened.size
    depth = np.full((height, width), 1234, np.uint16)
    depth[0] = 65535
    (frames / "depth" / "Camera_0").mkdir(parents=True)
    Image.fromarray(depth).save(frames / "depth" / "Camera_0" / "depth_00000.png")
    assert "12.34 m" in run(changed, "cortexia_video", "dataset", "info", "vkitti")
    code = "depth = cx.open_dataset('vkitti2', 'vkitti')[0].depth.values; print(depth[0, 0], depth[1, 1])"
    (changed / "read.py").write_text(f"import cortexia_video as cx; {code}")
    assert run(changed, "read").split() == ["nan", "12.34"]
