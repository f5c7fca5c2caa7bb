"""Models side by side: agreement is what numpy says, runs go on, what cannot be compared is named."""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from browser import CHROMIUM, Browser
from PIL import Image

from cortexia_video import DepthEstimator, DepthMap, SyntheticModel, estimate, read_ledger
from cortexia_video.cli import main
from cortexia_video.errors import InputError, OutputExistsError
from cortexia_video.evaluation import compare
from cortexia_video.evaluation.comparison import align_maps, find_agreement

Make = Callable[..., Path]


@pytest.fixture
def photos(tmp_path: Path, make_image: Make) -> Path:
    for index in range(4):
        make_image(tmp_path / "photos" / f"{index}.jpg", seed=index)
    return tmp_path / "photos"


class Bent(SyntheticModel):
    """Depth as the synthetic model's, farther by a factor in the right half."""

    def __init__(self, factor: float) -> None:
        super().__init__("bent", kind="metric")
        self.factor = factor

    def infer(self, batch: np.ndarray) -> np.ndarray:
        depth = super().infer(batch)
        depth[..., depth.shape[-1] // 2 :] *= self.factor
        return depth


def run(*arguments: object) -> int:
    with pytest.raises(SystemExit) as ended:
        main(["compare", *map(str, arguments)])
    return int(ended.value.code or 0)


def maps(*pairs: tuple[np.ndarray, str]) -> list[DepthMap]:
    return [DepthMap(values.astype(np.float32), kind) for values, kind in pairs]  # type: ignore[arg-type]


def test_what_differs_by_its_freedom_alone_agrees() -> None:
    depth = np.random.default_rng(0).uniform(1, 9, (30, 40))
    for kinds in (
        [(depth, "metric"), (7 * depth, "scale_invariant"), (3 / depth + 2, "disparity")],
        [(3 / depth + 2, "disparity"), (5 / depth - 1, "disparity")],
        [(5 * depth + 3, "affine_invariant"), (2 * depth - 1, "affine_invariant")],
        [(1 / depth, "disparity"), (2 * depth, "scale_invariant")],
    ):
        assert min(find_agreement(align_maps(maps(*kinds)))) == 1


def test_metres_are_compared_as_they_are_and_unknown_pixels_left_out() -> None:
    depth = np.random.default_rng(0).uniform(1, 9, (30, 40))
    assert find_agreement(align_maps(maps((depth, "metric"), (1.3 * depth, "metric")))) == (0,)
    other = depth * np.where(np.arange(40) < 10, 1.3, 1.1)
    other[:, 30:] = np.nan
    assert find_agreement(align_maps(maps((depth, "metric"), (other, "metric")))) == pytest.approx((2 / 3,))
    three = align_maps(maps((1 / depth, "disparity"), (depth, "metric"), (1.3 * depth, "metric")))
    assert [each.kind for each in three] == ["metric"] * 3
    assert np.allclose(three[0].values, depth, rtol=1e-4)
    assert find_agreement(three) == pytest.approx((1, 0, 0))


def test_models_are_compared_on_images(photos: Path, tmp_path: Path) -> None:
    models = [DepthEstimator(SyntheticModel(kind="metric")), DepthEstimator(Bent(1.5))]
    found = compare(models, images=photos, output=tmp_path / "out")
    assert found.images == 4 and not found.skipped
    assert found.agreement[("synthetic", "bent")] == pytest.approx(0.5, abs=0.02)
    assert [(each.name, each.kind, each.done, each.failed) for each in found.models] == [
        ("synthetic", "metric", 4, 0),
        ("bent", "metric", 4, 0),
    ]
    assert all(each.images_per_second > 0 and each.model_ms > 0 for each in found.models)
    shares = [each.mean for each in found.worst]
    assert shares == sorted(shares) and len(shares) == 4
    html = found.path.read_text()
    assert html.count('class="view"') == 4 and html.count("<img ") == 4 * 4
    # the spread that a pointer reads is 1 left and 1.5 right
    tag = re.findall('<img [^>]*alt="spread"[^>]*>', html)[0]
    said = dict(re.findall(r'data-(\w+)="([^"]*)"', tag))
    codes = np.frombuffer(base64.b64decode(said["codes"]), "<u2").reshape(-1, int(said["columns"]))
    low, high = float(said["low"]), float(said["high"])
    spread = low * (high / low) ** ((codes - 1) / 65534)
    middle = spread.shape[1] // 2
    assert np.allclose(spread[:, : middle - 2], 1) and np.allclose(spread[:, middle + 2 :], 1.5, rtol=1e-3)
    src = re.findall('<img src="data:image/jpeg;base64,([^"]*)" alt="image"', html)[0]
    assert Image.open(io.BytesIO(base64.b64decode(src))).size


def test_folders_of_runs_are_taken_as_they_are_and_a_second_call_goes_on(
    photos: Path, tmp_path: Path
) -> None:
    estimate(photos, tmp_path / "mine", model="synthetic", kind="metric")
    (photos / "broken.jpg").write_bytes(b"\xff\xd8\xff")
    words = (tmp_path / "mine", "synthetic", "--images", photos, "--output", tmp_path / "out")
    assert run(*words) == 0
    before = (tmp_path / "out/synthetic/0.jpg.npy").stat()
    assert run(*words, "--shown", "2") == 0
    after = (tmp_path / "out/synthetic/0.jpg.npy").stat()
    assert (before.st_ino, before.st_mtime_ns) == (after.st_ino, after.st_mtime_ns)
    assert sorted(path.name for path in (tmp_path / "mine").iterdir() if "jpg" not in path.name) == [
        "depth.json",
        "ledger.jsonl",
    ]
    assert (tmp_path / "out/compare.html").read_text().count('class="view"') == 2
    (tmp_path / "mine/1.jpg.npy").write_bytes(b"")
    found = compare([tmp_path / "mine", "synthetic"], images=photos, output=tmp_path / "out")
    assert found.images == 3 and [each.key for each in found.skipped] == ["1.jpg"]
    assert "it is not what was written" in found.path.read_text()
    assert "1 not" in str(found) and "1.jpg" in found.path.read_text()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["synthetic"], "give two or more"),
        (["synthetic", "synthetic", "--images", "{photos}"], "synthetic is given twice"),
        (["synthetic", "compact"], "--images"),
        (
            ["synthetic", "compact", "--images", "{photos}", "--shown", "0"],
            "--shown must be 1 to 1000, got 0",
        ),
        (["synthetic", "nonsense", "--images", "{photos}"], "nonsense"),
    ],
)
def test_wrong_usage_is_one_line(
    arguments: list[str], said: str, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(*(each.format(photos=photos) for each in arguments), "--output", tmp_path / "out") == 2
    err = capsys.readouterr().err
    assert said in err.splitlines()[-1], err
    assert not (tmp_path / "out/compare.html").exists()


def test_nothing_of_others_is_replaced_and_nothing_in_common_is_said(photos: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out/compare.html").write_text("mine")
    with pytest.raises(OutputExistsError, match="is no page of ours"):
        compare(["synthetic", "compact"], images=photos, output=tmp_path / "out")
    assert (tmp_path / "out/compare.html").read_text() == "mine" and len([*(tmp_path / "out").iterdir()]) == 1
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        Image.new("RGB", (64, 48)).save(tmp_path / name / f"{name}.jpg")
        estimate(tmp_path / name, tmp_path / f"run-{name}", model="synthetic")
    with pytest.raises(InputError, match="no image has depth by all of"):
        compare([tmp_path / "run-a", tmp_path / "run-b"], output=tmp_path / "elsewhere")


@pytest.mark.skipif(CHROMIUM is None, reason="needs chromium: apt-get install chromium")
def test_the_page_fits_and_its_models_can_be_chosen(photos: Path, tmp_path: Path) -> None:
    models = [DepthEstimator(SyntheticModel(kind="metric")), DepthEstimator(Bent(1.5))]
    page = compare(models, images=photos, output=tmp_path / "out").path
    with Browser(tmp_path / "profile") as browser:
        browser.open(page)
        for width in (320, 375, 1280):
            browser.look(width=width)
            assert browser.evaluate("document.documentElement.scrollWidth") <= width
        browser.evaluate("document.querySelector('.layer img').click()")
        names = "[...document.querySelector('dialog select').options].map(each => each.text)"
        assert browser.evaluate(names) == ["image", "synthetic", "bent", "spread"]


def test_the_page_may_be_in_the_current_folder(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(photos.parent)  # where a model's own folder is called as the model is
    for _ in range(2):
        assert run("synthetic", "compact", "--images", "photos", "--output", ".") == 0
    assert (photos.parent / "compare.html").is_file() and not (photos.parent / "synthetic").exists()
    (folder,) = photos.parent.glob("synthetic-*")
    begun = [line for line in read_ledger(folder) if "settings" in line]
    assert len(begun) == 2  # the second call goes on with the model's run
