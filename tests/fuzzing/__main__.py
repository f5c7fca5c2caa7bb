"""`make fuzz`: cases of new seeds until somebody stops it; what is found goes to a folder, with its input."""

from __future__ import annotations

import argparse
import itertools
import random
import re
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from fuzzing.case import make_input, write_tree
from fuzzing.targets import TARGETS
from fuzzing.worker import Worker

_ALIKE = 3  # findings of one kind that are kept


class Findings:
    """What was found, in a folder: NAME-SEED/ with `found.txt` and the input's files; a few of each kind."""

    def __init__(self, output: Path) -> None:
        self._output = output
        self.kinds: Counter[str] = Counter()

    def add(self, name: str, case: int, wrong: str) -> None:
        places = re.findall(r'File "([^"]+)", line (\d+)', wrong)
        kind = (
            f"{name}: {places[-1] if places else ''} {re.sub(r'[0-9]+', 'N', wrong.splitlines()[-1])[:100]}"
        )
        self.kinds[kind] += 1
        if self.kinds[kind] <= _ALIKE:
            folder = self._output / f"{name}-{case}"
            write_tree(make_input(name, case), folder / "input")
            again = f"PYTHONPATH=tests python -m fuzzing {name} --seed {case} --cases 1"
            (folder / "found.txt").write_text(f"{name}, case {case}; again: {again}\n\n{wrong}\n")
            print(f"found: {folder}: {wrong.splitlines()[-1][:200]}", flush=True)


def main() -> int:
    """Fuzz; give 1 where something was found."""
    args = _parse_arguments()
    counts: Counter[tuple[str, str]] = Counter()
    findings = Findings(args.output)
    print(f"seed {args.seed}; what is found goes to {args.output}", flush=True)
    try:
        with Worker() as worker:
            for name, case in _list_cases(args):
                answer = worker.read(name, case)
                counts[name, answer["outcome"].partition(":")[0]] += 1
                if answer["wrong"]:
                    findings.add(name, case, answer["wrong"])
                    counts[name, "found"] += 1
    except KeyboardInterrupt:
        pass
    _summarise(args.targets, counts, findings)
    return int(bool(findings.kinds))


def _list_cases(args: argparse.Namespace) -> Iterator[tuple[str, int]]:
    """Yield a case of each target in turn."""
    ends_at = time.monotonic() + 60 * args.minutes
    for case in itertools.islice(itertools.count(args.seed), args.cases):
        for name in args.targets:
            if time.monotonic() > ends_at:
                return
            yield name, case


def _summarise(names: list[str], counts: Counter[tuple[str, str]], findings: Findings) -> None:
    outcomes = ("read", "refused", "raised", "died", "found")
    print(f"{'target':<20}" + "".join(f"{each:>9}" for each in outcomes))
    for name in names:
        print(f"{name:<20}" + "".join(f"{counts[name, each]:>9}" for each in outcomes))
    total = sum(count for (_, outcome), count in counts.items() if outcome != "found")
    print(f"{total} cases, {sum(findings.kinds.values())} findings of {len(findings.kinds)} kinds")
    for kind, count in findings.kinds.most_common():
        print(f"{count:>9} {kind}")


def _parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser("fuzzing", description=__doc__)
    parser.add_argument("targets", nargs="*", help=f"some of {', '.join(TARGETS)}; all by default")
    parser.add_argument("--minutes", type=float, default=float("inf"))
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**9))
    parser.add_argument("--cases", type=int, help="of each target; endless by default")
    parser.add_argument("--output", type=Path, default=Path("build/fuzzing"))
    args = parser.parse_args()
    args.targets = args.targets or [*TARGETS]
    unknown = sorted({*args.targets} - {*TARGETS})
    if unknown:
        parser.error(f"unknown target {unknown[0]!r}: use some of {', '.join(TARGETS)}")
    return args


if __name__ == "__main__":
    sys.exit(main())
