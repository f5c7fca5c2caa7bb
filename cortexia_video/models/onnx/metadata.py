"""`Metadata`: what an ONNX file says of itself, and what options say where it does not.

Every value is a string:
  cortexia.kind         what its values mean, one of `depth_map.KINDS`
  cortexia.output_name  which of its outputs is depth
  cortexia.short_side   the short side, in pixels, that an image is resized to (files with dynamic sizes)
  cortexia.multiple_of  what both sides must be a multiple of
  cortexia.normalize    `imagenet`, `unit` (0..1), `signed` (-1..1), `bytes` (0..255), or
                        `mean R G B std R G B` of colours in 0..1
  cortexia.resampling   as `Preprocessing` has it; `reduced` is the default
  cortexia.numbers      `canonical_inverse_depth`: what it gives becomes metres with the focal length, and
                        its output `fov_deg` (B,) is the horizontal field of view that it estimates
  cortexia.backend      what it was exported for and compared in, with cortexia.precision
  cortexia.licence_weights
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from cortexia_video.errors import ModelLoadError, not_known
from cortexia_video.models.onnx.ports import Port
from cortexia_video.models.protocol import InputSize


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

    def choose_size(self, port: Port, given: InputSize | None) -> InputSize:
        """Return (height, width) where one size is fixed or given, else the short side."""
        height, width = port.shape[2:]
        if isinstance(height, int) and isinstance(width, int):
            if given not in (None, (height, width), height if height == width else None):
                raise ModelLoadError(
                    f"{self.path} takes {height}x{width} only, not {given}: leave `input_size` out"
                )
            return height, width
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
