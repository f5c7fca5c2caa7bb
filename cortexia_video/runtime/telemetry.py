"""Telemetry of the libraries that are used here is off, in this process and in those that it starts.

What they read is set before any of them is imported, where nobody set it before: a person who wants a library
to report home sets its variable, or imports it before this package.
"""

from __future__ import annotations

import os
import sys
from typing import Any

_OFF = {
    "ORT_DISABLE_TELEMETRY": "1",  # else onnxruntime 1.32 writes a device id to the home folder, and sends it
    "RAY_USAGE_STATS_ENABLED": "0",
    "HF_HUB_DISABLE_TELEMETRY": "1",  # of transformers and datasets, too
    "HF_UPDATE_DOWNLOAD_COUNTS": "0",  # else opening local files by `datasets` is counted on the hub
    "NO_ALBUMENTATIONS_UPDATE": "1",  # else its import asks PyPI for a newer version
}
_PACKAGES = ("openvino_telemetry",)  # reports the import of openvino, whatever is set; openvino does without


def turn_off_telemetry() -> None:
    """Set what keeps each library from reporting home; to be called before their import."""
    for name, value in _OFF.items():
        os.environ.setdefault(name, value)
    modules: dict[str, Any] = sys.modules
    for name in _PACKAGES:
        modules.setdefault(name, None)  # for Python: not installed
