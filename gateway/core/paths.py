"""Is anybody there? One Path is one route over one uplink, supervised by heartbeats. Pure.

Every connection begins with a heartbeat. The centre's next receipt on the same uplink echoes its
number, so a live case system never hides a deaf security service and a live broker never hides a
dead centre. A path that misses its echo is faulty, and good again after a minute of echoes.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator

from gateway.core.model import US_PER_MS, Fact, Json

ECHO_WITHIN_US = 4_000_000
"""With a heartbeat every 5 s a deaf centre is known in 9 s; the promise is 10."""

STANDBY_US = 60_000_000
"""Heartbeat interval of an uplink the route is not using."""

GOOD_AGAIN_US = 60_000_000
"""Echoes without a gap for this long, and two at least, end a fault; an outage does not flicker."""

_BEATS_KEPT = 64

PROBE_US = 500_000
PROBE_FOR_US = 30_000_000
"""Heartbeat interval on a connection nobody has answered on yet, and for how long.

When a broker comes back, gateway and centre come back in any order. What was offered before the
centre listened is lost to it, and must not wait for the next offer five seconds later.
"""


class Path:
    """Supervision of one (route, uplink). `wake` at `deadline`; send when `beat_due` says so."""

    __slots__ = (
        "_answered",
        "_awaiting",
        "_beats",
        "_connected",
        "_faulty_us",
        "_good_since_us",
        "_heard_us",
        "_heartbeat_us",
        "_lost_us",
        "_numbers",
        "_quiet_us",
        "_sent_us",
        "_unheard_us",
        "_up_us",
        "_why",
        "in_use",
        "route",
        "uplink",
    )

    def __init__(
        self,
        route: str,
        uplink: str,
        *,
        heartbeat_ms: int,
        now_us: int,
        numbers: Iterator[int] | None = None,
    ) -> None:
        """numbers: shared by the paths of one route, so that an echo names one path only.

        Two uplinks may lead to one broker: each then hears the echoes of both.
        """
        self.route = route
        self.uplink = uplink
        self.in_use = False
        self._heartbeat_us = heartbeat_ms * US_PER_MS
        self._numbers = numbers if numbers is not None else itertools.count(1)
        self._sent_us: int | None = None
        self._awaiting: tuple[int, int] | None = None
        self._connected = False
        self._answered = False
        self._beats: dict[int, int] = {}
        self._up_us = now_us
        self._unheard_us = 0
        self._lost_us: int | None = now_us
        self._heard_us = now_us
        self._quiet_us = now_us
        self._faulty_us: int | None = None
        self._good_since_us: int | None = None
        self._why = "no connection"

    # --- what can be asked -----------------------------------------------------------------------

    @property
    def good(self) -> bool:
        """True while it is connected and nothing says that nobody answers."""
        return self._connected and self._faulty_us is None

    @property
    def connected(self) -> bool:
        """True while the uplink holds a connection."""
        return self._connected

    @property
    def faulty(self) -> bool:
        """True from fault.path.raised to fault.path.cleared."""
        return self._faulty_us is not None

    @property
    def recovering(self) -> bool:
        """True while somebody answers again and the fault is not over yet."""
        return self._good_since_us is not None

    def beat_due(self) -> int | None:
        """When the next heartbeat is to go out; None while there is no connection."""
        if not self._connected:
            return None
        if self._sent_us is None:
            return self._up_us
        if not self._answered and self._sent_us < self._up_us + PROBE_FOR_US:
            return self._sent_us + min(PROBE_US, self._heartbeat_us)
        # a faulty path is asked at the full pace, so that its return is seen as soon as its loss
        slow = not self.in_use and not self.faulty
        return self._sent_us + max(self._heartbeat_us, STANDBY_US if slow else 0)

    def deadline(self) -> int | None:
        """When `wake` will have something to say; None: never."""
        if self._faulty_us is None:
            return self._overdue_us()
        if self._good_since_us is None:
            return None
        # one echo is not yet two: a heartbeat that is under way is waited for
        good_us = self._good_since_us + max(GOOD_AGAIN_US, self._heartbeat_us)
        return good_us if self._awaiting is None else max(good_us, self._awaiting_until_us())

    def _awaiting_until_us(self) -> int:
        assert self._awaiting is not None
        return self._awaiting[1] + ECHO_WITHIN_US

    def _overdue_us(self) -> int | None:
        """When this path has been silent for too long.

        Neither clock is stopped by a new connection, only by an echo: else a broker that takes the
        connection and throws it away, over and over, would hide that nobody answers.
        """
        moments = []
        if self._awaiting is not None:
            moments.append(self._awaiting_until_us())
        if self._lost_us is not None:
            moments.append(self._lost_us + self._heartbeat_us + ECHO_WITHIN_US)
        return min(moments, default=None)

    # --- what happens ----------------------------------------------------------------------------

    def up(self, now_us: int) -> None:
        """A new connection: a heartbeat is due on it at once."""
        self._connected = True
        self._answered = False
        self._beats.clear()
        self._up_us = now_us
        self._unheard_us = 0
        self._sent_us = None

    def down(self, now_us: int, why: str) -> None:
        """The connection is gone, and why."""
        if self._lost_us is None:
            self._lost_us = now_us
        self._connected = False
        self._good_since_us = None
        self._why = why

    def still_down(self, why: str) -> None:
        """What stands in the way of a connection now; it may differ from what ended the last."""
        if not self._connected:
            self._why = why

    def beat(self, now_us: int) -> int:
        """A heartbeat goes out now; its number."""
        number = next(self._numbers)
        self._sent_us = now_us
        self._why = "no answer to the heartbeat"
        self._beats[number] = now_us
        if len(self._beats) > _BEATS_KEPT:
            del self._beats[next(iter(self._beats))]
        if self._awaiting is None:
            self._awaiting = (number, now_us)
        return number

    def echo(self, number: int, now_us: int) -> int | None:
        """The centre has echoed that heartbeat on this uplink; another path's changes nothing.

        Gives until when an offer on this connection may have reached nobody: when earlier
        heartbeats went unanswered, until this one was sent; else as before, and 0 for never.
        None: it echoes nothing that is waited for.
        """
        if self._awaiting is None or number < self._awaiting[0] or number not in self._beats:
            return None
        sent_us = self._beats.pop(number)
        if any(earlier < number for earlier in self._beats):
            self._unheard_us = sent_us
        self._beats.clear()
        self._answered = True
        late = self._awaiting_until_us() < now_us
        self._awaiting = None
        self._lost_us = None
        self._heard_us = now_us
        if self._faulty_us is not None and (late or self._good_since_us is None):
            self._good_since_us = now_us
        return self._unheard_us

    def refused(self, why: str, now_us: int, *, nobody: bool) -> list[Fact]:
        """The broker says that a publish went nowhere: no need to wait for the echo.

        nobody: it was taken, but nobody subscribes. On a new connection the centre may just not
        be back yet, so there the heartbeat's own limit decides.
        """
        if nobody and not self._answered and now_us < self._up_us + ECHO_WITHIN_US:
            return []
        self._good_since_us = None
        return [] if self.faulty else self._fail(now_us, why)

    def wake(self, now_us: int) -> list[Fact]:
        """Faults raised or cleared by `now_us`."""
        if self._awaiting is not None and self._awaiting_until_us() <= now_us:
            self._good_since_us = None
        due_us = self.deadline()
        if due_us is None or due_us > now_us:
            return []
        if self._faulty_us is None:
            return self._fail(due_us, self._why)
        assert self._good_since_us is not None
        lasted_ms = (due_us - self._faulty_us) // US_PER_MS
        silent_ms = (self._good_since_us - self._quiet_us) // US_PER_MS
        self._faulty_us = None
        self._good_since_us = None
        return [self._fact("cleared", due_us, {"lasted_ms": lasted_ms, "silent_ms": silent_ms})]

    def _fail(self, at_us: int, why: str) -> list[Fact]:
        """silent_ms: since anybody was heard; in the clearing, until the answers came for good."""
        self._faulty_us = at_us
        self._quiet_us = self._heard_us
        silent_ms = (at_us - self._heard_us) // US_PER_MS
        return [self._fact("raised", at_us, {"why": why, "silent_ms": silent_ms})]

    def _fact(self, phase: str, at_us: int, data: dict[str, Json]) -> Fact:
        data = {"route": self.route, "uplink": self.uplink, **data}
        return Fact(f"fault.path.{phase}", self.uplink, at_us, data=data)
