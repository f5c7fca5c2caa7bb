"""Recipes of small trainings, for tests."""

from __future__ import annotations

import json
from pathlib import Path

MINIMAL = 'name = "tiny"\nsteps = 2\nbatch_size = 2\nshort_sides = [64]\nworkers = 0\nwarm_up_steps = 2\n'


def write_recipe(folder: Path, *parts: str, root: Path | None = None, **words: object) -> Path:
    """Write a recipe with one dataset, in `root`, unless the parts have their own."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = dict(line.split(" = ", 1) for line in MINIMAL.splitlines())
    lines |= {name: json.dumps(value) for name, value in words.items()}
    data = f'[[data]]\ndataset = "rgbd"\nroot = "{root}"\n' if root else ""
    path = folder / "recipe.toml"
    path.write_text(
        "\n".join(f"{name} = {value}" for name, value in lines.items()) + f"\n{''.join(parts)}\n{data}"
    )
    return path


def network(architecture: str | Path) -> str:
    return f'[network]\narchitecture = "{architecture}"\n'
