"""Depth in shards, and pictures in shards: whole or not there, and only what is missing is done again."""

from __future__ import annotations

import io
import json
import tarfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image
from pyarrow import parquet

import cortexia_video as cv
from cortexia_video.cli import main
from cortexia_video.errors import Failure
from cortexia_video.packing import Packing
from cortexia_video.sources.files import InputFile, find_pictures, read_picture


@pytest.fixture
def photos(tmp_path: Path, make_picture: Callable[..., Path]) -> Path:
    for index in range(10):
        make_picture(tmp_path / "in" / f"{index}.png", seed=index)
    (tmp_path / "in/broken.jpg").write_bytes(b"no picture")
    return tmp_path / "in"


def estimate(given: Any, output: Path, **options: Any) -> cv.Report:
    return cv.estimate(given, output, model="synthetic", **options)


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
    report = estimate(photos, tmp_path / "packed", packing=Packing("tar", 4, images=True), preview=True)
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
    estimate(photos, tmp_path / "packed", packing=Packing("parquet", 4))
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
    packing, out = Packing(name, 4), tmp_path / "out"
    stop = threading.Event()
    first = estimate(photos, out, packing=packing, stop=stop, on_outcome=lambda *_: stop.set())
    assert first.interrupted and first.done == 4
    before = {path.name: path.stat().st_mtime_ns for path in out.glob("depth-*")}
    second = estimate(photos, out, packing=packing)
    assert (second.skipped, second.done) == (4, 6)
    assert {path: (out / path).stat().st_mtime_ns for path in before} == before
    estimate(photos, tmp_path / "whole", packing=packing)
    made = {path.name: path.read_bytes() for path in out.glob("depth-*")}
    assert made == {path.name: path.read_bytes() for path in (tmp_path / "whole").glob("depth-*")}
    assert not (out / ".cortexia-partial").exists()


def test_a_lost_or_damaged_shard_is_made_again(photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    estimate(photos, out, packing=Packing("tar", 4))
    one, two, _ = sorted(out.glob("depth-*"))
    one.unlink()
    two.write_bytes(two.read_bytes()[:-1] + b"!")
    found = cv.verify(out, requeue=True)
    assert found.checked == 3 and {each.output for each in found.wrong} == {one.name, two.name}
    keys = len(found.wrong)
    assert keys in (6, 8)
    assert estimate(photos, out, packing=Packing("tar", 4)).done == keys
    assert not cv.verify(out).wrong


def test_pictures_in_a_tar_are_inputs(photos: Path, tmp_path: Path) -> None:
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
def test_pictures_in_parquet_are_inputs(photos: Path, tmp_path: Path, nested: bool) -> None:
    data = [(photos / f"{index}.png").read_bytes() for index in range(10)]
    image: list[Any] = [{"bytes": each, "path": None} for each in data] if nested else data
    table = pa.table({"image": image, "key": [f"p/{index}" for index in range(10)]})
    parquet.write_table(table, tmp_path / "shard.parquet", row_group_size=3)
    found = [*find_pictures([tmp_path / "shard.parquet"])]
    assert [each.key for each in found] == [f"shard/p/{index}" for index in range(10)]
    read = [read_picture(each.place) for each in found if isinstance(each, InputFile)]
    assert read == data
    assert estimate(tmp_path / "shard.parquet", tmp_path / "out").done == 10


@pytest.mark.parametrize("name", ["a.tar", "a.parquet"])
def test_a_broken_shard_is_a_failure(photos: Path, tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"this is no shard at all" * 100)
    (failure,) = find_pictures([tmp_path / name])
    assert isinstance(failure, Failure) and "no shard that can be read" in failure.reason


def test_what_cannot_be_packed_is_one_line(photos: Path, tmp_path: Path) -> None:
    for packing, said in (
        (Packing("zip"), "--pack must be tar or parquet, not 'zip'"),  # type: ignore[arg-type]
        (Packing("tar", 0), "--pack-size must be more than 0, not 0"),
    ):
        with pytest.raises(cv.InputError, match=said):
            estimate(photos, tmp_path / "out", packing=packing)


def test_the_command_packs(photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["estimate", str(photos), "--output", str(tmp_path / "out"), "--model", "synthetic"]
    with pytest.raises(SystemExit) as ended:
        main([*command, "--pack", "tar", "--pack-size", "100", "--pack-images"])
    assert ended.value.code == 1
    assert len(read_tars(tmp_path / "out")) == 30
    assert Image.open(io.BytesIO(read_tars(tmp_path / "out")["3.png"])).size == (64, 48)
