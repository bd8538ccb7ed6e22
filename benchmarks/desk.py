"""The receiving end of the benchmarks: verifies, notes the time, then behaves as a centre does.

One Desk a route, on the loop of the benchmark itself. The time is taken at the first moment a
message is known to be genuine, before anything else is done with it. It answers with the real
centre's receipts, and the security desk acknowledges and closes every alarm at once.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from typing import Any

from benchmarks.stage import LEAST, Stage
from gateway.core.jws import TokenRefused, TokenType, open_token
from gateway.core.model import AlarmState
from gateway.uplink.link import Connection, Will
from gateway.uplink.mqtt import PahoConnector
from simulators.centre.core.core import CentreCore
from simulators.site import GATEWAY

ASIDE_S = 0.02
"""The case desk looks at its mail this much later: on a site it is another machine, and its work
must not be measured as the gateway's."""

Verified = Callable[[str, dict[str, Any], int], None]
"""The sender's place in the topic, the payload, and monotonic nanoseconds when it was verified."""


class Desk:
    """A route's centre without a disk: its receipts come after the moment that is measured."""

    def __init__(self, stage: Stage, route: str, on_verified: Verified) -> None:
        """Use `open` before anything is sent."""
        self._stage = stage
        self._route = route
        self._on_verified = on_verified
        self._keys = {name: {key.kid: key} for name, key in stage.keys.items()}
        gateways = {GATEWAY: [stage.site.gateway_key]}
        self._core = CentreCore(route, gateways, stage.site.private_key(route))
        self._connection: Connection | None = None
        self.heard = asyncio.Event()
        """Set by the first heartbeat."""

    async def open(self) -> None:
        """Connect and subscribe; UplinkError when that fails."""
        base = f"qorgan/v1/{GATEWAY}/{self._route}"
        topics = [f"{base}/{leaf}" for leaf in ("alarm", "log", "heartbeat")]
        if self._route == "security":
            topics.append(f"qorgan/v1/{LEAST}/{self._route}/alarm")
        self._connection = await PahoConnector().connect(
            self._stage.uplink(self._route),
            client_id=self._route,
            will=Will(f"{base}/gone", b""),
            subscriptions=topics,
            on_message=self._arrived,
        )

    async def close(self) -> None:
        """Disconnect."""
        if self._connection is not None:
            await self._connection.close(None)

    def _arrived(self, topic: str, token: bytes, retained: bool) -> None:  # noqa: FBT001 -- OnMessage's shape
        del retained
        if self._route == "security":
            self._take(topic, token)
        else:
            asyncio.get_running_loop().call_later(ASIDE_S, self._take, topic, token)

    def _take(self, topic: str, token: bytes) -> None:
        _, _, sender, _, leaf = topic.split("/")
        if leaf == "heartbeat":
            self.heard.set()
            beat = self._core.beat(sender, self._route, "campus", token, _utc_ms())
            if beat.receipt is not None:
                self._send(beat.receipt.topic, beat.receipt.token)
            return
        try:
            payload = self._opened(sender, token)
        except TokenRefused:
            return
        self._on_verified(sender, payload, time.monotonic_ns())
        if sender == GATEWAY:
            self._answer(sender, token)

    def _opened(self, sender: str, token: bytes) -> dict[str, Any]:
        """What a message says. The least program on a bus signs nothing; TokenRefused else."""
        if sender == LEAST and token.startswith(b"{"):
            plain: dict[str, Any] = json.loads(token)
            return plain
        _, payload = open_token(token, typ=TokenType.MESSAGE, keys=self._keys[sender])
        return payload

    def _answer(self, sender: str, token: bytes) -> None:
        core, at_ms = self._core, _utc_ms()
        verdict = core.receive(sender, self._route, "campus", token, at_ms)
        if verdict.row is not None:
            core.stored(verdict.row)
        outgoing = list(core.receipts_for([verdict]))
        row = verdict.row
        if self._route == "security" and row is not None and row.type.endswith(".raised"):
            for state in (AlarmState.ACKNOWLEDGED, AlarmState.CLOSED) if row.alarm else ():
                answer = core.answer(row.alarm or "", state, 1, at_ms)
                outgoing += core.answered(answer) if answer is not None else ()
        for each in outgoing:
            self._send(each.topic, each.token)

    def _send(self, topic: str, token: bytes) -> None:
        if self._connection is not None:
            self._connection.publish(topic, token, qos=1)


def _utc_ms() -> int:
    return time.time_ns() // 1_000_000
