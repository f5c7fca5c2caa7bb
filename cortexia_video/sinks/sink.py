"""`Sink`: where the files of depth maps go, whatever lies there; and what those files are."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Protocol, Self, TypeVar

from cortexia_video.depth_map import DepthMap
from cortexia_video.errors import Failure, InputError, OutputError, not_known
from cortexia_video.formats.raw_depth import Chunks
from cortexia_video.formats.registry import FORMATS, PREVIEW, RELATIVE, Format
from cortexia_video.ledger.entries import ItemDone, Placed
from cortexia_video.runtime.throughput import StageClock
from cortexia_video.storage.paths import AnyPath
from cortexia_video.video import depth_clip
from cortexia_video.video import preview as video_preview

PARTIAL = ".cortexia-partial"


class Keyed(Protocol):
    @property
    def key(self) -> str: ...


Item = TypeVar("Item", bound=Keyed)


class Sink(ABC):
    """Write depth maps to `root/<key><suffix>`, each file there atomically. A context manager.

    format: its name, or the formats of the files of a key. preview, relative: also write a coloured image, and
    the map before it was aligned. suffixes: of the files of a key, where they are no depth maps but, say, made
    of them.
    Raises `OutputError` for an unknown format, `MissingExtraError` for one whose package is not installed, and on
    entering `OutputError` where nothing can be written.
    """

    root: AnyPath
    partial: Path | None = (
        None  # the folder for what is not whole yet; None: the system's for temporary files
    )

    def __init__(
        self,
        *,
        format: str | Sequence[Format] = "npy",
        preview: bool = False,
        relative: bool = False,
        suffixes: Sequence[str] | None = None,
    ) -> None:
        if isinstance(format, str) and format not in FORMATS:
            raise OutputError(not_known("format", format, FORMATS))
        chosen = (FORMATS[format],) if isinstance(format, str) else tuple(format)
        for each in chosen:
            each.require()
        more = [each for each, wanted in ((PREVIEW, preview), (RELATIVE, relative)) if wanted]
        self.formats: tuple[Format, ...] = (*chosen, *more)
        self.suffixes = suffixes or [each.suffix for each in self.formats]
        self.clip_suffixes = [depth_clip.SUFFIX, *([video_preview.SUFFIX] if preview else [])]

    @abstractmethod
    def __enter__(self) -> Self: ...

    @abstractmethod
    def __exit__(self, *_: object) -> None: ...

    @abstractmethod
    def place(self, files: Mapping[str, Chunks]) -> dict[str, Placed]:
        """Write files as `encode` gives them, each whole and safe when this returns.

        Raises `OSError` for trouble with one file, and `OutputLostError` where no other file could be written
        either.
        """

    @abstractmethod
    def size_of(self, name: str) -> int | None:
        """Return the bytes of a file, None where there is none."""

    @abstractmethod
    def holds(self, name: str) -> bool:
        """Return whether anything of this name is there."""

    @abstractmethod
    def holds_own(self, name: str) -> bool:
        """Return whether what is there is, by its content, an output of ours."""

    def output_names(self, key: str, *, is_clip: bool = False) -> list[str]:
        """Return the names, relative to the root, of the files of an input."""
        return [key + suffix for suffix in (self.clip_suffixes if is_clip else self.suffixes)]

    def gather(
        self,
        items: Iterable[Item],
        work: Callable[[Iterable[Item]], Iterator[tuple[Item, ItemDone | Failure]]],
        clock: StageClock,
    ) -> Iterator[tuple[Item, ItemDone | Failure]]:
        """Yield what `work` makes of items, each when its files are in place: here, at once."""
        return work(items)

    def write(self, key: str, depth: DepthMap) -> dict[str, Placed]:
        """Encode and place one depth map; raises what `encode` and `place` raise."""
        return self.place(self.encode(key, depth))

    def encode(self, key: str, depth: DepthMap) -> dict[str, Chunks]:
        """Return the files of a depth map, by name, each in pieces.

        Raises `InputError` for a key that leads out of the root, before anything is encoded.
        """
        self.check_key(key)
        return {key + each.suffix: each.encode(depth) for each in self.formats}

    def check_key(self, key: str) -> None:
        """Raise `InputError` for a key that leads out of the root."""
        parts = Path(key).parts
        if not parts or ".." in parts or Path(key).is_absolute() or parts[0] == PARTIAL:
            raise InputError(
                f"key {key!r} does not name a file inside {self.root}: use a relative path without '..'"
            )
