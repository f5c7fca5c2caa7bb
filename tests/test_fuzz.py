"""Every decoder and reader with damaged and hostile files: it reads them or refuses them, and nothing else.

`make fuzz` goes on where this stops: from new seeds, endlessly.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from fuzzing.case import read_corpus
from fuzzing.targets import TARGETS
from fuzzing.worker import Worker


@pytest.fixture(scope="module")
def worker() -> Iterator[Worker]:
    with Worker() as running:
        yield running


@pytest.mark.parametrize("name", TARGETS)
def test_a_reader_reads_or_refuses(worker: Worker, name: str) -> None:
    made = [*read_corpus(name)]
    answers = {case: worker.read(name, case) for case in [*made, *range(TARGETS[name].cases)]}
    assert {case: answer["wrong"] for case, answer in answers.items() if answer["wrong"]} == {}
    originals = [case for case in made if not case.startswith("found-")]
    assert [answers[case]["outcome"] for case in originals] == ["read"] * len(originals)
