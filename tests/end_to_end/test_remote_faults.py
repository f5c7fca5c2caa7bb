"""What goes wrong at URLs, and between two runs there: nothing is lost, nobody else's is taken."""

from __future__ import annotations

import functools
import http.server
import io
import logging
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("s3fs")
from remote_folders import S3, encode, put_images
from s3_server import Server, fail_each, put, read_all

import cortexia_video as cx
from cortexia_video.cli import main
from cortexia_video.datasets.build_log import refuse_other_files
from cortexia_video.ledger.state import list_files
from cortexia_video.sources.find import find_images
from cortexia_video.storage.paths import name_of_url, to_path
from cortexia_video.storage.remote_path import RemotePath
from cortexia_video.storage.staging_folder import StagingFolder

METRES = {"kind": "metric"}


@pytest.fixture
def memory(tmp_path: Path) -> str:
    """Return a URL of fsspec's memory, which stands for stores that are no S3."""
    return f"memory://{tmp_path.parent.name}-{tmp_path.name}"


def put_depth(url: str, count: int) -> None:
    for index in range(count):
        RemotePath(f"{url}/{index:03d}.npy").write_bytes(to_npy(np.full((4, 5), 2.0, np.float32)))


def to_npy(values: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, values)
    return buffer.getvalue()


def test_what_fails_once_is_put_whole(server: Server, place: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(bytes(range(256)) * 5000)
    server.rule = fail_each(2, method="PUT")
    for index in range(4):
        RemotePath(f"{S3}/{place}/{index}").put_file(tmp_path / "file")
    server.rule = None
    assert read_all(place) == {str(index): (tmp_path / "file").read_bytes() for index in range(4)}


def test_a_store_that_fails_for_good_is_one_error_and_puts_nothing(
    server: Server, place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cortexia_video.storage.retries._FIRST_PAUSE_S", 0.0)
    (tmp_path / "file").write_bytes(b"x" * 100)
    server.rule = lambda environ: (
        ("403 Forbidden", b"AccessDenied") if environ["REQUEST_METHOD"] == "PUT" else None
    )
    with pytest.raises(PermissionError, match="no permission"):
        RemotePath(f"{S3}/{place}/a").put_file(tmp_path / "file")
    server.rule = None
    assert read_all(place) == {}


def test_ledgers_are_merged_only_when_the_whole_is_there(
    server: Server, place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cortexia_video.storage.retries._FIRST_PAUSE_S", 0.0)
    put_images(f"{place}/in", tmp_path / "in")
    cx.estimate(f"{S3}/{place}/in", f"{S3}/{place}/out", model="synthetic", recursive=True)
    before = read_all(f"{place}/out")
    server.rule = lambda environ: (
        ("403 Forbidden", b"AccessDenied") if environ["REQUEST_METHOD"] == "PUT" else None
    )
    with pytest.raises(cx.errors.OutputLostError):
        cx.merge_ledgers(to_path(f"{S3}/{place}/out"))
    server.rule = None
    assert read_all(f"{place}/out") == before


def test_a_work_folder_fetches_all_or_says_so(memory: str, monkeypatch: pytest.MonkeyPatch) -> None:
    root = RemotePath(f"{memory}/run")
    for name in ("a.log", "checkpoint.pt", "labels/b.npy"):
        (root / name).write_bytes(name.encode())
    with StagingFolder(root) as work:
        assert (work.path / "labels/b.npy").read_bytes() == b"labels/b.npy"
        (work.path / "checkpoint.pt").write_bytes(b"newer")
        work.put()
        assert (root / "checkpoint.pt").read_bytes() == b"newer"
        folder = work.path
    assert not folder.exists()
    get = RemotePath.get_file

    def lose(place: RemotePath, local: Path) -> None:
        if place.name == "a.log":
            raise FileNotFoundError(2, "it is gone")
        get(place, local)

    monkeypatch.setattr(RemotePath, "get_file", lose)
    with pytest.raises(cx.errors.OutputError, match="it is gone"), StagingFolder(root):
        pass


def test_a_work_folder_keeps_what_cannot_be_put(
    memory: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def deny(place: RemotePath, local: Path) -> None:
        raise PermissionError(13, "no permission")

    monkeypatch.setattr(RemotePath, "put_file", deny)
    with (
        pytest.raises(cx.errors.OutputLostError, match="it is kept in") as lost,
        StagingFolder(RemotePath(f"{memory}/run")) as work,
    ):
        (work.path / "checkpoint.pt").write_bytes(b"days of work")
    assert (work.path / "checkpoint.pt").read_bytes() == b"days of work"
    assert str(work.path) in str(lost.value)
    with (
        pytest.raises(ZeroDivisionError),
        caplog.at_level(logging.WARNING),
        StagingFolder(RemotePath(f"{memory}/run")) as work,
    ):
        (work.path / "checkpoint.pt").write_bytes(b"days of work")
        raise ZeroDivisionError
    assert str(work.path) in caplog.text


def test_a_work_folder_is_never_left(memory: str, monkeypatch: pytest.MonkeyPatch) -> None:
    root = RemotePath(f"{memory}/run")
    (root / "checkpoint.pt").write_bytes(b"x")
    found = [*root.list_files(), ("../../escaped", next(root.list_files())[1])]
    monkeypatch.setattr(RemotePath, "list_files", lambda *_, **__: iter(found))
    with pytest.raises(cx.errors.OutputExistsError, match="leads elsewhere"), StagingFolder(root):
        pass


def test_a_conversion_with_calibrations_is_done_once(memory: str) -> None:
    """The sum of two 63-bit hashes is more than a ledger can hold."""
    for index in range(12):
        root = RemotePath(f"{memory}/in/{index}")
        values = np.full((2, 2), 10 + index, "<f4").tobytes()
        (root / "disp0.pfm").write_bytes(b"Pf\n2 2\n-1.0\n" + values)
        words = f"cam0=[100 0 1; 0 100 1; 0 0 1]\ndoffs=0\nbaseline={index}.5\nwidth=2\nheight=2\n"
        (root / "calib.txt").write_bytes(words.encode())
    counts = [
        cx.convert(f"{memory}/in", f"{memory}/out", format="npz", convention="middlebury") for _ in range(2)
    ]
    assert [(each.done, each.skipped) for each in counts] == [(12, 0), (0, 12)]


def test_what_failed_to_be_read_makes_nothing_ours(memory: str) -> None:
    root = RemotePath(memory)
    (root / "in/a.npy").write_bytes(to_npy(np.ones((2, 2), np.float32)))
    (root / "in/b.npy").write_bytes(b"no depth")
    assert cx.convert(f"{memory}/in", f"{memory}/out", format="tiff", about=METRES).failed == 1
    (root / "out/b.tiff").write_bytes(b"precious")
    (root / "in/b.npy").write_bytes((root / "in/a.npy").read_bytes())
    report = cx.convert(f"{memory}/in", f"{memory}/out", format="tiff", about=METRES)
    assert (report.skipped, report.failed) == (1, 1)
    assert (root / "out/b.tiff").read_bytes() == b"precious"


def test_a_stopped_conversion_leaves_what_was_only_claimed(memory: str) -> None:
    put_depth(f"{memory}/in", 40)
    stop = threading.Event()
    report = cx.convert(
        f"{memory}/in",
        f"{memory}/out",
        format="tiff",
        about=METRES,
        workers=1,
        stop=stop,
        on_outcome=lambda *_: stop.set(),
    )
    assert report.interrupted and report.done < 10
    again = cx.convert(f"{memory}/in", f"{memory}/out", format="tiff", about=METRES)
    assert again.done + again.skipped == 40


def test_scenes_of_a_killed_run_are_known(memory: str, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("torch")
    from cortexia_video.scenes import folder

    def kill(output: Any, plan: Any, *_: Any) -> Iterator[list[Any]]:
        folder._render_part(output, plan, [0])
        assert list_files(output), "the plan is there before the first scene is"
        raise SystemExit
        yield []

    root, plan = to_path(f"{memory}/scenes"), cx.scenes.ScenePlan(0, 16, 16)
    with monkeypatch.context() as patch, pytest.raises(SystemExit):
        patch.setattr(folder, "_render", kill)
        folder.write_scenes(root, 2, plan, workers=1)
    assert folder.write_scenes(root, 2, plan, workers=1).there == 2


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("file:///data/a%20b", "/data/a b"),
        ("file://localhost/data", "/data"),
        ("file:///data/run#1/what?.d", "/data/run#1/what?.d"),
        ("file:///", "/"),
    ],
)
def test_a_file_url_is_the_path_that_it_says(url: str, path: str) -> None:
    assert to_path(url) == Path(path)


@pytest.mark.parametrize("path", ["C:\\photos\\a.jpg", "C:/photos", "C://photos", "\\\\host\\share\\a.jpg"])
def test_a_drive_is_no_scheme(path: str) -> None:
    assert to_path(path) == Path(path)
    assert name_of_url("C:/a%20b", windows=True) == "C:/a b"
    assert name_of_url("C:/a%20b", windows=False) == "/C:/a b"


@pytest.mark.parametrize("url", ["file://out/depth", "file://out", "file://"])
def test_a_file_url_of_nowhere_is_refused(url: str) -> None:
    with pytest.raises(cx.errors.InputError, match="with three slashes"):
        to_path(url)


def test_a_new_prefix_is_free_in_every_store(memory: str) -> None:
    refuse_other_files(to_path(f"{memory}/nothing/new"))


def test_queries_belong_to_the_web_alone() -> None:
    url = RemotePath("https://host/d/a.npy?sig=a/b")
    assert (url.name, str(url.parent)) == ("a.npy", "https://host/d")
    assert RemotePath("s3://bucket/what?/").url == "s3://bucket/what?"
    assert RemotePath("s3://bucket").parent == RemotePath("s3://bucket")


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


def test_depth_that_a_web_server_gives(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What the file says is known; nothing can be written there, and nothing is called a list."""
    (tmp_path / "in").mkdir()
    (tmp_path / "in/a.npy").write_bytes(to_npy(np.ones((2, 3), np.float32)))
    cx.convert(tmp_path / "in", tmp_path / "run", format="tiff", about=METRES)
    handler = functools.partial(Quiet, directory=str(tmp_path))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as web:
        threading.Thread(target=web.serve_forever, daemon=True).start()
        root = f"http://127.0.0.1:{web.server_port}"
        assert cx.read_depth(f"{root}/run/a.tiff").kind == "metric"
        assert cx.convert(f"{root}/run/a.tiff", tmp_path / "out", format="npz").done == 1
        for command, said in (
            (["convert", f"{root}/none.tiff", "--output", "out", "--format", "npz"], "no such object"),
            (
                ["convert", f"{tmp_path}/run", "--output", f"{root}/x", "--format", "npz"],
                "nothing can be",
            ),
        ):
            with pytest.raises(SystemExit) as ended:
                main(command)
            error = capsys.readouterr().err
            assert ended.value.code == 2 and said in error and len(error.splitlines()) == 1, error
        with pytest.raises(PermissionError, match="nothing can be written to a web server"):
            RemotePath(f"{root}/x.ply").write_bytes(b"x")
        web.shutdown()


def test_no_bucket_is_said_of_a_folder_of_point_clouds(
    place: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main(["pointcloud", "s3://no-such-bucket/run", "--output", f"{S3}/{place}"])
    assert "no such bucket: check its name and region" in capsys.readouterr().err


def test_a_store_that_lists_nothing_is_one_error(server: Server, place: str) -> None:
    put(f"{place}/a.png", encode(1))
    server.rule = lambda environ: (
        ("403 Forbidden", b"AccessDenied") if "list-type" in environ["QUERY_STRING"] else None
    )
    with pytest.raises(cx.errors.InputError, match="no permission"):
        [*find_images([f"{S3}/{place}"], recursive=True)]
