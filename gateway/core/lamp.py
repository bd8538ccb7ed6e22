"""What the lamp at a button shows of the alarm raised there: four rhythms, one table.

Pure: the caller brings the time. A lamp tells its rhythm, never a colour, so that it can be read
by everybody and on any lamp. It never shows a fault: a fault lamp would confirm to whoever cut a
wire that the wire mattered. Points that are silent have no lamp (the caller sees to that).

One character is 50 ms of the first second, `#` lit:

    idle          ....................   dark
    sending       ####....####....####   even blink: not yet at the centre
    received      ##...##.............   double flash each second: the centre holds it
    acknowledged  ####################   steady: a person has answered
"""

from __future__ import annotations

from enum import StrEnum

from gateway.core.model import US_PER_MS


class LampState(StrEnum):
    """What the person at the button may know of the alarm raised there."""

    IDLE = "idle"
    SENDING = "sending"
    RECEIVED = "received"
    ACKNOWLEDGED = "acknowledged"


RHYTHMS: dict[LampState, tuple[int, ...]] = {
    LampState.IDLE: (0, 1_000),
    LampState.SENDING: (200, 200),
    LampState.RECEIVED: (100, 150, 100, 650),
    LampState.ACKNOWLEDGED: (1_000, 0),
}
"""Milliseconds lit, dark, lit, dark … from the moment the state began, then again from the start.

No rhythm has more than three flashes in any second: WCAG 2.2, criterion 2.3.1, the limit for
people with photosensitive epilepsy. A zero means that state never shows the other half.
"""


def lit(state: LampState, since_us: int, now_us: int) -> bool:
    """True when a lamp in `state` since `since_us` is on at `now_us` (monotonic microseconds).

    A moment before `since_us` counts as `since_us`.
    """
    return _where(state, since_us, now_us)[0]


def next_change_us(state: LampState, since_us: int, now_us: int) -> int | None:
    """The first moment after `now_us` at which `lit` answers otherwise; None when it never will.

    Monotonic microseconds. A moment before `since_us` counts as `since_us`.
    """
    if 0 in RHYTHMS[state]:
        return None
    return max(since_us, now_us) + _where(state, since_us, now_us)[1]


def _where(state: LampState, since_us: int, now_us: int) -> tuple[bool, int]:
    """Is it lit, and for how many microseconds more."""
    rhythm = RHYTHMS[state]
    phase_us = max(0, now_us - since_us) % (sum(rhythm) * US_PER_MS)
    for index, part_ms in enumerate(rhythm):
        phase_us -= part_ms * US_PER_MS
        if phase_us < 0:
            return index % 2 == 0, -phase_us
    raise AssertionError(rhythm)
