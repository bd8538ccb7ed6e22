"""Out and back: receipts that settle and receipts that must not, two uplinks, heartbeats, backlog.

The whole daemon under virtual time; strangers publish straight into the broker.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from gateway.core.jws import SigningKey, TokenType, encode, seal
from gateway.core.message import receipt_payload
from gateway.core.model import AlarmState, Receipt, Stream
from gateway.core.premises import Input, Point, PointKind, Receipts
from gateway.uplink.link import UplinkError
from tests.school import (
    ALL,
    CASE,
    GATEWAY,
    SCHOOL,
    SECURITY,
    TWO_UPLINKS,
    US_PER_S,
    School,
    live,
    owed_after,
    with_routes,
)

SOON_US = 20_000
"""A few packets of the simulated broker, each 3 ms at most."""
STRANGER = SigningKey("security", bytes(32))

# --- receipts that settle nothing ---------------------------------------------------------------


def _good(school: School, **change: object) -> bytes:
    signer = school.keys["security"]
    return school.receipt(school.stream(), signer=signer, **change)


def _sealed(school: School, typ: TokenType) -> bytes:
    payload = receipt_payload(Receipt(GATEWAY, school.stream(), 99))
    return seal(typ, payload, school.keys["security"])


def _with_kid(school: School, kid: str) -> bytes:
    seed_of_nobody = SigningKey(kid, bytes(range(32)))
    return school.receipt(school.stream(), signer=seed_of_nobody)


def _flipped(token: bytes) -> bytes:
    at = token.index(b".") + 20
    return token[:at] + (b"A" if token[at : at + 1] != b"A" else b"B") + token[at + 1 :]


def _without(school: School, member: str) -> bytes:
    payload = receipt_payload(Receipt(GATEWAY, school.stream(), 99))
    del payload[member]
    return seal(TokenType.RECEIPT, payload, school.keys["security"])


FORGERIES: dict[str, tuple[str, Callable[[School], bytes]]] = {
    "stranger's key": (
        "the signature is not that key's",
        lambda s: s.receipt(s.stream(), signer=STRANGER),
    ),
    "unknown key": ("not believed here", lambda s: _with_kid(s, "nobody")),
    "another route's key": (
        "not believed here",
        lambda s: s.receipt(s.stream(), signer=s.keys["case"]),
    ),
    "another route's receipt under a shared key": (
        "another route",
        lambda s: _good(s, route="case"),
    ),
    "another gateway": ("another gateway", lambda s: _good(s, gateway="school-13-main")),
    "another ledger": ("another ledger", lambda s: _good(s, ledger="0badcafe")),
    "an epoch to come": ("has not begun", lambda s: _good(s, epoch=s.stream().epoch + 1)),
    "another start": ("another start", lambda s: _good(s, start="0badcafe")),
    "a flipped bit": ("signature", lambda s: _flipped(_good(s))),
    "a heartbeat": ("typ must be", lambda s: _sealed(s, TokenType.HEARTBEAT)),
    "a message": ("typ must be", lambda s: _sealed(s, TokenType.MESSAGE)),
    "a command": ("typ must be", lambda s: _sealed(s, TokenType.COMMAND)),
    "the gateway's own message": (
        "typ must be",
        lambda s: s.carried("alarm")[0].token,
    ),
    "no through": ("no through", lambda s: _without(s, "through")),
    "a negative through": ("through", lambda s: _good(s, through=-1)),
    "a through that is no number": ("through", lambda s: _good(s, through=True)),
    "a range backwards": ("also", lambda s: _good(s, also=[[9, 2]])),
    "a range of three": ("also", lambda s: _good(s, also=[[1, 2, 3]])),
    "an unknown state": ("alarms", lambda s: _good(s, alarms=[{"alarm": "x", "state": "eaten"}])),
    "an unknown member": ("unknown members", lambda s: _good(s, wish="unlock the door")),
    "a stream that is none": ("stream", lambda s: _good(s, stream="video")),
    "nothing": ("parts", lambda _: b""),
    "text": ("parts", lambda _: b"received, thank you"),
    "bytes": ("ASCII", lambda _: bytes(range(256))),
    "far too much": ("longer than", lambda _: b"A" * 5_000_000),
    "too many dots": ("parts", lambda _: b"." * 60_000),
    "a header too deep": (
        "not JSON",
        lambda _: encode(b"[" * 20_000).encode() + b".e30.AAAA",
    ),
}


@pytest.mark.parametrize("name", FORGERIES)
def test_receipt_that_is_not_the_centres_word_settles_nothing(tmp_path: Path, name: str) -> None:
    """Refused, logged once with why and what to do; then the true one settles."""
    why, forge = FORGERIES[name]

    async def scenario(school: School) -> None:
        await school.start()
        await school.clock.sleep(2)
        for centre in school.centres.values():
            centre.deaf = True
        await school.bench.press("reception", "clean", 300)
        await school.clock.sleep(0.5)
        for _ in range(3):
            school.whisper(forge(school))
        await school.clock.sleep(8)
        (line,) = school.lines("receipt refused")
        assert why in str(line.fields["why"])
        assert line.fields["do"]
        assert line.fields["route"] == "security"
        assert line.fields["uplink"] == "campus"
        assert not school.lines("state.alarm.received")
        assert len(school.carried("alarm")) >= 2
        school.whisper(_good(school))
        await school.clock.sleep(1)
        assert len(school.lines("state.alarm.received")) == 1
        school.centres["security"].deaf = False

    live(tmp_path, scenario)


def test_receipt_that_the_broker_had_retained_settles_nothing(tmp_path: Path) -> None:
    """It may be from another life: even the centre's own is refused when it lay at the broker."""

    async def scenario(school: School) -> None:
        await school.start()
        await school.clock.sleep(2)
        school.centres["security"].deaf = True
        await school.bench.press("reception", "clean", 300)
        await school.clock.sleep(0.5)
        token = _good(school)
        school.broker.cut(GATEWAY)
        school.whisper(token, retain=True)
        await school.clock.sleep(3)
        assert "retained" in str(school.lines("receipt refused")[0].fields["why"])
        assert not school.lines("state.alarm.received")

    live(tmp_path, scenario)


@pytest.mark.parametrize("leaf", ["alarm", "commands", "heartbeat", "receipts/more"])
def test_receipt_on_another_topic_settles_nothing(tmp_path: Path, leaf: str) -> None:
    """Only the route's receipts topic speaks for its centre."""

    async def scenario(school: School) -> None:
        await school.start()
        await school.clock.sleep(2)
        school.centres["security"].deaf = True
        await school.bench.press("reception", "clean", 300)
        await school.clock.sleep(0.5)
        token = _good(school)
        school.strangers["campus"].publish(f"qorgan/v1/{GATEWAY}/security/{leaf}", token)
        await school.clock.sleep(1)
        assert not school.lines("state.alarm.received")
        assert school.running

    live(tmp_path, scenario)


def test_forgeries_without_end_are_a_few_lines_and_delay_nothing(tmp_path: Path) -> None:
    """A flood of a hundred kinds for a minute: twenty lines in ten seconds, presses on time."""

    async def scenario(school: School) -> None:
        await school.start()
        await school.clock.sleep(2)
        for second in range(60):
            for kind in range(100):
                school.whisper(b"." * (3 + kind))
            if second == 30:
                await school.bench.press("reception", "clean", 300)
            await school.clock.sleep(1)

    school = live(tmp_path, scenario)
    assert 20 <= len(school.lines("receipt refused")) <= 20 * 7
    (alarm,) = school.heard("security", "alarm.panic.raised")
    assert school.arrived_us(alarm) - school.raised_us("reception") <= SOON_US


def test_receipt_for_numbers_never_given_harms_nothing(tmp_path: Path) -> None:
    """It settles what is owed now; what is given those numbers later is owed all the same."""

    async def scenario(school: School) -> None:
        await school.start()
        await school.clock.sleep(2)
        for centre in school.centres.values():
            centre.deaf = True
        beyond = [[5, 10**15], [10**15 + 2, 10**18]]
        school.whisper(
            school.receipt(
                school.stream(), through=10**12, signer=school.keys["security"], also=beyond
            )
        )
        await school.clock.sleep(1)
        await school.bench.press("reception", "clean", 300)
        await school.clock.sleep(7)
        assert not school.lines("state.alarm.received")
        assert len({s.at_us for s in school.carried("alarm")}) >= 2
        school.whisper(_good(school))
        await school.clock.sleep(1)
        assert len(school.lines("state.alarm.received")) == 1

    live(tmp_path, scenario)


def test_receipt_of_an_epoch_that_is_settled_is_no_news(tmp_path: Path) -> None:
    """A late copy from before the restart: nothing happens and nothing is complained of."""
    kept: list[bytes] = []

    async def scenario(school: School) -> None:
        await school.start()
        await school.clock.sleep(2)
        kept.append(_good(school))
        await school.stop()
        await school.start()
        await school.clock.sleep(2)
        school.whisper(kept[0])
        await school.clock.sleep(1)
        assert not school.lines("receipt refused")

    live(tmp_path, scenario)


# --- PUBACK ---------------------------------------------------------------------------------------

DUMB = replace(SECURITY, id="dumb", answers=False, receipts=Receipts.PUBACK)


def _copies(school: School, route: str) -> int:
    alarm = school.alarm("reception")
    return sum(sent.payload["id"] == alarm for sent in school.carried("alarm", route=route))


def test_puback_settles_only_where_it_is_agreed(tmp_path: Path) -> None:
    """Nobody answers: the dumb consumer is sent one copy, the other route one every 5 s."""

    async def scenario(school: School) -> None:
        for centre in school.centres.values():
            centre.deaf = True
        await school.start()
        await school.clock.sleep(2)
        await school.bench.press("reception", "clean", 300)
        await school.clock.sleep(21)

    school = live(tmp_path, scenario, premises=with_routes(SECURITY, DUMB))
    assert _copies(school, "dumb") == 1
    assert _copies(school, "security") >= 4
    assert {key.route for key, _ in owed_after(school)} == {"security"}
    assert not school.lines("fault.delivery.raised", route="dumb")


def test_puback_also_answers_for_the_path(tmp_path: Path) -> None:
    """No echo ever comes from a dumb consumer: its path is good while the broker is there."""

    async def scenario(school: School) -> None:
        school.centres["dumb"].deaf = True
        await school.start()
        await school.clock.sleep(60)
        assert not school.lines("fault.path.raised")
        school.broker.blackhole()
        await school.clock.sleep(20)
        assert len(school.lines("fault.path.raised", route="dumb")) == 1

    live(tmp_path, scenario, premises=with_routes(DUMB, CASE))


# --- two uplinks ------------------------------------------------------------------------------


def test_alarm_goes_out_on_every_uplink_at_once(tmp_path: Path) -> None:
    """The same bytes on both, at the same moment; the centre takes the second for a copy."""

    async def scenario(school: School) -> None:
        await school.start()
        await school.clock.sleep(5)
        await school.bench.press("reception", "clean", 300)
        await school.clock.sleep(10)

    school = live(tmp_path, scenario, premises=TWO_UPLINKS)
    alarm = school.alarm("reception")
    copies = [sent for sent in school.carried("alarm") if sent.payload["id"] == alarm]
    assert sorted(sent.uplink for sent in copies) == ["campus", "lte"]
    assert copies[0].token == copies[1].token
    assert max(sent.at_us for sent in copies) - school.raised_us("reception") <= SOON_US
    assert len(school.heard("security", "alarm.panic.raised")) == 1


def test_log_goes_out_on_the_first_good_uplink_only(tmp_path: Path) -> None:
    """The log stays off the second path until the first is gone, and comes back to it."""

    async def scenario(school: School) -> None:
        await school.start()
        await school.clock.sleep(5)
        assert {sent.uplink for sent in school.carried("log")} == {"campus"}
        before = len(school.carried("log"))
        school.brokers["campus"].down()
        await school.clock.sleep(1)
        await school.bench.press("reception", "stuck", 300)
        await school.clock.sleep(65)
        assert {sent.uplink for sent in school.carried("log")[before:]} == {"lte"}

    school = live(tmp_path, scenario, premises=TWO_UPLINKS)
    assert len(school.heard("security", "fault.stuck.raised")) == 1


def test_stalled_uplink_delays_nothing_on_the_other(tmp_path: Path) -> None:
    """Nothing passes on the first and nobody has said so: the alarm is there all the same."""

    async def scenario(school: School) -> None:
        await school.start()
        await school.clock.sleep(5)
        school.brokers["campus"].blackhole()
        await school.clock.sleep(0.2)
        await school.bench.press("reception", "clean", 300)
        await school.clock.sleep(3)

    school = live(tmp_path, scenario, premises=TWO_UPLINKS)
    for route in ("security", "case"):
        (alarm,) = school.heard(route, "alarm.panic.raised")
        assert alarm.uplink == "lte"
        assert school.arrived_us(alarm) - school.raised_us("reception") <= SOON_US
    (received,) = school.lines("state.alarm.received")
    assert received.at_us - school.raised_us("reception") <= SOON_US


def test_primary_cut_in_mid_alarm_costs_less_than_a_second(tmp_path: Path) -> None:
    """The connection dies between the first packet and the receipt: the other path delivers."""

    async def scenario(school: School) -> None:
        await school.start()
        await school.clock.sleep(5)
        pressed_us = school.clock.now_us()
        school.clock.call_at(pressed_us + 9_000, school.brokers["campus"].down)
        await school.bench.press("reception", "clean", 300)
        await school.clock.sleep(3)

    school = live(tmp_path, scenario, premises=TWO_UPLINKS)
    (alarm,) = school.heard("security", "alarm.panic.raised")
    assert school.arrived_us(alarm) - school.raised_us("reception") <= US_PER_S


def test_refused_uplink_says_what_to_do_and_the_other_goes_on(tmp_path: Path) -> None:
    """The hint of the connector stands in the log, once; the alarm takes the other way."""

    async def scenario(school: School) -> None:
        refusal = UplinkError("the broker refuses us", "ask for this gateway's rights")
        school.brokers["campus"].refuse_connects(refusal)
        await school.start()
        await school.clock.sleep(30)
        await school.bench.press("reception", "clean", 300)
        await school.clock.sleep(1)

    school = live(tmp_path, scenario, premises=TWO_UPLINKS)
    (line,) = school.lines("uplink down", uplink="campus")
    assert line.fields["hint"] == "ask for this gateway's rights"
    assert len(school.heard("security", "alarm.panic.raised")) == 1


def test_every_connection_begins_with_a_heartbeat(tmp_path: Path) -> None:
    """Before any backlog, on each route, at every connection of a link that often breaks."""

    async def scenario(school: School) -> None:
        for centre in school.centres.values():
            centre.deaf = True
        await school.start()
        await school.clock.sleep(11)
        await school.bench.press("reception", "clean", 300)
        for _ in range(5):
            school.broker.cut(GATEWAY)
            await school.clock.sleep(11)

    school = live(tmp_path, scenario)
    ups = [line.at_us for line in school.lines("uplink up")]
    assert len(ups) == 6
    for begun_us in ups:
        for route in ("security", "case"):
            mine = [s for s in school.sent if s.at_us >= begun_us and s.route == route]
            up = [s.leaf for s in mine if s.leaf in {"alarm", "log", "heartbeat"}]
            assert up[0] == "heartbeat"


def test_heartbeat_is_every_five_seconds_in_use_and_a_minute_on_standby(tmp_path: Path) -> None:
    """What the megabytes a month that `check` prints are reckoned from."""

    async def scenario(school: School) -> None:
        await school.start()
        await school.clock.sleep(181)

    school = live(tmp_path, scenario, premises=TWO_UPLINKS)
    in_use = len(school.carried("heartbeat", uplink="campus"))
    standby = len(school.carried("heartbeat", uplink="lte"))
    assert 36 <= in_use <= 38
    assert standby == 4


# --- backlog ----------------------------------------------------------------------------------

MAINS = Point("mains", PointKind.MAINS, Input(None, "gpio:18"), prove_within_ms=None)
POWERED = replace(SCHOOL, points=(*SCHOOL.points, MAINS), routes=(replace(CASE, sends=ALL),))


@pytest.fixture
def memory_path() -> Iterator[Path]:
    """A folder without a disk under it where there is one: thousands of syncs are not the point."""
    shared = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=shared if shared.is_dir() else None) as folder:
        yield Path(folder)


def test_new_alarm_overtakes_a_backlog_of_two_thousand(memory_path: Path) -> None:
    """The backlog comes whole, once and in order; the alarm pressed meanwhile waits for none."""

    async def scenario(school: School) -> None:
        await school.start()
        await school.clock.sleep(2)
        school.broker.down()
        while len(school.lines("fault.mains.cleared")) < 1_000:
            await school.bench.press("mains", "clean", 50)
            await school.clock.sleep(0.25)
            assert school.clock.now_us() < 600 * US_PER_S
        await school.stop()
        await school.start()  # what was in memory is forgotten: the backlog comes from the disk
        school.broker.up()
        while len(school.heard("case", "fault.mains")) < 500:
            await school.clock.sleep(0.005)
            assert school.clock.now_us() < 660 * US_PER_S
        await school.bench.press("reception", "clean", 300)
        await school.clock.sleep(20)

    school = live(memory_path, scenario, premises=POWERED)
    mains = school.heard("case", "fault.mains")
    assert len(mains) == 2_000
    numbers = [verdict.message.sequence for verdict in mains if verdict.message is not None]
    assert numbers == sorted(numbers)
    (alarm,) = school.heard("case", "alarm.panic.raised")
    assert school.arrived_us(alarm) - school.raised_us("reception") <= SOON_US
    assert alarm.at_ms < mains[-1].at_ms
    assert not list(owed_after(school))


def test_copies_are_the_same_bytes(tmp_path: Path) -> None:
    """Offered again and again, over reconnections and a restart: one number, one token."""

    async def scenario(school: School) -> None:
        school.centres["security"].deaf = True
        await school.start()
        await school.clock.sleep(1)
        await school.bench.press("reception", "clean", 300)
        await school.clock.sleep(12)
        school.broker.cut(GATEWAY)
        await school.clock.sleep(12)
        await school.stop()
        await school.start()
        await school.clock.sleep(12)

    school = live(tmp_path, scenario)
    alarm = school.alarm("reception")
    copies = [s.token for s in school.carried("alarm") if s.payload["id"] == alarm]
    assert len(copies) >= 6
    assert len(set(copies)) == 1


def test_routes_never_wait_for_each_other(tmp_path: Path) -> None:
    """One route's centre is deaf and its debts pile up: the other is served within a moment."""

    async def scenario(school: School) -> None:
        school.centres["security"].deaf = True
        await school.start()
        for _ in range(20):
            await school.clock.sleep(31)
            await school.bench.press("reception", "clean", 100)

    school = live(tmp_path, scenario)
    delays = [
        school.arrived_us(verdict) - verdict.message.clock.monotonic_ms * 1_000
        for verdict in school.heard("case", "alarm.panic.raised")
        if verdict.message is not None
    ]
    assert len(delays) == 20
    assert max(delays) <= SOON_US


def test_answers_count_only_from_a_route_that_may_answer(tmp_path: Path) -> None:
    """The case system says `closed`: the alarm stays open; security says so: it ends."""

    async def scenario(school: School) -> None:
        await school.start()
        await school.clock.sleep(1)
        await school.bench.press("reception", "clean", 300)
        await school.clock.sleep(1)
        alarm = school.alarm("reception")
        school.centres["case"].say(alarm, AlarmState.CLOSED)
        await school.clock.sleep(1)
        assert not school.lines("state.alarm.closed")
        assert alarm in school.last_beat().open or not school.lines("alarm.panic.cleared")
        school.centres["security"].say(alarm, AlarmState.CLOSED)
        await school.clock.sleep(1)
        assert len(school.lines("alarm.panic.cleared")) == 1

    live(tmp_path, scenario)


def test_heads_name_the_last_numbers_given(tmp_path: Path) -> None:
    """So that a centre sees that the very last message is missing."""

    async def scenario(school: School) -> None:
        await school.start()
        await school.clock.sleep(1)
        await school.bench.press("reception", "clean", 300)
        await school.clock.sleep(6)

    school = live(tmp_path, scenario)
    beat = school.last_beat()
    last = max(sent.payload["sequence"] for sent in school.carried("alarm"))
    assert beat.heads[Stream.ALARM] == last
    assert beat.open == (school.alarm("reception"),)
