"""MATLAB's files: those before version 7.3 by SciPy."""

from __future__ import annotations

import io
from typing import Any

from cortexia_video.errors import InputError, MissingExtraError
from cortexia_video.places.place import Place
from cortexia_video.places.remote_errors import describe_error


def read_mat(path: Place) -> dict[str, Any]:
    """Give the arrays of a file by name; `InputError` where it cannot be read, `MissingExtraError`."""
    try:
        import scipy.io
    except ImportError as error:
        raise MissingExtraError(f"reading {path} needs: pip install 'cortexia-video[datasets]'") from error
    try:
        return dict(scipy.io.loadmat(io.BytesIO(path.read_bytes())))
    except Exception as error:  # of a broken file it raises anything
        reason = describe_error(error, "get it from the data set's page")
        raise InputError(f"cannot read {path}: {reason}") from error
