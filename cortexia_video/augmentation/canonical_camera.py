"""`CanonicalDepth`: depth as one and the same camera would have to see it, so that datasets mix.

Two cameras with other focal lengths can take the same image of things at other distances, so metres
cannot be told from an image alone. Depth times canonical over true focal length can: Metric3D's label
transform (Yin et al., Metric3D: Towards Zero-shot Metric 3D Prediction from A Single Image, ICCV 2023,
section 3.1).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from cortexia_video.augmentation.transform import Seed, Transform
from cortexia_video.depth_map import DepthKind, DepthMap
from cortexia_video.errors import InputError
from cortexia_video.pinhole import Pinhole
from cortexia_video.rgbd_sample import RGBDSample


@dataclass(frozen=True, slots=True)
class CanonicalDepth(Transform):
    """Scale metric depth by f_px over the camera's fx. To be the last transform: zooming changes the camera.

    The sample keeps its true camera, which `undo` needs; its depth is `scale_invariant`, for it is no metres.

    Attributes:
        f_px: Of the canonical camera, pixels.

    Raises:
        InputError: Depth is not metric, or no camera is known.
    """

    f_px: float = 1000.0

    def __post_init__(self) -> None:
        if not 0 < self.f_px < np.inf:
            raise InputError(f"{self.f_px} is no focal length in pixels: use one above 0")

    def __call__(self, sample: RGBDSample, seed: Seed | None = None) -> RGBDSample:
        if sample.camera is None:
            raise InputError(f"{sample.key!r}: canonical depth needs the sample's camera: give a Pinhole")
        _require_kind(sample.depth, "metric")
        factor = np.float32(self.f_px / sample.camera.fx)
        depth = replace(sample.depth, values=sample.depth.values * factor, kind="scale_invariant")
        return replace(sample, depth=depth)

    def undo(self, depth: DepthMap, camera: Pinhole) -> DepthMap:
        """Turn canonical depth, a network's or a sample's, back into metres.

        Args:
            depth: Of kind `scale_invariant`.
            camera: That took the image, for the size of `depth`.

        Returns:
            Metric depth of the same size.

        Raises:
            InputError: Depth is of another kind.
        """
        _require_kind(depth, "scale_invariant")
        factor = np.float32(camera.fx / self.f_px)
        return replace(depth, values=depth.values * factor, kind="metric")


def _require_kind(depth: DepthMap, kind: DepthKind) -> None:
    if depth.kind != kind:
        raise InputError(
            f"depth of kind {depth.kind} where {kind} is needed: canonical depth is made of metres"
        )
