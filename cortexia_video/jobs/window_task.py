"""`WindowTask`: a clip on its way through the pipeline for a model that sees windows of frames.

A window is one input of the network, and one item: batches, devices and a second run in float32 are as for images.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from numpy.typing import NDArray

from cortexia_video.depth_estimation import FrameInfo, PreparedFrame
from cortexia_video.errors import DecodeError, Failure
from cortexia_video.inference.executor import ItemResult
from cortexia_video.jobs.clip_output import PROVEN
from cortexia_video.jobs.clip_task import DECODE_BYTES, ClipTask, ClipTools, FrameItem
from cortexia_video.models.protocol import Window
from cortexia_video.sources.find import InputFile
from cortexia_video.video.frames import digest_of
from cortexia_video.video.windows import fill_window


@dataclass(slots=True, eq=False)
class WindowItem(FrameItem):
    """A window in the pipeline; its position is that of the first frame it finishes.

    carried: inputs that the next begins with. held: how many of its frames cannot be decoded. proof: digests of its
    last images, by number.
    """

    carried: NDArray[Any] | None = None
    held: int = 0
    proof: dict[str, str] = field(default_factory=dict)


class WindowTask(ClipTask):
    """A `ClipTask` whose items are windows."""

    def __init__(self, item: InputFile, tools: ClipTools, window: Window) -> None:
        super().__init__(item, tools)
        self._window = window
        self._following = 0  # the first frame that the next window finishes

    def frames(self) -> Iterator[FrameItem]:
        """Yield an item for each window, and a few more."""
        ticket = 0
        while not self._ended:
            yield WindowItem(self, ticket)
            ticket += 1

    def fail(self, item: FrameItem, failure: Failure) -> None:
        """Record what the network failed by: the windows that follow need this one's depth."""
        self._settle(failure)

    def _choose_probes(self, numbers: range) -> list[int]:
        """Return none: the first window says what depth is like, and only what is known of its frames counts."""
        if self._tools.aligner:
            index, first = self._index, numbers[: self._window.frames - self._window.blended]
            self._known = self._tools.aligner.find_clip(self._name, first, index.width, index.height)
        return []

    def _read_and_prepare(self, item: FrameItem) -> PreparedFrame | None:
        assert isinstance(item, WindowItem)
        window, prepared = self._window, None
        if self._reader is None:
            self._reader = self._open()
            self._following, self._carried = self._output.following, self._output.carried
        if self._following < self._output.total:
            prepared = self._gather(item)
            item.position = self._following
            self._following += window.step + (0 if self._following else window.fitted)
        with self._turn:
            self._ended = self._ended or prepared is None
            self._ticket += 1
            self._turn.notify_all()
        return prepared

    def _gather(self, item: WindowItem) -> PreparedFrame:
        """Read and prepare the frames that the window adds; one that cannot be decoded shows the one before."""
        tools, window, index, inputs = self._tools, self._window, self._index, list[NDArray[Any] | None]()
        assert self._reader is not None
        origin = FrameInfo(self.item.key, index.height, index.width, None, None)
        for _ in range(window.frames - len(self._carried)):
            with tools.budget.hold(math.prod(index.stored) * DECODE_BYTES):
                with tools.clock.measure("decode", self.item.key):
                    read = next(self._reader, None)
                if read is None:
                    break
                one = None
                if read.image is not None:
                    with tools.clock.measure("preprocess", self.item.key):
                        prepared = self._prepare_image(read.number, read.image)
                    if isinstance(prepared, Failure):
                        raise prepared.error
                    origin, one = prepared.origin, prepared.pixels
                    item.proof[str(read.number)] = digest_of(read.image)
                inputs.append(one)
        item.held = sum(each is None for each in inputs)
        if not len(self._carried) and item.held == len(inputs):
            raise DecodeError(f"no frame of its first {len(inputs)} can be decoded")
        item.proof = dict([*item.proof.items()][-PROVEN:])
        pixels = fill_window(window, [*self._carried], inputs)
        item.carried = self._carried = pixels[[*window.carried]]
        return PreparedFrame(origin, pixels, (*pixels.shape, str(pixels.dtype)))

    def _write(self, item: FrameItem, result: ItemResult | None) -> bool:
        assert isinstance(item, WindowItem) and item.carried is not None and result is not None
        self._output.carried = item.carried
        return self._output.add_window(result, self._known, held=item.held, proof=item.proof)
