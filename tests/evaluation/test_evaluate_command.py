"""`cortexia evaluate`: the right numbers for folders, runs and models, nothing silently left out, goes on."""

from __future__ import annotations

import base64
import csv
import io
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from browser import CHROMIUM, Browser
from dataset_layouts import MAKERS, make_scene
from PIL import Image

import cortexia_video as cx
from cortexia_video.cli import main
from cortexia_video.evaluation import job as job_module
from cortexia_video.evaluation import predictors as predictors_module
from cortexia_video.evaluation import protocol as protocols
from cortexia_video.evaluation.baselines import BASELINES
from cortexia_video.evaluation.ground_truth import bare, list_depth_files, open_truth, to_ground_truth
from cortexia_video.evaluation.job import measure_predictors
from cortexia_video.evaluation.predictors import InMemoryPredictor, match_names, open_predictor
from cortexia_video.evaluation.protocol import list_protocols, load_protocol
from cortexia_video.evaluation.summary import summarise
from cortexia_video.evaluation.text_table import list_lines
from cortexia_video.ledger import depth_reader

SHARED = Path(__file__).parents[3] / "shared" / "data"
OWN = """
name = "own"
version = 1
about = "metres as they are"
sources = ["this test"]
min_m = 0
max_m = 80
bounds = "(]"
alignment = "none"
clip_min_m = 0.001
clip = "all"
resize = "bilinear"
aggregation = "image"
"""


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(7)


@pytest.fixture
def own(tmp_path):
    path = tmp_path / "own.toml"
    path.write_text(OWN)
    return str(path)


def save(folder, key, values):
    path = folder / f"{key}.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.round(values * 1000).astype(np.uint16)).save(path)


def make_folders(tmp_path, rng, count=5):
    """A ground truth, and two guesses of it, the second twice as wrong; millimetres."""
    maps = {f"trip/{index}": rng.uniform(1, 5, (6, 8)) for index in range(count)}
    noise = {key: rng.normal(0, 0.1, (6, 8)) for key in maps}
    for key, values in maps.items():
        save(tmp_path / "truth", key, values)
        save(tmp_path / "good", key, values * (1 + noise[key]))
        save(tmp_path / "bad", key, values * (1 + 2 * noise[key]))
    return maps


def run(*arguments):
    with pytest.raises(SystemExit) as ended:
        main([str(each) for each in ("evaluate", *arguments)])
    return ended.value.code


def read(folder, key):
    return np.asarray(Image.open(folder / f"{key}.png")) / 1000


def test_two_folders_give_the_numbers_that_numpy_gives(tmp_path, rng, own, capsys):
    maps = make_folders(tmp_path, rng)
    good, bad, truth, out = (tmp_path / name for name in ("good", "bad", "truth", "out"))
    words = ("--from", "nyu", "--truth-from", "nyu", "--protocol", own, "-o", out)
    assert run(good, bad, "--truth", truth, *words) == 0
    results = json.loads((out / "results.json").read_text())
    for folder in (good, bad):
        errors = [np.mean(abs(read(folder, key) / read(truth, key) - 1)) for key in maps]
        total = results["totals"][str(folder)]["abs_rel"]
        assert total["value"] == pytest.approx(np.mean(errors), rel=1e-6)
        assert total["low"] < total["value"] < total["high"]
    assert [*results["totals"]][2:] == ["median depth", "depth linear in row", "disparity linear in row"]
    assert results["protocol"]["digest"] == load_protocol(own).digest
    compared = results["comparisons"][0]
    assert compared["share of draws in which the first is better"]["abs_rel"] == 1
    rows = list(csv.DictReader((out / "images.csv").read_text().splitlines()))
    assert len(rows) == 5 * len(maps)
    assert "own version 1" in capsys.readouterr().out
    page = (out / "page.html").read_text()
    assert page.count("<figure") == 5
    assert "http" not in page.split("<body>")[1]


def test_missing_and_broken_depth_is_counted_and_named(tmp_path, rng, own, capsys):
    make_folders(tmp_path, rng)
    (tmp_path / "good" / "trip" / "1.png").unlink()
    (tmp_path / "good" / "trip" / "2.png").write_bytes(b"\x89PNG\r\n\x1a\nbroken")
    save(tmp_path / "truth", "trip/4", np.zeros((6, 8)))
    words = ("--from", "nyu", "--truth-from", "nyu", "--protocol", own, "-o", tmp_path / "out")
    assert run(tmp_path / "good", "--truth", tmp_path / "truth", *words) == 1
    said = capsys.readouterr().out
    assert "1 image: no depth: trip/1" in said
    assert "96 of 192 pixels are unknown" in said
    assert "trip/4: 0 valid pixels" in said
    results = json.loads((tmp_path / "out" / "results.json").read_text())
    assert set(results["remarks"][str(tmp_path / "good")]) == {"trip/1", "trip/2"}
    assert set(results["without reference"]) == {"trip/4"}
    assert results["totals"][str(tmp_path / "good")]["abs_rel"]["value"] > 0.49


def test_the_same_command_goes_on_and_gives_the_same_bytes(tmp_path, rng, own, monkeypatch):
    make_folders(tmp_path, rng)
    words = ("--from", "nyu", "--truth-from", "nyu", "--protocol", own, "-o", tmp_path / "out")
    assert run(tmp_path / "good", "--truth", tmp_path / "truth", *words) == 0
    first = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    kept = tmp_path / "out" / "scores.jsonl"
    lines = first["scores.jsonl"].splitlines(keepends=True)
    kept.write_bytes(b"".join(lines[:2]) + lines[2][:40])  # stopped while it wrote
    scored = []
    original = job_module.score_image

    def count(*arguments):
        scored.append(arguments[1].key)
        return original(*arguments)

    monkeypatch.setattr(job_module, "score_image", count)
    assert run(tmp_path / "good", "--truth", tmp_path / "truth", *words) == 0
    assert len(scored) == 3
    assert all(
        (tmp_path / "out" / name).read_bytes() == first[name] for name in first if "scores" not in name
    )
    save(tmp_path / "good", "trip/0", np.ones((6, 8)))
    scored.clear()
    assert run(tmp_path / "good", "--truth", tmp_path / "truth", *words) == 0
    assert "trip/0" in scored


def make_set(root, rng, name, kind="real", count=2):
    folder = root / name
    frames = []
    for index in range(count):
        depth = np.round(rng.uniform(1, 5, (48, 64)) * 1000).astype(np.uint16)
        for part in ("rgb", "depth"):
            (folder / part).mkdir(parents=True, exist_ok=True)
        Image.fromarray(depth).save(folder / f"depth/{index}.png")
        Image.fromarray(rng.integers(0, 256, (48, 64, 3), dtype=np.uint8)).save(folder / f"rgb/{index}.png")
        frames.append({"name": str(index), "rgb": f"rgb/{index}.png", "depth": f"depth/{index}.png"})
    about = {"name": name, "kind": kind, "frames": frames, "depth_scale": 1000, "max_depth_m": 10.0}
    (folder / "set.json").write_text(json.dumps({**about, "intrinsics": None, "registered": True}))


def test_a_model_and_its_run_score_alike_and_the_mean_is_over_real_sets(tmp_path, rng):
    make_set(tmp_path / "sets", rng, "one", count=3)
    make_set(tmp_path / "sets", rng, "two", count=1)
    make_set(tmp_path / "sets", rng, "drawn", kind="synthetic")
    with pytest.raises(SystemExit) as ended:
        words = ["--recursive", "--model", "synthetic", "-o", str(tmp_path / "run")]
        main(["estimate", str(tmp_path / "sets"), *words])
    assert ended.value.code in (0, 1)  # 16-bit depth is an image to `estimate`, too
    protocol = load_protocol("real-frames")
    truth = open_truth(tmp_path / "sets", protocol)
    predictors = [open_predictor("synthetic"), open_predictor(str(tmp_path / "run"))]
    found = measure_predictors(truth, predictors, protocol)
    assert found.is_complete
    assert found.columns[0].scores == found.columns[1].scores
    totals = summarise(found).totals["synthetic"]["abs_rel"]
    means = [
        np.mean([score.metrics["abs_rel"] for score in found.columns[0].scores[name]])
        for name in ("one", "two")
    ]
    assert totals.value == pytest.approx(np.mean(means))


def test_the_same_seed_gives_the_same_intervals_and_pixels_can_be_pooled(tmp_path, rng, own):
    maps = make_folders(tmp_path, rng)
    save(tmp_path / "truth", "trip/0", rng.uniform(1, 5, (60, 80)))
    save(tmp_path / "good", "trip/0", rng.uniform(1, 5, (60, 80)))
    Path(own).write_text(OWN.replace('"image"', '"pixel"'))
    protocol = load_protocol(own)
    truth = open_truth(tmp_path / "truth", protocol, convention="nyu")
    found = measure_predictors(truth, [open_predictor(str(tmp_path / "good"), convention="nyu")], protocol)
    summary = summarise(found, seed=3, resamples=50)
    assert str(summary) == str(summarise(found, seed=3, resamples=50))
    assert str(summary) != str(summarise(found, seed=4, resamples=50))
    pairs = [(read(tmp_path / "good", key), read(tmp_path / "truth", key)) for key in maps]
    logs = np.concatenate([np.log(depth / reference).ravel() for depth, reference in pairs])
    total = summary.totals[str(tmp_path / "good")]["silog"]
    assert total.value == pytest.approx(100 * np.std(logs), rel=1e-6)
    assert total.low <= total.value <= total.high


def test_wrong_use_is_explained(tmp_path, rng, own, capsys):
    make_folders(tmp_path, rng, count=1)
    truth = ("--truth", tmp_path / "truth", "--truth-from", "nyu")
    for arguments, words in [
        (("compact", *truth, "--protocol", own), "has no images for compact to look at"),
        ((tmp_path / "good", "--protocol", own), "give --truth"),
        ((tmp_path / "good", "--truth", tmp_path / "none", "--protocol", own), "does not exist"),
        (
            (tmp_path / "good", tmp_path / "good", *truth, "--protocol", own, "--from", "nyu"),
            "give each once",
        ),
        ((tmp_path / "good", *truth, "--protocol", "best"), "unknown protocol 'best'"),
        (
            (tmp_path / "good", *truth, "--protocol", own, "--kind", "disparity"),
            "does not allow the alignment",
        ),
    ]:
        assert run(*arguments) == 2
        assert words in " ".join(capsys.readouterr().err.split()), words


def test_other_peoples_files_and_other_reports_are_left_alone(tmp_path, rng, own, capsys):
    make_folders(tmp_path, rng)
    photos, out = tmp_path / "photos", tmp_path / "out"
    photos.mkdir()
    (photos / "results.json").write_text("[1]")
    (photos / "page.html").write_text("mine")
    shutil.copytree(tmp_path / "truth", tmp_path / "copy")
    words = ("--from", "nyu", "--truth-from", "nyu", "--protocol", own)
    good, truth = tmp_path / "good", tmp_path / "truth"
    assert run(good, "--truth", truth, *words, "-o", photos) == 2
    said = capsys.readouterr().err
    assert "photos holds results.json, which is no part of an evaluation: choose a new or empty" in said
    assert said.count("\n") == 1
    assert {path.name for path in photos.iterdir()} == {"results.json", "page.html"}
    assert run(good, "--truth", truth, *words, "-o", out) == 0
    first = (out / "results.json").read_bytes()
    assert run(good, "--truth", tmp_path / "copy", *words, "-o", out) == 2
    assert f"against {truth}, not" in capsys.readouterr().err
    other = tmp_path / "other.toml"
    other.write_text(OWN.replace("max_m = 80", "max_m = 70"))
    assert run(good, "--truth", truth, *words[:4], "--protocol", other, "-o", out) == 2
    assert "by another protocol than own" in capsys.readouterr().err
    assert (out / "results.json").read_bytes() == first
    assert run(good, tmp_path / "bad", "--truth", truth, *words, "-o", out) == 0


def test_a_folder_of_which_nothing_can_be_measured_is_an_error(tmp_path, rng, own, capsys):
    make_folders(tmp_path, rng)
    save(tmp_path / "wrong", "frame", np.ones((6, 8)))
    truth = ("--truth", tmp_path / "truth", "--truth-from", "nyu", "--protocol", own)
    assert run(tmp_path / "wrong", *truth, "--from", "nyu") == 2
    said = capsys.readouterr()
    assert "found frame, the ground truth has trip/0: give the folder" in said.err and not said.out
    assert run(tmp_path / "good", *truth) == 2
    said = capsys.readouterr().err
    assert "trip/0.png for trip/0 of the ground truth: no depth: it holds uint16" in said
    assert "give its convention (--from), one of" in said


def test_errors_name_the_options_that_evaluate_has(tmp_path, rng, own, capsys):
    make_folders(tmp_path, rng, count=1)
    words = ("--truth", tmp_path / "truth", "--protocol", own)
    assert run(tmp_path / "good", *words, "--kind", "metric", "--truth-from", "nyu") == 2
    assert "or cortexia convert --scale, in metres" in capsys.readouterr().err
    assert run(tmp_path / "good", *words, "--from", "nyu") == 2
    said = capsys.readouterr().err
    assert "its convention (--truth-from), one of" in said and "(cortexia convert --kind)" in said
    contradiction = ("--from", "nyu", "--truth-from", "nyu", "--kind", "disparity")
    assert run(tmp_path / "good", *words, *contradiction) == 2
    assert "--from nyu means metric depth, --kind says disparity: leave one out" in capsys.readouterr().err


def test_ground_truth_is_never_a_folder_that_nobody_named(tmp_path, monkeypatch, capsys):
    """The default protocol looked for a folder of its authors; a protocol of one's own may name one."""
    (tmp_path / "shared/data/rgbd").mkdir(parents=True)
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    assert run("compact") == 2
    said = capsys.readouterr().err
    assert "protocol real-frames does not say where the ground truth is: give --truth" in said
    assert all(each.truth is None for each in list_protocols())
    text = (Path(protocols.__file__).parent / "protocols/real-frames.toml").read_text()
    (tmp_path / "mine.toml").write_text(text.replace("version = 2", 'version = 2\ntruth = "../nowhere"'))
    assert run("compact", "--protocol", tmp_path / "mine.toml") == 2
    assert "looks there, from the current folder: give --truth" in capsys.readouterr().err


def test_progress_is_said_of_images_that_were_measured(tmp_path, rng, own, capsys):
    make_folders(tmp_path, rng)
    for index in range(3):
        save(tmp_path / "truth", f"trip/{index}", np.zeros((6, 8)))
    words = ("--from", "nyu", "--truth-from", "nyu", "--protocol", own)
    assert run(tmp_path / "good", "--truth", tmp_path / "truth", *words) == 1
    assert "images measured" not in capsys.readouterr().err


def test_keys_are_the_same_for_images_depth_and_runs(tmp_path):
    assert bare("a/b.jpg.npy") == bare("a/b.png") == bare("a/b") == "a/b"
    assert bare("0000.05.npz") == "0000.05"
    assert bare("trip/a.MOV/000001.npy") == "trip/a/000001"
    for name in ("a.npy", "a.png"):
        (tmp_path / name).write_bytes(b"")
    with pytest.raises(Exception, match="both depth of a"):
        list_depth_files(tmp_path)


def test_compare_passes_the_reference_and_fails_what_is_too_far(tmp_path, capsys):
    pytest.importorskip("openvino")
    from cortexia_video.models.onnx.session_openvino import choose_precision

    pixels = np.random.default_rng(0).integers(0, 256, (64, 96, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    (tmp_path / "broken.jpg").write_bytes(b"\xff\xd8\xff broken")
    assert run(tmp_path, "--compare", "openvino,float32") == 0
    said = capsys.readouterr()
    assert "compact by openvino,float32: mean difference 0.0" in said.out
    assert "left out: broken.jpg" in said.err
    assert run(tmp_path, "--compare", "onnx,sharp") == 2
    if choose_precision("auto", "cpu") != "bfloat16":
        pytest.skip("needs a processor with bfloat16")
    assert run(tmp_path, "--compare", "openvino,bfloat16", "--max-error", "1e-9") == 1
    assert "too far from float32" in capsys.readouterr().out


def test_compare_takes_an_input_size_and_lists_each_image_once(tmp_path, capsys, use_hub_cache):
    pytest.importorskip("transformers")
    for index in range(2):
        pixels = np.random.default_rng(index).integers(0, 256, (64, 96, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{index}.png")
    words = ("--model", "depth-anything-v2-small", "--max-error", "10")
    assert run(tmp_path, "--compare", "torch,float32,140x182", *words) == 0
    said = capsys.readouterr().out
    assert "depth-anything-v2-small by torch,float32,140x182: mean difference" in said
    assert said.count("0.png") + said.count("1.png") == 3  # the worst in the first line, each in the list
    assert (
        run(tmp_path, "--compare", "140x182", "--model", "depth-anything-v2-small", "--max-error", "1e-9")
        == 1
    )
    assert "too far from float32" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("openvno", "must be like 518 or 392x518, got 'openvno'"),
        ("onnx,openvino", "--compare onnx,openvino: two of one sort"),
        ("140x182", "model 'compact' does not take all of these options: input_size"),
        ("torch", "one of onnx, openvino, float32, bfloat16, float16; a size must be like 518 or 392x518"),
        ("256", "input_size; it takes backend, precision"),
        ("onnx,", "must be like 518 or 392x518, got ''"),
    ],
)
def test_a_wrong_comparison_is_one_clear_line(tmp_path, capsys, words, said):
    Image.fromarray(np.zeros((64, 96, 3), np.uint8)).save(tmp_path / "a.png")
    assert run(tmp_path, "--compare", words) == 2
    error = capsys.readouterr().err
    assert said in error and error.count("\n") == 1


def test_every_kind_of_bad_depth_is_named_and_counts(tmp_path, rng, own, capsys):
    maps = {str(index): rng.uniform(1, 5, (6, 8)) for index in range(8)}
    (tmp_path / "depth").mkdir()
    for key, values in maps.items():
        save(tmp_path / "truth", key, values if key != "7" else 0 * values)
        np.save(tmp_path / "depth" / f"{key}.npy", values.astype(np.float32))
    bad = {
        "0": None,
        "1": maps["1"][:, :5],
        "2": np.full((6, 8), np.nan),
        "3": np.where(np.arange(8) < 2, np.nan, maps["3"]),
        "4": 1000 * maps["4"],
        "5": np.where(np.arange(8) < 2, np.inf, maps["5"]),
    }
    for key, values in bad.items():
        path = tmp_path / "depth" / f"{key}.npy"
        path.unlink() if values is None else np.save(path, values.astype(np.float32))
    words = ("--truth-from", "nyu", "--protocol", own, "-o", tmp_path / "out")
    truth = tmp_path / "truth"
    assert run(tmp_path / "depth", "--from", "metres", "--truth", truth, *words) == 1
    said = capsys.readouterr().out
    for line in (
        "1 image: no depth: 0",
        "1 image: depth of 5 x 6 for a reference of 8 x 6: 1",
        "1 image: no finite depth: 2",
        "1 image: depth is 1,000 times the reference: millimetres taken for metres?: 4",
        f"{3 * 48 + 2 * 12} of {7 * 48} pixels are unknown",
        "7: 0 valid pixels",
    ):
        assert line in said, line
    rows = {
        row["key"]: row for row in csv.DictReader((tmp_path / "out" / "images.csv").read_text().splitlines())
    }
    assert {row["key"] for row in rows.values()} == set("0123456")
    assert run(tmp_path / "depth", "--truth", truth, *words) == 2
    said = capsys.readouterr().err
    assert (
        "1.npy for 1 of the ground truth: no depth: it holds float32 and does not say what it means" in said
    )


def test_more_metrics_are_asked_for_by_name(tmp_path, rng, capsys):
    make_set(tmp_path / "sets", rng, "one", count=2)
    words = ("--truth", tmp_path / "sets", "--metrics", "ordinal,normals", "-o", tmp_path / "out")
    assert run("synthetic", *words) == 0
    said = capsys.readouterr().out
    assert "WHDR (-)" in said and "boundary F1 (+)" in said
    assert "synthetic: normals not measured on 2 images: no camera is known" in said
    results = json.loads((tmp_path / "out" / "results.json").read_text())
    assert 0.3 < results["totals"]["synthetic"]["whdr"]["value"] < 0.7  # of noise
    assert results["totals"]["median depth"]["whdr"]["value"] == 1  # it orders nothing
    assert results["totals"]["synthetic"]["normal_error"]["value"] is None
    assert {"metrics": "normals", "reason": "no camera is known", "images": 2} in results["not measured"][
        "synthetic"
    ]
    page = (tmp_path / "out" / "page.html").read_text()
    assert "Where the errors are" in page and "beside edges" in page
    assert run("synthetic", "--truth", tmp_path / "sets", "--metrics", "order") == 2
    assert "unknown metrics 'order': use some of boundary" in capsys.readouterr().err


def test_what_the_mean_is_of_is_said(tmp_path, rng, capsys):
    make_set(tmp_path / "sets", rng, "one", count=4)
    make_set(tmp_path / "sets", rng, "two", count=1)
    make_set(tmp_path / "sets", rng, "drawn", kind="synthetic")
    assert run("synthetic", "--truth", tmp_path / "sets", "-o", tmp_path / "out") == 0
    said = capsys.readouterr().out
    page = (tmp_path / "out" / "page.html").read_text()
    for each in (said, page):
        assert "mean of 2 sets" in each and "means, over 5 images" in each
        assert "drawn (synthetic: not in the mean)" in each
        assert "no intervals: there are fewer than 5 images to draw from" in each  # two's one is always there


def test_few_images_have_no_intervals(tmp_path, rng, own, capsys):
    make_folders(tmp_path, rng, count=4)
    words = ("--from", "nyu", "--truth-from", "nyu", "--protocol", own, "-o", tmp_path / "out")
    assert run(tmp_path / "good", tmp_path / "bad", "--truth", tmp_path / "truth", *words) == 0
    page, said = (tmp_path / "out" / "page.html").read_text(), capsys.readouterr().out
    assert "no intervals: there are fewer than 5 images to draw from" in said
    assert "of draws" not in page + said and "[" not in said
    results = json.loads((tmp_path / "out" / "results.json").read_text())
    total = results["totals"][str(tmp_path / "good")]["abs_rel"]
    assert total["value"] > 0 and total["low"] is None
    assert results["comparisons"][0]["share of draws in which the first is better"]["abs_rel"] is None


def find_images(page):
    """Return the images of a page by what they show: pixels, and what is said of their values."""
    found = {}
    for tag in re.findall("<img [^>]*>", page.read_text()):
        said = dict(re.findall(r'([\w-]+)="([^"]*)"', tag))
        pixels = np.asarray(Image.open(io.BytesIO(base64.b64decode(said["src"].partition(",")[2]))))
        found.setdefault(said["alt"], []).append((pixels, said))
    return found


def test_the_page_has_the_values_of_reference_depth_and_error(tmp_path, rng, own):
    make_folders(tmp_path, rng, count=1)
    words = ("--from", "nyu", "--truth-from", "nyu", "--protocol", own, "-o", tmp_path / "out")
    assert run(tmp_path / "good", "--truth", tmp_path / "truth", *words) == 0
    truth, good = (read(tmp_path / name, "trip/0") for name in ("truth", "good"))
    images = find_images(tmp_path / "out/page.html")
    expected = {
        "reference": (truth, "m"),
        "depth": (good, "m"),
        "error": (good / truth, "times the reference"),
    }
    assert images.keys() == expected.keys()
    for name, (values, unit) in expected.items():
        said = images[name][0][1]
        codes = np.frombuffer(base64.b64decode(said["data-codes"]), "<u2").reshape(6, 8)
        low, high = float(said["data-low"]), float(said["data-high"])
        assert low * (high / low) ** ((codes - 1) / 65534) == pytest.approx(values, rel=1e-4)
        assert said["data-unit"] == unit


def test_the_page_shows_photos_that_the_ledger_of_a_run_knows(tmp_path, rng, own):
    colors = {"trip/0": (200, 30, 30), "trip/1": (30, 200, 30), "trip/2": (30, 30, 200)}
    for key, color in colors.items():
        save(tmp_path / "truth", key, rng.uniform(1, 5, (60, 80)))
        photo = tmp_path / "photos" / f"{key}.jpg"
        photo.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (160, 120), color).save(photo, quality=95)
    cx.estimate(tmp_path / "photos", tmp_path / "run", model="synthetic", kind="metric", recursive=True)
    Image.new("RGB", (160, 120), "white").save(tmp_path / "photos/trip/2.jpg", quality=50)  # is another now
    words = ("--truth-from", "nyu", "--protocol", own, "-o", tmp_path / "out")
    assert run(tmp_path / "run", "--truth", tmp_path / "truth", *words) == 0
    photos = [
        tuple(pixels.mean((0, 1)).round()) for pixels, _ in find_images(tmp_path / "out/page.html")["image"]
    ]
    assert len(photos) == 2
    assert all(
        min(np.abs(np.subtract(photo, colors[key])).max() for photo in photos) < 5
        for key in ("trip/0", "trip/1")
    )
    page = (tmp_path / "out/page.html").read_text()
    assert page.count("the image changed after its depth was made") == 1


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here")
def test_the_tables_of_the_page_fit(tmp_path, rng, own):
    make_folders(tmp_path, rng)
    words = ("--from", "nyu", "--truth-from", "nyu", "--protocol", own, "-o", tmp_path / "out")
    assert run(tmp_path / "good", tmp_path / "bad", "--truth", tmp_path / "truth", *words) == 0
    with Browser(tmp_path / "profile") as browser:
        browser.open(tmp_path / "out" / "page.html")
        for width in (320, 375, 1280):
            for dark in (False, True):
                browser.look(width=width, dark=dark)
                assert browser.evaluate("document.documentElement.scrollWidth") <= width
        script = "[...document.querySelectorAll('.wide')].map(each => each.scrollWidth - each.clientWidth)"
        assert browser.evaluate(script) == [0, 0]


def test_the_compact_model_scores_what_its_page_says(capsys):
    if not (SHARED / "rgbd" / "motorcycle").exists():
        pytest.skip(f"{SHARED} is not here")
    protocol = load_protocol("real-frames")
    truth = open_truth(SHARED / "rgbd" / "motorcycle", protocol)
    totals = summarise(measure_predictors(truth, [open_predictor("compact")], protocol)).totals
    page = (Path(__file__).parents[2] / "docs" / "models" / "compact.md").read_text()
    cells = [f"{each['abs_rel'].value:.3f} / {each['delta1'].value:.3f}" for each in totals.values()]
    assert f"| motorcycle | real | 1 | {' | '.join(cells)} |" in page


def write_depth_files(folder, maps, name, factor=1.0):
    """Write maps under names like `{key}_depth.npy`, below folders like `{key}/depth.npy`."""
    for key, values in maps.items():
        path = folder / name.format(key=key)
        path.parent.mkdir(parents=True, exist_ok=True)
        np.save(path, (values * factor).astype(np.float32))


def read_total(out, name, metric="abs_rel"):
    return json.loads((out / "results.json").read_text())["totals"][str(name)][metric]["value"]


@pytest.mark.parametrize(
    "name",
    [
        "{key}_raw_depth_meter.npy",  # Depth Anything V2, metric_depth/run.py --save-numpy
        "depth_npy/{key}_depth.npy",  # Marigold, script/depth/run.py
        "{key}_depth.npy",  # the same, its folder depth_npy
        "run/of/last/week/{key}.npy",
    ],
)
def test_depth_is_found_by_the_names_that_others_write(tmp_path, rng, own, name):
    maps = {f"trip {n}/{n}": rng.uniform(1, 5, (6, 8)) for n in range(4)}
    write_depth_files(tmp_path / "truth", maps, "{key}.npy")
    write_depth_files(tmp_path / "pred", maps, name, 1.1)
    for key in maps:  # what those programs put beside it, for people
        Image.new("RGB", (8, 6)).save((tmp_path / "pred" / name.format(key=key)).with_name("view.png"))
    words = ("--from", "metres", "--truth-from", "metres", "--protocol", own, "-o", tmp_path / "out")
    assert run(tmp_path / "pred", "--truth", tmp_path / "truth", *words) == 0
    assert read_total(tmp_path / "out", tmp_path / "pred") == pytest.approx(0.1, rel=1e-5)


def test_views_of_depth_anything_are_not_taken_for_its_depth(tmp_path, rng, own):
    maps = {str(n): rng.uniform(1, 5, (6, 8)) for n in range(4)}
    write_depth_files(tmp_path / "truth", maps, "{key}.npy")
    write_depth_files(tmp_path / "pred", maps, "{key}_raw_depth_meter.npy", 1.1)
    for key in maps:
        Image.new("RGB", (8, 6)).save(tmp_path / f"pred/{key}.png")
    words = ("--from", "metres", "--truth-from", "metres", "--protocol", own, "-o", tmp_path / "out")
    assert run(tmp_path / "pred", "--truth", tmp_path / "truth", *words) == 0
    assert read_total(tmp_path / "out", tmp_path / "pred") == pytest.approx(0.1, rel=1e-5)


def test_depth_is_found_where_no_key_is_known_before(tmp_path, rng):
    maps = {str(n): rng.uniform(1, 5, (6, 8)) for n in range(3)}
    write_depth_files(tmp_path / "pred", {"0": maps["0"]}, "{key}.npy")
    write_depth_files(tmp_path / "pred", maps, "{key}_raw_depth_meter.npy", 1.1)
    predictor = open_predictor(str(tmp_path / "pred"), convention="metres")
    predictor.learn_keys([])
    for key, values in maps.items():
        np.testing.assert_allclose(predictor.read(key).values, 1.1 * values, rtol=1e-6)
    assert predictor.read("3") is None


def test_depth_of_moge_is_found_in_its_folders(tmp_path, rng, own):
    pytest.importorskip("OpenEXR")
    import OpenEXR

    maps = {f"a/{n}": rng.uniform(1, 5, (6, 8)).astype(np.float32) for n in range(4)}
    write_depth_files(tmp_path / "truth", maps, "{key}.npy")
    for key, values in maps.items():
        folder = tmp_path / "pred" / key
        folder.mkdir(parents=True)
        shown = np.where(np.arange(8) < 2, np.float32(np.inf), values * np.float32(1.1))  # its mask
        channels = {"Y": OpenEXR.Channel(np.ascontiguousarray(shown))}
        OpenEXR.File({}, channels).write(str(folder / "depth.exr"))
        for view in ("depth_vis.png", "mask.png"):
            Image.new("L", (8, 6)).save(folder / view)
    words = ("--from", "metres", "--truth-from", "metres", "--protocol", own, "-o", tmp_path / "out")
    assert run(tmp_path / "pred", "--truth", tmp_path / "truth", *words) == 0
    assert read_total(tmp_path / "out", tmp_path / "pred", "coverage") == 0.75
    rest = [np.mean(80 / values[:, :2] - 1) for values in maps.values()]  # as far as the clip goes
    expected = 0.75 * 0.1 + 0.25 * np.mean(rest)
    assert read_total(tmp_path / "out", tmp_path / "pred") == pytest.approx(expected, rel=1e-5)


def test_names_of_ones_own_are_given_as_a_pattern(tmp_path, rng, own, capsys):
    maps = {f"{n}": rng.uniform(1, 5, (6, 8)) for n in range(4)}
    write_depth_files(tmp_path / "truth", maps, "{key}.npy")
    write_depth_files(tmp_path / "pred", maps, "best/out-{key}-v2.npy", 1.1)
    write_depth_files(tmp_path / "pred", maps, "worst/out-{key}-v2.npy", 2)
    words = ("--truth", tmp_path / "truth", "--from", "metres", "--truth-from", "metres", "--protocol", own)
    assert run(tmp_path / "pred", *words) == 2
    assert "found best/out-0-v2, the ground truth has 0: give the folder" in capsys.readouterr().err
    assert run(tmp_path / "pred", *words, "--pattern", "b*/out-{key}-v2.npy", "-o", tmp_path / "out") == 0
    assert read_total(tmp_path / "out", tmp_path / "pred") == pytest.approx(0.1, rel=1e-5)
    for pattern, said in [
        ("out.npy", "--pattern 'out.npy' must have one {key}"),
        ("*/out-{key}-v2.npy", "are both depth of 0"),
        ("{key}.exr", "no file in"),
    ]:
        assert run(tmp_path / "pred", *words, "--pattern", pattern) == 2
        assert said in capsys.readouterr().err


def test_names_that_could_be_two_images_are_nobodys():
    keys = ["one/rgb/1", "two/rgb/1", "two/rgb/2", "3"]
    assert match_names({"1", "2", "x/3"}, keys) == {"two/rgb/2": "2", "3": "x/3"}
    assert match_names({"a/3", "b/3", "rgb/1"}, keys) == {}
    assert match_names({"one/rgb/1", "rgb/1"}, ["one/1", "1", "one/rgb/1"]) == {
        "one/1": "one/rgb/1",
        "1": "rgb/1",
        "one/rgb/1": "one/rgb/1",
    }


def test_each_file_is_read_once(tmp_path, rng, own, monkeypatch):
    make_folders(tmp_path, rng, count=20)
    read_names = []
    for module, name in ((predictors_module, "read_named"), (depth_reader, "read_file")):
        original = getattr(module, name)

        def count(path, *rest, original=original, **options):
            read_names.append(str(path))
            return original(path, *rest, **options)

        monkeypatch.setattr(module, name, count)
    words = ("--from", "nyu", "--truth-from", "nyu", "--protocol", own)
    folders = [tmp_path / name for name in ("good", "bad", "truth")]
    for more in ((), ("-o", tmp_path / "out")):
        read_names.clear()
        assert run(*folders[:2], "--truth", folders[2], *words, *more) == 0
        assert sorted(read_names) == sorted(str(path) for folder in folders for path in folder.rglob("*.png"))
    page = (tmp_path / "out/page.html").read_bytes()
    assert page.count(b"<figure") == 12  # made while they were read; now all is kept, and they are read again
    read_names.clear()
    assert run(*folders[:2], "--truth", folders[2], *words, *more) == 0
    assert len(read_names) == 3 * 20 + 2 * 12
    assert (tmp_path / "out/page.html").read_bytes() == page


def test_metres_that_are_15_per_cent_wrong_are_15_per_cent_wrong(tmp_path, rng, capsys):
    maps = {f"{n}": rng.uniform(1, 5, (48, 64)) for n in range(5)}
    write_depth_files(tmp_path / "truth", maps, "{key}.npy")
    write_depth_files(tmp_path / "metres", maps, "{key}.npy", 1.15)
    inverse = {key: 1 / values for key, values in maps.items()}
    write_depth_files(tmp_path / "relative", inverse, "{key}.npy", 3)
    words = ("--truth", tmp_path / "truth", "--truth-from", "metres", "-o", tmp_path / "out")
    assert run(tmp_path / "metres", *words, "--kind", "metric") == 0
    said, page = capsys.readouterr().out, (tmp_path / "out/page.html").read_text()
    name = tmp_path / "metres"
    assert read_total(tmp_path / "out", name) == pytest.approx(0.15, rel=1e-5)
    assert read_total(tmp_path / "out", f"{name} (fitted)") == pytest.approx(0, abs=1e-5)
    assert read_total(tmp_path / "out", name, "rmse") > 0.3
    for metric in ("rmse", "mae", "sq_rel", "irmse"):
        assert read_total(tmp_path / "out", f"{name} (fitted)", metric) is None
    fits = (f"fit of {name}: none", f"fit of {name} (fitted): scale and shift of 1 / depth of each image")
    for text in (*fits, "least squares", "coverage (+)"):
        assert text in said and text in page, text
    before, _, table = said.partition("coverage (+)")
    assert all(each in before for each in fits)  # above the table
    rows = {line.split("  ")[0]: line for line in table.splitlines()}
    assert "0.150 [0.150, 0.150]" in rows[str(name)] and "none" in rows[str(name)]
    assert "scale and shift" in rows[f"{name} (fitted)"]
    lines = (tmp_path / "out/images.csv").read_text().splitlines()
    fit = {row["predictor"]: (row["fit"], row["rmse"] != "") for row in csv.DictReader(lines)}
    assert fit[str(name)] == ("none", True) and fit[f"{name} (fitted)"] == ("disparity", False)
    assert run(tmp_path / "relative", *words, "--kind", "disparity") == 0
    said = capsys.readouterr().out
    assert "fitted AbsRel (-)" in said and "RMSE" not in said and "no error in metres is shown" in said
    assert read_total(tmp_path / "out", tmp_path / "relative", "rmse") is None


def test_a_pixel_below_0_costs_a_pixel(tmp_path, rng, own, capsys):
    maps = {f"{n}": rng.uniform(1, 5, (6, 8)) for n in range(5)}
    write_depth_files(tmp_path / "truth", maps, "{key}.npy")
    write_depth_files(tmp_path / "pred", maps, "{key}.npy", 1.1)
    values = np.load(tmp_path / "pred/3.npy")
    values[2, 3] = -0.0001
    np.save(tmp_path / "pred/3.npy", values)
    words = ("--truth", tmp_path / "truth", "--truth-from", "metres", "--from", "metres", "--protocol", own)
    assert run(tmp_path / "pred", *words, "-o", tmp_path / "out") == 0
    said = "1 of 240 pixels are at or below 0 m, clipped to 0.001 m: 3"
    assert said in capsys.readouterr().out and said in (tmp_path / "out/page.html").read_text()
    wrong = (0.1 * 239 + 1 - 0.001 / maps["3"][2, 3]) / 240
    assert read_total(tmp_path / "out", tmp_path / "pred") == pytest.approx(wrong, rel=1e-5)
    results = json.loads((tmp_path / "out/results.json").read_text())
    assert results["pixels at or below 0 m"] == {str(tmp_path / "pred"): {"3": 1}}


def test_unregistered_depth_is_refused_unless_allowed(tmp_path, rng, capsys):
    make_set(tmp_path / "sets", rng, "one", count=2)
    about = json.loads((tmp_path / "sets/one/set.json").read_text())
    (tmp_path / "sets/one/set.json").write_text(json.dumps({**about, "registered": False}))
    assert run("synthetic", "--truth", tmp_path / "sets") == 2
    said = capsys.readouterr().err
    assert "is not registered to its images" in said and "--allow-unregistered" in said
    assert run("synthetic", "--truth", tmp_path / "sets", "--allow-unregistered") == 0


def test_an_error_about_a_protocol_lists_those_that_fit(tmp_path, rng, capsys):
    make_set(tmp_path / "sets", rng, "one", count=2)
    truth = ("--truth", tmp_path / "sets/one")
    assert run("synthetic", *truth, "--protocol", "nyu-eigen") == 2
    said = capsys.readouterr().err
    assert "is rgbd, protocol nyu-eigen is for nyu-labeled; protocols that fit rgbd: metric depth: " in said
    assert "disparity depth: moge-disparity, real-frames" in said
    assert run("synthetic", *truth, "--protocol", "moge-metric") == 2
    said = capsys.readouterr().err
    assert "disparity depth does not allow the alignment 'none' of protocol moge-metric" in said
    assert "protocols that fit rgbd: disparity depth: moge-disparity, real-frames" in said
    assert "nyu" not in said and "moge-scale" not in said


def test_the_default_protocol_takes_any_ground_truth_and_its_list_is_named_where_it_is_not_shipped(
    tmp_path, capsys
):
    scene = make_scene()
    for name in ("nyu-labeled", "kitti", "tum"):
        MAKERS[name](tmp_path / name, scene, 3)
        assert run("synthetic", "--truth", tmp_path / name, "-o", tmp_path / f"out {name}") == 0
        assert read_total(tmp_path / f"out {name}", "synthetic") > 0
    MAKERS["sunrgbd"](
        tmp_path / "sunrgbd", scene, 3
    )  # with a filled depth of 8.192 m, in the protocol's range
    truth = open_truth(tmp_path / "sunrgbd", load_protocol("depth-pro-sun-rgbd"))
    assert [read().depth.values.max() for _, read in truth.sets[0].list_samples()] == [
        pytest.approx(8.192)
    ] * 2
    assert run("synthetic", "--truth", tmp_path / "kitti", "--protocol", "kitti-eigen") == 2
    assert "the list 'eigen' of kitti, which is not shipped" in capsys.readouterr().err


def make_samples(rng, count):
    frames = [cx.Frame(f"{n}", np.zeros((48, 64, 3), np.uint8)) for n in range(count)]
    depth = [rng.uniform(1, 5, (48, 64)).astype(np.float32) for _ in frames]
    return [
        cx.RGBDSample(*each) for each in zip(frames, (cx.DepthMap(v, "metric") for v in depth), strict=True)
    ]


def test_depth_of_several_kinds_is_all_fitted_and_that_is_said(rng):
    samples = make_samples(rng, 2)
    held = {
        "0": cx.DepthMap(samples[0].depth.values * 2, "metric"),
        "1": cx.DepthMap(1 / samples[1].depth.values, "disparity"),
    }
    found = measure_predictors(
        to_ground_truth(samples), [InMemoryPredictor("both", held)], load_protocol("real-frames")
    )
    assert [column.name for column in found.columns[:2]] == ["both", "median depth"]
    summary = summarise(found)
    assert summary.totals["both"]["abs_rel"].value == pytest.approx(0, abs=1e-5)
    lines = "\n".join(list_lines(found, summary))
    assert (
        "both has depth of several kinds, disparity on 1 image, metric on 1 image: all were fitted" in lines
    )


def test_like_is_compared_with_like(rng):
    samples = make_samples(rng, 6)
    held = [
        InMemoryPredictor(name, {each.key: make(each.depth.values) for each in samples})
        for name, make in (
            ("metres", lambda values: cx.DepthMap(values * np.float32(1.1), "metric")),
            ("relative", lambda values: cx.DepthMap(1 / values, "disparity")),
            ("better", lambda values: cx.DepthMap(values, "metric")),
        )
    ]
    found = measure_predictors(to_ground_truth(samples), held, load_protocol("real-frames"))
    pairs = {(each.first, each.other) for each in summarise(found, resamples=20).comparisons}
    assert pairs == {
        ("metres", "better"),
        ("metres (fitted)", "relative"),
        ("metres (fitted)", "better (fitted)"),
        *(("metres (fitted)", name) for name in BASELINES),
    }
