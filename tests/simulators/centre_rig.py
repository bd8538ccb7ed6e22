"""A running centre and the gateway's end of a wire, for tests over real brokers."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

import aiomqtt

from gateway.core.jws import TokenType, open_token
from gateway.core.message import read_receipt
from gateway.core.model import AlarmState, Receipt, Stream
from gateway.core.premises import UplinkSpec
from simulators.centre.client import CentreClient, Manner
from simulators.centre.core.core import CentreCore
from simulators.centre.core.words import Finding, Verdict
from simulators.centre.link import Access, dialled
from simulators.centre.store import CentreStore
from simulators.network.brokers import HOST, Broker, Mosquitto
from tests.uplink_rigs import until
from tools.vector_parts import (
    GATEWAY,
    KEYS,
    ROUTE,
)

UP = f"qorgan/v1/{GATEWAY}/{ROUTE}"
SECURITY = {KEYS["security"].kid: KEYS["security"].public}


def spec(broker: Broker, uplink: str = "campus") -> UplinkSpec:
    assert broker.pki is not None
    mqtt = "5" if isinstance(broker, Mosquitto) else "3.1.1"
    return UplinkSpec(id=uplink, host=HOST, port=broker.port, mqtt=mqtt, ca=str(broker.pki.ca))


@dataclass
class Seen:
    """Everything a centre has called back about."""

    lines: list[Verdict] = field(default_factory=list)
    stored: list[Verdict] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    links: list[tuple[str, str]] = field(default_factory=list)
    present: list[bool] = field(default_factory=list)


class Centre:
    """A running CentreClient, what it called back, and its store."""

    def __init__(
        self,
        broker: Broker,
        *,
        uplinks: tuple[UplinkSpec, ...] = (),
        path: Path | None = None,
        manner: Manner | None = None,
        store: CentreStore | None = None,
    ) -> None:
        assert broker.pki is not None
        self.seen = Seen()
        self.store = store if store is not None else CentreStore(path, ROUTE)
        core = CentreCore(ROUTE, {GATEWAY: [KEYS["gateway"].public]}, KEYS["security"])
        core.restore(self.store.rows(), self.store.answers())
        self.client = CentreClient(
            core,
            self.store,
            gateways=[GATEWAY],
            uplinks=uplinks or (spec(broker),),
            access=Access(broker.pki.client(ROUTE)),
            manner=manner,
            on_line=self.seen.lines.append,
            on_stored=self.seen.stored.append,
            on_finding=self.seen.findings.append,
            on_refused=lambda why, *_: self.seen.refused.append(why),
            on_link=lambda *link: self.seen.links.append(link),
            on_presence=lambda _gateway, _uplink, there: self.seen.present.append(there),
        )

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self.client.run())
        await until(lambda: self.client.connected or self._task.done())
        return self

    async def __aexit__(self, *exc: object) -> None:
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task
        self.store.close()


class Wire:
    """The gateway's end of one connection: publishes tokens, collects verified receipts."""

    def __init__(self, client: aiomqtt.Client) -> None:
        self.client = client
        self.receipts: list[Receipt] = []

    async def send(self, leaf: str, *tokens: bytes, retain: bool = False) -> None:
        for token in tokens:
            await self.client.publish(f"{UP}/{leaf}", token, qos=1, retain=retain)

    async def collect(self) -> None:
        async for message in self.client.messages:
            assert isinstance(message.payload, bytes)
            _, payload = open_token(message.payload, typ=TokenType.RECEIPT, keys=SECURITY)
            self.receipts.append(read_receipt(payload))

    def through(self, stream: Stream = Stream.ALARM) -> int:
        return max((r.through for r in self.receipts if r.key.stream is stream), default=0)

    def said(self, alarm: str) -> list[AlarmState]:
        return [word.state for r in self.receipts for word in r.alarms if word.alarm == alarm]


@contextlib.asynccontextmanager
async def wire(broker: Broker) -> AsyncIterator[Wire]:
    assert broker.pki is not None
    async with dialled(spec(broker), Access(broker.pki.client(GATEWAY))) as client:
        await client.subscribe(f"{UP}/receipts", qos=1)
        end = Wire(client)
        collecting = asyncio.create_task(end.collect())
        try:
            yield end
        finally:
            collecting.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await collecting
