"""The in-process broker: topic matching, order, and its faults one by one."""

from __future__ import annotations

import asyncio
import random

import pytest

from gateway.core.premises import UplinkSpec
from gateway.uplink.uplink import Ack, Connection, UplinkError
from simulators.network.wire import WireBroker, WireNetwork
from simulators.network.wire_link import matches
from tests.uplink_rigs import (
    ALARM,
    GATEWAY,
    PRESENCE,
    RECEIPTS,
    WILL,
    Acks,
    Ear,
    FakeClock,
    run,
    settled,
    unheard,
)


@pytest.mark.parametrize(
    ("topic_filter", "topic", "wanted"),
    [
        ("a/b", "a/b", True),
        ("a/b", "a/b/c", False),
        ("a/b/c", "a/b", False),
        ("a/+/c", "a/b/c", True),
        ("a/+", "a/b/c", False),
        ("a/+", "a", False),
        ("a/#", "a/b/c", True),
        ("a/#", "a", True),
        ("#", "a/b", True),
        ("+/b", "/b", True),
        ("a/#", "ab", False),
    ],
)
def test_topic_filter_matches_as_mqtt_says(topic_filter: str, topic: str, *, wanted: bool) -> None:
    assert matches(topic_filter, topic) is wanted


class Bench:
    """A broker, a gateway's connection and a centre, under a clock moved by hand."""

    def __init__(self, *, mqtt: str = "5", seed: int = 1) -> None:
        self.clock = FakeClock()
        self.broker = WireBroker(
            clock=self.clock, random=random.Random(seed), latency_ms=(1.0, 50.0)
        )
        self.spec = UplinkSpec(id="campus", host="wire", port=1, mqtt=mqtt)
        self.ear, self.acks, self.receipts = Ear(), Acks(), Ear()
        self.far = self.broker.client(
            "security", subscriptions=(ALARM, PRESENCE), on_message=self.ear
        )

    async def gateway(self) -> Connection:
        attempt = asyncio.ensure_future(
            self.broker.connect(
                self.spec,
                client_id=GATEWAY,
                will=WILL,
                subscriptions=(RECEIPTS,),
                on_message=self.receipts,
            )
        )
        await self.clock.advance(1)
        return await attempt


def test_connection_keeps_order_whatever_the_delays() -> None:
    async def scenario() -> None:
        bench = Bench()
        gateway = await bench.gateway()
        sent = [b"%d" % number for number in range(100)]
        for payload in sent:
            gateway.publish(ALARM, payload, qos=1, on_ack=bench.acks)
        await bench.clock.advance(1)
        assert bench.ear.payloads(ALARM) == sent
        assert bench.acks.words == [Ack.ACCEPTED] * 100

    run(scenario())


def test_nothing_arrives_before_its_delay() -> None:
    async def scenario() -> None:
        bench = Bench()
        gateway = await bench.gateway()
        gateway.publish(ALARM, b"a", qos=1)
        await bench.clock.advance(0.0009)
        assert bench.ear.heard == []
        await bench.clock.advance(0.1)
        assert bench.ear.heard == [(ALARM, b"a", False)]

    run(scenario())


def test_publish_nobody_hears_is_told_to_mqtt_5_only() -> None:
    async def scenario() -> None:
        for mqtt, wanted in (("5", Ack.NOBODY), ("3.1.1", Ack.ACCEPTED)):
            bench = Bench(mqtt=mqtt)
            gateway = await bench.gateway()
            gateway.publish("qorgan/v1/gw-1/case/alarm", b"", qos=1, on_ack=bench.acks)
            await bench.clock.advance(1)
            assert bench.acks.words == [wanted]

    run(scenario())


def test_refused_topic_is_told_to_mqtt_5_only_and_reaches_nobody() -> None:
    async def scenario() -> None:
        for mqtt, wanted in (("5", Ack.REFUSED), ("3.1.1", Ack.ACCEPTED)):
            bench = Bench(mqtt=mqtt)
            gateway = await bench.gateway()
            bench.broker.refuse("qorgan/v1/+/security/alarm")
            gateway.publish(ALARM, b"a", qos=1, on_ack=bench.acks)
            await bench.clock.advance(1)
            assert bench.acks.words == [wanted]
            assert bench.ear.heard == []
            bench.broker.behave()
            gateway.publish(ALARM, b"b", qos=1, on_ack=bench.acks)
            await bench.clock.advance(1)
            assert bench.ear.payloads(ALARM) == [b"b"]

    run(scenario())


def test_forgetful_broker_accepts_and_delivers_nothing() -> None:
    async def scenario() -> None:
        bench = Bench()
        gateway = await bench.gateway()
        bench.broker.accept_and_forget("#")
        gateway.publish(ALARM, b"a", qos=1, on_ack=bench.acks)
        await bench.clock.advance(1)
        assert bench.acks.words == [Ack.ACCEPTED]
        assert bench.ear.heard == []

    run(scenario())


def test_duplicating_broker_delivers_twice() -> None:
    async def scenario() -> None:
        bench = Bench()
        gateway = await bench.gateway()
        bench.broker.duplicate(ALARM)
        gateway.publish(ALARM, b"a", qos=1, on_ack=bench.acks)
        await bench.clock.advance(1)
        assert bench.ear.payloads(ALARM) == [b"a", b"a"]
        assert bench.acks.words == [Ack.ACCEPTED]

    run(scenario())


def test_stalled_connection_goes_on_after_resume() -> None:
    async def scenario() -> None:
        bench = Bench()
        gateway = await bench.gateway()
        bench.broker.stall(GATEWAY)
        gateway.publish(ALARM, b"a", qos=1, on_ack=bench.acks)
        await bench.clock.advance(5)
        assert (bench.ear.heard, bench.acks.got) == ([], [])
        bench.broker.resume(GATEWAY)
        await bench.clock.advance(10)
        assert bench.ear.payloads(ALARM) == [b"a"]
        assert bench.acks.words == [Ack.ACCEPTED]
        assert not gateway.lost.done()

    run(scenario())


def test_stalled_connection_is_given_up_by_both_keepalives() -> None:
    async def scenario() -> None:
        bench = Bench()
        gateway = await bench.gateway()
        gateway.publish(ALARM, b"a", qos=1, on_ack=bench.acks)
        bench.broker.stall(GATEWAY)
        await bench.clock.advance(5.9)
        assert bench.ear.heard == []
        await bench.clock.advance(0.2)
        assert bench.ear.heard == [(PRESENCE, WILL.payload, False)]
        await bench.clock.advance(1.8)
        assert not gateway.lost.done()
        await bench.clock.advance(0.2)
        assert gateway.lost.done()
        assert bench.acks.words == [Ack.LOST]

    run(scenario())


def test_blackholed_connect_takes_its_whole_limit() -> None:
    async def scenario() -> None:
        bench = Bench()
        bench.broker.blackhole()
        attempt = asyncio.ensure_future(
            bench.broker.connect(
                bench.spec, client_id="x", will=WILL, subscriptions=(), on_message=unheard
            )
        )
        await bench.clock.advance(2.99)
        assert not attempt.done()
        await bench.clock.advance(0.02)
        with pytest.raises(UplinkError, match="does not answer"):
            await attempt

    run(scenario())


def test_dead_broker_publishes_no_will_and_keeps_what_was_retained() -> None:
    async def scenario() -> None:
        bench = Bench()
        gateway = await bench.gateway()
        gateway.publish(PRESENCE, b"here", qos=1, retain=True)
        await bench.clock.advance(1)
        bench.broker.down()
        await bench.clock.advance(5)
        assert gateway.lost.done()
        bench.broker.up()
        await bench.clock.advance(1)
        assert bench.far.connected
        assert bench.ear.heard == [(PRESENCE, b"here", False), (PRESENCE, b"here", True)]

    run(scenario())


def test_empty_retained_payload_clears_the_topic() -> None:
    async def scenario() -> None:
        bench = Bench()
        late = Ear()
        bench.far.publish(PRESENCE, b"here", retain=True)
        bench.far.publish(PRESENCE, b"", retain=True)
        await bench.clock.advance(1)
        bench.broker.client("late", subscriptions=("#",), on_message=late)
        await bench.clock.advance(1)
        assert late.heard == []

    run(scenario())


def test_far_end_comes_back_after_a_cut_and_its_will_is_heard() -> None:
    async def scenario() -> None:
        bench = Bench()
        gateway = await bench.gateway()
        bench.broker.cut("security")
        assert not bench.far.connected
        await bench.clock.advance(1.1)
        gateway.publish(ALARM, b"a", qos=1, on_ack=bench.acks)
        await bench.clock.advance(1)
        assert bench.ear.payloads(ALARM) == [b"a"]
        bench.far.leave()
        await bench.clock.advance(5)
        assert bench.broker.clients == (GATEWAY,)

    run(scenario())


def test_far_end_is_told_when_its_publish_is_lost() -> None:
    async def scenario() -> None:
        bench = Bench()
        bench.broker.down()
        bench.far.publish(RECEIPTS, b"r", on_ack=bench.acks)
        await settled()
        assert bench.acks.words == [Ack.LOST]

    run(scenario())


def test_same_seed_gives_the_same_delays() -> None:
    async def arrivals(seed: int) -> list[int]:
        bench, seen = Bench(seed=seed), []
        gateway = await bench.gateway()
        for _ in range(20):
            gateway.publish(ALARM, b"a", qos=1, on_ack=lambda *_: seen.append(bench.clock.now_us()))
            await bench.clock.advance(0.2)
        return seen

    async def scenario() -> None:
        assert await arrivals(5) == await arrivals(5)
        assert await arrivals(5) != await arrivals(6)

    run(scenario())


def test_network_leads_each_uplink_to_its_own_broker() -> None:
    async def scenario() -> None:
        bench, other = Bench(), Bench()
        network = WireNetwork({"campus": bench.broker, "lte": other.broker})
        attempt = asyncio.ensure_future(
            network.connect(
                UplinkSpec(id="lte", host="wire", port=1),
                client_id=GATEWAY,
                will=WILL,
                subscriptions=(),
                on_message=unheard,
            )
        )
        await other.clock.advance(1)
        await attempt
        assert GATEWAY in other.broker.clients
        assert GATEWAY not in bench.broker.clients

    run(scenario())
