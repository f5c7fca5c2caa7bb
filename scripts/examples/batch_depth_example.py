"""Use the batch processing from Python: depth for a folder's images, then a look at what was saved.

Usage: python scripts/examples/batch_depth_example.py FOLDER [MODEL]
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from cortexia_video import CortexiaError

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from batch_processor import Counts, find_images, get_estimator, name_outputs, process_folder


def main(folder: str, model: str = "compact") -> None:
    """Save depth beside every image of `folder` and print the range of each map."""
    names = find_images(folder)
    counts = Counts(found=len(names))
    process_folder(folder, names, get_estimator(model, batch_size=4), save_format="npy", counts=counts)
    print(f"{counts.found} found, {counts.saved} saved, {counts.skipped} skipped, {counts.failed} failed")
    for name, output in name_outputs(names).items():
        path = Path(folder, f"{output}.npy")
        if path.exists():
            depth = np.load(path)
            print(f"{name}: {depth.dtype} {depth.shape}, {depth.min():.3f} to {depth.max():.3f}")


if __name__ == "__main__":
    if not 2 <= len(sys.argv) <= 3:
        sys.exit(__doc__)
    try:
        main(*sys.argv[1:])
    except (CortexiaError, OSError) as error:
        sys.exit(f"batch_depth_example: {error}")
