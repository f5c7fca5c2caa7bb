"""Small datasets in the layouts that their authors publish, of one image and its depth in metres."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

HEIGHT, WIDTH = 48, 64
RAYS = (0.6, 0.0, 0.02, 0.0, 0.45, -0.01, 0.0, 0.0, -1.0)  # of a pinhole whose axis is off the middle


class Scene(NamedTuple):
    """image: uint8 (H, W, 3). depth_m: float32 (H, W), whole multiples of 1/256 m, NaN where unknown."""

    image: np.ndarray
    depth_m: np.ndarray


def make_scene(seed: int = 0) -> Scene:
    random = np.random.default_rng(seed)
    image = np.kron(random.integers(0, 256, (6, 8, 3)), np.ones((8, 8, 1))).astype(np.uint8)
    depth = (random.integers(128, 2048, (HEIGHT, WIDTH)) / 256).astype(np.float32)
    depth[random.random((HEIGHT, WIDTH)) < 0.2] = np.nan
    return Scene(image, depth)


def save(pixels: np.ndarray, path: Path, **options: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, **options)
    return path


def write(text: str, path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def whole(depth_m: np.ndarray, per_metre: float, unknown: int = 0) -> np.ndarray:
    numbers = np.rint(np.nan_to_num(depth_m) * per_metre)
    return np.where(np.isnan(depth_m), unknown, numbers).astype(np.uint16)


def make_rgbd(root: Path, scene: Scene, count: int, **words: Any) -> None:
    for number in range(count):
        save(scene.image, root / f"rgb/{number}.png")
        save(whole(scene.depth_m, 1000), root / f"depth/{number}.png")
    frames = [{"name": str(n), "rgb": f"rgb/{n}.png", "depth": f"depth/{n}.png"} for n in range(count)]
    camera = {"fx": 60.0, "fy": 61.0, "cx": 31.5, "cy": 23.5}
    about = {"name": "made", "frames": frames, "depth_scale": 1000, "max_depth_m": 6.0, "intrinsics": camera}
    write(json.dumps({**about, "registered": True, **words}), root / "set.json")


def make_pairs(root: Path, scene: Scene, count: int) -> None:
    for number in range(count):
        save(scene.image, root / f"rgb/{number}.png")
        save(whole(scene.depth_m, 5000), root / f"depth/{number}.png")


def make_kitti(root: Path, scene: Scene, count: int) -> None:
    day, drive = "2011_09_26", "2011_09_26_drive_0001_sync"
    for number in range(count):
        name = f"{number:010d}.png"
        save(scene.image, root / day / drive / "image_02/data" / name)
        save(whole(scene.depth_m, 256), root / "train" / drive / "proj_depth/groundtruth/image_02" / name)
    matrix = "60.0 0 31.5 44.8 0 61.0 23.5 0.2 0 0 1 0.003"
    write(f"calib_time: 09-Jan-2012\nP_rect_02: {matrix}\n", root / day / "calib_cam_to_cam.txt")


def make_tum(root: Path, scene: Scene, count: int) -> None:
    sequence = root / "rgbd_dataset_freiburg1_made"
    colours, depths = ["# color images", "# timestamp filename"], ["# depth maps"]
    for number in range(count):
        time, later = 1305031453.359684 + number / 30, 1305031453.374112 + number / 30
        save(scene.image, sequence / f"rgb/{time:.6f}.png")
        save(whole(scene.depth_m, 5000), sequence / f"depth/{later:.6f}.png")
        colours.append(f"{time:.6f} rgb/{time:.6f}.png")
        depths.append(f"{later:.6f} depth/{later:.6f}.png")
    write("\n".join(colours), sequence / "rgb.txt")
    write("\n".join(depths), sequence / "depth.txt")


def make_sunrgbd(root: Path, scene: Scene, count: int) -> None:
    from scipy.io import savemat

    for number in range(count):
        folder = root / f"SUNRGBD/kv1/NYUdata/NYU{number:04d}"
        save(scene.image, folder / f"image/NYU{number:04d}.jpg", quality=95, subsampling=0)
        numbers = whole(scene.depth_m, 1000)
        save((numbers << 3) | (numbers >> 13), folder / f"depth/NYU{number:04d}.png")
        save(np.ones_like(numbers), folder / f"depth_bfx/NYU{number:04d}.png")
        write("60.0 0 31.5\n0 61.0 23.5\n0 0 1", folder / "intrinsics.txt")
    authors = "/n/fs/sun3d/data/SUNRGBD/kv1/NYUdata/NYU"
    cells = [f"{authors}{number:04d}" for number in range(count)]
    path = root / "SUNRGBDtoolbox/traintestSUNRGBD/allsplit.mat"
    path.parent.mkdir(parents=True, exist_ok=True)
    lists = {"alltrain": np.array([cells[:1]], object), "alltest": np.array([cells[1:]], object)}
    savemat(path, lists)


def make_scannet(root: Path, scene: Scene, count: int) -> None:
    folder = root / "scans/scene0000_00"
    large = scene.image.repeat(2, axis=0).repeat(2, axis=1)
    for number in range(count):
        save(large, folder / f"color/{number}.jpg", quality=95, subsampling=0)
        save(whole(scene.depth_m, 1000), folder / f"depth/{number}.png")
    write("60.0 0 31.5 0\n0 61.0 23.5 0\n0 0 1 0\n0 0 0 1\n", folder / "intrinsic/intrinsic_depth.txt")
    write("scene0000_00\nscene0707_00\n", root / "scannetv2_train.txt")


def make_7scenes(root: Path, scene: Scene, count: int) -> None:
    for number in range(count):
        frame = root / f"chess/seq-01/frame-{number:06d}"
        save(scene.image, frame.with_name(frame.name + ".color.png"))
        save(whole(scene.depth_m, 1000, 65535), frame.with_name(frame.name + ".depth.png"))
    write("sequence1 \n", root / "chess/TrainSplit.txt")


def make_diode(root: Path, scene: Scene, count: int) -> None:
    for number in range(count):
        scan = root / f"val/indoors/scene_00019/scan_00183/00019_00183_indoors_000_{number:03d}"
        save(scene.image, scan.with_name(scan.name + ".png"))
        np.save(scan.with_name(scan.name + "_depth.npy"), np.nan_to_num(scene.depth_m)[..., None])
        known = np.isfinite(scene.depth_m).astype(np.float64)
        np.save(scan.with_name(scan.name + "_depth_mask.npy"), known)


def make_middlebury(root: Path, scene: Scene, count: int) -> None:
    for number in range(count):
        folder = root / f"Scene{number}-perfect"
        save(scene.image, folder / "im0.png")
        disparity = np.where(np.isnan(scene.depth_m), np.inf, 60.0 * 0.2 / scene.depth_m - 3.0)
        header = f"Pf\n{WIDTH} {HEIGHT}\n-1.0\n".encode()
        (folder / "disp0.pfm").write_bytes(header + disparity[::-1].astype("<f4").tobytes())
        calibration = "cam0=[60.0 0 31.5; 0 60.0 23.5; 0 0 1]\ncam1=[60.0 0 34.5; 0 60.0 23.5; 0 0 1]\n"
        write(calibration + "doffs=3.0\nbaseline=200.0\nwidth=64\nheight=48\n", folder / "calib.txt")


def make_hypersim(root: Path, scene: Scene, count: int) -> None:
    import h5py

    matrix = np.reshape(RAYS, (3, 3))
    distance = np.empty((HEIGHT, WIDTH))
    for row in range(HEIGHT):
        for column in range(WIDTH):
            u, v = (column + 0.5) / WIDTH * 2 - 1, 1 - (row + 0.5) / HEIGHT * 2
            x, y, z = matrix @ [u, v, 1]
            point = np.array([x, y, z]) / -z * scene.depth_m[row, column]
            distance[row, column] = np.linalg.norm(point)
    images = root / "ai_001_001/images"
    for number in range(count):
        save(
            scene.image,
            images / f"scene_cam_00_final_preview/frame.{number:04d}.tonemap.jpg",
            quality=95,
            subsampling=0,
        )
        path = images / f"scene_cam_00_geometry_hdf5/frame.{number:04d}.depth_meters.hdf5"
        path.parent.mkdir(parents=True, exist_ok=True)
        with h5py.File(path, "w") as file:
            file["dataset"] = distance.astype(np.float32)
    names = [f"M_cam_from_uv_{row}{column}" for row in range(3) for column in range(3)]
    with (root / "metadata_camera_parameters.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["scene_name", *names], ["ai_001_001", *RAYS]])
    head = "scene_name,camera_name,frame_id,included_in_public_release,exclude_reason,split_partition_name"
    rows = [f"ai_001_001,cam_00,{n},True,,{'train' if n else 'val'}" for n in range(count)]
    write("\n".join([head, *rows]), root / "metadata_images_split_scene_v1.csv")


def make_nyu_labeled(root: Path, scene: Scene, count: int) -> None:
    import h5py
    from scipy.io import savemat

    root.mkdir(parents=True, exist_ok=True)
    with h5py.File(root / "nyu_depth_v2_labeled.mat", "w") as file:
        file["images"] = np.stack([scene.image.transpose(2, 1, 0)] * count)
        file["rawDepths"] = np.stack([np.nan_to_num(scene.depth_m).T] * count)
        file["depths"] = np.ones((count, WIDTH, HEIGHT), np.float32)
    savemat(root / "splits.mat", {"trainNdxs": [[1]], "testNdxs": [[each] for each in range(2, count + 1)]})


MAKERS: dict[str, Callable[[Path, Scene, int], None]] = {
    "rgbd": make_rgbd,
    "pairs": make_pairs,
    "nyu-labeled": make_nyu_labeled,
    "kitti": make_kitti,
    "tum": make_tum,
    "sunrgbd": make_sunrgbd,
    "scannet": make_scannet,
    "7scenes": make_7scenes,
    "diode": make_diode,
    "middlebury": make_middlebury,
    "hypersim": make_hypersim,
}
