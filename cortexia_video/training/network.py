"""`DepthNetwork`: a MobileNetV2 encoder and a light decoder, image in, disparity out.

Encoder: Sandler et al., "MobileNetV2: Inverted Residuals and Linear Bottlenecks", CVPR 2018 (table 2, width
1.0), up to stride 32. Stride-2 convolutions pad right and bottom only, as TensorFlow's SAME does on even
sizes, so that weights trained there fit. Decoder: a top-down pyramid with one lateral connection per stride.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from torch import Tensor, nn
from torch.nn import functional as F

STRIDE = 32
"""Height and width of a batch must be multiples of this."""

# expansion, output channels, blocks, stride of the first block
_STAGES = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)
# the last block before each halving: its index, and its channels
_TAPS = {0: 16, 2: 24, 5: 32, 12: 96}
_DECODER_CHANNELS = (192, 128, 96, 64, 32)

Norm = Callable[[int], nn.Module]


def batch_norm(channels: int) -> nn.Module:
    """Normalise by batch: what a network that starts from nothing needs."""
    return nn.BatchNorm2d(channels, momentum=0.03)


def no_norm(channels: int) -> nn.Module:
    """Normalise nothing: for weights that already hold their batch norm."""
    del channels
    return nn.Identity()


class EncoderConv(nn.Module):
    """Convolution, norm and, where asked for, ReLU6; stride 2 pads right and bottom."""

    def __init__(self, convolution: nn.Conv2d, norm: nn.Module, activation: nn.Module) -> None:
        super().__init__()
        self.convolution = convolution
        self.norm = norm
        self.activation = activation

    def forward(self, x: Tensor) -> Tensor:
        if self.convolution.stride == (2, 2):
            x = F.pad(x, (0, 1, 0, 1))
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

    def __init__(self, inputs: int, outputs: int, expansion: int, stride: int, norm: Norm) -> None:
        super().__init__()
        hidden = inputs * expansion
        widen = [_encoder_conv(inputs, hidden, norm)] if expansion > 1 else []
        self.layers = nn.Sequential(
            *widen,
            _encoder_conv(hidden, hidden, norm, kernel=3, stride=stride, groups=hidden),
            _encoder_conv(hidden, outputs, norm, linear=True),
        )
        self.adds_input = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.layers(x)
        return x + y if self.adds_input else y


def _inverted_residuals(norm: Norm) -> Iterator[InvertedResidual]:
    inputs = 32
    for expansion, outputs, count, stride in _STAGES:
        for index in range(count):
            yield InvertedResidual(inputs, outputs, expansion, stride if index == 0 else 1, norm)
            inputs = outputs


class Encoder(nn.Module):
    """MobileNetV2 without its classifier.

    image: float32 (B, 3, H, W) in [-1, 1], H and W multiples of 32.
    Returns features at strides 32, 16, 8, 4 and 2, coarse first.
    """

    def __init__(self, norm: Norm) -> None:
        super().__init__()
        self.stem = _encoder_conv(3, 32, norm, kernel=3, stride=2)
        self.blocks = nn.ModuleList(_inverted_residuals(norm))

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


def _decoder_conv(inputs: int, outputs: int, kernel: int) -> nn.Sequential:
    convolution = nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(outputs, momentum=0.03), nn.ReLU())


class Head(nn.Module):
    """Coarsest features, mixed with their mean over the whole picture."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.narrow = _decoder_conv(inputs, outputs, 1)
        self.context = nn.Conv2d(outputs, outputs, 1)
        self.mix = _decoder_conv(outputs, outputs, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.narrow(x)
        return self.mix(x + self.context(x.mean((2, 3), keepdim=True)))


class UpStep(nn.Module):
    """Double the resolution and add the encoder's features of that stride."""

    def __init__(self, inputs: int, lateral_inputs: int, outputs: int) -> None:
        super().__init__()
        self.narrow = _decoder_conv(inputs, outputs, 1)
        self.lateral = _decoder_conv(lateral_inputs, outputs, 1)
        self.refine = _decoder_conv(outputs, outputs, 3)

    def forward(self, coarse: Tensor, lateral: Tensor) -> Tensor:
        return self.refine(_double(self.narrow(coarse)) + self.lateral(lateral))


def _double(x: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=2.0, mode="bilinear")


class DepthNetwork(nn.Module):
    """Disparity up to factor and shift, larger is nearer.

    image: float32 (B, 3, H, W) RGB in [0, 1], H and W multiples of 32. Returns float32 (B, H, W).
    """

    def __init__(self, norm: Norm = batch_norm) -> None:
        super().__init__()
        self.encoder = Encoder(norm)
        laterals = list(reversed(_TAPS.values()))
        self.head = Head(_STAGES[-1][1], _DECODER_CHANNELS[0])
        widths = zip(_DECODER_CHANNELS[:-1], laterals, _DECODER_CHANNELS[1:], strict=True)
        self.steps = nn.ModuleList(UpStep(*step) for step in widths)
        self.output = nn.Conv2d(_DECODER_CHANNELS[-1], 1, 3, padding=1)

    def forward(self, image: Tensor) -> Tensor:
        coarse, *laterals = self.encoder(image * 2 - 1)
        x = self.head(coarse)
        for step, lateral in zip(self.steps, laterals, strict=True):
            x = step(x, lateral)
        return _double(self.output(x))[:, 0]


def parameter_count(network: nn.Module) -> int:
    """Count the numbers that training can change."""
    return sum(parameter.numel() for parameter in network.parameters())
