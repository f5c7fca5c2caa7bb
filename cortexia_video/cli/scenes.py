"""`cortexia scenes`: rendered images with exact depth, as a dataset."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from cortexia_video.cli import DONE
from cortexia_video.cli.options import take_options
from cortexia_video.errors import explain_import
from cortexia_video.html.wording import format_count
from cortexia_video.runtime.progress import stage
from cortexia_video.storage.paths import to_path


@take_options()
def scenes_command(
    *,
    count: int,
    output: Annotated[str, Parameter(alias="-o")],
    seed: int = 0,
    size: tuple[int, int] = (480, 640),
    kinds: list[str] | None = None,
    textures: Path | None = None,
    move: Literal["orbit", "dolly", "pan"] | None = None,
    frames: int = 1,
    device: str = "cpu",
    workers: int | None = None,
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
        seed: Seed of the first scene; the next one has the next seed.
        size: Height and width in pixels.
        kinds: room, store, floor, table, close, corridor, blocks, street, open, facade; repeat it for
            several. All by default.
        move: Move the camera through each scene: also writes OUTPUT/clips, a lossless video of each with
            its poses.
        frames: Of each move, 24 per second.
        textures: A folder of images to use as textures of many surfaces, beside painted ones.
        device: cpu or cuda.
        workers: Processes; one per core by default. A GPU has one.
    """
    try:
        with stage("loading torch"):
            from cortexia_video.scenes import ScenePlan, write_scenes
    except ImportError as error:
        raise explain_import(error, "rendering scenes needs", "'cortexia-video[train]'") from error
    plan = ScenePlan(seed, *size, tuple(kinds or ()), textures, device, move, frames)
    place = to_path(output)
    rendered, there = write_scenes(place, count, plan, workers=workers)
    print(f"{format_count(there, 'scene')} in {place}: {rendered:,} rendered, {there - rendered:,} existed")
    return DONE
