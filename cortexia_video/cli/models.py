"""`cortexia models`: what can be used, on what terms."""

from __future__ import annotations

from rich.console import Console

from cortexia_video.cli.options import take_options
from cortexia_video.errors import say_install
from cortexia_video.models.registry import list_models

_COMMERCIAL = {True: "yes", False: "no", None: "see licence"}


@take_options()
def models_command() -> None:
    """List models, with licences and what they need.

    Kind of depth, licences, commercial use, where weights come from, what to install: a block of lines for
    each on a terminal, else one line each with tabs between.

        cortexia models
        cortexia estimate photos --output depth --model depth-anything-v2-small
    """
    console = Console()
    for info in list_models():
        facts = {
            "": info.summary,
            "kind of depth": info.kind or "the file or --kind says",
            "code licence": info.licence_code,
            "weights licence": info.licence_weights,
            "commercial use": _COMMERCIAL[info.commercial],
            "weights from": info.weights,
            "hub id": info.hub_id or "-",
            "revision": (info.revision or "main") if info.hub_id else "-",
            "install": say_install(info.needs) if info.needs else "-",
        }
        if not console.is_terminal:
            print("\t".join((info.name, *facts.values())))
            continue
        console.print(info.name, style="bold", markup=False, highlight=False)
        for title, fact in facts.items():
            console.print(f"  {title:<15} {fact}", markup=False, highlight=False)
