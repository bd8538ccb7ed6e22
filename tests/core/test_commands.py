"""Commands: what is obeyed, and that everything else is refused with what would be accepted."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.commands import (
    ANSWERS_MAX,
    WINDOW,
    Again,
    Command,
    Judge,
    Order,
    Refusal,
    command_payload,
    read_command,
)
from gateway.core.hardware import Door
from gateway.core.jws import SigningKey, TokenRefused, TokenType, seal
from gateway.core.model import Fact, Json, Stream
from gateway.core.premises import (
    Input,
    LedgerSpec,
    Point,
    PointKind,
    Premises,
    Route,
    RouteKey,
)
from gateway.core.verbs import Verb, target_of

DESK = SigningKey("desk-1", bytes(range(32)))
DEPUTY = SigningKey("deputy", bytes(range(1, 33)))
STRANGER = SigningKey("desk-1", bytes(range(2, 34)))
STARTED_MS = 1_000_000
NOW_MS = STARTED_MS + 60_000
MAIN = Point("main-door", PointKind.DOOR, Input(None, "a/input-1"), door=Door(remote_unlock=True))
BACK = Point("back-door", PointKind.DOOR, Input(None, "a/input-2"), door=Door())
PANIC = Point("reception", PointKind.PANIC, Input("gpio:17"))
FIRE = Point("fire-panel", PointKind.FIRE, Input(None, "gpio:5"))
SECURITY = Route(
    "security",
    ("campus",),
    ("alarm",),
    keys=(
        RouteKey("desk-1", DESK.public.x, tuple(Verb)),
        RouteKey("deputy", DEPUTY.public.x, ("door.lock", "lockdown.begin"), ("main-door",)),
    ),
)
CASE = Route("case", ("campus",), ("alarm",), keys=(RouteKey("desk-1", STRANGER.public.x),))
SCHOOL = Premises(
    id="school-12",
    name="School No. 12",
    timezone="Asia/Almaty",
    gateway="school-12-main",
    key_file="",
    ledger=LedgerSpec(""),
    points=(MAIN, BACK, PANIC, FIRE),
    uplinks=(),
    routes=(SECURITY, CASE),
)
BASE = Command(
    id="c-1",
    gateway="school-12-main",
    ledger="1ed9e700",
    boot="b0070000",
    not_after_ms=NOW_MS + 5_000,
    verb="door.unlock",
    target={"door": "main-door"},
    counter=1,
)


def judge() -> Judge:
    return Judge(SCHOOL, ledger="1ed9e700", boot="b0070000", started_ms=STARTED_MS)


def token(command: Command, key: SigningKey = DESK) -> bytes:
    return seal(TokenType.COMMAND, command_payload(command), key)


def judged(
    command: Command, key: SigningKey = DESK, *, at_ms: int = NOW_MS, local: bool = False
) -> Order | Refusal | Again:
    return judge().judge("security", token(command, key), now_ms=at_ms, local=local)


def refused(
    command: Command, key: SigningKey = DESK, *, at_ms: int = NOW_MS, local: bool = False
) -> Refusal:
    verdict = judged(command, key, at_ms=at_ms, local=local)
    assert isinstance(verdict, Refusal)
    return verdict


def test_command_of_an_entitled_desk_is_obeyed() -> None:
    order = judged(BASE)
    assert isinstance(order, Order)
    assert (order.verb, order.target.names, order.by) == (
        Verb.DOOR_UNLOCK,
        ("main-door",),
        "security/desk-1",
    )
    assert order.not_after_ms == BASE.not_after_ms


def test_command_reads_back_as_it_was_written() -> None:
    assert read_command(command_payload(BASE)) == BASE


@pytest.mark.parametrize(
    ("change", "why", "accepts"),
    [
        ({"gateway": "school-13"}, "another gateway", "school-12-main"),
        ({"ledger": "00000000"}, "another ledger", "1ed9e700"),
        ({"boot": "00000000"}, "another boot", "b0070000"),
        ({"not_after_ms": NOW_MS - 1}, "expired 1 ms ago", str(NOW_MS)),
        ({"not_after_ms": NOW_MS + 10_001}, "more than 10 s ahead", str(NOW_MS + 10_000)),
        ({"verb": "door.explode"}, "no verb 'door.explode'", "door.unlock"),
        ({"target": {"door": "side-door"}}, "no door 'side-door'", '{"door": ID'),
        ({"target": {"door": "reception"}}, "no door 'reception'", '{"door": ID'),
        ({"target": {}}, "no door", '{"door": ID'),
        ({"target": {"door": "main-door", "for_ms": 600_000}}, "for_ms", "1000..60000"),
        ({"verb": "isolate", "target": {"point": "gym", "for_ms": 0}}, "no point 'gym'", "point"),
        ({"target": {"door": "main-door", "now": True}}, "unknown members", '{"door": ID'),
        (
            {"verb": "walk-test", "target": {"point": "fire-panel", "for_ms": 9_000}},
            "walk",
            "point",
        ),
        ({"verb": "isolate", "target": {"point": "reception"}}, "for_ms", "604800000"),
        ({"verb": "drill.begin", "target": {"kind": "panic", "for_ms": 60_000}}, "kind", "fire"),
        (
            {
                "verb": "resend",
                "target": {"stream": "alarm", "ledger": "1ed9e700", "epoch": 1, "from": 5, "to": 4},
            },
            "before its from",
            "from",
        ),
    ],
)
def test_command_refused_says_why_and_what_would_be_accepted(
    change: dict[str, Any], why: str, accepts: str
) -> None:
    refusal = refused(replace(BASE, **change))
    assert why in refusal.why
    assert accepts in refusal.accepts
    assert refusal.authentic
    assert refusal.data()["command"] == "c-1"


@pytest.mark.parametrize(
    "verb", [Verb.DOOR_LOCK, Verb.DOOR_RELEASE, Verb.LOCKDOWN_BEGIN, Verb.LOCKDOWN_END]
)
def test_command_that_moves_a_door_reaches_ten_seconds_ahead_at_most(verb: Verb) -> None:
    door = verb in {Verb.DOOR_LOCK, Verb.DOOR_RELEASE}
    target: dict[str, Json] = {"door": "main-door"} if door else {}
    fits = replace(BASE, verb=verb.value, target=target, not_after_ms=NOW_MS + 10_000)
    assert isinstance(judged(fits), Order)
    assert "10 s ahead" in refused(replace(fits, not_after_ms=NOW_MS + 10_001)).why


def test_command_that_moves_nothing_may_reach_a_minute_ahead() -> None:
    target: dict[str, Json] = {"point": "reception", "for_ms": 60_000}
    command = replace(BASE, verb="isolate", target=target, not_after_ms=NOW_MS + 60_000)
    assert isinstance(judged(command), Order)


def test_command_under_a_strangers_key_is_not_believed() -> None:
    refusal = refused(BASE, STRANGER)
    assert not refusal.authentic
    assert "signature" in refusal.why


def test_command_under_another_routes_key_is_not_believed() -> None:
    verdict = judge().judge("case", token(BASE, DESK), now_ms=NOW_MS)
    assert isinstance(verdict, Refusal)
    assert not verdict.authentic


def test_token_of_another_type_is_no_command() -> None:
    sealed = seal(TokenType.RECEIPT, command_payload(BASE), DESK)
    verdict = judge().judge("security", sealed, now_ms=NOW_MS)
    assert isinstance(verdict, Refusal)
    assert "typ" in verdict.why


@given(st.binary(max_size=200))
def test_any_bytes_at_all_are_refused_and_nothing_crashes(noise: bytes) -> None:
    verdict = judge().judge("security", noise, now_ms=NOW_MS)
    assert isinstance(verdict, Refusal)
    assert not verdict.authentic


def test_key_may_only_ask_for_its_verbs() -> None:
    refusal = refused(replace(BASE, verb="door.release"), DEPUTY)
    assert refusal.why == "this key may not ask for it"
    assert refusal.accepts == "from this key: door.lock, lockdown.begin"


def test_key_has_a_say_over_its_targets_only() -> None:
    lock = replace(BASE, verb="door.lock", target={"door": "back-door"})
    assert "no say over back-door" in refused(lock, DEPUTY).why
    assert isinstance(judged(replace(lock, target={"door": "main-door"}), DEPUTY), Order)


def test_key_with_targets_cannot_lock_every_door_down() -> None:
    everywhere = replace(BASE, verb="lockdown.begin", target={})
    assert "every door" in refused(everywhere, DEPUTY).why
    assert isinstance(judged(replace(everywhere, target={"doors": ["main-door"]}), DEPUTY), Order)


def test_door_is_not_opened_from_outside_unless_configured() -> None:
    command = replace(BASE, target={"door": "back-door"})
    assert "outside the premises" in refused(command).why
    assert isinstance(judged(command, local=True), Order)


def test_known_command_gets_its_first_answers_again_and_does_nothing() -> None:
    court = judge()
    first = court.judge("security", token(BASE), now_ms=NOW_MS)
    assert isinstance(first, Order)
    fact = Fact("state.command.accepted", "main-door", 1, data={"command": "c-1"})
    court.answered(first, fact)
    assert court.judge("security", token(BASE), now_ms=NOW_MS + 1) == Again((fact,))
    late = replace(BASE, not_after_ms=NOW_MS)  # the same id in another token
    assert court.judge("security", token(late), now_ms=NOW_MS + 90_000) == Again((fact,))


def test_refused_command_that_comes_again_gets_its_refusal_again() -> None:
    court = judge()
    bad = replace(BASE, verb="door.explode")
    refusal = court.judge("security", token(bad), now_ms=NOW_MS)
    assert isinstance(refusal, Refusal)
    fact = Fact("state.command.refused", "school-12-main", 1)
    court.answered(refusal, fact)
    assert court.judge("security", token(bad), now_ms=NOW_MS) == Again((fact,))


def test_counter_counts_once() -> None:
    court = judge()
    assert isinstance(court.judge("security", token(BASE), now_ms=NOW_MS), Order)
    verdict = court.judge("security", token(replace(BASE, id="c-2")), now_ms=NOW_MS)
    assert isinstance(verdict, Refusal)
    assert "counter 1 was used before" in verdict.why
    assert verdict.accepts == "a counter above 1"


@given(st.lists(st.integers(min_value=1, max_value=300), max_size=200))
def test_counter_is_accepted_once_and_never_far_behind(counters: list[int]) -> None:
    court = judge()
    used: set[int] = set()
    for n, counter in enumerate(counters):
        command = replace(BASE, id=f"c-{n}", counter=counter)
        verdict = court.judge("security", token(command), now_ms=NOW_MS)
        fresh = counter not in used and counter > max(used, default=0) - WINDOW
        assert isinstance(verdict, Order) is fresh
        if fresh:
            used.add(counter)


def test_counters_of_two_desks_do_not_meet() -> None:
    court = judge()
    lock = replace(BASE, verb="door.lock")
    assert isinstance(court.judge("security", token(lock), now_ms=NOW_MS), Order)
    other = replace(lock, id="c-2")
    assert isinstance(court.judge("security", token(other, DEPUTY), now_ms=NOW_MS), Order)


@given(
    signed_ms=st.integers(min_value=0, max_value=STARTED_MS),
    reach_ms=st.integers(min_value=0, max_value=10_000),
    played_ms=st.integers(min_value=STARTED_MS, max_value=STARTED_MS + 20_000),
)
def test_command_signed_before_this_start_is_never_obeyed(
    signed_ms: int, reach_ms: int, played_ms: int
) -> None:
    """A recorded command played back after a restart, whatever its expiry was."""
    old = replace(BASE, not_after_ms=signed_ms + reach_ms)
    verdict = judged(old, at_ms=played_ms)
    # a desk whose clock runs with the gateway's reaches at most 10 s ahead of signing
    assert isinstance(verdict, Refusal) or signed_ms + reach_ms >= STARTED_MS + 10_000


def test_command_right_after_a_start_passes_when_it_reaches_far_enough() -> None:
    now_ms = STARTED_MS + 1_500
    command = replace(BASE, not_after_ms=now_ms + 10_000)
    assert isinstance(judged(command, at_ms=now_ms), Order)
    short = refused(replace(BASE, not_after_ms=now_ms + 5_000), at_ms=now_ms)
    assert "before this start" in short.why
    assert str(STARTED_MS + 10_000) in short.accepts


def test_command_for_a_replaced_box_is_refused() -> None:
    """A new disk has a new ledger id, whatever else is the same."""
    replaced = Judge(SCHOOL, ledger="0e110000", boot="b0070000", started_ms=STARTED_MS)
    verdict = replaced.judge("security", token(BASE), now_ms=NOW_MS)
    assert isinstance(verdict, Refusal)
    assert "another ledger" in verdict.why


@pytest.mark.parametrize("member", sorted(command_payload(BASE)))
def test_command_with_a_member_missing_is_refused(member: str) -> None:
    payload = command_payload(BASE)
    del payload[member]
    with pytest.raises(TokenRefused, match=member):
        read_command(payload)


def test_refusal_repeats_little_of_a_strangers_text() -> None:
    refusal = refused(replace(BASE, gateway="\x1b[2J" + "x" * 5_000))
    assert len(refusal.why) < 120
    assert "\x1b" not in refusal.why


def test_judge_finds_the_route_of_a_local_token() -> None:
    assert judge().route_of(token(BASE, DEPUTY)) == "security"
    assert judge().route_of(token(BASE, STRANGER)) == "case"  # the same kid, another route's key
    assert judge().route_of(token(BASE, SigningKey("desk-1", bytes(32)))) is None
    assert judge().route_of(b"") is None


# --- what an attacker would try -------------------------------------------------------------------


def shared(*routes: str) -> Judge:
    """A school where several routes list the desk's key."""
    listed = tuple(replace(SECURITY, id=route) for route in routes)
    premises = replace(SCHOOL, routes=(*listed, CASE))
    return Judge(premises, ledger="1ed9e700", boot="b0070000", started_ms=STARTED_MS)


def test_command_under_a_key_of_two_routes_is_obeyed_once() -> None:
    """A broker that carries a token over to the other route's topic gains nothing."""
    court = shared("security", "deputy")
    assert isinstance(court.judge("security", token(BASE), now_ms=NOW_MS), Order)
    assert isinstance(court.judge("deputy", token(BASE), now_ms=NOW_MS), Again)
    again = court.judge("deputy", token(replace(BASE, id="c-2")), now_ms=NOW_MS)
    assert isinstance(again, Refusal)
    assert "counter 1 was used" in again.why


def test_desk_cannot_use_up_the_ids_of_another_desk_of_the_same_name() -> None:
    """Two routes may call their keys alike: an id is the key's own."""
    court = judge()
    first = court.judge("case", token(BASE, STRANGER), now_ms=NOW_MS)
    assert isinstance(first, Refusal)
    assert first.authentic
    court.answered(first, Fact("state.command.refused", "x", 1))
    assert isinstance(court.judge("security", token(BASE, DESK), now_ms=NOW_MS), Order)


def test_counter_that_ran_ahead_is_told_to_the_desk_as_a_number() -> None:
    court = judge()
    ahead = replace(BASE, counter=2**53 - 1 - 100)
    assert isinstance(court.judge("security", token(ahead), now_ms=NOW_MS), Order)
    behind = court.judge("security", token(replace(BASE, id="c-2")), now_ms=NOW_MS)
    assert isinstance(behind, Refusal)
    assert behind.data()["counter_above"] == ahead.counter
    above = replace(BASE, id="c-3", counter=ahead.counter + 1)
    assert isinstance(court.judge("security", token(above), now_ms=NOW_MS), Order)


@pytest.mark.parametrize(
    "change",
    [
        {"id": "c-1\x1b[2J"},
        {"id": ""},
        {"id": "x" * 65},
        {"verb": "v" * 41},
        {"counter": 0},
    ],
)
def test_signed_command_that_cannot_be_read_says_which_member(change: dict[str, Any]) -> None:
    refusal = refused(replace(BASE, **change))
    assert next(iter(change)) in refusal.why
    assert "exactly id, gateway, ledger" in refusal.accepts
    assert (refusal.kid, refusal.authentic) == ("desk-1", False)


def test_command_whose_target_is_no_object_cannot_be_read() -> None:
    with pytest.raises(TokenRefused, match="target is not valid"):
        read_command({**command_payload(BASE), "target": ["main-door"]})


def test_resend_is_read_whole() -> None:
    wanted: dict[str, Json] = {"stream": "log", "ledger": "1ed9e700", "epoch": 6}
    order = judged(replace(BASE, verb="resend", target={**wanted, "from": 2, "to": 3}))
    assert isinstance(order, Order)
    assert (order.target.stream, order.target.epoch) == (Stream.LOG, 6)
    assert (order.target.first, order.target.last) == (2, 3)


def test_command_names_a_door_once_however_often_it_is_listed() -> None:
    target: dict[str, Json] = {"doors": ["main-door"] * 500}
    order = judged(replace(BASE, verb="lockdown.begin", target=target))
    assert isinstance(order, Order)
    assert order.target.names == ("main-door",)


def test_answers_that_are_remembered_are_bounded_and_what_was_obeyed_stays_so() -> None:
    """A year of recorded commands pushes an answer out of memory, and its command is refused."""
    court = judge()
    assert isinstance(court.judge("security", token(BASE), now_ms=NOW_MS), Order)
    for n in range(ANSWERS_MAX):
        old = replace(BASE, id=f"old-{n}", boot="00000000")
        refusal = court.judge("security", token(old), now_ms=NOW_MS)
        assert isinstance(refusal, Refusal)
        court.answered(refusal, Fact("state.command.refused", "x", 1))
    played = court.judge("security", token(BASE), now_ms=NOW_MS)
    assert isinstance(played, Refusal)
    assert "used before" in played.why


# --- what a person types --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("verb", "name", "for_ms", "target"),
    [
        (Verb.DOOR_UNLOCK, "main-door", None, {"door": "main-door"}),
        (Verb.DOOR_UNLOCK, "main-door", 5_000, {"door": "main-door", "for_ms": 5_000}),
        (Verb.LOCKDOWN_BEGIN, None, None, {}),
        (Verb.LOCKDOWN_BEGIN, "a,b", 60_000, {"doors": ["a", "b"], "for_ms": 60_000}),
        (Verb.LOCKDOWN_END, None, None, {}),
        (Verb.DRILL_BEGIN, "fire", 60_000, {"kind": "fire", "for_ms": 60_000}),
        (Verb.DRILL_END, "fire", None, {"kind": "fire"}),
        (Verb.ISOLATE, "gym", 0, {"point": "gym", "for_ms": 0}),
    ],
)
def test_target_is_made_of_what_a_person_typed(
    verb: Verb, name: str | None, for_ms: int | None, target: dict[str, Json]
) -> None:
    assert target_of(verb, name, for_ms) == target


@pytest.mark.parametrize(
    ("verb", "name", "for_ms", "why"),
    [
        (Verb.DOOR_LOCK, None, None, "needs a name"),
        (Verb.LOCKDOWN_END, "main-door", None, "takes no name"),
        (Verb.DOOR_LOCK, "main-door", 5_000, "takes no time"),
        (Verb.DRILL_BEGIN, "fire", None, "needs a time"),
        (Verb.RESEND, None, None, "by a centre"),
    ],
)
def test_target_that_cannot_be_made_says_what_the_verb_needs(
    verb: Verb, name: str | None, for_ms: int | None, why: str
) -> None:
    with pytest.raises(ValueError, match=why):
        target_of(verb, name, for_ms)
