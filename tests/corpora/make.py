"""Make the corpora of the fuzzing suite again: small files of every kind that is read, all by this project.

`python tests/corpora/make.py` from the root of the project, with the packages of its tests. `found-*` stay.
"""

from __future__ import annotations

import io
import json
import shutil
import sys
import tempfile
from collections import Counter
from pathlib import Path

import h5py
import numpy as np
from PIL import Image, PngImagePlugin

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent)]

import dataset_layouts  # noqa: E402
from clips import draw, write_clip  # noqa: E402
from colmap_files import make_views  # noqa: E402
from onnx_files import write_mean_network  # noqa: E402

import cortexia_video as cx  # noqa: E402
from cortexia_video.datasets.build import write_shards  # noqa: E402
from cortexia_video.datasets.build_items import list_run_items  # noqa: E402
from cortexia_video.formats.registry import FORMATS  # noqa: E402
from cortexia_video.video.depth_clip import Coding, DepthClipWriter, describe_clip, join_parts  # noqa: E402

HEIGHT, WIDTH = 12, 16
_VIDEOS: dict[str, dict[str, str]] = {
    "h264.mp4": {},
    "h264.mkv": {},
    "h264.ts": {},
    "vp9.webm": {"codec": "libvpx-vp9"},
    "mpeg4.avi": {"codec": "mpeg4"},
    "mpeg2.mpg": {"codec": "mpeg2video"},
}
_FOCAL_LENGTH_35, _MAKE, _EXIF_IFD, _ORIENTATION = 0xA405, 0x010F, 0x8769, 0x0112


def make_all(root: Path) -> None:
    """Write every corpus into a folder, a folder for each target."""
    dataset_layouts.HEIGHT, dataset_layouts.WIDTH = HEIGHT, WIDTH
    scene = dataset_layouts.make_scene()
    scene = dataset_layouts.Scene(scene.image[:HEIGHT, :WIDTH], scene.depth_m[:HEIGHT, :WIDTH])
    make_images(root)
    make_depth(root, scene.depth_m)
    make_videos(root)
    make_texts(root)
    make_runs(root, scene.image)
    make_known(root)
    for name, make in dataset_layouts.MAKERS.items():
        make(root / f"dataset-{name}/made", scene, 2)
    make_hostile(root)
    write_mean_network(
        _make_folder(root / "onnx") / "mean.onnx", metadata={"kind": "disparity", "short_side": "16"}
    )


def _make_folder(path: Path) -> Path:
    path.mkdir(parents=True, exist_ok=True)
    return path


def make_images(root: Path) -> None:
    """Write images in the formats, modes and packings that people have."""
    noise = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 4), dtype=np.uint8)
    rgba = Image.fromarray(noise)
    rgb, grey = rgba.convert("RGB"), rgba.convert("L")
    deep = Image.fromarray(noise[..., 0].astype(np.uint16) * 257)
    exif = Image.Exif()
    exif[_MAKE], exif[_ORIENTATION] = "made", 6
    exif.get_ifd(_EXIF_IFD)[_FOCAL_LENGTH_35] = 28

    def save(image: Image.Image, name: str, **options: object) -> None:
        path = root / f"image-{Path(name).suffix[1:]}" / name
        image.save(_make_folder(path.parent) / path.name, **options)

    save(rgb, "exif.jpg", exif=exif)
    save(rgb, "progressive.jpg", progressive=True)
    save(rgb.convert("CMYK"), "cmyk.jpg")
    save(grey, "grey.jpg")
    rgb.save(root / "image-jpg/two.jpg", "MPO", save_all=True, append_images=[rgb])
    save(rgba, "alpha.png")
    save(deep, "deep.png")
    save(rgb.quantize(8), "palette.png", transparency=1)
    save(rgb, "animation.png", save_all=True, append_images=[rgb.rotate(180)])
    save(rgba, "alpha.webp", lossless=True)
    save(rgb, "lossy.webp", exif=exif)
    save(rgb, "animation.webp", save_all=True, append_images=[rgb.rotate(180)])
    for packing in (None, "tiff_lzw", "tiff_adobe_deflate", "jpeg", "packbits"):
        save(rgb, f"{packing or 'unpacked'}.tif", compression=packing)
    save(deep, "deep.tif")
    save(Image.fromarray(noise[..., 0] / np.float32(255)), "float.tif")
    save(grey.convert("1"), "fax.tif", compression="group4")
    save(rgb, "rgb.bmp")
    save(rgb.quantize(8), "palette.bmp")
    save(rgb, "rgb.avif")
    save(rgb, "rgb.gif")
    save(rgb.quantize(8), "animation.gif", save_all=True, append_images=[rgb.quantize(4)], transparency=0)
    save(rgb, "rgb.ppm")
    save(deep, "deep.ppm")
    (root / "image-ppm/plain.ppm").write_text("P3\n# made\n2 1\n255\n0 1 2 253 254 255\n")
    save(rgb, "rgb.ico", sizes=[(WIDTH, HEIGHT)])
    save(rgb, "rgb.qoi")
    save(rgb, "rgb.jp2")
    save(rgb, "rgb.tga", compression="tga_rle")


def make_depth(root: Path, depth_m: np.ndarray) -> None:
    """Write a depth map in every format, and as others write theirs."""
    depth = cx.DepthMap(depth_m, "metric", 20.0, "given", model="made", weights_sha256="0" * 64)
    for name, form in FORMATS.items():
        if form.decode:
            folder = _make_folder(root / f"depth-{name}")
            (folder / f"map{form.suffix}").write_bytes(b"".join(form.encode(depth)))
    numbers = dataset_layouts.whole(depth_m, 1000)
    for name, words in (
        ("moge", {"near": "1", "far": "9", "unit": "1"}),
        ("iw3", {"iw3_min_depth_value": "1", "iw3_max_depth_value": "2"}),
    ):
        text = PngImagePlugin.PngInfo()
        for key, value in words.items():
            text.add_text(key, value)
        dataset_layouts.save(numbers, root / f"depth-png16/{name}.png", pnginfo=text)
    np.save(root / "depth-npy/columns.npy", np.asfortranarray(depth_m.astype(">f8")))
    np.savez_compressed(root / "depth-npz/packed.npz", depth=depth_m, other=numbers)
    dataset_layouts.save(numbers, root / "depth-tiff/numbers.tif", compression="tiff_lzw")
    header = f"P5\n{WIDTH} {HEIGHT}\n65535\n".encode()
    (_make_folder(root / "depth-pgm") / "numbers.pgm").write_bytes(header + numbers.astype(">u2").tobytes())
    values = numbers.astype("<f4")
    dense = f"{numbers.shape[1]}&{numbers.shape[0]}&1&".encode() + values.tobytes()
    (_make_folder(root / "depth-colmap") / "map.geometric.bin").write_bytes(dense)
    with h5py.File(_make_folder(root / "depth-hdf5") / "map.h5", "w") as file:
        file.create_dataset("depth", data=values, compression="gzip", track_times=False)


def make_videos(root: Path) -> None:
    """Write a few frames in every container, and a clip of depth."""
    for name, options in _VIDEOS.items():
        write_clip(root / "video" / name, [draw(each, 32, 48) for each in range(4)], **options)
    with (_make_folder(root / "depth-clip") / "clip.mkv").open("w+b") as file:
        depth = cx.DepthMap(np.full((24, 32), 2, np.float32), "metric")
        part, coding = io.BytesIO(), Coding.of("metric")
        with DepthClipWriter(part, 24, 32) as writer:
            for number in range(4):
                writer.add(coding.encode(depth.values * (1 + number))[0], 40 * number)
            writer.finish()
        join_parts([part], file, describe_clip(depth, coding, {"frames": 4, "rate": 25.0}))


def make_texts(root: Path) -> None:
    """Write what people write by hand: focal lengths, recipes, protocols, lists."""
    write = dataset_layouts.write
    write(
        "key,f_px,fx,fy,cx,cy,width,height\na.png,,20,20,8,6,16,12\nin/b.png,30.5,,,,,,\n*,25,,,,,,\n",
        root / "intrinsics/cameras.csv",
    )
    cameras = {
        "a.png": {"fx": 20, "fy": 20.1, "cx": 8, "cy": 6, "width": 16, "height": 12},
        "in/b.png": 30.5,
        "*": 25,
    }
    write(json.dumps(cameras, indent=1), root / "intrinsics/cameras.json")
    write(_RECIPE, root / "recipe/recipe.toml")
    protocols = HERE.parents[1] / "cortexia_video/evaluation/protocols"
    for name in ("nyu-eigen", "real-frames"):
        write((protocols / f"{name}.toml").read_text(), root / f"protocol/{name}.toml")
    write("\ufeffa.png\n./in/b.png\r\nc d.png\n", root / "list/made/list.txt")
    for name in ("a.png", "in/b.png", "c d.png"):
        write("nobody looks inside", root / "list/made" / name)
    config = {
        "model_type": "depth_anything",
        "architectures": ["DepthAnythingForDepthEstimation"],
        "patch_size": 14,
    }
    write(json.dumps(config), root / "checkpoint/made/config.json")
    write(
        json.dumps({"size": {"height": 14, "width": 14}, "image_mean": [0.5] * 3}),
        root / "checkpoint/made/preprocessor_config.json",
    )
    write("---\nlicense: apache-2.0\n---\nMade.\n", root / "checkpoint/made/README.md")
    header = json.dumps({"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}).encode()
    (root / "checkpoint/made/model.safetensors").write_bytes(
        len(header).to_bytes(8, "little") + header + bytes(8)
    )


def make_runs(root: Path, image: np.ndarray) -> None:
    """Write what `estimate` and `dataset build` write: outputs and their ledger, shards and their record."""
    with tempfile.TemporaryDirectory() as folder:
        photos = Path(folder) / "in"
        for name in ("a.png", "in/b.png"):
            dataset_layouts.save(image, photos / name)
        (photos / "c.jpg").write_bytes(b"no image")
        runs = {
            "npy": {"format": "npy", "preview": True},
            "tar": {"pack": "tar", "pack_images": True},
            "parquet": {"pack": "parquet", "pack_images": True},
        }
        for name, options in runs.items():
            cx.estimate(photos, root / f"run/{name}", model="synthetic", recursive=True, **options)
        for format in ("parquet", "webdataset"):
            items = list_run_items(photos, root / "run/npy", skipped=Counter())
            write_shards(items, root / f"dataset-{format}/made", format=format)
        for path in root.glob("run/*/*.jsonl"):
            path.write_bytes(path.read_bytes().replace(folder.encode(), b"/nowhere"))
        for path in root.glob("dataset-*/made/build.jsonl"):
            path.write_bytes(path.read_bytes().replace(folder.encode(), b"/nowhere"))


def make_known(root: Path) -> None:
    """Write what depth is aligned to: models of COLMAP, a transforms.json with its PLY, points, a rig."""
    metres = np.linspace(5, 1, HEIGHT)[:, None] * np.linspace(1, 1.5, WIDTH)
    for how in ("bin", "txt"):
        model = make_views({"a.png": metres, "in/b.png": metres}, 20, 9)
        model.write(root / f"colmap/{how}", how)
        for view in model.views.values():
            view.pixels, view.ids = view.pixels[:0], view.ids[:0]
        model.cameras = {1: ("OPENCV", WIDTH, HEIGHT, (20, 20, 8, 6, -0.1, 0.01, 0.001, 0.002))}
        model.write(root / f"colmap/{how}-poses", how)
    write = dataset_layouts.write
    corners = "\n".join(f"{x} {y} {z} 9 8 7" for x in (-0.2, 0.2) for y in (-0.1, 0.1) for z in (-1.0, -2.0))
    names = [*(f"property float {name}" for name in "xyz"), *(f"property uchar {name}" for name in "rgb")]
    text = "\n".join(["ply", "format ascii 1.0", "element vertex 8", *names, "end_header", corners, ""])
    write(text, root / "ply/text.ply")
    write(text, root / "transforms/made/sparse_pc.ply")
    cloud = cx.point_clouds.PointCloud(
        np.ones((5, 3), np.float32), np.zeros((5, 3), np.uint8), np.ones((5, 3), np.float32), "metre"
    )
    cx.save_point_cloud(cloud, root / "ply/binary.ply")
    camera = {
        "w": WIDTH,
        "h": HEIGHT,
        "fl_x": 20,
        "fl_y": 20,
        "cx": 8,
        "cy": 6,
        "k1": -0.1,
        "camera_model": "OPENCV",
    }
    frames = [{"file_path": f"{name}.png", "transform_matrix": np.eye(4).tolist()} for name in ("a", "in/b")]
    more = {"applied_scale": 1.0, "ply_file_path": "sparse_pc.ply"}
    write(
        json.dumps({**camera, **more, "frames": frames}, indent=1), root / "transforms/made/transforms.json"
    )
    write(
        "key,x,y,depth_m,weight\na.png,3,4,2.5,1\nin/b.png,8,9,1e1,.5\n*,1,1,4,2\n",
        root / "points/points.csv",
    )
    sensor = {"fx": 20, "fy": 20, "cx": 8, "cy": 6, "width": WIDTH, "height": HEIGHT}
    lens = {"model": "EUCM", "width": WIDTH, "height": HEIGHT, "params": [20, 20, 8, 6, 0.6, 1.1]}
    rig = {"sensor": sensor, "image": lens, "to_image": np.eye(4).tolist()}
    write(json.dumps(rig, indent=1), root / "rig/rig.json")


def make_hostile(root: Path) -> None:
    """Write small files that say they hold gigabytes."""
    import pyarrow
    from pyarrow import parquet

    side, rows = 40_000, 20_000_000
    shutil.copytree(root / "dataset-hypersim/made", root / "dataset-hypersim/hostile-size")
    path = next((root / "dataset-hypersim/hostile-size").rglob("frame.0000.depth_meters.hdf5"))
    with h5py.File(path, "w") as file:
        file.create_dataset("dataset", (side, side), np.float32)  # nothing is written: nothing is stored
    shutil.copytree(root / "dataset-nyu-labeled/made", root / "dataset-nyu-labeled/hostile-size")
    with h5py.File(root / "dataset-nyu-labeled/hostile-size/nyu_depth_v2_labeled.mat", "w") as file:
        file.create_dataset("images", (2, 3, side, side), np.uint8)
        file.create_dataset("rawDepths", (2, side, side), np.float32)
    keys = pyarrow.table({"key": pyarrow.nulls(rows, pyarrow.string())})
    for name in ("image", "depth_map"):
        keys = keys.append_column(name, pyarrow.nulls(rows, pyarrow.binary()))
    parquet.write_table(
        keys,
        _make_folder(root / "dataset-parquet/hostile-rows") / "train-00000.parquet",
        row_group_size=rows,
    )


_RECIPE = """\
name = "made"
steps = 30
batch_size = 2
short_sides = [64, 96]
learning_rate = 1e-3
seed = 1
teacher = "synthetic"
[network]
architecture = "compact"
encoder = "efficientnet-lite0"
short_side = 64
[[data]]
dataset = "scenes"
root = "runs/pool"
weight = 1.0
options = { count = 8 }
[[data]]
dataset = "images"
root = "photos"
split = "train"
[validation]
truth = ["sets/a", "sets/b"]
protocol = "real-frames"
every = 10
[loss]
"""


if __name__ == "__main__":
    for old in HERE.iterdir():
        for entry in old.iterdir() if old.is_dir() else ():
            if not entry.name.startswith("found-"):
                shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
    make_all(HERE)
