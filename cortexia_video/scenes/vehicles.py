"""Cars, vans, trucks, buses and bicycles along z, their front towards +z, on the ground.

Materials: 0 paint, 1 glass, 2 tyres and what is dark, 3 metal, 4 head lamps, 5 rear lamps.
"""

from __future__ import annotations

import numpy as np
from numpy.random import Generator

from cortexia_video.scenes.pieces import Floats, Piece, boxes, ellipse, join, loft, path, tubes, vec

PAINT, GLASS, DARK, METAL, HEAD, REAR = range(6)

# length, half width, height, and as shares of the length from the rear: where the rear window ends above the
# boot, where the roof begins and ends, where the windscreen meets the bonnet. Boot and bonnet as shares of height
_BODIES = (
    ((3.5, 4.2), (0.8, 0.87), (1.42, 1.55), (0.02, 0.12, 0.6, 0.77), (0.6, 0.62)),  # hatchback
    ((4.3, 4.9), (0.86, 0.95), (1.38, 1.5), (0.16, 0.3, 0.54, 0.72), (0.66, 0.62)),  # saloon
    ((4.4, 4.9), (0.86, 0.95), (1.42, 1.55), (0.02, 0.09, 0.56, 0.73), (0.62, 0.62)),  # estate
    ((4.2, 4.9), (0.9, 1.0), (1.6, 1.85), (0.02, 0.08, 0.57, 0.72), (0.6, 0.62)),  # off-road
    ((4.6, 5.9), (0.95, 1.03), (1.85, 2.6), (0.01, 0.02, 0.74, 0.88), (0.48, 0.5)),  # van
)


def car(rng: Generator) -> Piece:
    """A hatchback, saloon, estate, off-road car or van."""
    body = _BODIES[int(rng.choice(5, p=(0.28, 0.22, 0.2, 0.18, 0.12)))]
    length, half_width, height = (rng.uniform(*span) for span in body[:3])
    boot_end, roof_from, roof_to, bonnet = body[3]
    boot, hood = body[4]
    pillar, middle = 0.012, (roof_from + roof_to) / 2 + rng.uniform(-0.05, 0.05)
    closed = boot < 0.5 and rng.random() < 0.6  # vans without windows behind
    # share of the length, belt height, roof height, share of the width: rear to front
    stations = [
        (0.0, 0.42, 0.43, 0.86),
        (0.012, boot, boot + 0.01, 0.94),
        (boot_end + 0.013, boot + 0.03, boot + 0.045, 0.99),
        (max(roof_from, boot_end + 0.03), boot + 0.03, 0.97, 1.0),
        (middle - pillar, boot + 0.02, 1.0, 1.0),
        (middle + pillar, boot + 0.02, 1.0, 1.0),
        (roof_to, hood + 0.01, 0.97, 1.0),
        (bonnet, hood, hood + 0.015, 0.99),
        (0.96, hood - 0.09, hood - 0.085, 0.92),
        (0.985, hood - 0.15, hood - 0.145, 0.86),
        (1.0, 0.3, 0.31, 0.82),
    ]
    sill, rings = rng.uniform(0.16, 0.26), []
    for share, belt, roof, wide in stations:
        z, w = (share - 0.5) * length, half_width * wide
        b, top = max(belt * height, sill + 0.1), max(roof * height, sill + 0.11)
        narrow = w * (1 - 0.28 * np.clip((top - b) / (0.4 * height), 0, 1))
        mid = sill + 0.55 * (b - sill)
        half = [(0.93 * w, sill), (w, mid), (0.97 * w, b), (narrow, top)]
        rings.append([(x, y, z) for x, y in half] + [(-x, y, z) for x, y in half[::-1]])
    worn = np.full((len(stations) - 1, 8), PAINT)
    worn[[3, 5], 2] = worn[[3, 5], 4] = DARK if closed else GLASS  # the sides
    if closed:
        worn[3, [2, 4]] = PAINT
    worn[2, 2:5] = GLASS if not closed else PAINT
    worn[6, 2:5] = GLASS
    parts = [loft(np.array(rings), worn)]
    radius = 0.2 * height if height < 1.7 else 0.36
    for share in (0.19, 0.81):
        parts += _wheels(radius, half_width, (share - 0.5) * length)
    front, back = 0.485 * length, -0.5 * length
    lamp = np.array([[side * 0.68 * half_width, 0, 0] for side in (-1, 1)])
    size = rng.uniform((0.12, 0.04), (0.22, 0.1))
    parts += [
        boxes(lamp + vec(0, (hood - 0.13) * height - 0.05, front), (*size, 0.06), HEAD),
        boxes(lamp * 1.1 + (0, (boot - 0.08) * height, back + 0.05), (*size[::-1] * 1.2, 0.07), REAR),
        boxes((0, 0.42 * height * 0.8, front + 0.03), (0.26, 0.055, 0.05), METAL),
        boxes((0, 0.3 * height, front + 0.02), (0.5 * half_width, 0.07, 0.04), DARK),
        boxes((0, 0.36 * height, back), (0.26, 0.055, 0.03), METAL),
        boxes(
            [
                (side * (half_width + 0.07), (hood + 0.07) * height, (bonnet - 0.55) * length)
                for side in (-1, 1)
            ],
            (0.09, 0.06, 0.05),
            PAINT,
        ),
    ]
    return join(parts)


def _wheels(radius: float, half_width: float, z: float) -> list[Piece]:
    """A wheel on each side, in an arch that is dark."""
    parts = []
    for side in (-1, 1):
        for r, inner, outer, worn in (
            (radius * 1.17, 0.85, 1.004, DARK),
            (radius, 0.78, 1.012, DARK),
            (radius * 0.62, 0.9, 1.02, METAL),
        ):
            ring = ellipse((0, 0, 0), r, r, 12)[:, [1, 0, 2]]
            lift = max(r, radius)
            ends = [ring + vec(side * half_width * share, lift, z) for share in (inner, outer)]
            parts.append(loft(np.array(ends), worn))
    return parts


def truck(rng: Generator) -> Piece:
    """A truck with a box, or a bus."""
    half_width, height = rng.uniform(1.1, 1.27), rng.uniform(2.7, 3.9)
    length = rng.uniform(5.5, 12.5)
    half, floor = length / 2, rng.uniform(0.5, 0.9)
    is_bus = rng.random() < 0.4
    parts = []
    if is_bus:
        parts.append(boxes((0, (height + 0.35) / 2, 0), (half_width, (height - 0.35) / 2, half), PAINT))
        count = int(length / 1.5)
        along = np.linspace(-half + 0.8, half - 0.9, count)
        panes = np.array([[side * half_width, 0.6 * height, z] for side in (-1, 1) for z in along])
        parts.append(boxes(panes, (0.015, 0.18 * height, 0.62), GLASS))
        for z in (-half, half):
            parts.append(boxes((0, 0.62 * height, z), (0.9 * half_width, 0.22 * height, 0.02), GLASS))
    else:
        cab = rng.uniform(1.6, 2.2)
        cab_height = min(height, rng.uniform(2.4, 3.2))
        middle = (0, (height + floor) / 2, -cab / 2 - 0.1)
        parts += [
            boxes(middle, (half_width, (height - floor) / 2, half - cab / 2), METAL),
            boxes((0, floor, 0), (half_width * 0.8, 0.15, half), DARK),
            boxes(
                (0, (cab_height + 0.45) / 2, half - cab / 2),
                (half_width * 0.97, (cab_height - 0.45) / 2, cab / 2),
            ),
            boxes((0, 0.72 * cab_height, half), (half_width * 0.85, 0.16 * cab_height, 0.02), GLASS),
            boxes((0, 0.72 * cab_height, half - 0.5), (half_width * 0.985, 0.14 * cab_height, 0.4), GLASS),
        ]
    for z in (-0.62 * half, 0.7 * half):
        parts += _wheels(rng.uniform(0.45, 0.53), half_width, z)
    lamp = np.array([[side * 0.8 * half_width, 0.75, 0] for side in (-1, 1)])
    parts += [
        boxes(lamp + vec(0, 0, half), (0.15, 0.1, 0.02), HEAD),
        boxes(lamp + vec(0, 0.1, -half), (0.12, 0.14, 0.02), REAR),
    ]
    return join(parts)


def bicycle(rng: Generator) -> Piece:
    """Wheels with rims, a frame, a saddle and bars, standing upright."""
    radius, base = rng.uniform(0.29, 0.35), rng.uniform(0.98, 1.1)
    angle = np.linspace(0, 2 * np.pi, 17)
    parts = []
    for z in (-base / 2, base / 2):
        rim = np.stack([0 * angle, radius + radius * np.cos(angle), z + radius * np.sin(angle)], 1)
        hub = np.broadcast_to(np.array([0, radius, z]), (8, 3))
        parts += [path(rim, 0.02, DARK, 4), tubes(hub, rim[:-1:2], 0.003, 0.003, METAL, 3)]
    rear, front = np.array([0, radius, -base / 2]), np.array([0, radius, base / 2])
    crank, seat, head = np.array([0, 0.28, -0.08]), np.array([0, 0.85, -0.25]), np.array([0, 0.88, 0.33])
    ends: list[tuple[Floats, Floats]] = [
        (rear, crank), (rear, seat * (1, 0.85, 1)), (crank, seat), (crank, head), (head, seat * (1, 0.93, 1)),
        (head + vec(0, 0.12, -0.03), front),
    ]  # fmt: skip
    parts += [
        tubes(np.array([a for a, _ in ends]), np.array([b for _, b in ends]), 0.018, 0.018, PAINT, 5),
        path([(-0.28, 1.0, 0.25), (0, 1.0, 0.32), (0.28, 1.0, 0.25)], 0.014, METAL, 4),
        boxes(seat + vec(0, 0.04, 0), (0.07, 0.03, 0.13), DARK),
    ]
    return join(parts)
