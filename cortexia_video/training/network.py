"""`DepthNetwork`: an EfficientNet-Lite0 encoder, one look at the whole image, a light decoder; image in,
disparity out.

Encoder: Tan and Le, "EfficientNet", ICML 2019, in its Lite0 variant (no squeeze-and-excitation, ReLU6), up
to stride 32. Stride-2 convolutions pad as TensorFlow's SAME does on even sizes, so that weights trained
there fit. Decoder: a top-down pyramid with one lateral connection per stride, and at half resolution the
image itself, so that convex upsampling (Teed and Deng, "RAFT", ECCV 2020, section 3.3) can place edges on
single pixels.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from cortexia_video.errors import ModelLoadError

COMPACT = "compact"
State = Mapping[str, Tensor]


STRIDE = 32
"""Height and width of a batch must be multiples of this."""


@dataclass(frozen=True, slots=True)
class Stage:
    """Blocks of one width. expansion: of the hidden channels; stride: of the first block."""

    expansion: int
    kernel: int
    outputs: int
    blocks: int
    stride: int


_STAGES = (
    Stage(1, 3, 16, 1, 1),
    Stage(6, 3, 24, 2, 2),
    Stage(6, 5, 40, 2, 2),
    Stage(6, 3, 80, 3, 2),
    Stage(6, 5, 112, 3, 1),
    Stage(6, 5, 192, 4, 2),
    Stage(6, 3, 320, 1, 1),
)
# the last block before each halving: its index, and its channels
_TAPS = {0: 16, 2: 24, 4: 40, 10: 112}
_DECODER_CHANNELS = (192, 128, 96, 64, 32)
_HEADS = 4
_IMAGE_CHANNELS = 3 * 2 * 2  # of an image folded to half its resolution
_NEIGHBOURS = 9
_MARGIN = 0.25  # of a batch's range, below its lowest value
_FORGETTING = 0.002  # a step, of lower ones seen before
_LEAST = 1e-3
_STEP = 0.1  # of an image's range: what rises by more becomes a step

Norm = Callable[[int], nn.Module]


def batch_norm(channels: int) -> nn.Module:
    """Normalise by batch: what a network that starts from nothing needs."""
    return nn.BatchNorm2d(channels, momentum=0.03)


def no_norm(channels: int) -> nn.Module:
    """Normalise nothing: for weights that already hold their batch norm."""
    del channels
    return nn.Identity()


class EncoderConv(nn.Module):
    """Convolution, norm and, where asked for, ReLU6; at stride 2 right and bottom are padded by one more."""

    def __init__(self, convolution: nn.Conv2d, norm: nn.Module, activation: nn.Module) -> None:
        super().__init__()
        self.convolution = convolution
        self.norm = norm
        self.activation = activation

    def forward(self, x: Tensor) -> Tensor:
        if self.convolution.groups > 1 and torch.is_autocast_enabled("cpu"):
            with torch.autocast("cpu", enabled=False):  # bfloat16 makes these ten times slower, not faster
                return self._filter(x.float())
        return self._filter(x)

    def _filter(self, x: Tensor) -> Tensor:
        if self.convolution.stride == (2, 2):
            before = self.convolution.kernel_size[0] // 2 - 1
            x = F.pad(x, (before, before + 1, before, before + 1))
        return self.activation(self.norm(self.convolution(x)))


def _encoder_conv(
    inputs: int,
    outputs: int,
    norm: Norm,
    *,
    kernel: int = 1,
    stride: int = 1,
    groups: int = 1,
    linear: bool = False,
) -> EncoderConv:
    padding = 0 if stride == 2 else kernel // 2
    convolution = nn.Conv2d(inputs, outputs, kernel, stride, padding, groups=groups)
    return EncoderConv(convolution, norm(outputs), nn.Identity() if linear else nn.ReLU6())


class InvertedResidual(nn.Module):
    """Widen, filter each channel, narrow; add the input where shapes allow."""

    def __init__(self, inputs: int, stage: Stage, stride: int, norm: Norm) -> None:
        super().__init__()
        hidden = inputs * stage.expansion
        widen = [_encoder_conv(inputs, hidden, norm)] if stage.expansion > 1 else []
        self.layers = nn.Sequential(
            *widen,
            _encoder_conv(hidden, hidden, norm, kernel=stage.kernel, stride=stride, groups=hidden),
            _encoder_conv(hidden, stage.outputs, norm, linear=True),
        )
        self.adds_input = stride == 1 and inputs == stage.outputs

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.layers(x)
        return x + y if self.adds_input else y


class Encoder(nn.Module):
    """EfficientNet-Lite0 without its classifier.

    image: float32 (B, 3, H, W) in [-1, 1], H and W multiples of 32.
    Returns features at strides 32, 16, 8, 4 and 2, coarse first.
    """

    def __init__(self, norm: Norm) -> None:
        super().__init__()
        self.stem = _encoder_conv(3, 32, norm, kernel=3, stride=2)
        blocks, inputs = [], 32
        for stage in _STAGES:
            for index in range(stage.blocks):
                blocks.append(InvertedResidual(inputs, stage, stage.stride if index == 0 else 1, norm))
                inputs = stage.outputs
        self.blocks = nn.ModuleList(blocks)

    def forward(self, image: Tensor) -> list[Tensor]:
        x = self.stem(image)
        taps: list[Tensor] = []
        for index, block in enumerate(self.blocks):
            x = block(x)
            if index in _TAPS:
                taps.append(x)
        return [x, *reversed(taps)]

    def convolutions(self) -> Iterator[nn.Conv2d]:
        """Yield every convolution in the order of the forward pass."""
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                yield module


def _decoder_conv(inputs: int, outputs: int, kernel: int, norm: Norm) -> nn.Sequential:
    convolution = nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, bias=norm is no_norm)
    return nn.Sequential(convolution, norm(outputs), nn.ReLU())


class Attention(nn.Module):
    """Every place looks at all others and adds what it finds: (B, C, H, W) to the same.

    Source: Vaswani et al., "Attention is all you need", NeurIPS 2017, section 3.2.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(1, channels)
        self.ask = nn.Conv2d(channels, 3 * channels, 1)
        self.answer = nn.Conv2d(channels, channels, 1)
        self.scale = (channels // _HEADS) ** -0.5

    def forward(self, x: Tensor) -> Tensor:
        batch, channels, height, width = x.shape
        asked = self.ask(self.norm(x)).view(batch, 3, _HEADS, channels // _HEADS, height * width)
        query, key, value = asked.unbind(1)
        share = (query.transpose(2, 3) @ key * self.scale).softmax(-1)
        found = (value @ share.transpose(2, 3)).reshape(batch, channels, height, width)
        return x + self.answer(found)


class Head(nn.Module):
    """Coarsest features with their place in the image, each informed by all others."""

    def __init__(self, inputs: int, outputs: int, norm: Norm) -> None:
        super().__init__()
        self.narrow = _decoder_conv(inputs, outputs, 1, norm)
        self.place = nn.Conv2d(2, outputs, 1)
        self.attention = Attention(outputs)
        self.spread = nn.Conv2d(outputs, outputs, 5, padding=2, groups=outputs)
        self.mix = _decoder_conv(outputs, 2 * outputs, 1, norm)
        self.narrow_again = nn.Conv2d(2 * outputs, outputs, 1)

    def forward(self, x: Tensor) -> Tensor:
        # every pixel of (B, C, H, W) its row and column, -1 to 1: (B, 2, H, W)
        height, width = x.shape[2:]
        rows = (torch.arange(height, device=x.device, dtype=x.dtype) + 0.5) * 2 / height - 1
        columns = (torch.arange(width, device=x.device, dtype=x.dtype) + 0.5) * 2 / width - 1
        places = torch.stack(torch.meshgrid(rows, columns, indexing="ij"))
        # of one alone OpenVINO makes a graph for one
        x = self.attention(self.narrow(x) + self.place(places.expand(x.shape[0], -1, -1, -1)))
        return x + self.narrow_again(self.mix(self.spread(x)))


class UpStep(nn.Module):
    """Double the resolution and add features of that stride."""

    def __init__(self, inputs: int, lateral_inputs: int, outputs: int, norm: Norm) -> None:
        super().__init__()
        self.narrow = _decoder_conv(inputs, outputs, 1, norm)
        self.lateral = _decoder_conv(lateral_inputs, outputs, 1, norm)
        self.refine = _decoder_conv(outputs, outputs, 3, norm)

    def forward(self, coarse: Tensor, lateral: Tensor) -> Tensor:
        wide = F.interpolate(self.narrow(coarse), scale_factor=2.0, mode="bilinear")
        return self.refine(wide + self.lateral(lateral))


class ConvexUpsampling(nn.Module):
    """Double the resolution of one map: each new pixel is a weighted mean of the nine old ones around it.

    features: (B, C, H, W). Returns (B, 2 H, 2 W).
    """

    def __init__(self, inputs: int) -> None:
        super().__init__()
        self.coarse = nn.Conv2d(inputs, 1, 3, padding=1)
        self.weigh = nn.Conv2d(inputs, 4 * _NEIGHBOURS, 1)

    def forward(self, features: Tensor) -> Tensor:
        batch, _, height, width = features.shape
        weights = self.weigh(features).view(batch, _NEIGHBOURS, 4, height, width).softmax(1)
        padded = F.pad(self.coarse(features), (1, 1, 1, 1), mode="replicate")
        around = [padded[:, :, y : y + height, x : x + width] for y in range(3) for x in range(3)]
        finer = weights[:, 0] * around[0]
        for neighbour in range(1, _NEIGHBOURS):  # added one by one: ONNX Runtime's sum differs with the batch
            finer = finer + weights[:, neighbour] * around[neighbour]
        return F.pixel_shuffle(finer, 2)[:, 0]


def sharpen(values: Tensor) -> Tensor:
    """Move each value towards the nearer of the extremes around it: (B, H, W) to the same.

    A straight slope stays, and what rises by less than a tenth of the image's range hardly changes; what rises in
    a few pixels from one depth to another becomes a step. Source: Kramer and Bruckner, "Iterations of a non-linear
    transformation for enhancement of digital images", Pattern Recognition 7, 1975; soft here.
    """
    x = values[:, None]
    step = _STEP * (x.amax((2, 3), keepdim=True) - x.amin((2, 3), keepdim=True)).clamp_min(_LEAST)
    for _ in range(2):
        highest, lowest = _spread_highest(x), -_spread_highest(-x)
        rise = highest - lowest
        share = (x - lowest) / rise.clamp_min(1e-6)
        up, down = share * share, (1 - share) * (1 - share)
        up, down = up * up, down * down
        wanted = lowest + rise * (up / (up + down))
        x = x + (wanted - x) * (rise / step).clamp_max(1)
    return x[:, 0]


def _spread_highest(x: Tensor) -> Tensor:
    """Return the highest of 5 x 5 pixels around each."""
    return F.max_pool2d(F.max_pool2d(x, (5, 1), 1, (2, 0)), (1, 5), 1, (0, 2))


class AboveZero(nn.Module):
    """Lift values above the lowest that training has seen, less a margin, and what is lower still to it.

    A shift is nothing to who aligns; who does not drops what is not above 0. In training values stay as they are.
    """

    def __init__(self) -> None:
        super().__init__()
        self.lowest = nn.Buffer(torch.zeros(()))

    def forward(self, values: Tensor) -> Tensor:
        if not self.training:
            return (values - self.lowest).clamp_min(_LEAST)
        low, high = values.detach().float().aminmax()
        seen = low - _MARGIN * (high - low)
        self.lowest.copy_(torch.minimum(seen, self.lowest.lerp(seen, _FORGETTING)))
        return values


class DepthNetwork(nn.Module):
    """Disparity up to factor and shift, larger is nearer; when it is not trained sharpened, and above 0.

    image: float32 (B, 3, H, W) RGB in [0, 1], H and W multiples of 32. Returns float32 (B, H, W).
    norm: of the encoder. decoder_norm: of the rest; `no_norm` for weights of a file that runs, which hold it.
    """

    def __init__(self, norm: Norm = batch_norm, decoder_norm: Norm = batch_norm) -> None:
        super().__init__()
        self.encoder = Encoder(norm)
        finest, *others = _TAPS.values()
        laterals = [*reversed(others), finest + _IMAGE_CHANNELS]
        self.head = Head(_STAGES[-1].outputs, _DECODER_CHANNELS[0], decoder_norm)
        widths = zip(_DECODER_CHANNELS[:-1], laterals, _DECODER_CHANNELS[1:], strict=True)
        self.steps = nn.ModuleList(UpStep(*step, decoder_norm) for step in widths)
        self.output = ConvexUpsampling(_DECODER_CHANNELS[-1])
        self.lift = AboveZero()

    def forward(self, image: Tensor) -> Tensor:
        centred = image * 2 - 1
        coarse, *laterals, finest = self.encoder(centred)
        laterals.append(torch.cat([finest, F.pixel_unshuffle(centred, 2)], 1))
        x = self.head(coarse)
        for step, lateral in zip(self.steps, laterals, strict=True):
            x = step(x, lateral)
        disparity: Tensor = self.output(x)
        lifted: Tensor = self.lift(disparity if self.training else sharpen(disparity))
        return lifted


def parameter_count(network: nn.Module) -> int:
    """Count the numbers that training can change."""
    return sum(parameter.numel() for parameter in network.parameters())


def hold_compact(state: State, name: str) -> DepthNetwork:
    """Return a network that holds a state of its own, with the norms that are in it. name: for people."""
    has_norms = any(key.startswith("encoder.") and ".norm." in key for key in state)
    has_decoder_norms = any(key.startswith("steps.") and key.endswith(".running_var") for key in state)
    network = DepthNetwork(*(batch_norm if each else no_norm for each in (has_norms, has_decoder_norms)))
    try:
        network.load_state_dict({**network.lift.state_dict(prefix="lift."), **state})
    except RuntimeError as error:
        raise ModelLoadError(
            f"{name} holds no weights of {COMPACT}: {str(error).splitlines()[-1].strip()}"
        ) from error
    return network
