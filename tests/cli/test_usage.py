"""A wrong command line is one line: what was meant, or an example; nothing heavy is imported to find it out."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest import HANG_S, ROOT

from cortexia_video.cli import main


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("photos/", "photos/ is no command: cortexia estimate photos/ --output depth"),
        ("a.jpg", "a.jpg is no command: cortexia estimate a.jpg --output depth"),
        ("net.onnx", "net.onnx is no command: cortexia estimate photos --output depth --model onnx:net.onnx"),
        ("estimat x", "estimat is no command: did you mean estimate?"),
        ("dataset buil", "buil is no command: did you mean build?"),
        ("zzz", "zzz is no command: there are estimate, "),
        ("rescale x", "rescale is now cortexia convert RUN --output NEW --f-px"),
        ("estimate", "INPUT is missing, as in: cortexia estimate photos --output depth"),
        ("estimate photos", "--output is missing, as in: cortexia estimate photos --output depth"),
        ("scenes -o x", "--count is missing, as in: cortexia scenes --count 100 --output scenes"),
        (
            "dataset build x",
            "--output is missing, as in: cortexia dataset build photos --depth depth --output ",
        ),
        ("estimate x --outptu y", "Unknown option: --outptu. Did you mean --output?"),
        ("estimate x -o y --format nyp", "Did you mean npz?"),
        ("estimate x -o y --kind disparty", "Did you mean disparity?"),
        (
            "evaluate compact --truth x --protocol nyu-eigne",
            "unknown protocol 'nyu-eigne': did you mean nyu-eigen? ",
        ),
        ("convert in -o y --from kiti", "unknown convention 'kiti': did you mean kitti? "),
        ("estimate in -o y --model cmpact", "did you mean compact? "),
        ("estimate in -o y --model ./net.onnx", "--model onnx:./net.onnx takes it"),
        ("estimate inn -o y", "no such file or folder: inn; did you mean in?"),
        ("help estimat", "did you mean estimate? "),
        ("help formatts", "did you mean formats? "),
    ],
)
def test_a_wrong_command_line_is_answered_with_what_was_meant(
    words: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "in").mkdir()
    (tmp_path / "in/a.jpg").write_bytes(b"\xff\xd8\xff")
    with pytest.raises(SystemExit) as ended:
        main(words.split())
    told = capsys.readouterr()
    assert (ended.value.code, told.out) == (2, "")
    assert told.err.startswith("cortexia: ") and told.err.count("\n") == 1 and said in told.err


def test_a_mistyped_command_imports_no_command() -> None:
    program = (
        "import sys\n"
        "from cortexia_video.cli import main\n"
        "try: main(['estimat', 'x'])\n"
        "except SystemExit: pass\n"
        "print(*(each for each in ('numpy', 'cortexia_video.cli.estimate') if each in sys.modules))"
    )
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=HANG_S)
    assert (ran.stdout, ran.stderr) == ("\n", "cortexia: estimat is no command: did you mean estimate?\n")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "Usage: cortexia COMMAND"),
        (("estimate",), "Usage: cortexia estimate"),
        (("dataset", "build"), "Usage: cortexia dataset build"),
        (("formats",), "# Depth files"),
        (("align",), "Usage: cortexia align"),
        (("docs/align",), "# "),
        (("models", "adding"), "# "),
    ],
)
def test_help_is_a_command(words: tuple[str, ...], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["help", *words])
    assert ended.value.code == 0 and capsys.readouterr().out.startswith(said)


def test_help_and_errors_name_pages_that_there_are(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    with pytest.raises(SystemExit):
        main(["estimate", "--help"])
    said = capsys.readouterr().out
    assert (
        "`cortexia help docs/formats`" in " ".join(said.replace("│", "").split())
        and "docs/formats.md" not in said
    )
    (tmp_path / "recipe.toml").write_text("steps = 2")
    with pytest.raises(SystemExit):
        main(["train", str(tmp_path / "recipe.toml"), "-o", str(tmp_path / "out")])
    assert "`cortexia help docs/training`" in capsys.readouterr().err


def test_the_wheel_has_the_pages() -> None:
    assert '"docs" = "cortexia_video/docs"' in (ROOT / "pyproject.toml").read_text()


def test_ctrl_c_while_it_is_imported_is_one_line(tmp_path: Path) -> None:
    """An import that never ends: of the package that the command line is made with."""
    (tmp_path / "cyclopts.py").write_text("print('here', flush=True)\nimport time\ntime.sleep(600)\n")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), str(ROOT)])}
    with subprocess.Popen(
        [sys.executable, "-m", "cortexia_video", "estimate", "x"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    ) as process:
        assert process.stdout and process.stdout.readline() == "here\n"
        process.send_signal(signal.SIGINT)
        began = time.monotonic()
        _, said = process.communicate(timeout=HANG_S)
    assert (process.returncode, said) == (
        130,
        "cortexia: interrupted\n",
    ) and time.monotonic() - began < HANG_S
