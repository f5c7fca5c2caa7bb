"""What a camera makes of light: exposure, white balance, lens, noise, tone curve, JPEG."""

from __future__ import annotations

import io
import math

import numpy as np
import torch
from numpy.random import Generator
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from cortexia_video.scenes.shading import box_blur


def take_photograph(light: Tensor, rng: Generator) -> NDArray[np.uint8]:
    """Turn linear light float32 (3, H, W) into an sRGB picture uint8 (H, W, 3), as a random camera would."""
    exposed = _expose(light, rng)
    seen = _through_lens(exposed, rng)
    noisy = _add_sensor_noise(seen.numpy(), rng)
    return _compress(_develop(noisy, rng), quality=int(rng.integers(45, 97)))


def _expose(light: Tensor, rng: Generator) -> Tensor:
    """Bring the picture near middle grey without burning a fifth of it, off by up to a stop or two.

    White balance is a little wrong, as automatic ones are.
    """
    middle, bright = np.percentile(light.mean(0).numpy(), (60, 90))
    gain = min(0.3 / max(float(middle), 1e-3), 0.8 / max(float(bright), 1e-3))
    stops = rng.normal(0, 0.3) + (rng.normal(0, 0.5) if rng.random() < 0.15 else 0.0)
    balance = torch.from_numpy(np.exp(rng.normal(0, 0.06, 3))).float()
    return light * gain * math.exp(stops) * balance[:, None, None]


def _through_lens(light: Tensor, rng: Generator) -> Tensor:
    """Darken the corners, glow around what is bright, and soften."""
    height, width = light.shape[1:]
    y = torch.linspace(-1, 1, height)[:, None] * (height / width)
    x = torch.linspace(-1, 1, width)[None]
    light = light * (1 - rng.uniform(0, 0.25) * (x * x + y * y))
    if rng.random() < 0.4:
        light = torch.lerp(
            light, box_blur(light[None].clamp_max(4), max(1, width // 40))[0], rng.uniform(0, 0.25)
        )
    if rng.random() < 0.35:
        light = torch.lerp(light, box_blur(light[None], 1)[0], rng.uniform(0, 1))
    return light


def _add_sensor_noise(light: NDArray[np.float32], rng: Generator) -> NDArray[np.float32]:
    """Add noise that grows with the root of the light, and a floor."""
    strength = 0.03 * rng.random() ** 2
    grain = rng.standard_normal(light.shape, np.float32)
    noisy = light + strength * np.sqrt(np.maximum(light, 0) + 0.02) * grain
    return noisy.astype(np.float32)


def _develop(light: NDArray[np.float32], rng: Generator) -> NDArray[np.uint8]:
    """Roll highlights off, apply gamma and some contrast, and round to 8 bits (H, W, 3)."""
    light = np.maximum(light, 0)
    rolled = np.where(light > 0.7, 0.7 + 0.3 * np.tanh((light - 0.7) / 0.3), light)
    tone = rolled ** (1 / rng.uniform(2.0, 2.4))
    curve = tone * tone * (3 - 2 * tone)
    tone = tone + rng.uniform(-0.1, 0.45) * (curve - tone)
    return np.round(np.clip(tone, 0, 1) * 255).astype(np.uint8).transpose(1, 2, 0)


def _compress(image: NDArray[np.uint8], quality: int) -> NDArray[np.uint8]:
    """Write and read a JPEG."""
    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(image)).save(buffer, "JPEG", quality=quality)
    return np.asarray(Image.open(buffer))
