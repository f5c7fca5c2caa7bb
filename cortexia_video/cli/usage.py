"""What is wrong with a command line: with what was meant, or an example. No command is imported to find it out."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from cyclopts import App, CycloptsError, MissingArgumentError, UnknownCommandError

from cortexia_video.errors import propose

_MODELS = (".onnx", ".safetensors", ".pt", ".pth", ".ckpt")
_RENAMED = {
    "rescale": "cortexia convert RUN --output NEW --f-px ... (or --intrinsics FILE)",
    "--engine": "--backend (what runs the network) or --executor ray (where it runs)",
    "--shard": "--partition",
    "--convention": "--from",
    "--truth-convention": "--truth-from",
}


def explain(error: CycloptsError, app: App, words: Sequence[str]) -> str:
    """Return the message for a command line that cannot be understood."""
    old = next((word for each in words if (word := each.partition("=")[0]) in _RENAMED), None)
    if isinstance(error, UnknownCommandError) and error.unused_tokens and not old:
        return _explain_command(error.unused_tokens[0], error.app or app)
    if isinstance(error, MissingArgumentError) and error.argument and not error.argument.tokens:
        missing, command = error.argument.name, " ".join(error.command_chain or ())
        text = str(error.app.help if error.app else "")
        examples = [
            each.strip() for each in text.splitlines() if each.strip().startswith(f"cortexia {command} ")
        ]
        fitting = [each for each in examples if not missing.startswith("-") or f" {missing} " in each]
        example = next(iter(fitting or examples), f"cortexia {command} --help")
        return f"{missing} is missing, as in: {example}"
    if old:
        return f"{old} is now {_RENAMED[old]}"
    return re.sub(r'"([^" ]*)"', r"\1", str(error))


def _explain_command(word: str, app: App) -> str:
    """Return what a word that is no command may stand for: what lies there, or a command of nearly that name."""
    place = Path(word)
    if place.suffix.lower() in _MODELS:
        return f"{word} is no command: cortexia estimate photos --output depth --model onnx:{word}"
    if place.exists() or "/" in word or place.suffix:
        return f"{word} is no command: cortexia estimate {word} --output depth"
    names = [name for name in app if not name.startswith("-")]
    return f"{word} is no command: {propose(word, names).rstrip() or 'there are ' + ', '.join(names)}"
