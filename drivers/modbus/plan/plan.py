"""The poll plan of one port: which read to which unit next. Pure; time comes as an argument.

Earliest deadline first among the high class; the low class where there is room, forced once it is
a second behind. A unit that does not answer costs the others little (`silence.py`). It owns what
is asked and when, never how it travels, and never writes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from drivers.modbus.plan.agenda import Agenda, Row
from drivers.modbus.plan.blocks import Block, exchange_us, values_of
from drivers.modbus.plan.health import PortHealth, Tally
from drivers.modbus.plan.load import stretched
from drivers.modbus.plan.polls import Change, GivenUp, PlanUnit, Poll, Polled, lives, why_silent
from drivers.modbus.plan.silence import SILENT_FAILURES, Noise
from drivers.modbus.wire.line import Line
from drivers.modbus.wire.request import Reply, ReplyKind
from gateway.core.model import US_PER_MS
from gateway.core.profile import Timing

__all__ = ["Change", "GivenUp", "Plan", "PlanUnit", "Poll", "Polled"]

LOW_LATE_US = 1_000_000
"""The low class is forced to run when it is so far behind."""

HIGH_PER_LOW = 4
"""Polls of the high class, while it is due, between two of the low class that are forced."""

PROBE_REST = 3
"""After a silent unit's probe, others wait so many times what it cost while live units are due:
silent units take at most a quarter of the wire from the living."""

PRESSED_LATE_US = 100_000
"""So late, the probe of a unit that people press waits for nobody's share any more."""

WEIGH_US = 1_000_000
"""How often the load of the wire is worked out anew."""

_PERMANENT = frozenset({1, 2, 3})
_FAILURE = 4


@dataclass(slots=True)
class _Due:
    """What could be asked now: a unit to be tried, and the first row of each class."""

    trial: Agenda | None = None
    again: tuple[Agenda, Row] | None = None
    high: tuple[Agenda, Row] | None = None
    low: tuple[Agenda, Row] | None = None

    @property
    def living(self) -> bool:
        """True when a live unit waits."""
        return self.high is not None or self.low is not None or self.again is not None


class Plan:
    """Which unit of one port is asked what next.

    One task owns it: `next`, then the exchange, then `done`; what it sends beside polls (set-up,
    actions) it tells `noted`. Polls that were not sent may be dropped: they come again.
    """

    def __init__(self, units: Sequence[PlanUnit], *, line: Line, now_us: int) -> None:
        """Every unit is asked at once, in this order.

        Raises ValueError for a device or a key that comes twice, or a value longer than a unit's
        limits.
        """
        self._line = line
        self._units = {spec.device: Agenda(spec, line, now_us) for spec in units}
        if len(self._units) < len(units):
            raise ValueError("a device comes twice on one port")
        self._tally = Tally()
        self._stretch = 1.0
        self._weigh_us = now_us
        self._noise = Noise()
        self._highs = 0
        self._dead_last = False
        self._probe_us = now_us

    # --- what next --------------------------------------------------------------------------------

    def next(self, now_us: int) -> Poll | None:
        """The read to make now; None: nothing is due before `deadline`."""
        if now_us >= self._weigh_us:
            self._weigh()
            self._weigh_us = now_us + WEIGH_US
        if all(unit.vigil.live and _first_us(unit) > now_us for unit in self._units.values()):
            return None  # most of the time
        due = self._due(now_us)
        if due.trial is not None and self._may_try(due, due.trial, now_us):
            return self._trial(due.trial, now_us)
        chosen = due.again or self._chosen(due, now_us)
        if chosen is not None:
            return self._poll(*chosen, now_us)
        early = self._early(now_us)
        return self._trial(early, now_us) if early is not None else None

    def deadline(self) -> int | None:
        """When `next` will have something, perhaps in the past; None: never (no units)."""
        return min(map(_first_us, self._units.values()), default=None)

    def _due(self, now_us: int) -> _Due:
        due = _Due()
        high_key = low_key = (0.0, 0)
        for unit in self._units.values():
            if unit.free_us > now_us:
                continue
            if not unit.vigil.live:
                due.trial = _sooner(due.trial, unit, now_us)
                continue
            for row in unit.rows:
                if row.due_us > now_us:
                    continue
                if row.retry or row.urged:
                    due.again = unit, row
                elif row.high:
                    key = unit.deadline_us(row), unit.served_us
                    if due.high is None or key < high_key:
                        due.high, high_key = (unit, row), key
                else:
                    key = row.due_us, unit.served_us
                    if due.low is None or key < low_key:
                        due.low, low_key = (unit, row), key
        return due

    def _may_try(self, due: _Due, unit: Agenda, now_us: int) -> bool:
        """Never two time-outs in a row while the living wait, and the silent keep to a share.

        Above the share stands the promise to look for a unit that people press every 2 s.
        """
        if not due.living:
            return True
        if self._dead_last:
            return False
        late = unit.spec.pressed and unit.vigil.next_us + PRESSED_LATE_US <= now_us
        return not unit.vigil.silent or late or now_us >= self._probe_us

    def _chosen(self, due: _Due, now_us: int) -> tuple[Agenda, Row] | None:
        """High before low, but for a low that is too late."""
        if due.low is None or due.high is None:
            return due.high or due.low
        late = due.low[1].due_us + LOW_LATE_US <= now_us
        return due.low if late and self._highs >= HIGH_PER_LOW else due.high

    def _early(self, now_us: int) -> Agenda | None:
        """A probe in the last quarter of its pause, where the wire would lie idle meanwhile."""
        silent = [unit for unit in self._units.values() if unit.vigil.silent]
        if not silent:
            return None
        unit = min(silent, key=_first_us)
        pause_us = unit.vigil.next_us - unit.vigil.tried_us
        if now_us < max(unit.free_us, unit.vigil.next_us - pause_us // 4):
            return None
        read = unit.probe().read
        cost_us = exchange_us(self._line, read) + self._patience(unit).answer_ms * US_PER_MS
        living = (_first_us(other) for other in self._units.values() if other.vigil.live)
        return unit if now_us + cost_us <= min(living, default=now_us + cost_us) else None

    def _trial(self, unit: Agenda, now_us: int) -> Poll:
        if not unit.vigil.silent:
            poll = self._poll(unit, unit.trial(), now_us)
            # Whole time-outs one after the other would be what the living feel most.
            short = unit.needs_us and unit.vigil.failures % SILENT_FAILURES
            return replace(poll, timing=self._patience(unit)) if short else poll
        block = unit.probe()
        return Poll(
            device=unit.spec.device,
            unit=unit.spec.unit,
            read=block.read,
            wants=tuple(want.key for want in block.wants),
            timing=self._patience(unit),
            at_us=now_us,
            probe=True,
        )

    def _poll(self, unit: Agenda, row: Row, now_us: int) -> Poll:
        return Poll(
            device=unit.spec.device,
            unit=unit.spec.unit,
            read=row.block.read,
            wants=row.keys,
            timing=unit.spec.timing,
            at_us=now_us,
            retry=row.retry,
        )

    def _patience(self, unit: Agenda) -> Timing:
        return unit.patience(max(other.needs_us for other in self._units.values()))

    def _weigh(self) -> None:
        stretches = stretched({device: unit.demand for device, unit in self._units.items()})
        self._stretch = min(stretches.values(), default=1.0)
        for device, unit in self._units.items():
            unit.stretch = stretches[device]

    # --- what came of it --------------------------------------------------------------------------

    def done(self, poll: Poll, reply: Reply, now_us: int) -> Polled:
        """What came of a poll. GONE is no unit's fault; it does what `gone` does."""
        unit = self._units[poll.device]
        row = None if poll.probe else unit.row_of(poll.read, poll.wants)
        self._note(unit, reply, now_us, retry=poll.retry)
        if row is not None and row.high:
            self._highs += 1
        elif row is not None:
            self._highs = 0
        if reply.kind is ReplyKind.GONE:
            self.gone(now_us)
            return Polled(device=poll.device)
        if not lives(reply):
            return self._failed(unit, row, poll, reply, now_us)
        back = self._answered(unit, now_us)
        if reply.kind is ReplyKind.EXCEPTION:
            return self._refused(unit, row, reply.code, now_us, back=back)
        unit.learn(poll.read, row, reply.took_us)
        if row is None:
            wants = tuple(want for want in unit.spec.wants if want.key in poll.wants)
            values = values_of(Block(poll.read, wants), reply.values)
            return Polled(device=poll.device, values=values, change=back)
        row.answered(poll.at_us, now_us)
        polled = row.polled(unit.spec.device, reply.values)
        return polled if back is None else replace(polled, change=back)

    def noted(self, device: str, reply: Reply, now_us: int, *, rest_us: int = 0) -> Polled:
        """What came of a request beside the plan: it proves life, or counts as a failure.

        rest_us: leave the unit alone for so long from now (it settles after a setting).
        """
        unit = self._units[device]
        self._note(unit, reply, now_us)
        unit.free_us = max(unit.free_us, now_us + rest_us)
        if reply.kind is ReplyKind.GONE:
            self.gone(now_us)
            return Polled(device=device)
        if lives(reply):
            return Polled(device=device, change=self._answered(unit, now_us))
        return self._unanswered(unit, reply, now_us - reply.took_us, now_us)

    def gone(self, now_us: int) -> None:
        """The port was lost or has come back: no time without it counts against a unit.

        Everything is due at once; retries are forgotten.
        """
        self._dead_last = False
        self._probe_us = now_us
        for unit in self._units.values():
            unit.vigil.gone(now_us)
            unit.free_us = min(unit.free_us, now_us)
            unit.anew(now_us)

    def _note(self, unit: Agenda, reply: Reply, now_us: int, *, retry: bool = False) -> None:
        if reply.asked:
            self._tally.note(reply, retry=retry)
            unit.tally.note(reply, retry=retry)
        unit.served_us = now_us
        unit.free_us = max(unit.free_us, now_us + unit.spec.timing.between_ms * US_PER_MS)

    def _answered(self, unit: Agenda, now_us: int) -> Change | None:
        """A sign of life. All of a unit's rows are due when it had been silent."""
        self._dead_last = False
        if not unit.vigil.silent:
            self._noise.answered(unit.vigil.failures)
        if not unit.vigil.answered(now_us):
            return None
        unit.restore(now_us)
        unit.anew(now_us)
        return Change.BACK

    def _refused(
        self, unit: Agenda, row: Row | None, code: int, now_us: int, *, back: Change | None
    ) -> Polled:
        """An exception: the unit lives, and means it (1, 2, 3), or is busy, or in trouble."""
        if row is None:
            return Polled(device=unit.spec.device, change=back)
        given_up: tuple[GivenUp, ...] = ()
        if code in _PERMANENT:
            refused = unit.refused(row, code, now_us)
            given_up = () if refused is None else (refused,)
        elif code == _FAILURE and not row.retry:
            row.retry = True
            row.due_us = min(row.due_us, now_us)
            return Polled(device=unit.spec.device, change=back)
        else:
            row.later(now_us)
        stale = row.keys if not given_up and row in unit.rows and row.stale(now_us) else ()
        return Polled(device=unit.spec.device, given_up=given_up, stale=stale, change=back)

    def _failed(
        self, unit: Agenda, row: Row | None, poll: Poll, reply: Reply, now_us: int
    ) -> Polled:
        """No answer, or none that can be believed: a damaged one is asked for again at once."""
        polled = self._unanswered(unit, reply, poll.at_us, now_us)
        if row is None:
            return polled
        if reply.kind is ReplyKind.DAMAGED and not row.retry and unit.vigil.live:
            row.retry = True
            row.due_us = min(row.due_us, now_us)
            return polled
        row.failed(now_us) if reply.asked else row.later(now_us)
        if polled.change is None and row.stale(now_us):
            return Polled(device=poll.device, stale=row.keys)
        return polled

    def _unanswered(self, unit: Agenda, reply: Reply, began_us: int, now_us: int) -> Polled:
        vigil = unit.vigil
        began_us = min(began_us, now_us)
        damaged = reply.kind is ReplyKind.DAMAGED
        if reply.asked:
            silent = vigil.failed(began_us, now_us, damaged=damaged, wanted=self._noise.wanted)
        else:
            silent = vigil.held(began_us, now_us)
        if not vigil.live:
            self._dead_last = True
            if vigil.silent:
                self._probe_us = now_us + PROBE_REST * (now_us - began_us)
        if not silent:
            return Polled(device=unit.spec.device)
        for row in unit.rows:
            row.retry = False
        age_us = None if vigil.heard_us is None else now_us - vigil.heard_us
        return Polled(
            device=unit.spec.device,
            change=Change.SILENT,
            age_us=age_us,
            why=why_silent(reply, vigil.failures),
        )

    # --- for whoever sends other things -----------------------------------------------------------

    def urge(self, device: str, keys: Sequence[str] = ()) -> None:
        """Ask for these wants of a unit (none named: all of the high class) before anything else.

        What the unit was too busy for, or left unanswered, is not hurried. A silent unit is probed
        at the next opportunity.
        """
        unit = self._units[device]
        if not unit.vigil.live:
            unit.vigil.urge()
        for row in unit.rows:
            meant = any(key in row.keys for key in keys) if keys else row.high
            if meant and not row.put_off:
                row.urged = True
                row.due_us = min(row.due_us, unit.served_us)

    def hurry(self, device: str) -> None:
        """Somebody waits for what a unit is to do: silent, it is looked for more often."""
        vigil = self._units[device].vigil
        if vigil.silent:
            vigil.hurry()

    def open(self, device: str, now_us: int) -> bool:
        """True when a set-up request may go to the unit now.

        It has answered, its last try succeeded, and it has had its pause.
        """
        unit = self._units[device]
        return unit.vigil.live and unit.vigil.heard_us is not None and unit.free_us <= now_us

    def free_us(self, device: str) -> int:
        """From when on the unit's own pause (`between_ms`, `rest_us`) allows a request to it."""
        return self._units[device].free_us

    def silent(self, device: str) -> bool:
        """True while the unit is taken for silent."""
        return self._units[device].vigil.silent

    def retry_given_up(self, device: str) -> None:
        """Ask again for what the unit once refused (it has started anew); reported once more."""
        unit = self._units[device]
        unit.restore(unit.served_us)

    def health(self) -> PortHealth:
        """The port's and its units' numbers now."""
        return PortHealth(
            numbers=self._tally.numbers,
            stretch=round(self._stretch, 2),
            units={device: unit.health() for device, unit in self._units.items()},
        )


def _first_us(unit: Agenda) -> int:
    """When a unit is due first."""
    if not unit.vigil.live:
        return max(unit.free_us, unit.vigil.next_us)
    return max(unit.free_us, min([row.due_us for row in unit.rows]))


def _sooner(one: Agenda | None, other: Agenda, now_us: int) -> Agenda | None:
    """Of two units on trial the one that has waited longer, if it has waited long enough."""
    if other.vigil.next_us > now_us:
        return one
    return other if one is None or other.vigil.next_us < one.vigil.next_us else one
