"""Where depth comes from that is measured: a folder of files, the output of a run, or a model."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from cortexia_video.depth_estimation import DepthEstimator, load_estimator
from cortexia_video.depth_map import DepthMap, Kind
from cortexia_video.errors import CortexiaError, Failure, InputError
from cortexia_video.evaluation.truth import bare, list_depth_files
from cortexia_video.formats.reading import decode_depth
from cortexia_video.formats.table import find_format
from cortexia_video.frame import Frame
from cortexia_video.ledger import read_last_done
from cortexia_video.ledger_file import list_files

Guess = DepthMap | Failure | None  # None: there is none


class Contestant(Protocol):
    """What is measured. name: in the table. needs_pictures: it looks at them."""

    name: str
    needs_pictures: bool

    def identify(self, key: str) -> bytes:
        """Give what the depth of a picture depends on, besides the picture."""

    def guess(self, frames: Iterable[Frame]) -> Iterator[Guess]:
        """Yield depth for each frame, in order; `frame.key` is the key among all sets."""


class ModelContestant:
    """A model, run on the pictures of the data set, full size."""

    needs_pictures = True

    def __init__(self, name: str, estimator: DepthEstimator) -> None:
        self.name = name
        self._estimator = estimator
        self._identity = json.dumps(estimator.identity, sort_keys=True, default=str).encode()

    def identify(self, key: str) -> bytes:
        return self._identity

    def guess(self, frames: Iterable[Frame]) -> Iterator[Guess]:
        return self._estimator.estimate(frames)


class DepthSource(NamedTuple):
    """A depth file, and what its numbers mean where it does not say it."""

    path: Path
    about: Mapping[str, Any]


class FolderContestant:
    """Depth files, by key. dialect: as `decode_depth` takes it."""

    needs_pictures = False

    def __init__(self, name: str, files: Mapping[str, DepthSource], dialect: str | None = None) -> None:
        self.name = name
        self._files = files
        self._dialect = dialect

    def identify(self, key: str) -> bytes:
        source = self._find(key)
        if source is None:
            return b""
        meaning = json.dumps([self._dialect, dict(source.about)], sort_keys=True)
        try:
            return meaning.encode() + source.path.read_bytes()
        except OSError:
            return meaning.encode()

    def guess(self, frames: Iterable[Frame]) -> Iterator[Guess]:
        return (self._read(frame.key) for frame in frames)

    def _read(self, key: str) -> Guess:
        source = self._find(key)
        if source is None:
            return None
        try:
            data = source.path.read_bytes()
            return decode_depth(data, str(source.path), about=source.about, dialect=self._dialect)
        except FileNotFoundError:
            return None
        except OSError as error:
            return Failure(key, "decode", InputError(f"cannot read {source.path}: {error.strerror}"))
        except CortexiaError as error:
            return Failure(key, "decode", error)

    def _find(self, key: str) -> DepthSource | None:
        """Find the file of a key; a run over a folder of sets has `rgb/` in its keys."""
        folder, _, name = bare(key).rpartition("/")
        inside = f"{folder}/rgb/{name}" if folder else f"rgb/{name}"
        return self._files.get(bare(key)) or self._files.get(inside)


def open_contestant(
    name: str, *, kind: Kind | None = None, dialect: str | None = None, **options: Any
) -> Contestant:
    """Give what a name stands for: a folder that is there, of a run or of depth files; else a model.

    kind, dialect: of depth files that do not say it. options: as `load_estimator` takes them.
    Raises `InputError` for a folder without depth, and what `load_estimator` raises.
    """
    root = Path(name)
    if not root.is_dir():
        given = options if kind is None else {**options, "kind": kind}
        return ModelContestant(name, load_estimator(name, **given))
    if list_files(root):
        return FolderContestant(name, _list_run(root))
    about = {} if kind is None else {"kind": kind}
    files = {key: DepthSource(path, about) for key, path in list_depth_files(root).items()}
    if not files:
        raise InputError(f"no depth files in {root}: give the --output of a run, depth files, or a model")
    return FolderContestant(name, files, dialect)


def _list_run(root: Path) -> dict[str, DepthSource]:
    """Give the depth that a run has done; views, that are to look at only, are left out."""
    files = {}
    for line in read_last_done(root):
        formats = {name: find_format(name) for name in line["outputs"]}
        depth = next((name for name, form in formats.items() if form and form.decode), None)
        if depth is not None:
            about = {word: line.get(word) for word in ("kind", "f_px", "f_source", "full_size")}
            files[bare(line["key"])] = DepthSource(root / depth, about)
    if not files:
        raise InputError(f"no depth in {root} that can be measured: only views, or nothing is done")
    return files
