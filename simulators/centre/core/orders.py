"""What a centre asks of its gateways: sealed Commands, each with an expiry on the gateway's clock.

Pure, driven by `core`. A heartbeat names ledger, boot and the gateway's monotonic clock; that clock
is tied to ours as the age rule ties it, so that neither end needs the true time.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from gateway.core.commands import Command, command_payload
from gateway.core.jws import SigningKey, TokenType, seal
from gateway.core.message import Heartbeat
from gateway.core.model import Json
from gateway.core.verbs import Verb
from simulators.centre.core.reading import Tie, tied

MARGIN_MS = 100
"""So much less than its verb allows a command reaches ahead: the tie is good to a few ms."""


class NotHeard(Exception):  # noqa: N818 -- a state of the world, said in its text
    """No heartbeat of that gateway has come yet, and without one nothing can be asked of it."""


@dataclass(frozen=True, slots=True)
class Ordered:
    """A Command as it is sent: the same token on every uplink of the route."""

    route: str
    command: Command
    token: bytes

    @property
    def topic(self) -> str:
        """Where its gateway listens for it."""
        return f"qorgan/v1/{self.command.gateway}/{self.route}/commands"


@dataclass(frozen=True, slots=True)
class _Known:
    """What the last heartbeat of a gateway said, and how its clock lies against ours."""

    ledger: str
    boot: str
    tie: Tie


class Orders:
    """One desk's commands, for every gateway of its route."""

    def __init__(self, route: str, signer: SigningKey) -> None:
        """signer: the desk's own key; each desk has one, or their counters would meet."""
        self._route = route
        self._signer = signer
        self._known: dict[str, _Known] = {}
        self._counter = 0

    def heard(self, gateway: str, beat: Heartbeat, at_ms: int) -> None:
        """The newest verified heartbeat of a gateway, arrived at `at_ms` of our clock."""
        known = self._known.get(gateway)
        held = known.tie if known is not None and known.boot == beat.boot else None
        tie = tied(held, monotonic_ms=beat.monotonic_ms, at_ms=at_ms)
        self._known[gateway] = _Known(beat.ledger, beat.boot, tie)

    def knows(self, gateway: str) -> bool:
        """True once something can be asked of it."""
        return gateway in self._known

    def refused(self, data: Mapping[str, Any]) -> None:
        """A gateway has refused a command: its `data` may say from where our counter must go on.

        Our clock may have been ahead once, or another program has used the key.
        """
        above = data.get("counter_above")
        if type(above) is int and data.get("by") == self._signer.kid:
            self._counter = max(self._counter, above)

    def draft(
        self, gateway: str, verb: str, target: Mapping[str, Json], *, name: str, at_ms: int
    ) -> Command:
        """A command that reaches as far as its verb allows. NotHeard before the first heartbeat.

        name: its id, never used before. A resend that names no ledger means the present one. at_ms:
        our UTC now, a clock that never steps: the counter goes by it, so that a centre that starts
        again repeats none.
        """
        known = self._known.get(gateway)
        if known is None:
            raise NotHeard(f"{gateway} has not been heard yet: a command needs its heartbeat")
        self._counter = max(self._counter + 1, at_ms)
        now_ms = at_ms - known.tie.offset_at(at_ms)
        if verb == Verb.RESEND:
            target = {"ledger": known.ledger, **target}
        return Command(
            id=name,
            gateway=gateway,
            ledger=known.ledger,
            boot=known.boot,
            not_after_ms=max(0, now_ms + Verb(verb).reach_ms - MARGIN_MS),
            verb=verb,
            target=target,
            counter=self._counter,
        )

    def sealed(self, command: Command) -> Ordered:
        """Sign it."""
        token = seal(TokenType.COMMAND, command_payload(command), self._signer)
        return Ordered(self._route, command, token)
