"""Depth for the images of a folder, or of every folder inside it, saved beside them.

Usage: python scripts/batch_depth_estimation.py --folder PATH [--recursive] [--save_format npy|png]
                                                [--batch_size 4] [--model depth-pro]
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Literal

from batch_processor import Counts, find_images, find_subfolders, get_estimator, process_folder
from cyclopts import App, Parameter

from cortexia_video import DepthEstimator
from cortexia_video.cli import DONE, SOME_FAILED, run_app
from cortexia_video.depth_map import larger_is_nearer
from cortexia_video.errors import (
    InputError,
    MissingExtraError,
    ModelError,
    ModelLoadError,
    OutputError,
    OutputLostError,
    printable,
)

app = App(name="batch_depth_estimation.py", version_flags=())


@app.default
def batch_depth_estimation(
    *,
    folder: str,
    recursive: Annotated[bool, Parameter(negative=())] = False,
    save_format: Literal["npy", "png"] = "npy",
    batch_size: int = 4,
    model: str = "depth-pro",
) -> int:
    """Estimate depth for the images of a folder; save each as <original_name>_depth_new.npy beside it.

    Parameters
    ----------
    folder
        Folder with the images.
    recursive
        Process the folders inside, each on its own, instead of the folder itself.
    save_format
        npy: float32, in the model's unit. png: 8-bit, nearer darker, scaled for each image.
    batch_size
        Images in one batch; fewer need less memory.
    model
        A name that `cortexia models` lists (compact is built in), hf:FOLDER of a checkpoint such as Depth
        Pro's, or onnx:FILE of a file that says its kind.
    """
    if not Path(folder).is_dir():
        raise InputError(f"no such folder: {folder}")
    if batch_size < 1:
        raise InputError(f"--batch_size must be at least 1, got {batch_size}")
    try:
        estimator = get_estimator(model, batch_size)
    except (ModelError, MissingExtraError) as error:
        raise ModelLoadError(f"{error}; or --model compact: built in, no download, relative depth") from error
    counts = Counts()
    for place in find_subfolders(folder) if recursive else [""]:
        path = os.path.join(folder, place) if place else folder  # noqa: PTH118 - keeps a leading ./
        names = find_images(path)
        if names:
            counts.found += len(names)
            shown = printable(place or Path(folder).resolve().name)
            print(f"Found {len(names)} images for processing in {shown}")
            if place:
                print(f"Processing subdirectory {shown}...")
            _process(path, names, estimator, save_format, counts)
    if not counts.found:
        where = f"the folders inside {folder}" if recursive else folder
        raise InputError(f"no images (jpg, jpeg, png) found in {where}")
    left_out = f"{counts.skipped} skipped, {counts.failed} failed"
    print(f"{counts.found} found, {counts.saved} saved, {left_out}; {_explain(estimator)}")
    return SOME_FAILED if counts.skipped or counts.failed else DONE


def _process(
    path: str, names: list[str], estimator: DepthEstimator, save_format: str, counts: Counts
) -> None:
    """Process one folder; one that cannot be written fails alone."""
    try:
        process_folder(path, names, estimator, save_format=save_format, counts=counts)
    except OutputLostError:
        raise
    except OutputError as error:
        counts.failed = counts.found - counts.saved - counts.skipped
        print(f"Failed (write) {printable(path)}: {error}")


def _explain(estimator: DepthEstimator) -> str:
    """Return what the saved numbers mean."""
    model = estimator.model
    way = "larger is nearer" if larger_is_nearer(model.kind) else "larger is farther"
    return f"{model.name} gives {model.kind}, {way}" + ("" if model.kind == "metric" else ", not metres")


if __name__ == "__main__":
    run_app(app)
