"""The command line: exit codes, what goes where, and that it starts light."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from conftest import HANG_S, leave_out_progress
from PIL import Image

from cortexia_video import Failure, estimate
from cortexia_video.cli import main
from cortexia_video.ledger.state import parse_line

Make = Callable[..., Path]
HEAVY = ("torch", "transformers", "ray", "cv2", "matplotlib", "datasets", "albumentations", "onnxruntime")
HEAVY += ("fsspec", "tifffile", "imagecodecs", "OpenEXR")


def cortexia(*arguments: object, **options: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "cortexia_video", *map(str, arguments)]
    return subprocess.run(
        command, capture_output=True, text=True, errors="surrogateescape", timeout=HANG_S, **options
    )


@pytest.fixture
def photos(tmp_path: Path, make_image: Make) -> Path:
    for index in range(3):
        make_image(tmp_path / "photos" / f"{index}.jpg", seed=index)
    return tmp_path / "photos"


def test_all_done_is_0_and_says_so(photos: Path, tmp_path: Path) -> None:
    ran = cortexia("estimate", photos, "--output", tmp_path / "out", "--preview")
    assert (ran.returncode, leave_out_progress(ran.stderr)) == (0, "")
    assert ran.stdout.startswith("3 found: 3 done, 0 skipped, 0 failed; ")
    assert "images/s" in ran.stdout
    assert sorted(os.listdir(tmp_path / "out")) == sorted(
        [f"{index}.jpg{suffix}" for index in range(3) for suffix in (".npy", ".preview.jpg")]
        + ["depth.json", "ledger.jsonl"]
    )
    again = cortexia("estimate", photos, "-o", tmp_path / "out", "--preview")
    assert again.returncode == 0
    assert again.stdout.startswith("3 found: 0 done, 3 skipped, 0 failed; ")


def test_options_are_taken_with_dashes_and_underscores(photos: Path, tmp_path: Path) -> None:
    for spelling in ("--batch-size", "--batch_size"):
        ran = cortexia(
            "estimate", photos, "--output", tmp_path / "out", spelling, 2, "--workers", 1, "--device", "cpu"
        )
        assert ran.returncode == 0, ran.stderr


def test_a_folder_may_have_any_name(photos: Path, tmp_path: Path) -> None:
    for name in ("[2024] trip", "[1]", "@home", "list.txt", "-x"):
        photos = photos.rename(tmp_path / name)
        ran = cortexia("estimate", f"./{name}", "--output", tmp_path / "out" / name, cwd=tmp_path)
        assert ran.returncode == 0, ran.stdout + ran.stderr


def test_a_reader_that_goes_away_and_a_terminal_without_unicode(photos: Path, tmp_path: Path) -> None:
    (photos / "日本.jpg").write_bytes(b"")
    ran = cortexia(
        "estimate", photos, "-o", tmp_path / "out", env={**os.environ, "PYTHONIOENCODING": "ascii"}
    )
    assert (ran.returncode, "Traceback" in ran.stderr) == (1, False)
    command = f"{sys.executable} -m cortexia_video estimate {photos} -o {tmp_path / 'out'} | true"
    assert "Traceback" not in subprocess.run(command, shell=True, capture_output=True, text=True).stderr


def test_some_failed_is_1_and_each_has_its_reason(photos: Path, tmp_path: Path) -> None:
    (photos / "text.jpg").write_text("dear diary")
    (photos / "line\nbreak\x1b[31m.jpg").write_bytes(b"")
    ran = cortexia("estimate", photos, "--output", tmp_path / "out", "--format", "png")
    assert ran.returncode == 1
    assert "5 found: 3 done, 0 skipped, 2 failed" in ran.stdout
    reasons = sorted(line for line in ran.stderr.splitlines() if line.startswith("failed (decode): "))
    assert len(reasons) == 2
    assert r"line\nbreak\x1b[31m.jpg: " in reasons[0]
    assert "text.jpg: " in reasons[1]
    assert (
        f"  why each failed: {tmp_path / 'out' / 'ledger.jsonl'}\n" in ran.stdout and "text" not in ran.stdout
    )


def test_names_that_are_not_utf8_can_be_printed(photos: Path, tmp_path: Path) -> None:
    name = os.fsdecode(os.fsencode(photos) + b"/\xff.jpg")
    Path(name).write_bytes(b"")
    ran = cortexia("estimate", photos, "--output", tmp_path / "out", env={**os.environ, "LC_ALL": "C.UTF-8"})
    assert ran.returncode == 1
    assert r"\udcff.jpg: " in ran.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["estimate", "{photos}"], "--output"),
        (["estimate", "--output", "{out}"], "INPUT"),
        (["estimate", "{photos}/gone", "--output", "{out}"], "no such file or folder: "),
        (["estimate", "{empty}", "--output", "{out}"], "no images in "),
        (["estimate", "{photos}", "--output", "{out}", "--model", "none"], "no model is called 'none'"),
        (["estimate", "{photos}", "--output", "{out}", "--model", "onnx:{photos}/0.jpg"], "is not a network"),
        (["estimate", "{photos}", "--output", "{out}", "--device", "tpu"], "unknown device 'tpu'"),
        (["estimate", "{photos}", "--output", "{out}", "--format", "gif"], "gif"),
        (
            ["estimate", "{photos}", "--output", "{out}", "--batch-size", "0"],
            "--batch-size must be at least 1, or auto, got 0",
        ),
        (
            ["estimate", "{photos}", "--output", "{out}", "--workers", "-1"],
            "--workers must be at least 1, got -1",
        ),
        (
            ["estimate", "{photos}", "--output", "{out}", "--max-megapixels", "nan"],
            "--max-megapixels must be above 0",
        ),
        (
            ["estimate", "{photos}", "--output", "{out}", "--input-size", "big"],
            "--input-size must be like 518",
        ),
        (
            ["estimate", "{photos}", "--output", "{out}", "--kind", "metric"],
            "does not take all of these options",
        ),
        (["estimate", "{photos}", "--output", "{out}", "--no-such-option"], "--no-such-option"),
        (["estimate", "{photos}", "--output", "{photos}/0.jpg/x"], "choose another --output"),
        (["no-such-command"], "no-such-command"),
    ],
)
def test_wrong_usage_is_2_with_a_line_and_nothing_made(
    photos: Path, tmp_path: Path, arguments: list[str], message: str, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "empty").mkdir()
    names = {"photos": photos, "out": tmp_path / "out", "empty": tmp_path / "empty"}
    with pytest.raises(SystemExit) as ended:
        main([argument.format(**names) for argument in arguments])
    said = capfd.readouterr()
    assert ended.value.code == 2
    assert message in said.out + said.err
    assert "Traceback" not in said.err
    assert not (tmp_path / "out").exists()


def interrupt(photos: Path, out: Path, *, times: int, number: int = signal.SIGINT) -> subprocess.Popen[str]:
    command = [
        sys.executable,
        "-m",
        "cortexia_video",
        "estimate",
        photos,
        "--output",
        out,
        "--batch-size",
        "1",
    ]
    process = subprocess.Popen(
        [*map(str, command)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    while not list(out.glob("*.npy")) and process.poll() is None:
        time.sleep(0.005)
    for _ in range(times):
        process.send_signal(number)
    process.wait(timeout=HANG_S)
    return process


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_is_130_with_nothing_half_written(tmp_path: Path, make_image: Make, number: int) -> None:
    make_image(tmp_path / "photos/0.jpg", (1500, 2000))
    for index in range(1, 24):
        shutil.copyfile(tmp_path / "photos/0.jpg", tmp_path / f"photos/{index}.jpg")
    process = interrupt(tmp_path / "photos", tmp_path / "out", times=1, number=number)
    assert process.returncode == 130
    said = process.stdout.read()
    process.stdout.close()
    assert "interrupted: what was being written is finished" in said
    written = list((tmp_path / "out").glob("*.npy"))
    assert 0 < len(written) < 24
    assert all(np.load(path).shape == (1500, 2000) for path in written)
    assert not (tmp_path / "out/.cortexia-partial").exists()
    again = cortexia("estimate", tmp_path / "photos", "--output", tmp_path / "out")
    assert f"24 found: {24 - len(written)} done, {len(written)} skipped, 0 failed" in again.stdout


def test_a_second_process_on_the_folder_is_refused(photos: Path, tmp_path: Path) -> None:
    from ledgers import open_ledger

    with open_ledger(tmp_path / "out", {}):
        ran = cortexia("estimate", photos, "--output", tmp_path / "out")
    assert ran.returncode == 2
    assert "another process is writing to" in ran.stderr


@pytest.fixture
def small_disk(tmp_path: Path) -> Path:
    """Yield a file system of 200 kB, or skip where one cannot be mounted."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=200k", "tmpfs", str(place)]
    if not shutil.which("mount") or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("cannot mount a small file system here")
    yield place
    subprocess.run(["umount", str(place)], check=True)


def test_a_full_disk_is_one_line_and_what_is_done_is_kept(
    photos: Path, small_disk: Path, make_image: Make
) -> None:
    for index in range(3, 9):
        make_image(photos / f"{index}.jpg", (120, 130), seed=index)  # 62 kB of depth each
    ran = cortexia("estimate", photos, "--output", small_disk / "out")
    assert ran.returncode == 1
    assert "No space left on device; what is done is kept: make room" in ran.stderr
    assert "Traceback" not in ran.stderr
    assert " found: " in ran.stdout
    kept = sorted((small_disk / "out").glob("*.npy"))
    assert kept and all(np.load(path).ndim == 2 for path in kept)


def test_a_read_only_place_is_refused_before_anything(photos: Path, small_disk: Path) -> None:
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    ran = cortexia("estimate", photos, "--output", small_disk / "out")
    assert ran.returncode == 2
    assert "Read-only file system; choose another --output" in ran.stderr


def test_models_says_licence_and_kind() -> None:
    ran = cortexia("models")
    rows = {line.split("\t")[0]: line.split("\t") for line in ran.stdout.splitlines()}
    assert set(rows) >= {"compact", "onnx:FILE", "synthetic"} and "name" not in rows  # no header in a pipe
    assert rows["compact"][2:6] == ["disparity", "Apache-2.0", "Apache-2.0", "yes"]


def test_version_and_help() -> None:
    assert cortexia("--version").stdout.strip().count(".") == 2
    said = cortexia("estimate", "--help").stdout
    for option in (
        "--output",
        "--batch-size",
        "--device",
        "--workers",
        "--overwrite",
        "--model",
        "--preview",
    ):
        assert option in said


@pytest.mark.parametrize(
    "code", ["import cortexia_video", "from cortexia_video.cli import app; app(['--help'])"]
)
def test_starting_imports_nothing_heavy(code: str) -> None:
    check = (
        f"import sys\ntry:\n {code}\nexcept SystemExit: pass\nprint([m for m in {HEAVY} if m in sys.modules])"
    )
    ran = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True)
    assert ran.stdout.splitlines()[-1] == "[]"


def test_a_png_view_is_as_the_spec_says(tmp_path: Path, make_image: Make) -> None:
    make_image(tmp_path / "photos/a.jpg", (60, 80))
    assert (
        cortexia("estimate", tmp_path / "photos", "--output", tmp_path / "out", "--format", "png").returncode
        == 0
    )
    with Image.open(tmp_path / "out/a.jpg.png") as image:
        assert (image.mode, image.size) == ("L", (80, 60))
        assert image.getextrema() == (0, 255)


@pytest.mark.parametrize("command", ["verify", "info", "report", "pointcloud"])
def test_an_interruption_is_one_line_and_130(
    photos: Path,
    tmp_path: Path,
    command: str,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    out = tmp_path / "out"
    estimate(photos, out, model="synthetic", kind="metric", f_px=50)
    more = {"pointcloud": ("--output", tmp_path / "more")}
    presses = iter([signal.SIGINT])

    def press_ctrl_c(line: bytes) -> dict[str, object]:
        for number in presses:
            os.kill(os.getpid(), number)
        return parse_line(line)

    for module in ("ledger", "state", "index"):
        monkeypatch.setattr(f"cortexia_video.ledger.{module}.parse_line", press_ctrl_c)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # as in the foreground of a shell
    try:
        with pytest.raises(SystemExit) as ended:
            main([command, str(out), *map(str, more.get(command, ()))])
    finally:
        signal.signal(signal.SIGINT, before)
    assert ended.value.code == 130
    said = capfd.readouterr()
    assert "Traceback" not in said.err and (said.out + said.err).count("interrupted") == 1


@pytest.mark.parametrize(("option", "value"), [("--f-px", "-3"), ("--scale", "nan"), ("--f-px", "inf")])
def test_a_number_that_means_nothing_is_said_once_by_its_option(
    tmp_path: Path, option: str, value: str
) -> None:
    np.save(tmp_path / "a.npy", np.ones((4, 5), np.float32))
    given = (tmp_path / "a.npy", "--kind", "metric", option, value)
    for ran in (
        cortexia("convert", *given, "--output", tmp_path / "out", "--format", "npz"),
        cortexia("info", *given),
    ):
        assert ran.returncode == 2
        assert ran.stderr == f"cortexia: {option} must be a number above 0, got {value}\n"
    assert not (tmp_path / "out").exists()


def test_a_failed_conversion_names_its_file_once(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.ones((4, 5, 3), np.float32))
    ran = cortexia("convert", tmp_path, "--output", tmp_path / "out", "--format", "npz")
    assert ran.stderr.startswith(f"failed (decode): {tmp_path}/a.npy: its shape is (4, 5, 3)")


@pytest.mark.parametrize(
    ("key", "reason", "said"),
    [
        ("trip/a", "/in/trip/a.npy: is broken", "/in/trip/a.npy: is broken"),
        ("a.jpg", "a.jpg.npy: is broken", "a.jpg.npy: is broken"),
        ("a", "/in/b.npy: is broken", "a: /in/b.npy: is broken"),
        ("a", "/in/ba.npy: is broken", "a: /in/ba.npy: is broken"),
        ("a", "a lens: is none", "a: a lens: is none"),
        ("i", "its shape: is none", "i: its shape: is none"),
    ],
)
def test_a_failure_names_its_file_once(key: str, reason: str, said: str) -> None:
    assert str(Failure(key, "decode", ValueError(reason))) == f"failed (decode): {said}"


def test_libraries_say_nothing_of_broken_files(tmp_path: Path) -> None:
    tifffile, openexr = pytest.importorskip("tifffile"), pytest.importorskip("OpenEXR")
    values = np.random.default_rng(0).random((400, 500), np.float32)
    tifffile.imwrite(tmp_path / "a.tiff", values, compression="zstd")
    header = {"compression": openexr.ZIP_COMPRESSION, "type": openexr.scanlineimage}
    openexr.File(header, {"Z": values}).write(str(tmp_path / "b.exr"))
    for path in (tmp_path / "a.tiff", tmp_path / "b.exr"):
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
        ran = cortexia("info", path)
        assert (ran.returncode, ran.stdout, leave_out_progress(ran.stderr).count("\n")) == (1, "", 1)
        assert ran.stderr.startswith(f"cortexia: {path}: it cannot be decoded: ")
    ran = cortexia("convert", tmp_path, "--output", tmp_path / "out", "--format", "npy", "--kind", "metric")
    assert [line.split(":")[0] for line in leave_out_progress(ran.stderr).splitlines()] == [
        "failed (decode)"
    ] * 2
