"""DINOv2's vision transformer, by the names that its authors' weights have.

Oquab et al., DINOv2: Learning Robust Visual Features without Supervision, TMLR 2024. Networks that were trained
on top of the authors' code stretch its positions as that does: by a factor for (cells + 0.1), where transformers'
class stretches them to the number of cells. That is another network by up to a tenth of a patch at the far edge.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu, interpolate, scaled_dot_product_attention

from cortexia_video.errors import ModelLoadError

PATCH = 14  # pixels
_HEAD = 64  # channels of each of the attention's heads, in all of its sizes
_OFFSET = 0.1


class DinoV2(nn.Module):
    """Pixels (B, 3, 14 rows, 14 columns), normalised -> tokens of some layers.

    width: channels of a token. layers: how many. hidden: channels within a layer's perceptron. side: of the
    square of positions that it was trained with.
    """

    def __init__(self, width: int, layers: int, hidden: int, side: int) -> None:
        super().__init__()
        self.cls_token = nn.Parameter(torch.empty(1, 1, width))
        self.pos_embed = nn.Parameter(torch.empty(1, 1 + side**2, width))
        self.mask_token = nn.Parameter(torch.empty(1, width))  # of its training
        self.patch_embed = nn.ModuleDict({"proj": nn.Conv2d(3, width, PATCH, PATCH)})
        self.blocks = nn.ModuleList(_Block(width, hidden) for _ in range(layers))
        self.norm = nn.LayerNorm(width, eps=1e-6)

    def forward(self, pixels: Tensor, layers: Collection[int]) -> list[Tensor]:
        """Return the tokens (B, 1 + rows x columns, width) after each of `layers`; the image's own first."""
        patches = self.patch_embed["proj"](pixels)
        rows, columns = patches.shape[-2:]
        tokens = torch.cat([self.cls_token.expand(pixels.shape[0], -1, -1), patches.flatten(2).mT], dim=1)
        tokens = tokens + self._stretch_positions(rows, columns)
        found = []
        for number, block in enumerate(self.blocks):
            tokens = block(tokens)
            if number in layers:
                found.append(self.norm(tokens))
        return found

    def _stretch_positions(self, rows: int, columns: int) -> Tensor:
        side = round((self.pos_embed.shape[1] - 1) ** 0.5)
        if (rows, columns) == (side, side):
            return self.pos_embed
        square = self.pos_embed[:, 1:].float().mT.reshape(1, -1, side, side)
        factors = ((rows + _OFFSET) / side, (columns + _OFFSET) / side)
        stretched = interpolate(square, scale_factor=factors, mode="bicubic").flatten(2).mT
        return torch.cat([self.pos_embed[:, :1], stretched.to(self.pos_embed.dtype)], dim=1)


class _Block(nn.Module):
    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width, eps=1e-6)
        self.attn = nn.ModuleDict({"qkv": nn.Linear(width, 3 * width), "proj": nn.Linear(width, width)})
        self.ls1 = _Scale(width)
        self.norm2 = nn.LayerNorm(width, eps=1e-6)
        self.mlp = nn.ModuleDict({"fc1": nn.Linear(width, hidden), "fc2": nn.Linear(hidden, width)})
        self.ls2 = _Scale(width)

    def forward(self, tokens: Tensor) -> Tensor:
        inner = self.attn["qkv"](self.norm1(tokens)).unflatten(2, (3, -1, _HEAD))
        query, key, value = inner.permute(2, 0, 3, 1, 4).unbind()
        found = scaled_dot_product_attention(query, key, value).transpose(1, 2).flatten(2)
        tokens = tokens + self.ls1(self.attn["proj"](found))
        found = self.mlp["fc2"](gelu(self.mlp["fc1"](self.norm2(tokens))))
        return tokens + self.ls2(found)


class _Scale(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.empty(width))

    def forward(self, values: Tensor) -> Tensor:
        return values * self.gamma


def shape_dinov2(weights: Mapping[str, Tensor], prefix: str, source: Path) -> DinoV2:
    """Return the transformer, without memory for its weights, that weights of these names are of.

    prefix: what comes before the authors' names. Raises `ModelLoadError` where they are of none.
    """
    try:
        count, width = weights[f"{prefix}pos_embed"].shape[1:]
        hidden = len(weights[f"{prefix}blocks.0.mlp.fc1.weight"])
    except (KeyError, ValueError) as error:
        raise ModelLoadError(f"{source} holds no DINOv2: {error} is missing or of another shape") from error
    layers = {name.removeprefix(f"{prefix}blocks.").partition(".")[0] for name in weights}
    with torch.device("meta"):
        return DinoV2(width, sum(map(str.isdecimal, layers)), hidden, round((count - 1) ** 0.5))


def load_strictly(network: nn.Module, weights: Mapping[str, Tensor], source: Path) -> None:
    """Give a network weights, each to the parameter of its name.

    Raises `ModelLoadError` where one is missing, of another shape, or left over.
    """
    shapes = {name: tuple(each.shape) for name, each in network.state_dict().items()}
    wrong = [
        *(f"{name} is missing" for name in sorted(shapes.keys() - weights.keys())),
        *(
            f"{name} is {tuple(weights[name].shape)}, not {shape}"
            for name, shape in shapes.items()
            if name in weights and tuple(weights[name].shape) != shape
        ),
        *(f"{name} belongs to nothing" for name in sorted(weights.keys() - shapes.keys())),
    ]
    if wrong:
        raise ModelLoadError(
            f"{source} does not hold this network's weights: {wrong[0]}"
            + (f", and {len(wrong) - 1} more do not fit" if len(wrong) > 1 else "")
        )
    network.load_state_dict(dict(weights), assign=True)
