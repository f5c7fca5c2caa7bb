"""`cortexia models`: what can be used, on what terms, and whether it is ready here."""

from __future__ import annotations

import json
from collections.abc import Callable
from inspect import cleandoc
from typing import Annotated, Any

from cyclopts import App, Parameter

from cortexia_video.cli import DONE, SOME_FAILED, unwrap
from cortexia_video.cli.options import CAMERA, MODEL, OPTIONS, RUN, take_options
from cortexia_video.cli.streams import find_width
from cortexia_video.errors import say_install
from cortexia_video.html.wording import lay_out
from cortexia_video.jobs.check_model import check_model
from cortexia_video.models.protocol import ModelInfo
from cortexia_video.models.readiness import find_lack
from cortexia_video.models.registry import describe_model, find_model, list_models

_FREE = {True: "yes", False: "no", None: "see licence"}
_IN_JSON = (
    "name summary kind licence_code licence_weights commercial weights size hub_id revision needs backends "
    "trained_from free_training"
)
_HEADS = ("name", "ready", "licence", "size", "kind", "commercial use")


@take_options()
def models_command(
    name: Annotated[str | None, Parameter(name="NAME")] = None,
    /,
    *,
    json_lines: Annotated[bool, Parameter(name="--json")] = False,
) -> None:
    """List models, their licences, and whether they are ready on this machine.

    A table on a terminal. Into a pipe or a file: a line for each, no header, tabs between name, summary, kind
    of depth, licences of code and weights, commercial use, where weights come from, hub id, revision, what to
    install, size, what they were trained from, whether that is free for products, ready. No network is asked.

        cortexia models
        cortexia models depth-pro
        cortexia models --json
        cortexia models check moge-2-vits a.jpg --expect authors.npy
        cortexia estimate photos --output depth --model depth-anything-v2-small

    Exit code: 0 listed, 2 no such model.

    Args:
        name: Show all about this model.
        json_lines: Print an object of JSON for each, one per line.
    """
    infos = list_models()
    if name is not None:  # the row of a model; of a file or folder what that says
        infos = [find_model(name) if any(name == each.name for each in infos) else describe_model(name)]
    width = find_width()
    if json_lines:
        for info in infos:
            lack = find_lack(info)
            facts = {each: getattr(info, each) for each in _IN_JSON.split()}
            print(json.dumps({**facts, "ready": not lack, "lacks": lack or None}))
    elif name is not None:
        for title, fact in _describe(infos[0]).items():
            print(f"{title:<15}  {fact}")
    elif width is None:
        for info in infos:
            print("\t".join(_describe(info).values()))
    else:
        rows = [
            [
                info.name,
                "no" if find_lack(info) else "yes",
                "its own" if info.read_licence else info.licence_weights.partition(" (")[0],
                info.size or "-",
                (info.kind or "-").removesuffix("_invariant"),
                _FREE[info.commercial],
            ]
            for info in infos
        ]
        print("\n".join(lay_out([_HEADS, *rows], width)))
        print("all about one of them, as what it was trained from: cortexia models NAME")


@take_options(
    check_model,
    (OPTIONS, ("expect", "max_error")),
    (MODEL, ("kind", "input_size", "canonical_f", "precision")),
    (CAMERA, ("f_px", "sparse", "sparse_from")),
    (RUN, ("device",)),
)
def check_command(
    name: Annotated[str, Parameter(name="NAME")],
    image: Annotated[str, Parameter(name="IMAGE")],
    /,
    **options: Any,
) -> int:
    """Compare a model's depth of one image with depth that was made elsewhere.

    Made by the authors' own code, say: so published weights are checked in one command. Sky is compared by the
    values that the model gives it.

        cortexia models check moge-2-vits a.jpg --expect authors.npy

    Exit code: 0 the same, up to --max-error; 1 not; 2 wrong usage, or they cannot be compared.

    Args:
        name: A model, as `cortexia estimate --model` takes it.
        image: An image file.
    """
    check = check_model(name, image, **options)
    print(f"{name} on {check.difference.key}: {check}")
    return DONE if check.passed else SOME_FAILED


def _describe(info: ModelInfo) -> dict[str, str]:
    lack = find_lack(info)
    return {
        "name": info.name,
        "summary": info.summary,
        "kind of depth": info.kind or "the file or --kind says",
        "code licence": info.licence_code,
        "weights licence": info.licence_weights,
        "commercial use": _FREE[info.commercial],
        "weights from": info.weights,
        "hub id": info.hub_id or "-",
        "revision": (info.revision or "main") if info.hub_id else "-",
        "install": say_install(info.needs) if info.needs else "-",
        "size": info.size or "-",
        "trained from": info.trained_from,
        "that is free": {True: "yes", False: "no", None: "unknown"}[info.free_training],
        "ready": f"no ({lack})" if lack else "yes",
    }


def _read_help(command: Callable[..., Any]) -> str:
    return unwrap(cleandoc(command.__doc__ or "").partition("\nArgs:")[0])


models = App(name="models", help=_read_help(models_command))
models.default(models_command)
models.command(check_command, name="check", help=_read_help(check_command))
