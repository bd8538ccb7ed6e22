"""What the daemon knows of an MQTT connection: its words and its contract, without a library.

`uplink.py` keeps the contract over the network, a simulation keeps it in memory. Whoever implements
it answers every publish exactly once and never raises into the caller after `connect` returned.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol, TypeAlias

from gateway.core.premises import UplinkSpec

CONNECT_WITHIN_S = 3.0
"""Bound on one whole attempt: DNS, TCP, TLS, CONNACK and SUBACK."""

KEEPALIVE_S = 4
"""MQTT keepalive: a silent broker is given up after two of them."""

GOODBYE_WITHIN_S = 0.5
"""How long a deliberate close waits for the broker to take the goodbye."""

CLOSE_WITHIN_S = 1.0
"""Bound on a deliberate close, goodbye included."""


class UplinkError(Exception):
    """No connection: `reason` says what happened, `hint` what a person can do about it."""

    def __init__(self, reason: str, hint: str) -> None:
        """Keep both apart for logs; the text is `reason: hint`. Neither may carry a secret."""
        super().__init__(f"{reason}: {hint}")
        self.reason = reason
        self.hint = hint


class Ack(StrEnum):
    """What became of one publish.

    ACCEPTED: the broker has it (QoS 1), or it was handed to the connection (QoS 0). Under MQTT
    3.1.1 a broker also says so of what it refuses or has nobody for: nothing better is known.
    NOBODY: taken, but nobody subscribes (MQTT 5, 0x10). REFUSED: not taken (MQTT 5). LOST: the
    connection ended, or was never there; the broker may or may not have it.
    """

    ACCEPTED = "accepted"
    NOBODY = "nobody"
    REFUSED = "refused"
    LOST = "lost"


@dataclass(frozen=True, slots=True)
class Will:
    """A retained QoS 1 message about presence: will, birth or goodbye."""

    topic: str
    payload: bytes


OnMessage: TypeAlias = Callable[[str, bytes, bool], None]
"""Topic, payload, and whether the broker had it retained."""

OnAck: TypeAlias = Callable[[Ack, str], None]
"""The outcome, and the broker's own words or the reason of a loss ("" when there are none)."""


class Connection(Protocol):
    """One live MQTT connection. All callbacks come from the event loop, never from inside a call.

    What was pending when the connection ended is answered LOST before a waiter on `lost` runs.
    """

    @property
    def lost(self) -> asyncio.Future[str]:
        """Resolves with the reason when the connection is gone; await it shielded."""

    @property
    def unchecked(self) -> str:
        """What of the broker's certificate was not looked at, and why; "" when all of it was."""

    @property
    def unacknowledged(self) -> int:
        """QoS 1 publishes that have no answer yet."""

    def publish(
        self,
        topic: str,
        payload: bytes,
        *,
        qos: int,
        retain: bool = False,
        on_ack: OnAck | None = None,
    ) -> None:
        """Send, in the order of the calls; never blocks, never raises, `on_ack` runs once later."""

    async def close(self, goodbye: Will | None) -> None:
        """Publish `goodbye`, wait at most 0.5 s for its PUBACK, disconnect; at most 1 s in all."""


class Connector(Protocol):
    """Makes Connections; the seam between the daemon and a network, real or simulated."""

    async def connect(
        self,
        spec: UplinkSpec,
        *,
        client_id: str,
        will: Will,
        subscriptions: Sequence[str],
        on_message: OnMessage,
    ) -> Connection:
        """Connect with a clean session and subscribe with QoS 1, within 3 s in all.

        `on_message` may run before this returns. Raises UplinkError when the broker cannot be
        reached, refuses, or grants any of the subscriptions less than QoS 1.
        """


_BAD_USER_NAME_OR_PASSWORD = 0x86
_NOT_AUTHORIZED = 0x87

_REFUSALS: Mapping[int, tuple[str, str]] = {
    0x84: ("does not speak this version of MQTT", "set `mqtt` of this uplink to the other one"),
    0x85: ("refuses our client id", "ask the broker's operator what a client id may look like"),
    _BAD_USER_NAME_OR_PASSWORD: (
        "refuses our user name or password",
        "check `username` and the password file",
    ),
    _NOT_AUTHORIZED: (
        "does not let us in",
        "is our certificate made out to a user the broker knows, without a `username` beside it?",
    ),
    0x88: ("is out of service", "ask the broker's operator; we keep trying"),
    0x89: ("is too busy", "ask the broker's operator; we keep trying"),
    0x8A: ("has banned us", "ask the broker's operator why"),
}
"""CONNACK reason codes (MQTT 5, 3.2.2.2) a person can do something about."""


def refused(spec: UplinkSpec, code: int, says: str) -> UplinkError:
    """The broker answered CONNECT with that reason code of MQTT 5 and those words."""
    if code == _NOT_AUTHORIZED and spec.username is not None:
        code = _BAD_USER_NAME_OR_PASSWORD  # many brokers do not tell the two apart
    what, hint = _REFUSALS.get(code, (f"says: {says}", "ask the broker's operator"))
    return UplinkError(f"the broker at {spec.host}:{spec.port} {what}", hint)


def not_heard(spec: UplinkSpec, topics: Sequence[str]) -> UplinkError:
    """The broker granted those subscriptions less than QoS 1."""
    return UplinkError(
        f"the broker at {spec.host}:{spec.port} does not let us hear {', '.join(topics)} "
        "with QoS 1",
        "give this gateway the right to subscribe to its down topics there",
    )
