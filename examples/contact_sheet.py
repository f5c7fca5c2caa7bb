"""Show images beside the depth that `cortexia estimate` made of them, on one sheet.

Usage: python examples/contact_sheet.py IMAGES DEPTH SHEET.jpg
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from PIL import Image

from cortexia_video import collage, decode, read_ledger


def main(images: Path, depth: Path, sheet: Path) -> None:
    """Lay out every image that the ledger of `depth` calls done; near is bright."""
    kinds = {line["key"]: line["kind"] for line in read_ledger(depth) if line.get("outcome") == "done"}
    samples = []
    for key, kind in sorted(kinds.items()):
        values = np.load(depth / f"{key}.npy")
        nearness = values if kind == "disparity" else -values
        samples.append((decode((images / key).read_bytes(), key).image, nearness))
    Image.fromarray(collage(samples)).save(sheet, quality=90)
    print(f"{sheet}: {len(samples)} images, each beside its depth (near is bright)")


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    main(*map(Path, sys.argv[1:]))
