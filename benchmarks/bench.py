"""The short form of the benchmarks, compared with the ratios that were recorded last: `make bench`.

    python benchmarks/bench.py [augmentation reading ...] [--record]

Ten minutes of two quiet cores. A ratio is lost where its best round is below the worst of the recorded ones and its
median 5 % below theirs; the benchmark is then run once more, and only what is lost again counts, and ends with 1.
`--record` puts what was measured into `record.json`, and keeps what was not. Not among them: `gpu` (needs one),
`video` and `alignment` (need clips and models of their own), `structure` (measures no time).
"""

from __future__ import annotations

import datetime
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median

from cyclopts import App
from record import NOTES

from cortexia_video.runtime.resources import count_cores

HERE = Path(__file__).parent
RECORD = HERE / "record.json"
_LONGEST_S = 300
_NOISE = 0.05  # of a median
_SHORT: Mapping[str, Sequence[str]] = {
    "augmentation": ["augmentation.py", "--rounds", "3"],
    "reading": ["rgbd_datasets.py", "--pairs", "60", "--rounds", "3"],
    "listing": ["scale.py", "listing", "--count", "20000"],
    "ledger": ["ledger.py", "3000"],
    "visualization": ["visualization.py", "--rounds", "3"],
    "evaluation": ["evaluation.py", "--pairs", "10"],
    "formats": ["formats.py", "--rounds", "2"],
    "conversion": ["conversion.py", "speed", "--quick"],
    "scenes": ["scenes.py", "--repeats", "2"],
    "engine": ["engine.py", "peers", "compact", "native", "--quick"],
    "models": ["models.py", "vit-252", "--quick"],
}

Ratios = dict[str, list[float]]
app = App(help=__doc__)


@app.default
def bench(*names: str, record: bool = False) -> None:
    """Measure those named, or all, and compare.

    Parameters
    ----------
    names
        Which.
    record
        Put the ratios into `record.json`.
    """
    if unknown := set(names) - set(_SHORT):
        sys.exit(f"{', '.join(unknown)}: not known, use {', '.join(_SHORT)}")
    known: dict[str, Ratios] = json.loads(RECORD.read_text())["ratios"] if RECORD.exists() else {}
    found: dict[str, Ratios] = {}
    failed, lost = [], []
    print("| | recorded | now | |\n|---|---|---|---|")
    for name in names or _SHORT:
        ratios = run_short(name)
        if ratios and (fewer := find_losses(known.get(name, {}), ratios)):
            print(f"{name} is measured again: {', '.join(fewer)}", file=sys.stderr)
            again = run_short(name) or {}
            ratios |= {each: again[each] for each in fewer if each in again}
        if ratios is None:
            failed.append(name)
            continue
        found[name] = ratios
        losses = find_losses(known.get(name, {}), ratios)
        lost += losses
        for each, values in ratios.items():
            before = known.get(name, {}).get(each)
            verdict = "LOST" if each in losses else ""
            print(f"| {name}: {each} | {_show(before) if before else 'new'} | {_show(values)} | {verdict} |")
    if record:
        write_record(known | found)
    if failed or lost:
        sys.exit(f"lost: {', '.join(lost) or 'nothing'}; failed: {', '.join(failed) or 'nothing'}")


def run_short(name: str) -> Ratios | None:
    """Run the short form of a benchmark; return the ratios that it noted, or None where it failed."""
    print(f"{name} ...", file=sys.stderr, flush=True)
    script, *options = _SHORT[name]
    with tempfile.TemporaryDirectory() as folder:
        notes = Path(folder) / "notes.jsonl"
        notes.touch()
        ran = None
        try:
            ran = subprocess.run(
                [sys.executable, str(HERE / script), *options],
                cwd=folder,
                env={**os.environ, NOTES: str(notes)},
                capture_output=True,
                text=True,
                timeout=_LONGEST_S,
            )
        except subprocess.TimeoutExpired:
            print(f"{name}: not done after {_LONGEST_S} s", file=sys.stderr)
        if ran and ran.returncode:
            print(f"{name}: {(ran.stderr or ran.stdout).strip().splitlines()[-1:]}", file=sys.stderr)
        lines = [json.loads(line) for line in notes.read_text().splitlines()]
    ratios = {line["name"]: line["values"] for line in lines}
    return ratios if ran and not ran.returncode else None


def find_losses(known: Ratios, found: Ratios) -> list[str]:
    """Return which ratios are lower than the recorded ones by more than their rounds differ."""
    return [
        name
        for name, values in found.items()
        if (before := known.get(name))
        and max(values) < min(before)
        and median(values) < (1 - _NOISE) * median(before)
    ]


def write_record(ratios: dict[str, Ratios]) -> None:
    """Write the ratios with their day and the machine."""
    about = {"date": datetime.date.today().isoformat(), "cores": count_cores()}
    rounded = {
        name: {each: [round(value, 4) for value in values] for each, values in of.items()}
        for name, of in ratios.items()
    }
    RECORD.write_text(json.dumps({**about, "ratios": rounded}, indent=1) + "\n")


def _show(values: Sequence[float]) -> str:
    return f"{median(values):.3g} ({min(values):.3g} to {max(values):.3g})"


if __name__ == "__main__":
    app()
