"""Commands in a double of Windows: the same files as here, and nothing left over."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import HANG_S
from file_digests import file_digests

from cortexia_video.cli import main

COMMANDS = [
    ["estimate", "photos", "--output", "depth", "--recursive", "--preview", "--model", "synthetic"],
    ["estimate", "photos", "--output", "depth", "--recursive", "--preview", "--model", "synthetic"],
    ["estimate", "photos", "--output", "parts", "--partition", "1/2", "--model", "synthetic"],
    ["merge", "parts"],
    ["verify", "depth"],
    ["status", "depth"],
    ["report", "depth"],
    ["convert", "depth", "--output", "npz", "--format", "npz"],
    ["estimate", "photos", "--output", "packed", "--pack", "tar", "--model", "synthetic"],
    ["dataset", "build", "photos", "--depth", "depth", "--output", "pairs"],
    ["export", "compact", "--output", "compact.onnx"],
]


def test_commands_come_to_the_same_files(
    tmp_path: Path, make_image: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    there, here = tmp_path / "there", tmp_path / "here"
    for folder in (there, here):
        for index, name in enumerate(["a.jpg", "trip/b.jpg"]):
            make_image(folder / "photos" / name, (30, 40), seed=index)
    command = [sys.executable, "-m", "windows_double", json.dumps(COMMANDS)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        command, cwd=there, env=environment, capture_output=True, text=True, timeout=HANG_S, check=False
    )
    assert json.loads(done.stdout.splitlines()[-1]) == [0] * len(COMMANDS), done.stderr
    monkeypatch.chdir(here)
    for each in COMMANDS:
        with pytest.raises(SystemExit) as ended:
            main(each)
        assert not ended.value.code, each
    digests = [
        file_digests(folder, lambda name: not name.endswith(("ledger.jsonl", "build.jsonl", "report.html")))
        for folder in (there, here)
    ]
    assert digests[0] == digests[1] and len(digests[0]) > 10
    names = [{str(each.relative_to(folder)) for each in folder.rglob("*")} for folder in (there, here)]
    assert names[0] == names[1]
