"""`cortexia estimate`: the job, from the command line."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import Parameter

from cortexia_video.cli.job import run_job
from cortexia_video.depth_estimation import Size
from cortexia_video.errors import CortexiaError, InputError
from cortexia_video.formats.registry import FormatName
from cortexia_video.inference.backend_selection import MAX_ERROR
from cortexia_video.inference.batch_size import BatchSize
from cortexia_video.jobs.estimate import Decoding, estimate
from cortexia_video.jobs.outcomes import Changed
from cortexia_video.ledger.partition import parse_partition
from cortexia_video.sinks.archives import Packing, PackName
from cortexia_video.sources.find import find_images
from cortexia_video.storage.paths import to_path

Switch = Annotated[bool, Parameter(negative=())]


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class OutputOptions:
    """What is written, and what becomes of what is there.

    Parameters
    ----------
    format
        npy: float32 as the model gives it. png: 8-bit view, nearer darker, scaled for each image.
        npz, tiff, exr, pfm: float32, too. png16, jxl: 16-bit steps. exr16: half floats. See docs/formats.md.
    size
        full: as large as the image. native: as large as the network gives it, some 60 times fewer bytes.
    preview
        Also write a coloured JPEG of each depth map.
    pack
        Put depth into shards, tar (WebDataset) or parquet, so that a million maps are a few thousand files.
    pack_size
        Images of a shard.
    pack_images
        Put the images into the shards, too.
    overwrite
        Redo what is done, and replace files that the ledger does not know.
    changed
        Outputs that were made with other settings (model, format...): redo them, keep them, or refuse to run.
    """

    format: FormatName = "npy"
    size: Size = "full"
    preview: Switch = False
    pack: PackName | None = None
    pack_size: int = 256
    pack_images: Switch = False
    overwrite: Switch = False
    changed: Changed = "redo"

    def given(self) -> dict[str, Any]:
        """Return the options as `estimate` takes them."""
        options = {name: value for name, value in vars(self).items() if not name.startswith("pack")}
        packing = Packing(self.pack, self.pack_size, self.pack_images) if self.pack else None
        return {**options, "packing": packing}


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """How the run goes about it.

    Parameters
    ----------
    batch_size
        Images in one call of the model, or auto: what proves fastest.
    device
        auto, cpu, cuda, cuda:1 or mps; several with commas between: cuda:0,cuda:1.
    workers
        Threads that decode, and as many that write; as many as cores by default.
    decode
        exact: every pixel. fast: large JPEGs at a half, a quarter or an eighth of their sides.
    max_megapixels
        Refuse larger images.
    partition
        3/16 does the third of sixteen parts, the same part on every machine.
    profile
        Write a trace of the run to this file, for ui.perfetto.dev or chrome://tracing.
    """

    batch_size: BatchSize = 4
    device: str = "auto"
    workers: int | None = None
    decode: Decoding = "exact"
    max_megapixels: float = 200.0
    partition: str | None = None
    profile: Path | None = None


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class CameraOptions:
    """Focal lengths that are known; else EXIF says, or the model estimates them.

    Parameters
    ----------
    f_px
        Focal length of every image, in its pixels.
    intrinsics
        CSV (key,f_px or key,fx,fy,width,height) or JSON file of focal lengths by key; * is for all others.
    """

    f_px: float | None = None
    intrinsics: str | None = None


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class ModelOptions:
    """What a model does not say of itself, and how it is run.

    Parameters
    ----------
    kind
        For onnx: and hf: models that do not say it: metric, scale_invariant, affine_invariant or disparity.
    input_size
        518 (short side) or 392x518 (height x width), for onnx: files that do not say it, hf: and most others.
    normalize
        For onnx: files that do not say it: imagenet (the default), unit or signed.
    backend
        torch, onnx (ONNX Runtime) or openvino, where the model can be run by it; auto: what proves fastest.
    precision
        float32, bfloat16, float16, or auto: bfloat16 for torch on CUDA and for openvino, else float32.
    max_error
        Refuse a backend or a precision whose depth differs from float32's by more, on the first images.
    compile
        For models that torch runs: let torch.compile make them faster; each new shape then takes a minute.
    commercial_only
        Refuse models whose weights are not known to be free for use in a product.
    """

    kind: str | None = None
    input_size: str | None = None
    normalize: str | None = None
    backend: str | None = None
    precision: str | None = None
    max_error: float = MAX_ERROR
    compile: Switch = False
    commercial_only: Switch = False

    def given(self) -> dict[str, Any]:
        """Return the options that were given, as `load_estimator` takes them."""
        options = {**vars(self), "input_size": parse_size(self.input_size)}
        return {name: value for name, value in options.items() if value not in (None, False)}


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class ClusterOptions:
    """Where `--executor ray` finds its machines; without it these say nothing.

    Parameters
    ----------
    executor
        local: this machine. ray: many (docs/scale.md).
    address
        auto: the Ray cluster that this machine is part of; 10.0.0.5:6379: that one. Else one begins here.
    num_workers
        Processes with a model each; one a GPU by default, or one a machine.
    gpus_per_worker
        GPUs of each; 1 by default where there are any.
    """

    executor: Literal["local", "ray"] = "local"
    address: str | None = None
    num_workers: int | None = None
    gpus_per_worker: float | None = None


def estimate_command(
    inputs: Annotated[list[str], Parameter(name="INPUT", negative=(), json_list=False)],
    /,
    *,
    output: Annotated[str, Parameter(alias="-o")],
    model: str = "compact",
    recursive: Switch = False,
    out: OutputOptions = OutputOptions(),
    run: RunOptions = RunOptions(),
    camera: CameraOptions = CameraOptions(),
    options: ModelOptions = ModelOptions(),
    cluster: ClusterOptions = ClusterOptions(),
) -> int:
    """Estimate depth for images: files, folders, or a list.txt of paths, into OUTPUT/KEY.npy.

    Does only what is missing or changed. OUTPUT/ledger.jsonl says what became of every input.
    Exit code: 0 all done or skipped, 1 some failed, 2 wrong usage, 130 interrupted.

    Parameters
    ----------
    inputs
        Image files, folders, or lists: list.txt or @list, one path a line. Paths, or addresses such as
        s3://bucket/photos.
    output
        Folder for the results; may be the input folder.
    model
        A name that `cortexia models` lists, onnx:FILE, hf:FOLDER or hf:org/name of the hub.
    recursive
        Descend into the folders inside.
    """
    everything = {**out.given(), **vars(run), **vars(camera), **options.given()}
    part = parse_partition(run.partition) if run.partition else None
    with _open_executor(cluster, run.profile) as executor:
        return run_job(
            lambda on_outcome, stop: estimate(
                inputs,
                output,
                model=model,
                recursive=recursive,
                on_outcome=on_outcome,
                stop=stop,
                executor=executor,
                **everything,
            ),
            lambda: find_images(inputs, recursive=recursive, output=to_path(output), partition=part),
            to_path(output),
        )


@contextmanager
def _open_executor(cluster: ClusterOptions, profile: Path | None) -> Iterator[Any]:
    """Yield the cluster that `--executor ray` asks for, or None."""
    options = {name: value for name, value in vars(cluster).items() if name != "executor"}
    if cluster.executor != "ray":
        given = [name for name, value in options.items() if value is not None]
        if given:
            raise InputError(f"--{given[0].replace('_', '-')} is for many machines: give --executor ray, too")
        yield None
        return
    if profile:
        raise InputError("--profile is for one machine: leave it out, or leave out --executor ray")
    from cortexia_video.jobs.ray_cluster import RayExecutor

    with RayExecutor(**options) as executor:
        yield executor


def parse_size(text: str | None, option: str = "--input-size") -> int | tuple[int, int] | None:
    """Read 518 as a short side and 392x518 as height and width."""
    if text is None:
        return None
    match = re.fullmatch(r"([1-9]\d*)(?:x([1-9]\d*))?", text)
    if match is None:
        raise CortexiaError(f"{option} must be like 518 or 392x518, not {text!r}")
    height, width = match.groups()
    return (int(height), int(width)) if width else int(height)
