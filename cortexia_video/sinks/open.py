"""Which sink a place has."""

from __future__ import annotations

from typing import Any

from cortexia_video.sinks.folder import FolderSink
from cortexia_video.sinks.objects import ObjectSink
from cortexia_video.sinks.sink import Sink
from cortexia_video.storage.paths import AnyPath
from cortexia_video.storage.remote_path import RemotePath


def open_sink(root: AnyPath, **options: Any) -> Sink:
    """Return the sink that fits a place; options and errors are those of `Sink`."""
    return ObjectSink(root, **options) if isinstance(root, RemotePath) else FolderSink(root, **options)
