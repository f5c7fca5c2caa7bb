"""`Trainable`: a network that is to be trained, with all that training it depends on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from cortexia_video.depth_map import Kind
from cortexia_video.errors import ModelLoadError
from cortexia_video.training.network import STRIDE, DepthNetwork, batch_norm, no_norm
from cortexia_video.training.pretrained import load_classifier, read_state
from cortexia_video.training.recipe import NetworkPlan, Recipe

COMPACT = "compact"
State = Mapping[str, Tensor]


@dataclass(frozen=True, slots=True, eq=False)
class Trainable:
    """network: image float32 (B, 3, H, W) in [0, 1] -> float32 (B, H, W) of `kind`, `disparity` or `metric`.

    multiple_of: what H and W are multiples of. pretrained: parameters that do not start from noise.
    save: writes the network with a state into a folder, so that the package loads it as a model; gives its name.
    """

    network: nn.Module
    kind: Kind
    multiple_of: int
    pretrained: list[nn.Parameter]
    save: Callable[[State, Path], str]


def load_trainable(recipe: Recipe) -> Trainable:
    """Build what a recipe trains. Raises ModelLoadError where its files are not there or are others."""
    torch.manual_seed(recipe.seed)
    return _load_compact(recipe)


def _load_compact(recipe: Recipe) -> Trainable:
    network = _build_compact(recipe.network)
    start = recipe.network.encoder or recipe.network.weights

    def save(state: State, folder: Path) -> str:
        from cortexia_video.training.export import save_compact

        return save_compact(state, folder, recipe)

    pretrained = list(network.encoder.parameters()) if start else []
    return Trainable(network, "disparity", STRIDE, pretrained, save)


def _build_compact(plan: NetworkPlan) -> DepthNetwork:
    """Build the network from a classifier, from weights of its own, or from noise and with batch norm."""
    if plan.weights:
        state = read_state(Path(plan.weights))
        folded = not any(name.startswith("encoder.") and ".norm." in name for name in state)
        network = DepthNetwork(no_norm if folded else batch_norm)
        try:
            network.load_state_dict(state)
        except RuntimeError as error:
            reason = str(error).splitlines()[0]
            raise ModelLoadError(f"{plan.weights} holds no weights of compact: {reason}") from error
        return network
    if plan.encoder:
        network = DepthNetwork(no_norm)
        load_classifier(network.encoder, Path(plan.encoder))
        return network
    return DepthNetwork(batch_norm)
