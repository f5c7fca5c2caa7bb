"""Depth for 3-D Gaussian splatting, read as the trainers' own loaders read it."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import numpy as np
import pytest
from colmap_files import make_views

import cortexia_video as cx
from cortexia_video.errors import InputError, OutputExistsError

cv2 = pytest.importorskip("cv2")
from jobs.test_align import F_PX, HEIGHT, WIDTH, make_metres, write_relative  # noqa: E402
from sparse_depth.test_nerfstudio import make_metres as make_slope  # noqa: E402
from sparse_depth.test_nerfstudio import write_scene  # noqa: E402


def test_graphdecos_trainer_reads_inverse_depth(tmp_path: Path) -> None:
    metres = {f"cam/{name}.v1.jpg": make_metres(seed) for seed, name in enumerate("ab")}
    model = make_views({f"set/{key}": each for key, each in metres.items()}, F_PX, 60)
    depth = write_relative(tmp_path / "depth", metres)
    to = cx.AlignTo(colmap=str(model.write(tmp_path / "model", "bin")))
    out = tmp_path / "out"
    cx.align_folder(depth, out, to, format="npz", write="depth_params.json")
    params = json.loads((out / "depth_params.json").read_text())
    assert {*params} == {
        "set/cam/a.v1",
        "set/cam/b.v1",
    }  # the model's names without what follows the last dot
    for key, each in metres.items():
        name = f"set/{key}"
        said = params[name[: -len(name.split(".")[-1]) - 1]]  # as dataset_readers.py has it
        stored = cv2.imread(str(out / "inverse_depth" / f"{name.removesuffix('.jpg')}.png"), -1)
        assert stored.dtype == np.uint16 and stored.shape == each.shape
        inverse = stored.astype(np.float32) / float(2**16) * said["scale"] + said["offset"]  # camera_utils.py
        np.testing.assert_allclose(inverse, 1 / each, atol=2 / 65536 * (1 / each).max(), rtol=1e-4)
    cx.align_folder(depth, out, to, format="npz", write="depth_params.json")  # what is done is written again
    (out / "inverse_depth/set/cam/a.v1.png").write_bytes(b"somebody's")
    report = cx.align_folder(depth, out, to, format="npz", write="depth_params.json")
    assert report.skipped == 2
    assert (out / "inverse_depth/set/cam/a.v1.png").read_bytes() == b"somebody's"
    (out / "depth_params.json").write_text("{}")
    with pytest.raises(OutputExistsError, match=r"depth_params.json exists and is not ours"):
        cx.align_folder(depth, out, to, format="npz", write="depth_params.json")


def test_graphdecos_trainer_takes_every_image_and_those_without_depth_as_such(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """`scene/cameras.py` leaves out scales beyond five times the median, and fails without a file of an image."""
    metres = {f"{name}.jpg": make_metres(seed) for seed, name in enumerate("abcdefg")}
    metres["f.jpg"][3, 3] = 0.05  # a speck thirty times nearer than all else
    metres["g.jpg"] = metres["g.jpg"] * 12
    depth = write_relative(tmp_path / "depth", {key: each for key, each in metres.items() if key != "a.jpg"})
    to = cx.AlignTo(colmap=str(make_views(metres, F_PX, 60).write(tmp_path / "model", "bin")))
    out = tmp_path / "out"
    with caplog.at_level(logging.WARNING):
        report = cx.align_folder(depth, out, to, format="npz", write="depth_params.json")
    assert report.done == 6, report.failures
    assert "1 image of the model has no depth" in caplog.text
    params = json.loads((out / "depth_params.json").read_text())
    scales = np.array([each["scale"] for each in params.values()])
    middle = np.median(scales[scales > 0])
    assert {*params} == {*"abcdefg"}
    blank = cv2.imread(str(out / "inverse_depth" / "a.png"), -1)
    assert params["a"] == {"scale": 0, "offset": 0} and blank.dtype == np.uint16 and not blank.any()
    for key, each in metres.items():
        if key == "a.jpg":
            continue
        said = params[key[0]]
        assert 0.2 * middle <= said["scale"] <= 5 * middle
        stored = cv2.imread(str(out / "inverse_depth" / f"{key[0]}.png"), -1)
        found = stored / 65536 * said["scale"]
        usual = each > 0.1
        np.testing.assert_allclose(found[usual], 1 / each[usual], rtol=0.01)


@pytest.mark.parametrize("factor", [1.0, 0.001])
def test_nerfstudio_reads_depth_of_its_frames(
    tmp_path: Path, factor: float, caplog: pytest.LogCaptureFixture
) -> None:
    metres = factor * make_slope()
    splits = {"train_filenames": ["images/a.jpg", "./images/b.jpg"], "val_filenames": ["./images/b.jpg"]}
    scene = write_scene(tmp_path / "scene", metres, **splits)
    depth = write_relative(tmp_path / "depth", {"images/a.jpg": metres / factor})
    out = tmp_path / "out"
    to = cx.AlignTo(transforms=str(scene))
    with caplog.at_level(logging.WARNING):
        report = cx.align_folder(depth, out, to, format="npz", write="transforms.json")
    assert report.done == 1, report.failures
    said = json.loads((out / "transforms.json").read_text())
    assert len(said["frames"]) == 1 and "1 frame without depth is left out" in caplog.text
    frame = said["frames"][0]
    assert Path(frame["file_path"]) == tmp_path / "scene" / "images" / "a.jpg"
    step = 0.001
    if factor != 1:
        step = float(caplog.text.split("depth_unit_scale_factor of ")[1].split()[0])
    stored = cv2.imread(
        str((out / frame["depth_file_path"]).absolute()), cv2.IMREAD_ANYDEPTH
    )  # data_utils.py
    np.testing.assert_allclose(stored.astype(np.float32) * step, metres, rtol=3e-3)
    assert stored.shape == (HEIGHT, WIDTH)
    assert said["fl_x"] == F_PX
    assert (said["train_filenames"], said["val_filenames"]) == ([frame["file_path"]], [])


def test_frames_need_a_transforms_json(tmp_path: Path) -> None:
    depth = write_relative(tmp_path / "depth", {"a.jpg": make_metres(0)})
    with pytest.raises(InputError, match="`write` of transforms.json needs `transforms`"):
        cx.align_folder(
            depth, tmp_path / "out", cx.AlignTo(known=("1,2=3",)), format="npz", write="transforms.json"
        )
    assert not (tmp_path / "out").exists()
