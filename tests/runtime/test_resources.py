"""What a process keeps of the memory that it freed."""

from __future__ import annotations

import platform
import subprocess
import sys
from pathlib import Path

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


_HEAPS = """
import ctypes, os, sys, threading
from pathlib import Path
from cortexia_video.runtime.resources import count_cores, share_heaps
os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
share_heaps()
begin = threading.Barrier(9)
libc = ctypes.CDLL(None)
libc.malloc.argtypes, libc.malloc.restype = [ctypes.c_size_t], ctypes.c_void_p
threads = [threading.Thread(target=lambda: (begin.wait(), libc.malloc(3000), begin.wait())) for _ in range(8)]
[each.start() for each in threads]
begin.wait()
libc.fopen.restype, libc.malloc_info.argtypes = ctypes.c_void_p, [ctypes.c_int, ctypes.c_void_p]
libc.fclose.argtypes = [ctypes.c_void_p]
file = libc.fopen(sys.argv[1].encode(), b"w")
libc.malloc_info(0, file), libc.fclose(file), begin.wait()
print(Path(sys.argv[1]).read_text().count("<heap nr") / count_cores())
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="others have no such heaps")
def test_threads_share_heaps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MALLOC_ARENA_MAX", raising=False)
    command = [sys.executable, "-c", _HEAPS, str(tmp_path / "heaps.xml")]
    ran = subprocess.run(command, capture_output=True, timeout=HANG_S, check=True)
    assert float(ran.stdout) == 1


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="others give back by other rules")
def test_memory_that_was_freed_is_used_again_without_fresh_pages() -> None:
    faults = {}
    for way in ("kept", "given back"):
        ran = subprocess.run(
            [sys.executable, "-c", _COUNT, way], capture_output=True, timeout=HANG_S, check=True
        )
        faults[way] = int(ran.stdout)
    assert faults["kept"] < 2000 < faults["given back"]  # 20 turns of 2,344 pages
