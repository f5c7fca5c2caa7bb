"""Datasets and evaluations at URLs: what a folder gives, an S3 server in this process gives."""

from __future__ import annotations

import functools
import http.server
import json
import multiprocessing
import os
import shutil
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from conftest import HANG_S

pytest.importorskip("s3fs")
from dataset_layouts import MAKERS, make_kitti, make_rgbd, make_scene, save, whole
from hypothesis import given
from hypothesis import strategies as st
from remote_folders import read_folder
from s3_server import BUCKET, Server, put, read_all

from cortexia_video import RGBDSample, estimate, open_dataset
from cortexia_video.cli import main
from cortexia_video.datasets.build import BuildReport, write_shards
from cortexia_video.datasets.build_items import list_dataset_items
from cortexia_video.datasets.registry import DATASETS, recognise
from cortexia_video.errors import InputError, OutputExistsError, OutputLostError
from cortexia_video.storage.listing import Listing
from cortexia_video.storage.paths import follow, to_path
from cortexia_video.storage.remote_path import RemotePath
from cortexia_video.training.pseudo_labels import label_images

S3 = f"s3://{BUCKET}"
OPTIONS: dict[str, dict[str, Any]] = {
    "7scenes": {"allow_unregistered": True},
    "pairs": {"convention": "tum", "images": "rgb/*.*", "depths": "depth/*.png"},
}
MakeImage = Callable[..., Path]


def upload(folder: Path, prefix: str) -> str:
    """Put the files of a folder at a URL, and give that."""
    for path in folder.rglob("*"):
        if path.is_file():
            put(f"{prefix}/{path.relative_to(folder).as_posix()}", path.read_bytes())
    return f"{S3}/{prefix}"


def cortexia(*arguments: object) -> int:
    with pytest.raises(SystemExit) as ended:
        main([*map(str, arguments)])
    return int(ended.value.code or 0)


def describe(sample: RGBDSample) -> tuple[Any, ...]:
    """Return all of a sample, its arrays as bytes."""
    depth, mask = sample.depth, sample.mask
    facts = (sample.key, sample.origin, sample.sparse, sample.camera, depth.kind, depth.f_px)
    arrays = (sample.frame.image, depth.values, np.zeros(0) if mask is None else mask)
    return *facts, *(array.tobytes() for array in arrays)


def make_set(name: str, root: Path) -> None:
    if name in MAKERS:
        MAKERS[name](root, make_scene(), 3)
        return
    make_rgbd(root.with_name("made"), make_scene(), 3)
    items = list_dataset_items(open_dataset("rgbd", root.with_name("made")))  # type: ignore[arg-type]
    write_shards(items, root, format=name, shard_size=2)


@pytest.mark.parametrize("name", [*MAKERS, "parquet", "webdataset"])
def test_samples_at_a_url_are_those_of_the_folder(name: str, place: str, tmp_path: Path) -> None:
    make_set(name, tmp_path / "set")
    url = upload(tmp_path / "set", f"{place}/set")
    options = OPTIONS.get(name, {})
    for split in (None, *(DATASETS[name].splits or ())[:1]):
        try:
            local = [*open_dataset(name, tmp_path / "set", split=split, **options)]
        except InputError as error:
            with pytest.raises(InputError) as raised:
                open_dataset(name, url, split=split, **options)
            assert str(raised.value) == str(error).replace(str(tmp_path / "set"), url)
            continue
        opened = open_dataset(name, url, split=split, **options)
        assert [*map(describe, opened)] == [*map(describe, local)]
        assert opened.root == url
        by_file = open_dataset(name, f"file://{tmp_path}/set", split=split, **options)
        assert [*map(describe, by_file)] == [*map(describe, local)]
    if DATASETS[name].marks:
        assert recognise(url) == name == recognise(f"file://{tmp_path}/set")


def test_every_row_but_those_of_the_hub_is_tested() -> None:
    assert {*DATASETS} == {*MAKERS, "parquet", "webdataset", "hub", "nyu"}
    for name in ("hub", "nyu"):
        with pytest.raises(InputError, match=r"s3://bucket/set: .*org/name.*name='parquet'"):
            open_dataset(name, "s3://bucket/set")


def test_a_data_set_is_listed_once_and_a_sample_is_one_request_a_file(
    server: Server, place: str, tmp_path: Path
) -> None:
    make_set("sunrgbd", tmp_path / "set")
    url = upload(tmp_path / "set", f"{place}/set")
    server.requests.clear()
    opened = open_dataset("sunrgbd", url)
    asked = [path for method, path in server.requests if method == "GET"]
    assert len([path for path in asked if path.strip("/") == BUCKET]) == 1, "one LIST"
    assert len(server.requests) == 1 + 3, "and the camera of each image"
    server.requests.clear()
    opened[0]  # type: ignore[index]
    assert [method for method, _ in server.requests] == ["GET", "GET"]


def test_recognising_a_set_lists_once_however_large_it_is(
    server: Server, place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_set("rgbd", tmp_path / "set")
    url = upload(tmp_path / "set", f"{place}/set")
    server.requests.clear()
    assert recognise(url) == "rgbd"
    assert len(server.requests) == 3, "is it an object, is it a folder, what is in it"
    monkeypatch.setattr("cortexia_video.datasets.registry._LOOKED_AT", 2)
    server.requests.clear()
    assert recognise(url) == "rgbd", "set.json is asked for: it comes after depth/"
    assert len(server.requests) <= 3 + 2 * 4, "and whether four names are there, which hold no *"
    put(f"{place}/other/a.bin", b"1")
    with pytest.raises(InputError, match=r"the first 2 were looked at.*give its `name`, one of"):
        recognise(f"{S3}/{place}/other")


def test_of_parquet_only_the_row_groups_that_are_needed_are_read(
    server: Server, place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cortexia_video.datasets.shard_writers._GROUP_BYTES", 1)
    make_rgbd(tmp_path / "made", make_scene(), 8)
    items = list_dataset_items(open_dataset("rgbd", tmp_path / "made"))  # type: ignore[arg-type]
    write_shards(items, tmp_path / "set", shard_size=8)
    url = upload(tmp_path / "set", f"{place}/set")
    size = (tmp_path / "set/train-00000.parquet").stat().st_size
    read: list[int] = []
    read_bytes = RemotePath.read_bytes

    def count(self: RemotePath, start: int | None = None, end: int | None = None) -> bytes:
        read.append(len(data := read_bytes(self, start, end)))
        return data

    monkeypatch.setattr(RemotePath, "read_bytes", count)
    opened = open_dataset("parquet", url)
    opened[2]  # type: ignore[index]
    read.clear()
    assert opened[5].key == "5"  # type: ignore[index]
    assert len(read) == 1 and read[0] < size / 4, (read, size)


def test_a_file_is_read_in_parts(place: str, tmp_path: Path) -> None:
    values = np.random.default_rng(0).integers(0, 256, (64, 4096), dtype=np.uint8)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("values", data=values, chunks=(1, 4096))
    put(f"{place}/a.h5", (tmp_path / "a.h5").read_bytes())
    remote = to_path(f"{S3}/{place}/a.h5")
    with remote.open("rb", 1024) as opened, h5py.File(opened, "r") as file:
        np.testing.assert_array_equal(file["values"][40], values[40])
    with remote.open("rb", 0) as opened:
        assert opened.seek(-3, os.SEEK_END) == (tmp_path / "a.h5").stat().st_size - 3
        assert opened.read() == (tmp_path / "a.h5").read_bytes()[-3:]


def read_opened(opened: Any, queue: Any) -> None:
    queue.put([*map(describe, opened)])


@pytest.mark.parametrize("name", ["rgbd", "parquet", "webdataset", "nyu-labeled"])
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_a_worker_reads_what_its_parent_has_opened(name: str, place: str, tmp_path: Path) -> None:
    make_set(name, tmp_path / "set")
    url = upload(tmp_path / "set", f"{place}/set")
    opened = open_dataset(name, url)
    here = [*map(describe, opened)]
    for method in ("fork", "spawn"):
        context = multiprocessing.get_context(method)
        queue = context.Queue()
        worker = context.Process(target=read_opened, args=(opened, queue))
        worker.start()
        try:
            assert queue.get(timeout=HANG_S) == here
        finally:
            worker.join(HANG_S)
            worker.kill()


def test_a_loader_of_torch_reads_in_its_workers(place: str, tmp_path: Path) -> None:
    pytest.importorskip("torch")
    from torch.utils.data import DataLoader

    from cortexia_video.datasets.torch.datasets import SampleDataset

    make_set("parquet", tmp_path / "set")
    url = upload(tmp_path / "set", f"{place}/set")
    local, remote = (SampleDataset(open_dataset("parquet", root)) for root in (tmp_path / "set", url))  # type: ignore[arg-type]
    pairs = zip(DataLoader(local), DataLoader(remote, num_workers=1), strict=True)  # forked, on Linux
    assert all((one["pixel_values"] == other["pixel_values"]).all() for one, other in pairs)


@pytest.mark.parametrize("form", ["parquet", "webdataset"])
def test_a_build_in_a_bucket_gives_the_bytes_of_a_folder(
    form: str, server: Server, place: str, tmp_path: Path, make_image: MakeImage
) -> None:
    for number in range(5):
        make_image(tmp_path / f"photos/trip/{number}.jpg", (48, 64), number)
    photos = upload(tmp_path / "photos", f"{place}/photos")
    estimate(photos, f"{S3}/{place}/run", model="synthetic", recursive=True)
    estimate(tmp_path / "photos", tmp_path / "run", model="synthetic", recursive=True)
    build = ("dataset", "build", "--format", form, "--shard-size", 2)
    out = f"{S3}/{place}/pairs"
    remote = (*build, photos, "--depth", f"{S3}/{place}/run")
    assert cortexia(*build, tmp_path / "photos", "--depth", tmp_path / "run", "-o", tmp_path / "pairs") == 0
    assert cortexia(*remote, "-o", out) == 0
    assert cortexia(*remote, "-o", tmp_path / "down") == 0
    local, down = (shards(read_folder(tmp_path / name)) for name in ("pairs", "down"))
    assert shards(read_all(f"{place}/pairs")) == local == down and len(local) == 3
    server.requests.clear()
    assert cortexia(*remote, "-o", out) == 0, "again"
    assert not [path for method, path in server.requests if method == "PUT"]
    other = upload(tmp_path / "photos", f"{place}/other")
    with pytest.raises(SystemExit) as ended:
        main([*map(str, (*build, other, "--depth", f"{S3}/{place}/run", "-o", out))])
    assert ended.value.code == 2
    assert shards(read_all(f"{place}/pairs")) == local


def shards(found: dict[str, bytes]) -> dict[str, bytes]:
    return {name: data for name, data in found.items() if name != "build.jsonl"}


def test_a_build_that_was_stopped_goes_on(server: Server, place: str, tmp_path: Path) -> None:
    make_set("rgbd", tmp_path / "set")
    dataset = open_dataset("rgbd", upload(tmp_path / "set", f"{place}/set"))
    count = 0

    def deny(environ: dict[str, Any]) -> tuple[str, bytes] | None:
        nonlocal count
        count += environ["REQUEST_METHOD"] == "PUT" and environ["PATH_INFO"].endswith(".parquet")
        return ("403 Forbidden", b"AccessDenied") if count > 1 else None

    def build(output: Any) -> BuildReport:
        return write_shards(list_dataset_items(dataset), output, shard_size=1)  # type: ignore[arg-type]

    server.rule = deny
    with pytest.raises(OutputLostError, match=r"no permission: .*run the same command again"):
        build(f"{S3}/{place}/out")
    server.rule = None
    report = build(f"{S3}/{place}/out")
    assert (report.shards_kept, report.shards_made) == (1, 2)
    build(tmp_path / "out")
    assert shards(read_all(f"{place}/out")) == shards(read_folder(tmp_path / "out"))
    to_path(f"{S3}/{place}/out/train-00001.parquet").unlink()
    assert build(f"{S3}/{place}/out").shards_made == 1, "what is gone is made again"


def test_what_others_put_there_is_not_built_over(place: str, tmp_path: Path) -> None:
    make_set("rgbd", tmp_path / "set")
    items = [*list_dataset_items(open_dataset("rgbd", tmp_path / "set"))]  # type: ignore[arg-type]
    put(f"{place}/out/precious.txt", b"1")
    with pytest.raises(OutputExistsError, match=r"holds precious.txt"):
        write_shards(items, f"{S3}/{place}/out")
    assert [*read_all(f"{place}/out")] == ["precious.txt"]


def test_info_and_preview_take_urls(place: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_set("tum", tmp_path / "set")
    url = upload(tmp_path / "set", f"{place}/set")
    assert cortexia("dataset", "info", tmp_path / "set") == 0
    local = capsys.readouterr().out
    assert cortexia("dataset", "info", url) == 0
    assert capsys.readouterr().out == local
    assert cortexia("dataset", "preview", url, "-o", f"{S3}/{place}/sheet.png") == 0
    assert cortexia("dataset", "preview", tmp_path / "set", "-o", tmp_path / "sheet.png") == 0
    assert read_all(place)["sheet.png"] == (tmp_path / "sheet.png").read_bytes()


def save_depth(folder: Path, count: int, wrong: float) -> None:
    random = np.random.default_rng(3)
    for index in range(count):
        depth = random.uniform(1, 5, (12, 16)) * (1 + wrong * random.normal(0, 0.1, (12, 16)))
        save(whole(depth, 1000), folder / f"trip/{index}.png")


def results(text: bytes) -> dict[str, Any]:
    """Return the numbers of results.json, and not where things lie."""
    found: dict[str, Any] = json.loads(text)
    del found["truth"]
    found["totals"] = [*found["totals"].values()]
    found["sets"] = [*found["sets"].values()]
    return {name: found[name] for name in ("protocol", "totals", "sets", "without reference")}


def test_depth_files_in_a_bucket_are_measured_as_in_a_folder(
    server: Server, place: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, wrong in (("truth", 0.0), ("good", 1.0), ("bad", 2.0)):
        save_depth(tmp_path / name, 3, wrong)
    root = upload(tmp_path, place)
    words = ("--from", "nyu", "--truth-from", "nyu", "--protocol", "moge-metric", "-o")

    def run(at: object, output: object) -> int:
        return cortexia("evaluate", f"{at}/good", f"{at}/bad", "--truth", f"{at}/truth", *words, output)

    assert run(tmp_path, tmp_path / "out") == 0
    assert run(root, f"{root}/out") == 0
    assert run(f"file://{tmp_path}", tmp_path / "file") == 0
    found = read_all(f"{place}/out")
    assert sorted(found) == ["images.csv", "page.html", "results.json", "scores.jsonl"]
    local = read_folder(tmp_path / "out")
    assert results(found["results.json"]) == results(local["results.json"])
    assert results((tmp_path / "file/results.json").read_bytes()) == results(local["results.json"])
    assert found["scores.jsonl"].count(b"\n") == 6
    server.requests.clear()
    assert run(root, f"{root}/out") == 0, "again"
    assert not [path for method, path in server.requests if method == "PUT" and "scores" in path]
    capsys.readouterr()
    assert cortexia("evaluate", f"{root}/bad", "--truth", f"{root}/good", *words, f"{root}/out") == 2
    assert f"{root}/out holds an evaluation against {root}/truth" in capsys.readouterr().err


def test_a_set_and_a_run_in_a_bucket_are_measured_as_in_a_folder(
    place: str, tmp_path: Path, make_image: MakeImage
) -> None:
    for name in ("one", "two"):
        make_rgbd(tmp_path / f"sets/{name}", make_scene(len(name)), 2, name=name)
        make_image(tmp_path / f"sets/{name}/rgb/1.png", (48, 64), 9)
    sets = upload(tmp_path / "sets", f"{place}/sets")
    estimate(sets, f"{S3}/{place}/run", model="synthetic", recursive=True)
    estimate(tmp_path / "sets", tmp_path / "run", model="synthetic", recursive=True)
    words = ("synthetic", "--protocol", "moge-disparity", "--truth")
    remote = cortexia("evaluate", f"{S3}/{place}/run", *words, sets, "-o", f"{S3}/{place}/out")
    local = cortexia("evaluate", tmp_path / "run", *words, tmp_path / "sets", "-o", tmp_path / "out")
    assert remote == local == 0
    found, there = read_all(f"{place}/out"), read_folder(tmp_path / "out")
    assert results(found["results.json"]) == results(there["results.json"])
    assert found["page.html"].count(b"data:image") == there["page.html"].count(b"data:image") > 0


def test_scores_are_put_when_an_evaluation_ends_by_an_error(
    place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("truth", "good"):
        save_depth(tmp_path / name, 3, 0.5)
    root = upload(tmp_path, place)
    words = (
        "--from",
        "nyu",
        "--truth-from",
        "nyu",
        "--protocol",
        "moge-metric",
        "-o",
        f"{root}/out",
    )
    with monkeypatch.context() as patch:
        patch.setattr("cortexia_video.evaluation.job.EvaluateJob.make_columns", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            main(["evaluate", f"{root}/good", "--truth", f"{root}/truth", *words])
    assert [*read_all(f"{place}/out")] == ["scores.jsonl"]
    monkeypatch.setattr("cortexia_video.evaluation.job.score_image", None)  # nothing is measured again
    assert cortexia("evaluate", f"{root}/good", "--truth", f"{root}/truth", *words) == 0


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (("dataset", "info", "s3://no-such-bucket/set"), "no such bucket: check its name and region"),
        (("dataset", "info", f"{S3}/nothing"), f"no such object or folder: {S3}/nothing"),
        (("dataset", "info", f"{S3}/nothing", "--name", "tum"), f"no such object or folder: {S3}/nothing"),
        (
            ("dataset", "build", f"{S3}/HERE", "-o", "s3://no-such-bucket/set"),
            "no such bucket: check its name",
        ),
        (("dataset", "build", f"{S3}/HERE", "--depth", f"{S3}/HERE", "-o", f"{S3}/x"), "no ledger in s3://"),
        (("evaluate", "synthetic", "--truth", "s3://no-such-bucket/a"), "no such bucket: check its name"),
        (("evaluate", "synthetic", "--truth", f"{S3}/nothing"), "no such object or folder"),
        (("evaluate", f"{S3}/nothing", "--truth", f"{S3}/HERE"), "no depth files in s3://bucket/nothing"),
        (("evaluate", "s3://no-such-bucket/a", "--truth", f"{S3}/HERE"), "no such bucket: check its name"),
        (("dataset", "info", "https://me:secret@127.0.0.1:9/a?sig=secret"), "https://127.0.0.1:9/a"),
    ],
)
def test_what_cannot_be_is_one_line(
    command: tuple[str, ...], said: str, place: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make_rgbd(tmp_path / "set", make_scene(), 1)
    upload(tmp_path / "set", "set-for-errors")
    assert cortexia(*(word.replace("HERE", "set-for-errors") for word in command)) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1 and said in lines[0] and "secret" not in lines[0], lines


@pytest.mark.parametrize("command", ["info", "build", "evaluate"])
def test_without_permission_it_is_one_line(
    command: str, server: Server, place: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    server.rule = lambda environ: ("403 Forbidden", b"AccessDenied")
    words = {
        "info": ("dataset", "info", f"{S3}/set"),
        "build": ("dataset", "build", f"{S3}/set", "-o", tmp_path / "out"),
        "evaluate": ("evaluate", "synthetic", "--truth", f"{S3}/set"),
    }
    assert cortexia(*words[command]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1 and "no permission: give these credentials" in lines[0], lines


def test_an_object_that_vanishes_costs_its_own_sample(place: str, tmp_path: Path) -> None:
    make_kitti(tmp_path / "set", make_scene(), 3)
    opened = open_dataset("kitti", upload(tmp_path / "set", f"{place}/set"))
    gone = opened.entries[1].depth  # type: ignore[union-attr]
    gone.unlink()
    said = [str(each) for each in opened.attempt()]
    assert f"{gone}: cannot be read: not found: no such object or bucket" in said[1]
    assert not any("cannot be read" in said[index] for index in (0, 2))


@pytest.mark.parametrize("name", ["nyu-labeled", "parquet", "webdataset", "hypersim"])
def test_what_a_library_is_refused_is_said_in_our_words(
    name: str, server: Server, place: str, tmp_path: Path
) -> None:
    make_set(name, tmp_path / "set")
    opened = open_dataset(name, upload(tmp_path / "set", f"{place}/set"))
    server.rule = lambda environ: (
        ("403 Forbidden", b"AccessDenied") if environ["REQUEST_METHOD"] == "GET" else None
    )
    said = [str(each) for each in opened.attempt()]
    assert said and all(each.endswith("the right to list, read and write there") for each in said), said


def test_of_https_what_needs_no_listing_is_read(tmp_path: Path) -> None:
    for name in ("rgbd", "webdataset", "parquet"):
        make_set(name, tmp_path / name)
    handler = functools.partial(Quiet, directory=str(tmp_path))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as web:
        threading.Thread(target=web.serve_forever, daemon=True).start()
        root = f"http://127.0.0.1:{web.server_port}"
        assert recognise(f"{root}/rgbd") == "rgbd"
        for name, inside in (("rgbd", ""), ("webdataset", "/train-00000.tar")):
            local = open_dataset(name, tmp_path / f"{name}{inside}")
            assert [*map(describe, open_dataset(name, f"{root}/{name}{inside}"))] == [*map(describe, local)]
        (whole,) = open_dataset("parquet", f"{root}/parquet/train-00000.parquet").attempt()
        assert "its server gives no parts of it, or it changed: copy it here" in str(whole)
        with pytest.raises(InputError, match="cannot be listed"):
            open_dataset("tum", f"{root}/rgbd")
        web.shutdown()


class Quiet(http.server.SimpleHTTPRequestHandler):
    """Serves files, whole ones only."""

    def log_message(self, *_: object) -> None:
        pass


def test_other_stores_list_as_s3_does(tmp_path: Path) -> None:
    """fsspec's memory stands for what has no pages: gs, az."""
    make_set("hypersim", tmp_path / "set")
    root = RemotePath(f"memory://{tmp_path.name}/set")
    for path in (tmp_path / "set").rglob("*.*"):
        (root / path.relative_to(tmp_path / "set").as_posix()).write_bytes(path.read_bytes())
    local = open_dataset("hypersim", tmp_path / "set")
    assert [*map(describe, open_dataset("hypersim", str(root)))] == [*map(describe, local)]
    assert recognise(str(root)) == "hypersim"
    with pytest.raises(InputError, match="no such object"):
        open_dataset("diode", str(root / "none"))


_PARTS = st.sampled_from(["a", "b", ".c", "a.png", "b.a", "seq-1", "a-b", "[x]"])
_WILD = st.sampled_from(["**", "*", "?", "*.png", "[ab]", "[!a]*", "a", "a*b", "*.*", "seq-*", "b"])


@given(
    names=st.sets(st.lists(_PARTS, min_size=1, max_size=4).map("/".join), min_size=1, max_size=12),
    pattern=st.lists(_WILD, min_size=1, max_size=4).filter(lambda parts: parts[-1] != "**").map("/".join),
)
def test_patterns_fit_what_pathlib_says(
    names: set[str], pattern: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    files = {name for name in names if not any(other.startswith(f"{name}/") for other in names)}
    root = tmp_path_factory.mktemp("tree")
    for name in files:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    try:
        expected = [path.relative_to(root).as_posix() for path in sorted({*root.glob(pattern)})]
        listing = Listing(files)
        assert listing.match(pattern) == expected
        for name in {*expected, *files}:
            assert listing.has_folder(name) == (root / name).is_dir()
            assert listing.has_file(name) == (root / name).is_file()
    finally:
        shutil.rmtree(root)


def test_names_in_a_file_may_lead_up_and_nowhere() -> None:
    root = to_path("s3://bucket/set/one")
    assert [str(follow(root, name)) for name in ("rgb/a.png", "./b.png", "../two/c.png")] == [
        "s3://bucket/set/one/rgb/a.png",
        "s3://bucket/set/one/b.png",
        "s3://bucket/set/two/c.png",
    ]


def test_a_teacher_labels_images_in_a_bucket(place: str, tmp_path: Path, make_image: MakeImage) -> None:
    for number in range(2):
        make_image(tmp_path / f"photos/{number}.png", (48, 64), number)
    url = upload(tmp_path / "photos", f"{place}/photos")
    local, remote = (
        label_images(str(root), tmp_path / name, "synthetic", any_licence=True)
        for name, root in (("a", tmp_path / "photos"), ("b", url))
    )
    assert [*map(describe, remote)] == [*map(describe, local)]


def test_scenes_are_not_rendered_to_a_web_server(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    from cortexia_video.training.data import plan_mix
    from cortexia_video.training.recipe import DataPlan, Recipe

    recipe = Recipe("name", 1, data=(DataPlan("scenes", "s3://bucket/pool", options={"count": 100}),))
    with pytest.raises(InputError, match="rendered to a folder of this machine, not s3://bucket/pool"):
        plan_mix(recipe, None, tmp_path)  # type: ignore[arg-type]


def test_urls_sort_as_paths_do() -> None:
    names = ["a/b", "a-b/c", "a", "a/b/c", "a.b", "B"]
    places = [RemotePath(f"s3://bucket/{name}") for name in names]
    assert [str(each)[12:] for each in sorted(places)] == [str(each) for each in sorted(map(Path, names))]


def test_a_comparison_takes_images_at_urls(
    place: str, tmp_path: Path, make_image: MakeImage, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("openvino")
    make_image(tmp_path / "photos/a.png", (48, 64), 1)
    url = upload(tmp_path / "photos", f"{place}/photos")
    assert cortexia("evaluate", url, "--compare", "openvino,float32") == 0
    assert "a.png" in capsys.readouterr().out
