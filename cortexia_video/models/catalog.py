"""Depth networks that others published, by the names people use, and on what terms.

Licences are those that the authors state for their weights; the sizes of Depth Anything V2 differ in them.
Where a revision stands, it is one that was seen to hold what is needed; elsewhere the hub's main is meant,
and the ledger records which commit that was.
"""

from __future__ import annotations

from typing import Any

from cortexia_video.depth_map import DepthKind
from cortexia_video.errors import UnknownModelError, not_known
from cortexia_video.models.onnx.session import GRAPH_BACKENDS
from cortexia_video.models.protocol import ModelInfo

BACKENDS = ("torch", *GRAPH_BACKENDS)
NEEDS = "'cortexia-video[torch]'"
_LOAD = "cortexia_video.models.torch.huggingface:load_published"
_NON_COMMERCIAL = "CC-BY-NC-4.0"


def _publish(
    name: str,
    hub_id: str,
    summary: str,
    *,
    licence: str,
    size: str,
    code: str = "Apache-2.0",
    load: str = _LOAD,
    **facts: Any,
) -> ModelInfo:
    facts |= {"licence_code": code, "licence_weights": licence, "size": size, "hub_id": hub_id, "load": load}
    weights = f"downloaded when first used, {size}"
    given = {"backends": BACKENDS, **facts}
    return ModelInfo(name=name, summary=summary, weights=weights, needs=NEEDS, **given)


def _publish_depth_anything(letters: str, size: str, *, variant: str = "", metres: int = 0) -> ModelInfo:
    """Return one Depth Anything V2: a size, for metric ones `Indoor` or `Outdoor` and how far they see."""
    licence = "Apache-2.0" if letters == "Small" else _NON_COMMERCIAL  # of the networks of relative depth
    free = licence != _NON_COMMERCIAL
    middle = f"metric-{variant.lower()}-" if variant else ""
    what = (
        f"metres up to {metres}, trained on synthetic {variant.lower()} scenes"
        if variant
        else "relative depth"
    )
    return _publish(
        f"depth-anything-v2-{middle}{letters.lower()}",
        f"depth-anything/Depth-Anything-V2-{f'Metric-{variant}-' if variant else ''}{letters}-hf",
        f"Depth Anything V2 {letters}: {what}",
        kind="metric" if variant else "disparity",
        licence=f"not stated (the network it comes from: {licence})" if variant else licence,
        commercial=None if free and variant else free,
        size=size,
        trained_from=_FROM_V2.format(_THEN[variant]),
        free_training=False,
    )


def _publish_depth_anything_3(
    variant: str, what: str, *, kind: DepthKind, trained_from: str, free_training: bool | None = None
) -> ModelInfo:
    return _publish(
        f"da3-{variant.lower()}-large",
        f"depth-anything/DA3{variant.upper()}-LARGE",
        f"Depth Anything 3 {variant} Large: {what}",
        kind=kind,
        licence="Apache-2.0",
        commercial=True,
        size="1.3 GB",
        load="cortexia_video.models.torch.depth_anything_3:load_depth_anything_3",
        trained_from=f"'public academic datasets' (the authors' README, which names none){trained_from}",
        free_training=free_training,
    )


_FROM_V2 = (
    "595,000 synthetic images of BlendedMVS, Hypersim, IRS, TartanAir and Virtual KITTI 2 (CC BY-NC-SA), by way of a "
    "larger network that labelled 62 million photos of eight datasets{} (Yang et al., NeurIPS 2024, table 7)"
)
_THEN = {"": "", "Indoor": "; then Hypersim", "Outdoor": "; then Virtual KITTI 2"}
_FROM_MIDAS = (
    "10 datasets, 3D films among them: ReDWeb, DIML, Movies, MegaDepth, WSVD, TartanAir, HRWSI, ApolloScape, "
    "BlendedMVS, IRS (the authors' README of MiDaS 2.1; 3.0 has the same)"
)


_FROM_MOGE = (
    "24 datasets, on from DINOv2; Waymo, Argoverse 2 and ScanNet++ (non-commercial) among them (the authors' "
    "configs/train/v2.json, of ViT-L; of the other sizes none is published)"
)


def _publish_moge(size: str, bytes: str, *, normals: bool = True, name: str = "") -> ModelInfo:
    """Return one MoGe-2: the size of its transformer; Large is published with and without normals."""
    what = ", normals" if normals else ""
    return _publish(
        name or f"moge-2-{size}",
        f"Ruicheng/moge-2-{size}{'-normal' if normals else ''}",
        f"MoGe-2 ViT-{size[-1].upper()}: metres, mask{what} and focal length",
        kind="metric",
        licence="MIT",
        commercial=True,
        size=bytes,
        load="cortexia_video.models.torch.moge:load_moge",
        trained_from=_FROM_MOGE,
        free_training=False,
    )


_FROM_PROMPT = (
    "synthetic scenes, ARKitScenes (CC BY-NC-SA 4.0) and ScanNet++ (non-commercial), on from Depth Anything (Lin et "
    "al., CVPR 2025, table 3, of Large{})"
)


def _publish_prompt_depth_anything(
    size: str, letters: str, bytes: str, what: str, more: str = ""
) -> ModelInfo:
    """Return one Prompt Depth Anything. more: of its training, beside what the paper says of Large."""
    return _publish(
        f"prompt-depth-anything-{size}",
        f"depth-anything/prompt-depth-anything-{letters}-hf",
        f"Prompt Depth Anything {what}: completes a sensor's sparse depth, in its metres",
        kind="metric",
        licence="Apache-2.0",
        commercial=True,
        size=bytes,
        trained_from=_FROM_PROMPT.format(more),
        free_training=False,
    )


def _publish_video_depth_anything(variant: str, what: str, *, kind: DepthKind, then: str = "") -> ModelInfo:
    return _publish(
        f"video-depth-anything-{variant.lower()}small",
        f"depth-anything/{variant.title()}Video-Depth-Anything-Small",
        f"Video Depth Anything {variant.replace('-', ' ').title()}Small: {what} of clips, 32 frames at a time",
        kind=kind,
        licence="Apache-2.0",
        commercial=True,
        size="116 MB",
        load="cortexia_video.models.torch.video_depth_anything:load_video_depth_anything",
        trained_from=f"'a joint dataset of video depth and unlabeled images', on from Depth Anything V2, which learned "
        f"from Virtual KITTI 2 (CC BY-NC-SA) (Chen et al., CVPR 2025, whose abstract names no dataset){then}",
        free_training=False,
        backends=BACKENDS[:1],
    )


_SIZES = {"Small": "99 MB", "Base": "390 MB", "Large": "1.3 GB"}
_VARIANTS = {"": 0, "Indoor": 20, "Outdoor": 80}

PUBLISHED: tuple[ModelInfo, ...] = (
    _publish(
        "depth-pro",
        "apple/DepthPro-hf",
        "Depth Pro: metres and focal length, 1536 x 1536, sharp edges; the specification's model",
        kind="metric",
        code="Apache-2.0 (transformers); the authors': Apple sample code licence",
        licence="apple-amlr (research only)",
        commercial=False,
        size="1.9 GB",
        trained_from="real and synthetic datasets that the paper's appendix names (Bochkovskii et al., ICLR 2025); the "
        "published weights were trained anew (the authors' README, which names none)",
    ),
    *(
        _publish_depth_anything(letters, size, variant=variant, metres=metres)
        for variant, metres in _VARIANTS.items()
        for letters, size in _SIZES.items()
    ),
    _publish_depth_anything_3(
        "Mono",
        "relative depth, and where the sky is",
        kind="affine_invariant",
        trained_from="; labels of real images by a larger network, of synthetic ones (Lin et al., 2025)",
    ),
    _publish_depth_anything_3(
        "Metric",
        "metres by the focal length, which must be known, and where the sky is",
        kind="metric",
        trained_from="; 14 by the paper, Waymo and ScanNet++ (non-commercial) among them (Lin et al., 2025)",
        free_training=False,
    ),
    _publish_moge("vits", "140 MB"),
    _publish_moge("vitb", "420 MB"),
    _publish_moge("vitl", "1.3 GB", normals=False),
    _publish_moge("vitl", "1.3 GB", name="moge-2-vitl-normal"),
    _publish_prompt_depth_anything("small", "vits", "100 MB", "Small", "; of this one it is not stated"),
    _publish_prompt_depth_anything(
        "small-transparent",
        "vits-transparent",
        "100 MB",
        "Small, for glass, too",
        "); of Small it is not stated; then HAMMER (the authors' README",
    ),
    _publish_prompt_depth_anything("large", "vitl", "1.4 GB", "Large"),
    _publish_video_depth_anything("", "relative depth", kind="disparity"),
    _publish_video_depth_anything(
        "metric-", "metres", kind="metric", then="; then Virtual KITTI and IRS (the authors' README)"
    ),
    _publish(
        "zoedepth",
        "Intel/zoedepth-nyu-kitti",
        "ZoeDepth NK: metres, indoors and on roads",
        kind="metric",
        licence="MIT",
        commercial=True,
        size="1.4 GB",
        revision="f364d4c7936e91f465abba182208dd68142bf0ca",
        trained_from="MiDaS's 12 datasets, 3D films among them, then NYU Depth V2 and KITTI (CC BY-NC-SA 3.0) (Bhat et "
        "al., 2023; the README of MiDaS 3.1)",
        free_training=False,
    ),
    _publish(
        "dpt-large",
        "Intel/dpt-large",
        "DPT-Large (MiDaS 3.0): relative depth",
        kind="disparity",
        licence="Apache-2.0",
        commercial=True,
        size="1.4 GB",
        revision="bc15f29aa3a80d532f2ed650b5e16ac48d8958f9",
        trained_from=_FROM_MIDAS,
        free_training=False,
    ),
    _publish(
        "dpt-hybrid-midas",
        "Intel/dpt-hybrid-midas",
        "DPT-Hybrid (MiDaS 3.0): relative depth, smaller",
        kind="disparity",
        licence="Apache-2.0",
        commercial=True,
        size="490 MB",
        trained_from=_FROM_MIDAS,
        free_training=False,
        revision="refs/pr/5",  # the hub's own conversion to safetensors; main held pickled weights alone
    ),
)


def find_published(name: str) -> ModelInfo:
    """Find a row by its name."""
    for info in PUBLISHED:
        if info.name == name:
            return info
    raise UnknownModelError(not_known("published model", name, [info.name for info in PUBLISHED]))
