"""A whole building under virtual time: real daemon, simulated pins, in-process broker, centres.

Nothing here waits, threads or asks the machine. One seed makes one history, down to the last byte;
`World.digest` is the proof.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import random
import shutil
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from drivers.base import Memory
from drivers.fitted import fitted
from drivers.modbus.wire.port import Opener, Port, PortError
from gateway.core.jws import SigningKey
from gateway.core.model import AlarmState, Json
from gateway.core.premises import LedgerSpec, Premises, Route, RouteKey
from gateway.daemon import Gateway
from gateway.health import Health
from gateway.record.disk import InlineDisk
from gateway.seams import Disk, Seams
from simulators.building.hardware import Bench, SimulatedPins
from simulators.bus.line import HANDOVER_US
from simulators.bus.plant import Plant
from simulators.centre.core.core import CentreCore
from simulators.centre.core.orders import Ordered
from simulators.centre.core.words import Finding, Outcome, Outgoing, Verdict
from simulators.network.wire import WireBroker, WireNetwork
from simulators.virtual.time import VirtualClock

TOPIC = "qorgan/v1"
_line = json.JSONEncoder(default=str).encode


class Trace:
    """Everything that happened, hashed as it happens; `on_line` is told when, what and fields."""

    def __init__(self, clock: VirtualClock) -> None:
        self._clock = clock
        self._hash = hashlib.sha256()
        self.lines = 0
        self.on_line: Callable[[int, str, Mapping[str, object]], None] | None = None

    def add(self, what: str, fields: Mapping[str, object]) -> None:
        """One thing that happened, now."""
        now_us = self._clock.now_us()
        line = _line([now_us, what, dict(fields)])
        self._hash.update(line.encode() + b"\n")
        self.lines += 1
        if self.on_line is not None:
            self.on_line(now_us, what, fields)

    @property
    def digest(self) -> str:
        """SHA-256 over all of it so far."""
        return self._hash.hexdigest()


class SimulatedCentre:
    """A far end in the same loop: the real centre's core, a disk that is always well.

    It listens on every uplink of its route. `new` keeps every verdict that was not a copy, `found`
    what it noticed by itself. repairs: it asks for what it lacks.
    """

    def __init__(
        self,
        route: Route,
        premises: Premises,
        signer: SigningKey,
        *,
        gateway: SigningKey,
        world: World,
    ) -> None:
        self._world = world
        self.core = CentreCore(route.id, {premises.gateway: [gateway.public]}, signer)
        self.new: list[Verdict] = []
        self.deaf = False
        self.repairs = False
        self.found: list[Finding] = []
        self._asked = 0
        leaves = ("alarm", "log", "resend", "heartbeat")
        topics = [f"{TOPIC}/{premises.gateway}/{route.id}/{leaf}" for leaf in leaves]
        self._clients = {
            uplink: world.brokers[uplink].client(
                route.id, subscriptions=topics, on_message=partial(self._hear, uplink)
            )
            for uplink in route.via
        }

    def _hear(self, uplink: str, topic: str, token: bytes, retained: bool) -> None:  # noqa: FBT001 -- OnMessage
        del retained
        _, _, gateway, route, leaf = topic.split("/")
        now_ms = self._world.now_ms()
        heard = {"leaf": leaf, "uplink": uplink, "token": token.decode()}
        self._world.trace.add(f"{route} hears", heard)
        if leaf == "heartbeat":
            beat = self.core.beat(gateway, route, uplink, token, now_ms)
            outgoing = [beat.receipt] if beat.receipt is not None else []
            self.found += beat.findings
        else:
            resent = leaf == "resend"
            verdict = self.core.receive(gateway, route, uplink, token, now_ms, resent=resent)
            if verdict.row is not None:
                self.core.stored(verdict.row)
            if verdict.outcome is Outcome.NEW:
                self.new.append(verdict)
            outgoing = list(self.core.receipts_for([verdict]))
        if not self.deaf:
            for receipt in outgoing:
                self._send(receipt)
        if self.repairs:
            self._repair(now_ms)

    def _repair(self, now_ms: int) -> None:
        """Ask for what is missing, when it is time to."""
        for ordered in self.core.requests(now_ms, self._new_id):
            for client in self._clients.values():
                client.publish(ordered.topic, ordered.token)

    def _new_id(self) -> str:
        self._asked += 1
        return f"{self.core.route}-{self._asked}"

    def say(self, alarm: str, state: AlarmState) -> None:
        """The operator's word, sent at once."""
        answer = self.core.answer(alarm, state, 1, self._world.now_ms())
        if answer is not None:
            for receipt in self.core.answered(answer):
                self._send(receipt)

    def command(self, verb: str, target: Mapping[str, Json], /, **changes: Any) -> Ordered:
        """Ask something of the gateway on every uplink; `changes` of the command's own members."""
        orders, gateway = self.core.orders, self._world.premises.gateway
        now_ms = self._world.now_ms()
        draft = orders.draft(gateway, verb, target, name=self._new_id(), at_ms=now_ms)
        ordered = orders.sealed(replace(draft, **changes))
        for client in self._clients.values():
            client.publish(ordered.topic, ordered.token)
        return ordered

    def _send(self, receipt: Outgoing) -> None:
        self._clients[receipt.uplink].publish(receipt.topic, receipt.token)


class World:
    """One premises and its far ends; `start`, `stop` and `kill` the gateway as often as you like.

    Every uplink has a broker of its own in `brokers`; `broker` is the first one. `gateway` is the
    one that runs, or ran last.
    """

    def __init__(
        self,
        premises: Premises,
        *,
        clock: VirtualClock,
        dice: random.Random,
        ledger: str,
        disk: Callable[[str], Disk] = InlineDisk,
        health: Health | None = None,
        centre: type[SimulatedCentre] = SimulatedCentre,
        handover_us: int = HANDOVER_US,
    ) -> None:
        """`premises` gives points, routes and uplinks; keys and the ledger's path are replaced.

        disk: makes the disk seam of each start from the ledger's path. health: None, nobody.
        handover_us: how often the buses' adapters hand over what they hear.
        """
        self.clock = clock
        self._dice = dice
        self._disk = disk
        self._health: Health = health if health is not None else _Nobody()
        self._signer = self.make_signer(dice.randbytes(32))
        self.gateway_key = self._signer.public
        self.keys = {
            route.id: SigningKey(route.id, dice.randbytes(32)) for route in premises.routes
        }
        self.premises = replace(
            premises,
            ledger=LedgerSpec(ledger),
            routes=tuple(
                replace(route, keys=(_key(route, self.keys[route.id].public.x),))
                for route in premises.routes
            ),
        )
        self.trace = Trace(clock)
        self.brokers = {spec.id: self.make_broker(dice) for spec in premises.uplinks}
        self.broker = self.brokers[premises.uplinks[0].id]
        self.centres = {
            route.id: centre(
                route, self.premises, self.keys[route.id], gateway=self._signer, world=self
            )
            for route in premises.routes
        }
        self.pins = SimulatedPins(clock.now_us)
        self.plant = Plant(self.premises, clock=clock, random=dice, handover_us=handover_us)
        self.bench = Bench(self.premises, self.pins, clock=clock, random=dice, plant=self.plant)
        self.gateway: Gateway | None = None
        self._stopping = asyncio.Event()
        self._running: asyncio.Task[None] | None = None
        self._kills = 0

    def make_signer(self, seed: bytes) -> SigningKey:
        """The gateway's key."""
        return SigningKey("gateway", seed)

    def make_broker(self, dice: random.Random) -> WireBroker:
        """The broker of an uplink; a world of misfortune makes another kind."""
        return WireBroker(clock=self.clock, random=dice)

    def now_ms(self) -> int:
        """UTC as the far ends believe it."""
        return self.clock.stamp(self.clock.now_us()).utc_ms

    async def start(self) -> None:
        """Switch the gateway on, with `premises` as they are now."""
        self._stopping = asyncio.Event()
        self.gateway, self._running = await self._switched_on(self.premises, self._stopping)

    async def start_beside(self, premises: Premises) -> asyncio.Task[None]:
        """Switch on a further box under the same name and key; ends when cancelled."""
        _, running = await self._switched_on(premises, asyncio.Event())
        return running

    async def _switched_on(
        self, premises: Premises, stopping: asyncio.Event
    ) -> tuple[Gateway, asyncio.Task[None]]:
        memory, dice = Memory(), random.Random(self._dice.random())
        driver = fitted(
            premises,
            factory=self.pins,
            clock=self.clock,
            random=dice,
            report=self.trace.add,
            memory=memory,
            opener=self._opener(),
        )
        seams = Seams(
            clock=self.clock,
            random=dice,
            disk=self._disk(premises.ledger.path),
            connector=WireNetwork(self.brokers),
            driver=driver,
            log=self.trace.add,
            memory=memory,
        )
        gateway = await Gateway.open(premises, seams, signer=self._signer)
        running = asyncio.get_running_loop().create_task(
            gateway.run(stopping=stopping, health=self._health), name="gateway"
        )
        return gateway, running

    def _opener(self) -> Opener:
        """The plant's ports for this start: what a killed gateway still says reaches no wire."""
        made, mine = self.plant.opener(), self._kills
        return lambda bus: _Mortal(made(bus), lambda: self._kills == mine)

    async def stop(self) -> None:
        """Stop the gateway cleanly."""
        assert self._running is not None
        self._stopping.set()
        await self._running

    @property
    def running(self) -> bool:
        """True from `start` until the gateway has ended, by whatever cause."""
        return self._running is not None and not self._running.done()

    async def kill(self) -> None:
        """End the gateway as SIGKILL does: what is on disk stays, nothing more is said or written.

        The files are copied at this moment and the next start goes on with the copy, so whatever
        the killed gateway does while it is being taken apart is without consequence.
        """
        assert self._running is not None
        self._kills += 1
        survivor = _copied(self.premises.ledger.path, suffix=f".{self._kills}")
        self.premises = replace(self.premises, ledger=LedgerSpec(survivor))
        for broker in self.brokers.values():
            broker.cut(self.premises.gateway)
        self._running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._running


def _key(route: Route, x: str) -> RouteKey:
    """The route's first key, with the same rights, under this secret."""
    first = route.keys[0] if route.keys else RouteKey(route.id, "")
    return replace(first, kid=route.id, x=x)


class _Mortal:
    """A port that is gone for whoever opened it once `alive` is false."""

    def __init__(self, port: Port, alive: Callable[[], bool]) -> None:
        self._port = port
        self._alive = alive

    async def open(self) -> None:
        """As the port."""
        self._look()
        await self._port.open()

    def write(self, data: bytes) -> None:
        """As the port."""
        self._look()
        self._port.write(data)

    def read(self, until_us: int) -> Coroutine[Any, Any, bytes]:
        """As the port."""
        self._look()
        return self._port.read(until_us)

    def close(self) -> None:
        """As the port."""
        self._port.close()

    def _look(self) -> None:
        if not self._alive():
            raise PortError("this gateway was killed")


def _copied(ledger: str, *, suffix: str) -> str:
    """Copy a ledger with its write-ahead log; the copy's path."""
    for file in (ledger, f"{ledger}-wal"):
        if Path(file).exists():
            shutil.copyfile(file, file.replace(ledger, ledger + suffix))
    return ledger + suffix


class _Nobody:
    """No systemd here."""

    def ready(self, status: str) -> None:
        """Nobody listens."""

    def alive(self) -> None:
        """Nobody listens."""

    def stopping(self) -> None:
        """Nobody listens."""
