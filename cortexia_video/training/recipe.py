"""`Recipe`: all that decides a training, from one TOML file, recorded beside the weights.

name = "compact"                # what the networks are called
steps = 30000
[network]
architecture = "compact"        # or hf:FOLDER, any depth network of transformers
[[data]]
dataset = "scenes"              # or a name of `cortexia dataset info`
root = "runs/compact/pool"
weight = 1.0
options = { count = 8000 }
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import MISSING, asdict, dataclass, field, fields, is_dataclass
from operator import attrgetter
from pathlib import Path
from types import UnionType
from typing import Any, NamedTuple, Union, get_args, get_origin, get_type_hints

from cortexia_video.errors import in_words, redact
from cortexia_video.storage.documents import parse_toml
from cortexia_video.storage.paths import LARGEST_TEXT, read_named
from cortexia_video.training.losses import LossWeights
from cortexia_video.training.network import STRIDE

_WITHOUT_EFFECT = ("validation", "checkpoint_steps", "workers")


@dataclass(frozen=True, slots=True)
class NetworkPlan:
    """What is trained.

    architecture: `compact`, or `hf:` and a folder with a checkpoint of transformers.
    encoder: a classifier that the encoder of `compact` starts from, `efficientnet-lite0` or its file.
    weights: what `compact` goes on from: `compact`, the network in the package, or of an earlier training its
        `weights.safetensors` or its ONNX file.
    kind: what the numbers of a checkpoint mean that does not say it.
    short_side: what `compact` reduces images to when it is used; by default the smallest trained with.
    """

    architecture: str = "compact"
    encoder: str | None = None
    weights: str | None = None
    kind: str | None = None
    short_side: int | None = None


@dataclass(frozen=True, slots=True)
class DataPlan:
    """A dataset of the mix: where it lies, how often it is drawn, what its reader takes.

    dataset: its name in the table; `scenes`, which are rendered there; `images`, which a teacher labels.
    """

    dataset: str
    root: str
    weight: float = 1.0
    split: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ValidationPlan:
    """What is measured every `every` steps, and at the end: depth of the averaged weights.

    truth: folders as `cortexia evaluate --truth` takes them, each by `protocol`; images: how many of each
    are shown; allow_outside: read also what their set.json and lists name outside of them;
    allow_unregistered: measure also against depth that does not lie on its images.
    """

    truth: tuple[str, ...] = ()
    protocol: str = "real-frames"
    every: int = 1000
    images: int = 4
    allow_outside: bool = False
    allow_unregistered: bool = False


@dataclass(frozen=True, slots=True)
class Recipe:
    """Everything that decides a training (docs/training.md).

    Attributes:
        name: Of what is trained.
        steps: How many batches.
        network: What is trained, and where it starts.
        data: Datasets, scenes and their weights.
        validation: On what, and how often, it is measured.
        loss: Weights of its parts.
        batch_size: Samples of a batch.
        short_sides: In pixels; each batch has one of them, drawn evenly, and rounded to what the network
            takes.
        smallest_window: Of the image that a crop has, as a share.
        learning_rate: Of what starts from noise, at its highest.
        pretrained_rate: The share of it for what does not.
        weight_decay: Of the optimiser.
        warm_up_steps: Until the rate is at its highest.
        average_decay: Of the running mean of the weights.
        largest_gradient: Its norm, where it is cut off.
        bfloat16: Whether the network computes in it.
        teacher: A model that labels the images of datasets called `images`.
        seed: Of everything that is drawn.
        checkpoint_steps: After how many a checkpoint is saved.
        workers: Processes that read and change images; 0 is the training's own.
    """

    name: str
    steps: int
    network: NetworkPlan = field(default_factory=NetworkPlan)
    data: tuple[DataPlan, ...] = ()
    validation: ValidationPlan = field(default_factory=ValidationPlan)
    loss: LossWeights = field(default_factory=LossWeights)
    batch_size: int = 12
    short_sides: tuple[int, ...] = (192,)
    smallest_window: float = 0.6
    learning_rate: float = 1e-3
    pretrained_rate: float = 0.1
    weight_decay: float = 0.01
    warm_up_steps: int = 100
    average_decay: float = 0.999
    largest_gradient: float = 1.0
    bfloat16: bool = True
    teacher: str | None = None
    seed: int = 0
    checkpoint_steps: int = 200
    workers: int = 1


def load_recipe(path: Path) -> Recipe:
    """Read a recipe.

    Args:
        path: A TOML file (docs/training.md).

    Returns:
        The recipe.

    Raises:
        InputError: The file is no recipe; the message says what is wrong in it.
    """
    with in_words(f"cannot read the recipe {path}"):
        words = parse_toml(read_named(path, limit=LARGEST_TEXT), path)
    with in_words(f"{path} is no recipe", "docs/training.md has one"):
        recipe: Recipe = _build(Recipe, words)
        network = recipe.network
        for names, holds, rule in _RULES:
            for name in names:
                value = attrgetter(name)(recipe)
                if not holds(value):
                    raise ValueError(f"{name} is {value!r}: it must be {rule}")
        for name in _ONLY_COMPACT:
            if network.architecture.startswith("hf:") and getattr(network, name) is not None:
                raise ValueError(
                    f"network.{name} is of compact: {network.architecture} is its own start; leave it out"
                )
        if network.encoder and network.weights:
            raise ValueError("network says an encoder and weights: give one of them")
        if not recipe.data:
            raise ValueError("there is nothing to train on: give [[data]]")
        for index, plan in enumerate(recipe.data):
            if not 0 < plan.weight < math.inf:
                raise ValueError(f"data[{index}].weight is {plan.weight!r}: it must be above 0 and finite")
        return recipe


def describe_recipe(recipe: Recipe) -> dict[str, Any]:
    """Return what weights depend on as plain words and numbers: all but what only says how often to look.

    It is kept with the weights: without the secrets of URLs.
    """
    return {name: _redact(value) for name, value in asdict(recipe).items() if name not in _WITHOUT_EFFECT}


def _redact(words: Any) -> Any:
    if isinstance(words, Mapping):
        return {name: _redact(value) for name, value in words.items()}
    if isinstance(words, tuple | list):
        return type(words)(map(_redact, words))
    return redact(words) if isinstance(words, str) else words


def _build(kind: Any, words: Any, where: str = "") -> Any:
    """Make a value of a type out of what TOML gives; ValueError says what is wrong, and where."""
    if is_dataclass(kind) and isinstance(kind, type):
        if not isinstance(words, dict):
            raise ValueError(f"{where} is {words!r}, which is no table")
        known, types = {each.name: each for each in fields(kind)}, get_type_hints(kind)
        for name in words:
            if name not in known:
                raise ValueError(f"{where or 'it'} says {name!r}: known are {', '.join(known)}")
        for name, each in known.items():
            if name not in words and each.default is MISSING and each.default_factory is MISSING:
                raise ValueError(f"{where or 'it'} does not say its {name}")
        return kind(
            **{
                name: _build(types[name], value, f"{where}{'.' if where else ''}{name}")
                for name, value in words.items()
            }
        )
    options = get_args(kind)
    if get_origin(kind) in (Union, UnionType):
        return _build(next(each for each in options if each is not type(None)), words, where)
    if get_origin(kind) is tuple and isinstance(words, list):
        return tuple(_build(options[0], each, f"{where}[{index}]") for index, each in enumerate(words))
    wanted = get_origin(kind) or kind
    if wanted is float and type(words) is int:
        return float(words)
    if not isinstance(words, wanted) or (wanted is int and isinstance(words, bool)):
        shown = getattr(wanted, "__name__", str(wanted))
        raise ValueError(f"{where} is {words!r}, which is no {shown}")
    return words


class _Rule(NamedTuple):
    """What values must be: `holds` says it to us, `words` to people. names: as attributes of the recipe."""

    names: tuple[str, ...]
    holds: Callable[[Any], bool]
    words: str


_LARGEST_SEED = 2**44
"""A million times it, and the step, is the largest seed that torch takes."""
_MOST_PIXELS = 8192
_LONGEST_NAME = 200
"""Bytes; a file system takes 255, of which suffixes are some."""

_RULES = (
    _Rule(
        ("name",),
        lambda value: (
            value.isprintable()
            and not set("/\\") & set(value)
            and value.strip() not in ("", ".", "..")
            and len(value.encode()) <= _LONGEST_NAME
        ),
        "one plain file name, without / or \\",
    ),
    _Rule(
        ("steps", "batch_size", "checkpoint_steps", "validation.every"),
        lambda value: value >= 1,
        "at least 1",
    ),
    _Rule(("workers", "warm_up_steps", "validation.images"), lambda value: value >= 0, "at least 0"),
    _Rule(("seed",), lambda value: 0 <= value <= _LARGEST_SEED, f"0 to {_LARGEST_SEED}"),
    _Rule(
        ("short_sides",),
        lambda value: value and all(STRIDE <= side <= _MOST_PIXELS for side in value),
        f"sizes of {STRIDE} to {_MOST_PIXELS} pixels",
    ),
    _Rule(
        ("network.short_side",),
        lambda value: value is None or STRIDE <= value <= _MOST_PIXELS,
        f"{STRIDE} to {_MOST_PIXELS} pixels",
    ),
    _Rule(("smallest_window",), lambda value: 0 < value <= 1, "above 0, at most 1"),
    _Rule(("learning_rate",), lambda value: 0 < value < math.inf, "above 0 and finite"),
    _Rule(("largest_gradient",), lambda value: value > 0, "above 0"),
    _Rule(("average_decay", "loss.trim"), lambda value: 0 <= value < 1, "at least 0, below 1"),
    _Rule(
        (
            "pretrained_rate",
            "weight_decay",
            *(f"loss.{each.name}" for each in fields(LossWeights) if each.name != "trim"),
        ),
        lambda value: 0 <= value < math.inf,
        "at least 0 and finite",
    ),
)
"""A comparison with NaN is false: it is refused wherever a number is."""
_ONLY_COMPACT = ("encoder", "weights", "short_side")
