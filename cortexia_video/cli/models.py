"""`cortexia models`: what can be used, on what terms."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from cortexia_video.cli.options import take_options
from cortexia_video.cli.streams import find_width
from cortexia_video.errors import say_install
from cortexia_video.html.wording import lay_out
from cortexia_video.models.protocol import ModelInfo
from cortexia_video.models.registry import find_model, list_models

_COMMERCIAL = {True: "yes", False: "no", None: "see licence"}


@take_options()
def models_command(name: Annotated[str | None, Parameter(name="NAME")] = None, /) -> None:
    """List models, with licences and what they need.

    A table on a terminal, else a line for each with tabs between: name, summary, kind of depth, licences of code
    and weights, commercial use, where weights come from, hub id, revision, what to install.

        cortexia models
        cortexia models depth-pro
        cortexia estimate photos --output depth --model depth-anything-v2-small
    Args:
        name: Show all about this model.
    """
    width = find_width()
    if name is not None:
        for title, fact in _describe(find_model(name)).items():
            print(f"{title:<15}  {fact}")
    elif width is None:
        for info in list_models():
            print("\t".join(_describe(info).values()))
    else:
        heads = ("name", "kind of depth", "commercial use", "weights licence", "install")
        rows = [[described[head] for head in heads] for described in map(_describe, list_models())]
        print("\n".join(lay_out([heads, *rows], width)))
        print("all about one of them: cortexia models NAME")


def _describe(info: ModelInfo) -> dict[str, str]:
    return {
        "name": info.name,
        "summary": info.summary,
        "kind of depth": info.kind or "the file or --kind says",
        "code licence": info.licence_code,
        "weights licence": info.licence_weights,
        "commercial use": _COMMERCIAL[info.commercial],
        "weights from": info.weights,
        "hub id": info.hub_id or "-",
        "revision": (info.revision or "main") if info.hub_id else "-",
        "install": say_install(info.needs) if info.needs else "-",
    }
