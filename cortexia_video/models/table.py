"""The table of models: a name in, a loaded `DepthModel` out. Outside packages add rows by entry point."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from typing import Any, cast

from cortexia_video.errors import CortexiaError, MissingExtraError, ModelLoadError, UnknownModelError
from cortexia_video.models.model import DepthModel, ModelInfo

ENTRY_POINT_GROUP = "cortexia_video.models"

_BUILT_IN = (
    ModelInfo(
        name="compact",
        summary="small network of our own, built in; relative depth, any picture size",
        kind="disparity",
        licence_code="Apache-2.0",
        licence_weights="Apache-2.0",
        commercial=True,
        weights="in the package; encoder started from the Apache-2.0 MobileNetV2 (NOTICE)",
        needs="",
        load="cortexia_video.models.onnx:load_compact",
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
        load="cortexia_video.models.onnx:load_onnx",
    ),
    ModelInfo(
        name="synthetic",
        summary="no network: a formula over rows and brightness, for tests and dry runs",
        kind="disparity",
        licence_code="Apache-2.0",
        licence_weights="none",
        commercial=True,
        weights="none",
        needs="",
        load="cortexia_video.models.synthetic:load_synthetic",
    ),
)


def list_models() -> list[ModelInfo]:
    """Give every model that can be used by name: the built-in ones, then those of installed packages."""
    return [*_BUILT_IN, *(_read_entry_point(point) for point in _entry_points())]


def find_model(name: str) -> ModelInfo:
    """Find the row of a model by name (`onnx:` and a path names a file).

    Raises `UnknownModelError`, naming what there is.
    """
    wanted = "onnx:FILE" if name.startswith("onnx:") else name
    for info in _BUILT_IN:
        if info.name == wanted:
            return info
    for point in _entry_points():
        if point.name == wanted:
            return _read_entry_point(point)
    raise UnknownModelError(_unknown(name))


def load_model(name: str, *, device: str = "auto", **options: object) -> DepthModel:
    """Load a model by name on a device: `auto`, `cpu`, `cuda`, `cuda:1` or `mps`.

    Options go to the model. Raises `UnknownModelError`, `MissingExtraError` or `ModelLoadError`.
    """
    info = find_model(name)
    try:
        return _check_members(_resolve(info)(name, device=device, **options), name)
    except ImportError as error:
        remedy = f"pip install {info.needs}" if info.needs else "install what it names"
        raise MissingExtraError(f"model {name!r} cannot be loaded: {error}; {remedy}") from error
    except TypeError as error:
        if not options:
            raise ModelLoadError(f"model {name!r} cannot be loaded: {error}") from error
        given = ", ".join(sorted(options))
        raise ModelLoadError(f"model {name!r} does not take all of these options: {given}") from error
    except CortexiaError:
        raise
    except Exception as error:
        raise ModelLoadError(f"model {name!r} cannot be loaded: {type(error).__name__}: {error}") from error


def _resolve(info: ModelInfo) -> Callable[..., DepthModel]:
    if not isinstance(info.load, str):
        return info.load
    module, _, function = info.load.partition(":")
    return cast("Callable[..., DepthModel]", getattr(import_module(module), function))


def _check_members(model: DepthModel, name: str) -> DepthModel:
    members = (*DepthModel.__annotations__, "processed_size", "preprocess", "infer")
    lacking = [member for member in members if not hasattr(model, member)]
    if lacking:
        raise ModelLoadError(f"model {name!r} is no DepthModel: it lacks {', '.join(lacking)}")
    return model


def _entry_points() -> list[EntryPoint]:
    return sorted(entry_points(group=ENTRY_POINT_GROUP), key=lambda point: point.name)


def _read_entry_point(point: EntryPoint) -> ModelInfo:
    info: Any
    try:
        info = point.load()
    except Exception as error:  # noqa: BLE001 - an outside package's import can raise anything
        return _broken(point, f"{type(error).__name__}: {error}")
    if not isinstance(info, ModelInfo):
        return _broken(point, f"{point.value} is no ModelInfo")
    if info.name != point.name:
        return _broken(point, f"its ModelInfo is called {info.name}, its entry point {point.name}")
    return info


def _broken(point: EntryPoint, reason: str) -> ModelInfo:
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


def _unknown(name: str) -> str:
    names = [info.name for info in list_models()]
    near = difflib.get_close_matches(name, names, n=1)
    hint = f"did you mean {near[0]}? " if near else ""
    there_are = f"there are {', '.join(names)}; --model compact needs nothing else"
    return f"no model is called {name!r} in this version: {hint}{there_are}"
