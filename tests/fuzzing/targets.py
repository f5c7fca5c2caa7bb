"""The table of targets: what is read, what its refusals are, and how much memory it may take.

A new decoder or reader is a row here and a folder of small files in `tests/corpora`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import cache, partial
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

import cortexia_video as cx
from cortexia_video.datasets.build_log import read_shards
from cortexia_video.errors import (
    CortexiaError,
    DecodeError,
    DepthFileError,
    Failure,
    InputError,
    ModelError,
    OutputError,
)
from cortexia_video.evaluation.ground_truth import open_truth
from cortexia_video.evaluation.protocol import load_protocol
from cortexia_video.formats.conventions import CONVENTIONS
from cortexia_video.formats.decode_depth import count_pixels, decode_stored, interpret, read_file
from cortexia_video.geometry.intrinsics import load_intrinsics
from cortexia_video.images.decode import read_header, read_image_bytes
from cortexia_video.ledger.lines import read_done
from cortexia_video.ledger.state import read_state
from cortexia_video.models.onnx.model import OnnxModel
from cortexia_video.models.torch.checkpoint import open_checkpoint
from cortexia_video.models.torch.checkpoint import read_licence as read_checkpoint_licence
from cortexia_video.point_clouds.ply import decode_points
from cortexia_video.scenes.model_files import MOST_TRIANGLES, read_glb, read_obj
from cortexia_video.sources.archives import find_in_shard
from cortexia_video.sources.depth_files import DepthFiles
from cortexia_video.sources.find import find_images
from cortexia_video.sparse_depth.colmap import ColmapModel
from cortexia_video.sparse_depth.nerfstudio import NerfstudioPoints
from cortexia_video.sparse_depth.rig import Rig
from cortexia_video.sparse_depth.source import PointsFile, SparseDepth
from cortexia_video.video.clip_index import read_index
from cortexia_video.video.depth_clip import DepthClip
from cortexia_video.video.frames import read_frames

Call = Callable[[], Any]
MOST = 40  # samples or files that are read of an input


class Target(NamedTuple):
    """A reader.

    read: given the folder with an input's files, reads them. refusals: the errors that it may raise, each
    of this package's own. megabytes: that it may take beyond what was there. cases: of `make test`.
    """

    name: str
    read: Callable[[Path], object]
    refusals: tuple[type[CortexiaError], ...]
    megabytes: int
    cases: int


def try_all(calls: Iterable[Call]) -> None:
    """Call all of several readers of one input; raise the first refusal, and at once what is none."""
    first: CortexiaError | None = None
    for call in calls:
        try:
            call()
        except CortexiaError as error:
            first = first or error
    if first:
        raise first


def _only(folder: Path) -> Path:
    (path,) = (each for each in folder.rglob("*") if each.is_file())
    return path


def _require(failures: Iterable[Any]) -> None:
    """Raise what stands in for a sample or a file, if anything does."""
    for each in failures:
        if isinstance(each, Failure):
            raise each.error


def decode_image(folder: Path) -> None:
    data = _only(folder).read_bytes()
    header = read_header(data)
    for frame in (cx.decode(data, "a"), cx.decode(data, "a", enough=lambda h, w: (h // 4 + 1, w // 4 + 1))):
        assert frame.image.dtype == np.uint8 and frame.image.ndim == 3 and frame.image.shape[2] == 3
        assert frame.f_px is None or 0 < frame.f_px < np.inf
    assert header.width > 0 and header.height > 0


def read_depth(folder: Path) -> None:
    path = _only(folder)
    data = read_file(path, max_megapixels=16)
    count_pixels(data, path.name)
    stored = decode_stored(data, path.name, max_megapixels=16)
    meanings: list[dict[str, Any]] = [
        {"about": {"kind": "affine_invariant"}},
        {"about": {"kind": "metric", "scale": 0.001}},
    ]
    facts = {"f_px": 20.0, "baseline_m": 0.2, "doffs_px": 1.0}
    meanings += [
        {"about": {**facts, "kind": row.kind or "disparity"}, "convention": name}
        for name, row in CONVENTIONS.items()
    ]
    refused = []
    for each in meanings:
        try:
            interpret(stored, path.name, **each)
        except DepthFileError as error:
            refused.append(error)
    if len(refused) == len(meanings):
        raise refused[0]
    cx.inspect(path).as_dict()


def read_video(folder: Path) -> None:
    path = _only(folder)
    index = read_index(path, max_megapixels=4)
    for number, image in islice(read_frames(path, index), MOST):
        assert image is None or image.shape == (index.height, index.width, 3)
        assert number < index.frames and index.time_s(number) >= 0


def read_clip(folder: Path) -> None:
    with DepthClip(_only(folder)) as clip:
        try_all(partial(clip.read, number) for number in range(min(len(clip), MOST)))


def read_run(folder: Path) -> None:
    found = [*islice(DepthFiles([folder]), MOST)] if any(folder.iterdir()) else []
    reader = cx.DepthReader(max_megapixels=16)
    shards = [each for end in ("tar", "parquet") for each in folder.rglob(f"*.{end}")]
    inside = [each for shard in shards for each in islice(find_in_shard(shard.stem, shard), MOST)]
    try_all(
        [
            lambda: str(cx.status(folder)),
            lambda: [*cx.read_ledger(folder)],
            lambda: [*read_done(folder)],
            lambda: read_state(folder).leftovers(),
            lambda: str(cx.verify(folder, workers=1)),
            lambda: cx.inspect(folder),
            lambda: cx.report(folder, output=folder.parent / "written/report.html", workers=1),
            *(partial(reader.read, each.place) for each in found if not isinstance(each, Failure)),
            *(partial(read_image_bytes, each.place) for each in inside if not isinstance(each, Failure)),
            lambda: _require([*found, *inside]),
        ]
    )


def read_dataset(name: str, split: str | None, folder: Path) -> None:
    try_all([partial(_read_samples, name, folder, each) for each in dict.fromkeys((None, split))])
    read_shards(folder)
    if name == "rgbd":
        open_truth(folder, _load_own_protocol())


def _read_samples(name: str, folder: Path, split: str | None) -> None:
    dataset = cx.open_dataset(name, folder, split=split, allow_unregistered=True, **_OPTIONS.get(name, {}))
    loads = (load for shard in dataset.shards for load in shard())
    _require([load() for load in islice(loads, MOST)])


_load_own_protocol = cache(partial(load_protocol, "real-frames"))
_OPTIONS: dict[str, dict[str, Any]] = {"pairs": {"convention": "tum"}}


def read_intrinsics(folder: Path) -> None:
    cameras = load_intrinsics(path=_only(folder))
    for find in (cameras.find, cameras.find_camera):
        try_all([partial(find, key, 16, 12) for key in ("a.png", "in/b.png", "else.png")])


def read_recipe(folder: Path) -> None:
    from cortexia_video.training.recipe import describe_recipe, load_recipe  # takes torch along

    describe_recipe(load_recipe(_only(folder)))


def read_protocol(folder: Path) -> None:
    protocol = load_protocol(str(_only(folder)))
    assert str(protocol)
    reference = np.linspace(0, 10, 12 * 16, dtype=np.float32).reshape(12, 16)
    window = protocol.cut(reference)
    protocol.find_mask(window, protocol.find_max_m(window, 10.0))


def read_colmap(folder: Path) -> None:
    model = ColmapModel(folder)
    assert model.digest
    try_all(partial(_read_view, model, name) for name in model.names[:MOST])


def _read_view(model: ColmapModel, name: str) -> None:
    seen = model.find_points(name)
    assert len(seen.pixels) == len(seen.points) == len(seen.weights) and (seen.weights >= 0).all()
    assert model.find_camera(name).find_rays(seen.pixels).shape == seen.pixels.shape
    _require_samples(np.column_stack([seen.pixels, seen.points[:, 2], seen.weights]))


def read_ply(folder: Path) -> None:
    points = decode_points(_only(folder).read_bytes())
    assert points.ndim == 2 and points.shape[1] == 3 and points.dtype == np.float64


def read_model(folder: Path) -> None:
    path = _only(folder)
    data = path.read_bytes()
    model = read_glb(data) if path.suffix == ".glb" else read_obj(data, lambda name: b"newmtl a\nKd 1 0 0\n")
    count = len(model.part)
    assert model.corners.shape == model.normals.shape == (count, 3, 3) and model.uv.shape == (count, 3, 2)
    assert 0 < count <= MOST_TRIANGLES and 0 <= model.part.min() <= model.part.max() < len(model.parts)


def read_transforms(folder: Path) -> None:
    _find_samples(NerfstudioPoints(folder))


def read_points(folder: Path) -> None:
    _find_samples(PointsFile(_only(folder)))


def read_rig(folder: Path) -> None:
    depth = cx.DepthMap(np.linspace(1, 4, 192, dtype=np.float32).reshape(12, 16), "metric")
    _require_samples(Rig(_only(folder)).find(depth, 16, 12))


def _find_samples(known: SparseDepth) -> None:
    try_all(partial(_find_of_image, known, key) for key in ("a.png", "in/b.png"))


def _find_of_image(known: SparseDepth, key: str) -> None:
    _require_samples(known.find(key, 16, 12))


def _require_samples(rows: NDArray[np.float64]) -> None:
    """Align a map to what was found: there is a fit, or a refusal."""
    depth = cx.DepthMap(np.linspace(1, 4, 192, dtype=np.float32).reshape(12, 16), "disparity")
    with suppress(InputError):
        assert cx.align(depth, rows, unknown_beyond=True).kind == "metric"


def read_list(folder: Path) -> None:
    _require(find_images([folder / "list.txt"]))


def read_checkpoint(folder: Path) -> None:
    try_all([lambda: open_checkpoint(str(folder)), lambda: read_checkpoint_licence(f"hf:{folder}")])


def read_onnx(folder: Path) -> None:
    model = OnnxModel(_only(folder))
    assert model.settings and model.kind in ("disparity", "metric", "scale_invariant", "affine_invariant")


_IMAGES = ("jpg", "png", "webp", "tif", "bmp", "avif", "gif", "ppm", "ico", "qoi", "jp2", "tga")
_DEPTH = ("npy", "npz", "png16", "tiff", "exr", "exr16", "jxl", "pfm", "pgm", "colmap", "hdf5")
_SETS = {  # and a split that the corpus has
    **dict.fromkeys(("rgbd", "pairs", "tum", "middlebury")),
    **dict.fromkeys(
        ("nyu-labeled", "kitti", "sunrgbd", "scannet", "7scenes", "hypersim", "webdataset", "parquet"),
        "train",
    ),
    "diode": "val",
}
_OF_SAMPLES = (InputError, DecodeError)

_ROWS = (
    *(Target(f"image-{each}", decode_image, (DecodeError,), 2048, 60) for each in _IMAGES),
    *(Target(f"depth-{each}", read_depth, (DepthFileError,), 1024, 60) for each in _DEPTH),
    *(
        Target(f"dataset-{name}", partial(read_dataset, name, split), _OF_SAMPLES, 2048, 40)
        for name, split in _SETS.items()
    ),
    Target("video", read_video, (DecodeError,), 1024, 60),
    Target("depth-clip", read_clip, (DepthFileError,), 1024, 60),
    Target("run", read_run, (InputError, DecodeError, OutputError), 1024, 100),
    Target("intrinsics", read_intrinsics, (InputError,), 256, 200),
    Target("recipe", read_recipe, (InputError,), 256, 200),
    Target("protocol", read_protocol, (InputError,), 256, 200),
    Target("colmap", read_colmap, (InputError,), 256, 150),
    Target("ply", read_ply, (InputError,), 256, 150),
    Target("model-obj", read_model, (InputError,), 512, 100),
    Target("model-glb", read_model, (InputError,), 512, 100),
    Target("transforms", read_transforms, (InputError,), 256, 150),
    Target("points", read_points, (InputError,), 256, 100),
    Target("rig", read_rig, (InputError,), 256, 100),
    Target("list", read_list, (InputError,), 256, 100),
    Target("checkpoint", read_checkpoint, (ModelError,), 256, 100),
    Target("onnx", read_onnx, (ModelError,), 1024, 60),
)
TARGETS = {row.name: row for row in _ROWS}
