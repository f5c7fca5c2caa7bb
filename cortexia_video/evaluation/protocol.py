"""`Protocol`: all that a number depends on besides the depth: dataset, range, crop, alignment, clip, mean.

Protocols are TOML files in `protocols/`, named and versioned; each says what it follows, and where it does
not. `Protocol.digest` goes into every result: equal digests, comparable numbers.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import MISSING, asdict, dataclass, field, fields, replace
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np

from cortexia_video.datasets.eval_region import Crop
from cortexia_video.datasets.registry import DATASETS
from cortexia_video.depth_map import KINDS, DepthKind
from cortexia_video.errors import InputError, in_words, not_known
from cortexia_video.evaluation.metrics.alignment import ALIGNMENTS
from cortexia_video.evaluation.metrics.pixel_sums import Array, Mask
from cortexia_video.pinhole import Pinhole
from cortexia_video.storage.documents import parse_toml
from cortexia_video.storage.paths import LARGEST_TEXT, read_named

Bounds = Literal["()", "(]", "[]"]
Resize = Literal["bilinear", "bilinear-corners", "refuse"]
Aggregation = Literal["image", "pixel", "set"]
Clip = Literal["all", "unknown"]
Cameras = Literal["given", "hidden"]
AlignPer = Literal["image", "clip"]
_FOLDER = "protocols"
SCORING = 3  # version of how scores are computed; another one makes other digests
_WORDS = ("about", "sources", "truth")  # for people: no number depends on them


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """What is compared, and how.

    Attributes:
        name: By which it is asked for.
        version: Of what it says.
        about: For people.
        sources: What it follows.
        truth: The ground truth, as `evaluate` takes it, where nobody gives another; from the current folder.
        dataset: For which layout it is; `any` for every one.
        split: Of the dataset.
        min_m: The least depth of the reference that counts, metres.
        max_m: The largest, metres; or `set`: what the dataset says, or `image`: the largest known depth of
            the image.
        bounds: Whether min_m and max_m themselves count: `()` neither, `(]` max_m, `[]` both.
        crop: (top, bottom, left, right) as shares of the sides, cut off as by int(), or all.
        window: (height, width) at the bottom centre that reference and depth are cut to before that, where
            they are larger.
        min_pixels: Images with fewer known pixels are left out, and listed.
        alignment: As of `align`; what disparity is clamped at is max_m.
        clip_min_m: With max_m, what depth is clipped to.
        clip: `all`, or `unknown`: only what is not above 0 becomes clip_min_m. By both what is unknown counts
            in each metric as that end of the two which makes it worse.
        resize: How depth of another size than the reference becomes as large: `bilinear` between pixel
            centres, `bilinear-corners` with the corner pixels' centres on each other, `refuse`.
        aggregation: Mean over `image`s, over each `pixel` of all, or over images in a `set` and then over
            sets.
        cap_m: What disparity is clamped at and depth is clipped to where that is not `max_m`, metres.
        unfitted: Metric depth is measured as it is, too, in a row of its own before the fitted one.
        options: Of the dataset's reader, as `open_dataset` takes them.
        boundaries: Also boundary F1, where depth is registered and more than half of the pixels are known.
        align_per: What is aligned by itself: each `image`, or all frames of a `clip` as one.
        cameras: Whether a model that asks for the focal length is told that of the dataset (`given`) or
            estimates it itself (`hidden`).
    """

    name: str
    version: int
    about: str
    sources: tuple[str, ...]
    truth: str | None = None
    dataset: str = "any"
    split: str | None = None
    min_m: float
    max_m: float | Literal["set", "image"]
    bounds: Bounds
    crop: tuple[float, ...] | None = None
    window: tuple[int, int] | None = None
    min_pixels: int = 1
    alignment: str
    clip_min_m: float
    clip: Clip
    resize: Resize
    aggregation: Aggregation
    cap_m: float | None = None
    unfitted: bool = False
    options: Mapping[str, Any] = field(default_factory=dict)
    boundaries: bool = False
    cameras: Cameras = "given"
    align_per: AlignPer = "image"

    @property
    def digest(self) -> str:
        """SHA-256 of what numbers depend on: not of the words for people."""
        facts = {name: value for name, value in asdict(self).items() if name not in _WORDS}
        if self.align_per == "image":  # as it was before there was another
            del facts["align_per"]
        facts["scoring"] = SCORING
        return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()

    @property
    def plain(self) -> Protocol:
        """The same without a fit."""
        return replace(self, alignment="none")

    def list_alignments(self, kinds: Collection[DepthKind]) -> tuple[str, ...]:
        """Return the alignments by which depth is measured, a row of the table each.

        Args:
            kinds: Kinds of depth of one predictor.

        Returns:
            One alignment, or `none` and that one for metric depth, where `unfitted` says so.
        """
        both = self.unfitted and self.alignment != "none" and {*kinds} == {"metric"}
        return ("none", self.alignment) if both else (self.alignment,)

    def fits(self, dataset: str, kind: DepthKind) -> bool:
        """Return whether depth can be measured by it.

        Args:
            dataset: Name of a layout of datasets, or "" for any.
            kind: Of the depth.

        Returns:
            True where it can.
        """
        return self.dataset in ("any", dataset or self.dataset) and kind in ALIGNMENTS[self.alignment].kinds

    def __str__(self) -> str:
        return f"{self.name} version {self.version} ({self.digest[:12]})"

    def find_max_m(self, reference_m: Array, set_max_m: float | None) -> float:
        """Return the largest depth that counts in an image.

        Args:
            reference_m: (H, W), metres; not finite or 0 where unknown.
            set_max_m: The largest that its set allows, or None.

        Returns:
            Metres; infinite where there is no such limit.
        """
        if self.max_m == "set":
            return math.inf if set_max_m is None else set_max_m
        if self.max_m == "image":
            known = np.isfinite(reference_m) & (reference_m > self.min_m)
            return float(reference_m[known].max()) if known.any() else math.inf
        return float(self.max_m)

    def find_mask(self, reference_m: Array, max_m: float) -> Mask:
        """Return which pixels of a reference are known and count.

        Args:
            reference_m: (H, W), metres, already cut to the window.
            max_m: What `find_max_m` gave.

        Returns:
            bool (H, W).
        """
        with np.errstate(invalid="ignore"):
            above = reference_m >= self.min_m if self.bounds[0] == "[" else reference_m > self.min_m
            below = reference_m <= max_m if self.bounds[1] == "]" else reference_m < max_m
        counts: Mask = np.isfinite(reference_m) & (reference_m > 0) & above & below
        if self.crop:
            inside = np.zeros(counts.shape, bool)
            inside[Crop(*self.crop).find_slices(*counts.shape)] = True
            counts &= inside
        return counts

    def cut(self, array: Array) -> Array:
        """Return the window of an array.

        Args:
            array: (H, W, ...).

        Returns:
            A view; all of an array that is no larger than the window.
        """
        height, width = self.window or array.shape[:2]
        top, left = self._find_corner(array.shape)
        return array[top : top + height, left : left + width]

    def cut_camera(self, camera: Pinhole) -> Pinhole:
        """Return the camera of the window of its image.

        Args:
            camera: Of the whole image.

        Returns:
            The camera of what `cut` returns.
        """
        shape = (camera.height, camera.width)
        top, left = self._find_corner(shape)
        height, width = map(min, shape, self.window or shape)
        return replace(camera, cx=camera.cx - left, cy=camera.cy - top, width=width, height=height)

    def _find_corner(self, shape: tuple[int, ...]) -> tuple[int, int]:
        height, width = self.window or shape[:2]
        return max(shape[0] - height, 0), max((shape[1] - width) // 2, 0)


def list_protocols() -> list[Protocol]:
    """Return the protocols of the package, by name.

    Returns:
        The protocols, sorted by name.

    Example:
        >>> "nyu-eigen" in [each.name for each in cx.evaluation.list_protocols()]
        True
    """
    folder = files(__package__).joinpath(_FOLDER)
    names = sorted(each.name for each in folder.iterdir() if each.name.endswith(".toml"))
    return [_parse(folder.joinpath(name).read_bytes(), name) for name in names]


def load_protocol(name: str) -> Protocol:
    """Return a protocol of the package by name, or of a file by its path.

    Args:
        name: Such as `real-frames`, or `mine.toml`.

    Returns:
        The protocol.

    Raises:
        InputError: There is no such name, or the file is no protocol.
    """
    if name.endswith(".toml"):
        with in_words(f"cannot read the protocol {name}"):
            data = read_named(Path(name), limit=LARGEST_TEXT)
        return _parse(data, name)
    known = {protocol.name: protocol for protocol in list_protocols()}
    if name not in known:
        raise InputError(f"{not_known('protocol', name, known)}, or a file, mine.toml")
    return known[name]


def describe_fitting(dataset: str, kinds: Sequence[DepthKind] = KINDS) -> str:
    """Return for people which protocols of the package fit a dataset ("" for any), by kind of depth."""
    names = {kind: [each.name for each in list_protocols() if each.fits(dataset, kind)] for kind in kinds}
    listed = "; ".join(f"{kind} depth: {', '.join(fitting)}" for kind, fitting in names.items() if fitting)
    return f"protocols that fit {dataset or 'any ground truth'}: {listed or 'none'}"


def _parse(data: bytes, name: str) -> Protocol:
    words = parse_toml(data, name)
    if "place" in words and "truth" not in words:  # what it was called before the first release
        words["truth"] = words.pop("place")
    known = {each.name: each for each in fields(Protocol)}
    with in_words(f"{name} is no protocol", f"a protocol says {', '.join(known)}"):
        for word, each in known.items():
            if word not in words and each.default is MISSING and each.default_factory is MISSING:
                raise ValueError(f"it does not say its {word}")
        for word, value in words.items():
            if word not in known:
                raise ValueError(f"{word} is no word of a protocol")
            if isinstance(value, float) and math.isnan(value):
                raise ValueError(f"{word} is nan, which nothing is more or less than")
        frozen: dict[str, Any] = {
            word: tuple(value) if isinstance(value, list) else value for word, value in words.items()
        }
        protocol = Protocol(**frozen)
        for word, offered in _CHOICES.items():
            value = getattr(protocol, word)
            if value not in offered:
                raise ValueError(f"{word} {value!r} is none of {', '.join(offered)}")
        for names, holds, rule in _RULES:
            for word in names:
                if not holds(getattr(protocol, word)):
                    raise ValueError(f"{word} is {getattr(protocol, word)!r}: it must be {rule}")
        return protocol


_CHOICES: Mapping[str, tuple[str, ...]] = {
    "bounds": get_args(Bounds),
    "resize": get_args(Resize),
    "aggregation": get_args(Aggregation),
    "clip": get_args(Clip),
    "cameras": get_args(Cameras),
    "align_per": get_args(AlignPer),
    "alignment": tuple(ALIGNMENTS),
    "dataset": ("any", *DATASETS),
}
_FARTHEST_M = 1e9


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= _FARTHEST_M


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


_RULES: tuple[tuple[tuple[str, ...], Callable[[Any], bool], str], ...] = (
    (("name", "about"), _is_text, "a text"),
    (("sources",), lambda value: isinstance(value, tuple) and all(map(_is_text, value)), "a list of texts"),
    (("truth", "split"), lambda value: value is None or _is_text(value), "a text"),
    (("version", "min_pixels"), _is_count, "a whole number above 0"),
    (("min_m",), _is_number, "a number of metres"),
    (
        ("max_m",),
        lambda value: value in ("set", "image") or _is_number(value) or value == math.inf,
        "a number of metres, set or image",
    ),
    (("clip_min_m",), lambda value: _is_number(value) and value > 0, "above 0: logarithms need that"),
    (("cap_m",), lambda value: value is None or (_is_number(value) and value > 0), "metres above 0"),
    (
        ("crop",),
        lambda value: (
            value is None
            or (
                type(value) is tuple
                and len(value) == 4
                and all(map(_is_number, value))
                and 0 <= value[0] < value[1] <= 1
                and 0 <= value[2] < value[3] <= 1
            )
        ),
        "top, bottom, left and right as shares of the sides, from 0 to 1",
    ),
    (
        ("window",),
        lambda value: (
            value is None or (type(value) is tuple and len(value) == 2 and all(map(_is_count, value)))
        ),
        "height and width in pixels",
    ),
    (("boundaries", "unfitted"), lambda value: isinstance(value, bool), "true or false"),
    (("options",), lambda value: isinstance(value, dict), "a table of options of the dataset"),
)
