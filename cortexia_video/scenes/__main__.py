"""`python -m cortexia_video.scenes`: render example pictures of varied sizes into a folder."""

from __future__ import annotations

from pathlib import Path

from cyclopts import App
from PIL import Image

from cortexia_video.scenes import render_scene

# layout, seed, height, width: seeds picked by the looks of the picture, outside those `compact` is trained on
_PICTURES = (
    ("room", 900002, 480, 640),
    ("street", 900003, 576, 1024),
    ("table", 900001, 800, 600),
    ("facade", 900003, 768, 1024),
    ("corridor", 900001, 640, 640),
    ("open", 900005, 540, 960),
)

app = App(name="python -m cortexia_video.scenes", help="Render example pictures.")


@app.default
def write_examples(*, output: Path, count: int = len(_PICTURES)) -> None:
    """Render `count` pictures as JPEG files named by layout and seed; those there are replaced.

    Parameters
    ----------
    output
        Folder to write into.
    count
        Number of pictures; after the sixth, layouts and sizes come again with other seeds.
    """
    output.mkdir(parents=True, exist_ok=True)
    for index in range(count):
        layout, seed, height, width = _PICTURES[index % len(_PICTURES)]
        scene = render_scene(seed + index - index % len(_PICTURES), height, width, layout)
        path = output / f"{layout}_{scene.seed:05d}.jpg"
        Image.fromarray(scene.image).save(path, quality=88)
        print(path)


if __name__ == "__main__":
    app()
