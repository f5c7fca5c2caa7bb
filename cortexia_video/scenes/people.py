"""People of rounded parts, who stand, walk, sit or cycle, facing +z. Materials: skin, top, trousers, dark."""

from __future__ import annotations

import math

import numpy as np
from numpy.random import Generator

from cortexia_video.scenes.pieces import Floats, Piece, ball, boxes, ellipse, join, loft, path, vec

SKIN, TOP, TROUSERS, DARK = range(4)


def person(rng: Generator, *, seated: bool = False, cycling: bool = False) -> Piece:
    """A person of 1.1 to 1.95 m, the feet (of one who sits: the seat at 0.45 m) above y = 0.

    cycling: bent forward over bars, the hips at 0.95 m.
    """
    height = rng.uniform(1.05, 1.5) if rng.random() < 0.15 and not cycling else rng.uniform(1.52, 1.95)
    wide = height * rng.uniform(0.11, 0.15)
    lean = rng.uniform(0.4, 0.7) if cycling else rng.normal(0.02, 0.04)
    hip = np.array([0, 0.95 if cycling else 0.5 if seated else 0.49 * height, 0])
    up = np.array([0, math.cos(lean), math.sin(lean)])
    coat = rng.random() < 0.3 and not (seated or cycling)
    levels = (-0.26 if coat else -0.04, 0.02, 0.1, 0.2, 0.28, 0.32, 0.34)
    widths = (1.1 if coat else 0.85, 0.95, 0.82, 1.0, 1.08, 0.7, 0.35)
    deep = rng.uniform(0.55, 0.8)
    rings = [
        ellipse((0, 0, 0), wide * w, wide * w * deep, 10) + hip + up * level * height
        for level, w in zip(levels, widths, strict=True)
    ]
    neck = hip + up * 0.34 * height
    head = neck + up * 0.085 * height + (0, 0, 0.01)
    parts = [
        loft(np.array(rings), TOP),
        ball(head, height * np.array([0.045, 0.066, 0.054]), SKIN, 10),
        ball(
            head + vec(0, 0.018 * height, -0.014 * height), height * np.array([0.049, 0.06, 0.053]), DARK, 8
        ),
    ]
    stride = rng.normal(0, 0.35) if rng.random() < 0.7 else 0.08
    for side in (-1, 1):
        joint = hip + vec(side * 0.52 * wide, 0, 0)
        if seated or cycling:
            knee = joint + height * np.array([side * 0.02, -0.04 if seated else -0.16 - 0.06 * side, 0.24])
            foot = knee + height * np.array([0, -0.25, 0.02 if seated else -0.08])
        else:
            knee = joint + _swing(0.245 * height, side * stride + 0.05)
            foot = knee + _swing(0.24 * height, side * stride - max(0.0, -side * stride) * 0.6 - 0.03)
        shoulder = hip + up * 0.3 * height + (side * wide * 1.12, 0, 0)
        if cycling:
            elbow, hand = shoulder + vec(0, -0.18, 0.18), np.array([side * 0.26, 1.0, 0.27])
        else:
            arm = -side * stride * 0.8 + rng.normal(0, 0.15)
            elbow = shoulder + _swing(0.17 * height, arm) + (side * 0.03, 0, 0)
            hand = elbow + _swing(0.15 * height, arm + rng.uniform(0.1, 1.4) * (1 if seated else 0.5))
        parts += [
            path([joint, knee, foot], height * np.array([0.047, 0.033, 0.024]), TROUSERS, 7),
            boxes(foot + vec(0, 0.0, 0.05), (0.045, 0.035, 0.13), DARK),
            path([shoulder, elbow, hand], height * np.array([0.032, 0.026, 0.02]), TOP, 6),
            ball(hand, np.array([0.035, 0.055, 0.035]), SKIN, 5),
        ]
    if rng.random() < 0.35 and not seated:
        parts.append(boxes(hip + up * 0.2 * height - (0, 0, wide * 0.95), (0.14, 0.2, 0.09), DARK))
    return join(parts)


def _swing(length: float, angle: float) -> Floats:
    return length * np.array([0, -math.cos(angle), math.sin(angle)])
