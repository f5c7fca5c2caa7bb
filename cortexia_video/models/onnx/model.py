"""Depth networks in ONNX files, run by ONNX Runtime or OpenVINO; the built-in `compact` is one."""

from __future__ import annotations

import glob
import hashlib
import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast, get_args

import numpy as np
from numpy.typing import NDArray

from cortexia_video.depth_map import KINDS, DepthKind
from cortexia_video.errors import ModelLoadError, ModelOutputError, in_words, redact
from cortexia_video.models.canonical_depth import CANONICAL_INVERSE_DEPTH, to_metres
from cortexia_video.models.onnx.coverage import covers, find_step
from cortexia_video.models.onnx.metadata import Metadata
from cortexia_video.models.onnx.ports import FLOAT32, Port, choose_output, first_line
from cortexia_video.models.onnx.session import Session, open_session
from cortexia_video.models.preprocessing import Preprocessing, Resampling, read_normalization
from cortexia_video.models.protocol import InputSize, Prediction, as_model_path
from cortexia_video.models.registry import compact_file
from cortexia_video.storage.named_file import open_named

_DTYPES = ("float32", "float16")
_FOV_DEG = "fov_deg"

_log = logging.getLogger(__name__)


class OnnxModel:
    """A depth network in an ONNX file.

    It takes one input (B, 3, H, W) of RGB and gives depth as (B, h, w) or (B, 1, h, w). A file of one size
    stretches images of another shape to it. A file of canonical inverse depth is a `CameraModel`.

    Args:
        path: Of the file.
        name: By which it goes; by default `onnx:` and the file's.
        device: As `load_model` takes it.
        kind: What its values mean. This and what follows is for files that do not say it themselves.
        input_size: One number for the short side (aspect ratio kept), or (height, width).
        multiple_of: What both sides must be multiples of, where any size is taken; else it is found by trying.
        normalize: As `cortexia.normalize`; by default `imagenet`.
        output_name: Which output is depth, where names leave that open.
        backend: `onnx` (ONNX Runtime) or `openvino`; by default what the file was exported for.
        precision: What the backend computes in, `auto` for the fastest.

    Raises:
        ModelLoadError: The file is missing, broken, no depth network, or does not say what is needed.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        name: str | None = None,
        device: str = "auto",
        kind: str | None = None,
        input_size: InputSize | None = None,
        multiple_of: int | None = None,
        normalize: str | None = None,
        output_name: str | None = None,
        backend: str | None = None,
        precision: str | None = None,
    ) -> None:
        self.path = as_model_path(path)
        self.name = name or redact(f"onnx:{self.path.name}")  # a download can be called like its URL
        self.weights_digest = _digest(self.path)
        self._session, self.backend = _open(self.path, backend, device, precision)
        self.device = self._session.device
        self._input = _find_input(self._session.inputs, self.path)
        self.max_batch = self._input.shape[0]
        says = Metadata(self.path, self._session.metadata)
        self.kind = cast("DepthKind", says.choose("kind", kind, allowed=KINDS))
        normalize = says.choose("normalize", normalize, "imagenet")
        resampling = says.choose("resampling", None, "reduced", allowed=get_args(Resampling))
        outputs, named = self._session.outputs, says.choose("output_name", output_name, "")
        self._output = choose_output(outputs, self.kind, named or None, self.path)
        size = says.choose_size(self._input, input_size)
        step = says.choose_step(size, multiple_of)
        mean, std = read_normalization(normalize)
        self._preprocessing = Preprocessing(
            size=(size, size) if isinstance(size, int) else size,
            multiple_of=step or 1,
            resampling=cast("Resampling", resampling),
            mean=mean,
            std=std,
            scaling="short_side" if isinstance(size, int) else "exact",
        )
        self._scale: tuple[float, float] | None = None
        try:  # so that a file that cannot work fails before the first input, not on each
            if not step and isinstance(size, int):
                step, self._scale = find_step(self._try_size, self.path)
                self._preprocessing = replace(self._preprocessing, multiple_of=step)
                if step > 1:
                    _log.info("%s: sides must be multiples of %d, as trying shows", self.name, step)
            self._try_size(*self.processed_size(64, 64))
        except ModelLoadError:
            raise
        except ModelOutputError as error:
            raise ModelLoadError(str(error)) from error
        except Exception as error:
            raise ModelLoadError(f"{self.path} loads but does not run: {first_line(error)}") from error
        settings: dict[str, object] = {"input_size": str(size), "normalize": normalize}
        if step > 1 and not says.get("multiple_of"):
            settings["multiple_of"] = step
        if says.get("numbers") == CANONICAL_INVERSE_DEPTH:
            self.to_depth = to_metres
        elif len(outputs) > 1:
            settings["output_name"] = self._output
            names = ", ".join(port.name for port in outputs)
            _log.info("%s: depth is its output %s, of %s", self.name, self._output, names)
        usual = {"resampling": "reduced", "backend": "onnx", "precision": FLOAT32}
        chosen = {"resampling": resampling, "backend": self.backend, "precision": self._session.precision}
        settings |= {key: value for key, value in chosen.items() if value != usual[key]}
        self.settings: Mapping[str, object] = settings

    def processed_size(self, height: int, width: int) -> tuple[int, int]:
        """Return the file's own size, or the nearest to the image's aspect ratio at the short side."""
        return self._preprocessing.fit(height, width)

    def preprocess(self, image: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[Any]:
        """Resize and normalise one uint8 (H, W, 3) image to (3, h, w) of the network's type."""
        pixels = self._preprocessing.normalize(self._preprocessing.resample(image, size))
        return np.ascontiguousarray(pixels.transpose(2, 0, 1), dtype=self._input.dtype)

    def infer(self, batch: NDArray[Any], *, estimate_fov: bool = False) -> NDArray[np.float32] | Prediction:
        """Run the network on (B, 3, h, w); return float32 (B, h', w'), with `estimate_fov` a `Prediction`."""
        count = len(batch)
        missing = (self.max_batch or count) - count  # of a fixed batch: its last image again
        if missing:
            batch = np.concatenate([batch, np.repeat(batch[-1:], missing, axis=0)])
        wanted = [self._output, _FOV_DEG] if estimate_fov else [self._output]
        output, *fov_deg = self._session.run(wanted, {self._input.name: batch})
        if output.ndim == 4 and output.shape[1] == 1:
            output = output[:, 0]
        if output.ndim != 3 or len(output) != len(batch):
            raise ModelOutputError(
                f"{self.name} gives an array of shape {output.shape} for {len(batch)} images: "
                "a depth network gives (B, h, w) or (B, 1, h, w)"
            )
        seen, given = batch.shape[2:], output.shape[1:]
        if not covers(seen, given, self._scale):
            raise ModelOutputError(
                f"{self.name} gives depth of {given[0]}x{given[1]} for an input of {seen[0]}x{seen[1]}: it "
                "leaves a part out; give what sides must be multiples of (`multiple_of`, such as 14 or 32), "
                "or another `input_size`"
            )
        values = np.asarray(output, dtype=np.float32)[:count]
        return Prediction(values, fov_deg[0][:count]) if fov_deg else values

    def _try_size(self, height: int, width: int) -> tuple[int, ...]:
        """Run one grey image of this size; return the size of the output."""
        grey = self._preprocessing.normalize(np.full((height, width, 3), 128, np.float32))
        output = self.infer(grey.transpose(2, 0, 1)[None].astype(self._input.dtype))
        return np.shape(output)[1:]


def load_compact(
    name: str, *, device: str = "auto", backend: str | None = None, precision: str | None = None
) -> OnnxModel:
    """Load the network that is in the package."""
    return OnnxModel(compact_file(), name=name, device=device, backend=backend, precision=precision)


def load_onnx(name: str, *, device: str = "auto", **options: Any) -> OnnxModel:
    """Load `onnx:FILE`; options are those of `OnnxModel`."""
    return OnnxModel(name.removeprefix("onnx:"), device=device, **options)


def read_licence(name: str) -> str | None:
    """Return the licence of its weights that the file of `onnx:FILE` names."""
    session = open_session(as_model_path(name.removeprefix("onnx:")), "onnx", device="cpu", precision="auto")
    return session.metadata.get("cortexia.licence_weights")


def _find_input(inputs: Sequence[Port], path: Path) -> Port:
    port = inputs[0] if len(inputs) == 1 else None
    if port is None or len(port.shape) != 4 or port.dtype not in _DTYPES or port.shape[1] != 3:
        seen = ", ".join(f"{each.name} {each.dtype} {each.shape}" for each in inputs)
        raise ModelLoadError(f"{path} takes {seen}: a depth network takes one float (B, 3, H, W) image")
    return port


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
        backend = session.metadata.get("cortexia.backend", "onnx")
        precision = precision or session.metadata.get("cortexia.precision")
        if backend == "onnx" and precision in (None, "auto", session.precision):
            return session, backend
    return open_session(path, backend, device, precision or "auto"), backend
