"""Measure video: flicker against the truth, memory by length, speed against a plain loop.

    cortexia scenes --count 1 --output moves/orbit --move orbit --kinds room --frames 40 --size 360 480
    python benchmarks/video.py flicker moves/orbit moves/dolly ...    # rendered moves: true motion and depth
    python benchmarks/video.py picture moves/orbit docs/images/flicker.jpg      # a row of pixels over the frames
    python benchmarks/video.py sequence FOLDER 'fr1-*'                # rgb, depth of TUM RGB-D, 5000 a metre
    python benchmarks/video.py memory clip.mp4 200 2000               # peak of a process of its own, for each
    python benchmarks/video.py speed clip.mp4 200 [openvino,bfloat16]       # interleaved with plain PyAV loops
    python benchmarks/video.py overlap clip.mp4 200                   # beside a device that is simulated: it sleeps

tce: mean change of the prediction along the true motion less the change of the truth, one scale and shift a
clip, % of the prediction's range. change: of the prediction along the motion that OpenCV finds, % of its range.
absrel: scale and shift of inverse depth fitted for each frame.
"""

from __future__ import annotations

import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from sleeping_model import SleepingModel

from cortexia_video import (
    DepthEstimator,
    Failure,
    Frame,
    colored_depthmap,
    estimate,
    load_estimator,
    open_dataset,
    read_depth,
)
from cortexia_video.images.resampling import resize_depth
from cortexia_video.video.depth_clip import DepthClip
from cortexia_video.video.frames import write_frames
from cortexia_video.video.optical_flow import sample

Array = NDArray[np.float32]
ROUNDS = 3
FARTHEST_M = 80
PANEL = (576, 280)  # pixels, of the picture


def run(clip: Path, out: Path, estimator: DepthEstimator, steady: str) -> list[Array]:
    """Return the depth of a clip as a run writes it."""
    estimate(clip, out, model=estimator, steady=steady)
    with DepthClip(out / f"{clip.name}.mkv") as depth:
        return [each.values for each in depth]


def read_poses(path: Path) -> list[NDArray[np.float64]]:
    poses = []
    for _, *place, x, y, z, w in np.loadtxt(path).tolist():
        pose = np.eye(4)
        pose[:3, :3] = [
            [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
            [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
            [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
        ]
        pose[:3, 3] = place
        poses.append(pose)
    return poses


def follow(depth_m: Array, then_m: Array, motion: NDArray[np.float64], f_px: float) -> tuple[Array, ...]:
    """Return rows and columns of where each pixel is in the next frame, its depth there, and whether it is seen."""
    height, width = depth_m.shape
    rows, columns = np.indices(depth_m.shape, np.float32)
    x, y = (columns - width / 2 + 0.5) / f_px, (rows - height / 2 + 0.5) / f_px
    points = np.stack([x * depth_m, y * depth_m, depth_m], -1) @ motion[:3, :3].T + motion[:3, 3]
    with np.errstate(invalid="ignore", divide="ignore"):
        to_column = points[..., 0] / points[..., 2] * f_px + width / 2 - 0.5
        to_row = points[..., 1] / points[..., 2] * f_px + height / 2 - 0.5
        known = np.isfinite(points).all(-1) & (points[..., 2] > 0)
        to_row, to_column = np.where(known, to_row, -9), np.where(known, to_column, -9)
        (there,), inside = sample([then_m], to_row.astype(np.float32), to_column.astype(np.float32))
        seen = known & inside & (np.abs(there / points[..., 2] - 1) < 0.02) & (depth_m < FARTHEST_M)
    return to_row.astype(np.float32), to_column.astype(np.float32), points[..., 2].astype(np.float32), seen


def measure_tce(
    maps: list[Array], truth: list[Array], poses: list[NDArray[np.float64]], f_px: float
) -> float:
    near = [each < FARTHEST_M for each in truth]
    inverse = np.concatenate([1 / each[which] for each, which in zip(truth, near, strict=True)]).astype(float)
    values = np.concatenate([each[which] for each, which in zip(maps, near, strict=True)]).astype(float)
    scale = np.polyfit(inverse, values, 1)[0]
    spread = float(np.ptp(values))
    changes = []
    for index, (before, after) in enumerate(pairwise(maps)):
        motion = np.linalg.inv(poses[index + 1]) @ poses[index]
        rows, columns, depth_m, seen = follow(truth[index], truth[index + 1], motion, f_px)
        (moved,), _ = sample([after], rows, columns)
        change = (moved - before)[seen] - scale * (1 / depth_m - 1 / truth[index])[seen]
        changes.append(float(np.abs(change).mean()))
    return 100 * float(np.mean(changes)) / spread


def measure_absrel(maps: list[Array], truth: list[Array]) -> float:
    errors = []
    for values, depth_m in zip(maps, truth, strict=True):
        known = np.isfinite(depth_m) & (depth_m > 0) & (depth_m < FARTHEST_M)
        true, seen = depth_m[known], values[known]
        scale, shift = np.polyfit(seen, 1 / true, 1)
        fitted = 1 / np.maximum(scale * seen + shift, 1 / FARTHEST_M)
        errors.append(float((np.abs(fitted - true) / true).mean()))
    return float(np.mean(errors))


def measure_flicker(folders: list[Path]) -> None:
    estimator, rows = load_estimator("compact"), []
    for folder in folders:
        samples = [*open_dataset("rgbd", folder)]
        truth = [np.asarray(each.depth.values) for each in samples]
        (clip,), (poses,) = folder.glob("clips/*.mkv"), folder.glob("clips/*.poses.txt")
        found = {}
        for steady in ("off", "mean"):
            with tempfile.TemporaryDirectory() as out:
                maps = [
                    resize_depth(each, *truth[0].shape) for each in run(clip, Path(out), estimator, steady)
                ]
            tce = measure_tce(maps, truth, read_poses(poses), samples[0].camera.fx)
            found[steady] = tce, measure_absrel(maps, truth)
        rows.append((found["off"], found["mean"]))
        (tce, absrel), (steadied, absrel_steadied) = found["off"], found["mean"]
        print(
            f"{folder.name}: tce {tce:.2f} -> {steadied:.2f} ({steadied / tce:.2f}), "
            f"absrel {absrel:.4f} -> {absrel_steadied:.4f}",
            flush=True,
        )
    off, mean = np.array(rows).mean(0)
    print(
        f"all: tce {off[0]:.2f} -> {mean[0]:.2f} ({mean[0] / off[0]:.2f}), absrel {off[1]:.4f} -> {mean[1]:.4f}"
    )


def draw_picture(folder: str, out: str) -> None:
    """Draw a row of pixels over the frames of a move, time runs down: without and with the filter."""
    estimator, (clip,) = load_estimator("compact"), Path(folder).glob("clips/*.mkv")
    panels = []
    for steady, title in (("off", "--steady off"), ("mean", "--steady mean (default)")):
        with tempfile.TemporaryDirectory() as work:
            maps = run(clip, Path(work), estimator, steady)
        row = np.stack([each[len(each) // 2] for each in maps])
        panels.append((title, row))
    ends = float(min(row.min() for _, row in panels)), float(max(row.max() for _, row in panels))
    page = Image.new("RGB", (2 * PANEL[0] + 20, PANEL[1] + 26), "white")
    for number, (title, row) in enumerate(panels):
        image = Image.fromarray(colored_depthmap(row, *ends))
        left = number * (PANEL[0] + 20)
        page.paste(image.resize(PANEL, Image.Resampling.NEAREST), (left, 26))
        ImageDraw.Draw(page).text((left + 4, 5), title, fill="black", font_size=12)
    page.save(out, quality=85)


def measure_sequence(folder: Path, names: str = "*") -> None:
    import cv2

    estimator = load_estimator("compact")
    images = [np.asarray(Image.open(path).convert("RGB")) for path in sorted((folder / "rgb").glob(names))]
    truth = [
        np.asarray(Image.open(path), np.float32) / 5000 for path in sorted((folder / "depth").glob(names))
    ]
    truth = [np.where(each > 0, each, np.nan).astype(np.float32) for each in truth]
    greys = [cv2.cvtColor(each, cv2.COLOR_RGB2GRAY) for each in images]
    flow = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    moves = [flow.calc(before, after, None) for before, after in pairwise(greys)]
    with tempfile.TemporaryDirectory() as work:
        clip = Path(work) / "clip.mkv"
        with clip.open("w+b") as file:
            write_frames(file, images, 30)
        found = {}
        for steady in ("off", "mean"):
            maps = [
                resize_depth(each, *truth[0].shape)
                for each in run(clip, Path(work) / steady, estimator, steady)
            ]
            changes, (rows, columns) = [], np.indices(truth[0].shape, np.float32)
            for (before, after), move, (seen, then) in zip(
                pairwise(maps), moves, pairwise(greys), strict=True
            ):
                places = rows + move[..., 1], columns + move[..., 0]
                (moved, grey), inside = sample([after, then.astype(np.float32)], *places)
                same = inside & (np.abs(grey - seen) < 15)
                changes.append(float(np.abs(moved - before)[same].mean()))
            spread = max(float(each.max()) for each in maps) - min(float(each.min()) for each in maps)
            found[steady] = 100 * float(np.mean(changes)) / spread, measure_absrel(maps, truth)
    (change, absrel), (steadied, absrel_steadied) = found["off"], found["mean"]
    print(
        f"{folder.name}: change {change:.2f} -> {steadied:.2f} ({steadied / change - 1:+.0%}), "
        f"absrel {absrel:.4f} -> {absrel_steadied:.4f} ({absrel_steadied / absrel - 1:+.1%})"
    )


def estimate_alone(clip: str, frames: str, out: str) -> None:
    """In a process of its own: run, and print its peak of memory."""
    report = estimate(clip, out, frames=f"0:{frames}")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{frames} frames: peak {peak:.0f} MB; {report}", flush=True)


def measure_memory(clip: str, counts: list[str]) -> None:
    for count in counts:
        with tempfile.TemporaryDirectory() as out:
            subprocess.run([sys.executable, __file__, "alone", clip, count, out], check=True)


def decode_plainly(clip: str, count: int) -> Iterator[NDArray[np.uint8]]:
    import av

    with av.open(clip) as container:
        for _, frame in zip(range(count), container.decode(video=0), strict=False):
            yield frame.to_ndarray(format="rgb24")


def loop_plainly(clip: str, count: int, estimator: DepthEstimator, write: Callable[..., object]) -> None:
    """Write a full-size PNG of 16 bits for each frame."""
    with tempfile.TemporaryDirectory() as work:
        for number, image in enumerate(decode_plainly(clip, count)):
            values = estimator(Frame(str(number), image)).values
            low, high = values.min(), values.max()
            write(f"{work}/{number:06}.png", ((values - low) / (high - low) * 65535).astype(np.uint16))


def measure_speed(clip: str, count: int, chosen: str = "") -> None:
    """Compare core seconds and wall seconds: ours, and loops over PyAV, the same network and PNG.

    chosen: the backend that a long run chooses, with its precision: ours is run by it, too. The loops run the
    network's file by ONNX Runtime, as people do.
    """
    import cv2

    estimator = load_estimator("compact")
    backend, _, precision = chosen.partition(",")
    fast = load_estimator("compact", backend=backend or "auto", precision=precision or "auto")

    def run_ours(model: DepthEstimator) -> None:
        with tempfile.TemporaryDirectory() as work:
            estimate(clip, work, model=model, frames=f"0:{count}")

    frames = [estimator.prepare(Frame("", image)) for image in decode_plainly(clip, count)]
    batches = [
        [each for each in frames[at : at + 4] if not isinstance(each, Failure)] for at in range(0, count, 4)
    ]

    def run_network(model: DepthEstimator) -> None:
        for batch in batches:
            model.run(model.stack(batch), batch[0].estimate_fov)

    ways: dict[str, Callable[[], None]] = {
        "ours": lambda: run_ours(fast),
        "ours by the reference": lambda: run_ours(estimator),
        "the network alone": lambda: run_network(fast),
        "the network alone by the reference": lambda: run_network(estimator),
        "OpenCV's PNG": lambda: loop_plainly(clip, count, estimator, cv2.imwrite),
        "Pillow's PNG": lambda: loop_plainly(
            clip, count, estimator, lambda name, values: Image.fromarray(values).save(name)
        ),
    }
    ratios: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
    for _ in range(ROUNDS):
        ours = 1.0, 1.0
        for name, work in ways.items():
            wall, core = time.perf_counter(), time.process_time()
            work()
            seconds = time.perf_counter() - wall, time.process_time() - core
            ours = seconds if name == "ours" else ours
            ratios[name].append((seconds[0] / ours[0], seconds[1] / ours[1]))
            print(
                f"{name}: {seconds[0] / count * 1e3:.1f} ms, {seconds[1] / count * 1e3:.1f} of a core",
                flush=True,
            )
    for name in [*ways][1:]:
        each = [
            f"{middle:.2f} ({low:.2f} to {high:.2f})"
            for low, middle, high in np.quantile(ratios[name], (0, 0.5, 1), axis=0).T
        ]
        print(f"{name} / ours: {each[0]} by the clock, {each[1]} of the cores")


def measure_overlap(clip: str, count: int) -> None:
    """Compare a run with the slower of its device and all else, where one of both has 1.5 times the speed."""

    def run_beside(seconds: float) -> float:
        estimator = DepthEstimator(SleepingModel(seconds), batch_size=4)
        began = time.perf_counter()
        with tempfile.TemporaryDirectory() as work:
            estimate(clip, work, model=estimator, frames=f"0:{count}")
        return (time.perf_counter() - began) / count

    for _ in range(ROUNDS):
        rest = run_beside(0.0)
        slow, fast = run_beside(1.5 * rest), run_beside(rest / 1.5)
        print(
            f"all but the device {rest * 1e3:.1f} ms a frame; share of the bound: {1.5 * rest / slow:.1%} where the "
            f"device is the limit, {rest / fast:.1%} where all else is",
            flush=True,
        )


def measure_reading(clip: str) -> None:
    """Read frames of a clip of depth by number."""
    with DepthClip(clip) as depth:
        count = len(depth)
    numbers = np.random.default_rng(0).integers(0, count, 20).tolist()
    began = time.process_time()
    for number in numbers:
        read_depth(f"{clip}#{number}")
    print(f"read_depth('{Path(clip).name}#n'): {(time.process_time() - began) / 20 * 1e3:.1f} ms")
    with DepthClip(clip) as depth:
        began = time.process_time()
        for number in numbers:
            depth.read(number)
        print(f"an open DepthClip: {(time.process_time() - began) / 20 * 1e3:.1f} ms")


def main() -> None:
    what, *rest = sys.argv[1:]
    if what == "flicker":
        measure_flicker([Path(each) for each in rest])
    elif what == "sequence":
        measure_sequence(Path(rest[0]), *rest[1:])
    elif what == "picture":
        draw_picture(*rest)
    elif what == "overlap":
        measure_overlap(rest[0], int(rest[1]))
    elif what == "memory":
        measure_memory(rest[0], rest[1:])
    elif what == "alone":
        estimate_alone(*rest)
    elif what == "read":
        measure_reading(rest[0])
    else:
        measure_speed(rest[0], int(rest[1]), *rest[2:])


if __name__ == "__main__":
    main()
