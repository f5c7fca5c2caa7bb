"""`Trainable`: a network that is to be trained, with all of it that training depends on."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional as F

from cortexia_video.depth_map import DepthKind
from cortexia_video.errors import ModelLoadError
from cortexia_video.models.registry import COMPACT_FILE
from cortexia_video.storage.atomic_file import make_folder, move_whole, scratch_folder, write_atomic
from cortexia_video.training.backbone import find_classifier, load_classifier, read_state
from cortexia_video.training.network import (
    COMPACT,
    STRIDE,
    DepthNetwork,
    State,
    batch_norm,
    hold_compact,
    no_norm,
)
from cortexia_video.training.recipe import Recipe, describe_recipe


@dataclass(frozen=True, slots=True, eq=False)
class Trainable:
    """network: image float32 (B, 3, H, W) in [0, 1] -> float32 (B, H, W) of `kind`, `disparity` or `metric`.

    multiple_of: what H and W are multiples of. pretrained: parameters that do not start from noise.
    save: writes the network with a state into a folder, as a model that the package loads; gives its name.
    """

    network: nn.Module
    kind: DepthKind
    multiple_of: int
    pretrained: list[nn.Parameter]
    save: Callable[[State, Path], str]


def load_trainable(recipe: Recipe) -> Trainable:
    """Build what a recipe trains. Raises `ModelLoadError` where its files do not exist or are others."""
    torch.manual_seed(recipe.seed)
    architecture = recipe.network.architecture
    if architecture == COMPACT:
        return _load_compact(recipe)
    if architecture.startswith("hf:"):
        return _load_checkpoint(recipe)
    raise ModelLoadError(f"unknown architecture {architecture!r}: use {COMPACT}, or hf:FOLDER")


def _load_compact(recipe: Recipe) -> Trainable:
    network = build_compact(recipe)

    def save(state: State, folder: Path) -> str:
        from cortexia_video.training.export import save_compact

        words = {"recipe": json.dumps(describe_recipe(recipe))}
        with write_atomic(folder / "weights.safetensors") as partial:
            save_file({name: value.contiguous() for name, value in state.items()}, partial, words)
        return save_compact(state, folder / f"{recipe.name}.onnx", recipe)

    begun = recipe.network.weights is not None
    pretrained = network if begun else network.encoder if recipe.network.encoder else None
    return Trainable(network, "disparity", STRIDE, list(pretrained.parameters()) if pretrained else [], save)


def build_compact(recipe: Recipe) -> DepthNetwork:
    """Build the network from weights of its own, a classifier, or from noise and with batch norm."""
    plan = recipe.network
    if plan.weights:
        path = COMPACT_FILE if plan.weights == COMPACT else Path(plan.weights)
        if path.suffix != ".onnx":
            return hold_compact(read_state(path), plan.weights)
        from cortexia_video.training.export import read_compact

        return read_compact(path)
    if plan.encoder:
        network = DepthNetwork(no_norm)
        load_classifier(network.encoder, find_classifier(plan.encoder))
        return network
    return DepthNetwork(batch_norm)


def _load_checkpoint(recipe: Recipe) -> Trainable:
    from cortexia_video.models.torch.huggingface import open_network

    opened = open_network(recipe.network.architecture, kind=recipe.network.kind)
    network = _OfImages(opened.network, opened.preprocessing.mean, opened.preprocessing.std)
    if opened.kind not in ("disparity", "metric"):
        raise ModelLoadError(
            f"{recipe.network.architecture} gives {opened.kind}: only disparity and metric are trained"
        )

    def save(state: State, folder: Path) -> str:
        kept = {name: value.clone() for name, value in network.state_dict().items()}
        network.load_state_dict(dict(state))
        with scratch_folder(folder) as half:
            opened.save(half)
            make_folder(folder / "model")
            for each in half.iterdir():
                move_whole(each, folder / "model" / each.name)
        network.load_state_dict(kept)
        return f"hf:{folder / 'model'}"

    parameters = list(network.parameters())
    return Trainable(network, opened.kind, opened.preprocessing.step, parameters, save)


class _OfImages(nn.Module):
    """A network of normalised pixels, for images in [0, 1] and depth as large as they are."""

    def __init__(self, network: nn.Module, mean: tuple[float, ...], std: tuple[float, ...]) -> None:
        super().__init__()
        self.network = network
        self.mean = nn.Buffer(torch.tensor(mean).view(-1, 1, 1), persistent=False)
        self.std = nn.Buffer(torch.tensor(std).view(-1, 1, 1), persistent=False)

    def forward(self, image: Tensor) -> Tensor:
        depth: Tensor = self.network((image - self.mean) / self.std)
        return F.interpolate(depth[:, None].float(), image.shape[2:], mode="bilinear")[:, 0]
