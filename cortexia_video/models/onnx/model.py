"""Depth networks in ONNX files, run by ONNX Runtime or OpenVINO; the built-in `compact` is one.

What a file says of itself (`metadata_props`), and options where it does not; every value is a string:
  cortexia.kind         what its values mean, one of `depth_map.KINDS`
  cortexia.output_name  which of its outputs is depth
  cortexia.short_side   the short side, in pixels, that an image is resized to (files with dynamic sizes)
  cortexia.multiple_of  what both sides must be a multiple of
  cortexia.normalize    `imagenet`, `unit` (0..1), `signed` (-1..1), `bytes` (0..255), or
                        `mean R G B std R G B` of colours in 0..1
  cortexia.resampling   as `Preprocessing` has it; `reduced` is the default
  cortexia.numbers      `canonical_inverse_depth`: what it gives becomes metres with the focal length, and
                        its output `fov_deg` (B,) is the horizontal field of view that it estimates;
                        `canonical:300`: metres are what it gives, times the focal length in pixels of its
                        input, over 300; without an output `fov_deg` that must be known
  cortexia.sky          from what number on of its output `sky`, as large as depth, a pixel is sky
  cortexia.float32_convolutions  how many, from the first on, OpenVINO computes in float32 whatever the precision
  cortexia.backend      what it was exported for and compared in, with cortexia.precision
  cortexia.licence_weights, cortexia.trained_from  the terms of its weights, and what they were made with
"""

from __future__ import annotations

import logging
import math
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast, get_args

import numpy as np
from numpy.typing import NDArray

from cortexia_video.depth_map import KINDS, DepthKind, larger_is_nearer
from cortexia_video.errors import ModelLoadError, ModelOutputError, in_words, not_known
from cortexia_video.models.canonical_depth import (
    AT_FOCAL_LENGTH,
    CANONICAL_INVERSE_DEPTH,
    depth_to_metres,
    parse_focal_length,
    to_metres,
)
from cortexia_video.models.onnx.point_maps import OnnxPointMaps, gives_points
from cortexia_video.models.onnx.session import (
    OpenedFile,
    Port,
    first_line,
    name_file,
    open_file,
    open_session,
)
from cortexia_video.models.preprocessing import (
    Preprocessing,
    Resampling,
    choose_fixed_size,
    read_normalization,
)
from cortexia_video.models.protocol import InputSize, Prediction, as_model_path
from cortexia_video.models.registry import COMPACT_FILE
from cortexia_video.models.sky import find_sky
from cortexia_video.runtime.bounded_map import map_bounded
from cortexia_video.runtime.resources import count_cores
from cortexia_video.storage.paths import open_named

_DTYPES = ("float32", "float16")
_FOV_DEG, _SKY = "fov_deg", "sky"
# What networks give beside depth: in a name's letters, or as one of its words.
_NEVER_WITHIN = ("conf", "uncert", "mask", "varianc", "sigma", "normals")
_NEVER_WORDS = {
    *("normal", "var", "logvar", "std", "error", "prob", "probability", "valid", "validity", "log", "logits"),
    *("weight", "weights", "fov", "focal", "camera", "pose", "intrinsics", "extrinsics", "rays", "points"),
    *("pts", "xyz", "scale", "shift", "sky", "seg", "semantic"),
}
# What depth and nearness are called.
_DEPTH = {
    *("depth", "depths", "depth_map", "depth_pred", "pred_depth", "predicted_depth", "metric_depth"),
    "relative_depth",
}
_NEARNESS = {
    *("disparity", "disp", "pred_disp", "pred_disparity", "predicted_disparity", "inverse_depth"),
    *("inv_depth", "predicted_inverse_depth", "canonical_inverse_depth"),
}
_STEPS = (1, 2, 4, 8, 14, 16, 28, 32, 56, 64)  # that networks want sides to be multiples of
_ALL_STEPS = 448  # a multiple of each
_PRIMES = (3, 5, 11, 13, 17, 19, 23, 29, 31, 37, 41, 53, 59, 83, 89, 163, 167)  # that divide no step
_SMALLEST_TRIED = 160

Size = tuple[int, ...]  # height and width

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
        canonical_f: Focal length in pixels at which its depth is metres, as 300 for Depth Anything 3, metric.
        backend: `onnx` (ONNX Runtime) or `openvino`; by default what the file was exported for.
        precision: What the backend computes in, `auto` for the fastest.
        opened: The file, where it was opened before.
        is_known: It runs on every processor, and need not be tried there.

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
        canonical_f: float | None = None,
        backend: str | None = None,
        precision: str | None = None,
        opened: OpenedFile | None = None,
        is_known: bool = False,
    ) -> None:
        self.path = Path(path)
        self.name = name or name_file(self.path)
        opened = opened or open_file(self.path, backend, device, precision)
        self.weights_digest, self._session, self.backend, run_by = opened
        self.device = self._session.device
        self._input = _find_input(self._session.inputs, self.path)
        self.max_batch = self._input.shape[0]
        says = Metadata(self.path, self._session.metadata)
        numbers = says.choose_numbers(canonical_f)
        self._canonical_f = parse_focal_length(numbers) if numbers else None
        self._sky_from = says.read_sky_from(self._session.outputs)
        self.maps = ("mask",) if self._sky_from else ()
        usual_kind = "metric" if self._canonical_f else None
        self.kind = cast("DepthKind", says.choose("kind", kind, usual_kind, allowed=KINDS))
        if self._canonical_f and self.kind != "metric":
            raise ModelLoadError(
                f"{self.path} gives metres by the focal length (`canonical_f`), not {self.kind}"
            )
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
        self.takes_averaged = resampling == "reduced"
        self._scale: tuple[float, float] | None = None
        if not step and isinstance(size, int):
            with self._trying():
                step, self._scale = find_step(self._try_size, self.path)
            self._preprocessing = replace(self._preprocessing, multiple_of=step)
            if step > 1:
                _log.info("%s: sides must be multiples of %d, as trying shows", self.name, step)
        self.processed_size = self._preprocessing.fit  # its own, or nearest to the image's aspect ratio
        if not is_known or self.device != "cpu":
            with self._trying():
                self._try_size(*self.processed_size(64, 64))
        settings: dict[str, object] = {"input_size": str(size), "normalize": normalize}
        if step > 1 and not says.get("multiple_of"):
            settings["multiple_of"] = step
        if canonical_f:
            settings["canonical_f"] = canonical_f
        if self._canonical_f or numbers == CANONICAL_INVERSE_DEPTH:
            self.to_depth = depth_to_metres if self._canonical_f else to_metres
            self.estimates_fov = _FOV_DEG in [port.name for port in outputs]
        elif len(outputs) > 1:
            settings["output_name"] = self._output
            names = ", ".join(port.name for port in outputs)
            _log.info("%s: depth is its output %s, of %s", self.name, self._output, names)
        if resampling != "reduced":
            settings["resampling"] = resampling
        self.settings: Mapping[str, object] = {**settings, **run_by}

    @contextmanager
    def _trying(self) -> Iterator[None]:
        """Let a file that cannot work fail before the first input, not on each."""
        try:
            yield
        except ModelOutputError as error:
            raise ModelLoadError(str(error)) from error
        except Exception as error:
            if isinstance(error, ModelLoadError):
                raise
            raise ModelLoadError(f"{self.path} loads but does not run: {first_line(error)}") from error

    def preprocess(self, image: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[Any]:
        """Resize and normalise one uint8 (H, W, 3) image to (3, h, w) of the network's type."""
        return self._preprocessing.apply(image, size).astype(self._input.dtype, copy=False)

    def infer(self, batch: NDArray[Any], *, estimate_fov: bool = False) -> NDArray[np.float32] | Prediction:
        """Run the network on (B, 3, h, w); return float32 (B, h', w'), a `Prediction` where it gives more."""
        count = len(batch)
        missing = (self.max_batch or count) - count  # of a fixed batch: its last image again
        if missing:
            batch = np.concatenate([batch, np.repeat(batch[-1:], missing, axis=0)])
        also = [*([_FOV_DEG] if estimate_fov else []), *([_SKY] if self._sky_from else [])]
        output, *more = self._run([self._output, *also], batch)
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
        if self._canonical_f:
            values = values * np.float32(batch.shape[3] / self._canonical_f)
        if not also:
            return values
        told = {name: each[:count] for name, each in zip(also, more, strict=True)}
        sky = None
        if self._sky_from:
            score = told[_SKY].astype(np.float32, copy=False).reshape(values.shape)
            values = values.copy()  # the backend's
            sky = find_sky(values, score, self._sky_from)
        return Prediction(values, told.get(_FOV_DEG), sky=sky)

    def _run(self, outputs: Sequence[str], batch: NDArray[Any]) -> list[NDArray[Any]]:
        """Run the network on a batch, in smaller ones where these are as fast: each image takes memory.

        Where there is an image for each core they run side by side: threads of one image wait for each other.
        """
        count, session = len(batch), self._session
        together = (
            count
            if self.max_batch or not (enough := session.enough_pixels)
            else max(1, enough // (batch.shape[2] * batch.shape[3]))
        )
        at_once = 1
        if count > 1 and not self.max_batch and count >= count_cores() and session.on_one_thread:
            session, together, at_once = session.on_one_thread, 1, count_cores()
        parts = [batch[at : at + together] for at in range(0, count, together)]

        def run(part: NDArray[Any]) -> list[NDArray[Any]]:
            return session.run(outputs, {self._input.name: part})

        found = [*(map_bounded(parts, run, workers=at_once) if at_once > 1 else map(run, parts))]
        return found[0] if len(found) == 1 else [np.concatenate(each) for each in zip(*found, strict=True)]

    def _try_size(self, height: int, width: int) -> tuple[int, ...]:
        """Run one grey image of this size; return the size of the output."""
        grey = self._preprocessing.normalize(np.full((3, height, width), 128, np.float32))
        output = self.infer(grey[None].astype(self._input.dtype))
        return np.shape(output.values if isinstance(output, Prediction) else output)[1:]


def load_compact(
    name: str, *, device: str = "auto", backend: str | None = None, precision: str | None = None
) -> OnnxModel:
    """Load the network that is in the package."""
    return OnnxModel(
        COMPACT_FILE,
        name=name,
        device=device,
        backend=backend,
        precision=precision,
        is_known=backend is None,
    )


def load_onnx(name: str, *, device: str = "auto", **options: Any) -> OnnxModel | OnnxPointMaps:
    """Load `onnx:FILE`; options are those of `OnnxModel`, of point maps fewer (`OnnxPointMaps`)."""
    path = as_model_path(name.removeprefix("onnx:"))
    opened = open_file(path, options.pop("backend", None), device, options.pop("precision", None))
    if gives_points(opened.session):
        return OnnxPointMaps(path, opened=opened, **options)
    return OnnxModel(path, opened=opened, **options)


def read_licence(name: str) -> str | None:
    """Return the licence of its weights that the file of `onnx:FILE` names."""
    return _read_metadata(name).get("cortexia.licence_weights")


def read_trained_from(name: str) -> str | None:
    """Return what the file of `onnx:FILE` says that its weights were made with."""
    return _read_metadata(name).get("cortexia.trained_from")


def _read_metadata(name: str) -> Mapping[str, str]:
    path = as_model_path(name.removeprefix("onnx:"))
    with in_words(f"cannot read the model {path}", kind=ModelLoadError, of=OSError):
        open_named(path).close()
    return open_session(path, "onnx", device="cpu", precision="auto").metadata


def _find_input(inputs: Sequence[Port], path: Path) -> Port:
    port = inputs[0] if len(inputs) == 1 else None
    if port is None or len(port.shape) != 4 or port.dtype not in _DTYPES or port.shape[1] != 3:
        seen = ", ".join(f"{each.name} {each.dtype} {each.shape}" for each in inputs)
        raise ModelLoadError(f"{path} takes {seen}: a depth network takes one float (B, 3, H, W) image")
    return port


@dataclass(frozen=True, slots=True)
class Metadata:
    """What the file at `path` says of itself: `metadata_props`, as its backend reads them."""

    path: Path
    properties: Mapping[str, str]

    def get(self, key: str) -> str | None:
        return self.properties.get(f"cortexia.{key}")

    def choose(
        self, key: str, given: str | None, default: str | None = None, allowed: tuple[str, ...] = ()
    ) -> str:
        """Return what the file says or what is given, which must agree; else the default."""
        said = self.get(key)
        if given and said and given != said:
            raise ModelLoadError(f"{self.path} says its {key} is {said}, not {given}: leave `{key}` out")
        value = given or said or default
        if value is None:
            raise ModelLoadError(
                f"{self.path} does not say its {key}: give it (`{key}`, one of {', '.join(allowed)})"
            )
        if allowed and value not in allowed:
            raise ModelLoadError(f"{self.path}: {not_known(key, value, allowed)}")
        return value

    def choose_numbers(self, canonical_f: float | None) -> str:
        """Return what its numbers are if they are not depth, or ""."""
        if canonical_f is not None and not 0 < canonical_f < math.inf:
            raise ModelLoadError(
                f"`canonical_f` must be a focal length in pixels, above 0, got {canonical_f}"
            )
        said = self.get("numbers") or ""
        if said not in ("", CANONICAL_INVERSE_DEPTH) and not parse_focal_length(said):
            raise ModelLoadError(
                f"{self.path} says cortexia.numbers = {said!r}: it must be like canonical:300, or "
                f"{CANONICAL_INVERSE_DEPTH}; leave it out where its numbers are depth"
            )
        if canonical_f and said and parse_focal_length(said) != canonical_f:
            raise ModelLoadError(
                f"{self.path} says its numbers are {said}, not of {canonical_f:g} pixels: leave `canonical_f` out"
            )
        return f"{AT_FOCAL_LENGTH}{canonical_f}" if canonical_f else said

    def read_sky_from(self, outputs: Sequence[Port]) -> float | None:
        """Return from what number on its output `sky` says that there is sky; None where it says nothing."""
        said = self.get("sky")
        if said is None:
            return None
        try:
            sky_from = float(said)
        except ValueError:
            sky_from = math.nan
        if not sky_from > 0 or _SKY not in [port.name for port in outputs]:
            raise ModelLoadError(
                f"{self.path} says cortexia.sky = {said!r}: it must be above 0, of an output called {_SKY}"
            )
        return sky_from

    def choose_size(self, port: Port, given: InputSize | None) -> InputSize:
        """Return (height, width) where one size is fixed or given, else the short side."""
        height, width = port.shape[2:]
        if isinstance(height, int) and isinstance(width, int):
            return choose_fixed_size(self.path, (height, width), given)
        size = given or self._choose_number("short_side", None)
        if not size:
            raise ModelLoadError(
                f"{self.path} takes any size and does not say which is right: "
                "give it, such as `input_size=518`"
            )
        return size

    def choose_step(self, size: InputSize, given: int | None) -> int:
        """Return what sides must be multiples of, 0 where nobody says it."""
        if given is not None and given < 1:
            raise ModelLoadError(f"`multiple_of` must be at least 1, got {given}")
        step = self._choose_number("multiple_of", given)
        if given and not isinstance(size, int) and (size[0] % step or size[1] % step):
            raise ModelLoadError(
                f"{self.path} takes multiples of {step} (`multiple_of`), not {size[0]}x{size[1]} (`input_size`)"
            )
        return step

    def _choose_number(self, key: str, given: int | None) -> int:
        text = self.choose(key, None if given is None else str(given), "0")
        if not text.isdecimal():
            raise ModelLoadError(f"{self.path} says cortexia.{key} = {text!r}: a whole number is needed")
        return int(text)


def choose_output(outputs: Sequence[Port], kind: DepthKind, given: str | None, path: object) -> str:
    """Return the name of the output that is depth of this kind.

    That is the one that is called so exactly, else the only one with depth or disparity in its name, else
    the only one at all. Confidence, uncertainty, masks, normals and arrays of more than one channel never
    are, unless `given` names them. Raises `ModelLoadError`, with all outputs, where it stays open.
    """
    names = [port.name for port in outputs]
    sides = [", ".join("?" if side is None else str(side) for side in port.shape) for port in outputs]
    listed = (
        ", ".join(f"{port.name} ({each})" for port, each in zip(outputs, sides, strict=True)) or "nothing"
    )
    if given is not None:
        if given not in names:
            raise ModelLoadError(f"{path} has no output {given!r}: it gives {listed}")
        return given
    possible = [port.name for port in outputs if _can_be_depth(port)]
    by_meaning = (_NEARNESS, _DEPTH) if larger_is_nearer(kind) else (_DEPTH, _NEARNESS)
    for wanted in by_meaning:
        exact = [name for name in possible if name.lower() in wanted]
        if len(exact) == 1:
            return exact[0]
        if exact:
            possible = exact
    named = [name for name in possible if "depth" in name.lower() or "disp" in name.lower()]
    possible = named or possible
    if len(possible) != 1:
        raise ModelLoadError(
            f"{path} does not say which of its outputs is depth: it gives {listed}; name it (`output_name`)"
        )
    return possible[0]


def _can_be_depth(port: Port) -> bool:
    words = {word.lower() for word in re.findall(r"[A-Z]?[a-z]+|[A-Z]+", port.name)}
    of_four = len(port.shape) == 4
    is_map = not port.shape or len(port.shape) == 3 or (of_four and port.shape[1] in (1, None))
    is_map = is_map and not (of_four and port.shape[3] in (2, 3, 4))  # vectors
    never = any(each in port.name.lower() for each in _NEVER_WITHIN) or words & _NEVER_WORDS
    return is_map and not never and port.dtype.startswith("float")


def covers(seen: Size, given: Size, scale: tuple[float, float] | None) -> bool:
    """Return whether an output of size `given` can be of all of an input of size `seen`.

    A vision transformer drops what is beyond a multiple of its patch. Its depth is then of a part of the image,
    and would silently be stretched over all of it.

    scale: output pixels per input pixel along each side, where known. Where not, an output of whole patches
    alone, in pixels or a number for each, is of a part.
    """
    if scale:
        return all(side - out / each <= 1 for side, out, each in zip(seen, given, scale, strict=True))
    for step in _STEPS:
        whole = tuple(side // step for side in seen)
        if given in (whole, tuple(step * each for each in whole)) and any(side % step > 1 for side in seen):
            return False
    return True


def find_step(run: Callable[[int, int], Size], path: object) -> tuple[int, tuple[float, float]]:
    """Return the smallest step whose multiples a network takes and covers evenly, and its output's scale.

    run: gives the output's size for an input of (height, width), or raises what the backend does. Raises
    `ModelLoadError` where no step is found.
    """
    try:
        height, width = run(_ALL_STEPS, _ALL_STEPS)
    except ModelOutputError:
        raise
    except Exception as error:
        raise ModelLoadError(
            f"{path} loads but does not run at {_ALL_STEPS}x{_ALL_STEPS}: {first_line(error)}; give the size "
            "that it was made for (`input_size`, height and width), or `multiple_of`"
        ) from error
    scale = height / _ALL_STEPS, width / _ALL_STEPS
    for step in _STEPS:
        size = [step * prime for prime in _PRIMES if step * prime >= _SMALLEST_TRIED][:2]
        try:
            given = run(*size)
            too_large = [out / each - side for side, out, each in zip(size, given, scale, strict=True)]
            if covers(tuple(size), given, scale) and max(too_large) <= max(1, 1 / min(scale)):
                return step, scale
        except Exception:  # noqa: BLE001 - whatever a backend raises: it does not run at this size
            continue
    raise ModelLoadError(
        f"{path} runs at {_ALL_STEPS}x{_ALL_STEPS}, but covers its input at no multiple of {_STEPS[1]} to "
        f"{_STEPS[-1]} that was tried: give `multiple_of`, or one size (`input_size`, height and width)"
    )
