"""`cortexia scenes` writes a dataset that is whole, and goes on where it was stopped."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from conftest import HANG_S
from file_digests import file_digests
from PIL import Image

pytest.importorskip("torch")

from cortexia_video import open_dataset
from cortexia_video.cli import main
from cortexia_video.errors import InputError, OutputError, OutputExistsError, say_install
from cortexia_video.ledger.ledger import AppendLog
from cortexia_video.scenes import folder, render_scene
from cortexia_video.scenes.folder import RECORD, write_scenes
from cortexia_video.scenes.photo_textures import load_photo
from cortexia_video.scenes.plan import ScenePlan
from cortexia_video.storage.system import PartialFolder

SMALL = ScenePlan(seed=3, height=32, width=48)


def contents(root: Path) -> dict[str, str]:
    """Return all files of scenes by name; the record's lines are in the order in which scenes were done."""
    return file_digests(root, lambda name: name != RECORD)


def test_what_was_written_is_read_as_a_data_set(tmp_path):
    assert write_scenes(tmp_path / "set", 3, SMALL, workers=1) == (3, 3)
    dataset = open_dataset("rgbd", tmp_path / "set")
    assert [sample.key for sample in dataset] == ["00000003", "00000004", "00000005"]
    for seed, sample in zip((3, 4, 5), dataset, strict=True):
        scene = render_scene(seed, 32, 48)
        assert np.array_equal(sample.frame.image, scene.image)
        assert np.array_equal(sample.depth.values, scene.depth_m, equal_nan=True)
        assert sample.depth.kind == "metric"
        assert (sample.camera.fx, sample.camera.cx, sample.camera.cy) == pytest.approx((scene.f_px, 24, 16))
        normals = np.load(tmp_path / "set/normals" / f"{sample.key}.npy")
        assert normals == pytest.approx(scene.normals, abs=1e-3, nan_ok=True)


def test_the_command_says_what_it_did_and_adds_what_is_missing(tmp_path, capsys):
    command = ["scenes", "--output", str(tmp_path / "set"), "--size", "32", "48", "--kinds", "floor"]
    folder_name = tmp_path / "set"
    for count, says in (
        (1, f"1 scene in {folder_name}: 1 rendered, 0 existed\n"),
        (3, f"3 scenes in {folder_name}: 2 rendered, 1 existed\n"),
        (2, f"3 scenes in {folder_name}: 0 rendered, 3 existed\n"),
    ):
        with pytest.raises(SystemExit) as ended:
            main([*command, "--count", str(count), "--kinds", "close", "--workers", "1"])
        assert ended.value.code == 0
        assert capsys.readouterr().out == says
    frames = json.loads((tmp_path / "set/set.json").read_text())["frames"]
    assert len(frames) == 3 and {frame["kind"] for frame in frames} <= {"floor", "close"}


def test_a_killed_run_goes_on_and_gives_the_same_bytes(tmp_path, monkeypatch):
    monkeypatch.setattr(folder, "_AT_ONCE", 4)  # so that two processes have something to do
    killed, whole = tmp_path / "killed", tmp_path / "whole"
    command = [sys.executable, "-m", "cortexia_video", "scenes", "--count", "8", "--seed", "3"]
    command += ["--size", "32", "48", "--output"]
    with subprocess.Popen([*command, str(killed), "--workers", "1"]) as process:
        while len(list(killed.glob("rgb/*.png"))) < 2 and process.poll() is None:
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
    assert not (killed / "set.json").exists(), "the run was killed before its end"
    with (killed / RECORD).open("ab") as record:
        record.write(b'{"name": "00000099", "rg')  # a line torn by the kill
    assert 0 < write_scenes(killed, 8, SMALL, workers=1).rendered <= 8
    assert write_scenes(whole, 8, SMALL, workers=2) == (8, 8)
    assert contents(killed) == contents(whole)
    assert write_scenes(killed, 8, SMALL) == (0, 8)


def count_group(leader: int) -> int:
    """Count the processes of a group."""
    numbers = [int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit()]
    with contextlib.suppress(ProcessLookupError):
        return sum(os.getpgid(number) == leader for number in numbers)
    return 0


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="needs Linux, to see that processes were started")
def test_an_interruption_is_one_line_and_130(tmp_path):
    """Ctrl-C goes to all processes of a terminal: those that render say nothing, even while they start."""
    command = [sys.executable, "-m", "cortexia_video", "scenes", "--count", "40", "--workers", "2"]
    command += ["--size", "32", "48", "--output", str(tmp_path / "set")]
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # as in the foreground of a shell
    try:
        process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True)
    finally:
        signal.signal(signal.SIGINT, before)
    while process.poll() is None and count_group(process.pid) < 4:  # with the tracker of resources
        time.sleep(0.01)
    time.sleep(0.4)  # they are importing torch
    os.killpg(process.pid, signal.SIGINT)
    _, said = process.communicate(timeout=HANG_S)
    assert (process.returncode, said) == (130, "cortexia: interrupted; no file is half written\n")


def test_a_lost_file_is_rendered_again(tmp_path):
    write_scenes(tmp_path, 2, SMALL, workers=1)
    before = contents(tmp_path)
    (tmp_path / "depth/00000004.tiff").unlink()
    assert write_scenes(tmp_path, 2, SMALL, workers=1) == (1, 2)
    assert contents(tmp_path) == before


@pytest.mark.parametrize("count", [0, -4])
def test_no_scenes_are_refused(tmp_path, count):
    with pytest.raises(InputError, match=f"`count` must be at least 1, got {count}"):
        write_scenes(tmp_path / "set", count, SMALL)
    assert not (tmp_path / "set").exists()


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"kinds": ("room", "moon")}, "'moon'.*room, store"),
        ({"height": 8}, "size 8 x 48"),
        ({"seed": -1}, "`seed` must be at least 0, got -1"),
        ({"device": "cuda:99"}, "device 'cuda:99' cannot be used"),
        ({"device": "toaster"}, "device 'toaster' cannot be used"),
        ({"device": "meta"}, "device 'meta' cannot be used"),
        ({"device": "hpu"}, "device 'hpu' cannot be used"),
    ],
)
def test_plans_that_cannot_be_are_refused(tmp_path, changed, says):
    plan = {"seed": 3, "height": 32, "width": 48, **changed}
    with pytest.raises(InputError, match=says):
        write_scenes(tmp_path / "set", 2, ScenePlan(**plan))
    assert not (tmp_path / "set").exists()


def test_a_folder_with_other_things_is_left_alone(tmp_path):
    (tmp_path / "holiday.jpg").write_bytes(b"mine")
    with pytest.raises(OutputExistsError, match=r"holds holiday\.jpg"):
        write_scenes(tmp_path, 2, SMALL)
    assert [path.name for path in tmp_path.iterdir()] == ["holiday.jpg"]


def test_a_folder_with_other_scenes_is_left_alone(tmp_path):
    write_scenes(tmp_path, 1, SMALL, workers=1)
    before = contents(tmp_path)
    with pytest.raises(OutputExistsError, match="scenes of another height"):
        write_scenes(tmp_path, 1, ScenePlan(seed=3, height=33, width=48))
    assert contents(tmp_path) == before


def test_two_runs_do_not_write_to_one_folder(tmp_path):
    with AppendLog(tmp_path / RECORD) as record:
        record.lock("renders into")
        with pytest.raises(OutputError, match="another process renders"):
            write_scenes(tmp_path, 1, SMALL)


def test_images_of_a_person_are_worn(tmp_path, make_image):
    photos = tmp_path / "photos"
    with pytest.raises(InputError, match="is no folder"):
        write_scenes(tmp_path / "set", 1, ScenePlan(textures=photos))
    photos.mkdir()
    with pytest.raises(InputError, match="holds no image"):
        write_scenes(tmp_path / "set", 1, ScenePlan(textures=photos))
    make_image(photos / "a.jpg")
    with_photos = ScenePlan(seed=3, height=32, width=48, textures=photos)
    write_scenes(tmp_path / "with", 2, with_photos, workers=1)
    write_scenes(tmp_path / "without", 2, SMALL, workers=1)
    one, other = contents(tmp_path / "with"), contents(tmp_path / "without")
    assert one["depth/00000003.tiff"] == other["depth/00000003.tiff"]
    assert any(one[name] != other[name] for name in one if name.startswith("rgb/"))


def test_broken_images_are_named_before_anything_is_written(tmp_path, make_image):
    photos, output = tmp_path / "photos", tmp_path / "set"
    make_image(photos / "whole.jpg")
    cut = photos / "cut.jpg"
    cut.write_bytes((photos / "whole.jpg").read_bytes()[:300])
    (photos / "none.png").write_bytes(b"no image")
    plan = ScenePlan(seed=3, height=32, width=48, textures=photos)
    with pytest.raises(InputError, match=r"cut\.jpg cannot be read: .*remove it \(of 2: also none\.png\)"):
        write_scenes(output, 1, plan, workers=1)
    assert not output.exists()
    cut.unlink()
    (photos / "none.png").unlink()
    assert write_scenes(output, 1, plan, workers=1) == (1, 1)


def test_an_image_becomes_albedo_and_a_broken_one_is_named(tmp_path):
    Image.new("RGB", (30, 20), (255, 0, 128)).save(tmp_path / "pink.png")
    pink = load_photo(tmp_path / "pink.png")
    assert pink.shape == (256, 256, 3)
    assert pink[5, 5] == pytest.approx([1.0, 0.01, (128 / 255) ** 2.2], abs=1e-3)
    (tmp_path / "broken.jpg").write_bytes(b"no image")
    with pytest.raises(InputError, match=r"broken\.jpg cannot be read"):
        load_photo(tmp_path / "broken.jpg")


def test_without_torch_one_line_says_what_to_install(tmp_path):
    code = (
        "import sys; sys.modules['torch'] = None; from cortexia_video.cli import main;"
        f"main(['scenes', '--count', '1', '--output', {str(tmp_path / 'set')!r}])"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert ran.returncode == 2
    line = say_install("'cortexia-video[scenes]'")
    assert ran.stderr == f"cortexia: rendering scenes needs torch: {line}\n"


def test_a_full_disk_ends_the_run_with_one_error(tmp_path, monkeypatch):
    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(PartialFolder, "place", fail)
    with pytest.raises(OutputError, match="cannot write .*No space left"):
        write_scenes(tmp_path, 1, SMALL, workers=1)
