"""A notebook of a script whose cells begin with `# %%`, without outputs; `[script]` cells are left out.

python examples/make_notebook.py examples/depth_dataset_guide.py
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any


def make_notebook(script: str) -> str:
    """Return the notebook as JSON (nbformat 4.5)."""
    parts = re.split(r"^# %%(?: \[(\w+)\])?\n", script, flags=re.MULTILINE)[1:]
    cells = [(kind, text.strip()) for kind, text in zip(parts[::2], parts[1::2], strict=True)]
    kept = [_make_cell(f"cell-{n}", *cell) for n, cell in enumerate(cells) if cell[0] != "script"]
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    about = {"kernelspec": kernel, "language_info": {"name": "python"}}
    notebook = {"cells": kept, "metadata": about, "nbformat": 4, "nbformat_minor": 5}
    return json.dumps(notebook, indent=1, ensure_ascii=False) + "\n"


def _make_cell(name: str, kind: str | None, text: str) -> dict[str, Any]:
    if kind == "markdown":
        words = re.sub(r"^# ?", "", text, flags=re.MULTILINE)
        return {"cell_type": kind, "id": name, "metadata": {}, "source": words.splitlines(keepends=True)}
    source = text.splitlines(keepends=True)
    code = {"cell_type": "code", "execution_count": None, "metadata": {}, "outputs": []}
    return {**code, "id": name, "source": source}


if __name__ == "__main__":
    path = Path(sys.argv[1])
    path.with_suffix(".ipynb").write_text(make_notebook(path.read_text()))
