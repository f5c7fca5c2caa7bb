"""MATLAB's files: those before version 7.3 by SciPy."""

from __future__ import annotations

import io
from typing import Any

from cortexia_video.boundary import in_words
from cortexia_video.errors import MissingExtraError
from cortexia_video.places.place import Place


def read_mat(path: Place) -> dict[str, Any]:
    """Give the arrays of a file by name; `InputError` where it cannot be read, `MissingExtraError`."""
    try:
        import scipy.io
    except ImportError as error:
        raise MissingExtraError(f"reading {path} needs: pip install 'cortexia-video[datasets]'") from error
    with in_words(f"cannot read {path}", "get it from the data set's page"):
        return dict(scipy.io.loadmat(io.BytesIO(path.read_bytes())))
