"""`cortexia convert`: depth files in another format, or for another focal length."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from cortexia_video.cli.depth_options import DepthOptions
from cortexia_video.cli.job import run_job
from cortexia_video.cli.options import take_options
from cortexia_video.formats.registry import FormatName
from cortexia_video.jobs.convert import convert
from cortexia_video.sources.depth_files import DepthFiles
from cortexia_video.storage.paths import to_path

_NOTHING = DepthOptions()


@take_options()
def convert_command(
    inputs: Annotated[list[str], Parameter(name="INPUT")],
    /,
    *,
    output: Annotated[str, Parameter(alias="-o")],
    format: FormatName | None = None,
    intrinsics: str | None = None,
    allow_loss: bool = False,
    overwrite: bool = False,
    workers: int | None = None,
    max_megapixels: float = 200.0,
    files: DepthOptions = _NOTHING,
) -> int:
    """Convert depth files to another format or focal length.

    All that is known of them is kept. The tree is kept, too: INPUT/trip/a.jpg.npy becomes
    OUTPUT/trip/a.jpg.tiff. Only what is missing or changed is done; OUTPUT/ledger.jsonl says what became of
    every file. With --f-px or --intrinsics, metres that a model made with another focal length are multiplied
    by the given one over that; other depth stays as it is, and is counted.

        cortexia convert depth --output tiff --format tiff
        cortexia convert kitti --from kitti --output metres --format npz
        cortexia convert depth --output rescaled --f-px 1500

    Exit code: 0 all done or skipped, 1 some failed, 2 wrong usage, 130 interrupted.

    Args:
        inputs: Depth files, folders with all that is in them, or lists: list.txt or @list, one path per line.
        output: Folder for the results; not that of the inputs.
        format: npy, npz, tiff, exr, pfm: float32. png16, jxl: 16-bit steps. exr16: half floats. png: 8-bit
            view. By default that of the run whose output folder INPUT is.
        intrinsics: CSV or JSON file of focal lengths by key, as for `cortexia estimate`, in place of --f-px.
        allow_loss: Write also what loses more than docs/formats.md allows, such as a view; it says what is
            lost.
        overwrite: Redo what is done, and replace files that the ledger does not know; never an input.
        workers: Threads; one per core by default.
        max_megapixels: Refuse larger maps.
    """
    return run_job(
        lambda on_outcome, stop: convert(
            inputs,
            output,
            format=format,
            convention=files.convention,
            about=files.about,
            f_px=files.f_px,
            intrinsics=intrinsics,
            allow_loss=allow_loss,
            overwrite=overwrite,
            workers=workers,
            max_megapixels=max_megapixels,
            on_outcome=on_outcome,
            stop=stop,
        ),
        lambda: DepthFiles(inputs, output=to_path(output), convention=files.convention, about=files.about),
        to_path(output),
    )
