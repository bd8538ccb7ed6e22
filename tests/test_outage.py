"""Forty changes while the broker is away, kill -9 in the middle: forty, in order, once, LATE.

Once with real processes over twenty real seconds; once over two minutes of virtual time, where what
is older than a minute must be shown LATE.
"""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from typing import Any

from simulators.centre.core.reading import LATE_AFTER_MS
from simulators.network.brokers import Mosquitto
from simulators.site import CENTRES
from tests.processes import Process, school, until_acquainted, wait_for
from tests.processes import School as Processes
from tests.school import US_PER_S, School, live

CHANGES = 40
OUTAGE_S = 20.0
BUTTONS = ("guard-post", "director", "nurse", "accounts", "duty-teacher")
PATIENCE_S = 60.0
LATE_S = LATE_AFTER_MS / 1_000


def changes(centre: Process) -> list[dict[str, Any]]:
    """The lines of presses at a centre that were no copies: raised and repeated, as they came."""
    return [
        line
        for line in centre.stdout()
        if line["type"].startswith("org.qorgan.alarm.")
        and line["type"].endswith((".raised", ".repeated"))
        and not line["copy"]
    ]


def unix(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


def until(moment: float) -> None:
    """Wait for a moment of time.monotonic: the outage has a length, and presses have a pace."""
    wait_for("its moment", lambda: time.monotonic() >= moment, within_s=PATIENCE_S)


def until_all(centre: Process) -> None:
    """Wait for the fortieth."""
    wait_for("all changes", lambda: len(changes(centre)) >= CHANGES)


def again(there: Processes) -> Process:
    """The gateway once more, however long a machine busy with other tests takes to start it."""
    second = there.start(
        "gateway-again",
        *("simulators", "run", "--config", there.site.config, "--control", there.site.control),
    )
    wait_for(
        "live gateway again", lambda: second.log("state.gateway.restarted"), within_s=PATIENCE_S
    )
    return second


def is_back(centre: Process) -> bool:
    """True when it has connected a second time."""
    return centre.err.read_text(encoding="utf-8").count("uplink campus: up") == 2


def listen(centres: Iterable[Process], since: dict[str, float]) -> dict[str, float]:
    """Note of every centre that is back when that was first seen."""
    for centre in centres:
        if centre.name not in since and is_back(centre):
            since[centre.name] = time.time()
    return since


def test_forty_changes_in_twenty_seconds_without_a_broker_and_a_kill_all_come(
    tmp_path: Path,
) -> None:
    """40 of 40 at both centres, in order, once, their age told; the first within a second.

    Gateway and centres find back by themselves, in whatever order. That second is the gateway's: it
    begins when the broker is back and the centre is too, whose own back-off it cannot shorten. A
    quarter of the outage is left for the restart, so that a busy machine manages it too.
    """
    with school(tmp_path, Mosquitto) as there:
        centres = [there.centre(route, "--db", tmp_path / f"{route}.db") for route in CENTRES]
        first = there.gateway()
        until_acquainted(centres)
        there.broker.kill()
        away = time.monotonic()
        pressed: list[tuple[str, float]] = []

        def press_half(begin: float) -> None:
            for number in range(CHANGES // 2):
                until(begin + number * 0.375 * OUTAGE_S / (CHANGES // 2))
                point = BUTTONS[number % len(BUTTONS)]
                pressed.append((point, time.time()))
                there.press(point)

        press_half(away)
        first.end(signal.SIGKILL)
        second = again(there)
        press_half(max(time.monotonic(), away + 0.6 * OUTAGE_S))
        until(away + OUTAGE_S)
        there.broker.start()
        listening: dict[str, float] = {}
        wait_for("listening centres", lambda: len(listen(centres, listening)) == len(centres))
        for centre in centres:
            until_all(centre)
        (told,) = second.log("state.gateway.restarted")
        assert len(told["open"]) == len(BUTTONS)
        for centre in centres:
            lines = changes(centre)
            assert [line["subject"] for line in lines] == [point for point, _ in pressed]
            assert len({line["id"] for line in lines}) == CHANGES
            places = [(line["epoch"], line["sequence"]) for line in lines]
            assert places == sorted(set(places))
            for line, (_, at) in zip(lines, pressed, strict=True):
                assert line["verified"]
                assert abs(unix(line["received_at"]) - at - line["age_s"]) < 1.0
                assert line["late"] is (line["age_s"] > LATE_S)
        firsts = [(unix(changes(c)[0]["received_at"]), listening[c.name]) for c in centres]
        first_s = min(came - since for came, since in firsts)
        sys.stdout.write(f"first owed message after {first_s * 1_000:.0f} ms\n")
        assert first_s <= 1.0


def test_changes_of_a_long_outage_are_late_where_they_are_older_than_a_minute(
    tmp_path: Path,
) -> None:
    """120 s away, killed in the middle: half are LATE, none of the rest, all there, in order."""
    pressed: list[str] = []

    async def scenario(school: School) -> None:
        buttons = ("reception", "gym", "accounts")
        await school.start()
        await school.clock.sleep(5)
        school.broker.down()
        for number in range(CHANGES):
            if number == CHANGES // 2:
                await school.kill()
                await school.start()
            begun_us = school.clock.now_us()
            pressed.append(buttons[number % len(buttons)])
            await school.bench.press(pressed[-1], "clean", 300)
            await school.clock.sleep(3 - (school.clock.now_us() - begun_us) / US_PER_S)
        school.trace.add("up", {})
        school.broker.up()
        await school.clock.sleep(10)

    there = live(tmp_path, scenario)
    (up,) = there.lines("up")
    for route in ("security", "case"):
        found = [
            verdict
            for verdict in there.heard(route, "alarm.")
            if verdict.message is not None
            and verdict.message.type.endswith((".raised", ".repeated"))
        ]
        assert [v.message.subject for v in found if v.message] == pressed
        assert there.arrived_us(found[0]) - up.at_us <= US_PER_S
        for verdict in found:
            assert verdict.message is not None
            assert verdict.age is not None
            age_ms = there.arrived_us(verdict) / 1_000 - verdict.message.clock.monotonic_ms
            assert verdict.age.ms is not None
            assert abs(verdict.age.ms - age_ms) < 100
            assert verdict.late is (verdict.age.ms > LATE_AFTER_MS)
        late = sum(verdict.late for verdict in found)
        assert CHANGES // 2 <= late <= CHANGES // 2 + 1
