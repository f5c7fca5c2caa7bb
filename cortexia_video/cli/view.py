"""`cortexia view`: depth in the Rerun viewer."""

from __future__ import annotations

import sys
from typing import Annotated, Any

from cyclopts import Parameter

from cortexia_video.cli import DONE, SOME_FAILED
from cortexia_video.cli.option_words import to_options
from cortexia_video.cli.options import CAMERA, MEANING, OPTIONS, POINTS, RUN, take_options
from cortexia_video.errors import printable
from cortexia_video.jobs.point_clouds import CloudOptions
from cortexia_video.storage.paths import to_path
from cortexia_video.viewing.job import view

_LISTED = 3
_OF_DISTANCES, _OF_CAMERAS, _OF_POINTS = ("near_m", "far_m"), ("f_px", "fov_deg", "intrinsics"), ("max_gap",)


@take_options(CloudOptions, (MEANING, _OF_DISTANCES), (CAMERA, _OF_CAMERAS), (POINTS, _OF_POINTS))
@take_options(
    view,
    (OPTIONS, ("images", "count", "web", "port")),
    (MEANING, ("kind", "convention")),
    (RUN, ("workers",)),
)
def view_command(
    paths: Annotated[list[str], Parameter(name="PATH")],
    /,
    *,
    output: Annotated[str | None, Parameter(name="--save", metavar="PATH")] = None,
    **options: Any,
) -> int:
    """Look at depth in the Rerun viewer (extra `[view]`).

    Images beside their depth with the value under the pointer, points in space
    where there are metres and a focal length, a time line over images or frames,
    and what failed; several runs or a ground truth side by side. PATHs are output
    folders, depth files, clips of depth, folders of depth files, and datasets.

        cortexia view depth
        cortexia view depth other --images photos --web
        cortexia view depth/clip.mp4.mkv --near-m 1 --far-m 9 --fov-deg 60
        cortexia view tum:data/desk depth --save desk.rrd

    The window stays until it is closed, --web until Ctrl-C. Nothing is sent anywhere.

    Exit code: 0 all shown, 1 some could not be, 2 wrong usage.

    Args:
        paths: What to look at; the first one's images are the time line, or a dataset's.
        output: Write a recording (.rrd) instead, which `rerun FILE` shows; an earlier one is replaced.
    """
    wanted = CloudOptions(**{name: options.pop(name) for name in (*_OF_DISTANCES, *_OF_CAMERAS, *_OF_POINTS)})

    def show_url(url: str) -> None:
        print(f"{url}\nfor browsers on this machine, until Ctrl-C", flush=True)

    report = view(paths, output=output, options=wanted, wording=to_options, on_url=show_url, **options)
    for each in report.problems[:_LISTED]:
        print(printable(to_options(each)), file=sys.stderr)
    if len(report.problems) > _LISTED:
        print(f"and {len(report.problems) - _LISTED} more, in the panel `problems`", file=sys.stderr)
    said = to_options(str(report))
    print(f"{to_path(output)}: {said}\n`rerun {to_path(output)}` shows it" if output else said)
    return SOME_FAILED if report.failed else DONE
