"""Facts become Events, Events become signed Messages, both become a record; then they are let go.

Owns the numbers of every Stream. The record is asked for first, but an alarm waits for the disk at
most `sync_wait_ms`: trouble with storage costs durability, never silence.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterable, Mapping, Sequence

from gateway.clock import Clock, Timer
from gateway.core.jws import SigningKey
from gateway.core.kinds import class_of, phase_of, stream_of
from gateway.core.message import Head, seal_message, uuid7
from gateway.core.model import US_PER_MS, Event, Fact, Message, Status, Stream, StreamKey
from gateway.core.premises import Point, Premises, Route
from gateway.record.entry import Entry, Identity
from gateway.record.writer import Writer

Release = Callable[[Sequence[Message]], None]

NOTHING: Mapping[str, str] = {}
NOBODY: Mapping[str, Iterable[str]] = {}
EVERY_ROUTE = "*"
"""In `Fact.to`: what happened is owed to every route, whatever its list says."""


class Recorder:
    """Gives every fact its id, time, number and signature, has it written, and releases it."""

    def __init__(
        self,
        premises: Premises,
        *,
        identity: Identity,
        heads: Mapping[tuple[str, Stream], Head],
        holders: Mapping[str, Iterable[str]],
        signer: SigningKey,
        writer: Writer,
        clock: Clock,
        random: random.Random,
        release: Release,
        late: Callable[[], None],
        status: Callable[[Fact], Status] = lambda _: Status.ACTUAL,
    ) -> None:
        """status: whether a fact is meant, or part of a drill or a test."""
        self._premises = premises
        self._points: dict[str, Point] = {point.id: point for point in premises.points}
        self._identity = identity
        self._heads = dict(heads)
        self._holders = {alarm: list(routes) for alarm, routes in holders.items()}
        self._raised: dict[str, Event] = {}
        self._signer = signer
        self._writer = writer
        self._clock = clock
        self._random = random
        self._release = release
        self._late = late
        self._status = status

    def key(self, route: str, stream: Stream) -> StreamKey:
        """The stream this start writes to."""
        me = self._identity
        return StreamKey(route, stream, me.ledger, me.epoch, me.start)

    def head(self, route: str, stream: Stream) -> int:
        """The last number given in that stream by this start; 0 for none."""
        return self._heads.get((route, stream), Head()).sequence

    def restore(
        self, events: Iterable[Event], holders: Mapping[str, Iterable[str]] = NOBODY
    ) -> None:
        """Remember the raising events of alarms that were open before, and who holds them."""
        self._holders |= {alarm: list(routes) for alarm, routes in holders.items()}
        for event in events:
            self._remember(event)

    def new_id(self, at_us: int) -> str:
        """A fresh event id for something that happened at `at_us`."""
        return uuid7(self._clock.stamp(at_us).utc_ms, self._random.randbytes(10))

    def record(self, facts: Iterable[Fact], kept: Mapping[str, str] = NOTHING) -> list[Event]:
        """Make Events of facts and see that they are written and sent. Never blocks.

        kept: what must be on disk together with the first of them.
        """
        events = []
        for fact in facts:
            event = Event(
                id=fact.id or self.new_id(fact.at_us),
                type=fact.type,
                subject=fact.subject,
                stamp=self._clock.stamp(fact.at_us),
                alarm=fact.alarm,
                status=self._status(fact),
                data=fact.data,
            )
            events.append(event)
            self._remember(event)
            routes = [
                route
                for route in self._premises.routes
                if EVERY_ROUTE in fact.to or route.id in fact.to or self._wants(route, event)
            ]
            self._write(event, routes, kept)
            kept = NOTHING
            self._forget(event)
        return events

    def owe_also(self, alarm: str, route_id: str) -> bool:
        """Bring a further route in on an open alarm; False when it holds it already."""
        event = self._raised.get(alarm)
        if event is None or route_id in self._holders.get(alarm, ()):
            return False
        self._write(event, [self._premises.route(route_id)], NOTHING)
        return True

    def _wants(self, route: Route, event: Event) -> bool:
        """A route is owed what its list names, and all that concerns an alarm it holds."""
        if event.alarm is not None and route.id in self._holders.get(event.alarm, ()):
            return True
        about_others_alarm = event.alarm is not None and class_of(event.type) == "state"
        return class_of(event.type) in route.sends and not about_others_alarm

    def _write(self, event: Event, routes: Sequence[Route], kept: Mapping[str, str]) -> None:
        messages = []
        for route in routes:
            stream = stream_of(event.type)
            message, head = seal_message(
                event,
                premises=self._premises,
                route=route,
                point=self._points.get(event.subject),
                key=self.key(route.id, stream),
                head=self._heads.get((route.id, stream), Head()),
                signer=self._signer,
            )
            self._heads[route.id, stream] = head
            messages.append(message)
            if event.alarm is not None:
                holders = self._holders.setdefault(event.alarm, [])
                if route.id not in holders:
                    holders.append(route.id)
        self._append(Entry(event, tuple(messages), kept))

    def _append(self, entry: Entry) -> None:
        """Write, and let the messages go when they are on disk or the wait is over."""
        waiting: list[Timer] = []

        def released() -> None:
            if waiting:
                waiting.pop().cancel()
                self._release(entry.messages)

        def too_late() -> None:
            released()
            self._late()

        deadline_us = self._clock.now_us() + self._premises.sync_wait_ms * US_PER_MS
        waiting.append(self._clock.call_at(deadline_us, too_late, relaxed=True))
        written = self._writer.append(entry)

        def settled(future: asyncio.Future[None]) -> None:
            # what could not be recorded still goes out; the writer has told why
            if not future.cancelled():
                future.exception()
            released()

        written.add_done_callback(settled)

    def _remember(self, event: Event) -> None:
        raised = class_of(event.type) == "alarm" and phase_of(event.type) == "raised"
        if event.alarm is not None and raised:
            self._raised[event.alarm] = event

    def _forget(self, event: Event) -> None:
        if class_of(event.type) == "alarm" and phase_of(event.type) == "cleared":
            assert event.alarm is not None
            self._raised.pop(event.alarm, None)
            self._holders.pop(event.alarm, None)
