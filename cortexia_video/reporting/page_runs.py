"""The sections about runs: how fast one was, and what all came to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from xml.etree.ElementTree import Element

from cortexia_video.errors import format_count
from cortexia_video.html.blocks import chart_box, facts, quiet, section, side_by_side, table
from cortexia_video.html.charts import Bar, draw_bars
from cortexia_video.html.markup import element
from cortexia_video.html.wording import format_number, format_seconds, format_share, shorten, shorten_digest
from cortexia_video.ledger.state import Run
from cortexia_video.sources.inputs import list_passed_over

_RUNS = 25  # the latest ones
_SETTINGS = 8  # of a run, those that are not the latest's
_TITLES = (
    "Started (UTC)",
    "Found",
    "Done",
    "Skipped",
    "Failed",
    "Time",
    "Images/s",
    "Of the bound",
    "Slowest",
    "Remarks",
)


def show_speed(runs: Sequence[Run]) -> Element | None:
    """Show where the time went of the run that did most images."""
    run = max((run for run in runs if run.speed), key=lambda run: _number(run.end, "done"), default=None)
    if run is None or run.speed is None:
        return None
    speed = run.speed
    cores, devices = (int(_number(speed, name)) for name in ("cores", "devices"))
    name = "frames" if run.end and "frames" in run.end else "done"
    done, rate = int(_number(run.end, name)), _number(run.end, "images_per_second")
    one = "frame" if name == "frames" else "image"
    said = (
        f"The run of {_say_time(run.started)} UTC did {format_count(done, one)} at "
        f"{format_number(rate)} {one}s/s on {format_count(cores, 'core')} and "
        f"{format_count(devices, 'device')}."
    )
    named = {
        "Share of the bound": _share(speed, "share_of_bound"),
        "Model at work": _share(speed, "model_share"),
        "Cores at work": _share(speed, "cores_share"),
        "Reading or writing": _share(speed, "disk_share"),
        "Slowest stage": shorten(str(speed.get("slowest"))),
    }
    bound = "The bound is what the model, or all cores together, would need if nothing ever waited."
    text = element("div", element("p", said), facts(named), quiet(bound))
    stages = speed.get("core_seconds_an_image")
    seconds = stages if isinstance(stages, dict) else {}
    used = {str(name): 1e3 * each for name, each in seconds.items() if isinstance(each, int | float)}
    bars = [
        Bar(name, each, f"{each:,.2f} ms") for name, each in sorted(used.items(), key=lambda item: -item[1])
    ]
    title = "Time of a core for an image"
    return section(
        "Speed", side_by_side(chart_box(title, "by stage", draw_bars(title, bars)) if bars else None, text)
    )


def show_runs(runs: Sequence[Run]) -> Element | None:
    """Show what each run came to, the latest first, and its settings."""
    if not runs:
        return None
    latest, more = runs[-1], len(runs) - _RUNS
    rows = []
    for run in reversed(runs[-_RUNS:]):
        cells = ["–"] * (len(_TITLES) - 2)
        if run.end is not None:
            counts = (f"{int(_number(run.end, name)):,}" for name in ("found", "done", "skipped", "failed"))
            time, rate = _number(run.end, "seconds"), _number(run.end, "images_per_second")
            rated = format_number(rate) if "images_per_second" in run.end else "–"
            share = _share(run.speed, "share_of_bound") if run.speed else "–"
            slowest = shorten(str(run.speed.get("slowest"))) if run.speed else "–"
            cells = [*counts, format_seconds(time), rated, share, slowest]
        # how it ended, if not by itself, and which of its settings are not the latest's
        ended = "no end: killed, or still going on" if run.end is None else ""
        interrupted = "interrupted" if run.end and run.end.get("interrupted") else ""
        ours, others = run.settings, latest.settings
        names = [name for name in {**ours, **others} if ours.get(name) != others.get(name)]
        differing = (f"{shorten(name, 40)}: {_say(ours.get(name), 24)}" for name in names[:_SETTINGS])
        passed = run.end.get("passed_over") if run.end else None
        left_out = "passed over: " + list_passed_over(passed) if passed else ""
        remarks = "; ".join(filter(None, (ended, interrupted, left_out, *differing)))
        rows.append((_say_time(run.started), *cells, remarks))
    settings = {str(name): _say(value, 80) for name, value in latest.settings.items()}
    return section(
        "Runs",
        table("Runs", _TITLES, rows, "runs"),
        quiet(f"And {format_count(more, 'earlier run')}.") if more > 0 else None,
        element("h3", "Settings of the latest run"),
        facts(settings),
    )


def _say(value: object, most: int) -> str:
    """Return the value of a setting."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "–" if value is None else shorten(shorten_digest(str(value)), most)


def _say_time(text: str) -> str:
    """Return `2026-11-21 11:41` for a time as the ledger has it."""
    return text[:16].replace("T", " ")


def _share(speed: Mapping[str, Any], name: str) -> str:
    return format_share(_number(speed, name))


def _number(entry: Mapping[str, Any] | None, name: str) -> float:
    """Return a number of a ledger's line, 0 where it has none."""
    value = (entry or {}).get(name)
    return float(value) if isinstance(value, int | float) else 0.0
