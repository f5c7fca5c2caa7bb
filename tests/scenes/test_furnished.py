"""Rooms of a person's models: reproducible, one room for eight seeds, things stand on what is below them."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from file_digests import file_digests
from furniture_files import table, write_furniture

torch = pytest.importorskip("torch")
pytest.importorskip("embreex")
torch.set_num_threads(1)

from cortexia_video.cli import main  # noqa: E402
from cortexia_video.errors import InputError  # noqa: E402
from cortexia_video.scenes import ScenePlan, render_scene, write_scenes  # noqa: E402
from cortexia_video.scenes.description import MeshModel  # noqa: E402
from cortexia_video.scenes.folder import RECORD  # noqa: E402
from cortexia_video.scenes.furnished import surfaces_at  # noqa: E402
from cortexia_video.scenes.layouts import NEED_MODELS, VIEWS, build_scene  # noqa: E402


@pytest.fixture(scope="module")
def furniture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(home / "cache"))
        yield write_furniture(home / "furniture")


@pytest.mark.parametrize("kind", NEED_MODELS)
def test_a_room_of_models_renders_with_its_furniture_before_the_walls(kind: str, furniture: Path) -> None:
    scene = render_scene(3, 48, 64, kind, furniture=furniture)
    assert scene.layout == kind and scene.image.std() > 4
    assert np.isfinite(scene.depth_m).all()
    assert scene.depth_m.min() > 0.05 and scene.depth_m.max() < 20
    built = build_scene(3, [kind], furniture)[1]
    assert {len(mesh.model.corners) for mesh in built.meshes} & {60, 72}  # the table or the chair


def test_eight_seeds_see_one_room_from_other_sides(furniture: Path) -> None:
    views = [build_scene(seed, ["furnished"], furniture)[1] for seed in range(VIEWS, 2 * VIEWS)]
    assert len({view.triangles.corners.data_ptr() for view in views}) == 1
    assert len({tuple(view.camera.position) for view in views}) == VIEWS
    other = build_scene(2 * VIEWS, ["furnished"], furniture)[1]
    assert other.triangles.corners.data_ptr() != views[0].triangles.corners.data_ptr()


@pytest.mark.slow
def test_another_process_renders_the_same_bytes(furniture: Path) -> None:
    scene = render_scene(21, 32, 48, "desk", furniture=furniture)
    code = (
        "import hashlib, torch; from pathlib import Path; torch.set_num_threads(1);"
        "from cortexia_video.scenes import render_scene;"
        f"s = render_scene(21, 32, 48, 'desk', furniture=Path({os.fspath(furniture)!r}));"
        "print(hashlib.sha256(s.image.tobytes() + s.depth_m.tobytes()).hexdigest())"
    )
    there = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True, timeout=600
    )
    here = hashlib.sha256(scene.image.tobytes() + scene.depth_m.tobytes()).hexdigest()
    assert there.stdout.strip() == here


def test_cameras_stay_inside_the_room_and_clear_of_things(furniture: Path) -> None:
    for seed in range(12):
        scene = build_scene(seed, ["furnished"], furniture)[1]
        apart = np.abs(scene.camera.position - scene.shell.centre)
        assert (apart < scene.shell.half_size - 0.1).all()
        depth_m = render_scene(seed, 24, 32, "furnished", furniture=furniture).depth_m
        assert (depth_m < 0.3).mean() < 0.1


def test_heights_of_a_table_are_those_of_a_ray_through_it() -> None:
    mesh = table(1.2, 0.75, 0.7)
    for reverse in (False, True):
        corners = mesh.triangles[:, ::-1] if reverse else mesh.triangles
        model = MeshModel(corners.astype(np.float32), np.zeros(len(corners), np.int64))
        assert surfaces_at(model, 0.11, 0.07) == pytest.approx([0.71, 0.75], abs=1e-4)
        assert surfaces_at(model, 0.56, 0.31) == pytest.approx([0.02, 0.71, 0.71, 0.75], abs=0.021)
        assert len(surfaces_at(model, 0.7, 0.0)) == 0
    points = np.random.default_rng(0).uniform(-0.7, 0.7, (40, 2))
    for x, z in points:
        hits = mesh.ray.intersects_location([[x, -1, z]], [[0, 1, 0]])[0]
        expected = np.unique(np.round(hits[:, 1], 4)) if len(hits) else []
        model = MeshModel(mesh.triangles.astype(np.float32), np.zeros(len(mesh.faces), np.int64))
        assert np.unique(np.round(surfaces_at(model, x, z), 4)) == pytest.approx(expected, abs=2e-4)


def test_a_folder_of_furnished_scenes_goes_on_and_refuses_other_models(
    furniture: Path, tmp_path: Path
) -> None:
    plan = ScenePlan(height=32, width=48, kinds=("furnished",), furniture=furniture)
    assert write_scenes(tmp_path / "out", 2, plan, workers=1).rendered == 2
    assert write_scenes(tmp_path / "out", 3, plan, workers=1).rendered == 1
    from cortexia_video.errors import OutputExistsError

    others = write_furniture(tmp_path / "others")
    (others / "cup.obj").unlink()
    with pytest.raises(OutputExistsError, match="furniture"):
        write_scenes(
            tmp_path / "out", 3, ScenePlan(height=32, width=48, kinds=("furnished",), furniture=others)
        )


def test_furniture_is_of_kinds_that_need_it(furniture: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="furnished, desk, under"):
        write_scenes(
            tmp_path / "out", 1, ScenePlan(height=32, width=48, kinds=("room",), furniture=furniture)
        )


def test_without_embree_the_extra_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from cortexia_video.errors import MissingExtraError
    from cortexia_video.scenes import meshes

    meshes.get_device.cache_clear()
    monkeypatch.setitem(sys.modules, "embreex.rtcore", None)
    for kind in ("driving", "furnished"):
        with pytest.raises(MissingExtraError, match=r"\[scenes\]|embreex"):
            write_scenes(tmp_path / "out", 1, ScenePlan(height=32, width=48, kinds=(kind,)))
    assert not (tmp_path / "out").exists()


def test_the_command_without_models_says_in_one_line_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr("cortexia_video.scenes.furniture_models.DEBIAN", tmp_path / "none")
    with pytest.raises(SystemExit) as ended:
        main(["scenes", "--kinds", "furnished", "--count", "1", "--output", str(tmp_path / "out")])
    said = capsys.readouterr().err
    assert ended.value.code == 2
    assert "make furniture" in said and "--furniture" in said and len(said.strip().splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_a_killed_run_goes_on_within_a_room_and_gives_the_same_bytes(furniture: Path, tmp_path: Path) -> None:
    killed, whole = tmp_path / "killed", tmp_path / "whole"
    command = [sys.executable, "-m", "cortexia_video", "scenes", "--count", "9", "--size", "32", "48"]
    command += [
        "--kinds",
        "furnished",
        "--furniture",
        str(furniture),
        "--workers",
        "1",
        "--output",
        str(killed),
    ]
    with subprocess.Popen(command) as process:
        while len(list(killed.glob("rgb/*.png"))) < 2 and process.poll() is None:
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
    assert not (killed / "set.json").exists(), "the run was killed before its end"
    plan = ScenePlan(height=32, width=48, kinds=("furnished",), furniture=furniture)
    assert 0 < write_scenes(killed, 9, plan, workers=1).rendered < 9
    assert write_scenes(whole, 9, plan, workers=1) == (9, 9)
    first, second = (file_digests(each, lambda name: name != RECORD) for each in (killed, whole))
    assert first == second and len(first) == 3 * 9 + 1
