"""What differs between systems: each way of doing it is tried, that of Windows by doubles."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import HANG_S

from cortexia_video.errors import OutputError, OutputExistsError
from cortexia_video.storage import system
from cortexia_video.storage.system import (
    HeldFolder,
    find_bad_name,
    is_locked,
    open_plain,
    replace,
    require_lock,
    try_lock,
    try_lock_shared,
)

Kernel = list[tuple[int, int]]
PASSED_ON = 33  # ERROR_LOCK_VIOLATION


class FakeKernel:
    """Locks as Windows does: a handle is kept off by what other handles hold, also of its own process."""

    def __init__(self) -> None:
        self.error, self.held, self.broken = 0, dict[tuple[int, int], tuple[int, bool]](), False

    def LockFileEx(self, handle: Any, flags: int, _: int, low: int, high: int, where: Any) -> int:
        assert (low, high, flags & 1) == (1, 0, 1) and where._obj[2] == 1 << 62
        if self.broken:
            self.error = 50  # ERROR_NOT_SUPPORTED
            return 0
        alone, own = bool(flags & 2), handle.value or 0
        status = os.fstat(own)
        assert (own, 0) not in self.held, "one's own lock would be in the way"
        others = [alone for (other, _), (file, alone) in self.held.items() if file == status.st_ino]
        if others and (alone or any(others)):
            self.error = PASSED_ON
            return 0
        self.held[own, 0] = status.st_ino, alone
        return 1

    def UnlockFileEx(self, handle: Any, *_: Any) -> int:
        return int(self.held.pop((handle.value or 0, 0), None) is not None)


@pytest.fixture(params=["this system", "windows"])
def close(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Let locks be those of this system, or a double of Windows'; give what closes a file."""
    if request.param == "this system":
        return os.close
    kernel, real = FakeKernel(), os.close

    def close_and_unlock(descriptor: int) -> None:
        kernel.held.pop((descriptor, 0), None)
        real(descriptor)

    monkeypatch.setitem(sys.modules, "fcntl", None)
    monkeypatch.setattr(os, "close", close_and_unlock)
    monkeypatch.setattr(system, "_find_windows", lambda: (lambda each: each, kernel, lambda: kernel.error))
    return close_and_unlock


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Callable[[], int]]:
    (tmp_path / "log").write_text("what everybody may read")
    yield lambda: os.open(tmp_path / "log", os.O_RDWR)


def test_a_lock_keeps_others_off_until_the_file_is_closed(
    close: Callable[[int], None], opened: Callable[[], int], tmp_path: Path
) -> None:
    one, other = opened(), opened()
    assert is_locked(tmp_path / "log") is False
    assert try_lock(one) and not try_lock(other) and not try_lock_shared(other)
    assert is_locked(tmp_path / "log") is True
    assert (tmp_path / "log").read_text() == "what everybody may read"
    with pytest.raises(OutputError, match="another process writes to .*: wait for it, or choose another"):
        require_lock(other, tmp_path, "writes to")
    close(one)
    assert is_locked(tmp_path / "log") is False and try_lock(other)
    close(other)


def test_a_shared_lock_becomes_ones_own_where_nobody_shares_it(
    close: Callable[[int], None], opened: Callable[[], int], tmp_path: Path
) -> None:
    one, other = opened(), opened()
    assert try_lock_shared(one) and try_lock_shared(other)
    assert is_locked(tmp_path / "log") is False, "who only shares it does not write to it"
    assert not try_lock(one)
    close(other)
    assert try_lock(one)
    close(one)


def test_it_is_seen_without_writing_also_where_one_may_only_read(
    close: Callable[[int], None], opened: Callable[[], int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As `status` sees a run of another account: filelock opens its file to write."""
    flags, open_file = [], os.open

    def note(path: Any, flag: int, *given: Any, **options: Any) -> int:
        flags.append(flag & (os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC))
        return open_file(path, flag, *given, **options)

    one = opened()
    try_lock(one)
    monkeypatch.setattr(os, "open", note)
    assert is_locked(tmp_path / "log") is True and flags == [0]
    assert os.listdir(tmp_path) == ["log"]
    assert is_locked(tmp_path / "none") is None
    close(one)


def test_two_partitions_could_not_share_a_lock_of_filelock(opened: Callable[[], int]) -> None:
    """Why it is not used (docs/decisions/platforms.md): it locks what is given for one alone."""
    filelock = pytest.importorskip("filelock", minversion="3.30")
    one, other = opened(), opened()
    assert filelock.lock_descriptor(one, blocking=False)
    assert not filelock.lock_descriptor(other, blocking=False)
    os.close(one)
    assert try_lock_shared(other)
    os.close(other)


def test_where_windows_knows_no_locks_nobody_is_kept_off(
    opened: Callable[[], int],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    tmp_path: Path,
) -> None:
    kernel = FakeKernel()
    kernel.broken = True
    monkeypatch.setitem(sys.modules, "fcntl", None)
    monkeypatch.setattr(system, "_find_windows", lambda: (lambda each: each, kernel, lambda: kernel.error))
    system._warn.cache_clear()
    one = opened()
    assert try_lock(one) and try_lock_shared(one) and is_locked(tmp_path / "log") is None
    assert "has no locks (LockFileEx: error 50): run one process at a time" in caplog.text
    os.close(one)


@pytest.mark.parametrize("refused", [0, 3, 99])
def test_what_somebody_reads_is_replaced_when_windows_lets_it(
    refused: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls, move = [], os.replace

    def refuse(*given: Any, **options: Any) -> None:
        calls.append(given)
        if len(calls) <= refused:
            raise PermissionError(errno.EACCES, "in use")
        move(*given, **options)

    (tmp_path / "new").write_text("new")
    (tmp_path / "old").write_text("old")
    monkeypatch.setattr(os, "replace", refuse)
    monkeypatch.setattr(system.time, "sleep", lambda seconds: None)
    monkeypatch.setattr(system, "MOVES_OPEN_FILES", True)
    if refused:
        with pytest.raises(PermissionError):
            replace(tmp_path / "new", tmp_path / "old")  # as on POSIX, where waiting would not help
        calls.clear()
    monkeypatch.setattr(system, "MOVES_OPEN_FILES", False)
    if refused == 99:
        with pytest.raises(PermissionError):
            replace(tmp_path / "new", tmp_path / "old")
    else:
        replace(tmp_path / "new", tmp_path / "old")
    assert (tmp_path / "old").read_text() == ("old" if refused == 99 else "new")
    assert len(calls) == min(refused + 1, 8)


@pytest.mark.parametrize("is_held", sorted({system.MOVES_OPEN_FILES, False}))
def test_a_folder_is_used_alike_whether_it_can_be_held_or_not(
    is_held: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(system, "MOVES_OPEN_FILES", is_held)
    (tmp_path / "link").symlink_to(tmp_path)
    (tmp_path / "file").write_text("file")
    with HeldFolder(tmp_path / "link", follows=True) as root:
        root.make_folder("in")
        root.make_folder("in")
        for name, kind in (("link", "a link"), ("file", "no folder")):
            with pytest.raises(OutputExistsError, match=f"{name} is {kind}: remove it, or choose"):
                HeldFolder(name, above=root)
        with pytest.raises(FileNotFoundError):
            HeldFolder("none", above=root)
        with HeldFolder("in", above=root) as inside:
            os.close(inside.open_plain("a", os.O_RDWR | os.O_CREAT | os.O_EXCL))
            assert inside.is_plain("a") and not inside.is_plain("b") and inside.list_names() == ["a"]
            inside.move("a", root, "b")
            assert root.is_plain("b") and not root.is_plain("link") and inside.list_names() == []
        root.remove("b")
    assert sorted(os.listdir(tmp_path)) == ["file", "in", "link"]


def test_a_link_is_refused_where_the_system_cannot_leave_it_unfollowed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(system, "_NO_LINK", 0)
    (tmp_path / "link").symlink_to(tmp_path / "thesis")
    with pytest.raises(OutputExistsError, match="link is a link: remove it"):
        open_plain(tmp_path / "link", os.O_RDWR | os.O_CREAT)
    assert os.listdir(tmp_path) == ["link"]


@pytest.mark.parametrize(
    "name, said",
    [
        ("trip/a.jpg", None),
        ("console/com10.jpg", None),
        (".hidden/a b.jpg", None),
        ("trip/nul", "'nul', which is a device"),
        ("CON.jpg", "'CON.jpg', which is a device"),
        ("com1/a.jpg", "'com1', which is a device"),
        ("a:b.jpg", "has ':' in it"),
        ("a\\b.jpg", "in it, which no name"),
        ("what?.jpg", "has '?' in it"),
        ("trip./a.jpg", "'trip.': Windows leaves away what it ends with"),
        ("trip/a ", "'a ': Windows leaves away"),
    ],
)
def test_names_that_windows_does_not_have(name: str, said: str | None) -> None:
    problem = find_bad_name(name, windows=True)
    assert problem is None if said is None else said in (problem or "")
    assert find_bad_name(name, windows=False) is None


def test_the_package_can_be_imported_without_what_only_posix_has() -> None:
    double = "" if sys.platform == "win32" else "import windows_double; windows_double.install()"
    code = (
        f"{double}\nimport cortexia_video.cli, cortexia_video as cx\n"
        "from cortexia_video.cli import estimate, train, report, evaluate; [getattr(cx, each) for each in cx.__all__]"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    subprocess.run([sys.executable, "-c", code], check=True, env=environment, timeout=HANG_S)
