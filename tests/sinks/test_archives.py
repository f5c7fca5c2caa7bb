"""Depth in shards, and images in shards: whole or not there, and only what is missing is done again."""

from __future__ import annotations

import io
import json
import tarfile
import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from camera_model import Camera
from file_digests import file_digests
from PIL import Image
from pyarrow import parquet

import cortexia_video as cx
from cortexia_video.cli import main
from cortexia_video.datasets.build import write_shards
from cortexia_video.datasets.build_items import list_run_items
from cortexia_video.errors import Failure
from cortexia_video.evaluation.predictors import open_predictor
from cortexia_video.images.decode import read_image_bytes
from cortexia_video.jobs.point_clouds import CloudOptions, make_point_clouds
from cortexia_video.ledger.artifacts import read_output
from cortexia_video.ledger.lines import read_done
from cortexia_video.sources.find import InputFile, find_images


@pytest.fixture
def photos(tmp_path: Path, make_image: Callable[..., Path]) -> Path:
    for index in range(10):
        make_image(tmp_path / "in" / f"{index}.png", seed=index)
    (tmp_path / "in/broken.jpg").write_bytes(b"no image")
    return tmp_path / "in"


def estimate(given: Any, output: Path, **options: Any) -> cx.Report:
    return cx.estimate(given, output, model="synthetic", **options)


def read_tars(root: Path) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    for path in root.glob("depth-*.tar"):
        with tarfile.open(path) as archive:
            for member in archive:
                file = archive.extractfile(member)
                assert file and member.name not in found
                found[member.name] = file.read()
    return found


def read_rows(root: Path) -> list[dict[str, Any]]:
    return [row for path in root.glob("depth-*.parquet") for row in parquet.read_table(path).to_pylist()]


def test_tars_hold_what_files_would(photos: Path, tmp_path: Path) -> None:
    report = estimate(photos, tmp_path / "packed", pack="tar", pack_size=4, pack_images=True, preview=True)
    estimate(photos, tmp_path / "files", preview=True)
    assert (report.done, report.failed) == (10, 1)
    found = read_tars(tmp_path / "packed")
    for index in range(10):
        key = f"{index}.png"
        for suffix in (".npy", ".preview.jpg"):
            assert found[key + suffix] == (tmp_path / "files" / (key + suffix)).read_bytes()
        assert found[key] == (photos / key).read_bytes()
        assert json.loads(found[f"{key}.json"])["kind"] == "disparity"
    shards = [path.name for path in (tmp_path / "packed").iterdir()]
    assert len(shards) == 3 + len(["ledger.jsonl", "depth.json"]), shards


def test_parquet_holds_what_files_would(photos: Path, tmp_path: Path) -> None:
    estimate(photos, tmp_path / "packed", pack="parquet", pack_size=4)
    estimate(photos, tmp_path / "files")
    rows = {row["key"]: row for row in read_rows(tmp_path / "packed")}
    assert len(rows) == 10
    for key, row in rows.items():
        assert row["depth"] == (tmp_path / "files" / row["name"]).read_bytes()
        assert row["name"] == f"{key}.npy" and row["image"] is None
    depth = np.load(io.BytesIO(rows["3.png"]["depth"]))
    assert depth.dtype == np.float32


@pytest.mark.parametrize("name", ["tar", "parquet"])
def test_the_second_time_only_unfinished_shards_are_made(photos: Path, tmp_path: Path, name: Any) -> None:
    packed, out = {"pack": name, "pack_size": 4}, tmp_path / "out"
    stop = threading.Event()
    first = estimate(photos, out, **packed, stop=stop, on_outcome=lambda *_: stop.set())
    assert first.interrupted and first.done == 4
    before = {path.name: path.stat().st_mtime_ns for path in out.glob("depth-*")}
    second = estimate(photos, out, **packed)
    assert (second.skipped, second.done) == (4, 6)
    assert {path: (out / path).stat().st_mtime_ns for path in before} == before
    estimate(photos, tmp_path / "whole", **packed)
    made, whole = (
        file_digests(folder, lambda name: name.startswith("depth-")) for folder in (out, tmp_path / "whole")
    )
    assert made == whole
    assert not (out / ".cortexia-partial").exists()


def test_a_lost_or_damaged_shard_is_made_again(photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    estimate(photos, out, pack="tar", pack_size=4)
    one, two, _ = sorted(out.glob("depth-*"))
    one.unlink()
    two.write_bytes(two.read_bytes()[:-1] + b"!")
    found = cx.verify(out, requeue=True)
    assert found.checked == 3 and {each.output for each in found.wrong} == {one.name, two.name}
    keys = len(found.wrong)
    assert keys in (6, 8)
    assert estimate(photos, out, pack="tar", pack_size=4).done == keys
    assert not cx.verify(out).wrong


def test_images_in_a_tar_are_inputs(photos: Path, tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "shard.tar", "w") as archive:
        archive.add(photos, "trip")
        archive.addfile(tarfile.TarInfo("../evil.png"))
        archive.addfile(tarfile.TarInfo("trip/words.txt"))
    report = estimate(tmp_path / "shard.tar", tmp_path / "out")
    estimate(photos, tmp_path / "files")
    assert (report.done, report.failed) == (10, 2)
    assert {each.key for each in report.failures} == {"shard/trip/broken.jpg", "shard/../evil.png"}
    for index in range(10):
        made = (tmp_path / f"out/shard/trip/{index}.png.npy").read_bytes()
        assert made == (tmp_path / f"files/{index}.png.npy").read_bytes()
    assert estimate(tmp_path / "shard.tar", tmp_path / "out").skipped == 10
    assert not (tmp_path / "evil.png.npy").exists()


@pytest.mark.parametrize("nested", [False, True])
def test_images_in_parquet_are_inputs(photos: Path, tmp_path: Path, nested: bool) -> None:
    data = [(photos / f"{index}.png").read_bytes() for index in range(10)]
    image: list[Any] = [{"bytes": each, "path": None} for each in data] if nested else data
    table = pa.table({"image": image, "key": [f"p/{index}" for index in range(10)]})
    parquet.write_table(table, tmp_path / "shard.parquet", row_group_size=3)
    found = [*find_images([tmp_path / "shard.parquet"])]
    assert [each.key for each in found] == [f"shard/p/{index}" for index in range(10)]
    read = [read_image_bytes(each.place) for each in found if isinstance(each, InputFile)]
    assert read == data
    assert estimate(tmp_path / "shard.parquet", tmp_path / "out").done == 10


@pytest.mark.parametrize("name", ["a.tar", "a.parquet"])
def test_a_broken_shard_is_a_failure(photos: Path, tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"this is no shard at all" * 100)
    (failure,) = find_images([tmp_path / name])
    assert isinstance(failure, Failure) and "no shard that can be read" in failure.reason


def test_what_cannot_be_packed_is_one_line(photos: Path, tmp_path: Path) -> None:
    for packed, said in (
        ({"pack": "zip"}, "`pack` must be one of tar, parquet, got 'zip'"),
        ({"pack": "tar", "pack_size": 0}, "`pack_size` must be at least 1, got 0"),
    ):
        with pytest.raises(cx.errors.InputError, match=said):
            estimate(photos, tmp_path / "out", **packed)


def test_the_command_packs(photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["estimate", str(photos), "--output", str(tmp_path / "out"), "--model", "synthetic"]
    with pytest.raises(SystemExit) as ended:
        main([*command, "--pack", "tar", "--pack-size", "100", "--pack-images"])
    assert ended.value.code == 1
    assert len(read_tars(tmp_path / "out")) == 30
    assert "\nspeed: " not in capsys.readouterr().out  # but with -v
    assert Image.open(io.BytesIO(read_tars(tmp_path / "out")["3.png"])).size == (64, 48)


@pytest.mark.parametrize("name", ["tar", "parquet"])
def test_what_reads_a_run_reads_a_packed_one(photos: Path, tmp_path: Path, name: Any) -> None:
    """Clouds, datasets, reports and scores of a packed run are those of one with files."""
    (photos / "broken.jpg").unlink()
    (photos / "trip").mkdir()
    (photos / "3.png").rename(photos / "trip/3.png")
    packed, files = tmp_path / "packed", tmp_path / "files"
    model = cx.DepthEstimator(Camera())
    cx.estimate(photos, files, model=model, recursive=True, f_px=50, preview=True)
    packing = {"pack": name, "pack_size": 4, "pack_images": True}
    cx.estimate(photos, packed, model=model, recursive=True, f_px=50, preview=True, **packing)
    made = [make_point_clouds(run, tmp_path / f"clouds-{run.name}").done for run in (packed, files)]
    assert made == [10, 10]
    clouds = [
        file_digests(tmp_path / f"clouds-{run.name}", lambda name: name.endswith(".ply"))
        for run in (packed, files)
    ]
    assert clouds[0] == clouds[1] and len(clouds[0]) == 10
    for run in (packed, files):
        items = list_run_items(photos, run, Counter())
        write_shards(items, tmp_path / f"set-{run.name}", format="webdataset")
    sets = [
        file_digests(tmp_path / f"set-{run.name}", lambda name: name.endswith(".tar"))
        for run in (packed, files)
    ]
    assert sets[0] == sets[1] and sets[0]
    pages = [cx.report(run) for run in (packed, files)]
    assert [len(page.summary.sample) for page in pages] == [10, 10]
    predictors = [open_predictor(str(run)) for run in (packed, files)]
    for key in ("0.png", "trip/3.png"):
        depths = [each.read(key) for each in predictors]  # type: ignore[attr-defined]
        np.testing.assert_array_equal(depths[0].values, depths[1].values)
    scaled = [tmp_path / f"scaled-{run.name}" for run in (packed, files)]
    assert [cx.convert(run, out, f_px=60).done for run, out in zip((packed, files), scaled, strict=True)] == [
        10,
        10,
    ]
    maps = [file_digests(out, lambda name: name.endswith(".npy")) for out in scaled]
    assert maps[0] == maps[1] and len(maps[0]) == 10
    before, after = np.load(files / "trip/3.png.npy"), np.load(scaled[0] / "trip/3.png.npy")
    np.testing.assert_array_equal(after, (before * np.float64(60 / 50)).astype(np.float32))


@pytest.mark.parametrize("name", ["tar", "parquet"])
def test_images_of_a_shard_are_read_again(photos: Path, tmp_path: Path, name: Any) -> None:
    """The depth of images in shards becomes clouds as that of files does."""
    (photos / "broken.jpg").unlink()
    estimate(photos, tmp_path / "first", pack=name, pack_size=20, pack_images=True)
    (shard,) = (tmp_path / "first").glob("depth-*")
    if name == "tar":
        estimate(shard, tmp_path / "second")
    else:
        estimate(shard, tmp_path / "second", pack="tar", pack_size=3)
    options = CloudOptions(near_m=1, far_m=9, fov_deg=60)
    made = make_point_clouds(tmp_path / "second", tmp_path / "clouds", options=options)
    assert made.done == 10, made.failures


def test_a_view_is_not_taken_for_the_image_of_its_name(tmp_path: Path, make_image: Any) -> None:
    """`a.jpg` has the view `a.jpg.png`, which is the name of another image."""
    make_image(tmp_path / "in/x.jpg", seed=1).rename(tmp_path / "in/a.jpg")
    make_image(tmp_path / "in/a.jpg.png", seed=2)
    estimate(tmp_path / "in", tmp_path / "out", format="png", pack="tar", pack_size=4, pack_images=True)
    estimate(tmp_path / "in", tmp_path / "files", format="png")
    for line in read_done(tmp_path / "out"):
        view = f"{line['key']}.png"
        assert read_output(tmp_path / "out", view, line) == (tmp_path / "files" / view).read_bytes()


@pytest.mark.parametrize("name", ["tar", "parquet"])
def test_a_damaged_part_of_a_shard_is_named(photos: Path, tmp_path: Path, name: Any) -> None:
    estimate(photos, tmp_path / "out", pack=name, pack_size=20)
    (shard,) = (tmp_path / "out").glob("depth-*")
    options = CloudOptions(near_m=1, far_m=9, fov_deg=60)
    if name == "tar":
        data = bytearray(shard.read_bytes())
        with tarfile.open(shard) as archive:
            data[archive.getmember("4.png.npy").offset_data + 200] ^= 1
        shard.write_bytes(data)
        made = make_point_clouds(tmp_path / "out", tmp_path / "clouds", options=options)
        assert [each.key for each in made.failures] == ["4.png"]
        assert "4.png.npy: it is not what was written" in made.failures[0].reason
    shard.unlink()
    made = make_point_clouds(tmp_path / "out", tmp_path / "clouds", options=options, overwrite=True)
    assert made.failed == 10 and "it is missing" in made.failures[0].reason


@pytest.mark.parametrize("name", ["tar", "parquet"])
def test_a_packed_run_is_converted_as_its_files_would_be(photos: Path, tmp_path: Path, name: Any) -> None:
    (photos / "trip").mkdir()
    (photos / "3.png").rename(photos / "trip/3.png")
    files, packed = tmp_path / "files", tmp_path / "runs/packed"
    model = cx.DepthEstimator(Camera())
    cx.estimate(photos, files, model=model, recursive=True, f_px=50)
    cx.estimate(photos, packed, model=model, recursive=True, f_px=50, pack=name, pack_size=4)
    reports = [cx.convert(run, tmp_path / f"png-{run.name}", format="png16") for run in (files, packed)]
    assert [(report.done, report.failed) for report in reports] == [(10, 0), (10, 0)]
    made = [
        file_digests(tmp_path / f"png-{run.name}", lambda each: "ledger" not in each)
        for run in (files, packed)
    ]
    assert made[0] == made[1] and "trip/3.png.16.png" in made[0]
    facts = [
        {line["key"]: (line["kind"], line["f_px"], line["model"], line["image"]) for line in read_done(out)}
        for out in (tmp_path / "png-files", tmp_path / "png-packed")
    ]
    assert facts[0] == facts[1] and len(facts[0]) == 10
    again = cx.convert(packed, tmp_path / "png-packed", format="png16")
    assert (again.done, again.skipped) == (0, 10)
    assert cx.convert(tmp_path / "runs", tmp_path / "all", format="exr").done == 10, (
        "also from a folder above"
    )
    assert (tmp_path / "all/packed/trip/3.png.exr").exists()
    depth, expected = (cx.read_depth(run / "trip/3.png.npy") for run in (packed, files))
    np.testing.assert_array_equal(depth.values, expected.values)
    assert (depth.kind, depth.f_px, depth.model) == (expected.kind, 50, expected.model)
    looked = [cx.inspect(run) for run in (packed, files)]
    assert looked[0].files == looked[1].files == {".npy": 10} and looked[0].bytes == looked[1].bytes
    assert len(looked[0].sampled) == 10 and not looked[0].failures
    with pytest.raises(cx.errors.DepthFileError, match="No such file"):
        cx.read_depth(packed / "trip/4.png.npy")


def test_shards_that_are_lost_damaged_or_alone_are_failures(photos: Path, tmp_path: Path) -> None:
    packed = tmp_path / "packed"
    estimate(photos, packed, pack="tar", pack_size=4)
    gone, damaged, whole = sorted(packed.glob("depth-*"))
    gone.unlink()
    damaged.write_bytes(bytes(damaged.stat().st_size))
    report = cx.convert(packed, tmp_path / "out", format="pfm")
    kept = 10 - report.failed
    assert report.found == 10 and 0 < kept <= 4
    assert {each.reason.partition(": ")[2].partition(":")[0] for each in report.failures} == {
        "it is missing",
        "it is not what was written",
    }
    alone = tmp_path / "alone"
    alone.mkdir()
    whole.rename(alone / whole.name)
    (lonely,) = cx.convert(alone, tmp_path / "of-alone", format="pfm").failures
    assert lonely.key == whole.name and "must lie beside it" in lonely.reason
