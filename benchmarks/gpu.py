"""How fast depth networks of published size run on a GPU: ours, plain transformers, and what is possible.

    pip install -e '.[benchmark]'
    python benchmarks/gpu.py [depth-pro] [moge-2-vitl-normal] [da3metric-large] ... [--device cuda] [--work FOLDER]

Random weights, 12-megapixel JPEGs. All jobs of a network take turns in one process, so each finds the device
as the others left it. Ours runs as it is (channels last, page-locked memory, copies that nobody waits for), and besides
compiled by shape, as a CUDA graph and on two streams; each of these is first compared with float32, and left out
where it is further off than 1 % on average. A turn that shows what cannot be is repeated. Progress goes to
stderr, a Markdown table to stdout, all of it to `gpu.json` in
`--work`, which needs 10 GB, most of it for the outputs of one turn. `--device cpu --tiny` shows that it runs.
"""

from __future__ import annotations

import datetime
import gc
import json
import math
import os
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from arithmetic import ImpossibleFigureError, check_guard, require_possible
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
from device_ways import ReplayedNetwork, decode_on, run_on_streams
from own_networks import OWN, OwnName, count_own_flop, save_own
from photos import TWELVE_MEGAPIXELS, make_photos
from race import Job
from random_networks import NAMES, Name, count_flop, make_config, save_checkpoint
from record import note_figures
from sections import Figure
from transformers.utils import logging

from cortexia_video import DepthEstimator
from cortexia_video.depth_estimation import PreparedFrame
from cortexia_video.errors import ModelError, ParityError
from cortexia_video.images.decode import decode
from cortexia_video.inference.parity import compare
from cortexia_video.models.torch.device import choose_placement
from cortexia_video.runtime.resources import count_cores

_GOALS = {"depth-pro": 25.0}  # images per second of the network alone, on an H200
_SHARE = 0.95  # of that, for the whole job
_ROUNDING = 1.02  # of shares of a bound that is itself the best of a few measurements
_SLOWER = 4  # times fewer images for the plain network
_FURTHEST = 0.01  # of a way's depth from float32's, on average
_COMPARED = 2  # photos
_TRIES = 3  # of a turn that shows what cannot be
_COMPILED, _GRAPH, _TWO = (
    f"ours, bfloat16, {way}, network alone" for way in ("compiled", "CUDA graph", "two streams")
)
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
    *networks: Name | OwnName,
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
    refused = []
    for name in networks or (*NAMES, *OWN):
        try:
            figures += _measure_network(name, place, floor, photos, work, scale)
        except ImpossibleFigureError as error:  # of this network alone
            refused.append(f"{name}: no figures, since {error}: measure it again")
        _save(work / "gpu.json", place, scale, figures)
        _free(place)
    figures += _decoding_figures(place, photos, scale)
    _save(work / "gpu.json", place, scale, figures)
    note_figures("gpu", figures)
    shutil.rmtree(work / "photos")
    print("\n\n".join([_table(place, scale, figures), *refused]))
    sys.exit(1 if refused else 0)


def _measure_network(
    name: Name | OwnName, device: torch.device, floor: Floor, photos: Sequence[Path], work: Path, scale: Scale
) -> list[Figure]:
    folder = work / f"{name}{'-tiny' if scale.tiny else ''}"
    is_own = name in OWN
    save = save_own if is_own else save_checkpoint
    checkpoint = save(name, folder, tiny=scale.tiny)
    ours = load_ours(checkpoint, device, scale.batch_size)
    f_px = float(scale.photo[0]) if name == "da3metric-large" else None
    prepared = prepare_photo(ours, photos[0], f_px)
    size = ours.model.processed_size(*scale.photo[::-1])
    print(f"{name}:", file=sys.stderr)
    turns = _load_our_turns(ours, prepared, scale, f_px)
    ways, errors = _load_ways(checkpoint, ours, device, photos, scale)
    turns |= {
        what: Turn(run_alone(way, prepared), scale.images, torch.bfloat16) for what, way in ways.items()
    }
    if not is_own:
        turns |= _load_plain_turns(checkpoint, device, size, scale)
    flop = (
        count_own_flop(name, *size, tiny=scale.tiny)
        if is_own
        else count_flop(make_config(name, tiny=scale.tiny), *size)
    )
    # of a processor the limit is that of a moment: others slow it down in one turn, not in the next
    limits = {
        what: floor.limit(turn.precision) / flop if device.type != "cpu" else math.inf
        for what, turn in turns.items()
    }
    rates = _take_turns(turns, photos, work / "output", scale, device, limits)
    if device.type != "cpu":
        require_possible_rates(name, rates, limits)
    copying = prepared.pixels.nbytes / floor.copies["to"] + _map_bytes(size) / floor.copies["from"]
    figures = [
        Figure("arithmetic of an image", [flop / 1e9], "GFLOP"),
        Figure("what the matrix rate allows", [floor.limit(torch.bfloat16) / flop], "images/s"),
        Figure("what copying there and back allows", [1 / copying], "images/s"),
        *(
            Figure(f"{what}, mean difference from float32", [100 * each], "%, off")
            for what, each in errors.items()
        ),
        *_rate_figures(rates, floor.limit(torch.bfloat16) / flop, None if scale.tiny else _GOALS.get(name)),
    ]
    return [replace(figure, what=f"{name}: {figure.what}") for figure in figures]


def _load_ways(
    checkpoint: Path, ours: DepthEstimator, device: torch.device, photos: Sequence[Path], scale: Scale
) -> tuple[dict[str, DepthEstimator], dict[str, float]]:
    """Load the other ways to run our network that give its depth; and how far each is from float32."""
    reference = load_ours(checkpoint, device, scale.batch_size, "float32")
    frames = [
        replace(decode(each.read_bytes(), each.name), f_px=float(scale.photo[0]), f_source="given")
        for each in photos[:_COMPARED]
    ]
    ways: dict[str, DepthEstimator] = {}
    for what in (_COMPILED, _GRAPH):
        ways[what] = load_ours(checkpoint, device, scale.batch_size)
        model: Any = ways[what].model
        if what == _COMPILED:
            model._network.compile(backend="inductor" if device.type == "cuda" else "eager", dynamic=False)
        else:
            model._network = ReplayedNetwork(model._network)
    errors = {}
    for what, way in {_ALONE: ours, **ways}.items():
        try:
            errors[what] = compare(way, reference, frames, together=scale.batch_size).worst.mean
        except ParityError as error:
            print(f"  {what} is left out: {error}", file=sys.stderr)
            ways.pop(what, None)
            continue
        if errors[what] > _FURTHEST and not scale.tiny and what in ways:
            print(f"  {what} is left out: {errors[what]:.2%} off", file=sys.stderr)
            del ways[what]
    return ways, errors


def _decoding_figures(device: torch.device, photos: Sequence[Path], scale: Scale) -> list[Figure]:
    """Measure nvJPEG, where torchvision and the device have it."""
    found = decode_on(device, photos)
    if found is None:
        print("nvJPEG: not measured (no torchvision, or no CUDA)", file=sys.stderr)
        return []
    job, off = found
    rates = [
        len(photos) / time_work(device, lambda: job(photos, photos[0].parent))
        for _ in range(1 + scale.rounds)
    ]
    return [
        Figure("nvJPEG, one stream", rates[1:], "images/s"),
        Figure("nvJPEG, mean difference from libjpeg", [off], "levels"),
    ]


def _load_our_turns(
    ours: DepthEstimator, prepared: PreparedFrame, scale: Scale, f_px: float | None
) -> dict[str, Turn]:
    half, native = torch.bfloat16, ours.model.processed_size(*scale.photo[::-1])
    return {
        _ALONE: Turn(run_alone(ours, prepared), scale.images, half),
        _TWO: Turn(run_on_streams(ours, prepared), scale.images, half),
        _FULL: Turn(run_job(ours, "full", f_px), scale.images, half, _map_bytes(scale.photo)),
        _NATIVE: Turn(run_job(ours, "native", f_px), scale.images, half, _map_bytes(native) // 2),
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
    turns: Mapping[str, Turn],
    photos: Sequence[Path],
    output: Path,
    scale: Scale,
    device: torch.device,
    limits: Mapping[str, float],
) -> dict[str, list[float]]:
    """Return images per second of every job in every round, A B C A B C, after one of two batches each.

    A turn that is faster than its limit is repeated, and that is said.
    """
    rates: dict[str, list[float]] = {what: [] for what in turns}
    for turn in turns.values():
        _time(turn, photos[: min(turn.images, 2 * scale.batch_size)], output, device)
    for _ in range(scale.rounds):
        for what, turn in turns.items():
            for _ in range(_TRIES):
                seconds = _time(turn, photos[: turn.images], output, device)
                if turn.images / seconds <= limits[what]:
                    break
                print(f"  {what}: faster than is possible, repeated", file=sys.stderr, flush=True)
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
