"""Buildings with windows set back, doors, shops, balconies, roofs, dormers; and walls, fences, stairs.

A building stands on y = 0 with its middle at x = z = 0 and its front towards +z. Materials: 0 wall, 1 glass,
2 frames, 3 roof, 4 ground floor, 5 railings and what is dark.
"""

from __future__ import annotations

import numpy as np
from numpy.random import Generator

from cortexia_video.scenes.description import rotation
from cortexia_video.scenes.pieces import Floats, Piece, boxes, join, quads, surface, tubes, vec

WALL, GLASS, FRAME, ROOF, BASE, DARK = range(6)


def opened_wall(columns: Floats, rows: Floats, opening: Floats, deep: float, material: int = WALL) -> Piece:
    """A wall in the plane z = 0 of cells, each with an opening that goes `deep` metres in, to glass in a frame.

    columns, rows: edges of the cells along x and y, metres. opening: (4,), where it begins and ends in each
    cell, as shares of its width and height.
    """
    left, low = (each.ravel() for each in np.meshgrid(columns[:-1], rows[:-1]))
    right, high = (each.ravel() for each in np.meshgrid(columns[1:], rows[1:]))
    wide, tall = right - left, high - low
    x0, x1 = left + opening[0] * wide, left + opening[1] * wide
    y0, y1 = low + opening[2] * tall, low + opening[3] * tall

    def rectangles(
        x_from: Floats, x_to: Floats, y_from: Floats, y_to: Floats, z: tuple[float, float]
    ) -> Floats:
        """Quads (N, 4, 3) whose lower or left edge has the first z, and the other the second."""
        near, far = np.full_like(x_from, z[0]), np.full_like(x_from, z[1])
        if np.array_equal(x_from, x_to):  # turned about y: z runs along
            a, b, c, d = (x_from, y_from, near), (x_from, y_from, far), (x_to, y_to, far), (x_to, y_to, near)
        else:
            a, b, c, d = (x_from, y_from, near), (x_to, y_from, near), (x_to, y_to, far), (x_from, y_to, far)
        return np.stack([np.stack(corner, 1) for corner in (a, b, c, d)], 1)

    flat, inward = (0.0, 0.0), (0.0, -deep)
    around = [
        rectangles(left, right, low, y0, flat),
        rectangles(left, right, y1, high, flat),
        rectangles(left, x0, y0, y1, flat),
        rectangles(x1, right, y0, y1, flat),
        rectangles(x0, x0, y0, y1, inward),
        rectangles(x1, x1, y0, y1, inward),
        rectangles(x0, x1, y0, y0 + 1e-6, inward),
        rectangles(x0, x1, y1 - 1e-6, y1, inward),
    ]
    middle = np.stack([(x0 + x1) / 2, (y0 + y1) / 2, np.full_like(x0, 0.03 - deep)], 1)
    half = np.stack([(x1 - x0) / 2, (y1 - y0) / 2, np.full_like(x0, 0.03)], 1)
    bar = np.full_like(x0, 0.035)
    sill = np.stack([middle[:, 0], y0, middle[:, 2] + deep], 1)
    return join(
        [
            quads(np.concatenate(around), material),
            quads(rectangles(x0, x1, y0, y1, (-deep, -deep)), GLASS),
            boxes(middle, np.stack([bar, half[:, 1], bar], 1), FRAME),
            boxes(middle + (0, 0.2, 0) * half, np.stack([half[:, 0], bar, bar], 1), FRAME),
            boxes(sill, np.stack([half[:, 0] * 1.12, bar, bar * 2.5], 1), FRAME),
        ]
    )


def building(rng: Generator, half_width: float, height: float, half_depth: float) -> Piece:
    """A house or block of flats: its height up to the eaves."""
    floors = max(1, round(height / rng.uniform(2.7, 3.6)))
    storey = height / floors
    deep = rng.uniform(0.06, 0.35)
    x0, y0 = rng.uniform(0.12, 0.36), rng.uniform(0.2, 0.42)
    opening = np.array([x0, 1 - x0, y0, rng.uniform(0.78, 0.92)])
    shop = floors > 1 and rng.random() < 0.4
    spacing = rng.uniform(1.7, 3.6)
    parts = []
    for side in range(4):
        half, out = ((half_width, half_depth), (half_depth, half_width))[side % 2]
        count = max(1, round(2 * half / spacing))
        columns = np.linspace(-half, half, count + 1)
        rows = np.linspace(0, height, floors + 1)
        pieces = []
        if side == 0 or rng.random() < 0.6:
            if side == 0:
                pieces.append(_ground_floor(rng, columns, storey, shop, opening, deep))
                rows = rows[1:]
            if len(rows) > 1:
                pieces.append(opened_wall(columns, rows, opening, deep))
        else:
            corners = np.array([[[-half, 0, 0], [half, 0, 0], [half, height, 0], [-half, height, 0]]])
            pieces.append(quads(corners, WALL))
        if side == 0 and floors > 1:
            pieces += _front_details(rng, columns, storey, floors)
        turn = rotation(side * np.pi / 2)
        parts += [piece.moved(turn @ (0, 0, out), turn) for piece in pieces]
    parts.append(_roof(rng, half_width, height, half_depth))
    return join(parts)


def _ground_floor(
    rng: Generator, columns: Floats, storey: float, shop: bool, opening: Floats, deep: float
) -> Piece:
    """Windows with a door among them, or wide windows of shops."""
    rows = np.array([0, storey])
    if shop:
        wide = columns[:: 2 if len(columns) > 3 else 1]
        wide = np.append(wide, columns[-1]) if wide[-1] != columns[-1] else wide
        front = opened_wall(wide, rows, np.array([0.06, 0.94, rng.uniform(0.05, 0.2), 0.8]), 0.3, BASE)
        if rng.random() < 0.5:  # an awning or a sign
            half = (columns[-1] - columns[0]) / 2 * rng.uniform(0.3, 1)
            x = rng.uniform(-0.5, 0.5) * (columns[-1] - columns[0] - 2 * half)
            out, drop = rng.uniform(0.1, 1.3), rng.uniform(0.0, 0.6)
            y, low = 0.92 * storey, 0.92 * storey - drop
            top = np.array([[(x - half, y, 0), (x + half, y, 0), (x + half, low, out), (x - half, low, out)]])
            sign = boxes((x, 0.88 * storey, 0.05), (half, 0.25, 0.05), FRAME)
            return join([front, quads(top, DARK), sign])
        return front
    material = BASE if rng.random() < 0.4 else WALL
    door = int(rng.integers(len(columns) - 1))
    x = (columns[door] + columns[door + 1]) / 2
    reach, high = min(0.55, 0.4 * float(columns[door + 1] - columns[door])), min(2.15, 0.85 * storey)
    frame = [
        boxes((x, high / 2, 0.02), (reach * 1.15, high / 2 + 0.07, 0.03), FRAME),
        boxes((x, high / 2, 0.04), (reach, high / 2, 0.03), DARK),
        boxes((x, 0.09, 0.3), (reach * 1.4, 0.09, 0.35), BASE),
    ]
    return join([opened_wall(columns, rows, opening, deep, material), *frame])


def _front_details(rng: Generator, columns: Floats, storey: float, floors: int) -> list[Piece]:
    """Balconies, ledges between floors, a pipe down the front."""
    half, parts = (columns[-1] - columns[0]) / 2, []
    if rng.random() < 0.4:
        out, wide = rng.uniform(0.5, 1.5), rng.uniform(0.35, 0.5)
        picked = [n for n in range(len(columns) - 1) if rng.random() < 0.5]
        for number in picked:
            x, reach = (
                (columns[number] + columns[number + 1]) / 2,
                wide * (columns[number + 1] - columns[number]),
            )
            for floor in range(1, floors):
                y = floor * storey + 0.15
                parts += [
                    boxes((x, y, out / 2), (reach, 0.08, out / 2), WALL),
                    boxes((x, y + 1.0, out), (reach, 0.03, 0.03), DARK),
                ]
                bars = np.linspace(x - reach, x + reach, 9)
                foot = np.stack([bars, 0 * bars + y, 0 * bars + out], 1)
                parts.append(tubes(foot, foot + vec(0, 1.0, 0), 0.015, 0.015, DARK, 3))
    if rng.random() < 0.5:
        levels = np.arange(1, floors + 1) * storey
        parts.append(
            boxes(np.stack([0 * levels, levels - 0.05, 0 * levels + 0.04], 1), (half, 0.09, 0.09), FRAME)
        )
    if rng.random() < 0.4:
        x = rng.choice((-1, 1)) * half * 0.96
        parts.append(boxes((x, floors * storey / 2, 0.08), (0.05, floors * storey / 2, 0.05), DARK))
    return parts


def _roof(rng: Generator, half_width: float, height: float, half_depth: float) -> Piece:
    """A flat roof with an edge, a ridge along the front or across it, or four slopes; chimneys, dormers."""
    kind = rng.random()
    if kind < 0.25:
        edge = rng.uniform(0.1, 0.7)
        parts = [boxes((0, height + edge / 2, 0), (half_width + 0.05, edge / 2, half_depth + 0.05), FRAME)]
        if rng.random() < 0.5:
            parts.append(boxes((rng.normal(0, 0.3) * half_width, height + 1.3, 0), (1.5, 1.3, 1.5), WALL))
        return join(parts)
    across = kind > 0.8  # the gable looks at the street
    run, span = (half_width, half_depth) if across else (half_depth, half_width)
    rise, eave = run * rng.uniform(0.45, 1.2), rng.uniform(0.1, 0.7)
    hip = rng.uniform(0.3, 0.7) * run if 0.6 < kind <= 0.8 else -eave
    low = height - rise / run * eave
    ends = np.array(
        [[-span - eave, low, run + eave], [span + eave, low, run + eave],
         [span - hip, height + rise, 0], [-span + hip, height + rise, 0]]
    )  # fmt: skip
    mirrored = ends * (1, 1, -1)
    slopes = [ends, mirrored]
    gables = []
    for side in (-1, 1):
        tip = (side * span, height + rise, 0)
        if hip > 0:
            a, b = ends[1] if side > 0 else ends[0], mirrored[1] if side > 0 else mirrored[0]
            gables.append(surface(np.array([[a, b, (side * (span - hip), height + rise, 0)]]), ROOF))
        else:
            gables.append(
                surface(np.array([[(side * span, height, run), (side * span, height, -run), tip]]), WALL)
            )
    parts = [quads(np.array(slopes), ROOF), quads(np.array(slopes) - (0, 0.12, 0), FRAME), *gables]
    for _ in range(int(rng.integers(0, 3))):
        x = rng.uniform(-0.8, 0.8) * span
        parts.append(boxes((x, height + rise, rng.normal(0, 0.15) * run), (0.3, 0.9, 0.25), DARK))
    if hip <= 0 and rng.random() < 0.5 and rise > 2:
        for x in np.linspace(-0.75, 0.75, int(rng.integers(1, 4))) * span:
            middle = (x, height + 0.45 * rise, 0.55 * run)
            parts += [
                boxes(middle, (0.65, 0.55, 0.45 * run), WALL),
                boxes(middle + np.array([0, 0.6, 0.05]), (0.75, 0.06, 0.48 * run), ROOF),
                boxes(middle + np.array([0, 0, 0.45 * run]), (0.45, 0.4, 0.02), GLASS),
            ]
    made = join(parts)
    return made.moved((0, 0, 0), rotation(np.pi / 2)) if across else made


def fence(rng: Generator, length: float, height: float) -> Piece:
    """A fence along x from 0, of pickets, rails or wire between posts. Materials: 0 posts, 1 between."""
    kind = rng.random()
    posts = np.arange(0, length, rng.uniform(1.5, 3))
    foot = np.stack([posts, 0 * posts, 0 * posts], 1)
    radius = rng.uniform(0.025, 0.07)
    parts = [tubes(foot, foot + vec(0, height, 0), radius, radius, 0, 5)]
    if kind < 0.45:
        gap = rng.uniform(0.09, 0.2)
        x = np.arange(0, length, gap)
        foot = np.stack([x, 0 * x + 0.53 * height, 0 * x + 0.02], 1)
        parts.append(boxes(foot, (gap * rng.uniform(0.15, 0.42), height * 0.47, 0.012), 1))
    levels = (0.25, 0.85) if kind < 0.45 else np.linspace(0.2, 0.95, int(rng.integers(2, 7)))
    thick = rng.uniform(0.006, 0.05)
    for level in levels:
        parts.append(boxes((length / 2, level * height, 0), (length / 2, thick, thick), 1))
    return join(parts)
