"""What a run says of its speed, and the trace of it."""

from __future__ import annotations

import json
import os
import threading
import time
from pathlib import Path

import pytest

from cortexia_video.errors import OutputError
from cortexia_video.runtime.resources import Speed, StageClock
from cortexia_video.runtime.trace import ChromeTrace


def test_stages_add_up_over_threads_and_waiting_is_no_work() -> None:
    clock = StageClock()

    def wait() -> None:
        with clock.measure("wait"):
            time.sleep(0.05)

    threads = [threading.Thread(target=wait) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with clock.measure("count"):
        sum(range(300_000))
    assert clock.seconds["wait"] >= 0.15
    assert clock.core_seconds["wait"] < 0.05
    assert 0 < clock.core_seconds["count"] <= clock.seconds["count"] + 0.01


def test_the_time_of_what_raised_counts() -> None:
    clock = StageClock()
    with pytest.raises(ValueError, match="no"), clock.measure("decode"):
        time.sleep(0.01)
        raise ValueError("no")
    assert clock.seconds["decode"] >= 0.01


def test_marks_add_up_to_stages_without_the_waiting_between(tmp_path: Path) -> None:
    clock, now = StageClock(), time.perf_counter()
    clock.add_up(
        [("read", now - 9, 0.0), ("", now - 8, 0.5), ("decode", now - 5, 0.5), ("read", now - 3, 1.5)]
    )
    assert {*clock.seconds} == {"read", "decode"} and clock.seconds["decode"] == pytest.approx(2)
    assert 4 <= clock.seconds["read"] < 60, "the last one ends now"
    assert clock.core_seconds["decode"] == pytest.approx(1)
    with ChromeTrace(tmp_path / "trace.json") as trace:
        StageClock(trace).add_up([("read", 1.0, 0.0), ("", 3.0, 0.0)], "a.jpg")
    (read,) = (each for each in json.loads((tmp_path / "trace.json").read_text()) if each["ph"] == "X")
    assert (read["name"], read["dur"], read["args"]) == ("read", pytest.approx(2e6), {"what": "a.jpg"})


def test_the_trace_is_json_with_named_threads(tmp_path: Path) -> None:
    with ChromeTrace(tmp_path / "trace.json") as trace:
        clock = StageClock(trace)
        with clock.measure("decode", 'a "quoted" \udcff name'):
            time.sleep(0.002)
    events = json.loads((tmp_path / "trace.json").read_text())
    (decode,) = (event for event in events if event["ph"] == "X")
    assert decode["name"] == "decode" and decode["dur"] >= 2000
    assert decode["args"] == {"what": 'a "quoted" \udcff name'}
    threads = (event for event in events if event["name"] == "thread_name" and event["tid"])
    names = {event["args"]["name"] for event in threads}
    assert names == {threading.current_thread().name}


def test_a_trace_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="cannot write the trace .*; choose another `profile`"):
        ChromeTrace(tmp_path / "gone" / "trace.json")


def test_a_trace_replaces_an_earlier_trace_and_nothing_else(tmp_path: Path) -> None:
    photo, trace = tmp_path / "photo.jpg", tmp_path / "trace.json"
    photo.write_bytes(b"mine")
    with pytest.raises(OutputError, match=r"photo\.jpg exists already and is no trace"):
        ChromeTrace(photo)
    assert photo.read_bytes() == b"mine"
    for _ in range(2):
        with ChromeTrace(trace) as each:
            each.add("decode", 0.0, 1.0, "a")
    assert len(json.loads(trace.read_text())) == 4


def test_a_trace_is_written_through_no_link(tmp_path: Path) -> None:
    earlier, link = tmp_path / "earlier.json", tmp_path / "link.json"
    with ChromeTrace(earlier):
        pass
    before = earlier.read_bytes()
    link.symlink_to(earlier)
    with pytest.raises(OutputError, match=r"link\.json is a link: remove it"):
        ChromeTrace(link)
    assert earlier.read_bytes() == before


def test_a_trace_on_a_full_disk_ends_and_the_run_goes_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with ChromeTrace(tmp_path / "trace.json") as trace, Path("/dev/full").open("wb") as full:
        os.dup2(full.fileno(), trace._file.fileno())
        for number in range(10_000):
            trace.add("decode", number, 1.0, "a")
    assert caplog.text.count("ends here: No space left on device") == 1


def speed(busy: float, on_processor: bool = False, **core_seconds: float) -> Speed:
    return Speed(100, 10.0, 2, 1, busy, core_seconds, on_processor, disk_seconds=4.0)


def test_a_device_of_its_own_is_the_limit_while_it_is_busier_than_the_cores() -> None:
    fast = speed(9.8, decode=3.0, write=2.0, model=1.0)
    assert (fast.slowest, fast.share_of_bound) == ("model", pytest.approx(0.98))
    assert "98% of what the model can do; slowest: model" in str(fast)


def test_input_and_output_are_the_limit_where_the_model_waits_for_them() -> None:
    slow = speed(4.0, decode=12.0, write=6.0, model=1.0)
    assert (slow.slowest, slow.share_of_bound) == ("decode", pytest.approx(0.95))
    assert "95% of what 2 cores can do; slowest: decode" in str(slow)
    assert "decode 120.0" in str(slow)


def test_a_model_on_the_processor_is_one_more_user_of_the_cores() -> None:
    shared = speed(9.9, True, decode=4.0, model=15.0)
    assert (shared.slowest, shared.share_of_bound) == ("model", pytest.approx(0.95))
    drowned = speed(9.9, True, decode=11.0, model=8.0)
    assert drowned.slowest == "decode"


def test_a_run_that_waits_for_neither_says_so() -> None:
    assert "reading or writing took 40% of the time" in str(speed(1.0, decode=2.0, model=0.1))


def test_a_run_without_images_has_a_speed_too() -> None:
    nothing = Speed(0, 0.0, 2, 1, 0.0, {})
    assert (nothing.share_of_bound, nothing.slowest, nothing.disk_share) == (0.0, "model", 0.0)
    assert str(nothing) and nothing.as_dict()["share_of_bound"] == 0.0
