"""Time and memory of `cortexia align` with a large COLMAP model: `python benchmarks/alignment.py FOLDER`.

The model has as many images and points as asked for, each point seen by six images, and as many features without a
point as with one. All cameras are at one place and look one way, so that a map of each image is the same slope, in
a scale and shift of its own; a fifth of the points is wrong. Depth is that of a network at native size.
"""

from __future__ import annotations

import argparse
import json
import resource
import struct
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import cortexia_video as cx

WIDTH, HEIGHT, F_PX = 4000, 3000, 3000.0
ROWS, COLUMNS = 252, 336
VIEWS = 6  # of a point


def find_metres(x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the depth of a slope at shares of the width and height."""
    return 1 / (0.08 + 0.5 * y + 0.05 * np.sin(6 * x))


def write_model(folder: Path, images: int, points: int) -> None:
    folder.mkdir(parents=True)
    random = np.random.default_rng(0)
    x, y = random.uniform(0, 1, (2, points))
    z = find_metres(x, y) * np.where(random.random(points) < 0.2, random.uniform(1.2, 3, points), 1)
    pixels = np.stack([x * WIDTH, y * HEIGHT], axis=1)
    camera = struct.pack("<QIiQQ4d", 1, 1, 1, WIDTH, HEIGHT, F_PX, F_PX, WIDTH / 2, HEIGHT / 2)
    (folder / "cameras.bin").write_bytes(camera)
    ids = np.arange(1, points + 1)
    with (folder / "images.bin").open("wb") as file:
        file.write(struct.pack("<Q", images))
        step = images // VIEWS + 1
        for number in range(images):
            seen = np.concatenate(
                [np.arange((number - k * step) % images, points, images) for k in range(VIEWS)]
            )
            rows = np.zeros(2 * len(seen), [("xy", "<f8", 2), ("id", "<i8")])
            rows["id"] = -1
            rows["xy"][::2], rows["id"][::2] = pixels[seen], ids[seen]
            pose = (1.0, 0, 0, 0, 0, 0, 0)
            file.write(struct.pack("<I7dI", number + 1, *pose, 1) + f"{number:06}.jpg".encode() + b"\0")
            file.write(struct.pack("<Q", len(rows)) + rows.tobytes())
    record = [
        ("id", "<u8"),
        ("xyz", "<f8", 3),
        ("rgb", "u1", 3),
        ("error", "<f8"),
        ("length", "<u8"),
        ("track", "<u4", 12),
    ]
    with (folder / "points3D.bin").open("wb") as file:
        file.write(struct.pack("<Q", points))
        for begin in range(0, points, 1 << 18):
            part = slice(begin, begin + (1 << 18))
            rows = np.zeros(len(ids[part]), record)
            rows["id"], rows["error"], rows["length"] = ids[part], 0.6, VIEWS
            rays = (pixels[part] - (WIDTH / 2, HEIGHT / 2)) / F_PX
            rows["xyz"] = np.column_stack([rays * z[part, None], z[part]])
            file.write(rows.tobytes())


def write_depth(folder: Path, images: int) -> None:
    folder.mkdir(parents=True)
    columns, rows = np.meshgrid((np.arange(COLUMNS) + 0.5) / COLUMNS, (np.arange(ROWS) + 0.5) / ROWS)
    inverse = 1 / find_metres(columns, rows)
    for number in range(images):
        values = ((inverse - 0.001 * (number % 9)) / (0.1 + number % 7)).astype(np.float32)
        depth = cx.DepthMap(values, "disparity", full_size=(HEIGHT, WIDTH), model="m")
        cx.write_depth(depth, folder / f"{number:06}.jpg.npz")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--images", type=int, default=10_000)
    parser.add_argument("--points", type=int, default=5_000_000)
    given = parser.parse_args()
    root = given.folder
    if not root.exists():
        write_model(root / "sparse", given.images, given.points)
        write_depth(root / "depth", given.images)
    command = [
        sys.executable,
        "-m",
        "cortexia_video",
        "align",
        str(root / "depth"),
        "--colmap",
        str(root / "sparse"),
    ]
    started = time.monotonic()
    subprocess.run([*command, "--output", str(root / "metric"), "--format", "npz", "--overwrite"], check=True)
    seconds = time.monotonic() - started
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    peak = used.ru_maxrss / 1024
    shares = [
        line["alignment"]["residual_share"]
        for line in cx.read_ledger(root / "metric")
        if line.get("outcome") == "done"
    ]
    said = {
        "images": given.images,
        "points": given.points,
        "seconds": round(seconds, 1),
        "core_seconds": round(used.ru_utime + used.ru_stime, 1),
        "peak_mib": round(peak),
    }
    print(json.dumps({**said, "median_residual": round(float(np.median(shares)), 5)}))


if __name__ == "__main__":
    main()
