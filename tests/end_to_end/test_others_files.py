"""Files of other people, in and around the folders that commands read and write: none is lost or changed."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import cortexia_video as cx
from cortexia_video.cli import main
from cortexia_video.evaluation import evaluator
from cortexia_video.evaluation.score_file import ScoreFile

Make = Callable[..., Path]
ROOT = Path(__file__).resolve().parents[2]
HALF = "0123456789abcdef"  # as what is half written is called
EVALUATE = ["evaluate", "--protocol", "moge-metric", "--truth-from", "nyu"]
FOREIGN = '{"amount": 12.5, "to": "the bank"}\n'


def cortexia(*arguments: object) -> int:
    with pytest.raises(SystemExit) as ended:
        main([str(each) for each in arguments])
    return int(ended.value.code or 0)


@pytest.fixture
def dl(tmp_path: Path, make_image: Make) -> Path:
    """A run of two images, as it was downloaded; beside it are their photos and depth in metres."""
    for index in range(2):
        make_image(tmp_path / "photos" / f"{index}.jpg", (30, 40), seed=index)
    cx.estimate(tmp_path / "photos", tmp_path / "dl", model="synthetic", kind="metric", f_px=50.0)
    (tmp_path / "truth").mkdir()
    for index in range(2):
        depth_m = np.load(tmp_path / f"dl/{index}.jpg.npy")
        Image.fromarray((1000 * depth_m).astype(np.uint16)).save(tmp_path / f"truth/{index}.png")
    (tmp_path / "depth").mkdir()
    np.save(tmp_path / "depth/a.npy", np.full((30, 40), 2, np.float32))
    return tmp_path / "dl"


def look(folder: Path) -> dict[str, tuple[int, bytes]]:
    """Return all that is in a folder, as it is."""
    return {
        str(path.relative_to(folder)): (
            path.lstat().st_mtime_ns,
            path.read_bytes() if path.is_file() else b"",
        )
        for path in folder.rglob("*")
    }


def run_script(folder: Path, monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))
    spec = importlib.util.spec_from_file_location("batch", ROOT / "scripts/batch_depth_estimation.py")
    assert spec and spec.loader
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    return script.batch_depth_estimation(folder=str(folder), model="compact")


@pytest.mark.parametrize("command", ["estimate", "convert", "scenes", "pointcloud", "script"])
def test_a_link_among_what_was_downloaded_empties_no_folder(
    command: str,
    dl: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    victim, out = tmp_path / "victim", tmp_path / "out"
    victim.mkdir()
    (victim / HALF).write_text("precious")
    (victim / "thesis.txt").write_text("precious")
    out.mkdir()
    shutil.copy(tmp_path / "photos/0.jpg", out)
    if command == "scenes":
        pytest.importorskip("torch")
        (out / "0.jpg").unlink()
    (out / ".cortexia-partial").symlink_to("../victim")
    before = look(victim)
    if command == "script":
        assert run_script(out, monkeypatch) == 1  # a folder that cannot be written fails alone
        said = capsys.readouterr().out
    else:
        asked = {
            "estimate": [out, "--model", "synthetic"],
            "convert": [tmp_path / "depth", "--format", "png16", "--kind", "metric"],
            "scenes": ["--count", 1, "--size", 16, 16],
            "pointcloud": [dl],
        }
        assert cortexia(command, *asked[command], "--output", out) == 2
        said = capsys.readouterr().err
    assert f"{out}/.cortexia-partial is a link: remove it" in said
    assert look(victim) == before


@pytest.mark.parametrize("what", ["report", "status", "verify", "info", "pointcloud", "cloud", "convert"])
def test_who_only_reads_a_folder_writes_nothing_into_it(what: str, dl: Path, tmp_path: Path) -> None:
    victim, new = tmp_path / "victim", tmp_path / "new"
    victim.mkdir()
    (victim / HALF).write_text("precious")
    (dl / ".cortexia-partial").symlink_to("../victim")
    (dl / f".report.html.{HALF}.partial").symlink_to("../victim/thesis.txt")
    (dl / "ledger.1-of-2.jsonl").write_bytes(
        (dl / "ledger.jsonl").read_bytes()
    )  # of a shard, which only who writes here may join
    before = look(dl), look(victim)
    asked: dict[str, list[object]] = {
        "report": ["report", dl],
        "status": ["status", dl],
        "verify": ["verify", dl],
        "info": ["info", dl],
        "pointcloud": ["pointcloud", dl, "--output", new],
        "cloud": ["pointcloud", tmp_path / "photos/0.jpg", "--depth", dl / "0.jpg.npy", "-o", dl / "a.ply"],
        "convert": ["convert", dl, "--format", "npz", "--output", new],
    }
    assert cortexia(*asked[what]) == 0
    for made in ("report.html", "a.ply"):
        (dl / made).unlink(missing_ok=True)
    assert (look(dl), look(victim)) == before


def test_datasets_and_evaluations_write_nothing_into_what_they_read(dl: Path, tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    (dl / ".cortexia-partial").symlink_to("../photos")
    before = look(dl), look(tmp_path / "photos")
    built = ["dataset", "build", tmp_path / "photos", "--depth", dl, "--output", tmp_path / "set"]
    assert cortexia(*built) == 0
    assert cortexia(*EVALUATE, dl, "--truth", tmp_path / "truth", "--output", tmp_path / "ev") == 0
    assert (look(dl), look(tmp_path / "photos")) == before


@pytest.mark.parametrize("content", ["link", FOREIGN, "notes of mine"])
@pytest.mark.parametrize(
    ("name", "asked"),
    [
        ("ledger.jsonl", ["estimate", "photos", "--model", "synthetic"]),
        ("ledger.1-of-2.jsonl", ["estimate", "photos", "--model", "synthetic", "--partition", "1/2"]),
        ("ledger.jsonl", ["convert", "depth", "--format", "png16", "--kind", "metric"]),
        ("ledger.jsonl", ["pointcloud", "dl"]),
        ("build.jsonl", ["dataset", "build", "photos", "--depth", "dl"]),
        ("scenes.jsonl", ["scenes", "--count", "1", "--size", "16", "16"]),
        *(
            (name, [*EVALUATE, "dl", "--truth", "truth"])
            for name in ("scores.jsonl", "results.json", "images.csv", "page.html")
        ),
    ],
)
def test_no_ledger_scores_or_results_of_others_are_written(
    name: str,
    asked: list[str],
    content: str,
    dl: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for module in {"dataset": ["pyarrow"], "scenes": ["torch"]}.get(asked[0], []):
        pytest.importorskip(module)
    monkeypatch.chdir(tmp_path)
    out, theirs = tmp_path / "out", tmp_path / "theirs"
    out.mkdir()
    theirs.write_text("precious")
    if content == "link":
        (out / name).symlink_to(theirs)
    else:
        (out / name).write_text(content)
    before = look(out)
    assert cortexia(*asked, "--output", "out") == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert f"out/{name} is {'a link' if content == 'link' else 'not ours'}" in said or (
        content != "link" and f"out holds {name}, which is no part of" in said
    )
    assert theirs.read_text() == "precious"
    assert {key: each for key, each in look(out).items() if key == name} == before


def test_depth_json_of_somebody_else_stays(tmp_path: Path, dl: Path) -> None:
    (tmp_path / "mine.json").write_text("{}")
    (tmp_path / "out").mkdir()
    (tmp_path / "out/depth.json").symlink_to("../mine.json")
    cx.estimate(tmp_path / "photos", tmp_path / "out", model="synthetic")
    assert (tmp_path / "mine.json").read_text() == "{}"
    assert (tmp_path / "out/depth.json").is_symlink()


def test_an_image_whose_place_lies_behind_a_link_fails_alone(dl: Path, tmp_path: Path) -> None:
    (tmp_path / "photos/sub").mkdir()
    shutil.copy(tmp_path / "photos/0.jpg", tmp_path / "photos/sub/x.jpg")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere/x.jpg.npy").write_text("precious")
    (tmp_path / "out").mkdir()
    (tmp_path / "out/sub").symlink_to("../elsewhere")
    for _ in range(2):
        report = cx.estimate(tmp_path / "photos", tmp_path / "out", model="synthetic", recursive=True)
        assert report.failed == 1 and report.found == 3
        assert "link" in report.failures[0].reason or "already" in report.failures[0].reason
    assert os.listdir(tmp_path / "elsewhere") == ["x.jpg.npy"]
    assert (tmp_path / "elsewhere/x.jpg.npy").read_text() == "precious"
    (tmp_path / "elsewhere/x.jpg.npy").unlink()
    report = cx.estimate(tmp_path / "photos", tmp_path / "out", model="synthetic", recursive=True)
    (failure,) = report.failures
    assert failure.reason == f"{tmp_path / 'out/sub'} is a link: remove it, or choose another `output`"
    assert os.listdir(tmp_path / "elsewhere") == []


def test_a_build_leaves_half_written_files_of_others(dl: Path, tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    out = tmp_path / "set"
    (out / ".x.partial").mkdir(parents=True)
    (out / ".movie.mkv.partial").write_text("download")
    (out / f".train-00007.parquet.{HALF}.partial").write_text("half")
    (out / f".test-00000.parquet.{HALF}.partial").write_text("of another split")
    assert cortexia("dataset", "build", tmp_path / "photos", "--depth", dl, "--output", out) == 0
    assert sorted(os.listdir(out)) == [
        ".movie.mkv.partial",
        f".test-00000.parquet.{HALF}.partial",
        ".x.partial",
        "build.jsonl",
        "train-00000.parquet",
    ]


def test_a_sheet_replaces_an_earlier_sheet_and_no_photo(
    dl: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("pyarrow")
    cortexia("dataset", "build", tmp_path / "photos", "--depth", dl, "--output", tmp_path / "set")
    for name, form in (("a.png", "PNG"), ("a.jpg", "JPEG")):
        preview = ("dataset", "preview", tmp_path / "set", "--output", tmp_path / name)
        assert cortexia(*preview) == cortexia(*preview) == 0
        Image.new("RGB", (9, 9)).save(tmp_path / name, form)
        before = (tmp_path / name).read_bytes()
        assert cortexia(*preview) == 2
        assert f"{name} exists and is no sheet of ours: choose another --output" in capsys.readouterr().err
        assert (tmp_path / name).read_bytes() == before


def test_a_second_evaluation_waits_its_turn(
    dl: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = [*EVALUATE, dl, "--truth", tmp_path / "truth", "--output", tmp_path / "ev"]
    with ScoreFile(tmp_path / "ev"):
        assert cortexia(*asked) == 2
        said = capsys.readouterr().err
        assert f"another process evaluates into {tmp_path / 'ev'}: wait for it, or choose another" in said

    def collide(*arguments: object) -> None:
        """While results are written, another one is still kept off."""
        assert cortexia(*asked) == 2
        save(*arguments)  # type: ignore[arg-type]

    save = evaluator.save_results
    monkeypatch.setattr(evaluator, "save_results", collide)
    cortexia(*asked)
    assert "another process evaluates into" in capsys.readouterr().err
    monkeypatch.undo()
    first = {name: (tmp_path / "ev" / name).read_bytes() for name in os.listdir(tmp_path / "ev")}
    assert {*first} == {"results.json", "images.csv", "page.html", "scores.jsonl"}
    cortexia(*asked)
    assert {name: (tmp_path / "ev" / name).read_bytes() for name in first} == first
    assert json.loads(first["results.json"])["truth"] == str(tmp_path / "truth")
