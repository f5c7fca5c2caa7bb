"""`cortexia info` says what a depth file is, by whose word, and shows it; of a folder, what is in it."""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
import sys
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from camera_model import Camera
from PIL import Image
from rich.console import Console

from cortexia_video import DepthEstimator, DepthMap, convert, estimate, inspect
from cortexia_video.cli import main
from cortexia_video.cli.terminal_image import draw_depth
from cortexia_video.errors import DepthFileError
from cortexia_video.formats.registry import FORMATS
from cortexia_video.images.resampling import pick_points

VALUES = np.arange(1, 101, dtype=np.float32).reshape(10, 10)
VALUES[0, :5] = np.nan
DEPTH = DepthMap(VALUES, "metric", 50, "exif", (20, 20), "m", "1" * 64)


def write(path: Path, depth: DepthMap = DEPTH, format: str = "npz") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"".join(map(bytes, FORMATS[format].encode(depth))))
    return path


@pytest.fixture
def out(tmp_path: Path, make_image: Callable[..., Path]) -> Path:
    """Return the folder of a run over 20 images."""
    for index in range(20):
        make_image(tmp_path / f"photos/{index:02}.jpg", seed=index)
    estimate(tmp_path / "photos", tmp_path / "out", model=DepthEstimator(Camera(), size="native"), f_px=50)
    return tmp_path / "out"


def command(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as ended:
        main(["info", *map(str, arguments)])
    return int(str(ended.value.code)), *capsys.readouterr()


def test_a_file_is_what_it_holds(tmp_path: Path) -> None:
    found = inspect(write(tmp_path / "a.npz"))
    known = VALUES[~np.isnan(VALUES)]
    assert (found.format, found.height, found.width, found.kind, found.said_by) == (
        "npz",
        10,
        10,
        "metric",
        "file",
    )
    assert found.percentiles == {percent: np.percentile(known, percent) for percent in found.percentiles}
    assert (found.percentiles[0], found.percentiles[100]) == (6, 100)
    assert found.unknown_share == pytest.approx(0.05)
    assert found.fov_deg == pytest.approx(np.degrees(2 * np.arctan(20 / 100)))
    assert found.bytes == (tmp_path / "a.npz").stat().st_size
    assert found.metadata["model"] == "m" and found.metadata["full_size"] == [20, 20]


def test_it_is_said_who_says_what_the_numbers_mean(out: Path, tmp_path: Path) -> None:
    path = out / "00.jpg.npy"
    assert (inspect(path).said_by, inspect(path).kind, inspect(path).metadata["f_px"]) == (
        "ledger.jsonl",
        "metric",
        50,
    )
    np.save(path, np.load(path) + 1)
    assert (inspect(path).said_by, inspect(path).metadata["f_px"]) == ("depth.json", None)
    np.save(tmp_path / "b.npy", VALUES)
    assert inspect(tmp_path / "b.npy", about={"kind": "disparity"}).said_by == "caller"


def test_a_file_that_nobody_speaks_for_is_shown_as_it_is(tmp_path: Path) -> None:
    Image.fromarray(np.array([[0, 5000]], np.uint16)).save(tmp_path / "a.png")
    found = inspect(tmp_path / "a.png")
    assert (found.kind, found.said_by, found.metadata["unit"]) == (None, None, None)
    assert found.percentiles[100] == 5000
    assert "does not say what it means: give its convention (`convention`), one of tum" in str(found.unsaid)
    assert inspect(tmp_path / "a.png", convention="tum").percentiles[100] == 1


@pytest.mark.parametrize("shape", [(1, 1), (1, 1000), (1000, 1), (300, 700), (129, 128)])
def test_a_thumbnail_is_small_and_holds_values_of_the_map(tmp_path: Path, shape: tuple[int, int]) -> None:
    values = np.random.default_rng(0).random(shape, np.float32)
    thumbnail = inspect(write(tmp_path / "a.npz", DepthMap(values, "metric"))).thumbnail
    assert max(thumbnail.shape) == min(max(shape), 128) and min(thumbnail.shape) >= 1
    assert np.isin(thumbnail, values).all()


def test_points_are_picked_at_even_distances() -> None:
    np.testing.assert_array_equal(pick_points(VALUES, 10, 10), VALUES)
    np.testing.assert_array_equal(pick_points(VALUES, 2, 2), VALUES[2:10:5, 2:10:5])
    np.testing.assert_array_equal(pick_points(VALUES[:1], 3, 1), np.repeat(VALUES[:1, 5:6], 3, axis=0))


def test_a_map_without_a_known_pixel_is_no_trouble(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write(tmp_path / "a.npz", DepthMap(np.full((4, 4), np.nan, np.float32), "metric"))
    assert (inspect(path).percentiles, inspect(path).unknown_share) == ({}, 1)
    code, told, _ = command(capsys, path)
    assert code == 0 and "100.00% of the pixels" in told and "range" not in told


def test_a_constant_map_is_drawn(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command(capsys, write(tmp_path / "a.npz", DepthMap(np.ones((4, 4), np.float32), "metric")))[0] == 0


# ---- folders -----------------------------------------------------------------------------------------------


def test_a_folder_is_counted_and_some_of_it_read(out: Path) -> None:
    write(out / "trip/own.tiff", format="tiff")
    Image.new("RGB", (3, 2)).save(out / "image.png")
    found = inspect(out)
    assert found.files == {".npy": 20, ".tiff": 1}
    assert found.bytes == sum(
        path.stat().st_size for path in out.rglob("*") if path.suffix in (".npy", ".tiff")
    )
    assert found.images == 1 and len(found.sampled) == 16 and not found.failures
    assert found.last_run == {"found": 20, "done": 20, "skipped": 0, "failed": 0}
    assert found.common["kind"] == "metric"
    assert {each.metadata["f_px"] for each in found.sampled if each.format == "npy"} == {50}


def test_what_cannot_be_read_in_a_folder_is_named(out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for path in sorted(out.glob("*.npy"))[2:]:
        path.unlink()
    (out / "00.jpg.npy").write_bytes(b"?")
    found = inspect(out)
    assert [each.key for each in found.failures] == [str(out / "00.jpg.npy")] and len(found.sampled) == 1
    code, told, _ = command(capsys, out)
    assert code == 1 and "  failed: " in told and "00.jpg.npy: its content is not what" in told


def test_a_folder_of_another_tool_has_no_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Image.fromarray(np.full((4, 6), 2000, np.uint16)).save(tmp_path / "1.png")
    code, told, _ = command(capsys, tmp_path, "--from", "nyu", "--f-px", 3)
    assert code == 0 and "last run" not in told and "depth.json" not in told
    assert re.search(r"kind +metric \(1\)", told) and re.search(r"range +2 to 2", told)
    assert re.search(r"focal +given \(1\)", told) and re.search(r"view +90 to 90 degrees wide", told)


def test_an_empty_folder_is_said_to_be_empty(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command(capsys, tmp_path)[1] == f"{tmp_path}\n  files       no depth, 0 bytes\n"


def test_a_mixed_folder_says_what_differs(
    out: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    convert(out, tmp_path / "both", format="npy")
    write(tmp_path / "one.npz", DepthMap(VALUES, "disparity"))
    convert(tmp_path / "one.npz", tmp_path / "both", format="npy")
    told = command(capsys, tmp_path / "both")[1]
    assert re.search(r"depth\.json  format npy; kind, model differ", told)


# ---- the command -------------------------------------------------------------------------------------------


def test_the_command_says_everything_in_plain_words(
    out: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, told, said = command(capsys, write(tmp_path / "a.npz"))
    lines = told.splitlines()
    assert (code, said) == (0, "")
    assert lines[:9] == [
        str(tmp_path / "a.npz"),
        f"  format      npz, 10 x 10, {(tmp_path / 'a.npz').stat().st_size / 1e3:.3g} kB",
        "  kind        metric: metres along the optical axis, larger is farther (so says the file)",
        "  range       6 to 100 m",
        "  values      1 %: 6.94, 25 %: 29.5, 50 %: 53, 75 %: 76.5, 99 %: 99.06",
        "  unknown     5.00% of the pixels",
        "  focal       50 px (exif), 22.62 degrees wide",
        "  model       m, weights 111111111111",
        "  image       20 x 20, of which this is all, smaller",
    ]
    image = lines[9:]
    assert len(image) == 20 and image[-1].endswith("....") and image[2].startswith("@@@@")
    assert image[0].startswith(" ") and "\x1b" not in told


def test_json_is_one_line_for_each(out: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    odd = out / "00.jpg.npy"
    odd = odd.rename(out / "\udcff.npy")
    code, told, said = command(capsys, write(tmp_path / "a.npz"), out, tmp_path / "none.npy", "--json")
    a, folder, none = map(json.loads, told.splitlines())
    assert code == 1 and "none.npy: cannot be read: No such file" in said
    assert (a["kind"], a["f_px"], a["model"], a["full_size"], a["percentiles"]["0"]) == (
        "metric",
        50,
        "m",
        [20, 20],
        6,
    )
    assert folder["files"] == {".npy": 20} and len(folder["sampled"]) + len(folder["failures"]) == 16
    assert "cannot be read" in none["error"] and none["path"] == str(tmp_path / "none.npy")


def test_what_cannot_be_read_is_one_line_and_the_others_are_shown(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a.txt").write_text("text")
    code, told, said = command(capsys, tmp_path / "a.txt", write(tmp_path / "b.npz"))
    assert code == 1 and told.startswith(f"\n{tmp_path / 'b.npz'}\n") and said.count("\n") == 1
    assert "a.txt: not a depth file that can be read: give one of .npy, .npz" in said
    with pytest.raises(DepthFileError, match="the limit is 50: raise `max_megapixels`"):
        inspect(tmp_path / "b.npz", max_megapixels=5e-5)
    assert command(capsys, tmp_path / "b.npz", "--max-megapixels", 0.00005)[0] == 1


def test_on_a_terminal_it_is_an_image_in_colour(tmp_path: Path) -> None:
    master, slave = pty.openpty()
    command = [sys.executable, "-m", "cortexia_video", "info", write(tmp_path / "a.npz")]
    environment = {
        **os.environ,
        "TERM": "xterm-256color",
        "COLORTERM": "truecolor",
        "PYTHONIOENCODING": "utf-8",
    }
    environment.pop("NO_COLOR", None)
    process = subprocess.Popen([*map(str, command)], stdout=slave, stderr=slave, env=environment)
    os.close(slave)
    told = b""
    while chunk := _read(master):
        told += chunk
    assert process.wait() == 0
    os.close(master)
    assert told.decode().count("▀") == 20 * 40 and b"\x1b[38;2;" in told


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 1 << 16)
    except OSError:  # the other end is closed
        return b""


@pytest.mark.parametrize(("color", "encoding"), [(None, "utf-8"), ("truecolor", "ascii")])
def test_a_terminal_without_colours_or_blocks_gets_letters(
    color: str | None, encoding: str, tmp_path: Path
) -> None:
    with (tmp_path / "told").open("w", encoding=encoding) as file:
        console = Console(file=file, force_terminal=True, color_system=color, width=30)
        draw_depth(console, VALUES, larger_is_nearer=True)
    told = (tmp_path / "told").read_text()
    assert told.isascii() and "\x1b" not in told
    assert max(map(len, told.splitlines())) == 30


@pytest.mark.parametrize("kind", [None, "metric"])
def test_a_large_map_is_looked_at_in_nine_bytes_a_pixel(tmp_path: Path, kind: str | None) -> None:
    """Its values, which of them are known, and a copy of these: 200 megapixels stay below 2 GiB."""
    values = np.random.default_rng(1).integers(1, 65535, (1500, 2000)).astype(np.uint16)
    Image.fromarray(values).save(tmp_path / "a.png")
    tracemalloc.start()
    found = inspect(tmp_path / "a.png", about={"kind": kind, "scale": 0.001} if kind else None)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert found.percentiles[50] == pytest.approx(np.median(values) * (0.001 if kind else 1))
    file = (tmp_path / "a.png").stat().st_size
    assert peak < 9.5 * values.size + 2 * file
