"""OBJ and GLB are read as trimesh reads them; what cannot be read says why."""

from __future__ import annotations

import json
import struct

import numpy as np
import pytest
import trimesh
from furniture_files import chair, checker_png, obj_of

pytest.importorskip("torch")

from cortexia_video.errors import InputError
from cortexia_video.scenes.model_files import read_glb, read_obj


def nothing_beside(name: str) -> bytes:
    raise FileNotFoundError(name)


def glb_of(about: object, data: bytes = b"") -> bytes:
    """A GLB by its JSON and its buffer."""
    told = json.dumps(about).encode()
    told += b" " * (-len(told) % 4)
    head = b"glTF" + struct.pack("<II", 2, 0) + struct.pack("<I", len(told)) + b"JSON"
    return head + told + struct.pack("<I", len(data)) + b"BIN\0" + data


def sorted_triangles(corners: np.ndarray) -> np.ndarray:
    """Triangles in an order that does not depend on who read them."""
    flat = np.round(np.asarray(corners, np.float64), 4).reshape(-1, 9) + 0.0
    return flat[np.lexsort(flat.T)]


def test_an_obj_has_the_triangles_that_trimesh_finds() -> None:
    data = obj_of(chair())
    model = read_obj(data, nothing_beside)
    expected = trimesh.load(trimesh.util.wrap_as_stream(data.decode()), file_type="obj", process=False)
    assert sorted_triangles(model.corners) == pytest.approx(sorted_triangles(expected.triangles), abs=1e-4)


def test_polygons_are_cut_into_fans_and_numbers_may_count_back() -> None:
    data = b"v 0 0 0\nv 1 0 0\nv 1 1 0\nv 0 1 0\nvt 0 0\nvt 1 0\nvt 1 1\nvt 0 1\nf -4/-4 -3/-3 -2/-2 -1/-1\n"
    model = read_obj(data, nothing_beside)
    assert model.corners[:, :, :2].tolist() == [[[0, 0], [1, 0], [1, 1]], [[0, 0], [1, 1], [0, 1]]]
    assert np.array_equal(model.uv, model.corners[:, :, :2])
    assert np.isnan(model.normals).all()


def test_materials_have_colour_image_and_glass() -> None:
    mtl = b"newmtl a\nKd 1 0.5 0\nmap_Kd -s 1 1 1 wood.png\nnewmtl b\nd 0.3\nKe 0 1 0\n"
    data = (
        b"mtllib x.mtl\nv 0 0 0\nv 1 0 0\nv 0 1 0\nusemtl b\nf 1 2 3\nusemtl a\nf 1 2 3\nusemtl c\nf 1 2 3\n"
    )
    beside = {"x.mtl": mtl, "wood.png": checker_png()}
    model = read_obj(data, beside.__getitem__)
    b, a, c = (model.parts[number] for number in model.part)
    assert a.colour == pytest.approx((1, 0.5**2.2, 0)) and a.image == checker_png()
    assert b.clear and b.emission == 1 and not a.clear
    assert c.colour == (0.5, 0.5, 0.5)  # of no file: grey
    del beside["wood.png"]
    assert "wood.png" in str(read_obj(data, beside.__getitem__).parts[model.part[1]].missing)


def test_a_glb_has_the_triangles_normals_and_coordinates_that_trimesh_wrote() -> None:
    scene = trimesh.Scene()
    ball = trimesh.creation.icosphere(1, 0.4)
    turn = trimesh.transformations.rotation_matrix(0.7, (0.2, 1, 0.3), (1, 2, 3))
    scene.add_geometry(ball, transform=turn)
    box = trimesh.creation.box((1, 2, 3))
    uv = np.random.default_rng(0).random((len(box.vertices), 2))
    from PIL import Image

    material = trimesh.visual.material.PBRMaterial(
        baseColorTexture=Image.new("RGB", (4, 4), (9, 200, 9)), baseColorFactor=[255, 255, 255, 255]
    )
    box.visual = trimesh.visual.TextureVisuals(uv=uv, material=material)
    scene.add_geometry(box)
    model = read_glb(scene.export(file_type="glb"))
    expected = np.concatenate([ball.copy().apply_transform(turn).triangles, box.triangles])
    assert sorted_triangles(model.corners) == pytest.approx(sorted_triangles(expected), abs=1e-3)
    textured = np.isfinite(model.uv).all((1, 2))
    assert textured.sum() == 12
    found = {
        tuple(np.round([*c, *u], 3))
        for c, u in zip(
            model.corners[textured].reshape(-1, 3), model.uv[textured].reshape(-1, 2), strict=True
        )
    }
    assert found == {
        tuple(np.round([*c, *u], 3))
        for c, u in zip(box.vertices.astype(np.float32), uv.astype(np.float32), strict=True)
    }
    assert model.parts[int(model.part[textured][0])].image is not None


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "no faces"),
        (b"v 0 0 0\nv 1 0 0\n", "no faces"),
        (b"v 0 0 0\nf 1 2 3\n", "no OBJ"),
        (b"v 0 0 x\nv 0 0 0\nv 1 1 1\nf 1 2 3\n", "no OBJ"),
        (b"v 0 0 0\nf 0 0 0\n", "no vertex"),
    ],
)
def test_an_obj_that_is_none_says_why(data: bytes, says: str) -> None:
    with pytest.raises(InputError, match=says):
        read_obj(data, nothing_beside)


def test_too_many_faces_are_refused_before_they_are_built() -> None:
    data = b"v 0 0 0\nv 1 0 0\nv 0 1 0\n" + b"f 1 2 3\n" * 10_000_000
    with pytest.raises(InputError, match="10,000,000 triangles, more than 300,000"):
        read_obj(data, nothing_beside)


@pytest.mark.parametrize("line", [b"v 0 0 0\n", b"v 0 0 0\r", b"f 1 2 3" + b" 1" * 1000 + b"\r"])
def test_more_values_than_triangles_need_are_refused_before_they_are_built(line: bytes) -> None:
    with pytest.raises(InputError, match="values, more than 300,000 triangles need"):
        read_obj(line * (30_000_000 // line.count(b" ")), nothing_beside)


def test_a_glb_may_place_a_mesh_often_but_not_without_end() -> None:
    """Forty nodes show one mesh of 250,000 triangles: what they come to is known before all are built."""
    indices, points = np.zeros((250_000, 3), np.uint8), np.eye(3, dtype=np.float32)
    about = {
        "nodes": [{"mesh": 0}] * 40,
        "meshes": [{"primitives": [{"attributes": {"POSITION": 0}, "indices": 1}]}],
        "accessors": [
            {"bufferView": 0, "componentType": 5126, "type": "VEC3", "count": 3},
            {"bufferView": 1, "componentType": 5121, "type": "SCALAR", "count": indices.size},
        ],
        "bufferViews": [{"byteLength": 36}, {"byteOffset": 36, "byteLength": indices.size}],
    }
    with pytest.raises(InputError, match="500,000 triangles, more than 300,000"):
        read_glb(glb_of(about, points.tobytes() + indices.tobytes()))
    assert (
        len(read_glb(glb_of(about | {"nodes": [{"mesh": 0}]}, points.tobytes() + indices.tobytes())).part)
        == 250_000
    )


@pytest.mark.parametrize("cut", [0, 3, 11, 19, 60, 200])
def test_a_glb_that_is_cut_short_says_so(cut: int) -> None:
    data = trimesh.Scene(trimesh.creation.box()).export(file_type="glb")
    with pytest.raises(InputError):
        read_glb(data[:cut])


def test_a_compressed_glb_says_what_it_needs() -> None:
    with pytest.raises(InputError, match="KHR_draco"):
        read_glb(glb_of({"extensionsRequired": ["KHR_draco_mesh_compression"]}))


def test_a_glb_whose_nodes_go_in_a_circle_is_refused() -> None:
    with pytest.raises(InputError, match="circle"):
        read_glb(glb_of({"nodes": [{"children": [0]}]}))
