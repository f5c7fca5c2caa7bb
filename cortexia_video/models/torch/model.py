"""`TorchModel`: a depth network that torch runs, as a `DepthModel`; and what its networks have in common."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import interpolate, pad

from cortexia_video.depth_map import DepthKind
from cortexia_video.errors import ModelLoadError
from cortexia_video.images.resampling import Filter
from cortexia_video.models.onnx.session import Ports, first_line
from cortexia_video.models.preprocessing import Preprocessing
from cortexia_video.models.torch.checkpoint import Checkpoint
from cortexia_video.models.torch.device import Placement, import_export


class TorchModel:
    """A network (B, 3, H, W) -> (B, h, w) in torch, around which everything is numpy.

    load: gives the network on a placement; ports: what goes in and comes out. It is called again, for
    float32, when an image overflows in half precision; the second network then stays, so both need room.
    Workers resample; the device normalises, so that what waits for a batch, and what is copied, is small
    (8-bit images where the network allows).

    Attributes:
        export_facts: What an exported file says of itself beside what every one does.
    """

    export_facts: Mapping[str, object] = {}

    def __init__(
        self,
        *,
        name: str,
        kind: DepthKind,
        checkpoint: Checkpoint,
        preprocessing: Preprocessing,
        placement: Placement,
        ports: Ports,
        load: Callable[[Placement], nn.Module],
    ) -> None:
        self.name = name
        self.kind = kind
        self.weights_digest = checkpoint.weights_digest
        self.device = placement.name
        self.max_batch: int | None = None
        self.settings: Mapping[str, object] = {
            **preprocessing.describe(),
            **placement.describe(),
            **checkpoint.describe(),
        }
        self._preprocessing = preprocessing
        self._checkpoint = checkpoint
        self._placement = placement
        self._ports = ports
        self._load = load
        self._network = placement.make_ready(load(placement), ports)
        self._network_in_float32: nn.Module | None = None
        self.allocate = placement.allocate
        if placement.is_half:
            self.infer_float32 = self._infer_float32

    def processed_size(self, height: int, width: int) -> tuple[int, int]:
        """Return at what size the network sees an image, as its checkpoint's preprocessing has it."""
        return self._preprocessing.fit(height, width)

    def preprocess(self, image: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[Any]:
        """Resample one uint8 (H, W, 3) image to (h, w, 3), values in 0..255.

        Where the network's preprocessing gives floats they are float32, or float16 for half precision.
        """
        pixels = self._preprocessing.resample(image, size, average_by_torch)
        half = self._placement.is_half and pixels.dtype == np.float32
        return pixels.astype(np.float16) if half else pixels

    def infer(self, batch: NDArray[Any]) -> NDArray[np.float32]:
        """Run the network on images (B, h, w, 3); return float32 (B, h', w')."""
        return self._placement.run_in_parts(partial(self._run, self._network, self._placement), batch)

    def export(self, path: Path, about: Mapping[str, str]) -> tuple[int, int]:
        """Write the network as an ONNX file for the one size that it was loaded for; return (height, width).

        about: more for the file to say of itself. Raises `ModelLoadError` where any size is taken.
        """
        if self._preprocessing.scaling != "exact" or self._preprocessing.size is None:
            multiple_of = self._preprocessing.step
            raise ModelLoadError(
                f"a graph of {self.name} is for one size of image: give it (`size`, height and "
                f"width, multiples of {multiple_of})"
            )
        network, ports, numbers = self._make_exportable()
        size = self._preprocessing.size
        preprocessing = self._preprocessing.describe()
        facts = {
            "kind": self.kind,
            "normalize": preprocessing["normalize"],
            "resampling": preprocessing["resampling"],
            "name": self.name,
            "weights_sha256": self.weights_digest,
            "source": self._checkpoint.hub_id or self._checkpoint.folder.name,
            **({"revision": self._checkpoint.revision} if self._checkpoint.revision else {}),
            **({"numbers": numbers} if numbers else {}),
            **self.export_facts,
            **about,
        }
        metadata = {f"cortexia.{name}": str(value) for name, value in facts.items()}
        import_export().write_graph(network, [torch.zeros(1, 3, *size)], ports, path, metadata)
        return size

    def _make_exportable(self) -> tuple[nn.Module, Ports, str | None]:
        """Return a network that takes pixels alone, what it gives, and what its numbers are if not depth."""
        return self._network, self._ports, None

    def _infer_float32(self, batch: NDArray[Any]) -> NDArray[np.float32]:
        return self._run(self._get_in_float32(), self._placement.in_float32(), batch)

    def _get_in_float32(self) -> nn.Module:
        if self._network_in_float32 is None:
            place = self._placement.in_float32()
            self._network_in_float32 = place.make_ready(self._load(place), self._ports)
        return self._network_in_float32

    def _run(
        self, network: Callable[..., Tensor], placement: Placement, batch: NDArray[Any]
    ) -> NDArray[np.float32]:
        with placement.running():
            depth = network(self.to_input(batch, placement))
        height, width = batch.shape[1:3]
        left, right, top, bottom = self._preprocessing.pad(height, width)
        tall, wide = depth.shape[-2] / (height + top + bottom), depth.shape[-1] / (width + left + right)
        rows, columns = (
            slice(round(before * scale), round((before + side) * scale))
            for before, side, scale in ((top, height, tall), (left, width, wide))
        )
        return placement.to_host(depth[..., rows, columns])

    def to_input(self, batch: NDArray[Any], placement: Placement) -> Tensor:
        """Copy images (B, h, w, 3), 0..255, to the device; there take mean and deviation out, and pad.

        Returns (B, 3, H, W). Scale and shift round one after the other, as `Preprocessing.normalize` does.
        """
        images = placement.to_device(batch)
        scale, shift = (
            torch.from_numpy(each).to(images.device) for each in self._preprocessing.scale_and_shift()
        )
        pixels = (images.to(scale.dtype) * scale).add_(shift).permute(0, 3, 1, 2).to(placement.dtype)
        border = self._preprocessing.pad(*batch.shape[1:3])
        return pad(pixels, border) if any(border) else pixels


def average_by_torch(image: NDArray[np.uint8], height: int, width: int, filter: Filter) -> NDArray[np.uint8]:
    """Resample as `resampling.average_image`, to the same bits, some ten times as fast."""
    writable = image if image.flags.writeable else image.copy()  # torch warns of others
    planes = torch.from_numpy(writable).permute(2, 0, 1)[None]
    small = interpolate(planes, (height, width), mode=filter, antialias=True)
    return small[0].permute(1, 2, 0).contiguous().numpy()


def put_on(placement: Placement, network: nn.Module) -> None:
    """Move a network where it is to run, in its precision, and make it ready for that."""
    network.eval().requires_grad_(False).to(placement.device, placement.dtype)
    if placement.device.type != "mps":
        network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]


def read_pickled(path: Path) -> Any:
    """Read a file of torch's: tensors and plain values, and no other objects. Raises `ModelLoadError`."""
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        reason = first_line(error).partition(". ")[0]
        raise ModelLoadError(
            f"{path} cannot be read as weights of torch ({reason}): it may be cut off; download it again"
        ) from error


def keep_in_float32(module: nn.Module) -> None:
    """Let one module of a network in half precision compute in float32, whatever it is given."""

    def cast(module: nn.Module, arguments: tuple[Any, ...], options: dict[str, Any]) -> tuple[Any, Any]:
        return tuple(map(_to_float32, arguments)), {name: _to_float32(each) for name, each in options.items()}

    module.float()
    module.register_forward_pre_hook(cast, with_kwargs=True)


def _to_float32(value: Any) -> Any:
    """Cast a tensor, or those in a list, to float32; return anything else as it is."""
    if isinstance(value, list | tuple):
        return [_to_float32(each) for each in value]
    return value.float() if isinstance(value, Tensor) and value.is_floating_point() else value
