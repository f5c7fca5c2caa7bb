"""The folder of an evaluation's results: other files and other reports in it are nobody's to replace."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

from cortexia_video.boundary import attempt
from cortexia_video.documents import parse_json
from cortexia_video.errors import Failure, OutputExistsError, printable
from cortexia_video.evaluation.protocol import Protocol
from cortexia_video.places.place import Place, as_place
from cortexia_video.places.remote_path import RemotePath

_LOOKED_AT = 1000  # objects behind an address: of an evaluation there are four


def require_own(output: Place, place: Place, protocol: Protocol) -> None:
    """Refuse a folder that holds other people's files, or results by another truth or protocol.

    place: where the truth is. Other contestants are welcome. Raises `OutputExistsError`.
    """
    try:
        names = {name for name in _list_names(output) if not name.startswith(".")}
    except OSError:  # it is not there, or whatever writes to it will say what is wrong
        return
    before = _read_results(output / "results.json")
    if before is None:
        if names and ("scores.jsonl" not in names or "results.json" in names):
            raise OutputExistsError(
                f"{printable(str(output))} holds {printable(min(names))} and no evaluation: "
                "choose another --output"
            )
        return
    digest, truth = before
    if digest != protocol.digest:
        _refuse(output, "by another protocol than", protocol.name)
    if str(as_place(truth).resolve()) != str(place.resolve()):
        _refuse(output, f"against {truth}, not", str(place))


def _list_names(folder: Place) -> Iterator[str]:
    """Yield the names in a folder, behind an address some of them."""
    if isinstance(folder, RemotePath):
        return (name.partition("/")[0] for name, _ in islice(folder.list_files(), _LOOKED_AT))
    return (path.name for path in folder.iterdir())


def _refuse(output: Place, how: str, asked: str) -> None:
    raise OutputExistsError(
        printable(f"{output} holds an evaluation {how} {asked}, which would be lost: choose another --output")
    )


def _read_results(path: Place) -> tuple[str, str] | None:
    """Give the protocol's digest and the truth of results, None where there are none of ours."""

    def read() -> tuple[str, str]:
        words = parse_json(path.read_bytes(), path)
        return str(words["protocol"]["digest"]), str(words["truth"])

    results = attempt(path.name, "find", read)
    return None if isinstance(results, Failure) else results
