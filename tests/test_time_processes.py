"""Wrong clocks under real processes: real daemon, real TLS, real broker; only UTC is not true.

The boxes are what Debian's `faketime` makes of them: their UTC is moved, their monotonic time is
the machine's, and their kernel vouches for nothing. Centre and broker have the right time.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gateway.control import ask
from gateway.local import findings_of
from simulators.network.brokers import Mosquitto
from tests.processes import Process, School, raised, school, wait_for
from tests.time_cases import ON_PINS, WrongClock

YEAR_1970, YEAR_2000, YEAR_2038, YEAR_2106 = 30, 946_684_800, 2_147_483_640, 4_294_967_290
DAY_S = 86_400
PRESS_MS = 1_000
"""So long that a busy machine does not play both ends of a press in one breath."""

BUSY = ("late", "both-open", "both-closed")


@pytest.fixture
def campus(tmp_path: Path) -> Iterator[School]:
    """A school on mosquitto with mutual TLS; its certificates are valid now and for 30 days."""
    template = tmp_path / "on-pins.yaml"
    template.write_text(ON_PINS, encoding="utf-8")
    with school(tmp_path, Mosquitto, template=template) as there:
        yield there


@pytest.fixture
def wrong(tmp_path: Path) -> WrongClock:
    return WrongClock(tmp_path)


def box(there: School, clock: WrongClock, name: str = "gateway") -> Process:
    """The daemon on a machine with that clock, which nobody vouches for."""
    return there.gateway(name, through=["tests.time_cases"], environment=clock.environment)


def alarm(centre: Process, number: int) -> dict[str, Any]:
    """The `number`-th alarm a centre printed, counted from 1."""
    wait_for(f"alarm {number} at {centre.name}", lambda: len(raised(centre)) >= number)
    return [
        line
        for line in centre.stdout()
        if line["type"].startswith("org.qorgan.alarm.") and line["type"].endswith(".raised")
    ][number - 1]


def boottime_ms() -> int:
    """As this machine's stamps have it: no process here has another."""
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1_000_000


def faults(gateway: Process) -> list[dict[str, Any]]:
    """What it said is broken.

    But for a late disk and a dragging button, which are a busy machine's, and the case system,
    which is not there.
    """
    return [
        line
        for line in gateway.log()
        if line["event"].startswith("fault.")
        and line.get("why") not in BUSY
        and line.get("route") != "case"
    ]


@pytest.mark.parametrize(
    ("utc_s", "year"),
    [(YEAR_1970, "1970"), (YEAR_2000, "2000"), (YEAR_2038, "2038"), (YEAR_2106, "2106")],
)
def test_alarm_leaves_a_box_in_any_year(
    wrong: WrongClock, campus: School, utc_s: int, year: str
) -> None:
    """Over TLS to a broker whose certificate is of another age; and nobody takes it for old."""
    security = campus.centre("security")
    wrong.step_to(utc_s)
    gateway = box(campus, wrong)
    pressed = time.monotonic()
    campus.press("guard-post", ms=PRESS_MS)
    line = alarm(security, 1)
    assert time.monotonic() - pressed < 10
    assert line["time"].startswith(year)
    assert line["data"]["clock"]["synchronised"] is False
    assert line["data"]["clock"]["error_ms"] is None
    assert line["late"] is False
    assert 0 <= line["age_s"] < 10
    wait_for("received", lambda: gateway.log("state.alarm.received"))
    assert gateway.log("state.alarm.received")[0]["timestamp"].startswith(year)
    assert faults(gateway) == []
    assert gateway.end(signal.SIGTERM) == 0


def test_connection_made_without_looking_at_dates_is_told_in_log_and_status(
    wrong: WrongClock, campus: School
) -> None:
    """By a clock in 1970 the broker's certificate is of the future: alarms go, and it is said."""
    wrong.step_to(YEAR_1970)
    gateway = box(campus, wrong)
    wait_for("uplink", lambda: gateway.log("uplink up"))
    (line,) = wait_for("warning", lambda: gateway.log("certificate dates unchecked"))
    assert (line["level"], line["uplink"]) == ("warning", "campus")
    assert "is not valid yet by this box's clock" in line["why"]
    status = next(ask(campus.folder / "qorgan.sock", "status", True))
    assert status["uplinks"]["campus"]["unchecked"] == line["why"]
    assert f"uplink campus: dates unchecked: {line['why']}" in findings_of(status)
    assert status["clock"]["utc"].startswith("1970")
    assert len(gateway.log("certificate dates unchecked")) == 1
    assert gateway.end(signal.SIGTERM) == 0


def test_clock_that_steps_while_running_moves_nothing_but_the_date(
    wrong: WrongClock, campus: School
) -> None:
    """1970, then true time, a day back, a century on: one connection, one sequence, true ages."""
    security = campus.centre("security", "--answer", "acknowledge")
    wrong.step_to(YEAR_1970)
    gateway = box(campus, wrong)
    points = ["guard-post", "director", "nurse", "accounts"]
    off_s = [YEAR_1970 - int(time.time()), 0, -DAY_S, YEAR_2106 - int(time.time())]
    lines: list[dict[str, Any]] = []
    for point, seconds in zip(points, off_s, strict=True):
        wrong.step_by(seconds)
        campus.press(point, ms=PRESS_MS)
        lines.append(alarm(security, len(lines) + 1))
        wait_for(
            f"answer to {point}",
            lambda: len(gateway.log("state.alarm.acknowledged")) == len(lines),
        )
    assert [line["subject"] for line in lines] == points
    assert [line["time"][:2] for line in lines] == ["19", "20", "20", "21"]
    assert all(line["late"] is False and 0 <= line["age_s"] < 10 for line in lines)
    printed = [line for line in security.stdout() if line["stream"] == "alarm"]
    assert [line["sequence"] for line in printed] == list(range(1, len(printed) + 1))
    assert not any(line["gap"] or line["copy"] for line in printed)
    assert len({(line["epoch"], line["data"]["clock"]["boot"]) for line in printed}) == 1
    moments = [line["data"]["clock"]["monotonic_ms"] for line in lines]
    assert moments == sorted(moments)
    assert len(gateway.log("uplink up")) == 1
    assert faults(gateway) == []


def test_door_is_held_by_the_time_that_passed_and_not_by_the_calendar(
    wrong: WrongClock, campus: School
) -> None:
    """A day forward and a day back while it stands open: its five seconds are five seconds."""
    security = campus.centre("security")
    box(campus, wrong)
    before_ms = boottime_ms()
    opened = campus.ask({"door": "side-door", "do": "hold"})
    after_ms = boottime_ms()
    assert opened["worked"], opened
    wrong.step_by(DAY_S)
    campus.press("guard-post", ms=PRESS_MS)
    wrong.step_by(-DAY_S)

    def held() -> list[dict[str, Any]]:
        kind = "org.qorgan.alarm.door-held.raised"
        return [line for line in security.stdout() if line["type"] == kind]

    (line,) = wait_for("held door", held)
    held_ms = line["data"]["clock"]["monotonic_ms"]
    assert before_ms + 5_000 <= held_ms <= after_ms + 6_000


def test_alarm_of_before_a_restart_has_its_true_age_though_the_clock_is_lost(
    wrong: WrongClock, campus: School
) -> None:
    """Pressed under the right time with the broker away, killed, started again in 1970."""
    security = campus.centre("security")
    gateway = box(campus, wrong)
    wait_for("uplink", lambda: gateway.log("uplink up"))
    campus.broker.kill()
    pressed = time.monotonic()
    campus.press("guard-post", ms=PRESS_MS)
    wait_for("record", lambda: gateway.log("alarm.panic.raised"))
    gateway.end(signal.SIGKILL)
    wrong.step_to(YEAR_1970)
    again = box(campus, wrong, "gateway-again")
    campus.press("director", ms=PRESS_MS)
    campus.broker.start()
    first, second = alarm(security, 1), alarm(security, 2)
    passed_s = time.monotonic() - pressed
    by_point = {line["subject"]: line for line in (first, second)}
    assert 0 < by_point["guard-post"]["age_s"] <= passed_s + 1
    assert not any(line["late"] or line["gap"] for line in by_point.values())
    assert by_point["guard-post"]["time"][:2] == "20"
    assert by_point["director"]["time"][:4] == "1970"
    (told,) = again.log("state.gateway.restarted")
    assert len(told["open"]) == 1
    assert again.end(signal.SIGTERM) == 0
