"""`Recording`: steps as a recording of Rerun's, with the layout of its panels.

Below the name of each column: `camera` (pinhole, in pixels as OpenCV counts them, plus 0.5), below it the values
of the map under the name of their kind and its colors; `points`; and `error` beside a ground truth. Beside the
columns `image`, `about`, `problems`. Where a run wrote them, `normals` and `confidence` are there, too.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from itertools import count
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cortexia_video.errors import Failure, MissingExtraError, OutputLostError, printable, say_install
from cortexia_video.viewing.steps import DEPTH_COLORS, ERROR_COLORS, MapView, Step

if TYPE_CHECKING:
    import rerun as rr

APPLICATION = "cortexia_view"
_PIPES = "/dev/fd"  # a folder of what is open, by number
_MARK = (b"RRF2", APPLICATION.encode())  # what a recording begins with, and says in its first bytes
HEAD_BYTES = 128
_UNDER, _OVER = -30.0, -10.0  # which of two images covers the other
_FPS = 10.0  # when a person plays the time line
_POINT_SIZE = 2.0  # on the screen


def require_rerun() -> None:
    """Raise `MissingExtraError` where the viewer is not installed."""
    if find_spec("rerun") is None:
        raise MissingExtraError("view needs rerun: " + say_install("'cortexia-video[view]'"))


def is_own_recording(head: bytes) -> bool:
    """Return whether a file with these first bytes was written by a `Recording`."""
    return head.startswith(_MARK[0]) and _MARK[1] in head


class Recording:
    """Log steps to a file, or as bytes that are taken now and then.

    Args:
        names: Of the columns.
        wording: Turns messages into those for people.
        path: The file; without it `take` gives the bytes.
    """

    def __init__(
        self, names: Sequence[str], wording: Callable[[str], str] = str, path: Path | None = None
    ) -> None:
        import rerun as rr

        self._names, self._wording, self._file = names, wording, path
        self._paths = [rr.new_entity_path([name]) for name in names]
        self._stream = rr.RecordingStream(APPLICATION)
        self._bytes: rr.BinaryStream | None = None
        self._copy: _Copy | None = None
        if path is None:
            self._bytes = self._stream.binary_stream()
        elif not Path(_PIPES).is_dir():  # Windows
            self._stream.save(path)
        else:
            self._copy = _Copy(path)
            self._stream.save(self._copy.pipe)
            self._copy.start()
        self._stream.send_recording_name(printable(", ".join(names)))
        self._stream.set_log_tick_enabled(False)
        self._stream.set_log_time_enabled(False)
        self._numbers = count()
        self._shown: set[str] = set()  # entities of the last step, which last until they are cleared

    def add(self, step: Step) -> None:
        """Log the next step of the time line."""
        import rerun as rr

        number = next(self._numbers)
        if number == 0:
            self._lay_out(step)
        self._stream.reset_time()
        self._stream.set_time("image", sequence=number)
        if step.time_s is not None:
            self._stream.set_time(f"seconds of {step.clip}" if step.clip else "seconds", duration=step.time_s)
        lines = [f"### {_quote(step.key)}"]
        for name, each in zip(self._names, step.maps, strict=True):
            said = [each.reason] if isinstance(each, Failure) else each.lines
            lines += ["", f"**{_quote(name)}**", "", *(f"- {self._say(line)}" for line in said)]
        lines += [f"\n{self._say(step.problem)}"] if step.problem else []
        shown: dict[str, Any] = {"about": rr.TextDocument("\n".join(lines), media_type="text/markdown")}
        if step.image is not None:
            shown["image"] = rr.Image(step.image)  # not as JPEG: these must all be of one size
        for path, each in zip(self._paths, step.maps, strict=True):
            if not isinstance(each, Failure):
                shown |= _list_entities(path, each)
        for path in self._shown - shown.keys():
            self._stream.log(path, rr.Clear(recursive=False))
        for path, entity in shown.items():
            self._stream.log(path, entity)
        self._shown = {*shown}
        self.complain([f"{step.key}: {each}" for each in step.problems])

    def complain(self, problems: Sequence[str]) -> None:
        """Log what went wrong, at the last step."""
        import rerun as rr

        for each in problems:
            self._stream.log("problems", rr.TextLog(self._say(each), level=rr.TextLogLevel.ERROR))

    def take(self) -> bytes:
        """Return what was logged since the last call; of a file, see that it is written: then nothing.

        Raises `OutputLostError` where the file's disk is full or unwritable.
        """
        if self._bytes is not None:
            return self._bytes.read() or b""
        self._stream.flush()
        if self._copy and self._copy.error:
            raise OutputLostError(self._file, self._copy.error) from self._copy.error
        return b""

    def close(self) -> None:
        """End the file; raises `OutputLostError` where it is not whole."""
        self._stream.disconnect()
        if self._copy:
            self._copy.join()
            if self._copy.error:
                raise OutputLostError(self._file, self._copy.error) from self._copy.error

    def _say(self, text: str) -> str:
        return printable(self._wording(text))

    def _lay_out(self, step: Step) -> None:
        """Send the panels: the image and what is said of it, then a column for each map, with points below it."""
        import rerun as rr
        import rerun.blueprint as rrb

        about = rrb.TextDocumentView(origin="about", name="about")
        texts = rrb.Tabs(about, rrb.TextLogView(origin="problems", name="problems"))
        image = rrb.Spatial2DView(origin="image", name="image")
        columns: list[Any] = [rrb.Vertical(image, texts)]
        for name, path, each in zip(self._names, self._paths, step.maps, strict=True):
            self._stream.log(f"{path}/camera/colors", _list_colors(DEPTH_COLORS), static=True)
            self._stream.log(f"{path}/error/colors", _list_colors(ERROR_COLORS), static=True)
            title, below = name, []
            if isinstance(each, MapView):
                how = f" by {each.alignment}" if each.alignment else ""
                title = f"{name}: {f'metres{how}' if each.is_metric else f'{each.kind}, relative'}"
            if isinstance(each, MapView) and each.error is not None:
                below.append(rrb.Spatial2DView(origin=f"{path}/error", name=printable(f"{name}: error")))
            for beside in ("normals", "confidence"):
                if getattr(each, beside, None) is not None:
                    title_of_it = printable(f"{name}: {beside}")
                    below.append(rrb.Spatial2DView(origin=f"{path}/{beside}", name=title_of_it))
            if isinstance(each, MapView) and each.points:
                self._stream.log(path, rr.ViewCoordinates.RDF, static=True)
                below.append(_view_points(name, path, each))
            panel = rrb.Spatial2DView(origin=f"{path}/camera", name=printable(title))
            columns.append(rrb.Vertical(panel, rrb.Tabs(*below)) if below else rrb.Vertical(panel))
        time = rrb.TimePanel(timeline="image", state="collapsed", play_state="paused", fps=_FPS)
        self._stream.send_blueprint(rrb.Blueprint(rrb.Horizontal(*columns), time, collapse_panels=True))


class _Copy(Thread):
    """Copies what is written to `pipe` into a file: Rerun itself waits without end for a disk that is full.

    error: what the disk said; the rest is then thrown away.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(name="cortexia-recording", daemon=True)
        self.error: OSError | None = None
        self._path = path
        self._read, self._write = os.pipe()
        self.pipe = f"{_PIPES}/{self._write}"

    def run(self) -> None:
        """Copy until the writer has closed its end."""
        os.close(self._write)  # Rerun has opened its own
        with os.fdopen(self._read, "rb", buffering=0) as pipe, self._path.open("wb", buffering=0) as file:
            while piece := memoryview(pipe.read(1 << 20)):
                try:
                    while piece and not self.error:
                        piece = piece[file.write(piece) :]
                except OSError as error:
                    self.error = error


def _list_entities(path: str, shown: MapView) -> dict[str, Any]:
    """Return what is logged of a map; metres as depth, and what is relative as numbers without a unit."""
    import rerun as rr

    values: Any
    if shown.is_metric:
        near_last = (shown.limits.d_max, shown.limits.d_min)  # so that near is bright
        values = rr.DepthImage(
            shown.values, meter=1.0, colormap="viridis", depth_range=near_last, draw_order=_UNDER
        )
    else:
        values = rr.Image(shown.values, "L", draw_order=_UNDER)
    entities = {
        f"{path}/camera/{'depth' if shown.is_metric else shown.kind}": values,
        f"{path}/camera/colors": _cover(shown.levels),
    }
    if shown.error is not None and shown.error_levels is not None:
        entities[f"{path}/error/relative"] = rr.Image(shown.error, "L", draw_order=_UNDER)
        entities[f"{path}/error/colors"] = _cover(shown.error_levels)
    if shown.normals is not None:
        entities[f"{path}/normals"] = rr.Image(shown.normals)
    if shown.confidence is not None:
        entities[f"{path}/confidence"] = rr.Image(shown.confidence, "L")
    if shown.camera:
        camera = shown.camera
        entities[f"{path}/camera"] = rr.Pinhole(
            focal_length=[camera.fx, camera.fy],
            principal_point=[camera.cx, camera.cy],
            width=camera.width,
            height=camera.height,
            image_plane_distance=0.5 * shown.limits.d_min if shown.points else 1.0,  # before what is nearest
        )
    if shown.points:
        radii = rr.Radius.ui_points(_POINT_SIZE)
        entities[f"{path}/points"] = rr.Points3D(shown.points.points, colors=shown.points.colors, radii=radii)
    return entities


def _cover(levels: NDArray[np.uint8]) -> Any:
    """Return colors that lie over the values that the pointer shows."""
    import rerun as rr

    return rr.SegmentationImage(levels, opacity=1.0, draw_order=_OVER)


def _list_colors(table: NDArray[np.uint8]) -> Any:
    """Return what the numbers of colors are."""
    import rerun as rr

    return rr.AnnotationContext(
        [(number, "unknown" if number == 0 else "", color) for number, color in enumerate(table.tolist())]
    )


def _view_points(name: str, path: str, shown: MapView) -> Any:
    """Return a panel that looks at points from behind their camera, where those of a panorama are all around."""
    import rerun.blueprint as rrb

    assert shown.points is not None
    middle = float(np.median(np.linalg.norm(shown.points.points, axis=1)))
    eye = rrb.EyeControls3D(
        position=(0.15 * middle, -0.2 * middle, -0.3 * middle), look_target=(0, 0, middle), eye_up=(0, -1, 0)
    )
    unit = "" if shown.points.unit == "metre" else " (up to a factor)"
    contents = [f"{path}/points", f"{path}/camera"]
    return rrb.Spatial3DView(
        origin=path, contents=contents, name=printable(f"{name}: points{unit}"), eye_controls=eye
    )


def _quote(text: str) -> str:
    """Return text that Markdown shows as it is."""
    return "`" + printable(text).replace("`", "'") + "`"
