"""`make torture`: every command that writes is killed at random moments, and its disk fills, again and again.

Afterwards the same command must end with exit code 0 in the same files as one that nothing happened to: byte
for byte, nothing more, nothing half written. Prints a table; exit code 1 if anything differs.

    python tests/end_to_end/torture.py --kills 40 --disks 16 --minutes 30 --only train

Of files that hold times, or lines in the order in which threads were done, the meaning is compared
(`read_meaning`).
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import importlib
import json
import multiprocessing
import os
import random
import runpy
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePath
from typing import Any

from dataset_layouts import make_rgbd, make_scene
from recipes import network, write_recipe

IN, OUT = "IN", "OUT"
COMMANDS = {
    "estimate": "estimate IN/photos --output OUT --preview",
    "estimate --also": (
        "estimate IN/photos --output OUT --model synthetic --kind metric --f-px 60 --also normals,points"
    ),
    "estimate --pack tar": "estimate IN/photos --output OUT --pack tar --pack-size 6 --pack-images",
    "estimate --pack parquet": "estimate IN/photos --output OUT --pack parquet --pack-size 6",
    "estimate --executor ray": "estimate IN/photos --output OUT --executor ray --num-workers 1",
    "estimate a clip": "estimate IN/clip.mp4 --output OUT --model synthetic --preview",
    "align": "align IN/relative --near-m 1 --far-m 9 --output OUT",
    "export": "export hf:IN/checkpoint --size 70x98 --output OUT/network.onnx",
    "convert": "convert IN/metres --output OUT --format tiff",
    "convert --f-px": "convert IN/camera --output OUT --format npy --f-px 400",
    "pointcloud": "pointcloud IN/metres --output OUT",
    "dataset build": "dataset build IN/photos --depth IN/metres --output OUT --shard-size 6",
    "dataset build webdataset": (
        "dataset build IN/photos --depth IN/metres --output OUT --shard-size 6 --format webdataset"
    ),
    "evaluate": "evaluate compact --truth IN/set --output OUT",
    "scenes": "scenes --count 12 --size 96 128 --kinds close --workers 2 --output OUT",
    "train": "train IN/recipe.toml --output OUT",
}
ONCE = ("export",)  # which replace nothing
NO_DISKS = ("estimate --executor ray",)  # its workers write as `estimate` does; a cluster begins slowly
PHOTOS, FRAMES, CLIP_FRAMES = 36, 60, 700
LONG_IMPORTS = (
    "cortexia_video.cli",
    "cortexia_video.training.start",
    "onnxruntime",
    "pyarrow.parquet",
    "torch",
    "transformers",
)
CHAIN = 4  # kills of one folder, before its command may run to the end
PATIENCE = 600.0  # seconds
GROWING = ("*.jsonl", "depth.json", "set.json", "checkpoint.pt", "logs/*")  # written again as work goes on
OF_A_RUN = ("run", "time", "seconds")  # words of a ledger's line that differ from run to run


@dataclass
class Row:
    """What happened to one command.

    expected: its files, undisturbed; bytes: of all of them. began, seconds: when that run began to write, and
    when it was done.
    """

    name: str
    words: list[str]
    expected: dict[str, str] = field(default_factory=dict)
    began: float = 0.0
    seconds: float = 0.0
    bytes: int = 0
    kills: int = 0
    disks: int = 0
    faults: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        survived = "all" if not self.faults else f"{len(self.faults)} FAULTS"
        return f"{self.name:<26} {self.kills:>5} {self.disks:>5}   {survived:<10} {self.seconds:>6.1f}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--kills", type=int, default=40, help="of each command")
    parser.add_argument(
        "--disks", type=int, default=16, help="sizes of full disks for each command; needs root"
    )
    parser.add_argument("--minutes", type=float, default=float("inf"), help="begin nothing new after that")
    parser.add_argument("--only", action="append", help="a command, as the table calls it; several times")
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    names = asked.only or list(COMMANDS)
    unknown = {*names} - {*COMMANDS}
    if unknown:
        parser.error(f"no such command: {', '.join(unknown)}; there are {', '.join(COMMANDS)}")
    end = time.monotonic() + 60 * asked.minutes
    with tempfile.TemporaryDirectory(prefix="cx-", ignore_cleanup_errors=True) as folder:  # short, for Ray
        rows = torture(Path(folder), names, asked, random.Random(asked.seed), end)
    print(f"\n{'command':<26} {'kills':>5} {'disks':>5}   {'survived':<10} seconds undisturbed")
    print(*rows, sep="\n")
    for row in rows:
        for fault in row.faults:
            print(f"FAULT {row.name}: {fault}")
    return any(row.faults for row in rows)


def torture(
    work: Path, names: list[str], asked: argparse.Namespace, chance: random.Random, end: float
) -> list[Row]:
    """Do to each command what is asked, in turns, so that an early end leaves none out."""
    making = multiprocessing.get_context("spawn").Process(target=make_inputs, args=(work / "in",))
    making.start()
    making.join()
    if making.exitcode:
        raise SystemExit("the inputs could not be made")
    for name in LONG_IMPORTS:
        importlib.import_module(name)
    rows = [Row(name, COMMANDS[name].split()) for name in names]
    for row in rows:
        run_undisturbed(row, work)
    folder = 0
    while time.monotonic() < end and (left := [row for row in rows if row.kills < asked.kills]):
        for row in left:
            folder += 1
            kill_and_finish(row, work, work / f"killed-{folder}", min(CHAIN, asked.kills - row.kills), chance)
        say(", ".join(f"{row.name} {row.kills}" for row in rows))
    with full_disks(work / "disk") as mount:
        for number in range(asked.disks if mount else 0):
            for row in rows:
                if mount and row.name not in NO_DISKS and time.monotonic() < end:
                    fill_and_finish(row, work, mount, (number + 0.5) / asked.disks)
            say(f"disks: {number + 1} sizes of {asked.disks}")
    return rows


def say(text: str) -> None:
    print(time.strftime("%H:%M:%S"), text, flush=True)


def make_inputs(root: Path) -> None:
    """Make images, depth in metres of them, a dataset, and a recipe with its checkpoint."""
    import numpy as np
    from camera_model import Camera
    from clips import write_clip
    from PIL import Image
    from torch_checkpoints import save_checkpoint

    from cortexia_video import DepthEstimator, SyntheticModel, estimate

    (root / "photos").mkdir(parents=True)
    for number in range(PHOTOS):
        coarse = np.random.default_rng(number).integers(0, 256, (6, 8, 3), dtype=np.uint8)
        pil_image = Image.fromarray(coarse).resize((400, 300), Image.Resampling.BICUBIC)
        pil_image.save(root / f"photos/{number:02}.jpg")
    metric = DepthEstimator(SyntheticModel(kind="metric"))
    estimate(root / "photos", root / "metres", model=metric, f_px=300)
    estimate(root / "photos", root / "camera", model=DepthEstimator(Camera()), f_px=300)
    estimate(root / "photos", root / "relative", model=DepthEstimator(SyntheticModel()))
    write_clip(root / "clip.mp4", CLIP_FRAMES)
    make_rgbd(root / "set", make_scene(), FRAMES)
    for number in range(FRAMES):  # equal images would have one score
        Image.fromarray(make_scene(number).image).save(root / f"set/rgb/{number}.png")
    checkpoint = save_checkpoint("depth-anything", root / "checkpoint")
    words = {"steps": 12, "workers": 1, "checkpoint_steps": 2, "bfloat16": False}
    write_recipe(root, network(f"hf:{checkpoint}"), root=root / "set", **words)


# ---- runs --------------------------------------------------------------------------------------------------


class Started:
    """A command in a process that is forked from this one, which has imported what takes long, and ends as asked."""

    def __init__(self, row: Row, work: Path, out: Path) -> None:
        words = [word.replace(IN, str(work / "in")).replace(OUT, str(out)) for word in row.words]
        self._said = work / "stderr.txt"
        self._process = multiprocessing.get_context("fork").Process(
            target=become, args=(words, work / "tmp", self._said)
        )
        self.began = time.monotonic()
        self._process.start()
        self.pid = self._process.pid or 0

    def wait(self, seconds: float) -> bool:
        """Return whether it ended in that time."""
        self._process.join(seconds)
        return self._process.exitcode is not None

    def finish(self) -> tuple[int, str]:
        """Return its exit code and what it wrote to stderr."""
        if not self.wait(PATIENCE):
            raise SystemExit(f"process {self.pid} does not end")
        return self._process.exitcode or 0, self._said.read_text(errors="replace")


def become(words: list[str], temporary: Path, said: Path) -> None:
    """Be the command line, in a session of its own."""
    os.setsid()
    temporary.mkdir(exist_ok=True)
    tempfile.tempdir = None
    os.environ.update({"HF_HUB_OFFLINE": "1", "TMPDIR": str(temporary), "RAY_TMPDIR": str(temporary)})
    for number, name in ((0, os.devnull), (1, os.devnull), (2, str(said))):
        flags = os.O_RDONLY if number == 0 else os.O_WRONLY | os.O_CREAT | os.O_TRUNC
        os.dup2(os.open(name, flags), number)
    sys.argv = ["cortexia", *words]
    runpy.run_module("cortexia_video", run_name="__main__", alter_sys=True)


def run_undisturbed(row: Row, work: Path) -> None:
    """Find out what a command ends in, and how long it takes to begin and to end."""
    out = work / f"whole-{row.name.replace(' ', '')}"
    process = Started(row, work, out)
    while not out.exists() and not process.wait(0.005):
        pass
    row.began = time.monotonic() - process.began
    code, said = process.finish()
    row.seconds = time.monotonic() - process.began
    if code:
        raise SystemExit(f"{row.name} ended in {code} before anything was done to it:\n{said}")
    row.expected = read_meaning(out)
    row.bytes = sum(path.stat().st_size for _, path in list_names(out))
    say(f"{row.name}: {len(row.expected)} files, {row.seconds:.1f} s, of which {row.began:.1f} to begin")


def kill_and_finish(row: Row, work: Path, out: Path, kills: int, chance: random.Random) -> None:
    """Kill a command some times on its way to one folder, then let it end, and compare."""
    moments = []
    for _ in range(kills):
        moments.append(chance.uniform(0.9 * row.began, row.seconds))
        process = Started(row, work, out)
        if not kill_after(
            process, moments[-1]
        ):  # it had ended: what is done already is skipped, or neighbours left
            if len(moments) == 1:
                row.began *= (took := time.monotonic() - process.began) / row.seconds
                row.seconds = took
            break
        row.kills += 1
        broken = [
            name for name, digest in read_whole(out).items() if row.expected.get(name, digest) != digest
        ]
        if broken:
            row.faults.append(f"half written after a kill at {moments[-1]:.2f} s: {', '.join(broken)}")
    finish(row, work, out, f"killed at {', '.join(f'{each:.2f}' for each in moments)} s")
    shutil.rmtree(out)


def fill_and_finish(row: Row, work: Path, mount: Callable[[int], Path], share: float) -> None:
    """Give a command a disk with room for a share of what it writes; then more, and let it end."""
    out = mount(int(share * row.bytes)) / "out"
    code, said = Started(row, work, out).finish()
    what = f"a disk with room for {share:.0%}"
    lines = [line for line in said.splitlines() if line.startswith("cortexia: ")]
    if code not in (0, 1) or "Traceback" in said or (code and len(lines) != 1):
        row.faults.append(f"{what}: exit code {code}, said {said[-2000:]!r}")
    row.disks += code != 0
    mount(1 << 30)
    finish(row, work, out, what)
    shutil.rmtree(out)


def finish(row: Row, work: Path, out: Path, what: str) -> None:
    if row.name in ONCE and read_meaning(out) == row.expected:
        return  # the kill came when all was done
    code, said = Started(row, work, out).finish()
    found = read_meaning(out)
    names = {*found, *row.expected}
    wrong = [name for name in sorted(names) if found.get(name) != row.expected.get(name)]
    if code or "Traceback" in said:
        row.faults.append(f"{what}: then exit code {code}: {said[-2000:]!r}")
    elif wrong:
        more, fewer = {*found} - {*row.expected}, {*row.expected} - {*found}
        row.faults.append(f"{what}: then {wrong} differ, of which {more} are more, {fewer} missing")


def kill_after(process: Started, seconds: float) -> bool:
    """Kill a command and all that it started; return whether it still ran."""
    if process.wait(seconds):
        return False
    family = [process.pid, *list_descendants(process.pid)]
    for each in family:
        with contextlib.suppress(ProcessLookupError):
            os.kill(each, signal.SIGKILL)
    process.wait(PATIENCE)
    end = time.monotonic() + PATIENCE
    while any(map(is_alive, family)) and time.monotonic() < end:
        time.sleep(0.005)
    return True


def list_descendants(pid: int) -> list[int]:
    children: dict[int, list[int]] = {}
    for each in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError):
            parent = int(Path(f"/proc/{each}/stat").read_text().rpartition(")")[2].split()[1])
            children.setdefault(parent, []).append(int(each))
    found = list(children.get(pid, ()))
    for each in found:  # it grows meanwhile
        found += children.get(each, ())
    return found


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


# ---- what is in a folder -----------------------------------------------------------------------------------


def list_names(out: Path) -> Iterator[tuple[str, Path]]:
    for path in sorted(out.rglob("*")):
        if not path.is_dir() or path.is_symlink() or not any(path.iterdir()):
            yield path.relative_to(out).as_posix(), path


def read_whole(out: Path) -> dict[str, str]:
    """Return the digests of files that are at their place once and for all."""
    return {
        name: digest(path.read_bytes())
        for name, path in list_names(out)
        if path.is_file() and not any(PurePath(name).match(each) for each in GROWING)
    }


def read_meaning(out: Path) -> dict[str, str]:
    """Return a digest of each file, and of folders that are empty.

    Of ledgers: what each input came to, and the counts of the end, whoever made it and when. Of other
    `.jsonl` files: the lines, in any order. Of checkpoints: all values. Of TensorBoard's logs, which are
    named by the time: that there are some.
    """
    found = {}
    for name, path in list_names(out):
        if name.startswith("logs/"):
            found["logs/"] = ""
        elif path.is_dir() or path.is_symlink():
            found[name] = "a folder" if path.is_dir() else "a link"
        elif path.name == "ledger.jsonl":
            found[name] = digest(json.dumps(read_outcomes(path), sort_keys=True).encode())
        elif path.name == "checkpoint.pt":
            found[name] = read_checkpoint(path)
        elif path.suffix == ".jsonl":
            found[name] = digest("".join(sorted({json.dumps(line) for line in read_lines(path)})).encode())
        else:
            found[name] = digest(path.read_bytes())
    return found


def read_outcomes(path: Path) -> list[object]:
    lines = read_lines(path)
    done = {
        line["key"]: {name: value for name, value in line.items() if name not in OF_A_RUN}
        for line in lines
        if "outcome" in line
    }
    end = lines[-1]
    counts = [end.get("found"), end.get("done", 0) + end.get("skipped", 0), end.get("failed")]
    return [sorted(done.items()), counts]


def read_checkpoint(path: Path) -> str:
    """Return a digest of all values; the bytes depend on which texts are one object to pickle."""
    import torch

    def describe(value: object) -> object:
        if isinstance(value, torch.Tensor):
            return [str(value.dtype), [*value.shape], digest(value.contiguous().numpy().tobytes())]
        if isinstance(value, dict):
            return [[repr(key), describe(each)] for key, each in value.items()]
        if isinstance(value, list | tuple):
            return [describe(each) for each in value]
        return repr(value)

    return digest(json.dumps(describe(torch.load(path, weights_only=True))).encode())


def read_lines(path: Path) -> list[dict[str, Any]]:
    """Read the objects of a file of lines; one that a kill cut short counts for nothing."""
    found = []
    for line in path.read_bytes().splitlines():
        with contextlib.suppress(ValueError):
            found.append(json.loads(line))
    return found


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@contextlib.contextmanager
def full_disks(place: Path) -> Iterator[Callable[[int], Path] | None]:
    """Yield mount(bytes), which makes a small file system, or again in another size; None where it cannot."""
    place.mkdir()

    def mount(size: int) -> Path:
        options = f"size={max(size, 1 << 14)}" + (",remount" if place.is_mount() else "")
        subprocess.run(
            ["mount", "-t", "tmpfs", "-o", options, "tmpfs", place], check=True, capture_output=True
        )
        return place

    try:
        mount(1 << 14)
    except (OSError, subprocess.CalledProcessError):
        say("no full disks: nothing can be mounted here")
        yield None
        return
    try:
        yield mount
    finally:
        subprocess.run(["umount", place], check=True)


if __name__ == "__main__":
    os.environ.update(
        {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    )  # before torch is imported, and forked
    sys.exit(main())
