"""Small furniture files for tests: a library of Sweet Home 3D, and models in a person's own folder."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import numpy as np
import trimesh
from PIL import Image

CATALOGUE = "PluginFurnitureCatalog.properties"


def obj_of(mesh: trimesh.Trimesh, material: str = "paint") -> bytes:
    """A mesh as an OBJ whose faces name one material of `model.mtl`."""
    lines = ["mtllib model.mtl", f"usemtl {material}"]
    lines += ["v {:.6f} {:.6f} {:.6f}".format(*each) for each in mesh.vertices]
    lines += ["f {} {} {}".format(*(each + 1)) for each in mesh.faces]
    return "\n".join(lines).encode()


def table(width: float = 1.2, height: float = 0.75, depth: float = 0.7) -> trimesh.Trimesh:
    """A board on four legs, on y = 0."""
    board = trimesh.creation.box((width, 0.04, depth))
    board.apply_translation((0, height - 0.02, 0))
    legs = []
    for x in (-1, 1):
        for z in (-1, 1):
            leg = trimesh.creation.box((0.05, height - 0.04, 0.05))
            leg.apply_translation((x * (width / 2 - 0.05), height / 2 - 0.02, z * (depth / 2 - 0.05)))
            legs.append(leg)
    return trimesh.util.concatenate([board, *legs])


def chair() -> trimesh.Trimesh:
    """A seat on four legs with a back at -z."""
    seat, back = table(0.45, 0.45, 0.45), trimesh.creation.box((0.45, 0.5, 0.03))
    back.apply_translation((0, 0.7, -0.21))
    return trimesh.util.concatenate([seat, back])


def cup() -> trimesh.Trimesh:
    """A cylinder of 10 cm that stands on y = 0."""
    mesh = trimesh.creation.cylinder(0.04, 0.1, 12)
    mesh.apply_transform(trimesh.transformations.rotation_matrix(np.pi / 2, (1, 0, 0)))
    mesh.apply_translation((0, 0.05, 0))
    return mesh


def cabinet() -> trimesh.Trimesh:
    mesh = trimesh.creation.box((0.8, 1.2, 0.4))
    mesh.apply_translation((0, 0.6, 0))
    return mesh


def checker_png() -> bytes:
    """A small image of red and green squares."""
    squares = np.zeros((8, 8, 3), np.uint8)
    squares[(np.indices((8, 8)).sum(0) % 2) == 0] = (255, 0, 0)
    squares[(np.indices((8, 8)).sum(0) % 2) == 1] = (0, 255, 0)
    data = io.BytesIO()
    Image.fromarray(squares).save(data, "PNG")
    return data.getvalue()


def write_sh3f(path: Path, models: dict[str, tuple[bytes, dict[str, object]]]) -> None:
    """Write a library: by name, the OBJ and what the catalogue says, sizes in centimetres."""
    lines = ["id=test"]
    with zipfile.ZipFile(path, "w") as archive:
        for number, (name, (obj, about)) in enumerate(models.items(), 1):
            archive.writestr(f"models/{name}/model.obj", obj)
            archive.writestr(f"models/{name}/model.mtl", "newmtl paint\nKd 0.8 0.2 0.1\n")
            told = {"name": name, "model": f"/models/{name}/model.obj", **about}
            lines += [f"{word}#{number}={value}" for word, value in told.items()]
        archive.writestr(CATALOGUE, "\n".join(lines))


def write_furniture(folder: Path) -> Path:
    """A folder with one library of four models and a person's own cup: enough for a room."""
    folder.mkdir(parents=True, exist_ok=True)
    write_sh3f(
        folder / "small.sh3f",
        {
            "Table": (obj_of(table()), {"width": 140, "depth": 80, "height": 74, "category": "Living room"}),
            "Chair": (obj_of(chair()), {"width": 45, "depth": 45, "height": 95, "category": "Living room"}),
            "Cabinet": (obj_of(cabinet()), {"width": 80, "depth": 40, "height": 120, "category": "Office"}),
            "Clock": (obj_of(cup()), {"width": 20, "depth": 5, "height": 20, "elevation": 170}),
        },
    )
    (folder / "cup.obj").write_bytes(obj_of(cup()))
    return folder


def car() -> trimesh.Trimesh:
    """A box on wheels of 4.2 m, its front towards +z."""
    body = trimesh.creation.box((1.8, 1.2, 4.2))
    body.apply_translation((0, 0.9, 0))
    wheels = trimesh.creation.box((1.7, 0.3, 3.0))
    wheels.apply_translation((0, 0.15, 0))
    return trimesh.util.concatenate([body, wheels])


def column(height: float, half_width: float) -> trimesh.Trimesh:
    """Something upright on y = 0: for a test, a tree or a person."""
    mesh = trimesh.creation.box((2 * half_width, height, 2 * half_width))
    mesh.apply_translation((0, height / 2, 0))
    return mesh


def write_street_models(folder: Path) -> Path:
    """A folder with a car, a tree and a bench of one library, a person, and a person's own taxi."""
    folder.mkdir(parents=True, exist_ok=True)
    write_sh3f(
        folder / "street.sh3f",
        {
            "Roadster": (obj_of(car()), {"width": 180, "depth": 420, "height": 150, "category": "Vehicles"}),
            "Copper beech": (obj_of(column(6, 1)), {"category": "Exterior"}),
            "Bench": (obj_of(table(1.5, 0.45, 0.4)), {"category": "Exterior"}),
            "Rails": (obj_of(table(9, 0.1, 1.6)), {"category": "Exterior"}),
            "Anna": (obj_of(column(1.7, 0.25)), {"category": "Characters"}),
        },
    )
    (folder / "old_taxi.obj").write_bytes(obj_of(car()))
    (folder / "carpet.obj").write_bytes(obj_of(table(1.5, 1.2, 2.4)))
    for name in ("fireplace", "oak_wardrobe"):
        (folder / f"{name}.obj").write_bytes(obj_of(column(2.8, 1)))
    return folder
