"""Clips in a bucket, and depth of them into one: the bytes of a folder, also after a kill."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from clips import draw, write_clip
from remote_folders import S3, encode, outputs, read_folder

pytest.importorskip("s3fs")
from s3_server import put, read_all

import cortexia_video as cx
from cortexia_video.jobs import clip_output
from cortexia_video.jobs.clip_parts import FOLDER


def run(given: Any, output: Any, **options: Any) -> cx.Report:
    estimator = cx.DepthEstimator(cx.SyntheticModel(short_side=48))
    return cx.estimate(given, output, model=estimator, recursive=True, preview=True, **options)


class Killed(BaseException):
    """What nobody catches."""


@pytest.fixture
def folder(place: str, tmp_path: Path) -> Path:
    """Return a folder with clips and an image, which are also in the bucket."""
    write_clip(tmp_path / "in/deep/a.mp4", 30, options={"x264-params": "keyint=10"})
    write_clip(tmp_path / "in/b.ts", [draw(each, 64, 64) for each in range(9)])
    (tmp_path / "in/c.png").write_bytes(encode(3))
    for path in (tmp_path / "in").rglob("*.*"):
        put(f"{place}/in/{path.relative_to(tmp_path / 'in').as_posix()}", path.read_bytes())
    return tmp_path / "in"


@pytest.mark.parametrize("form", ["mkv", "frames"])
def test_a_bucket_gives_the_bytes_of_a_folder(place: str, folder: Path, tmp_path: Path, form: Any) -> None:
    report = run(f"{S3}/{place}/in", f"{S3}/{place}/out", video_format=form)
    assert report.counts == {"found": 3, "done": 3, "skipped": 0, "failed": 0}
    run(folder, tmp_path / "out", video_format=form)
    assert outputs(read_all(f"{place}/out")) == outputs(read_folder(tmp_path / "out"))
    again = run(f"{S3}/{place}/in", f"{S3}/{place}/out", video_format=form)
    assert (again.done, again.skipped) == (0, 3)
    name = "deep/a.mp4.mkv#20" if form == "mkv" else "deep/a.mp4/000020.npy"
    depth = cx.read_depth(f"{S3}/{place}/out/{name}")
    assert (depth.values == cx.read_depth(f"{tmp_path}/out/{name}").values).all()
    assert cx.verify(f"{S3}/{place}/out").wrong == []


@pytest.mark.parametrize("form", ["mkv", pytest.param("frames", marks=pytest.mark.slow)])
def test_parts_in_a_bucket_survive_a_kill(
    place: str, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: Any
) -> None:
    monkeypatch.setattr(clip_output, "_PART_FRAMES", 8)
    monkeypatch.setattr(clip_output, "PROVEN", 4)
    run(folder, tmp_path / "out", video_format=form)
    add = clip_output.ClipOutput.add

    def add_and_end(self: Any, *arguments: Any) -> bool:
        if self.following == 20:
            raise Killed
        return add(self, *arguments)

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(clip_output.ClipOutput, "add", add_and_end)
        run(f"{S3}/{place}/in", f"{S3}/{place}/out", video_format=form)
    assert sum(name.startswith(FOLDER) for name in read_all(f"{place}/out")) == 4
    added: list[int] = []
    monkeypatch.setattr(
        clip_output.ClipOutput, "add", lambda self, *each: added.append(self.following) or add(self, *each)
    )
    run(f"{S3}/{place}/in", f"{S3}/{place}/out", video_format=form)
    assert len(added) in (30 - 16, 30 - 16 + 9)  # the other clip may have been done
    assert outputs(read_all(f"{place}/out")) == outputs(read_folder(tmp_path / "out"))


def test_sequences_in_a_bucket(place: str, tmp_path: Path) -> None:
    for name in ("shots/one/f2.png", "shots/one/f10.png", "shots/one/f9.png", "shots/two/a.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(encode(sum(name.encode())))
        put(f"{place}/{name}", (tmp_path / name).read_bytes())
    put(f"{place}/shots/.hidden/a.png", encode(1))
    options: dict[str, Any] = {"sequence": True, "steady": "off"}
    report = run(f"{S3}/{place}/shots", f"{S3}/{place}/shots/out", **options)
    assert report.counts == {"found": 2, "done": 2, "skipped": 0, "failed": 0}
    run(tmp_path / "shots", tmp_path / "out", **options)
    assert outputs(read_all(f"{place}/shots/out")) == outputs(read_folder(tmp_path / "out"))
    assert run(f"{S3}/{place}/shots", f"{S3}/{place}/shots/out", **options).skipped == 2
    put(f"{place}/shots/two/b.png", encode(2))
    again = run(f"{S3}/{place}/shots", f"{S3}/{place}/shots/out", **options)
    assert (again.done, again.skipped) == (1, 1)
    (failure,) = run(f"{S3}/{place}/nowhere", tmp_path / "other", **options).failures
    assert "is no folder" in failure.reason
