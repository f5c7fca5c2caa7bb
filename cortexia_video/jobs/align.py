"""`align_folder`: metres for depth files, from distances that are known."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import threading
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

from cortexia_video.depth_map import DepthKind, DepthMap, Share
from cortexia_video.errors import Failure, InputError, LossError, attempt, printable, require_one_of
from cortexia_video.formats.metadata import Metadata
from cortexia_video.formats.registry import FORMATS, FormatName
from cortexia_video.geometry.alignment import (
    Fit,
    Samples,
    fit_samples,
    join_samples,
)
from cortexia_video.jobs.aligner import OF_EACH, Aligner, AlignTo, FitErrors
from cortexia_video.jobs.convert import (
    DepthFileJob,
    bound_by_mask,
    find_run_format,
    open_folders,
    require_depth_files,
)
from cortexia_video.jobs.outcomes import Listener, Report
from cortexia_video.jobs.splatting import Written, write_depth_params, write_transforms
from cortexia_video.ledger.depth_reader import DepthReader, Reading
from cortexia_video.runtime.bounded_map import map_bounded
from cortexia_video.runtime.resources import choose_workers
from cortexia_video.sinks.sink import open_sink
from cortexia_video.sources.depth_files import DepthFiles
from cortexia_video.sources.find import Found, InputFile
from cortexia_video.sparse_depth.colmap_points import ColmapPoints
from cortexia_video.sparse_depth.nerfstudio import NerfstudioPoints
from cortexia_video.storage.paths import to_path

_log = logging.getLogger(__name__)


def align_folder(
    inputs: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    output: str | os.PathLike[str],
    to: AlignTo,
    *,
    share: Share = "none",
    format: FormatName | None = None,
    drop_relative: bool = False,
    write: Written | None = None,
    convention: str | None = None,
    about: Metadata | None = None,
    allow_loss: bool = False,
    overwrite: bool = False,
    workers: int | None = None,
    max_megapixels: float = 200.0,
    on_outcome: Listener | None = None,
    stop: threading.Event | None = None,
) -> Report:
    """Write depth files as metric ones, aligned to distances that are known.

    Outcomes, the ledger and what a second call does (only what is missing or changed) are those of `estimate`.
    An image of which too little is known has failed; others go on. Each line of the ledger, and each file that
    holds metadata, says the fit, its points and residuals. Beside each map `KEY.relative` holds the map before
    it, bit by bit; `read_depth` reads it. Where a run wrote a mask beside depth, only what is inside it is fitted and
    known afterwards; normals, masks and confidence go along as they are, points are made anew.

    Args:
        inputs: Depth files, folders with all that is in them, and lists; paths or URLs.
        output: The folder to write.
        to: What is known in metres.
        share: One fit for each image (none), for each folder (clip), or for all. A shared fit is right where
            the numbers of a model mean the same in all its images, as of a video or a rig.
        format: Of the metric files; by default that of the run whose output folder is aligned.
        drop_relative: Do not keep the relative maps.
        write: Also write what trainers of 3-D Gaussian splatting read: depth_params.json with 16-bit inverse depth
            for graphdeco's, or, of a transforms.json that was given, one with depth for nerfstudio.
        convention: Whose files these are, where neither they nor their folder say it.
        about: What the values mean, where nobody says it: kind, scale, unknown, f_px ...
        allow_loss: Write also what loses more than docs/formats.md allows.
        overwrite: Redo what is done, and replace files that the ledger does not know; never an input.
        workers: Threads; one per core by default.
        max_megapixels: Refuse larger maps.
        on_outcome: Called after each input with the report so far and its failure, if it failed.
        stop: Set it to end early; what has been begun is finished.

    Returns:
        How many were found, done, skipped and failed, and the first failures.

    Raises:
        InputError: There is nothing to align, or nothing to align to.
        LossError, MissingExtraError, OutputError, OutputLostError: As of `convert`.

    Example:
        >>> cx.align_folder("depth", "metric", cx.AlignTo(colmap="sparse/0"))  # doctest: +SKIP
    """
    inputs = [inputs] if isinstance(inputs, str | os.PathLike) else inputs
    workers, root, errors = choose_workers(workers), to_path(output), FitErrors()
    require_one_of(share=(share, Share))
    reader = DepthReader(about=about, convention=convention, max_megapixels=max_megapixels)
    open_folders(reader, inputs, root)
    aligner = Aligner(to)
    if write and not isinstance(root, Path):
        raise InputError(f"`write` needs an `output` on this machine, not {printable(str(root))}")
    if write == "transforms.json" and aligner.by != "transforms":
        raise InputError("`write` of transforms.json needs `transforms`, whose frames it adds depth to")
    if share != "none" and aligner.source is None:
        raise InputError(
            "`near_m`, `far_m`, `camera_height` and `size` are of each image: `share` must be none"
        )
    found = DepthFiles(inputs, output=root, convention=convention, about=about)
    files = require_depth_files(found, inputs)
    format = format or find_run_format(inputs)
    if FORMATS[format].decode is None:
        raise LossError(f"{format} is a view: no metres can be read from it; choose another `format`")
    shared: dict[str, Fit | Failure] = {}
    if share != "none":
        kept = [*files]
        files = iter(kept)
        shared = _fit_together(aligner, reader, kept, share, workers)
    sink = open_sink(root, format=format, relative=not drop_relative)
    fits = [(group, fit.scale, fit.shift) for group, fit in sorted(shared.items()) if isinstance(fit, Fit)]
    settings = {
        "job": "align",
        "format": format,
        "kind": "metric",
        "from": convention,
        "about": {**(about or {})},
        "share": None if share == "none" else share,
        "drop_relative": drop_relative,
        **aligner.settings,
        "fits": hashlib.sha256(json.dumps(fits).encode()).hexdigest() if shared else None,
    }

    def change(item: InputFile, reading: Reading) -> tuple[DepthMap, Mapping[str, object]]:
        fit = shared[_find_group(item.key, share)] if shared else None
        if isinstance(fit, Failure):
            raise fit.error
        aligned = aligner.align(reading.line.get("key", item.key), reading.depth, fit, share)
        errors.add(item.key, aligned.alignment)
        return aligned, {}

    stop = stop or threading.Event()
    more: dict[str, Any] = {"overwrite": overwrite, "on_outcome": on_outcome, "stop": stop}
    job = DepthFileJob(reader, FORMATS[format], change, allow_loss)
    report = job.run(found, files, sink, settings, doing="aligning", workers=workers, **more)
    errors.log()
    if write and isinstance(root, Path):
        source = aligner.source
        if write == "transforms.json" and isinstance(source, NerfstudioPoints):
            count = write_transforms(root, source.transforms, workers=workers)
        else:
            model = source.model if isinstance(source, ColmapPoints) else None
            count = write_depth_params(root, model, workers=workers)
        _log.info("%s: %s of %d images", printable(str(root / write)), write, count)
    return report


def _fit_together(
    aligner: Aligner, reader: DepthReader, files: Iterable[Found], share: Share, workers: int
) -> dict[str, Fit | Failure]:
    """Return the fit of each group of images, or why it has none; each image adds the same number of samples."""

    def take(item: Found) -> tuple[str, DepthKind, Samples] | Failure:
        if isinstance(item, Failure):
            return item
        reading = reader.decode(reader.read_bytes(item.place), item.place)
        reading = bound_by_mask(reading, reading.read_maps(("mask",)))
        samples = aligner.take(reading.line.get("key", item.key), reading.depth)
        return _find_group(item.key, share), reading.depth.kind, join_samples([samples], most=OF_EACH)

    groups: dict[str, list[tuple[DepthKind, Samples]]] = {
        _find_group(each.key, share): [] for each in files if not isinstance(each, Failure)
    }
    work = map_bounded(files, lambda item: attempt(item.key, "decode", partial(take, item)), workers=workers)
    for taken in work:
        if not isinstance(taken, Failure):
            group, kind, samples = taken
            groups[group].append((kind, samples))

    def fit(group: str) -> Fit:
        kinds = {kind for kind, _ in groups[group]}
        if len(kinds) != 1:
            said = (
                f"depth of several kinds ({', '.join(sorted(kinds))})"
                if kinds
                else "no image with known distances"
            )
            raise InputError(f"{said} in {group or 'all'}: there is no fit to share")
        return fit_samples(join_samples([samples for _, samples in groups[group]]), kinds.pop())

    return {group: attempt(group, "decode", partial(fit, group)) for group in groups}


def _find_group(key: str, share: Share) -> str:
    """Return which images share a fit with this one: those of its folder, or all."""
    return str(PurePosixPath(key).parent) if share == "clip" else ""
