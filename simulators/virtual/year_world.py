"""The told year's world: the real daemon in one process, with far ends and a machine that can fail.

Owns how the gateway's machine fails (killed, without power, a disk that is late or full) and the
centres' side of a failing network. It judges nothing: whoever audits is told by `listener`.
"""

from __future__ import annotations

import contextlib
import random
import shutil
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from gateway.core.jws import SigningKey, VerifyKey
from gateway.core.premises import Premises, Route
from gateway.record.ledger import Ledger
from gateway.record.writer import InlineWriter, Writer
from simulators.centre.core.core import CentreCore
from simulators.centre.core.words import Beat, Finding, Outcome, Verdict
from simulators.disk.faulty import Fault, FaultyDisk
from simulators.network.wire import FarEnd
from simulators.virtual.world import TOPIC, SimulatedCentre, World
from simulators.virtual.year_clock import YearClock
from simulators.virtual.year_school import GATEWAY, LTE, LTE_HEARTBEAT_MS, SCHOOL

HANDOVER_US = 60_000
"""Bus adapters hand over whole frames: what a slow USB latency timer does, and cheap to tell."""
KEPT_LINES = 200
LATELY = 1_024
"""Signatures a key remembers: some minutes of them."""
_LEAVES = ("alarm", "log", "resend", "heartbeat")


class Listener(Protocol):
    """Who is told what is said and heard."""

    def logged(self, at_us: int, what: str, fields: Mapping[str, object]) -> None:
        """A line of the gateway's log, or of anything else but a centre's hearing."""

    def heard(self, route: str, verdict: Verdict) -> None:
        """A centre has judged a message."""

    def beaten(self, route: str, beat: Beat) -> None:
        """A centre has judged a heartbeat."""

    def found(self, route: str, finding: Finding) -> None:
        """A centre has noticed something by itself."""


class KnownSigner(SigningKey):
    """A private key that remembers the last things it signed, and how."""

    __slots__ = ("lately",)

    def __init__(self, kid: str, seed: bytes) -> None:
        super().__init__(kid, seed)
        self.lately: dict[bytes, bytes] = {}

    def sign(self, signed: bytes) -> bytes:
        signature = super().sign(signed)
        self.lately[signed] = signature
        if len(self.lately) > LATELY:
            del self.lately[next(iter(self.lately))]
        return signature


class KnownKey(VerifyKey):
    """A public key whose private half is here: a token is believed when it is what was signed.

    An Ed25519 signature is a function of key and bytes: what this very key made of these bytes is
    one that verifies. Everything else is verified as ever.
    """

    __slots__ = ("_signer",)

    def __init__(self, signer: KnownSigner) -> None:
        super().__init__(signer.kid, signer.public.x)
        self._signer = signer

    def verifies(self, signature: bytes, signed: bytes) -> bool:
        return self._signer.lately.get(signed) == signature or super().verifies(signature, signed)


class YearCentre(SimulatedCentre):
    """A far end that can be deaf (hears, stores, says nothing) and away (its program is not there).

    watching: False from a jump to the next heartbeat, for which nobody could have waited.
    """

    _world: YearWorld
    _clients: dict[str, FarEnd]

    def __init__(
        self,
        route: Route,
        premises: Premises,
        signer: SigningKey,
        *,
        gateway: SigningKey,
        world: World,
    ) -> None:
        super().__init__(route, premises, signer, gateway=gateway, world=world)
        assert isinstance(gateway, KnownSigner)
        keys = {premises.gateway: [KnownKey(gateway)]}
        self.route = route
        self.core = CentreCore(route.id, keys, signer, intervals_ms={LTE: LTE_HEARTBEAT_MS})
        self.away = False
        self.watching = True
        self.core.watch(self._world.now_ms())

    def _hear(self, uplink: str, topic: str, token: bytes, retained: bool) -> None:  # noqa: FBT001 -- OnMessage
        del retained
        route, leaf = topic.split("/")[-2:]
        heard = {"leaf": leaf, "uplink": uplink, "token": token.decode()}
        self._world.trace.add(f"{route} hears", heard)
        if leaf == "heartbeat":
            self._heard_beat(uplink, token)
            return
        verdict = self.core.receive(GATEWAY, route, uplink, token, self._world.now_ms())
        if verdict.row is not None:
            self.core.stored(verdict.row)
        if not self.deaf:
            for receipt in self.core.receipts_for([verdict]):
                self._send(receipt)
        if verdict.outcome is not Outcome.COPY:
            self._world.listener.heard(route, verdict)

    def _heard_beat(self, uplink: str, token: bytes) -> None:
        beat = self.core.beat(GATEWAY, self.route.id, uplink, token, self._world.now_ms())
        # one that was on the way when time jumped is as old as the jump, and no sign of life
        self.watching = self.watching or not beat.why
        if beat.receipt is not None and not self.deaf:
            self._send(beat.receipt)
        self._world.listener.beaten(self.route.id, beat)
        for finding in beat.findings:
            self._world.listener.found(self.route.id, finding)

    def wake(self) -> None:
        """Let it notice what has not come."""
        now_ms = self._world.now_ms()
        due_ms = self.core.deadline()
        if self.watching and not self.away and due_ms is not None and due_ms <= now_ms:
            for finding in self.core.wake(now_ms):
                self._world.listener.found(self.route.id, finding)

    def leave(self) -> None:
        """Its program ends; what it has stored stays."""
        self.away = True
        for client in self._clients.values():
            client.leave()

    def come_back(self) -> None:
        """Its program starts again, with what it had stored."""
        self.away = False
        topics = [f"{TOPIC}/{GATEWAY}/{self.route.id}/{leaf}" for leaf in _LEAVES]
        for uplink in self.route.via:
            self._clients[uplink] = self._world.brokers[uplink].client(
                self.route.id, subscriptions=topics, on_message=partial(self._hear, uplink)
            )
        self.core.watch(self._world.now_ms())


class LateWriter(InlineWriter):
    """An InlineWriter whose disk may take its time: what is handed in meanwhile waits in memory."""

    def __init__(self, ledger_open: Callable[[], Ledger], machine: Machine, **told: Any) -> None:
        super().__init__(ledger_open, **told)
        self._machine = machine
        self._asleep = False

    def _wake(self) -> None:
        if self._asleep:
            return
        if self._ledger is None or self._stopped or not self._machine.late_us:
            super()._wake()
            return
        self._asleep = True
        clock = self._machine.clock
        clock.call_at(clock.now_us() + self._machine.late_us, self._awake)

    def _awake(self) -> None:
        self._asleep = False
        if not self._stopped:
            super()._wake()


class Machine:
    """The gateway's disk as a machine has it. late_us: how long every round of writing takes."""

    def __init__(self, clock: YearClock) -> None:
        self.clock = clock
        self.late_us = 0
        self.vfs = FaultyDisk()

    def disk(self, path: str) -> YearDisk:
        """The disk seam of one start."""
        return YearDisk(path, self)

    def full(self) -> None:
        """From now on nothing can be written."""
        self.vfs.fail(Fault.FULL, times=None, operations=frozenset({"write"}))

    def broken(self) -> None:
        """From now on every sync fails."""
        self.vfs.fail(Fault.IO_ERROR, times=None, operations=frozenset({"sync"}))

    def well(self) -> None:
        """The disk works."""
        self.late_us = 0
        self.vfs.heal()


class YearDisk:
    """Opens the real ledger in a file, behind a LateWriter."""

    def __init__(self, path: str, machine: Machine) -> None:
        self._path = path
        self._machine = machine

    async def open(
        self,
        *,
        start: str,
        fresh_id: str,
        boot: str,
        utc_ms: int,
        on_trouble: Callable[[str, str], None],
        on_recovered: Callable[[], None],
    ) -> tuple[Writer, Ledger]:
        """As `seams.Disk.open`."""
        opener = partial(
            Ledger.open,
            self._path,
            start=start,
            fresh_id=fresh_id,
            boot=boot,
            utc_ms=utc_ms,
            vfs=self._machine.vfs.name,
        )
        writer = LateWriter(opener, self._machine, on_trouble=on_trouble, on_recovered=on_recovered)
        return writer, await writer.start(within_s=0)


class YearWorld(World):
    """One school for a year. `folder` should be in memory: every kill copies the ledger in it."""

    clock: YearClock
    centres: Mapping[str, YearCentre]  # type: ignore[assignment]  # what `centre=` makes of them

    def __init__(
        self, clock: YearClock, dice: random.Random, folder: Path, listener: Listener
    ) -> None:
        self.listener = listener
        self.clock = clock
        self.machine = Machine(clock)
        self.kept: deque[tuple[int, str, Mapping[str, object]]] = deque(maxlen=KEPT_LINES)
        self._folder = folder
        self._dying = False
        super().__init__(
            SCHOOL,
            clock=clock,
            dice=dice,
            ledger=str(folder / "ledger-0.db"),
            disk=self.machine.disk,
            centre=YearCentre,
            handover_us=HANDOVER_US,
        )
        self._live_on("ledger-0.db")
        self.trace.on_line = self._line

    def make_signer(self, seed: bytes) -> SigningKey:
        return KnownSigner("gateway", seed)

    def now_ms(self) -> int:
        return self.clock.true_ms

    def note(self, what: str, **fields: object) -> None:
        """Something the story did, for the trace."""
        self.trace.add(f"told: {what}", fields)

    def _line(self, at_us: int, what: str, fields: Mapping[str, object]) -> None:
        hears = what.endswith(" hears")
        if not hears or fields["leaf"] != "heartbeat":
            self.kept.append((at_us, what, fields))
        if not (self._dying or hears):
            self.listener.logged(at_us, what, fields)

    def _live_on(self, name: str) -> None:
        ledger = replace(SCHOOL.ledger, path=str(self._folder / name))
        self.premises = replace(self.premises, ledger=ledger)

    # --- the gateway's machine -------------------------------------------------------------------

    async def kill(self) -> None:
        """As World's, under names that do not grow; nobody ever looks at the old file again."""
        assert self._running is not None
        self._kills += 1
        old, new = Path(self.premises.ledger.path), f"ledger-{self._kills}.db"
        for suffix in ("", "-wal"):
            there = old.with_name(old.name + suffix)
            if there.exists():
                shutil.copyfile(there, self._folder / (new + suffix))
        self._live_on(new)
        for broker in self.brokers.values():
            broker.cut(GATEWAY)
        self._dying = True  # what a killed gateway says while it is taken apart nobody hears
        self._running.cancel()
        with contextlib.suppress(BaseException):
            await self._running
        self._dying = False
        for suffix in ("", "-wal"):
            old.with_name(old.name + suffix).unlink(missing_ok=True)

    async def cut_power(self, *, error_ms: int, synchronised: bool) -> None:
        """The machine loses its power and starts anew, by a clock that is so far off."""
        await self.kill()
        self.clock.boot(self._dice.randbytes(4).hex())
        self.clock.error_ms, self.clock.synchronised = error_ms, synchronised

    def set_clock(self, error_ms: int, *, synchronised: bool) -> None:
        """The gateway's clock is so far off from now on, and its kernel says so, or not."""
        self.note("clock", error_ms=error_ms, synchronised=synchronised)
        self.clock.error_ms, self.clock.synchronised = error_ms, synchronised

    def moved(self) -> list[str]:
        """Doors that stand free, and every other output that is on: lamps, sounders, sirens."""
        doors = [name for name, door in self.bench.doors.items() if door.free]
        locks = {point.door.lock for point in self.premises.points if point.door is not None}
        outputs = {
            f"{unit.id}/{name}": output.on
            for unit in self.plant.units.values()
            for name, output in unit.outputs.items()
        }
        lamps = [point.lamp for point in self.premises.points if point.lamp is not None]
        outputs |= {lamp: self.bench.relay(lamp).on for lamp in lamps}
        return [*doors, *(name for name, on in outputs.items() if on and name not in locks)]

    def close(self) -> None:
        """Give up what is not of this loop."""
        self.machine.vfs.close()
