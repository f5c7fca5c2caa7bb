"""How docstrings reach the site: `Example:` as code, with or without prompts; of modules, the first paragraph."""

from __future__ import annotations

import re
from typing import Any

import griffe

_EXAMPLE = re.compile(r"^( *)Example:\n((?:\1 +.*\n?|\s*\n)+)", re.MULTILINE)


class Examples(griffe.Extension):
    """Make of each `Example:` the section that the parser of Google's style knows as `Examples:`."""

    def on_module_instance(self, *, mod: griffe.Module, **_: Any) -> None:
        """Leave of what a module says of itself the first paragraph: the rest is for those who change it."""
        if mod.docstring:
            mod.docstring.value = mod.docstring.value.partition("\n\n")[0]

    def on_instance(self, *, obj: griffe.Object, **_: Any) -> None:
        if obj.docstring:
            obj.docstring.value = _EXAMPLE.sub(_as_section, obj.docstring.value)


def _as_section(found: re.Match[str]) -> str:
    code = found[2].rstrip()
    if ">>>" not in code:
        margin = min(re.findall(r"^ +(?=\S)", code, re.MULTILINE), key=len)
        code = f"{margin}```python\n{code}\n{margin}```"
    return f"{found[1]}Examples:\n{code}\n\n"
