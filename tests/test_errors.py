"""Errors: what is said of a package that is missing, and of one that is there and cannot be imported."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from conftest import HANG_S

from cortexia_video import errors
from cortexia_video.errors import MissingExtraError, _find_source, explain_import, say_install


def fail_to_import(module: str) -> MissingExtraError:
    try:
        __import__(module)
    except ImportError as error:
        return explain_import(error, "this needs", "'cortexia-video[x]'")
    raise AssertionError(f"{module} can be imported")


def write_package(folder: Path, name: str, code: str) -> None:
    (folder / name).mkdir(parents=True)
    (folder / name / "__init__.py").write_text(code)
    (folder / f"{name}-9.9.dist-info").mkdir()
    (folder / f"{name}-9.9.dist-info/METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {name}\nVersion: 9.9\n"
    )


def test_a_missing_package_is_to_be_installed() -> None:
    error = fail_to_import("no_such_package_of_ours")
    line = say_install("'cortexia-video[x]'")
    assert str(error) == f"this needs no_such_package_of_ours: {line}"


@pytest.mark.parametrize(
    ("said", "mark", "line"),
    [
        (None, "", "pip install 'cortexia-video[torch]'"),
        ({"url": "file://CLONE", "dir_info": {"editable": True}}, "", "pip install 'CLONE[torch]'"),
        ({"url": "file:///gone/clone", "dir_info": {}}, "", "pip install 'cortexia-video[torch]'"),
        (
            {"url": "https://host/x.git", "vcs_info": {"vcs": "git", "commit_id": "0"}},
            "",
            "pip install 'cortexia-video[torch] @ git+https://host/x.git'",
        ),
        (None, "pipx_metadata.json", "pipx install --force 'cortexia-video[torch]'"),
        (None, "uv-receipt.toml", "uv tool install --force 'cortexia-video[torch]'"),
    ],
)
def test_the_line_that_installs_works_where_the_package_came_from(
    said: dict[str, Any] | None, mark: str, line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clone = tmp_path / "a clone"
    clone.mkdir()
    info = tmp_path / "cortexia_video-9.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: cortexia-video\nVersion: 9\n")
    if said:
        text = json.dumps(said).replace("CLONE", str(clone).replace(" ", "%20"))
        (info / "direct_url.json").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "prefix", str(tmp_path))
    if mark:
        (tmp_path / mark).touch()
    monkeypatch.setattr(errors, "find_spec", lambda name: name)
    _find_source.cache_clear()
    try:
        assert say_install("'cortexia-video[torch]'") == line.replace("CLONE", str(clone))
    finally:
        _find_source.cache_clear()


def test_what_a_package_lacks_is_to_be_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_package(tmp_path, "lacking_package", "import no_such_dependency.inner")
    monkeypatch.syspath_prepend(tmp_path)
    assert f"this needs no_such_dependency: {say_install('')}" in str(fail_to_import("lacking_package"))


def test_where_pip_is_not_uv_installs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(errors, "find_spec", lambda name: None)
    assert say_install("onnx") == "uv pip install onnx"


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("raise ImportError('libx.so.1: cannot open shared object file')", "libx.so.1: cannot open"),
        ("from json import no_such_name", "cannot import name 'no_such_name' from 'json'"),
        (
            "try:\n    raise RuntimeError('operator x::nms does not exist')\n"
            "except RuntimeError as e:\n    raise ImportError('Set the logging verbosity to DEBUG') from e",
            "operator x::nms does not exist",
        ),
    ],
)
def test_a_package_that_cannot_be_imported_shows_its_own_cause(
    code: str, reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_package(tmp_path, "broken_package", code)
    monkeypatch.syspath_prepend(tmp_path)
    said = str(fail_to_import("broken_package"))
    assert said.startswith("this needs broken_package, which is installed and cannot be imported (")
    assert reason in said and "pip install" not in said


@pytest.mark.slow
def test_a_torchvision_for_another_torch_is_named(tmp_path: Path) -> None:
    """Transformers imports it where it is there, and hides what that raises behind two errors of its own."""
    pytest.importorskip("transformers")
    write_package(tmp_path, "torchvision", "raise RuntimeError('operator torchvision::nms does not exist')")
    code = "from cortexia_video.models.registry import load_model; load_model('depth-pro')"
    places = [str(tmp_path), str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")]
    ran = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        timeout=HANG_S,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(places)},
    )
    said = ran.stderr.splitlines()[-1]
    assert "MissingExtraError" in said and "pip install" not in said
    assert "torchvision, which is installed and cannot be imported" in said
    assert "operator torchvision::nms does not exist" in said


def test_no_message_names_the_package_as_if_it_were_published() -> None:
    """`say_install` knows where this installation came from."""
    package = Path(errors.__file__).parent
    texts = {path.name: path.read_text() for path in package.rglob("*.py") if path.name != "errors.py"}
    assert [name for name, text in texts.items() if "install 'cortexia-video" in text] == []


@pytest.mark.parametrize(
    ("value", "bound"), [(0.0, "above 0"), (float("nan"), "above 0"), (float("inf"), "at most 1000")]
)
def test_a_number_out_of_bounds_is_told_the_bound_that_it_breaks(value: float, bound: str) -> None:
    with pytest.raises(errors.InputError, match=f"`fps` must be {bound}, got {value}"):
        errors.require_positive(fps=value, most=1000)
