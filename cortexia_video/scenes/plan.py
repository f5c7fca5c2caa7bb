"""`ScenePlan`: which scenes a folder is to hold; nothing that renders is imported for it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

Move = Literal["orbit", "dolly", "pan"]
MOVES: tuple[Move, ...] = get_args(Move)


@dataclass(frozen=True, slots=True)
class ScenePlan:
    """What to render.

    Args:
        seed: Seed of the first scene; the next one has the next seed.
        height: Pixels.
        width: Pixels.
        kinds: Names of `LAYOUTS`; by default the ten that need no Embree.
        textures: A folder of images to use as textures of many surfaces, beside painted ones.
        furniture: A folder of models (.sh3f, .obj, .glb), of which `furnished`, `desk` and `under` are made:
            by default what `make furniture` or Debian's sweethome3d-furniture put in place. If it is named,
            `driving`, `pavement` and `houses` show its cars, trees and people, too.
        device: cpu or cuda.
        move: Move the camera through each scene: also writes OUTPUT/clips, a lossless video of each with
            its poses.
        frames: Frames of each move, 24 per second.
    """

    seed: int = 0
    height: int = 480
    width: int = 640
    kinds: tuple[str, ...] = ()
    textures: Path | None = None
    furniture: Path | None = None
    device: str = "cpu"
    move: Move | None = None
    frames: int = 1
