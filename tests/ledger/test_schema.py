"""Whatever stands in a ledger's lines: every command gives its answer or an error of ours."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cortexia_video import convert, estimate, inspect, merge_ledgers, read_depth, report, verify
from cortexia_video.errors import CortexiaError, InputError
from cortexia_video.evaluation.predictors import open_predictor
from cortexia_video.jobs.point_clouds import CloudOptions, make_point_clouds
from cortexia_video.ledger.ledger import AppendLog, read_ledger
from cortexia_video.ledger.lines import read_done
from cortexia_video.ledger.schema import is_sound
from cortexia_video.ledger.state import LEDGER_NAME, parse_line
from cortexia_video.storage import paths

WORDS = [
    "key",
    "outcome",
    "run",
    "end",
    "path",
    "source",
    "outputs",
    "height",
    "width",
    "full_size",
    "kind",
    "f_px",
    "f_source",
    "f_px_used",
    "rescaled_from",
    "model",
    "weights_sha256",
    "made_of",
    "stage",
    "reason",
    "settings",
    "version",
    "started",
    "found",
    "done",
    "failed",
    "skipped",
    "seconds",
    "speed",
    "in_float32",
    "lost",
    "image",
    "batch_sizes",
    "images_per_second",
    "interrupted",
    "kept",
]
ODD = st.one_of(
    st.sampled_from(
        [None, True, -1, 0, 10**30, 1e300, float("nan"), float("inf"), "", "a.jpg", "\udcff", "\0"]
    ),
    st.sampled_from([[[1, 2]], [], [1], [1, "x"], {"a.jpg.npy": 3}, {"a.jpg.npy": [1, 2, 3]}, {"": [1, ""]}]),
    st.sampled_from(
        ["../a", "/etc/passwd", "done", "begun", "failed", {"cores": [], "slowest": {}}, [10**30, 1]]
    ),
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
        lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
        max_leaves=4,
    ),
)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a run's output `out`, in which each command finds something to do."""
    root = tmp_path_factory.mktemp("made")
    (root / "photos").mkdir()
    from PIL import Image

    for name in ("a", "b"):
        noise = np.random.default_rng(ord(name)).integers(0, 256, (12, 16, 3), np.uint8)
        Image.fromarray(noise).save(root / "photos" / f"{name}.jpg")
    (root / "photos/broken.jpg").write_bytes(b"\xff\xd8\xff")
    estimate(root / "photos", root / "out", model="synthetic", kind="metric", f_px=20)
    with AppendLog(root / "out" / LEDGER_NAME) as file:
        for line in read_done(root / "out"):
            file.append({**line, "f_px_used": True})
    return root


COMMANDS: dict[str, Callable[[Path, Path], object]] = {
    "info": lambda out, to: inspect(out),
    "read": lambda out, to: read_depth(out / "a.jpg.npy"),
    "verify": lambda out, to: verify(out, workers=1),
    "requeue": lambda out, to: verify(out, requeue=True, workers=1),
    "report": lambda out, to: str(report(out, output=to / "report.html", workers=1)),
    "pointcloud": lambda out, to: make_point_clouds(out, to, options=CloudOptions(max_gap=9), workers=1),
    "evaluate": lambda out, to: open_predictor(str(out)),
    "convert": lambda out, to: convert(out, to, format="npz", workers=1),
    "convert to a focal length": lambda out, to: convert(out, to, format="npz", f_px=40, workers=1),
    "convert into it": lambda out, to: convert(to.parent / "other", out, format="npz", workers=1),
    "merge": lambda out, to: merge_ledgers(out),
}


def append(root: Path, line: object) -> None:
    with (root / LEDGER_NAME).open("a") as file:
        file.write(json.dumps(line) + "\n")


@pytest.mark.parametrize("command", COMMANDS)
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_a_line_of_any_words_is_no_crash(
    made: Path, command: str, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    root = tmp_path_factory.mktemp("damaged")
    shutil.copytree(made / "out", root / "out")
    (root / "other").mkdir()
    np.savez(root / "other/c.npz", depth=np.ones((2, 2)))
    lines = [*read_ledger(made / "out")]
    for _ in range(data.draw(st.integers(1, 3))):
        line = dict(data.draw(st.sampled_from(lines)))
        line.update(data.draw(st.dictionaries(st.sampled_from([*WORDS, *line]), ODD, min_size=1, max_size=3)))
        append(root / "out", line)
    try:
        COMMANDS[command](root / "out", root / "to")
    except CortexiaError as error:
        assert str(error)
    shutil.rmtree(root)


@pytest.mark.parametrize(
    ("word", "value"),
    [
        ("full_size", [10**30, 1]),
        ("full_size", 10**30),
        ("kind", [[1, 2]]),
        ("kind", "metres"),
        ("f_px", float("nan")),
        ("f_px", True),
        ("height", -1),
        ("source", [1]),
        ("outputs", {"a.npy": ["1", 2]}),
        ("outputs", {"a.npy": [1, "x" * 32]}),
        ("path", 3),
        ("model", {}),
    ],
)
def test_a_word_of_another_type_makes_a_line_that_is_not_there(made: Path, word: str, value: Any) -> None:
    line = next(read_done(made / "out"))
    assert is_sound(line) and parse_line(json.dumps(line).encode()) == line
    assert parse_line(json.dumps({**line, word: value}).encode()) == {}


def test_a_damaged_line_leaves_its_input_to_the_next_run(made: Path, tmp_path: Path) -> None:
    shutil.copytree(made / "out", tmp_path / "out")
    line = next(read_done(tmp_path / "out"))
    append(tmp_path / "out", {"key": line["key"], "outcome": "begun", "outputs": [*line["outputs"]]})
    append(tmp_path / "out", {**line, "f_px": "long"})
    assert verify(tmp_path / "out").unfinished == [line["key"]]
    again = estimate(made / "photos", tmp_path / "out", model="synthetic", kind="metric", f_px=20)
    assert (again.done, again.skipped, again.failed) == (1, 1, 1)


@pytest.mark.parametrize("command", COMMANDS)
def test_a_ledger_that_may_not_be_read_is_one_error(
    made: Path, command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(made / "out", tmp_path / "out")
    (tmp_path / "other").mkdir()
    np.savez(tmp_path / "other/c.npz", depth=np.ones((2, 2)))
    read = paths._open_regular

    def refuse(path: str, flags: int) -> int:
        if Path(path) == tmp_path / "out" / LEDGER_NAME:
            raise PermissionError(13, "Permission denied", str(path))
        return read(path, flags)

    monkeypatch.setattr(paths, "_open_regular", refuse)
    if command == "merge":
        return  # without shards it reads nothing
    with pytest.raises(InputError, match=r"cannot read .*out/ledger.jsonl: Permission denied$"):
        COMMANDS[command](tmp_path / "out", tmp_path / "to")


def test_a_folder_that_may_not_be_listed_is_one_error(made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Any) -> list[str]:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("os.listdir", refuse)
    with pytest.raises(InputError, match="cannot list .*out: Permission denied"):
        verify(made / "out")


def test_names_that_were_begun_are_not_what_was_done(made: Path, tmp_path: Path) -> None:
    shutil.copytree(made / "out", tmp_path / "out")
    append(tmp_path / "out", {"key": "a.jpg", "outcome": "done", "outputs": ["a.jpg.npy"]})
    for command in ("read", "info"):
        COMMANDS[command](tmp_path / "out", tmp_path / "to")
