"""`cortexia dataset`: shards that are whole or not there, the same each time, done once; what it prints."""

from __future__ import annotations

import json
import tarfile
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from dataset_layouts import MAKERS, Scene, make_rgbd, make_scene, save, whole
from file_digests import file_digests
from PIL import Image
from pyarrow import parquet

from cortexia_video import (
    DepthMap,
    Frame,
    RGBDSample,
    build_dataset,
    decode,
    estimate,
    open_dataset,
    read_depth,
)
from cortexia_video.cli import main
from cortexia_video.datasets import Mixture, open_folder, usable_samples
from cortexia_video.datasets.build import write_shards
from cortexia_video.datasets.build_items import NO_DEPTH, list_dataset_items
from cortexia_video.datasets.dataset import RGBDDataset
from cortexia_video.datasets.registry import DATASETS
from cortexia_video.datasets.sample_checks import ProblemCount, raise_problem
from cortexia_video.datasets.summary import make_sheet, summarise
from cortexia_video.depth_map import DepthKind
from cortexia_video.errors import InputError, OutputError, OutputExistsError, OutputLostError
from cortexia_video.ledger.ledger import AppendLog

MakeImage = Callable[..., Path]


@pytest.fixture
def run(tmp_path: Path, make_image: MakeImage) -> tuple[Path, Path]:
    """Return images and the output of a run over them."""
    for number in range(5):
        make_image(tmp_path / f"photos/trip/{number}.jpg", (48, 64), number)
    make_image(tmp_path / "photos/turned.jpg", (64, 48), 7)
    with Image.open(tmp_path / "photos/turned.jpg") as image:
        exif = image.getexif()
        exif[0x0112] = 6
        image.save(tmp_path / "photos/turned.jpg", exif=exif)
    make_image(tmp_path / "photos/z.png", (48, 64), 8)
    estimate(tmp_path / "photos", tmp_path / "depth", model="synthetic", recursive=True)
    return tmp_path / "photos", tmp_path / "depth"


def cortexia(*arguments: object) -> int:
    with pytest.raises(SystemExit) as ended:
        main([*map(str, arguments)])
    return int(ended.value.code or 0)


def digests(folder: Path) -> dict[str, str]:
    return file_digests(folder, lambda name: name != "build.jsonl")


@pytest.mark.parametrize("form", ["parquet", "webdataset"])
def test_a_run_becomes_a_data_set(form: str, run: tuple[Path, Path], tmp_path: Path) -> None:
    photos, depth = run
    build = ("dataset", "build", photos, "--depth", depth, "--format", form, "--shard-size", 3, "--output")
    assert cortexia(*build, tmp_path / "a") == 0
    samples = list(open_dataset(form, tmp_path / "a"))
    keys = [f"trip/{number}.jpg" for number in range(5)] + ["turned.jpg", "z.png"]
    assert [sample.key for sample in samples] == keys
    for sample in samples:
        frame = decode((photos / sample.key).read_bytes(), sample.key)
        np.testing.assert_array_equal(sample.frame.image, frame.image)
        values = read_depth(depth / f"{sample.key}.npy", about={"kind": "disparity"}).values
        np.testing.assert_array_equal(sample.depth.values, values)
        assert sample.depth.kind == "disparity"
    assert len(digests(tmp_path / "a")) == 3
    assert cortexia(*build, tmp_path / "b") == 0
    assert digests(tmp_path / "a") == digests(tmp_path / "b")


def test_jpegs_stay_as_they_came_where_anybody_reads_them_alike(
    run: tuple[Path, Path], tmp_path: Path
) -> None:
    photos, depth = run
    cortexia(
        "dataset", "build", photos, "--depth", depth, "--format", "webdataset", "--output", tmp_path / "w"
    )
    with tarfile.open(tmp_path / "w/train-00000.tar") as archive:
        names = archive.getnames()
        jpegs = [name for name in names if name.endswith(".jpg")]
        first = archive.extractfile(jpegs[0])
        assert first is not None and first.read() == (photos / "trip/0.jpg").read_bytes()
    assert len(jpegs) == 5  # the turned one and the PNG are not
    assert [name for name in names if name.startswith("000005.")] == [
        "000005.tiff",
        "000005.depth.npy",
        "000005.json",
    ]


def test_a_second_build_does_what_is_missing(
    run: tuple[Path, Path], tmp_path: Path, make_image: MakeImage, capsys: pytest.CaptureFixture[str]
) -> None:
    photos, depth = run
    build = ("dataset", "build", photos, "--depth", depth, "--shard-size", 3, "--output", tmp_path / "a")
    cortexia(*build)
    whole, kept = digests(tmp_path / "a"), (tmp_path / "a/train-00000.parquet").stat().st_mtime_ns
    (tmp_path / "a/train-00001.parquet").unlink()
    (tmp_path / "a/.train-00002.parquet.0123456789abcdef.partial").write_bytes(b"half")
    (tmp_path / "a/train-00002.parquet").write_bytes(b"cut")
    assert cortexia(*build) == 0
    assert "2 shards made, 1 kept" in capsys.readouterr().out
    assert digests(tmp_path / "a") == whole
    assert (tmp_path / "a/train-00000.parquet").stat().st_mtime_ns == kept
    make_image(photos / "trip/4.jpg", (48, 64), 99)
    estimate(photos, depth, model="synthetic", recursive=True)
    cortexia(*build)
    changed = digests(tmp_path / "a")
    assert [name for name in sorted(whole) if changed[name] != whole[name]] == ["train-00001.parquet"]


def test_shards_of_a_larger_build_are_removed_and_other_files_are_not(tmp_path: Path) -> None:
    make_rgbd(tmp_path / "set", make_scene(), 3)
    items = list(list_dataset_items(open_dataset("rgbd", tmp_path / "set")))  # type: ignore[arg-type]
    write_shards(items, tmp_path / "a", shard_size=1)
    (tmp_path / "a/train-notes.parquet").write_text("mine")
    write_shards(items[:1], tmp_path / "a", shard_size=1)
    assert {*digests(tmp_path / "a")} == {"train-00000.parquet", "train-notes.parquet"}


def test_what_cannot_be_used_is_counted_and_reported_again(
    run: tuple[Path, Path], tmp_path: Path, make_image: MakeImage, capsys: pytest.CaptureFixture[str]
) -> None:
    photos, depth = run
    make_image(photos / "new.jpg")
    with (photos / "trip/1.jpg").open("ab") as file:
        file.write(b"more")
    np.save(depth / "trip/2.jpg.npy", np.zeros((9, 9), np.float32))
    build = ("dataset", "build", photos, "--depth", depth, "--output", tmp_path / "a")
    for _ in range(2):
        assert cortexia(*build) == 1
        printed = capsys.readouterr()
        assert "5 samples" in printed.out and "2 failed; 1 skipped: without depth in the run" in printed.out
        assert "trip/1.jpg: the image changed after" in printed.err
        assert "trip/2.jpg.npy: it is not what was written" in printed.err
    assert cortexia(*build[:-1], tmp_path / "b", "--problems", "stop") == 2
    assert not list((tmp_path / "b").glob("*.parquet*"))


def test_small_depth_takes_a_smaller_image(tmp_path: Path, make_image: MakeImage) -> None:
    make_image(tmp_path / "photos/a.jpg", (600, 800))
    estimate(tmp_path / "photos", tmp_path / "depth", model="compact", size="native", f_px=700.0)
    cortexia("dataset", "build", tmp_path / "photos", "--depth", tmp_path / "depth", "-o", tmp_path / "a")
    (sample,) = open_dataset("parquet", tmp_path / "a")
    values = read_depth(tmp_path / "depth/a.jpg.npy", about={"kind": "disparity"}).values
    np.testing.assert_array_equal(sample.depth.values, values)
    assert sample.size == values.shape != (600, 800)
    assert sample.camera is not None and sample.camera.fx == pytest.approx(700 * values.shape[1] / 800)


def test_wrong_builds_are_refused(tmp_path: Path, make_image: MakeImage) -> None:
    make_image(tmp_path / "photos/a.jpg")
    for more in (("--depth", tmp_path), (), ("--name", "tum")):
        assert cortexia("dataset", "build", tmp_path / "photos", "-o", tmp_path / "a", *more) == 2
    with pytest.raises(OutputError, match="unknown format 'zip'"):
        write_shards([], tmp_path / "a", format="zip")
    with pytest.raises(InputError, match="nothing to build"):
        write_shards([], tmp_path / "a")


def test_a_full_disk_leaves_no_half_shard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_rgbd(tmp_path / "set", make_scene(), 2)
    items = list(list_dataset_items(open_dataset("rgbd", tmp_path / "set")))  # type: ignore[arg-type]

    def fail(path: Path, rows: object) -> int:
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setitem(
        __import__("cortexia_video.datasets.build", fromlist=["WRITERS"]).WRITERS,
        "parquet",
        (".parquet", fail),
    )
    with pytest.raises(OutputLostError, match="No space left"):
        write_shards(items, tmp_path / "a")
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["build.jsonl"]


@pytest.mark.parametrize("form", ["parquet", "webdataset"])
@pytest.mark.parametrize("damage", ["cut", "empty", "zeroed"])
def test_a_damaged_shard_costs_its_own_samples(form: str, damage: str, tmp_path: Path) -> None:
    make_rgbd(tmp_path / "set", make_scene(), 6)
    items = list_dataset_items(open_dataset("rgbd", tmp_path / "set"))  # type: ignore[arg-type]
    write_shards(items, tmp_path / "a", format=form, shard_size=2)
    shard = next((tmp_path / "a").glob("train-00001.*"))
    data = shard.read_bytes()
    half = len(data) // 2
    zeroed = data[: half - 3000] + bytes(6000) + data[half + 3000 :]
    shard.write_bytes({"cut": data[:half], "empty": b"", "zeroed": zeroed}[damage])
    skipped = ProblemCount()
    keys = {sample.key for sample in usable_samples(open_dataset(form, tmp_path / "a"), skipped)}
    assert keys >= {"0", "1", "4", "5"}
    if (form, damage) != ("webdataset", "zeroed"):  # a tar file has no sums of what is in it
        assert 0 < skipped.total <= 2
        with pytest.raises(InputError, match="broken|no parquet file"):
            list(usable_samples(open_dataset(form, tmp_path / "a")))


def test_info_measures_what_is_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    scene = make_scene()
    make_rgbd(tmp_path, scene, 4, max_depth_m=20.0)
    (tmp_path / "depth/3.png").write_bytes(b"")
    assert cortexia("dataset", "info", tmp_path) == 1
    printed = capsys.readouterr().out
    assert "4 samples; of 4 looked at 3 can be used, 3 have a camera" in printed
    assert "64 x 48: 3" in printed and "/depth/3.png: its content is not" in printed
    summary = summarise(open_dataset("rgbd", tmp_path), samples=2)
    assert summary.looked_at == 2 and summary.valid_share == pytest.approx(np.isfinite(scene.depth_m).mean())
    shares = [float(line.split("%")[0].split()[-1]) for line in printed.splitlines() if " to " in line]
    assert len(shares) == 12 and 97 < sum(shares) < 99.5


def test_info_of_a_name_says_where_it_is_from(capsys: pytest.CaptureFixture[str]) -> None:
    assert cortexia("dataset", "info", "kitti") == 0
    assert "https://www.cvlibs.net" in (printed := capsys.readouterr().out) and "selection" in printed
    assert cortexia("dataset", "info") == 0
    assert len(capsys.readouterr().out.splitlines()) == 15
    assert cortexia("dataset", "info", "nowhere") == 2


def test_a_preview_is_images_beside_their_depth(tmp_path: Path) -> None:
    make_rgbd(tmp_path / "set", make_scene(), 4)
    assert cortexia("dataset", "preview", tmp_path / "set", "-o", tmp_path / "a.png", "--count", 4) == 0
    with Image.open(tmp_path / "a.png") as sheet:
        assert sheet.size == (3 * (2 * 320 + 8) + 8, 2 * 248 + 8)
    assert cortexia("dataset", "preview", tmp_path / "set", "-o", tmp_path / "a.gif") == 2
    assert cortexia("dataset", "preview", tmp_path / "set", "-o", tmp_path / "a.png/b.png") == 2


def test_a_preview_can_be_augmented_the_same_each_time(tmp_path: Path) -> None:
    pytest.importorskip("albumentations")
    make_rgbd(tmp_path / "set", make_scene(), 2)
    for name, seed in (("a", 3), ("b", 3), ("c", 4)):
        preview = ("dataset", "preview", tmp_path / "set", "-o", tmp_path / f"{name}.png")
        assert cortexia(*preview, "--augment", "--seed", seed) == 0
    first, second, third = ((tmp_path / f"{name}.png").read_bytes() for name in "abc")
    assert first == second != third


def test_a_preview_of_a_strip_stays_an_image(tmp_path: Path) -> None:
    make_rgbd(tmp_path / "set", Scene(np.zeros((2, 3000, 3), np.uint8), np.ones((2, 3000), np.float32)), 1)
    assert cortexia("dataset", "preview", tmp_path / "set", "-o", tmp_path / "a.png") == 0
    with Image.open(tmp_path / "a.png") as sheet:
        assert sheet.size == (2 * 8 * 240 + 16, 240 + 16)


def test_a_preview_leaves_out_what_is_broken(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("albumentations")
    make_rgbd(tmp_path / "set", make_scene(), 3)
    preview = ("dataset", "preview", tmp_path / "set", "-o", tmp_path / "a.png", "--augment")
    for number, code in ((0, 1), (1, 1), (2, 2)):
        (tmp_path / f"set/depth/{number}.png").write_bytes(b"broken")
        assert cortexia(*preview) == code
        assert f"{number}.png" in capsys.readouterr().err
    assert cortexia(*preview, "--problems", "stop") == 2


def test_the_record_survives_a_torn_line(tmp_path: Path) -> None:
    make_rgbd(tmp_path / "set", make_scene(), 2)
    items = list(list_dataset_items(open_dataset("rgbd", tmp_path / "set")))  # type: ignore[arg-type]
    write_shards(items, tmp_path / "a", shard_size=1)
    with (tmp_path / "a/build.jsonl").open("ab") as file:
        file.write(b'{"shard": "train-0')
    report = write_shards(items, tmp_path / "a", shard_size=1)
    assert (report.shards_kept, report.shards_made) == (2, 0)
    (tmp_path / "a/train-00001.parquet").unlink()
    assert write_shards(items, tmp_path / "a", shard_size=1).shards_made == 1
    lines = (tmp_path / "a/build.jsonl").read_text().splitlines()
    assert json.loads(lines[-1])["shard"] == "train-00001.parquet"


def test_a_shard_that_was_replaced_before_a_kill_is_not_taken_for_the_one_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_rgbd(tmp_path / "set", make_scene(), 1)
    (item,) = list_dataset_items(open_dataset("rgbd", tmp_path / "set"))  # type: ignore[arg-type]
    write_shards([item], tmp_path / "a")
    append = AppendLog.append

    def die(record: AppendLog, entry: Mapping[str, object]) -> None:
        if entry.get("fingerprint"):
            raise KeyboardInterrupt
        append(record, entry)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(AppendLog, "append", die)
        write_shards([replace(item, fingerprint="changed")], tmp_path / "a")
    report = write_shards([item], tmp_path / "a")
    assert (report.shards_made, report.shards_kept) == (1, 0)
    assert write_shards([item], tmp_path / "a").shards_kept == 1


def build(*arguments: object) -> int:
    return cortexia("dataset", "build", *arguments)


def test_a_folder_holds_one_data_set(
    run: tuple[Path, Path], tmp_path: Path, make_image: MakeImage, capsys: pytest.CaptureFixture[str]
) -> None:
    photos, depth = run
    ours = (photos, "--depth", depth, "--shard-size", 4, "--output", tmp_path / "a")
    assert build(*ours) == 0
    before = digests(tmp_path / "a")
    make_rgbd(tmp_path / "set", make_scene(), 2)
    (tmp_path / "copy").mkdir()
    make_image(tmp_path / "copy/a.jpg", (48, 64))
    estimate(tmp_path / "copy", tmp_path / "copy-depth", model="synthetic")
    capsys.readouterr()
    for other, differs in (
        ((tmp_path / "set",), "depth, images, name"),
        ((tmp_path / "copy", "--depth", tmp_path / "copy-depth"), "depth, images"),
        ((*ours[:3], "--format", "webdataset"), "format"),
        ((*ours[:3], "--split", "val", "--format", "webdataset"), "format"),
    ):
        assert build(*other, "--output", tmp_path / "a") == 2
        message = capsys.readouterr().err
        assert f"a dataset of another {differs} (" in message and "choose another --output" in message
        assert digests(tmp_path / "a") == before
    make_image(photos / "zz.jpg", (48, 64), 3)
    estimate(photos, depth, model="synthetic", recursive=True)
    assert build(*ours) == 0
    assert "8 samples in 1 shard made, 1 kept" in capsys.readouterr().out
    assert build(*ours[:3], "--split", "val", "--output", tmp_path / "a") == 0
    assert {*digests(tmp_path / "a")} == {*before, "val-00000.parquet"}


def test_the_record_says_what_a_set_is_made_of(run: tuple[Path, Path], tmp_path: Path) -> None:
    photos, depth = run
    for _ in range(2):
        build(photos, "--depth", depth, "--output", tmp_path / "a")
    made_of = {"split": "train", "format": "parquet", "images": str(photos), "depth": str(depth)}
    lines = [json.loads(line) for line in (tmp_path / "a/build.jsonl").read_text().splitlines()]
    assert [line["made_of"] for line in lines if "made_of" in line] == [made_of]


def test_shards_of_which_nobody_knows_what_they_are_made_of_are_kept(tmp_path: Path) -> None:
    make_rgbd(tmp_path / "set", make_scene(), 2)
    items = list(list_dataset_items(open_dataset("rgbd", tmp_path / "set")))  # type: ignore[arg-type]
    write_shards(items, tmp_path / "a", shard_size=1)
    record = tmp_path / "a/build.jsonl"
    lines = record.read_text().splitlines(keepends=True)
    record.write_text("".join(line for line in lines if "made_of" not in line))
    with pytest.raises(OutputExistsError, match="does not say what its train shards are made of"):
        write_shards(items[:1], tmp_path / "a", shard_size=1)
    assert len(digests(tmp_path / "a")) == 2


def test_a_folder_with_other_files_is_refused(
    run: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    photos, depth = run
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes/build.jsonl").write_text('{"of": "somebody else"}\n')
    (tmp_path / "notes/mine.txt").write_text("mine")
    for folder, other in ((photos, "trip"), (depth, "depth.json"), (tmp_path / "notes", "build.jsonl")):
        before = sorted(folder.iterdir())
        assert build(photos, "--depth", depth, "--output", folder) == 2
        assert f"{folder} holds {other}, which is no part of a dataset" in capsys.readouterr().err
        assert sorted(folder.iterdir()) == before


def test_a_build_of_nothing_leaves_nothing(run: tuple[Path, Path], tmp_path: Path) -> None:
    photos, depth = run
    (tmp_path / "empty").mkdir()
    for images in (tmp_path / "nowhere", tmp_path / "empty"):
        assert build(images, "--depth", depth, "--output", tmp_path / "a/b") == 2
        assert build(images, "--output", tmp_path / "a/b") == 2
    assert build(photos, "--depth", tmp_path / "nowhere", "--output", tmp_path / "a/b") == 2
    assert not (tmp_path / "a").exists()


@pytest.mark.parametrize("form", ["parquet", "webdataset"])
def test_shards_say_which_model_made_the_depth(form: str, run: tuple[Path, Path], tmp_path: Path) -> None:
    photos, depth = run
    build(photos, "--depth", depth, "--format", form, "--output", tmp_path / "a")
    for sample in open_dataset(form, tmp_path / "a"):
        known = read_depth(depth / f"{sample.key}.npy")
        assert known.model == "synthetic" and known.weights_sha256
        assert (sample.depth.model, sample.depth.weights_sha256) == (known.model, known.weights_sha256)
        assert sample.origin == "photos"


def test_options_of_a_data_set_are_refused_for_a_run(
    run: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    photos, depth = run
    for option in (("--name", "tum"), ("--allow-unregistered",)):
        assert build(photos, "--depth", depth, "--output", tmp_path / "a", *option) == 2
        assert f"{option[0]} is for a dataset: with --depth leave it out" in capsys.readouterr().err
    assert not (tmp_path / "a").exists()


@pytest.mark.parametrize("kind", ["metric", "scale_invariant", "affine_invariant", "disparity"])
def test_near_is_bright_in_a_sheet_of_any_kind(kind: DepthKind) -> None:
    values = np.repeat(np.linspace(1, 9, 64, dtype=np.float32)[None], 48, axis=0)
    values[:5, :5] = np.nan
    depth = DepthMap(values[:, ::-1].copy() if kind == "disparity" else values, kind)
    sample = RGBDSample(Frame("a", np.zeros((48, 64, 3), np.uint8)), depth)
    dataset = RGBDDataset("one", [sample], lambda entry: entry, kind)
    sheet = make_sheet(dataset, raise_problem, count=1).astype(int).sum(axis=2)
    row = sheet[8 + 120, 8 + 320 : 8 + 640]
    assert row[2] > 400 > 250 > row[-3] and (np.diff(row[::16]) <= 0).all()


@pytest.mark.parametrize("form", ["parquet", "webdataset"])
def test_a_split_that_is_not_there_names_those_that_are(form: str, tmp_path: Path) -> None:
    make_rgbd(tmp_path / "set", make_scene(), 2)
    items = list(list_dataset_items(open_dataset("rgbd", tmp_path / "set")))  # type: ignore[arg-type]
    for split in ("train", "val"):
        write_shards(items, tmp_path / "a", format=form, split=split, shard_size=1)
    with pytest.raises(InputError, match=r"has no split 'test': its files are named train, val$"):
        open_dataset(form, tmp_path / "a", split="test")


def test_a_data_set_is_printed_short(tmp_path: Path) -> None:
    make_rgbd(tmp_path / "set", make_scene(), 3)
    dataset = open_dataset("rgbd", tmp_path / "set")
    assert repr(dataset) == f"<RGBDDataset rgbd: 3 samples in {tmp_path / 'set'}>"
    write_shards(list_dataset_items(dataset), tmp_path / "a", format="webdataset", shard_size=2)  # type: ignore[arg-type]
    stream = open_dataset("webdataset", tmp_path / "a")
    assert repr(stream) == f"<RGBDStream webdataset: 2 shards in {tmp_path / 'a'}>"


def test_a_name_that_is_nearly_one_is_proposed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cortexia("dataset", "info", "tun") == 2
    assert "did you mean tum?" in capsys.readouterr().err
    with pytest.raises(InputError, match=r"unknown dataset 'kiti': did you mean kitti\? use one of"):
        open_dataset("kiti", tmp_path)
    assert "TIFF" in DATASETS["rgbd"].summary


def read_images(shard: Path) -> list[bytes]:
    """Return the bytes of the images of a parquet shard, by pyarrow alone."""
    return [cell["bytes"] for cell in parquet.read_table(shard).column("image").to_pylist()]


@pytest.mark.parametrize("name", ["sunrgbd", "hypersim", "rgbd", "pairs", "parquet", "hub"])
def test_jpegs_of_datasets_stay_as_they_came(name: str, tmp_path: Path) -> None:
    """63 kB became 922 kB: each image was decoded, and kept as an unpacked TIFF."""
    scene, root, options = make_scene(), tmp_path / "set", {}
    if name in MAKERS:
        MAKERS[name](root, scene, 2)
    else:
        MAKERS["sunrgbd"](tmp_path / "sunrgbd", scene, 2)
        build_dataset(tmp_path / "sunrgbd", root)
        (root / "build.jsonl").unlink()
    if name in ("rgbd", "pairs"):
        for path in list(root.glob("rgb/*.png")):
            save(scene.image, path.with_suffix(".jpg"))
            path.unlink()
        about = (
            (root / "set.json").read_text().replace('.png", "depth"', '.jpg", "depth"')
            if name == "rgbd"
            else ""
        )
        (root / "set.json").write_text(about) if about else None
        options = {"convention": "tum"} if name == "pairs" else {}
    assert build_dataset(root, tmp_path / "made", name=name, options=options).rows == 2
    jpegs = sorted(
        path.read_bytes() for path in (tmp_path if name in ("parquet", "hub") else root).rglob("*.jpg")
    )
    made = read_images(tmp_path / "made/train-00000.parquet")
    assert len(jpegs) == 2 and sorted(made) == jpegs
    assert sum(map(len, made)) == sum(map(len, jpegs))


@pytest.mark.parametrize("change", ["grey", "reduced"])
def test_jpegs_that_are_not_the_samples_pixels_become_tiff(change: str, tmp_path: Path) -> None:
    scene = make_scene()
    root, image = tmp_path / "set", scene.image
    if change == "reduced":
        MAKERS["scannet"](root, scene, 1)
    else:
        MAKERS["sunrgbd"](root, scene, 1)
        (path,) = root.rglob("*.jpg")
        Image.fromarray(image[..., 0]).save(path)
    assert build_dataset(root, tmp_path / "made").rows == 1
    (made,) = read_images(tmp_path / "made/train-00000.parquet")
    assert made[:2] in (b"II", b"MM"), "a TIFF"
    (sample,), (before,) = open_folder(tmp_path / "made"), open_folder(root)
    np.testing.assert_array_equal(sample.frame.image, before.frame.image)


def test_what_is_passed_over_is_said(
    run: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    photos, depth = run
    for name in ("a.psd", "b.psd", "clip.mp4", "notes.txt"):
        (photos / "trip" / name).write_bytes(b"1")
    report = build_dataset(photos, tmp_path / "a", depth=depth)
    assert report.rows == 7
    counts = {kind.partition(" ")[0]: count for kind, count in report.passed_over.items()}
    assert counts == {"PSD": 2} and report.skipped == {NO_DEPTH: 1}
    assert cortexia("dataset", "build", photos, "--depth", depth, "-o", tmp_path / "b") == 0
    said = capsys.readouterr().out
    assert f"1 skipped: {NO_DEPTH}" in said
    assert "no images, passed over: 2 PSD (not readable: convert to JPEG)" in said


def make_macro(root: Path, count: int = 2) -> Path:
    """Make a set of 3 to 12 mm, of which set.json says the scale."""
    depth_m = np.linspace(0.003, 0.0121, 48 * 64).reshape(48, 64)
    make_rgbd(root, make_scene(), count, depth_scale=1e5, max_depth_m=None)
    for path in root.glob("depth/*.png"):
        save(np.rint(depth_m * 1e5).astype(np.uint16), path)
    return root


@pytest.mark.parametrize("scale", [1e5, 20])
def test_metres_of_a_set_that_says_its_scale_are_taken(scale: float, tmp_path: Path) -> None:
    """Teeth at some millimetres, mountains at some kilometres: the guess is for what nobody said."""
    root = make_macro(tmp_path / "set")
    about = json.loads((root / "set.json").read_text())
    (root / "set.json").write_text(json.dumps({**about, "depth_scale": scale}))
    median = float(np.median(open_dataset("rgbd", root)[0].depth.values))  # type: ignore[index]
    assert median < 0.01 or median > 30
    assert summarise(open_folder(root)).failures == []
    for form in ("parquet", "webdataset"):
        assert build_dataset(root, tmp_path / form, format=form).failed == 0  # type: ignore[arg-type]
        assert len(list(usable_samples(open_folder(tmp_path / form)))) == 2
    mixture = Mixture({"a": open_folder(root)}, {"a": 1}, batch_size=2)  # type: ignore[dict-item]
    assert len(next(mixture.batches())) == 2
    said = open_dataset("pairs", root, kind="metric", scale=1 / scale)
    assert len(list(usable_samples(said))) == 2


def test_metres_that_only_a_convention_says_are_looked_at(tmp_path: Path) -> None:
    root = make_macro(tmp_path / "set")
    with pytest.raises(InputError, match=r"median depth is 0\.15.* metres|too small"):
        for path in root.glob("depth/*.png"):
            save(np.full((48, 64), 20, np.uint16), path)
        list(usable_samples(open_dataset("pairs", root, convention="tum")))


def test_sets_of_ones_own_are_built_and_looked_at_from_the_command_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """By the options of `pairs`: patterns, convention or kind and scale, camera."""
    scene = make_scene()
    for number in range(3):
        save(scene.image, tmp_path / f"own/left/{number}.jpg")
        save(whole(scene.depth_m, 1000), tmp_path / f"own/range/{number}_d.png")
    own = [tmp_path / "own", "--name", "pairs", "--images", "left/*.jpg", "--depths", "range/*_d.png"]
    assert cortexia("dataset", "info", *own, "--from", "nyu") == 0
    assert "of 3 looked at 3 can be used, 0 have a camera" in capsys.readouterr().out
    meaning = ["--kind", "metric", "--scale", 0.001, "--camera", 60, 61, 31.5, 23.5]
    assert cortexia("dataset", "info", *own, *meaning) == 0
    assert "3 have a camera" in capsys.readouterr().out
    assert cortexia("dataset", "preview", *own, *meaning, "-o", tmp_path / "sheet.png", "--per-row", 2) == 0
    for words in (["--from", "nyu"], meaning):
        output = tmp_path / words[0]
        assert cortexia("dataset", "build", *own, *words, "-o", output) == 0
        for sample in open_dataset("parquet", output):
            np.testing.assert_allclose(sample.depth.values, scene.depth_m, atol=1e-3)
    assert cortexia("dataset", "build", *own, "--from", "tum", "-o", tmp_path / "--from") == 2
    assert "holds a dataset of another options" in capsys.readouterr().err
    assert cortexia("dataset", "info", tmp_path / "--from", "--images", "a*") == 2
    assert "parquet has no option 'images'" in capsys.readouterr().err


def test_what_a_message_asks_for_is_an_option(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    scene = make_scene()
    save(scene.image, tmp_path / "own/rgb/1.png")
    save(whole(scene.depth_m, 1000), tmp_path / "own/depth/1.png")
    assert cortexia("dataset", "build", tmp_path / "own", "--name", "pairs", "-o", tmp_path / "a") == 1
    said = capsys.readouterr().err
    assert "give its convention (--from)" in said and "its kind of depth (--kind)" in said
    assert cortexia("dataset", "info", tmp_path / "own") == 2
    assert "give its --name" in (said := capsys.readouterr().err) and "--name pairs" in said
