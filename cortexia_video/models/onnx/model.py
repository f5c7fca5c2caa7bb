"""Depth networks in ONNX files, run by ONNX Runtime or OpenVINO; the built-in `compact` is one.

A file says what it is in its metadata, every value a string:
  cortexia.kind         what its numbers mean, one of `depth_map.KINDS`
  cortexia.short_side   the short side, in pixels, that an image is resized to (files with dynamic sizes)
  cortexia.multiple_of  what both sides must be a multiple of
  cortexia.normalize    `imagenet`, `unit` (0..1), `signed` (-1..1), or `mean R G B std R G B`
  cortexia.resampling   `bilinear` (the default), `bicubic`, `sampled` or `sampled_corners`
  cortexia.numbers      `canonical_inverse_depth`: what it gives becomes metres with the focal length, and
                        its output `fov_deg` (B,) is the horizontal field of view that it estimates
  cortexia.engine       what it was exported for and compared in, with cortexia.precision
  cortexia.licence_weights
Where it does not, options say it.
"""

from __future__ import annotations

import glob
import hashlib
import os
import re
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any, Literal, cast, get_args

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from cortexia_video.depth_map import KINDS, DepthKind
from cortexia_video.errors import ModelLoadError, ModelOutputError, in_words, redact
from cortexia_video.images.resampling import fit_short_side, resize_image, sample_image
from cortexia_video.models.canonical_depth import CANONICAL_INVERSE_DEPTH, to_metres
from cortexia_video.models.onnx.ports import FLOAT32, Port, first_line
from cortexia_video.models.onnx.session import Session, open_session
from cortexia_video.models.protocol import Prediction, as_model_path
from cortexia_video.storage.named_file import open_named

Resampling = Literal["bilinear", "bicubic", "sampled", "sampled_corners"]
Normalize = Literal["imagenet", "unit", "signed"]

_MEAN_STD: dict[str, tuple[tuple[float, ...], tuple[float, ...]]] = {
    "imagenet": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),  # Krizhevsky et al.; torchvision's constants
    "unit": ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0)),
    "signed": ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
}
_DTYPES = ("float32", "float16")
_FOV_DEG = "fov_deg"


class OnnxModel:
    """A depth network in an ONNX file.

    It takes one input (B, 3, H, W) of RGB and gives depth as (B, h, w) or (B, 1, h, w). Sizes are the file's
    own, or `input_size`: one number for the short side (aspect ratio kept), or (height, width) for a network
    made for one size. A file of one size stretches images of another shape to it.

    backend: `onnx` (ONNX Runtime) or `openvino`; without it, what the file was exported for. precision: what
    the backend computes in, `auto` for the fastest. A file of canonical inverse depth is a `CameraModel`.

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
        backend: str | None = None,
        precision: str | None = None,
    ) -> None:
        self.path = as_model_path(path)
        self.name = name or redact(f"onnx:{self.path.name}")  # a download can be called like its URL
        self.weights_digest = _digest(self.path)
        self._session, self.backend = _open(self.path, backend, device, precision)
        self._metadata = self._session.metadata
        self.device = self._session.device
        self._input = self._check_input()
        self.kind = cast("DepthKind", self._choose("kind", kind, KINDS, None))
        self._normalize = self._choose_normalize(normalize)
        self._scale, self._shift = _as_scale_and_shift(self._normalize)
        self._resampling = self._choose("resampling", None, get_args(Resampling), "bilinear")
        self._output = self._choose_output()
        self.max_batch = self._input.shape[0]
        self._size = self._choose_size(input_size)
        self._multiple_of = 1 if isinstance(self._size, tuple) else self._metadata_number("multiple_of", 1)
        if self._metadata.get("cortexia.numbers") == CANONICAL_INVERSE_DEPTH:
            self.to_depth = to_metres
        self._try_out()

    @property
    def settings(self) -> dict[str, object]:
        """Return what depth depends on, beside the weights; what is usual is left out."""
        usual = {"resampling": "bilinear", "backend": "onnx", "precision": FLOAT32}
        chosen = {
            "resampling": self._resampling,
            "backend": self.backend,
            "precision": self._session.precision,
        }
        unusual = {name: value for name, value in chosen.items() if value != usual[name]}
        return {"input_size": str(self._size), "normalize": self._normalize, **unusual}

    def processed_size(self, height: int, width: int) -> tuple[int, int]:
        """Return the file's own size, or the nearest to the image's aspect ratio at the short side."""
        if isinstance(self._size, tuple):
            return self._size
        return fit_short_side(height, width, short_side=self._size, multiple_of=self._multiple_of)

    def preprocess(self, image: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[Any]:
        """Resize and normalise one uint8 (H, W, 3) image to (3, h, w) of the network's type."""
        pixels = self._resample(image, size).astype(np.float32, copy=False)
        pixels *= self._scale
        pixels += self._shift
        return np.ascontiguousarray(pixels.transpose(2, 0, 1), dtype=self._input.dtype)

    def infer(self, batch: NDArray[Any], *, estimate_fov: bool = False) -> NDArray[np.float32] | Prediction:
        """Run the network on (B, 3, h, w); give float32 (B, h', w'), with `estimate_fov` a `Prediction`."""
        count = batch.shape[0]
        batch = _fill_up(batch, self.max_batch or count)
        wanted = [self._output, _FOV_DEG] if estimate_fov else [self._output]
        output, *fov_deg = self._session.run(wanted, {self._input.name: batch})
        values = self._check_output(output, len(batch))[:count]
        return Prediction(values, fov_deg[0][:count]) if fov_deg else values

    def _resample(self, image: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[Any]:
        if self._resampling.startswith("sampled"):
            return sample_image(image, *size, corners=self._resampling == "sampled_corners")
        if self._resampling == "bicubic":
            height, width = size
            return np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.BICUBIC))
        return resize_image(image, *size)

    def _check_output(self, output: NDArray[Any], count: int) -> NDArray[np.float32]:
        if output.ndim == 4 and output.shape[1] == 1:
            output = output[:, 0]
        if output.ndim != 3 or output.shape[0] != count:
            raise ModelOutputError(
                f"{self.name} gives an array of shape {output.shape} for {count} images: "
                "a depth network gives (B, h, w) or (B, 1, h, w)"
            )
        return np.asarray(output, dtype=np.float32)

    def _check_input(self) -> Port:
        inputs = self._session.inputs
        node = inputs[0] if len(inputs) == 1 else None
        if node is None or len(node.shape) != 4 or node.dtype not in _DTYPES or node.shape[1] != 3:
            seen = ", ".join(f"{each.name} {each.dtype} {each.shape}" for each in inputs)
            raise ModelLoadError(
                f"{self.path} takes {seen}: a depth network takes one float (B, 3, H, W) image"
            )
        return node

    def _choose(self, key: str, given: str | None, allowed: tuple[str, ...], default: str | None) -> str:
        said = self._metadata.get(f"cortexia.{key}")
        if given and said and given != said:
            raise ModelLoadError(f"{self.path} says its {key} is {said}, not {given}: leave `{key}` out")
        value = given or said or default
        if value is None:
            raise ModelLoadError(
                f"{self.path} does not say its {key}: give it (`{key}`, one of {', '.join(allowed)})"
            )
        if value not in allowed:
            raise ModelLoadError(f"unknown {key} {value!r} for {self.path}: use one of {', '.join(allowed)}")
        return value

    def _choose_normalize(self, given: str | None) -> str:
        said = self._metadata.get("cortexia.normalize", "")
        if given is None and said.startswith("mean "):
            return said
        return self._choose("normalize", given, get_args(Normalize), "imagenet")

    def _choose_output(self) -> str:
        """Choose the output that is called depth or disparity; the first where none is."""
        names = [port.name for port in self._session.outputs]
        if not names:
            raise ModelLoadError(f"{self.path} gives nothing: a depth network gives depth")
        return next((name for name in names if "depth" in name.lower() or "disp" in name.lower()), names[0])

    def _choose_size(self, given: int | tuple[int, int] | None) -> int | tuple[int, int]:
        """Return (height, width) where one size is fixed, else the short side."""
        height, width = self._input.shape[2:]
        fixed = (height, width) if isinstance(height, int) and isinstance(width, int) else None
        if fixed:
            if given not in (None, fixed, height if height == width else None):
                raise ModelLoadError(
                    f"{self.path} takes {height}x{width} only, not {given}: leave `input_size` out"
                )
            return fixed
        if isinstance(given, tuple):
            return given
        short_side = given or self._metadata_number("short_side", 0)
        if short_side < 1:
            raise ModelLoadError(
                f"{self.path} takes any size and does not say which is right: "
                "give it, such as `input_size=518`"
            )
        return short_side

    def _metadata_number(self, key: str, default: int) -> int:
        text = self._metadata.get(f"cortexia.{key}", str(default))
        if not text.isdecimal():
            raise ModelLoadError(f"{self.path} says cortexia.{key} = {text!r}: a whole number is needed")
        return int(text)

    def _try_out(self) -> None:
        """Run one grey image, so that a file that cannot work fails before the first input, not on each."""
        image = np.full((64, 64, 3), 128, np.uint8)
        try:
            self.infer(self.preprocess(image, self.processed_size(64, 64))[None])
        except ModelOutputError as error:
            raise ModelLoadError(str(error)) from error
        except Exception as error:
            raise ModelLoadError(f"{self.path} loads but does not run: {first_line(error)}") from error


def load_compact(
    name: str, *, device: str = "auto", backend: str | None = None, precision: str | None = None
) -> OnnxModel:
    """Load the network that is in the package."""
    with as_file(files("cortexia_video.models") / "compact.onnx") as path:
        return OnnxModel(path, name=name, device=device, backend=backend, precision=precision)


def load_onnx(name: str, *, device: str = "auto", **options: Any) -> OnnxModel:
    """Load `onnx:FILE`; options are those of `OnnxModel`."""
    return OnnxModel(name.removeprefix("onnx:"), device=device, **options)


def read_licence(name: str) -> str | None:
    """Return the licence of its weights that the file of `onnx:FILE` names."""
    session = open_session(as_model_path(name.removeprefix("onnx:")), "onnx", device="cpu", precision="auto")
    return session.metadata.get("cortexia.licence_weights")


def _digest(path: Path) -> str:
    """Hash the file, and those beside it that hold its weights: `m.onnx.data`, `m.onnx_data`."""
    digest = hashlib.sha256()
    with in_words(f"cannot read the model {path}", kind=ModelLoadError, of=OSError):
        for part in [path, *sorted(path.parent.glob(f"{glob.escape(path.name)}[._]data*"))]:
            with open_named(part) as file:
                digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()


def _open(path: Path, backend: str | None, device: str, precision: str | None) -> tuple[Session, str]:
    """Open a file in the backend that is asked for, or else the one it was exported for; say which."""
    if backend is None:
        session = open_session(path, "onnx", device, "auto")
        backend = session.metadata.get("cortexia.engine", "onnx")
        precision = precision or session.metadata.get("cortexia.precision")
        if backend == "onnx" and precision in (None, "auto", session.precision):
            return session, backend
    return open_session(path, backend, device, precision or "auto"), backend


def _as_scale_and_shift(normalize: str) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Turn (x / 255 - mean) / std into x * scale + shift, three numbers each."""
    mean, std = (np.asarray(each) for each in _MEAN_STD.get(normalize) or _parse_mean_and_std(normalize))
    return (1 / (255 * std)).astype(np.float32), (-mean / std).astype(np.float32)


def _parse_mean_and_std(text: str) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Read `mean R G B std R G B`."""
    match = re.fullmatch(r"mean (\S+) (\S+) (\S+) std (\S+) (\S+) (\S+)", text)
    try:
        numbers = [float(each) for each in match.groups()] if match else []
    except ValueError:
        numbers = []
    if len(numbers) != 6 or not min(numbers[3:]) > 0:
        raise ModelLoadError(f"cortexia.normalize = {text!r} is not like 'mean 0.5 0.5 0.5 std 0.5 0.5 0.5'")
    return tuple(numbers[:3]), tuple(numbers[3:])


def _fill_up(batch: NDArray[Any], count: int) -> NDArray[Any]:
    """Repeat the last image until a network with a fixed batch size has its number."""
    missing = count - batch.shape[0]
    return np.concatenate([batch, np.repeat(batch[-1:], missing, axis=0)]) if missing else batch
