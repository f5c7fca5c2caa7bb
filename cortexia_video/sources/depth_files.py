"""Depth files in files and folders, each under the key that its image had, or would have had."""

from __future__ import annotations

import logging
import os
import threading
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import chain
from pathlib import Path

from cortexia_video.errors import Failure, InputError, attempt
from cortexia_video.formats.conventions import CONVENTIONS
from cortexia_video.formats.metadata import Metadata
from cortexia_video.formats.registry import FORMATS, HEAD_BYTES, READERS, is_map, is_own_head, is_own_output
from cortexia_video.images.sniff import IMAGE_SUFFIXES
from cortexia_video.ledger.artifacts import find_depth, list_outputs
from cortexia_video.ledger.entries import Source
from cortexia_video.ledger.lines import read_done
from cortexia_video.sources.find import Found, InputFile, find_files
from cortexia_video.sources.inputs import GREY_16, Rule, read_png_kind
from cortexia_video.storage.archive_member import name_absolute
from cortexia_video.storage.paths import AnyPath, to_path
from cortexia_video.video import depth_clip
from cortexia_video.video.depth_clip import count_frames

_SUFFIXES = (*(suffix for reader in READERS for suffix in reader.suffixes), depth_clip.SUFFIX)
_LONG_FIRST = sorted({*_SUFFIXES, *(form.suffix for form in FORMATS.values())}, key=len, reverse=True)
_GREY_8, _IN_COLOUR = b"\x08\0", (b"\x08\x02", b"\x08\x06")
_log = logging.getLogger(__name__)


class DepthFiles:
    """The depth files of files, folders with all that is in them, and lists, as `find_images` takes them.

    In folders a file is an input by its name, whatever it holds; PNG of 8 bits or in colour is an image, and
    only counted, unless `convention` or a `scale` in `about` says that such are depth. Iterating raises
    `InputError` at once for an input that does not exist.

    A key is as `find_images` gives it, without the ending of the file's format: `a.jpg` of `a.jpg.npy`.
    Where that would be the key of two files of a folder, or is a file's name, they keep their whole names.
    A clip of depth stands for its frames: `clip.mp4/000123` of `clip.mp4.mkv`.
    What a run packed into shards is found by the run's ledger, as the files that it would have been.

    bare: keys leave out the image's ending, too: `a` of `a.jpg.npy`, where no other file of its folder would
    have that key; not of shards. whole: a clip is one input, not its frames. images: how many were passed over.
    """

    def __init__(
        self,
        inputs: Sequence[str | os.PathLike[str]],
        *,
        output: AnyPath | None = None,
        convention: str | None = None,
        about: Metadata | None = None,
        bare: bool = False,
        whole: bool = False,
    ) -> None:
        self.images = 0
        self._whole = whole
        in_colour = convention in CONVENTIONS and CONVENTIONS[convention].in_colour
        self._pngs = (
            _IN_COLOUR if in_colour else (GREY_16, _GREY_8) if (about or {}).get("scale") else (GREY_16,)
        )
        self._inputs = inputs
        self._output = output
        self._bare = bare
        self._counting = threading.Lock()

    def __iter__(self) -> Iterator[Found]:
        self.images = 0
        rule = Rule(
            accepts=self._accepts,
            takes_own=True,
            may_be=_may_be,
            looks_inside=lambda name: name.lower().endswith((".png", depth_clip.SUFFIX)),
            accepts_object=lambda place: (
                is_own_head(place.read_bytes(0, HEAD_BYTES))
                if place.suffix.lower() == depth_clip.SUFFIX
                else self._is_depth(place)
            ),
            name_keys=partial(_name_keys, bare=self._bare),
            find_packed=_find_packed,
            noun="depth files",
        )
        found = find_files(self._inputs, rule, recursive=True, output=self._output)
        return found if self._whole else chain.from_iterable(map(_expand_clip, found))

    def warn_of_images(self) -> None:
        """Log how many PNG were passed over, if any were."""
        if self.images:
            _log.warning("%d PNG files of 8 bits or in colour are no depth: passed over", self.images)

    def _accepts(self, entry: os.DirEntry[str]) -> bool:
        if not entry.is_symlink() and not entry.is_file():
            return False
        if entry.name.lower().endswith(depth_clip.SUFFIX):
            return is_own_output(entry.path)
        return not entry.name.lower().endswith(".png") or self._is_depth(Path(entry.path))

    def _is_depth(self, place: AnyPath) -> bool:
        """Return whether a PNG can be depth, and count it where not; what cannot be read may be."""
        try:
            kind = read_png_kind(place)
        except OSError:
            return True
        is_image = bool(kind) and kind not in self._pngs
        with self._counting:
            self.images += is_image
        return not is_image


def _may_be(name: str) -> bool:
    """Return whether a name is one that depth may have; what lies beside depth has others."""
    return name.lower().endswith(_SUFFIXES) and not is_map(name)


def _expand_clip(found: Found) -> Iterator[Found]:
    """Yield the frames of a clip of depth, each as a file of its own; all else as it is."""
    if isinstance(found, Failure) or not found.source.path.lower().endswith(depth_clip.SUFFIX):
        yield found
        return
    place = found.place
    count = attempt(found.key, "find", lambda: count_frames(to_path(place)))
    if isinstance(count, Failure):
        yield count
        return
    for number in range(count):
        source = found.source._replace(path=f"{found.source.path}#{number}")
        yield replace(found, key=f"{found.key}/{number:06}", source=source, place=f"{found.place}#{number}")


def find_suffix(name: str) -> str:
    """Return the ending of a depth file's name, of `.16.png` the whole."""
    if frame := depth_clip.split_frame(name):
        name = frame[0].name
    lower = name.lower()
    return name[-next(len(suffix) for suffix in _LONG_FIRST if lower.endswith(suffix)) :]


def _name_keys(names: Sequence[str], *, bare: bool) -> Mapping[str, str]:
    depth = [name for name in names if _may_be(name)]
    stems = {name: name[: -len(find_suffix(name))] or name for name in depth}
    if bare:
        cut = {name: stem.rpartition(".") for name, stem in stems.items()}
        short = {
            name: begin
            for name, (begin, _, end) in cut.items()
            if begin and f".{end.lower()}" in IMAGE_SUFFIXES
        }
        taken = Counter([*short.values(), *stems.values()])
        stems |= {name: begin for name, begin in short.items() if taken[begin] == 1 and begin not in depth}
    uses = Counter(stems.values())
    return {name: stem if uses[stem] == 1 and stem not in stems else name for name, stem in stems.items()}


def _find_packed(folder: AnyPath, shard: str) -> Iterator[Found]:
    """Yield the depth in the shards of the run whose output folder this is; without its ledger, a failure."""
    changed: dict[str, int] = {}
    try:
        for line in read_done(folder):
            found = find_depth(line) if "inside" in line else None
            if found is None:
                continue
            (archive,), name = line["outputs"], found[0]
            if archive not in changed:  # 0 of one that is gone, which whoever reads it says
                status = attempt(archive, "find", (folder / archive).stat)
                changed[archive] = 0 if isinstance(status, Failure) else status.st_mtime_ns
            if not (isinstance(folder, Path) and (folder / name).exists()):  # a file of an earlier run
                source = Source(name_absolute(folder / name), list_outputs(line)[name].size, changed[archive])
                yield InputFile(line["key"], source, source.path)
    except InputError as error:
        reason = f"a run packed it, whose ledger, which says what is where, must lie beside it: {error}"
        yield Failure(shard, "find", InputError(reason))
