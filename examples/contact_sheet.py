"""Show images beside the depth that `cortexia estimate` made of them, on one sheet.

Usage: python examples/contact_sheet.py IMAGES DEPTH SHEET.jpg
"""

from __future__ import annotations

import sys
from pathlib import Path

from PIL import Image

import cortexia_video as cx


def main(images: Path, depth: Path, sheet: Path) -> None:
    """Lay out every image that the ledger of `depth` calls done; near is bright."""
    keys = sorted({line["key"] for line in cx.read_ledger(depth) if line.get("outcome") == "done"})
    samples = []
    for key in keys:
        made = cx.read_depth(depth / f"{key}.npy")
        samples.append((images / key, made.values if made.larger_is_nearer else -made.values))
    Image.fromarray(cx.collage(samples)).save(sheet, quality=90)
    print(f"{sheet}: {len(samples)} images, each beside its depth (near is bright)")


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    main(*map(Path, sys.argv[1:]))
