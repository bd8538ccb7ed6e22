"""The machine's clock: which time is which, how far UTC can be trusted, what a jump changes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.clock import UTC_MS_MAX, SystemClock, slept_ns, trust_of, utc_trust
from gateway.core.message import rfc3339, utc_ms_of
from tests.time_cases import WrongClock, boottime_ahead

ROOT = Path(__file__).parent.parent
OK, INS, DEL, OOP, WAIT, ERROR = range(6)
UNSYNC, PLL, NANO = 0x0040, 0x0001, 0x2000

SHOW = """
import json, sys
from dataclasses import asdict
from gateway.clock import SystemClock
clock = SystemClock()
now_us = clock.now_us()
stamps = [asdict(clock.stamp(now_us - int(age))) for age in sys.argv[1:]]
print(json.dumps([now_us, *stamps]))
"""


def shown(
    *ages_us: int, words: Sequence[str] = (), environment: Mapping[str, str] | None = None
) -> list[Any]:
    """Another process's monotonic now, and its stamps of so long ago."""
    command = [*words, sys.executable, "-c", SHOW, *map(str, ages_us)]
    told = subprocess.run(
        command,
        cwd=ROOT,
        env={**os.environ, **(environment or {})},
        check=True,
        capture_output=True,
    )
    found: list[Any] = json.loads(told.stdout)
    return found


# --- how far UTC can be trusted -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("state", "status", "maxerror_us", "told"),
    [
        pytest.param(OK, PLL, 1_500_000, (True, 1_500), id="disciplined"),
        pytest.param(OK, PLL | NANO, 2_000, (True, 2), id="nanoseconds-change-no-bound"),
        pytest.param(OK, PLL, 1, (True, 1), id="a-bound-is-rounded-up"),
        pytest.param(OK, PLL, 0, (True, 0), id="just-set"),
        pytest.param(INS, PLL, 2_000, (True, 2), id="a-leap-second-will-be"),
        pytest.param(DEL, PLL, 2_000, (True, 2), id="one-will-be-left-out"),
        pytest.param(OOP, PLL, 2_000, (True, 1_002), id="a-leap-second-is"),
        pytest.param(WAIT, PLL, 2_000, (True, 2), id="a-leap-second-was"),
        pytest.param(ERROR, UNSYNC, 16_000_000, (False, None), id="never-set"),
        pytest.param(ERROR, PLL | UNSYNC, 16_000_000, (False, None), id="not-for-nine-hours"),
        pytest.param(OK, UNSYNC, 2_000, (False, None), id="set-by-hand"),
        pytest.param(
            INS, PLL | UNSYNC, 2_000, (False, None), id="a-leap-second-nobody-vouches-for"
        ),
        pytest.param(ERROR, PLL, 2_000, (False, None), id="its-source-has-failed"),
        pytest.param(-1, 0, 0, (False, None), id="it-may-not-be-asked"),
    ],
)
def test_kernel_s_word_becomes_trust_and_a_bound(
    state: int, status: int, maxerror_us: int, told: tuple[bool, int | None]
) -> None:
    assert trust_of(state, status, maxerror_us) == told


def test_this_kernel_is_asked_and_answers() -> None:
    """The structure handed over is the kernel's: a wrong one would read nonsense."""
    synchronised, error_ms = utc_trust()
    assert (error_ms is not None) is synchronised
    assert error_ms is None or 0 <= error_ms <= 17_000


def test_kernel_that_may_not_be_asked_vouches_for_nothing() -> None:
    told = subprocess.run(
        [sys.executable, "-m", "tests.time_cases", "tests.test_clock"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    )
    assert json.loads(told.stdout) == [False, None]


def test_service_may_ask_the_kernel() -> None:
    """adjtimex(3) makes one of three system calls, none of them in @system-service."""
    unit = (ROOT / "systemd" / "qorgan.service").read_text(encoding="utf-8")
    allowed = [
        line.partition("=")[2].split()
        for line in unit.splitlines()
        if line.startswith("SystemCallFilter=")
    ]
    assert {"adjtimex", "clock_adjtime", "clock_adjtime64"} <= set(allowed[0])
    assert "ProtectClock=yes" not in unit


# --- stamps -------------------------------------------------------------------------------------


def test_stamp_of_the_past_lies_so_far_back_on_both_clocks() -> None:
    clock = SystemClock()
    at_us = clock.now_us()
    before_ms = time.time_ns() // 1_000_000
    ago, now = clock.stamp(at_us - 5_000_000), clock.stamp(at_us)
    assert now.monotonic_ms - ago.monotonic_ms == 5_000
    assert before_ms - 5_001 <= ago.utc_ms <= time.time_ns() // 1_000_000 - 5_000
    assert now.boot == ago.boot


def test_stamp_of_the_future_is_one_of_now() -> None:
    """What has happened cannot lie ahead."""
    clock = SystemClock()
    limit_ms = clock.stamp(clock.now_us() + 60_000_000).monotonic_ms
    assert limit_ms <= clock.stamp(clock.now_us()).monotonic_ms


def test_later_moment_never_has_the_earlier_stamp() -> None:
    """Whatever the process was interrupted by between two looks at two clocks."""
    clock = SystemClock()
    stamps = [clock.stamp(clock.now_us()).monotonic_ms for _ in range(20_000)]
    assert stamps == sorted(stamps)


@pytest.mark.parametrize(
    ("measured_ns", "held_ns"),
    [
        pytest.param(1_000, 1_000, id="as-before"),
        pytest.param(999, 999, id="a-better-look"),
        pytest.param(5_000_000, 1_000, id="interrupted-between-the-clocks"),
        pytest.param(3_600_000_000_000, 3_600_000_000_000, id="an-hour-asleep"),
    ],
)
def test_only_a_sleep_moves_the_two_clocks_apart(measured_ns: int, held_ns: int) -> None:
    assert slept_ns(1_000, measured_ns) == held_ns


def test_after_a_sleep_stamps_are_on_the_clock_that_went_on() -> None:
    """Deadlines go by the one that stood still: nobody is owed a minute nobody was awake in."""
    now_us, stamp = shown(0, words=boottime_ahead(1_000_000))
    here_us = SystemClock().now_us()
    assert abs(here_us - now_us) < 60_000_000
    ahead_ms = stamp["monotonic_ms"] - now_us // 1_000
    assert ahead_ms >= 1_000_000_000


# --- a UTC that is far off ----------------------------------------------------------------------


def test_moment_before_the_calendar_is_its_first(tmp_path: Path) -> None:
    """A box wakes in 1970 and dates what happened five seconds ago: no centre takes 1969."""
    clock = WrongClock(tmp_path)
    clock.step_to(1)
    _, ago, _ = shown(3_600_000_000, 0, environment=clock.environment)
    assert ago["utc_ms"] == 0


@pytest.mark.parametrize(
    ("utc_s", "year"),
    [
        (946_684_800, "2000"),
        (2_147_483_648, "2038"),
        (4_294_967_296, "2106"),
        (9_214_646_400, "2262"),
    ],
)
def test_any_year_a_kernel_can_show_can_be_written(tmp_path: Path, utc_s: int, year: str) -> None:
    clock = WrongClock(tmp_path)
    clock.step_to(utc_s - 3_600)
    now_us, stamp = shown(0, environment=clock.environment)
    text = rfc3339(stamp["utc_ms"] + 7_200_000)
    assert text.startswith(year)
    assert utc_ms_of(text) == stamp["utc_ms"] + 7_200_000
    assert abs(now_us - SystemClock().now_us()) < 60_000_000


@given(st.integers(0, UTC_MS_MAX))
def test_every_stamp_can_be_written_and_read_back(utc_ms: int) -> None:
    assert utc_ms_of(rfc3339(utc_ms)) == utc_ms


if __name__ == "__main__":
    sys.stdout.write(json.dumps(utc_trust()))
