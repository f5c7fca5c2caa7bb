"""Which backend a run takes where none is named: that of its folder, or in a long run the one that proves fastest."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from cortexia_video.depth_estimation import DepthEstimator
from cortexia_video.errors import Failure, MissingExtraError, ModelLoadError, attempt, printable
from cortexia_video.inference.backend_selection import BackendConfig, BackendSelector, read_config
from cortexia_video.jobs.clip_output import VideoOptions
from cortexia_video.ledger.state import read_depth_json
from cortexia_video.models.protocol import AUTO
from cortexia_video.sources.find import Found, InputFile
from cortexia_video.storage.paths import AnyPath, to_path
from cortexia_video.video.image_sequence import guess_any_frames

WAY = ("backend", "precision")  # in settings


def find_kept(
    root: AnyPath, estimator: DepthEstimator, model: str, precision: str | None
) -> BackendConfig | None:
    """Return what ran the model for the depth that a folder holds.

    None where the folder holds nothing, or depth of other settings, all of which is made again. precision: that is
    asked for, if one is.
    """
    said = read_depth_json(root)
    named = {name: value for name, value in estimator.identity.items() if name not in (*WAY, "kind")}
    if not said or set(WAY) & {*said["in_ledger"]} or any(said.get(name) != named[name] for name in named):
        return None
    config = read_config(said, model)
    return config if precision in (None, AUTO, config.precision) else None


def load_kept(
    selector: BackendSelector, loaded: Sequence[DepthEstimator], config: BackendConfig, root: AnyPath
) -> Sequence[DepthEstimator]:
    """Return the model to be run as its depth in a folder was made; say what to do where that cannot be here.

    loaded: its own way.
    """
    if config == selector.find_config(loaded[0]):
        return loaded
    try:
        return selector.load_by(config)
    except (ModelLoadError, MissingExtraError) as error:
        raise type(error)(
            f"the depth in {printable(str(root))} was made by {config}: {error}; or make all of it again by "
            "`backend='reference'`"
        ) from error


class InputCount:
    """Tells whether there are so many images, by looking at no more inputs than need be."""

    def __init__(self, inputs: Iterable[Found], video: VideoOptions) -> None:
        self._inputs, self._video = iter(inputs), video
        self._counted = 0

    def has(self, count: int) -> bool:
        """Return whether there are at least so many images and frames of videos."""
        while self._counted < count and (item := next(self._inputs, None)) is not None:
            self._counted += self._count_frames(item) if isinstance(item, InputFile) and item.is_clip else 1
        return self._counted >= count

    def _count_frames(self, clip: InputFile) -> int:
        guessed = attempt(clip.key, "decode", lambda: guess_any_frames(to_path(clip.place)))
        return 0 if isinstance(guessed, Failure) else len(self._video.choose(guessed))
