"""The folder of an evaluation's results: other files and other reports in it are nobody's to replace."""

from __future__ import annotations

from cortexia_video.errors import Failure, OutputExistsError, printable
from cortexia_video.evaluation.protocol import Protocol
from cortexia_video.evaluation.score_file import MARKS, SCORES
from cortexia_video.formats.registry import HEAD_BYTES, is_own_head
from cortexia_video.ledger.ledger import has_line
from cortexia_video.runtime.input_boundary import attempt
from cortexia_video.storage.documents import parse_json
from cortexia_video.storage.named_file import LARGEST_TEXT, read_named
from cortexia_video.storage.own_folder import require_own_folder
from cortexia_video.storage.paths import AnyPath, to_path

RESULTS, TABLE, PAGE = "results.json", "images.csv", "page.html"
_OURS = {
    RESULTS: lambda head: head.startswith(b'{\n "protocol": {'),
    TABLE: lambda head: head.startswith(b"predictor,set,key,"),
    PAGE: lambda head: is_own_head(head[:HEAD_BYTES]),
    SCORES: lambda head: has_line(head, MARKS),
}


def require_own(output: AnyPath, place: AnyPath, protocol: Protocol) -> None:
    """Refuse a folder that holds other people's files, or results by another ground truth or protocol.

    place: where the ground truth is. Other predictors are welcome. Raises `OutputExistsError`.
    """
    require_own_folder(output, "an evaluation", _OURS)
    before = _read_results(output / RESULTS)
    if before is None:
        return
    digest, truth = before
    if digest != protocol.digest:
        _refuse(output, "by another protocol than", protocol.name)
    if str(to_path(truth).resolve()) != str(place.resolve()):
        _refuse(output, f"against {truth}, not", str(place))


def _refuse(output: AnyPath, how: str, asked: str) -> None:
    raise OutputExistsError(
        printable(f"{output} holds an evaluation {how} {asked}, which would be lost: choose another `output`")
    )


def _read_results(path: AnyPath) -> tuple[str, str] | None:
    """Return the protocol's digest and the ground truth of results, None where there are none."""

    def read() -> tuple[str, str]:
        words = parse_json(read_named(path, limit=LARGEST_TEXT), path)
        return str(words["protocol"]["digest"]), str(words["truth"])

    results = attempt(path.name, "find", read)
    if not isinstance(results, Failure):
        return results
    if isinstance(results.error, FileNotFoundError):
        return None
    raise OutputExistsError(f"{path} cannot be read: remove it, or choose another `output`")
