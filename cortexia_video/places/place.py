"""A `Place` is a path of the file system, or a `RemotePath` for what is written with a scheme."""

from __future__ import annotations

import os
import re
from pathlib import Path
from urllib.parse import unquote, urlsplit

from cortexia_video.errors import InputError
from cortexia_video.places.remote_path import EXTRAS, RemotePath, strip_secrets

Place = Path | RemotePath
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+)://", re.ASCII)


def as_place(given: str | os.PathLike[str] | RemotePath) -> Place:
    """Give the place that a text or path names; raises `InputError` for a scheme that is not known."""
    if isinstance(given, RemotePath):
        return given
    text = os.fspath(given)
    scheme = scheme_of(text)
    if scheme is None:
        return Path(text)
    if scheme == "file":
        return Path(unquote(urlsplit(text).path))
    return RemotePath(text)


def as_text(given: str | os.PathLike[str] | RemotePath) -> str:
    """Give the path or address as text, `file://` as a path."""
    if isinstance(given, RemotePath):
        return given.address
    place = as_place(given)
    if isinstance(place, RemotePath):
        return place.address
    return os.fspath(place) if scheme_of(os.fspath(given)) else os.fspath(given)


def is_remote(given: str | os.PathLike[str] | RemotePath) -> bool:
    """Say whether it lies behind an address; raises `InputError` for a scheme that is not known."""
    return isinstance(given, RemotePath) or scheme_of(os.fspath(given)) not in (None, "file")


def scheme_of(text: str) -> str | None:
    """Give `s3` of `s3://bucket/key`, None of a path of the file system."""
    match = _SCHEME.match(text)
    scheme = match[1].lower() if match else None
    if scheme is not None and scheme != "file" and scheme not in EXTRAS:
        known = ", ".join(f"{each}://" for each in ("file", *EXTRAS))
        raise InputError(f"{strip_secrets(text)}: no such scheme here: use a path, or one of {known}")
    return scheme
