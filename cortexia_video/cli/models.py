"""`cortexia models`: what can be used, on what terms."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table

from cortexia_video.models.model import ModelInfo
from cortexia_video.models.table import list_models

_COMMERCIAL = {True: "yes", False: "no", None: "see licence"}


def models_command() -> None:
    """List the models: kind of depth, licences, commercial use, where weights come from, what to install."""
    console = Console()
    if not console.is_terminal:
        for info in list_models():
            print("\t".join(_describe(info)))
        return
    table = Table("model", "what", "kind", "code", "weights", "commercial use", "weights from", "pip install")
    for info in list_models():
        table.add_row(*_describe(info))
    console.print(table)


def _describe(info: ModelInfo) -> tuple[str, ...]:
    return (
        info.name,
        info.summary,
        info.kind or "the file or --kind says",
        info.licence_code,
        info.licence_weights,
        _COMMERCIAL[info.commercial],
        info.weights,
        info.needs or "-",
    )
