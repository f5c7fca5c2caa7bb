"""`python -m cortexia_video.training`: make the built-in network `compact` from nothing but this package.

Renders a pool of scenes, trains, and writes one ONNX file. Each part resumes where it was stopped.
"""

from __future__ import annotations

import logging
from pathlib import Path

import torch
from cyclopts import App

from cortexia_video.training.batches import SHORT_SIDE
from cortexia_video.training.export import compact_metadata, export_onnx
from cortexia_video.training.loop import Recipe, start_training, train
from cortexia_video.training.network import DepthNetwork, batch_norm, no_norm, parameter_count
from cortexia_video.training.pool import PoolPlan, make_pool
from cortexia_video.training.pretrained import load_mobilenet

_POOL_HEIGHT, _POOL_WIDTH = 256, 336

_log = logging.getLogger("cortexia_video.training")
app = App(name="python -m cortexia_video.training", help="Make the built-in network `compact`.")


@app.default
def make_compact(
    *,
    output: Path,
    work: Path = Path("runs/compact"),
    encoder: Path | None = None,
    scenes: int = 7200,
    steps: int = Recipe().steps,
    workers: int = 2,
    seed: int = 0,
) -> None:
    """Render, train and export.

    Parameters
    ----------
    output
        The ONNX file to write.
    work
        Folder for the pool of scenes and the checkpoint; a second run goes on from there.
    encoder
        MobileNetV2 classifier (.tflite) to start the encoder from; without it the encoder starts from noise.
    scenes
        Scenes to render, rounded up to hundreds.
    steps
        Steps of training.
    workers
        Processes that render.
    seed
        Of weights, order and augmentation.
    """
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    torch.manual_seed(seed)
    network = build_network(encoder)
    _log.info("%d parameters, encoder from %s", parameter_count(network), encoder or "noise")
    pool = make_pool(work / "pool", PoolPlan(scenes, _POOL_HEIGHT, _POOL_WIDTH), workers)
    recipe = Recipe(steps=steps, seed=seed, encoder_rate=1.0 if encoder is None else Recipe().encoder_rate)
    trained = train(start_training(network, recipe), pool, work / "checkpoint.pt")
    source = describe_source(encoder, len(pool), steps * recipe.batch_size)
    export_onnx(trained, output, compact_metadata(SHORT_SIDE, source))
    _log.info("wrote %s, %d bytes", output, output.stat().st_size)


def build_network(encoder: Path | None) -> DepthNetwork:
    """Build the network with its encoder from a MobileNetV2 classifier, or with batch norm and from noise."""
    if encoder is None:
        return DepthNetwork(batch_norm)
    network = DepthNetwork(no_norm)
    load_mobilenet(network.encoder, encoder)
    return network


def describe_source(encoder: Path | None, scenes: int, images: int) -> str:
    """Say in one line what the weights come from."""
    start = "noise" if encoder is None else f"the MobileNetV2 ImageNet classifier {encoder.name} (Apache-2.0)"
    return (
        f"trained by cortexia_video.training on {images} crops of {scenes} procedural scenes, no real depth; "
        f"encoder started from {start}"
    )


if __name__ == "__main__":
    app()
