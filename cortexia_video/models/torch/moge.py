"""MoGe-2: metric point map, mask, normals and focal length from one image.

Wang et al., MoGe-2: Accurate Monocular Geometry with Metric Scale and Sharp Details, 2025; the network is
described by the configuration that each checkpoint holds, and its weights have the authors' names. What becomes
of its points: `models.point_maps`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Collection, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import normalize

from cortexia_video.errors import ModelLoadError
from cortexia_video.frame import Frame
from cortexia_video.models.catalog import PUBLISHED, find_published
from cortexia_video.models.onnx.session import Ports, first_line
from cortexia_video.models.point_maps import (
    MASK,
    METRIC_SCALE,
    NORMALS,
    PATCH,
    POINTS,
    find_fov,
    fit_tokens,
    pack_input,
    to_prediction,
)
from cortexia_video.models.preprocessing import UNIT, Preprocessing, read_preprocessing
from cortexia_video.models.protocol import InputSize, Prediction, as_model_path
from cortexia_video.models.torch.checkpoint import Checkpoint, hash_files, open_folder
from cortexia_video.models.torch.device import Placement, choose_placement
from cortexia_video.models.torch.dinov2 import load_strictly, shape_dinov2
from cortexia_video.models.torch.model import TorchModel, keep_in_float32, put_on, read_pickled

FILE = "model.pt"
_FAMILY = "moge-2-"

_INPUTS, _OUTPUTS = ("image", "aspect"), (POINTS, MASK, METRIC_SCALE)

_NORMS: Mapping[str, Callable[[int], nn.Module]] = {
    "none": lambda channels: nn.Identity(),
    "layer_norm": lambda channels: nn.GroupNorm(1, channels),
    "group_norm": lambda channels: nn.GroupNorm(channels // 32, channels),
    "instance_norm": lambda channels: nn.InstanceNorm2d(channels),
}


class MoGe(TorchModel):
    """MoGe-2 as a `DepthModel` that takes what is known of the camera, and estimates what is not."""

    def __init__(
        self, *, name: str, checkpoint: Checkpoint, placement: Placement, input_size: InputSize | None = None
    ) -> None:
        config = checkpoint.config
        self.maps = ("normals", "mask") if config.get("normal_head") else ("mask",)
        self._tokens = 0 if input_size else int(config["num_tokens_range"][-1])
        self._loaded: dict[Placement, nn.Module] = {}
        self._with_normals: dict[Placement, nn.Module] = {}
        published = Preprocessing(None, PATCH, "bilinear", *UNIT, scaling="short_side")
        super().__init__(
            name=name,
            kind="metric",
            checkpoint=checkpoint,
            preprocessing=read_preprocessing(published, {"do_normalize": False}, input_size),
            placement=placement,
            ports=Ports(_INPUTS, _OUTPUTS),
            load=self._load_without_normals,
        )
        if self._tokens:
            self.settings = {**self.settings, "input_size": f"{self._tokens} tokens"}

    def processed_size(self, height: int, width: int) -> tuple[int, int]:
        """Return the size at which the image has as many tokens as the checkpoint asks for."""
        if not self._tokens:
            return super().processed_size(height, width)
        rows, columns = fit_tokens(height, width, self._tokens)
        return PATCH * rows, PATCH * columns

    def preprocess(self, image: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[Any]:
        """Resample one uint8 (H, W, 3) image whose focal length is not known; see `pack_input`."""
        return pack_input(super().preprocess(image, size), image.shape[1] / image.shape[0], None)

    def preprocess_frame(self, frame: Frame, size: tuple[int, int]) -> NDArray[Any]:
        """Resample a frame's image, and keep its focal length beside it."""
        height, width = frame.full_size or frame.image.shape[:2]
        return pack_input(super().preprocess(frame.image, size), width / height, find_fov(frame))

    def infer(self, batch: NDArray[Any], *, also: Collection[str] = ()) -> Prediction:  # type: ignore[override]
        """Run the network on inputs (B, 1) of `pack_input`; return metres, mask, field of view, and normals."""
        return self._predict(self._placement, self._network, batch, also)

    def _infer_float32(  # type: ignore[override]
        self, batch: NDArray[Any], *, also: Collection[str] = ()
    ) -> Prediction:
        return self._predict(self._placement.in_float32(), self._get_in_float32(), batch, also)

    def _predict(
        self, placement: Placement, network: nn.Module, batch: NDArray[Any], also: Collection[str]
    ) -> Prediction:
        if "normals" in also:
            network = self._get_with_normals(placement)
        with placement.running():
            image = self.to_input(batch["pixels"][:, 0], placement)
            found = network(image, placement.to_device(batch["aspect"][:, 0]))
        return to_prediction(batch, *map(placement.to_host, found))

    def _load_without_normals(self, placement: Placement) -> nn.Module:
        path = self._checkpoint.folder / FILE
        weights = _read_file(path)["model"]
        network: Any = _build(self._checkpoint.config, weights, path)
        load_strictly(network, weights, path)
        put_on(placement, network)
        if placement.is_half:  # points are exponents: they would come in steps
            for head in (network.points_head, network.mask_head, getattr(network, "normal_head", None)):
                if head is not None:
                    keep_in_float32(head.output_blocks[-1])
            keep_in_float32(network.scale_head)
        self._loaded[placement] = network
        return _Asked(network, normals=False)

    def _get_with_normals(self, placement: Placement) -> nn.Module:
        if placement not in self._with_normals:
            network = _Asked(self._loaded[placement], normals=True)
            ports = Ports(_INPUTS, (*_OUTPUTS, NORMALS))
            self._with_normals[placement] = placement.make_ready(network, ports)
        return self._with_normals[placement]

    def _make_exportable(self) -> tuple[nn.Module, Ports, str | None]:
        assert self._preprocessing.size is not None
        height, width = self._preprocessing.size
        normals = "normals" in self.maps
        network = _OfOneShape(_Asked(self._loaded[self._placement], normals), width / height)
        outputs = (*_OUTPUTS, NORMALS) if normals else _OUTPUTS
        return network, Ports(_INPUTS[:1], outputs), None


def load_moge(name: str, *, input_size: InputSize | None = None, **placing: Any) -> MoGe:
    """Load a checkpoint that `catalog` lists; placing: as `choose_placement` takes it.

    input_size: the short side or (height, width), in place of the number of tokens that the checkpoint names.
    """
    placement = choose_placement(**placing)
    info = find_published(name)
    assert info.hub_id is not None
    checkpoint = open_moge(info.hub_id, info.revision)
    size = name.removeprefix(_FAMILY).removesuffix("-normal")
    backbone = checkpoint.config["encoder"].get("backbone")
    if backbone != f"dinov2_{size}14":
        raise ModelLoadError(f"{checkpoint.folder / FILE} is built on {backbone}: that is not {name}")
    return MoGe(name=name, checkpoint=checkpoint, placement=placement, input_size=input_size)


def holds_moge(source: str) -> bool:
    """Return whether a folder, or the hub's checkpoint of a row of the table, is in the authors' form."""
    folder = as_model_path(source)
    if folder.is_dir():
        return (folder / FILE).is_file() and not (folder / "config.json").exists()
    return any(source == info.hub_id and info.name.startswith(_FAMILY) for info in PUBLISHED)


def open_moge(source: str, revision: str | None = None) -> Checkpoint:
    """Find a checkpoint as the authors publish it, a folder or hub id with `model.pt`, and read what it says.

    Raises `ModelLoadError`.
    """
    folder, hub_id, revision = open_folder(source, revision, FILE)
    config = dict(_read_file(folder / FILE)["model_config"])
    said = json.dumps(config, sort_keys=True, default=str).encode()
    return Checkpoint(
        folder=folder,
        hub_id=hub_id,
        revision=revision,
        config={**config, "model_type": "moge"},
        preprocessor={},
        weights_digest=hash_files([folder / FILE]),
        config_digest=hashlib.sha256(said).hexdigest(),
    )


def _read_file(path: Path) -> Mapping[str, Any]:
    """Read configuration and weights, and no other objects: `weights_only` makes tensors and plain values."""
    content = read_pickled(path)
    parts = {"model_config", "model"}
    if not isinstance(content, Mapping) or not parts <= content.keys():
        raise ModelLoadError(f"{path} is no checkpoint of MoGe: it lacks {' and '.join(sorted(parts))}")
    config = content["model_config"]
    if not isinstance(config, Mapping):
        raise ModelLoadError(f"{path} is no checkpoint of MoGe: its model_config is no mapping")
    needed = ("encoder", "neck", "points_head", "mask_head", "scale_head", "num_tokens_range")
    lacking = [each for each in needed if not config.get(each)]
    if lacking:
        raise ModelLoadError(
            f"{path} is no checkpoint of MoGe-2 that gives metres: its model_config lacks {', '.join(lacking)}"
        )
    if not isinstance(content["model"], Mapping) or not all(
        isinstance(each, Tensor) for each in content["model"].values()
    ):
        raise ModelLoadError(f"{path} is no checkpoint of MoGe: its model holds something else than weights")
    odd = [each for each in needed[:-1] if not isinstance(config[each], Mapping)]
    tokens = config["num_tokens_range"]
    if not (isinstance(tokens, Sequence) and tokens and type(tokens[-1]) is int and tokens[-1] > 0):
        odd.append("num_tokens_range")
    if odd:
        raise ModelLoadError(
            f"{path} is no checkpoint of MoGe-2: {odd[0]} in its model_config is {config[odd[0]]!r:.40}"
        )
    if config.get("remap_output") != "exp":
        raise ModelLoadError(
            f"{path} wants its points by {config.get('remap_output')!r}: only 'exp' is known"
        )
    return content


def _build(config: Mapping[str, Any], weights: Mapping[str, Tensor], path: Path) -> nn.Module:
    """Return the network that a configuration describes, without memory for its weights; tried by shapes alone.

    Raises `ModelLoadError` for one that gives something else than a network of MoGe-2 does.
    """
    rows, columns = 2, 3
    try:
        with torch.device("meta"), torch.no_grad():
            network = _Network(config, weights, path)
            image = torch.empty(1, 3, PATCH * rows, PATCH * columns)
            given = network(image, torch.ones(1), bool(config.get("normal_head")))
    except ModelLoadError:
        raise
    except Exception as error:  # whatever building by a file's words comes to
        raise ModelLoadError(f"{path}: its model_config is not understood: {first_line(error)}") from error
    sides = (1, rows << 4, columns << 4)
    wanted = (POINTS, (*sides, 3)), (MASK, sides), (METRIC_SCALE, (1,)), (NORMALS, (*sides, 3))
    for (name, shape), found in zip(wanted, given, strict=False):
        if found.shape != shape:
            raise ModelLoadError(
                f"{path}: by its model_config {name} is {(*found.shape,)} for {rows} x {columns} tokens, not {shape}"
            )
    return network


class _Network(nn.Module):
    """Image (B, 3, 14 rows, 14 columns) in 0..1 and aspect (B,) -> what it gives, at 16 rows, 16 columns.

    points: (B, h, w, 3), affine. mask: (B, h, w), 0..1. metric_scale: (B,). normal: (B, h, w, 3), unit vectors.
    """

    def __init__(self, config: Mapping[str, Any], weights: Mapping[str, Tensor], source: Path) -> None:
        super().__init__()
        self.encoder = _Encoder(config["encoder"], weights, source)
        self.neck = _ConvStack(config["neck"])
        self.points_head = _ConvStack(config["points_head"])
        self.mask_head = _ConvStack(config["mask_head"])
        layers: list[nn.Module] = []
        for inner, outer in pairwise(config["scale_head"]["dims"]):
            layers += [nn.Linear(inner, outer), nn.ReLU()]
        self.scale_head = nn.Sequential(*layers[:-1])
        if config.get("normal_head"):
            self.normal_head = _ConvStack(config["normal_head"])

    def forward(self, image: Tensor, aspect: Tensor, normals: bool) -> tuple[Tensor, ...]:
        features, token = self.encoder(image)
        rows, columns = features.shape[-2:]
        levels = [
            _place_cells(rows << level, columns << level, aspect).to(features.dtype)
            for level in range(len(self.neck.res_blocks))
        ]
        levels[0] = torch.cat([features, levels[0]], dim=1)
        shared = self.neck(levels)
        points = self.points_head(shared)[-1].float().permute(0, 2, 3, 1)
        depth = points[..., 2:].exp()
        points = torch.cat([points[..., :2] * depth, depth], dim=-1)
        mask = self.mask_head(shared)[-1].float().squeeze(1).sigmoid()
        metric_scale = self.scale_head(token).float().squeeze(1).exp()
        if not normals:
            return points, mask, metric_scale
        normal = normalize(self.normal_head(shared)[-1].float().permute(0, 2, 3, 1), dim=-1)
        return points, mask, metric_scale, normal


class _Asked(nn.Module):
    """A network that computes normals, or leaves them out."""

    def __init__(self, network: nn.Module, normals: bool) -> None:
        super().__init__()
        self.network, self.normals = network, normals

    def forward(self, image: Tensor, aspect: Tensor) -> tuple[Tensor, ...]:
        found: tuple[Tensor, ...] = self.network(image, aspect, self.normals)
        return found


class _OfOneShape(nn.Module):
    """A network for images of one shape, which need not say it."""

    def __init__(self, network: nn.Module, aspect: float) -> None:
        super().__init__()
        self.network, self.aspect = network, aspect

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        found: tuple[Tensor, ...] = self.network(image, image.new_full((image.shape[0],), self.aspect))
        return found


class _Encoder(nn.Module):
    """Image in 0..1 -> features (B, C, rows, columns), and the image's own token of the last layer."""

    image_mean: Tensor
    image_std: Tensor

    def __init__(self, config: Mapping[str, Any], weights: Mapping[str, Tensor], source: Path) -> None:
        super().__init__()
        self.backbone = shape_dinov2(weights, "encoder.backbone.", source)
        layers = config["intermediate_layers"]
        last = len(self.backbone.blocks)
        self.layers = [*range(last - layers, last)] if isinstance(layers, int) else [*layers]
        width = self.backbone.norm.normalized_shape[0]
        self.output_projections = nn.ModuleList(nn.Conv2d(width, config["dim_out"], 1) for _ in self.layers)
        self.register_buffer("image_mean", torch.empty(1, 3, 1, 1))
        self.register_buffer("image_std", torch.empty(1, 3, 1, 1))

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        rows, columns = image.shape[-2] // PATCH, image.shape[-1] // PATCH
        found = self.backbone((image - self.image_mean) / self.image_std, self.layers)
        maps = [
            projection(tokens[:, 1:].mT.unflatten(2, (rows, columns)))
            for projection, tokens in zip(self.output_projections, found, strict=True)
        ]
        return torch.stack(maps, dim=1).sum(dim=1), found[-1][:, 0]


class _ConvStack(nn.Module):
    """Maps of ever more pixels, each joined to what came of the one before, doubled."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        super().__init__()
        widths = config["dim_res_blocks"]
        levels = range(len(widths))
        blocks = _spread(config.get("num_res_blocks", 1), levels)
        resamplers = _spread(config["resamplers"], levels[1:])
        self.input_blocks = nn.ModuleList(map(_project, _spread(config["dim_in"], levels), widths))
        self.resamplers = nn.ModuleList(map(_make_resampler, resamplers, widths, widths[1:]))
        self.res_blocks = nn.ModuleList(
            nn.Sequential(*(_Residual(width, config) for _ in range(count)))
            for width, count in zip(widths, blocks, strict=True)
        )
        self.output_blocks = nn.ModuleList(map(_project, widths, _spread(config["dim_out"], levels)))

    def forward(self, levels: Sequence[Tensor]) -> list[Tensor]:
        found, before = [], None
        parts = zip(levels, self.input_blocks, self.res_blocks, self.output_blocks, strict=True)
        for number, (level, enter, blocks, leave) in enumerate(parts):
            joined = enter(level) if before is None else self.resamplers[number - 1](before) + enter(level)
            before = blocks(joined)
            found.append(leave(before))
        return found


class _Residual(nn.Module):
    def __init__(self, width: int, config: Mapping[str, Any]) -> None:
        super().__init__()
        if config.get("activation", "relu") != "relu":
            raise ValueError(f"activation {config['activation']!r}")
        hidden = width * config.get("dim_times_res_block_hidden", 1)
        self.layers = nn.Sequential(
            _NORMS[config.get("res_block_in_norm", "layer_norm")](width),
            nn.ReLU(),
            nn.Conv2d(width, hidden, 3, padding=1, padding_mode="replicate"),
            _NORMS[config.get("res_block_hidden_norm", "group_norm")](hidden),
            nn.ReLU(),
            nn.Conv2d(hidden, width, 3, padding=1, padding_mode="replicate"),
        )

    def forward(self, values: Tensor) -> Tensor:
        found: Tensor = values + self.layers(values)
        return found


def _spread(value: Any, levels: Sequence[int]) -> Sequence[Any]:
    """Return a value for each level, of one for all of them or of as many."""
    return value if isinstance(value, Sequence) and not isinstance(value, str) else [value] * len(levels)


def _project(inner: int | None, outer: int | None) -> nn.Module:
    return nn.Identity() if inner is None or outer is None else nn.Conv2d(inner, outer, 1)


def _make_resampler(kind: str, inner: int, outer: int) -> nn.Sequential:
    """Return what doubles the sides of a map."""

    def mix(inner: int, outer: int) -> nn.Module:
        return nn.Conv2d(inner, outer, 3, padding=1, padding_mode="replicate")

    if kind == "conv_transpose":
        return nn.Sequential(nn.ConvTranspose2d(inner, outer, 2, 2), mix(outer, outer))
    if kind == "pixel_shuffle":
        return nn.Sequential(mix(inner, 4 * outer), nn.PixelShuffle(2), mix(outer, outer))
    if kind == "bilinear":
        return nn.Sequential(
            nn.Upsample(scale_factor=2, mode="bilinear", align_corners=False), mix(inner, outer)
        )
    raise ValueError(f"resampler {kind!r}")


def _place_cells(rows: int, columns: int, aspect: Tensor) -> Tensor:
    """Return where the cells of a grid are, (B, 2, rows, columns): from the middle, in halves of the diagonal."""
    across, down = (
        (2 * torch.arange(count, dtype=aspect.dtype, device=aspect.device) + 1) / count - 1
        for count in (columns, rows)
    )
    diagonal = (1 + aspect * aspect).sqrt()
    x = (aspect / diagonal)[:, None, None] * across[None, None, :].expand(-1, rows, -1)
    y = (1 / diagonal)[:, None, None] * down[None, :, None].expand(-1, -1, columns)
    return torch.stack([x, y], dim=1)
