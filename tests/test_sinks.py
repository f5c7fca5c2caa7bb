"""Files appear whole or not at all, and only inside the output folder."""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from cortexia_video import DepthMap, InputError, OutputError, OutputLostError
from cortexia_video.sinks.folder import FolderSink

DEPTH = DepthMap(np.arange(12, dtype=np.float32).reshape(3, 4), "metric")


def test_a_file_is_placed_under_its_key(tmp_path: Path) -> None:
    with FolderSink(tmp_path / "out", preview=True) as sink:
        sizes = sink.write("sub/a.jpg", DEPTH)
    assert sizes == {name: (tmp_path / "out" / name).stat().st_size for name in sizes}
    assert set(sizes) == {"sub/a.jpg.npy", "sub/a.jpg.preview.jpg"}
    np.testing.assert_array_equal(np.load(tmp_path / "out/sub/a.jpg.npy"), DEPTH.values)
    assert sorted(os.listdir(tmp_path / "out")) == ["sub"]


@pytest.mark.parametrize("key", ["../a", "/etc/a", "a/../../b", "", ".cortexia-partial/a"])
def test_a_key_cannot_lead_out_of_the_folder(tmp_path: Path, key: str) -> None:
    with FolderSink(tmp_path / "out") as sink, pytest.raises(InputError, match="does not name a file inside"):
        sink.write(key, DEPTH)


def test_half_a_file_is_never_in_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole, taken = os.write, []

    def write_some(descriptor: int, data: memoryview) -> int:
        taken.append(len(data))
        if len(taken) == 3:
            raise OSError(errno.EIO, "Input/output error")
        return whole(descriptor, data[: max(1, len(data) // 2)])

    with FolderSink(tmp_path / "out") as sink:
        monkeypatch.setattr(os, "write", write_some)
        with pytest.raises(OSError, match="Input/output error"):
            sink.write("a", DEPTH)
        monkeypatch.undo()
        assert list((tmp_path / "out").rglob("*")) == [tmp_path / "out/.cortexia-partial"]


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EROFS, errno.EDQUOT, errno.ESTALE])
def test_a_disk_that_takes_no_more_is_told_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    def refuse(descriptor: int, data: memoryview) -> int:
        raise OSError(code, os.strerror(code))

    with FolderSink(tmp_path) as sink:
        monkeypatch.setattr(os, "write", refuse)
        with pytest.raises(OutputLostError, match=f"{os.strerror(code)}; what is done is kept: make room"):
            sink.write("a", DEPTH)


def test_what_a_killed_run_left_is_removed_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / ".partial").mkdir()
    (tmp_path / ".partial/mine").touch()
    (tmp_path / ".cortexia-partial").mkdir()
    (tmp_path / ".cortexia-partial/7").write_bytes(b"half")
    (tmp_path / "mine.npy").write_bytes(b"mine")
    with FolderSink(tmp_path) as first:
        assert not list((tmp_path / ".cortexia-partial").iterdir())
        (tmp_path / ".cortexia-partial/in-work").touch()
        with FolderSink(tmp_path):  # a second one does not touch the first's
            assert (tmp_path / ".cortexia-partial/in-work").exists()
        (tmp_path / ".cortexia-partial/in-work").unlink()
        first.write("a", DEPTH)
    assert sorted(os.listdir(tmp_path)) == [".partial", "a.npy", "mine.npy"]
    assert (tmp_path / ".partial/mine").exists()


def test_a_folder_that_is_gone_is_not_one_files_trouble(tmp_path: Path) -> None:
    with FolderSink(tmp_path / "out") as sink:
        shutil.rmtree(tmp_path / "out")
        with pytest.raises(OutputLostError, match="No such file or directory; what is done is kept"):
            sink.write("a", DEPTH)


def test_unknown_formats_and_unwritable_places_are_refused(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="unknown format 'gif': use one of npy, png"):
        FolderSink(tmp_path, format="gif")
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="choose another --output"), FolderSink(tmp_path / "file"):
        pass
