"""What only the network shows: TLS, refusals in plain words, threads, a frozen broker."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import random
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from gateway.clock import SystemClock
from gateway.core.premises import UplinkSpec
from gateway.uplink.dial import Dialler, explained
from gateway.uplink.mqtt import PahoConnector
from gateway.uplink.uplink import Ack, Connection, Uplink, UplinkError, Will
from simulators.network.brokers import HOST, Mosquitto, Nats, free_port
from simulators.network.pki import Pki
from tests.uplink_rigs import (
    ALARM,
    BIRTH,
    CENTRE_HEARS,
    GATEWAY,
    GOODBYE,
    RECEIPTS,
    WILL,
    Acks,
    Ear,
    run,
    settled,
    spec_for,
    unheard,
    until,
)

PASSWORD = "correct horse battery staple"


async def connect(
    spec: UplinkSpec, *, client_id: str = GATEWAY, subscriptions: tuple[str, ...] = (RECEIPTS,)
) -> Connection:
    return await PahoConnector().connect(
        spec,
        client_id=client_id,
        will=WILL,
        subscriptions=subscriptions,
        on_message=unheard,
    )


def refusal(
    spec: UplinkSpec, *, client_id: str = GATEWAY, subscriptions: tuple[str, ...] = (RECEIPTS,)
) -> UplinkError:
    """The error an attempt ends with."""
    errors: list[UplinkError] = []

    async def scenario() -> None:
        with pytest.raises(UplinkError) as caught:
            await connect(spec, client_id=client_id, subscriptions=subscriptions)
        errors.append(caught.value)

    run(scenario())
    assert str(errors[0]) == f"{errors[0].reason}: {errors[0].hint}"
    return errors[0]


# --- answers to publishes ---------------------------------------------------------------------


def test_forbidden_publish_is_told_under_mqtt_5(mosquitto: Mosquitto) -> None:
    async def scenario() -> None:
        acks = Acks()
        gateway = await connect(spec_for(mosquitto, GATEWAY, "5"))
        gateway.publish("qorgan/v1/gw-2/security/alarm", b"not ours", qos=1, on_ack=acks)
        await until(lambda: acks.got)
        assert acks.got == [(Ack.REFUSED, "Not authorized")]
        await gateway.close(None)

    run(scenario())


def test_publish_nobody_hears_is_told_under_mqtt_5(mosquitto: Mosquitto) -> None:
    async def scenario() -> None:
        acks = Acks()
        gateway = await connect(spec_for(mosquitto, GATEWAY, "5"))
        gateway.publish(ALARM, b"anybody?", qos=1, on_ack=acks)
        await until(lambda: acks.got)
        assert acks.got == [(Ack.NOBODY, "No matching subscribers")]
        await gateway.close(None)

    run(scenario())


def test_forbidden_publish_looks_accepted_under_mqtt_3(nats: Nats) -> None:
    async def scenario() -> None:
        acks = Acks()
        gateway = await connect(spec_for(nats, GATEWAY, "3.1.1"))
        gateway.publish("qorgan/v1/gw-2/security/alarm", b"not ours", qos=1, on_ack=acks)
        await until(lambda: acks.got)
        assert acks.got == [(Ack.ACCEPTED, "")]
        await gateway.close(None)

    run(scenario())


@pytest.mark.parametrize("topic", ["qorgan/#", "", "qorgan/v1/+/security/alarm"])
def test_what_is_no_topic_is_answered_lost(mosquitto: Mosquitto, topic: str) -> None:
    async def scenario() -> None:
        acks = Acks()
        gateway = await connect(spec_for(mosquitto, GATEWAY, "3.1.1"))
        gateway.publish(topic, b"x", qos=1, on_ack=acks)
        await until(lambda: acks.got)
        assert acks.words == [Ack.LOST]
        assert not gateway.lost.done()
        await gateway.close(None)

    run(scenario())


def test_all_of_one_tls_record_is_read(pki: Pki) -> None:
    """Once the first packet of a record is read, epoll knows nothing of those behind it."""
    connack, publish = b"\x20\x02\x00\x00", b"\x30\x04\x00\x01a"  # topic a, QoS 0, one byte
    record = connack + b"".join(publish + b"%d" % number for number in range(10))

    async def scenario() -> None:
        ended = asyncio.Event()

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.read(1)
            writer.write(record)
            await ended.wait()
            writer.close()

        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(pki.server_certificate, pki.server_key)
        server = await asyncio.start_server(serve, HOST, 0, ssl=context)
        port = server.sockets[0].getsockname()[1]
        ear = Ear()
        gateway = await PahoConnector().connect(
            UplinkSpec(id="x", host=HOST, port=port, mqtt="3.1.1", ca=str(pki.ca)),
            client_id=GATEWAY,
            will=WILL,
            subscriptions=(),
            on_message=ear,
        )
        await until(lambda: len(ear.heard) == 10, within_s=1.0)
        assert ear.payloads("a") == [b"%d" % number for number in range(10)]
        await gateway.close(None)
        ended.set()
        server.close()
        await server.wait_closed()

    run(scenario())


def test_burst_of_a_thousand_is_acknowledged_over_tls(mosquitto: Mosquitto) -> None:
    async def scenario() -> None:
        acks, ear = Acks(), Ear()
        centre = await PahoConnector().connect(
            spec_for(mosquitto, "security", "5"),
            client_id="security",
            will=WILL,
            subscriptions=CENTRE_HEARS,
            on_message=ear,
        )
        gateway = await connect(spec_for(mosquitto, GATEWAY, "5"))
        sent = [b"%04d" % number + b"x" * 1_000 for number in range(1_000)]
        for payload in sent:
            gateway.publish(ALARM, payload, qos=1, on_ack=acks)
        assert gateway.unacknowledged == 1_000
        await until(lambda: len(acks.got) == 1_000 and len(ear.heard) == 1_000, within_s=20)
        assert set(acks.words) == {Ack.ACCEPTED}
        assert ear.payloads(ALARM) == sent
        assert gateway.unacknowledged == 0
        await gateway.close(None)
        await centre.close(None)

    run(scenario())


def test_more_than_the_socket_takes_is_sent_when_it_can_be(mosquitto: Mosquitto) -> None:
    async def scenario() -> None:
        acks = Acks()
        gateway = await connect(spec_for(mosquitto, GATEWAY, "5"))
        mosquitto.pause()
        for _ in range(60):
            gateway.publish(ALARM, b"x" * 300_000, qos=1, on_ack=acks)
        await settled()
        mosquitto.resume()
        await until(lambda: len(acks.got) == 60)
        assert set(acks.words) == {Ack.NOBODY}
        began_s = time.process_time()
        await asyncio.sleep(0.3)
        assert time.process_time() - began_s < 0.15, "the writer was left on and spins"
        await gateway.close(None)

    run(scenario())


def test_frozen_broker_is_noticed_by_the_keepalive(mosquitto: Mosquitto) -> None:
    async def scenario() -> None:
        acks = Acks()
        gateway = await connect(spec_for(mosquitto, GATEWAY, "5"))
        mosquitto.pause()
        gateway.publish(ALARM, b"hello?", qos=1, on_ack=acks)
        why = await asyncio.wait_for(asyncio.shield(gateway.lost), 11)
        assert why == "no answer from the broker within the keepalive"
        await until(lambda: acks.got)
        assert acks.words == [Ack.LOST]
        mosquitto.resume()

    run(scenario())


def test_close_towards_a_frozen_broker_is_bounded(mosquitto: Mosquitto) -> None:
    async def scenario() -> None:
        gateway = await connect(spec_for(mosquitto, GATEWAY, "5"))
        mosquitto.pause()
        began = time.monotonic()
        await gateway.close(GOODBYE)
        assert time.monotonic() - began < 1.5
        assert gateway.lost.done()
        mosquitto.resume()

    run(scenario())


# --- refusals, in words -------------------------------------------------------------------------


def test_unknown_authority_is_named(mosquitto: Mosquitto, tmp_path: Path) -> None:
    other = Pki(tmp_path / "other")
    error = refusal(replace(spec_for(mosquitto, GATEWAY, "5"), ca=str(other.ca)))
    assert "is not trusted" in error.reason
    assert "`ca`" in error.hint


def test_certificate_for_another_name_is_named(pki: Pki) -> None:
    with socket.create_server(("127.0.0.2", 0)) as server:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(pki.server_certificate, pki.server_key)

        def serve() -> None:
            plain, _ = server.accept()
            with plain, pytest.raises(OSError, match="ALERT"):
                context.wrap_socket(plain, server_side=True)

        thread = threading.Thread(target=serve)
        thread.start()
        port = server.getsockname()[1]
        error = refusal(UplinkSpec(id="x", host="127.0.0.2", port=port, ca=str(pki.ca)))
        thread.join()
    assert "is not trusted" in error.reason
    assert "the host in `url`" in error.hint


@pytest.mark.parametrize("broker", ["mosquitto", "nats"])
def test_missing_client_certificate_is_named(broker: str, request: pytest.FixtureRequest) -> None:
    running: Mosquitto | Nats = request.getfixturevalue(broker)
    error = refusal(replace(spec_for(running, GATEWAY, "3.1.1"), certificate=None))
    assert "`certificate`" in error.hint


def test_user_unknown_to_the_broker_is_named(nats: Nats) -> None:
    error = refusal(spec_for(nats, "stranger", "3.1.1"), client_id="stranger")
    assert "does not let us in" in error.reason
    assert "certificate" in error.hint


def test_wrong_mqtt_version_is_named(nats: Nats) -> None:
    error = refusal(spec_for(nats, GATEWAY, "5"))
    assert "does not speak this version" in error.reason
    assert "`mqtt`" in error.hint


def test_refused_subscription_is_named(nats: Nats) -> None:
    topic = "qorgan/v1/gw-2/security/receipts"
    error = refusal(spec_for(nats, GATEWAY, "3.1.1"), subscriptions=(RECEIPTS, topic))
    assert topic in error.reason
    assert RECEIPTS not in error.reason


@pytest.fixture(params=[Mosquitto, Nats])
def by_password(
    request: pytest.FixtureRequest, tmp_path: Path, pki: Pki
) -> Iterator[Mosquitto | Nats]:
    with request.param(
        tmp_path / "broker", pki, gateways=(GATEWAY,), passwords={GATEWAY: PASSWORD}
    ) as broker:
        yield broker


def password_spec(broker: Mosquitto | Nats, file: Path) -> UplinkSpec:
    return replace(
        spec_for(broker, GATEWAY, "3.1.1"),
        certificate=None,
        username=GATEWAY,
        password_file=str(file),
    )


def test_password_from_its_file_opens_the_door(
    by_password: Mosquitto | Nats, tmp_path: Path
) -> None:
    file = tmp_path / "password"
    file.write_text(f"{PASSWORD}\n", encoding="utf-8")

    async def scenario() -> None:
        gateway = await connect(password_spec(by_password, file))
        await gateway.close(None)

    run(scenario())


def test_wrong_password_is_named_and_not_shown(
    by_password: Mosquitto | Nats, tmp_path: Path
) -> None:
    file = tmp_path / "password"
    file.write_text("hunter2", encoding="utf-8")
    error = refusal(password_spec(by_password, file))
    assert "user name or password" in error.reason
    assert "hunter2" not in str(error)


def test_unreadable_password_file_is_named(mosquitto: Mosquitto, tmp_path: Path) -> None:
    file = tmp_path / "nowhere"
    error = refusal(replace(spec_for(mosquitto, GATEWAY, "5"), password_file=str(file)))
    assert str(file) in error.reason
    assert "No such file" in error.reason


@pytest.mark.parametrize("key", ["ca", "certificate"])
@pytest.mark.parametrize("content", [None, "not a certificate"])
def test_unusable_tls_file_is_named(
    mosquitto: Mosquitto, tmp_path: Path, key: str, content: str | None
) -> None:
    file = tmp_path / "file.pem"
    if content is not None:
        file.write_text(content, encoding="utf-8")
    spec = spec_for(mosquitto, GATEWAY, "5")
    spec = replace(spec, ca=str(file)) if key == "ca" else replace(spec, certificate=str(file))
    error = refusal(spec)
    assert str(file) in error.reason
    assert f"`{key}`" in error.hint


def test_refused_port_is_named() -> None:
    error = refusal(UplinkSpec(id="x", host=HOST, port=free_port(), tls=False))
    assert "refuses connections" in error.reason
    assert "the port in `url`" in error.hint


def test_unusable_name_is_named() -> None:
    host = "x" * 70 + ".example"  # labels end at 63 characters, so no name server is asked
    error = refusal(UplinkSpec(id="x", host=host, port=1883, tls=False))
    assert host in error.reason


def test_unknown_name_is_named() -> None:
    spec = UplinkSpec(id="x", host="broker.example", port=8883)
    error = explained(socket.gaierror(socket.EAI_NONAME, "Name or service not known"), spec)
    assert error.reason == "the name broker.example cannot be resolved"
    assert "DNS" in error.hint


def test_plain_port_is_named_when_tls_was_meant(tmp_path: Path, pki: Pki) -> None:
    with Mosquitto(tmp_path / "plain", None) as broker:
        error = refusal(UplinkSpec(id="x", host=HOST, port=broker.port, ca=str(pki.ca)))
    assert "during the TLS handshake" in error.reason
    assert "scheme and port in `url`" in error.hint


def test_tls_port_is_named_when_plain_was_meant(mosquitto: Mosquitto) -> None:
    error = refusal(UplinkSpec(id="x", host=HOST, port=mosquitto.port, tls=False))
    assert "mqtts:// in `url`" in error.hint


def test_unknown_interface_is_named(mosquitto: Mosquitto) -> None:
    error = refusal(replace(spec_for(mosquitto, GATEWAY, "5"), interface="nosuch0"))
    assert "nosuch0" in error.reason
    assert "`interface`" in error.hint


def test_interface_is_used(mosquitto: Mosquitto) -> None:
    async def scenario() -> None:
        gateway = await connect(replace(spec_for(mosquitto, GATEWAY, "5"), interface="lo"))
        await gateway.close(None)

    run(scenario())


def test_what_paho_stumbles_over_ends_the_attempt_and_not_the_gateway() -> None:
    """An error of any kind is this link's refusal, with its socket closed; others go on."""

    async def scenario(spec: UplinkSpec) -> None:
        with pytest.raises(UplinkError, match=r"cannot connect \(ValueError\): report this"):
            await PahoConnector().connect(
                spec,
                client_id=GATEWAY,
                will=Will("", b""),  # no topic
                subscriptions=(),
                on_message=unheard,
            )

    with socket.create_server((HOST, 0)) as server:
        run(scenario(UplinkSpec(id="x", host=HOST, port=server.getsockname()[1], tls=False)))


def test_silent_host_is_given_up_within_3_s() -> None:
    with socket.create_server((HOST, 0)) as server:
        spec = UplinkSpec(id="x", host=HOST, port=server.getsockname()[1], tls=False)
        began = time.monotonic()
        error = refusal(spec)
        assert 2.5 < time.monotonic() - began < 4
    assert "does not answer" in error.reason


def test_garbage_instead_of_mqtt_is_survived() -> None:
    async def scenario() -> None:
        async def serve(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(b"\x20\x02\x00\x00\x90\x00\x30\xff\xff\xff\xff\xff" + b"\x30\x01\x00" * 9)
            await writer.drain()
            writer.close()

        server = await asyncio.start_server(serve, HOST, 0)
        port = server.sockets[0].getsockname()[1]
        spec = UplinkSpec(id="x", host=HOST, port=port, tls=False, mqtt="3.1.1")
        with pytest.raises(UplinkError):
            await connect(spec)
        server.close()
        await server.wait_closed()

    run(scenario())


def test_wrong_clock_does_not_stop_the_connection(tmp_path: Path) -> None:
    """To a box that starts in the past every certificate comes from the future."""
    future = Pki(tmp_path / "pki", age=dt.timedelta(days=-10))
    file = tmp_path / "password"
    file.write_text(PASSWORD, encoding="utf-8")
    # Only our side of the check is under test: the broker's own probe would not trust it either.
    with socket.create_server((HOST, 0)) as server:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(future.server_certificate, future.server_key)
        first_bytes: list[bytes] = []

        def serve() -> None:
            plain, _ = server.accept()
            with plain, pytest.raises(OSError, match="ALERT"):
                context.wrap_socket(plain, server_side=True)
            plain, _ = server.accept()
            with context.wrap_socket(plain, server_side=True) as secured:
                first_bytes.append(secured.recv(1))

        thread = threading.Thread(target=serve)
        thread.start()
        spec = UplinkSpec(id="x", host=HOST, port=server.getsockname()[1], ca=str(future.ca))
        refusal(spec)
        thread.join()
    assert first_bytes == [b"\x10"]  # a CONNECT came through TLS


def said_at_a_door_with(issued: Pki, trusted: Path) -> str:
    """What the refusal says where a TLS server shows a certificate, and every handshake fails."""
    with socket.create_server((HOST, 0)) as server:
        server.settimeout(2)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(issued.server_certificate, issued.server_key)
        let_in: list[bool] = []

        def serve() -> None:
            with contextlib.suppress(TimeoutError):
                while True:
                    plain, _ = server.accept()
                    with plain, contextlib.suppress(OSError):
                        context.wrap_socket(plain, server_side=True).close()
                        let_in.append(True)

        thread = threading.Thread(target=serve)
        thread.start()
        spec = UplinkSpec(id="x", host=HOST, port=server.getsockname()[1], ca=str(trusted))
        error = refusal(spec)
        thread.join()
    assert not let_in
    return str(error)


def test_certificate_from_the_future_still_needs_our_authority(tmp_path: Path, pki: Pki) -> None:
    """A wrong clock opens no door to a stranger."""
    stranger = Pki(tmp_path / "stranger", age=dt.timedelta(days=-10))
    assert "must name the authority" in said_at_a_door_with(stranger, pki.ca)


# --- the supervisor over the network ------------------------------------------------------------


def test_uplink_connects_when_the_broker_comes_back(tmp_path: Path, pki: Pki) -> None:
    async def scenario() -> None:
        broker = Mosquitto(tmp_path / "late", pki, gateways=(GATEWAY,))
        story: list[str] = []
        uplink = Uplink(
            spec_for(broker, GATEWAY, "5"),
            PahoConnector(),
            client_id=GATEWAY,
            will=WILL,
            birth=BIRTH,
            goodbye=GOODBYE,
            subscriptions=(RECEIPTS,),
            clock=SystemClock(),
            random=random.Random(1),
            on_up=lambda _uplink: story.append("up"),
            on_down=lambda _uplink, why: story.append(why),
            on_message=lambda _uplink, _topic, _payload, _retained: None,
            urgent=lambda: True,
            log=lambda _text, _fields: None,
        )
        running = asyncio.create_task(uplink.run())
        await until(lambda: story)
        assert "refuses connections" in story[0]
        broker.start()
        await until(lambda: uplink.connected)
        broker.kill()
        await until(lambda: not uplink.connected, within_s=1)
        broker.start()
        await until(lambda: uplink.connected)
        assert [word for word in story if word == "up"] == ["up", "up"]
        await uplink.stop()
        await running
        broker.stop()

    run(scenario())


def test_attempt_can_be_cancelled_and_leaves_nothing_open(mosquitto: Mosquitto) -> None:
    """Whatever the moment; an open socket would fail this test as a ResourceWarning."""

    async def scenario() -> None:
        for turns in range(40):
            attempt = asyncio.create_task(connect(spec_for(mosquitto, GATEWAY, "5")))
            for _ in range(turns):
                await asyncio.sleep(0.0005)
            attempt.cancel()
            try:
                gateway = await attempt
            except asyncio.CancelledError:
                continue
            await gateway.close(None)
        await until(lambda: not any(t.name.startswith("dial-") for t in threading.enumerate()))

    run(scenario())


def test_line_that_is_ready_when_the_attempt_is_cancelled_is_closed() -> None:
    """The narrowest moment: the socket is delivered, the waiting task has not run yet."""

    async def scenario() -> None:
        with socket.create_server((HOST, 0)) as server:
            spec = UplinkSpec(id="race", host=HOST, port=server.getsockname()[1], tls=False)
            attempt = asyncio.ensure_future(Dialler().dial(spec, within_s=1))
            await asyncio.sleep(0)
            for thread in threading.enumerate():
                if thread.name == "dial-race":
                    thread.join()
            # Its delivery now stands in the loop's queue, and this right behind it.
            asyncio.get_running_loop().call_soon(attempt.cancel)
            with pytest.raises(asyncio.CancelledError):
                await attempt
            connection, _ = server.accept()
            with connection:
                connection.settimeout(1)
                assert connection.recv(1) == b""

    run(scenario())


def test_stuck_attempt_does_not_hold_up_the_exit() -> None:
    program = """
import asyncio, socket, threading
from gateway.core.premises import UplinkSpec
from gateway.uplink.dial import explained
from gateway.uplink.mqtt import PahoConnector
from gateway.uplink.uplink import UplinkError, Will

socket.getaddrinfo = lambda *_, **__: threading.Event().wait()

async def main():
    connector = PahoConnector()
    spec = UplinkSpec(id="x", host="stuck.example", port=1, tls=False)
    for _ in range(6):
        attempt = asyncio.ensure_future(connector.connect(
            spec, client_id="x", will=Will("t", b""), subscriptions=(), on_message=print))
        await asyncio.sleep(0)
        attempt.cancel()
        try:
            await attempt
        except asyncio.CancelledError:
            print("cancelled")
        except UplinkError as error:
            print(error.reason)

asyncio.run(main())
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=10, check=True
    )
    lines = done.stdout.splitlines()
    assert lines[:4] == ["cancelled"] * 4
    assert lines[4:] == ["4 earlier attempts still wait for the name stuck.example"] * 2
