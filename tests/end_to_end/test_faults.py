"""What can happen to a run: afterwards nothing is lost, nothing is there twice, every byte is the same."""

from __future__ import annotations

import multiprocessing
import os
import random
import shutil
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from pathlib import Path

import numpy as np
import pytest
from file_digests import file_digests
from numpy.typing import NDArray
from PIL import Image

from cortexia_video import (
    DepthEstimator,
    Report,
    SyntheticModel,
    estimate,
    merge_ledgers,
    read_ledger,
    verify,
)
from cortexia_video.cli import main
from cortexia_video.errors import OutputError, OutputLostError
from cortexia_video.jobs import Verification
from cortexia_video.ledger.state import DEPTH_JSON, LEDGER_NAME, is_ledger
from cortexia_video.models import synthetic

IMAGES = 24
KEYS = [f"{number:02}.jpg" for number in range(IMAGES)]
CLEAN = Verification(2 * IMAGES, [], [])

_processes = multiprocessing.get_context("forkserver")
_processes.set_forkserver_preload(["cortexia_video", "cortexia_video.cli.estimate"])
quick_disk = pytest.fixture(lambda monkeypatch: monkeypatch.setattr(os, "fsync", lambda descriptor: None))


class SlowModel(SyntheticModel):
    """The synthetic model, so slow that there is time for something to happen. pace: seconds an image."""

    pace = 0.01

    def infer(self, batch: NDArray[np.uint8]) -> NDArray[np.float32]:
        time.sleep(self.pace * len(batch))
        return super().infer(batch)


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder of images, upright and not."""
    folder = tmp_path_factory.mktemp("photos")
    for number, key in enumerate(KEYS):
        pixels = np.random.default_rng(number).integers(0, 256, (60, 80, 3), dtype=np.uint8)
        Image.fromarray(pixels if number % 3 else pixels.swapaxes(0, 1)).save(folder / key)
    return folder


@pytest.fixture(scope="module")
def expected(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Return the files of a run that nothing happened to."""
    out = tmp_path_factory.mktemp("undisturbed")
    run(photos, out)
    return files(out)


def run(
    photos: Path, out: Path, *, at: int = 0, do: Callable[[], object] | None = None, **more: str
) -> Report:
    """Estimate depth; once `at` images are done, let something happen."""
    happened = []

    def listen(report: Report, failure: object) -> None:
        if do and report.done >= at and not happened:
            happened.append(do())

    model = DepthEstimator(SlowModel(), batch_size=2)
    report = estimate(photos, out, model=model, preview=True, workers=2, on_outcome=listen, **more)
    assert report.found == report.done + report.skipped + report.failed
    return report


def files(out: Path) -> dict[str, str]:
    return file_digests(out, lambda name: not is_ledger(name))


def done_lines(out: Path) -> Counter[str]:
    return Counter(line["key"] for line in read_ledger(out) if line.get("outcome") == "done")


def finish(photos: Path, out: Path, expected: dict[str, str]) -> None:
    """Run once more: all is there then, each made once by a run that said so, and nothing else is."""
    before = done_lines(out) if (out / LEDGER_NAME).exists() else Counter()
    assert all(count == 1 for count in before.values())
    report = run(photos, out)
    assert (report.found, report.failed, report.skipped) == (IMAGES, 0, len(before))
    assert files(out) == expected
    assert done_lines(out) == Counter(KEYS)
    assert verify(out) == CLEAN


def run_slowly(photos: Path, out: Path, pace: float, more: dict[str, str]) -> None:
    SlowModel.pace = pace
    run(photos, out, **more)


def start(photos: Path, out: Path, *, pace: float = SlowModel.pace, **more: str) -> BaseProcess:
    process = _processes.Process(target=run_slowly, args=(photos, out, pace, more))
    process.start()
    return process


def wait_for_files(out: Path, count: int, *processes: BaseProcess) -> None:
    while len(list(out.glob("*.npy"))) < count and any(process.is_alive() for process in processes):
        time.sleep(0.001)


# ---- ended from outside ------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(4))
def test_killed_at_random_moments(photos: Path, tmp_path: Path, expected: dict[str, str], seed: int) -> None:
    chance = random.Random(seed)
    killed = 0
    for count in sorted(chance.sample(range(IMAGES), 4)):
        process = start(photos, tmp_path)
        wait_for_files(tmp_path, count, process)
        time.sleep(chance.uniform(0, 0.02))
        process.kill()
        process.join()
        killed += process.exitcode == -signal.SIGKILL
        survivors = {name: data for name, data in files(tmp_path).items() if name in expected}
        assert all(expected[name] == data for name, data in survivors.items())
    assert killed >= 3
    finish(photos, tmp_path, expected)


def test_two_shards_killed_at_random_moments(photos: Path, tmp_path: Path, expected: dict[str, str]) -> None:
    chance = random.Random(0)
    for count in (3, 9, 15):
        shards = [start(photos, tmp_path, partition=f"{index}/2") for index in (1, 2)]
        wait_for_files(tmp_path, count, *shards)
        for process in shards:
            time.sleep(chance.uniform(0, 0.02))
            process.kill()
            process.join()
    for index in (1, 2):
        run(photos, tmp_path, partition=f"{index}/2")
    assert done_lines(tmp_path) == Counter(KEYS)
    finish(photos, tmp_path, expected)


def command(*arguments: str) -> None:
    """Run the command line with the slow model."""
    SlowModel.pace = 0.08
    synthetic.SyntheticModel = SlowModel  # type: ignore[misc]
    main([*arguments, "--model", "synthetic", "--preview", "--batch-size", "2", "--workers", "2"])


def interrupt(photos: Path, out: Path, *signals: int) -> int | None:
    process = _processes.Process(target=command, args=("estimate", str(photos), "-o", str(out)))
    process.start()
    wait_for_files(out, 3, process)
    for number in signals:
        os.kill(process.pid or 0, number)
        time.sleep(0.02)
    process.join()
    return process.exitcode


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_lets_the_run_finish_what_is_in_flight(
    photos: Path, tmp_path: Path, expected: dict[str, str], number: int
) -> None:
    assert interrupt(photos, tmp_path, number) == 130
    *_, end = read_ledger(tmp_path)
    assert end["interrupted"] and end["failed"] == 0
    assert end["done"] == sum(done_lines(tmp_path).values()) == len(files(tmp_path)) // 2
    assert 3 <= end["done"] < IMAGES
    finish(photos, tmp_path, expected)


@pytest.mark.parametrize("second", [signal.SIGINT, signal.SIGTERM])
def test_a_second_signal_ends_it_now(
    photos: Path, tmp_path: Path, expected: dict[str, str], second: int
) -> None:
    assert interrupt(photos, tmp_path, signal.SIGINT, second) == 130
    assert not any("end" in line for line in read_ledger(tmp_path))
    finish(photos, tmp_path, expected)


# ---- places that are full or gone --------------------------------------------------------------------------


def test_a_full_disk(
    photos: Path, disk: Callable[[str], Path], expected: dict[str, str], tmp_path: Path
) -> None:
    out = disk("400k") / "out"
    with pytest.raises(OutputLostError, match="No space left on device; what is done is kept") as raised:
        run(photos, out)
    done = done_lines(out)
    assert isinstance(raised.value.report, Report)
    assert 0 < raised.value.report.done <= sum(done.values()) < IMAGES
    disk("4m")
    finish(photos, out, expected)


def test_a_disk_that_is_full_for_the_ledger(tmp_path: Path, disk: Callable[[str], Path]) -> None:
    broken = tmp_path / "broken"
    broken.mkdir()
    for number in range(300):
        (broken / f"{number}.jpg").write_text("no image")
    out = disk("32k") / "out"
    with pytest.raises(OutputLostError, match=r"cannot write .*ledger.jsonl: No space left on device"):
        run(broken, out)
    disk("4m")
    assert run(broken, out).failed == 300
    last = {line["key"]: line["outcome"] for line in read_ledger(out) if "key" in line}
    assert Counter(last.values()) == {"failed": 300}


def test_an_output_folder_that_is_moved_away(photos: Path, tmp_path: Path, expected: dict[str, str]) -> None:
    out, elsewhere = tmp_path / "out", tmp_path / "elsewhere"
    with pytest.raises(OutputLostError, match="what is done is kept"):
        run(photos, out, at=5, do=lambda: out.rename(elsewhere))
    assert not out.exists()
    elsewhere.rename(out)
    assert 5 <= sum(done_lines(out).values()) < IMAGES
    finish(photos, out, expected)


@pytest.mark.parametrize("how", ["removed", "replaced", "linked"])
def test_a_ledger_that_is_taken_away_is_noticed_at_once(photos: Path, tmp_path: Path, how: str) -> None:
    out, elsewhere = tmp_path / "out", tmp_path / "elsewhere.jsonl"

    def take_away() -> None:
        (out / "ledger.jsonl").rename(elsewhere)
        if how == "replaced":
            (out / "ledger.jsonl").write_bytes(elsewhere.read_bytes())
        elif how == "linked":
            (out / "ledger.jsonl").symlink_to(elsewhere)

    with pytest.raises(
        OutputLostError, match="was moved, removed or replaced meanwhile; what is done is kept: put it back"
    ) as raised:
        run(photos, out, at=5, do=take_away)
    assert isinstance(raised.value.report, Report)
    assert 5 <= raised.value.report.done < IMAGES
    (out / "ledger.jsonl").unlink(missing_ok=True)
    elsewhere.rename(out / "ledger.jsonl")
    assert run(photos, out).failed == 0


def test_an_output_mount_that_vanishes(
    photos: Path, disk: Callable[[str], Path], expected: dict[str, str]
) -> None:
    out = disk("4m")
    with pytest.raises(OutputLostError, match="what is done is kept"):
        run(photos, out, at=5, do=lambda: subprocess.run(["umount", "-l", out], check=True))
    assert os.listdir(out) == []
    finish(photos, out, expected)


def test_an_input_folder_that_vanishes(photos: Path, tmp_path: Path, expected: dict[str, str]) -> None:
    inputs, elsewhere = tmp_path / "inputs", tmp_path / "elsewhere"
    shutil.copytree(photos, inputs, copy_function=shutil.copy2)
    report = run(inputs, tmp_path / "out", at=1, do=lambda: inputs.rename(elsewhere))
    assert (report.found, report.skipped) == (IMAGES, 0)  # how many failed depends on what was read ahead
    elsewhere.rename(inputs)
    finish(inputs, tmp_path / "out", expected)


# ---- ledgers -----------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("quick_disk")
def test_a_torn_ledger(photos: Path, tmp_path: Path, expected: dict[str, str]) -> None:
    few = tmp_path / "few"
    few.mkdir()
    for key in KEYS[:2]:
        shutil.copy2(photos / key, few)
    run(few, tmp_path / "whole")
    ledger = (tmp_path / "whole" / LEDGER_NAME).read_bytes()
    after_begun = ledger.rindex(b'"begun"') + 60  # what was begun is on the disk
    for end in range(after_begun, len(ledger), 11):
        out = tmp_path / str(end)
        shutil.copytree(tmp_path / "whole", out)
        (out / LEDGER_NAME).write_bytes(ledger[:end])
        report = run(few, out)
        assert (report.found, report.failed) == (2, 0)
        ours = (*KEYS[:2], DEPTH_JSON)
        assert files(out) == {name: data for name, data in expected.items() if name.startswith(ours)}
        assert done_lines(out) == Counter(KEYS[:2])
        shutil.rmtree(out)


def refusal(photos: Path, out: Path, **more: str) -> str:
    with pytest.raises(OutputError) as raised:
        run(photos, out, **more)
    return str(raised.value)


def test_a_second_process_is_refused_and_harms_nothing(
    photos: Path, tmp_path: Path, expected: dict[str, str]
) -> None:
    process = start(photos, tmp_path, pace=0.05)
    wait_for_files(tmp_path, 2, process)
    assert "another process is writing to" in refusal(photos, tmp_path)
    assert "another process is writing to" in refusal(photos, tmp_path, partition="1/2")
    assert process.is_alive()
    process.join()
    assert process.exitcode == 0
    finish(photos, tmp_path, expected)


def test_two_shards_at_once(photos: Path, tmp_path: Path, expected: dict[str, str]) -> None:
    shards = [start(photos, tmp_path, pace=0.1, partition=f"{index}/2") for index in (1, 2)]
    wait_for_files(tmp_path, 2, *shards)
    while len(list(tmp_path.glob("ledger.*-of-2.jsonl"))) < 2:
        time.sleep(0.001)
    refusals = [refusal(photos, tmp_path, partition=shard) for shard in ("1/2", "2/2", "1/3")]
    assert "another process does partition 1/2" in refusals[0] and "does partition 2/2" in refusals[1]
    assert "cortexia merge" in refusals[2]
    assert "another process is writing to" in refusal(photos, tmp_path)
    assert verify(tmp_path).wrong == []
    assert all(process.is_alive() for process in shards)
    for process in shards:
        process.join()
        assert process.exitcode == 0
    assert done_lines(tmp_path) == Counter(KEYS)
    assert verify(tmp_path) == CLEAN
    assert merge_ledgers(tmp_path) == 2
    finish(photos, tmp_path, expected)


def test_shards_of_machines_without_a_common_disk(
    photos: Path, tmp_path: Path, expected: dict[str, str]
) -> None:
    out = tmp_path / "out"
    for index in (1, 2, 3):
        run(photos, tmp_path / f"machine-{index}", partition=f"{index}/3")
        shutil.copytree(tmp_path / f"machine-{index}", out, dirs_exist_ok=True)
    assert merge_ledgers(out) == 3
    finish(photos, out, expected)


def test_damaged_outputs_are_found_and_done_again(
    photos: Path, tmp_path: Path, expected: dict[str, str]
) -> None:
    run(photos, tmp_path)
    (tmp_path / "00.jpg.npy").unlink()
    os.truncate(tmp_path / "01.jpg.npy", 99)
    data = (tmp_path / "02.jpg.preview.jpg").read_bytes()
    (tmp_path / "02.jpg.preview.jpg").write_bytes(data[:-9] + b"x" + data[-8:])
    assert [each.key for each in verify(tmp_path, requeue=True).wrong] == KEYS[:3]
    report = run(photos, tmp_path)
    assert (report.done, report.skipped) == (3, IMAGES - 3)
    assert files(tmp_path) == expected
    assert verify(tmp_path) == CLEAN
