"""A depth file is read with all that is known of it: by itself, by the ledger beside it, by depth.json."""

from __future__ import annotations

import json
import os
import random
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from camera_model import Camera
from ledgers import open_ledger

from cortexia_video import (
    DepthEstimator,
    DepthMap,
    DepthReader,
    SyntheticModel,
    convert,
    estimate,
    read_depth,
)
from cortexia_video.cli import main
from cortexia_video.errors import DepthFileError, InputError
from cortexia_video.formats.registry import FORMATS
from cortexia_video.ledger.entries import Source
from cortexia_video.ledger.index import LedgerIndex
from cortexia_video.ledger.ledger import read_ledger
from cortexia_video.ledger.partition import Partition
from cortexia_video.ledger.state import DEPTH_JSON, LEDGER_NAME
from cortexia_video.sinks.sink import WrittenFile
from cortexia_video.storage import paths

ZEROS = "0" * 64
UNSAID = "does not say what it means"


@pytest.fixture
def photos(tmp_path: Path, make_image: Callable[..., Path]) -> Path:
    for index, name in enumerate(("a.jpg", "trip/b.jpg", "trip/\udcff.jpg")):
        make_image(tmp_path / "photos/x.jpg", seed=index)
        (tmp_path / "photos/trip").mkdir(exist_ok=True)
        (tmp_path / "photos/x.jpg").rename(tmp_path / "photos" / name)
    return tmp_path / "photos"


def run(photos: Path, format: str = "npy", out: str = "out", **options: object) -> Path:
    """Estimate metres at 50 pixels, as small as the network gives them."""
    model = DepthEstimator(Camera(), size="native")
    report = estimate(photos, photos.parent / out, model=model, recursive=True, format=format, **options)
    assert report.failed == 0
    return photos.parent / out


def facts(path: Path) -> tuple:
    depth = read_depth(path)
    return depth.kind, depth.f_px, depth.f_source, depth.full_size, depth.model, depth.weights_sha256


@pytest.mark.parametrize("format", [name for name, form in FORMATS.items() if form.decode])
def test_a_file_of_a_run_says_everything_in_every_format(photos: Path, format: str) -> None:
    out = run(photos, format, f_px=50)
    for key in ("a.jpg", "trip/b.jpg", "trip/\udcff.jpg"):
        path = out / (key + FORMATS[format].suffix)
        assert facts(path) == ("metric", 50, "given", (48, 64), "synthetic", ZEROS)
    assert convert(out, photos.parent / "new", f_px=75).done == 3
    for path in (photos.parent / "new").rglob("*.jpg.*"):
        assert facts(path) == ("metric", 75, "given", (48, 64), "synthetic", ZEROS)


def test_a_path_is_found_from_anywhere(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = run(photos, f_px=50)
    monkeypatch.chdir(out / "trip")
    for path in ("b.jpg.npy", "./b.jpg.npy", "../trip/b.jpg.npy", Path("b.jpg.npy")):
        assert read_depth(path).f_px == 50


def test_a_file_that_was_changed_keeps_only_what_all_have_in_common_and_says_so(
    photos: Path, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    out = run(photos, f_px=50)
    read_depth(out / "a.jpg.npy")
    assert not caplog.messages
    values = np.load(out / "a.jpg.npy")
    np.save(out / "a.jpg.npy", values + 1)
    assert facts(out / "a.jpg.npy") == ("metric", None, None, None, "synthetic", ZEROS)
    warning = "it is not what was written: its meaning is that of its folder, which may not fit"
    assert caplog.messages == [f"{out / 'a.jpg.npy'}: {warning}"]
    with pytest.raises(SystemExit, match="0"):
        main(["info", str(out / "a.jpg.npy")])
    assert f"  changed     {warning}\n" in capsys.readouterr().out
    np.save(out / "a.jpg.npy", values[1:])
    assert facts(out / "a.jpg.npy") == ("metric", None, None, None, "synthetic", ZEROS)


def test_what_the_ledger_does_not_name_is_not_ours(photos: Path) -> None:
    out = run(photos)
    shutil.copy(out / "a.jpg.npy", out / "trip/stranger.npy")
    with pytest.raises(DepthFileError, match=UNSAID):
        read_depth(out / "trip/stranger.npy")
    assert read_depth(out / "trip/stranger.npy", about={"kind": "disparity"}).kind == "disparity"


def test_without_a_ledger_depth_json_speaks_for_all(photos: Path) -> None:
    out = run(photos, f_px=50)
    (out / LEDGER_NAME).unlink()
    shutil.copy(out / "a.jpg.npy", out / "trip/other.npy")
    assert facts(out / "trip/other.npy") == ("metric", None, None, None, "synthetic", ZEROS)


@pytest.mark.parametrize(
    "damage", [b"", b'{\n "software": "cortexia_video depth",\n "kind', b'{"kind": "metric"}']
)
def test_without_either_nothing_is_guessed(photos: Path, damage: bytes) -> None:
    out = run(photos)
    (out / LEDGER_NAME).unlink()
    (out / DEPTH_JSON).write_bytes(damage)
    with pytest.raises(DepthFileError, match=UNSAID):
        read_depth(out / "a.jpg.npy")


def test_a_setting_of_a_model_is_no_word_about_its_numbers(photos: Path) -> None:
    out = run(photos)
    (out / LEDGER_NAME).unlink()
    said = json.loads((out / DEPTH_JSON).read_bytes())
    (out / DEPTH_JSON).write_text(json.dumps({**said, "scale": 1000, "f_px": 7}, indent=1))
    np.testing.assert_array_equal(read_depth(out / "a.jpg.npy").values, np.load(out / "a.jpg.npy"))
    assert read_depth(out / "a.jpg.npy").f_px is None


def test_files_of_two_runs_in_one_folder_keep_what_each_said(photos: Path) -> None:
    out = run(photos, f_px=50)
    estimate(photos, out, model=DepthEstimator(SyntheticModel()), recursive=True, format="pfm")
    assert facts(out / "a.jpg.npy")[:2] == ("metric", 50)
    assert facts(out / "a.jpg.pfm")[:2] == ("disparity", None)
    (out / "a.jpg.npy").write_bytes((out / "trip/b.jpg.npy").read_bytes())
    with pytest.raises(DepthFileError, match=UNSAID):
        read_depth(out / "a.jpg.npy")  # it is neither what the ledger says, nor is all of the folder alike


def test_what_the_file_says_comes_first(photos: Path) -> None:
    out = run(photos, "npz", f_px=50)
    other = run(photos, "npz", out="other", f_px=60)
    shutil.copy(other / "a.jpg.npz", out / "a.jpg.npz")
    assert facts(out / "a.jpg.npz")[:2] == ("metric", 60)
    assert read_depth(out / "a.jpg.npz", about={"kind": "disparity", "f_px": 1}).f_px == 60


def test_the_nearest_folder_that_knows_a_file_speaks_for_it(photos: Path) -> None:
    run(photos / "trip", out="out/trip", f_px=60)
    out = run(photos, f_px=50, overwrite=True)
    inner = estimate(photos / "a.jpg", out / "trip", model=DepthEstimator(Camera()), f_px=70)
    assert inner.done == 1
    assert read_depth(out / "trip/b.jpg.npy").f_px == 50  # the inner ledger has another digest of it
    assert read_depth(out / "trip/a.jpg.npy").f_px == 70


def test_shards_are_known_before_they_are_joined(photos: Path) -> None:
    for shard in ("1/2", "2/2"):
        out = run(photos, f_px=50, partition=shard)
    assert {read_depth(path).f_px for path in out.rglob("*.npy")} == {50}


def test_a_file_that_a_kill_left_before_its_line_is_what_all_are(photos: Path) -> None:
    out = run(photos, f_px=50)
    lines = (out / LEDGER_NAME).read_bytes().splitlines(keepends=True)
    kept = [line for line in lines if b'"a.jpg", "outcome": "done"' not in line]
    (out / LEDGER_NAME).write_bytes(b"".join(kept))
    assert facts(out / "a.jpg.npy")[:2] == ("metric", None)


def test_a_calibration_beside_a_middlebury_disparity_is_read(tmp_path: Path) -> None:

    disparity = DepthMap(np.full((2, 3), 10, np.float32), "disparity")
    (tmp_path / "disp0.pfm").write_bytes(b"".join(map(bytes, FORMATS["pfm"].encode(disparity))))
    with pytest.raises(DepthFileError, match=r"calib\.txt"):
        read_depth(tmp_path / "disp0.pfm", convention="middlebury")
    (tmp_path / "calib.txt").write_text("cam0=[100 0 1; 0 100 1; 0 0 1]\ndoffs=10\nbaseline=200\n")
    depth = read_depth(tmp_path / "disp0.pfm", convention="middlebury")
    np.testing.assert_allclose(depth.values, 100 * 0.2 / (10 + 10))
    assert (depth.kind, depth.f_px) == ("metric", 100)


def test_a_convention_is_not_asked_where_the_folder_speaks(photos: Path) -> None:
    out = run(photos, f_px=50)
    depth = read_depth(out / "a.jpg.npy", convention="metres")  # in which 0 would be unknown
    assert (depth.kind, depth.f_px) == ("metric", 50)
    with pytest.raises(DepthFileError, match="unknown convention 'x': use one of tum, kitti"):
        DepthReader(convention="x")


def test_what_cannot_be_read_is_one_error(tmp_path: Path) -> None:
    for path, reason in ((tmp_path / "none.npy", "No such file"), (tmp_path, "Is a directory")):
        with pytest.raises(DepthFileError, match=f"{path.name}: cannot be read: {reason}"):
            read_depth(path)


def test_a_reader_reads_many_on_many_threads_as_one_does(photos: Path) -> None:
    paths = sorted(run(photos, f_px=50).rglob("*.npy")) * 40
    reader = DepthReader()
    with ThreadPoolExecutor(8) as pool:
        depths = [*pool.map(reader.read, paths)]
    assert [depth.f_px for depth in depths] == [50] * len(paths)


def test_a_ledger_that_cannot_be_read_is_an_error_and_no_guess(
    photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, read = run(photos), paths._open_regular

    def refuse(path: str, flags: int) -> int:
        if Path(path).name == LEDGER_NAME:
            raise PermissionError(13, "Permission denied")
        return read(path, flags)

    monkeypatch.setattr(paths, "_open_regular", refuse)
    with pytest.raises(InputError, match=r"cannot read .*ledger.jsonl: Permission denied"):
        read_depth(out / "a.jpg.npy")


# ---- the index ---------------------------------------------------------------------------------------------


def write_ledger(root: Path, seed: int) -> list[str]:
    """Write a ledger of shards with odd names, lines that are there twice, and torn ones; give the names."""
    chance = random.Random(seed)
    keys = ["a", "a.npy", 'quo"te', "back\\slash", "\udcff", "new\nline", "ü", *map(str, range(30))]
    for shard in (None, Partition(1, 2), Partition(2, 2)):
        with open_ledger(root, {"model": str(shard)}, shard) as ledger:
            for key in chance.choices(keys, k=60):
                ledger.record_begun(key, [f"{key}.npy", f"{key}.preview.jpg"])
                if chance.random() < 0.8:
                    placed = {
                        f"{key}.npy": WrittenFile(chance.randrange(9), "0" * 32),
                        f"{key}.preview.jpg": WrittenFile(1, "1"),
                    }
                    ledger.record_done(key, Source("/x", 1, 1), placed)
        path = next(iter(sorted(root.glob("ledger.[12]*"), reverse=True)), root / LEDGER_NAME)
        path.write_bytes(path.read_bytes()[:-7] + b'\n{"key": "torn\n\n[]\n')
    return [f"{key}{suffix}" for key in keys for suffix in (".npy", ".preview.jpg", ".tiff")]


@pytest.mark.parametrize("seed", range(3))
def test_searching_and_looking_up_find_what_reading_all_does(
    tmp_path: Path, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)
    names = write_ledger(tmp_path, seed)
    everything = [*read_ledger(tmp_path)][::-1]
    looking = LedgerIndex(tmp_path)
    for name in names:
        expected = [line for line in everything if name in line.get("outputs", ())]
        assert [*LedgerIndex(tmp_path).find(name)] == expected
        assert [*looking.find(name)] == expected
    runs = {line["run"]: line["settings"] for line in everything if "settings" in line}
    assert {run: looking.settings(run) for run in runs} == runs
    assert looking.settings("none") == {}


def test_an_empty_ledger_knows_nothing(tmp_path: Path) -> None:
    (tmp_path / LEDGER_NAME).write_bytes(b"")
    index = LedgerIndex(tmp_path)
    for _ in range(9):
        assert [*index.find("a.npy")] == []
