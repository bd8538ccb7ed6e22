"""What a centre asks of a gateway: made from its heartbeat, typed by people, shown to them."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.commands import Judge, Order, read_command
from gateway.core.hardware import Door
from gateway.core.jws import TokenType, open_token
from gateway.core.model import AlarmState, Json
from gateway.core.premises import Input, LedgerSpec, Point, PointKind, Premises, Route, RouteKey
from gateway.core.verbs import Verb
from simulators.centre.core.orders import NotHeard, Ordered
from simulators.centre.core.words import Alarm
from simulators.centre.keyboard import Keyboard
from simulators.centre.telling import told
from simulators.centre.typed import Asked, Spoken, Unread, understood
from tests.simulators.desk import NOW_MS, Desk
from tests.uplink_rigs import until
from tools.vector_parts import BOOT, GATEWAY, KEYS, LEDGER, ROUTE, STARTS, heartbeat, raised
from tools.vector_parts import Gateway as Box

UPTIME_MS = 3_600_000
DOOR = {"door": "main-door"}
SCHOOL = Premises(
    id="school-12",
    name="",
    timezone="Asia/Almaty",
    gateway=GATEWAY,
    key_file="",
    ledger=LedgerSpec(""),
    points=(
        Point("main-door", PointKind.DOOR, Input(None, "gpio:1"), door=Door(remote_unlock=True)),
    ),
    uplinks=(),
    routes=(
        Route(
            ROUTE, ("campus",), (), (RouteKey("sec-2026", KEYS["security"].public.x, tuple(Verb)),)
        ),
    ),
)


def desk(*, beats: int = 1, arrival_ms: int = NOW_MS) -> Desk:
    """A centre that has heard so many heartbeats, the last at `arrival_ms`."""
    found = Desk()
    for number in range(1, beats + 1):
        token = heartbeat(number, monotonic_ms=UPTIME_MS + number)
        found.core.beat(GATEWAY, ROUTE, "campus", token, arrival_ms)
    return found


def ordered(
    found: Desk, verb: str = "door.unlock", at_ms: int = NOW_MS, name: str = "c"
) -> Ordered:
    orders = found.core.orders
    return orders.sealed(orders.draft(GATEWAY, verb, DOOR, name=name, at_ms=at_ms))


# --- made ---


def test_order_is_for_the_very_gateway_that_was_heard_and_signed_by_the_desk() -> None:
    order = ordered(desk())
    _, payload = open_token(
        order.token, typ=TokenType.COMMAND, keys={"sec-2026": KEYS["security"].public}
    )
    command = read_command(payload)
    assert (command.gateway, command.ledger, command.boot) == (GATEWAY, LEDGER, BOOT)
    assert order.topic == f"qorgan/v1/{GATEWAY}/{ROUTE}/commands"
    assert command == order.command


def test_order_before_the_first_heartbeat_is_not_made() -> None:
    assert not Desk().core.orders.knows(GATEWAY)
    with pytest.raises(NotHeard, match=f"{GATEWAY} has not been heard yet"):
        ordered(Desk())


@pytest.mark.parametrize("token", [b"noise", heartbeat(1)[:-2] + b"AA"])
def test_order_is_never_made_from_a_heartbeat_that_is_not_believed(token: bytes) -> None:
    found = Desk()
    found.core.beat(GATEWAY, ROUTE, "campus", token, NOW_MS)
    assert not found.core.orders.knows(GATEWAY)


def test_order_is_not_made_from_a_heartbeat_played_back() -> None:
    """An old one would bring an old boot's clock back."""
    found = desk()
    old = heartbeat(1, monotonic_ms=5, boot="0000beef")
    found.core.beat(GATEWAY, ROUTE, "campus", old, NOW_MS)
    assert ordered(found).command.boot == BOOT


def test_order_goes_by_the_quickest_heartbeat_of_its_boot() -> None:
    """A stalled link must not make the gateway's clock look slow: the expiry would be too early."""
    found = desk()
    late = heartbeat(2, monotonic_ms=UPTIME_MS + 5_000)
    found.core.beat(GATEWAY, ROUTE, "campus", late, NOW_MS + 5_000 + 9_000)
    soon = ordered(found, at_ms=NOW_MS + 14_000).command.not_after_ms
    assert UPTIME_MS + 14_000 + 9_000 <= soon <= UPTIME_MS + 14_000 + 10_000


@given(
    delay_ms=st.integers(0, 2_000),
    under_way_ms=st.integers(0, 3_000),
    offset_ms=st.integers(-1, 1),
    verb=st.sampled_from([Verb.DOOR_UNLOCK, Verb.DOOR_LOCK]),
)
def test_order_passes_the_gateways_own_judgement(
    delay_ms: int, under_way_ms: int, offset_ms: int, verb: Verb
) -> None:
    """Whatever heartbeat and order need on the way, clocks read in whole milliseconds."""
    found = desk(arrival_ms=NOW_MS + delay_ms)
    order = ordered(found, verb, at_ms=NOW_MS + delay_ms)
    judge = Judge(SCHOOL, ledger=LEDGER, boot=BOOT, started_ms=0)
    now_ms = UPTIME_MS + 1 + delay_ms + under_way_ms + offset_ms
    assert isinstance(judge.judge(ROUTE, order.token, now_ms=max(0, now_ms)), Order)


def test_resend_that_names_no_ledger_means_the_present_one() -> None:
    orders = desk().core.orders
    wanted: dict[str, Json] = {"stream": "log", "epoch": 6, "from": 1, "to": 4}
    draft = orders.draft(GATEWAY, "resend", wanted, name="c", at_ms=NOW_MS)
    assert draft.target == {"ledger": LEDGER, **wanted}
    elder = {**wanted, "ledger": "01d1ed9e"}
    assert orders.draft(GATEWAY, "resend", elder, name="c", at_ms=NOW_MS).target == elder


def test_counter_rises_and_a_centre_that_starts_again_repeats_none() -> None:
    first, at_ms = desk(), NOW_MS
    counters = [ordered(first, at_ms=at_ms + n // 3).command.counter for n in range(9)]
    assert counters == sorted(set(counters))
    again = ordered(desk(), at_ms=at_ms + 1_000).command.counter
    assert again > counters[-1]


def test_counter_goes_on_from_where_the_gateway_says() -> None:
    found = desk()
    orders = found.core.orders
    orders.refused({"counter_above": 2**52, "by": "sec-2026"})
    assert ordered(found).command.counter == 2**52 + 1


@pytest.mark.parametrize(
    "data",
    [
        {"counter_above": 2**52, "by": "another"},
        {"counter_above": "9", "by": "sec-2026"},
        {"counter_above": True, "by": "sec-2026"},
        {},
    ],
)
def test_counter_does_not_follow_what_is_not_meant_for_this_desk(data: dict[str, Any]) -> None:
    found = desk()
    found.core.orders.refused(data)
    assert ordered(found).command.counter == NOW_MS


def test_refusal_that_came_as_a_message_is_heeded() -> None:
    found = desk()
    box = Box(epoch=6, start=STARTS[6])
    data: dict[str, Json] = {"counter_above": 2**52, "by": "sec-2026", "why": "used"}
    found.take(box.seal("state.command.refused", GATEWAY, second=1, data=data).token)
    assert ordered(found).command.counter == 2**52 + 1


# --- typed ---


def alarms() -> tuple[Alarm, ...]:
    found, box = Desk(), Box(epoch=6, start=STARTS[6])
    for second in (1, 2):
        found.take(raised(box, second).token)
    return found.core.alarms()


def read(line: str) -> Spoken | Asked | None:
    known = alarms()
    return understood(line, known, lambda alarm: [a.id for a in known].index(alarm) + 1)


@pytest.mark.parametrize(
    ("line", "verb", "target"),
    [
        ("door.unlock main-door 5s", "door.unlock", {"door": "main-door", "for_ms": 5_000}),
        ("door.lock main-door", "door.lock", {"door": "main-door"}),
        ("lockdown.begin", "lockdown.begin", {}),
        ("lockdown.begin 2h", "lockdown.begin", {"for_ms": 7_200_000}),
        ("lockdown.begin a,b 1h", "lockdown.begin", {"doors": ["a", "b"], "for_ms": 3_600_000}),
        ("lockdown.end", "lockdown.end", {}),
        ("drill.begin fire 10m", "drill.begin", {"kind": "fire", "for_ms": 600_000}),
        ("isolate gym 1h", "isolate", {"point": "gym", "for_ms": 3_600_000}),
        ("isolate gym 0", "isolate", {"point": "gym", "for_ms": 0}),
        ("  walk-test   reception 2m ", "walk-test", {"point": "reception", "for_ms": 120_000}),
        ("resend log 6 1-400", "resend", {"stream": "log", "epoch": 6, "from": 1, "to": 400}),
        (
            "resend alarm 2 3-3 1ed9e4a0",
            "resend",
            {"stream": "alarm", "ledger": "1ed9e4a0", "epoch": 2, "from": 3, "to": 3},
        ),
    ],
)
def test_typed_command_is_understood(line: str, verb: str, target: dict[str, Json]) -> None:
    meant = read(line)
    assert isinstance(meant, Asked)
    assert (meant.verb, meant.target) == (verb, target)


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("door.unlock", "needs a name"),
        ("door.unlock main-door 5", "has no unit"),
        ("door.unlock main door", "takes one name"),
        ("lockdown.end now", "takes no name"),
        ("drill.begin fire", "needs a time"),
        ("acknowledge", "ALARM"),
        ("acknowledge library", "no open alarm library"),
        ("acknowledge 1 Aliya", "an operator is a number"),
        ("close 1 2 3", "ALARM"),
        ("resend", "EPOCH FROM-TO"),
        ("resend log 6 0-4", "EPOCH FROM-TO"),
        ("resend log 6 1-4 nowhere", "EPOCH FROM-TO"),
    ],
)
def test_typed_line_that_lacks_something_says_what(line: str, says: str) -> None:
    with pytest.raises(Unread, match=says):
        read(line)


@pytest.mark.parametrize("line", ["", "l", "a 1", "fly away", "\x00", "door.explode x"])
def test_typed_line_of_another_kind_is_left_to_others(line: str) -> None:
    assert read(line) is None


@pytest.mark.parametrize("name", ["1", "#1", "id"])
def test_answer_is_typed_by_number_or_id(name: str) -> None:
    first = alarms()[0].id
    said = read(f"dispatch {first if name == 'id' else name} 7")
    assert said == Spoken((first,), AlarmState.DISPATCHED, 7)


def test_answer_by_point_is_for_every_open_alarm_there() -> None:
    said = read("acknowledge reception")
    assert said == Spoken(tuple(a.id for a in alarms()), AlarmState.ACKNOWLEDGED, 1)


# --- shown ---


@pytest.mark.parametrize(
    ("kind", "data", "line"),
    [
        (
            "state.command.refused",
            {"verb": "door.unlock", "by": "desk-1", "why": "it expired", "accepts": "a later one"},
            "REFUSED: door.unlock (desk desk-1): it expired; would be accepted: a later one",
        ),
        (
            "state.command.refused",
            {"why": "the signature", "accepts": "a key", "more": 12},
            "REFUSED: command: the signature; would be accepted: a key; 12 more like it",
        ),
        (
            "state.command.done",
            {
                "verb": "resend",
                "by": "desk-1",
                "sent": 7,
                "gone": 2,
                "asked": {"stream": "log", "epoch": 6, "from": 1, "to": 9},
            },
            "done: resend log 6 1-9 (desk desk-1): 7 sent, 2 gone",
        ),
        (
            "state.command.accepted",
            {"verb": "resend", "asked": {"stream": "\x1b[2J"}},
            "accepted: resend \ufffd[2J ? ?-?",
        ),
        (
            "state.gone",
            {"stream": "log", "epoch": 6, "ranges": [[1, 3], [7, 7], 5]},
            "no longer held by the gateway: log stream, epoch 6: 1-3, 7",
        ),
        (
            "state.command.done",
            {"verb": "door.lock", "target": ["a"], "outcome": "confirmed", "again": True},
            "done again: door.lock a, read back",
        ),
        (
            "state.command.done",
            {"verb": "lockdown.begin", "outcome": "accepted", "left": ["a", "b"]},
            "done: lockdown.begin, not read back; NOT LOCKED by it: a, b",
        ),
        (
            "state.command.failed",
            {
                "verb": "door.lock",
                "target": ["a"],
                "why": "silent\x1b[2J",
                "local": True,
                "by": "d",
            },
            "FAILED: door.lock a (desk d, on the premises): silent\ufffd[2J",
        ),
        (
            "state.mode.begun",
            {"mode": "drill", "subject": "fire", "for_ms": 600_000, "by": "security/desk-1"},
            "MODE BEGUN: drill fire  for 10 min  by security/desk-1",
        ),
        (
            "state.mode.ended",
            {"mode": "lockdown", "by": "time", "doors": ["a"]},
            "MODE ENDED: lockdown  over a  by time",
        ),
        ("access.opened", {"by": "exit"}, "access.opened  main-door  by exit"),
        ("state.door.unlocked", {"for_ms": 5_000}, "state.door.unlocked  main-door  5 s"),
        ("state.inventory", {}, None),
    ],
)
def test_message_that_is_no_alarm_is_told_in_words(
    kind: str, data: Mapping[str, Any], line: str | None
) -> None:
    assert told(kind, "main-door", data) == line


@given(
    st.sampled_from(
        ["state.command.refused", "state.command.done", "state.mode.begun", "access.x"]
    ),
    st.dictionaries(
        st.sampled_from(["why", "by", "target", "for_ms", "left", "doors", "verb", "mode", "more"]),
        st.none() | st.booleans() | st.integers() | st.text() | st.lists(st.text()),
    ),
)
def test_telling_takes_whatever_a_gateway_says(kind: str, data: dict[str, Any]) -> None:
    line = told(kind, "x", data)
    assert line is not None
    assert line.isprintable()


# --- the keyboard ---


def typed(write: Callable[[int], None]) -> list[str]:
    """The lines that come of what is written into a pipe and ended."""
    lines: list[str] = []

    async def story() -> None:
        reader, writer = os.pipe()
        keyboard = Keyboard(reader, lines.append)
        write(writer)
        os.close(writer)
        await until(lambda: not keyboard.open)
        keyboard.stop()
        os.close(reader)

    asyncio.run(story())
    return lines


def test_keyboard_gives_whole_lines_and_the_rest_at_the_end() -> None:
    def write(pipe: int) -> None:
        for part in (b"door.un", b"lock a\nlockdown.", b"end\n\nl"):
            os.write(pipe, part)

    assert typed(write) == ["door.unlock a", "lockdown.end", "", "l"]


def test_keyboard_stops_at_the_end_of_the_input() -> None:
    assert typed(lambda _: None) == []


def test_keyboard_lets_an_endless_line_go() -> None:
    def write(pipe: int) -> None:
        os.write(pipe, b"x" * 20_000 + b"\nl\n")

    lines = typed(write)
    assert lines[-1] == "l"
    assert len(lines[0]) <= 8_192


def test_keyboard_reads_a_plain_file_and_no_file_at_all(tmp_path: Path) -> None:
    lines: list[str] = []
    (tmp_path / "story").write_bytes(b"a\nb\n\xff")

    async def story() -> None:
        for name in (tmp_path / "story", Path(os.devnull)):
            descriptor = os.open(name, os.O_RDONLY)
            assert not Keyboard(descriptor, lines.append).open
            os.close(descriptor)

    asyncio.run(story())
    assert lines == ["a", "b", "\ufffd"]
