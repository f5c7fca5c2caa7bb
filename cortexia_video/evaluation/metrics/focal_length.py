"""How wrong a focal length is."""

from __future__ import annotations

from cortexia_video.pinhole import to_fov_deg


def focal_length_error(f_px: float, reference_f_px: float) -> float:
    """Return |f - reference| / reference: 0 is perfect. Depth Pro counts shares below 0.25 and 0.5.

    Args:
        f_px: Focal length, pixels.
        reference_f_px: The true one, pixels.

    Returns:
        The relative error.
    """
    return abs(f_px - reference_f_px) / reference_f_px


def field_of_view_error(f_px: float, reference_f_px: float, width: int) -> float:
    """Return the difference of the horizontal fields of view of an image: 0 is perfect.

    Source: Wang et al., "MoGe", CVPR 2025, section 4.

    Args:
        f_px: Focal length, pixels.
        reference_f_px: The true one, pixels.
        width: Of the image, pixels.

    Returns:
        Degrees.
    """
    return abs(to_fov_deg(f_px, width) - to_fov_deg(reference_f_px, width))
