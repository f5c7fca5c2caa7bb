"""Images and the depth that `cortexia estimate` made of them, as rows of a dataset."""

from __future__ import annotations

import io
import json
import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from functools import partial

import numpy as np
import xxhash
from PIL import JpegImagePlugin

from cortexia_video.datasets.build_items import BuildItem, checked_row
from cortexia_video.datasets.row_schema import Row, to_row
from cortexia_video.depth_map import DepthMap
from cortexia_video.errors import Failure
from cortexia_video.frame import Frame
from cortexia_video.images.decode import decode, read_header
from cortexia_video.images.resampling import resize_image
from cortexia_video.ledger.artifacts import Line, find_depth, read_run_depth, read_run_image
from cortexia_video.ledger.lines import LedgerLines
from cortexia_video.ledger.state import LedgerState
from cortexia_video.pinhole import Pinhole
from cortexia_video.rgbd_sample import RGBDSample
from cortexia_video.sources.find import find_images
from cortexia_video.storage.documents import parse_json
from cortexia_video.storage.paths import AnyPath, to_path, to_text

_OF_MODEL = ("model", "weights_sha256")
NO_DEPTH, VIEW_ONLY = "without depth in the run", "with only a view of their depth"
_ORIENTATION = 0x0112


def list_run_items(images: AnyPath, run: AnyPath, left: Counter[str]) -> Iterator[BuildItem | Failure]:
    """Yield an item for each image that the run in the folder `run` has done, in the order of the keys.

    images: what was given to `cortexia estimate`. left: how many images get no item, by reason.
    Raises `InputError` where there are no images or no ledger.
    """
    origin = images.resolve().name
    with LedgerLines(run) as ledger:
        state = LedgerState(ledger)
        runs, places = state.runs, state.places()
        del state
        lines = {line["key"]: json.dumps(line) for line in ledger.at(places)}
    for image in find_images([to_text(images)], recursive=True, output=run):
        if isinstance(image, Failure):
            yield image
            continue
        line = parse_json(lines.get(image.key, "null"), image.key)
        if line is None or find_depth(line) is None:
            left[NO_DEPTH if line is None else VIEW_ONLY] += 1
            continue
        settings = runs[line["run"]].settings if line["run"] in runs else {}
        line |= {name: line.get(name, settings.get(name)) for name in _OF_MODEL}
        load = partial(_load, image.key, to_path(image.place), run, line, origin)
        yield BuildItem(image.key, _fingerprint(image.key, line, origin), load)


def _fingerprint(key: str, line: Line, origin: str) -> str:
    """Return what the row depends on: the image as the run found it, and the files that the run wrote."""
    facts = [key, origin, line["source"], line["outputs"], line["kind"], line.get("f_px")]
    facts += [line[name] for name in _OF_MODEL]
    return xxhash.xxh3_128_hexdigest(json.dumps(facts).encode())


def _load(key: str, path: AnyPath, run: AnyPath, line: Line, origin: str) -> Row | Failure:
    data = read_run_image(line, path)
    frame = decode(data, key, max_megapixels=math.inf)  # once it was allowed
    depth = read_run_depth(run, line)
    words = {name: getattr(depth, name) or line[name] for name in _OF_MODEL}
    sample = replace(_join(frame, replace(depth, **words)), origin=origin)
    keeps = _is_plain_jpeg(data) and sample.frame.image is frame.image
    return checked_row(sample, partial(to_row, image=data if keeps else None))


def _join(frame: Frame, depth: DepthMap) -> RGBDSample:
    """Return a sample; where depth is a smaller map of all of it, the image is reduced to its size."""
    height, width = depth.values.shape
    camera = Pinhole.centred(depth.f_px, frame.width, frame.height) if depth.f_px else None
    image = frame.image
    if depth.full_size == (frame.height, frame.width):
        image = np.ascontiguousarray(resize_image(image, height, width))
        camera = camera.resized(width, height) if camera else None
    f_px = (camera.fx + camera.fy) / 2 if camera else None
    depth = replace(depth, f_px=f_px, full_size=None)
    return RGBDSample(Frame(frame.key, image, f_px, depth.f_source), depth, camera)


def _is_plain_jpeg(data: bytes) -> bool:
    """Return whether anybody's reader gives the pixels that ours does: upright, three channels."""
    if read_header(data).format != "JPEG":
        return False
    with JpegImagePlugin.JpegImageFile(io.BytesIO(data)) as image:
        return image.mode == "RGB" and image.getexif().get(_ORIENTATION, 1) == 1
