"""`cortexia scenes`: rendered images with exact depth, as a dataset."""

from __future__ import annotations

from typing import Annotated, Any

from cyclopts import Parameter

from cortexia_video.cli import DONE
from cortexia_video.cli.options import OPTIONS, RUN, Output, take_options
from cortexia_video.errors import explain_import, format_count
from cortexia_video.runtime.progress import stage
from cortexia_video.scenes import ScenePlan
from cortexia_video.storage.paths import to_path


@take_options(ScenePlan, (OPTIONS, ("seed", "textures", "furniture", "move", "frames")), (RUN, ("device",)))
def scenes_command(
    *,
    count: int,
    output: Output,
    size: tuple[int, int] = (480, 640),
    kinds: list[str] | None = None,
    workers: Annotated[int | None, Parameter(group=RUN)] = None,
    **options: Any,
) -> int:
    """Render synthetic images with exact depth.

    Each scene has an image, depth, normals and a camera, from its own seed. Writes OUTPUT/rgb, depth, normals
    and set.json, which `cortexia dataset` reads. The same command continues where it was stopped; with a
    larger --count it adds scenes. The same seed gives the same bytes on the same machine.

        cortexia scenes --count 100 --output scenes
        cortexia scenes --count 3 --output moves --move orbit --frames 40
        cortexia dataset info scenes

    Exit code: 0 all right, 1 the disk is full, 2 wrong usage, 130 interrupted.

    Args:
        count: How many scenes.
        output: A new or empty folder, or one that this command began.
        size: Height and width in pixels.
        kinds: room, store, floor, table, close, corridor, blocks, street, open, facade: all of these by default.
            furnished, desk, under: rooms of furniture models. driving, pavement, houses, rows, forest, garden,
            playground, terrace: outdoor places. Repeat it for several.
        workers: Processes; one per core by default. A GPU has one.
    """
    try:
        with stage("loading torch"):
            from cortexia_video.scenes import write_scenes
    except ImportError as error:
        raise explain_import(error, "rendering scenes needs", "'cortexia-video[scenes]'") from error
    plan = ScenePlan(height=size[0], width=size[1], kinds=tuple(kinds or ()), **options)
    place = to_path(output)
    rendered, there = write_scenes(place, count, plan, workers=workers)
    print(f"{format_count(there, 'scene')} in {place}: {rendered:,} rendered, {there - rendered:,} existed")
    return DONE
