"""`cortexia convert`: depth files in another format, or for another focal length."""

from __future__ import annotations

from typing import Annotated, Any

from cyclopts import Parameter

from cortexia_video.cli.job import run_job
from cortexia_video.cli.options import CAMERA, MEANING, OPTIONS, RUN, Output, take_options
from cortexia_video.formats.metadata import describe_files
from cortexia_video.jobs.convert import convert
from cortexia_video.storage.paths import to_path

_OF_VALUES = ("kind", "scale", "unknown", "along", "channel", "array", "page")


@take_options(
    convert,
    (OPTIONS, ("format", "to", "fps", "allow_loss", "overwrite")),
    (CAMERA, ("f_px", "intrinsics")),
    (RUN, ("workers", "max_megapixels")),
)
@take_options(describe_files, (MEANING, _OF_VALUES))
@take_options(convert, (MEANING, ("convention",)))
def convert_command(
    inputs: Annotated[list[str], Parameter(name="INPUT")],
    /,
    *,
    output: Output,
    **options: Any,
) -> int:
    """Convert depth files to another format or focal length.

    All that is known of them is kept. The tree is kept, too: INPUT/trip/a.jpg.npy becomes
    OUTPUT/trip/a.jpg.tiff. Only what is missing or changed is done; OUTPUT/ledger.jsonl has the
    result of every file. With --f-px or --intrinsics, metres that a model made with another focal length are multiplied
    by the given one over that; other depth stays as it is, and is counted.

        cortexia convert depth --output tiff --format tiff
        cortexia convert kitti --from kitti --output metres --format npz
        cortexia convert kitti --from kitti --output millimetres --to nyu
        cortexia convert depth --output rescaled --f-px 1500
        cortexia convert frames --output clips --format mkv

    Exit code: 0 all done or skipped, 1 some failed, 2 wrong usage, 130 interrupted.

    Args:
        inputs: Depth files, folders with all that is in them, or lists: list.txt or @list, one path per line.
        output: Folder for the results; not that of the inputs.
    """
    about = describe_files(**{name: options.pop(name) for name in _OF_VALUES})
    return run_job(
        lambda on_outcome, stop: convert(
            inputs, output, about=about, on_outcome=on_outcome, stop=stop, **options
        ),
        to_path(output),
    )
