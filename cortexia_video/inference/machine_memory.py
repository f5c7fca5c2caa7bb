"""`MachineMemory`: what was found out about a network on this machine, kept in the user's cache folder.

One small JSON file for each machine, network, and whatever else it depends on: what any of these changes is found out
again. A file that is missing, damaged or cannot be written costs that, nothing else.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import platform
from collections.abc import Mapping
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from cortexia_video.errors import CortexiaError
from cortexia_video.runtime.resources import count_cores
from cortexia_video.storage.atomic_file import write_atomic
from cortexia_video.storage.documents import parse_json
from cortexia_video.storage.paths import read_named
from cortexia_video.storage.user_cache import find_cache

_PACKAGES = ("cortexia-video", "torch", "onnxruntime", "onnxruntime-gpu", "openvino", "onnxscript")
_CPU_INFO = Path("/proc/cpuinfo")
_GPUS = Path("/proc/driver/nvidia/gpus")


class MachineMemory:
    """What was found of one network on this machine.

    sort: of what; the name of the folder. about: what it depends on besides the machine and the versions.
    """

    def __init__(self, sort: str, about: Mapping[str, Any]) -> None:
        text = json.dumps({**about, **_describe_machine()}, default=str, sort_keys=True)
        self._about = parse_json(text, "what is asked for", finite=False)  # as it is read back
        digest = hashlib.sha256(json.dumps(self._about, sort_keys=True).encode()).hexdigest()
        self.path = find_cache() / sort / f"{digest[:24]}.json"

    def read(self) -> Any:
        """Return what was found; None where nothing is known."""
        with contextlib.suppress(OSError, CortexiaError):
            said = parse_json(read_named(self.path), self.path)
            if isinstance(said, dict) and said.get("about") == self._about:
                return said.get("found")
        return None

    def write(self, found: object, **more: object) -> None:
        """Keep what was found. more: what else to say of it, for people."""
        said = {"found": found, **more, "about": self._about}
        with contextlib.suppress(OSError, CortexiaError), write_atomic(self.path) as half:
            half.write_text(json.dumps(said, indent=1))


@cache
def _describe_machine() -> dict[str, Any]:
    """Return what tells this machine, and what runs networks on it, from others that are not alike.

    Not its name: that of a container is another one each time.
    """
    told = _read_words(_CPU_INFO)
    processor = told.get("model name") or platform.processor()
    instructions = hashlib.sha256(told.get("flags", "").encode()).hexdigest()[:16]
    gpus = [_read_words(each).get("Model", "") for each in sorted(_GPUS.glob("*/information"))]
    machine = [platform.machine(), processor, instructions, count_cores(), _count_gigabytes(), *gpus]
    versions = {}
    for name in _PACKAGES:
        with contextlib.suppress(PackageNotFoundError):
            versions[name] = version(name)
    return {"machine": machine, "versions": versions}


def _read_words(path: Path) -> dict[str, str]:
    """Return what a file of the kernel's says in lines such as `model name : ...`; nothing where none can be read."""
    lines: list[str] = []
    with contextlib.suppress(OSError):
        lines = path.read_text(errors="replace").splitlines()
    return {line.partition(":")[0].strip(): line.partition(":")[2].strip() for line in lines}


def _count_gigabytes() -> int:
    """Return how much memory the machine has; 0 where the system does not tell."""
    with contextlib.suppress(AttributeError, OSError, ValueError):
        return round(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 1e9)
    return 0
