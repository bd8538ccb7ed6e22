"""May the backlog go out on this connection? Not before somebody is known to listen. Pure.

When a broker comes back, gateway and centre come back in any order. A centre that begins to listen
in the middle of a backlog hears its tail first, and its beginning only when all is offered again.
So a backlog waits for the echo of a heartbeat or for a receipt, and not for ever: a centre may
store what it never answers. What is new waits for nothing; it does not pass through here.
"""

from __future__ import annotations

from gateway.core.lane import Ref

HOLD_US = 2_000_000
"""How long a backlog waits at most for a sign that somebody listens.

Heartbeats probe twice a second: whoever has listened for this long has left four unanswered, and a
round trip over LTE takes less than one. A longer wait would cost a centre that stores without a
word its alarms of the outage, and win little: what reached nobody begins anew, in order, with the
first echo.
"""


class Hold:
    """One connection's, for one route: waits, then asks with one message, then is open.

    Only the first of the backlog goes out while it `holds`: heard first it is in its place, and
    unheard it is offered again. A broker that says "no matching subscribers" (MQTT 5) of any alarm
    makes it wait anew; one that takes the message it asked with opens it.
    """

    __slots__ = ("_asks", "knocked", "until_us")

    def __init__(self, now_us: int) -> None:
        """until_us: when the wait ends by itself; None: it is over.

        knocked: the message that went out alone in this wait.
        """
        self.until_us: int | None = now_us + HOLD_US
        self.knocked: Ref | None = None
        self._asks = False

    @property
    def holds(self) -> bool:
        """True while the backlog is to wait."""
        return self.until_us is not None

    @property
    def asks(self) -> bool:
        """True while the wait has gone on for long enough, but for the broker's own word."""
        return self.holds and self._asks

    def run_out(self, now_us: int) -> int | None:
        """The end of a wait that is over by now, after which everything begins anew; else None.

        The first time it asks; when the broker has not said anything to that either, it is open.
        """
        ended_us = self.until_us
        if ended_us is None or now_us < ended_us:
            return None
        if self._asks:
            self.end()
            return None
        self._asks, self.knocked, self.until_us = True, None, now_us + HOLD_US
        return ended_us

    def acked(self, ref: Ref, now_us: int, *, nobody: bool) -> None:
        """The broker has an alarm's bytes; nobody: and says that nobody subscribes to them."""
        if nobody and (self._asks or not self.holds):
            self._asks, self.knocked, self.until_us = False, ref, now_us + HOLD_US
        elif not nobody and self._asks and ref == self.knocked:
            self.end()

    def end(self) -> None:
        """Somebody listens, or nothing speaks against it any more."""
        self._asks, self.knocked, self.until_us = False, None, None
