"""How often a stranger is heeded, and how often a desk: a flood is counted, or refused.

Anybody who gets past a broker's rights can send what is not believed, and play back what was
recorded; whoever has stolen one desk's key can ask without end for what it may. None of them may
fill the ledger, nor crowd an alarm out.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from gateway.clock import Clock, Timer
from gateway.core.commands import Refusal
from gateway.core.model import Fact
from gateway.seams import Seldom

AGAIN_EVERY_US = 5_000_000
"""A known command that comes again gets its answers again at most this often."""

BURST = 32
REFILL_US = 10_000_000
"""Answers to what can be played back that a route may have at once, and how soon one more.

A person at a desk is not held up by it; a year of recorded commands is.
"""

QUIET_US = 10_000_000
QUIET_MAX_US = 640_000_000
"""After a refusal that anybody can cause the next of its route are counted for so long, twice as
long each time they go on: some 140 events in the first day of a flood.
"""


ORDERS_BURST = 128
ORDERS_REFILL_US = 500_000
"""Commands of one key that are obeyed at once, and how soon one more: a centre that repairs its
store asks twice a second. Each is some three messages that stay until they are receipted.
"""


@dataclass(slots=True)
class _Purse:
    """What is left of a route's answers, or of a key's orders."""

    left: int
    at_us: int
    burst: int = BURST
    refill_us: int = REFILL_US

    def take(self, now_us: int) -> bool:
        earned = (now_us - self.at_us) // self.refill_us
        self.left = min(self.burst, self.left + earned)
        self.at_us += earned * self.refill_us
        if not self.left:
            return False
        self.left -= 1
        return True


@dataclass(slots=True)
class _Flood:
    """What was refused on a route since one of it was told; `last` is the newest of them."""

    wait_us: int
    timer: Timer
    more: int = 0
    last: Fact | None = None


class Heed:
    """One gateway's patience. `tell` records a refusal and sends it."""

    def __init__(self, clock: Clock, *, tell: Callable[[Fact], None], seldom: Seldom) -> None:
        self._clock = clock
        self._tell = tell
        self._seldom = seldom
        self._purses: dict[str, _Purse] = {}
        self._orders: dict[str, _Purse] = {}
        self._floods: dict[str, _Flood] = {}
        self._again_us: dict[tuple[str, str], int] = {}

    def refusal(self, refusal: Refusal, fact: Fact) -> None:
        """Tell a refusal, or count it among those that are not told each."""
        route = refusal.route
        if refusal.authentic and self._purse(route):
            self._tell(fact)
            return
        flood = self._floods.get(route)
        if flood is None:
            self._floods[route] = _Flood(QUIET_US, self._later(route, QUIET_US))
            self._tell(fact)
            return
        flood.more += 1
        flood.last = fact
        self._seldom("command refused", {"route": route, "why": refusal.why})

    def again(self, route: str, command: str) -> bool:
        """True when a known command's answers may be given once more now."""
        now_us = self._clock.now_us()
        self._again_us = {
            known: us for known, us in self._again_us.items() if now_us - us < AGAIN_EVERY_US
        }
        if (route, command) in self._again_us or not self._purse(route):
            return False
        self._again_us[route, command] = now_us
        return True

    def order(self, by: str) -> bool:
        """True when one more order of that key may be obeyed now; by: its route and kid."""
        now_us = self._clock.now_us()
        fresh = _Purse(ORDERS_BURST, now_us, ORDERS_BURST, ORDERS_REFILL_US)
        return self._orders.setdefault(by, fresh).take(now_us)

    def stop(self) -> None:
        """Tell nothing any more."""
        for flood in self._floods.values():
            flood.timer.cancel()

    def _purse(self, route: str) -> bool:
        now_us = self._clock.now_us()
        return self._purses.setdefault(route, _Purse(BURST, now_us)).take(now_us)

    def _later(self, route: str, wait_us: int) -> Timer:
        at_us = self._clock.now_us() + wait_us
        return self._clock.call_at(at_us, lambda: self._summed(route), relaxed=True)

    def _summed(self, route: str) -> None:
        """The quiet is over: tell how many there were meanwhile, as the newest of them."""
        flood = self._floods.pop(route)
        if flood.last is None:
            return
        wait_us = min(2 * flood.wait_us, QUIET_MAX_US)
        self._floods[route] = _Flood(wait_us, self._later(route, wait_us))
        data = {**flood.last.data, "more": flood.more}
        self._tell(replace(flood.last, at_us=self._clock.now_us(), data=data))
