"""Metres get another focal length without a network; what cannot be scaled stays, and the ledger says all."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import pytest
import xxhash
from test_camera_model import Camera

from cortexia_video import (
    DepthEstimator,
    InputError,
    OutputError,
    OutputLostError,
    Report,
    Rescaling,
    SyntheticModel,
    estimate,
    read_ledger,
    rescale,
    verify,
)
from cortexia_video.cli import main
from cortexia_video.ledger import Ledger, Source
from cortexia_video.ledger_file import LEDGER_NAME
from cortexia_video.models.model import DepthModel
from cortexia_video.shard import Shard
from cortexia_video.sinks.folder import FolderSink, Placed

KEYS = ("a.jpg", "b.jpg", "\udcff.jpg")


@pytest.fixture
def photos(tmp_path: Path, make_picture: Callable[..., Path]) -> Path:
    """Give a folder of three pictures of 64 x 48, one with a name that is not UTF-8."""
    for index, key in enumerate(KEYS):
        make_picture(tmp_path / "photos/x.jpg", seed=index).rename(tmp_path / "photos" / key)
    return tmp_path / "photos"


@pytest.fixture
def out(photos: Path) -> Path:
    """Give the output for these pictures at 50 pixels, with previews."""
    run(photos)
    return photos.parent / "out"


def run(photos: Path, model: DepthModel | None = None, **options: object) -> Report:
    options = {"f_px": 50, "preview": True, **options}
    return estimate(photos, photos.parent / "out", model=DepthEstimator(model or Camera()), **options)


def depths(out: Path, keys: Iterable[str] = KEYS) -> dict[str, np.ndarray]:
    return {key: np.load(out / f"{key}.npy") for key in keys}


def last_lines(out: Path) -> dict[str, dict]:
    return {line["key"]: line for line in read_ledger(out) if line.get("outcome") == "done"}


def test_metres_follow_the_focal_length_and_the_same_run_takes_them_for_done(photos: Path, out: Path) -> None:
    before, lines = depths(out), last_lines(out)
    previews = {path: path.read_bytes() for path in out.glob("*.preview.jpg")}
    assert rescale(out, f_px=75) == Rescaling(rescaled=3)
    for key, values in depths(out).items():
        np.testing.assert_array_equal(values, (before[key] * 1.5).astype(np.float32))
    assert {path: path.read_bytes() for path in out.glob("*.preview.jpg")} == previews
    for key, line in last_lines(out).items():
        assert (line["f_px"], line["f_source"], line["rescaled_from"]) == (75, "given", 50)
        same = ("run", "path", "source", "height", "width", "kind", "f_px_used")
        assert {name: line[name] for name in same} == {name: lines[key][name] for name in same}
        assert line["outputs"].keys() == lines[key]["outputs"].keys()
    assert (verify(out).wrong, verify(out).unfinished) == ([], [])
    assert run(photos).skipped == 3
    assert run(photos, f_px=75).done == 3
    for key, values in depths(out).items():
        np.testing.assert_allclose(values, before[key] * 1.5, rtol=1e-6)


def test_the_same_focal_length_again_does_nothing_and_back_is_back(out: Path) -> None:
    before = depths(out)
    rescale(out, f_px=73.1)
    ledger, times = (
        (out / LEDGER_NAME).read_bytes(),
        {path: path.stat().st_mtime_ns for path in out.iterdir()},
    )
    again = rescale(out, f_px=73.1)
    assert (again.rescaled, dict(again.left)) == (0, {"has this focal length": 3})
    assert (out / LEDGER_NAME).read_bytes() == ledger
    assert {path: path.stat().st_mtime_ns for path in out.iterdir()} == times
    assert rescale(out, f_px=50).rescaled == 3
    for key, values in depths(out).items():
        np.testing.assert_allclose(values, before[key], rtol=2e-7)


def test_it_is_what_depth_pro_gives_with_that_focal_length(
    photos: Path, checkpoints: Callable[[str], Path]
) -> None:
    out, other = photos.parent / "out", photos.parent / "other"
    model = f"hf:{checkpoints('depth-pro')}"
    estimate(photos, out, model=model)  # estimated focal lengths
    estimate(photos, other, model=model, f_px=75)
    assert rescale(out, f_px=75).rescaled == 3
    for key, values in depths(out).items():
        assert not np.isin(values, [1e-4, 1e4]).any()
        np.testing.assert_allclose(values, depths(other)[key], rtol=1e-6)
    assert estimate(photos, out, model=model).skipped == 3


def test_lines_that_are_there_twice_count_once(out: Path) -> None:
    lines = (out / LEDGER_NAME).read_bytes()
    before = depths(out)
    (out / LEDGER_NAME).write_bytes(lines + lines)
    assert rescale(out, f_px=100, workers=1).rescaled == 3
    for key, values in depths(out).items():
        np.testing.assert_array_equal(values, 2 * before[key])


def test_a_file_gives_each_picture_its_own_of_the_whole_picture(photos: Path) -> None:
    out = photos.parent / "out"
    estimate(photos, out, model=DepthEstimator(Camera(), size="native"), f_px=50)
    before = depths(out)
    path = photos.parent / "given.json"
    camera = {"f_px": 200, "width": 128, "height": 96}
    path.write_text(json.dumps({"a.jpg": camera, "\udcff.jpg": {**camera, "height": 72}}))
    report = rescale(out, intrinsics=path)
    assert (report.rescaled, report.failed, dict(report.left)) == (1, 1, {"no focal length given for it": 1})
    assert report.failures[0].key == "\udcff.jpg"
    assert "128 x 72, it has 64 x 48" in report.failures[0].reason
    np.testing.assert_array_equal(depths(out)["a.jpg"], 2 * before["a.jpg"])


def test_what_cannot_be_scaled_is_counted_by_reason(photos: Path) -> None:
    out = photos.parent / "out"

    def left(model: DepthModel, **options: object) -> dict[str, int]:
        run(photos, model, overwrite=True, **options)
        files = {path: path.read_bytes() for path in out.iterdir()}
        report = rescale(out, f_px=75)
        assert (report.rescaled, report.failed) == (0, 0)
        assert {path: path.read_bytes() for path in out.iterdir()} == files
        return dict(report.left)

    uncalibrated = SyntheticModel()
    assert left(uncalibrated) == {"not metric": 3}
    uncalibrated.kind = "metric"
    assert left(uncalibrated) == {"the model used no focal length": 3}
    assert left(uncalibrated, f_px=None) == {"no focal length recorded": 3}
    assert left(Camera(), format="png") == {"there is only a view of it, without metres": 3}


def test_what_failed_or_was_requeued_since_is_not_touched(photos: Path, out: Path) -> None:
    (out / "a.jpg.npy").unlink()
    verify(out, requeue=True)
    (photos / "b.jpg").write_bytes(b"")
    (photos / "a.jpg").unlink()
    assert run(photos).failed == 1
    assert rescale(out, f_px=75).rescaled == 1


def test_nan_stays_nan(tmp_path: Path) -> None:
    values = np.array([[1, np.nan], [3, 1e4]], np.float32)
    np.save(tmp_path / "a.npy", values)
    data = (tmp_path / "a.npy").read_bytes()
    placed = {"a.npy": Placed(len(data), xxhash.xxh3_128_hexdigest(data))}
    facts = {"height": 2, "width": 2, "kind": "metric", "f_px": 2, "f_px_used": True}
    with Ledger(tmp_path, {}, Shard(1, 2)) as ledger:
        ledger.record_done("a", Source("/x/a", 1, 1), placed, **facts)
    assert rescale(tmp_path, f_px=4).rescaled == 1
    np.testing.assert_array_equal(np.load(tmp_path / "a.npy"), 2 * values)


def test_a_damaged_file_fails_alone_and_is_not_written_to(out: Path) -> None:
    (out / "a.jpg.npy").unlink()
    (out / "b.jpg.npy").write_bytes(b"mine")
    report = rescale(out, f_px=75)
    assert (report.rescaled, report.failed) == (1, 2)
    reasons = {failure.key: failure.reason for failure in report.failures}
    assert reasons["a.jpg"].startswith("a.jpg.npy: it is not there: `cortexia verify --requeue` lets")
    assert reasons["b.jpg"].startswith("b.jpg.npy: it is not what was written: `cortexia verify --requeue`")
    assert (out / "b.jpg.npy").read_bytes() == b"mine"


@pytest.mark.parametrize("after", [False, True], ids=["before the file", "after the file"])
def test_a_stop_between_file_and_ledger_leaves_the_picture_to_the_next_run(
    photos: Path, out: Path, after: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, place = depths(out), FolderSink.place

    def die(sink: FolderSink, files: dict) -> dict:
        if "b.jpg.npy" not in files:
            return place(sink, files)
        if after:
            place(sink, files)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(FolderSink, "place", die)
        rescale(out, f_px=100, workers=1)
    assert (verify(out).wrong, verify(out).unfinished) == ([], ["b.jpg"])
    assert run(photos).done == 1
    np.testing.assert_array_equal(depths(out)["b.jpg"], before["b.jpg"])
    assert rescale(out, f_px=100).rescaled >= 1  # b.jpg, and what was not begun when it stopped
    for key, values in depths(out).items():
        np.testing.assert_array_equal(values, 2 * before[key])
    assert run(photos).skipped == 3


def test_a_full_disk_ends_it_and_says_what_was_done(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fill(sink: FolderSink, files: dict) -> dict:
        raise OutputLostError(sink.root, OSError(28, "No space left on device"))

    monkeypatch.setattr(FolderSink, "place", fill)
    with pytest.raises(OutputLostError, match="No space left") as lost:
        rescale(out, f_px=75)
    assert lost.value.report == Rescaling()


def test_what_cannot_begin_says_so(out: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no focal length to scale to: give --f-px or --intrinsics"):
        rescale(out)
    with pytest.raises(InputError, match="no ledger in"):
        rescale(tmp_path, f_px=75)
    with pytest.raises(InputError, match="--workers must be more than 0, not 0"):
        rescale(out, f_px=75, workers=0)
    with Ledger(out, {}), pytest.raises(OutputError, match="another process is writing"):
        rescale(out, f_px=75)


def command(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as ended:
        main(["rescale", *map(str, arguments)])
    return int(str(ended.value.code)), *capsys.readouterr()


def test_the_command_counts_and_tells(out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (out.parent / "given.csv").write_text("key,f_px\na.jpg,75\nb.jpg,50\n")
    told = "1 rescaled, 0 failed; 1 left: has this focal length; 1 left: no focal length given for it\n"
    assert command(capsys, out, "--intrinsics", out.parent / "given.csv") == (0, told, "")
    (out / "b.jpg.npy").unlink()
    code, told, said = command(capsys, out, "--f-px", "75", "--workers", 1)
    assert code == 1
    assert told == "1 rescaled, 1 failed; 1 left: has this focal length\n"
    assert said.startswith("failed (write): b.jpg: ") and said.count("\n") == 1
    assert command(capsys, out)[0] == 2
