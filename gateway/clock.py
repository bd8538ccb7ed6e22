"""Now, UTC, and waiting until a moment; how far UTC can be trusted.

The only place that asks the machine what time it is. Two times are kept apart: monotonic
microseconds for every deadline, UTC only to stamp. Nothing here, or anywhere, waits for UTC to be
right, or believes it where the kernel does not.
"""

from __future__ import annotations

import asyncio
import ctypes
import time
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from gateway.core.model import Stamp

UTC_MS_MAX = 253_402_300_799_999
"""9999-12-31T23:59:59.999Z, the last moment RFC 3339 can write. Linux itself stops in 2262."""

LEAP_MS = 1_000
"""What UTC is ambiguous by during an inserted leap second: the kernel shows 23:59:59 twice."""

# Sleeping in epoll is rounded up to a millisecond, which would add half of one to every alarm.
# The last stretch before a deadline is therefore waited out by going round the loop.
_COARSE_US = 1_500


class Timer(Protocol):
    """A pending call that can be called off."""

    def cancel(self) -> None:
        """Call it off; harmless when it has already run."""


class Clock(Protocol):
    """The seam for time: the machine's, or a simulation's."""

    def now_us(self) -> int:
        """Monotonic microseconds since some fixed moment of this boot."""

    def stamp(self, at_us: int) -> Stamp:
        """How the moment `at_us` (not in the future) is written into an event."""

    def call_at(self, at_us: int, callback: Callable[[], None], *, relaxed: bool = False) -> Timer:
        """Run `callback` on the running loop at `at_us`, never earlier.

        At most 0.2 ms later on an idle loop; `relaxed` gives up a few milliseconds to save power.
        """

    async def sleep(self, seconds: float) -> None:
        """Wait; accuracy of a few milliseconds."""

    async def until(self, at_us: int) -> None:
        """Wait until `at_us`, at most 0.1 ms late; the last 1.5 ms of it hold the loop up.

        For the silences of a serial line: the loop's own timers are up to 1.1 ms late.
        """


class _Timex(ctypes.Structure):
    """struct timex of adjtimex(2), as far as `tai`; the padding makes it long enough."""

    _fields_ = [
        ("modes", ctypes.c_uint),
        ("offset", ctypes.c_long),
        ("freq", ctypes.c_long),
        ("maxerror", ctypes.c_long),
        ("esterror", ctypes.c_long),
        ("status", ctypes.c_int),
        ("padding", ctypes.c_char * 256),
    ]


# From linux/timex.h, as adjtimex(2) tells them. TIME_INS, TIME_DEL and TIME_WAIT only announce a
# leap second, or that it was: the clock is right in them.
_STA_UNSYNC = 0x0040
_TIME_OOP = 3
_TIME_ERROR = 5

_LIBC = ctypes.CDLL(None)

_ASLEEP_NS = 10_000_000
"""CLOCK_BOOTTIME gains on CLOCK_MONOTONIC only while the machine sleeps; less than this is the time
between asking the two."""


def utc_trust() -> tuple[bool, int | None]:
    """Is UTC disciplined, and by how many milliseconds may it be wrong: the kernel's own word.

    Two microseconds, no right needed: adjtimex(2) that changes nothing. Where it is forbidden (a
    container's seccomp filter, systemd's ProtectClock=) UTC counts as not synchronised.
    """
    timex = _Timex()
    state = _LIBC.adjtimex(ctypes.byref(timex))
    return trust_of(state, timex.status, timex.maxerror)


def trust_of(state: int, status: int, maxerror_us: int) -> tuple[bool, int | None]:
    """What adjtimex(2) returned and wrote, as `utc_trust` tells it.

    The kernel raises maxerror by 0.5 ms a second since the last correction, and at 16 s (after
    nine hours without one) calls the clock unsynchronised; so it does when anybody sets it.
    """
    if state < 0 or state == _TIME_ERROR or status & _STA_UNSYNC:
        return False, None
    error_ms = -(-maxerror_us // 1_000)  # a bound is never rounded down
    return True, error_ms + (LEAP_MS if state == _TIME_OOP else 0)


def slept_ns(held_ns: int, measured_ns: int) -> int:
    """How far CLOCK_BOOTTIME is ahead of CLOCK_MONOTONIC, from what was held and a new look.

    A look reads it too large by the time between the two clocks, never too small; so only a
    smaller one is truer, and one that is larger by far shows that the machine has slept.
    """
    if measured_ns < held_ns or measured_ns > held_ns + _ASLEEP_NS:
        return measured_ns
    return held_ns


class _SpinTimer:
    """Waits coarsely on the loop's timer, then goes round the loop until the moment has come."""

    __slots__ = ("_at_us", "_callback", "_handle", "_loop")

    def __init__(
        self, loop: asyncio.AbstractEventLoop, at_us: int, callback: Callable[[], None]
    ) -> None:
        self._loop = loop
        self._at_us = at_us
        self._callback = callback
        coarse_us = at_us - _COARSE_US
        if coarse_us > time.monotonic_ns() // 1_000:
            self._handle: asyncio.Handle = loop.call_at(coarse_us / 1e6, self._spin)
        else:
            self._handle = loop.call_soon(self._spin)

    def _spin(self) -> None:
        if time.monotonic_ns() // 1_000 >= self._at_us:
            self._callback()
        else:
            self._handle = self._loop.call_soon(self._spin)

    def cancel(self) -> None:
        self._handle.cancel()


class SystemClock:
    """The machine's clocks: CLOCK_MONOTONIC for now, CLOCK_BOOTTIME and UTC for stamps."""

    def __init__(self) -> None:
        """Read the boot id once; raises OSError where there is none (not Linux)."""
        boot_id = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii")
        self._boot = boot_id[:8]
        self._slept_ns = min(_look_slept_ns() for _ in range(5))

    def now_us(self) -> int:
        return time.monotonic_ns() // 1_000

    def stamp(self, at_us: int) -> Stamp:
        synchronised, error_ms = utc_trust()
        now_ns, utc_ns = time.monotonic_ns(), time.time_ns()
        at_ns = min(at_us * 1_000, now_ns)
        utc_ms = (utc_ns - (now_ns - at_ns)) // 1_000_000
        return Stamp(
            utc_ms=min(max(0, utc_ms), UTC_MS_MAX),
            synchronised=synchronised,
            error_ms=error_ms,
            boot=self._boot,
            monotonic_ms=(at_ns + self._slept()) // 1_000_000,
        )

    def _slept(self) -> int:
        """Steady between two sleeps, so that what happened later never has the earlier stamp."""
        for _ in range(3):  # a pause between two clocks is not taken for a sleep
            measured_ns = _look_slept_ns()
            if measured_ns <= self._slept_ns + _ASLEEP_NS:
                break
        self._slept_ns = slept_ns(self._slept_ns, measured_ns)
        return self._slept_ns

    def call_at(self, at_us: int, callback: Callable[[], None], *, relaxed: bool = False) -> Timer:
        loop = asyncio.get_running_loop()
        if relaxed:
            return loop.call_at(at_us / 1e6, callback)
        return _SpinTimer(loop, at_us, callback)

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    async def until(self, at_us: int) -> None:
        coarse_us = at_us - _COARSE_US - self.now_us()
        if coarse_us > 0:
            await asyncio.sleep(coarse_us / 1e6)
        rest_us = at_us - self.now_us()
        if rest_us > 0:
            time.sleep(rest_us / 1e6)  # noqa: ASYNC251 -- a timer of the loop would be 1 ms late


def _look_slept_ns() -> int:
    now_ns = time.monotonic_ns()
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME) - now_ns


class Bell:
    """Wakes one waiter at a moment, or earlier when it is rung. Rings are never lost."""

    __slots__ = ("_clock", "_rung", "_waiter")

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._rung = False
        self._waiter: asyncio.Future[None] | None = None

    def ring(self) -> None:
        """Wake the waiter now, or as soon as it waits."""
        self._rung = True
        self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def wait_until(self, at_us: int | None) -> bool:
        """Return at `at_us` (None: never by itself), or at once when rung since the last return.

        True when it was rung.
        """
        if self._rung:
            self._rung = False
            return True
        timer = None if at_us is None else self._clock.call_at(at_us, self._wake, relaxed=True)
        self._waiter = asyncio.get_running_loop().create_future()
        try:
            await self._waiter
        finally:
            if timer is not None:
                timer.cancel()
            self._waiter = None
            rung, self._rung = self._rung, False
        return rung
