"""Folders here and on the test's S3 server, for tests."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from PIL import Image
from s3_server import BUCKET, put

S3 = f"s3://{BUCKET}"


def encode(seed: int) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, (12, 16, 3), dtype=np.uint8)
    data = io.BytesIO()
    Image.fromarray(pixels).save(data, "PNG")
    return data.getvalue()


def put_images(prefix: str, folder: Path, count: int = 6) -> None:
    """Put images behind the prefix, and the same in a folder."""
    (folder / "trip").mkdir(parents=True)
    for index in range(count):
        name = f"trip/{index}.png" if index % 2 else f"{index}.png"
        put(f"{prefix}/{name}", encode(index))
        (folder / name).write_bytes(encode(index))


def outputs(found: dict[str, bytes]) -> dict[str, bytes]:
    return {name: data for name, data in found.items() if not name.startswith("ledger")}


def read_folder(root: Path) -> dict[str, bytes]:
    return {
        path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*") if path.is_file()
    }
