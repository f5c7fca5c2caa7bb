"""Which sink a place has."""

from __future__ import annotations

from cortexia_video.places.place import Place
from cortexia_video.places.remote_path import RemotePath
from cortexia_video.sinks.folder import FolderSink
from cortexia_video.sinks.objects import ObjectSink
from cortexia_video.sinks.sink import Sink


def open_sink(root: Place, *, format: str = "npy", preview: bool = False) -> Sink:
    """Give the sink that fits a place; raises what `Sink` raises."""
    if isinstance(root, RemotePath):
        return ObjectSink(root, format=format, preview=preview)
    return FolderSink(root, format=format, preview=preview)
