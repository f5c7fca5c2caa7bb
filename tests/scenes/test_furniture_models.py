"""A person's models: sizes and uses as the catalogue says; what cannot be used is named, the others go on."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest
import trimesh
from furniture_files import (
    cabinet,
    chair,
    checker_png,
    cup,
    obj_of,
    table,
    write_furniture,
    write_sh3f,
    write_street_models,
)

pytest.importorskip("torch")

from cortexia_video.errors import InputError
from cortexia_video.scenes.furniture_models import find_folder, load, open_library


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def test_models_have_size_and_use_of_their_catalogue(tmp_path: Path) -> None:
    library = open_library(write_furniture(tmp_path / "furniture"))
    assert {each.name: each.role for each in library.models} == {
        "cup": "small",
        "Table": "table",
        "Chair": "chair",
        "Cabinet": "big",
        "Clock": "hung",
    }
    table = next(each for each in library.models if each.role == "table")
    corners = load(table).model.corners
    assert table.size == pytest.approx((1.4, 0.74, 0.8), rel=1e-5)
    assert corners.max((0, 1)) == pytest.approx((0.7, 0.74, 0.4), abs=1e-5)
    assert corners.min((0, 1)) == pytest.approx((-0.7, 0.0, -0.4), abs=1e-5)
    (part,) = {load(table).model.part[0]}
    assert load(table).parts[part].colour == pytest.approx(np.array([0.8, 0.2, 0.1]) ** 2.2)


def test_cars_trees_people_and_things_of_streets_are_told_by_category_name_and_size(tmp_path: Path) -> None:
    library = open_library(write_street_models(tmp_path / "street"))
    assert {each.name: each.role for each in library.models} == {
        "Roadster": "car",
        "Copper beech": "tree",
        "Bench": "outside",
        "Rails": "other",
        "Anna": "person",
        "old_taxi": "car",
        "carpet": "big",  # neither a car nor a tree, whatever its name begins with
        "fireplace": "other",
        "oak_wardrobe": "other",
    }


def test_a_model_is_not_mirrored_though_our_axes_are_left_handed(tmp_path: Path) -> None:
    """Seen from the front, +z, what the file has at its left is at the left: our x runs the other way."""
    folder = tmp_path / "own"
    folder.mkdir()
    mark = trimesh.creation.box((0.2, 0.2, 0.2), trimesh.transformations.translation_matrix((0.5, 0.1, 0)))
    body = trimesh.creation.box((0.4, 1.0, 0.4), trimesh.transformations.translation_matrix((0, 0.5, 0)))
    (folder / "it.obj").write_bytes(obj_of(trimesh.util.concatenate([body, mark])))
    corners = load(open_library(folder).models[0]).model.corners
    low = corners[corners[:, :, 1].max(1) < 0.3]
    assert low[:, :, 0].mean() < -0.2


def test_textures_are_laid_on_at_their_scale(tmp_path: Path) -> None:
    folder = tmp_path / "own"
    folder.mkdir()
    square = "v 0 0 0\nv 2 0 0\nv 2 2 0\nv 0 2 0\nvt 0 0\nvt 4 0\nvt 4 4\nvt 0 4\nf 1/1 2/2 3/3 4/4\n"
    (folder / "it.obj").write_text("mtllib a.mtl\nusemtl a\n" + square)
    (folder / "a.mtl").write_text("newmtl a\nmap_Kd wood.png\n")
    (folder / "wood.png").write_bytes(checker_png())
    loaded = load(open_library(folder).models[0])
    part = loaded.parts[loaded.model.part[0]]
    assert part.period_m == pytest.approx(0.5)  # four copies on 2 m
    assert loaded.model.uv_m is not None and loaded.model.uv_m.max() == pytest.approx(2.0)
    assert part.image is not None and {tuple(each) for each in part.image[::40, ::40].reshape(-1, 3)} == {
        (255, 0, 0),
        (0, 255, 0),
    }


def test_what_cannot_be_used_is_named_and_the_others_go_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = write_furniture(tmp_path / "furniture")
    (folder / "broken.sh3f").write_bytes(b"PK\3\4 no zip")
    (folder / "empty.obj").write_bytes(b"v 0 0 0\n")
    (folder / "giant.obj").write_bytes(obj_of(chair().apply_scale(90)))
    (folder / "half.glb").write_bytes(trimesh.Scene(cup()).export(file_type="glb")[:90])
    (folder / "bare.obj").write_bytes(obj_of(cabinet()).replace(b"model.mtl", b"bare.mtl"))
    (folder / "bare.mtl").write_bytes(b"newmtl paint\nmap_Kd gone.jpg\n")
    write_sh3f(folder / "lacking.sh3f", {"Ghost": (b"", {"model": "/models/none.obj"})})
    (folder / "full.obj").write_bytes(b"v 0 0 0\nv 1 0 0\nv 0 1 0\n" + b"f 1 2 3\n" * 10_000_000)
    size = {"width": 8000, "depth": 8000, "height": 8000}  # centimetres
    write_sh3f(folder / "units.sh3f", {"Throne": (obj_of(chair()), size), "Stool": (obj_of(table()), {})})
    with caplog.at_level(logging.WARNING):
        library = open_library(folder)
    assert {each.name for each in library.models} == {
        *("cup", "Table", "Chair", "Cabinet", "Clock"),
        *("bare", "Stool"),
    }
    for name in (
        "broken.sh3f",
        "empty.obj",
        "giant.obj",
        "half.glb",
        "none.obj",
        "gone.jpg",
        "full.obj",
        "Throne",
    ):
        assert name in caplog.text
    assert "10,000,000 triangles" in caplog.text and "it is 80 m large" in caplog.text
    assert "no faces" in caplog.text and "90" not in caplog.text.partition("giant.obj")[0]
    assert "metres" in caplog.text.partition("giant.obj")[2].partition("\n")[0]


def test_models_are_read_once_and_again_when_they_change(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = write_furniture(tmp_path / "furniture")
    first = open_library(folder)
    open_library.cache_clear()
    assert open_library(folder) == first
    (folder / "cup.obj").write_bytes(obj_of(cup().apply_scale(2)))
    open_library.cache_clear()
    (changed,) = (each for each in open_library(folder).models if each.name == "cup")
    assert changed.size[1] == pytest.approx(0.2, rel=1e-4)


def test_a_folder_without_a_usable_model_says_so(tmp_path: Path) -> None:
    (tmp_path / "own").mkdir()
    with pytest.raises(InputError, match=r"\.obj or \.glb"):
        open_library(tmp_path / "own")
    with pytest.raises(InputError, match="is no folder"):
        find_folder(tmp_path / "nowhere")


def test_without_models_the_remedy_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cortexia_video.scenes.furniture_models.DEBIAN", tmp_path / "none")
    with pytest.raises(InputError, match=r"apt install sweethome3d-furniture.*make furniture"):
        find_folder(None)
