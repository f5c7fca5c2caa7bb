"""DIR/depth.json says what a folder's depth has in common, and nothing that is not so of all its files."""

from __future__ import annotations

import contextlib
import json
import logging
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from ledgers import open_ledger

from cortexia_video import DepthEstimator, SyntheticModel, estimate, merge_ledgers
from cortexia_video.ledger.ledger import Ledger
from cortexia_video.ledger.partition import Partition
from cortexia_video.ledger.state import DEPTH_JSON, describe_settings, join_statements, read_depth_json
from cortexia_video.sinks.sink import FolderSink

OF_EACH = ["f_px", "f_source", "full_size"]
SETTINGS = {"model": "m", "weights_sha256": "1" * 64, "kind": "metric", "format": "npy", "size": "full"}
OTHER = {**SETTINGS, "model": "n", "kind": "disparity"}


@pytest.fixture
def photos(tmp_path: Path, make_image: Callable[..., Path]) -> Path:
    for name in ("a.jpg", "b.jpg"):
        make_image(tmp_path / "photos" / name)
    return tmp_path / "photos"


def run(photos: Path, kind: str = "disparity", **options: object) -> Path:
    model = SyntheticModel()
    model.kind = kind
    report = estimate(photos, photos.parent / "out", model=DepthEstimator(model), **options)
    assert report.failed == 0
    return photos.parent / "out"


def said(out: Path) -> dict:
    return json.loads((out / DEPTH_JSON).read_bytes())


def test_it_says_what_the_numbers_of_a_run_mean(photos: Path) -> None:
    assert said(run(photos, "metric", f_px=70, preview=True)) == {
        "software": "cortexia_video depth",
        "format": "npy",
        "kind": "metric",
        "unit": "metres",
        "larger_is": "farther",
        "unknown": "nan",
        "model": "synthetic",
        "weights_sha256": "0" * 64,
        "size": "full",
        "decode": "exact",
        "short_side": 64,
        "in_ledger": OF_EACH,
    }


def test_a_view_has_no_kind_and_a_file_that_speaks_for_itself_no_unknown() -> None:
    view = describe_settings({**SETTINGS, "format": "png"})
    assert view["view_of"] == "metric"
    assert not {"kind", "unit", "larger_is", "unknown"} & view.keys()
    assert "unknown" not in describe_settings({**SETTINGS, "format": "png16"})


def test_it_is_there_before_the_first_file_and_stays_as_it_is(photos: Path) -> None:
    out, seen = photos.parent / "out", []
    run(photos, on_outcome=lambda *_: seen.append(said(out)))
    assert seen == 2 * [said(out)]
    before = (out / DEPTH_JSON).stat()
    run(photos)
    assert (out / DEPTH_JSON).stat().st_mtime_ns == before.st_mtime_ns


def test_what_differs_is_in_the_ledger_until_all_is_the_same_again(photos: Path) -> None:
    out = run(photos, "metric")
    before = said(out)
    (photos / "b.jpg").rename(photos.parent / "b.jpg")
    mixed = said(run(photos, "affine_invariant"))  # b.jpg's depth is still metres
    assert mixed == {
        **{name: value for name, value in before.items() if name not in ("kind", "unit")},
        "in_ledger": [*OF_EACH, "kind", "unit"],
    }
    (photos.parent / "b.jpg").rename(photos / "b.jpg")
    run(photos, "affine_invariant")
    healed = said(run(photos, "affine_invariant"))
    assert healed == {**before, "kind": "affine_invariant", "unit": None}


def test_files_of_an_earlier_format_count_while_they_are_there(photos: Path) -> None:
    out = run(photos, format="npy")
    assert "format" in said(run(photos, format="npz"))["in_ledger"]
    assert "format" in said(run(photos, format="npz"))["in_ledger"]
    for path in out.glob("*.npy"):
        path.unlink()
    assert said(run(photos, format="npz"))["format"] == "npz"


@pytest.mark.parametrize("damage", [b"", b'{\n "software": "cortexia_video depth",\n "kind": "met', None])
def test_a_torn_one_says_nothing_and_the_next_run_writes_it_again(photos: Path, damage: bytes | None) -> None:
    path = run(photos) / DEPTH_JSON
    whole = path.read_bytes()
    path.unlink() if damage is None else path.write_bytes(damage)
    assert read_depth_json(path.parent) == {}
    run(photos)
    assert path.read_bytes() == whole


@pytest.mark.parametrize("content", [b'{"kind": "metric"}', b"[1]", b"\xff\xfe"])
def test_one_that_is_not_ours_stays_and_is_not_believed(
    photos: Path, content: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    path = photos.parent / "out" / DEPTH_JSON
    path.parent.mkdir()
    path.write_bytes(content)
    with caplog.at_level(logging.WARNING):
        run(photos)
    assert "depth.json is not ours and stays: what depth means is in the ledger" in caplog.text
    assert path.read_bytes() == content
    assert read_depth_json(path.parent) == {}


def test_a_folder_in_its_place_is_left_alone(photos: Path) -> None:
    (photos.parent / "out" / DEPTH_JSON).mkdir(parents=True)
    assert read_depth_json(run(photos)) == {}


def shards(out: Path, *settings: dict) -> list[Ledger]:
    return [open_ledger(out, each, Partition(index, len(settings))) for index, each in enumerate(settings, 1)]


@pytest.mark.parametrize("order", ["aAbB", "abAB", "abBA", "bBaA"])
def test_shards_of_other_settings_leave_what_they_share(tmp_path: Path, order: str) -> None:
    """A small letter: a shard begins; a capital: it says what is common."""
    one, other = shards(tmp_path, SETTINGS, OTHER)
    with FolderSink(tmp_path) as sink, contextlib.ExitStack() as ends:
        steps: dict[str, Callable[[], object]] = {
            "a": lambda: ends.enter_context(one),
            "b": lambda: ends.enter_context(other),
            "A": lambda: one.keep_depth_json(sink),
            "B": lambda: other.keep_depth_json(sink),
        }
        for letter in order:
            steps[letter]()
    assert "kind" not in said(tmp_path)
    assert said(tmp_path)["in_ledger"] == [*OF_EACH, "model", "kind", "unit", "larger_is"]


def test_a_shard_that_saw_nobody_looks_again_after_writing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = shards(tmp_path, SETTINGS, OTHER)
    place = FolderSink.place

    def begin_other_meanwhile(sink: FolderSink, files: dict) -> dict:
        monkeypatch.setattr(FolderSink, "place", place)
        ends.enter_context(other)
        other.keep_depth_json(sink)
        return place(sink, files)  # overwrites what the other has said, with what this one knew before

    with one, FolderSink(tmp_path) as sink, contextlib.ExitStack() as ends:
        monkeypatch.setattr(FolderSink, "place", begin_other_meanwhile)
        one.keep_depth_json(sink)
        assert "kind" in said(tmp_path)["in_ledger"]


def test_merged_shards_of_the_same_settings_say_what_one_run_does(photos: Path) -> None:
    out = run(photos)
    whole = (out / DEPTH_JSON).read_bytes()
    for path in out.iterdir():
        path.unlink()
    for shard in ("1/2", "2/2"):
        run(photos, partition=shard)
        assert (out / DEPTH_JSON).read_bytes() == whole
    merge_ledgers(out)
    run(photos)
    assert (out / DEPTH_JSON).read_bytes() == whole


def test_settings_that_the_ledger_lost_leave_nothing_in_common(photos: Path) -> None:
    out = run(photos)
    ledger = out / "ledger.jsonl"
    lines = ledger.read_bytes().splitlines(keepends=True)
    ledger.write_bytes(b"".join(line for line in lines if not line.startswith(b'{"run"')))
    (photos / "b.jpg").unlink()
    assert said(run(photos, changed="keep")).keys() == {"software", "in_ledger"}


def test_one_that_cannot_be_written_is_said_and_harms_no_run(
    photos: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    replace = os.replace

    def refuse(name: str, target: str, **folders: int) -> None:
        if target == DEPTH_JSON:
            raise PermissionError(1, "Operation not permitted")
        replace(name, target, **folders)

    monkeypatch.setattr(os, "replace", refuse)
    out = run(photos)
    assert "depth.json: Operation not permitted" in caplog.text
    assert not (out / DEPTH_JSON).exists() and (out / "a.jpg.npy").exists()


A, B = {"x": 1, "in_ledger": ["f"]}, {"x": 1, "y": None, "in_ledger": []}


@pytest.mark.parametrize(
    ("statements", "together"),
    [
        ([A], A),
        ([A, A], A),
        ([A, B], {"x": 1, "in_ledger": ["f", "y"]}),
        ([B, {**B, "x": 2}], {"y": None, "in_ledger": ["x"]}),
        ([], {"in_ledger": []}),
    ],
)
def test_only_what_all_say_is_said_of_all(statements: list[dict], together: dict) -> None:
    assert join_statements(statements) == together
