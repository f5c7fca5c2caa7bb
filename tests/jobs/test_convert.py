"""Depth files in another format: the same depth, the same meaning, one outcome each, nothing lost unasked."""

from __future__ import annotations

import dataclasses
import io
import json
import logging
import math
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from camera_model import Camera
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from PIL import Image

from cortexia_video import (
    DepthEstimator,
    DepthMap,
    Failure,
    Report,
    convert,
    estimate,
    read_depth,
    read_ledger,
    verify,
)
from cortexia_video.cli import main
from cortexia_video.depth_map import KINDS
from cortexia_video.errors import (
    DepthFileError,
    InputError,
    LossError,
    MissingExtraError,
    OutputError,
    OutputLostError,
)
from cortexia_video.formats.decode_depth import count_pixels
from cortexia_video.formats.registry import FORMATS
from cortexia_video.ledger.state import DEPTH_JSON, LEDGER_NAME, is_ledger
from cortexia_video.sinks.sink import FolderSink
from cortexia_video.storage import paths

READABLE = [name for name, form in FORMATS.items() if form.decode]
EVERY = pytest.mark.parametrize("format", READABLE)
METRIC = {"kind": "metric"}
DEPTH = DepthMap(
    np.array([[1, 2, np.nan], [3, 4.5, 6]], np.float32),
    "metric",
    f_px=50,
    f_source="exif",
    full_size=(20, 30),
    model="m",
    weights_sha256="1" * 64,
)
MIXED = {
    "a.npz": "a",
    "b.tiff": "b",
    "trip/c.16.png": "trip/c",
    "trip/d.jpg.jxl": "trip/d.jpg",
    "\udcff.exr": "\udcff",
}
quick_disk = pytest.fixture(lambda monkeypatch: monkeypatch.setattr(os, "fsync", lambda descriptor: None))


def write(path: Path, depth: DepthMap = DEPTH) -> Path:
    """Write a depth file as its name says."""
    form = max(
        (each for each in FORMATS.values() if path.name.endswith(each.suffix)), key=lambda f: len(f.suffix)
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"".join(map(bytes, form.encode(depth))))
    return path


def meaning(depth: DepthMap) -> dict[str, object]:
    return {
        each.name: getattr(depth, each.name) for each in dataclasses.fields(depth) if each.name != "values"
    }


def outputs(out: Path) -> dict[str, bytes]:
    """Return what is in a folder, but for the ledger."""
    return {
        path.relative_to(out).as_posix(): path.read_bytes()
        for path in out.rglob("*")
        if path.is_file() and not is_ledger(path.name)
    }


def names(out: Path) -> set[str]:
    return outputs(out).keys() - {DEPTH_JSON}


def reasons(report: Report) -> dict[str, str]:
    return {failure.key: failure.reason for failure in report.failures}


def last_lines(out: Path) -> dict[str, dict]:
    return {line["key"]: line for line in read_ledger(out) if line.get("outcome") == "done"}


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Return a folder of five depth files, each of another format."""
    for name in MIXED:
        write(tmp_path / "in" / name)
    return tmp_path / "in"


@pytest.fixture
def photos(tmp_path: Path, make_image: Callable[..., Path]) -> Path:
    for index, name in enumerate(("a.jpg", "trip/b.jpg", "trip/c.png")):
        make_image(tmp_path / "photos" / name, seed=index)
    return tmp_path / "photos"


def run(photos: Path, format: str, out: str) -> Path:
    """Estimate metres at 50 pixels, as small as the network gives them."""
    model = DepthEstimator(Camera(), size="native")
    estimate(photos, photos.parent / out, model=model, recursive=True, format=format, f_px=50)
    return photos.parent / out


# ---- the same depth, with the same meaning -----------------------------------------------------------------


@EVERY
def test_converting_a_run_is_estimating_into_the_format(photos: Path, tmp_path: Path, format: str) -> None:
    report = convert(run(photos, "npy", "npy"), tmp_path / "out", format=format)
    assert (report.found, report.done, report.failed) == (3, 3, 0)
    estimated = run(photos, format, "estimated")
    suffix = FORMATS[format].suffix
    assert names(tmp_path / "out") == names(estimated)
    for key in ("a.jpg", "trip/b.jpg", "trip/c.png"):
        ours, theirs = (read_depth(folder / (key + suffix)) for folder in (tmp_path / "out", estimated))
        np.testing.assert_array_equal(ours.values, theirs.values)
        assert meaning(ours) == meaning(theirs)
        assert ours.f_px == 50 and ours.full_size == (48, 64) and ours.model == "synthetic"
    for word in ("kind", "unit", "larger_is", "unknown", "model", "weights_sha256", "format", "in_ledger"):
        said = [json.loads((folder / DEPTH_JSON).read_bytes()) for folder in (tmp_path / "out", estimated)]
        assert said[0].get(word) == said[1].get(word), word
    assert verify(tmp_path / "out").wrong == []


@EVERY
def test_a_tree_of_mixed_formats_keeps_its_shape_and_its_meaning(
    tree: Path, tmp_path: Path, format: str
) -> None:
    out = tmp_path / "out"
    assert convert(tree, out, format=format).done == len(MIXED)
    assert names(out) == {key + FORMATS[format].suffix for key in MIXED.values()}
    for name in names(out):
        depth = read_depth(out / name)
        np.testing.assert_allclose(depth.values, DEPTH.values, rtol=2e-4)
        assert meaning(depth) == meaning(DEPTH)
    assert verify(out).wrong == []


VALUES = arrays(
    np.float32,
    array_shapes(min_dims=2, max_dims=2, max_side=6),
    elements=st.floats(0.0009765625, 60000, width=32) | st.just(np.float32(np.nan)),
)
THROUGH = st.tuples(st.sampled_from(READABLE), st.sampled_from(READABLE))


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(values=VALUES, through=THROUGH, kind=st.sampled_from(KINDS))
def test_depth_comes_through_any_two_formats(
    quick_disk: None,
    tmp_path_factory: pytest.TempPathFactory,
    values: np.ndarray,
    through: tuple[str, str],
    kind: str,
) -> None:
    folder = tmp_path_factory.mktemp("through")
    write(folder / "0/a.npz", dataclasses.replace(DEPTH, values=values, kind=kind))
    for number, format in enumerate((*through, "npz")):
        assert convert(folder / str(number), folder / str(number + 1), format=format, workers=1).done == 1
    depth = read_depth(folder / "3/a.npz")
    assert meaning(depth) == {**meaning(DEPTH), "kind": kind}
    allowed = sum(bound(format, values, kind) for format in through)
    np.testing.assert_array_equal(np.isnan(depth.values), np.isnan(values))
    assert (np.isnan(values) | (np.abs(depth.values.astype(float) - values) <= allowed)).all()


def bound(format: str, values: np.ndarray, kind: str) -> np.ndarray:
    """Return the error that docs/formats.md allows, with a little for having gone through another format."""
    known = values[~np.isnan(values)].astype(float)
    if format == "exr16":
        return np.abs(values.astype(float)) * 2**-11 * 1.01
    if format not in ("png16", "jxl") or not known.size:
        return np.zeros(values.shape)
    if kind in ("affine_invariant", "disparity"):
        return np.full(values.shape, (known.max() - known.min()) / 131068 * 1.01 + 1e-6 * known.max())
    return np.maximum(np.abs(values.astype(float)) * 2.01e-4, 0.000501 if kind == "metric" else 0)


def test_other_peoples_files_say_what_they_are_by_their_convention(tmp_path: Path) -> None:
    numbers = np.array([[0, 5000], [10000, 65535]], np.uint16)
    (tmp_path / "scene/depth").mkdir(parents=True)
    Image.fromarray(numbers).save(tmp_path / "scene/depth/1.png")
    Image.fromarray(np.zeros((2, 2, 3), np.uint8)).save(tmp_path / "scene/1.png")
    report = convert(
        tmp_path / "scene",
        tmp_path / "out",
        format="npy",
        convention="tum",
        about={"f_px": 525, "f_source": "given"},
    )
    assert (report.found, report.done) == (1, 1)
    depth = read_depth(tmp_path / "out/depth/1.npy")
    np.testing.assert_allclose(depth.values, [[np.nan, 1], [2, 13.107]])
    assert (depth.kind, depth.f_px, depth.f_source, depth.model) == ("metric", 525, "given", None)


def test_a_changed_calibration_is_a_change(tmp_path: Path) -> None:
    scene, calibration = tmp_path / "scene", "cam0=[100 0 1; 0 100 1; 0 0 1]\ndoffs=0\nbaseline={}\n"
    write(scene / "disp0.pfm", DepthMap(np.full((2, 3), 10, np.float32), "disparity"))
    (scene / "calib.txt").write_text(calibration.format(200))
    options = {"format": "npz", "convention": "middlebury"}
    assert convert(scene, tmp_path / "out", **options).done == 1
    assert convert(scene, tmp_path / "out", **options).skipped == 1
    before = (scene / "calib.txt").stat().st_mtime_ns
    (scene / "calib.txt").write_text(calibration.format(400))
    os.utime(scene / "calib.txt", ns=(0, before - 1))  # copied with its time, say
    assert convert(scene, tmp_path / "out", **options).done == 1
    np.testing.assert_allclose(read_depth(tmp_path / "out/disp0.npz").values, 100 * 0.4 / 10, rtol=1e-6)
    (scene / "calib.txt").unlink()
    assert "calib.txt" in convert(scene, tmp_path / "out", **options).failures[0].reason


def test_what_nobody_says_is_not_guessed(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.ones((2, 2)))
    report = convert(tmp_path / "a.npy", tmp_path / "out", format="npz")
    assert "does not say what it means" in reasons(report)["a"]
    assert convert(tmp_path / "a.npy", tmp_path / "out", format="npz", about=METRIC).done == 1
    assert read_depth(tmp_path / "out/a.npz").kind == "metric"


# ---- depth.json --------------------------------------------------------------------------------------------


def test_depth_json_says_what_all_files_are_and_leaves_the_rest_to_the_ledger(tmp_path: Path) -> None:
    write(tmp_path / "in/a.npz")
    write(tmp_path / "in/b.npz", dataclasses.replace(DEPTH, model=None, f_px=None))
    convert(tmp_path / "in", tmp_path / "out", format="npy")
    said = json.loads((tmp_path / "out" / DEPTH_JSON).read_bytes())
    assert (said["kind"], said["unit"], said["unknown"], said["format"]) == ("metric", "metres", "nan", "npy")
    assert "model" not in said and "model" in said["in_ledger"]
    assert read_depth(tmp_path / "out/a.npy").model == "m"
    assert read_depth(tmp_path / "out/b.npy").model is None


def test_depth_json_is_no_lie_while_other_depth_is_added(tmp_path: Path) -> None:
    path, seen = tmp_path / "out" / DEPTH_JSON, []
    write(tmp_path / "a.npz")
    convert(tmp_path / "a.npz", tmp_path / "out", format="npy")
    assert json.loads(path.read_bytes())["kind"] == "metric"
    write(tmp_path / "b.npz", dataclasses.replace(DEPTH, kind="disparity"))
    listen = lambda *_: seen.append(json.loads(path.read_bytes()))  # noqa: E731
    convert(tmp_path / "b.npz", tmp_path / "out", format="npy", on_outcome=listen)
    assert "kind" not in seen[0] and "kind" in seen[0]["in_ledger"]
    assert "kind" not in json.loads(path.read_bytes())


@pytest.mark.parametrize("damage", [b"", b'{\n "software": "cortexia_video depth",\n "k', None])
def test_a_torn_depth_json_is_written_again(tree: Path, tmp_path: Path, damage: bytes | None) -> None:
    convert(tree, tmp_path / "out", format="npy")
    path = tmp_path / "out" / DEPTH_JSON
    whole = path.read_bytes()
    path.unlink() if damage is None else path.write_bytes(damage)
    assert convert(tree, tmp_path / "out", format="npy").skipped == len(MIXED)
    assert path.read_bytes() == whole


# ---- one outcome each --------------------------------------------------------------------------------------


def test_a_second_run_does_what_is_missing_or_changed(tree: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    convert(tree, out, format="npy")
    before = outputs(out)
    (out / "a.npy").unlink()
    write(tree / "b.tiff", dataclasses.replace(DEPTH, values=DEPTH.values * 2))
    report = convert(tree, out, format="npy")
    assert (report.found, report.done, report.skipped) == (5, 2, 3)
    np.testing.assert_array_equal(np.load(out / "b.npy"), 2 * DEPTH.values)
    assert {**outputs(out), "b.npy": b""} == {**before, "b.npy": b""}
    assert convert(tree, out, format="npy").skipped == 5
    assert convert(tree, out, format="npy", overwrite=True).done == 5
    assert list(read_ledger(out))[-1].items() >= {"found": 5, "done": 5, "failed": 0}.items()


def test_other_settings_are_done_again(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    np.save(tmp_path / "a.npy", np.ones((2, 2), np.float32))
    for kind in ("metric", "disparity"):
        assert convert(tmp_path / "a.npy", tmp_path / "out", format="npz", about={"kind": kind}).done == 1
    assert read_depth(tmp_path / "out/a.npz").kind == "disparity"
    assert "other settings (about: " in caplog.text


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("x.npy", b"\x93NUMPY\x01", "is it whole"),
        ("x.npz", b"not a zip", "cut short or mislabelled"),
        ("x.tiff", b"", "cut short or mislabelled"),
        ("x.png", b"\x89PNG\r\n\x1a\n", "is it whole"),
        ("x.pfm", b"PF\n1 1\n-1\n" + bytes(12), "three channels"),
        ("x.pgm", b"P5 1 1 255\n\0", "8 bits"),
    ],
)
def test_a_broken_file_costs_one_file(
    tree: Path, tmp_path: Path, name: str, content: bytes, reason: str
) -> None:
    (tree / name).write_bytes(content)
    report = convert(tree, tmp_path / "out", format="npy")
    assert (report.found, report.done, report.failed) == (6, 5, 1)
    assert report.failures[0].key == "x" and report.failures[0].stage == "decode"
    assert reason in report.failures[0].reason and name in report.failures[0].reason
    (tree / name).unlink()
    assert (convert(tree, tmp_path / "out", format="npy").skipped, len(names(tmp_path / "out"))) == (5, 5)


@pytest.mark.parametrize("edit", [lambda values: values + 1, lambda values: values[1:]])
def test_what_is_not_what_a_run_wrote_is_not_converted(
    photos: Path, tmp_path: Path, edit: Callable[[np.ndarray], np.ndarray]
) -> None:
    out = run(photos, "npy", "npy")
    np.save(out / "a.jpg.npy", edit(np.load(out / "a.jpg.npy")))
    report = convert(out, tmp_path / "out", format="npz")
    assert (report.done, report.failed) == (2, 1)
    assert report.failures[0].stage == "decode"
    assert report.failures[0].reason.startswith(
        f"{out / 'a.jpg.npy'}: it is not what was written: `cortexia v"
    )
    assert not (tmp_path / "out/a.jpg.npz").exists()


def test_a_map_that_is_too_large_costs_one_map(tmp_path: Path) -> None:
    write(tmp_path / "in/a.npz")
    write(tmp_path / "in/large.16.png", DepthMap(np.ones((300, 400), np.float32), "metric"))
    report = convert(tmp_path / "in", tmp_path / "out", format="npy", max_megapixels=0.1)
    assert report.done == 1 and "it has 120000 pixels, the limit is 100000" in reasons(report)["large"]


@EVERY
def test_a_header_says_how_many_pixels_there_will_be(tmp_path: Path, format: str) -> None:
    depth = DepthMap(np.ones((30, 41), np.float32), "metric")
    path = write(tmp_path / f"a{FORMATS[format].suffix}", depth)
    assert count_pixels(path.read_bytes(), path.name) == 30 * 41
    large = write(path, DepthMap(np.ones((300, 410), np.float32), "metric"))
    assert count_pixels(large.read_bytes(), path.name) == pytest.approx(300 * 410, rel=0.01)
    assert count_pixels(b"torn", path.name) == 4


@pytest.mark.parametrize("dtype", [np.bool_, np.uint16, np.float16, np.float64])
@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_an_archive_says_how_many_pixels_there_will_be(dtype: type, save: Callable[..., None]) -> None:
    file = io.BytesIO()
    save(file, depth=np.ones((300, 410), dtype))
    assert count_pixels(file.getvalue(), "a.npz") == 300 * 410


def test_a_folder_that_cannot_be_listed_is_a_failure(
    tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scan = os.scandir

    def refuse(path: str) -> Iterator[os.DirEntry[str]]:
        if str(path).endswith("trip"):
            raise PermissionError(13, "Permission denied")
        return scan(path)

    monkeypatch.setattr(os, "scandir", refuse)
    report = convert(tree, tmp_path / "out", format="npy")
    assert (report.found, report.done, report.failed) == (4, 3, 1)
    assert reasons(report)["trip/"].startswith("cannot list the folder ")


def test_what_is_no_depth_is_passed_over_and_counted_where_it_could_be_some(
    tree: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("a.txt", "b.jpg", ".hidden.npy", "depth.json", "c.json", "sub/calib.csv"):
        (tree / name).parent.mkdir(exist_ok=True)
        (tree / name).write_bytes(b"?")
    Image.new("RGB", (3, 2)).save(tree / "image.png")
    Image.new("L", (3, 2)).save(tree / "trip/view.png")
    assert convert(tree, tmp_path / "out", format="npy").found == len(MIXED)
    assert "2 PNG files of 8 bits or in colour are no depth: passed over" in caplog.text


def test_a_folder_without_depth_makes_nothing(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in/a.txt").write_text("")
    Image.new("RGB", (3, 2)).save(tmp_path / "in/a.png")
    with pytest.raises(InputError, match="no depth files in .*in; 1 PNG of 8 bits or in colour are no depth"):
        convert(tmp_path / "in", tmp_path / "out", format="npy")
    with pytest.raises(InputError, match="no such file or folder: .*none"):
        convert(tmp_path / "none", tmp_path / "out", format="npy")
    assert not (tmp_path / "out").exists()


# ---- keys --------------------------------------------------------------------------------------------------


def test_files_that_differ_in_their_ending_keep_their_whole_names(tmp_path: Path) -> None:
    for number, name in enumerate(
        ("a.npz", "a.tiff", "a.npz.npz", "b.npz", "trip/a.exr", "c.16.png", "c.tif")
    ):
        values = np.full((1, 1), number + 1, np.float32)
        path = write(
            tmp_path / "in" / name.replace(".tif", ".tiff").replace("fff", "ff"), DepthMap(values, "metric")
        )
        path.rename(tmp_path / "in" / name)
    assert convert(tmp_path / "in", tmp_path / "out", format="pfm").done == 7
    found = {name: read_depth(tmp_path / "out" / name).values.item() for name in names(tmp_path / "out")}
    assert found == {
        "a.npz.pfm": 1,
        "a.tiff.pfm": 2,
        "a.npz.npz.pfm": 3,
        "b.pfm": 4,
        "trip/a.pfm": 5,
        "c.16.png.pfm": pytest.approx(6, rel=1.96e-4),
        "c.tif.pfm": 7,
    }
    assert convert(tmp_path / "in", tmp_path / "out", format="pfm").skipped == 7


def test_several_inputs_keep_the_names_of_their_folders(tree: Path, tmp_path: Path) -> None:
    write(tmp_path / "other/in/a.npz")
    (tmp_path / "list.txt").write_text("in/b.tiff\nin/trip/c.16.png\n")
    inputs = [tmp_path / "other/in", tree / "a.npz", write(tmp_path / "a.tiff"), tmp_path / "list.txt"]
    assert convert(inputs, tmp_path / "out", format="npy").done == 5
    marked = [name for name in names(tmp_path / "out") if "~" in name]
    assert len(marked) == 1 and marked[0].startswith("a~")
    assert names(tmp_path / "out") == {"in/a.npy", "a.npy", "in/b.npy", "in/trip/c.npy", *marked}


# ---- what is lost ------------------------------------------------------------------------------------------

WIDE = DepthMap(np.array([[1e-6, 1e6]], np.float32), "metric")
LOSSES = [
    ("png16", WIDE, "1 value is outside of the 9.998e-06 to 1.00019e+06 that its"),
    ("jxl", WIDE, "1 value is outside of the 9.998e-06 to 1.00019e+06 that its"),
    (
        "exr16",
        DepthMap(np.array([[1e5]], np.float32), "metric"),
        "1 value from 65520 up becomes unknown",
    ),
]


@pytest.mark.parametrize(("format", "depth", "loss"), LOSSES)
def test_a_range_that_does_not_fit_is_refused_unless_it_is_allowed(
    tmp_path: Path, format: str, depth: DepthMap, loss: str, caplog: pytest.LogCaptureFixture
) -> None:
    source = write(tmp_path / "in/a.npz", depth)
    write(tmp_path / "in/b.npz")
    report = convert(tmp_path / "in", tmp_path / "out", format=format)
    assert (report.done, report.failed) == (1, 1)
    assert (
        reasons(report)["a"].startswith(loss)
        and "`allow_loss=True` writes it all the same" in reasons(report)["a"]
    )
    assert names(tmp_path / "out") == {f"b{FORMATS[format].suffix}"}

    place, told = FolderSink.place, []
    with pytest.MonkeyPatch.context() as patch, caplog.at_level(logging.WARNING):
        patch.setattr(FolderSink, "place", lambda sink, files: told.append(caplog.text) or place(sink, files))
        report = convert(tmp_path / "in", tmp_path / "out", format=format, allow_loss=True)
    assert (report.done, report.skipped) == (1, 1)
    assert f"{source}: {loss}" in next(text for text in told if loss in text)
    assert told[-1].count(loss) == 1
    assert last_lines(tmp_path / "out")["a"]["lost"].startswith(loss)
    assert "lost" not in last_lines(tmp_path / "out")["b"]


def test_a_view_is_refused_before_anything_is_made(tree: Path, tmp_path: Path) -> None:
    with pytest.raises(
        LossError, match="png is a view in 256 steps to look at, .* `allow_loss=True` writes it"
    ):
        convert(tree, tmp_path / "out", format="png")
    assert not (tmp_path / "out").exists()
    assert convert(tree, tmp_path / "out", format="png", allow_loss=True).done == 5
    said = json.loads((tmp_path / "out" / DEPTH_JSON).read_bytes())
    assert said["view_of"] == "metric" and "kind" not in said
    for name in names(tmp_path / "out"):
        with Image.open(tmp_path / "out" / name) as view:
            assert (view.mode, view.size) == ("L", (3, 2))
    assert verify(tmp_path / "out").wrong == []
    assert all("8-bit view" in line["lost"] for line in last_lines(tmp_path / "out").values())


# ---- nobody's files are harmed -----------------------------------------------------------------------------


def test_the_output_may_lie_inside_the_input_and_is_no_input(tree: Path) -> None:
    for _ in range(2):
        assert convert(tree, tree / "out", format="npz").found == len(MIXED)
    assert convert(tree, tree / "other", format="npz").found == 2 * len(MIXED)


def test_an_input_is_never_replaced(tree: Path) -> None:
    before = outputs(tree)
    for out, format in ((tree, "npz"), (tree / "trip/..", "npy")):
        with pytest.raises(InputError, match="is input and output: choose another `output`"):
            convert(tree, out, format=format, overwrite=True)
    report = convert(tree / "a.npz", tree, format="npz", overwrite=True)
    assert "it lies in the output folder and is .npz already" in reasons(report)["a"]
    inner = convert(tree / "trip", tree, format="jxl", overwrite=True)
    assert (inner.done, inner.failed) == (1, 1)
    assert outputs(tree).items() >= before.items()
    link = tree.parent / "link.npz"
    link.symlink_to(tree / "a.npz")
    assert convert(link, tree, format="npz", overwrite=True).failed == 1
    assert outputs(tree).items() >= before.items()


def test_a_file_that_is_not_ours_stays_in_its_place(tree: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "a.npy").write_bytes(b"mine")
    report = convert(tree, out, format="npy")
    assert (report.done, report.failed) == (4, 1) and (out / "a.npy").read_bytes() == b"mine"
    assert (
        "exists already and the ledger does not know it: `overwrite=True` replaces it" in reasons(report)["a"]
    )
    assert convert(tree, out, format="npy", overwrite=True).done == 5


def test_the_folder_of_a_run_takes_no_conversion_of_its_own_keys(photos: Path) -> None:
    out = run(photos, "npy", "out")
    before = outputs(out)
    report = convert(out / "a.jpg.npy", out, format="npz")
    assert f"its place holds the depth of {photos / 'a.jpg'}" in reasons(report)["a.jpg"]
    assert {name: outputs(out)[name] for name in before if name != DEPTH_JSON} == {
        name: data for name, data in before.items() if name != DEPTH_JSON
    }


def test_nothing_is_changed_in_what_is_read(tree: Path, tmp_path: Path) -> None:
    before = {
        path: (path.stat().st_mtime_ns, path.read_bytes()) for path in tree.rglob("*") if path.is_file()
    }
    convert(tree, tmp_path / "out", format="png16")
    assert {
        path: (path.stat().st_mtime_ns, path.read_bytes()) for path in tree.rglob("*") if path.is_file()
    } == before


# ---- ended from outside ------------------------------------------------------------------------------------


def start(source: Path, out: Path) -> subprocess.Popen[bytes]:
    command = [
        sys.executable,
        "-m",
        "cortexia_video",
        "convert",
        source,
        "--output",
        out,
        "--format",
        "png16",
    ]
    return subprocess.Popen([*map(str, command)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def test_killed_and_started_again_it_ends_in_the_same_files(tmp_path: Path) -> None:
    count = 40
    for number in range(count):
        values = np.random.default_rng(number).random((300, 400), np.float32) + 1
        write(tmp_path / f"in/{number:02}.npz", DepthMap(values, "metric", f_px=number + 1))
    convert(tmp_path / "in", tmp_path / "whole", format="png16")
    expected, killed = outputs(tmp_path / "whole"), 0
    for moment in (1, 8, 20):
        out = tmp_path / f"killed-{moment}"
        process = start(tmp_path / "in", out)
        while process.poll() is None and len(list(out.glob("*.16.png"))) < moment:
            time.sleep(0.001)
        process.send_signal(signal.SIGKILL)
        process.wait()
        there = {
            name: data for name, data in outputs(out).items() if name.endswith(".png") and "/" not in name
        }
        assert there.items() <= expected.items()
        killed += len(there) < count
        report = convert(tmp_path / "in", out, format="png16")
        assert (report.found, report.failed, report.done + report.skipped) == (count, 0, count)
        assert report.skipped >= len(there) - 5
        assert outputs(out) == expected
    assert killed


def test_a_stop_finishes_what_is_begun_and_says_that_it_was_interrupted(tree: Path, tmp_path: Path) -> None:
    stop = threading.Event()
    report = convert(
        tree, tmp_path / "out", format="npy", workers=1, stop=stop, on_outcome=lambda *_: stop.set()
    )
    assert report.interrupted and 1 <= report.done < len(MIXED)
    assert len(names(tmp_path / "out")) == report.done
    assert list(read_ledger(tmp_path / "out"))[-1]["interrupted"]
    assert convert(tree, tmp_path / "out", format="npy").skipped == report.done


def test_a_full_disk_ends_it_and_says_what_was_done(
    tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = FolderSink.place

    def fill(sink: FolderSink, files: dict) -> dict:
        if "b.npy" in files:
            raise OutputLostError(sink.root, OSError(28, "No space left on device"))
        return place(sink, files)

    monkeypatch.setattr(FolderSink, "place", fill)
    with pytest.raises(OutputLostError, match="No space left") as lost:
        convert(tree, tmp_path / "out", format="npy", workers=1)
    assert isinstance(lost.value.report, Report) and lost.value.report.done <= 2
    monkeypatch.undo()
    assert convert(tree, tmp_path / "out", format="npy").failed == 0


def test_a_second_process_is_refused(tree: Path, tmp_path: Path) -> None:
    refused: list[str] = []

    def again(report: Report, failure: Failure | None) -> None:
        with pytest.raises(OutputError, match="another process is writing") as error:
            convert(tree, tmp_path / "out", format="npy")
        refused.append(str(error.value))

    convert(tree, tmp_path / "out", format="npy", on_outcome=again)
    assert len(refused) == len(MIXED)


# ---- usage -------------------------------------------------------------------------------------------------


def test_wrong_usage_makes_nothing(tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "out"
    with pytest.raises(OutputError, match="unknown format 'gif': use one of npy, npz"):
        convert(tree, out, format="gif")
    with pytest.raises(DepthFileError, match="unknown convention 'x': use one of tum, kitti"):
        convert(tree, out, format="npy", convention="x")
    with pytest.raises(InputError, match="`workers` must be at least 1, got 0"):
        convert(tree, out, format="npy", workers=0)
    monkeypatch.setitem(sys.modules, "OpenEXR", None)
    monkeypatch.setattr("cortexia_video.formats.registry.find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"install '.*\[exr\]'"):
        convert(tree, out, format="exr")
    assert not out.exists()


def command(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as ended:
        main(["convert", *map(str, arguments)])
    return int(str(ended.value.code)), *capsys.readouterr()


def test_the_command_converts_and_tells(
    tree: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, told, _ = command(capsys, tree, "--output", tmp_path / "out", "--format", "npy")
    assert code == 0 and told.startswith("5 found: 5 done, 0 skipped, 0 failed; ")
    (tree / "broken.npy").write_bytes(b"?")
    code, told, said = command(capsys, tree, "-o", tmp_path / "out", "--format", "npy")
    assert code == 1 and told.startswith("6 found: 0 done, 5 skipped, 1 failed; ")
    assert said.startswith(f"failed (decode): {tree}/broken.npy: ") and "failed (" not in told
    assert f"\n  why each failed: {tmp_path / 'out' / LEDGER_NAME}\n" in told
    assert f"\nin {tmp_path / 'out'}/: 5 depth maps, " in told
    code, told, said = command(capsys, tree, "-o", tmp_path / "views", "--format", "png")
    assert (code, told) == (2, "") and said.startswith("cortexia: png is a view in 256 steps")
    assert command(capsys, tree, "-o", tmp_path / "views", "--format", "gif")[0] == 2
    assert command(capsys, tree, "-o", tree, "--format", "npz")[0] == 2
    assert not (tmp_path / "views").exists()


def test_the_command_takes_what_files_do_not_say(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Image.fromarray(np.array([[0, 65535, 2000]], np.uint16)).save(tmp_path / "a.png")
    said = ("--kind", "metric", "--scale", 0.001, "--unknown", 0, "--unknown", 65535, "--f-px", 5)
    assert command(capsys, tmp_path / "a.png", "-o", tmp_path / "out", "--format", "npz", *said)[0] == 0
    depth = read_depth(tmp_path / "out/a.npz")
    np.testing.assert_allclose(depth.values, [[math.nan, math.nan, 2]])
    assert (depth.kind, depth.f_px, depth.f_source) == ("metric", 5, "given")
    assert (
        command(capsys, tmp_path / "a.png", "-o", tmp_path / "tum", "--format", "npz", "--from", "tum")[0]
        == 0
    )
    np.testing.assert_allclose(read_depth(tmp_path / "tum/a.npz").values, [[math.nan, 13.107, 0.4]])


def test_several_ledgers_of_a_large_input_are_read_once(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing but the mapped file is read for each of many: the ledger is opened once."""
    source = run(photos, "npy", "npy")
    opened: list[Path] = []
    read = paths._open_regular

    def count(path: str, flags: int) -> int:
        if Path(path) == source / LEDGER_NAME:
            opened.append(Path(path))
        return read(path, flags)

    monkeypatch.setattr(paths, "_open_regular", count)
    convert(source, tmp_path / "out", format="npz")
    assert len(opened) == 1


def test_a_folder_that_nobody_may_look_into_is_one_error(
    tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed = tmp_path / "closed"

    def refuse(ask: Callable[..., Any], path: Any, *arguments: Any, **options: Any) -> Any:
        if not isinstance(path, int) and Path(os.fsdecode(path)).is_relative_to(closed):
            raise PermissionError(13, "Permission denied", str(path))
        return ask(path, *arguments, **options)

    for name in ("os.stat", "os.open"):
        monkeypatch.setattr(name, partial(refuse, getattr(os, name[3:])))
    with pytest.raises(OutputError, match="Permission denied"):
        convert(tree, closed / "out", format="npz")
    with pytest.raises(DepthFileError, match="cannot be read: Permission denied"):
        read_depth(closed / "a.npy")
