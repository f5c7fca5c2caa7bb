"""How fast depth networks of published size run on a GPU: ours, plain transformers, and what is possible.

    pip install -e '.[benchmark]'
    python benchmarks/gpu.py [depth-pro] [depth-anything-v2-small] ... [--device cuda] [--work FOLDER]

Random weights, 12-megapixel JPEGs. All jobs of a network take turns in one process, so each finds the device
as the others left it. Progress goes to stderr, a Markdown table to stdout, all of it to `gpu.json` in
`--work`, which needs 10 GB, most of it for the outputs of one turn. `--device cpu --tiny` shows that it runs.
"""

from __future__ import annotations

import datetime
import gc
import json
import os
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from pathlib import Path

import torch
from arithmetic import check_guard, require_possible
from cyclopts import App
from device import PRECISIONS, describe_device, measure_copies, measure_matrix_rates, time_work
from device_jobs import (
    load_ours,
    load_plain,
    prepare_photo,
    run_alone,
    run_job,
    run_plain_alone,
    run_plain_loop,
)
from photos import TWELVE_MEGAPIXELS, make_photos
from race import Job
from random_networks import NAMES, Name, count_flop, make_config, save_checkpoint
from sections import Figure
from transformers.utils import logging

from cortexia_video import DepthEstimator
from cortexia_video.depth_estimation import PreparedFrame
from cortexia_video.errors import ModelError
from cortexia_video.models.torch.device import choose_placement
from cortexia_video.runtime.resources import count_cores

_GOALS = {"depth-pro": 25.0}  # images per second of the network alone, on an H200
_SHARE = 0.95  # of that, for the whole job
_ROUNDING = 1.02  # of shares of a bound that is itself the best of a few measurements
_SLOWER = 4  # times fewer images for the plain network
_ALONE, _FULL, _NATIVE = "ours, bfloat16, network alone", "ours, full-size .npy", "ours, native .npy"

app = App(help=__doc__)


@dataclass(frozen=True, slots=True)
class Scale:
    """How much is measured. images: a round, a multiple of batch_size; photo: (width, height)."""

    images: int
    rounds: int
    batch_size: int
    photo: tuple[int, int]
    tiny: bool = False


TINY = Scale(images=4, rounds=2, batch_size=2, photo=(320, 240), tiny=True)


@dataclass(frozen=True, slots=True)
class Floor:
    """What nothing can be faster than: FLOP/s by precision, bytes/s by direction."""

    matrix_rates: Mapping[torch.dtype, float]
    copies: Mapping[str, float]

    def limit(self, precision: torch.dtype) -> float:
        """Return FLOP/s for a network; one in half precision has layers in float32, and the other half."""
        return self.matrix_rates[precision] if precision == torch.float32 else max(self.matrix_rates.values())


@dataclass(frozen=True, slots=True)
class Turn:
    """A job and its part of a round. file_bytes: least size of each image's file, 0 where none is made."""

    job: Job
    images: int
    precision: torch.dtype
    file_bytes: int = 0


@app.default
def measure(
    *networks: Name,
    device: str = "cuda",
    work: Path = Path("runs/gpu"),
    images: int = 128,
    rounds: int = 5,
    batch_size: int = 8,
    tiny: bool = False,
) -> None:
    """Measure the networks named, or all.

    Parameters
    ----------
    networks
        What to measure.
    device
        cuda, cuda:1 or cpu.
    work
        Folder for photos, weights, outputs and gpu.json.
    images
        Images a round for ours; a quarter of it for the plain network.
    rounds
        Rounds, after one that does not count.
    batch_size
        Images in one call of a network.
    tiny
        Small networks and photos, two rounds: only to see that it runs.
    """
    check_guard()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    if tiny:
        torch.set_num_threads(1)  # networks as small as these lose more than they gain by a second
    scale = TINY if tiny else Scale(_fill(images, batch_size), rounds, batch_size, TWELVE_MEGAPIXELS)
    try:
        place = choose_placement(device, "bfloat16").device
    except ModelError as error:
        sys.exit(str(error))
    floor = Floor(measure_matrix_rates(place), measure_copies(place))
    photos = sorted(make_photos(work / "photos", scale.images, scale.photo).iterdir())
    figures = [*_floor_figures(floor)]
    for name in networks or NAMES:
        figures += _measure_network(name, place, floor, photos, work, scale)
        _save(work / "gpu.json", place, scale, figures)
        _free(place)
    shutil.rmtree(work / "photos")
    print(_table(place, scale, figures))


def _measure_network(
    name: Name, device: torch.device, floor: Floor, photos: Sequence[Path], work: Path, scale: Scale
) -> list[Figure]:
    checkpoint = save_checkpoint(name, work / f"{name}{'-tiny' if scale.tiny else ''}", tiny=scale.tiny)
    ours = load_ours(checkpoint, device, scale.batch_size)
    prepared = prepare_photo(ours, photos[0])
    size = ours.model.processed_size(*scale.photo[::-1])
    turns = {**_load_our_turns(ours, prepared, scale), **_load_plain_turns(checkpoint, device, size, scale)}
    print(f"{name}:", file=sys.stderr)
    rates = _take_turns(turns, photos, work / "output", scale, device)
    flop = count_flop(make_config(name, tiny=scale.tiny), *size)
    limits = {what: floor.limit(turn.precision) / flop for what, turn in turns.items()}
    if (
        device.type != "cpu"
    ):  # whose limit is that of a moment: others slow it down in one turn, not in the next
        require_possible_rates(name, rates, limits)
    copying = prepared.pixels.nbytes / floor.copies["to"] + _map_bytes(size) / floor.copies["from"]
    figures = [
        Figure("arithmetic of an image", [flop / 1e9], "GFLOP"),
        Figure("what the matrix rate allows", [limits[_ALONE]], "images/s"),
        Figure("what copying there and back allows", [1 / copying], "images/s"),
        *_rate_figures(rates, limits[_ALONE], None if scale.tiny else _GOALS.get(name)),
    ]
    return [replace(figure, what=f"{name}: {figure.what}") for figure in figures]


def _load_our_turns(ours: DepthEstimator, prepared: PreparedFrame, scale: Scale) -> dict[str, Turn]:
    half, native = torch.bfloat16, ours.model.processed_size(*scale.photo[::-1])
    return {
        _ALONE: Turn(run_alone(ours, prepared), scale.images, half),
        _FULL: Turn(run_job(ours, "full"), scale.images, half, _map_bytes(scale.photo)),
        _NATIVE: Turn(run_job(ours, "native"), scale.images, half, _map_bytes(native)),
    }


def _load_plain_turns(
    checkpoint: Path, device: torch.device, size: tuple[int, int], scale: Scale
) -> dict[str, Turn]:
    turns, few = {}, _fill(scale.images // _SLOWER, scale.batch_size)
    for precision in PRECISIONS:
        network = load_plain(checkpoint, device, precision)
        label = f"plain transformers, {_show(precision)}"
        alone, loop = run_plain_alone(network, size, scale.batch_size), run_plain_loop(network, size)
        turns[f"{label}, network alone"] = Turn(alone, few, precision)
        turns[f"{label}, loop, full-size .npy"] = Turn(loop, few, precision, _map_bytes(scale.photo))
    return turns


def require_possible_rates(
    name: str, rates: Mapping[str, Sequence[float]], limits: Mapping[str, float]
) -> None:
    """Refuse more images per second than the matrix rate allows, and a job faster than its network."""
    for what, values in rates.items():
        limit = limits[what]
        if what in (_FULL, _NATIVE):
            limit = min(limit, _ROUNDING * max(rates[_ALONE]))
        for value in values:
            require_possible(f"images/s, {name}, {what}", value, limit)


def _take_turns(
    turns: Mapping[str, Turn], photos: Sequence[Path], output: Path, scale: Scale, device: torch.device
) -> dict[str, list[float]]:
    """Return images per second of every job in every round, A B C A B C, after one of two batches each."""
    rates: dict[str, list[float]] = {what: [] for what in turns}
    for turn in turns.values():
        _time(turn, photos[: min(turn.images, 2 * scale.batch_size)], output, device)
    for _ in range(scale.rounds):
        for what, turn in turns.items():
            seconds = _time(turn, photos[: turn.images], output, device)
            rates[what].append(turn.images / seconds)
            print(f"  {what}: {1e3 * seconds / turn.images:.1f} ms/image", file=sys.stderr, flush=True)
    return rates


def _time(turn: Turn, photos: Sequence[Path], output: Path, device: torch.device) -> float:
    """Time a job into an empty folder, on a disk that has nothing left to write; see that it did its work."""
    shutil.rmtree(output, ignore_errors=True)
    output.mkdir(parents=True)
    os.sync()
    seconds = time_work(device, lambda: turn.job(photos, output))
    sizes = [path.stat().st_size for path in output.rglob("*.npy")]
    wanted = len(photos) if turn.file_bytes else 0
    if len(sizes) != wanted or min(sizes, default=0) < turn.file_bytes:
        raise RuntimeError(
            f"{len(sizes)} maps for {len(photos)} photos, the smallest of {min(sizes, default=0)}"
        )
    shutil.rmtree(output)
    return seconds


def _floor_figures(floor: Floor) -> Iterator[Figure]:
    for precision, rate in floor.matrix_rates.items():
        tf32 = " (TF32 where it has it)" if precision == torch.float32 else ""
        yield Figure(f"matrix products, {_show(precision)}{tf32}", [rate / 1e12], "TFLOP/s")
    for direction, rate in floor.copies.items():
        yield Figure(f"copies {direction} the device", [rate / 1e9], "GB/s")


def _rate_figures(rates: Mapping[str, Sequence[float]], most: float, goal: float | None) -> Iterator[Figure]:
    """Yield the rates and their shares of each other. most: images per second that the matrix rate allows."""
    for what, values in rates.items():
        yield Figure(what, values, "images/s", goal if what == _ALONE else None)
    yield Figure("network alone, of the matrix rate", [each / most for each in rates[_ALONE]], "%")
    for what in (_FULL, _NATIVE):
        shares = _divide(rates[what], rates[_ALONE])
        yield Figure(f"{what}, of the network alone", shares, "%", goal and _SHARE)
    for what, values in rates.items():
        if what.startswith("plain"):
            mine = rates[_ALONE if what.endswith("alone") else _FULL]
            yield Figure(f"ours against {what}", _divide(mine, values), "times as fast")


def _divide(rates: Sequence[float], others: Sequence[float]) -> list[float]:
    """Divide the rates of two jobs, round by round."""
    return [rate / other for rate, other in zip(rates, others, strict=True)]


def _map_bytes(size: tuple[int, int]) -> int:
    """Return the bytes of a float32 map."""
    return 4 * size[0] * size[1]


def _save(path: Path, device: torch.device, scale: Scale, figures: Sequence[Figure]) -> None:
    record = {
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "machine": _machine(device),
        "scale": asdict(scale),
        "figures": [asdict(figure) for figure in figures],
    }
    path.write_text(json.dumps(record, indent=1) + "\n")


def _table(device: torch.device, scale: Scale, figures: Sequence[Figure]) -> str:
    """Return the figures as Markdown, each the median (and extremes) of its rounds."""
    machine = ", ".join(f"{name} {value}" for name, value in _machine(device).items())
    note = "tiny networks: these figures mean nothing; " if scale.tiny else ""
    head = f"{datetime.date.today()}: {note}batches of {scale.batch_size}, {scale.rounds} rounds; {machine}"
    lines = [head, "", "| | measured | goal |", "|---|---|---|"]
    lines += [f"| {figure.what} | {figure} | {figure.goal_text()} |" for figure in figures]
    return "\n".join(lines)


def _machine(device: torch.device) -> dict[str, object]:
    versions = {name: version(name) for name in ("torch", "transformers")}
    return {"device": describe_device(device), "cores": count_cores(), **versions}


def _free(device: torch.device) -> None:
    """Give back what the last network held, so that the next finds the device's memory whole."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()


def _fill(images: int, batch_size: int) -> int:
    """Make a number of images a whole number of batches: a smaller last one would be another shape."""
    return max(1, round(images / batch_size)) * batch_size


def _show(precision: torch.dtype) -> str:
    return str(precision).removeprefix("torch.")


if __name__ == "__main__":
    app()
