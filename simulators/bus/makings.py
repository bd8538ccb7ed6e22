"""What a unit's makers decided about it, as its family in `models.py` fills it in."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from simulators.bus.orion import OrionLog
from simulators.bus.parts import Contact


def _nothing() -> None:
    """A unit with nothing to lose at a restart."""


@dataclass(slots=True)
class Makings:
    """What a unit's makers decided. answer_us: the shortest and the longest it thinks.

    poll_timeout_s: silence of the master after which it goes to its safe state, 0 never.
    restarted: what else a restart changes. log: its event log, if it has one.
    """

    answer_us: tuple[int, int]
    poll_timeout_s: Callable[[], int] = lambda: 0
    restarted: Callable[[], None] = _nothing
    log: OrionLog | None = None

    @property
    def flags(self) -> tuple[str, ...]:
        """What its event log can say, as names of channels."""
        return () if self.log is None else self.log.flags

    def flag(self, channel: str) -> Contact | None:
        """What raises that flag in the event log; None where the channel is none."""
        return None if self.log is None else self.log.contact(channel)
