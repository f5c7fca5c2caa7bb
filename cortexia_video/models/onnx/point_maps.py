"""`OnnxPointMaps`: MoGe-2 in an ONNX file, the authors' or one that `export` wrote. It needs no torch.

Such a file takes an `image` (B, 3, H, W), 0..1, and, where it takes any size, `num_tokens`; it gives `points`
(B, H, W, 3), `mask` (B, H, W), `metric_scale` (B,), and perhaps `normal` (B, H, W, 3).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cortexia_video.depth_map import DepthKind
from cortexia_video.errors import ModelLoadError, ModelOutputError
from cortexia_video.frame import Frame
from cortexia_video.images.resampling import fit_short_side
from cortexia_video.models.onnx.session import OpenedFile, Session, first_line, name_file
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
from cortexia_video.models.preprocessing import UNIT, Preprocessing, choose_fixed_size
from cortexia_video.models.protocol import InputSize, Prediction

_IMAGE, _TOKENS = "image", "num_tokens"
_OUTPUTS = (POINTS, MASK, METRIC_SCALE)
_USUAL_TOKENS = 3600  # the most that the authors' models were trained with, and what their code takes
_TRIED = (4 * PATCH, 6 * PATCH)


def gives_points(session: Session) -> bool:
    """Return whether a graph gives affine points and their scale."""
    return {*_OUTPUTS} <= {port.name for port in session.outputs}


class OnnxPointMaps:
    """A network of affine points in an ONNX file, as a `DepthModel` that takes what is known of the camera.

    A file of one size stretches images of another shape to it. One of any size is fed an image of the shape it
    has, as large as its tokens need, since it averages nothing where it shrinks.

    Args:
        path: Of the file.
        opened: The file, as `open_file` opened it.
        input_size: The short side, or (height, width), in place of 3600 tokens of 14 x 14 pixels.
        kind: `metric`, where it is said.

    Raises:
        ModelLoadError: The file does not take or give what such a network does.
    """

    kind: DepthKind = "metric"

    def __init__(
        self, path: Path, *, opened: OpenedFile, input_size: InputSize | None = None, kind: str = "metric"
    ) -> None:
        self.name = name_file(path)
        self.weights_digest, self._session = opened.weights_digest, opened.session
        self.device = self._session.device
        ports = {port.name: port for port in self._session.inputs}
        image = ports.get(_IMAGE)
        if image is None or len(image.shape) != 4 or {*ports} - {_IMAGE, _TOKENS}:
            raise ModelLoadError(
                f"{path} gives points and takes {', '.join(ports)}: a network of point maps takes {_IMAGE} "
                f"(B, 3, H, W) and perhaps {_TOKENS}"
            )
        if kind != "metric":
            raise ModelLoadError(f"{path} gives metres, not {kind}: leave `kind` out")
        self._image, self._tokens = image, ports.get(_TOKENS)
        fixed = image.shape[2:]
        self._size: InputSize | None = input_size
        if None not in fixed:
            self._size = choose_fixed_size(path, (fixed[0] or 0, fixed[1] or 0), input_size)
        # graphs of any size were exported with one image, and hold for that
        self.max_batch = 1 if self._tokens else image.shape[0]
        self.maps = ("normals", "mask") if NORMALS in {p.name for p in self._session.outputs} else ("mask",)
        self._preprocessing = Preprocessing(None, PATCH, "bilinear", *UNIT)
        size = "x".join(map(str, self._size)) if isinstance(self._size, tuple) else self._size
        said: dict[str, object] = {"input_size": f"{size or f'{_USUAL_TOKENS} tokens'}"}
        self.settings: Mapping[str, object] = {**said, **opened.settings}
        self._try(path)

    def processed_size(self, height: int, width: int) -> tuple[int, int]:
        """Return the file's own size, or one of the image's shape that has as many tokens as are asked for."""
        if isinstance(self._size, tuple):
            return self._size
        if self._size:
            return fit_short_side(height, width, short_side=self._size, multiple_of=PATCH)
        short = PATCH * min(fit_tokens(height, width, _USUAL_TOKENS))
        shape = (short * height / min(height, width), short * width / min(height, width))
        return min(round(shape[0]), PATCH * _USUAL_TOKENS), min(round(shape[1]), PATCH * _USUAL_TOKENS)

    def preprocess(self, image: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[Any]:
        """Resample one uint8 (H, W, 3) image whose focal length is not known; see `pack_input`."""
        return self._pack(image, size, None)

    def preprocess_frame(self, frame: Frame, size: tuple[int, int]) -> NDArray[Any]:
        """Resample a frame's image, and keep its focal length beside it."""
        return self._pack(frame.image, size, find_fov(frame))

    def infer(self, batch: NDArray[Any], *, also: Collection[str] = ()) -> Prediction:
        """Run the network on inputs (B, 1) of `pack_input`; return metres, mask, field of view, and normals."""
        count = len(batch)
        pixels = batch["pixels"][:, 0]
        missing = (self.max_batch or count) - count  # of a fixed batch: its last image again
        if missing:
            pixels = np.concatenate([pixels, np.repeat(pixels[-1:], missing, axis=0)])
        inputs: dict[str, NDArray[Any]] = {_IMAGE: np.ascontiguousarray(pixels)}
        height, width = pixels.shape[2:]
        if self._tokens:
            tokens = _USUAL_TOKENS if self._size is None else max(1, round(height * width / PATCH**2))
            inputs[_TOKENS] = np.full([1] * len(self._tokens.shape), tokens, np.int64)
        names = [*_OUTPUTS, *([NORMALS] if "normals" in also else [])]
        given = dict(zip(names, self._session.run(names, inputs), strict=True))
        shape = (len(pixels), height, width)
        wanted = {POINTS: (*shape, 3), NORMALS: (*shape, 3), MASK: shape, METRIC_SCALE: shape[:1]}
        return to_prediction(batch, *(self._check(name, given[name], wanted[name])[:count] for name in names))

    def _pack(self, image: NDArray[np.uint8], size: tuple[int, int], fov_deg: float | None) -> NDArray[Any]:
        planes = self._preprocessing.apply(image, size).astype(self._image.dtype, copy=False)
        return pack_input(planes, size[1] / size[0], fov_deg)  # what the network is shown is its image

    def _check(self, name: str, values: NDArray[Any], shape: tuple[int, ...]) -> NDArray[np.float32]:
        """Return an output as float32, at whatever size its maps have."""
        values = np.asarray(values, np.float32)
        if values.ndim != len(shape) or len(values) != shape[0] or values.shape[3:] != shape[3:]:
            raise ModelOutputError(
                f"{self.name} gives {name} of shape {values.shape}: a network of point maps gives {shape}"
            )
        return values

    def _try(self, path: Path) -> None:
        """Run one grey image, so that a file that cannot work fails before the first input."""
        size = self._size if isinstance(self._size, tuple) else _TRIED
        kept, self._size = self._size, size
        try:
            self.infer(self.preprocess(np.full((*size, 3), 128, np.uint8), size)[None])
        except ModelOutputError as error:
            raise ModelLoadError(str(error)) from error
        except Exception as error:
            raise ModelLoadError(f"{path} loads but does not run: {first_line(error)}") from error
        finally:
            self._size = kept
