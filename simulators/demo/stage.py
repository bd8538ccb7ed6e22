"""The demo's stage: a broker, a gateway process on simulated pins, a centre and a case system.

Starts and ends real processes; judges nothing. Everything lives in one folder.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

from gateway.config.child import load
from gateway.core.model import Json
from gateway.core.premises import Premises
from simulators.building.control import ControlError, ask
from simulators.centre.command import Access, CentreClient
from simulators.centre.core.core import CentreCore
from simulators.centre.core.words import Verdict
from simulators.centre.store import CentreStore
from simulators.network.brokers import Nats, free_port
from simulators.site import CENTRES, GATEWAY, Site, furnish

WAIT_S = 30.0


class DemoError(Exception):
    """The stage could not be built or something on it died. Says what, and which log to read."""


@dataclass(frozen=True, slots=True)
class Held:
    """One message a far end has on its disk, and when (monotonic seconds)."""

    route: str
    type: str
    subject: str
    alarm: str
    event: str
    at_s: float
    doubtful: bool
    why: str = ""


@dataclass(slots=True)
class FarEnd:
    """A centre with its memory of what it was told, in order of storing."""

    client: CentreClient
    held: list[Held] = field(default_factory=list)
    copies: int = 0
    refused: list[str] = field(default_factory=list)


class Stage:
    """An async context manager: everything runs inside, nothing is left running after."""

    def __init__(self, folder: Path) -> None:
        """Prepare only; `folder` is made, and emptied of a former run by the caller."""
        self.folder = folder
        port = free_port()
        self.site: Site = furnish(folder, port=port)
        self.broker = Nats(folder / "broker", self.site.pki, gateways=[GATEWAY], port=port)
        self.far: dict[str, FarEnd] = {}
        self._gateway: subprocess.Popen[bytes] | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._exit = AsyncExitStack()

    async def __aenter__(self) -> Self:
        try:
            self.broker.start()
            self._exit.callback(self.broker.stop)
            premises = await self._premises()
            for route in CENTRES:
                self._listen(route, premises)
            await self._must(
                lambda: all(far.client.connected for far in self.far.values()),
                "the far ends do not reach the broker: see broker/broker.log",
            )
            self._start_gateway()
            await self._must(self._buttons_listen, "the gateway does not start: see gateway.log")
            await self._must(
                lambda: all(self._told(far) for far in self.far.values()),
                "the gateway does not reach the far ends: see gateway.log",
            )
        except BaseException:
            await self.__aexit__(None, None, None)
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._gateway is not None:
            self._gateway.terminate()
            try:
                self._gateway.wait(10)
            except subprocess.TimeoutExpired:
                self._gateway.kill()
                self._gateway.wait()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._exit.aclose()

    async def _premises(self) -> Premises:
        result = await load(self.site.config)
        if result.premises is None:
            raise DemoError("\n".join(map(str, result.mistakes)))
        return result.premises

    def _listen(self, route: str, premises: Premises) -> None:
        store = CentreStore(self.folder / f"{route}.db", route)
        self._exit.callback(store.close)
        core = CentreCore(
            route, {premises.gateway: [self.site.gateway_key]}, self.site.private_key(route)
        )
        client = CentreClient(
            core,
            store,
            gateways=[premises.gateway],
            uplinks=premises.uplinks,
            access=Access(self.site.certificate(route)),
            on_stored=lambda verdict: self._stored(route, verdict),
            on_refused=lambda why, *_: self.far[route].refused.append(why),
        )
        self.far[route] = FarEnd(client)
        self._tasks.append(asyncio.create_task(client.run(), name=route))

    def _stored(self, route: str, verdict: Verdict) -> None:
        far, message = self.far[route], verdict.message
        if message is None or verdict.copy:
            far.copies += 1
            return
        data = message.data
        far.held.append(
            Held(
                route=route,
                type=message.type,
                subject=message.subject,
                alarm=str(data.get("alarm", "")),
                event=message.id,
                at_s=time.monotonic(),
                doubtful=bool(data.get("doubtful")),
                why=str(data.get("why", "")),
            )
        )

    def _start_gateway(self) -> None:
        command = [sys.executable, "-m", "simulators", "run"]
        command += ["--config", str(self.site.config), "--control", str(self.site.control)]
        with (self.folder / "gateway.log").open("ab") as log:
            self._gateway = subprocess.Popen(command, stdout=log, stderr=log)

    def _buttons_listen(self) -> bool:
        try:
            return "points" in ask(self.site.control, {"points": True}, answer_within_s=2)
        except ControlError:
            return False

    @staticmethod
    def _told(far: FarEnd) -> bool:
        return any(held.type == "state.gateway.restarted" for held in far.held)

    # --- what the story does ---------------------------------------------------------------------

    async def press(self, point: str, shape: str, ms: int = 300) -> float:
        """A finger on a button; when it came down (monotonic seconds)."""
        began_s = time.monotonic()
        await self._ask({"press": point, "shape": shape, "ms": ms})
        return began_s

    async def repair(self, point: str) -> None:
        """Somebody mends the wires of a point."""
        await self._ask({"repair": point})

    async def points(self) -> list[str]:
        """Everything there is to press."""
        answer = (await self._ask({"points": True}))["points"]
        assert isinstance(answer, dict)
        return list(answer)

    async def lamps(self) -> dict[str, bool]:
        """Which points' lamps are lit at this moment."""
        answer = (await self._ask({"lamps": True}))["lamps"]
        assert isinstance(answer, dict)
        return {name: bool(on) for name, on in answer.items()}

    async def door(self, name: str, do: str) -> bool:
        """Somebody does something to a door; True when it worked."""
        return bool((await self._ask({"door": name, "do": do})).get("worked"))

    async def unit(self, name: str, do: str) -> None:
        """Something happens to a unit on the line."""
        await self._ask({"unit": name, "do": do})

    async def free(self, door: str) -> bool:
        """True while the lock of a door is free."""
        doors = (await self._ask({"status": True}))["doors"]
        assert isinstance(doors, dict)
        told = doors[door]
        return isinstance(told, dict) and told["lock"] == "free"

    def command(self, verb: str, target: Mapping[str, Json]) -> None:
        """The desk at the security service signs a command and sends it."""
        self.far["security"].client.command(verb, target)

    async def _ask(self, request: dict[str, Json]) -> dict[str, Json]:
        answer = await asyncio.to_thread(ask, self.site.control, request, answer_within_s=WAIT_S)
        if answer.get("ok") is not True:
            raise DemoError(f"the simulated building refused {request}: {answer.get('error')}")
        return answer

    async def _must(self, done: Callable[[], bool], otherwise: str) -> None:
        if not await self.until(done):
            raise DemoError(otherwise)

    async def until(self, done: Callable[[], bool], *, within_s: float = WAIT_S) -> bool:
        """Wait for something that should come; False when it did not."""
        end_s = time.monotonic() + within_s
        while not done():
            if time.monotonic() > end_s:
                return False
            self._alive()
            await asyncio.sleep(0.01)
        return True

    def _alive(self) -> None:
        if self._gateway is not None and self._gateway.poll() is not None:
            raise DemoError(f"the gateway ended: see {self.folder / 'gateway.log'}")
        for task in self._tasks:
            if task.done():
                raise DemoError(f"the far end {task.get_name()} ended: {task.exception()!r}")
