"""WebDataset shards: what other clients make of ours, and what we make of theirs, however they are sorted."""

from __future__ import annotations

import io
import json
import tarfile
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from dataset_layouts import HEIGHT, WIDTH, make_diode, make_scene, make_sunrgbd
from PIL import Image

from cortexia_video import Failure, RGBDSample, build_dataset, open_dataset
from cortexia_video.datasets.huggingface import import_datasets
from cortexia_video.datasets.readers import webdataset as reader
from cortexia_video.sources.find import find_images

MAKERS = {"sunrgbd": make_sunrgbd, "diode": make_diode}  # of JPEG, and with a mask
Order = Callable[[tarfile.TarInfo], Any]


@pytest.fixture
def shard(tmp_path: Path) -> Path:
    """Return a shard of three masked samples as `build_dataset` makes it."""
    make_diode(tmp_path / "set", make_scene(), 3)
    build_dataset(tmp_path / "set", tmp_path / "made", format="webdataset")
    return tmp_path / "made/train-00000.tar"


def encode(pixels: np.ndarray, form: str) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, form)
    return file.getvalue()


def encode_npy(values: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, values)
    return file.getvalue()


def sort_tar(source: Path, target: Path, order: Order) -> Path:
    target.parent.mkdir(parents=True)
    with tarfile.open(source) as old, tarfile.open(target, "w") as new:
        for member in sorted(old.getmembers(), key=order):
            new.addfile(member, old.extractfile(member))
    return target


def read_all(root: Path, **options: Any) -> list[RGBDSample | Failure]:
    return list(open_dataset("webdataset", root, **options).attempt())


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # it leaves the file open
@pytest.mark.parametrize("name", MAKERS)
def test_other_clients_read_the_same_depth(name: str, tmp_path: Path) -> None:
    """By webdataset with its own decoder, which makes 8-bit RGB of TIFF, and by Hugging Face `datasets`."""
    webdataset = pytest.importorskip("webdataset")
    hf = import_datasets()
    MAKERS[name](tmp_path / "set", make_scene(), 3)
    build_dataset(tmp_path / "set", tmp_path / "made", format="webdataset")
    shard = str(tmp_path / "made/train-00000.tar")
    theirs = webdataset.WebDataset(shard, shardshuffle=False).decode("pil")
    hf.disable_progress_bars()
    rows = hf.load_dataset("webdataset", data_files=shard, split="train", cache_dir=str(tmp_path / "cache"))
    ours = list(open_dataset("webdataset", tmp_path / "made"))
    assert len(ours) == len(rows) == 3
    for sample, their, row in zip(ours, theirs, rows, strict=True):
        image = next(their[end] for end in ("jpg", "tiff") if end in their)
        np.testing.assert_allclose(np.asarray(image, int), sample.frame.image, atol=2)  # of JPEG decoders
        assert their["depth.npy"].dtype == np.float32
        np.testing.assert_array_equal(their["depth.npy"], sample.depth.values)
        np.testing.assert_array_equal(np.array(row["depth.npy"], np.float32), sample.depth.values)
        assert their["json"]["kind"] == row["json"]["kind"] == "metric"
        if sample.mask is not None:
            np.testing.assert_array_equal(np.asarray(their["mask.png"])[..., 0] > 0, sample.mask)


ORDERS: dict[str, Order] = {
    "by type": lambda member: (member.name.partition(".")[2], member.name),
    "pairs first": lambda member: (not member.name.endswith(("tiff", "npy")), member.name),
    "backwards": lambda member: [-ord(letter) for letter in member.name],
}


@pytest.mark.parametrize("order", ORDERS)
def test_a_tar_sorted_otherwise_gives_the_same_samples(order: str, shard: Path, tmp_path: Path) -> None:
    sort_tar(shard, tmp_path / "sorted/train-00000.tar", ORDERS[order])
    whole = {sample.key: sample for sample in read_all(shard.parent)}
    sorted_ = {sample.key: sample for sample in read_all(tmp_path / "sorted")}
    assert len(whole) == 3 and {*whole} == {*sorted_}
    for key, sample in whole.items():
        other = sorted_[key]
        assert isinstance(sample, RGBDSample) and isinstance(other, RGBDSample)
        np.testing.assert_array_equal(sample.valid, other.valid)
        assert not sample.mask.all()  # type: ignore[union-attr]
        assert (sample.depth.kind, sample.origin, sample.camera) == (
            other.depth.kind,
            other.origin,
            other.camera,
        )


@pytest.mark.parametrize("order", ORDERS)
def test_in_a_row_no_sample_is_used_without_its_parts(
    order: str, shard: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As at a URL: what comes later is not known, so that each is refused with what sorts the tar."""
    monkeypatch.setattr(reader, "_index_samples", reader._stream_samples)
    path = sort_tar(shard, tmp_path / "sorted/train-00000.tar", ORDERS[order])
    read = reader._Reader(None, None, reader.AssumedMeaning(), in_a_row=True)
    found = [load() for load in reader._list_samples(path, read)]
    used = [each for each in found if isinstance(each, RGBDSample)]
    if order == "backwards":  # the files of a sample still follow each other
        assert len(used) == len(found) == 3
        return
    assert not used
    assert any("tar --sort=name" in each.reason for each in found if isinstance(each, Failure))


DEPTH_M = np.linspace(1, 4, HEIGHT * WIDTH, dtype=np.float32).reshape(HEIGHT, WIDTH).round(3)
JPEG = encode(make_scene().image, "JPEG")
MILLIMETRES = encode(np.rint(DEPTH_M * 1000).astype(np.uint16), "PNG")
THEIRS: dict[str, tuple[dict[str, bytes], dict[str, Any]]] = {
    "jpg and depth.npy": ({"jpg": JPEG, "depth.npy": encode_npy(DEPTH_M)}, {"convention": "metres"}),
    "jpeg and depth.npy": ({"jpeg": JPEG, "depth.npy": encode_npy(DEPTH_M)}, {"kind": "metric"}),
    "depth.png": ({"jpg": JPEG, "depth.png": MILLIMETRES}, {"convention": "nyu"}),
    "depth.png by scale": ({"jpg": JPEG, "depth.png": MILLIMETRES}, {"kind": "metric", "scale": 0.001}),
    "float64": ({"jpg": JPEG, "depth.npy": encode_npy(DEPTH_M.astype(float))}, {"convention": "metres"}),
    "named": (
        {"rgb.jpg": JPEG, "lidar.npy": encode_npy(DEPTH_M), "depth.npy": encode_npy(DEPTH_M + 9)},
        {"columns": ("rgb.jpg", "lidar.npy"), "convention": "metres"},
    ),
    "said in JSON": (
        {"png": encode(make_scene().image, "PNG"), "depth.npy": encode_npy(DEPTH_M), "json": b'{"kind": "metric"}'},
        {},
    ),
    "upper case": ({"JPG": JPEG, "depth.NPY": encode_npy(DEPTH_M)}, {"convention": "metres"}),
}  # fmt: skip


def write_tar(path: Path, samples: dict[str, dict[str, bytes]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as archive:
        for name, files in samples.items():
            for end, data in files.items():
                member = tarfile.TarInfo(f"{name}.{end}")
                member.size = len(data)
                archive.addfile(member, io.BytesIO(data))
    return path


@pytest.mark.parametrize("name", THEIRS)
def test_tars_of_others_are_read(name: str, tmp_path: Path) -> None:
    files, options = THEIRS[name]
    write_tar(tmp_path / "a.tar", {"x/0": files, "x/1": files})
    first, second = read_all(tmp_path, **options)
    assert isinstance(first, RGBDSample) and isinstance(second, RGBDSample)
    assert (first.key, second.key) == ("x/0", "x/1")
    np.testing.assert_allclose(first.depth.values, DEPTH_M, rtol=1e-6)


def test_what_cannot_be_told_is_refused_with_the_files_that_are_there(tmp_path: Path) -> None:
    npy = encode_npy(DEPTH_M)
    write_tar(
        tmp_path / "a.tar",
        {
            "no-depth": {"jpg": JPEG, "range.npy": npy},
            "no-image": {"depth.npy": npy},
            "two": {"jpg": JPEG, "depth.npy": npy, "depth.png": MILLIMETRES},
            "IMG_1": {"5.jpg": JPEG, "5.depth.npy": npy},
            "good": {"jpg": JPEG, "depth.npy": npy},
            "unsaid": {"jpg": JPEG, "depth.npy": npy, "json": b"[]"},
        },
    )
    found = {each.key: each for each in read_all(tmp_path, convention="metres")}
    assert [key for key, each in found.items() if isinstance(each, RGBDSample)] == ["good"]
    reasons = {key: each.reason for key, each in found.items() if isinstance(each, Failure)}
    assert (
        "its files end in .jpg, .range.npy: say which two are image and depth by `columns`"
        in reasons["no-depth"]
    )
    assert ".depth.npy, .depth.png" in reasons["two"] and "first dot" in reasons["IMG_1"]
    assert "no object of JSON" in reasons["unsaid"]
    (said,) = {each.reason for each in read_all(tmp_path) if each.key == "good" and isinstance(each, Failure)}
    assert "does not say what it means" in said
    assert all("embed" not in reason for reason in reasons.values())


def test_a_cut_tar_costs_what_is_cut_off(shard: Path, tmp_path: Path) -> None:
    data = shard.read_bytes()
    with tarfile.open(shard) as archive:
        last = archive.getmembers()[-1]
    (tmp_path / "cut").mkdir()
    for end in (last.offset_data + 10, last.offset + 100):
        (tmp_path / "cut/a.tar").write_bytes(data[:end])
        first, second, broken = read_all(tmp_path / "cut")
        assert isinstance(first, RGBDSample) and isinstance(second, RGBDSample)
        assert isinstance(broken, Failure) and "make or copy it again" in broken.reason


@pytest.mark.parametrize("kind", [tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.GNUTYPE_LONGNAME])
def test_a_header_of_gigabytes_is_refused_before_it_is_read(kind: bytes, shard: Path, tmp_path: Path) -> None:
    """A sparse file of 2 GB: its header says that so many bytes of words follow."""
    header = tarfile.TarInfo("words")
    header.type, header.size = kind, 2 << 30
    (tmp_path / "a").mkdir()
    path = tmp_path / "a/a.tar"
    with path.open("wb") as file:
        file.write(header.tobuf(tarfile.USTAR_FORMAT))
        file.seek(2 << 30, io.SEEK_CUR)
        file.write(shard.read_bytes())
    tracemalloc.start()
    (failure,) = read_all(path.parent)
    found = list(find_images([str(path)]))
    assert tracemalloc.get_traced_memory()[1] < 50e6
    tracemalloc.stop()
    for each in (failure, *found):
        assert isinstance(each, Failure) and "the limit is 1048576" in each.reason


def test_long_names_and_words_of_usual_sizes_are_read(tmp_path: Path) -> None:
    name = "folder/" * 30 + "ü" * 60
    with tarfile.open(tmp_path / "a.tar", "w", format=tarfile.PAX_FORMAT) as archive:
        for end, data in THEIRS["jpg and depth.npy"][0].items():
            member = tarfile.TarInfo(f"{name}.{end}")
            member.size, member.pax_headers = len(data), {"comment": "x" * 100_000}
            archive.addfile(member, io.BytesIO(data))
    (sample,) = read_all(tmp_path, convention="metres")
    assert isinstance(sample, RGBDSample) and sample.key == name


def test_shards_of_earlier_versions_are_read(shard: Path, tmp_path: Path) -> None:
    """With depth as NAME.depth_map.tiff, which says itself what it means."""
    from cortexia_video.formats import tiff

    samples, ours = {}, read_all(shard.parent)
    for number, sample in enumerate(ours):
        assert isinstance(sample, RGBDSample) and sample.mask is not None
        samples[f"{number:06d}"] = {
            "tiff": encode(sample.frame.image, "TIFF"),
            "depth_map.tiff": b"".join(tiff.encode_unpacked(sample.depth)),
            "mask.png": encode(sample.mask.astype(np.uint8) * 255, "PNG"),
            "json": json.dumps({"key": sample.key, "kind": "metric"}).encode(),
        }
    write_tar(tmp_path / "old/a.tar", samples)
    for sample, old in zip(ours, read_all(tmp_path / "old"), strict=True):
        assert isinstance(sample, RGBDSample) and isinstance(old, RGBDSample)
        np.testing.assert_array_equal(sample.depth.values, old.depth.values)
        np.testing.assert_array_equal(sample.valid, old.valid)
        assert sample.key == old.key
