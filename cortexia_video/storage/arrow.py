"""pyarrow, which an extra brings."""

from __future__ import annotations

from typing import Any

from cortexia_video.errors import explain_import


def import_arrow() -> Any:
    """Return pyarrow with its `parquet`; `MissingExtraError` without it."""
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise explain_import(error, "parquet needs", "'cortexia-video[datasets]'") from error
    return pyarrow
