"""One contract for every model that can be loaded by name, for every map beside depth that it declares, and for
ONNX files that give maps: written by hand, and exported."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx_files import write_mean_network, write_point_network
from PIL import Image
from telling_model import Telling

from cortexia_video import DepthEstimator, DepthMap, Frame, list_models, write_depth
from cortexia_video.inference.maps import find_maps
from cortexia_video.inference.panorama import Panorama
from cortexia_video.jobs.check_model import check_model
from cortexia_video.jobs.export import export
from cortexia_video.models.protocol import DepthModel
from cortexia_video.models.registry import find_model, load_model

TELLING = "telling"  # no row: the one that is known to have every map
AROUND = "telling, of panoramas"
ROWS = [info.name for info in list_models() if ":" not in info.name and "broken" not in info.summary]
_SKY = {"kind": "affine_invariant", "short_side": "48", "multiple_of": "4", "normalize": "unit", "sky": "0.5"}
FILES: dict[str, Callable[[Path], Path]] = {
    "points.onnx": lambda path: write_point_network(path, f=0.8, shift=0.4),
    "points-of-one-size.onnx": lambda path: write_point_network(
        path, f=0.8, shift=0.4, shape=["B", 3, 56, 84]
    ),
    "sky.onnx": lambda path: write_mean_network(path, metadata=_SKY, sky=True),
}
EXPORTED = {  # a graph takes some 5 s to export
    "moge-2-vits": (84, 112),
    "moge-2-vitl": (84, 112),
    "da3-mono-large": (84, 112),
    "da3-metric-large": (84, 112),
}
SMALLER: dict[str, dict[str, Any]] = {  # an image is a clip of 32 frames to them
    f"video-depth-anything-{each}small": {"input_size": 70} for each in ("", "metric-")
}
EVERY = pytest.mark.parametrize(
    "name",
    [
        *ROWS,
        TELLING,
        AROUND,
        *FILES,
        *(pytest.param(f"exported {each}", marks=pytest.mark.slow) for each in EXPORTED),
    ],
)
Load = Callable[[str], DepthModel]


@pytest.fixture(scope="module")
def load(hub_cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Load:
    """Return load(name), a model of the table with small weights; each is loaded once."""
    loaded: dict[str, DepthModel] = {TELLING: Telling(), AROUND: Panorama(Telling())}
    folder = tmp_path_factory.mktemp("files")

    def write(name: str) -> str:
        """Return a name that loads: of a file, once it is written."""
        row = name.removeprefix("exported ")
        if name in FILES:
            return f"onnx:{FILES[name](folder / name)}"
        if row == name:
            return name
        pytest.importorskip("onnxscript")
        return f"onnx:{export(row, folder / f'{row}.onnx', size=EXPORTED[row]).path}"

    def get(name: str) -> DepthModel:
        if name not in loaded:
            with pytest.MonkeyPatch.context() as patch:
                patch.setenv("HF_HOME", str(hub_cache))
                patch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(hub_cache / "hub"))
                loaded[name] = load_model(write(name), **SMALLER.get(name, {}))
        return loaded[name]

    return get


def photo(seed: int, model: DepthModel, size: tuple[int, int] = (90, 120)) -> Frame:
    """Return an image, with a focal length where the model needs one and estimates none, and sparse depth."""
    coarse = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    if getattr(model, "projection", "perspective") == "equirectangular":
        size = (size[0], 2 * size[0])
    f_px = None if getattr(model, "estimates_fov", True) else 100.0
    sparse = None
    if getattr(model, "takes_sparse", False):
        sparse = np.random.default_rng(seed).uniform(1, 6, [side // 2 for side in size]).astype(np.float32)
    rows, columns = (np.arange(side) * count // side for side, count in zip(size, coarse.shape, strict=False))
    return Frame(f"{seed}", coarse[rows][:, columns], f_px, "given" if f_px else None, sparse=sparse)


@EVERY
def test_depth_is_of_the_kind_that_the_row_says_and_as_large_as_its_image(name: str, load: Load) -> None:
    model = load(name)
    if (row := name.removeprefix("exported ")) in ROWS:
        assert model.kind == (find_model(row).kind or model.kind)
        assert {*find_maps(model)} >= {*find_maps(load(row))}, "an exported file gives back what the row does"
    for size in ((90, 120), (64, 33)):
        frame = photo(0, model, size)
        depth = DepthEstimator(model)(frame)
        assert depth.values.shape == frame.image.shape[:2] and depth.kind == model.kind
        known = depth.values[np.isfinite(depth.values)]
        assert known.size and (model.kind not in ("metric", "scale_invariant") or known.min() >= 0)


@EVERY
def test_a_batch_stays_as_it_is_and_none_of_its_images_changes_another(name: str, load: Load) -> None:
    model = load(name)
    frames = [photo(seed, model) for seed in range(3)]
    alone = [DepthEstimator(model, batch_size=1, also=find_maps(model))(frame) for frame in frames]
    together = DepthEstimator(model, batch_size=3, also=find_maps(model))
    prepared = [together.prepare(frame) for frame in frames]
    pixels = together.stack(prepared)
    before = pixels.tobytes()
    together.run(pixels, prepared[0].estimate_fov)
    assert pixels.tobytes() == before
    for one, depth in zip(alone, together.estimate(frames), strict=True):
        np.testing.assert_allclose(depth.values, one.values, rtol=2e-3, atol=1e-4)
        for each in ("valid", "confidence", "normals"):
            ours, theirs = getattr(depth, each), getattr(one, each)
            assert (ours is None) == (theirs is None)
            if ours is not None:
                np.testing.assert_allclose(ours, theirs, atol=2e-3)


@EVERY
@pytest.mark.parametrize("size", ["full", "native"])
def test_every_map_that_it_declares_is_there_when_it_is_asked_for(name: str, size: str, load: Load) -> None:
    model = load(name)
    depth = DepthEstimator(model, also=find_maps(model), size=size)(photo(1, model))  # type: ignore[arg-type]
    for map_name in find_maps(model):
        given = getattr(depth, "valid" if map_name == "mask" else map_name)
        assert given is not None and given.shape[:2] == depth.values.shape
    if depth.valid is not None:
        assert "mask" in find_maps(model), "what is given must be declared"
        assert np.isnan(depth.values[~depth.valid]).all() or model.kind == "disparity"
    if depth.confidence is not None:
        assert np.isfinite(depth.confidence).all()
    if depth.normals is not None:
        known = np.isfinite(depth.normals[..., 0])
        assert known.any()
        np.testing.assert_allclose(np.linalg.norm(depth.normals[known], axis=-1), 1, atol=1e-5)


@EVERY
def test_what_is_not_asked_for_is_not_carried(name: str, load: Load) -> None:
    model = load(name)
    depth = DepthEstimator(model)(photo(2, model))
    assert depth.normals is None and depth.confidence is None


@pytest.mark.parametrize("name", ROWS)
def test_its_published_weights_can_be_checked_in_one_command(
    name: str, load: Load, tmp_path: Path, use_hub_cache: Path
) -> None:
    """As `cortexia models check` does it, here by the small weights of each row against its own depth."""
    model = load(name)
    frame = photo(0, model, (64, 80))
    Image.fromarray(frame.image).save(tmp_path / "a.png")
    expected = DepthEstimator(model, sky="keep")(frame).values
    np.save(tmp_path / "expected.npy", expected)
    given: dict[str, Any] = {"f_px": frame.f_px, **SMALLER.get(name, {})}
    if frame.sparse is not None:
        write_depth(DepthMap(frame.sparse, "metric"), tmp_path / "sparse.npz")
        given["sparse"] = tmp_path / "sparse.npz"
    check = check_model(name, tmp_path / "a.png", expect=tmp_path / "expected.npy", **given)
    assert check.passed and check.difference.mean < 1e-5 and check.compared > 0.5
