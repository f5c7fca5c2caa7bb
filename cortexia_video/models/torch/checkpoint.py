"""`Checkpoint`: a folder with a network's weights and what they mean, on this machine or from the hub.

A folder holds `config.json`, `*.safetensors`, and perhaps `preprocessor_config.json` and a README.md whose
front matter names the licence. Nothing in it is run: no pickled weights, no code. Where authors publish a file
of torch's alone (MoGe, Video Depth Anything), it is read by `weights_only`, which makes tensors and plain values.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from cortexia_video.errors import InputError, ModelLoadError, in_words
from cortexia_video.models.protocol import as_model_path
from cortexia_video.storage.documents import parse_json
from cortexia_video.storage.paths import LARGEST_TEXT, open_named, read_named, read_named_text

_FILES = ["*.json", "*.safetensors", "README.md"]
_HUB_ID = re.compile(r"(?P<id>[\w.-]+/[\w.-]+)(?:@(?P<revision>[\w./-]+))?")
_COMMIT = re.compile(r"[0-9a-f]{40}")


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What is in a checkpoint's folder.

    hub_id: where it came from, or None for a folder of the user's. revision: the commit that was downloaded.
    config: `config.json`. preprocessor: `preprocessor_config.json`, or empty.
    weights_digest: SHA-256 over the weight files' own, in the order of their names.
    config_digest: SHA-256 of `config.json`, which changes numbers too; "" where there is none.
    """

    folder: Path
    hub_id: str | None
    revision: str | None
    config: Mapping[str, Any]
    preprocessor: Mapping[str, Any]
    weights_digest: str
    config_digest: str

    @property
    def model_type(self) -> str:
        return str(self.config.get("model_type") or self.config.get("model_name") or "unknown")

    def describe(self) -> dict[str, object]:
        """Return what depth depends on beside the weights, as a model's `settings`."""
        commit = {"revision": self.revision} if self.revision else {}
        config = {"config_sha256": self.config_digest[:16]} if self.config_digest else {}
        return {**config, **commit}


def open_checkpoint(source: str, revision: str | None = None) -> Checkpoint:
    """Find a checkpoint. source: a folder, or a hub id, with `@revision` where another than main is meant.

    What is in the hub's cache is taken as it is, so a run needs no network and a revision does not move under
    it; only what does not exist is downloaded. Raises `ModelLoadError`.
    """
    folder, hub_id, revision = _find_folder(source, revision, _FILES, _is_whole)
    config_file = folder / "config.json"
    if not config_file.is_file():
        raise ModelLoadError(f"{folder} is no checkpoint: it holds no config.json")
    config = _read_json(config_file)
    if "auto_map" in config:
        raise ModelLoadError(f"{folder} wants code of its own to be run (auto_map in config.json): refused")
    weights = sorted(folder.glob("*.safetensors"))
    if not weights:
        others = ", ".join(sorted(path.name for path in folder.glob("*.bin"))) or "no weights"
        raise ModelLoadError(
            f"{folder} holds {others} and no .safetensors: other weights can run code and are not read; save "
            "the model again with save_pretrained, or choose a revision that has them (hf:org/name@revision)"
        )
    preprocessor = folder / "preprocessor_config.json"
    return Checkpoint(
        folder=folder,
        hub_id=hub_id,
        revision=revision,
        config=config,
        preprocessor=_read_json(preprocessor) if preprocessor.is_file() else {},
        weights_digest=hash_files(weights),
        config_digest=hashlib.sha256(read_named(config_file)).hexdigest(),
    )


def open_folder(source: str, revision: str | None, name: str) -> tuple[Path, str | None, str | None]:
    """Find a checkpoint that is one file of this name: its folder, hub id and revision, as `open_checkpoint` does."""
    found = _find_folder(source, revision, [name, "README.md"], lambda folder: (folder / name).is_file())
    if not (found[0] / name).is_file():
        raise ModelLoadError(f"{found[0]} is no such checkpoint: it holds no {name}")
    return found


def _find_folder(
    source: str, revision: str | None, patterns: list[str], is_whole: Callable[[Path], bool]
) -> tuple[Path, str | None, str | None]:
    path = as_model_path(source)
    if source and path.is_dir():
        return path, None, None
    match = _HUB_ID.fullmatch(source)
    if match is None:
        raise ModelLoadError(
            f"no such folder: {source}; nor is it a hub id like org/name or org/name@revision"
        )
    hub_id, revision = match["id"], match["revision"] or revision
    folder = _fetch(hub_id, revision, patterns, is_whole)
    return folder, hub_id, folder.name if _COMMIT.fullmatch(folder.name) else revision


def read_licence(name: str) -> str | None:
    """Read the licence that the README.md of `hf:` and a checkpoint names; None where it names none."""
    source = name.removeprefix("hf:")
    path = as_model_path(source)
    match = _HUB_ID.fullmatch(source)
    if match and not path.is_dir():
        path = _fetch(match["id"], match["revision"], ["README.md"], lambda folder: True)
    try:
        text = read_named_text(path / "README.md", errors="replace")
    except OSError:
        return None
    front = re.match(r"---\s*\n(.*?)\n---\s*(?:\n|$)", text, re.DOTALL)
    named = re.search(r"^license:\s*['\"]?([\w.+-]+)", front[1], re.MULTILINE) if front else None
    return named[1] if named else None


def _fetch(hub_id: str, revision: str | None, patterns: list[str], is_whole: Callable[[Path], bool]) -> Path:
    """Return the folder of a hub checkpoint: the cached one, else download it (shows progress, resumes)."""
    with suppress(Exception):
        folder = _find_snapshot(hub_id, revision, patterns, cached=True)
        if is_whole(folder):
            return folder
    try:
        folder = _find_snapshot(
            hub_id, revision, patterns, cached=False
        )  # offline, hub's own library gives what there is, whole or not
        if is_whole(folder) or (folder / "config.json").is_file():
            return folder
        raise FileNotFoundError("the local copy is incomplete")
    except Exception as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        pinned = f" --revision {revision}" if revision else ""
        raise ModelLoadError(
            f"{hub_id} is not on this machine and cannot be downloaded ({reason}); on a machine with a network run "
            f"'hf download {hub_id}{pinned}' and bring its cache here (HF_HOME), or give a folder that holds "
            "the checkpoint: `model='hf:FOLDER'`"
        ) from error


def is_cached(hub_id: str, revision: str | None = None) -> bool:
    """Return whether the weights of a hub checkpoint are on this machine; the hub is not asked."""
    try:
        folder = _find_snapshot(hub_id, revision, _FILES, cached=True)
        return _is_whole(folder) or any(folder.glob("*.pt*"))
    except Exception:  # noqa: BLE001 - the hub's library has many for what is not there
        return False


def _find_snapshot(hub_id: str, revision: str | None, patterns: list[str], *, cached: bool) -> Path:
    from huggingface_hub import snapshot_download

    folder = snapshot_download(
        hub_id,
        revision=revision,
        allow_patterns=patterns,
        ignore_patterns=["*/*"],
        local_files_only=cached,
    )
    return Path(folder)


def _is_whole(folder: Path) -> bool:
    """Return whether a cached folder has all it should: a download may have been cut off."""
    index = folder / "model.safetensors.index.json"
    names = (
        set(_read_json(index).get("weight_map", {}).values()) if index.is_file() else {"model.safetensors"}
    )
    return all((folder / name).is_file() for name in {"config.json", *names})


def _read_json(path: Path) -> dict[str, Any]:
    try:
        with in_words(f"cannot read {path}"):
            content = parse_json(read_named(path, limit=LARGEST_TEXT), path, finite=False)
    except InputError as error:
        raise ModelLoadError(str(error)) from error
    if not isinstance(content, dict):
        raise ModelLoadError(f"{path} holds no JSON object")
    return content


def hash_files(paths: Sequence[Path]) -> str:
    """Return the SHA-256 over the files' own, in their order."""
    return _hash_files(tuple((path, (status := path.stat()).st_size, status.st_mtime_ns) for path in paths))


@lru_cache(maxsize=32)  # the digests of several devices' models are the same, and gigabytes take seconds
def _hash_files(files: tuple[tuple[Path, int, int], ...]) -> str:
    """Hash files; their sizes and times are there to tell a changed file apart."""
    digest = hashlib.sha256()
    for path, _, _ in files:
        with open_named(path) as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()
