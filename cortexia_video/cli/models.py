"""`cortexia models`: what can be used, on what terms."""

from __future__ import annotations

from rich.console import Console

from cortexia_video.cli.options import take_options
from cortexia_video.models.protocol import ModelInfo
from cortexia_video.models.registry import list_models

_TITLES = (
    "",
    "kind of depth",
    "code licence",
    "weights licence",
    "commercial use",
    "weights from",
    "hub id",
    "revision",
    "pip install",
)
_COMMERCIAL = {True: "yes", False: "no", None: "see licence"}


@take_options()
def models_command() -> None:
    """List models, with licences and what they need.

    Kind of depth, licences, commercial use, where weights come from, what to install: a block of lines for each
    on a terminal, else one line each with tabs between.

        cortexia models
        cortexia estimate photos --output depth --model depth-anything-v2-small
    """
    console = Console()
    for info in list_models():
        name, *facts = _describe(info)
        if not console.is_terminal:
            print("\t".join((name, *facts)))
            continue
        console.print(name, style="bold", markup=False, highlight=False)
        for title, fact in zip(_TITLES, facts, strict=True):
            console.print(f"  {title:<15} {fact}", markup=False, highlight=False)


def _describe(info: ModelInfo) -> tuple[str, ...]:
    return (
        info.name,
        info.summary,
        info.kind or "the file or --kind says",
        info.licence_code,
        info.licence_weights,
        _COMMERCIAL[info.commercial],
        info.weights,
        info.hub_id or "-",
        (info.revision or "main") if info.hub_id else "-",
        info.needs or "-",
    )
