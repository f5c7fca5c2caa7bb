"""Files that are whole or not there: named by chance, never written through a link, cleaned by name."""

from __future__ import annotations

import errno
import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from cortexia_video.errors import OutputError, OutputExistsError, OutputLostError
from cortexia_video.storage import atomic_file as whole_file
from cortexia_video.storage.atomic_file import (
    move_whole,
    remove_partials,
    scratch_folder,
    try_lock,
    write_atomic,
)
from cortexia_video.storage.own_folder import require_own_folder

LEFT = ".a.txt.0123456789abcdef.partial"


def write(path: Path, text: str = "new") -> None:
    with write_atomic(path) as partial:
        partial.write_text(text)


def test_a_file_is_there_when_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "deep/er/a.txt"
    with write_atomic(path) as partial:
        assert partial.parent == path.parent and partial.read_bytes() == b""
        partial.write_text("half")
        assert not path.exists()
    assert path.read_text() == "half"
    write(path, "again")
    assert (path.read_text(), os.listdir(path.parent)) == ("again", ["a.txt"])


def test_its_mode_is_that_of_any_new_file(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        write(tmp_path / "a.txt")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "a.txt").stat().st_mode) == 0o640


def test_what_raises_changes_nothing(tmp_path: Path) -> None:
    write(tmp_path / "a.txt", "old")
    for error in (ZeroDivisionError(), OSError(errno.ENOSPC, "full")):
        with pytest.raises((ZeroDivisionError, OutputLostError)), write_atomic(tmp_path / "a.txt") as partial:
            partial.write_text("half")
            raise error
    assert (os.listdir(tmp_path), (tmp_path / "a.txt").read_text()) == (["a.txt"], "old")


def test_two_writers_of_one_file_do_not_meet(tmp_path: Path) -> None:
    with write_atomic(tmp_path / "a.txt") as first:
        first.write_text("first")
        with write_atomic(tmp_path / "a.txt") as second:  # it cleans, and leaves the first alone
            second.write_text("second")
        assert (first.read_text(), (tmp_path / "a.txt").read_text()) == ("first", "second")
    assert ((tmp_path / "a.txt").read_text(), os.listdir(tmp_path)) == ("first", ["a.txt"])


@pytest.mark.parametrize("kind", ["link", "dangling link", "folder", "pipe"])
def test_what_is_no_plain_file_is_not_replaced(tmp_path: Path, kind: str) -> None:
    path, thesis = tmp_path / "a.txt", tmp_path / "thesis.txt"
    thesis.write_text("precious")
    if kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    else:
        path.symlink_to(thesis if kind == "link" else tmp_path / "none")
    says = "is a link: remove it" if "link" in kind else "is no plain file: remove it"
    with pytest.raises(OutputExistsError, match=rf"a\.txt {says}$"):
        write(path)
    (tmp_path / "made").write_text("new")
    with pytest.raises(OutputExistsError, match=says):
        move_whole(tmp_path / "made", path)
    assert sorted(os.listdir(tmp_path)) == ["a.txt", "made", "thesis.txt"]
    assert thesis.read_text() == "precious"


def test_a_link_that_comes_while_it_is_written_is_not_followed(tmp_path: Path) -> None:
    thesis = tmp_path / "thesis.txt"
    thesis.write_text("precious")
    with (
        pytest.raises(OutputExistsError, match="is a link"),
        write_atomic(tmp_path / "a.txt") as partial,
    ):
        partial.write_text("new")
        (tmp_path / "a.txt").symlink_to(thesis)
    assert (thesis.read_text(), sorted(os.listdir(tmp_path))) == ("precious", ["a.txt", "thesis.txt"])


def test_only_what_a_killed_writer_of_this_file_left_is_removed(tmp_path: Path) -> None:
    theirs = [
        ".a.txt.partial",
        ".movie.mkv.partial",
        ".a.txt.0123456789ABCDEF.partial",
        ".b.txt.0123456789abcdef.partial",
        "a.txt.0123456789abcdef.partial",
        ".axtxt.0123456789abcdef.partial",
    ]
    for name in (*theirs, LEFT):
        (tmp_path / name).write_text("half")
    (tmp_path / ".a.txt.1111111111111111.partial").symlink_to(tmp_path / theirs[0])
    (tmp_path / ".a.txt.2222222222222222.partial").mkdir()
    write(tmp_path / "a.txt")
    assert {*os.listdir(tmp_path)} == {
        "a.txt",
        *theirs,
        ".a.txt.1111111111111111.partial",
        ".a.txt.2222222222222222.partial",
    }


def test_what_another_process_writes_is_not_removed(tmp_path: Path) -> None:
    with (tmp_path / LEFT).open("wb") as held:
        assert try_lock(held.fileno())
        remove_partials(tmp_path, r"a\.txt")
        assert (tmp_path / LEFT).exists()
    remove_partials(tmp_path, r"a\.txt")
    assert not (tmp_path / LEFT).exists()


def test_a_scratch_folder_is_gone_also_after_a_kill(tmp_path: Path) -> None:
    """The next one removes it, and neither one in use, nor what is only named so."""
    code = (
        "import os, sys, pathlib; from cortexia_video.storage.atomic_file import scratch_folder\n"
        "with scratch_folder(pathlib.Path(sys.argv[1])) as folder:\n"
        "    (folder / 'weights').write_text('half'); os.kill(os.getpid(), 9)"
    )
    assert subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False).returncode == -9
    (left,) = tmp_path.iterdir()
    theirs = tmp_path / ".cortexia-scratch-0123456789abcdef"
    theirs.mkdir()
    (theirs / "photo.jpg").touch()
    elsewhere = tmp_path.parent / f"{tmp_path.name}-elsewhere"
    shutil.copytree(left, elsewhere)
    (tmp_path / ".cortexia-scratch-0000000000000000").symlink_to(elsewhere)
    with scratch_folder(tmp_path) as first, scratch_folder(tmp_path) as second:
        assert not left.exists() and first.is_dir() and not [*second.iterdir()]
    assert {each.name for each in tmp_path.iterdir()} == {theirs.name, ".cortexia-scratch-0000000000000000"}
    assert (theirs / "photo.jpg").exists() and (elsewhere / "new/weights").exists()


def test_file_and_folder_are_on_the_disk_before_it_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flushed, flush = [], os.fsync

    def note(descriptor: int) -> None:
        flushed.append((str(Path(f"/proc/self/fd/{descriptor}").readlink()), (tmp_path / "a.txt").exists()))
        flush(descriptor)

    monkeypatch.setattr(os, "fsync", note)
    write(tmp_path / "a.txt")
    (file, before), (folder, after) = flushed
    assert (file.startswith(f"{tmp_path}/.a.txt."), before) == (True, False)
    assert (folder, after) == (str(tmp_path), True)


def test_where_no_file_can_be_it_is_not_called_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    for path in (tmp_path / "file/a.txt", tmp_path / ("a" * 300)):
        with pytest.raises(OutputError, match="cannot write .*; choose another `output`") as raised:
            write(path)
        assert not isinstance(raised.value, OutputLostError)

    def refuse(number: int) -> None:
        def open_plain(*_: object, **__: object) -> int:
            raise OSError(number, os.strerror(number))

        monkeypatch.setattr(whole_file, "open_plain", open_plain)

    for number in (errno.ENOENT, errno.EINVAL):  # of Windows, where a name is too long or cannot be
        refuse(number)
        with pytest.raises(OutputError, match="cannot write .*; choose another `output`") as raised:
            write(tmp_path / "a.txt")
        assert not isinstance(raised.value, OutputLostError)
    refuse(errno.ENOSPC)
    with pytest.raises(OutputLostError, match="No space left on device; what is done is kept: make room"):
        write(tmp_path / "a.txt")


def test_a_folder_is_ours_by_what_is_in_it(tmp_path: Path) -> None:
    marks = {"log": lambda head: head.startswith(b"ours"), "page": lambda head: head == b"our page"}

    def require() -> None:
        require_own_folder(tmp_path, "a job", marks, besides=["given"])

    require()
    (tmp_path / ".hidden").touch()
    (tmp_path / "given").touch()
    require()
    (tmp_path / "photo.jpg").touch()
    with pytest.raises(OutputExistsError, match=r"holds photo\.jpg, which is no part of a job: choose a new"):
        require()
    (tmp_path / "log").write_text("ours to keep")
    require()
    (tmp_path / "page").write_text("somebody's page")
    with pytest.raises(OutputExistsError, match="holds page, which is no part of a job"):
        require()
    (tmp_path / "page").unlink()
    (tmp_path / "page").symlink_to("log")
    with pytest.raises(OutputExistsError, match="page is a link: remove it"):
        require()
    require_own_folder(tmp_path / "new", "a job", marks)
