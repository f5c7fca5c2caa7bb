"""SIGKILL while clips are at work: the next run ends in the same files as an undisturbed one."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from clips import draw, write_clip
from file_digests import file_digests

from cortexia_video import read_ledger
from cortexia_video.jobs.clip_parts import FOLDER

SCRIPT = """
import sys
from cortexia_video import DepthEstimator, SyntheticModel, estimate
from cortexia_video.jobs import clip_output
clip_output._PART_FRAMES, clip_output.PROVEN = 24, 4
small = DepthEstimator(SyntheticModel(short_side=48))
estimate(sys.argv[1], sys.argv[2], model=small if sys.argv[3] == "synthetic" else sys.argv[3], preview=True)
"""


def start(source: Path, out: Path, model: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-c", SCRIPT, str(source), str(out), model]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def files(out: Path) -> dict[str, str]:
    return file_digests(out, lambda name: not name.startswith(("ledger", "depth.json")))


@pytest.mark.slow
@pytest.mark.parametrize(("model", "moments"), [("synthetic", 8), ("compact", 3)])
def test_killed_at_any_moment_and_started_again(
    tmp_path: Path, make_image: Callable[..., Path], model: str, moments: int
) -> None:
    source = tmp_path / "in"
    write_clip(
        source / "a.mp4", [draw(each, 96, 128) for each in range(200)], options={"x264-params": "bframes=3"}
    )
    write_clip(source / "b.webm", 60, codec="libvpx-vp9", options={"cpu-used": "8"})
    make_image(source / "c.jpg")
    began = time.monotonic()
    assert start(source, tmp_path / "whole", model).wait() == 0
    whole_run = time.monotonic() - began
    expected = files(tmp_path / "whole")
    assert [*sorted(expected)] == [
        *(
            "a.mp4.mkv",
            "a.mp4.preview.mp4",
            "b.webm.mkv",
            "b.webm.preview.mp4",
            "c.jpg.npy",
            "c.jpg.preview.jpg",
        )
    ]
    in_parts = 0
    for moment in range(moments):
        out = tmp_path / f"killed-{moment}"
        process = start(source, out, model)
        if moment % 2:
            time.sleep(whole_run * moment / moments)
        else:  # count parts instead of seconds: a kill in the middle whatever the machine does meanwhile
            while process.poll() is None and len([*out.glob(f"{FOLDER}/*/*.npz")]) < 1 + moment // 4:
                time.sleep(0.002)
        process.send_signal(signal.SIGKILL)
        process.wait()
        in_parts += any(out.glob(f"{FOLDER}/*/*.npz"))
        assert all(expected[name] == digest for name, digest in files(out).items() if name in expected)
        assert start(source, out, model).wait() == 0
        assert files(out) == expected
        assert not (out / FOLDER).exists()
        last = list(read_ledger(out))[-1]
        assert (last["found"], last["failed"], last["done"] + last["skipped"]) == (3, 0, 3)
    assert in_parts >= 2
