"""Obey with everything behind it but the wires, which answer when a test says so."""

from __future__ import annotations

import random
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from drivers.base import Ear, Output, Wire
from gateway.core.action import Action, Outcome, Result
from gateway.core.alarms import Register
from gateway.core.commands import Command, Order, command_payload
from gateway.core.jws import TokenType, seal
from gateway.core.model import Fact, Json
from gateway.core.modes import Modes
from gateway.core.premises import Premises, RouteKey
from gateway.core.reactions.reactions import Refused
from gateway.hands import Hands
from gateway.obey import Obey
from gateway.points import Points
from gateway.record.entry import Identity
from gateway.restart import Held
from gateway.seams import Seldom
from simulators.virtual.time import VirtualClock, run_virtual
from tests.obedience import DEPUTY, DOORS, EVERY

ME = Identity("1ed9e700", 1, "57a40000")


class Wires:
    """A driver whose outputs do nothing by themselves: `asked` is what they were told."""

    def __init__(self) -> None:
        self.asked: list[Action] = []

    def start(self, *, wires: Sequence[Wire], outputs: Sequence[Output], ear: Ear) -> None:
        """Nothing to open."""

    def light(self, address: str, *, on: bool) -> None:
        """No lamps."""

    def act(self, action: Action) -> None:
        self.asked.append(action)

    def check(self) -> None:
        """No inputs."""

    def status(self) -> Mapping[str, Json]:
        return {}

    async def stop(self) -> None:
        """Nothing to close."""


class Rig:
    """One gateway's obedience on wires that wait to be told what they answer."""

    def __init__(self, premises: Premises, clock: VirtualClock) -> None:
        self.clock = clock
        self.premises = premises
        self.wires = Wires()
        self.facts: list[Fact] = []
        self.kept: dict[str, str] = {}
        self.recorded: list[tuple[list[Fact], Mapping[str, str]]] = []
        self.modes = Modes(premises.points, gateway=premises.gateway)
        self.points = Points(
            premises,
            clock,
            held=Held(ME, None, None, {}, [], {}, [], {}, {}, 0, None, {}),
            register=Register(premises.points),
            modes=self.modes,
            new_id=lambda at_us: f"id-{at_us}",
            tell=self._tell,
            keep=self.kept.update,
        )
        self.hands = Hands(
            premises,
            self.wires,
            clock,
            points=self.points,
            tell=lambda facts: self._tell(facts, {}),
            keep=self.kept.update,
        )
        self.log: list[str] = []
        self.obey = Obey(
            premises,
            ME,
            clock,
            hands=self.hands,
            modes=self.modes,
            send_again=self._send_again,
            seldom=Seldom(lambda event, _: self.log.append(event), clock),
            tell=self._tell,
            pass_on=self.points.pass_on,
            changed=lambda: None,
        )
        self._counter = 0
        self.resends: list[Callable[[Mapping[str, Json], str], None]] = []
        self.busy: Refused | None = None

    def _send_again(
        self, _: Order, concluded: Callable[[Mapping[str, Json], str], None]
    ) -> Refused | None:
        self.resends.append(concluded)
        return self.busy

    def _tell(self, facts: Iterable[Fact], kept: Mapping[str, str]) -> None:
        told = list(facts)
        self.kept.update(kept)
        self.facts += told
        self.recorded.append((told, kept))

    def command(self, verb: str, target: Mapping[str, Json], **changes: Any) -> bytes:
        """A token of the deputy's desk, for this very moment unless it is changed."""
        self._counter += 1
        made: dict[str, Any] = {
            "id": f"c-{self._counter}",
            "gateway": self.premises.gateway,
            "ledger": ME.ledger,
            "boot": self.clock.stamp(0).boot,
            "not_after_ms": self.clock.now_us() // 1_000 + 10_000,
            "verb": verb,
            "target": target,
            "counter": self._counter,
        }
        return seal(TokenType.COMMAND, command_payload(Command(**made | changes)), DEPUTY)

    def ask(self, verb: str, target: Mapping[str, Json], **changes: Any) -> list[str]:
        """Hand one in on the security route; the phases of what was answered at once."""
        told = self.obey.heard("security", self.command(verb, target, **changes))
        return [fact.type.rpartition(".")[2] for fact in told]

    def answer(self, action: int, outcome: Outcome, why: str = "") -> None:
        """What the wires say of the action of that number, counted from 0."""
        name = self.wires.asked[action].id
        self.hands.result(Result(name, outcome, self.clock.now_us(), why))

    def told(self) -> list[tuple[str, dict[str, Any]]]:
        """Every answer given so far: phase and data."""
        return [
            (fact.type.rpartition(".")[2], dict(fact.data))
            for fact in self.facts
            if fact.type.startswith("state.command.")
        ]

    def phases(self) -> list[str]:
        return [phase for phase, _ in self.told()]


def on_wires(
    scenario: Callable[[Rig], Coroutine[Any, Any, None]], premises: Premises = DOORS
) -> Rig:
    """Run a scenario on a fresh rig under virtual time, a minute after the start."""
    key = RouteKey("deputy", DEPUTY.public.x, EVERY)
    listed = replace(
        premises, routes=tuple(replace(route, keys=(key,)) for route in premises.routes)
    )

    async def told(clock: VirtualClock, _: random.Random) -> Rig:
        rig = Rig(listed, clock)
        await clock.sleep(60)
        await scenario(rig)
        return rig

    return run_virtual(told, seed=1)
