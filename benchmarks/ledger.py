"""What commands cost on a folder whose ledger knows many inputs, all of them done.

    python benchmarks/ledger.py [COUNT] [--tree CHECKOUT ...] [--only COMMAND ...] [--few-files] [--work FOLDER]

Makes COUNT images of 16 pixels, JPEG, (a hundred thousand by default), their depth, that as npz and point clouds,
all but the first as links, and runs what only has to find out that nothing is to be done, or to read it all.
`evaluate` and `dataset build` find a hundred images in that ledger; `convert` begins with nothing and is run where
it is named. --few-files: the ledgers have COUNT inputs, the folders a thousand, which is enough for `status`,
`report`, `evaluate` and `dataset build`, and quickly made. Core-seconds of the whole process and of those it starts,
its peak memory and the seconds by the clock; with several checkouts, one after the other for each command. A
checkout from before the rooms has `rescale`, which here finds that nothing is to be rescaled, in the place of
`convert --f-px`.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Annotated

import numpy as np
from cyclopts import App, Parameter
from PIL import Image
from record import note_seconds

_LINKS = 50_000  # to one file: some file systems end at 65,000
_FEW = 100
_ESTIMATE = ["estimate", "../in", "--output", "out", "--model", "synthetic", "--recursive"]
_CONVERT = ["convert", "out", "--output", "npz", "--format", "npz"]
_SCALE = ["convert", "out", "--output", "scaled", "--format", "npz", "--f-px", "4"]
_CLOUDS = ["pointcloud", "out", "--output", "clouds", "--fov-deg", "60"]
_CLOUDS += ["--near-m", "1", "--far-m", "5", "--max-gap", "inf"]

app = App(help=__doc__)


@app.default
def measure(
    count: int = 100_000,
    /,
    *,
    tree: Annotated[list[Path] | None, Parameter(consume_multiple=True)] = None,
    only: Annotated[list[str] | None, Parameter(consume_multiple=True)] = None,
    few_files: bool = False,
    work: Path = Path("/tmp/cortexia-ledger"),
) -> None:
    shutil.rmtree(work, ignore_errors=True)
    trees = [each.absolute() for each in tree or [Path(__file__).parents[1]]]
    copies = {each: work / str(number) for number, each in enumerate(trees)}
    first = work / "in/0000/0000000.jpg"
    first.parent.mkdir(parents=True)
    Image.fromarray(np.arange(48, dtype=np.uint8).reshape(4, 4, 3)).save(first)
    for each, folder in copies.items():
        folder.mkdir()
        for words in (_ESTIMATE, _CONVERT, _SCALE, _CLOUDS):
            _run(each, folder, words)
    _multiply(first, 1000 if few_files else count)
    (work / "few/0000").mkdir(parents=True)
    for image in sorted(first.parent.iterdir())[:_FEW]:
        os.link(image, work / "few/0000" / image.name)
    for folder in copies.values():
        _fill(folder, count, few_files)
    commands = {
        "status": ["status", "out"],
        "report": ["report", "out"],
        "estimate, all done": _ESTIMATE,
        "convert, all done": _CONVERT,
        "convert --f-px, all done": _SCALE,
        "pointcloud, all done": _CLOUDS,
        "evaluate": ["evaluate", "out", "--truth", "truth", "--truth-from", "metres"],
        "dataset build": ["dataset", "build", "../few", "--depth", "out", "--output", "built"],
        "verify": ["verify", "out"],
        "convert": ["convert", "out", "--output", "new", "--format", "npz"],
    }
    print(f"| {count:,} inputs | " + " | ".join(f"{each.name}: core s (s), MiB" for each in trees) + " |")
    print("|---|" + "---|" * len(trees))
    for name, words in commands.items():
        if name not in (only or [each for each in commands if each != "convert"]):
            continue
        cells = []
        for each in trees:
            core_s, seconds, peak = _run(each, copies[each], words)
            note_seconds(name, [core_s])
            cells.append(f"{core_s:.1f} ({seconds:.1f}), {peak:.0f}")
        print(f"| {name} | " + " | ".join(cells) + " |", flush=True)
    shutil.rmtree(work)


def _fill(folder: Path, count: int, few_files: bool) -> None:
    """Make of what was done to one image as much as if it had been done to all, and a hundred as ground truth."""
    for ledger in folder.glob("*/ledger.jsonl"):
        lines = [line for line in ledger.read_text().splitlines() if '"outcome": ' in line]
        last = next(iter(json.loads(lines[-1])["outputs"]))
        _multiply(ledger.parent / last, 1000 if few_files else count)
        with ledger.open("a") as file:
            for number in range(1, count):
                key = f"{number // 1000:04}/{number:07}.jpg"
                file.writelines(line.replace("0000/0000000.jpg", key) + "\n" for line in lines)
    first = folder / "truth/0000/0000000.jpg.npy"
    first.parent.mkdir(parents=True)
    np.save(first, np.float32([[1, 2, 3, 4]] * 4))
    _multiply(first, min(count, _FEW))


def _multiply(first: Path, count: int) -> None:
    """Link a file to others, a thousand in a folder."""
    root, suffix = first.parents[1], first.name.removeprefix("0000000")
    for number in range(1, count):
        path = root / f"{number // 1000:04}" / f"{number:07}{suffix}"
        if number % 1000 == 0:
            path.parent.mkdir()
        if number % _LINKS == 0:
            shutil.copy2(first, path)
            first = path
        else:
            os.link(first, path)


def _words(tree: Path, words: list[str]) -> list[str]:
    """Return a command as a checkout knows it."""
    if (tree / "cortexia_video/jobs").exists():
        return words
    if words == _SCALE:
        return ["rescale", "out", "--f-px", "4"]
    return [each.replace("--truth-from", "--truth-dialect") for each in words]


def _run(tree: Path, folder: Path, words: list[str]) -> tuple[float, float, float]:
    """Return core-seconds, seconds, and the peak in MiB."""
    call = [sys.executable, "-m", "cortexia_video", *_words(tree, words)]
    environment = {**os.environ, "PYTHONPATH": str(tree), "PYTHONPYCACHEPREFIX": str(folder / "pycache")}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)  # or each run would compile what it imports anew
    with (folder / "said.txt").open("wb") as said:
        started = time.perf_counter()
        child = subprocess.Popen(call, cwd=folder, env=environment, stdout=said, stderr=said)
        _, status, used = os.wait4(child.pid, 0)
        seconds = time.perf_counter() - started
    if os.waitstatus_to_exitcode(status) not in (0, 1):
        raise SystemExit(f"{tree}: {' '.join(words)}\n{(folder / 'said.txt').read_text()[-2000:]}")
    return used.ru_utime + used.ru_stime, seconds, used.ru_maxrss / 1024


if __name__ == "__main__":
    app()
