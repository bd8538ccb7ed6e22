"""What was done to the building, and what must come of it: the words the auditor counts in."""

from __future__ import annotations

from dataclasses import dataclass, field

US_PER_S = 1_000_000
LATE_CAUSE_US = 40 * US_PER_S
"""A press is seen so much later at the most: when its unit, or the gateway, is back."""


@dataclass(slots=True)
class Cause:
    """What must, or with `must` False may, make an alarm at a point. Times of the loop.

    tellings: how many presses of it count. alarm: its id, once it is known. told_us: when the
    gateway's log had it. arrived_us, cleared: when raising and end were at a route. exact: the
    presses must be told to the last one. owned: an episode answers it. lost: the gateway forgot it
    with a disk that had not written it.
    """

    point: str
    kind: str
    since_us: int
    until_us: int
    must: bool = True
    tellings: int = 1
    doubtful: bool | None = None
    alarm: str = ""
    told_us: int | None = None
    arrived_us: dict[str, int] = field(default_factory=dict)
    cleared: dict[str, int] = field(default_factory=dict)
    exact: bool = True
    status: str = "actual"
    owned: bool = False
    lost: bool = False

    def over(self, now_us: int) -> bool:
        """True when nothing can come of it any more."""
        return now_us > self.until_us + LATE_CAUSE_US


@dataclass(slots=True)
class Counts:
    """What was seen, for the report."""

    messages: int = 0
    alarms: int = 0
    presses: int = 0
    tests: int = 0
    events: int = 0
    limit: int = 0
