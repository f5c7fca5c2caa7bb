"""How fast networks run on this processor by each backend and precision, and how far they are from float32.

    pip install -e '.[benchmark]'
    python benchmarks/models.py [vit-252] [vit-518] [convolutional] [--quick] [--work FOLDER]
    python benchmarks/models.py moge --authors CHECKOUT      # of microsoft/MoGe, with what that needs installed
    python benchmarks/models.py da3 --authors CHECKOUT       # of ByteDance-Seed/Depth-Anything-3, the same
    python benchmarks/models.py vda --authors CHECKOUT       # of DepthAnything/Video-Depth-Anything, the same

Random weights take the time that trained ones take. All ways to run a network take turns in one process, the
network alone, on batches of images that were made ready before. Progress goes to stderr, a Markdown table
to stdout, all of it to `models.json` in `--work`. `--quick` only shows that it runs.
"""

from __future__ import annotations

import datetime
import json
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from arithmetic import check_guard
from cyclopts import App
from numpy.typing import NDArray
from photos import THREE_MEGAPIXELS, make_photos
from random_networks import save_checkpoint
from record import note_figures
from safetensors.torch import save_file
from sections import Figure

from cortexia_video import DepthEstimator, Failure, Frame, decode, load_estimator
from cortexia_video.errors import ModelError
from cortexia_video.inference.parity import compare
from cortexia_video.models.onnx.session_openvino import choose_precision
from cortexia_video.models.registry import load_model
from cortexia_video.runtime.resources import count_cores
from cortexia_video.training.export import compact_metadata, export_onnx
from cortexia_video.training.network import DepthNetwork

Section = Literal["vit-252", "vit-518", "convolutional", "moge", "da3", "vda"]
Run = Callable[[], object]

_PACKAGES = ("torch", "transformers", "onnxruntime", "openvino")
_HAS_BFLOAT16 = choose_precision("auto", "cpu") == "bfloat16"  # without its instructions it takes far longer
_WAYS = {
    "torch float32": {"backend": "torch", "precision": "float32"},
    "torch bfloat16, channels last": {"backend": "torch", "precision": "bfloat16"},
    "ONNX Runtime float32": {"backend": "onnx"},
    "OpenVINO float32": {"backend": "openvino", "precision": "float32"},
    "OpenVINO bfloat16": {"backend": "openvino", "precision": "bfloat16"},
}
_WAYS = {name: way for name, way in _WAYS.items() if _HAS_BFLOAT16 or "bfloat16" not in name}
_GOALS = {
    ("vit-252", "OpenVINO bfloat16"): 2.0,
    ("vit-252", "torch bfloat16, channels last"): 1.6,
    ("convolutional", "ONNX Runtime float32"): 2.0,
    ("moge", "torch float32"): 0.97,
    ("moge", "OpenVINO float32"): 1.5,
    ("da3", "torch float32"): 0.97,
    ("da3", "OpenVINO float32"): 1.5,
    ("vda", "torch float32"): 0.97,
}
_PLAIN = "torch float32"
_CONVOLUTIONAL_BATCH = 8
_COMPACT_SIZE = (192, 256)
_DA3_SIZE = (378, 504)
_MOGE_GRID = (30, 40)  # tokens
_VDA_SIZE = (196, 266)

app = App(help=__doc__)


@dataclass(frozen=True, slots=True)
class Scale:
    """How much is measured. images: about so many a turn."""

    rounds: int
    images: int
    batch_size: int


FULL, QUICK = Scale(rounds=5, images=16, batch_size=4), Scale(rounds=2, images=2, batch_size=2)


@app.default
def measure(
    *sections: Section,
    work: Path = Path("runs/models"),
    quick: bool = False,
    rounds: int | None = None,
    authors: Path | None = None,
) -> None:
    """Measure the sections named, or all.

    Parameters
    ----------
    sections
        Depth Anything V2 Small with a short side of 252 or of 518 pixels; the network of `compact`; MoGe-2 with
        ViT-S and 1200 tokens, Depth Anything 3 with ViT-S at 378 x 504, and windows of Video Depth Anything Small
        at 196 x 266, beside their authors' code.
    work
        Folder for photos, weights and models.json.
    quick
        Two rounds of two images.
    rounds
        So many, in place of the usual number.
    authors
        A checkout of the authors' code, for `moge`, `da3` or `vda`.
    """
    check_guard()
    scale = QUICK if quick else FULL
    scale = replace(scale, rounds=rounds or scale.rounds)
    figures: list[Figure] = []
    for section in sections or ("vit-252", "vit-518", "convolutional"):
        if section == "convolutional":
            figures += _measure_convolutional(work, scale)
        elif section == "moge" or section == "da3" or section == "vda":
            if authors is None:
                sys.exit(f"{section} is measured beside its authors' code: give its checkout (--authors)")
            beside = {"moge": _measure_moge, "da3": _measure_da3, "vda": _measure_vda}
            figures += beside[section](authors, work, scale)
        else:
            figures += _measure_transformer(section, int(section.removeprefix("vit-")), work, scale)
        _save(work / "models.json", scale, figures)
    note_figures("networks", figures)
    print(_table(scale, figures))


def _measure_transformer(section: Section, side: int, work: Path, scale: Scale) -> list[Figure]:
    checkpoint = save_checkpoint("depth-anything-v2-small", work / "depth-anything-v2-small")
    frames = _read_frames(work, scale.batch_size)
    ways = {
        name: load_estimator(
            f"hf:{checkpoint}", device="cpu", input_size=side, batch_size=scale.batch_size, **options
        )
        for name, options in _WAYS.items()
    }
    errors = {name: compare(each, ways[_PLAIN], frames) for name, each in ways.items() if name != _PLAIN}
    runs = {name: _prepare(each, frames) for name, each in ways.items()}
    images = scale.images if side < 500 else scale.images // 2
    rates = _take_turns(section, runs, scale.batch_size, replace(scale, images=images))
    figures = [*_rate_figures(section, rates)]
    for name, parity in errors.items():
        figures.append(
            Figure(f"{section}: {name}, mean difference", [100 * parity.worst.mean], "% of the spread")
        )
    return figures


def _measure_convolutional(work: Path, scale: Scale) -> list[Figure]:
    """Run `compact`'s network: as it is in torch, and exported, by both backends."""
    torch.manual_seed(0)
    network = DepthNetwork().eval()
    batch = np.random.default_rng(0).random((_CONVOLUTIONAL_BATCH, 3, *_COMPACT_SIZE), np.float32)
    pixels = torch.from_numpy(batch)

    def run_torch() -> object:
        with torch.no_grad():
            return network(pixels)

    path = work / "convolutional.onnx"
    run_torch()
    runs: dict[str, Run] = {_PLAIN: run_torch}
    plain = DepthNetwork().eval()
    plain.load_state_dict(network.state_dict())
    export_onnx(plain, path, compact_metadata(_COMPACT_SIZE[0], "random"))
    for name in [each for each in _WAYS if not each.startswith("torch")]:
        model = load_estimator(f"onnx:{path}", device="cpu", **_WAYS[name]).model
        runs[name] = _bind(model.infer, batch)
    return [*_rate_figures("convolutional", _take_turns("convolutional", runs, len(batch), scale))]


def _measure_moge(authors: Path, work: Path, scale: Scale) -> list[Figure]:
    """Run MoGe-2 with ViT-S by its authors' `infer` and by ours, one image at a time, on equal weights.

    Both get images that need no resampling, and end with depth, mask and camera; the authors' computes normals always.
    """
    sys.path.insert(0, str(authors))
    from moge.model.v2 import MoGeModel

    config = _shrink_moge(json.loads((authors / "configs/train/v2.json").read_text())["model"])
    torch.manual_seed(0)
    theirs = MoGeModel(**config).eval()
    folder = work / "moge-2-vits"
    folder.mkdir(parents=True, exist_ok=True)
    torch.save({"model_config": config, "model": theirs.state_dict()}, folder / "model.pt")
    rows, columns = _MOGE_GRID
    image = np.random.default_rng(0).integers(0, 256, (14 * rows, 14 * columns, 3), dtype=np.uint8)
    pixels = torch.from_numpy(image).permute(2, 0, 1).float() / 255
    runs: dict[str, Run] = {
        "authors' float32": lambda: theirs.infer(pixels, num_tokens=rows * columns, use_fp16=False)
    }
    ways = {"torch float32, no normals": _WAYS[_PLAIN], **_WAYS}
    for name, options in ways.items():
        also = [] if name.endswith("no normals") else ["normals"]
        estimator = load_estimator(
            f"hf:{folder}", device="cpu", input_size=image.shape[:2], batch_size=1, also=also, **options
        )
        runs[name] = _prepare(estimator, [Frame("a", image)])
    return [*_rate_figures("moge", _take_turns("moge", runs, 1, scale), "authors' float32")]


def _measure_da3(authors: Path, work: Path, scale: Scale) -> list[Figure]:
    """Run Depth Anything 3 with ViT-S by its authors' network and by ours, one image at a time, on equal weights.

    Ours takes 8-bit pixels and ends with depth and sky as arrays; theirs normalised pixels, and ends with tensors.
    """
    sys.path.insert(0, str(authors / "src"))
    from depth_anything_3.cfg import create_object, load_config

    config = load_config(str(authors / "src/depth_anything_3/configs/da3metric-large.yaml"))
    config.net.name, config.net.out_layers, config.head.dim_in = "vits", [2, 5, 8, 11], 384
    config.head.features, config.head.out_channels = 64, [48, 96, 192, 384]
    torch.manual_seed(0)
    theirs = create_object(config).eval()
    for parameter in theirs.parameters():
        fan_in = parameter[0].numel() if parameter.ndim > 1 else 16
        torch.nn.init.normal_(parameter, std=fan_in**-0.5)
    folder = work / "da3-vits"
    folder.mkdir(parents=True, exist_ok=True)
    weights = {f"model.{name}": each.contiguous() for name, each in theirs.state_dict().items()}
    save_file(weights, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps({"model_name": "da3metric-large"}))
    image = np.random.default_rng(0).integers(0, 256, (*_DA3_SIZE, 3), dtype=np.uint8)
    pixels = torch.from_numpy(image).permute(2, 0, 1)[None, None].float() / 255

    def run_theirs() -> object:
        with torch.no_grad():
            return theirs(pixels)

    runs: dict[str, Run] = {"authors' float32": run_theirs}
    for name, options in _WAYS.items():
        estimator = load_estimator(
            f"hf:{folder}", device="cpu", input_size=_DA3_SIZE, batch_size=1, **options
        )
        runs[name] = _prepare(estimator, [Frame("a", image, 500.0, "given")])
    return [*_rate_figures("da3", _take_turns("da3", runs, 1, scale), "authors' float32")]


def _measure_vda(authors: Path, work: Path, scale: Scale) -> list[Figure]:
    """Run windows of Video Depth Anything Small by its authors' network and by ours, one at a time, on equal weights.

    Ours takes 8-bit pixels and ends with an array; theirs normalised pixels, and ends with a tensor.
    """
    sys.path.insert(0, str(authors))
    from video_depth_anything.video_depth import VideoDepthAnything

    torch.manual_seed(0)
    theirs = VideoDepthAnything(encoder="vits", features=64, out_channels=[48, 96, 192, 384]).eval()
    folder = work / "video-depth-anything-small"
    folder.mkdir(parents=True, exist_ok=True)
    torch.save(theirs.state_dict(), folder / "video_depth_anything_vits.pth")
    images = np.random.default_rng(0).integers(0, 256, (1, 32, *_VDA_SIZE, 3), dtype=np.uint8)
    pixels = torch.from_numpy(images).permute(0, 1, 4, 2, 3).float() / 255

    def run_theirs() -> object:
        with torch.no_grad():
            return theirs(pixels)

    runs: dict[str, Run] = {"authors' float32": run_theirs}
    for name, options in _WAYS.items():
        if options["backend"] == "torch":
            model = load_model(f"hf:{folder}", device="cpu", input_size=_VDA_SIZE, **options)
            runs[name] = _bind(model.infer, images)
    rates = _take_turns("vda", runs, 1, replace(scale, images=2))
    return [*_rate_figures("vda", rates, "authors' float32")]


def _shrink_moge(config: dict[str, Any]) -> dict[str, Any]:
    """Return the published architecture with ViT-S in the place of ViT-L."""
    text = (
        json.dumps(config)
        .replace("dinov2_vitl14", "dinov2_vits14")
        .replace("[5, 11, 17, 23]", "[2, 5, 8, 11]")
    )
    return json.loads(text.replace("1026", "386").replace("1024", "384"))


def _bind(infer: Callable[[NDArray[np.float32]], object], batch: NDArray[np.float32]) -> Run:
    return lambda: infer(batch)


def _read_frames(work: Path, count: int) -> list[Frame]:
    make_photos(work / "photos", count, THREE_MEGAPIXELS)
    paths = sorted((work / "photos").rglob("*.jpg"))[:count]
    return [decode(path.read_bytes(), path.name) for path in paths]


def _prepare(estimator: DepthEstimator, frames: Sequence[Frame]) -> Run:
    """Make frames ready, and see that the estimator does them; give what runs them in one batch."""
    prepared = [each for each in map(estimator.prepare, frames) if not isinstance(each, Failure)]
    batch = estimator.stack(prepared)
    for answer in estimator.run(batch):
        if isinstance(answer, ModelError):
            raise answer
    return lambda: estimator.run(batch)


def _take_turns(
    section: str, runs: Mapping[str, Run], batch_size: int, scale: Scale
) -> dict[str, list[float]]:
    """Return images per second of every way in every round: A B C A B C, each after one not counted."""
    rates: dict[str, list[float]] = {name: [] for name in runs}
    calls = max(1, scale.images // batch_size)
    for _ in range(scale.rounds):
        for name, run in runs.items():
            run()
            started = time.perf_counter()
            for _ in range(calls):
                run()
            rates[name].append(calls * batch_size / (time.perf_counter() - started))
            print(f"  {section}, {name}: {rates[name][-1]:.2f} images/s", file=sys.stderr, flush=True)
    return rates


def _rate_figures(
    section: Section, rates: Mapping[str, Sequence[float]], against: str = _PLAIN
) -> Iterator[Figure]:
    for name, values in rates.items():
        yield Figure(f"{section}: {name}", values, "images/s")
    for name, values in rates.items():
        if name != against:
            ratios = [value / plain for value, plain in zip(values, rates[against], strict=True)]
            goal = _GOALS.get((section, name))
            yield Figure(f"{section}: {name}, against {against}", ratios, "times as fast", goal)


def _save(path: Path, scale: Scale, figures: Sequence[Figure]) -> None:
    record = {
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "cores": count_cores(),
        "versions": {name: version(name) for name in _PACKAGES},
        "scale": asdict(scale),
        "figures": [asdict(figure) for figure in figures],
    }
    path.write_text(json.dumps(record, indent=1) + "\n")


def _table(scale: Scale, figures: Sequence[Figure]) -> str:
    """Return the figures as Markdown, each the median (and extremes) of its rounds."""
    versions = ", ".join(f"{name} {version(name)}" for name in _PACKAGES)
    rounds = f"batches of {scale.batch_size}, {scale.rounds} rounds, {count_cores()} cores"
    lines = [f"{datetime.date.today()}: {rounds}; {versions}", "", "| | measured | goal |", "|---|---|---|"]
    lines += [f"| {figure.what} | {figure} | {figure.goal_text()} |" for figure in figures]
    return "\n".join(lines)


if __name__ == "__main__":
    app()
