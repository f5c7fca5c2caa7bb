"""Streets seen by drivers and people on foot; facades aslant."""

from __future__ import annotations

import math

from numpy.random import Generator

from cortexia_video.scenes import landscape
from cortexia_video.scenes.description import Aim, Camera, Scene
from cortexia_video.scenes.furniture_models import Library
from cortexia_video.scenes.streets import Street

_SEEN_M = (0.0, 110.0)  # of the way, where cameras are


def driving(rng: Generator, models: Library | None = None) -> tuple[Scene, Aim]:
    """A road seen from a car, mostly ahead, at times aside or back, as cameras around a car do."""
    street = Street(rng, float(rng.choice((0.05, 0.4, 0.75, 1.0), p=(0.25, 0.25, 0.25, 0.25))), models)

    def aim(rng: Generator) -> Camera:
        s = rng.uniform(*_SEEN_M)
        lane = rng.choice((-1, 1)) * street.half_road * rng.uniform(0.3, 0.6)
        lane = _clear_of_cars(street, s, lane)
        kind = rng.random()
        turn = (
            rng.normal(0, 0.09)
            if kind < 0.62
            else rng.normal(0, 0.45)
            if kind < 0.8
            else rng.uniform(-3.2, 3.2)
        )
        yaw = float(street.way.facing(s)) + turn + (math.pi if rng.random() < 0.4 else 0)
        wide = (60.0, 110.0) if rng.random() < 0.5 else (26.0, 60.0)
        position = street.way.at(
            s, lane, rng.uniform(1.15, 2.0) if rng.random() < 0.85 else rng.uniform(2.0, 3.2)
        )
        return landscape.look(rng, position, yaw, fov_deg=wide, horizon=(0.33, 0.67))

    return street.scene, aim


def _clear_of_cars(street: Street, s: float, t: float) -> float:
    """Return t, or another where no car is within its length of s."""
    for other in (t, -t, 0.0, street.half_road + 0.4, -street.half_road - 0.4):
        if all(abs(s - row[0]) > 3.6 or abs(other - row[1]) > 1.5 for row in street.busy):
            return other
    return t


def pavement(rng: Generator, models: Library | None = None) -> tuple[Scene, Aim]:
    """A street on foot, by pushchair or robot: walls, people and things near, the street behind."""
    street = Street(rng, float(rng.uniform(0.65, 1.0)), models)

    def aim(rng: Generator) -> Camera:
        s, side = rng.uniform(*_SEEN_M), int(rng.integers(2))
        t = (-1, 1)[side] * (street.half_road + rng.uniform(0.2, 0.9) * max(0.7, street.pavement[side]))
        high = rng.uniform(1.2, 1.75) if rng.random() < 0.7 else rng.uniform(0.25, 1.1)
        ahead = rng.normal(0, 0.3) if rng.random() < 0.6 else rng.uniform(-3.2, 3.2)
        yaw = float(street.way.facing(s)) + ahead + (math.pi if rng.random() < 0.5 else 0)
        position = street.way.at(s, t, street.kerb_m + high)
        return landscape.look(rng, position, yaw, fov_deg=(38, 95), horizon=(0.2, 0.7), roll_deg=4)

    return street.scene, aim


def houses(rng: Generator, models: Library | None = None) -> tuple[Scene, Aim]:
    """Facades aslant, from across the street or from right beside, the camera often tilted up."""
    street = Street(rng, 1.0, models)

    def aim(rng: Generator) -> Camera:
        s, side = rng.uniform(*_SEEN_M), int(rng.choice((-1, 1)))
        number = (side + 1) // 2
        from_wall = min(rng.uniform(1.5, 16), street.line_t[number] + street.half_road + 2)
        t = side * (street.line_t[number] - from_wall)
        slant = rng.choice((-1, 1)) * rng.uniform(0.15, 1.25)
        yaw = float(street.way.facing(s)) + side * math.pi / 2 + slant
        position = street.way.at(s, t, rng.uniform(1.2, 1.9))
        return landscape.look(rng, position, yaw, fov_deg=(35, 85), horizon=(0.45, 1.1), roll_deg=4)

    return street.scene, aim
