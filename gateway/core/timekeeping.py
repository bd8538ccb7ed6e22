"""Can the gateway's UTC be believed: one fault.clock at a time, raised once and cleared once. Pure.

Nothing waits for UTC and every event says how far it is to be trusted, so nothing is stopped here;
it only sees that somebody is told where a clock stays untrue, or was vouched for and untrue.
"""

from __future__ import annotations

from gateway.core.model import US_PER_MS, Fact, Json, Stamp

LOOK_EVERY_US = 60_000_000
"""Two system calls a minute; what is told of a clock need not be told sooner."""

UNSYNCHRONISED_AFTER_US = 1_800_000_000
"""Half an hour without anybody who vouches for UTC is a fault. After a power cut a campus needs
some ten minutes for its switches, its firewall and its time server, a modem three, and a time
service that was not answered asks again within a minute: no boot of a healthy site raises it. When
the kernel gives up a clock that was synchronised, its server has been gone for nine hours, or
somebody has set it by hand, which a time service mends as soon as at a start."""

STEADY_US = 600_000_000
"""A clock that was vouched for and untrue is good again after so long without that: two services
that fight over a clock are one fault, not hundreds."""

DRIFT_PPM = 500
"""What Linux takes an uncorrected clock to be wrong by (MAXFREQ of its timex.h)."""

STEP_MS = 2_000
"""A step less than this is none: a leap second sets UTC by one."""

_UNSYNCHRONISED, _STEPPED = "unsynchronised", "stepped"
_FROM_BEFORE = "from before"


class Timekeeping:
    """The trust in one boot's UTC. `feed` it a stamp whenever `deadline` has come."""

    def __init__(self, gateway: str, now_us: int) -> None:
        """gateway: the id that faults are told of. A fault from before this start may stand."""
        self._gateway = gateway
        self._look_us = now_us
        self._why: str | None = _FROM_BEFORE
        self._raised_us = 0
        self._raised: Stamp | None = None
        # since when nobody vouches for UTC, or somebody does and was not contradicted
        self._doubtful_us: int | None = now_us
        self._steady_us = now_us
        self._vouched: Stamp | None = None

    @property
    def standing(self) -> str | None:
        """Why a fault stands that this start has raised; None when none does."""
        return None if self._why == _FROM_BEFORE else self._why

    @property
    def doubtful_us(self) -> int | None:
        """Since when nobody vouches for UTC, to a minute; None while somebody does."""
        return self._doubtful_us

    def deadline(self) -> int:
        """When it is to be fed again."""
        return self._look_us

    def feed(self, now_us: int, stamp: Stamp) -> list[Fact]:
        """The clocks as they are now; what is to be told of them."""
        self._look_us = now_us + LOOK_EVERY_US
        return self._trusted(now_us, stamp) if stamp.synchronised else self._doubted(now_us, stamp)

    def _doubted(self, now_us: int, stamp: Stamp) -> list[Fact]:
        if self._doubtful_us is None:
            self._doubtful_us = now_us
        lasted_us = now_us - self._doubtful_us
        if self.standing is not None or lasted_us < UNSYNCHRONISED_AFTER_US:
            return []
        data: dict[str, Json] = {"unsynchronised_ms": lasted_us // US_PER_MS}
        return [self._raise(_UNSYNCHRONISED, now_us, stamp, data)]

    def _trusted(self, now_us: int, stamp: Stamp) -> list[Fact]:
        if self._doubtful_us is not None:
            self._doubtful_us, self._steady_us = None, now_us
        before, self._vouched = self._vouched, stamp
        by_ms, allowed_ms = (0, 0) if before is None else _contradicted(before, stamp)
        if abs(by_ms) > allowed_ms:
            self._steady_us = now_us
            if self._why == _STEPPED:
                return []
            ended = [self._clear(now_us, stamp)] if self._why == _UNSYNCHRONISED else []
            data: dict[str, Json] = {"by_ms": by_ms, "allowed_ms": allowed_ms}
            return [*ended, self._raise(_STEPPED, now_us, stamp, data)]
        steady = now_us - self._steady_us >= STEADY_US
        if self._why == _UNSYNCHRONISED or (self._why is not None and steady):
            return [self._clear(now_us, stamp)]
        return []

    def _raise(self, why: str, now_us: int, stamp: Stamp, data: dict[str, Json]) -> Fact:
        self._why, self._raised_us, self._raised = why, now_us, stamp
        return Fact("fault.clock.raised", self._gateway, now_us, data={"why": why, **data})

    def _clear(self, now_us: int, stamp: Stamp) -> Fact:
        """Its end, with by how much UTC was set meanwhile; of one from before nothing is known."""
        data: dict[str, Json] = {}
        if self._raised is not None:
            lasted_ms = (now_us - self._raised_us) // US_PER_MS
            data = {
                "why": self._why,
                "lasted_ms": lasted_ms,
                "by_ms": set_by_ms(self._raised, stamp),
            }
        self._why, self._raised = None, None
        return Fact("fault.clock.cleared", self._gateway, now_us, data=data)


def set_by_ms(before: Stamp, after: Stamp) -> int:
    """By how many ms UTC was set between two stamps of one boot, whoever vouched for it.

    Slewing shows in neither: the kernel bends CLOCK_BOOTTIME by it just as it bends UTC.
    """
    return (after.utc_ms - before.utc_ms) - (after.monotonic_ms - before.monotonic_ms)


def _contradicted(before: Stamp, after: Stamp) -> tuple[int, int]:
    """By how much two stamps that were both vouched for differ, and by how much they may, in ms."""
    passed_ms = after.monotonic_ms - before.monotonic_ms
    said_ms = (before.error_ms or 0) + (after.error_ms or 0)
    return set_by_ms(before, after), said_ms + passed_ms * DRIFT_PPM // 1_000_000 + STEP_MS
