"""The questions of the benchmark, each a function that measures and gives the figures that answer it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median

import jobs
from arithmetic import require_possible
from photos import THREE_MEGAPIXELS, TWELVE_MEGAPIXELS, TWO_MEGAPIXELS, make_photos
from race import Run, race

from cortexia_video.models.onnx.session_openvino import choose_precision

_SIMULATED = 30.0  # images per second
_SHARED_MEMORY = Path("/dev/shm/cortexia-benchmark")
_ROUNDING = 1.05  # of shares of a bound that is itself measured, on a machine whose speed drifts


@dataclass(frozen=True, slots=True)
class Scale:
    """How much is measured: rounds, and photos a round."""

    rounds: int
    photos: int
    gpu_rounds: int
    gpu_photos: int
    busy_photos: int
    memory_photos: tuple[int, int]


FULL = Scale(rounds=5, photos=32, gpu_rounds=3, gpu_photos=200, busy_photos=72, memory_photos=(100, 1000))
QUICK = Scale(rounds=1, photos=8, gpu_rounds=1, gpu_photos=24, busy_photos=8, memory_photos=(10, 40))


@dataclass(frozen=True, slots=True)
class Figure:
    """One line of the table: a value for each round. goal: the least that the median must be, if any."""

    what: str
    values: Sequence[float]
    unit: str = ""
    goal: float | None = None

    def __str__(self) -> str:
        middle = self._show(median(self.values))
        if len(self.values) == 1:
            return middle
        return f"{middle} ({self._show(min(self.values))} to {self._show(max(self.values))})"

    def goal_text(self) -> str:
        """Return what was wanted and whether it was reached."""
        if self.goal is None:
            return ""
        return f"{self._show(self.goal)}, {'reached' if median(self.values) >= self.goal else 'MISSED'}"

    def _show(self, value: float) -> str:
        return f"{value:.1%}" if self.unit == "%" else f"{value:.2f} {self.unit}".rstrip()


@dataclass(frozen=True, slots=True)
class Answer:
    """What a section found: figures for the table, and every run behind them by name of the job."""

    figures: list[Figure]
    runs: dict[str, list[Run]]


Section = Callable[[Path, Scale], Answer]


def measure_peers(work: Path, scale: Scale) -> Answer:
    """Measure our job beside the loops of others: same weights, photos and full-size `.npy`."""
    from depth_anything import save_checkpoint  # torch, which the sections without it need not wait for
    from peers import load_pipeline, load_run_py, load_script_loop

    photos, checkpoint = _photos(work, scale.photos), save_checkpoint(work / "checkpoint")
    peers = {
        "script loop": (partial(load_script_loop, checkpoint), 2.9),
        "pipeline, batch 1": (partial(load_pipeline, checkpoint, 1), 2.0),
        "pipeline, batch 4": (partial(load_pipeline, checkpoint, 4), 2.0),
        "run.py loop": (partial(load_run_py, checkpoint), 1.5),
    }
    loads = {
        "ours": partial(jobs.load_ours, checkpoint),
        _DEFAULT: partial(jobs.load_ours_by, checkpoint),
        _LONG: partial(jobs.load_ours_by, checkpoint, **_OPENVINO),
        **{name: load for name, (load, _) in peers.items()},
        "network alone": partial(jobs.load_network_alone, checkpoint, photos[0]),
    }
    runs = race(loads, photos, work / "output", scale.rounds)
    for name in ("ours", _DEFAULT, _LONG, *peers):
        _require_outputs(name, runs[name], TWELVE_MEGAPIXELS)
    least = min(run.seconds for run in runs["network alone"])
    figures = [_rate(name, each) for name, each in runs.items()]
    figures += [
        Figure(f"ours against {name}", _ratios(name, runs, "ours", least), "times as fast", goal)
        for name, (_, goal) in peers.items()
    ]
    of_loop = [run.seconds for run in runs["script loop"]]
    for name in (_DEFAULT, _LONG):
        ratios = [their / run.seconds for their, run in zip(of_loop, runs[name], strict=True)]
        figures.append(Figure(f"{name} against script loop", ratios, "times as fast", 3.0))
    return Answer(figures, runs)


_OPENVINO = {"backend": "openvino", "precision": choose_precision("auto", "cpu")}
_BY_OPENVINO = f"OpenVINO {_OPENVINO['precision']}"
_DEFAULT, _LONG = "ours, one network on all cores", f"ours, {_BY_OPENVINO}"


def measure_gpu(work: Path, scale: Scale) -> Answer:
    """Measure how near our job comes to its bound: beside a GPU that is slower, and one that is faster."""
    cases = {
        "GPU is the limit (2 MP)": TWO_MEGAPIXELS,
        "input and output are the limit (12 MP)": TWELVE_MEGAPIXELS,
    }
    figures, runs = [], {}
    for case, size in cases.items():
        photos = _photos(work, scale.gpu_photos, size)
        loads = {name: partial(jobs.load_simulated_gpu, rate) for name, rate in _GPUS.items()}
        found = race(loads, photos, work / "output", scale.gpu_rounds, _find_impossible)
        for name, each in found.items():
            _require_outputs(name, each, size)
            runs[f"{case}: {name}"] = each
        figures += _bound_figures(case, found["simulated GPU"], found["no cost"])
    return Answer(figures, runs)


_GPUS = {"simulated GPU": _SIMULATED, "no cost": float("inf")}


def _find_impossible(runs: Mapping[str, Sequence[Run]]) -> str | None:
    """Say what the last round shows that cannot be, if anything; its bound may have been measured too slow."""
    run, in_out = runs["simulated GPU"][-1], min(each.seconds for each in runs["no cost"])
    share = max(run.images / _SIMULATED, in_out) / run.seconds
    return None if share <= _ROUNDING else f"{share:.3f} of the bound was measured"


def _bound_figures(case: str, timed: Sequence[Run], free: Sequence[Run]) -> list[Figure]:
    """Compare the job with max(model, input and output); the latter is the job whose model costs nothing."""
    model, in_out = timed[0].images / _SIMULATED, min(run.seconds for run in free)
    for run in timed:
        require_possible("images/s beside the GPU", run.images_per_second, _SIMULATED)
    shares = [
        require_possible(f"share of the bound, {case}", max(model, in_out) / run.seconds, _ROUNDING)
        for run in timed
    ]
    headroom = max(model, in_out) / min(model, in_out)
    return [
        Figure(f"headroom: {case}", [headroom], "times", 1.5),
        Figure(f"share of the bound: {case}", shares, "%", 0.95),
    ]


def measure_busy(work: Path, scale: Scale) -> Answer:
    """Measure how much of the cores a job on them uses, with a disk and with memory to write to."""
    from depth_anything import save_checkpoint

    photos, checkpoint = _photos(work, scale.busy_photos), save_checkpoint(work / "checkpoint")
    places = {"disk": work / "output", "/dev/shm": _SHARED_MEMORY}
    figures, runs = [], {}
    for place, output in places.items():
        loads = {"ours": partial(jobs.load_ours, checkpoint)}
        runs[place] = race(loads, photos, output, scale.gpu_rounds)["ours"]
        _require_outputs(place, runs[place], TWELVE_MEGAPIXELS)
        figures.append(Figure(f"cores busy, output on {place}", _busy(runs[place]), "%", 0.95))
    return Answer(figures, runs)


def measure_memory(work: Path, scale: Scale) -> Answer:
    """Measure peak memory over few and over many photos of 3 megapixels (1,000 of 12 would fill 48 GB)."""
    runs = {}
    for count in scale.memory_photos:
        photos = _photos(work, count, THREE_MEGAPIXELS)
        name = f"{count} photos"
        runs[name] = race({name: jobs.load_compact}, photos, work / "output", rounds=1)[name]
        _require_outputs(name, runs[name], THREE_MEGAPIXELS)
    few, many = (each[0].peak_bytes for each in runs.values())
    figures = [
        Figure(f"peak memory, {name} of 3 MP", [each[0].peak_bytes / 2**20], "MiB")
        for name, each in runs.items()
    ]
    return Answer([*figures, Figure("memory of few / memory of many", [few / many], "%", 0.95)], runs)


def measure_compact(work: Path, scale: Scale) -> Answer:
    """Measure the built-in model by our job beside the plain loop around it."""
    photos = _photos(work, scale.photos)
    loads = {
        "ours": jobs.load_compact,
        "plain loop": jobs.load_compact_loop,
        "model alone": partial(jobs.load_compact_alone, photos[0]),
    }
    runs = race(loads, photos, work / "output", scale.rounds)
    for name in ("ours", "plain loop"):
        _require_outputs(name, runs[name], TWELVE_MEGAPIXELS)
    least = min(run.seconds for run in runs["model alone"])
    ratios = _ratios("plain loop", runs, "ours", least)
    figures = [_rate(f"compact: {name}", each) for name, each in runs.items()]
    figures.append(Figure("compact: ours against plain loop", ratios, "times as fast"))
    figures.append(Figure("compact: cores busy", _busy(runs["ours"]), "%"))
    return Answer(figures, runs)


def measure_native(work: Path, scale: Scale) -> Answer:
    """Measure the built-in model over photos of 12 megapixels where depth is written as the network gives it."""
    photos = _photos(work, scale.gpu_photos)
    loads = {
        "ONNX Runtime": partial(jobs.load_compact, size="native"),
        _BY_OPENVINO: partial(jobs.load_compact, size="native", **_OPENVINO),
        "ONNX Runtime, decode fast": partial(jobs.load_compact, size="native", decode="fast"),
    }
    runs = race(loads, photos, work / "output", scale.gpu_rounds)
    figures = []
    for name, each in runs.items():
        goal = None if "fast" in name else 25.0
        figures.append(Figure(f"native: {name}", [run.images_per_second for run in each], "images/s", goal))
        core = [1e3 * run.core_seconds / run.images for run in each]
        figures.append(Figure(f"native: {name}, an image", core, "ms of a core"))
        figures.append(Figure(f"native: {name}, cores busy", _busy(each), "%"))
    return Answer(figures, runs)


SECTIONS: Mapping[str, Section] = {
    "peers": measure_peers,
    "gpu": measure_gpu,
    "busy": measure_busy,
    "memory": measure_memory,
    "compact": measure_compact,
    "native": measure_native,
}


# ---- figures of runs ---------------------------------------------------------------------------------------


def _photos(work: Path, count: int, size: tuple[int, int] = TWELVE_MEGAPIXELS) -> list[Path]:
    return sorted(make_photos(work / "photos", count, size).iterdir())


def _rate(name: str, runs: Sequence[Run]) -> Figure:
    return Figure(name, [run.images_per_second for run in runs], "images/s")


def _busy(runs: Sequence[Run]) -> list[float]:
    return [require_possible("share of the cores that was busy", run.busy, 1.0) for run in runs]


def _ratios(peer: str, runs: Mapping[str, Sequence[Run]], ours: str, least: float) -> list[float]:
    """Return peer / ours for each round. least: seconds of the network alone; ours cannot take fewer."""
    for run in runs[ours]:
        require_possible(f"images/s of {ours}", run.images_per_second, run.images / least)
    return [
        require_possible(f"{peer} / {ours}", their.seconds / our.seconds, their.seconds / least)
        for their, our in zip(runs[peer], runs[ours], strict=True)
    ]


def _require_outputs(name: str, runs: Sequence[Run], size: tuple[int, int]) -> None:
    """Refuse a race in which somebody wrote fewer or smaller maps than one float32 a pixel of each photo."""
    for run in runs:
        least = 4 * size[0] * size[1] * run.images
        if run.files != run.images or run.file_bytes < least:
            raise RuntimeError(
                f"{name} wrote {run.files} files of {run.file_bytes} bytes for {run.images} photos, "
                f"not {run.images} of {least} or more"
            )
