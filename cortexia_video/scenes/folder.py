"""Scenes as a dataset in a folder: rgb/, depth/, normals/ and a set.json, which `open_dataset` reads.

`scenes.jsonl` has the plan in its first line and then a line for each scene that is there. What is missing is
rendered by a later call: after a kill, or because more were asked for.
"""

from __future__ import annotations

import io
import json
import secrets
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image

from cortexia_video.depth_map import DepthMap
from cortexia_video.errors import InputError, OutputExistsError, not_known, output_lost, require_at_least_1
from cortexia_video.formats import tiff
from cortexia_video.formats.raw_depth import Chunks
from cortexia_video.ledger.ledger import AppendLog
from cortexia_video.ledger.object_log import ObjectStoreLog, list_segments
from cortexia_video.ledger.state import read_lines
from cortexia_video.runtime.process_pool import render_in_processes
from cortexia_video.runtime.progress import stage
from cortexia_video.runtime.resources import choose_workers
from cortexia_video.scenes.furniture_models import describe_library, find_folder, open_library
from cortexia_video.scenes.layouts import LAYOUTS, NEED_EMBREE, NEED_MODELS, TAKE_MODELS, VIEWS
from cortexia_video.scenes.meshes import get_device
from cortexia_video.scenes.moves import RATE, describe_poses, render_move
from cortexia_video.scenes.photo_textures import list_photos, require_photos
from cortexia_video.scenes.plan import MOVES, ScenePlan
from cortexia_video.scenes.rendering import RGBDScene, render_scenes
from cortexia_video.sinks.sink import Sink, open_sink
from cortexia_video.storage.documents import parse_object
from cortexia_video.storage.own_folder import require_own_folder
from cortexia_video.storage.paths import AnyPath, PathLike, to_path
from cortexia_video.storage.remote_path import RemotePath
from cortexia_video.video.container import require_video
from cortexia_video.video.frames import write_frames

RECORD = "scenes.jsonl"
_MARKS = (b'{"plan": ', b'{"name": ')
_SET = "set.json"
_FOLDERS = ("rgb", "depth", "normals")
_RENDERER = 2
"""Raised when scenes of the same seeds look different: a folder is never of two kinds."""
_WORDS = frozenset({"name", *_FOLDERS, "kind", "intrinsics"})
_AT_ONCE = 16  # scenes that a worker renders before it reports
_LEAST, _MOST = 16, 8192  # pixels of a side
_MOST_FRAMES = 99_999
_USUAL = ScenePlan()

Line = dict[str, Any]


class Written(NamedTuple):
    """What `write_scenes` did. rendered: scenes that were missing. there: all that the folder holds now."""

    rendered: int
    there: int


def write_scenes(
    output: PathLike,
    count: int,
    plan: ScenePlan = _USUAL,
    *,
    workers: int | None = None,
) -> Written:
    """Write `count` scenes to a folder, those that are missing: what `cortexia scenes` does.

    Args:
        output: A new or empty folder, or one that an earlier call began; a path or a URL.
        count: How many scenes it is to hold.
        plan: What they are.
        workers: Processes; one per core by default. A GPU has one.

    Returns:
        How many were rendered, and how many there are now.

    Raises:
        InputError: The plan cannot be rendered.
        OutputExistsError: The folder holds other files, or other scenes.
        OutputError: Another process writes to it, or it cannot be written.

    Example:
        >>> cx.scenes.write_scenes("scenes", 100, cx.scenes.ScenePlan(seed=7))  # doctest: +SKIP
    """
    output = to_path(output)
    check_plan(plan)
    require_at_least_1(count=count)
    if not _list_record(output):
        require_own_folder(output, "scenes rendered here", {})
        if plan.textures is not None:
            require_photos(plan.textures)  # later, none can be taken out: the record names them
    with ExitStack() as stack:
        record: AppendLog | ObjectStoreLog
        if isinstance(output, RemotePath):
            record = stack.enter_context(ObjectStoreLog(output, secrets.token_hex(4)))
        else:
            record = stack.enter_context(AppendLog(output / RECORD, _MARKS))
            record.lock("renders into")
        sink = stack.enter_context(open_sink(output))  # clears what a kill left half-written
        lines = _read_record(record, output, plan)
        missing = [
            seed
            for seed in range(plan.seed, plan.seed + count)
            if any(
                (line := lines.get(name)) is None
                or any(sink.size_of(str(line[folder])) is None for folder in _FOLDERS)
                for name in _name_frames(plan, seed)
            )
        ]
        begun = stack.enter_context(stage("rendering", "scenes", count))
        begun.skip(count - len(missing))
        for part in _render(output, plan, missing, workers):
            for line in part:
                record.append(line)
                lines[line["name"]] = line
            begun.advance(len(part) // plan.frames)
        about = {
            "name": "scenes",
            "frames": [lines[name] for name in sorted(lines)],
            "depth_scale": 1,
            "max_depth_m": None,  # sky has no depth, and nothing is farther than the farthest that is known
            "intrinsics": None,
            "kind": "synthetic",
            "licence": "made by cortexia scenes: yours",
            "registered": True,
        }
        sink.place({_SET: [json.dumps(about, indent=1).encode()]})
    return Written(len(missing), len(lines) // plan.frames)


def _list_record(output: AnyPath) -> Sequence[AnyPath]:
    """Return what the record is in: a file, or at a URL objects, as those of a ledger."""
    if isinstance(output, RemotePath):
        return list_segments(output)
    return [output / RECORD] if (output / RECORD).exists() else []


def _name(seed: int) -> str:
    return f"{seed:08d}"


def _name_frames(plan: ScenePlan, seed: int) -> list[str]:
    """Return the names of the images of a scene."""
    if plan.move is None:
        return [_name(seed)]
    return [f"{_name(seed)}/{number:06d}" for number in range(plan.frames)]


def _read_record(record: AppendLog | ObjectStoreLog, output: AnyPath, plan: ScenePlan) -> dict[str, Line]:
    """Read the lines of scenes by name, the plan checked or written; a torn line counts as none."""
    parsed = [parse_object(line) for path in _list_record(output) for line in read_lines(path)]
    plans = [line["plan"] for line in parsed if "plan" in line]
    if not plans and any(parsed):
        raise OutputExistsError(f"{output} holds a run, which is no scene of ours: choose another `output`")
    if not plans:
        record.append({"plan": describe_plan(plan)})
        record.sync()  # before the first scene, or a kill would leave scenes that nobody knows
    elif plans[0] != describe_plan(plan):
        differs = [name for name, value in describe_plan(plan).items() if plans[0].get(name) != value]
        raise OutputExistsError(
            f"{output} holds scenes of another {', '.join(differs)}: choose another `output`"
        )
    return {line["name"]: line for line in parsed if line.keys() >= _WORDS}


def _render(
    output: AnyPath, plan: ScenePlan, seeds: Sequence[int], workers: int | None
) -> Iterator[list[Line]]:
    """Render seeds into files, part by part, and yield the lines of each part as it is done."""
    processes = 1 if torch.device(plan.device).type != "cpu" else choose_workers(workers)
    size = _AT_ONCE if processes > 1 else 1 if plan.device == "cpu" else 64
    parts = [seeds[at : at + size] for at in range(0, len(seeds), size)]
    make = partial(_render_part, output, plan)
    if processes == 1 or len(parts) <= 1:
        yield from map(make, parts)
        return
    yield from render_in_processes(make, parts, min(processes, len(parts)))


def _render_part(output: AnyPath, plan: ScenePlan, seeds: Sequence[int]) -> list[Line]:
    """Render seeds and place their files, each atomically, and return their lines."""
    lines = []
    with open_sink(output) as sink:
        for name, scene in _render_named(sink, plan, seeds):
            rgb, depth, normals = f"rgb/{name}.png", f"depth/{name}.tiff", f"normals/{name}.npy"
            png, npy = io.BytesIO(), io.BytesIO()
            Image.fromarray(scene.image).save(png, "PNG", compress_level=1)
            np.save(npy, scene.normals.astype(np.float16))
            files: dict[str, Chunks] = {
                rgb: [png.getbuffer()],
                depth: tiff.encode_unpacked(DepthMap(scene.depth_m, "metric", scene.f_px, "given")),
                normals: [npy.getbuffer()],
            }
            with output_lost(sink.root / rgb):
                sink.place(files)
            height, width = scene.depth_m.shape
            centre = {"cx": width / 2 - 0.5, "cy": height / 2 - 0.5}  # from the middle of the first pixel
            lines.append(
                {
                    "name": name,
                    "rgb": rgb,
                    "depth": depth,
                    "normals": normals,
                    "kind": scene.layout,
                    "intrinsics": {"fx": scene.f_px, "fy": scene.f_px, **centre},
                }
            )
    return lines


def _render_named(sink: Sink, plan: ScenePlan, seeds: Sequence[int]) -> Iterator[tuple[str, RGBDScene]]:
    """Yield each image with its name; of a move also place the clip, lossless, and its poses."""
    if plan.move is None:
        scenes = render_scenes(
            seeds,
            plan.height,
            plan.width,
            plan.kinds or None,
            device=plan.device,
            textures=plan.textures,
            furniture=plan.furniture,
        )
        yield from ((_name(scene.seed), scene) for scene in scenes)
        return
    for seed in seeds:
        shots = render_move(
            seed,
            plan.move,
            plan.frames,
            plan.height,
            plan.width,
            plan.kinds or None,
            plan.device,
            plan.textures,
            plan.furniture,
        )
        images, poses = [], []
        for name, shot in zip(_name_frames(plan, seed), shots, strict=True):
            images.append(shot.scene.image)
            poses.append(shot.pose)
            yield name, shot.scene
        clip = io.BytesIO()
        write_frames(clip, images, RATE)
        files: dict[str, Chunks] = {
            f"clips/{_name(seed)}.mkv": [clip.getbuffer()],
            f"clips/{_name(seed)}.poses.txt": [describe_poses(poses).encode()],
        }
        with output_lost(sink.root / f"clips/{_name(seed)}.mkv"):
            sink.place(files)


def check_plan(plan: ScenePlan) -> None:
    """Raise `InputError` for what cannot be rendered."""
    if plan.seed < 0:
        raise InputError(f"`seed` must be at least 0, got {plan.seed}")
    if not all(_LEAST <= side <= _MOST for side in (plan.height, plan.width)):
        raise InputError(f"size {plan.height} x {plan.width}: give height and width of {_LEAST} to {_MOST}")
    unknown = [kind for kind in plan.kinds if kind not in LAYOUTS]
    if unknown:
        raise InputError(not_known("kind of scene", unknown[0], LAYOUTS))
    if plan.move is None and plan.frames != 1:
        raise InputError(f"`frames` is of a `move`, one of {', '.join(MOVES)}: give one")
    if plan.move is not None and plan.move not in MOVES:
        raise InputError(f"`move` must be one of {', '.join(MOVES)}, got {plan.move!r}")
    if plan.move is not None and not 2 <= plan.frames <= _MOST_FRAMES:
        raise InputError(f"`frames` must be 2 to {_MOST_FRAMES}, got {plan.frames}")
    if plan.move is not None:
        require_video()
    try:
        torch.zeros(1, device=plan.device).item()  # `meta` and such give a tensor, and nothing in it
    except (RuntimeError, AssertionError, ImportError) as error:
        raise InputError(f"device {plan.device!r} cannot be used: try `device='cpu'`") from error
    if plan.textures is not None:
        list_photos(plan.textures)
    if set(NEED_EMBREE) & set(plan.kinds):
        get_device()
    if plan.furniture is not None and not set(TAKE_MODELS) & set(plan.kinds):
        raise InputError(
            f"`furniture` is for the kinds {', '.join(TAKE_MODELS)}: name one of them as `kinds`"
        )
    if takes_models(plan):
        open_library(find_folder(plan.furniture))


def takes_models(plan: ScenePlan) -> bool:
    """Return whether models stand in scenes of a plan: streets have some only where a folder is named."""
    return plan.furniture is not None or bool(set(NEED_MODELS) & set(plan.kinds))


def count_views(kinds: Sequence[str]) -> int:
    """Return how many neighbouring seeds, from a multiple of it on, look at one place where kinds are these."""
    return VIEWS if set(NEED_EMBREE) & set(kinds) else 1


def describe_plan(plan: ScenePlan) -> Line:
    """Return what makes scenes the same, as the record keeps it."""
    left_out = ("textures", "furniture") if plan.move else ("textures", "furniture", "move", "frames")
    about = {name: value for name, value in asdict(plan).items() if name not in left_out}
    photos = [path.name for path in list_photos(plan.textures)] if plan.textures else []
    told = {"renderer": _RENDERER, **about, "kinds": list(plan.kinds), "textures": photos}
    if takes_models(plan):
        told["furniture"] = describe_library(find_folder(plan.furniture))
    return told
