"""`cortexia train`: any network, any mix, resumed exactly, measured as it goes; what is wrong is said."""

from __future__ import annotations

import errno
import math
import os
import pickle
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

import numpy as np
import pytest
from conftest import HANG_S
from dataset_layouts import Scene, make_rgbd, make_scene
from file_digests import file_digests
from furniture_files import write_furniture
from recipes import network, write_recipe

torch = pytest.importorskip("torch")
torch.set_num_threads(1)  # small tensors: more threads only wait for each other
for needed in ("onnxscript", "tensorboard", "transformers"):
    pytest.importorskip(needed)

from PIL import Image  # noqa: E402

from cortexia_video import load_estimator  # noqa: E402
from cortexia_video.errors import (  # noqa: E402
    CortexiaError,
    InputError,
    ModelLoadError,
    OutputError,
    OutputExistsError,
    OutputLostError,
    TrainingError,
)
from cortexia_video.images.decode import decode  # noqa: E402
from cortexia_video.training import loop, scene_pool  # noqa: E402
from cortexia_video.training.job import train_recipe  # noqa: E402
from cortexia_video.training.losses import LossWeights  # noqa: E402
from cortexia_video.training.objective import Objective  # noqa: E402
from cortexia_video.training.output_folder import claim  # noqa: E402
from cortexia_video.training.recipe import Recipe, load_recipe  # noqa: E402
from cortexia_video.training.scene_pool import PoolPlan, make_pool  # noqa: E402
from cortexia_video.training.trainable import load_trainable  # noqa: E402

ROOT = Path(__file__).resolve().parents[2]
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
"""What all recipes of the tests begin with; TOML's own keys come before its tables."""


@pytest.fixture
def room(tmp_path: Path) -> Path:
    """A dataset with metres."""
    make_rgbd(tmp_path / "room", make_scene(), 5)
    return tmp_path / "room"


@pytest.fixture
def tiny(checkpoints: Callable[[str], Path]) -> str:
    return f"hf:{checkpoints('depth-anything')}"


@pytest.fixture
def no_export(monkeypatch: pytest.MonkeyPatch) -> None:
    """The graph of `compact` takes 15 s to export; one test does it."""
    monkeypatch.setattr("cortexia_video.training.export.save_compact", lambda state, path, recipe: str(path))


def read_checkpoint(output: Path) -> dict[str, Any]:
    return torch.load(output / "checkpoint.pt", weights_only=True)


# --- trains what, on what


@pytest.mark.usefixtures("no_export")
@pytest.mark.parametrize("family", ["compact", pytest.param("depth-anything", marks=pytest.mark.slow)])
def test_killed_and_started_again_it_ends_in_the_same_losses_and_weights(
    family: str, shared_data: Path, tmp_path: Path, checkpoints: Callable[[str], Path]
) -> None:
    architecture = family if family == "compact" else f"hf:{checkpoints(family)}"
    mix = "".join(
        f'[[data]]\ndataset = "rgbd"\nroot = "{shared_data / "rgbd" / name}"\nweight = {weight}\n'
        for name, weight in (("nyu-demo", 1), ("kitti-demo", 2))
    )
    path = write_recipe(tmp_path, network(architecture), mix, steps=8, checkpoint_steps=2, bfloat16=False)
    whole = train_recipe(path, tmp_path / "whole")
    killed = tmp_path / "killed"
    _kill_training(path, killed, lambda: _has_steps(killed, 2))
    assert 2 <= len(read_checkpoint(killed)["losses"]) < 8
    assert train_recipe(path, killed) == whole
    first, second = (read_checkpoint(each)["average"] for each in (tmp_path / "whole", killed))
    assert all(torch.equal(second[name], value) for name, value in first.items())
    assert len(whole) == 8 and all(map(math.isfinite, whole))


@pytest.mark.slow
@pytest.mark.usefixtures("no_export")
def test_killed_while_rooms_are_rendered_and_while_it_learns_it_ends_in_the_same_pool_and_losses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("embreex")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(scene_pool, "PLACES_SHARD_SIZE", 8)
    furniture = write_furniture(tmp_path / "furniture")
    size = "count = 24, height = 64, width = 96, workers = 1"
    options = f'{{ {size}, kinds = ["furnished"], furniture = "{furniture}" }}'
    results = {}
    for name in ("whole", "killed"):
        mix = f'[[data]]\ndataset = "scenes"\nroot = "{tmp_path / name / "pool"}"\noptions = {options}\n'
        path = write_recipe(
            tmp_path / name, network("compact"), mix, steps=6, checkpoint_steps=2, bfloat16=False
        )
        pool, output = path.parent / "pool", path.parent / "run"
        if name == "killed":
            _kill_training(path, output, lambda pool=pool: (pool / "seed_000000.npy").exists())
            assert len(list(pool.glob("seed_*"))) < 3 and not (output / "checkpoint.pt").exists()
            _kill_training(path, output, lambda output=output: _has_steps(output, 2))
            assert 2 <= len(read_checkpoint(output)["losses"]) < 6
        losses = train_recipe(path, output)
        results[name] = (losses, file_digests(pool), read_checkpoint(output)["average"])
    (whole, scenes, average), (losses, again, other) = results.values()
    assert losses == whole and len(whole) == 6 and again == scenes and len(scenes) == 4
    assert all(torch.equal(other[name], value) for name, value in average.items())


def _kill_training(path: Path, output: Path, is_time: Callable[[], bool]) -> None:
    """Train in a process of its own, whose files of rooms have 8 views, and kill it when it is time."""
    code = (
        "import sys; from cortexia_video.training import scene_pool; scene_pool.PLACES_SHARD_SIZE = 8;"
        "from cortexia_video.cli import main; main(['train', sys.argv[1], '--output', sys.argv[2]])"
    )
    command = [sys.executable, "-c", code, str(path), str(output)]
    process = subprocess.Popen(command, env=os.environ | ENVIRONMENT, stderr=subprocess.DEVNULL)
    while process.poll() is None and not is_time():
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL, "it ended before it was killed"


def _has_steps(output: Path, steps: int) -> bool:
    return (output / "checkpoint.pt").exists() and len(read_checkpoint(output)["losses"]) >= steps


@pytest.mark.usefixtures("no_export")
def test_compact_ends_as_weights_that_can_be_trained_on(room: Path, tmp_path: Path) -> None:
    done = tmp_path / "done"
    path = write_recipe(tmp_path, network("compact"), root=room)
    train_recipe(path, done)
    assert (done / "recipe.toml").read_text() == path.read_text()
    names = {"checkpoint.pt", "logs", "recipe.toml", "weights.safetensors"}
    assert {each.name for each in done.iterdir()} == names
    weights = f'{network("compact")}weights = "{done / "weights.safetensors"}"\n'
    further = load_recipe(write_recipe(tmp_path / "further", weights, root=room))
    state, kept = load_trainable(further).network.state_dict(), read_checkpoint(done)["average"]
    assert all(torch.equal(state[name], value) for name, value in kept.items())


@pytest.mark.usefixtures("no_export")
def test_training_goes_on_from_the_built_in_network(room: Path, tmp_path: Path) -> None:
    """A rate of nearly nothing leaves the shipped weights; what is saved can itself be trained on."""
    words = '[network]\nweights = "compact"\n'
    shipped = load_trainable(load_recipe(write_recipe(tmp_path, words, root=room)))
    before = {name: value.clone() for name, value in shipped.network.state_dict().items()}
    assert {id(each) for each in shipped.pretrained} == {id(each) for each in shipped.network.parameters()}
    train_recipe(write_recipe(tmp_path / "a", words, root=room, learning_rate=1e-9), tmp_path / "done")
    words = f'[network]\nweights = "{tmp_path / "done/weights.safetensors"}"\n'
    after = load_trainable(load_recipe(write_recipe(tmp_path / "b", words, root=room))).network.state_dict()
    assert after.keys() == before.keys()
    assert after.pop("lift.lowest") != before.pop(
        "lift.lowest"
    )  # the lowest seen is no weight, and has no rate
    assert all(torch.allclose(after[name], value, rtol=0, atol=1e-6) for name, value in before.items())


@pytest.mark.parametrize(
    ("family", "kind"),
    [("depth-anything-metric", None), ("dpt", "disparity"), ("zoedepth", None), ("dpt-hybrid", "metric")],
)
def test_any_depth_network_of_transformers_is_trained_and_saved_as_one(
    family: str, kind: str | None, room: Path, tmp_path: Path, checkpoints: Callable[[str], Path]
) -> None:
    words = network(f"hf:{checkpoints(family)}") + (f'kind = "{kind}"\n' if kind else "")
    losses = train_recipe(write_recipe(tmp_path, words, root=room, learning_rate=0.01), tmp_path / "done")
    assert len(losses) == 2 and all(map(math.isfinite, losses))
    frame = decode((room / "rgb/0.png").read_bytes(), "0")
    before, after = (
        next(iter(load_estimator(f"hf:{folder}", kind=kind).estimate([frame])))
        for folder in (checkpoints(family), tmp_path / "done/model")
    )
    assert before.kind == after.kind
    assert not np.array_equal(before.values, after.values)


@pytest.mark.usefixtures("no_export")
def test_what_can_be_learnt_is_learnt(tmp_path: Path) -> None:
    """Depth that is brightness."""
    depth_m = (np.linspace(1, 5, 48)[:, None] + np.linspace(0, 1, 64)).astype(np.float32)
    image = (depth_m * 40).astype(np.uint8)[..., None].repeat(3, -1)
    make_rgbd(tmp_path / "room", Scene(image, depth_m), 5)
    path = write_recipe(tmp_path, network("compact"), root=tmp_path / "room", steps=16, learning_rate=3e-3)
    losses = train_recipe(path, tmp_path / "done")
    assert np.mean(losses[-4:]) < 0.6 * losses[0]


def test_every_kind_of_label_has_its_loss() -> None:
    values, depth_m = torch.rand(1, 8, 8) + 1, torch.rand(1, 1, 8, 8) + 1
    batch = {"labels": depth_m, "valid": torch.ones(1, 1, 8, 8, dtype=torch.bool), "kind": ["metric"]}
    disparity = Objective("disparity", LossWeights())
    exact = disparity.measure(2 / depth_m[:, 0] + 3, batch)
    assert exact == pytest.approx(0, abs=5e-3) and disparity.measure(values, batch) > 0.1
    for factor in (1e-4, 1.0, 5e4):  # whatever the unit of depth up to a factor
        scaled = {**batch, "labels": factor * depth_m, "kind": ["scale_invariant"]}
        assert disparity.measure(2 / depth_m[:, 0] + 3, scaled) == pytest.approx(0, abs=5e-3)
        assert disparity.measure(values, scaled) > 0.1
    nothing = {**scaled, "valid": torch.zeros_like(batch["valid"])}
    assert disparity.measure(values, nothing).isfinite()
    shifted = {**batch, "labels": depth_m - 0.9, "kind": ["disparity"]}
    assert disparity.measure(depth_m[:, 0], shifted) == pytest.approx(0, abs=5e-3)
    metric = Objective("metric", LossWeights())
    assert metric.measure(depth_m[:, 0], batch) == pytest.approx(0, abs=1e-3)
    assert metric.measure(2 * depth_m[:, 0], batch) > 0.2, "a wrong unit is an error of metres"


# --- measured as it goes


def test_it_is_measured_shown_and_logged(room: Path, tmp_path: Path, tiny: str) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    validation = f'[validation]\ntruth = ["{room}"]\nevery = 2\nimages = 3\n'
    train_recipe(write_recipe(tmp_path, network(tiny), validation, root=room, steps=4), tmp_path / "done")
    sheets = sorted((tmp_path / "done/validation").iterdir())
    assert [each.name for each in sheets] == ["step_000002.jpg", "step_000004.jpg"]
    with Image.open(sheets[0]) as sheet:
        assert sheet.width > sheet.height
    events = EventAccumulator(str(tmp_path / "done/logs"))
    events.Reload()
    tags = events.Tags()
    assert [event.step for event in events.Scalars("loss")] == [1, 2, 3, 4]
    for shown in ("model", "median depth", "depth linear in row", "disparity linear in row"):
        assert [event.step for event in events.Scalars(f"room/abs_rel/{shown}")] == [2, 4]
    assert tags["images"] == ["validation"]


def test_intervals_are_those_of_the_evaluation(
    tmp_path: Path, tiny: str, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    """Baselines do not look at the image: what is logged of them is, to the digit, what evaluate says."""
    from cortexia_video.cli import main
    from cortexia_video.scenes.folder import ScenePlan, write_scenes

    truth = tmp_path / "truth"
    write_scenes(truth, 6, ScenePlan(height=32, width=48), workers=1)
    path = write_recipe(tmp_path, network(tiny), f'[validation]\ntruth = ["{truth}"]\n', root=truth, steps=1)
    with caplog.at_level("INFO", "cortexia_video"):
        train_recipe(path, tmp_path / "done")
    with pytest.raises(SystemExit, match="0"):
        main(["evaluate", f"hf:{tmp_path / 'done/model'}", "--truth", str(truth), "--device", "cpu"])
    said = [
        line for line in capsys.readouterr().out.splitlines() if re.match(r"(median|depth|disp).*\[", line)
    ]
    assert len(said) == 3
    measured = [re.sub(" +", " ", record.getMessage()) for record in caplog.records]
    assert all(re.sub(" +", " ", line) in measured for line in said)


def test_a_training_is_the_same_with_and_without_being_measured(
    room: Path, tmp_path: Path, tiny: str
) -> None:
    plain = train_recipe(write_recipe(tmp_path / "a", network(tiny), root=room, steps=3), tmp_path / "plain")
    validation = f'[validation]\ntruth = ["{room}"]\nevery = 1\n'
    path = write_recipe(
        tmp_path / "b", network(tiny), validation, root=room, steps=3, checkpoint_steps=1, workers=1
    )
    assert train_recipe(path, tmp_path / "measured") == plain


@pytest.mark.usefixtures("no_export")
def test_two_processes_train_together(room: Path, tmp_path: Path) -> None:
    """With `compact`: what networks of transformers import takes either process longer than this."""
    path = write_recipe(tmp_path, network("compact"), root=room, steps=3, checkpoint_steps=1, bfloat16=False)
    script = tmp_path / "train.py"
    script.write_text(
        "import sys\nfrom cortexia_video.cli import main\nfrom cortexia_video.training import export\n"
        "export.save_compact = lambda state, path, recipe: str(path)\nmain(sys.argv[1:])\n"
    )
    command = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--nproc-per-node",
        "2",
        "--master-port",
        "29517",
    ]
    command += [str(script), "train", str(path), "--output", str(tmp_path / "two")]
    ran = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, timeout=HANG_S)
    assert ran.returncode == 0, ran.stderr
    state = read_checkpoint(tmp_path / "two")
    assert (len(state["losses"]), state["processes"], state["position"]["batch"]) == (3, 2, 6)
    larger = write_recipe(tmp_path / "one", network("compact"), root=room, bfloat16=False)
    with pytest.raises(InputError, match=r"processes = 2, now it is 1"):
        train_recipe(larger, tmp_path / "two")


# --- a teacher


def test_a_teacher_labels_images_once(
    tmp_path: Path, tiny: str, checkpoints: Callable[[str], Path], make_image: Callable[..., Path]
) -> None:
    for index in range(3):
        make_image(tmp_path / "photos" / f"{index}.jpg", seed=index)
    images = f'[[data]]\ndataset = "images"\nroot = "{tmp_path / "photos"}"\n'
    path = write_recipe(tmp_path, network(tiny), images)
    with pytest.raises(InputError, match="name a teacher"):
        train_recipe(path, tmp_path / "done")
    teacher = f"hf:{checkpoints('depth-anything-metric')}"
    losses = train_recipe(path, tmp_path / "done", teacher=teacher)
    labels = sorted((tmp_path / "done/labels/0").glob("*.npy"))
    assert len(losses) == 2 and len(labels) == 3
    written = [each.stat().st_mtime_ns for each in labels]
    assert train_recipe(path, tmp_path / "done", teacher=teacher) == losses
    assert [each.stat().st_mtime_ns for each in labels] == written


def test_labels_among_the_images_that_they_are_of_are_refused(
    tmp_path: Path, tiny: str, make_image: Callable[..., Path]
) -> None:
    """The sheets of a training would be among the images that its second run labels."""
    make_image(tmp_path / "photos/a.png", (48, 64))
    (tmp_path / "link").symlink_to(tmp_path / "photos")
    images = f'[[data]]\ndataset = "images"\nroot = "{tmp_path / "photos"}"\n'
    path = write_recipe(tmp_path, network(tiny), images)
    with pytest.raises(InputError, match="labels/0 is inside .*photos.*`output` outside"):
        train_recipe(path, tmp_path / "link/run", teacher="compact")
    assert [each.name for each in (tmp_path / "photos").iterdir()] == ["a.png"]


@pytest.mark.usefixtures("no_export")
def test_the_distillation_of_the_documents_brings_compact_nearer_to_its_teacher(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whose place a formula takes; fewer and smaller steps."""
    documented = (ROOT / "docs/training.md").read_text()
    (words,) = [
        each for each in re.findall(r"```toml\n(.*?)```", documented, re.DOTALL) if "distilled" in each
    ]
    replaced = {
        "steps = 3000": "steps = 12\nworkers = 0\nbatch_size = 2\nlearning_rate = 0.01\nwarm_up_steps = 2",
        "[192, 192, 224]": "[64]",
        "depth-anything-v2-small": "synthetic",
        "count = 2000, height = 288, width = 384": "count = 2, height = 64, width = 96, workers = 1",
    }
    for old, new in replaced.items():
        assert words.count(old) == 1
        words = words.replace(old, new)
    (tmp_path / "distil.toml").write_text(words)
    photos = tmp_path / "photos"
    photos.mkdir()
    for path in sorted((ROOT / "examples").glob("*.jpg")):
        Image.open(path).reduce(4).save(photos / path.name)
    monkeypatch.setattr("cortexia_video.training.scene_pool.SHARD_SIZE", 2)
    monkeypatch.chdir(tmp_path)
    train_recipe(Path("distil.toml"), "runs/distilled")
    images, teacher = sorted(photos.iterdir()), load_estimator("synthetic", size="native")
    assert len(list(Path("runs/distilled/labels/0").glob("*.npy"))) == len(images)
    recipe = load_recipe(Path("distil.toml"))
    weights = f'network = {{ weights = "{tmp_path / "runs/distilled/weights.safetensors"}" }}'
    Path("further.toml").write_text(re.sub("network = .*", weights, words))
    agreement = []
    for each in (recipe, load_recipe(Path("further.toml"))):
        student = load_trainable(each).network.eval()
        found = []
        for path in images:
            pixels = torch.from_numpy(np.array(Image.open(path).resize((96, 64)), np.float32) / 255)
            with torch.no_grad():
                given = student(pixels.permute(2, 0, 1)[None])[0]
            wanted = teacher(np.array(Image.open(path).resize((96, 64)))).values
            found.append(np.corrcoef(given.numpy().ravel(), wanted.ravel())[0, 1])
        agreement.append(np.mean(found))
    assert agreement[1] > agreement[0] + 0.05


def test_a_teacher_that_may_bind_what_it_teaches_is_refused(
    tmp_path: Path, tiny: str, checkpoints: Callable[[str], Path], make_image: Callable[..., Path]
) -> None:
    from torch_checkpoints import save_checkpoint

    make_image(tmp_path / "photos/a.jpg")
    bound = save_checkpoint("depth-anything", tmp_path / "bound")
    (bound / "README.md").write_text("---\nlicense: cc-by-nc-4.0\n---\n")
    images = f'[[data]]\ndataset = "images"\nroot = "{tmp_path / "photos"}"\n'
    path = write_recipe(tmp_path, network(tiny), images)
    with pytest.raises(ModelLoadError, match="cc-by-nc-4.0.*`any_licence=True`"):
        train_recipe(path, tmp_path / "done", teacher=f"hf:{bound}")
    assert len(train_recipe(path, tmp_path / "done", teacher=f"hf:{bound}", any_licence=True)) == 2


# --- what is wrong is said, and nothing is lost


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("steps = 2", "does not say its name"),
        ('name = "a"\nsteps = "2"', "steps is '2', which is no int"),
        (
            'name = "a"\nsteps = 0\n[[data]]\ndataset = "rgbd"\nroot = "x"',
            "steps is 0: it must be at least 1",
        ),
        ('name = "a"\nsteps = 2', "nothing to train on"),
        ('name = "a"\nsteps = 2\nspeed = 3', "says 'speed': known are name, steps"),
        ('name = "a"\nsteps = 2\n[[data]]\nroot = "x"', r"data\[0\] does not say its dataset"),
        ('name = "a"\nsteps = 2\n[loss]\nvalue = true', "loss.value is True, which is no float"),
        ("name = ", "Invalid value"),
    ],
)
def test_a_recipe_that_is_none_is_refused(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "recipe.toml").write_text(text)
    with pytest.raises(InputError, match=message):
        load_recipe(tmp_path / "recipe.toml")


def test_the_recipe_of_compact_is_one() -> None:
    from importlib.resources import as_file, files

    with as_file(files("cortexia_video.training") / "compact.toml") as path:
        recipe = load_recipe(path)
    assert isinstance(recipe, Recipe) and recipe.name == "compact"


def test_the_recipe_in_the_documents_is_one(tmp_path: Path) -> None:
    tuning, words = (
        each.split("```")[0] for each in (ROOT / "docs/training.md").read_text().split("```toml\n")[1:3]
    )
    (tmp_path / "tuning.toml").write_text(tuning)
    assert [plan.dataset for plan in load_recipe(tmp_path / "tuning.toml").data] == ["tum"]
    (tmp_path / "recipe.toml").write_text(words)
    assert [plan.dataset for plan in load_recipe(tmp_path / "recipe.toml").data] == ["scenes", "tum"]


def test_metres_that_are_millimetres_are_named(tmp_path: Path, tiny: str) -> None:
    """Where nobody says a scale; a set.json that says one is believed."""
    root = tmp_path / "wrong"
    make_rgbd(root, make_scene(), 2)
    for path in (root / "depth").iterdir():
        with Image.open(path) as depth:
            np.save(path.with_suffix(".npy"), np.asarray(depth, np.float32))
        path.unlink()
    recipe = write_recipe(tmp_path, network(tiny), root=root)
    options = 'dataset = "pairs"\noptions = { images = "rgb/*.png", depths = "depth/*.npy", kind = "metric" }'
    recipe.write_text(recipe.read_text().replace('dataset = "rgbd"', options))
    with pytest.raises(InputError, match="these may be millimetres"):
        train_recipe(recipe, tmp_path / "done")


def test_what_is_damaged_or_says_nothing_is_left_out_and_named(
    room: Path, tmp_path: Path, tiny: str, caplog: pytest.LogCaptureFixture
) -> None:
    (room / "rgb/3.png").write_bytes(b"no image")
    (room / "depth/1.png").write_bytes((room / "depth/1.png").read_bytes()[:60])
    (room / "depth/4.png").unlink()
    with Image.open(room / "depth/0.png") as depth:
        Image.fromarray(np.zeros((depth.height, depth.width), np.uint16)).save(room / "depth/0.png")
    path = write_recipe(tmp_path, network(tiny), root=room, steps=5)
    assert len(train_recipe(path, tmp_path / "done")) == 5
    for named in ("rgb/3.png", "depth/1.png", "depth/4.png", "no pixel of its depth"):
        assert re.search(f"left out of its batch: .*{named}", caplog.text)


@pytest.mark.parametrize("workers", [0, 1])
def test_a_set_of_which_nothing_can_be_read_ends_the_training(
    workers: int, room: Path, tmp_path: Path, tiny: str
) -> None:
    for path in (room / "rgb").iterdir():
        path.write_bytes(b"no image")
    path = write_recipe(tmp_path, network(tiny), root=room, workers=workers)
    with pytest.raises(InputError) as raised:
        train_recipe(path, tmp_path / "done")
    said = str(raised.value)
    assert said.startswith("of 100 batches in a row no sample can be used") and "\n" not in said


def test_a_network_of_metres_needs_metres(
    tmp_path: Path, checkpoints: Callable[[str], Path], make_image: Callable[..., Path]
) -> None:
    make_image(tmp_path / "photos/a.jpg")
    images = f'[[data]]\ndataset = "images"\nroot = "{tmp_path / "photos"}"\n'
    path = write_recipe(tmp_path, network(f"hf:{checkpoints('depth-anything-metric')}"), images)
    with pytest.raises(InputError, match="has disparity depth.*needs metric"):
        train_recipe(path, tmp_path / "done", teacher="compact")


def test_a_loss_that_is_no_number_stops_and_keeps_the_last_checkpoint(
    room: Path, tmp_path: Path, tiny: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_recipe(tmp_path, network(tiny), root=room, steps=6, checkpoint_steps=2)
    measure = Objective.measure

    def spoil(self: Objective, values: torch.Tensor, batch: dict[str, Any]) -> torch.Tensor:
        return measure(self, values, batch) * (math.nan if int(batch["batch"]) == 3 else 1)

    monkeypatch.setattr(Objective, "measure", spoil)
    with pytest.raises(TrainingError, match=r"loss of step 3 is nan: batch 3 \(.*\); the checkpoint"):
        train_recipe(path, tmp_path / "done")
    kept = read_checkpoint(tmp_path / "done")
    assert len(kept["losses"]) == 2
    assert all(value.isfinite().all() for value in kept["network"].values())
    monkeypatch.setattr(Objective, "measure", measure)
    make_rgbd(room, make_scene(), 9)
    with pytest.raises(InputError, match="datasets, weights"):
        train_recipe(path, tmp_path / "done")
    make_rgbd(room, make_scene(), 5)
    slower = write_recipe(tmp_path, network(tiny), root=room, steps=6, checkpoint_steps=2, learning_rate=1e-4)
    assert len(train_recipe(slower, tmp_path / "done")) == 6, "the way on that the error names"


def test_a_checkpoint_of_another_recipe_is_refused_and_stays(room: Path, tmp_path: Path, tiny: str) -> None:
    train_recipe(write_recipe(tmp_path, network(tiny), root=room), tmp_path / "done")
    kept = (tmp_path / "done/checkpoint.pt").read_bytes()
    other = write_recipe(tmp_path / "other", network(tiny), root=room, steps=4)
    with pytest.raises(InputError, match="steps = 2, now it is 4"):
        train_recipe(other, tmp_path / "done")
    assert (tmp_path / "done/checkpoint.pt").read_bytes() == kept
    same = write_recipe(tmp_path, network(tiny), root=room)
    checkpoint, state = tmp_path / "done/checkpoint.pt", read_checkpoint(tmp_path / "done")
    for damaged in (kept[:1000], b"", b"some text\n", {}, [1, 2], state["network"], {**state, "network": {}}):
        if isinstance(damaged, bytes):
            checkpoint.write_bytes(damaged)
        else:
            torch.save(damaged, checkpoint)
        with pytest.raises(InputError, match="is no checkpoint of this training .*: remove it") as raised:
            train_recipe(same, tmp_path / "done")
        assert "\n" not in str(raised.value)
    torch.save({**state, "kind": "metric"}, checkpoint)
    with pytest.raises(InputError, match="kind of depth = 'metric', now it is 'disparity'"):
        train_recipe(same, tmp_path / "done")


def test_a_second_training_into_a_folder_waits_its_turn(room: Path, tmp_path: Path, tiny: str) -> None:
    path = write_recipe(tmp_path, network(tiny), root=room)
    other = write_recipe(tmp_path / "other", network(tiny), root=room, steps=4)
    with claim(path, tmp_path / "done"):
        with pytest.raises(OutputError, match="another process trains into .*done: wait for it, or choose"):
            train_recipe(path, tmp_path / "done")
        with pytest.raises(OutputExistsError, match=r"holds recipe\.toml, which is no part of this training"):
            train_recipe(other, tmp_path / "done")
        assert (tmp_path / "done/recipe.toml").read_text() == path.read_text()
    assert len(train_recipe(path, tmp_path / "done")) == 2


def test_a_recipe_of_somebody_else_stays(room: Path, tmp_path: Path, tiny: str) -> None:
    path, done = write_recipe(tmp_path, network(tiny), root=room), tmp_path / "done"
    notes, record = tmp_path / "notes.toml", tmp_path / "done/recipe.toml"
    notes.write_text('# my notes\nname = "x"\n')
    done.mkdir()
    for theirs in ("copy", "link"):
        record.write_bytes(notes.read_bytes()) if theirs == "copy" else record.symlink_to(notes)
        with pytest.raises(
            OutputExistsError, match=r"recipe\.toml(, which is no part of this training| is a link)"
        ):
            train_recipe(path, done)
        assert record.read_text() == notes.read_text() == '# my notes\nname = "x"\n'
        assert os.listdir(done) == ["recipe.toml"]
        record.unlink()
    record.write_bytes(path.read_bytes()[:20])  # what a kill left of ours
    train_recipe(path, done)
    assert record.read_bytes() == path.read_bytes()


@pytest.mark.parametrize("name", ["logs", "model", "checkpoint.pt"])
def test_nothing_is_trained_through_a_link(name: str, room: Path, tmp_path: Path, tiny: str) -> None:
    path, done, victim = (
        write_recipe(tmp_path, network(tiny), root=room),
        tmp_path / "done",
        tmp_path / "victim",
    )
    train_recipe(path, done)
    (done / name).rename(victim)
    (done / name).symlink_to(victim)
    if name == "logs":
        (done / "checkpoint.pt").unlink()
    kept = victim.read_bytes() if victim.is_file() else {*victim.iterdir()}
    with pytest.raises(OutputExistsError, match=f"{name} is a link: remove it"):
        train_recipe(path, done)
    assert kept == (victim.read_bytes() if victim.is_file() else {*victim.iterdir()})


def test_a_ground_truth_that_cannot_be_read_costs_its_measurement_only(
    room: Path, tmp_path: Path, tiny: str, caplog: pytest.LogCaptureFixture
) -> None:
    truth = tmp_path / "truth"
    make_rgbd(truth, make_scene(), 2)
    for path in (truth / "rgb").iterdir():
        path.write_bytes(b"no image")
    validation = f'[validation]\ntruth = ["{truth}"]\nevery = 1\n'
    path = write_recipe(tmp_path, network(tiny), validation, root=room)
    assert len(train_recipe(path, tmp_path / "done")) == 2
    assert re.search("step 1 is not measured: ", caplog.text) and (tmp_path / "done/model").is_dir()


def test_a_full_disk_while_scenes_are_rendered_leaves_no_part(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scene_pool, "SHARD_SIZE", 2)
    plan = PoolPlan(2, 32, 32)

    def fill(file: Any, array: np.ndarray) -> None:
        file.write(b"half")
        raise OSError("100 requested and 39 written")  # numpy's words

    monkeypatch.setattr(np, "save", fill)
    with pytest.raises(OutputLostError, match="100 requested and 39 written; what is done is kept") as raised:
        make_pool(tmp_path / "pool", plan, 1)
    travelled = pickle.loads(pickle.dumps(raised.value))  # as from a process that renders
    assert isinstance(travelled, OutputLostError) and str(travelled) == str(raised.value)
    assert [each.name for each in (tmp_path / "pool").iterdir()] == ["pool.json"]
    (tmp_path / "pool/seed_000000.npy").touch()  # what a power cut can leave
    with pytest.raises(InputError, match="seed_000000.npy: .*; remove it to render it again"):
        make_pool(tmp_path / "pool", plan, 1)[0]


def test_a_full_disk_loses_nothing(
    room: Path, tmp_path: Path, tiny: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_recipe(tmp_path, network(tiny), root=room, steps=4, checkpoint_steps=1)
    write, calls = torch.save, []

    def fill(state: dict[str, Any], target: IO[bytes]) -> None:
        calls.append(target)
        if len(calls) > 3:
            target.write(b"half")
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        write(state, target)

    monkeypatch.setattr(torch, "save", fill)
    with pytest.raises(OutputLostError, match="No space left on device; what is done is kept"):
        train_recipe(path, tmp_path / "done")
    assert len(read_checkpoint(tmp_path / "done")["losses"]) == 2
    assert not list((tmp_path / "done").glob("*.partial"))
    monkeypatch.setattr(torch, "save", write)
    assert len(train_recipe(path, tmp_path / "done")) == 4


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ('[[data]]\ndataset = "tum"\nroot = "gone"\n', "gone"),
        ('[[data]]\ndataset = "tumm"\nroot = "gone"\n', "unknown dataset 'tumm'"),
        ('[[data]]\ndataset = "images"\nroot = "gone"\n', "name a teacher"),
        ('[[data]]\ndataset = "scenes"\nroot = "b"\noptions = { count = "8" }\n', "count is '8'"),
        ('[[data]]\ndataset = "scenes"\nroot = "b"\noptions = { count = 8, kinds = ["rooom"] }\n', "rooom"),
        (
            '[[data]]\ndataset = "scenes"\nroot = "b"\noptions = { count = 8, kinds = "room" }\n',
            "give a list",
        ),
        ('[[data]]\ndataset = "scenes"\nroot = "b"\nweight = 0\noptions = { count = 8 }\n', "above 0"),
        ('[[data]]\ndataset = "scenes"\nroot = "recipe.toml/b"\noptions = { count = 8 }\n', "is no folder"),
        ('[validation]\ntruth = ["gone"]\n', "gone"),
        ('[validation]\nprotocol = "gone"\n', "unknown protocol 'gone'"),
        ("[validation]\nevery = 0\n", "every is 0"),
        ('[network]\nencoder = "gone.pth"\n', "gone.pth"),
    ],
)
def test_what_is_wrong_is_found_before_anything_is_rendered(
    words: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("cortexia_video.training.data.make_pool", lambda *_: pytest.fail("it renders"))
    scenes = '[[data]]\ndataset = "scenes"\nroot = "runs/pool"\noptions = { count = 4 }\n'
    path = write_recipe(tmp_path, scenes, words)
    with pytest.raises(CortexiaError, match=message):
        train_recipe(path, tmp_path / "runs/done")
    assert [each.name for each in tmp_path.iterdir()] == ["recipe.toml"]


def test_a_folder_with_other_things_is_left_alone(room: Path, tmp_path: Path, tiny: str) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos/holiday.jpg").write_bytes(b"mine")
    path = write_recipe(tmp_path, network(tiny), root=room)
    with pytest.raises(OutputExistsError, match=r"holds holiday\.jpg"):
        train_recipe(path, tmp_path / "photos")
    assert [each.name for each in (tmp_path / "photos").iterdir()] == ["holiday.jpg"]


def test_a_short_run_says_its_loss_and_where_the_weights_are(
    room: Path, tmp_path: Path, tiny: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("INFO", "cortexia_video"):
        losses = train_recipe(write_recipe(tmp_path, network(tiny), root=room), tmp_path / "done")
    assert f"step 2 loss {losses[-1]:.4f}: wrote hf:{tmp_path / 'done/model'}" in caplog.text


def test_a_folder_that_cannot_be_written_is_said_first(room: Path, tmp_path: Path, tiny: str) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot write into"):
        train_recipe(write_recipe(tmp_path, network(tiny), root=room), tmp_path / "file/done")


@pytest.mark.parametrize(
    ("words", "error", "message"),
    [
        ('architecture = "resnet"', ModelLoadError, "unknown architecture 'resnet'"),
        ('weights = "none.safetensors"', ModelLoadError, "none.safetensors is not a file of torch weights"),
        ('architecture = "hf:/nowhere"', ModelLoadError, "/nowhere"),
    ],
)
def test_a_network_that_is_not_there_is_named(
    words: str, error: type[Exception], message: str, room: Path, tmp_path: Path
) -> None:
    with pytest.raises(error, match=message):
        train_recipe(write_recipe(tmp_path, f"[network]\n{words}\n", root=room), tmp_path / "done")


def test_depth_pro_is_refused_with_the_reason(
    room: Path, tmp_path: Path, checkpoints: Callable[[str], Path]
) -> None:
    path = write_recipe(tmp_path, network(f"hf:{checkpoints('depth-pro')}"), root=room)
    with pytest.raises(ModelLoadError, match="only with a camera"):
        train_recipe(path, tmp_path / "done")


def test_learning_rate_warms_up_and_fades() -> None:
    recipe = Recipe("a", 1000, warm_up_steps=10)
    rates = [loop.rate_at(recipe, step) for step in range(1000)]
    assert rates[0] < 0.2 * rates[9]
    assert max(rates) == pytest.approx(1, abs=0.01)
    assert rates[-1] < 0.01
