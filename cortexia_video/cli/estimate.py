"""`cortexia estimate`: the job, from the command line."""

from __future__ import annotations

import logging
import os
import re
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Annotated, Literal

from cyclopts import Parameter

from cortexia_video.cli import DONE, INTERRUPTED, SOME_FAILED
from cortexia_video.cli.progress import open_progress
from cortexia_video.errors import CortexiaError
from cortexia_video.pipeline import Report, estimate
from cortexia_video.sources.files import find_pictures


@Parameter(name="*")
@dataclass(frozen=True)
class OnnxOptions:
    """What an onnx: file does not say of itself.

    Parameters
    ----------
    kind
        For onnx: files that do not say it: metric, scale_invariant, affine_invariant or disparity.
    input_size
        For onnx: files that do not say it: 518 (short side) or 392x518 (height x width).
    normalize
        For onnx: files that do not say it: imagenet (the default), unit or signed.
    """

    kind: str | None = None
    input_size: str | None = None
    normalize: str | None = None

    def given(self) -> dict[str, object]:
        """Give the options that were given, as `load_estimator` takes them."""
        options = {"kind": self.kind, "input_size": _parse_size(self.input_size), "normalize": self.normalize}
        return {name: value for name, value in options.items() if value is not None}


def estimate_command(
    inputs: Annotated[list[Path], Parameter(name="INPUT", negative=(), json_list=False)],
    /,
    *,
    output: Annotated[Path, Parameter(alias="-o")],
    model: str = "compact",
    recursive: Annotated[bool, Parameter(negative=())] = False,
    format: Literal["npy", "png"] = "npy",
    preview: Annotated[bool, Parameter(negative=())] = False,
    batch_size: int = 4,
    device: str = "auto",
    workers: int | None = None,
    overwrite: Annotated[bool, Parameter(negative=())] = False,
    max_megapixels: float = 200.0,
    onnx: OnnxOptions = OnnxOptions(),
) -> int:
    """Estimate depth for pictures: files, folders, or a list.txt of paths, into OUTPUT/KEY.npy.

    Does only what is missing or changed. OUTPUT/ledger.jsonl says what became of every input.
    Exit code: 0 all done or skipped, 1 some failed, 2 wrong usage, 130 interrupted.

    Parameters
    ----------
    inputs
        Picture files, folders, or lists: list.txt or @list, one path a line.
    output
        Folder for the results; may be the input folder.
    model
        A name that `cortexia models` lists, or onnx:FILE.
    recursive
        Descend into the folders inside.
    format
        npy: float32 as the model gives it. png: 8-bit view, nearer darker, scaled for each picture.
    preview
        Also write a coloured JPEG of each depth map.
    batch_size
        Pictures in one call of the model.
    device
        auto, cpu, cuda, cuda:1 or mps.
    workers
        Threads that decode and write; one more than cores by default.
    overwrite
        Redo what is done, and replace files that the ledger does not know.
    max_megapixels
        Refuse larger pictures.
    """
    logging.basicConfig(format="cortexia: %(message)s", level=logging.WARNING, stream=sys.stderr)
    with _stop_on_signals() as stop, open_progress() as progress:
        progress.count(lambda: find_pictures(inputs, recursive=recursive, output=output))
        report = estimate(
            inputs,
            output,
            model=model,
            recursive=recursive,
            format=format,
            preview=preview,
            batch_size=batch_size,
            device=device,
            workers=workers,
            overwrite=overwrite,
            max_megapixels=max_megapixels,
            on_outcome=progress.show,
            stop=stop,
            **onnx.given(),
        )
    _summarise(report, output)
    return INTERRUPTED if report.interrupted else SOME_FAILED if report.failed else DONE


def _parse_size(text: str | None) -> int | tuple[int, int] | None:
    """Read 518 as a short side and 392x518 as height and width."""
    if text is None:
        return None
    match = re.fullmatch(r"([1-9]\d*)(?:x([1-9]\d*))?", text)
    if match is None:
        raise CortexiaError(f"--input-size must be like 518 or 392x518, not {text!r}")
    height, width = match.groups()
    return (int(height), int(width)) if width else int(height)


@contextmanager
def _stop_on_signals() -> Iterator[threading.Event]:
    """Set the event on the first Ctrl-C or SIGTERM; the second ends the process at once."""
    stop = threading.Event()

    def handle(number: int, frame: FrameType | None) -> None:
        if stop.is_set():
            if sys.stderr.isatty():
                os.write(sys.stderr.fileno(), b"\x1b[?25h\n")  # the bar hides the cursor
            os._exit(INTERRUPTED)
        stop.set()

    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _summarise(report: Report, output: Path) -> None:
    if report.interrupted:
        print("interrupted: what was being written is finished; the same command goes on from here. So far:")
    print(report)
    for failure in report.failures:
        print(f"  {failure}")
    if report.failed > len(report.failures):
        print(f"  and {report.failed - len(report.failures)} more, all in {output / 'ledger.jsonl'}")
