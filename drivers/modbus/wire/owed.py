"""What units may still say: answers to requests that were given up, and what proves a fresh one.

RTU answers carry no number. A request without an answer leaves a debt: its answer may come at any
moment until it is too old, and look exactly like the answer to the next equal request. Pure; the
wire brings the time.

An answer is fresh when no debt of that unit could look like it: another function, another byte
count. Otherwise it must come, equal, more often than late answers like it may be under way; then at
least one of these belongs to a request sent since. The wire reads again until that is so. Once a
unit was seen to answer late, it is not asked the same again before its debts are out of date, and
likewise where reading again proves nothing. The echo of a write that is still owed proves an equal
write, unless something else was written in between; a write is never sent again to find out.

A debt ends when it is paid (its answer is seen where it belongs to no request), when the unit's
answer came but damaged, or with time. Assumed, and nothing else:
- a request has at most one answer, and that comes within `late_ms` of it or never, in any order;
- of a unit that answers more than half of what it is asked, and that was not seen late for 10 min,
  no two late answers come into one proof. A lossy line looks just like lateness; without this, the
  readings that prove an answer would lose more than they prove;
- an answer whose place an equal late one took is not itself late. (Where the two differ that shows,
  and the answer is owed.)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from drivers.modbus.wire.frame import EXCEPTION, Ask, shape_of

TARDY_US = 600_000_000
"""For so long after a late answer of a unit was seen, what it owes is waited out (10 min)."""

LOST_SHARE, LOST_WEIGHT = 0.5, 1 / 16
"""A unit that left half of its last 16 or so requests unanswered may be late with all of them."""

MOST_LOST = 8
"""With more debts than this such a unit is not asked: 10 readings hold the line for too long."""

MOST_CALM = 16
"""The same for a unit that answers most; one request in six lost, at five a second, owes 8."""

SPARE_READINGS = 2
"""How many readings more than needed are tried when a value changes in between."""


@dataclass(slots=True, eq=False)
class Debt:
    """A request whose answer was not seen. until_us: when it is too old to matter.

    overwritten: something else was written to that unit since.
    """

    ask: Ask
    until_us: int
    overwritten: bool = False

    def like(self, ask: Ask) -> bool:
        """True when a good answer to `ask` looks like the one owed."""
        return self.ask.head == ask.head

    def may_be(self, pdu: bytes, *, asked: Ask | None = None) -> bool:
        """True for an answer that may be the one owed, where that matters to who asked `asked`."""
        if pdu[0] & EXCEPTION:
            return pdu[0] == self.ask.function | EXCEPTION
        if shape_of(pdu) != self.ask.head:
            return False
        same_write = asked is not None and asked.writes and asked.pdu == self.ask.pdu
        return not same_write or self.overwritten


class Owed:
    """The debts of all units on one line."""

    def __init__(self, *, late_us: int) -> None:
        self._late_us = late_us
        self._debts: dict[int, list[Debt]] = {}
        self._held: dict[tuple[int, bytes], int] = {}
        self._tardy_us: dict[int, int] = {}
        self._lost: dict[int, float] = {}

    def doubts(self, ask: Ask, *, now_us: int) -> tuple[Debt, ...]:
        """What the unit may still answer that could matter to this question, oldest first."""
        debts = self._debts.get(ask.unit)
        if not debts:
            return ()
        debts[:] = [debt for debt in debts if debt.until_us > now_us]
        return tuple(debt for debt in debts if debt.ask.function == ask.function)

    def sent(self, ask: Ask, *, now_us: int) -> Debt:
        """A request goes out: it is owed until `paid`."""
        debts = self._debts.setdefault(ask.unit, [])
        if debts and ask.writes:
            for debt in debts:
                debt.overwritten = debt.overwritten or debt.ask.pdu != ask.pdu
        debt = Debt(ask, now_us + self._late_us)
        debts.append(debt)
        return debt

    def paid(self, debt: Debt) -> None:
        """Its answer came. Harmless when it is no longer owed."""
        debts = self._debts.get(debt.ask.unit)
        if debts and debt in debts:
            debts.remove(debt)

    def counted(self, unit: int, *, lost: bool) -> None:
        """One more request came to its end, with an answer or without."""
        share = self._lost.get(unit, 0.0)
        self._lost[unit] = share + (lost - share) * LOST_WEIGHT

    def stray(self, unit: int, pdu: bytes, *, now_us: int) -> bool:
        """A frame nobody waits for: does it pay a debt? The oldest, as the others last longer."""
        for debt in self._debts.get(unit, ()):
            if debt.may_be(pdu):
                self.paid(debt)
                self._tardy_us[unit] = now_us + TARDY_US
                return True
        return False

    def renewed(self, proof: Proof, *, now_us: int) -> None:
        """Readings that differ: old answers took the place of fresh ones, owed from now on."""
        if not proof.doubts:
            return
        for debt in proof.doubts[: proof.odd]:
            debt.until_us = max(debt.until_us, now_us + self._late_us)

    def proof(self, ask: Ask, *, now_us: int) -> Proof:
        """What it takes, from now on, to prove an answer to this question."""
        return Proof(ask, self.doubts(ask, now_us=now_us), one_late=not self._losing(ask.unit))

    def hold(self, ask: Ask, doubts: Sequence[Debt]) -> None:
        """Nothing can be proven: leave the unit alone with this until its debts are out of date."""
        self._held[ask.unit, ask.head] = max((debt.until_us for debt in doubts), default=0)

    def held(self, ask: Ask, *, now_us: int) -> bool:
        """True while a read is not to be asked. Writes always may be; their echo may not count."""
        if not (self._held or self._debts.get(ask.unit)) or ask.writes:
            return False
        if self._held.get((ask.unit, ask.head), 0) > now_us:
            return True
        like = sum(debt.like(ask) for debt in self.doubts(ask, now_us=now_us))
        if self._tardy_us.get(ask.unit, 0) > now_us:
            return like > 0
        return like > (MOST_LOST if self._losing(ask.unit) else MOST_CALM)

    def _losing(self, unit: int) -> bool:
        return self._lost.get(unit, 0.0) > LOST_SHARE


class Proof:
    """The answers to one question, sent once or several times, weighed against the debts.

    doubts: the debts of the unit when the question first went out. one_late: one of them may come,
    and not all.
    """

    def __init__(self, ask: Ask, doubts: Sequence[Debt] = (), *, one_late: bool = False) -> None:
        self._ask = ask
        self.doubts = doubts
        self._most = 1 if doubts and one_late else len(doubts)
        self._came: dict[bytes, int] = {}

    @property
    def readings(self) -> int:
        """How often the question may go out: a write, or one nobody doubts, once."""
        if not self.doubts or self._ask.writes:
            return 1
        return 1 + self._most + SPARE_READINGS

    def add(self, pdu: bytes) -> None:
        """One more answer of the right form."""
        self._came[pdu] = self._came.get(pdu, 0) + 1

    @property
    def proven(self) -> bytes | None:
        """The answer that must be fresh; None while none is, and when two contradict each other."""
        sure = self._sure() if self.doubts else list(self._came)
        return sure[0] if len(sure) == 1 and self._ask.fits(sure[0]) else None

    @property
    def contradicted(self) -> bool:
        """True when two answers that differ must both be fresh: two units answer."""
        return len(self._sure()) > 1

    @property
    def odd(self) -> int:
        """How many answers differ from the commonest."""
        return sum(self._came.values()) - max(self._came.values(), default=0)

    def _sure(self) -> list[bytes]:
        if not self.doubts:
            return list(self._came)
        return [pdu for pdu, times in self._came.items() if times > self._needed(pdu)]

    def _needed(self, pdu: bytes) -> int:
        likely = sum(debt.may_be(pdu, asked=self._ask) for debt in self.doubts)
        return min(likely, self._most)
