"""`DepthFolder`: sensors' depth maps, with holes, of the images that other depth is of."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Self

import numpy as np
from numpy.typing import NDArray

from cortexia_video.depth_map import DepthMap
from cortexia_video.errors import Failure, InputError, format_count, printable
from cortexia_video.frame import Frame
from cortexia_video.geometry.alignment import list_known
from cortexia_video.geometry.sparse_map import to_sparse_map
from cortexia_video.ledger.depth_reader import DepthReader
from cortexia_video.sources.depth_files import DepthFiles
from cortexia_video.sparse_depth.names import NameIndex
from cortexia_video.sparse_depth.rig import RIG, Rig
from cortexia_video.storage.paths import PathLike, to_path, to_text


class DepthFolder:
    """A `SparseDepth`: metric maps in files named after the images, registered to them or with a rig.json beside.

    convention: whose files they are, where neither they nor their folder say it.
    """

    by = "sparse"

    def __init__(self, folder: PathLike, convention: str | None = None) -> None:
        self._opened = to_text(folder), convention
        self._reader = DepthReader(
            about={"kind": "metric"} if convention is None else None, convention=convention
        )
        found = [each for each in DepthFiles([to_text(folder)]) if not isinstance(each, Failure)]
        if not found:
            raise InputError(f"no depth files in {printable(str(to_path(folder)))}")
        self._places = {each.key: each.place for each in found}
        self._names = NameIndex(self._places)
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
        return any(self._names.find(each) is not None for each in keys)

    def add_to(self, frame: Frame, keys: Sequence[str]) -> Frame:
        """Return a frame with what is known of it; keys: those that may mean it, the first that is known counts.

        Raises what `find` does, and `InputError` where its file knows no pixel.
        """
        known = self._read(next((each for each in keys if self.knows([each])), keys[-1]))
        found = self._rig.find(known, frame.width, frame.height) if self._rig else known
        return replace(frame, sparse=to_sparse_map(found, frame.width, frame.height))

    def _read(self, key: str) -> DepthMap:
        name = self._names.find(key)
        if name is None:
            raise InputError(
                f"none of {format_count(len(self._places), 'file')} of sparse depth has its name"
            )
        return self._reader.read(self._places[name])
