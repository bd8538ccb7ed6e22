"""An MQTT-like broker inside the process, for whole systems under virtual time.

Keeps the contract of `gateway.link.Connector`: order on each connection, retained messages, wills,
answers. Every delay is drawn from injected dice and waited on an injected clock, so a run replays
from its seed. Faults are methods named by what they do.
"""

from __future__ import annotations

import asyncio
import random as dice
from collections.abc import Iterable, Mapping, Sequence

from gateway.clock import Clock
from gateway.core.premises import UplinkSpec
from gateway.uplink.link import (
    CONNECT_WITHIN_S,
    KEEPALIVE_S,
    Ack,
    Connection,
    Connector,
    OnAck,
    OnMessage,
    UplinkError,
    Will,
)
from simulators.network.wire_link import US_PER_S, Packet, Pipe, WireConnection, matches

_CLIENT_NOTICES_US = (
    2 * KEEPALIVE_S * US_PER_S
)  # a ping is due after one keepalive, its answer one later
_BROKER_NOTICES_US = (
    KEEPALIVE_S * US_PER_S * 3 // 2
)  # MQTT 3.1.2.10: one and a half times the keepalive
_FAR_END_BACK_US = US_PER_S
_HANDSHAKE_TRIPS = 5  # TCP, two for TLS, CONNECT, SUBSCRIBE


class WireBroker:
    """The broker. Faults act on what arrives after the call; retained messages survive `down`.

    Counters `taken` and `delivered` count PUBLISH packets in and out, for a simulation's report.
    """

    def __init__(
        self,
        *,
        clock: Clock,
        random: dice.Random,
        latency_ms: tuple[float, float] = (0.2, 3.0),
    ) -> None:
        """latency_ms: least and most of one way, drawn evenly for each packet."""
        self.clock = clock
        self.taken = 0
        self.delivered = 0
        self.latency_ms = latency_ms
        self._random = random
        self._sessions: dict[str, WireConnection] = {}
        self._retained: dict[str, Packet] = {}
        self._far: list[FarEnd] = []
        self._is_up = True
        self._silent = False
        self._refused: list[str] = []
        self._forgotten: list[str] = []
        self._duplicated: list[str] = []
        self._refuse_connects: UplinkError | None = None

    # --- faults -----------------------------------------------------------------------------

    def down(self) -> None:
        """The broker dies: every connection breaks at once, connects are refused; no wills."""
        self._is_up = False
        for session in tuple(self._sessions.values()):
            self._break(session, "the broker closed the connection", with_will=False)

    def blackhole(self) -> None:
        """The network swallows everything: connections go quiet, connects run into their limit."""
        self._silent = True
        for client_id in tuple(self._sessions):
            self.stall(client_id)

    def up(self) -> None:
        """End of `down` or `blackhole`; far ends are back at once, uplinks come by themselves."""
        self._is_up, self._silent = True, False
        for client_id in tuple(self._sessions):
            self.resume(client_id)
        for far in self._far:
            far.attach()

    def _session_of(self, client: str) -> WireConnection | None:
        """By client id, or by the gateway's id that client ids of its uplinks begin with."""
        whole = self._sessions.get(client)
        mine = (s for name, s in self._sessions.items() if name.startswith(f"{client}_"))
        return whole if whole is not None else next(mine, None)

    def cut(self, client_id: str) -> None:
        """Break that client's connection; both sides notice at once, its will is published."""
        session = self._session_of(client_id)
        if session is not None:
            self._break(session, "the connection was reset", with_will=True)

    def stall(self, client_id: str) -> None:
        """Nothing passes on that connection any more, and nobody is told; keepalives run out."""
        session = self._session_of(client_id)
        if session is None or session.stalled_at_us is not None:
            return
        now_us = session.stalled_at_us = self.clock.now_us()
        session.to_broker.stalled = session.to_client.stalled = True

        def broker_notices() -> None:
            if session.stalled_at_us == now_us:
                self.forget(session, with_will=True)

        def client_notices() -> None:
            if session.stalled_at_us == now_us:
                session.end("no answer from the broker within the keepalive")

        self.clock.call_at(now_us + _BROKER_NOTICES_US, broker_notices)
        self.clock.call_at(now_us + _CLIENT_NOTICES_US, client_notices)

    def resume(self, client_id: str) -> None:
        """End of `stall`: what was held goes on, unless a side has given up already."""
        session = self._session_of(client_id)
        if session is not None and session.stalled_at_us is not None:
            session.stalled_at_us = None
            session.to_broker.resume()
            session.to_client.resume()

    def refuse(self, topic_filter: str) -> None:
        """Answer such publishes with "Not authorized" (to MQTT 5) and drop them."""
        self._refused.append(topic_filter)

    def accept_and_forget(self, topic_filter: str) -> None:
        """Acknowledge such publishes and deliver them to nobody."""
        self._forgotten.append(topic_filter)

    def duplicate(self, topic_filter: str) -> None:
        """Deliver such publishes twice to everybody."""
        self._duplicated.append(topic_filter)

    def refuse_connects(self, error: UplinkError | None) -> None:
        """Answer every attempt with that error; None lets everybody in again."""
        self._refuse_connects = error

    def behave(self) -> None:
        """End refuse, accept_and_forget, duplicate and refuse_connects."""
        self._refused.clear()
        self._forgotten.clear()
        self._duplicated.clear()
        self._refuse_connects = None

    # --- for clients ------------------------------------------------------------------------

    async def connect(
        self,
        spec: UplinkSpec,
        *,
        client_id: str,
        will: Will,
        subscriptions: Sequence[str],
        on_message: OnMessage,
    ) -> Connection:
        """Keep `gateway.link.Connector.connect`'s promise; host and certificates do not matter."""
        trips_us = sum(self._delay_us() for _ in range(2 * _HANDSHAKE_TRIPS))
        await self.clock.sleep(min(CONNECT_WITHIN_S, trips_us / US_PER_S))
        if self._silent or trips_us > CONNECT_WITHIN_S * US_PER_S:
            await self.clock.sleep(max(0.0, CONNECT_WITHIN_S - trips_us / US_PER_S))
            raise UplinkError(f"{spec.host}:{spec.port} does not answer", "check the simulation")
        if not self._is_up:
            raise UplinkError(f"{spec.host}:{spec.port} refuses connections", "is it running?")
        if self._refuse_connects is not None:
            raise self._refuse_connects
        connection = WireConnection(
            self,
            client_id,
            five=spec.mqtt == "5",
            will=will,
            subscriptions=subscriptions,
            on_message=on_message,
        )
        self.attach(connection)
        return connection

    def client(
        self,
        client_id: str,
        *,
        subscriptions: Sequence[str] = (),
        on_message: OnMessage = lambda _topic, _payload, _retained: None,
        will: Will | None = None,
    ) -> FarEnd:
        """A far end in the same loop: connected at once, and again whenever it can be."""
        far = FarEnd(self, client_id, subscriptions, on_message, will)
        self._far.append(far)
        far.attach()
        return far

    @property
    def clients(self) -> tuple[str, ...]:
        """The ids of those connected, in the order they came."""
        return tuple(self._sessions)

    @property
    def is_up(self) -> bool:
        """False while `down` or `blackhole` lasts."""
        return self._is_up and not self._silent

    @property
    def under_way(self) -> bool:
        """True while any packet travels, on whosever connection."""
        pipes = (pipe for one in self._sessions.values() for pipe in (one.to_broker, one.to_client))
        return any(pipe.busy for pipe in pipes)

    # --- the inside -------------------------------------------------------------------------

    def pipe(self) -> Pipe:
        """One direction of a new connection."""
        return Pipe(self.clock, self._delay_us)

    def _delay_us(self) -> int:
        return int(self._random.uniform(*self.latency_ms) * 1_000)

    def attach(self, session: WireConnection) -> None:
        """A handshake is over. The same client id again throws the older connection out."""
        older = self._sessions.get(session.client_id)
        if older is not None:
            self._break(older, "the broker ended it: Session taken over", with_will=True)
        self._sessions[session.client_id] = session
        for packet in tuple(self._retained.values()):
            if session.wants(packet.topic):
                self._deliver(session, packet, retained=True)

    def take(self, session: WireConnection, number: int, packet: Packet) -> None:
        """A PUBLISH has arrived from that client."""
        if self._sessions.get(session.client_id) is not session:
            return
        self.taken += 1
        ack, why = Ack.ACCEPTED, ""
        if self._refused and _any(self._refused, packet.topic):
            ack, why = Ack.REFUSED, "Not authorized"
        elif self._forgotten and _any(self._forgotten, packet.topic):
            pass
        elif not self._route(packet):
            ack, why = Ack.NOBODY, "No matching subscribers"
        if not session.five:  # MQTT 3.1.1 has no words for anything but success
            ack, why = Ack.ACCEPTED, ""
        if packet.qos:
            session.to_client.send(lambda: session.answer(number, ack, why))

    def _route(self, packet: Packet) -> bool:
        """Keep and deliver; True when somebody subscribes."""
        if packet.retain and packet.payload:
            self._retained[packet.topic] = packet
        elif packet.retain:
            self._retained.pop(packet.topic, None)
        topic = packet.topic
        hearers = [s for s in self._sessions.values() if s.wants(topic)]
        for session in hearers:
            self._deliver(session, packet, retained=False)
            if self._duplicated and _any(self._duplicated, topic):
                self._deliver(session, packet, retained=False)
        return bool(hearers)

    def _deliver(self, session: WireConnection, packet: Packet, *, retained: bool) -> None:
        self.delivered += 1
        session.to_client.send(lambda: session.hear(packet, retained=retained))

    def forget(self, session: WireConnection, *, with_will: bool) -> None:
        """The broker's side of a connection is over."""
        if self._sessions.get(session.client_id) is not session:
            return
        del self._sessions[session.client_id]
        session.to_broker.cut = session.to_client.cut = True
        if with_will and session.will is not None:
            self._route(Packet(session.will.topic, session.will.payload, 1, retain=True))

    def _break(self, session: WireConnection, why: str, *, with_will: bool) -> None:
        self.forget(session, with_will=with_will)
        session.end(why)


def _any(filters: Iterable[str], topic: str) -> bool:
    return any(matches(topic_filter, topic) for topic_filter in filters)


class FarEnd:
    """A centre's, or a test's, client: MQTT 5, no handshake, always back when the broker is."""

    def __init__(
        self,
        broker: WireBroker,
        client_id: str,
        subscriptions: Sequence[str],
        on_message: OnMessage,
        will: Will | None,
    ) -> None:
        """Made by `WireBroker.client`."""
        self._broker = broker
        self._client_id = client_id
        self._subscriptions = tuple(subscriptions)
        self._on_message = on_message
        self._will = will
        self._connection: WireConnection | None = None
        self._gone = False

    @property
    def connected(self) -> bool:
        """False while the broker is away, and after `leave`."""
        return self._connection is not None and not self._connection.lost.done()

    def attach(self) -> None:
        """Connect if that is possible and needed."""
        if self._gone or self.connected or not self._broker.is_up:
            return
        self._connection = WireConnection(
            self._broker,
            self._client_id,
            five=True,
            will=self._will,
            subscriptions=self._subscriptions,
            on_message=self._on_message,
        )
        self._connection.lost.add_done_callback(self._dropped)
        self._broker.attach(self._connection)

    def _dropped(self, _: object) -> None:
        clock = self._broker.clock
        clock.call_at(clock.now_us() + _FAR_END_BACK_US, self.attach)

    def publish(
        self,
        topic: str,
        payload: bytes,
        *,
        qos: int = 1,
        retain: bool = False,
        on_ack: OnAck | None = None,
    ) -> None:
        """As `gateway.link.Connection.publish`; Ack.LOST while the broker is away."""
        self.attach()
        if self._connection is not None:
            self._connection.publish(topic, payload, qos=qos, retain=retain, on_ack=on_ack)
        elif on_ack is not None:
            asyncio.get_running_loop().call_soon(on_ack, Ack.LOST, "never connected")

    def leave(self) -> None:
        """Disconnect for good, without a will."""
        self._gone = True
        if self._connection is not None:
            self._broker.forget(self._connection, with_will=False)
            self._connection.end("closed")


class WireNetwork:
    """A Connector for a gateway with several uplinks: one WireBroker for each uplink id."""

    def __init__(self, brokers: Mapping[str, Connector]) -> None:
        """brokers: by uplink id; two uplinks may share one."""
        self._brokers = dict(brokers)

    async def connect(
        self,
        spec: UplinkSpec,
        *,
        client_id: str,
        will: Will,
        subscriptions: Sequence[str],
        on_message: OnMessage,
    ) -> Connection:
        """Connect to that uplink's broker; KeyError when the simulation gave it none."""
        return await self._brokers[spec.id].connect(
            spec,
            client_id=client_id,
            will=will,
            subscriptions=subscriptions,
            on_message=on_message,
        )
