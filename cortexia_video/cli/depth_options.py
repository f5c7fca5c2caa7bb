"""What a person says of depth files that do not say it themselves."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from cyclopts import Group, Parameter

from cortexia_video.depth_map import DepthKind
from cortexia_video.errors import InputError


@Parameter(name="*", group=Group("Meaning", sort_key=1))
@dataclass(frozen=True, kw_only=True)
class DepthOptions:
    """What the files are, where neither they nor their folder say it.

    Args:
        convention: Whose files: tum, kitti, nyu, scannet, 7scenes, sunrgbd, middlebury, metres, depth-pro,
            moge, iw3, colmap, carla, shift.
        kind: What the numbers mean.
        scale: What whole numbers are multiplied by: 0.001 for millimetres. Numbers of 8 bits need it.
        unknown: A number that stands for unknown; several times for several.
        f_px: Focal length of the whole image, in its pixels; `convert` scales metres made with another to it.
        along: Along what distances were measured: axis, as depth is, or ray: of each pixel; needs --f-px.
        channel: Channel of OpenEXR files that is depth, where their names leave it open.
        array: Array of npz and HDF5 files that is depth; by default the only one, or `depth`.
        page: Page of TIFF files that have several, from 1.
    """

    convention: Annotated[str | None, Parameter(name="--from")] = None
    kind: DepthKind | None = None
    scale: float | None = None
    unknown: tuple[float, ...] = ()
    f_px: float | None = None
    along: Literal["axis", "ray"] = "axis"
    channel: str | None = None
    array: str | None = None
    page: int | None = None

    @property
    def about(self) -> dict[str, Any]:
        """Return what is said but for the focal length, as metadata; `InputError` for what is no number."""
        for option, value in (("`f_px`", self.f_px), ("`scale`", self.scale)):
            if value is not None and not 0 < value < math.inf:
                raise InputError(f"{option} must be a number above 0, not {value:g}")
        words = {
            "kind": self.kind,
            "scale": self.scale,
            "unknown": [*self.unknown] or None,
            "along": None if self.along == "axis" else self.along,
            "channel": self.channel,
            "array": self.array,
            "page": self.page,
        }
        return {name: value for name, value in words.items() if value is not None}
