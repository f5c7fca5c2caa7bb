"""Files appear atomically, and only inside the output folder."""

from __future__ import annotations

import errno
import itertools
import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import xxhash

from cortexia_video import DepthMap
from cortexia_video.errors import InputError, OutputError, OutputExistsError, OutputLostError
from cortexia_video.runtime.resources import BufferPool
from cortexia_video.sinks.sink import _DEVICE_IS_GONE, _FULL_OR_READ_ONLY, _HOST_IS_GONE, FolderSink
from cortexia_video.storage import system

DEPTH = DepthMap(np.arange(12, dtype=np.float32).reshape(3, 4), "metric")


def test_a_file_is_placed_under_its_key(tmp_path: Path) -> None:
    with FolderSink(tmp_path / "out", preview=True) as sink:
        placed = sink.write("sub/a.jpg", DEPTH)
    for name, (size, digest) in placed.items():
        data = (tmp_path / "out" / name).read_bytes()
        assert (size, digest) == (len(data), xxhash.xxh3_128_hexdigest(data))
    assert list(placed) == ["sub/a.jpg.npy", "sub/a.jpg.preview.jpg"]
    np.testing.assert_array_equal(np.load(tmp_path / "out/sub/a.jpg.npy"), DEPTH.values)
    assert sorted(os.listdir(tmp_path / "out")) == ["sub"]


@pytest.mark.parametrize("key", ["../a", "/etc/a", "a/../../b", "", ".cortexia-partial/a"])
def test_a_key_cannot_lead_out_of_the_folder(tmp_path: Path, key: str) -> None:
    with FolderSink(tmp_path / "out") as sink, pytest.raises(InputError, match="does not name a file inside"):
        sink.encode(key, DEPTH)


def refuse_writes(monkeypatch: pytest.MonkeyPatch, code: int, *, after: int = 0, times: int = 10**9) -> None:
    """Let `after` calls of os.write take half of what they are given, and the next ones raise."""
    whole, calls = os.write, itertools.count(1)

    def write(descriptor: int, data: memoryview) -> int:
        if after < next(calls) <= after + times:
            raise OSError(code, os.strerror(code))
        return whole(descriptor, data[: max(1, len(data) // 2)])

    monkeypatch.setattr(os, "write", write)


def test_half_a_file_is_never_in_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with FolderSink(tmp_path / "out") as sink:
        refuse_writes(monkeypatch, errno.EIO, after=2, times=1)
        with pytest.raises(OSError, match="Input/output error"):
            sink.write("a", DEPTH)
        assert os.listdir(tmp_path / "out") == [".cortexia-partial"]
        sink.write("deep/er/b", DEPTH)
    assert os.listdir(tmp_path / "out/deep/er") == ["b.npy"]


def test_one_files_trouble_is_distinguished_from_a_disk_that_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with FolderSink(tmp_path) as sink:
        with pytest.raises(OSError, match="File name too long") as raised:
            sink.write("a" * 300, DEPTH)
        assert not isinstance(raised.value, OutputLostError)
        refuse_writes(monkeypatch, errno.EIO)
        with pytest.raises(OutputLostError, match="Input/output error; what is done is kept"):
            sink.write("a", DEPTH)


@pytest.mark.parametrize("code", sorted(_FULL_OR_READ_ONLY | _DEVICE_IS_GONE | _HOST_IS_GONE))
def test_a_full_output_is_distinguished(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    with FolderSink(tmp_path) as sink:
        refuse_writes(monkeypatch, code, times=1)
        with pytest.raises(OutputLostError, match=f"{os.strerror(code)}; what is done is kept: make room"):
            sink.write("a", DEPTH)


HALF = "0123456789abcdef"  # as what is half written is called


def test_what_a_killed_run_left_is_removed_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / ".partial").mkdir()
    (tmp_path / ".partial/mine").touch()
    (tmp_path / ".cortexia-partial").mkdir()
    (tmp_path / ".cortexia-partial" / HALF).write_bytes(b"half")
    (tmp_path / "mine.npy").write_bytes(b"mine")
    with FolderSink(tmp_path) as sink:
        assert os.listdir(tmp_path / ".cortexia-partial") == ["lock"]
        sink.write("a", DEPTH)
    assert sorted(os.listdir(tmp_path)) == [".partial", "a.npy", "mine.npy"]
    assert (tmp_path / ".partial/mine").exists()


def test_what_others_put_among_half_written_files_stays(tmp_path: Path) -> None:
    partial, thesis = tmp_path / ".cortexia-partial", tmp_path / "thesis.txt"
    thesis.write_text("precious")
    (partial / "fedcba9876543210").mkdir(parents=True)
    (partial / "notes.txt").write_text("mine")
    (partial / ("0" * 16)).symlink_to(thesis)
    (partial / HALF).touch()
    with FolderSink(tmp_path) as sink:
        sink.write("a", DEPTH)
    assert sorted(os.listdir(partial)) == ["0" * 16, "fedcba9876543210", "lock", "notes.txt"]
    assert thesis.read_text() == "precious"
    assert (tmp_path / "a.npy").exists()


@pytest.mark.parametrize("strange", ["link", "file", "link to a lock"])
def test_nothing_is_cleaned_where_a_link_leads(tmp_path: Path, strange: str) -> None:
    others, partial = tmp_path / "others", tmp_path / "out/.cortexia-partial"
    others.mkdir()
    (others / HALF).write_text("precious")
    partial.parent.mkdir()
    if strange == "link":
        partial.symlink_to("../others")
    elif strange == "file":
        partial.write_text("precious")
    else:
        partial.mkdir()
        (partial / "lock").symlink_to(others / HALF)
    with pytest.raises(OutputError) as raised, FolderSink(tmp_path / "out"):
        pass
    name = f"{partial}/lock" if strange == "link to a lock" else f"{partial}"
    assert str(raised.value).startswith(
        f"{name} is {'no folder' if strange == 'file' else 'a link'}: remove it"
    )
    assert (others / HALF).read_text() == "precious"
    assert os.listdir(others) == [HALF]


@pytest.mark.parametrize("key", ["sub/a", "sub/deep/er/a", "deep/sub/a"])
def test_nothing_is_written_through_a_link_inside_the_output(tmp_path: Path, key: str) -> None:
    others, root = tmp_path / "others", tmp_path / "out"
    others.mkdir()
    (others / "a.npy").write_text("precious")
    (root / "deep").mkdir(parents=True)
    link = Path(key.partition("sub")[0] + "sub")
    (root / link).symlink_to(others)
    with FolderSink(root) as sink:
        with pytest.raises(
            OutputExistsError, match=f"^{root / link} is a link: remove it, or choose another"
        ):
            sink.write(key, DEPTH)
        sink.write("b", DEPTH)
    assert os.listdir(others) == ["a.npy"]
    assert (others / "a.npy").read_text() == "precious"


def test_the_output_folder_itself_may_be_a_link(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "out").symlink_to("disk")
    with FolderSink(tmp_path / "out") as sink:
        sink.write("sub/a", DEPTH)
    assert [path.name for path in (tmp_path / "disk").rglob("*")] == ["sub", "a.npy"]


def test_two_sinks_of_one_folder_leave_each_other_alone(tmp_path: Path) -> None:
    with FolderSink(tmp_path) as first:
        (tmp_path / ".cortexia-partial" / HALF).touch()
        with FolderSink(tmp_path) as second:
            assert (tmp_path / ".cortexia-partial" / HALF).exists()
            second.write("b", DEPTH)
        first.write("a", DEPTH)
        (tmp_path / ".cortexia-partial" / HALF).unlink()
    assert sorted(os.listdir(tmp_path)) == ["a.npy", "b.npy"]


def test_sinks_come_and_go_at_once(tmp_path: Path) -> None:
    def come_and_go(worker: int) -> None:
        for number in range(40):
            with FolderSink(tmp_path) as sink:
                sink.write(f"{worker}-{number}", DEPTH)

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(come_and_go, range(6)))
    assert len(os.listdir(tmp_path)) == 6 * 40
    assert ".cortexia-partial" not in os.listdir(tmp_path)


def test_a_folder_that_another_process_removes_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock, calls = system.try_lock_shared, itertools.count()

    def leave_before(descriptor: int) -> bool:
        if next(calls) == 0:
            shutil.rmtree(tmp_path / ".cortexia-partial")
        return lock(descriptor)

    monkeypatch.setattr(system, "try_lock_shared", leave_before)
    with FolderSink(tmp_path) as sink:
        sink.write("a", DEPTH)
    assert os.listdir(tmp_path) == ["a.npy"]


@pytest.mark.parametrize("left_behind", [False, True])
def test_a_folder_that_is_gone_is_not_filled_again(tmp_path: Path, left_behind: bool) -> None:
    with FolderSink(tmp_path / "out") as sink:
        (tmp_path / "out").rename(tmp_path / "elsewhere")
        if left_behind:  # an empty mount point, or one that another run has begun to fill
            (tmp_path / "out/.cortexia-partial").mkdir(parents=True)
            (tmp_path / "out/.cortexia-partial/lock").touch()
        with pytest.raises(
            OutputLostError, match=r"(is gone|No such file or directory); what is done is kept"
        ):
            sink.write("sub/a", DEPTH)
    assert [path.name for path in (tmp_path / "out").rglob("*")] == [
        ".cortexia-partial",
        "lock",
    ] * left_behind


@pytest.mark.parametrize("key", ["a", "sub/a", "sub/sub/a"])
def test_a_folder_that_goes_in_the_last_moment_is_not_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, key: str
) -> None:
    with FolderSink(tmp_path / "out") as sink:
        monkeypatch.setattr(
            sink._partial, "require", lambda: (tmp_path / "out").rename(tmp_path / "elsewhere")
        )
        with pytest.raises(OutputLostError, match="what is done is kept"):
            sink.write(key, DEPTH)
    assert os.listdir(tmp_path) == ["elsewhere"]


def test_unknown_formats_and_unwritable_places_are_refused(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="unknown format 'gif': use one of npy, npz, png, "):
        FolderSink(tmp_path, format="gif")
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="choose another `output`"), FolderSink(tmp_path / "file"):
        pass


def large_depth(height: int = 700, width: int = 731) -> DepthMap:
    """Return a map in memory that starts at a page, as the job's do, and does not end at one."""
    memory = np.frombuffer(BufferPool().take(4 * height * width), np.float32).reshape(height, width)
    memory[:] = np.random.default_rng(0).random((height, width))
    return DepthMap(memory, "metric")


@pytest.mark.parametrize("most", [1 << 30, 40960, 40000, 1])
def test_large_files_are_whole_however_little_the_system_takes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, most: int
) -> None:
    whole, calls, depth = os.write, [], large_depth(*((700, 731) if most > 1 else (513, 512)))

    def write_some(descriptor: int, data: memoryview) -> int:
        calls.append(len(data))
        return whole(descriptor, data[: most if len(calls) % 50 else len(data)])

    monkeypatch.setattr(os, "write", write_some)
    with FolderSink(tmp_path) as sink:
        (placed,) = sink.write("a", depth).values()
    monkeypatch.undo()
    data = (tmp_path / "a.npy").read_bytes()
    assert placed == (len(data), xxhash.xxh3_128_hexdigest(data))
    np.testing.assert_array_equal(np.load(tmp_path / "a.npy"), depth.values)
    assert np.load(tmp_path / "a.npy", mmap_mode="r").offset == 4096


def test_a_file_system_that_takes_no_direct_writing_gets_the_same_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fcntl = pytest.importorskip("fcntl")
    whole, refused, depth = os.write, [], large_depth()

    def refuse_direct(descriptor: int, data: memoryview) -> int:
        if fcntl.fcntl(descriptor, fcntl.F_GETFL) & os.O_DIRECT:
            refused.append(len(data))
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        return whole(descriptor, data)

    monkeypatch.setattr(os, "write", refuse_direct)
    with FolderSink(tmp_path) as sink:
        sink.write("a", depth)
    assert refused
    np.testing.assert_array_equal(np.load(tmp_path / "a.npy"), depth.values)


@pytest.fixture
def folds_case(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the file system of outputs take `lock` for `LOCK`, as one that folds case does."""
    real = system.HeldFolder.is_plain
    monkeypatch.setattr(system.HeldFolder, "is_plain", lambda self, name: real(self, name.lower()))


@pytest.mark.usefixtures("folds_case")
def test_keys_that_are_one_name_on_such_a_file_system_are_refused_but_the_first(tmp_path: Path) -> None:
    with FolderSink(tmp_path) as sink:
        assert sink.refuse
        keys = [
            "trip/a.jpg",
            "Trip/b.jpg",
            "trip/A.jpg",
            "trip/c.jpg",
            "stra\u00dfe",
            "STRASSE",
            "e\u0301",
            "\u00c9",
        ]
        refused = [key for key in keys if sink.refuse(key)]
        assert refused == ["trip/A.jpg", "STRASSE", "\u00c9"]
        assert "in upper and lower case only" in str(sink.refuse("trip/a.jpg"))
    with FolderSink(tmp_path) as sink:
        assert sink.refuse and sink.refuse("trip/A.jpg") is None, "each run asks once about each"


@pytest.mark.usefixtures("folds_case")
def test_a_name_that_such_a_file_system_does_not_take_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with FolderSink(tmp_path) as sink:
        monkeypatch.setattr(sink._partial, "place", lambda *_: (tmp_path / "none").stat())
        with pytest.raises(OutputError, match="No such file or directory: its name has ':' in it"):
            sink.write("a:b", DEPTH)
        with pytest.raises(FileNotFoundError):
            sink.write("a-b", DEPTH)


def test_where_case_tells_names_apart_nobody_asks(tmp_path: Path) -> None:
    with FolderSink(tmp_path) as sink:
        assert sink.refuse is None
