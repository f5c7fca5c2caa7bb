"""Aligned maps of one COLMAP model as one point cloud: in the model's world, averaged in voxels, in bounded memory."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from colmap_files import Model, View
from PIL import Image

import cortexia_video as cx
from cortexia_video.cli import main
from cortexia_video.errors import InputError, OutputError, OutputExistsError
from cortexia_video.jobs.fuse import VoxelGrid, fuse_point_clouds
from cortexia_video.point_clouds.ply import decode_points

HEIGHT, WIDTH, F_PX = 64, 96, 80.0
PLANE = np.array(
    [0, 0.5, 0.4]
)  # PLANE . point = 1: depth of a row is the same for each camera that moves across


def make_run(root: Path, *, distorted: bool = False) -> tuple[Path, Path]:
    """Align three photos, whose synthetic depth is that of a plane, to a model whose cameras stand side by side."""
    photos = root / "photos"
    photos.mkdir(parents=True)
    views, points = {}, []
    random = np.random.default_rng(0)
    for number, name in enumerate("abc"):
        Image.fromarray(np.full((HEIGHT, WIDTH, 3), 40, np.uint8)).save(photos / f"{name}.png")
        pixels = np.column_stack([random.uniform(0, WIDTH, 40), random.uniform(0, HEIGHT, 40)])
        pixels = np.floor(pixels) + 0.5
        rays = np.column_stack([(pixels - (WIDTH / 2, HEIGHT / 2)) / F_PX, np.ones(40)])
        translation = np.array([-0.2 * number, 0, 0])
        views[f"{name}.png"] = View(np.eye(3), translation, pixels, np.arange(1, 41) + 40 * number)
        points.append(rays / (rays @ PLANE)[:, None] - translation)
    camera = ("PINHOLE", WIDTH, HEIGHT, (F_PX, F_PX, WIDTH / 2, HEIGHT / 2))
    model = Model({1: camera}, views, np.concatenate(points)).write(root / "model", "bin")
    cx.estimate(photos, root / "relative", model="synthetic")
    report = cx.align_folder(root / "relative", root / "aligned", cx.AlignTo(colmap=str(model)))
    assert report.done == 3, report.failures
    return root / "aligned", model


def test_points_of_all_images_lie_in_the_models_world(tmp_path: Path) -> None:
    run, model = make_run(tmp_path)
    fused = fuse_point_clouds(run, tmp_path / "all.ply", model, voxel=1e-4, max_gap=np.inf)
    assert (fused.images, fused.failures) == (3, [])
    data = (tmp_path / "all.ply").read_bytes()
    assert b"comment axes: those of the COLMAP model" in data
    points = decode_points(data)
    assert len(points) == fused.points > 2 * HEIGHT * WIDTH  # tiny voxels: next to nothing is joined
    np.testing.assert_allclose(points @ PLANE, 1, atol=0.02)
    assert points[:, 0].min() < -1 and points[:, 0].max() > 1.2  # as far as the first and the last camera see
    coarse = fuse_point_clouds(run, tmp_path / "coarse.ply", model, voxel=0.2, max_gap=np.inf)
    there = decode_points((tmp_path / "coarse.ply").read_bytes())
    cells = {*map(tuple, np.floor(there / 0.2).astype(int).tolist())}
    assert 0.99 * coarse.points < len(cells) <= coarse.points < 1000  # but for float32 at a voxel's rim
    np.testing.assert_allclose(there @ PLANE, 1, atol=0.03)


def test_images_without_a_part_are_said_and_others_go_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, model = make_run(tmp_path)
    (tmp_path / "photos" / "b.png").unlink()
    out = tmp_path / "all.ply"
    with pytest.raises(SystemExit) as ended:
        main(
            [
                "pointcloud",
                str(run),
                "--colmap",
                str(model),
                "--fuse",
                "--voxel",
                "0.05",
                "--output",
                str(out),
            ]
        )
    said = capsys.readouterr()
    assert ended.value.code == 1
    assert "of 2 images" in said.out and "1 failed" in said.out and "b.png" in said.err
    with pytest.raises(OutputExistsError):
        fuse_point_clouds(run, out, model)
    assert fuse_point_clouds(run, out, model, overwrite=True).images == 2
    with pytest.raises(OutputError, match=".ply"):
        fuse_point_clouds(run, tmp_path / "all.glb", model)
    with pytest.raises(InputError, match="`voxel` must be a side above 0, got 0"):
        fuse_point_clouds(run, tmp_path / "x.ply", model, voxel=0)
    with pytest.raises(
        InputError, match="no image of .* can be fused: its depth is disparity, in no scale of a model"
    ):
        fuse_point_clouds(tmp_path / "relative", tmp_path / "x.ply", model)
    with pytest.raises(SystemExit) as ended:
        main(["pointcloud", str(run), "--fuse", "--output", str(tmp_path / "y.ply")])
    assert ended.value.code == 2 and "--colmap" in capsys.readouterr().err


def test_metric_depth_of_other_sources_is_fused_where_it_has_the_models_scale(tmp_path: Path) -> None:
    run, model = make_run(tmp_path)
    near, far = (
        float(1 / (0.4 + 0.5 * (60.5 - HEIGHT / 2) / F_PX)),
        float(1 / (0.4 + 0.5 * (4.5 - HEIGHT / 2) / F_PX)),
    )
    for name, factor in (("tape", 1.0), ("other", 1.5)):
        to = cx.AlignTo(known=(f"9,60={factor * near}", f"9,4={factor * far}"))
        assert cx.align_folder(tmp_path / "relative", tmp_path / name, to).done == 3
    aligned = fuse_point_clouds(run, tmp_path / "a.ply", model, voxel=1e-4, max_gap=np.inf)
    by_tape = fuse_point_clouds(tmp_path / "tape", tmp_path / "b.ply", model, voxel=1e-4, max_gap=np.inf)
    assert by_tape.images == aligned.images == 3
    np.testing.assert_allclose(decode_points((tmp_path / "b.ply").read_bytes()) @ PLANE, 1, atol=0.02)
    with pytest.raises(
        InputError, match="points are 0.66. times as far as its depth says: align it to the model"
    ):
        fuse_point_clouds(tmp_path / "other", tmp_path / "c.ply", model)


def test_colours_are_of_images_that_were_moved(tmp_path: Path) -> None:
    run, model = make_run(tmp_path)
    (tmp_path / "photos").rename(tmp_path / "moved")
    with pytest.raises(InputError, match="no image of .* can be fused: cannot read"):
        fuse_point_clouds(run, tmp_path / "a.ply", model)
    fused = fuse_point_clouds(run, tmp_path / "a.ply", model, images=tmp_path / "moved")
    assert (fused.images, fused.failures) == (3, [])


def test_voxels_hold_means_and_grow_where_there_are_too_many() -> None:
    random = np.random.default_rng(0)
    points, colors = random.uniform(-1, 1, (50_000, 3)), random.integers(0, 255, (50_000, 3), np.uint8)
    grid = VoxelGrid(0.25)
    for part in range(0, 50_000, 7000):
        grid.add(points[part : part + 7000], colors[part : part + 7000])
    cloud = grid.to_cloud()
    assert len(cloud.points) == 8**3 and grid.voxel == 0.25
    cells = np.floor(points / 0.25).astype(int)
    mine = (np.floor(cloud.points / 0.25).astype(int) == cells[0]).all(axis=1)
    inside = (cells == cells[0]).all(axis=1)
    np.testing.assert_allclose(cloud.points[mine][0], points[inside].mean(axis=0), atol=1e-6)
    np.testing.assert_allclose(cloud.colors[mine][0], colors[inside].mean(axis=0), atol=0.51)
    small = VoxelGrid(0.25, most=100)
    small.add(points, colors)
    assert len(small.to_cloud().points) == 4**3 and small.voxel == 0.5
