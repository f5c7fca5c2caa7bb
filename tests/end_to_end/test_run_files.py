"""`make test` runs each file in a process of its own, and none is lost, whatever it dies of."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from conftest import HANG_S

FILES = {
    "test_good.py": "import pytest\ndef test_a(): pass\n@pytest.mark.skip\ndef test_b(): pass\n",
    "test_bad.py": "def test_c(): assert 1 == 2\ndef test_d(): pass\n",
    "test_dead.py": "import os, signal\ndef test_e(): os.kill(os.getpid(), signal.SIGKILL)\n",
    "test_torch.py": "import nothing_of_that_name\n",
}
SUPPORT = str(Path(__file__).resolve().parents[1] / "support")


def test_every_file_has_an_outcome(tmp_path: Path) -> None:
    for name, text in FILES.items():
        (tmp_path / name).write_text(text)
    found = f"import sys; sys.path.insert(0, {SUPPORT!r}); import run_files"
    code = f"{found}; run_files.LIGHT = run_files.HEAVY = (); sys.exit(run_files.main())"

    def run(*names: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", code, "--jobs", "2", *map(str, names)]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=HANG_S)

    ran = run(".")
    assert ran.returncode == 1 and ran.stdout.endswith("\n2 passed, 3 failed, 1 skipped\n")
    assert "assert 1 == 2" in ran.stdout and "died by SIGKILL" in ran.stdout
    assert "No module named 'nothing_of_that_name'" in ran.stdout
    good = run("test_good.py")
    assert (good.returncode, good.stderr) == (0, "")
    assert good.stdout.endswith("\n1 passed, 0 failed, 1 skipped\n")
