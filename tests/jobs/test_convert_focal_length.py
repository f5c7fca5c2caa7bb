"""`convert --f-px` and `--intrinsics`: metres for another focal length; what cannot be scaled says why."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import pytest
import xxhash
from camera_model import Camera
from ledgers import open_ledger

from cortexia_video import (
    DepthEstimator,
    Report,
    SyntheticModel,
    convert,
    estimate,
    read_depth,
    read_ledger,
    verify,
)
from cortexia_video.cli import main
from cortexia_video.errors import InputError
from cortexia_video.ledger.entries import Source
from cortexia_video.models.protocol import DepthModel
from cortexia_video.sinks.sink import WrittenFile

KEYS = ("a.jpg", "b.jpg", "\udcff.jpg")
KEPT = "not scaled to the given focal length:"


@pytest.fixture
def photos(tmp_path: Path, make_image: Callable[..., Path]) -> Path:
    """Return a folder of three images of 64 x 48, one with a name that is not UTF-8."""
    for index, key in enumerate(KEYS):
        make_image(tmp_path / "photos/x.jpg", seed=index).rename(tmp_path / "photos" / key)
    return tmp_path / "photos"


@pytest.fixture
def run(photos: Path) -> Path:
    """Return the output folder of a run over these images at 50 pixels, with previews."""
    return make_run(photos)


@pytest.fixture
def new(tmp_path: Path) -> Path:
    return tmp_path / "new"


def make_run(photos: Path, model: DepthModel | None = None, out: str = "run", **options: object) -> Path:
    options = {"f_px": 50, "preview": True, **options}
    report = estimate(photos, photos.parent / out, model=DepthEstimator(model or Camera()), **options)
    assert (report.done, report.failed) == (3, 0)
    return photos.parent / out


def depths(out: Path, keys: Iterable[str] = KEYS) -> dict[str, np.ndarray]:
    return {key: np.load(out / f"{key}.npy") for key in keys}


def last_lines(out: Path) -> dict[str, dict]:
    return {line["key"]: line for line in read_ledger(out) if line.get("outcome") == "done"}


def files(out: Path) -> dict[Path, tuple[int, bytes]]:
    return {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in out.iterdir()}


def counts(report: Report) -> tuple[int, int, int]:
    return report.done, report.skipped, report.failed


def test_metres_follow_the_focal_length_and_the_run_stays_as_it_is(
    photos: Path, run: Path, new: Path
) -> None:
    before, lines, there = depths(run), last_lines(run), files(run)
    assert counts(convert(run, new, f_px=75)) == (3, 0, 0)
    assert files(run) == there
    for key, values in depths(new).items():
        np.testing.assert_array_equal(values, (before[key].astype(np.float64) * 75 / 50).astype(np.float32))
    for key, line in last_lines(new).items():
        assert (line["f_px"], line["f_source"], line["rescaled_from"]) == (75, "given", 50)
        same = ("height", "width", "kind", "f_px_used")
        assert {name: line[name] for name in same} == {name: lines[key][name] for name in same}
        assert line["image"] == [lines[key]["path"], *lines[key]["source"]]
        depth = read_depth(new / f"{key}.npy")
        assert (depth.f_px, depth.f_source, depth.kind, depth.model) == (75, "given", "metric", "synthetic")
    assert (verify(new).wrong, verify(new).unfinished) == ([], [])
    estimated = depths(make_run(photos, out="estimated", f_px=75))
    for key, values in depths(new).items():
        np.testing.assert_allclose(values, estimated[key], rtol=1e-6)


def test_it_is_what_depth_pro_gives_with_that_focal_length(
    photos: Path, new: Path, checkpoints: Callable[[str], Path]
) -> None:
    run, other = photos.parent / "run", photos.parent / "other"
    model = f"hf:{checkpoints('depth-pro')}"
    estimate(photos, run, model=model)  # estimated focal lengths
    estimate(photos, other, model=model, f_px=75)
    assert counts(convert(run, new, f_px=75)) == (3, 0, 0)
    for key, values in depths(new).items():
        assert not np.isin(values, [1e-4, 1e4]).any()
        np.testing.assert_allclose(values, depths(other)[key], rtol=1e-6)


def test_what_is_done_is_skipped_and_another_focal_length_is_done_again(run: Path, new: Path) -> None:
    before = depths(run)
    convert(run, new, f_px=73.1)
    outputs = {path: each for path, each in files(new).items() if path.suffix == ".npy"}
    assert counts(convert(run, new, f_px=73.1)) == (0, 3, 0)
    assert files(new).items() >= outputs.items()
    assert counts(convert(run, new, f_px=100)) == (3, 0, 0)
    for key, values in depths(new).items():
        np.testing.assert_array_equal(values, 2 * before[key])
    assert counts(convert(run, new)) == (3, 0, 0)  # none is given
    assert all(values.tobytes() == before[key].tobytes() for key, values in depths(new).items())


def test_it_can_be_done_to_what_it_made(run: Path, new: Path, tmp_path: Path) -> None:
    convert(run, new, f_px=80)
    convert(new, tmp_path / "back", f_px=50)
    for key, values in depths(tmp_path / "back").items():
        np.testing.assert_allclose(values, depths(run)[key], rtol=2e-7)
    assert {line["rescaled_from"] for line in last_lines(tmp_path / "back").values()} == {80}


def test_the_focal_length_that_it_has_changes_nothing(run: Path, new: Path) -> None:
    assert counts(convert(run, new, f_px=50)) == (3, 0, 0)
    assert all(values.tobytes() == depths(run)[key].tobytes() for key, values in depths(new).items())
    assert not any("rescaled_from" in line for line in last_lines(new).values())


def test_a_file_gives_each_image_its_own_of_the_whole_image(
    photos: Path, new: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run = photos.parent / "run"
    estimate(photos, run, model=DepthEstimator(Camera(), size="native"), f_px=50)
    before, path = depths(run), photos.parent / "given.json"
    camera = {"f_px": 200, "width": 128, "height": 96}
    path.write_text(json.dumps({"a.jpg": camera, "\udcff.jpg": {**camera, "height": 72}}))
    report = convert(run, new, intrinsics=path)
    assert counts(report) == (2, 0, 1)
    assert report.failures[0].key == "\udcff.jpg"
    assert "128 x 72, it has 64 x 48" in report.failures[0].reason
    np.testing.assert_array_equal(depths(new, ["a.jpg"])["a.jpg"], 2 * before["a.jpg"])
    np.testing.assert_array_equal(depths(new, ["b.jpg"])["b.jpg"], before["b.jpg"])
    assert f"{KEPT} 1 (none is given for it)" in caplog.messages


def test_keys_are_those_of_the_run_wherever_its_folder_is_among_the_inputs(
    run: Path, new: Path, tmp_path: Path
) -> None:
    (tmp_path / "given.csv").write_text("key,f_px\na.jpg,100\nx/b.jpg,70\n")
    (tmp_path / "other").mkdir()
    convert(run, tmp_path / "other/in", format="npz")
    convert([run, tmp_path / "other"], new, format="npy", intrinsics=tmp_path / "given.csv")
    f_px = {key: line["f_px"] for key, line in last_lines(new).items()}
    assert f_px["run/a.jpg"] == f_px["other/in/a.jpg"] == 100
    assert f_px["run/b.jpg"] == f_px["other/in/b.jpg"] == 50


def test_what_cannot_be_scaled_stays_as_it_is_and_is_counted_by_reason(
    photos: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def kept(source: Path) -> list[str]:
        caplog.clear()
        new = tmp_path / f"new-{source.name}"
        assert counts(convert(source, new, format="npy", f_px=75)) == (3, 0, 0)
        for path in source.glob("*.np?"):
            was, now = read_depth(path), read_depth(new / f"{path.stem}.npy")
            assert was.values.tobytes() == now.values.tobytes()
            assert (was.f_px, was.f_source) == (now.f_px, now.f_source) == (50, "given")
        return [text.removeprefix(f"{KEPT} 3 ") for text in caplog.messages if KEPT in text]

    disparity, metric = SyntheticModel(), SyntheticModel()
    metric.kind = "metric"
    assert kept(make_run(photos, disparity, "disparity")) == ["(not metric)"]
    assert kept(make_run(photos, metric, "metric")) == ["(the model used no focal length)"]
    alone = make_run(photos, Camera(), "alone", format="npz", preview=False)
    (alone / "ledger.jsonl").unlink()
    assert kept(alone) == ["(no ledger says whether the model used the focal length)"]


def test_depth_without_a_focal_length_gets_the_given_one(
    photos: Path, new: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run = make_run(photos, SyntheticModel(), f_px=None)
    assert counts(convert(run, new, f_px=75)) == (3, 0, 0)
    for key, values in depths(run).items():
        depth = read_depth(new / f"{key}.npy")
        np.testing.assert_array_equal(depth.values, values)
        assert (depth.f_px, depth.f_source) == (75, "given")
    assert KEPT not in caplog.text


def record(folder: Path, values: np.ndarray, **facts: object) -> None:
    """Write `a.npy` as a run would that says these facts of it."""
    folder.mkdir()
    np.save(folder / "a.npy", values)
    data = (folder / "a.npy").read_bytes()
    height, width = values.shape
    with open_ledger(folder, {"format": "npy"}) as ledger:
        placed = {"a.npy": WrittenFile(len(data), xxhash.xxh3_128_hexdigest(data))}
        ledger.record_done(
            "a", Source("/x/a", 1, 1), placed, height=height, width=width, kind="metric", **facts
        )


def test_unknown_stays_unknown(new: Path, tmp_path: Path) -> None:
    values = np.array([[1, np.nan], [3, 1e4]], np.float32)
    record(tmp_path / "run", values, f_px=2, f_px_used=True)
    assert convert(tmp_path / "run", new, format="npy", f_px=4).done == 1
    np.testing.assert_array_equal(np.load(new / "a.npy"), 2 * values)


def test_metres_of_an_unknown_focal_length_are_not_given_one(
    new: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    record(tmp_path / "run", np.ones((2, 2), np.float32), f_px_used=True)
    assert convert(tmp_path / "run", new, format="npy", f_px=4).done == 1
    assert read_depth(new / "a.npy").f_px is None
    assert f"{KEPT} 1 (the focal length that the model used is not recorded)" in caplog.messages


class Far(Camera):
    def to_depth(self, values: np.ndarray, fov_deg: float) -> np.ndarray:
        return super().to_depth(values, fov_deg) * np.float32(7_000)


def test_metres_that_the_format_would_lose_are_refused(photos: Path, new: Path) -> None:
    pytest.importorskip("OpenEXR")
    run = make_run(photos, Far(), format="exr16", preview=False)
    report = convert(run, new, f_px=2000)
    assert counts(report) == (0, 0, 3)
    assert "become unknown: `allow_loss=True`" in report.failures[0].reason
    assert [*new.glob("*.exr")] == []


def test_the_format_stays_where_all_inputs_have_one(photos: Path, run: Path, new: Path) -> None:
    other = make_run(photos, out="other", format="pfm", preview=False)
    assert counts(convert(other, new, f_px=75)) == (3, 0, 0)
    assert {path.suffix for path in new.iterdir()} == {".pfm", ".json", ".jsonl"}
    views = make_run(photos, out="views", format="png", preview=False)
    np.savez(views / "c.npz", depth=np.ones((2, 2), np.float32))
    for inputs in ([run, other], run / "a.jpg.npy", views):
        with pytest.raises(InputError, match="one format that could be kept: give `format`"):
            convert(inputs, new, f_px=75)


def test_what_cannot_begin_says_so(run: Path, new: Path) -> None:
    with pytest.raises(InputError, match="number above 0, got -3"):
        convert(run, new, f_px=-3)
    with pytest.raises(InputError, match="cannot read intrinsics from .*none.csv"):
        convert(run, new, intrinsics=new / "none.csv")
    with pytest.raises(InputError, match="is input and output"):
        convert(run, run, f_px=75)
    assert not new.exists()


def test_no_lens_has_that_focal_length(run: Path, new: Path) -> None:
    report = convert(run, new, f_px=1e6)
    assert counts(report) == (0, 0, 3) and "no lens has a focal length of 1e+06" in report.failures[0].reason


def command(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as ended:
        main([*map(str, arguments)])
    return int(str(ended.value.code)), *capsys.readouterr()


def test_the_command_scales_and_tells(
    run: Path, new: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    (run.parent / "given.csv").write_text("key,f_px\na.jpg,75\nb.jpg,50\n")
    code, told, _ = command(capsys, "convert", run, "--output", new, "--intrinsics", run.parent / "given.csv")
    assert code == 0 and told.startswith("3 found: 3 done, 0 skipped, 0 failed")
    assert caplog.messages == [f"{KEPT} 1 (none is given for it)"]
    code, told, _ = command(capsys, "convert", run, "--output", new, "--f-px", 75)
    assert code == 0 and told.startswith("3 found: 3 done, 0 skipped, 0 failed")
    for key, values in depths(new).items():
        np.testing.assert_array_equal(values, (depths(run)[key] * np.float64(1.5)).astype(np.float32))


def test_the_command_that_it_was_says_what_it_is_now(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    there = files(run)
    code, told, said = command(capsys, "rescale", run, "--f-px", "75")
    assert (code, told) == (2, "") and "cortexia convert RUN --output NEW --f-px" in said
    assert files(run) == there
