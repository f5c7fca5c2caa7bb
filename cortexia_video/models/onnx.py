"""Depth networks in ONNX files, run by ONNX Runtime; the built-in `compact` is one.

A file says what it is in its metadata, every value a string:
  cortexia.kind         what its numbers mean, one of `depth_map.KINDS`
  cortexia.short_side   the short side, in pixels, that a picture is resized to (files with dynamic sizes)
  cortexia.multiple_of  what both sides must be a multiple of
  cortexia.normalize    `imagenet`, `unit` (0..1) or `signed` (-1..1)
Where it does not, options say it.
"""

from __future__ import annotations

import glob
import hashlib
import os
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any, Literal, cast, get_args

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from cortexia_video.depth_map import KINDS, Kind
from cortexia_video.errors import ModelLoadError, ModelOutputError
from cortexia_video.resampling import fit_short_side, resize_image

Normalize = Literal["imagenet", "unit", "signed"]

_MEAN_STD: dict[str, tuple[tuple[float, ...], tuple[float, ...]]] = {
    "imagenet": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),  # Krizhevsky et al.; torchvision's constants
    "unit": ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0)),
    "signed": ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
}
_DTYPES = {"tensor(float)": np.float32, "tensor(float16)": np.float16}


class OnnxModel:
    """A depth network in an ONNX file.

    It takes one input (B, 3, H, W) of RGB and gives depth as (B, h, w) or (B, 1, h, w). Sizes are the file's
    own, or `input_size`: one number for the short side (aspect ratio kept), or (height, width) for a network
    made for one size.

    Raises `ModelLoadError` for a file that is missing, broken, no depth network, or does not say its kind.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        name: str | None = None,
        device: str = "auto",
        kind: str | None = None,
        input_size: int | tuple[int, int] | None = None,
        normalize: str | None = None,
    ) -> None:
        self.path = Path(path).expanduser()
        self.name = name or f"onnx:{self.path.name}"
        self.weights_digest = _digest(self.path)
        self._session, self.device = _open(self.path, device)
        self._metadata = dict(self._session.get_modelmeta().custom_metadata_map)
        self._input = self._check_input()
        self.kind = cast("Kind", self._choose("kind", kind, KINDS, None))
        normalize = self._choose("normalize", normalize, get_args(Normalize), "imagenet")
        self._scale, self._shift = _as_scale_and_shift(normalize)
        self._output = _choose_output([node.name for node in self._session.get_outputs()])
        self.max_batch = self._input.shape[0] if isinstance(self._input.shape[0], int) else None
        self._size = self._choose_size(input_size)
        self._multiple_of = 1 if isinstance(self._size, tuple) else self._metadata_number("multiple_of", 1)
        self.settings = {"input_size": str(self._size), "normalize": normalize}
        self._try_out()

    def processed_size(self, height: int, width: int) -> tuple[int, int]:
        """Give the file's own size, or the nearest to the picture's aspect ratio at the short side."""
        if isinstance(self._size, tuple):
            return self._size
        return fit_short_side(height, width, short_side=self._size, multiple_of=self._multiple_of)

    def preprocess(self, image: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[Any]:
        """Resize and normalise one uint8 (H, W, 3) picture to (3, h, w) of the network's type."""
        pixels = resize_image(image, *size).astype(np.float32)
        pixels *= self._scale
        pixels += self._shift
        dtype = _DTYPES[self._input.type]
        return np.ascontiguousarray(pixels.transpose(2, 0, 1), dtype=dtype)

    def infer(self, batch: NDArray[Any]) -> NDArray[np.float32]:
        """Run the network on (B, 3, h, w); give float32 (B, h', w')."""
        count = batch.shape[0]
        batch = _fill_up(batch, self.max_batch or count)
        output = self._session.run([self._output], {self._input.name: batch})[0]
        if output.ndim == 4 and output.shape[1] == 1:
            output = output[:, 0]
        if output.ndim != 3 or output.shape[0] != batch.shape[0]:
            raise ModelOutputError(
                f"{self.name} gives an array of shape {output.shape} for {batch.shape[0]} pictures: "
                "a depth network gives (B, h, w) or (B, 1, h, w)"
            )
        return np.asarray(output[:count], dtype=np.float32)

    def _check_input(self) -> Any:
        inputs = self._session.get_inputs()
        node = inputs[0] if len(inputs) == 1 else None
        if node is None or len(node.shape) != 4 or node.type not in _DTYPES or node.shape[1] not in (3, "3"):
            seen = ", ".join(f"{each.name} {each.type} {each.shape}" for each in inputs)
            raise ModelLoadError(
                f"{self.path} takes {seen}: a depth network takes one float (B, 3, H, W) picture"
            )
        return node

    def _choose(self, key: str, given: str | None, allowed: tuple[str, ...], default: str | None) -> str:
        said = self._metadata.get(f"cortexia.{key}")
        if given and said and given != said:
            raise ModelLoadError(f"{self.path} says its {key} is {said}, not {given}: leave --{key} out")
        value = given or said or default
        if value is None:
            raise ModelLoadError(
                f"{self.path} does not say its {key}: give it (--{key}, one of {', '.join(allowed)})"
            )
        if value not in allowed:
            raise ModelLoadError(f"unknown {key} {value!r} for {self.path}: use one of {', '.join(allowed)}")
        return value

    def _choose_size(self, given: int | tuple[int, int] | None) -> int | tuple[int, int]:
        """Give (height, width) where one size is fixed, else the short side."""
        height, width = self._input.shape[2:]
        fixed = (height, width) if isinstance(height, int) and isinstance(width, int) else None
        if fixed:
            if given not in (None, fixed, height if height == width else None):
                raise ModelLoadError(
                    f"{self.path} takes {height}x{width} only, not {given}: leave --input-size out"
                )
            return fixed
        if isinstance(given, tuple):
            return given
        short_side = given or self._metadata_number("short_side", 0)
        if short_side < 1:
            raise ModelLoadError(
                f"{self.path} takes any size and does not say which is right: "
                "give it (--input-size 518, or 392x518)"
            )
        return short_side

    def _metadata_number(self, key: str, default: int) -> int:
        text = self._metadata.get(f"cortexia.{key}", str(default))
        if not text.isdecimal():
            raise ModelLoadError(f"{self.path} says cortexia.{key} = {text!r}: a whole number is needed")
        return int(text)

    def _try_out(self) -> None:
        """Run one grey picture, so that a file that cannot work fails before the first input, not on each."""
        image = np.full((64, 64, 3), 128, np.uint8)
        try:
            self.infer(self.preprocess(image, self.processed_size(64, 64))[None])
        except ModelOutputError as error:
            raise ModelLoadError(str(error)) from error
        except Exception as error:
            raise ModelLoadError(f"{self.path} loads but does not run: {_first_line(error)}") from error


def load_compact(name: str, *, device: str = "auto") -> OnnxModel:
    """Load the network that is in the package."""
    with as_file(files("cortexia_video.models") / "compact.onnx") as path:
        return OnnxModel(path, name=name, device=device)


def load_onnx(name: str, *, device: str = "auto", **options: Any) -> OnnxModel:
    """Load `onnx:FILE`; options are those of `OnnxModel`."""
    return OnnxModel(name.removeprefix("onnx:"), device=device, **options)


def _digest(path: Path) -> str:
    """Hash the file, and those beside it that hold its weights: `m.onnx.data`, `m.onnx_data`."""
    digest = hashlib.sha256()
    try:
        for part in [path, *sorted(path.parent.glob(f"{glob.escape(path.name)}[._]data*"))]:
            with part.open("rb") as file:
                digest.update(hashlib.file_digest(file, "sha256").digest())
        return digest.hexdigest()
    except OSError as error:
        raise ModelLoadError(f"cannot read the model {path}: {error.strerror}") from error


def _open(path: Path, device: str) -> tuple[ort.InferenceSession, str]:
    options = ort.SessionOptions()
    options.log_severity_level = 4
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # the workers need the cores
    provider, placed = _choose_provider(device)
    try:
        return ort.InferenceSession(path, options, providers=[provider]), placed
    except Exception as error:
        raise ModelLoadError(
            f"{path} is not a network that ONNX Runtime can load: {_first_line(error)}"
        ) from error


def _choose_provider(device: str) -> tuple[Any, str]:
    available = ort.get_available_providers()
    if device == "auto":
        device = "cuda" if "CUDAExecutionProvider" in available else "cpu"
    family, _, index = device.partition(":")
    wanted = {
        "cpu": "CPUExecutionProvider",
        "cuda": "CUDAExecutionProvider",
        "mps": "CoreMLExecutionProvider",
    }
    if family not in wanted or (index and not index.isdecimal()) or (index and family != "cuda"):
        raise ModelLoadError(f"unknown device {device!r}: use auto, cpu, cuda, cuda:1 or mps")
    if wanted[family] not in available:
        raise ModelLoadError(
            f"device {device!r} cannot be used: this ONNX Runtime is built without it "
            f"(pip install onnxruntime-gpu for cuda, or --device cpu)"
        )
    return (wanted[family], {"device_id": index} if index else {}), device


def _as_scale_and_shift(normalize: str) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Turn (x / 255 - mean) / std into x * scale + shift."""
    mean, std = (np.asarray(each) for each in _MEAN_STD[normalize])
    return (1 / (255 * std)).astype(np.float32), (-mean / std).astype(np.float32)


def _choose_output(names: list[str]) -> str:
    """Choose the output that is called depth or disparity; the first where none is."""
    return next((name for name in names if "depth" in name.lower() or "disp" in name.lower()), names[0])


def _fill_up(batch: NDArray[Any], count: int) -> NDArray[Any]:
    """Repeat the last picture until a network with a fixed batch size has its number."""
    missing = count - batch.shape[0]
    return np.concatenate([batch, np.repeat(batch[-1:], missing, axis=0)]) if missing else batch


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0][:300]
