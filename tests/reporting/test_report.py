"""The page about a folder: its numbers are right, it hides nothing, needs nothing, and a browser shows it."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import math
import os
import random
import re
import shutil
import statistics
import tracemalloc
from collections import Counter
from collections.abc import Callable, Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote_to_bytes, urljoin

import numpy as np
import pytest
from browser import CHROMIUM, Browser
from hypothesis import given
from hypothesis import strategies as st
from ledgers import open_ledger
from PIL import Image

from cortexia_video import DepthMap, Failure, estimate, merge_ledgers, report, verify
from cortexia_video.cli import main
from cortexia_video.errors import (
    DecodeError,
    InputError,
    MissingExtraError,
    OutputError,
    OutputExistsError,
    printable,
)
from cortexia_video.formats.registry import FORMATS
from cortexia_video.html.charts import Bar, Series, draw_bars, draw_histograms
from cortexia_video.html.wording import format_number, format_seconds, format_share, format_value, shorten
from cortexia_video.ledger.entries import Source
from cortexia_video.ledger.ledger import Ledger
from cortexia_video.ledger.partition import Partition
from cortexia_video.ledger.state import LEDGER_NAME
from cortexia_video.reporting.depth_sample import PIXELS, Measurement, measure_depth
from cortexia_video.reporting.failures import find_shape
from cortexia_video.reporting.ledger_summary import DepthMeaning, summarise_ledger
from cortexia_video.reporting.outliers import find_outliers
from cortexia_video.sinks.sink import FolderSink
from cortexia_video.sources.find import find_images

Make = Callable[..., Path]

SETTINGS = {"model": "depth-pro", "weights_sha256": "ab" * 32, "kind": "metric", "format": "npy"}
SPEED = {
    "share_of_bound": 0.97,
    "model_share": 0.97,
    "cores_share": 0.4,
    "disk_share": 0.1,
    "slowest": "model",
    "core_seconds_an_image": {"read": 0.0012, "decode": 0.034, "model": 0.5},
    "cores": 16,
    "devices": 2,
}
END = {"found": 45, "done": 40, "skipped": 1, "failed": 4, "seconds": 20.5, "images_per_second": 1.95}
HOSTILE = "<script>alert(1)</script>\"'&amp;</title>.jpg"
NOT_UTF8 = os.fsdecode(b"caf\xe9/\xff\n.jpg")
VOID = {"meta", "img", "br", "link", "input", "hr"}


class Writer:
    """Writes an output folder as `estimate` would, with depth of the test's own."""

    def __init__(self, root: Path, images: Path, ledger: Ledger, sink: FolderSink) -> None:
        self.root, self.images, self.ledger, self.sink = root, images, ledger, sink

    def done(self, key: str, values: object, *, kind: str = "metric", **facts: object) -> None:
        """Write depth of an image; the image is made, small and grey."""
        path = self.images / key
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (40, 30), "grey").save(path, "JPEG")
        status = path.stat()
        depth = DepthMap(np.asarray(values, np.float32), kind)  # type: ignore[arg-type]
        source = Source(str(path), status.st_size, status.st_mtime_ns)
        self.ledger.record_begun(key, self.sink.output_names(key))
        outputs = self.sink.write(key, depth)
        height, width = depth.values.shape
        self.ledger.record_done(key, source, outputs, height=height, width=width, kind=kind, **facts)

    def fail(self, key: str, reason: str, *, path: str | None = None) -> None:
        self.ledger.record_failure(Failure(key, "decode", DecodeError(reason)), path)


def scene(seed: int, *, shape: tuple[int, int] = (30, 40), metres: float = 5.0) -> np.ndarray:
    """Return depth of a usual kind: some metres, spread over a factor of about six."""
    random_ = np.random.default_rng(seed)
    return (metres * np.exp(random_.uniform(-0.9, 0.9, shape)) * random_.uniform(0.8, 1.25)).astype(
        np.float32
    )


@pytest.fixture
def write(tmp_path: Path) -> Iterator[Writer]:
    """Yield a writer of `tmp_path / "out"`."""
    root = tmp_path / "out"
    with open_ledger(root, SETTINGS) as ledger, FolderSink(root) as sink:
        yield Writer(root, tmp_path / "images", ledger, sink)


@pytest.fixture
def folder(write: Writer) -> Path:
    """Return a folder with some of everything: 40 usual maps, four unusual ones, failures, damage."""
    sources = ("exif", "given", "estimated")
    for index in range(40):
        focal = {"f_px": 30.0 + index / 10, "f_source": sources[index % 3]} if index % 4 else {}
        write.done(f"trip/{index:02}.jpg", scene(index), **{"f_px": None, "f_source": None, **focal})
    write.done("constant.jpg", np.full((30, 40), 7.0))
    write.done("far.jpg", scene(1, metres=900.0))
    saturated = scene(2)
    saturated[:15] = 80.0
    write.done("saturated.jpg", saturated)
    holes = scene(3)
    holes[:, :20] = np.nan
    write.done("holes.jpg", holes, f_px=700.0, f_source="exif")
    write.fail("a.jpg", "too large: 250 megapixels, the limit is 200")
    write.fail("b.jpg", "too large: 300 megapixels, the limit is 200")
    write.fail(HOSTILE, 'cut short: <b>bold</b> & "quoted"')
    write.fail(NOT_UTF8, "cut short: the file ends early")
    write.ledger.record_begun("begun.jpg", ["begun.jpg.npy"])
    write.ledger.record_end(**END, speed=SPEED)
    (write.root / "trip/00.jpg.npy").unlink()
    data = (write.root / "trip/01.jpg.npy").read_bytes()
    (write.root / "trip/01.jpg.npy").write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    return write.root


class Parsed(HTMLParser):
    """What an HTML parser sees: elements, attributes, text; every element closed in its turn."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.text = ""
        self.styles = self.script = ""
        self._open: list[str] = []
        self.feed(html)
        self.close()
        assert not self._open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in VOID:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" in self._open:
            self.styles += data
        elif "script" in self._open:
            self.script += data
        else:
            self.text += data

    def tags(self) -> Counter[str]:
        return Counter(tag for tag, _ in self.elements)


def parse(path: Path) -> Parsed:
    return Parsed(path.read_text(encoding="utf-8"))


def read_words(root: Path) -> dict[str, dict[str, Any]]:
    """Return the last line of each key: an independent reading of the ledger."""
    lines = [json.loads(line) for line in (root / LEDGER_NAME).read_text().splitlines()]
    return {line["key"]: line for line in lines if "key" in line}


# ---- the numbers are right ---------------------------------------------------------------------------------


def test_what_the_page_says_of_the_ledger_is_so(folder: Path) -> None:
    words = read_words(folder)
    outcomes = Counter(line["outcome"] for line in words.values())
    found = report(folder).summary
    assert (found.done, found.failed) == (outcomes["done"], outcomes["failed"])
    assert (found.requeued, found.unfinished, found.images) == (0, outcomes["begun"], len(words))
    assert sum(group.count for group in found.failures.largest()) == outcomes["failed"]
    assert found.meanings == {DepthMeaning("depth-pro", "ab" * 32, "metric"): outcomes["done"]}
    focal = [line for line in words.values() if line.get("f_px")]
    for source in ("exif", "given", "estimated"):
        expected = sorted(line["f_px"] for line in focal if line["f_source"] == source)
        assert sorted(found.focal_lengths.f_px[source]) == expected
        film = [f_px * math.hypot(36, 24) / math.hypot(40, 30) for f_px in expected]
        assert sorted(found.focal_lengths.film_mm[source]) == pytest.approx(film)
    assert found.focal_lengths.unknown == outcomes["done"] - len(focal)
    assert [(run.settings, run.end and run.end["found"]) for run in found.runs] == [(SETTINGS, 45)]


def test_what_is_measured_is_so(folder: Path) -> None:
    measured = {each.key: each for each in report(folder).sample.measured}
    assert len(measured) == 44 - 2
    for key, each in measured.items():
        values = np.load(folder / f"{key}.npy").astype(float).ravel().tolist()
        known = [value for value in values if value == value]
        assert each.median == pytest.approx(statistics.median(known), rel=1e-6)
        fiftieths = statistics.quantiles(known, n=50, method="inclusive")
        assert (each.p2, each.p98) == pytest.approx((fiftieths[0], fiftieths[-1]), rel=1e-6)
        assert (each.low, each.high) == (min(known), max(known))
        assert each.unknown == pytest.approx(1 - len(known) / len(values))
        assert each.at_high == pytest.approx(known.count(max(known)) / len(known))


def test_a_large_map_is_measured_on_some_of_its_pixels() -> None:
    values = np.random.default_rng(0).random((1500, 1700), np.float32)
    assert values.size > 4 * PIXELS
    values[:300] = np.nan
    each = measure_depth({"key": "a"}, DepthMeaning("m", "", "metric"), values)
    assert each.unknown == pytest.approx(0.2, abs=0.01)
    assert (each.p2, each.median, each.p98) == pytest.approx((0.02, 0.5, 0.98), abs=0.01)


def test_a_real_run_is_reported_as_its_report_says(tmp_path: Path, make_image: Make) -> None:
    for index in range(12):
        make_image(tmp_path / "photos" / f"{index}.jpg", seed=index)
    (tmp_path / "photos/broken.jpg").write_bytes(b"\xff\xd8\xff")
    run = estimate(tmp_path / "photos", tmp_path / "out", model="synthetic", kind="metric")
    made = report(tmp_path / "out")
    assert (made.summary.done, made.summary.failed) == (run.done, run.failed) == (12, 1)
    assert len(made.sample.measured) == 12
    assert made.path == tmp_path / "out/report.html"
    page = parse(made.path)
    assert run.failures[0].reason in page.text
    assert page.tags()["img"] == 24
    assert "synthetic" in page.text and "Apache-2.0" not in page.text  # of its weights: it has none
    assert run.speed is not None and run.speed.slowest in page.text
    assert "12 of 13 images have depth, 1 failed." in page.text


def test_only_the_last_word_on_an_image_counts(write: Writer) -> None:
    write.fail("mended.jpg", "cut short")
    write.done("mended.jpg", scene(0))
    write.done("lost.jpg", scene(1))
    write.fail("lost.jpg", "not an image")
    write.done("requeued.jpg", scene(2))
    write.ledger._file.append({"key": "requeued.jpg", "outcome": "requeued", "reason": "it is missing"})
    write.done("again.jpg", scene(3))
    write.ledger._file.append({"key": "again.jpg", "outcome": "requeued", "reason": "it is missing"})
    write.done("again.jpg", scene(3))
    write.done("taken.jpg", scene(4))
    taken = Failure("taken.jpg", "write", OutputExistsError("its place holds the depth of /other/taken.jpg"))
    write.ledger.record_failure(taken, "/here/taken.jpg")
    found = summarise_ledger(write.root, sample=10)
    assert {line["key"] for line in found.sample} == {"mended.jpg", "again.jpg", "taken.jpg"}
    assert (found.done, found.failed, found.requeued, found.unfinished) == (3, 2, 1, 0)
    assert {key for group in found.failures.largest() for key, _ in group.keys} == {"lost.jpg", "taken.jpg"}


def test_what_a_line_says_of_its_model_comes_before_its_run(write: Writer) -> None:
    write.done("a.jpg", scene(0))
    write.done("b.jpg", scene(1), model="zoedepth", weights_sha256="cd" * 32)
    write.done("c.jpg", scene(2), model=None, weights_sha256=None)  # of a sensor
    found = report(write.root)
    meanings = [("depth-pro", "ab" * 32), ("zoedepth", "cd" * 32), ("unknown", "")]
    assert found.summary.meanings == {DepthMeaning(*each, "metric"): 1 for each in meanings}
    assert {each.meaning for each in found.sample.measured} == set(found.summary.meanings)
    text = parse(found.path).text
    assert "apple-amlr (research only), not for use in a product" in text
    assert "MIT, free for use in a product" in text


def test_a_damaged_ledger_costs_its_lines_alone(folder: Path) -> None:
    before = report(folder).summary
    with (folder / LEDGER_NAME).open("ab") as file:
        file.write(b'{"key": 3, "outcome": "done"}\n["list"]\n{"key": "torn.jpg", "outc')
        file.write(b'\n{"end": "nobody", "speed": 3}\n{"key": "x", "outcome": "failed"}\n')
        file.write(b'{"key": "a.jpg", "outcome": "done", "run": "?", "outputs": {}, "f_px": "long"}\n')
        file.write(b'{"run": "odd", "settings": {"model": ["<i>"], "kind": 7}}\n')
        file.write(b'{"end": "odd", "speed": {"cores": [], "core_seconds_an_image": {"<b>": 1}}}\n')
    after = report(folder).summary
    assert after.done == before.done
    assert after.failed == before.failed + 1  # x came; the new line on a.jpg is damaged and says nothing


def test_shards_are_counted_together(tmp_path: Path, write: Writer) -> None:
    root = tmp_path / "sharded"
    for part in (1, 2):
        with open_ledger(root, SETTINGS, Partition(part, 2)) as ledger, FolderSink(root) as sink:
            Writer(root, tmp_path / "images", ledger, sink).done(f"{part}.jpg", scene(part))
            Writer(root, tmp_path / "images", ledger, sink).fail(f"bad{part}.jpg", "cut short")
    apart = report(root)
    assert (apart.summary.done, apart.summary.failed, len(apart.summary.runs)) == (2, 2, 2)
    assert merge_ledgers(root) == 2
    together = report(root)
    assert together.summary.done == apart.summary.done
    assert [each.key for each in together.sample.measured] == [each.key for each in apart.sample.measured]


# ---- what is unusual ---------------------------------------------------------------------------------------


def test_what_is_unusual_is_named_with_its_reason(folder: Path) -> None:
    made = report(folder)
    reasons = {each.key: "; ".join(each.reasons) for each in made.outliers}
    assert set(reasons) == {"constant.jpg", "far.jpg", "saturated.jpg", "holes.jpg"}
    assert reasons["constant.jpg"] == "constant: every known pixel is 7.00 m"
    assert reasons["far.jpg"].startswith("unusual median: ") and " m is usual" in reasons["far.jpg"]
    assert reasons["saturated.jpg"].startswith("saturated: 50 % of the pixels have the largest value, 80.0 m")
    assert reasons["holes.jpg"] == "50 % of the pixels are unknown"
    assert [each.key for each in made.focal_outliers] == ["holes.jpg"]
    text = parse(made.path).text
    assert all(reason in text for reason in reasons.values())


def measurement(key: str, low: float, high: float, *, kind: str = "metric", model: str = "m") -> Measurement:
    middle = math.sqrt(low * high) if kind == "metric" else (low + high) / 2
    return Measurement(
        {"key": key}, DepthMeaning(model, "", kind), low, low, middle, high, high, 0.0, 0.0, 0.0
    )


def test_metres_that_hardly_change_are_reported_even_of_one_map() -> None:
    (found,) = find_outliers([measurement("wall", 5.0, 5.05), measurement("room", 1.0, 5.0)])
    assert found.reasons == ["nearly constant: 96 % of the pixels are 5.00 to 5.05 m"]


def test_a_focal_length_is_of_the_whole_image(write: Writer) -> None:
    for index in range(10):
        write.done(f"{index}.jpg", scene(index), f_px=3000.0, f_source="exif", full_size=[3000, 4000])
    write.done("tele.jpg", scene(0), f_px=300.0, f_source="given")
    made = report(write.root)
    film = made.summary.focal_lengths.film_mm
    assert film["exif"] == pytest.approx(3000 * math.hypot(36, 24) / 5000)
    assert film["given"] == pytest.approx(300 * math.hypot(36, 24) / 50)
    (outlier,) = made.focal_outliers
    assert (outlier.key, outlier.reasons) == (
        "tele.jpg",
        ["260 mm on 35 mm film (300 pixels), where 26.0 mm is usual"],
    )
    assert ", 1 unusual focal length" in str(made) and ", and 1 focal length." in made.path.read_text()


def test_maps_are_compared_with_those_that_mean_the_same() -> None:
    near = [measurement(f"near{index}", 1.0 + index / 50, 4.0 + index / 20) for index in range(20)]
    far = [measurement(f"far{index}", 100.0 + index, 400.0 + 7 * index, model="other") for index in range(20)]
    assert find_outliers([*near, *far]) == []
    assert [each.key for each in find_outliers([*near, far[0]._replace(meaning=near[0].meaning)])] == ["far0"]


def test_too_few_maps_say_nothing_of_what_is_usual() -> None:
    maps = [measurement(str(index), 1.0, 4.0) for index in range(6)]
    assert find_outliers([*maps, measurement("x", 1000.0, 4000.0)]) == []


@pytest.mark.parametrize("shift", [-50.0, 0.0, 50.0])
def test_disparity_is_compared_without_a_zero(shift: float) -> None:
    maps = [
        measurement(str(index), shift + index / 30, shift + 5 + index / 10, kind="disparity")
        for index in range(20)
    ]
    assert find_outliers(maps) == []
    flat = measurement("flat", shift + 3, shift + 3.01, kind="disparity")
    away = measurement("away", shift + 40, shift + 45, kind="disparity")
    reasons = {each.key: each.reasons for each in find_outliers([*maps, flat, away])}
    assert set(reasons) == {"flat", "away"}
    assert reasons["flat"][0].startswith("nearly constant")
    assert reasons["away"][0].startswith("unusual median")


# ---- the page ----------------------------------------------------------------------------------------------


def test_the_page_needs_nothing_but_itself(folder: Path) -> None:
    page = parse(report(folder).path)
    for tag, attributes in page.elements:
        assert tag not in ("link", "iframe", "object", "embed", "base", "form")
        assert not [name for name in attributes if name in ("srcset", "action") or name.startswith("on")]
        assert tag == "a" or "href" not in attributes
        if "src" in attributes:
            assert attributes["src"].startswith("data:image/jpeg;base64,")
    assert "url(" not in page.styles and "@import" not in page.styles
    (policy,) = [each["content"] for tag, each in page.elements if each.get("http-equiv")]
    digest = base64.b64encode(hashlib.sha256(page.script.encode()).digest()).decode()
    assert policy.startswith("default-src 'none'") and policy.endswith(f"script-src 'sha256-{digest}'")
    assert page.tags()["script"] == 1 and "http" not in page.script and "innerHTML" not in page.script
    assert page.tags()["svg"] >= 3
    assert page.tags()["svg"] == page.tags()["desc"]


def test_every_failure_is_on_the_page(folder: Path) -> None:
    page = parse(report(folder).path)
    for key, line in read_words(folder).items():
        if line["outcome"] == "failed":
            assert printable(key) in page.text
            assert printable(line["reason"]) in page.text
    assert "too large: … megapixels, the limit is …" in page.text


def test_names_stay_text(folder: Path) -> None:
    page = parse(report(folder).path)
    assert HOSTILE in page.text
    assert "<b>bold</b>" in page.text
    assert (page.tags()["b"], page.tags()["script"]) == (0, 1)  # our own
    assert "caf\\udce9/\\udcff\\n.jpg" in page.text
    (odd := folder.parent / "<img src=x onerror=alert(1)>").mkdir()
    shutil.copy(folder / LEDGER_NAME, odd)
    assert parse(report(odd).path).text.count(odd.name) == 2  # in the title and the heading


def test_damaged_outputs_are_reported_and_not_fatal(folder: Path) -> None:
    made = report(folder)
    reasons = {each.key: each.reason for each in made.sample.unreadable}
    remedy = "`cortexia verify --requeue` lets the next run make it again"
    assert reasons == {
        "trip/00.jpg": f"trip/00.jpg.npy: it is missing: {remedy}",
        "trip/01.jpg": f"trip/01.jpg.npy: it is not what was written: {remedy}",
    }
    text = parse(made.path).text
    assert all(reason in text for reason in reasons.values())
    assert "2 of 44 outputs looked at cannot be read" in text


def test_an_output_whose_name_leads_out_is_not_read(folder: Path) -> None:
    (folder.parent / "secret.npy").write_bytes(b"")
    line = {"key": "../secret", "outcome": "done", "run": "r", "path": "/nowhere", "source": [0, 0]}
    with (folder / LEDGER_NAME).open("a") as file:
        outputs = {"../secret.npy": [0, "0" * 32]}
        file.write(json.dumps({**line, "outputs": outputs, "height": 1, "width": 1, "kind": "metric"}) + "\n")
    reasons = {each.key: each.reason for each in report(folder).sample.unreadable}
    assert reasons["../secret"] == "../secret.npy: its name leads out of the folder"


def test_images_that_are_gone_or_changed_are_reported(write: Writer) -> None:
    for name in ("gone", "changed", "there"):
        write.done(f"{name}.jpg", scene(0))
    (write.images / "gone.jpg").unlink()
    Image.new("RGB", (8, 8)).save(write.images / "changed.jpg")
    page = parse(report(write.root).path)
    assert page.tags()["img"] == 3 + 1
    assert "the image no longer exists" in page.text
    assert "the image was changed since" in page.text


def test_images_that_were_moved_are_found_by_their_folder(write: Writer, tmp_path: Path) -> None:
    for name in ("a", "trip/b", "changed"):
        write.done(f"{name}.jpg", scene(0))
    shutil.copytree(write.images, tmp_path / "moved", copy_function=shutil.copyfile)  # with times of now
    shutil.rmtree(write.images)
    Image.new("RGB", (8, 8)).save(tmp_path / "moved/changed.jpg")
    assert parse(report(write.root).path).tags()["img"] == 3
    page = parse(report(write.root, images=tmp_path / "moved").path)
    assert page.tags()["img"] == 3 + 2
    assert "the image was changed since" in page.text and "no longer exists" not in page.text


def test_views_are_shown_and_not_measured(tmp_path: Path, make_image: Make) -> None:
    make_image(tmp_path / "photos/a.jpg")
    estimate(tmp_path / "photos", tmp_path / "out", model="synthetic", format="png")
    made = report(tmp_path / "out")
    assert (len(made.sample.views), made.sample.measured) == (1, [])
    page = parse(made.path)
    assert page.tags()["img"] == 2
    assert page.tags()["svg"] == 1  # of the stages


@pytest.mark.parametrize("format", FORMATS)
def test_every_format_is_measured_or_shown(format: str, tmp_path: Path, make_image: Make) -> None:
    make_image(tmp_path / "photos/a.jpg")
    try:
        estimate(tmp_path / "photos", tmp_path / "out", model="synthetic", kind="metric", format=format)
    except MissingExtraError as error:
        pytest.skip(str(error))
    made = report(tmp_path / "out")
    assert made.sample.unreadable == []
    assert len(made.sample.measured) == (1 if FORMATS[format].decode else 0)
    assert all(1 < each.p2 < each.median < each.p98 < 10 for each in made.sample.measured)
    assert parse(made.path).tags()["img"] == 2


def test_small_images_show_what_they_are_of(write: Writer) -> None:
    """Near is bright, for metres and for disparity; unknown is grey."""
    ramp = np.tile(np.linspace(1, 9, 400, dtype=np.float32), (300, 1))
    ramp[:30] = np.nan
    write.done("metres.jpg", ramp)
    write.done("disparity.jpg", ramp, kind="disparity")
    page = report(write.root).path
    sources = [each["src"] for tag, each in parse(page).elements if tag == "img" and each["alt"] == "depth"]
    order = [line["key"] for line in summarise_ledger(write.root, sample=2).sample]
    for key, source in zip(order, sources, strict=True):
        with Image.open(io.BytesIO(base64.b64decode(source.partition(",")[2]))) as image:
            pixels = np.asarray(image.convert("L"), float)
            assert image.size == (400, 300)
        left, right = pixels[60:, 5:40].mean(), pixels[60:, -40:-5].mean()
        assert left > right + 80 if key == "metres.jpg" else right > left + 80
        assert pixels[:24].mean() == pytest.approx(128, abs=6)


def test_an_empty_folder_of_a_run_has_a_page(write: Writer) -> None:
    made = report(write.root)
    assert made.summary.images == 0
    assert "No image was done or failed here yet." in parse(made.path).text


def test_the_page_is_small_however_much_failed(write: Writer) -> None:
    random_ = random.Random(0)
    for index in range(5000):
        reason = "".join(random_.choices("<&>\"'abc", k=400)) if index % 2 else f"cut short <{index}>"
        write.fail(f"{'&' * 300}{index}.jpg", reason)
    made = report(write.root)
    assert made.summary.failed == 5000
    assert made.path.stat().st_size == made.bytes < 5_000_000
    text = parse(made.path).text
    assert "2,500 cut short <…>" in text
    assert "And 2,460 more, not on this page." in text


def test_memory_is_not_a_dict_for_each_line(tmp_path: Path) -> None:
    count = 10_000
    done = {"outcome": "done", "run": "r", "source": [1, 2], "height": 3000, "width": 4000, "kind": "metric"}
    with (tmp_path / LEDGER_NAME).open("w") as file:
        file.write(json.dumps({"run": "r", "settings": SETTINGS}) + "\n")
        for index in range(count):
            key = f"{index:07}.jpg"
            outputs = {f"{key}.npy": [1, f"{index:032x}"]}
            line = {"key": key, "path": f"/photos/{key}", "outputs": outputs, "f_px": 3000.0 + index}
            file.write(json.dumps({**done, **line, "f_source": "exif"}) + "\n")
    tracemalloc.start()
    found = summarise_ledger(tmp_path, sample=10)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (found.done, len(found.sample), len(found.focal_lengths)) == (count, 10, count)
    assert peak < 700 * count  # a line as a dict takes over 1,500


def test_the_sample_follows_from_the_keys_alone(write: Writer) -> None:
    for index in range(30):
        write.done(f"{index}.jpg", scene(index))
    once, twice = (report(write.root, sample=7, workers=workers) for workers in (1, 3))
    assert once.sample.measured == twice.sample.measured
    assert once.sample.images == 7
    assert "7 of 30 outputs" in parse(once.path).text
    lines = (write.root / LEDGER_NAME).read_bytes().splitlines(keepends=True)
    (write.root / LEDGER_NAME).write_bytes(b"".join([lines[0], *lines[:0:-1], *lines[1:]]))
    assert {line["key"] for line in summarise_ledger(write.root, sample=7).sample} == {
        each.key for each in once.sample.measured
    }


def read_values(image: dict[str, str]) -> np.ndarray:
    """Return the values that the page has for the pointer: an independent reading of `html.views.Values`."""
    codes = np.frombuffer(base64.b64decode(image["data-codes"]), "<u2").reshape(
        -1, int(image["data-columns"])
    )
    low, high, steps = float(image["data-low"]), float(image["data-high"]), (codes - 1.0) / 65534
    values = low * (high / low) ** steps if low > 0 else low + (high - low) * steps
    return np.where(codes == 0, np.nan, values)


@pytest.mark.parametrize(
    ("kind", "unit"),
    [
        ("metric", "m"),
        ("scale_invariant", "(relative, larger is farther)"),
        ("affine_invariant", "(relative, larger is farther)"),
        ("disparity", "(relative, larger is nearer)"),
    ],
)
def test_values_under_the_pointer_are_those_of_the_map(kind: str, unit: str, write: Writer) -> None:
    values = scene(0, shape=(300, 500))
    values[:50] = np.nan
    if kind in ("affine_invariant", "disparity"):
        values -= 4
    write.done("a.jpg", values, kind=kind)
    (image,) = (each for _, each in parse(report(write.root).path).elements if each.get("alt") == "depth")
    found = read_values(image)
    rows, columns = (
        ((np.arange(new) + 0.5) * old / new).astype(int)
        for new, old in zip(found.shape, (300, 500), strict=True)
    )
    true = np.load(write.root / "a.jpg.npy").astype(float)[np.ix_(rows, columns)]
    assert image["data-unit"] == unit and found.shape == (77, 128)
    assert np.isnan(found[:12]).all() and np.array_equal(np.isnan(found), np.isnan(true))
    step = np.nanmax(true) * 2e-4 if kind in ("metric", "scale_invariant") else np.ptp(true[20:]) / 65534
    assert np.nanmax(abs(found - true)) <= step


def find_links(page: Path) -> list[Path]:
    """Return the files that the links of a page lead to."""
    links = (each["href"] for tag, each in parse(page).elements if tag == "a")
    return [Path(os.fsdecode(unquote_to_bytes(urljoin(page.as_uri(), link)[7:]))) for link in links]


def test_links_lead_to_the_files_and_still_do_when_all_moves(write: Writer, tmp_path: Path) -> None:
    names = ["trip/a.jpg", "javascript:alert(1).jpg", "50%#?\"'&.jpg", NOT_UTF8]
    for name in names:
        write.done(name, scene(0))
    page = report(write.root).path
    expected = {each for name in names for each in (write.images / name, write.root / f"{name}.npy")}
    assert {*map(os.path.realpath, find_links(page))} == {*map(os.path.realpath, expected)}
    shutil.move(tmp_path / "out", tmp_path / "moved/out")
    shutil.move(tmp_path / "images", tmp_path / "moved/images")
    moved = find_links(tmp_path / "moved/out/report.html")
    assert len(moved) == len(expected) and all(path.is_file() for path in moved)
    elsewhere = report(
        tmp_path / "moved/out", output=tmp_path / "pages/a.html", images=tmp_path / "moved/images"
    )
    assert len(found := find_links(elsewhere.path)) == len(expected) and all(path.is_file() for path in found)


def test_what_is_not_shown_is_counted_and_can_be(write: Writer) -> None:
    for index in range(30):
        write.done(f"{index}.jpg", scene(index))
    page = parse(report(write.root).path)
    assert (
        "24 of 30 shown; cortexia report DIR --shown 30 shows all." in page.text and page.tags()["img"] == 48
    )
    page = parse(report(write.root, shown=30, sample=5).path)
    assert "30 of 30 shown." in page.text and page.tags()["img"] == 60
    for count in (0, 1001):
        with pytest.raises(InputError, match=f"`shown` must be 1 to 1000, got {count}"):
            report(write.root, shown=count)


def test_more_images_do_not_make_a_larger_page(write: Writer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cortexia_video.html.views._IMAGES", 10)
    for index in range(20):
        write.done(f"{index}.jpg", scene(index, shape=(360, 480)))
    sizes = {}
    for shown in (5, 20):
        images = [each for tag, each in parse(report(write.root, shown=shown).path).elements if tag == "img"]
        depth = [Image.open(io.BytesIO(base64.b64decode(each["src"][23:]))) for each in images[1::2]]
        sizes[shown] = sum(each.width * each.height for each in depth)
    assert sizes == {5: 5 * 480 * 360, 20: 20 * 240 * 180}


def test_what_can_be_searched_for_is_there(folder: Path) -> None:
    page = parse(report(folder).path)
    tags = {tag for _, each in page.elements for tag in each.get("data-tags", "").split()}
    choices = {each["value"] for tag, each in page.elements if tag == "option"}
    reasons = {f"reason-{number}" for number in range(3)}
    assert choices == {"", "unusual", "failed", "damaged", *reasons}
    assert choices - {""} <= tags
    assert "failed: too large: … megapixels, the limit is … (2)" in page.text
    assert all("hidden" in each for _, each in page.elements if "scripted" in each.get("class", ""))


# ---- where it is written -----------------------------------------------------------------------------------


def test_the_page_is_never_an_input(tmp_path: Path, make_image: Make) -> None:
    photos = tmp_path / "photos"
    make_image(photos / "a.jpg")
    first = estimate(photos, photos, model="synthetic")
    page = report(photos).path
    assert page == photos / "report.html"
    assert [each.key for each in find_images([photos], recursive=True)] == ["a.jpg"]
    assert list(find_images([page])) == []
    second = estimate([photos, page], photos, model="synthetic")
    assert (first.done, second.found) == (1, 1)
    before = page.read_bytes()
    assert verify(photos, requeue=True).wrong == []
    assert merge_ledgers(photos) == 0
    assert page.read_bytes() == before
    assert [name for name in os.listdir(photos) if name.startswith("report")] == ["report.html"]


def test_nothing_of_somebody_else_is_replaced(folder: Path, tmp_path: Path) -> None:
    theirs = folder / "report.html"
    theirs.write_text("<p>minutes of the meeting")
    with pytest.raises(OutputExistsError, match=r"report\.html exists and is no report"):
        report(folder)
    assert theirs.read_text() == "<p>minutes of the meeting"
    with pytest.raises(InputError, match=r"ends in \.html, got .*ledger\.jsonl"):
        report(folder, output=folder / LEDGER_NAME)
    (tmp_path / "d.html").mkdir()
    with pytest.raises(OutputExistsError, match=r"d\.html exists"):
        report(folder, output=tmp_path / "d.html")
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot write"):
        report(folder, output=tmp_path / "file/report.html")
    elsewhere = report(folder, output=tmp_path / "new/page.html")
    again = report(folder, output=tmp_path / "new/page.html")
    assert os.listdir(tmp_path / "new") == ["page.html"]
    assert elsewhere.path == again.path


def test_a_kill_leaves_the_page_that_was_there(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = tmp_path / "page.html"
    before = report(folder, output=page).path.read_bytes()

    def die(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", die)
    with pytest.raises(KeyboardInterrupt):
        report(folder, output=page)
    assert page.read_bytes() == before
    assert os.listdir(tmp_path).count("page.html") == 1


def test_the_command(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["report", str(folder), "--output", str(tmp_path / "page.html"), "--sample", "5"])
    assert ended.value.code == 0
    out = capsys.readouterr().out
    assert out.startswith(f"{tmp_path / 'page.html'}: 44 done, 4 failed; of 5 looked at ")
    assert parse(tmp_path / "page.html").tags()["main"] == 1


def test_a_run_in_which_all_failed_has_a_page_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.jpg").write_text("no image")
    estimate(tmp_path / "a.jpg", tmp_path / "out", model="synthetic")
    with pytest.raises(SystemExit) as ended:
        main(["report", str(tmp_path / "out")])
    assert (ended.value.code, (tmp_path / "out/report.html").exists()) == (0, True)
    assert "0 done, 1 failed; no depth to look at yet" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "no ledger in {folder}: give the output folder of a run"),
        (["--sample", "0"], "--sample must be at least 1, got 0"),
        (["--workers", "0"], "--workers must be at least 1, got 0"),
    ],
)
def test_wrong_usage_is_one_line(
    arguments: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["report", str(tmp_path), *arguments])
    assert ended.value.code == 2
    assert capsys.readouterr().err == f"cortexia: {said.format(folder=tmp_path)}\n"
    assert os.listdir(tmp_path) == []


# ---- words and charts --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (0.0, "0"), (0.00123, "0.00123"), (0.5, "0.500"), (12.345, "12.3"), (999.6, "1,000"),
        (1234567.0, "1,234,567"), (-2.5, "−2.50"), (2e12, "2e+12"), (1e-9, "1e-09"), (math.nan, "unknown"),
    ],
)  # fmt: skip
def test_numbers(value: float, said: str) -> None:
    assert format_number(value) == said


def test_shares_and_times() -> None:
    assert [format_share(share) for share in (0, 1e-5, 0.004, 0.5, 0.999, 1)] == [
        "0 %", "under 0.1 %", "0.4 %", "50 %", "over 99 %", "100 %",
    ]  # fmt: skip
    assert [format_seconds(seconds) for seconds in (9.14, 59.99, 252, 11100)] == [
        "9.1 s", "60.0 s", "4 min 12 s", "3 h 05 min",
    ]  # fmt: skip


@given(st.text(max_size=300), st.integers(20, 200))
def test_what_is_shortened_is_short(text: str, most: int) -> None:
    short = shorten(text, most)
    assert len(short) <= most
    assert short == text or (short.startswith(text[: most // 2]) and " … " in short)


@pytest.mark.parametrize(
    ("reason", "shape"),
    [
        ("too large: 250.5 megapixels, the limit is 200", "too large: … megapixels, the limit is …"),
        ("trip/a.jpg.npy exists already", "….npy exists already"),
        ("cannot open /photos/trip/a.jpg: Permission denied", "cannot open …: Permission denied"),
        ("a.jpg is a mess", "… is a mess"),
        ("cut short", "cut short"),
    ],
)
def test_reasons_are_grouped_by_what_is_not_the_image_s_own(reason: str, shape: str) -> None:
    assert find_shape(reason, "trip/a.jpg", "/photos/trip/a.jpg") == shape


@given(
    st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=1, max_size=40),
    st.booleans(),
)
def test_a_histogram_counts_every_value_and_stays_inside(values: list[float], logarithmic: bool) -> None:
    numbers = np.array([abs(value) for value in values] if logarithmic else values)
    chart = draw_histograms("t", [Series("row", numbers, "note")], unit="m", logarithmic=logarithmic)
    counts = [
        int(title.split(": ")[1].split()[0].replace(",", ""))
        for bar in chart.iter("rect")
        if (title := bar.findtext("title"))
    ]
    assert sum(counts) == len(values)
    left, top, width, height = map(float, chart.attrib["viewBox"].split())
    for bar in chart.iter("rect"):
        x, y, wide, high = (float(bar.attrib[name]) for name in ("x", "y", "width", "height"))
        assert left <= x and x + wide <= left + width and top <= y and y + high <= top + height
    ticks = [float(each.attrib["x"]) for each in chart.iter("text") if each.attrib["class"] == "tick"]
    assert all(0 <= x <= width for x in ticks) and ticks == sorted(ticks)


def test_bars_are_as_long_as_their_values() -> None:
    chart = draw_bars("t", [Bar("a", 4.0, "4 ms"), Bar("b", 1.0, "1 ms"), Bar("c", 0.0, "0 ms")])
    widths = [float(each.attrib["width"]) for each in chart.iter("rect") if each.attrib["class"] == "bar"]
    assert widths == pytest.approx([widths[0], widths[0] / 4, 0])
    assert chart.findtext("desc") == "a: 4 ms; b: 1 ms; c: 0 ms"


# ---- a real browser ----------------------------------------------------------------------------------------


def enlarge(browser: Browser) -> None:
    """Open the first view by the keyboard."""
    browser.evaluate("document.querySelector('.layer img[tabindex]').focus()")
    browser.press("Enter")
    assert browser.evaluate("document.querySelector('dialog').open")
    browser.evaluate(
        "Promise.all([...document.querySelectorAll('.stage img')].map(each => each.decode())).then(() => 0)"
    )


def read_title(browser: Browser) -> str:
    return str(browser.evaluate("document.querySelector('.said code').textContent"))


@pytest.mark.skipif(CHROMIUM is None, reason="needs chromium: apt-get install chromium")
def test_a_browser_reads_enlarges_and_searches(folder: Path, tmp_path: Path) -> None:
    page = report(folder).path
    keys = [code.removesuffix(".npy") for code in re.findall(r"<figcaption><code>([^<]*)", page.read_text())]
    with Browser(tmp_path / "profile") as browser:
        browser.look(width=1280)
        browser.open(page)
        # the value under the mouse is that of the map there, on the page and enlarged
        values = np.load(folder / f"{keys[0]}.npy")
        for words in (".layer img[alt=depth]", ".stage img"):
            script = f"""(each => {{
                each.scrollIntoView({{block: "center"}});
                const {{x, y, width, height}} = each.getBoundingClientRect();
                return [x, y, width, height];
            }})(document.querySelector("{words}"))"""
            x, y, width, height = browser.evaluate(script)
            for across, down in ((0.11, 0.22), (0.5012, 0.75), (0.91, 0.91)):
                browser.point(x + across * width, y + down * height)
                true = values[int(down * values.shape[0]), int(across * values.shape[1])]
                said = browser.evaluate("document.querySelector('.reading').textContent")
                assert said == f"depth {format_value(float(true), 'm')}"
            if words != ".stage img":
                enlarge(browser)
        # keys: other images, the pointer, and out, back to where one was
        assert read_title(browser) == keys[0]
        browser.press("ArrowRight")
        assert read_title(browser) == keys[1]
        browser.press("ArrowLeft")
        browser.press("ArrowLeft")
        assert read_title(browser) == keys[-1]
        browser.evaluate("document.querySelector('.stage').focus()")
        browser.press("ArrowRight")
        assert read_title(browser) == keys[-1]
        assert browser.evaluate("document.querySelector('.reading').textContent").startswith("depth ")
        browser.evaluate(
            "slider = document.querySelector('dialog input'); slider.focus(); slider.value = 0; 0"
        )
        browser.press("ArrowRight")
        assert browser.evaluate("getComputedStyle(document.querySelector('.stage img + img')).clipPath") == (
            "inset(0px 0px 0px 1%)"
        )
        for width in (320, 375):
            browser.look(width=width, dark=True)
            assert browser.evaluate("document.querySelector('dialog').scrollWidth") <= width
        closed = (
            "new Promise(done => document.querySelector('dialog').addEventListener('close', () => done(0)))"
        )
        browser.evaluate(f"whenClosed = {closed}; 0")
        browser.press("Escape")
        browser.evaluate("whenClosed")
        assert not browser.evaluate("document.querySelector('dialog').open")
        focus = "document.activeElement.closest('.view').querySelector('code').textContent"
        assert browser.evaluate(focus) == keys[-1]
        # search
        search = """(words, tag) => {
            const bar = document.querySelector('.find');
            bar.querySelector('input').value = words;
            bar.querySelector('select').value = tag;
            bar.dispatchEvent(new Event('input'));
            return [...document.querySelectorAll('.keys > li, .view')].filter(each => each.offsetParent)
                .map(each => each.querySelector('code')?.textContent ?? '');
        }"""
        found = browser.evaluate(f"({search})('MEGApixels', '')")
        assert found == ["a.jpg", "b.jpg"]
        assert set(browser.evaluate(f"({search})('', 'unusual')")) == {
            "constant.jpg", "far.jpg", "saturated.jpg", "holes.jpg",
        }  # fmt: skip
        assert browser.evaluate(f"({search})('nothing is called so', '')") == []
        assert len(browser.evaluate(f"({search})('', '')")) > 24
    assert not [event for event in browser.events if event.get("method") == "Runtime.exceptionThrown"]


@pytest.mark.skipif(CHROMIUM is None, reason="needs chromium: apt-get install chromium")
def test_a_browser_shows_the_page(folder: Path, tmp_path: Path) -> None:
    page = report(folder).path
    profile = tmp_path / "profile"
    with Browser(profile) as browser:
        browser.open(page)
        for width in (320, 375, 1280):
            for dark in (False, True):
                browser.look(width=width, dark=dark)
                assert browser.evaluate("document.documentElement.scrollWidth") <= width
                require_contrast(browser.screenshot(), dark=dark)
        images = browser.evaluate("[...document.images].map(each => [each.naturalWidth, each.complete])")
        assert len(images) == 48
        assert all(width > 0 and complete for width, complete in images)
        assert browser.evaluate("document.querySelectorAll('svg.chart').length") >= 3
        assert browser.evaluate("document.compatMode") == "CSS1Compat"
        assert browser.evaluate("document.title") == "Depth report: out"
        assert HOSTILE in browser.evaluate("document.body.innerText")
        assert browser.print().startswith(b"%PDF-")
    said = ("Log.entryAdded", "Runtime.consoleAPICalled", "Runtime.exceptionThrown", "Network.loadingFailed")
    assert [event for event in browser.events if event.get("method") in said] == []
    requests = [
        event["params"] for event in browser.events if event.get("method") == "Network.requestWillBeSent"
    ]
    asked = {each["request"]["url"] for each in requests}
    assert page.resolve().as_uri() in asked
    assert all(url.startswith(("file:///", "data:image/jpeg")) for url in asked)


def require_contrast(png: bytes, *, dark: bool) -> None:
    """The screenshot has paper of the scheme's colour, and much on it."""
    with Image.open(io.BytesIO(png)) as image:
        grey = np.asarray(image.convert("L"), float)
    paper = np.median(grey)
    assert paper < 50 if dark else paper > 230
    assert 0.02 < (abs(grey - paper) > 60).mean() < 0.6
