"""The command `cortexia`: a mapping from commands to functions, each imported when it is used.

Doors: `main`.
"""

from __future__ import annotations

import errno
import re
import signal
import sys
import tempfile
from contextlib import nullcontext
from importlib.metadata import version
from inspect import cleandoc
from pathlib import Path
from types import FrameType
from typing import Any

from cyclopts import App, CycloptsError, Group, Parameter

from cortexia_video.cli.option_words import set_command, to_options
from cortexia_video.cli.progress import show_progress
from cortexia_video.cli.quiet import open_log, quiet_libraries
from cortexia_video.cli.streams import find_loss, open_streams
from cortexia_video.cli.usage import explain
from cortexia_video.errors import CortexiaError, OutputLostError, describe, printable

GIVEN = "given"
_ALONE = ("--commercial-only",)  # options that take a value by = or stand alone: then it is GIVEN
_VERBOSE, _QUIET = ("-v", "--verbose"), ("-q", "--quiet")
DONE, SOME_FAILED, WRONG_USAGE, INTERRUPTED = 0, 1, 2, 130
_FULL = (errno.ENOSPC, errno.EDQUOT)
_COMMANDS = {
    "Depth": ("estimate",),
    "Look": ("view", "info", "report", "verify", "pointcloud"),
    "Data": ("convert", "align", "scenes", "evaluate", "compare"),
    "Models": ("models", "export", "train"),
    "Large jobs": ("plan", "status", "merge"),
}
OPTIONS = Group("Options", sort_key=0)
_OF_DATASETS = ("build", "info", "preview")


def _show_default(value: object) -> str | None:
    """Return what an option is by default, where that says something."""
    return None if value is None or value is False or value in ("", ()) else str(value)


def unwrap(text: str) -> str:
    """Make one line of each paragraph, for a terminal of any width; examples, which are indented, stay."""
    return re.sub(r"(?<=\S)\n(?=\S)", " ", cleandoc(text))


app = App(
    name="cortexia",
    help=unwrap("""Estimate depth for image collections: images in, depth maps out that say what they mean.

    To begin with:

        cortexia estimate photos --output depth
        cortexia info depth

    `cortexia help COMMAND` shows examples and options, `cortexia help formats` a page of the
    documentation. Every command takes --quiet, which says only what went wrong, and -v, which also says how
    long each stage took, and what libraries print.
    """),
    help_format="plaintext",
    default_parameter=Parameter(negative=(), json_list=False, show_default=_show_default),
    group_parameters=OPTIONS,
    version=lambda: version("cortexia-video"),
)


def _add_command(to: App, module: str, name: str, app: str = "", **more: Any) -> None:
    """Register a command by its name alone; its help is its docstring, read without importing it.

    app: what holds it and its own commands, where it has some.
    """
    function = f"{name}_command"
    source = Path(__file__).with_name(f"{module}.py").read_text(encoding="utf-8")
    docstring = re.search(rf'def {function}\(.*?"""(.*?)"""', source, re.DOTALL)
    assert docstring, function
    help = unwrap(docstring[1])
    to.command(f"cortexia_video.cli.{module}:{app or function}", name=name, help=help, **more)


_panels = {title: Group(title, sort_key=number) for number, title in enumerate(_COMMANDS, 1)}
for _title, _names in _COMMANDS.items():
    for _number, _name in enumerate(_names):
        _add_command(
            app, _name, _name, "models" if _name == "models" else "", group=_panels[_title], sort_key=_number
        )
_dataset = App(name="dataset", help="Build, describe and preview datasets of images with depth.")
for _number, _name in enumerate(_OF_DATASETS):
    _add_command(_dataset, "dataset", _name, sort_key=_number)
app.command(_dataset)
_dataset.group = _panels["Data"]
_add_command(app, "help", "help", group=(_last := Group("Options", sort_key=len(_COMMANDS) + 1)))
app.register_install_completion_command(help="Let the shell complete commands and options.", group=_last)
app["--help"].group = app["--version"].group = _last


def main(arguments: list[str] | None = None) -> None:
    """Run one command and exit: 0 all done, 1 some failed, 2 wrong usage, 130 interrupted."""
    run_app(app, arguments)


def run_app(app: App, arguments: list[str] | None = None) -> None:
    """Run a cyclopts app with our exit codes; an error is one line on stderr.

    Where stdout does not take what is printed the command goes on all the same, and then has failed; a reader
    that has gone, and whatever stderr does not take, change nothing.
    """
    open_streams()
    before = signal.signal(signal.SIGTERM, _end)
    app.suppress_keyboard_interrupt = False  # it would be silent
    given = sys.argv[1:] if arguments is None else arguments
    words = [
        f"{each}={GIVEN}" if each in _ALONE else each for each in given if each not in (*_VERBOSE, *_QUIET)
    ]
    try:
        set_command(app, words)
        verbose = any(each in _VERBOSE for each in given)
        with nullcontext() if verbose else quiet_libraries():
            open_log(verbose=verbose, quiet=any(each in _QUIET for each in given))
            with show_progress():
                returned = app(words, exit_on_error=False, print_error=False, result_action="return_value")
        code = returned if isinstance(returned, int) else DONE
    except CycloptsError as error:
        code = _complain(explain(error, app, words), WRONG_USAGE)
    except OutputLostError as error:
        if error.report is not None:
            print(error.report)
        code = _complain(str(error), SOME_FAILED)
    except CortexiaError as error:
        cause: BaseException | None = error  # a full disk, which another command line would not mend?
        while cause and not (isinstance(cause, OSError) and cause.errno in _FULL):
            cause = cause.__cause__
        code = _complain(str(error), SOME_FAILED if cause else WRONG_USAGE)
    except OSError as error:  # what only the system knows of: a disk that is full, or fails
        said = f"{error.filename}: {describe(error)}" if error.filename else describe(error)
        try:
            tempfile.gettempdir()
        except OSError:
            said = "no folder for temporary files is writable: set TMPDIR to one that is, and has room"
        code = _complain(said, SOME_FAILED)
    except KeyboardInterrupt:
        code = _complain("interrupted; no file is half written", INTERRUPTED)
    finally:
        signal.signal(signal.SIGTERM, before)
    lost = find_loss()
    if lost:
        code = _complain(f"cannot write what is printed: {describe(lost)}", code or SOME_FAILED)
    sys.exit(code)


def _end(number: int, frame: FrameType | None) -> None:
    """Take SIGTERM for Ctrl-C, so that what a command made for a while is removed."""
    raise KeyboardInterrupt


def _complain(message: str, code: int) -> int:
    print(f"cortexia: {printable(to_options(message))}", file=sys.stderr)
    return code
