"""Numbers for whoever asks how a port and its units are. Pure; it decides nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from drivers.modbus.wire.request import Reply, ReplyKind


@dataclass(frozen=True, slots=True, kw_only=True)
class Numbers:
    """Since start. requests: all of them, retries too. damaged: bad CRC, length or sender.

    latency_us: a running mean of what whole answers took, from the first byte sent, 0 before the
    first; latency_most_us: the longest.
    """

    requests: int = 0
    answers: int = 0
    exceptions: int = 0
    timeouts: int = 0
    damaged: int = 0
    retries: int = 0
    gone: int = 0
    latency_us: int = 0
    latency_most_us: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitHealth:
    """One unit now. heard_us: when it last answered, None: never. given_up: wants it refuses."""

    unit: int
    silent: bool
    doubtful: bool
    heard_us: int | None
    given_up: tuple[str, ...]
    numbers: Numbers


@dataclass(frozen=True, slots=True, kw_only=True)
class PortHealth:
    """One port now, and its units by device.

    stretch: what every period is multiplied by at the moment, 1.0 where the wire keeps up.
    """

    numbers: Numbers
    stretch: float = 1.0
    units: Mapping[str, UnitHealth] = field(default_factory=dict)


class Tally:
    """Counts replies."""

    __slots__ = ("_answered", "_counts", "_latency_most_us", "_latency_us", "_retries")

    def __init__(self) -> None:
        self._answered = 0
        self._counts = dict.fromkeys(ReplyKind, 0)
        self._retries = 0
        self._latency_us = 0.0
        self._latency_most_us = 0

    def note(self, reply: Reply, *, retry: bool = False) -> None:
        """One more reply. The mean moves by an eighth of the difference (as TCP's does)."""
        self._retries += retry
        if reply.kind is not ReplyKind.ANSWERED:
            self._counts[reply.kind] += 1
        else:
            self._answered += 1
            if self._answered == 1:
                self._latency_us = reply.took_us
            self._latency_us += (reply.took_us - self._latency_us) / 8
            self._latency_most_us = max(self._latency_most_us, reply.took_us)

    @property
    def numbers(self) -> Numbers:
        """As they are now."""
        return Numbers(
            requests=self._answered + sum(self._counts.values()),
            answers=self._answered,
            exceptions=self._counts[ReplyKind.EXCEPTION],
            timeouts=self._counts[ReplyKind.SILENT],
            damaged=self._counts[ReplyKind.DAMAGED],
            gone=self._counts[ReplyKind.GONE],
            retries=self._retries,
            latency_us=round(self._latency_us),
            latency_most_us=self._latency_most_us,
        )
