"""The seam: `DepthModel`, three methods over numpy arrays, and `ModelInfo`, what is said about one."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from cortexia_video.depth_map import DepthKind
from cortexia_video.errors import ModelLoadError

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:/")

MAPS = ("normals", "mask", "confidence")  # that a model may give beside depth
AUTO, REFERENCE = (
    "auto",
    "reference",
)  # as a backend: a model's own way to be run; its first backend, in float32
CommercialOnly = bool | Literal["strict"]
InputSize = int | tuple[int, int]  # of a network: the short side, or height and width


class Window(NamedTuple):
    """How a network that sees frames of a clip together takes a long one, window by window.

    frames: of a window. carried: which of a window's frames begin the next one. fitted: how many of these tell scale
    and shift of relative depth; over the others, which must be a window's last, its depth is blended into the next's.
    """

    frames: int
    carried: tuple[int, ...]
    fitted: int

    @property
    def step(self) -> int:
        """Return how many frames each window adds."""
        return self.frames - len(self.carried)

    @property
    def blended(self) -> int:
        """Return over how many frames one window's depth is blended into the next's."""
        return len(self.carried) - self.fitted


class DepthModel(Protocol):
    """A network that turns images into depth. Outside this package nobody sees its tensors.

    More is looked for. `infer_float32`, like `infer`: a model that computes in half precision runs an image
    whose values overflowed again by it. `allocate(shape, dtype)`: memory for a batch that its device reads
    faster than what numpy gives. `maps`: which of `MAPS` it can give beside depth. Where normals or confidence
    are asked for, `infer` and `infer_float32` get their names, `also=frozenset({"normals"})`, and give a
    `Prediction` that has them; where they are not, no `also`. A mask needs no asking: it says what the depth is.
    `preprocess_frame(frame, size)`, called in place of `preprocess`: for a network whose depth depends on more of
    a frame than its pixels, such as its focal length, which its input then holds. `takes_sparse`: True of one that
    completes `Frame.sparse`, which it then needs, and from which its metres are. `takes_averaged`: True of one that
    sees images averaged to its size, whoever does it: frames of videos are then read so small. `window`, a
    `Window`: of a network that sees frames of a clip together. It takes images, and of clips windows of them
    (B, frames, h, w, 3), of which it gives the maps one below the other, (B, frames h, w); its `max_batch` counts
    windows.

    Attributes:
        name: As it was asked for.
        kind: What its values mean.
        weights_digest: SHA-256 of the weights, hexadecimal; tells two versions of one name apart.
        device: Where it runs, for people.
        max_batch: The most images in one call, or None.
        settings: What else its values depend on (size, normalisation ...): other settings, other depth.
    """

    name: str
    kind: DepthKind
    weights_digest: str
    device: str
    max_batch: int | None
    settings: Mapping[str, object]

    def processed_size(self, height: int, width: int) -> tuple[int, int]:
        """Return at what size the network sees an image.

        Args:
            height: Of the image, pixels.
            width: Of the image, pixels.

        Returns:
            Height and width in pixels.
        """
        ...

    def preprocess(self, image: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[Any]:
        """Turn an image into the network's input.

        Runs on worker threads. Images whose inputs have one shape and type can share a batch.

        Args:
            image: uint8 (H, W, 3) RGB, upright; it stays as it is.
            size: (height, width) that `processed_size` gave, pixels.

        Returns:
            A new array of any shape and type.
        """
        ...

    def infer(self, batch: NDArray[Any]) -> NDArray[np.float32] | Prediction:
        """Run the network on stacked inputs.

        Runs on one thread. No image's result may depend on the others in the batch. The result is a new
        array, since it is read while the next batch runs, and the batch stays as it is, since parts of it may
        be run again.

        Args:
            batch: (B, ...), inputs that `preprocess` gave.

        Returns:
            float32 (B, h, w) of `kind`, or a `Prediction`.
        """
        ...


class Prediction(NamedTuple):
    """What a network tells of a batch. All arrays are as large as `values`; what it does not tell is None.

    values: float32 (B, h, w), of any number where they are not valid. fov_deg: float (B,), horizontal field of
    view of each image, degrees; a `CameraModel` gives it when it was asked, others may always. valid: bool
    (B, h, w), False where depth is unknown. sky: bool (B, h, w), True where there is nothing to measure.
    confidence: float32 (B, h, w), larger is surer, in a unit of the model's own. normals: float32 (B, h, w, 3),
    unit vectors in OpenCV's axes (x right, y down, z forward) towards the camera: z < 0 in the middle.
    """

    values: NDArray[np.float32]
    fov_deg: NDArray[np.floating[Any]] | None = None
    valid: NDArray[np.bool_] | None = None
    sky: NDArray[np.bool_] | None = None
    confidence: NDArray[np.float32] | None = None
    normals: NDArray[np.float32] | None = None


class CameraModel(Protocol):
    """A `DepthModel` whose numbers become depth only with the focal length, which it can estimate.

    It has the members of a `DepthModel`; having `to_depth` is what tells it apart. `infer` gives numbers that
    are finite, not negative and may be interpolated. They are brought to the size that is asked for, and
    `to_depth` then makes depth of them. Images with and without a focal length never share a batch, so a
    network has to estimate nothing where all is known. `infer_float32`, where there is one, takes
    `estimate_fov` as well. One that cannot estimate it says `estimates_fov = False`, and neither takes it: images
    without a focal length then fail.
    """

    def infer(self, batch: NDArray[Any], *, estimate_fov: bool = False) -> NDArray[np.float32] | Prediction:
        """As `DepthModel.infer`; with `estimate_fov` give a `Prediction`. Runs on one thread."""
        ...

    def to_depth(self, values: NDArray[np.float32], fov_deg: float) -> NDArray[np.float32]:
        """Turn numbers of `infer`, float32 (H, W) at any size, into depth of `kind`; may write into them.

        fov_deg: horizontal field of view of the image, degrees; an image's does not change with its size.
        Metres must be proportional to the focal length, 1 / tan(fov_deg / 2): `convert` takes them so.
        Runs on worker threads.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelInfo:
    """One row of the table of models: what a person must know before using one.

    Attributes:
        name: By which it is asked for.
        summary: For people.
        kind: What its values mean, or None where the file or the user says.
        licence_code: SPDX name.
        licence_weights: SPDX name.
        commercial: Whether the weights may be used in a product, None where the file says.
        weights: Where they come from.
        size: Of a download, as "1.3 GB", or "".
        trained_from: Data and other networks that the weights were made with, as far as is published, and where
            that stands; "unknown" where nothing is.
        free_training: Whether all of that may be used in a product; None where it is not known.
        needs: What to `pip install`, or "" if nothing.
        load: A function `load(name, *, device, **options) -> DepthModel`, or where it is, as
            "module:function".
        hub_id: Where on huggingface.co weights are downloaded from.
        revision: Of these; by default its main.
        read_licence: For a row that stands for many checkpoints, a function `read_licence(name)` that says
            what licence one of them names, or None; a function or "module:function".
        read_trained_from: The same for what its weights were made with.
        backends: What can run it, as its option `backend` takes them; in float32 the first is what the others
            are compared with.
    """

    name: str
    summary: str
    kind: DepthKind | None
    licence_code: str
    licence_weights: str
    commercial: bool | None
    weights: str
    needs: str
    load: str | Callable[..., DepthModel]
    hub_id: str | None = None
    revision: str | None = None
    read_licence: str | Callable[[str], str | None] | None = None
    read_trained_from: str | Callable[[str], str | None] | None = None
    backends: tuple[str, ...] = ()
    size: str = ""
    trained_from: str = "unknown"
    free_training: bool | None = None


def as_model_path(name: str | os.PathLike[str]) -> Path:
    """Return the path of a model's file or folder; `ModelLoadError` for a URL: none is fetched."""
    path = Path(name).expanduser()
    if _URL.match(os.fspath(name)) and not path.exists():
        raise ModelLoadError(f"a model is a path, not a URL: {name}; download it first")
    return path
