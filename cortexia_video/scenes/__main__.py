"""`python -m cortexia_video.scenes`: render example images of varied sizes into a folder."""

from __future__ import annotations

from pathlib import Path

from cyclopts import App
from PIL import Image

from cortexia_video.scenes import render_scene

# layout, seed, height, width: seeds picked by the looks of the image, outside those `compact` is trained on
_IMAGES = (
    ("room", 900002, 480, 640),
    ("street", 900003, 576, 1024),
    ("table", 900001, 800, 600),
    ("facade", 900003, 768, 1024),
    ("corridor", 900001, 640, 640),
    ("open", 900005, 540, 960),
)

app = App(name="python -m cortexia_video.scenes", help="Render example images.")


@app.default
def write_examples(*, output: Path, count: int = len(_IMAGES)) -> None:
    """Render `count` images as JPEG files named by layout and seed; those there are replaced.

    Parameters
    ----------
    output
        Folder to write into.
    count
        Number of images; after the sixth, layouts and sizes come again with other seeds.
    """
    output.mkdir(parents=True, exist_ok=True)
    for index in range(count):
        layout, seed, height, width = _IMAGES[index % len(_IMAGES)]
        scene = render_scene(seed + index - index % len(_IMAGES), height, width, layout)
        path = output / f"{layout}_{scene.seed:05d}.jpg"
        Image.fromarray(scene.image).save(path, quality=88)
        print(path)


if __name__ == "__main__":
    app()
