"""One connection of the in-process broker: topics, packets, two pipes, the client's end.

Keeps the contract of `gateway.link.Connection` without sockets, threads or bytes on a wire. Knows
nothing of other connections; what the broker does with a packet is `wire.py`'s business.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol

from gateway.clock import Clock
from gateway.uplink.link import GOODBYE_WITHIN_S, Ack, OnAck, OnMessage, Will

US_PER_S = 1_000_000


@lru_cache(maxsize=4_096)
def matches(topic_filter: str, topic: str) -> bool:
    """MQTT's topic matching: `+` is one level, a final `#` the rest and the level above it."""
    wanted, given = topic_filter.split("/"), topic.split("/")
    for index, level in enumerate(wanted):
        if level == "#":
            return True
        if index >= len(given) or level not in {"+", given[index]}:
            return False
    return len(wanted) == len(given)


@dataclass(frozen=True, slots=True)
class Packet:
    """One PUBLISH."""

    topic: str
    payload: bytes
    qos: int
    retain: bool


class Pipe:
    """One direction of a connection: keeps order, takes time, can be stalled or cut."""

    def __init__(self, clock: Clock, delay_us: Callable[[], int]) -> None:
        """delay_us: draws how long the next packet travels."""
        self._clock = clock
        self._delay_us = delay_us
        self._queue: deque[tuple[int, Callable[[], None]]] = deque()
        self._last_us = 0
        self._running = False
        self.stalled = False
        self.cut = False

    def send(self, arrival: Callable[[], None]) -> None:
        """Run `arrival` when the packet gets there, after all that were sent before it."""
        if self.cut:
            return
        self._last_us = max(self._last_us, self._clock.now_us() + self._delay_us())
        self._queue.append((self._last_us, arrival))
        if not self._running:
            self._run()

    @property
    def busy(self) -> bool:
        """True while a packet travels."""
        return bool(self._queue)

    def resume(self) -> None:
        """End of a stall: what was held goes on."""
        self.stalled = False
        self._run()

    def _run(self) -> None:
        if self._queue and not self._running:
            self._running = True
            self._clock.call_at(max(self._queue[0][0], self._clock.now_us()), self._arrive)

    def _arrive(self) -> None:
        self._running = False
        if self.cut:
            self._queue.clear()
        elif not self.stalled:
            _, arrival = self._queue.popleft()
            arrival()
            if self._queue:
                self._run()


class Exchange(Protocol):
    """What a connection needs of its broker."""

    clock: Clock

    def pipe(self) -> Pipe:
        """One direction of a new connection."""

    def take(self, session: WireConnection, number: int, packet: Packet) -> None:
        """A PUBLISH has arrived."""

    def forget(self, session: WireConnection, *, with_will: bool) -> None:
        """The broker's side of that connection is over."""


class WireConnection:
    """A client's end of a connection to a broker; keeps `gateway.link.Connection`'s contract."""

    def __init__(
        self,
        broker: Exchange,
        client_id: str,
        *,
        five: bool,
        will: Will | None,
        subscriptions: Sequence[str],
        on_message: OnMessage,
    ) -> None:
        """Made by the broker only."""
        self.client_id = client_id
        self.five = five
        self.will = will
        self.subscriptions = tuple(subscriptions)
        self._wanted: dict[str, bool] = {}
        self.to_broker = broker.pipe()
        self.to_client = broker.pipe()
        self.stalled_at_us: int | None = None
        self.unchecked = ""
        self._broker = broker
        self._on_message = on_message
        self._loop = asyncio.get_running_loop()
        self._lost: asyncio.Future[str] = self._loop.create_future()
        self._acks: dict[int, OnAck | None] = {}
        self._number = 0

    def wants(self, topic: str) -> bool:
        """True when it subscribes to that topic; a simulation has few of them."""
        known = self._wanted.get(topic)
        if known is None:
            known = any(matches(one, topic) for one in self.subscriptions)
            self._wanted[topic] = known
        return known

    @property
    def lost(self) -> asyncio.Future[str]:
        return self._lost

    @property
    def unacknowledged(self) -> int:
        return len(self._acks)

    def publish(
        self,
        topic: str,
        payload: bytes,
        *,
        qos: int,
        retain: bool = False,
        on_ack: OnAck | None = None,
    ) -> None:
        if self._lost.done():
            if on_ack is not None:
                self._loop.call_soon(on_ack, Ack.LOST, self._lost.result())
            return
        number = self._number = self._number + 1
        if qos:
            self._acks[number] = on_ack
        elif on_ack is not None:
            self._loop.call_soon(on_ack, Ack.ACCEPTED, "")
        packet = Packet(topic, payload, qos, retain)
        self.to_broker.send(lambda: self._broker.take(self, number, packet))

    async def close(self, goodbye: Will | None) -> None:
        if not self._lost.done() and goodbye is not None:
            waiting: asyncio.Future[None] = self._loop.create_future()

            def go_on() -> None:
                if not waiting.done():
                    waiting.set_result(None)

            limit_us = self._broker.clock.now_us() + int(GOODBYE_WITHIN_S * US_PER_S)
            timer = self._broker.clock.call_at(limit_us, go_on)
            self.publish(
                goodbye.topic, goodbye.payload, qos=1, retain=True, on_ack=lambda *_: go_on()
            )
            try:
                await waiting
            finally:
                timer.cancel()
                self._leave()
        self._leave()

    def _leave(self) -> None:
        if not self._lost.done():
            self.to_broker.send(lambda: self._broker.forget(self, with_will=False))
            self.end("closed")

    def end(self, why: str) -> None:
        """The client notices that it is over: everything pending is LOST."""
        if self._lost.done():
            return
        self.to_client.cut = True
        pending, self._acks = self._acks, {}
        for on_ack in pending.values():
            if on_ack is not None:
                self._loop.call_soon(on_ack, Ack.LOST, why)
        self._lost.set_result(why)

    def answer(self, number: int, ack: Ack, why: str) -> None:
        """A PUBACK has arrived."""
        on_ack = self._acks.pop(number, None)
        if on_ack is not None:
            self._loop.call_soon(on_ack, ack, why)

    def hear(self, packet: Packet, *, retained: bool) -> None:
        """A message has arrived."""
        if not self._lost.done():
            self._loop.call_soon(self._on_message, packet.topic, packet.payload, retained)
