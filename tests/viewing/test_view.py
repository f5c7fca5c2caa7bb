"""What the viewer is given is what the maps hold, read back by Rerun's own reader; a browser shows it, alone."""

from __future__ import annotations

import io
import shutil
import signal
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from browser import CHROMIUM, Browser
from clips import draw, write_clip
from conftest import HANG_S
from dataset_layouts import make_rgbd, make_scene, make_tum
from PIL import Image
from telling_model import SKY, Telling

import cortexia_video as cx
from cortexia_video.cli import main
from cortexia_video.errors import (
    InputError,
    MissingExtraError,
    OutputError,
    OutputExistsError,
    OutputLostError,
)
from cortexia_video.jobs.point_clouds import CloudOptions
from cortexia_video.ledger.depth_reader import read_depth
from cortexia_video.viewing import viewers
from cortexia_video.viewing.columns import spread
from cortexia_video.viewing.job import view
from cortexia_video.viewing.open import name_apart
from cortexia_video.viewing.recording import require_rerun
from cortexia_video.viz.color_tables import find_color_table

rr = pytest.importorskip("rerun")
from rerun.chunk import RrdReader  # noqa: E402

METRES = CloudOptions(near_m=1, far_m=9, fov_deg=60)


@pytest.fixture(autouse=True)
def strict() -> Iterator[None]:
    """Let Rerun raise what it would only warn of."""
    rr.set_strict_mode(True)
    yield
    rr.set_strict_mode(False)


class Read:
    """A recording: what entity and component have, by step of the time line, and what holds for all of it."""

    def __init__(self, path: Path) -> None:
        reader = RrdReader(path)
        assert [each.application_id for each in reader.recordings()] == ["cortexia_view"]
        assert len(reader.blueprints()) == 1
        self.values: dict[tuple[str, str], dict[int, Any]] = {}
        self.timelines: dict[str, list[float]] = {}
        for chunk in reader.stream():
            batch = chunk.to_record_batch()
            steps = batch.column("image").to_pylist() if "image" in batch.schema.names else [-1] * len(batch)
            for name in chunk.timeline_names:
                self.timelines.setdefault(name, []).extend(batch.column(name).to_pylist())
            for name in batch.schema.names:
                component = name.rpartition(":")
                found = self.values.setdefault((chunk.entity_path, component[2]), {})
                for step, value in zip(steps, batch.column(name).to_pylist(), strict=True):
                    if value is not None:
                        found[step] = value

    def find(self, entity: str, component: str, step: int = 0) -> Any:
        return self.values[entity, component][step]

    def image(self, entity: str, step: int = 0) -> np.ndarray:
        """Return numbers of float32 as an image has them."""
        (shape,), (data,) = (self.find(entity, each, step) for each in ("format", "buffer"))
        return np.array(data, np.uint8).view(np.float32).reshape(shape["height"], shape["width"])

    def bytes(self, entity: str, step: int = 0) -> np.ndarray:
        """Return an image of bytes: numbers, or RGB."""
        (shape,), (data,) = (self.find(entity, each, step) for each in ("format", "buffer"))
        return np.array(data, np.uint8).reshape(shape["height"], shape["width"], -1).squeeze()

    def text(self, step: int = 0) -> str:
        (text,) = self.find("/about", "text", step)
        return str(text)

    @property
    def entities(self) -> set[str]:
        return {entity for entity, _ in self.values}


def watch(paths: Any, output: Path, **options: Any) -> Read:
    view(paths, output=output, **options)
    return Read(output)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with two runs over three photographs, one of which is broken, a clip's, and scenes."""
    root = tmp_path_factory.mktemp("view")
    for index in range(3):
        (root / "photos").mkdir(exist_ok=True)
        Image.fromarray(draw(index, 60, 80)).save(root / f"photos/{index}.png")
    (root / "photos/broken.jpg").write_bytes(b"\xff\xd8\xff")
    cx.estimate(root / "photos", root / "depth", model="synthetic", format="npz")
    cx.estimate(root / "photos", root / "other", model="compact")
    write_clip(root / "clip.mp4", 12)
    cx.estimate(root / "clip.mp4", root / "clips", model="synthetic")
    make_tum(root / "tum", make_scene(), 3)
    make_rgbd(root / "room", make_scene(), 2)
    return root


def test_values_are_those_of_the_maps_and_relative_depth_is_no_metres(place: Path, tmp_path: Path) -> None:
    read = watch(place / "depth", tmp_path / "a.rrd")
    for step in range(3):
        depth = cx.read_depth(place / f"depth/{step}.png.npz")
        np.testing.assert_array_equal(read.image("/depth/camera/disparity", step), depth.values)
        photo = np.asarray(Image.open(place / f"photos/{step}.png"))
        np.testing.assert_array_equal(read.bytes("/image", step), photo)
        colors = cx.colored_depthmap(depth, percentiles=(2, 98))  # near is bright
        levels = read.bytes("/depth/camera/colors", step)
        assert np.abs(find_color_table("viridis")[levels].astype(int) - colors).max() <= 6
        assert "not metres" in read.text(step) and f"{step}.png" in read.text(step)
    assert read.timelines.keys() == {"image"}
    assert not {"/depth/points", "/depth/camera/depth"} & read.entities
    assert "meter" not in {component for _, component in read.values}


def test_anchored_depth_is_metres_with_camera_and_points(place: Path, tmp_path: Path) -> None:
    read = watch(place / "depth", tmp_path / "a.rrd", options=METRES)
    depth = cx.geometry.anchor_depth(cx.read_depth(place / "depth/0.png.npz"), near_m=1, far_m=9)
    np.testing.assert_array_equal(read.image("/depth/camera/depth"), depth.values)
    assert read.find("/depth/camera/depth", "meter") == [1.0]
    matrix = np.reshape(read.find("/depth/camera", "image_from_camera")[0], (3, 3)).T
    f_px = 40 / np.tan(np.radians(30))
    np.testing.assert_allclose(matrix, [[f_px, 0, 40], [0, f_px, 30], [0, 0, 1]], rtol=1e-6)
    assert read.find("/depth/camera", "resolution") == [[80, 60]]
    points = np.array(read.find("/depth/points", "positions"))
    across, down, _ = matrix @ (points / points[:, 2:]).T
    columns, rows = np.floor(across).astype(int), np.floor(down).astype(int)
    np.testing.assert_allclose(points[:, 2], depth.values[rows, columns], rtol=1e-6)
    np.testing.assert_allclose(across - columns, 0.5, atol=1e-3)  # pixels' centres
    photo = np.asarray(Image.open(place / "photos/0.png"))[rows, columns].astype(np.uint32)
    packed = (photo[:, 0] << 24) + (photo[:, 1] << 16) + (photo[:, 2] << 8) + 255
    np.testing.assert_array_equal(read.find("/depth/points", "colors"), packed)
    assert "from relative depth by near and far" in read.text()


def test_runs_stand_side_by_side_and_failures_are_text(place: Path, tmp_path: Path) -> None:
    read = watch([place / "depth", place / "other"], tmp_path / "a.rrd")
    for step in range(3):
        values = np.load(place / f"other/{step}.png.npy")
        np.testing.assert_array_equal(read.image("/other/camera/disparity", step), values)
    problems = read.values["/problems", "text"][0]
    assert any("broken.jpg" in each for each in problems) or "broken.jpg" in str(problems)


def test_frames_of_a_clip_have_their_time(place: Path, tmp_path: Path) -> None:
    read = watch(place / "clips", tmp_path / "a.rrd", count=4)
    assert read.timelines.keys() == {"image", "seconds of clip.mp4"}
    seconds = sorted({each.total_seconds() for each in read.timelines["seconds of clip.mp4"]})
    np.testing.assert_allclose(seconds, np.array([0, 4, 7, 11]) / 30, atol=1e-4)
    for step, frame in enumerate((0, 4, 7, 11)):
        depth = read_depth(f"{place}/clips/clip.mp4.mkv#{frame}")
        np.testing.assert_array_equal(read.image("/clips/camera/disparity", step), depth.values)
        assert np.abs(read.bytes("/image", step).astype(int) - draw(frame)).mean() < 12  # H.264
    ends = {str(read.text(step)).partition("colors ")[2].partition("\n")[0] for step in range(4)}
    assert len(ends) == 1, "the colors of a clip do not flicker"
    one = watch(f"{place}/clips/clip.mp4.mkv#7", tmp_path / "c.rrd")
    np.testing.assert_array_equal(
        one.image("/clip.mp4.mkv#7/camera/disparity".replace("#", "\\#")),
        read.image("/clips/camera/disparity", 2),
    )
    alone = watch(place / "clips/clip.mp4.mkv", tmp_path / "b.rrd", count=4)
    np.testing.assert_array_equal(
        alone.image("/clip.mp4.mkv/camera/disparity", 3), read.image("/clips/camera/disparity", 3)
    )
    assert alone.bytes("/image", 3).shape == (48, 64, 3)


def test_a_clip_and_a_file_that_no_ledger_knows(place: Path, tmp_path: Path) -> None:
    shutil.copy(place / "clips/clip.mp4.mkv", tmp_path / "c.mkv")
    read = watch(tmp_path / "c.mkv", tmp_path / "a.rrd", images=place / "clip.mp4")
    assert len(read.values["/image", "buffer"]) == 12
    shutil.copy(place / "depth/1.png.npz", tmp_path / "d.npz")
    read = watch(tmp_path / "d.npz", tmp_path / "b.rrd", images=place / "photos/1.png")
    assert read.bytes("/image").shape == (60, 80, 3)
    np.save(tmp_path / "e.npy", np.full((4, 5), 2, np.float32))
    read = watch(tmp_path / "e.npy", tmp_path / "c.rrd", kind="metric")
    np.testing.assert_array_equal(read.image("/e.npy/camera/depth"), np.full((4, 5), 2))


def test_a_dataset_is_the_ground_truth_wherever_it_stands(place: Path, tmp_path: Path) -> None:
    images = sorted((place / "tum").rglob("rgb/*.png"))
    cx.estimate([place / "tum"], tmp_path / "run", model="synthetic", recursive=True)
    read = watch([tmp_path / "run", f"tum:{place}/tum"], tmp_path / "a.rrd")
    dataset = cx.open_dataset("tum", place / "tum")
    for step, sample in enumerate(dataset):
        known = read.image("/tum/camera/depth", step)
        np.testing.assert_array_equal(known[sample.valid], sample.depth.values[sample.valid])
        assert np.isnan(known[~sample.valid]).all()
        assert sample.camera is not None
        matrix = np.reshape(read.find("/tum/camera", "image_from_camera", step)[0], (3, 3)).T
        np.testing.assert_allclose([matrix[0, 0], matrix[1, 2]], [sample.camera.fx, sample.camera.cy])
    assert len(images) >= 3 and len(read.values["/run/camera/disparity", "buffer"]) == len(dataset)
    assert watch(place / "room", tmp_path / "b.rrd").image("/room/camera/depth").shape


def test_error_beside_a_ground_truth_is_that_of_the_evaluation(place: Path, tmp_path: Path) -> None:
    rooms = [*cx.open_dataset("rgbd", place / "room")]
    for sample in rooms:
        farther = replace(sample.depth, values=sample.depth.values * np.float32(1.25))
        cx.write_depth(farther, tmp_path / f"far/{sample.key}.npz")
    read = watch([tmp_path / "far", place / "room", "synthetic"], tmp_path / "a.rrd")
    for step, sample in enumerate(rooms):
        error = read.image("/far/error/relative", step)
        counts = sample.valid & (sample.depth.values <= 6)  # metres that such a set has, by its protocol
        farther = np.minimum(sample.depth.values * 1.25, 6)
        np.testing.assert_allclose(error[counts], (farther / sample.depth.values - 1)[counts], atol=1e-5)
        assert np.isnan(error[~counts]).all()
        assert f"AbsRel {error[counts].mean():.3f} against the ground truth" in read.text(step)
    result = cx.evaluate(["synthetic", tmp_path / "far"], truth=place / "room", output=tmp_path / "results")
    scores = {each.key: each.metrics["abs_rel"] for each in result.evaluation.columns[0].list_scores()}
    again = watch(tmp_path / "results", tmp_path / "b.rrd")
    for step, sample in enumerate(rooms):
        error = again.image("/synthetic/error/relative", step)
        np.testing.assert_allclose(np.abs(error[sample.valid]).mean(), scores[sample.key], rtol=1e-3)
        np.testing.assert_array_equal(error, read.image("/synthetic/error/relative", step))
    assert {"/ground_truth/camera/depth", "/synthetic/camera/disparity"} <= {
        each.replace("\\ ", "_") for each in again.entities
    }


def test_large_maps_are_picked_from_and_said_so(tmp_path: Path) -> None:
    values = np.random.default_rng(0).random((1500, 3000), np.float32) + 1
    np.save(tmp_path / "a.npy", values)
    read = watch(tmp_path / "a.npy", tmp_path / "a.rrd", kind="metric", options=CloudOptions(f_px=3000))
    shown = read.image("/a.npy/camera/depth")
    assert shown.shape == (512, 1024) and np.isin(shown[::50, ::50], values).all()
    matrix = np.reshape(read.find("/a.npy/camera", "image_from_camera")[0], (3, 3)).T
    np.testing.assert_allclose(matrix[0], [1024, 0, 512])
    assert "shown at 1024 x 512 of 3000 x 1500" in read.text()


def test_normals_and_confidence_of_a_run_have_panels_and_the_mask_is_reported(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    image = np.full((40, 60, 3), 120, np.uint8)
    image[:10], image[12:28:4] = SKY, 60
    Image.fromarray(image).save(tmp_path / "photos/a.png")
    model = cx.DepthEstimator(Telling(), also="normals,mask,confidence")
    cx.estimate(tmp_path / "photos", tmp_path / "depth", model=model, also="normals,mask,confidence")
    for number, path in enumerate((tmp_path / "depth", tmp_path / "depth/a.png.npy")):
        read = watch(path, tmp_path / f"{number}.rrd")
        (normals,), (confidence,) = (
            [each for each in read.entities if each.endswith(end)] for end in ("/normals", "/confidence")
        )
        colors = read.bytes(normals)
        assert colors[25, 50].tolist() == [204, 128, 230] and not colors[2].any()  # (0.6, 0, -0.8), and sky
        np.testing.assert_array_equal(
            read.image(confidence), np.load(tmp_path / "depth/a.png.confidence.npy")
        )
        depth = read_depth(tmp_path / "depth/a.png.npy", also="mask")
        assert depth.valid is not None
        assert f"{1 - depth.valid.mean():.1%} outside of its mask" in read.text()
    (tmp_path / "depth/a.png.normals.png").unlink()
    read = watch(tmp_path / "depth", tmp_path / "2.rrd")
    assert not [each for each in read.entities if each.endswith("/normals")]


def test_a_broken_map_costs_one_step_and_leaves_nothing_behind(place: Path, tmp_path: Path) -> None:
    shutil.copytree(place / "depth", tmp_path / "depth")
    (tmp_path / "depth/1.png.npz").write_bytes(b"PK")
    report = view(tmp_path / "depth", output=tmp_path / "a.rrd")
    assert (report.images, report.failed) == (3, 1) and "1.png" in report.problems[0]
    read = Read(tmp_path / "a.rrd")
    assert {*read.values["/depth/camera/disparity", "buffer"]} == {0, 2}
    assert read.find("/depth/camera/disparity", "is_recursive", 1) == [False], "the last map is cleared"
    assert "it is not what was written" in read.text(1)


def test_images_that_moved(place: Path, tmp_path: Path) -> None:
    shutil.copytree(place / "depth", tmp_path / "depth")
    (place / "photos").rename(tmp_path / "moved")
    try:
        assert view(tmp_path / "depth", output=tmp_path / "a.rrd").failed == 3
        assert view(tmp_path / "depth", images=tmp_path / "moved", output=tmp_path / "a.rrd").failed == 0
    finally:
        (tmp_path / "moved").rename(place / "photos")


def test_what_cannot_be_viewed(place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "photo.jpg").write_bytes(b"\xff\xd8")
    (tmp_path / "no.rrd").write_bytes(b"RRF2 of others")
    for paths, says in (
        (tmp_path / "empty", "nothing to view"),
        (tmp_path / "gone", "does not exist"),
        (tmp_path / "photo.jpg", "cortexia estimate"),
        (place / "photos", "nothing to view.*run cortexia estimate"),
        (place / "clip.mp4", "is a video: run cortexia estimate"),
        ([place / "depth", place / "depth"], "given twice"),
        ([place / "tum", place / "room"], "second dataset"),
    ):
        with pytest.raises(InputError, match=says):
            view(paths, output=tmp_path / "a.rrd")
    with pytest.raises(OutputExistsError, match="no recording of ours"):
        view(place / "depth", output=tmp_path / "no.rrd")
    assert (tmp_path / "no.rrd").read_bytes() == b"RRF2 of others"
    with pytest.raises(OutputError, match="end it in .rrd"):
        view(place / "depth", output=tmp_path / "a.png")
    with pytest.raises(InputError, match="at least 1"):
        view(place / "depth", count=0)
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(InputError, match="no display"):
        view(place / "depth")
    assert not (tmp_path / "a.rrd").exists()
    monkeypatch.setattr("cortexia_video.viewing.recording.find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"install '.*\[view\]'"):
        require_rerun()


@pytest.mark.parametrize("size", [4096, 40960])
def test_a_full_disk_ends_it_with_a_line(size: int, place: Path, disk: Callable[[int | str], Path]) -> None:
    root = disk(size)
    with pytest.raises(OutputLostError, match=r"a\.rrd.*: No space left on device"):
        view(place / "depth", output=root / "a.rrd")
    assert not (root / "a.rrd").exists()


def test_the_command(place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["view", str(place / "depth"), "--save", str(tmp_path / "a.rrd"), "--count", "2"])
    said = capsys.readouterr().out
    assert ended.value.code == 0 and said.startswith(f"{tmp_path}/a.rrd: 2 images; 2 without points: ")
    assert "give --near-m and --far-m" in said and said.endswith(f"`rerun {tmp_path}/a.rrd` shows it\n")
    assert (
        "give --near-m and --far-m" in Read(tmp_path / "a.rrd").text()
        or "--near-m" in Read(tmp_path / "a.rrd").text()
    ), "what is missing is said in the words of the command line"


@contextmanager
def serving(*arguments: str) -> Iterator[str]:
    """Run `cortexia view --web` and yield its URL; then Ctrl-C ends it, and all is well."""
    command = [sys.executable, "-m", "cortexia_video", "view", *arguments, "--web", "--port", "0"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout
    try:
        yield process.stdout.readline().strip()
    finally:
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=HANG_S)
        assert process.returncode == 0, said


def test_the_web_viewer_is_for_this_machine_and_its_own_page_alone(place: Path, tmp_path: Path) -> None:
    with serving(str(place / "depth")) as url:
        page, _, recording = url.partition("?url=")
        with urllib.request.urlopen(page) as answer:
            policy = answer.headers["Content-Security-Policy"]
        assert "connect-src 'self' data: blob:;" in policy and "http" not in policy
        with urllib.request.urlopen(recording) as answer:
            assert answer.read(4) == b"RRF2"
        asked = urllib.request.Request(recording, headers={"Host": "evil.example:80"})
        with pytest.raises(urllib.error.HTTPError, match="403"):
            urllib.request.urlopen(asked)
        with pytest.raises(urllib.error.HTTPError, match="404"):
            urllib.request.urlopen(f"{page}other.rrd")
        port = int(page.rstrip("/").rpartition(":")[2])
        with pytest.raises(InputError, match=rf"port {port}: .*in use: choose another `port`"):
            view(place / "depth", web=True, port=port)


def test_the_window_gets_all_of_it_through_a_pipe(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rerun's own program takes the recording, and says how many messages that were, where it has no display."""
    program = tmp_path / "rerun"
    package = find_spec("rerun_cli")
    assert package and package.origin
    real = Path(package.origin).parent / "rerun"
    program.write_text(
        f'#!/bin/sh\nenv > "{tmp_path}/env"\nexec "{real}" --test-receive "$@" > "{tmp_path}/said" 2>&1\n'
    )
    program.chmod(0o755)
    elsewhere = SimpleNamespace(origin=str(tmp_path / "__init__.py"))
    monkeypatch.setattr(viewers, "find_spec", lambda name: elsewhere)
    monkeypatch.setenv("DISPLAY", ":99")
    monkeypatch.setattr(viewers, "_LOG", "info")
    assert view(place / "depth").images == 3
    said = (tmp_path / "said").read_text()
    assert "Successfully ingested" in said and "127.0.0.1:" in said and "0.0.0.0" not in said
    home = dict(line.split("=", 1) for line in (tmp_path / "env").read_text().splitlines() if "=" in line)
    assert not Path(home["XDG_CONFIG_HOME"]).exists(), "what it wrote is gone"
    program.write_text("#!/bin/sh\nexit 3\n")
    with pytest.raises(OutputError, match="ended with code 3"):
        view(place / "depth")


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="needs chromium: apt-get install chromium")
def test_a_browser_shows_it_and_asks_nobody_else(place: Path, tmp_path: Path) -> None:
    with serving(str(place / "depth")) as url, Browser(tmp_path / "profile", draws=True) as browser:
        browser.call("Runtime.disable")
        browser.look(width=1000)
        browser.open(url)
        end = threading.Event()
        for _ in range(HANG_S):
            shot = np.asarray(Image.open(io.BytesIO(browser.screenshot())).convert("RGB"))
            colors = {tuple(each) for each in shot[::3, ::3].reshape(-1, 3).tolist()}
            if len(colors) > 2000:  # the photograph and the map, not the page's greys
                break
            end.wait(1)
        else:
            pytest.fail("nothing is drawn")
        asked = {
            event["params"]["request"]["url"]
            for event in browser.events
            if event.get("method") == "Network.requestWillBeSent"
        }
        refused = {
            event["params"]["requestId"]
            for event in browser.events
            if event.get("method") == "Network.loadingFailed"
            and event["params"].get("blockedReason") == "csp"
        }
        sent = [
            event["params"]["request"]["url"]
            for event in browser.events
            if event.get("method") == "Network.requestWillBeSent"
            and event["params"]["requestId"] not in refused
        ]
        host = url.partition("?")[0]
        assert asked and all(each.startswith((host, "data:", "blob:")) for each in sent), sent


def test_names_and_choices() -> None:
    assert name_apart(["a/depth", "b/depth/"]) == ["a/depth", "b/depth"]
    assert name_apart(["a/one", "a/two"]) == ["one", "two"]
    assert spread(range(10), 4) == [0, 3, 6, 9] and spread([1], 5) == [1] and spread(range(5), 1) == [0]
