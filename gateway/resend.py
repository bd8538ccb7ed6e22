"""Brings history back: numbers a centre asks for go out once more, the very bytes that were signed.

History waits for everything: for a new alarm, for what is owed, for room on the uplink. One resend
goes out at a time on each route, the alarm stream's first; it is read in slices and holds no more
than one. What is no longer held is told as `state.gone`, so that nobody takes it for tampering.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice

from gateway.clock import Bell, Clock
from gateway.core.commands import Order
from gateway.core.model import Fact, Json, Message, Stream, StreamKey
from gateway.core.premises import Premises
from gateway.core.reactions.reactions import Refused
from gateway.core.resend import Asked, Sending, begun
from gateway.record.entry import Identity, LedgerError, StorageTrouble
from gateway.record.ledger import Ledger
from gateway.record.writer import Writer
from gateway.uplink.link import Ack, OnAck

BURST = 8
BURST_EVERY_US = 40_000
"""Eight messages, and never more than 200 a second: some 2 Mbit/s, which leaves room on an LTE line
and is an eighth of what a centre takes in. An alarm that follows has at most 10 kB before it."""

SLICE = 32
"""Messages read at a time: short for the disk's thread, and all that is held of a resend."""

QUEUE_MAX = 4
"""Resends that wait on one route, the one that is going out among them."""

LOOK_AGAIN_US = 100_000
"""How soon it is tried again when what is owed had to go before, or nothing is connected."""

GIVE_UP_US = 600_000_000
"""A resend that could not move for so long, for want of an uplink or a disk, ends and says so."""

READ_WITHIN_S = 1.0
READ_AGAIN_US = 1_000_000

Send = Callable[[StreamKey, Sequence[bytes], OnAck], bool]
"""Publish history of a stream; False, and nothing is: not now."""

Concluded = Callable[[Mapping[str, Json], str], None]
"""What became of a resend: data for the answer, and why it failed ("" when it did not)."""


@dataclass(slots=True)
class _Job:
    """A resend on its route. sending: None until the ledger was asked what it holds."""

    asked: Asked
    concluded: Concluded
    sending: Sending | None = None


@dataclass(slots=True)
class _Lane:
    """One route's resends, in the order they were asked for, and what wakes whoever sends them.

    stuck_us: since when nothing moves, None while it does; why: for want of what.
    """

    bell: Bell
    jobs: list[_Job] = field(default_factory=list)
    stuck_us: int | None = None
    why: str = ""

    def stuck(self, why: str, now_us: int) -> None:
        """Nothing could be done now."""
        self.why = why
        if self.stuck_us is None:
            self.stuck_us = now_us


class Resend:
    """All routes' history. `tell` records facts; `head` is the last number given in a stream."""

    def __init__(
        self,
        premises: Premises,
        identity: Identity,
        clock: Clock,
        writer: Writer,
        *,
        send: Send,
        head: Callable[[str, Stream], int],
        tell: Callable[[Iterable[Fact]], None],
    ) -> None:
        self._gateway = premises.gateway
        self._identity = identity
        self._clock = clock
        self._writer = writer
        self._send = send
        self._head = head
        self._tell = tell
        self._lanes = {route.id: _Lane(Bell(clock)) for route in premises.routes}

    def ask(self, order: Order, concluded: Concluded) -> Refused | None:
        """Take an order to send again; `concluded` is called later, once, unless the gateway stops.

        Refused when too many wait on that route already.
        """
        lane, target = self._lanes[order.route], order.target
        if len(lane.jobs) >= QUEUE_MAX:
            return Refused(f"busy: {len(lane.jobs)} resends wait on this route", ("it, later",))
        assert target.stream is not None  # a target that was read for this verb
        numbers = (target.stream, target.ledger, target.epoch, target.first, target.last)
        asked = Asked(order.command, order.route, *numbers)
        lane.jobs.append(_Job(asked, concluded))
        lane.bell.ring()
        return None

    async def run(self) -> None:
        """Send what is asked for, until cancelled. Routes never wait for each other."""
        async with asyncio.TaskGroup() as tasks:
            for route, lane in self._lanes.items():
                tasks.create_task(self._serve(lane), name=f"resend {route}")

    async def _serve(self, lane: _Lane) -> None:
        while True:
            if not lane.jobs:
                await lane.bell.wait_until(None)
                continue
            job = min(lane.jobs, key=lambda one: one.asked.stream is Stream.LOG)
            pause_us = await self._step(lane, job)
            again_us = self._clock.now_us() + pause_us
            while self._clock.now_us() < again_us:
                await lane.bell.wait_until(again_us)

    async def _step(self, lane: _Lane, job: _Job) -> int:
        """Bring a resend one step further; how many microseconds to let pass before the next."""
        if lane.stuck_us is not None and self._clock.now_us() - lane.stuck_us > GIVE_UP_US:
            return self._conclude(lane, job, lane.why)
        sending = job.sending
        if sending is None or (not sending.ready and sending.spans):
            return await self._read(lane, job)
        if sending.ready:
            return await self._burst(lane, job, sending)
        return self._conclude(lane, job, "")

    def _conclude(self, lane: _Lane, job: _Job, why: str) -> int:
        lane.jobs.remove(job)
        lane.stuck_us = None
        data: dict[str, Json] = {"sent": 0, "gone": 0}
        if job.sending is not None:
            self._gone(job.asked.route, job.sending.told_gone())
            data = job.sending.outcome()
        job.concluded(data, why)
        return 0

    def _gone(self, route: str, data: dict[str, Json] | None) -> None:
        if data is not None:
            now_us = self._clock.now_us()
            self._tell([Fact("state.gone", self._gateway, now_us, data=data, to=(route,))])

    # --- from the disk -------------------------------------------------------------------------

    async def _read(self, lane: _Lane, job: _Job) -> int:
        """The next slice; a disk that fails or hangs is asked again."""
        try:
            if job.sending is None:
                job.sending = await self._begun(job.asked)
            else:
                held, upto = await self._slice(job.sending)
                self._gone(job.asked.route, job.sending.took(held, upto))
        except TimeoutError:
            lane.stuck("the disk does not answer", self._clock.now_us())
            return READ_AGAIN_US
        except LedgerError as error:
            if error.reason is StorageTrouble.STOPPED:
                await asyncio.Event().wait()  # the gateway is stopping, and this task with it
            lane.stuck(f"the ledger cannot be read: {error}", self._clock.now_us())
            return READ_AGAIN_US
        lane.stuck_us = None
        return 0

    async def _begun(self, asked: Asked) -> Sending:
        where = (asked.route, asked.stream, asked.ledger, asked.epoch)
        me = self._identity
        mine = StreamKey(asked.route, asked.stream, me.ledger, me.epoch, me.start)
        head = self._head(asked.route, asked.stream)

        def look(ledger: Ledger) -> Sending:
            runs, earlier = ledger.runs(*where), ledger.earlier(*where)
            return begun(asked, runs, mine=mine, head=head, earlier=earlier)

        async with asyncio.timeout(READ_WITHIN_S):  # wait_for may forget a cancellation
            return await self._writer.call(look)

    async def _slice(self, sending: Sending) -> tuple[list[Message], int]:
        """What is held at the beginning of the first span, and through which number that is all."""
        span = sending.spans[0]
        key = span.key
        if key is None:
            return [], span.last

        def look(ledger: Ledger) -> list[Message]:
            return ledger.read(key, span.first, span.last, most=SLICE)

        async with asyncio.timeout(READ_WITHIN_S):
            held = await self._writer.call(look)
        upto = held[-1].sequence if len(held) == SLICE else span.last
        whole = len(held) == upto - span.first + 1
        if not whole and key.start == self._identity.start:  # the rest may still wait for the disk
            waiting = self._writer.read(key, span.first, upto)
            async with asyncio.timeout(READ_WITHIN_S):
                held = await waiting
        return held, upto

    # --- out -----------------------------------------------------------------------------------

    async def _burst(self, lane: _Lane, job: _Job, sending: Sending) -> int:
        """Publish a few, and see what the broker makes of them."""
        key = sending.ready[0].key
        burst = [message for message in islice(sending.ready, BURST) if message.key == key]
        heard: list[tuple[Ack, str]] = []

        def acked(ack: Ack, why: str) -> None:
            heard.append((ack, why))
            lane.bell.ring()

        begun_us = self._clock.now_us()
        if not self._send(key, [message.token for message in burst], acked):
            lane.stuck("there was no uplink for it, or what is owed went before", begun_us)
            return LOOK_AGAIN_US
        while len(heard) < len(burst):
            await lane.bell.wait_until(None)
        for ack, why in heard:
            if ack is Ack.LOST:  # it may have come all the same: the same bytes go again
                lane.stuck("the uplink breaks again and again", begun_us)
                return LOOK_AGAIN_US
            if ack is not Ack.ACCEPTED:
                nobody = "nobody listens on the resend topic"
                text = nobody if ack is Ack.NOBODY else f"the broker refuses it: {why}"
                return self._conclude(lane, job, text)
            sending.ready.popleft()
            sending.sent += 1
            lane.stuck_us = None
        return max(0, begun_us + BURST_EVERY_US - self._clock.now_us())
