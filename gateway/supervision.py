"""Every route over every uplink is watched: heartbeats out, echoes in, faults of paths told.

Which uplink a route uses follows from it. When a path is faulty is `core/paths.py`'s to say;
connections are `uplink/`'s. Nothing here waits for anything.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from functools import partial
from typing import Protocol

from gateway.clock import Clock
from gateway.core.jws import SigningKey, TokenType, seal
from gateway.core.message import Heartbeat, heartbeat_payload
from gateway.core.model import Fact, Json, Stream
from gateway.core.paths import Path
from gateway.core.premises import Premises, Receipts
from gateway.record.entry import Identity
from gateway.uplink.link import Ack
from gateway.uplink.uplink import Uplink

TOPIC = "qorgan/v1"


class Listener(Protocol):
    """What a heartbeat tells of the gateway, and who is told what the paths say."""

    def head(self, route: str, stream: Stream) -> int:
        """The last number given in a stream."""

    def open_alarms(self) -> tuple[tuple[str, ...], int]:
        """Ids of the newest open alarms, oldest first, and how many older ones there are."""

    def isolated(self) -> tuple[str, ...]:
        """Points that are out of service on purpose."""

    def modes(self) -> tuple[str, ...]:
        """The modes that stand, by name."""

    def tell(self, facts: Iterable[Fact]) -> None:
        """Something of our own is broken, or whole again."""

    def look_again(self) -> None:
        """`deadline` has come nearer."""


class Supervision:
    """All paths of one gateway."""

    def __init__(
        self,
        premises: Premises,
        clock: Clock,
        *,
        identity: Identity,
        signer: SigningKey,
        uplinks: Mapping[str, Uplink],
        owed: Callable[[str], int],
        heard: Callable[[str, str, int], None],
        listener: Listener,
    ) -> None:
        """owed: how many messages of a route's alarm stream no receipt covers.

        heard: told of route and uplink with every echo, and of the moment until which an offer
        there may have reached nobody (0: none).
        """
        self._clock = clock
        self._gateway = premises.gateway
        self._identity = identity
        self._signer = signer
        self._uplinks = uplinks
        self._owed = owed
        self._heard = heard
        self._listener = listener
        self._routes = {route.id: route for route in premises.routes}
        numbers = {route.id: itertools.count(1) for route in premises.routes}
        now_us = clock.now_us()
        self._paths = {
            (route.id, spec.id): Path(
                route.id,
                spec.id,
                heartbeat_ms=spec.heartbeat_ms,
                now_us=now_us,
                numbers=numbers[route.id],
            )
            for route in premises.routes
            for spec in premises.uplinks
            if spec.id in route.via
        }

    def carrier(self, route: str) -> str | None:
        """The uplink that carries a route's log: the first good one, else the first connected."""
        paths = [self._paths[route, uplink] for uplink in self._routes[route].via]
        for path in paths:
            if path.good:
                return path.uplink
        return next((path.uplink for path in paths if path.connected), None)

    def told(self, route: str, uplink: str) -> str:
        """How a path is, in a word or two, for people."""
        path = self._paths[route, uplink]
        if not path.connected:
            return "not connected"
        if path.good:
            return "good"
        return "answers again" if path.recovering else "connected, nobody answers"

    # --- what happens ----------------------------------------------------------------------------

    def up(self, uplink: str) -> None:
        """A new connection: it begins with a heartbeat."""
        now_us = self._clock.now_us()
        for path in self._over(uplink):
            path.up(now_us)
        self._beat(now_us)

    def down(self, uplink: str, why: str) -> None:
        """The connection is gone, and why."""
        now_us = self._clock.now_us()
        for path in self._over(uplink):
            path.down(now_us, why)

    def echo(self, route: str, uplink: str, beat: int) -> None:
        """A receipt has echoed a heartbeat, or the broker's word stands in for one."""
        path = self._paths[route, uplink]
        before = path.deadline(), path.beat_due()
        unheard_us = path.echo(beat, self._clock.now_us())
        if unheard_us is not None:
            self._heard(route, uplink, unheard_us)
        if any(map(_nearer, (path.deadline(), path.beat_due()), before)):  # nearly never
            self._listener.look_again()

    def refused(self, route: str, uplink: str, why: str, *, nobody: bool) -> None:
        """The broker says that a publish went nowhere; nobody: taken, but nobody subscribes."""
        now_us = self._clock.now_us()
        self._tell(self._paths[route, uplink].refused(why, now_us, nobody=nobody))

    def _over(self, uplink: str) -> list[Path]:
        return [path for path in self._paths.values() if path.uplink == uplink]

    # --- time ------------------------------------------------------------------------------------

    def deadline(self) -> int | None:
        """When `wake` will have something to do."""
        moments = [path.deadline() for path in self._paths.values()]
        moments += [path.beat_due() for path in self._paths.values()]
        return min((moment for moment in moments if moment is not None), default=None)

    def wake(self, now_us: int) -> None:
        """Send heartbeats that are due, and tell faults of paths."""
        for route in self._routes.values():
            carrier = self.carrier(route.id)
            for uplink in route.via:
                self._paths[route.id, uplink].in_use = uplink == carrier
        self._beat(now_us)
        facts: list[Fact] = []
        for path in self._paths.values():
            path.still_down(self._uplinks[path.uplink].why)
            facts += path.wake(now_us)
        self._tell(facts)

    def _tell(self, facts: Iterable[Fact]) -> None:
        """Tell faults of paths, each with what else its route has: good uplinks, and debts.

        Whoever reads one must see at once whether alarms still get through.
        """
        told: list[Fact] = []
        for fact in facts:
            route = str(fact.data["route"])
            good = [uplink for uplink in self._routes[route].via if self._paths[route, uplink].good]
            more: dict[str, Json] = {"good": list[Json](good), "owed": self._owed(route)}
            told.append(replace(fact, data={**fact.data, **more}))
        if told:
            self._listener.tell(told)

    def _beat(self, now_us: int) -> None:
        """Send the heartbeats that are due now."""
        for path in self._paths.values():
            due_us = path.beat_due()
            if due_us is not None and due_us <= now_us:
                number = path.beat(now_us)
                token = self._heartbeat(path, number, now_us)
                topic = f"{TOPIC}/{self._gateway}/{path.route}/heartbeat"
                if self._routes[path.route].receipts is Receipts.SIGNED:
                    self._uplinks[path.uplink].publish(topic, token, qos=0)
                else:  # nobody echoes there: the broker's word must do here too
                    taken = partial(self._beat_taken, path, number)
                    self._uplinks[path.uplink].publish(topic, token, qos=1, on_ack=taken)

    def _beat_taken(self, path: Path, number: int, ack: Ack, _why: str) -> None:
        if ack is Ack.ACCEPTED:
            self.echo(path.route, path.uplink, number)

    def _heartbeat(self, path: Path, number: int, now_us: int) -> bytes:
        stamp, me, listener = self._clock.stamp(now_us), self._identity, self._listener
        named, more = listener.open_alarms()
        beat = Heartbeat(
            number=number,
            ledger=me.ledger,
            epoch=me.epoch,
            start=me.start,
            boot=stamp.boot,
            monotonic_ms=stamp.monotonic_ms,
            utc_ms=stamp.utc_ms,
            synchronised=stamp.synchronised,
            heads={stream: listener.head(path.route, stream) for stream in Stream},
            open=named,
            open_more=more,
            isolated=listener.isolated(),
            modes=listener.modes(),
        )
        return seal(TokenType.HEARTBEAT, heartbeat_payload(beat), self._signer)


def _nearer(moment: int | None, before: int | None) -> bool:
    """True when a moment is earlier than it was."""
    return moment is not None and (before is None or moment < before)
