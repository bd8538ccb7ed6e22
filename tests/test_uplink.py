"""The supervisor of one link, under a clock that only moves when told to."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.premises import UplinkSpec
from gateway.uplink.uplink import Ack, BackOff, Connection, OnMessage, Uplink, UplinkError, Will
from simulators.network.wire import WireBroker
from tests.uplink_rigs import (
    ALARM,
    BIRTH,
    GATEWAY,
    GOODBYE,
    PRESENCE,
    RECEIPTS,
    WILL,
    Acks,
    Ear,
    FakeClock,
    run,
    settled,
)

SPEC = UplinkSpec(id="campus", host="wire", port=1)
ATTEMPT_S = 0.1  # more than any handshake over the simulated wire takes


class Site:
    """One uplink to an in-process broker, with everything it tells written down."""

    def __init__(self, *, seed: int = 1) -> None:
        self.clock = FakeClock()
        self.broker = WireBroker(clock=self.clock, random=random.Random(seed))
        self.ear = Ear()
        self.story: list[str] = []
        self.lines: list[tuple[str, Mapping[str, object]]] = []
        self.attempts_s: list[float] = []
        self.on_up: Callable[[Uplink], None] = lambda _uplink: None
        self.urgent = False
        self.broker.client("security", subscriptions=("#",), on_message=self.ear)
        self.uplink = Uplink(
            SPEC,
            self,
            client_id=GATEWAY,
            will=WILL,
            birth=BIRTH,
            goodbye=GOODBYE,
            subscriptions=(RECEIPTS,),
            clock=self.clock,
            random=random.Random(seed),
            on_up=self._up,
            on_down=lambda _uplink, why: self.story.append(f"down: {why}"),
            on_message=lambda _uplink, _topic, payload, _: self.story.append(payload.decode()),
            urgent=lambda: self.urgent,
            log=lambda text, fields: self.lines.append((text, fields)),
        )

    def _up(self, uplink: Uplink) -> None:
        self.story.append("up")
        self.on_up(uplink)

    async def connect(
        self,
        spec: UplinkSpec,
        *,
        client_id: str,
        will: Will,
        subscriptions: Sequence[str],
        on_message: OnMessage,
    ) -> Connection:
        self.attempts_s.append(self.clock.now_us() / 1e6)
        return await self.broker.connect(
            spec,
            client_id=client_id,
            will=will,
            subscriptions=subscriptions,
            on_message=on_message,
        )

    @property
    def gaps_s(self) -> list[float]:
        """Seconds between the beginnings of attempts."""
        return [b - a for a, b in zip(self.attempts_s, self.attempts_s[1:], strict=False)]


def on_site(scenario: Callable[[Site], Coroutine[Any, Any, None]], *, seed: int = 1) -> Site:
    """Run the uplink beside the scenario, then stop it."""
    sites: list[Site] = []

    async def whole() -> None:
        site = Site(seed=seed)
        sites.append(site)
        running = asyncio.create_task(site.uplink.run())
        await scenario(site)
        stopping = asyncio.create_task(site.uplink.stop())
        await site.clock.advance(1.0)
        await stopping
        await running

    run(whole())
    return sites[0]


def test_uplink_publishes_its_birth_before_it_says_up() -> None:
    async def scenario(site: Site) -> None:
        site.on_up = lambda uplink: uplink.publish(ALARM, b"first", qos=1)
        await site.clock.advance(ATTEMPT_S)
        assert site.uplink.connected
        assert [payload for _, payload, _ in site.ear.heard] == [b"here", b"first"]

    on_site(scenario)


def test_uplink_comes_up_when_the_broker_returns() -> None:
    async def scenario(site: Site) -> None:
        site.broker.down()
        await site.clock.advance(90)
        assert site.story == ["down: wire:1 refuses connections: is it running?"]
        assert not site.uplink.connected
        assert site.uplink.why == "wire:1 refuses connections: is it running?"
        site.broker.up()
        await site.clock.advance(31)
        assert site.story[1:] == ["up"]
        assert site.uplink.connected

    on_site(scenario)


def test_change_of_health_is_logged_once_each_way() -> None:
    async def scenario(site: Site) -> None:
        await site.clock.advance(20)
        site.broker.down()
        await site.clock.advance(60)
        site.broker.up()
        await site.clock.advance(31)
        assert [text for text, _ in site.lines] == ["uplink up", "uplink down", "uplink up"]
        (_, first), (_, down), (_, again) = site.lines
        assert first["attempts"] == 1
        assert down["why"] == "the broker closed the connection"
        assert again["attempts"] == len(site.attempts_s) - 1
        assert isinstance(again["after_s"], float)
        assert 60 <= again["after_s"] <= 91

    on_site(scenario)


def test_first_retry_after_a_loss_is_at_once_while_an_alarm_is_owed() -> None:
    async def scenario(site: Site) -> None:
        site.urgent = True
        await site.clock.advance(20)
        site.broker.cut(GATEWAY)
        await site.clock.advance(0.2 + ATTEMPT_S)
        assert site.story == ["up", "down: the connection was reset", "up"]

    on_site(scenario)


def test_back_off_is_short_while_an_alarm_is_owed() -> None:
    async def scenario(site: Site) -> None:
        site.urgent = True
        site.broker.down()
        await site.clock.advance(60)
        assert len(site.gaps_s) > 60 / (0.5 + ATTEMPT_S)
        assert max(site.gaps_s) <= 0.5 + ATTEMPT_S

    on_site(scenario)


def test_back_off_grows_and_stays_within_30_s() -> None:
    async def scenario(site: Site) -> None:
        site.broker.down()
        await site.clock.advance(1_800)
        assert max(site.gaps_s) > 15
        assert max(site.gaps_s) <= 30 + ATTEMPT_S

    on_site(scenario)


def test_hurry_cuts_a_running_back_off_short() -> None:
    async def scenario(site: Site) -> None:
        site.broker.down()
        while len(site.attempts_s) < 8 or site.gaps_s[-1] < 5:
            await site.clock.advance(1)
        site.broker.up()
        await settled()
        before = len(site.attempts_s)
        site.urgent = True
        site.uplink.hurry()
        await site.clock.advance(0.5 + ATTEMPT_S)
        assert len(site.attempts_s) == before + 1
        assert site.uplink.connected

    on_site(scenario)


def test_hurry_again_and_again_does_not_put_the_attempt_off() -> None:
    async def scenario(site: Site) -> None:
        site.broker.down()
        await site.clock.advance(120)
        before = len(site.attempts_s)
        for _ in range(12):
            site.uplink.hurry()
            await site.clock.advance(0.05)
        assert len(site.attempts_s) > before

    on_site(scenario)


def test_flapping_connection_is_backed_off_like_a_failed_one() -> None:
    async def scenario(site: Site) -> None:
        site.on_up = lambda _uplink: site.broker.cut(GATEWAY)
        await site.clock.advance(600)
        assert len(site.attempts_s) < 60
        assert site.story.count("up") == sum(line.startswith("down") for line in site.story)

    on_site(scenario)


def test_publish_while_down_is_lost_and_not_kept() -> None:
    async def scenario(site: Site) -> None:
        site.broker.down()
        await site.clock.advance(1)
        acks = Acks()
        site.uplink.publish(ALARM, b"a", qos=1, on_ack=acks)
        assert acks.got == []
        await settled()
        assert acks.got == [(Ack.LOST, "the uplink is down")]
        site.broker.up()
        await site.clock.advance(60)
        assert site.uplink.connected
        assert site.ear.payloads(ALARM) == []

    on_site(scenario)


def test_pending_publishes_are_answered_before_on_down() -> None:
    async def scenario(site: Site) -> None:
        await site.clock.advance(1)
        site.uplink.publish(
            ALARM, b"a", qos=1, on_ack=lambda ack, _why: site.story.append(ack.value)
        )
        assert site.uplink.unacknowledged >= 1
        site.broker.down()
        await site.clock.advance(0.01)
        assert site.story == ["up", "lost", "down: the broker closed the connection"]

    on_site(scenario)


def test_silent_network_is_noticed_within_two_keepalives() -> None:
    async def scenario(site: Site) -> None:
        await site.clock.advance(20)
        site.broker.blackhole()
        await site.clock.advance(7.9)
        assert site.story == ["up"]
        await site.clock.advance(0.2)
        assert site.story == ["up", "down: no answer from the broker within the keepalive"]
        await site.clock.advance(60)
        site.broker.up()
        await site.clock.advance(34)
        assert site.story[2:] == ["up"]

    on_site(scenario)


def test_stop_says_goodbye_and_no_will() -> None:
    async def scenario(site: Site) -> None:
        await site.clock.advance(1)

    site = on_site(scenario)
    assert site.ear.payloads(PRESENCE) == [b"here", b"gone"]
    assert site.story == ["up"]
    assert site.broker.clients == ("security",)


def test_cancelled_uplink_says_goodbye_too() -> None:
    async def scenario() -> None:
        site = Site()
        running = asyncio.create_task(site.uplink.run())
        await site.clock.advance(1)
        running.cancel()
        await site.clock.advance(1)
        with pytest.raises(asyncio.CancelledError):
            await running
        assert site.ear.payloads(PRESENCE) == [b"here", b"gone"]

    run(scenario())


def test_stop_during_an_attempt_ends_at_once() -> None:
    async def scenario() -> None:
        site = Site()
        site.broker.blackhole()
        running = asyncio.create_task(site.uplink.run())
        await site.clock.advance(0.5)
        assert len(site.attempts_s) == 1
        await site.uplink.stop()
        await running
        assert site.story == []

    run(scenario())


def test_stop_during_a_back_off_ends_at_once() -> None:
    async def scenario() -> None:
        site = Site()
        site.broker.down()
        running = asyncio.create_task(site.uplink.run())
        await site.clock.advance(100)
        await site.uplink.stop()
        await running

    run(scenario())


def test_stop_before_run_keeps_it_from_starting() -> None:
    async def scenario() -> None:
        site = Site()
        await site.uplink.stop()
        await site.uplink.run()
        assert site.attempts_s == []

    run(scenario())


def test_refused_presence_is_logged() -> None:
    async def scenario(site: Site) -> None:
        site.broker.refuse(PRESENCE)
        await site.clock.advance(1)
        (fields,) = [fields for line, fields in site.lines if line == "uplink presence refused"]
        assert (fields["uplink"], fields["why"]) == ("campus", "Not authorized")
        assert "the right to publish" in str(fields["hint"])

    on_site(scenario)


def test_refused_connection_keeps_being_tried() -> None:
    async def scenario(site: Site) -> None:
        site.broker.refuse_connects(UplinkError("no", "ask"))
        await site.clock.advance(60)
        assert site.story == ["down: no: ask"]
        site.broker.behave()
        await site.clock.advance(31)
        assert site.uplink.connected

    on_site(scenario)


def test_messages_reach_the_owner() -> None:
    async def scenario(site: Site) -> None:
        far = site.broker.client("case")
        await site.clock.advance(1)
        far.publish(RECEIPTS, b"receipt")
        await site.clock.advance(1)
        assert site.story == ["up", "receipt"]

    on_site(scenario)


def test_same_seed_gives_the_same_run() -> None:
    async def scenario(site: Site) -> None:
        for _ in range(5):
            site.broker.down()
            await site.clock.advance(40)
            site.broker.up()
            await site.clock.advance(40)

    first, second, other = (on_site(scenario, seed=seed) for seed in (3, 3, 4))
    assert (first.attempts_s, first.lines) == (second.attempts_s, second.lines)
    assert first.attempts_s != other.attempts_s


@given(
    failures=st.integers(min_value=1, max_value=10**9),
    seed=st.integers(min_value=0),
    urgent=st.booleans(),
)
def test_back_off_keeps_its_bounds(failures: int, seed: int, urgent: bool) -> None:  # noqa: FBT001 - drawn by hypothesis
    delay_s = BackOff(random.Random(seed), lambda: urgent).delay_s(failures)
    longest_s = (0.2 if failures == 1 else 0.5) if urgent else 30.0
    assert 0.05 <= delay_s <= longest_s
    if not urgent:
        assert delay_s <= max(1.0, 0.5 * 2 ** min(failures - 1, 20))


def test_back_off_reaches_its_whole_range() -> None:
    back_off = BackOff(random.Random(1), lambda: False)
    delays_s = [back_off.delay_s(20) for _ in range(2_000)]
    assert min(delays_s) < 1
    assert max(delays_s) > 29
