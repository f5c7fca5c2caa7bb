"""What a run would take, foretold."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from clips import write_clip

from cortexia_video import DepthEstimator, SyntheticModel, estimate
from cortexia_video.cli import main
from cortexia_video.errors import InputError
from cortexia_video.jobs.plan import plan

Make = Callable[..., Path]


@pytest.fixture
def photos(tmp_path: Path, make_image: Make) -> Path:
    for index in range(30):
        make_image(tmp_path / f"photos/{index}.jpg", (96, 128 + 32 * (index % 3)), seed=index)
    (tmp_path / "photos/broken.jpg").write_bytes(b"\xff\xd8\xff and no more")
    return tmp_path / "photos"


def written(folder: Path, suffix: str) -> int:
    return sum(path.stat().st_size for path in folder.glob(f"*{suffix}"))


@pytest.mark.parametrize("size", ["full", "native"])
def test_the_plan_foretells_what_the_run_then_writes(photos: Path, size: str) -> None:
    model = DepthEstimator(SyntheticModel(short_side=32), size=size)
    foretold = plan(photos, model=model)
    assert (foretold.found, foretold.lost, foretold.looked_at, foretold.unreadable) == (31, 0, 31, 1)
    assert foretold.timed == 12
    assert foretold.bytes == sum(path.stat().st_size for path in photos.iterdir())
    assert (foretold.smallest, foretold.largest) == ((128, 96), (192, 96))
    assert foretold.megapixels == pytest.approx(0.01536)
    for format, suffix in (("npy", ".npy"), ("png", ".png")):
        estimate(photos, photos.parent / format, model=model, format=format)
        assert foretold.formats[format].bytes == pytest.approx(
            written(photos.parent / format, suffix), rel=0.2
        )
        assert 0 < foretold.formats[format].hours < 0.1


def test_the_hours_are_those_of_the_slowest_part(photos: Path) -> None:
    class Slow(SyntheticModel):
        def infer(self, batch: np.ndarray) -> np.ndarray:
            time.sleep(0.15 * len(batch))
            return super().infer(batch)

    foretold = plan(photos, model=DepthEstimator(Slow()))
    for cost in foretold.formats.values():
        assert cost.hours * 3600 == pytest.approx(31 * 0.15, rel=0.3)
    two = plan(photos, model=[DepthEstimator(Slow()) for _ in range(2)])
    assert two.formats["npy"].hours < 0.8 * foretold.formats["npy"].hours


def test_inputs_that_cannot_be_opened_are_counted(photos: Path) -> None:
    (photos / "gone.jpg").symlink_to(photos / "not-there")
    assert plan(photos, model="synthetic").lost == 1
    listed = photos.parent / "list.txt"
    listed.write_text("nowhere.jpg\n")
    with pytest.raises(InputError, match="none of 1 input can be opened in"):
        plan(listed, model="synthetic")


def test_the_plan_touches_neither_inputs_nor_output(photos: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in photos.iterdir()}
    plan(photos, model="synthetic", output=photos.parent / "out")
    assert {path: path.stat().st_mtime_ns for path in photos.iterdir()} == before
    assert sorted(path.name for path in photos.parent.iterdir()) == ["photos"]


def test_a_plan_without_anything_to_go_by_is_refused(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    with pytest.raises(InputError, match="no images in"):
        plan(tmp_path / "photos", model="synthetic")
    (tmp_path / "photos/a.jpg").write_bytes(b"\xff\xd8\xff and no more")
    with pytest.raises(InputError, match=r"none of 1 image looked at can be read, such as a\.jpg"):
        plan(tmp_path / "photos", model="synthetic")
    good_header = b"BM" + (b"\0" * 12) + (40).to_bytes(4, "little") + (9).to_bytes(4, "little") * 2
    (tmp_path / "photos/a.jpg").write_bytes(good_header + b"\1\0\x18\0" + b"\0" * 24)
    with pytest.raises(InputError, match=r"none of 1 image tried went through: failed \(decode\)"):
        plan(tmp_path / "photos", model="synthetic")


def test_the_command_says_it_in_words(photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["plan", str(photos), "--model", "synthetic", "--output", str(photos.parent / "not/yet/there")])
    assert ended.value.code == 0
    said = capsys.readouterr().out
    assert "31 images" in said and "1 cannot be read" in said and "; none is done with these settings" in said
    assert "--format npy" in said and "--format png" in said and "free in" in said


def test_what_the_output_has_is_taken_off(photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out, model = photos.parent / "out", DepthEstimator(SyntheticModel(short_side=32))
    assert plan(photos, model=model, output=out).done == 0
    estimate(photos, out, model=model, format="png16")
    foretold = plan(photos, model=model, output=out)
    assert (foretold.found, foretold.done) == (31, 30)  # the broken one is tried again
    whole = plan(photos, model=model)
    assert foretold.formats["npy"].bytes == pytest.approx(whole.formats["npy"].bytes / 31, rel=0.05)
    other = DepthEstimator(SyntheticModel(short_side=48))
    assert plan(photos, model=other, output=out).done == 0  # a run would make them anew
    assert plan(photos, model=model, output=out, decode="fast").done == 0
    (out / "3.jpg.16.png").unlink()
    (photos / "4.jpg").touch()
    assert plan(photos, model=model, output=out).done == 28
    estimate(photos, photos.parent / "compact", model="compact")
    with pytest.raises(SystemExit):
        main(["plan", str(photos), "--output", str(photos.parent / "compact")])
    said = capsys.readouterr().out
    assert (
        "31 images" in said and "; 30 are done with these settings, what follows is for the other 1" in said
    )


def test_beyond_what_is_remembered_only_repeats_count_again(
    photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two folders of one name, whose keys meet, and one of their files once more."""
    model = DepthEstimator(SyntheticModel(short_side=32))
    (photos / "more/photos").mkdir(parents=True)
    for number in range(4):
        (photos / f"more/photos/{number}.jpg").write_bytes((photos / f"{number}.jpg").read_bytes())
    inputs, out = [photos, photos / "more/photos", photos / "3.jpg"], photos.parent / "out"
    assert estimate(inputs, out, model=model).done == 34
    known = plan(inputs, model=model, output=out)
    assert (known.found, known.done) == (35, 34)
    monkeypatch.setattr("cortexia_video.jobs.plan._APART", 0)
    counted = plan(inputs, model=model, output=out)
    assert (counted.found, counted.done) == (36, 34)  # the third is no input of the run


def test_videos_are_planned_by_their_frames(
    tmp_path: Path, make_image: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    write_clip(tmp_path / "in/a.mp4", 30)
    write_clip(tmp_path / "in/b.webm", 15, codec="libvpx-vp9")  # whose header says no count
    cost = plan(tmp_path / "in", model="synthetic")
    assert cost.found == 0 and cost.clips is not None
    assert (cost.clips.found, cost.clips.frames, cost.clips.timed, cost.clips.done) == (2, 45, 45, 0)
    assert cost.clips.seconds == pytest.approx(1.5, abs=0.01)
    assert cost.clips.hours > 0
    estimate(tmp_path / "in", tmp_path / "out", model="synthetic")
    written = sum(each.stat().st_size for each in (tmp_path / "out").glob("*.mkv"))
    assert cost.clips.output_bytes == pytest.approx(written, rel=0.01)
    make_image(tmp_path / "in/c.jpg")
    (tmp_path / "in/d.mp4").write_text("no")
    with pytest.raises(SystemExit):
        main(["plan", str(tmp_path / "in"), "--output", str(tmp_path / "out"), "--model", "synthetic"])
    said = capsys.readouterr().out
    assert "1 image, " in said and "3 videos" in said and "about 45 frames, 1.5 seconds; 2 are done" in said
    assert "; 1 of those looked at cannot be read" in said


def test_maps_beside_depth_are_counted_in_bytes_and_named(
    photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = DepthEstimator(SyntheticModel(kind="metric", short_side=32), also=["normals"])
    also = ("normals", "points")
    foretold = plan(photos, model=model, also=also, f_px=100.0)
    plain = plan(photos, model=DepthEstimator(SyntheticModel(kind="metric", short_side=32)))
    out = photos.parent / "out"
    estimate(photos, out, model=model, also=also, f_px=100.0)
    for name in also:
        assert foretold.maps[name] == pytest.approx(written(out, f".{name}.*"), rel=0.2)
    more = foretold.formats["npy"].bytes - plain.formats["npy"].bytes
    assert plain.maps == {} and more == pytest.approx(sum(foretold.maps.values()), rel=1e-3)
    assert plan(photos, output=out, model=model, also=also, f_px=100.0).done == 30
    with pytest.raises(InputError, match="unknown map in `also` 'normal': did you mean normals"):
        plan(photos, also="normal")
    words = ["plan", str(photos), "--model", "synthetic", "--kind", "metric", "--f-px", "100"]
    with pytest.raises(SystemExit) as ended:
        main([*words, "--also", "normals,points"])
    said = capsys.readouterr().out
    assert ended.value.code == 0 and "of this, maps beside depth: normals " in said, said
