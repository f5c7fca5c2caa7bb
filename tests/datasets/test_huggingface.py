"""Samples as tables of Hugging Face `datasets`, there and back, and by their own reader of parquet."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from dataset_layouts import HEIGHT, WIDTH, make_scene
from PIL import Image

from cortexia_video import DepthMap, Frame, Pinhole, RGBDSample, from_hf, open_dataset, to_hf
from cortexia_video.datasets import usable_samples
from cortexia_video.datasets.dataset import RGBDDataset, RGBDStream
from cortexia_video.datasets.huggingface import import_datasets
from cortexia_video.datasets.sample_checks import ProblemCount, find_problem
from cortexia_video.errors import InputError

hf = import_datasets()
CAMERA = Pinhole(60.0, 61.0, 32.5, 24.0, WIDTH, HEIGHT)


@pytest.fixture(autouse=True)
def caches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(hf.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    hf.disable_progress_bars()
    yield
    hf.enable_progress_bars()


def make_sample(key: str = "a", **changes: Any) -> RGBDSample:
    scene = make_scene(len(key))
    words = {"kind": "metric", "f_px": 60.5, "f_source": "given", "model": "m", "weights_sha256": "ab"}
    depth = DepthMap(scene.depth_m, **{**words, **changes})  # type: ignore[arg-type]
    mask = np.ones((HEIGHT, WIDTH), bool)
    mask[:5] = False
    return RGBDSample(Frame(key, scene.image, 60.5, "given"), depth, CAMERA, mask, "made")


def assert_same(one: RGBDSample, other: RGBDSample) -> None:
    np.testing.assert_array_equal(one.frame.image, other.frame.image)
    np.testing.assert_array_equal(one.depth.values, other.depth.values)
    np.testing.assert_array_equal(one.valid, other.valid)
    assert (one.key, one.camera, one.origin) == (other.key, other.camera, other.origin)
    assert one.sparse == other.sparse
    assert say(one) == say(other)


def say(sample: RGBDSample) -> tuple[Any, ...]:
    depth = sample.depth
    return depth.kind, depth.f_px, depth.f_source, depth.full_size, depth.model, depth.weights_sha256


def test_the_columns_are_the_guides() -> None:
    row = to_hf([make_sample()])[0]
    assert (row["image"].mode, row["image"].size) == ("RGB", (WIDTH, HEIGHT))
    assert (row["depth_map"].format, row["depth_map"].mode) == ("TIFF", "F")
    np.testing.assert_array_equal(np.array(row["depth_map"]), make_sample().depth.values)
    np.testing.assert_array_equal(np.array(row["image"]), make_sample().frame.image)
    facts = {name: row[name] for name in ("key", "kind", "unit", "fx", "fy", "cx", "cy", "width", "height")}
    assert list(facts.values()) == ["a", "metric", "metres", 60.0, 61.0, 32.5, 24.0, WIDTH, HEIGHT]


@pytest.mark.parametrize("kind", ["metric", "disparity"])
def test_samples_come_back(kind: str) -> None:
    samples = [make_sample(key, kind=kind) for key in ("a", "trip/b.jpg")]
    samples.append(replace(make_sample("laser", kind=kind), sparse=True))
    back = from_hf(to_hf(samples))
    assert isinstance(back, RGBDDataset) and back.kind == kind
    for one, other in zip(samples, back, strict=True):
        assert_same(one, other)
    streamed = from_hf(to_hf(samples).to_iterable_dataset())
    assert isinstance(streamed, RGBDStream)
    for one, other in zip(samples, streamed, strict=True):
        assert_same(one, other)


def test_saved_parquet_holds_its_pixels_and_can_be_moved(tmp_path: Path) -> None:
    samples = [make_sample(key) for key in ("a", "bb")]
    (tmp_path / "first").mkdir()
    to_hf(samples).to_parquet(tmp_path / "first/train.parquet")
    (tmp_path / "first").rename(tmp_path / "second")
    theirs = hf.load_dataset(str(tmp_path / "second"), split="train")
    np.testing.assert_array_equal(np.array(theirs[1]["depth_map"]), samples[1].depth.values)
    for back in (
        open_dataset("parquet", tmp_path / "second"),
        open_dataset("hub", tmp_path / "second", split="train"),
        open_dataset("hub", tmp_path / "second", split="train", streaming=True),
    ):
        for one, other in zip(samples, back, strict=True):
            assert_same(one, other)


def test_what_save_to_disk_wrote_is_read(tmp_path: Path) -> None:
    to_hf([make_sample()]).save_to_disk(tmp_path / "saved")
    assert_same(make_sample(), open_dataset("hub", tmp_path / "saved")[0])  # type: ignore[index]
    hf.DatasetDict({"test": to_hf([make_sample()])}).save_to_disk(tmp_path / "splits")
    with pytest.raises(InputError, match="no split 'train', only test"):
        open_dataset("hub", tmp_path / "splits")


def save_as_the_hub_does(path: Path, count: int = 3) -> np.ndarray:
    """Write NYU's conversion: two columns, PNG and float TIFF in metres, 0 unknown; give the depth."""
    depth = np.nan_to_num(make_scene().depth_m)
    cells: dict[str, list[dict[str, Any]]] = {"image": [], "depth_map": []}
    for _ in range(count):
        for name, form, pixels in (("image", "PNG", make_scene().image), ("depth_map", "TIFF", depth)):
            file = io.BytesIO()
            Image.fromarray(pixels).save(file, form)
            cells[name].append({"bytes": file.getvalue(), "path": None})
    features = hf.Features({name: hf.Image() for name in cells})
    path.parent.mkdir(parents=True, exist_ok=True)
    hf.Dataset.from_dict(cells, features=features).to_parquet(path)
    return depth


@pytest.mark.parametrize("streaming", [False, True])
def test_nyu_of_the_hub_is_read_from_a_copy(streaming: bool, tmp_path: Path) -> None:
    depth = save_as_the_hub_does(tmp_path / "nyu/data/train-00000-of-00001.parquet")
    dataset = open_dataset("nyu", tmp_path / "nyu", split="train", streaming=streaming)
    samples = list(dataset)
    assert [sample.key for sample in samples] == ["00000000", "00000001", "00000002"]
    np.testing.assert_array_equal(samples[0].depth.values, np.where(depth > 0, depth, np.nan))
    assert samples[0].camera is not None and samples[0].camera.fx == 518.857901
    assert dataset.evaluation.range_m == (1e-3, 10.0)
    ours = open_dataset("parquet", tmp_path / "nyu", split="train", convention="metres")
    np.testing.assert_array_equal(ours[2].depth.values, samples[2].depth.values)  # type: ignore[index]
    with pytest.raises(InputError, match="does not say what it means: give its convention"):
        open_dataset("parquet", tmp_path / "nyu")[0]  # type: ignore[index]


def test_a_script_is_one_line_that_names_what_can_be_read(tmp_path: Path) -> None:
    (tmp_path / "nyu_depth_v2").mkdir()
    (tmp_path / "nyu_depth_v2/nyu_depth_v2.py").write_text("raise SystemExit")
    with pytest.raises(InputError, match="is a script.*refs/convert/parquet.*nyu-labeled") as caught:
        open_dataset("nyu", tmp_path / "nyu_depth_v2")
    assert "\n" not in str(caught.value)


def test_what_the_hub_cannot_give_is_one_line() -> None:
    with pytest.raises(InputError, match="cannot open nobody/nothing: "):
        open_dataset("hub", "nobody/nothing")


def test_a_column_that_is_not_there_is_named() -> None:
    with pytest.raises(InputError, match="no column 'depth_map'.*image and depth by `columns`"):
        from_hf(to_hf([make_sample()]).rename_column("depth_map", "disparity"))
    renamed = to_hf([make_sample()]).rename_columns({"depth_map": "d", "image": "rgb"})
    back = from_hf(renamed, image="rgb", depth="d")
    assert_same(make_sample(), next(iter(back)))


def test_broken_cells_cost_their_rows(tmp_path: Path) -> None:
    table = to_hf([make_sample(key) for key in ("a", "bb", "ccc")]).data.table.to_pylist()
    table[1]["image"]["bytes"] = table[1]["image"]["bytes"][:40]
    table[2]["depth_map"] = {"bytes": None, "path": "lost.tiff"}
    broken = hf.Dataset.from_list(table)
    broken.to_parquet(tmp_path / "train.parquet")
    for dataset in (open_dataset("parquet", tmp_path), from_hf(broken)):
        count = ProblemCount()
        assert [sample.key for sample in usable_samples(dataset, count)] == ["a"]
        assert count.total == 2 and "only a path to a file" in count.failures[1].reason
        with pytest.raises(InputError, match="^bb: "):
            list(usable_samples(dataset))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda depth: depth * 1000, "median depth is .* metres: these may be millimetres"),
        (lambda depth: depth / 5000, "the scale is too small"),
        (lambda depth: depth * np.float32(np.nan), "no pixel of its depth can be used"),
    ],
)
def test_wrong_units_and_empty_depth_are_noticed(change: Any, words: str) -> None:
    sample = make_sample()
    assert find_problem(sample) is None
    wrong = replace(sample, depth=replace(sample.depth, values=change(sample.depth.values)))
    with pytest.raises(InputError, match=words):
        list(usable_samples(from_hf(to_hf([wrong]), convention="metres")))  # which somebody takes for so
    if "no pixel" not in words:  # rows that say themselves that these are metres
        assert len(list(usable_samples(from_hf(to_hf([wrong]))))) == 1
    relative = replace(wrong, depth=replace(wrong.depth, kind="scale_invariant"))
    assert (find_problem(relative) is None) == ("no pixel" not in words)


def test_no_samples_are_no_data_set() -> None:
    with pytest.raises(InputError, match="at least one"):
        to_hf([])


MILLIMETRES = np.rint(1000 + 10 * np.indices((HEIGHT, WIDTH))[0]).astype(np.uint16)


def make_foreign(columns: dict[str, Any], **features: Any) -> Any:
    images = [Image.fromarray(make_scene().image)]
    kinds = {"image": hf.Image(), **{name: features.get(name, hf.Image()) for name in columns}}
    return hf.Dataset.from_dict({"image": images, **columns}, features=hf.Features(kinds))


@pytest.mark.parametrize("shape", [(HEIGHT, WIDTH), (1, HEIGHT, WIDTH), (HEIGHT, WIDTH, 1)])
@pytest.mark.parametrize("as_list", [False, True])
@pytest.mark.parametrize("dtype", ["float32", "float64", "uint16"])
def test_depth_as_an_array_is_read(shape: tuple[int, ...], as_list: bool, dtype: str, tmp_path: Path) -> None:
    values = (MILLIMETRES / (1 if dtype == "uint16" else 1000)).astype(dtype).reshape(shape)
    kind = hf.Array2D(shape, dtype) if len(shape) == 2 else hf.Array3D(shape, dtype)
    if as_list:
        kind = hf.Value(dtype)
        for _ in shape:
            kind = hf.List(kind)
    made = make_foreign({"depth_map": [values.tolist()]}, depth_map=kind)
    convention = "nyu" if dtype == "uint16" else "metres"
    made.save_to_disk(tmp_path / "saved")
    for dataset in (
        from_hf(made, convention=convention),
        from_hf(made.to_iterable_dataset(), convention=convention),
        open_dataset("hub", tmp_path / "saved", convention=convention),
    ):
        (sample,) = dataset
        np.testing.assert_allclose(sample.depth.values, MILLIMETRES / 1000, rtol=1e-6)


def test_depth_of_another_column_is_read_beside_one_of_the_usual_name(tmp_path: Path) -> None:
    small = Image.fromarray((MILLIMETRES // 8).astype(np.uint8))
    made = make_foreign({"depth_map": [small], "raw": [Image.fromarray(MILLIMETRES)]})
    made.save_to_disk(tmp_path / "saved")
    made.to_parquet(tmp_path / "parquet/train.parquet")
    for name, root in (("hub", "saved"), ("parquet", "parquet")):
        for words in ({"depth": "raw"}, {"columns": ("image", "raw")}):
            for means in ({"convention": "nyu"}, {"kind": "metric", "scale": 0.001}):
                (sample,) = open_dataset(name, tmp_path / root, **words, **means)
                np.testing.assert_allclose(sample.depth.values, MILLIMETRES / 1000, rtol=1e-6)
