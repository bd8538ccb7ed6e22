"""A centre over real brokers: it verifies, stores, answers, comes back, and can behave badly."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from gateway.core.model import AlarmState, Stream
from simulators.centre.client import AutoAnswer, Manner
from simulators.centre.core.words import FindingKind, Outcome
from simulators.centre.store import CentreStore
from simulators.network.brokers import Broker, Mosquitto, Nats
from simulators.network.pki import Pki
from tests.simulators.centre_rig import Centre, Wire, spec, wire
from tests.uplink_rigs import until
from tools.vector_parts import (
    GATEWAY,
    ROUTE,
    STARTS,
    Gateway,
    event_id,
    heartbeat,
    raised,
)


@pytest.fixture(params=[Mosquitto, Nats], ids=["mosquitto-5", "nats-3.1.1"])
def broker(request: pytest.FixtureRequest, tmp_path: Path, pki: Pki) -> Iterator[Broker]:
    kind: type[Broker] = request.param
    with kind(tmp_path / "broker", pki, gateways=(GATEWAY,), centres=(ROUTE,)) as running:
        yield running


@pytest.fixture
def box() -> Gateway:
    return Gateway(epoch=6, start=STARTS[6])


async def heard(gateway: Wire, state: AlarmState) -> None:
    """Wait until the gateway has been told that of the first alarm."""
    await until(lambda: state in gateway.said(event_id(1)))


async def stays(condition: Callable[[], object], *, for_s: float) -> None:
    """The condition holds during all of that time."""
    loop = asyncio.get_running_loop()
    end = loop.time() + for_s
    while loop.time() < end:
        assert condition()
        await asyncio.sleep(0.01)


# --- receive, store, answer -------------------------------------------------------------------


def test_centre_receipts_what_it_has_stored(broker: Broker, box: Gateway) -> None:
    async def story() -> None:
        async with Centre(broker) as centre, wire(broker) as gateway:
            log = box.seal("state.inventory", GATEWAY, second=9, stream=Stream.LOG)
            await gateway.send("alarm", *(raised(box, second).token for second in (1, 2, 3)))
            await gateway.send("log", log.token)
            await until(lambda: gateway.through() == 3 and gateway.through(Stream.LOG) == 1)
            assert [v.outcome for v in centre.seen.lines] == [Outcome.NEW] * 4
            assert [row.sequence for row in centre.store.rows()] == [1, 2, 3, 1]

    asyncio.run(story())


def test_centre_echoes_a_heartbeat(broker: Broker) -> None:
    async def story() -> None:
        async with Centre(broker), wire(broker) as gateway:
            await gateway.send("heartbeat", heartbeat(41))
            await until(lambda: [r.beat for r in gateway.receipts] == [41])

    asyncio.run(story())


def test_centre_answers_a_resend_like_the_first_sending(broker: Broker, box: Gateway) -> None:
    async def story() -> None:
        async with Centre(broker) as centre, wire(broker) as gateway:
            token = raised(box, 1).token
            await gateway.send("alarm", token)
            await until(lambda: len(gateway.receipts) == 1)
            await gateway.send("resend", token)
            await until(lambda: len(gateway.receipts) == 2)
            assert [verdict.copy for verdict in centre.seen.lines] == [False, True]
            assert len(list(centre.store.rows())) == 1

    asyncio.run(story())


def test_centre_answers_every_uplink_that_brought_a_copy(
    tmp_path: Path, pki: Pki, box: Gateway
) -> None:
    async def story(campus: Broker, lte: Broker) -> None:
        uplinks = (spec(campus), spec(lte, "lte"))
        async with Centre(campus, uplinks=uplinks) as centre, wire(campus) as a, wire(lte) as b:
            await until(lambda: len(centre.client.connected) == 2)
            token = raised(box, 1).token
            await a.send("alarm", token)
            await b.send("alarm", token)
            await until(lambda: (a.through(), b.through()) == (1, 1))
            assert sorted(v.outcome.value for v in centre.seen.lines) == ["copy", "new"]
            centre.client.acknowledge(event_id(1))
            await until(lambda: AlarmState.ACKNOWLEDGED in a.said(event_id(1)))
            await until(lambda: AlarmState.ACKNOWLEDGED in b.said(event_id(1)))

    rights: dict[str, Any] = {"gateways": (GATEWAY,), "centres": (ROUTE,)}
    with (
        Mosquitto(tmp_path / "campus", pki, **rights) as campus,
        Nats(tmp_path / "lte", pki, **rights) as lte,
    ):
        asyncio.run(story(campus, lte))


def test_centre_says_what_people_answered(broker: Broker, box: Gateway) -> None:
    async def story() -> None:
        async with Centre(broker) as centre, wire(broker) as gateway:
            await gateway.send("alarm", raised(box, 1).token)
            await until(centre.client.core.alarms)
            for say, state in (
                (centre.client.acknowledge, AlarmState.ACKNOWLEDGED),
                (centre.client.dispatch, AlarmState.DISPATCHED),
                (centre.client.close, AlarmState.CLOSED),
            ):
                assert say(event_id(1))
                await heard(gateway, state)
                assert not say(event_id(1))

    asyncio.run(story())


def test_centre_refuses_what_is_not_signed_and_goes_on(broker: Broker, box: Gateway) -> None:
    async def story() -> None:
        async with Centre(broker) as centre, wire(broker) as gateway:
            await gateway.send("alarm", b"", b"rubbish", heartbeat(1))
            await gateway.send("heartbeat", raised(Gateway(epoch=6, start=STARTS[6]), 1).token)
            await gateway.send("alarm", raised(box, 1).token)
            await until(lambda: gateway.through() == 1)
            assert len(centre.seen.refused) >= 3

    asyncio.run(story())


def test_centre_tells_presence_as_a_hint(broker: Broker) -> None:
    async def story() -> None:
        async with Centre(broker) as centre, wire(broker) as gateway:
            topic = f"qorgan/v1/{GATEWAY}/presence"
            for there in (b"true", b"false"):
                await gateway.client.publish(topic, b'{"present":' + there + b"}", qos=1)
            await until(lambda: centre.seen.present == [True, False])

    asyncio.run(story())


def test_centre_refuses_a_retained_heartbeat(broker: Broker) -> None:
    async def story() -> None:
        async with wire(broker) as gateway:
            await gateway.send("heartbeat", heartbeat(1), retain=True)
            async with Centre(broker) as centre:
                await until(lambda: centre.seen.refused)
                assert "retained" in centre.seen.refused[0]
                assert gateway.receipts == []

    asyncio.run(story())


# --- trouble ----------------------------------------------------------------------------------


def test_centre_comes_back_after_the_broker_was_killed(broker: Broker, box: Gateway) -> None:
    async def story() -> None:
        async with Centre(broker) as centre:
            async with wire(broker) as gateway:
                await gateway.send("alarm", raised(box, 1).token)
                await until(lambda: gateway.through() == 1)
            broker.kill()
            await until(lambda: not centre.client.connected)
            broker.start()
            await until(lambda: centre.client.connected, within_s=15)
            async with wire(broker) as gateway:
                await gateway.send("alarm", raised(box, 2).token)
                await until(lambda: gateway.through() == 2)

    asyncio.run(story())


def test_centre_restarted_knows_what_it_held(tmp_path: Path, broker: Broker, box: Gateway) -> None:
    async def story() -> None:
        token = raised(box, 1).token
        async with wire(broker) as gateway:
            async with Centre(broker, path=tmp_path / "centre.db") as first:
                await gateway.send("alarm", token)
                await until(first.client.core.alarms)
                first.client.acknowledge(event_id(1))
                await heard(gateway, AlarmState.ACKNOWLEDGED)
            gateway.receipts.clear()
            async with Centre(broker, path=tmp_path / "centre.db") as second:
                assert [alarm.id for alarm in second.client.core.alarms()] == [event_id(1)]
                await gateway.send("alarm", token)
                await until(lambda: gateway.receipts)
                assert gateway.said(event_id(1)) == [AlarmState.ACKNOWLEDGED]
                assert [verdict.outcome for verdict in second.seen.lines] == [Outcome.COPY]

    asyncio.run(story())


class SickStore(CentreStore):
    """A disk that refuses its first commits."""

    def __init__(self, *, failures: int) -> None:
        super().__init__(None, ROUTE)
        self.failures = failures

    def add(self, rows: Any, answers: Any = ()) -> None:
        if self.failures:
            self.failures -= 1
            raise sqlite3.OperationalError("disk I/O error")
        super().add(rows, answers)


def test_centre_with_a_sick_disk_shows_the_alarm_and_receipts_nothing(
    broker: Broker, box: Gateway
) -> None:
    async def story() -> None:
        store = SickStore(failures=1)
        async with Centre(broker, store=store) as centre, wire(broker) as gateway:
            token = raised(box, 1).token
            await gateway.send("alarm", token)
            await until(lambda: centre.seen.findings)
            assert centre.seen.findings[0].kind is FindingKind.STORE
            assert len(centre.seen.lines) == 1
            assert gateway.receipts == []
            await gateway.send("alarm", token)
            await until(lambda: gateway.through() == 1)

    asyncio.run(story())


# --- manners ----------------------------------------------------------------------------------


def test_deaf_centre_stores_and_says_nothing(broker: Broker, box: Gateway) -> None:
    async def story() -> None:
        async with Centre(broker, manner=Manner(deaf=True)) as centre, wire(broker) as gateway:
            token = raised(box, 1).token
            await gateway.send("alarm", token)
            await gateway.send("heartbeat", heartbeat(1))
            await until(lambda: centre.seen.stored)
            await stays(lambda: not gateway.receipts, for_s=0.2)
            centre.client.deaf(False)
            await gateway.send("alarm", token)
            await until(lambda: gateway.through() == 1)

    asyncio.run(story())


def test_slow_centre_answers_after_its_time(broker: Broker, box: Gateway) -> None:
    async def story() -> None:
        loop = asyncio.get_running_loop()
        async with Centre(broker, manner=Manner(slow_ms=300)), wire(broker) as gateway:
            began = loop.time()
            await gateway.send("alarm", raised(box, 1).token)
            await until(lambda: gateway.through() == 1)
            assert loop.time() - began >= 0.3

    asyncio.run(story())


def test_repeating_centre_says_everything_so_many_times(broker: Broker, box: Gateway) -> None:
    async def story() -> None:
        async with Centre(broker, manner=Manner(repeat=3)), wire(broker) as gateway:
            await gateway.send("alarm", raised(box, 1).token)
            await until(lambda: len(gateway.receipts) == 3)
            assert {receipt.through for receipt in gateway.receipts} == {1}

    asyncio.run(story())


def test_centre_that_answers_by_itself_acknowledges_and_closes(
    broker: Broker, box: Gateway
) -> None:
    async def story() -> None:
        manner = Manner(answer=AutoAnswer.CLOSE)
        async with Centre(broker, manner=manner) as centre, wire(broker) as gateway:
            await gateway.send("alarm", raised(box, 1).token)
            await heard(gateway, AlarmState.CLOSED)
            assert gateway.said(event_id(1)) == [
                AlarmState.RECEIVED,
                AlarmState.ACKNOWLEDGED,
                AlarmState.CLOSED,
            ]
            assert centre.client.core.alarms() == ()

    asyncio.run(story())
