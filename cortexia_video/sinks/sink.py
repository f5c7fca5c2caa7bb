"""`Sink`: where the files of depth maps go, and what those files are; `FolderSink`: each in a folder, atomically."""

from __future__ import annotations

import errno
import os
import unicodedata
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path, PurePath
from typing import Any, Protocol, Self, TypeVar

from cortexia_video.depth_map import DepthMap
from cortexia_video.errors import (
    Failure,
    InputError,
    OutputError,
    OutputExistsError,
    OutputLostError,
    describe,
    not_known,
    put_in_words,
)
from cortexia_video.formats.raw_depth import Chunks
from cortexia_video.formats.registry import FORMATS, MAPS, PREVIEW, RELATIVE, Format, is_own_output
from cortexia_video.ledger.entries import ItemDone, WrittenFile
from cortexia_video.runtime.resources import StageClock
from cortexia_video.storage.paths import AnyPath
from cortexia_video.storage.remote_path import RemotePath
from cortexia_video.storage.system import PartialFolder, find_bad_name
from cortexia_video.video import depth_clip
from cortexia_video.video import preview as video_preview

PARTIAL = ".cortexia-partial"
_FULL_OR_READ_ONLY = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS})
_DEVICE_IS_GONE = frozenset({errno.ENODEV, errno.ENXIO, errno.ESTALE})
_HOST_IS_GONE = frozenset(
    {errno.ENOTCONN, errno.EHOSTDOWN, errno.EHOSTUNREACH, errno.ENETUNREACH, errno.ETIMEDOUT}
)


class Keyed(Protocol):
    @property
    def key(self) -> str: ...


Item = TypeVar("Item", bound=Keyed)


class Sink(ABC):
    """Write depth maps to `root/<key><suffix>`, each file there atomically. A context manager.

    format: its name, or the formats of the files of a key. preview, relative, also: also write a coloured image,
    the map before it was aligned, and maps of these names of `MAPS`. suffixes: of the files of a key, where they are
    no depth maps but, say, made of them. clip_files: clips become folders with a file for each frame.
    Raises `OutputError` for an unknown format, `MissingExtraError` for one whose package is not installed, and on
    entering `OutputError` where nothing can be written.
    """

    root: AnyPath
    partial: Path | None = (
        None  # the folder for what is not whole yet; None: the system's for temporary files
    )
    refuse: Callable[[str], OutputError | None] | None = None
    """Asked about each key of a run, once: why its files cannot be here, beside those of the keys before."""

    def __init__(
        self,
        *,
        format: str | Sequence[Format] = "npy",
        preview: bool = False,
        relative: bool = False,
        also: Sequence[str] = (),
        suffixes: Sequence[str] | None = None,
        clip_files: bool = False,
    ) -> None:
        if isinstance(format, str) and format not in FORMATS:
            raise OutputError(not_known("format", format, FORMATS))
        chosen = (FORMATS[format],) if isinstance(format, str) else tuple(format)
        for each in chosen:
            if each.extra:
                each.require()
        more = [each for each, wanted in ((PREVIEW, preview), (RELATIVE, relative)) if wanted]
        self.formats: tuple[Format, ...] = (*chosen, *more, *(MAPS[each] for each in also))
        self.suffixes = suffixes or [each.suffix for each in self.formats]
        of_clips = (
            [f"/{depth_clip.TIMES}", f"/000000{chosen[0].suffix}"] if clip_files else [depth_clip.SUFFIX]
        )
        self.clip_suffixes = [*of_clips, *([video_preview.SUFFIX] if preview else [])]

    @abstractmethod
    def __enter__(self) -> Self: ...

    @abstractmethod
    def __exit__(self, *_: object) -> None: ...

    @abstractmethod
    def place(self, files: Mapping[str, Chunks]) -> dict[str, WrittenFile]:
        """Write files as `encode` gives them, each whole and safe when this returns.

        Raises `OSError` for trouble with one file, and `OutputLostError` where no other file could be written
        either.
        """

    @abstractmethod
    def size_of(self, name: str) -> int | None:
        """Return the bytes of a file, None where there is none."""

    @abstractmethod
    def holds(self, name: str) -> bool:
        """Return whether anything of this name exists."""

    @abstractmethod
    def holds_own(self, name: str) -> bool:
        """Return whether what has this name is, by its content, an output of ours."""

    def output_names(self, key: str, *, is_clip: bool = False) -> list[str]:
        """Return the names, relative to the root, of the files of an input; of a clip's frames the first."""
        return [key + suffix for suffix in (self.clip_suffixes if is_clip else self.suffixes)]

    def gather(
        self,
        items: Iterable[Item],
        work: Callable[[Iterable[Item]], Iterator[tuple[Item, ItemDone | Failure]]],
        clock: StageClock,
    ) -> Iterator[tuple[Item, ItemDone | Failure]]:
        """Yield what `work` makes of items, each when its files are in place: here, at once."""
        return work(items)

    def write(self, key: str, depth: DepthMap) -> dict[str, WrittenFile]:
        """Encode and place one depth map; raises what `encode` and `place` raise."""
        return self.place(self.encode(key, depth))

    def encode(self, key: str, depth: DepthMap, form: Format | None = None) -> dict[str, Chunks]:
        """Return the files of a depth map, by name, each in pieces. form: in place of the first of the formats.

        Raises `InputError` for a key that leads out of the root, before anything is encoded.
        """
        self.check_key(key)
        forms = (form or self.formats[0], *self.formats[1:])
        return {key + each.suffix: each.encode(depth) for each in forms}

    def check_key(self, key: str) -> None:
        """Raise `InputError` for a key that leads out of the root."""
        parts = Path(key).parts
        if not parts or ".." in parts or Path(key).is_absolute() or parts[0] == PARTIAL:
            raise InputError(
                f"key {key!r} does not name a file inside {self.root}: use a relative path without '..'"
            )


def open_sink(root: AnyPath, **options: Any) -> Sink:
    """Return the sink that fits a place; options and errors are those of `Sink`."""
    if not isinstance(root, RemotePath):
        return FolderSink(root, **options)
    from cortexia_video.sinks.objects import ObjectSink

    return ObjectSink(root, **options)


class FolderSink(Sink):
    """Write depth maps to `root/<key><suffix>`: first under a hidden folder in `root`, then renamed.

    A context manager; several processes may write to one folder. options: those of `Sink`, which also says
    what is raised.
    """

    root: Path

    def __init__(self, root: Path, **options: Any) -> None:
        super().__init__(**options)
        self.root = root
        self.partial = root / PARTIAL
        self._partial = PartialFolder(self.partial)
        self._folded: set[int] = set()  # of the keys so far, where that matters

    def __enter__(self) -> Self:
        """Make the folder; where no other process uses it, remove what a killed one left half-written."""
        try:
            self._partial.enter()
        except OSError as error:
            beginning, remedy = f"cannot write to {self.root}", "choose another `output`"
            raise put_in_words(error, beginning, remedy, OutputError) from error
        if self._partial.folds_case or os.name != "posix":
            self.refuse = self._refuse
        return self

    def __exit__(self, *_: object) -> None:
        self._partial.leave()

    def _refuse(self, key: str) -> OutputError | None:
        """Refuse names that the system does not have, and keys that differ from earlier ones in case alone.

        Unicode's two ways to write an accent are one name, too, on most file systems that fold case.
        """
        if problem := find_bad_name(key):
            return OutputError(f"its key {problem}: rename it, or choose another `output`")
        folded = hash(unicodedata.normalize("NFC", unicodedata.normalize("NFD", key).casefold()))
        if self._partial.folds_case and folded in self._folded:
            return OutputExistsError(
                "its name differs from another input's in upper and lower case only, which the file system of the "
                "output does not tell apart: choose another `output`"
            )
        self._folded.add(folded)
        return None

    def place(self, files: Mapping[str, Chunks]) -> dict[str, WrittenFile]:
        """Write files as `encode` gives them, each whole and flushed to the disk.

        Raises `OSError` for trouble with one file, and `OutputLostError` where no other file could be written
        either: a full disk, a mount or folder that is gone. What then stands in its place is not written to.
        """
        placed = {}
        for name, chunks in files.items():
            try:
                placed[name] = WrittenFile(*self._partial.place(chunks, self.root, PurePath(name)))
            except OSError as error:
                # some errors (EIO, say) can be one file's or the folder's, so another file is tried
                full_or_gone = _FULL_OR_READ_ONLY | _DEVICE_IS_GONE | _HOST_IS_GONE
                if error.errno in full_or_gone or not self._partial.takes_files():
                    raise OutputLostError(self.root / name, error) from error
                if self._partial.folds_case and (problem := find_bad_name(name, windows=True)):
                    raise OutputError(f"{describe(error)}: its name {problem}") from error
                raise
        return placed

    def size_of(self, name: str) -> int | None:
        try:
            return os.stat(f"{self.root}/{name}").st_size  # noqa: PTH116 - of each output of a million
        except (OSError, ValueError):
            return None

    def holds(self, name: str) -> bool:
        return os.path.lexists(self.root / name)

    def holds_own(self, name: str) -> bool:
        return is_own_output(self.root / name)
