"""MATLAB's files: those before version 7.3 by SciPy."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from cortexia_video.errors import InputError, MissingExtraError


def read_mat(path: Path) -> dict[str, Any]:
    """Give the arrays of a file by name; `InputError` where it cannot be read, `MissingExtraError`."""
    try:
        import scipy.io
    except ImportError as error:
        raise MissingExtraError(f"reading {path} needs: pip install 'cortexia-video[datasets]'") from error
    try:
        return dict(scipy.io.loadmat(path))
    except Exception as error:  # of a broken file it raises anything
        raise InputError(f"cannot read {path}: {error}; get it from the data set's page") from error
