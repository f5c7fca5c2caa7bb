"""Transforms of RGB-D samples: image, depth, mask and camera move together, and the geometry stays true.

Doors: `geometry`, `transform`.
"""

from cortexia_video.augmentation.albumentations_adapter import ApplyTransforms
from cortexia_video.augmentation.canonical_camera import CanonicalDepth
from cortexia_video.augmentation.crops import Crop, Flip, RandomCrop, RandomZoom, Resize, Zoom
from cortexia_video.augmentation.geometry import Motion, View
from cortexia_video.augmentation.photometric import Photometric
from cortexia_video.augmentation.rotations import PerspectiveCrop, RandomPerspectiveCrop, RandomRotate, Rotate
from cortexia_video.augmentation.transform import Compose, RandomTransform, Sometimes, Transform

__all__ = [
    "ApplyTransforms",
    "CanonicalDepth",
    "Compose",
    "Crop",
    "Flip",
    "Motion",
    "PerspectiveCrop",
    "Photometric",
    "RandomCrop",
    "RandomPerspectiveCrop",
    "RandomRotate",
    "RandomTransform",
    "RandomZoom",
    "Resize",
    "Rotate",
    "Sometimes",
    "Transform",
    "View",
    "Zoom",
]


def __dir__() -> list[str]:
    return __all__
