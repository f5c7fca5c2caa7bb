"""`DepthFolder`: sensors' depth maps, with holes, of the images that other depth is of."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import PurePosixPath
from typing import Self

import numpy as np
import xxhash
from numpy.typing import NDArray

from cortexia_video.depth_map import DepthMap
from cortexia_video.errors import Failure, InputError, attempt, format_count, printable
from cortexia_video.frame import Frame
from cortexia_video.geometry.alignment import list_known
from cortexia_video.geometry.sparse_map import to_sparse_map
from cortexia_video.ledger.depth_reader import DepthReader
from cortexia_video.sources.depth_files import DepthFiles
from cortexia_video.sparse_depth.names import NameIndex
from cortexia_video.sparse_depth.rig import RIG, Rig
from cortexia_video.storage.paths import PathLike, to_absolute, to_path, to_text
from cortexia_video.video.container import VIDEO_SUFFIXES

_BYTES = 48  # a pixel of a map, at the worst moment of reading it and laying its points


class DepthFolder:
    """A `SparseDepth`: metric maps in files named after the images, registered to them or with a rig.json beside.

    convention: whose files they are, where neither they nor their folder say it.
    """

    by = "sparse"

    def __init__(self, folder: PathLike, convention: str | None = None) -> None:
        self._opened = to_text(to_absolute(folder)), convention  # others may stand in another folder
        self._reader = DepthReader(
            about={"kind": "metric"} if convention is None else None, convention=convention
        )
        found = [each for each in DepthFiles([to_text(folder)]) if not isinstance(each, Failure)]
        if not found:
            raise InputError(
                f"no depth files in {printable(str(to_path(folder)))}: give a folder with a map of each image, "
                "named as the image is"
            )
        self._places = {each.key: each.place for each in found}
        self._frames: dict[str, list[str]] = defaultdict(list)  # by folder
        for name in sorted(self._places):
            self._frames[name.rpartition("/")[0]].append(name)
        self._folders = NameIndex(self._frames)
        self._names = NameIndex(each for each in self._places if not _is_of_video(each))
        self._of_videos = NameIndex(filter(_is_of_video, self._places))
        rig = to_path(folder) / RIG
        self._rig = Rig(rig) if rig.is_file() else None
        times = sorted((each.key, each.source.size, each.source.mtime_ns) for each in found)
        self.settings: Mapping[str, object] = {
            "sparse": hashlib.sha256(repr(times).encode()).hexdigest(),
            "sparse_from": convention,
            **({"rig": hashlib.sha256(self._rig.data).hexdigest()} if self._rig else {}),
        }

    def __reduce__(self) -> tuple[type[Self], tuple[str, str | None]]:
        """Let another process list the folder anew."""
        return type(self), self._opened

    def find(self, key: str, width: int, height: int) -> NDArray[np.float64]:
        known = self._read(key)
        return self._rig.find(known, width, height) if self._rig else list_known(known, width, height)

    def knows(self, keys: Sequence[str]) -> bool:
        """Return whether there is a file of an image of one of these keys."""
        return any(self._find(each) is not None for each in keys)

    def count_bytes(self, key: str) -> int:
        """Return the memory that reading an image's map takes, and bringing it to the image; 0 where none can be."""

        def count() -> int:
            place = self._places[self._find(key) or ""]
            data = self._reader.read_bytes(place)
            return len(data) + _BYTES * self._reader.count_pixels(data, place)

        counted = attempt(key, "decode", count)
        return counted if isinstance(counted, int) else 0

    def add_to(self, frame: Frame, keys: Sequence[str]) -> Frame:
        """Return a frame with what is known of it; keys: those that may mean it, the first that is known counts.

        Raises what `find` does, and `InputError` where its file knows no pixel.
        """
        known = self._read(next((each for each in keys if self.knows([each])), keys[-1]))
        found = self._rig.find(known, frame.width, frame.height) if self._rig else known
        return replace(frame, sparse=to_sparse_map(found, frame.width, frame.height))

    @property
    def settings_of_each(self) -> Mapping[str, object]:
        """What a run's settings say of them where `digest` says it of each image's own files."""
        return {name: value for name, value in self.settings.items() if name != "sparse"}

    def digest(self, key: str, *, is_clip: bool = False) -> str:
        """Return the digest of an image's file, of a clip that of the files of its frames; "" where there is none."""
        found = attempt(key, "find", lambda: self._folders.find(key) or "" if is_clip else self._find(key))
        if not isinstance(found, str) or (is_clip and found not in self._frames):
            return ""
        digest = xxhash.xxh3_128()
        for name in self._frames[found] if is_clip else [found]:
            data = attempt(key, "decode", partial(self._reader.read_bytes, self._places[name]))
            digest.update(repr((name, len(data) if isinstance(data, bytes) else data.reason)).encode())
            digest.update(data if isinstance(data, bytes) else b"")
        return digest.hexdigest()

    def _find(self, key: str) -> str | None:
        """Return the name of the file of an image, or of a frame, which a folder with its video's name has."""
        of_video = self._of_videos.find(key) if _is_of_video(key) else None
        return of_video or self._names.find(key)

    def _read(self, key: str) -> DepthMap:
        name = self._find(key)
        if name is None:
            raise InputError(
                f"none of {format_count(len(self._places), 'file')} of sparse depth has its name: name its map as the "
                "image is"
            )
        return self._reader.read(self._places[name])


def _is_of_video(key: str) -> bool:
    return PurePosixPath(key).parent.suffix.lower() in VIDEO_SUFFIXES
