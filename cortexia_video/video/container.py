"""`open_container`: a video file as PyAV opens it, without following what a file may point to."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path, PurePath
from typing import IO, TYPE_CHECKING, Any

from cortexia_video.errors import DecodeError, MissingExtraError, printable, say_install
from cortexia_video.images.foreign_content import describe_foreign
from cortexia_video.storage.paths import AnyPath, open_named
from cortexia_video.storage.remote_path import RemotePath

if TYPE_CHECKING:
    from av.container import InputContainer

VIDEO_SUFFIXES = frozenset(
    {".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".ts", ".m2ts", ".mts", ".mpg", ".mpeg", ".3gp"}
)
_ENDINGS = tuple(VIDEO_SUFFIXES)
NEEDS = "'cortexia-video[video]'"
IS_INSTALLED = find_spec("av") is not None
_TRANSPORT = {".ts": 0, ".mts": 4, ".m2ts": 4}  # where their first packet begins; .ts are also programs
_SYNC = b"\x47"
# Only formats that hold their content themselves: playlists and lists of files, as HLS and ffconcat, could
# have FFmpeg open other files and URLs.
_FORMATS = "mov,matroska,avi,mpegts,mpeg,mpegvideo,m4v,h264,hevc,ivf"
_HEAD = 512


def is_video_name(name: str) -> bool:
    """Return whether a file goes for a video by its name."""
    return name.lower().endswith(_ENDINGS)


def is_transport_stream(name: str, head: bytes) -> bool:
    """Return whether content is what a name such as a.ts promises; True for any other name."""
    at = _TRANSPORT.get(PurePath(name).suffix.lower())
    return at is None or head[at : at + 1] == _SYNC or head[:1] == _SYNC


def is_video_content(head: bytes) -> bool:
    """Return whether content begins as a video's does."""
    return bool(head) and describe_foreign(head).endswith("a video")


def require_video() -> None:
    """Raise `MissingExtraError` where PyAV is not installed."""
    if not IS_INSTALLED:
        raise MissingExtraError(f"videos need a package: {say_install(NEEDS)}")


class _Bytes:
    """A file without its name: FFmpeg takes some names for URLs."""

    def __init__(self, file: IO[bytes]) -> None:
        self.read, self.seek, self.tell = file.read, file.seek, file.tell


@contextmanager
def open_container(place: AnyPath | IO[bytes]) -> Iterator[InputContainer]:
    """Open a video to read: a path, a URL, or an open file.

    Raises `DecodeError` for what is none, `MissingExtraError`, and the `OSError` of opening the file.
    """
    require_video()
    if not isinstance(place, Path | RemotePath):
        place.seek(0)
        with _open(place, "the file") as container:
            yield container
        return
    with open_named(place) as file, _open(file, printable(str(place))) as container:
        yield container


def _open(file: Any, name: str) -> InputContainer:
    import av

    options = {"format_whitelist": _FORMATS, "protocol_whitelist": "none"}
    try:
        return av.open(_Bytes(file), "r", container_options=options, metadata_errors="replace")
    except av.error.FFmpegError as error:
        head = b""
        with suppress(OSError, ValueError):
            file.seek(0)
            head = file.read(_HEAD)
        raise DecodeError(f"{name}: {_explain(head)}") from error


def _explain(head: bytes) -> str:
    if not head:
        return "empty file"
    if is_video_content(head):
        return "a video that is cut short or damaged: its index cannot be read; copy it again, or repair it"
    return describe_foreign(head).replace("not an image", "not a video")
