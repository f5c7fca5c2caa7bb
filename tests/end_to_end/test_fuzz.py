"""Every decoder and reader with damaged and hostile files: it reads them or refuses them, and nothing else.

`make fuzz` goes on where this stops: from new seeds, endlessly.
"""

from __future__ import annotations

import json
import random
import tempfile
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fuzzing.case import list_made, make_input, read_corpus, write_tree
from fuzzing.mutation import mutate
from fuzzing.targets import TARGETS
from fuzzing.worker import Worker
from hypothesis import given, settings
from hypothesis import strategies as st


@pytest.fixture(scope="module")
def worker() -> Iterator[Worker]:
    with Worker() as running:
        yield running


@pytest.mark.parametrize("name", TARGETS)
def test_a_reader_reads_or_refuses(worker: Worker, name: str) -> None:
    answers = {case: worker.read(name, case) for case in [*read_corpus(name), *range(TARGETS[name].cases)]}
    assert {case: answer["wrong"] for case, answer in answers.items() if answer["wrong"]} == {}
    assert {answers[case]["outcome"] for case in list_made(name)} == {"read"}


# ---- values of any type where a file says something --------------------------------------------------------

_TEXTS = st.text(max_size=8) | st.sampled_from(
    ["\ud800", "a\0b", "../a", "/dev/null", "nan", "=1+1", "9" * 400]
)
_NUMBERS = st.integers() | st.sampled_from([10**400, -(2**63), 2**64]) | st.floats()
_ANY = st.recursive(
    st.none() | st.booleans() | _NUMBERS | _TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_TEXTS, inner, max_size=3),
    max_leaves=6,
)
_DOCUMENTS = {
    "dataset-rgbd": "set.json",
    "run": "ledger.jsonl",
    "intrinsics": "cameras.json",
    "checkpoint": "config.json",
    "recipe": "recipe.toml",
    "protocol": "real-frames.toml",
}


@pytest.mark.parametrize("name", _DOCUMENTS)
@settings(max_examples=25)
@given(data=st.data())
def test_any_value_is_read_or_refused(name: str, data: st.DataObject) -> None:
    file = _DOCUMENTS[name]
    tree = next(tree for made in list_made(name) if file in (tree := read_corpus(name)[made]))
    changed = _change(tree[file].decode(), file, data)
    with tempfile.TemporaryDirectory() as root:
        folder = Path(root) / "case"
        write_tree({**tree, file: changed.encode("utf-8", "surrogatepass")}, folder)
        (Path(root) / "written").mkdir()
        try:
            TARGETS[name].read(folder)
        except TARGETS[name].refusals as error:
            assert str(error)


def _change(text: str, file: str, data: st.DataObject) -> str:
    """Put another value at one place of a document; of lines of JSON, in one of them."""
    if file.endswith(".toml"):
        document = tomllib.loads(text)
        _replace(document, data)
        return "\n".join(f"{_quote(key)} = {_to_toml(value)}" for key, value in document.items())
    if file.endswith(".jsonl"):
        lines = text.splitlines()
        which = data.draw(st.integers(0, len(lines) - 1))
        lines[which] = _change(lines[which], ".json", data)
        return "\n".join([*lines, ""])
    document = json.loads(text)
    _replace(document, data)
    return json.dumps(document)


def _replace(value: Any, data: st.DataObject) -> None:
    """Go down into a document, and replace what is there."""
    key = data.draw(st.sampled_from([*value] if isinstance(value, dict) else range(len(value))))
    inner = value[key]
    if isinstance(inner, dict | list) and inner and data.draw(st.booleans()):
        _replace(inner, data)
    else:
        value[key] = data.draw(_ANY)


def _quote(text: str) -> str:
    return json.dumps(text).replace("\\ud", "\\u0d")  # TOML has no surrogates


def _to_toml(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_quote(key)} = {_to_toml(each)}" for key, each in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_to_toml, value)) + "]"
    if isinstance(value, float):
        return repr(value)
    return '""' if value is None else json.dumps(value) if not isinstance(value, str) else _quote(value)


# ---- the suite itself --------------------------------------------------------------------------------------

_PLANTED = """
import ctypes, socket, warnings
from pathlib import Path
import numpy as np
from fuzzing import case, targets
from cortexia_video.errors import InputError

def refuse(folder): raise InputError("no")
def raise_another(folder): raise KeyError("x")
def want_memory(folder):
    try: raise MemoryError
    except MemoryError as error: raise InputError("no") from error
def connect(folder):
    with socket.socket() as each:
        each.settimeout(1)
        try: each.connect(("127.0.0.1", 9))
        except OSError: pass

PLANTED = {
    "read": lambda folder: None,
    "refuse": refuse,
    "KeyError": raise_another,
    "asks for too much memory": want_memory,
    "takes": lambda folder: np.ones(1 << 24),
    "prints": lambda folder: print("x"),
    "UserWarning": lambda folder: warnings.warn("x"),
    "left": lambda folder: Path("x").write_text("x"),
    "changed": lambda folder: (folder / "list.txt").write_text("x"),
    "outside of its folder": lambda folder: (folder / "../outside-of-it").read_text(),
    "socket.connect": connect,
    "died of SIGSEGV": lambda folder: ctypes.string_at(0),
    "seconds of the processor": lambda folder: [0 for _ in iter(int, 1)],
}
case.SECONDS = 1
case.warm_up = lambda *args: None
case.read_corpus = lambda name: {"made": {"list.txt": b"a"}}
targets.TARGETS.clear()
targets.TARGETS.update({
    name: targets.Target(name, read, (InputError,), 64, 1) for name, read in PLANTED.items()
})
case.main()
"""


@pytest.mark.parametrize(
    "fault",
    [
        "KeyError",
        "asks for too much memory",
        "takes",
        "prints",
        "UserWarning",
        "left",
        "changed",
        "outside of its folder",
        "socket.connect",
        "died of SIGSEGV",
        "seconds of the processor",
    ],
)
def test_what_must_not_happen_is_found(planted: Worker, fault: str) -> None:
    assert fault in planted.read(fault, 0)["wrong"]
    assert planted.read("read", 0) == {"outcome": "read", "wrong": ""}
    assert planted.read("refuse", 0) == {"outcome": "refused: no", "wrong": ""}


@pytest.fixture(scope="module")
def planted() -> Iterator[Worker]:
    with Worker(("-c", _PLANTED)) as running:
        yield running


def test_who_does_not_answer_is_found() -> None:
    with Worker(("-c", "print('ready', flush=True); import time; time.sleep(600)"), hangs_s=2) as running:
        assert running.read("list", 0) == {"outcome": "died", "wrong": "no answer for 2 s"}


def test_a_seed_gives_the_same_bytes() -> None:
    for name in ("image-png", "depth-npz", "dataset-webdataset", "recipe"):
        trees = [*read_corpus(name).values()]
        first = [mutate(trees, random.Random(seed)) for seed in range(50)]
        assert first == [mutate(trees, random.Random(seed)) for seed in range(50)]
        assert sum(each not in trees for each in first) > 40
        assert make_input(name, 7) == make_input(name, 7)
