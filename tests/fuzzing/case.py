"""One case: a reader, an input, and all that must not happen. This process is the reader's; it may die of it.

A line of stdin is a case, as JSON: the target's name, and an entry of its corpus or a seed. A line of stdout
is what came of it, and what is wrong with that.
"""

from __future__ import annotations

import faulthandler
import json
import logging
import os
import random
import resource
import signal
import sys
import tempfile
import traceback
import warnings
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any, TextIO

from PIL import Image

from cortexia_video.cli.quiet import quiet_libraries
from fuzzing.mutation import OUTSIDE, Tree, mutate
from fuzzing.targets import TARGETS, Target

CORPORA = Path(__file__).resolve().parents[1] / "corpora"
SECONDS = 20  # of the processor, in a case: the kernel ends a process that takes more
_BEYOND = 1 << 30  # bytes of URL space, besides what a target may take

_DANGEROUS = (
    "socket.connect",
    "socket.getaddrinfo",
    "subprocess.Popen",
    "os.system",
    "os.exec",
    "os.fork",
    "pickle.find_class",
)
_CHANGING = (
    "os.remove",
    "os.rename",
    "os.rmdir",
    "os.mkdir",
    "os.symlink",
    "os.link",
    "os.truncate",
    "os.chmod",
    "shutil.rmtree",
)


@cache
def read_corpus(target: str) -> Mapping[str, Tree]:
    """Return the inputs of a target's corpus by name, each the files of a folder."""
    return {entry.name: read_tree(entry) for entry in sorted((CORPORA / target).iterdir())}


def list_made(target: str) -> list[str]:
    """Name the inputs of a target's corpus that are whole: neither found by fuzzing nor hostile."""
    return [name for name in read_corpus(target) if not name.startswith(("found-", "hostile-"))]


def read_tree(entry: Path) -> Tree:
    files = sorted(each for each in entry.rglob("*") if each.is_file()) if entry.is_dir() else [entry]
    return {
        str(each.relative_to(entry if entry.is_dir() else entry.parent)): each.read_bytes() for each in files
    }


def write_tree(tree: Tree, folder: Path) -> None:
    for name, data in tree.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)


def make_input(target: str, case: str | int) -> Tree:
    """Return a case's input: an entry of the corpus as it is, or what a seed makes of whole ones."""
    corpus = read_corpus(target)
    if isinstance(case, str):
        return corpus[case]
    return mutate([corpus[name] for name in list_made(target)], random.Random(f"{target} {case}"))


class _Sandbox:
    """A folder for a case, beside folders that must stay empty, and what the interpreter was asked to do.

    What libraries written in C open is not heard here: that nothing lies there afterwards is looked at.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.folder, self._written = root / "case", root / "written"
        self._outside = str(root / Path(OUTSIDE).name)
        self.heard: list[str] = []
        self._listens = False
        for name in ("case", "written", "home", "tmp", "here"):
            (root / name).mkdir()
        Path(self._outside).write_text("nobody may read this")
        os.environ.update(HOME=str(root / "home"), TMPDIR=str(root / "tmp"), HF_HUB_OFFLINE="1")
        tempfile.tempdir = None
        os.chdir(root / "here")
        sys.addaudithook(self._hear)

    def _hear(self, event: str, args: tuple[Any, ...]) -> None:
        if not self._listens:
            return
        if event in _DANGEROUS or (event in _CHANGING and not self._may_write(args[0])):
            self.heard.append(f"{event} {args[:2]}")
        elif event == "open" and isinstance(args[0], str | bytes):
            if args[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT) and not self._may_write(args[0]):
                self.heard.append(f"writes {args[0]!r}")
            elif os.path.realpath(args[0]) == self._outside:
                self.heard.append(f"reads {args[0]!r}, which is outside of its folder")

    def _may_write(self, path: Any) -> bool:
        if not isinstance(path, str | bytes | os.PathLike):
            return True  # by a descriptor that was opened before
        return Path(os.path.realpath(os.fsdecode(path))).is_relative_to(self._written)

    @contextmanager
    def hold(self, tree: Tree) -> Iterator[list[str]]:
        """Put an input into the folder, and listen; at the end add to what was heard what is there."""
        write_tree(tree, self.folder)
        self.heard.clear()
        self._listens = True
        try:
            yield self.heard
        finally:
            self._listens = False
            self.heard += [
                f"left {path}" for name in ("home", "tmp", "here") for path in (self.root / name).iterdir()
            ]
            if read_tree(self.folder) != {**tree}:
                self.heard.append("changed what it read")
            for name in ("case", "home", "tmp", "here", "written"):
                _empty(self.root / name)


def _empty(folder: Path) -> None:
    for path in sorted(folder.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() and not path.is_symlink() else path.unlink()


class _Prints:
    """What is printed: it goes to a file, but for what the command line keeps quiet, too."""

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile()  # noqa: SIM115 - until the process ends
        for stream in (1, 2):
            os.dup2(self._file.fileno(), stream)

    def take(self) -> str:
        """Return what was printed since, and forget it."""
        sys.stdout.flush()
        sys.stderr.flush()
        self._file.seek(0)
        text = self._file.read().decode("utf-8", "replace")
        self._file.seek(0)
        self._file.truncate()
        return text


class _Memory:
    """The peak of a block's memory beyond what was there, in bytes; far above the limit none is given."""

    def __init__(self, limit: int) -> None:
        self._limit = limit

    def __enter__(self) -> _Memory:
        Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
        self._before = self._read("VmRSS")
        resource.setrlimit(
            resource.RLIMIT_AS, (self._read("VmSize") + self._limit + _BEYOND, resource.RLIM_INFINITY)
        )
        return self

    def __exit__(self, *_: object) -> None:
        resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        self.peak = self._read("VmHWM") - self._before

    @staticmethod
    def _read(name: str) -> int:
        words = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
        return int(words[name].split()[0]) << 10


def run_case(sandbox: _Sandbox, prints: _Prints, target: Target, tree: Tree) -> Mapping[str, str]:
    """Read an input; say what came of it, and what is wrong with that, if anything."""
    wrong, outcome = [], "read"
    signal.setitimer(signal.ITIMER_PROF, SECONDS)
    with _Memory(target.megabytes << 20) as memory, sandbox.hold(tree) as heard:
        try:
            target.read(sandbox.folder)
        except target.refusals as error:
            outcome = f"refused: {error}"
            if any(isinstance(each, MemoryError) for each in _list_causes(error)):
                wrong.append(f"asks for too much memory: {error}")
        except BaseException:  # noqa: BLE001 - that is what is looked for
            outcome = "raised"
            wrong.append(traceback.format_exc())
    signal.setitimer(signal.ITIMER_PROF, 0)
    printed = prints.take()
    wrong += heard
    wrong += [f"takes {memory.peak >> 20} MB"] if memory.peak > target.megabytes << 20 else []
    wrong += [f"prints {printed[:500]!r}"] if printed else []
    return {"outcome": outcome, "wrong": "\n".join(wrong)}


def warm_up(sandbox: _Sandbox, target: Target, tree: Tree) -> None:
    """Read an input: what is imported when it is first needed is not of a case."""
    with sandbox.hold(tree), suppress(Exception):
        target.read(sandbox.folder)


def _list_causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _quieten() -> None:
    """Let our own words to people go; those of libraries are found."""
    logger = logging.getLogger("cortexia_video")
    logger.addHandler(logging.NullHandler())
    logger.propagate = False
    warnings.simplefilter("always")
    warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # of what our own limit lets pass


def main() -> None:
    """Answer case by case, until nobody asks."""
    answers: TextIO = os.fdopen(os.dup(1), "w")
    errors = os.fdopen(os.dup(2), "w")
    faulthandler.enable(errors)
    faulthandler.register(signal.SIGUSR1, errors)  # where it hangs
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with tempfile.TemporaryDirectory(prefix="fuzzing-") as root, ExitStack() as quiet:
        prints, sandbox = _Prints(), _Sandbox(Path(root).resolve())
        quiet.enter_context(quiet_libraries())
        _quieten()  # after it: warnings, which it hides from people, are findings here
        print("ready", file=answers, flush=True)
        warm = set[str]()
        for line in sys.stdin:
            name, case = json.loads(line)
            if name not in warm:
                for made in list_made(name):
                    warm_up(sandbox, TARGETS[name], read_corpus(name)[made])
                prints.take()
                warm.add(name)
            answer = run_case(sandbox, prints, TARGETS[name], make_input(name, case))
            print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    main()
