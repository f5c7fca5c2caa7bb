"""Streets with a person's models: they stand where ours would, at their size, and only where they are asked for."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from furniture_files import write_street_models

torch = pytest.importorskip("torch")
pytest.importorskip("embreex")
torch.set_num_threads(1)

from cortexia_video.errors import InputError  # noqa: E402
from cortexia_video.scenes import ScenePlan, render_scene, write_scenes  # noqa: E402
from cortexia_video.scenes.folder import check_plan, describe_plan  # noqa: E402
from cortexia_video.scenes.furniture_models import load, open_library  # noqa: E402
from cortexia_video.scenes.layouts import build_scene  # noqa: E402
from cortexia_video.scenes.meshes import triangles_of  # noqa: E402
from cortexia_video.scenes.streets import Street  # noqa: E402


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(home / "cache"))
        yield write_street_models(home / "models")


def test_models_stand_on_streets_at_their_size(models: Path) -> None:
    library = open_library(models)
    car = next(each for each in library.models if each.name == "Roadster")
    street = Street(np.random.default_rng(6), 1.0, library)
    drawn = {each.name: load(each).model for each in library.models}
    placed = {name: [m for m in street.scene.meshes if m.model is model] for name, model in drawn.items()}
    assert placed["Roadster"] and placed["Copper beech"] and placed["Anna"] and placed["Bench"]
    assert not placed["Rails"] and not placed["carpet"], "what is neither stays away"
    cars = placed["Roadster"]
    at = torch.from_numpy(np.stack([each.position for each in cars], 1)).float()
    down = torch.tensor([0.0, -1.0, 0.0])[:, None].expand_as(at).contiguous()
    triangles = triangles_of(street.scene)
    assert triangles is not None
    over = at + torch.tensor([0.0, 1.7, 0.0])[:, None]
    roof_m = 1.7 - triangles.hit(over, down)[0].numpy()  # what a ray down meets first is the roof
    assert np.mean(np.abs(roof_m - car.size[1]) < 0.01) > 0.8


def test_streets_have_models_only_where_a_folder_is_named(models: Path) -> None:
    with_models = render_scene(8, 24, 32, "houses", furniture=models)
    again = render_scene(8, 24, 32, "houses", furniture=models)
    assert np.array_equal(with_models.image, again.image)
    plain = render_scene(8, 24, 32, "houses")
    assert not np.array_equal(with_models.depth_m, plain.depth_m, equal_nan=True)
    mine = {id(load(each).model) for each in open_library(models).models}
    assert not [mesh for mesh in build_scene(8, ["houses"])[1].meshes if id(mesh.model) in mine]


def test_a_plan_of_streets_takes_models_and_tells_which(models: Path, tmp_path: Path) -> None:
    plan = ScenePlan(height=32, width=48, kinds=("pavement",), furniture=models)
    check_plan(plan)
    assert len(describe_plan(plan)["furniture"]) == len([*models.iterdir()])
    assert "furniture" not in describe_plan(ScenePlan(height=32, width=48, kinds=("pavement",)))
    with pytest.raises(InputError, match="furnished, desk, under, driving, pavement, houses"):
        write_scenes(tmp_path / "out", 1, ScenePlan(height=32, width=48, kinds=("rows",), furniture=models))
    assert not (tmp_path / "out").exists()
