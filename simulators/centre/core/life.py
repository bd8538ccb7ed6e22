"""A gateway's sign of life as a centre sees it: heartbeats, clocks tied to ours, lost and found.

Pure state, driven by `core`: no I/O and no clock. The caller has verified what it is given.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping

from gateway.core.message import Heartbeat
from simulators.centre.core.reading import Age, MessageClock, OpenedMessage, Tie, age_of, tied
from simulators.centre.core.words import Finding, FindingKind, remember

KEPT_BOOTS = 4
KEPT_COUNTERS = 64
INTERVAL_MS = 5_000
"""Heartbeat interval of an uplink whose configuration says nothing else."""
LOST_AFTER_BEATS = 3
LOST_SLACK_MS = 2_000
"""A gateway is lost after three intervals and two seconds: 17 s at 5 s."""


class Life:
    """Whether a gateway is there, what it says is open, how old is what it sends."""

    def __init__(self, gateway: str, intervals_ms: Mapping[str, int]) -> None:
        """intervals_ms: by uplink name."""
        self.last: Heartbeat | None = None
        self.lost = False
        self.lost_at_ms: int | None = None
        self._gateway = gateway
        self._intervals_ms = intervals_ms
        self._ties: OrderedDict[str, Tie] = OrderedDict()
        self._counters: OrderedDict[tuple[str, str], int] = OrderedDict()
        self._heard_ms: dict[str, int] = {}

    def _limit_ms(self, uplink: str) -> int:
        return LOST_AFTER_BEATS * self._intervals_ms.get(uplink, INTERVAL_MS) + LOST_SLACK_MS

    def watch(self, at_ms: int) -> None:
        """From now on silence counts, for a gateway that has not been heard yet too."""
        quickest = min(self._intervals_ms.values(), default=INTERVAL_MS)
        if self.lost_at_ms is None:
            self.lost_at_ms = at_ms + LOST_AFTER_BEATS * quickest + LOST_SLACK_MS

    def beat(self, beat: Heartbeat, uplink: str, at_ms: int) -> tuple[str, list[Finding]]:
        """Take a heartbeat in. The text says why it is no sign of life, empty when it is one."""
        counter = (beat.start, uplink)
        if beat.number <= self._counters.get(counter, 0):
            return "its number is not new: a repeated heartbeat", []
        remember(self._counters, counter, beat.number, KEPT_COUNTERS)
        held = self._ties.get(beat.boot)
        tie = tied(held, monotonic_ms=beat.monotonic_ms, at_ms=at_ms)
        remember(self._ties, beat.boot, tie, KEPT_BOOTS)
        limit_ms = self._limit_ms(uplink)
        if at_ms - beat.monotonic_ms - tie.offset_at(at_ms) > limit_ms:
            return f"over {limit_ms // 1_000} s under way: no sign of life", []
        newest = self.last is None or self.last.boot != beat.boot
        if newest or (self.last is not None and self.last.monotonic_ms <= beat.monotonic_ms):
            self.last = beat
        self._heard_ms[uplink] = at_ms
        # A standby path beats slowly: the quickest path that is alive sets the limit, and once it
        # has fallen silent the slower one alone does, or its gateway would be lost at every beat.
        self.lost_at_ms = at_ms + min(
            self._limit_ms(name)
            for name, heard_ms in self._heard_ms.items()
            if at_ms - heard_ms <= self._limit_ms(name)
        )
        if not self.lost:
            return "", []
        self.lost = False
        return "", [Finding(FindingKind.FOUND, self._gateway, f"heard again on {uplink}")]

    def wake(self, at_ms: int) -> list[Finding]:
        """LOST, once, when the silence has lasted too long."""
        if self.lost or self.lost_at_ms is None or at_ms < self.lost_at_ms:
            return []
        self.lost = True
        heard_ms = max(self._heard_ms.values(), default=None)
        text = "not heard since this centre started"
        if heard_ms is not None:
            text = f"silent for {(at_ms - heard_ms) // 1_000} s on every uplink"
        return [Finding(FindingKind.LOST, self._gateway, text)]

    def sent_ms(self, beat: Heartbeat, at_ms: int) -> int:
        """When a heartbeat that was taken in was sent, in the time of `at_ms`."""
        return beat.monotonic_ms + self._ties[beat.boot].offset_at(at_ms)

    def age(self, clock: MessageClock, at_ms: int) -> Age:
        """How old a message of this gateway is."""
        synchronised = self.last is not None and self.last.synchronised
        tie = self._ties.get(clock.boot)
        return age_of(clock, tie=tie, synchronised=synchronised, at_ms=at_ms)

    def open_now(self, message: OpenedMessage) -> bool | None:
        """Whether the last heartbeat lists the message's alarm.

        None when it is older than that, or does not name all that are open.
        """
        last = self.last
        if last is None or message.alarm is None:
            return None
        earlier = last.monotonic_ms < message.clock.monotonic_ms
        if last.boot == message.clock.boot and earlier:
            return None
        if message.alarm in last.open:
            return True
        return None if last.open_more else False
