"""The table of models: a name in, a loaded `DepthModel` out. Outside packages add rows by entry point."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from inspect import Parameter, signature
from pathlib import Path
from typing import Any, TypeVar, cast

from cortexia_video.errors import (
    CortexiaError,
    ModelLoadError,
    UnknownModelError,
    explain_import,
    propose,
)
from cortexia_video.models.catalog import BACKENDS, NEEDS, PUBLISHED
from cortexia_video.models.onnx.session import GRAPH_BACKENDS
from cortexia_video.models.protocol import REFERENCE, DepthModel, ModelInfo
from cortexia_video.models.thorough import Thorough
from cortexia_video.runtime.progress import stage
from cortexia_video.storage.paths import to_path

Result = TypeVar("Result")

ENTRY_POINT_GROUP = "cortexia_video.models"
COMPACT_FILE = Path(__file__).parent / "compact.onnx"  # the network that is in the package

# Licences, as checkpoints name them, that allow use in a product without asking anyone.
_COMMERCIAL = {
    "apache-2.0",
    "bsd-2-clause",
    "bsd-3-clause",
    "cc-by-4.0",
    "cc0-1.0",
    "isc",
    "mit",
    "unlicense",
}

_BUILT_IN = (
    ModelInfo(
        name="compact",
        summary="small network of our own, built in; relative depth, any image size",
        kind="disparity",
        licence_code="Apache-2.0",
        licence_weights="Apache-2.0",
        commercial=True,
        weights="in the package; encoder started from the Apache-2.0 EfficientNet-Lite0 (NOTICE)",
        size="7.8 MB",
        trained_from="21,400 scenes that this project renders, 5,600 of them with models of furniture under CC0 and "
        "CC BY 3.0 (NOTICE); the encoder started from ImageNet, whose images are for research (docs/models/compact.md)",
        free_training=False,
        needs="",
        load="cortexia_video.models.onnx.model:load_compact",
        backends=GRAPH_BACKENDS,
    ),
    *PUBLISHED,
    ModelInfo(
        name="hf:CHECKPOINT",
        summary="any depth network for transformers: hf:FOLDER, hf:org/name or hf:org/name@revision",
        kind=None,
        licence_code="the checkpoint's",
        licence_weights="the checkpoint's, as its README.md names it",
        commercial=None,
        weights="the folder, or downloaded when first used",
        needs=NEEDS,
        load="cortexia_video.models.torch.huggingface:load_hf",
        read_licence="cortexia_video.models.torch.checkpoint:read_licence",
        backends=BACKENDS,
    ),
    ModelInfo(
        name="onnx:FILE",
        summary="any depth network in an ONNX file of yours",
        kind=None,
        licence_code="the file's",
        licence_weights="the file's",
        commercial=None,
        weights="the file",
        needs="",
        load="cortexia_video.models.onnx.model:load_onnx",
        read_licence="cortexia_video.models.onnx.model:read_licence",
        read_trained_from="cortexia_video.models.onnx.model:read_trained_from",
        backends=GRAPH_BACKENDS,
    ),
    ModelInfo(
        name="synthetic",
        summary="no network: a formula over rows and brightness, for tests and dry runs",
        kind="disparity",
        licence_code="Apache-2.0",
        licence_weights="none",
        commercial=True,
        weights="none",
        trained_from="nothing",
        free_training=True,
        needs="",
        load="cortexia_video.models.synthetic:load_synthetic",
    ),
)


def list_models() -> list[ModelInfo]:
    """Return every model that can be used by name: the built-in ones, then those of installed packages.

    Returns:
        A row for each: name, kind of depth, licences, where its weights are.

    Example:
        >>> "compact" in [each.name for each in cx.list_models()]
        True
    """
    return [*_BUILT_IN, *(_read_entry_point(point) for point in _entry_points())]


def find_model(name: str) -> ModelInfo:
    """Return the row of a model by name (`onnx:` and `hf:` go before a path, `hf:` before a hub id, too).

    Raises `UnknownModelError`, naming what there is.
    """
    prefix, colon, _ = name.partition(":")
    wanted = {"onnx:": "onnx:FILE", "hf:": "hf:CHECKPOINT"}.get(prefix + colon, name)
    for info in _BUILT_IN:
        if info.name == wanted:
            return info
    for point in _entry_points():
        if point.name == wanted:
            return _read_entry_point(point)
    names = [info.name for info in list_models()]
    place = to_path(name)
    is_checkpoint = isinstance(place, Path) and (place / "config.json").is_file()
    if is_checkpoint or place.suffix.lower() == ".onnx":
        way = f"{'hf' if is_checkpoint else 'onnx'}:{name}"
        raise UnknownModelError(f"{name} is a path: `model='{way}'` takes it, if it is a network")
    raise UnknownModelError(
        f"no model is called {name!r} in this version: {propose(name, names)}there are {', '.join(names)}; "
        "`model='compact'` needs nothing else"
    )


def require_commercial(name: str, *, strict: bool = False) -> None:
    """Raise `ModelLoadError` unless a model's weights may be used in a product, as far as is known.

    strict: also refuse weights whose training data, or the networks that taught them, are not known to be free.
    """
    info = describe_model(name)
    allowed = info.commercial
    if allowed is None and info.read_licence:
        allowed = info.licence_weights.lower() in _COMMERCIAL
    if not allowed:
        raise ModelLoadError(
            f"model {name!r} is refused (`commercial_only`): the licence of its weights is "
            f"{info.licence_weights}; `cortexia models` shows those of all"
        )
    if strict and not info.free_training:
        raise ModelLoadError(
            f"model {name!r} is refused (strict `commercial_only`): what it was trained from is not known to be "
            f"free for use in a product: {info.trained_from}"
        )


def describe_model(name: str) -> ModelInfo:
    """Return the row of a model; of one of many files or checkpoints with the terms that its own name, if any."""
    info, said = find_model(name), dict[str, str]()
    readers = (("licence_weights", info.read_licence), ("trained_from", info.read_trained_from))
    for field, reader in readers:
        if reader:
            try:
                said[field] = _resolve(reader)(name) or "unknown"
            except ImportError as error:
                raise explain_import(error, f"model {name!r} needs", info.needs) from error
    return replace(info, **said)  # type: ignore[arg-type]


def load_model(name: str, *, device: str = "auto", thorough: bool = False, **options: object) -> DepthModel:
    """Load a model by name on a device: `auto`, `cpu`, `cuda`, `cuda:1` or `mps`.

    thorough: let it see each image mirrored, too, and give the mean.
    Options go to the model; `backend='reference'` is its first one, in float32.
    Raises `UnknownModelError`, `MissingExtraError` or `ModelLoadError`.
    """
    info = find_model(name)
    if options.get("backend") == REFERENCE:
        options = _name_reference(info, options)
    try:
        with stage(f"loading {name}"):
            model = _resolve(info.load)(name, device=device, **options)
    except ImportError as error:
        raise explain_import(error, f"model {name!r} needs", info.needs) from error
    except TypeError as error:
        if not options:
            raise ModelLoadError(f"model {name!r} cannot be loaded: {error}") from error
        parameters = signature(_resolve(info.load)).parameters.values()
        taken = [each.name for each in parameters if each.kind is Parameter.KEYWORD_ONLY]
        all_said = taken and not any(each.kind is Parameter.VAR_KEYWORD for each in parameters)
        raise ModelLoadError(
            f"model {name!r} does not take all of these options: {', '.join(sorted(options))}"
            + (f"; it takes {', '.join(each for each in taken if each != 'device')}" if all_said else "")
        ) from error
    except CortexiaError:
        raise
    except Exception as error:
        raise ModelLoadError(f"model {name!r} cannot be loaded: {type(error).__name__}: {error}") from error
    members = (*DepthModel.__annotations__, "processed_size", "preprocess", "infer")
    lacking = [member for member in members if not hasattr(model, member)]
    if lacking:
        raise ModelLoadError(f"model {name!r} is no DepthModel: it lacks {', '.join(lacking)}")
    return Thorough(model) if thorough else model


def _name_reference(info: ModelInfo, options: dict[str, object]) -> dict[str, object]:
    """Return options that name the reference as the model knows it: its first backend, in float32."""
    if not info.backends:
        return {name: value for name, value in options.items() if name != "backend"}
    if options.get("precision") not in (None, "float32"):
        raise ModelLoadError(
            f"`backend='reference'` computes in float32, not in {options['precision']}: leave one of `backend` and "
            "`precision` out"
        )
    return {**options, "backend": info.backends[0], "precision": "float32"}


def _resolve(function: str | Callable[..., Result]) -> Callable[..., Result]:
    """Import a function that is named as "module:function"."""
    if not isinstance(function, str):
        return function
    module, _, name = function.partition(":")
    return cast("Callable[..., Result]", getattr(import_module(module), name))


def _entry_points() -> list[EntryPoint]:
    return sorted(entry_points(group=ENTRY_POINT_GROUP), key=lambda point: point.name)


def _read_entry_point(point: EntryPoint) -> ModelInfo:
    """Return the row of an installed package; for a broken one, a row that says why, and cannot be loaded."""
    try:
        info: Any = point.load()
        if isinstance(info, ModelInfo) and info.name == point.name:
            return info
        reason = f"{point.value} is no ModelInfo"
        if isinstance(info, ModelInfo):
            reason = f"its ModelInfo is called {info.name}, its entry point {point.name}"
    except Exception as error:  # noqa: BLE001 - an outside package's import can raise anything
        reason = f"{type(error).__name__}: {error}"

    def refuse(name: str, **_: object) -> DepthModel:
        raise ModelLoadError(
            f"model {name!r} of an installed package is broken: {reason}; mend or uninstall it"
        )

    return ModelInfo(
        name=point.name,
        summary=f"broken: {reason}",
        kind=None,
        licence_code="unknown",
        licence_weights="unknown",
        commercial=None,
        weights="unknown",
        needs="",
        load=refuse,
    )
