"""Measure how much there is to read: files and lines, functions, and the files that one JPEG goes through.

    python benchmarks/structure.py [--moves] [PHOTO.jpg]

A file counts if one of its functions is called between the call of `estimate` and its return, after a first
run has imported everything. A move is a call from a function of one file to a function of another; a generator
that goes on, and a context manager that is left, count anew. `--moves` lists them in order. Private
and named once: a function whose name begins with `_` and that its file names exactly once beside the
definition; called once: where that is a call, and no row of a table or callback. The numbers before are
those of commit 9b59120, the last one before the package got its rooms.
"""

from __future__ import annotations

import ast
import re
import statistics
import sys
import tempfile
import threading
from collections import Counter
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
from PIL import Image

import cortexia_video

PACKAGE = Path(cortexia_video.__file__).parent
BEFORE = {
    "package": "283 files",
    "one JPEG": "45 files, 253 moves between files",
    "functions": "2211, median 5 lines, 28% private and named once, 23% called once",
}


class Moves:
    """Count calls between files of the package, on all threads."""

    def __init__(self) -> None:
        self.files: set[str] = set()
        self.moves: list[str] = []

    def __call__(self, frame: FrameType, event: str, _: Any) -> None:
        name = frame.f_code.co_filename
        if event != "call" or not name.startswith(str(PACKAGE)):
            return
        self.files.add(name)
        caller = frame.f_back
        while caller is not None and not caller.f_code.co_filename.startswith(str(PACKAGE)):
            caller = caller.f_back
        if caller is not None and caller.f_code.co_filename != name:
            here, there = (
                f"{str(Path(code.co_filename).relative_to(PACKAGE))[:-3]}.{code.co_qualname}"
                for code in (caller.f_code, frame.f_code)
            )
            self.moves.append(f"{threading.current_thread().name:12} {here} -> {there}")


def count_moves(photo: Path) -> Moves:
    """Count what one image takes through `estimate`."""
    with tempfile.TemporaryDirectory() as folder:
        cortexia_video.estimate([photo], Path(folder) / "first")
        moves = Moves()
        threading.setprofile(moves)
        sys.setprofile(moves)
        try:
            cortexia_video.estimate([photo], Path(folder) / "second")
        finally:
            sys.setprofile(None)
            threading.setprofile(None)
    return moves


def count_functions() -> tuple[int, float, float, float]:
    """Return how many functions there are, their median lines, and the shares that are named and called once."""
    lines, once, called_once = [], 0, 0
    for path in PACKAGE.rglob("*.py"):
        text = path.read_text()
        named, called = Counter(re.findall(r"\b_\w+", text)), Counter(re.findall(r"\b(_\w+)\(", text))
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                body = node.body[1:] if ast.get_docstring(node) and len(node.body) > 1 else node.body
                lines.append((node.end_lineno or 0) - body[0].lineno + 1)
                private = node.name.startswith("_") and not node.name.startswith("__")
                once += private and named[node.name] == 2
                called_once += private and named[node.name] == called[node.name] == 2
    return len(lines), statistics.median(lines), once / len(lines), called_once / len(lines)


def main() -> None:
    given = [each for each in sys.argv[1:] if each != "--moves"]
    with tempfile.TemporaryDirectory() as folder:
        photo = Path(given[0]) if given else Path(folder) / "photo.jpg"
        if not photo.exists():
            pixels = np.random.default_rng(0).integers(0, 256, (480, 640, 3), np.uint8)
            Image.fromarray(pixels).save(photo)
        moves = count_moves(photo)
    if "--moves" in sys.argv:
        for number, move in enumerate(moves.moves, start=1):
            print(f"{number:3} {move}")
    count, median, once, called_once = count_functions()
    size = sum(len(path.read_text().splitlines()) for path in PACKAGE.rglob("*.py"))
    now = {
        "package": f"{sum(1 for _ in PACKAGE.rglob('*.py'))} files, {size:,} lines",
        "one JPEG": f"{len(moves.files)} files, {len(moves.moves)} moves between files",
        "functions": f"{count}, median {median:g} lines, {once:.0%} private and named once, "
        f"{called_once:.0%} called once",
    }
    for what, said in now.items():
        print(f"{what:10}  before: {BEFORE[what]:66}  now: {said}")


if __name__ == "__main__":
    main()
