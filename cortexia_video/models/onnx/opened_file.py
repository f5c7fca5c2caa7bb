"""`OpenedFile`: a network's ONNX file made ready to run, and the digest of its weights."""

from __future__ import annotations

import glob
import hashlib
from pathlib import Path
from typing import NamedTuple

from cortexia_video.errors import ModelLoadError, put_in_words, redact
from cortexia_video.models.onnx.session import FLOAT32, Session, open_session
from cortexia_video.storage.paths import open_named


class OpenedFile(NamedTuple):
    """weights_digest: of the file, and of those beside it that hold its weights. backend: what runs it."""

    weights_digest: str
    session: Session
    backend: str

    def describe(self) -> dict[str, object]:
        """Return how it is run, as a model's `settings` say it: what is not usual."""
        usual = {"backend": "onnx", "precision": FLOAT32}
        chosen = {"backend": self.backend, "precision": self.session.precision}
        return {key: value for key, value in chosen.items() if value != usual[key]}


def open_file(path: Path, backend: str | None, device: str, precision: str | None) -> OpenedFile:
    """Open a file in the backend that is asked for, or else the one it was exported for."""
    digest = _digest(path)
    if backend is None:
        session = open_session(path, "onnx", device, "auto")
        backend = session.metadata.get("cortexia.backend", "onnx")
        precision = precision or session.metadata.get("cortexia.precision")
        if backend == "onnx" and precision in (None, "auto", session.precision):
            return OpenedFile(digest, session, backend)
    return OpenedFile(digest, open_session(path, backend, device, precision or "auto"), backend)


def name_file(path: Path) -> str:
    """Return the name of a model that is a file; a download can be called like its URL, with secrets."""
    return redact(f"onnx:{path.name}")


def _digest(path: Path) -> str:
    """Hash the file, and those beside it that hold its weights: `m.onnx.data`, `m.onnx_data`."""
    digest = hashlib.sha256()
    try:
        for part in [path, *sorted(path.parent.glob(f"{glob.escape(path.name)}[._]data*"))]:
            with open_named(part) as file:
                digest.update(hashlib.file_digest(file, "sha256").digest())
    except OSError as error:
        raise put_in_words(error, f"cannot read the model {path}", kind=ModelLoadError) from error
    return digest.hexdigest()
