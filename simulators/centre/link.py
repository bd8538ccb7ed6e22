"""One MQTT connection of a centre: how it is made, and what it subscribes to.

Clean sessions only: on nats a full store of queued sessions locks everybody out, and receipts with
`resend` replace the broker's queue. A fresh client each time: paho would otherwise send what a
former connection had left pending.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections import deque
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiomqtt
from paho.mqtt.client import MQTT_CLEAN_START_FIRST_ONLY

from gateway.core.premises import UplinkSpec

TOPIC = "qorgan/v1"
UP_LEAVES = ("alarm", "log", "resend", "heartbeat")
INCOMING_MAX = 5_000
"""Messages waiting to be judged; more are dropped, and come again for want of a receipt."""
TOGETHER_MAX = 8
KEEPALIVE_S = 4
TIMEOUT_S = 3.0
"""For each request to the broker. aiomqtt waits it out when the link drops during a publish."""


@dataclass(frozen=True, slots=True)
class Access:
    """How a centre gets into the brokers. Files are read at each connection."""

    certificate: Path | None = None
    username: str | None = None
    password_file: Path | None = None


class AlarmsFirst(asyncio.Queue[Any]):
    """What waits to be judged: the log, however much of it, waits for all else.

    Gives lists of a few messages: aiomqtt makes a task for each time it is asked.
    """

    def _init(self, maxsize: int) -> None:
        del maxsize
        self._before: deque[aiomqtt.Message] = deque()
        self._log: deque[aiomqtt.Message] = deque()

    def _put(self, item: aiomqtt.Message) -> None:
        (self._log if item.topic.value.endswith("/log") else self._before).append(item)

    def _get(self) -> list[aiomqtt.Message]:
        few = min(TOGETHER_MAX, self.qsize())
        return [(self._before or self._log).popleft() for _ in range(few)]

    def qsize(self) -> int:
        return len(self._before) + len(self._log)

    def empty(self) -> bool:
        return self.qsize() == 0


async def arrived(client: aiomqtt.Client) -> AsyncIterator[aiomqtt.Message]:
    """What comes to a client that was dialled with `alarms_first`; MqttError when it ends."""
    few: Any
    async for few in client.messages:
        for message in few:
            yield message


@contextlib.asynccontextmanager
async def dialled(
    spec: UplinkSpec, access: Access, *, alarms_first: bool = False
) -> AsyncIterator[aiomqtt.Client]:
    """A connected client, disconnected at the end; aiomqtt.MqttError or OSError when it fails.

    alarms_first: what comes is to be taken from `arrived`.
    """
    password = None
    if access.password_file is not None:
        password = access.password_file.read_text(encoding="utf-8").strip()
    five = spec.mqtt == "5"  # whose first connection of a client is clean by paho's default
    client = aiomqtt.Client(
        spec.host,
        spec.port,
        username=access.username,
        password=password,
        protocol=aiomqtt.ProtocolVersion.V5 if five else aiomqtt.ProtocolVersion.V311,
        clean_session=None if five else True,
        clean_start=True if five else MQTT_CLEAN_START_FIRST_ONLY,  # paho refuses True for 3.1.1
        keepalive=KEEPALIVE_S,
        timeout=TIMEOUT_S,
        queue_type=AlarmsFirst if alarms_first else asyncio.Queue,
        max_queued_incoming_messages=INCOMING_MAX,
        max_inflight_messages=100,
        tls_context=_tls(spec, access) if spec.tls else None,
        socket_options=((socket.IPPROTO_TCP, socket.TCP_NODELAY, 1),),
    )
    async with client:
        yield client


async def listen(client: aiomqtt.Client, gateways: Iterable[str], route: str) -> None:
    """Subscribe to what these gateways send this route; MqttError when the broker refuses."""
    topics = []
    for gateway in gateways:
        topics += [(f"{TOPIC}/{gateway}/{route}/{leaf}", 1) for leaf in UP_LEAVES]
        topics.append((f"{TOPIC}/{gateway}/presence", 1))
    granted = await client.subscribe(topics)
    if any((code if isinstance(code, int) else code.value) >= 0x80 for code in granted):
        raise aiomqtt.MqttError(f"the broker does not let this centre listen to route {route}")


def _tls(spec: UplinkSpec, access: Access) -> ssl.SSLContext:
    """TLS 1.2 or later with the broker's name verified against the uplink's CA."""
    context = ssl.create_default_context(cafile=spec.ca)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if access.certificate is not None:
        context.load_cert_chain(access.certificate)
    return context
