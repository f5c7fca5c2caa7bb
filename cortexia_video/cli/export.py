"""`cortexia export`: a network as an ONNX file."""

from __future__ import annotations

from typing import Annotated, Any

from cyclopts import Parameter

from cortexia_video.cli.options import MODEL, OPTIONS, Output, take_options
from cortexia_video.jobs.export import export


@take_options(
    export,
    (OPTIONS, ("backend", "size", "precision", "max_error")),
    (MODEL, ("kind", "commercial_only")),
)
def export_command(
    model: Annotated[str, Parameter(name="MODEL")],
    /,
    *,
    output: Output,
    check: Annotated[tuple[str, ...], Parameter(consume_multiple=True)] = (),
    **options: Any,
) -> None:
    """Export a network as an ONNX file.

    The file is for images of one size (compact: of any); `cortexia estimate --model onnx:OUTPUT` then runs it.

        cortexia export depth-anything-v2-small --size 392x518 --output net.onnx
        cortexia estimate photos --output depth --model onnx:net.onnx
        cortexia export compact --output compact.onnx

    Exit code: 0 written, 2 it cannot be exported, or differs too much.
    """
    done = export(model, output, check=check, **options)
    size = "{}x{}".format(*done.size) if done.size else "any size"
    print(f"{done.path}: {size}, {done.bytes / 1e6:.0f} MB, for --model onnx:{done.path}")
    if done.size:
        print(f"against {model} in float32: {done.parity or 'not compared (--check PHOTOS)'}")
