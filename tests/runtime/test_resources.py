"""What a process keeps of the memory that it freed."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest
from conftest import HANG_S

_COUNT = """
import resource, sys
import numpy as np
from cortexia_video.runtime.resources import keep_freed_memory
if sys.argv[1] == "kept":
    keep_freed_memory()
for turn in range(21):
    arrays = [np.ones(1_200_000, np.uint8) for _ in range(8)]
    del arrays
    if turn == 0:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="others give back by other rules")
def test_memory_that_was_freed_is_used_again_without_fresh_pages() -> None:
    faults = {}
    for way in ("kept", "given back"):
        ran = subprocess.run(
            [sys.executable, "-c", _COUNT, way], capture_output=True, timeout=HANG_S, check=True
        )
        faults[way] = int(ran.stdout)
    assert faults["kept"] < 2000 < faults["given back"]  # 20 turns of 2,344 pages
