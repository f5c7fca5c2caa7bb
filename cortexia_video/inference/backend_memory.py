"""`BackendMemory`: which backend proved fastest for a network on this machine, kept in the user's cache folder.

One small JSON file for each machine, network, shape of input and set of versions: what any of these changes is tried
again. A file that is missing, damaged or cannot be written costs a trial, nothing else.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import platform
from collections.abc import Mapping, Sequence
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


class BackendMemory:
    """What a trial found, for one network and shape on this machine. about: whatever else it depends on."""

    def __init__(self, about: Mapping[str, Any]) -> None:
        text = json.dumps({**about, **_describe_machine()}, default=str, sort_keys=True)
        self._about = parse_json(text, "what is asked for", finite=False)  # as it is read back
        digest = hashlib.sha256(json.dumps(self._about, sort_keys=True).encode()).hexdigest()
        self.path = find_cache() / "backends" / f"{digest[:24]}.json"

    def read(self) -> str | None:
        """Return what was chosen; None where nothing is known."""
        with contextlib.suppress(OSError, CortexiaError):
            said = parse_json(read_named(self.path), self.path)
            if isinstance(said, dict) and said.get("about") == self._about:
                return str(said.get("chosen"))
        return None

    def write(self, chosen: str, trials: Sequence[str]) -> None:
        """Keep what was chosen, and what each trial said, for people."""
        said = {"chosen": chosen, "trials": [*trials], "about": self._about}
        with contextlib.suppress(OSError, CortexiaError), write_atomic(self.path) as half:
            half.write_text(json.dumps(said, indent=1))


def _describe_machine() -> dict[str, Any]:
    """Return what tells this machine, and what runs networks on it, from others."""
    lines = _CPU_INFO.read_text(errors="replace").splitlines() if _CPU_INFO.exists() else []
    told = {line.partition(":")[0].strip(): line.partition(":")[2].strip() for line in lines}
    processor = told.get("model name") or platform.processor()
    instructions = hashlib.sha256(told.get("flags", "").encode()).hexdigest()[:16]
    machine = [platform.node(), platform.machine(), processor, instructions, count_cores()]
    versions = {}
    for name in _PACKAGES:
        with contextlib.suppress(PackageNotFoundError):
            versions[name] = version(name)
    return {"machine": machine, "versions": versions}
