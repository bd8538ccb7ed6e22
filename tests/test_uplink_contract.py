"""One contract for every way to connect: each real broker and the one in process keep the same."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest

from gateway.uplink.uplink import Ack
from simulators.network.pki import Pki
from tests.uplink_rigs import (
    ALARM,
    BASE,
    BIRTH,
    GOODBYE,
    PRESENCE,
    RECEIPTS,
    RIGS,
    WILL,
    Acks,
    Ear,
    rig,
    run,
    until,
)

AT_ONCE_S = 3.0
"""Under the keepalive of 4 s: what is known by then was noticed, not waited for."""

pytestmark = pytest.mark.parametrize("kind", RIGS)


def test_publish_is_acknowledged_and_heard(kind: str, tmp_path: Path, pki: Pki) -> None:
    async def scenario() -> None:
        async with rig(kind, tmp_path, pki) as r:
            ear, acks = Ear(), Acks()
            centre, gateway = await r.centre(ear), await r.gateway()
            gateway.publish(ALARM, b"one", qos=1, on_ack=acks)
            assert gateway.unacknowledged == 1
            await until(lambda: acks.got and ear.heard)
            assert acks.got == [(Ack.ACCEPTED, "")]
            assert ear.heard == [(ALARM, b"one", False)]
            assert gateway.unacknowledged == 0
            await gateway.close(None)
            await centre.close(None)

    run(scenario())


def test_qos_0_is_accepted_once_handed_over(kind: str, tmp_path: Path, pki: Pki) -> None:
    async def scenario() -> None:
        async with rig(kind, tmp_path, pki) as r:
            ear, acks = Ear(), Acks()
            centre, gateway = await r.centre(ear), await r.gateway()
            gateway.publish(ALARM, b"beat", qos=0, on_ack=acks)
            await until(lambda: acks.got and ear.heard)
            assert acks.words == [Ack.ACCEPTED]
            assert ear.payloads(ALARM) == [b"beat"]
            await gateway.close(None)
            await centre.close(None)

    run(scenario())


def test_on_ack_never_runs_inside_publish(kind: str, tmp_path: Path, pki: Pki) -> None:
    async def scenario() -> None:
        async with rig(kind, tmp_path, pki) as r:
            acks, gateway = Acks(), await r.gateway()
            gateway.publish(ALARM, b"0", qos=0, on_ack=acks)
            gateway.publish(ALARM, b"1", qos=1, on_ack=acks)
            assert acks.got == []
            await gateway.close(None)
            await until(lambda: len(acks.got) == 2)
            gateway.publish(ALARM, b"2", qos=1, on_ack=acks)
            assert len(acks.got) == 2
            await until(lambda: len(acks.got) == 3)
            assert acks.words[-1] is Ack.LOST

    run(scenario())


def test_order_holds_over_a_burst(kind: str, tmp_path: Path, pki: Pki) -> None:
    async def scenario() -> None:
        async with rig(kind, tmp_path, pki) as r:
            ear, acks = Ear(), Acks()
            centre, gateway = await r.centre(ear), await r.gateway()
            sent = [b"%d" % number for number in range(300)]
            for payload in sent:
                gateway.publish(ALARM, payload, qos=1, on_ack=acks)
            await until(lambda: len(acks.got) == 300 and len(ear.heard) == 300, within_s=20)
            assert ear.payloads(ALARM) == sent
            assert set(acks.words) == {Ack.ACCEPTED}
            await gateway.close(None)
            await centre.close(None)

    run(scenario())


def test_gateway_hears_its_down_topics(kind: str, tmp_path: Path, pki: Pki) -> None:
    async def scenario() -> None:
        async with rig(kind, tmp_path, pki) as r:
            ear = Ear()
            centre, gateway = await r.centre(), await r.gateway(ear)
            centre.publish(RECEIPTS, b"held", qos=1)
            await until(lambda: ear.heard)
            assert ear.heard == [(RECEIPTS, b"held", False)]
            await gateway.close(None)
            await centre.close(None)

    run(scenario())


def test_retained_message_is_marked_for_a_late_subscriber(
    kind: str, tmp_path: Path, pki: Pki
) -> None:
    async def scenario() -> None:
        async with rig(kind, tmp_path, pki) as r:
            acks, ear = Acks(), Ear()
            gateway = await r.gateway()
            gateway.publish(PRESENCE, BIRTH.payload, qos=1, retain=True, on_ack=acks)
            await until(lambda: acks.got)
            centre = await r.centre(ear)
            await until(lambda: ear.heard)
            assert ear.heard == [(PRESENCE, b"here", True)]
            await gateway.close(None)
            await centre.close(None)

    run(scenario())


def test_cut_path_is_noticed_at_once_and_the_will_published(
    kind: str, tmp_path: Path, pki: Pki
) -> None:
    async def scenario() -> None:
        async with rig(kind, tmp_path, pki) as r:
            ear = Ear()
            centre, gateway = await r.centre(ear), await r.gateway()
            r.cut()
            assert await asyncio.wait_for(gateway.lost, AT_ONCE_S)
            await until(lambda: ear.heard)
            assert ear.heard == [(PRESENCE, WILL.payload, False)]
            await centre.close(None)

    run(scenario())


def test_goodbye_replaces_the_will(kind: str, tmp_path: Path, pki: Pki) -> None:
    async def scenario() -> None:
        async with rig(kind, tmp_path, pki) as r:
            ear, late = Ear(), Ear()
            centre, gateway = await r.centre(ear), await r.gateway()
            began = time.monotonic()
            await gateway.close(GOODBYE)
            assert time.monotonic() - began < 1.5
            assert gateway.lost.done()
            # A second connection of that id would bring the will out if the broker still held it.
            again = await r.gateway()
            await again.close(None)
            await until(lambda: ear.heard)
            other = await r.centre(late)
            await until(lambda: late.heard)
            assert ear.payloads(PRESENCE) == [GOODBYE.payload]
            assert late.heard == [(PRESENCE, GOODBYE.payload, True)]
            await other.close(None)
            await centre.close(None)

    run(scenario())


def test_dead_broker_answers_what_is_pending_lost(kind: str, tmp_path: Path, pki: Pki) -> None:
    async def scenario() -> None:
        async with rig(kind, tmp_path, pki) as r:
            acks, gateway = Acks(), await r.gateway()
            r.kill()
            gateway.publish(ALARM, b"a", qos=1, on_ack=acks)
            gateway.publish(ALARM, b"b", qos=1, on_ack=acks)
            await until(lambda: len(acks.got) == 2, within_s=AT_ONCE_S)
            assert acks.words == [Ack.LOST, Ack.LOST]
            assert all(why for _, why in acks.got)
            assert gateway.lost.done()
            assert gateway.unacknowledged == 0
            gateway.publish(ALARM, b"c", qos=1, on_ack=acks)
            await until(lambda: len(acks.got) == 3, within_s=AT_ONCE_S)
            assert acks.words[-1] is Ack.LOST
            await gateway.close(GOODBYE)

    run(scenario())


def test_same_client_id_takes_the_connection_over(kind: str, tmp_path: Path, pki: Pki) -> None:
    async def scenario() -> None:
        async with rig(kind, tmp_path, pki) as r:
            older = await r.gateway()
            newer = await r.gateway()
            assert await asyncio.wait_for(older.lost, AT_ONCE_S)
            acks = Acks()
            newer.publish(ALARM, b"still here", qos=1, on_ack=acks)
            await until(lambda: acks.got)
            assert acks.words != [Ack.LOST]
            await newer.close(None)

    run(scenario())


def test_several_subscriptions_are_all_heard(kind: str, tmp_path: Path, pki: Pki) -> None:
    async def scenario() -> None:
        async with rig(kind, tmp_path, pki) as r:
            ear = Ear()
            commands = f"{BASE}/security/commands"
            gateway = await r.gateway(ear, subscriptions=(RECEIPTS, commands))
            centre = await r.centre()
            centre.publish(RECEIPTS, b"r", qos=1)
            centre.publish(commands, b"c", qos=1)
            await until(lambda: len(ear.heard) == 2)
            # Order holds within a topic only: nats serves each subscription by itself.
            assert sorted(ear.heard) == [(commands, b"c", False), (RECEIPTS, b"r", False)]
            await gateway.close(None)
            await centre.close(None)

    run(scenario())
