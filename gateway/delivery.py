"""What is owed goes out, and what comes back settles it: uplinks, outboxes, paths and receipts.

A new alarm is published from the very call that releases it, on every connected uplink of its
route. Everything else goes through one lane per uplink, which reads owed messages from the ledger.
Routes never wait for each other, and alarms never wait for the log.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol

from gateway.clock import Bell
from gateway.core.alarms import Alarm
from gateway.core.commands import Refusal
from gateway.core.jws import SigningKey, TokenRefused
from gateway.core.lane import Ref
from gateway.core.model import AlarmWord, Message, Receipt, Stream, StreamKey
from gateway.core.outbox import Outbox, Overdue
from gateway.core.premises import Premises, Receipts, Route, UplinkSpec
from gateway.core.trust import Trust
from gateway.record.entry import Identity
from gateway.record.writer import Writer
from gateway.restart import Held
from gateway.seams import Seams, Seldom
from gateway.supervision import TOPIC, Supervision
from gateway.supervision import Listener as Watcher
from gateway.tokens import Tokens
from gateway.uplink.link import Ack, OnAck, Will
from gateway.uplink.uplink import Uplink

IN_FLIGHT_MAX = 18
"""Backlog an uplink may have unacknowledged. Mosquitto takes 20 at once unless it is told otherwise
(its Receive Maximum); what is more waits in line, and a new alarm would wait behind it."""
IN_FLIGHT_LOG_MAX = 16
GROUP = 6
"""Backlog goes out so many at a time, once there is room for them: each look has its price."""
IN_FLIGHT_RESEND_MAX = 12


class Listener(Watcher, Protocol):
    """What the daemon does with what comes back."""

    def received(self, route: Route, alarm: str) -> None:
        """A route holds an alarm."""

    def word(self, route: Route, word: AlarmWord) -> None:
        """A route that may speak for people has said something of an alarm."""

    def overdue(self, route: Route, overdue: Overdue) -> None:
        """Nobody has answered for an alarm in time."""

    def command(self, route: Route, token: bytes) -> None:
        """Something came on the route's topic for commands; nothing of it is believed yet."""

    def command_refused(self, refusal: Refusal) -> None:
        """A command was not even looked at."""


class Delivery:
    """All routes over all uplinks."""

    def __init__(
        self,
        premises: Premises,
        seams: Seams,
        *,
        identity: Identity,
        signer: SigningKey,
        writer: Writer,
        listener: Listener,
    ) -> None:
        self._premises = premises
        self._seams = seams
        self._clock = seams.clock
        self._identity = identity
        self._writer = writer
        self.listener = listener
        self._routes = {route.id: route for route in premises.routes}
        self._trust = Trust(
            premises.routes,
            gateway=premises.gateway,
            ledger=identity.ledger,
            epoch=identity.epoch,
            start=identity.start,
        )
        self.outboxes = {route.id: Outbox(route) for route in premises.routes}
        self._uplinks = {spec.id: self._uplink(spec) for spec in premises.uplinks}
        self.paths = Supervision(
            premises,
            seams.clock,
            identity=identity,
            signer=signer,
            uplinks=self._uplinks,
            owed=lambda route: self.outboxes[route].count(Stream.ALARM),
            heard=self._heard,
            listener=listener,
        )
        self._bells = {spec.id: Bell(self._clock) for spec in premises.uplinks}
        self._seldom = Seldom(seams.log, seams.clock)
        self._tokens = Tokens(writer, self._seldom)

    def _uplink(self, spec: UplinkSpec) -> Uplink:
        me = self._premises.gateway
        presence = f"{TOPIC}/{me}/presence"
        gone = Will(presence, b'{"present":false}')
        here = Will(presence, f'{{"present":true,"start":"{self._identity.start}"}}'.encode())
        down = [
            f"{TOPIC}/{me}/{route.id}/{leaf}"
            for route in self._premises.routes
            if spec.id in route.via
            for leaf in ("receipts", "commands")
        ]
        return Uplink(
            spec,
            self._seams.connector,
            client_id=f"{me}_{spec.id}",  # two uplinks may lead to one broker
            will=gone,
            birth=here,
            goodbye=gone,
            subscriptions=down,
            clock=self._clock,
            random=self._seams.random,
            on_up=self._on_up,
            on_down=self._on_down,
            on_message=self._on_message,
            urgent=self._urgent,
            log=self._seams.log,
        )

    @property
    def uplinks(self) -> Mapping[str, Uplink]:
        """Every uplink by its id, to be asked how it is."""
        return self._uplinks

    def restore(self, held: Held, open_alarms: Iterable[Alarm]) -> None:
        """Owe what was owed before this start."""
        now_us, alarms = self._clock.now_us(), list(open_alarms)
        self._trust.elders.update(key.ledger for key in held.owed)
        for route in self._premises.routes:
            self.outboxes[route.id].restore(
                {key: ranges for key, ranges in held.owed.items() if key.route == route.id},
                [message for message in held.owed_alarms if message.key.route == route.id],
                now_us,
                unacknowledged=[
                    alarm.id
                    for alarm in alarms
                    if alarm.unanswered and route.id in held.holders.get(alarm.id, ())
                ],
            )
        for bell in self._bells.values():
            bell.ring()

    def _urgent(self) -> bool:
        return any(outbox.urgent for outbox in self.outboxes.values())

    # --- out -------------------------------------------------------------------------------------

    def release(self, messages: Sequence[Message]) -> None:
        """New messages may go: alarms leave now, on every connected uplink of their route."""
        now_us = self._clock.now_us()
        for message in messages:
            ref = Ref(message.key, message.sequence)
            self._tokens.keep(ref, message.token)
            route = self._routes[message.key.route]
            for uplink_id in self.outboxes[route.id].owe(message, now_us):
                self._publish(uplink_id, ref, message.token)
            for uplink_id in route.via:
                if message.key.stream is Stream.ALARM:
                    self._uplinks[uplink_id].hurry()
                self._bells[uplink_id].ring()
        self.listener.look_again()

    def _publish(self, uplink_id: str, ref: Ref, token: bytes) -> None:
        topic = f"{TOPIC}/{self._premises.gateway}/{ref.key.route}/{ref.key.stream.value}"

        def acked(ack: Ack, why: str) -> None:
            self._acked(uplink_id, ref, ack, why)

        self._uplinks[uplink_id].publish(topic, token, qos=1, on_ack=acked)

    def resend(self, key: StreamKey, tokens: Sequence[bytes], on_ack: OnAck) -> bool:
        """Publish history, on the uplink that carries the log; False, and nothing: not now.

        Whatever is owed goes before: nothing may be left to offer, and room is kept for an alarm.
        """
        carrier = self.paths.carrier(key.route)
        if carrier is None or not self.outboxes[key.route].all_offered(carrier):
            return False
        uplink = self._uplinks[carrier]
        if uplink.unacknowledged + len(tokens) > IN_FLIGHT_RESEND_MAX:
            return False
        self._trust.elders.add(key.ledger)  # its receipts are no stranger's
        for token in tokens:
            topic = f"{TOPIC}/{self._premises.gateway}/{key.route}/resend"
            uplink.publish(topic, token, qos=1, on_ack=on_ack)
        return True

    def _acked(self, uplink_id: str, ref: Ref, ack: Ack, why: str) -> None:
        """PUBACK says only that the broker has the bytes; a refusal says that nobody will."""
        route = self._routes[ref.key.route]
        self._bells[uplink_id].ring()
        if ack is not Ack.LOST:
            now_us, nobody = self._clock.now_us(), ack is Ack.NOBODY
            self.outboxes[route.id].acked(uplink_id, ref, now_us, nobody=nobody)
        if ack is Ack.ACCEPTED:
            if route.receipts is Receipts.PUBACK:
                this = ((ref.sequence, ref.sequence),)
                receipt = Receipt(self._premises.gateway, ref.key, 0, also=this)
                self._settle(route, receipt, uplink_id)
        elif ack is not Ack.LOST:
            self.paths.refused(route.id, uplink_id, why, nobody=ack is Ack.NOBODY)

    async def run(self) -> None:
        """Keep every uplink up and every lane moving, until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            for uplink_id, uplink in self._uplinks.items():
                tasks.create_task(uplink.run(), name=f"uplink {uplink_id}")
                tasks.create_task(self._lane(uplink_id), name=f"lane {uplink_id}")

    async def stop(self) -> None:
        """Say goodbye on every uplink; bounded, never raises."""
        for uplink in self._uplinks.values():
            await uplink.stop()

    async def _lane(self, uplink_id: str) -> None:
        """Offer what is owed on one uplink, whenever there may be something new to offer."""
        bell, uplink = self._bells[uplink_id], self._uplinks[uplink_id]
        routes = [route for route in self._premises.routes if uplink_id in route.via]
        while True:
            due = [self.outboxes[route.id].offer_due(uplink_id) for route in routes]
            await bell.wait_until(min((at for at in due if at is not None), default=None))
            moved = True
            while moved and uplink.connected:
                moved = False
                for route in routes:
                    refs = self._take(route, uplink)
                    moved = moved or bool(refs)
                    await self._offer(uplink_id, refs)

    def _take(self, route: Route, uplink: Uplink) -> list[Ref]:
        free = IN_FLIGHT_MAX - uplink.unacknowledged
        log = (
            self.paths.carrier(route.id) == uplink.spec.id
            and uplink.unacknowledged < IN_FLIGHT_LOG_MAX
        )
        limit = free if free >= GROUP else 0
        outbox = self.outboxes[route.id]
        return outbox.take(uplink.spec.id, self._clock.now_us(), log=log, limit=limit)

    async def _offer(self, uplink_id: str, refs: Sequence[Ref]) -> None:
        """Publish these in order, the alarm stream before anything of the log is waited for.

        What the disk does not give now stays offered, and comes up again with the next offer.
        """
        for stream in Stream:
            mine = [ref for ref in refs if ref.key.stream is stream]
            found, gone = await self._tokens.fetch(mine)
            for ref in gone:
                self.outboxes[ref.key.route].gone(ref)
            for ref, token in found:
                if self.outboxes[ref.key.route].owes(ref):
                    self._publish(uplink_id, ref, token)

    # --- in --------------------------------------------------------------------------------------

    def _on_up(self, uplink: Uplink) -> None:
        self.paths.up(uplink.spec.id)
        now_us = self._clock.now_us()
        for route in self._premises.routes:
            if uplink.spec.id in route.via:
                self.outboxes[route.id].up(uplink.spec.id, now_us)
        self._bells[uplink.spec.id].ring()
        self.listener.look_again()

    def _on_down(self, uplink: Uplink, why: str) -> None:
        self.paths.down(uplink.spec.id, why)
        for route in self._premises.routes:
            self.outboxes[route.id].down(uplink.spec.id)
        for bell in self._bells.values():
            bell.ring()
        self.listener.look_again()

    def _on_message(self, uplink: Uplink, topic: str, token: bytes, retained: bool) -> None:  # noqa: FBT001 -- the uplink's signature
        route = self._routes.get(topic.split("/")[-2]) if topic.count("/") >= 4 else None
        leaf = topic.rpartition("/")[2]
        if route is None or leaf not in {"receipts", "commands"}:
            self._refused(uplink, "-", "nothing is expected on this topic")
        elif leaf == "commands":
            if retained:
                why, accepts = "it was retained at the broker", "commands sent now; clear the topic"
                self.listener.command_refused(Refusal(route.id, why, accepts))
            else:
                self.listener.command(route, token)
        elif retained:
            self._refused(uplink, route.id, "retained: clear it at the broker, receipts are not")
        else:
            try:
                receipt = self._trust.receipt(route.id, token)
            except TokenRefused as refusal:
                self._refused(uplink, route.id, str(refusal))
                return
            self._receipted(uplink, route, receipt)

    def _heard(self, route: str, uplink: str, unheard_us: int) -> None:
        self.outboxes[route].heard(uplink, unheard_us)
        self._bells[uplink].ring()

    def _refused(self, uplink: Uplink, route: str, why: str) -> None:
        where: dict[str, object] = {"uplink": uplink.spec.id, "route": route}
        self._seldom("receipt refused", {**where, "why": why, "do": _WHAT_TO_DO})

    def _receipted(self, uplink: Uplink, route: Route, receipt: Receipt) -> None:
        struck = self._settle(route, receipt, uplink.spec.id)
        if receipt.beat is not None:
            self.paths.echo(route.id, uplink.spec.id, receipt.beat)
        for word in receipt.alarms:
            self.listener.word(route, word)
        if struck:  # an echo alone makes no room
            self._bells[uplink.spec.id].ring()

    def _settle(self, route: Route, receipt: Receipt, uplink: str) -> bool:
        """Strike off what a receipt covers; True when something of it was owed."""
        now_us = self._clock.now_us()
        struck, received = self.outboxes[route.id].receipt(receipt, uplink=uplink, now_us=now_us)
        if struck:
            utc_ms = self._clock.stamp(now_us).utc_ms
            self._writer.settle(receipt.key, struck, utc_ms)
            self._tokens.forget(receipt.key, struck)
        for alarm in received:
            self.listener.received(route, alarm)
        return bool(struck)

    # --- time ------------------------------------------------------------------------------------

    def deadline(self) -> int | None:
        """When `wake` will have something to do."""
        moments = [self.paths.deadline(), *(box.deadline() for box in self.outboxes.values())]
        return min((moment for moment in moments if moment is not None), default=None)

    def wake(self, now_us: int) -> None:
        """Send heartbeats that are due, tell faults of paths, and name overdue alarms."""
        self.paths.wake(now_us)
        for route in self._premises.routes:
            for overdue in self.outboxes[route.id].wake(now_us):
                self.listener.overdue(route, overdue)


_WHAT_TO_DO = "check that the centre signs with the key this route lists, and who else may publish"
