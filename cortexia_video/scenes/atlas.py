"""Textures as the renderer looks them up: painted or loaded once, with mip levels, in one tensor."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cortexia_video.scenes.description import Material
from cortexia_video.scenes.noise import SIDE, periodic_noise
from cortexia_video.scenes.photo_textures import draw_photos, load_photo
from cortexia_video.scenes.textures import PAINTERS, VARIANTS, FloatArray, paint_texture

MIP_SIDES = tuple(SIDE >> level for level in range(8))
"""Side of each level of the mip chain, in texels."""
TEXELS = sum(side * side for side in MIP_SIDES)
"""Texels of a whole mip chain."""

_MIP_START = [0, *np.cumsum([side * side for side in MIP_SIDES])[:-1].tolist()]
_KINDS = tuple(PAINTERS)
_IMAGES_HELD = 64  # of models, beside what is painted: 34 MB
_PAINTED = len(_KINDS) * VARIANTS


class Atlas:
    """The textures of one library: what `Material.kind` and `variant` mean, painted when first needed."""

    def __init__(self, library: int, device: torch.device, folder: Path | None = None) -> None:
        self.library = library
        self.photos = () if folder is None else draw_photos(folder, library)
        self._first_image = _PAINTED + len(self.photos)
        self._texels = torch.zeros((self._first_image * TEXELS, 3), dtype=torch.float16, device=device)
        self._filled: set[int] = set()
        self._images: dict[int, NDArray[np.uint8]] = {}  # by identity, in the order of their places
        self._start = torch.tensor(_MIP_START, device=device)
        self._side = torch.tensor(MIP_SIDES, device=device)

    def place(self, materials: Sequence[Material]) -> list[int]:
        """Make sure that the textures of materials are there, and return where; a photo is a person's."""
        images = self._hold({id(each.image): each.image for each in materials if each.image is not None})
        places = [
            images[id(each.image)]
            if each.image is not None
            else _PAINTED + each.variant
            if each.kind == "photo"
            else _KINDS.index(each.kind) * VARIANTS + each.variant
            for each in materials
        ]
        for place in set(places) - self._filled:
            if place >= self._first_image:
                shown = list(self._images.values())[place - self._first_image]
                image: FloatArray = ((shown / 255) ** 2.2).astype(np.float32)
            elif place >= _PAINTED:
                image = load_photo(self.photos[place - _PAINTED])
            else:
                number, variant = divmod(place, VARIANTS)
                image = paint_texture(_KINDS[number], (self.library, number, variant))
            self._texels[place * TEXELS : (place + 1) * TEXELS] = mip_chain(image).to(self._texels)
            self._filled.add(place)
        return places

    def _hold(self, wanted: dict[int, NDArray[np.uint8]]) -> dict[int, int]:
        """Give images places, all anew where they have become many, and return these by identity."""
        if len(self._images | wanted) > max(_IMAGES_HELD, len(wanted)):
            self._images = {}
            self._filled = {place for place in self._filled if place < self._first_image}
        self._images |= wanted
        lacking = (self._first_image + len(self._images)) * TEXELS - len(self._texels)
        if lacking > 0:
            rows = max(lacking, _IMAGES_HELD * TEXELS)
            self._texels = torch.cat([self._texels, self._texels.new_zeros(rows, 3)])
        return {each: self._first_image + n for n, each in enumerate(self._images)}

    def sample(self, place: Tensor, uv: Tensor, texels_per_pixel: Tensor) -> Tensor:
        """Interpolate bilinearly in the nearest mip level: float32 (N, 3).

        place: int64 (N,). uv: (2, N) in copies of the texture. texels_per_pixel: (N,) on the finest level.
        """
        level = texels_per_pixel.clamp_min(1).log2().round().clamp_max(len(MIP_SIDES) - 1).long()
        side, start = self._side[level], self._start[level] + place * TEXELS
        x, y = ((uv - uv.floor()) * side - 0.5).unbind()
        left, top = x.floor(), y.floor()
        across, down = (x - left)[:, None], (y - top)[:, None]
        left, top = left.long() % side, top.long() % side
        right, bottom = (left + 1) % side, (top + 1) % side
        upper_row, lower_row = start + top * side, start + bottom * side
        upper = torch.lerp(self._at(upper_row + left), self._at(upper_row + right), across)
        lower = torch.lerp(self._at(lower_row + left), self._at(lower_row + right), across)
        return torch.lerp(upper, lower, down)

    def _at(self, texel: Tensor) -> Tensor:
        return self._texels[texel].float()


@lru_cache(maxsize=2)
def atlas_of(library: int, device: torch.device, folder: Path | None = None) -> Atlas:
    """Return a library's atlas, with a person's images of a folder; the last two are kept, 100 MB each."""
    return Atlas(library, device, folder)


@lru_cache(maxsize=2)
def grain_field(device: torch.device) -> Tensor:
    """Fine noise that every surface wears, so that none is smooth from near: (SIDE, SIDE), about -1 to 1."""
    rng = np.random.default_rng(7)
    return torch.from_numpy(periodic_noise(rng, 32, 4, 0.8)).to(device)


def mip_chain(image: FloatArray) -> Tensor:
    """Average a texture (SIDE, SIDE, 3) down: float16 (TEXELS, 3), finest level first."""
    level = torch.from_numpy(image)
    rows = [level.reshape(-1, 3)]
    for side in MIP_SIDES[1:]:
        level = level.view(side, 2, side, 2, 3).mean((1, 3))
        rows.append(level.reshape(-1, 3))
    return torch.cat(rows).half()
