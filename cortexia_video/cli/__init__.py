"""The command `cortexia`: a mapping from commands to functions, each imported when it is used."""

from __future__ import annotations

import errno
import signal
import sys
import tempfile
from contextlib import nullcontext
from importlib.metadata import version
from types import FrameType
from typing import Annotated

from cyclopts import App, CycloptsError, Parameter

from cortexia_video.cli.quiet import open_log, quiet_libraries
from cortexia_video.cli.streams import find_loss, open_streams
from cortexia_video.errors import CortexiaError, InputError, OutputLostError, printable

_VERBOSE = ("-v", "--verbose")
DONE, SOME_FAILED, WRONG_USAGE, INTERRUPTED = 0, 1, 2, 130
_FULL = (errno.ENOSPC, errno.EDQUOT)

app = App(
    name="cortexia",
    help="Depth for image collections: images in, depth maps that say what they mean out. "
    "With -v a command also shows what its libraries print and log.",
    version=lambda: version("cortexia-video"),
)
app.command(
    "cortexia_video.cli.estimate:estimate_command", name="estimate", help="Estimate depth for images."
)
app.command("cortexia_video.cli.plan:plan_command", name="plan", help="Say what a run would take.")
app.command(
    "cortexia_video.cli.verify:verify_command", name="verify", help="Check outputs against their ledger."
)
app.command("cortexia_video.cli.info:info_command", name="info", help="Say what depth files are and mean.")
app.command(
    "cortexia_video.cli.convert:convert_command",
    name="convert",
    help="Write depth in another format or for another focal length.",
)
app.command(
    "cortexia_video.cli.report:report_command", name="report", help="Write a page about a folder of depth."
)
app.command(
    "cortexia_video.cli.export:export_command", name="export", help="Write a network as an ONNX file."
)
app.command(
    "cortexia_video.cli.pointcloud:pointcloud_command", name="pointcloud", help="Make point clouds of depth."
)
app.command(
    "cortexia_video.cli.evaluate:evaluate_command", name="evaluate", help="Measure depth against the truth."
)
app.command("cortexia_video.cli.status:status_command", name="status", help="Say how far a job is.")
app.command("cortexia_video.cli.merge:merge_command", name="merge", help="Join the ledgers of shards.")
app.command(
    "cortexia_video.cli.models:models_command", name="models", help="List the models and their terms."
)
app.command("cortexia_video.cli.scenes:scenes_command", name="scenes", help="Render images with exact depth.")
app.command("cortexia_video.cli.train:train_command", name="train", help="Train or fine-tune a network.")
_dataset = App(name="dataset", help="Build, describe and look at datasets of images with depth.")
_dataset.command("cortexia_video.cli.dataset:build_command", name="build", help="Make a dataset.")
_dataset.command("cortexia_video.cli.dataset:info_command", name="info", help="Say what a dataset holds.")
_dataset.command("cortexia_video.cli.dataset:preview_command", name="preview", help="Write a contact sheet.")
app.command(_dataset)


@app.command(name="rescale", show=False)
def _rescale(*_: Annotated[str, Parameter(allow_leading_hyphen=True)]) -> None:
    raise InputError("rescale is now: cortexia convert RUN --output NEW --f-px ... (or --intrinsics FILE)")


def main(arguments: list[str] | None = None) -> None:
    """Run one command and exit: 0 all done, 1 some failed, 2 wrong usage, 130 interrupted."""
    run_app(app, arguments)


def run_app(app: App, arguments: list[str] | None = None) -> None:
    """Run a cyclopts app with our exit codes; an error is one line on stderr.

    Where stdout does not take what is printed the command goes on all the same, and then has failed; a reader
    that has gone, and whatever stderr does not take, change nothing.
    """
    open_streams()
    code = _run(app, arguments)
    lost = find_loss()
    if lost:
        code = _complain(f"cannot write what is printed: {lost.strerror}", code or SOME_FAILED)
    sys.exit(code)


def _run(app: App, arguments: list[str] | None) -> int:
    before = signal.signal(signal.SIGTERM, _end)
    app.suppress_keyboard_interrupt = False  # it would be silent
    try:
        given = sys.argv[1:] if arguments is None else arguments
        words = [each for each in given if each not in _VERBOSE]
        verbose = len(words) < len(given)
        with nullcontext() if verbose else quiet_libraries():
            open_log(verbose=verbose)
            code = app(words, exit_on_error=False, print_error=False, result_action="return_value")
    except CycloptsError as error:
        return _complain(str(error), WRONG_USAGE)
    except OutputLostError as error:
        if error.report is not None:
            print(error.report)
        return _complain(str(error), SOME_FAILED)
    except CortexiaError as error:
        return _complain(str(error), SOME_FAILED if _is_full(error) else WRONG_USAGE)
    except OSError as error:  # what only the system knows of: a disk that is full, or fails
        return _complain(_describe(error), SOME_FAILED)
    except KeyboardInterrupt:
        return _complain("interrupted; no file is half written", INTERRUPTED)
    finally:
        signal.signal(signal.SIGTERM, before)
    return code if isinstance(code, int) else DONE


def _end(number: int, frame: FrameType | None) -> None:
    """Take SIGTERM for Ctrl-C, so that what a command made for a while is removed."""
    raise KeyboardInterrupt


def _is_full(error: BaseException | None) -> bool:
    """Return whether an error comes of a full disk, which another command line would not mend."""
    while error and not (isinstance(error, OSError) and error.errno in _FULL):
        error = error.__cause__
    return error is not None


def _describe(error: OSError) -> str:
    try:
        tempfile.gettempdir()
    except OSError:
        return "no folder for temporary files can be written to: set TMPDIR to one that can, and has room"
    return f"{error.filename}: {error.strerror}" if error.filename else str(error)


def _complain(message: str, code: int) -> int:
    print(f"cortexia: {printable(message)}", file=sys.stderr)
    return code
