"""A lockdown as a mode: over which doors, until when, and how its end survives a restart. Pure.

The end is kept as what is left of it beside the moment that was written, so that whichever clock
can still be trusted after a restart tells how much has passed.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from gateway.core.model import US_PER_MS, Fact, Json, Stamp

RESTART_COSTS_MS = 60_000
"""What a restart takes off the time left when no clock can tell how long it took.

With what is left being written once a minute, a gateway that restarts for ever still comes to the
end: each time either a written minute has passed, or this one is taken off.
"""


@dataclass(frozen=True, slots=True)
class Lockdown:
    """A lockdown that stands over these doors until `until_us`. by: who asked for it."""

    doors: tuple[str, ...]
    until_us: int
    by: str

    def begun(self, at_us: int) -> Fact:
        """What every route is told when it begins, is widened or prolonged."""
        data: dict[str, Json] = {
            "mode": "lockdown",
            "by": self.by,
            "for_ms": (self.until_us - at_us) // US_PER_MS,
            "doors": list[Json](self.doors),
        }
        return Fact("state.mode.begun", "lockdown", at_us, data=data, to=("*",))

    def ended(self, at_us: int, by: str) -> Fact:
        """What every route is told when it ends. by: who ended it, `reset-key`, or `time`."""
        data: dict[str, Json] = {"mode": "lockdown", "by": by, "begun_by": self.by}
        return Fact("state.mode.ended", "lockdown", at_us, data=data, to=("*",))

    def keep(self, *, now_us: int, stamp: Stamp) -> dict[str, Json]:
        """As plain data, written at `now_us`, which is the moment of `stamp`."""
        return {
            "doors": list[Json](self.doors),
            "by": self.by,
            "left_ms": (self.until_us - now_us) // US_PER_MS,
            "boot": stamp.boot,
            "monotonic_ms": stamp.monotonic_ms,
            "utc_ms": stamp.utc_ms,
            "synchronised": stamp.synchronised,
        }


def resume(
    kept: Mapping[str, Json], *, doors: Collection[str], longest_ms: int, now_us: int, stamp: Stamp
) -> Lockdown:
    """The lockdown that was kept; it may be over already. `stamp` is of `now_us`.

    doors: those that still exist. longest_ms: no lockdown has more left than this. What cannot be
    read of it counts as unknown: a mode is rather kept than lost, and never for longer.
    """
    written_ms = _number(kept.get("left_ms"))
    left_ms = longest_ms if written_ms is None else min(written_ms, longest_ms)
    named = kept.get("doors")
    wanted = named if isinstance(named, list) else list[Json](doors)
    return Lockdown(
        tuple(door for door in doors if door in wanted),
        now_us + (left_ms - _passed_ms(kept, stamp)) * US_PER_MS,
        str(kept.get("by", "")),
    )


def _passed_ms(kept: Mapping[str, Json], stamp: Stamp) -> int:
    """How long ago it was written, by whichever clock tells."""
    then_ms = None
    now_ms = 0
    if kept.get("boot") == stamp.boot:
        then_ms, now_ms = _number(kept.get("monotonic_ms")), stamp.monotonic_ms
    elif kept.get("synchronised") is True and stamp.synchronised:
        then_ms, now_ms = _number(kept.get("utc_ms")), stamp.utc_ms
    if then_ms is None or now_ms < then_ms:
        return RESTART_COSTS_MS
    return now_ms - then_ms


def _number(value: Json) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None
