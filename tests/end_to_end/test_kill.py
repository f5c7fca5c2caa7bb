"""SIGKILL with a real network at work: the next run ends in the same files as an undisturbed one."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from camera_model import Camera
from file_digests import file_digests

from cortexia_video import DepthEstimator, convert, estimate, read_depth, read_ledger, verify
from cortexia_video.ledger.state import DEPTH_JSON, LEDGER_NAME

MOMENTS = 4
IMAGES = 16
METRES = {"kind": "metric"}


def start(photos: Path, out: Path, *options: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "cortexia_video", "estimate", photos, "--output", out, "--preview"]
    return subprocess.Popen(
        [*map(str, command), *options], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )


def files(out: Path) -> dict[str, str]:
    return file_digests(out, lambda name: name != LEDGER_NAME)


def test_killed_at_any_moment_and_started_again(tmp_path: Path, make_image: Callable[..., Path]) -> None:
    photos = tmp_path / "photos"
    for index in range(IMAGES):
        make_image(photos / f"{index}.jpg", (450, 600) if index % 3 else (600, 450), seed=index)
    began = time.monotonic()
    assert start(photos, tmp_path / "whole").wait() == 0
    whole_run = time.monotonic() - began
    expected = files(tmp_path / "whole")
    assert len(expected) == 2 * IMAGES + len([DEPTH_JSON])

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

        estimate(photos, out, preview=True)
        assert files(out) == expected
        last = list(read_ledger(out))[-1]
        assert (last["found"], last["failed"], last["done"] + last["skipped"]) == (IMAGES, 0, IMAGES)
        assert last["skipped"] >= len(survivors) // 2 - 6
    assert begun >= MOMENTS // 3


@pytest.mark.slow
def test_killed_while_it_writes_among_its_inputs(tmp_path: Path, make_image: Callable[..., Path]) -> None:
    photos = tmp_path / "photos"
    for index in range(IMAGES):
        make_image(photos / f"{index}.jpg", (600, 800), seed=index)
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
    assert list(read_ledger(photos))[-1]["found"] == IMAGES


CONVERT_AND_DIE = """
import os, signal, sys
from cortexia_video import convert
from cortexia_video.sinks.sink import (FolderSink)
run, new, f_px, when = sys.argv[1:]
place = FolderSink.place
def die(sink, files):
    if "3.jpg.npy" not in files:
        return place(sink, files)
    if when == "after":
        place(sink, files)
    os.kill(os.getpid(), signal.SIGKILL)
FolderSink.place = die
convert(run, new, f_px=float(f_px), workers=1)
"""


@pytest.mark.parametrize("when", ["before", "after"])
def test_killed_between_a_file_and_its_line_in_the_ledger(
    tmp_path: Path, make_image: Callable[..., Path], when: str
) -> None:
    """From no, or from another, focal length to the one that is given: each file says its own meanwhile."""
    keys = [f"{index}.jpg" for index in range(6)]
    for index, key in enumerate(keys):
        make_image(tmp_path / "photos" / key, seed=index)
    run, new = tmp_path / "run", tmp_path / "new"
    estimate(tmp_path / "photos", run, model=DepthEstimator(Camera()), f_px=50)
    metres = {key: np.load(run / f"{key}.npy").astype(np.float64) for key in keys}
    for f_px in (100, 25):
        command = [sys.executable, "-c", CONVERT_AND_DIE, run, new, f_px, when]
        assert subprocess.run([*map(str, command)], check=False).returncode == -signal.SIGKILL
        assert (verify(new).wrong, verify(new).unfinished) == ([], ["3.jpg"])
        lines = {line["key"]: line for line in read_ledger(new) if line.get("outcome") == "done"}
        for key in lines.keys() - {"3.jpg"}:
            depth = read_depth(new / f"{key}.npy")
            np.testing.assert_array_equal(depth.values, (metres[key] * depth.f_px / 50).astype(np.float32))
        if when == "after":  # nobody knows which focal length it is for
            report = convert(new, tmp_path / f"of-{f_px}", format="npy", about=METRES, f_px=60)
            assert [each.key for each in report.failures] == ["3.jpg"]
            assert "it is not what was written" in report.failures[0].reason

        report = convert(run, new, f_px=f_px)
        assert (report.found, report.failed) == (6, 0) and report.skipped < 6
        assert convert(run, tmp_path / f"whole-{f_px}", f_px=f_px).done == 6
        assert files(new) == files(tmp_path / f"whole-{f_px}")
        for key in keys:
            assert read_depth(new / f"{key}.npy").f_px == f_px
    assert (verify(new).wrong, verify(new).unfinished) == ([], [])
