"""`view`: what `cortexia view` does: depth, wherever it is, shown in the Rerun viewer."""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from functools import partial
from itertools import chain
from pathlib import Path

from cortexia_video.depth_map import DepthKind
from cortexia_video.errors import InputError, OutputError, OutputExistsError, printable, require_at_least_1
from cortexia_video.evaluation.protocol import load_protocol
from cortexia_video.jobs.point_clouds import CloudMaker, CloudOptions
from cortexia_video.runtime.bounded_map import map_bounded
from cortexia_video.runtime.progress import track
from cortexia_video.runtime.resources import choose_workers
from cortexia_video.storage.atomic_file import write_atomic
from cortexia_video.storage.paths import to_path, to_text
from cortexia_video.viewing.columns import make_step
from cortexia_video.viewing.open import PROTOCOL, is_results, open_columns, open_results
from cortexia_video.viewing.recording import HEAD_BYTES, Recording, is_own_recording, require_rerun
from cortexia_video.viewing.steps import Step
from cortexia_video.viewing.viewers import serve_web, show_window

PORT = 9090
COUNT = 100
_SUFFIX = ".rrd"
_PLAIN = CloudOptions()


@dataclass(slots=True)
class ViewReport:
    """What was shown.

    Attributes:
        images: Steps of the time line.
        problems: What could not be shown of them, and why, the first hundred.
        failed: How many of them.
        flat: How many have no points.
        why_flat: Why the first of them has none.
    """

    images: int = 0
    problems: list[str] = field(default_factory=list)
    failed: int = 0
    flat: int = 0
    why_flat: str = ""

    def clear(self) -> None:
        """Begin again: a browser that loads the page once more gets it from the beginning."""
        self.images, self.failed, self.problems, self.flat, self.why_flat = 0, 0, [], 0, ""

    def add(self, step: Step) -> None:
        """Count a step."""
        self.images += 1
        self.failed += bool(step.problems)
        self.problems += [f"{step.key}: {each}" for each in step.problems[: 100 - len(self.problems)]]
        if step.no_points:
            self.flat += 1
            self.why_flat = self.why_flat or step.no_points

    def __str__(self) -> str:
        failed = f", {self.failed} of them not whole" if self.failed else ""
        flat = f"; {self.flat} without points: {self.why_flat}" if self.flat else ""
        return f"{self.images} {'image' if self.images == 1 else 'images'}{failed}{flat}"


def view(
    paths: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    *,
    images: str | os.PathLike[str] | None = None,
    count: int = COUNT,
    output: str | os.PathLike[str] | None = None,
    web: bool = False,
    port: int = PORT,
    kind: DepthKind | None = None,
    convention: str | None = None,
    options: CloudOptions = _PLAIN,
    workers: int | None = None,
    wording: Callable[[str], str] = str,
    on_url: Callable[[str], None] = print,
) -> ViewReport:
    """Show depth in the Rerun viewer: images, maps with their values, points, a time line, failures.

    Several paths are shown side by side, by the keys of the first one's images, or of a dataset's wherever it
    stands; then the dataset is the ground truth. Maps and images are shown at 1024 pixels at most, points at
    512 x 512; all values are those of the map. Depth that is no metres is shown by its numbers, without a unit
    and without points, unless `options` anchor it by `near_m` and `far_m`. Memory does not grow with a folder.

    Args:
        paths: Output folders of runs, depth files, clips of depth, folders of depth files, and datasets, also
            as tum:DIR.
        images: The folder that the images are in now, by their keys, if they were moved; of a depth file its
            image, of a clip its video.
        count: Images and frames that are shown at most, spread over all.
        output: Write a recording (.rrd) instead, which `rerun FILE` shows; an earlier one is replaced.
        web: Serve the viewer to a browser on this machine, until Ctrl-C.
        port: Port of that viewer; 0 takes any that is free.
        kind: What the values of depth files mean, if they do not say so.
        convention: Whose files these are, which says what values mean: tum, kitti, nyu, scannet, moge and so on.
        options: Camera and metres of the points, as of point clouds.
        workers: Threads that read; one per core by default.
        wording: Turns messages that are shown, which name parameters, into others.
        on_url: Called with the URL of the web viewer.

    Returns:
        How many images were shown, and what could not be.

    Raises:
        InputError: There is nothing to view, no display, or the port is in use.
        OutputExistsError: `output` is a file that is no recording of ours.
        OutputError: No file can be written there, or the viewer does not start.
        MissingExtraError: Rerun is not installed.

    Example:
        >>> cx.view("depth", output="depth.rrd").images  # doctest: +SKIP
        60
    """
    require_rerun()
    given = [paths] if isinstance(paths, str | os.PathLike) else paths
    names = [to_text(each) for each in given]
    require_at_least_1(count=count)
    if web and output is not None:
        raise InputError("`web` and `output` are two ways to view: give one")
    place = None if output is None else to_path(output)
    if place is not None:
        if place.suffix.lower() != _SUFFIX:
            raise OutputError(f"{place} is no name of a recording: end it in {_SUFFIX}")
        with suppress(FileNotFoundError), place.open("rb") as file:
            if not is_own_recording(file.read(HEAD_BYTES)):
                raise OutputExistsError(
                    f"{place} exists and is no recording of ours: choose another `output`"
                )
    maker, report = CloudMaker(options), ViewReport()
    moved_to = None if images is None else to_path(images)
    with ExitStack() as opened:
        protocol = load_protocol(PROTOCOL)
        if len(names) == 1 and is_results(to_path(names[0])):
            columns, protocol = open_results(to_path(names[0]))
        else:
            columns = open_columns(names, opened, images=moved_to, kind=kind, convention=convention)
        if next(columns[0].list_items(1), None) is None:
            raise InputError(
                f"nothing to view in {printable(names[0])}: give the output folder of a run, or depth files"
            )
        make = partial(make_step, columns, maker, protocol)

        def record(path: Path | None = None) -> Iterator[bytes]:
            """Yield a recording piece by piece, a step each; the pieces are empty where it has a file."""
            report.clear()
            recording = Recording([each.name for each in columns], wording, path)
            steps = map_bounded(columns[0].list_items(count), make, workers=choose_workers(workers))
            for step in track(steps, "reading"):
                recording.add(step)
                if not report.images:
                    recording.complain([*chain.from_iterable(each.list_failed() for each in columns)])
                report.add(step)
                yield recording.take()
            recording.close()

        if place is not None:
            with write_atomic(place) as partial_file:
                deque(record(partial_file), maxlen=0)
        elif web:
            with serve_web(record, port) as url, suppress(KeyboardInterrupt):
                on_url(url)
                threading.Event().wait()
        else:
            with suppress(KeyboardInterrupt):
                show_window(record)
    return report
