"""The public surface: its names and signatures, that it is said what they do, and what documents import."""

from __future__ import annotations

import ast
import doctest
import inspect
import json
import pickle
import re
import subprocess
import sys
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from public_api import DOORS, PINNED, describe_api, list_members, list_names

import cortexia_video as cx

ROOT = Path(__file__).resolve().parents[1]
NAMES = [(door, name) for door in DOORS for name in list_names(door)]


def test_the_public_surface_is_the_one_that_is_written_down() -> None:
    pinned = json.loads(PINNED.read_text())
    assert describe_api() == pinned, "if that is wanted: python tests/support/public_api.py"


@pytest.mark.parametrize("door", DOORS)
def test_names_are_sorted_and_no_module_hides_one(door: str) -> None:
    module = import_module(door)
    assert list(module.__all__) == sorted(module.__all__)
    folder = Path(module.__file__ or "").parent
    inside = {path.stem for path in folder.iterdir()} if hasattr(module, "__path__") else set()
    assert not inside & {*list_names(door)}, "once it is imported, a module takes the name's place"


@pytest.mark.parametrize("door", [door for door in DOORS if hasattr(import_module(door), "_HOMES")])
def test_lazy_names_are_the_ones_that_type_checkers_see(door: str) -> None:
    module = import_module(door)
    tree = ast.parse(Path(module.__file__ or "").read_text())
    (block,) = [each for each in tree.body if isinstance(each, ast.If)]
    seen = {
        (alias.name, (each.module or "").removeprefix("cortexia_video").removeprefix("."))
        for each in block.body
        if isinstance(each, ast.ImportFrom)
        for alias in each.names
    }
    homes = {(name, home) for home, names in module._HOMES.items() for name in names}
    rooms = {(name, "") for name in getattr(module, "_ROOMS", ())}
    assert seen == homes | rooms
    assert sorted(name for name, _ in seen) == list(module.__all__)
    assert set(module.__all__) <= set(dir(module))
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        module.nothing  # noqa: B018


@pytest.mark.parametrize("door", DOORS)
def test_a_tab_shows_public_names_only(door: str) -> None:
    module = import_module(door)
    assert dir(module) == sorted(module.__all__)


def test_the_version_is_that_of_the_installation() -> None:
    assert cx.__version__ == version("cortexia-video")


TAKES_KEYWORDS = [
    name
    for name in cx.__all__
    if callable(getattr(cx, name))
    and name not in ("CortexiaError", "DepthModel", "Failure", "ModelInfo", "Report")
]


@pytest.mark.parametrize("name", TAKES_KEYWORDS)
def test_a_misspelt_keyword_is_answered_with_the_one_that_was_meant(name: str) -> None:
    parameters = inspect.signature(getattr(cx, name)).parameters.values()
    meant = [each.name for each in parameters if each.kind is not each.VAR_KEYWORD]
    if not meant or len(meant) < len(parameters):
        return  # of those that pass options on, below
    said = f"^{name}\\(\\) got an unexpected keyword argument '{meant[-1]}s'. Did you mean '{meant[-1]}'\\?$"
    with pytest.raises(TypeError, match=said):
        getattr(cx, name)(**{f"{meant[-1]}s": 1})


@pytest.mark.parametrize("name", TAKES_KEYWORDS)
def test_what_is_taken_at_the_door_is_found_there_by_pickles(name: str) -> None:
    assert pickle.loads(pickle.dumps(getattr(cx, name))) is getattr(cx, name)


IMAGE, DEPTH = np.zeros((4, 4, 3), np.uint8), np.ones((4, 4))


@pytest.mark.parametrize(
    ("name", "arguments", "meant"),
    [
        ("load_estimator", (), "batch_size"),
        ("estimate", (str(ROOT / "examples"), "out"), "recursive"),
        ("plan", (str(ROOT / "examples"),), "num_workers"),
        ("open_dataset", ("tum", "."), "allow_unregistered"),
        ("collage", ([(IMAGE, DEPTH)],), "columns"),
    ],
)
def test_of_options_that_are_passed_on_too(
    name: str, arguments: tuple[Any, ...], meant: str, workplace: Path
) -> None:
    with pytest.raises(TypeError, match=f"^{name}\\(\\) got an unexpected .* Did you mean '{meant}'"):
        getattr(cx, name)(*arguments, **{meant.replace("_", ""): 1} if "_" in meant else {meant[:-1]: 1})
    assert {each.name for each in workplace.iterdir()} <= {"examples", "out"}


def test_what_a_model_does_not_take_is_no_misspelling() -> None:
    with pytest.raises(cx.errors.ModelLoadError, match="does not take all of these options: input_size"):
        cx.load_estimator("compact", input_size=3)


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: cx.DepthMap([1.0], "metric"), "values must be of type ndarray, got list"),
        (
            lambda: cx.Frame("a", "a.jpg"),
            "image must be of type ndarray, got str: files are read by `read_image`",
        ),
        (lambda: cx.RGBDSample("a.jpg", None), "frame must be of type Frame, got str"),
        (lambda: cx.write_depth(DEPTH, "a.npz"), "depth must be of type DepthMap, got ndarray"),
        (lambda: cx.point_cloud(DEPTH, IMAGE), "depth must be of type DepthMap, got ndarray"),
        (lambda: cx.colored_depthmap("a.npz"), "got the path a.npz: read it by `read_depth`"),
        (lambda: cx.read_depth(DEPTH), "a path must be a str, a Path or a URL, got ndarray"),
        (lambda: cx.load_estimator().estimate("a.jpg"), "frames must be several images, got one str"),
        (lambda: cx.evaluate(5, truth="."), "a predictor must be a name, a path.*got int"),
    ],
)
def test_what_is_of_another_type_is_refused_in_words(call: Any, said: str) -> None:
    with pytest.raises(TypeError, match=said):
        call()


def test_the_import_loads_almost_nothing() -> None:
    code = "import sys; before = {*sys.modules}; import cortexia_video; print(*{*sys.modules} - before)"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(ran.stdout.split())
    inside = ("", ".lazy_names", ".telemetry", ".torch_cache")
    ours = {"cortexia_video", *(f"cortexia_video.runtime{each}" for each in inside)}
    assert {name for name in loaded if name.split(".")[0] == "cortexia_video"} == ours
    others = {name.split(".")[0] for name in loaded} - sys.stdlib_module_names - {"cortexia_video"}
    assert not {name for name in others if not name.startswith(("_", "openvino_telemetry"))}


def test_transforms_import_nothing_heavy() -> None:
    heavy = "{'cv2', 'albumentations', 'torch'}"
    code = f"import sys, cortexia_video.augmentation; print(*{heavy} & {{*sys.modules}})"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.split() == []


def test_telemetry_is_off_before_any_library_is_imported() -> None:
    code = "import os, cortexia_video; print(os.environ['HF_HUB_DISABLE_TELEMETRY'])"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "1"


# ---- docstrings --------------------------------------------------------------------------------------------


def _undocumented(name: str, thing: Any) -> list[str]:
    """Return what the docstring of a function lacks: a line for a parameter, or what it returns."""
    text = inspect.getdoc(thing) or ""
    signature = inspect.signature(thing)
    parameters = [each for each in signature.parameters if each not in ("self", "cls")]
    lacks = [] if re.search(r"^Args:$", text, re.MULTILINE) or not parameters else ["Args"]
    gives = signature.return_annotation not in ("None", None, "Self")
    lacks += ["Returns"] if gives and not re.search(r"^(Returns|Yields):$", text, re.MULTILINE) else []
    lacks += [each for each in parameters if not re.search(rf"^\s+(\*\*?)?{each}:", text, re.MULTILINE)]
    return [f"{name}: {each}" for each in lacks]


@pytest.mark.parametrize(("door", "name"), NAMES)
def test_public_names_say_what_they_do(door: str, name: str) -> None:
    thing = getattr(import_module(door), name)
    if not callable(thing):
        return
    text = inspect.getdoc(thing) or ""
    assert text.partition("\n")[0].endswith("."), f"{door}.{name} says nothing of itself"
    if inspect.isfunction(thing):
        assert _undocumented(name, thing) == []
    elif inspect.isclass(thing):
        fields = getattr(thing, "__dataclass_fields__", None) or getattr(thing, "_fields", ())
        lacks = [each for each in fields if not re.search(rf"^    {each}: \S", text, re.MULTILINE)]
        assert lacks == [], f"{door}.{name}: Attributes"
        silent = [each for each, member in list_members(thing) if not (inspect.getdoc(member) or "")]
        assert silent == [], f"{door}.{name}"


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_examples_in_docstrings_run(workplace: Path) -> None:
    finder, runner = doctest.DocTestFinder(recurse=True), doctest.DocTestRunner()
    tried: set[str] = set()
    for door, name in NAMES:
        thing = getattr(import_module(door), name)
        if not (inspect.isfunction(thing) or inspect.isclass(thing)) or thing.__qualname__ in tried:
            continue
        tried.add(thing.__qualname__)
        for example in finder.find(thing, name, globs={"cx": cx, "np": np}):
            runner.run(example)
    assert runner.summarize(verbose=False).failed == 0
    assert runner.tries >= 20


# ---- documents ---------------------------------------------------------------------------------------------


def _python_of_documents() -> dict[str, str]:
    texts = {}
    for path in (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))):
        for number, found in enumerate(re.findall(r"```python\n(.*?)```", path.read_text(), re.DOTALL)):
            texts[f"{path.relative_to(ROOT)} {number}"] = found
    for path in sorted((ROOT / "examples").rglob("*.py")):
        texts[str(path.relative_to(ROOT))] = path.read_text()
    for path in sorted((ROOT / "examples").rglob("*.ipynb")):
        cells = json.loads(path.read_text())["cells"]
        code = ["".join(each["source"]) for each in cells if each["cell_type"] == "code"]
        texts[str(path.relative_to(ROOT))] = "\n".join(code)
    return texts


@pytest.mark.parametrize("name", _python_of_documents())
def test_documents_import_public_names_only(name: str) -> None:
    tree = ast.parse(_python_of_documents()[name])
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.split(".")[0] == "cortexia_video":
                    assert (alias.name, alias.asname) == ("cortexia_video", "cx"), name
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "cortexia_video":
            assert node.module in DOORS, f"{name} imports from {node.module}"
            listed = import_module(node.module or "").__all__
            assert {alias.name for alias in node.names} <= {*listed}, name
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "cx":
            assert node.attr in cx.__all__, f"{name}: cx.{node.attr}"


def test_text_names_public_modules_only() -> None:
    for path in (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))):
        if path.name == "architecture.md" or "decisions" in path.parts:
            continue
        for found in re.findall(r"(?:from|`)\s?(cortexia_video(?:\.[a-z_]+)+)", path.read_text()):
            door, _, name = found.rpartition(".")
            offered = [*DOORS, "cortexia_video.models"]  # the latter is a group of entry points
            known = import_module(door).__all__ if door in DOORS else ()
            assert found in offered or name in known, f"{path.name}: {found}"
