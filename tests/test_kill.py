"""SIGKILL with a real network at work: the next run ends in the same files as an undisturbed one."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from file_digests import file_digests

from cortexia_video import read_ledger
from cortexia_video.depth_json import DEPTH_JSON
from cortexia_video.ledger_file import LEDGER_NAME

MOMENTS = 6
PICTURES = 18


def start(photos: Path, out: Path, *options: str) -> subprocess.Popen[bytes]:
    command = [
        sys.executable,
        "-m",
        "cortexia_video",
        "estimate",
        photos,
        "--output",
        out,
        "--preview",
        *options,
    ]
    return subprocess.Popen([*map(str, command)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def files(out: Path) -> dict[str, str]:
    return file_digests(out, lambda name: name != LEDGER_NAME)


def test_killed_at_any_moment_and_started_again(tmp_path: Path, make_picture: Callable[..., Path]) -> None:
    photos = tmp_path / "photos"
    for index in range(PICTURES):
        make_picture(photos / f"{index}.jpg", (600, 800) if index % 3 else (800, 600), seed=index)
    began = time.monotonic()
    assert start(photos, tmp_path / "whole").wait() == 0
    whole_run = time.monotonic() - began
    expected = files(tmp_path / "whole")
    assert len(expected) == 2 * PICTURES + len([DEPTH_JSON])

    begun = 0
    for moment in range(MOMENTS):
        out = tmp_path / f"killed-{moment}"
        process = start(photos, out)
        if moment % 2:
            time.sleep(whole_run * moment / MOMENTS)
        else:  # count files instead of seconds: a kill in the middle whatever the machine does meanwhile
            while process.poll() is None and len(list(out.glob("*.npy"))) < 1 + moment:
                time.sleep(0.002)
        process.send_signal(signal.SIGKILL)
        process.wait()
        survivors = (
            {name: data for name, data in files(out).items() if name in expected} if out.exists() else {}
        )
        assert all(data == expected[name] for name, data in survivors.items())
        begun += 0 < len(survivors) < len(expected)

        assert start(photos, out).wait() == 0
        assert files(out) == expected
        last = list(read_ledger(out))[-1]
        assert (last["found"], last["failed"], last["done"] + last["skipped"]) == (PICTURES, 0, PICTURES)
        assert last["skipped"] >= len(survivors) // 2 - 6
    assert begun >= MOMENTS // 3


def test_killed_while_it_writes_among_its_inputs(tmp_path: Path, make_picture: Callable[..., Path]) -> None:
    photos = tmp_path / "photos"
    for index in range(PICTURES):
        make_picture(photos / f"{index}.jpg", (600, 800), seed=index)
    shutil.copytree(photos, tmp_path / "whole", copy_function=shutil.copy2)
    assert start(tmp_path / "whole", tmp_path / "whole", "--format", "png").wait() == 0
    for count in (1, 6, 12):
        process = start(photos, photos, "--format", "png")
        while process.poll() is None and len(list(photos.glob("*.jpg.png"))) < count:
            time.sleep(0.002)
        process.kill()
        process.wait()
    assert start(photos, photos, "--format", "png").wait() == 0
    assert files(photos) == files(tmp_path / "whole")
    assert list(read_ledger(photos))[-1]["found"] == PICTURES
