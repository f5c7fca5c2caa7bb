"""What a camera makes of light: lens, exposure, white balance, noise, tone curve, JPEG.

Images are linear light, float32 (B, 3, H, W); every scene has a camera of its own, drawn from its seed.
"""

from __future__ import annotations

import io
import math
from collections.abc import Sequence

import numpy as np
import torch
from numpy.random import Generator
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from cortexia_video.scenes.ray_casting import Hits
from cortexia_video.scenes.shading import box_blur


def take_photographs(
    light: Tensor, hits: Hits, seeds: Sequence[int], shots: Sequence[int]
) -> list[NDArray[np.uint8]]:
    """Turn light into sRGB images uint8 (H, W, 3), each as a random camera would.

    shots: of several images by one camera, each with noise of its own.
    """
    smooth = soften_edges(light, hits)
    images = []
    for image, distance, seed, shot in zip(smooth, hits.distance, seeds, shots, strict=True):
        rng = np.random.default_rng([seed, 1000])
        # bring the image near middle grey, mostly without burning a tenth of it, off by up to a stop or two.
        # White balance is a little wrong, as automatic ones are, and now and then very wrong.
        middle, bright = np.percentile(image.mean(0).cpu().numpy()[::2, ::2], (60, 90))
        burnt = 0.8 if rng.random() < 0.6 else rng.uniform(0.8, 3)
        gain = min(0.28 / max(float(middle), 1e-3), burnt / max(float(bright), 1e-3))
        stops = min(rng.normal(0, 0.3) + (rng.normal(-0.3, 0.7) if rng.random() < 0.25 else 0.0), 0.7)
        cast = 0.22 if rng.random() < 0.15 else 0.06
        balance = torch.from_numpy(gain * math.exp(stops) * np.exp(rng.normal(0, cast, 3))).float()
        seen = _through_lens(image * balance.to(image.device)[:, None, None], distance, rng)
        # add noise that grows with the root of the light, and a floor
        strength = 0.04 * rng.random() ** 2
        grain = torch.randn(seen.shape, generator=torch.Generator().manual_seed(seed + (shot << 40))).to(
            seen.device
        )
        if rng.random() < 0.3:  # sensors whose neighbours share what they measure
            grain = 1.8 * box_blur(grain[None], 1)[0]
        tone = _develop(seen + strength * (seen.clamp_min(0) + 0.02).sqrt() * grain, rng)
        # write and read a JPEG
        buffer = io.BytesIO()
        Image.fromarray(np.ascontiguousarray(tone)).save(buffer, "JPEG", quality=int(rng.integers(40, 98)))
        images.append(np.asarray(Image.open(buffer)))
    return images


def soften_edges(light: Tensor, hits: Hits) -> Tensor:
    """Mix neighbours where the surface changes: a pixel's area holds both, its one ray met one of them.

    A part of a mesh is one surface, and may hide itself: there also where distance changes by a twentieth.
    """
    changes = F.pad(hits.surface[:, None].double(), [1] * 4, mode="replicate")
    middle = changes[:, :, 1:-1, 1:-1]
    edge = torch.zeros_like(middle, dtype=torch.bool)
    if hits.triangle is not None:
        far = F.pad(hits.distance[:, None], [1] * 4, mode="replicate")
        most, least = F.max_pool2d(far, 3, 1), -F.max_pool2d(-far, 3, 1)
        edge = (hits.triangle[:, None] >= 0) & (most > 1.05 * least)
    for other in (
        changes[:, :, :-2, 1:-1],
        changes[:, :, 2:, 1:-1],
        changes[:, :, 1:-1, :-2],
        changes[:, :, 1:-1, 2:],
    ):
        edge |= other != middle
    return torch.where(edge, torch.lerp(light, box_blur(light.clamp_max(8), 1), 0.55), light)


def _through_lens(light: Tensor, distance: Tensor, rng: Generator) -> Tensor:
    """Darken the corners, glow around what is bright, blur what is out of focus or moved, and soften."""
    height, width = light.shape[1:]
    if rng.random() < 0.4:
        glow = box_blur(light[None].clamp_max(4), max(1, width // 40))[0]
        light = torch.lerp(light, glow, rng.uniform(0, 0.25))
    if rng.random() < 0.1:
        # what lies nearer or farther than a focus drawn from the image's distances, in three steps
        disparity = 1 / distance.clamp(0.05, 1e4)
        focus = float(np.quantile(disparity[::4, ::4].cpu().numpy(), rng.uniform(0.2, 1)))
        apart = (disparity - focus).abs() / max(focus, 1e-3) * rng.uniform(0.5, 3) * width / 256
        for radius in (1, 2, 3):
            blurred = box_blur(light[None].clamp_max(8), radius)[0]
            light = torch.lerp(light, blurred, (apart - radius + 1).clamp(0, 1))
    if rng.random() < 0.08:
        # average copies along a short straight way, as a camera that moved would
        length, angle = rng.uniform(1, 4) * width / 256, rng.uniform(0, math.pi)
        steps = [
            (s * length * math.sin(angle), s * length * math.cos(angle)) for s in np.linspace(-0.5, 0.5, 5)
        ]
        moved = [torch.roll(light, (round(dy), round(dx)), (1, 2)) for dy, dx in steps]
        light = torch.stack(moved).mean(0)
    if rng.random() < 0.3:
        light = torch.lerp(light, box_blur(light[None], 1)[0], rng.uniform(0, 0.8))
    y = torch.linspace(-1, 1, height, device=light.device)[:, None] * (height / width)
    x = torch.linspace(-1, 1, width, device=light.device)[None]
    return light * (1 - rng.uniform(0, 0.3) * (x * x + y * y))


def _develop(light: Tensor, rng: Generator) -> NDArray[np.uint8]:
    """Roll highlights off, apply gamma, contrast and saturation, and round to 8 bits (H, W, 3)."""
    black = rng.uniform(0, 0.02)
    light = (light - black).clamp_min(0)
    rolled = torch.where(light > 0.7, 0.7 + 0.3 * torch.tanh((light - 0.7) / 0.3), light)
    grey = rolled.mean(0)
    saturation = 0.0 if rng.random() < 0.03 else rng.uniform(0.5, 1.5)
    tone = (grey + (rolled - grey) * saturation).clamp(1e-6, 1) ** (1 / rng.uniform(1.9, 2.4))
    curve = tone * tone * (3 - 2 * tone)
    tone = tone + rng.uniform(-0.1, 0.7) * (curve - tone)
    return (tone.clamp(0, 1) * 255).round().byte().permute(1, 2, 0).cpu().numpy()
