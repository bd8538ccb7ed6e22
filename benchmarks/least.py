"""The least program that does the job at all: what Qorgan's times and idle cost are multiples of.

`press` signs, commits and publishes when a line comes in, one after another, with nothing around
it: no debouncing, no second route, no receipts, no log. `idle` keeps the same connection alive at
the same pace, looks at as many pins, and does nothing else. Shares no code with the product, so
that what is slow there is not slow here too.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import datetime as dt
import json
import os
import signal
import socket
import ssl
import sys
import time
import uuid
from collections.abc import Callable
from pathlib import Path

import paho.mqtt.client as mqtt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from paho.mqtt.enums import CallbackAPIVersion

NAME = "least"
KEEPALIVE_S = 4
MISC_EVERY_S = 1.0
BEAT_EVERY_S = 5.0
BEATS = 2
"""Heartbeats a time: as many as the simulated building has routes."""
BEAT_BYTES = 430
LOOK_EVERY_S = 0.2
PINS = 14
"""How many inputs the simulated building has."""


def token(payload: dict[str, object], key: Ed25519PrivateKey) -> bytes:
    """A JWS compact token (RFC 7515) with Ed25519."""

    def part(raw: bytes) -> bytes:
        return base64.urlsafe_b64encode(raw).rstrip(b"=")

    header = {"alg": "Ed25519", "kid": NAME, "typ": "qorgan-message"}
    parts = [json.dumps(each, separators=(",", ":")).encode() for each in (header, payload)]
    signed = b".".join(part(each) for each in parts)
    return signed + b"." + part(key.sign(signed))


def message(sequence: int) -> dict[str, object]:
    """A CloudEvent of the size and shape of Qorgan's own."""
    event = str(uuid.uuid4())
    return {
        "specversion": "1.0",
        "id": event,
        "source": "/premises/school-12/gateways/least",
        "type": "org.qorgan.alarm.panic.raised",
        "subject": "guard-post",
        "time": dt.datetime.now(dt.UTC).isoformat(timespec="milliseconds"),
        "datacontenttype": "application/json",
        "route": "security",
        "stream": "alarm",
        "ledger": "00000000",
        "epoch": 1,
        "start": "00000000",
        "sequence": sequence,
        "previous": "0" * 64,
        "data": {
            "alarm": event,
            "status": "actual",
            "severity": "critical",
            "contact_id": {"qualifier": 1, "code": "120", "partition": 1, "zone": 1},
            "place": {"building": "A", "floor": 1, "room": "Guard post"},
            "point_kind": "panic",
            "count": 1,
            "clock": {"boot": "00000000", "monotonic_ms": time.monotonic_ns() // 1_000_000},
        },
    }


async def connected(
    options: argparse.Namespace, user: str = NAME, in_flight: int = 20
) -> mqtt.Client:
    """A paho client on the running loop, connected with mTLS and TCP_NODELAY."""
    loop = asyncio.get_running_loop()
    up: asyncio.Future[None] = loop.create_future()
    five = options.mqtt == "5"
    client = mqtt.Client(
        CallbackAPIVersion.VERSION2,
        user,
        clean_session=None if five else True,
        protocol=mqtt.MQTTv5 if five else mqtt.MQTTv311,
    )
    context = ssl.create_default_context(cafile=options.site / "ca.pem")
    context.load_cert_chain(options.site / f"{user}.pem")
    client.tls_set_context(context)
    client.max_inflight_messages_set(in_flight)
    client.on_connect = lambda *_: up.set_result(None)
    client.connect("127.0.0.1", options.port, KEEPALIVE_S)
    sock = client.socket()
    assert isinstance(sock, ssl.SSLSocket)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def readable() -> None:
        client.loop_read()
        while sock.pending():
            client.loop_read()

    def misc() -> None:
        client.loop_misc()
        loop.call_later(MISC_EVERY_S, misc)

    loop.add_reader(sock, readable)
    misc()
    await up
    return client


def pressed(client: mqtt.Client, options: argparse.Namespace) -> Callable[[], None]:
    """What happens at a trigger: one line in, one message out, the trigger's time said."""
    import apsw  # noqa: PLC0415 -- the idle program keeps no ledger

    jwk = json.loads((options.site / f"{NAME}.jwk").read_text(encoding="utf-8"))
    key = Ed25519PrivateKey.from_private_bytes(base64.urlsafe_b64decode(jwk["d"] + "=="))
    db = apsw.Connection(str(options.ledger))
    for name, value in (("locking_mode", "EXCLUSIVE"), ("journal_mode", "WAL")):
        db.pragma(name, value)
    db.pragma("synchronous", "FULL")
    db.execute("CREATE TABLE message (number INTEGER PRIMARY KEY, token BLOB NOT NULL) STRICT")
    topic, sequence = f"qorgan/v1/{NAME}/security/alarm", 0

    def press() -> None:
        nonlocal sequence
        if not os.read(sys.stdin.fileno(), 64):
            os.kill(os.getpid(), signal.SIGTERM)
            return
        at_ns = time.monotonic_ns()
        sequence += 1
        sealed = token(message(sequence), key)
        db.execute("INSERT INTO message VALUES (?, ?)", (sequence, sealed))
        client.publish(topic, sealed, qos=1)
        print(at_ns, flush=True)

    return press


async def look(client: mqtt.Client) -> None:
    """Idle as a gateway is: pins looked at, heartbeats sent, everything else left out."""
    from gpiozero.pins.mock import MockFactory, MockPin  # noqa: PLC0415 -- only idle has pins

    factory = MockFactory(revision="a02082", pin_class=MockPin)
    pins = [factory.pin(number) for number in range(2, 2 + PINS)]
    for pin in pins:
        pin.input_with_pull("up")
    rounds, beat = 0, b"." * BEAT_BYTES
    while True:
        for pin in pins:
            if not pin.state:
                print("pressed", flush=True)
        if rounds % round(BEAT_EVERY_S / LOOK_EVERY_S) == 0:
            for _ in range(BEATS):
                client.publish(f"qorgan/v1/{NAME}/security/heartbeat", beat, qos=0)
        rounds += 1
        await asyncio.sleep(LOOK_EVERY_S)


async def run(options: argparse.Namespace) -> None:
    """Until SIGTERM."""
    loop, stopping = asyncio.get_running_loop(), asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, stopping.set)
    client = await connected(options)
    looking: asyncio.Task[None] | None = None
    if options.mode == "press":
        loop.add_reader(sys.stdin, pressed(client, options))
    else:
        looking = loop.create_task(look(client))
    print("ready", flush=True)
    await stopping.wait()
    if looking is not None:
        looking.cancel()
    client.disconnect()


def main() -> None:
    """`python -m benchmarks.least press|idle`: a child of the benchmarks, not for people."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.least", description=__doc__)
    parser.add_argument("mode", choices=("press", "idle"))
    parser.add_argument("--site", type=Path, required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--mqtt", choices=("5", "3.1.1"), default="5")
    parser.add_argument("--ledger", type=Path, help="where `press` commits")
    asyncio.run(run(parser.parse_args()))


if __name__ == "__main__":
    main()
