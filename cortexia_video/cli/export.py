"""`cortexia export`: a network as an ONNX file."""

from __future__ import annotations

from typing import Annotated, Literal

from cyclopts import Parameter

from cortexia_video.cli.options import parse_size, take_options
from cortexia_video.errors import InputError
from cortexia_video.inference.backend_selection import MAX_ERROR
from cortexia_video.jobs.export import export


@take_options()
def export_command(
    model: Annotated[str, Parameter(name="MODEL")],
    /,
    *,
    output: Annotated[str, Parameter(alias="-o")],
    backend: Literal["onnx", "openvino"] = "onnx",
    size: str | None = None,
    precision: str = "auto",
    check: Annotated[tuple[str, ...], Parameter(consume_multiple=True)] = (),
    max_error: float = MAX_ERROR,
    kind: str | None = None,
    commercial_only: bool = False,
) -> None:
    """Export a network as an ONNX file.

    The file is for images of one size; `cortexia estimate --model onnx:OUTPUT` then runs it.

        cortexia export depth-anything-v2-small --size 392x518 --output net.onnx --check photos
        cortexia estimate photos --output depth --model onnx:net.onnx

    Exit code: 0 written, 2 it cannot be exported, or differs too much.

    Args:
        model: A published name that torch runs, hf:FOLDER or hf:org/name.
        output: The file to write.
        backend: What is to run the file: onnx (ONNX Runtime) or openvino. The file says so itself.
        size: 392x518: height x width as the network sees images; others are stretched to it.
        precision: What the backend computes in: float32, for openvino also bfloat16; auto is the fastest.
        check: Images or folders: the first few are estimated by the file and by the network in float32.
        max_error: Refuse the export where an image's mean difference is more.
        kind: For hf: models that do not say what their numbers mean.
        commercial_only: Refuse weights that are not known to be free for use in a product.
    """
    parsed = parse_size(size, "`size`") if size else None
    if isinstance(parsed, int):
        raise InputError(f"`size` must be like 392x518, not {size!r}")
    done = export(
        model,
        output,
        backend=backend,
        size=parsed,
        precision=precision,
        check=check,
        max_error=max_error,
        kind=kind,
        commercial_only=commercial_only,
    )
    height, width = done.size
    print(f"{done.path}: {height}x{width}, {done.bytes / 1e6:.0f} MB, for --model onnx:{done.path}")
    print(f"against {model} in float32: {done.parity or 'not compared (--check PHOTOS)'}")
