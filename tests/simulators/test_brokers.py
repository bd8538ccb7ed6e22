"""The brokers a test stands on: rights, restarts, and what nats-server wants of a certificate."""

from __future__ import annotations

import asyncio
import ssl
import stat
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.x509.oid import NameOID

from gateway.uplink.mqtt import PahoConnector
from gateway.uplink.uplink import Ack, Connection, UplinkError, Will
from simulators.network.brokers import Broker, Mosquitto, Nats, rights
from simulators.network.pki import Pki
from tests.uplink_rigs import GATEWAY, Acks, Ear, run, spec_for, unheard, until

KINDS = pytest.mark.parametrize("kind", [Mosquitto, Nats])


async def connect(
    broker: Broker, user: str, subscriptions: tuple[str, ...], ear: Ear | None = None
) -> Connection:
    return await PahoConnector().connect(
        spec_for(broker, user, "3.1.1"),
        client_id=f"{user}-test",
        will=Will("qorgan/v1/nobody/presence", b""),
        subscriptions=subscriptions,
        on_message=ear or unheard,
    )


def test_rights_keep_routes_apart() -> None:
    table = rights(["gw-1"], ["security", "case"])
    assert "qorgan/v1/gw-1/+/alarm" in table["gw-1"].publish
    assert table["gw-1"].subscribe == ("qorgan/v1/gw-1/+/receipts", "qorgan/v1/gw-1/+/commands")
    assert table["case"].subscribe == ("qorgan/v1/+/case/#", "qorgan/v1/+/presence")
    assert table["case"].publish == ("qorgan/v1/+/case/receipts", "qorgan/v1/+/case/commands")


@KINDS
def test_centre_hears_its_own_route_only(kind: type[Broker], tmp_path: Path, pki: Pki) -> None:
    async def scenario() -> None:
        with kind(tmp_path / "broker", pki, gateways=(GATEWAY,)) as broker:
            ear = Ear()
            centre = await connect(broker, "case", ("qorgan/v1/+/case/#",), ear)
            gateway = await connect(broker, GATEWAY, ())
            for route in ("security", "case"):
                gateway.publish(f"qorgan/v1/{GATEWAY}/{route}/alarm", route.encode(), qos=1)
            await until(lambda: ear.heard)
            gateway.publish(f"qorgan/v1/{GATEWAY}/case/log", b"last", qos=1)
            await until(lambda: len(ear.heard) >= 2)
            assert [payload for _, payload, _ in ear.heard] == [b"case", b"last"]
            await gateway.close(None)
            await centre.close(None)

    run(scenario())


def test_nats_refuses_a_centre_the_other_route(nats: Nats) -> None:
    async def scenario() -> None:
        with pytest.raises(UplinkError, match="does not let us hear"):
            await connect(nats, "case", ("qorgan/v1/+/security/#",))

    run(scenario())


@KINDS
def test_gateway_cannot_speak_for_another(kind: type[Broker], tmp_path: Path, pki: Pki) -> None:
    async def scenario() -> None:
        with kind(tmp_path / "broker", pki, gateways=(GATEWAY, "stranger")) as broker:
            ear = Ear()
            centre = await connect(broker, "security", ("qorgan/v1/+/security/#",), ear)
            false = await connect(broker, "stranger", ())
            false.publish(f"qorgan/v1/{GATEWAY}/security/alarm", b"false", qos=1)
            gateway = await connect(broker, GATEWAY, ())
            gateway.publish(f"qorgan/v1/{GATEWAY}/security/alarm", b"true", qos=1)
            await until(lambda: ear.heard)
            assert [payload for _, payload, _ in ear.heard] == [b"true"]
            for connection in (false, gateway, centre):
                await connection.close(None)

    run(scenario())


@KINDS
def test_restart_keeps_port_and_retained_messages(
    kind: type[Broker], tmp_path: Path, pki: Pki
) -> None:
    async def scenario() -> None:
        with kind(tmp_path / "broker", pki, gateways=(GATEWAY,)) as broker:
            port, acks, ear = broker.port, Acks(), Ear()
            gateway = await connect(broker, GATEWAY, ())
            topic = f"qorgan/v1/{GATEWAY}/presence"
            gateway.publish(topic, b"here", qos=1, retain=True, on_ack=acks)
            await until(lambda: acks.got)
            assert acks.words == [Ack.ACCEPTED]
            await gateway.close(None)
            broker.stop()
            assert not broker.running
            broker.start()
            assert broker.port == port
            centre = await connect(broker, "security", ("qorgan/v1/+/presence",), ear)
            await until(lambda: ear.heard)
            assert ear.heard == [(topic, b"here", True)]
            await centre.close(None)

    run(scenario())


@KINDS
def test_paused_broker_goes_on_after_resume(kind: type[Broker], tmp_path: Path, pki: Pki) -> None:
    async def scenario() -> None:
        with kind(tmp_path / "broker", pki, gateways=(GATEWAY,)) as broker:
            acks, gateway = Acks(), await connect(broker, GATEWAY, ())
            broker.pause()
            gateway.publish(f"qorgan/v1/{GATEWAY}/security/alarm", b"a", qos=1, on_ack=acks)
            with pytest.raises(UplinkError):
                await connect(broker, "security", ())
            assert acks.got == []
            broker.resume()
            await until(lambda: acks.got)
            assert acks.words == [Ack.ACCEPTED]
            await gateway.close(None)

    run(scenario())


@KINDS
def test_stop_ends_a_paused_broker(kind: type[Broker], tmp_path: Path, pki: Pki) -> None:
    with kind(tmp_path / "broker", pki) as broker:
        broker.pause()
        broker.stop()
        assert not broker.running
        with pytest.raises(RuntimeError, match="not running"):
            broker.resume()


def test_broker_that_cannot_start_says_why(tmp_path: Path, mosquitto: Mosquitto) -> None:
    second = Mosquitto(tmp_path / "second", None, port=mosquitto.port)
    with pytest.raises(RuntimeError, match="Address already in use"):
        second.start()


@KINDS
@pytest.mark.parametrize("secured", [True, False])
def test_broker_takes_passwords(
    kind: type[Broker], tmp_path: Path, pki: Pki, *, secured: bool
) -> None:
    passwords = {GATEWAY: "geheim"}
    given = pki if secured else None
    with kind(tmp_path / "broker", given, gateways=(GATEWAY,), passwords=passwords) as broker:
        assert broker.running


@KINDS
def test_broker_without_any_security_runs(kind: type[Broker], tmp_path: Path) -> None:
    with kind(tmp_path / "broker", None) as broker:
        assert broker.running


def test_client_file_holds_chain_and_key_for_its_owner_only(pki: Pki) -> None:
    path = pki.client("gw-7")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    ssl.create_default_context(cafile=pki.ca).load_cert_chain(path)
    certificate = x509.load_pem_x509_certificate(path.read_bytes())
    (name,) = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert name.value == "gw-7"
    assert names.get_values_for_type(x509.DNSName) == ["gw-7"]
    assert pki.client("gw-7") == path


def test_authority_key_is_nowhere_on_disk(tmp_path: Path) -> None:
    made = Pki(tmp_path, clients=("a",))
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "a.pem",
        "ca.pem",
        "server.crt",
        "server.key",
    ]
    assert b"PRIVATE" not in made.ca.read_bytes()


def test_brokers_start_side_by_side(mosquitto: Mosquitto, nats: Nats) -> None:
    async def scenario() -> None:
        one, two = await asyncio.gather(connect(mosquitto, GATEWAY, ()), connect(nats, GATEWAY, ()))
        await one.close(None)
        await two.close(None)

    run(scenario())
