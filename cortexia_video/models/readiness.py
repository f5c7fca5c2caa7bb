"""What a model lacks on this machine before it can run. Nothing is imported for it but the hub's own library, and no
network is asked."""

from __future__ import annotations

import re
from importlib.metadata import PackageNotFoundError, distribution, requires

from cortexia_video.models.protocol import ModelInfo

_NEEDS = re.compile(r"'?([\w.-]+)(?:\[([\w,-]+)\])?.*")
_REQUIREMENT = re.compile(r"([\w.-]+)[^;]*(?:;.*extra\s*==\s*['\"]([\w-]+)['\"])?")


def find_lack(info: ModelInfo) -> str:
    """Return what has to be installed or downloaded before a model runs here, or "" for one that is ready.

    Of a row that stands for files or checkpoints of the user's, only packages are looked for.
    """
    lacking = _find_missing(info.needs)
    if lacking:
        return f"packages: {', '.join(lacking)}"
    if info.hub_id is None:
        return ""
    from cortexia_video.models.torch.checkpoint import is_cached

    return "" if is_cached(info.hub_id, info.revision) else f"weights: {info.size or 'to be downloaded'}"


def can_run(backend: str, *, exported: bool) -> bool:
    """Return whether what a backend needs is installed. exported: it runs graphs of torch's networks."""
    needed = {"openvino": ["openvino"], "onnx": []}.get(backend)
    if needed is None:
        return True
    return all(map(_is_installed, [*needed, *(["onnxscript"] if exported else [])]))


def _find_missing(needs: str) -> list[str]:
    """Return which packages of `name[extra]`, as `ModelInfo.needs` has it, are not installed."""
    named = _NEEDS.fullmatch(needs)
    if named is None:
        return []
    package, extras = named[1], {None, *(named[2] or "").split(",")}
    try:
        wanted = [_REQUIREMENT.match(each) for each in requires(package) or ()]
    except PackageNotFoundError:
        return [package]
    names = [each[1] for each in wanted if each and each[2] in extras]
    return [name for name in names if not _is_installed(name)]


def _is_installed(name: str) -> bool:
    try:
        distribution(name)
    except PackageNotFoundError:
        return False
    return True
