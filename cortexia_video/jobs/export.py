"""`export`: a network as one ONNX file that says what it is, compared with the network it was made of."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any, Literal

from cortexia_video.depth_estimation import load_estimator
from cortexia_video.errors import InputError, ModelLoadError, ParityError, in_words
from cortexia_video.frame import Frame
from cortexia_video.inference.backend_selection import FRAMES_COMPARED, MAX_ERROR
from cortexia_video.inference.parity import Parity, compare
from cortexia_video.jobs.worker import decode_readable
from cortexia_video.models.protocol import CommercialOnly
from cortexia_video.models.registry import COMPACT_FILE, describe_model, find_model, require_commercial
from cortexia_video.runtime.progress import stage
from cortexia_video.sources.find import find_images
from cortexia_video.storage.atomic_file import move_whole, scratch_folder, write_atomic
from cortexia_video.storage.paths import AnyPath, require_free, to_path

Size = tuple[int, int]
_TRIED = 16  # images


@dataclass(frozen=True, slots=True)
class Export:
    """What `export` wrote.

    Attributes:
        path: Of the file.
        size: (height, width) that the network sees; None for any.
        bytes: Of the file, and of the one beside it, if any.
        parity: Against the network itself in float32, where there were images for it.
    """

    path: AnyPath
    size: Size | None
    bytes: int
    parity: Parity | None


def export(
    model: str,
    output: str | os.PathLike[str],
    *,
    backend: Literal["onnx", "openvino"] = "onnx",
    size: Size | None = None,
    precision: str = "auto",
    check: str | os.PathLike[str] | Sequence[str | os.PathLike[str]] = (),
    max_error: float = MAX_ERROR,
    commercial_only: CommercialOnly = False,
    kind: str | None = None,
) -> Export:
    """Write a network of torch's as an ONNX file for images of one size, which `onnx:FILE` loads.

    Args:
        model: A published name that torch runs, hf:FOLDER or hf:org/name; or compact, whose file, for images of
            any size, is copied out of the package.
        output: The file to write. Weights beyond 1.9 GB go into a file beside it.
        backend: What is to run the file: onnx (ONNX Runtime) or openvino. The file says so itself.
        size: 392x518: height x width as the network sees images; others are stretched to it. Needed unless
            the network takes one size only. In Python (392, 518).
        precision: What the backend computes in: float32, for openvino also bfloat16; auto is the fastest.
        check: Images, folders or lists: the first few that can be read are estimated by the file and by the
            network in float32.
        max_error: Refuse the export where an image's mean relative difference is more.
        commercial_only: Refuse weights that are not known to be free for use in a product;
            strict: also those whose training data, or teachers, are not.
        kind: For hf: models that do not say what their values mean.

    Returns:
        The path, the size and the bytes of the file, and how near it is to the network.

    Raises:
        ParityError: An image's mean difference is more than `max_error`; nothing is written.
        OutputExistsError: There is such a file.
        InputError: No image of `check` can be read, or the output cannot be written.
        ModelError: The model cannot be loaded or exported.

    Example:
        >>> cx.export("depth-anything-v2-small", "small.onnx", size=(392, 518))  # doctest: +SKIP
    """
    place = to_path(output)
    checked = [check] if isinstance(check, str | os.PathLike) else check
    require_free(place, "remove it")
    if commercial_only:
        require_commercial(model, strict=commercial_only == "strict")
    if model == "compact":
        if size or checked or backend != "onnx" or precision != "auto":
            raise InputError(
                "compact is copied as it is, for images of any size and for every backend: leave out `size`, "
                "`check`, `backend` and `precision`"
            )
        data, writing = COMPACT_FILE.read_bytes(), write_atomic(place)
        with in_words(f"cannot write {place}", "choose another `output`", of=OSError), writing as partial:
            partial.write_bytes(data)
        return Export(place, None, len(data), None)
    if "torch" not in find_model(model).backends:
        raise ModelLoadError(
            f"model {model!r} is no network of torch's to export: `backend` runs it as it is"
        )
    frames: list[Frame] = []
    if checked:
        frames += islice(
            decode_readable(islice(find_images(checked, recursive=True), _TRIED)), FRAMES_COMPARED
        )
        if not frames:
            places = ", ".join(str(to_path(each)) for each in checked)
            raise InputError(
                f"no images that can be read in {places}: give others to `check`, or leave it out"
            )
    options: dict[str, Any] = {"device": "cpu", "precision": "float32"}
    options |= {name: value for name, value in (("kind", kind), ("input_size", size)) if value is not None}
    reference = load_estimator(model, **options)
    network: Any = reference.model
    if not getattr(network, "estimates_fov", True):  # any focal length shows the same difference
        frames = [
            each if each.f_px else replace(each, f_px=float(each.width), f_source="given") for each in frames
        ]
    beside = place.parent if isinstance(place, Path) else None  # on the disk of the output, if that is one
    with ExitStack() as stack:
        stack.enter_context(in_words(f"cannot write {place}", "choose another `output`", of=OSError))
        if beside:
            beside.mkdir(parents=True, exist_ok=True)
        folder = stack.enter_context(scratch_folder(beside))
        path = folder / place.name
        about = {"backend": backend, "precision": precision}
        terms = describe_model(model)
        about |= {"licence_weights": terms.licence_weights, "trained_from": terms.trained_from}
        with stage(f"exporting {model}"):
            size = network.export(path, about)
        parity = None
        if frames:
            exported = load_estimator(f"onnx:{path}", device="cpu")
            with stage("comparing with float32"):
                parity = compare(exported, reference, frames)
            if parity.worst.mean > max_error:
                raise ParityError(
                    f"the export of {model} is too far from it: {parity}; nothing was written "
                    f"(`precision='float32'`, or allow it by `max_error={2 * parity.worst.mean:.2g}`)"
                )
        return Export(place, size, _move(path, place), parity)


def _move(path: Path, place: AnyPath) -> int:
    """Move a file, last, and what lies beside it to its place; return the bytes of all."""
    files = sorted(path.parent.iterdir(), key=lambda each: each == path)
    written = sum(each.stat().st_size for each in files)
    for each in files:
        require_free(place.parent / each.name, "remove it")
    for each in files:
        move_whole(each, place.parent / each.name)
    return written
