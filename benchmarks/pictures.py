"""Make anew the pictures of the documents that show depth by compact, after its weights have changed.

    PYTHONPATH=tests:tests/support python benchmarks/pictures.py docs/images build/pictures      # or: make pictures

The second folder keeps the scenes, 125 of them, for the next time. Needs chromium for report.jpg and evaluation.jpg.
By hand remains view.jpg: the viewer's window (docs/view.md).
"""

from __future__ import annotations

import csv
import io
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from browser import CHROMIUM, Browser
from PIL import Image
from video import draw_picture

import cortexia_video as cx
from cortexia_video.scenes import ScenePlan, write_scenes

EXAMPLES = Path(__file__).parents[1] / "examples"
CELL = (256, 192)
ROOMS = ScenePlan(3000, 240, 320)
HELD_OUT = ScenePlan(1_000_000, 288, 384)
"""Seeds that no training has: the failures are the worst of these."""


def main(pictures: Path, work: Path) -> None:
    draw_examples(pictures / "contact_sheet.jpg", work / "examples")
    write_scenes(work / "held-out", 100, HELD_OUT)
    draw_failures(pictures / "compact_failures.jpg", work / "held-out")
    write_scenes(work / "orbit", 1, ScenePlan(0, 360, 480, ("room",), move="orbit", frames=40))
    draw_picture(str(work / "orbit"), str(pictures / "flicker.jpg"))
    if CHROMIUM is None:
        sys.exit("no chromium: report.jpg and evaluation.jpg are as they were")
    write_scenes(work / "rooms", 24, ROOMS)
    with tempfile.TemporaryDirectory() as runs:
        show_pages(pictures, work / "rooms", Path(runs))


def draw_examples(out: Path, run: Path) -> None:
    """Lay out two photos and two scenes of the examples beside their depth, as `make demo` does all."""
    with tempfile.TemporaryDirectory() as chosen:
        for name in ("photo_coffee", "photo_cat", "street_900003", "open_900005"):
            shutil.copy(EXAMPLES / f"{name}.jpg", chosen)
        cx.estimate(chosen, run, overwrite=True)
        subprocess.run([sys.executable, EXAMPLES / "contact_sheet.py", chosen, run, out], check=True)


def draw_failures(out: Path, scenes: Path) -> None:
    """Lay out the six scenes with the largest AbsRel: image, ground truth, depth fitted to it; near is bright."""
    with tempfile.TemporaryDirectory() as results:
        cx.evaluation.evaluate("compact", truth=scenes, output=results)
        rows = csv.DictReader((Path(results) / "images.csv").read_text().splitlines())
        errors = {row["key"]: float(row["abs_rel"]) for row in rows if row["predictor"] == "compact"}
    worst = sorted(errors, key=lambda key: -errors[key])[:6]
    print("failures:", ", ".join(f"{key} {errors[key]:.2f}" for key in worst))
    samples = {sample.key: sample for sample in cx.open_dataset("rgbd", scenes)}
    estimator, sheet = cx.load_estimator("compact"), Image.new("RGB", (6 * CELL[0], 3 * CELL[1]))
    for place, key in enumerate(worst):
        image, truth = samples[key].frame.image, samples[key].depth.values
        known, found = np.isfinite(truth), estimator(image).values
        scale, shift = np.polyfit(found[known], 1 / truth[known], 1)
        nearness = np.where(known, 1 / truth, 0)
        ends = float(nearness.min()), float(np.percentile(nearness, 99))
        cells = [image, *(cx.colored_depthmap(each, *ends) for each in (nearness, scale * found + shift))]
        for number, cell in enumerate(cells):
            at = (place % 2 * 3 + number) * CELL[0], place // 2 * CELL[1]
            sheet.paste(Image.fromarray(cell).resize(CELL, Image.Resampling.BOX), at)
    sheet.save(out, quality=85)


def show_pages(pictures: Path, scenes: Path, runs: Path) -> None:
    """Take the browser's picture of an image of a report, enlarged, and of the worst images of an evaluation."""
    cx.estimate(scenes / "rgb", runs / "depth")
    cx.evaluation.evaluate("compact", truth=scenes, output=runs / "scores")
    with Browser(runs / "profile") as browser:
        browser.look(width=900, height=611)
        browser.open(cx.report(runs / "depth").path)
        browser.evaluate("document.querySelector('.layer img[tabindex]').focus()")
        browser.press("Enter")
        browser.evaluate(
            "Promise.all([...document.querySelectorAll('.stage img')].map(each => each.decode())).then(() => 0)"
        )
        browser.point(342, 300)
        _save(browser, pictures / "report.jpg")
    with Browser(runs / "other") as browser:
        browser.look(width=900, height=450)
        browser.open(runs / "scores" / "page.html")
        browser.evaluate("document.querySelector('.layer img[tabindex]').scrollIntoView()")
        _save(browser, pictures / "evaluation.jpg")


def _save(browser: Browser, out: Path) -> None:
    Image.open(io.BytesIO(browser.screenshot())).convert("RGB").save(out, quality=85)


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(*map(Path, sys.argv[1:]))
