"""The poll plan: nobody starves, a dead unit costs little and is known soon, refusals are split."""

from __future__ import annotations

import random
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from drivers.modbus.plan.agenda import Row
from drivers.modbus.plan.blocks import Want, coalesce
from drivers.modbus.plan.load import FULL_LOAD, stretched
from drivers.modbus.plan.plan import Change, GivenUp, Plan, PlanUnit, Poll, Polled
from drivers.modbus.plan.silence import PROBE_PRESSED_US
from drivers.modbus.wire.line import Line
from drivers.modbus.wire.request import Read, Reply, ReplyKind
from gateway.core.profile import Limits, Register, Table, Timing
from tests.drivers.modbus.model_bus import (
    MS,
    SLOW,
    ModelBus,
    S,
    bus_of,
    level,
    sixteen,
    uptime,
)

VERY_SLOW = Line(character_us=11e6 / 9_600, margin_us=20_000, piece_us=5_000)
OK = ReplyKind.ANSWERED


def unit(device: str = "entrance", *wants: Want, **more: object) -> PlanUnit:
    wants = wants or (level(0), level(1))
    return replace(PlanUnit(device=device, unit=1, wants=wants), **more)  # type: ignore[arg-type]  # tests name the fields they need


def one(*wants: Want, **more: object) -> Plan:
    return Plan([unit("entrance", *wants, **more)], line=SLOW, now_us=0)


def answered(poll: Poll, value: int = 0) -> Reply:
    return Reply(OK, (value,) * poll.read.count, took_us=15 * MS)


def refused(code: int) -> Reply:
    return Reply(ReplyKind.EXCEPTION, code=code, took_us=15 * MS)


SILENT = Reply(ReplyKind.SILENT, took_us=140 * MS)
HELD = Reply(ReplyKind.SILENT, why="it owes answers", asked=False)
DAMAGED = Reply(ReplyKind.DAMAGED, why="CRC", took_us=20 * MS)
GONE = Reply(ReplyKind.GONE, why="unplugged")


def take(plan: Plan, now_us: int) -> Poll:
    poll = plan.next(now_us)
    assert poll is not None
    return poll


def until_silent(plan: Plan, now_us: int = 0) -> tuple[int, Polled]:
    """Time-out after time-out, until the only unit is silent."""
    for _ in range(20):
        now_us = max(now_us, plan.deadline() or 0)
        poll = take(plan, now_us)
        now_us += SILENT.took_us
        polled = plan.done(poll, SILENT, now_us)
        if polled.change is Change.SILENT:
            return now_us, polled
    raise AssertionError("never silent")


# --- polling -------------------------------------------------------------------------------------


def test_plan_gives_every_want_its_value() -> None:
    plan = one(level(0), level(1), uptime())
    poll = take(plan, 0)
    assert poll.read == Read(Table.DISCRETE, 0, 2)
    polled = plan.done(poll, Reply(OK, (0, 1)), 20 * MS)
    assert polled.values == {"input-0": 0, "input-1": 1}
    poll = take(plan, 20 * MS)
    assert poll.wants == ("uptime",)
    assert plan.done(poll, Reply(OK, (1, 2)), 40 * MS).values == {"uptime": 65_538}


def test_plan_keeps_the_period_without_drift() -> None:
    bus = bus_of([unit()])
    bus.run(20 * S)
    begins = [poll.at_us for poll, _, _ in bus.log]
    assert len(begins) == 100
    assert all(180 * MS < b - a < 220 * MS for a, b in pairwise(begins))


def test_plan_says_when_it_has_something_next() -> None:
    plan = one()
    poll = take(plan, 0)
    plan.done(poll, answered(poll), 20 * MS)
    due_us = plan.deadline()
    assert due_us is not None
    assert plan.next(due_us - 1) is None
    assert plan.next(due_us) is not None


def test_plan_without_units_has_nothing_to_do() -> None:
    plan = Plan([], line=SLOW, now_us=0)
    assert plan.next(0) is None
    assert plan.deadline() is None


def test_plan_gives_a_poll_that_was_not_sent_again() -> None:
    plan = one()
    assert replace(take(plan, 0), at_us=5) == take(plan, 5)


def test_plan_asks_the_sooner_deadline_first() -> None:
    slow, fast = unit("slow", level(0, 2_000)), unit("fast", level(0, 100))
    plan = Plan([slow, fast], line=SLOW, now_us=0)
    assert take(plan, 0).device == "fast"


def test_plan_refuses_a_key_wanted_twice_and_a_device_twice() -> None:
    with pytest.raises(ValueError, match="input-0 is wanted twice"):
        one(level(0), level(0))
    with pytest.raises(ValueError, match="a device comes twice"):
        Plan([unit(), unit()], line=SLOW, now_us=0)


def test_plan_asks_a_unit_nothing_is_wanted_of_whether_it_lives() -> None:
    plan = Plan([PlanUnit(device="relay", unit=3)], line=SLOW, now_us=0)
    poll = take(plan, 0)
    assert poll.wants == ()
    assert plan.done(poll, refused(2), 20 * MS) == Polled(device="relay")
    assert plan.deadline() is not None
    assert plan.next(19 * S) is not None


def test_plan_polls_a_unit_of_long_periods_often_enough_to_know_it_lives() -> None:
    bus = bus_of([unit("entrance", uptime(60_000))])
    bus.run(10 * S)
    bus.units["entrance"].dead = True
    bus.run(18 * S)
    assert [polled.change for _, polled in bus.polled if polled.change] == [Change.SILENT]


def test_plan_leaves_a_unit_the_pause_it_needs_and_asks_others_meanwhile() -> None:
    shy = unit("shy", level(0, 50), timing=Timing(between_ms=100))
    bus = bus_of([shy, unit("other", level(0, 50))])
    bus.run(10 * S)
    ends = [(poll.at_us, end_us) for poll, _, end_us in bus.log if poll.device == "shy"]
    assert all(later - end_us >= 100 * MS for (_, end_us), (later, _) in pairwise(ends))
    assert sum(poll.device == "other" for poll, _, _ in bus.log) >= 195


def test_plan_lets_a_unit_rest_after_a_setting() -> None:
    plan = one()
    plan.noted("entrance", Reply(OK), 0, rest_us=200 * MS)
    assert plan.free_us("entrance") == 200 * MS
    assert plan.next(199 * MS) is None
    assert plan.deadline() == 200 * MS


def test_plan_asks_at_once_for_what_is_urgent() -> None:
    plan = one(level(0), uptime())
    for now_us in (0, 20 * MS):
        poll = take(plan, now_us)
        plan.done(poll, answered(poll), now_us + 20 * MS)
    assert plan.next(50 * MS) is None
    plan.urge("entrance", ["uptime"])
    assert take(plan, 50 * MS).wants == ("uptime",)


def test_what_is_urgent_goes_before_whatever_is_due() -> None:
    plan = Plan([unit("other"), unit("entrance", level(0), uptime())], line=SLOW, now_us=0)
    plan.urge("entrance", ["uptime"])
    assert take(plan, 0).wants == ("uptime",)


def test_unit_that_is_too_busy_is_not_hurried_and_asked_again_within_a_second() -> None:
    """Its period is ten seconds; a press may wait for what it was too busy to say."""
    plan = Plan([unit("entrance", uptime()), unit("other")], line=SLOW, now_us=0)
    asked = []
    for now_ms in range(0, 2_000, 20):
        plan.urge("entrance", ["uptime"])
        poll = plan.next(now_ms * MS)
        if poll is not None:
            asked.append(poll.device)
            reply = refused(6) if poll.device == "entrance" else answered(poll)
            plan.done(poll, reply, (now_ms + 15) * MS)
    assert asked.count("entrance") == 2
    assert asked.count("other") == 10


# --- classes and fairness ------------------------------------------------------------------------


def test_low_class_runs_only_where_there_is_room_until_it_is_late() -> None:
    plan = one(level(0, 10), uptime(500))
    for now_ms in range(0, 990, 20):
        poll = take(plan, now_ms * MS)
        assert poll.wants == ("input-0",)
        plan.done(poll, answered(poll), (now_ms + 20) * MS)
    assert take(plan, S).wants == ("uptime",)


def test_low_class_never_starves_and_never_starves_the_high_class() -> None:
    wants = (level(0, 20), *(replace(uptime(100), key=f"health-{n}") for n in range(1)))
    specs = [unit(f"unit-{n}", *wants) for n in range(16)]
    bus = bus_of(specs)
    bus.run(60 * S)
    low = sum(poll.wants == ("health-0",) for poll, _, _ in bus.log)
    assert 0.15 * len(bus.log) < low <= 0.21 * len(bus.log)


def test_full_bus_stretches_every_period_evenly() -> None:
    bus = bus_of([unit(f"unit-{n}", level(0, 100 if n % 2 else 200)) for n in range(16)])
    bus.run(60 * S)
    counts = [len(bus.answered(f"unit-{n}")) for n in range(16)]
    fast, slow = counts[1::2], counts[0::2]
    assert max(fast) - min(fast) <= 0.02 * max(fast)
    assert max(slow) - min(slow) <= 0.02 * max(slow)
    assert 1.8 <= sum(fast) / sum(slow) <= 2.2


def test_greedy_unit_takes_nothing_from_the_others() -> None:
    modest = [unit(f"unit-{n}", level(0, 200)) for n in range(6)]
    alone = bus_of(modest)
    alone.run(60 * S)
    scattered = [level(10 * n, 1) for n in range(40)]
    beside = bus_of([*modest, unit("greedy", *scattered)])
    beside.run(60 * S)
    for spec in modest:
        before, after = len(alone.answered(spec.device)), len(beside.answered(spec.device))
        assert after >= 0.9 * before
    assert len(beside.answered("greedy")) > 1_000


@given(st.dictionaries(st.text(max_size=3), st.floats(0, 50), max_size=20))
def test_stretch_fills_the_wire_and_is_least_for_the_modest(demands: dict[str, float]) -> None:
    stretches = stretched(demands)
    assert all(stretch >= 1.0 for stretch in stretches.values())
    kept = sum(demand / stretches[name] for name, demand in demands.items())
    assert kept <= max(FULL_LOAD * 1.000_001, 0)
    ordered = sorted(demands, key=lambda name: demands[name])
    assert all(stretches[a] <= stretches[b] + 1e-9 for a, b in pairwise(ordered))


@st.composite
def ports(draw: st.DrawFn) -> list[PlanUnit]:
    specs = []
    for number in range(1, draw(st.integers(1, 6)) + 1):
        count = draw(st.integers(1, 12))
        periods = st.integers(20, 3_000)
        wants = [level(draw(st.integers(0, 3)) + 5 * n, draw(periods)) for n in range(count)]
        wants += [uptime(draw(periods))] if draw(st.booleans()) else []
        limits = Limits(bits=draw(st.integers(1, 40)), hole_bits=draw(st.integers(0, 8)))
        timing = Timing(between_ms=draw(st.sampled_from([0, 0, 50])))
        specs.append(
            PlanUnit(
                device=f"unit-{number}",
                unit=number,
                wants=tuple(wants),
                limits=limits,
                timing=timing,
                pressed=draw(st.booleans()),
            )
        )
    return specs


@settings(max_examples=60, deadline=None)
@given(ports(), st.randoms(use_true_random=False))
def test_every_want_of_a_live_unit_is_read_within_its_bound(
    specs: list[PlanUnit], dice: random.Random
) -> None:
    """Whatever is asked of the wire: a period, stretched as every other where the wire is too slow
    for them all, or what a fair round of the whole wire takes.
    """
    dead = {spec.device for spec in specs if dice.random() < 0.3}
    bus = bus_of(specs, dead=tuple(dead))
    bus.run(60 * S)
    round_us = 60 * MS * sum(len(spec.wants) for spec in specs)
    stretch = max(1.0, bus.plan.health().stretch)
    for spec in specs:
        if spec.device in dead:
            assert bus.plan.silent(spec.device)
            continue
        assert not bus.plan.silent(spec.device)
        for want in spec.wants:
            ends = [
                end
                for poll, _, end in bus.log
                if want.key in poll.wants and poll.device == spec.device
            ]
            bound_us = 3 * (want.period_us * stretch + round_us) + 4 * S
            assert max(b - a for a, b in pairwise([0, *ends, bus.now_us])) <= bound_us
    for poll, _, _ in bus.log:
        limits = next(spec.limits for spec in specs if spec.device == poll.device)
        most = limits.bits if poll.read.table.bits else limits.registers
        assert poll.read.count <= most


@settings(max_examples=60, deadline=None)
@given(ports(), st.randoms(use_true_random=False))
def test_plan_has_something_at_every_deadline_whatever_is_answered(
    specs: list[PlanUnit], dice: random.Random
) -> None:
    plan, now_us = Plan(specs, line=SLOW, now_us=0), 0
    for _ in range(400):
        due_us = plan.deadline()
        assert due_us is not None
        now_us = max(now_us, due_us)
        poll = take(plan, now_us)
        now_us += dice.randrange(5, 150) * MS
        kind = dice.choice(list(ReplyKind))
        values = (1,) * poll.read.count if kind is OK else ()
        reply = Reply(kind, values, code=dice.randrange(1, 16), took_us=5 * MS)
        polled = plan.done(poll, reply, now_us)
        assert set(polled.values) <= set(poll.wants)


# --- silence -------------------------------------------------------------------------------------


def test_silent_unit_is_known_after_three_seconds_and_two_tries() -> None:
    now_us, polled = until_silent(one())
    assert 3 * S <= now_us < 5 * S
    assert polled.age_us is None
    assert "not answered" in polled.why


def test_silence_tells_how_long_ago_the_last_answer_was() -> None:
    plan = one()
    poll = take(plan, 0)
    plan.done(poll, answered(poll), 20 * MS)
    now_us, polled = until_silent(plan)
    assert polled.age_us == now_us - 20 * MS


def test_one_lost_answer_is_asked_for_again_soon_and_is_no_silence() -> None:
    plan = one()
    poll = take(plan, 0)
    assert plan.done(poll, SILENT, 140 * MS).change is None
    due_us = plan.deadline()
    assert due_us is not None
    assert due_us <= 200 * MS
    poll = take(plan, due_us)
    assert plan.done(poll, answered(poll), due_us + 20 * MS).change is None
    assert plan.open("entrance", due_us + 20 * MS)


def test_what_was_not_asked_is_no_sign_of_silence() -> None:
    plan = one()
    poll = take(plan, 0)
    plan.done(poll, answered(poll), 15 * MS)
    plan.done(take(plan, S), SILENT, S + 140 * MS)
    now_us = S + 140 * MS
    while now_us < 5 * S:  # one answer is owed, and what could be mistaken for it is not asked
        now_us = max(now_us, plan.deadline() or 0)
        assert plan.done(take(plan, now_us), HELD, now_us + 5 * MS).change is None
        now_us += 5 * MS
    now_us = max(now_us, plan.deadline() or 0)
    poll = take(plan, now_us)
    assert plan.done(poll, answered(poll), now_us + 15 * MS).change is None
    assert not plan.silent("entrance")


def test_dead_unit_that_owes_answers_is_known_within_eight_seconds() -> None:
    plan = one()
    poll = take(plan, 0)
    plan.done(poll, answered(poll), 15 * MS)
    asked_us = now_us = 3 * S  # as late as a full wire may be with a unit of long periods
    change = plan.done(take(plan, now_us), SILENT, now_us + 140 * MS).change
    while change is None:
        now_us = max(now_us + 5 * MS, plan.deadline() or 0)
        held = now_us < asked_us + 5 * S
        asked_us = asked_us if held else now_us
        reply = HELD if held else SILENT
        now_us += 5 * MS if held else 140 * MS
        change = plan.done(take(plan, now_us), reply, now_us).change
    assert change is Change.SILENT
    assert now_us <= 8 * S


def test_dead_units_are_never_waited_for_twice_in_a_row_while_others_are_due() -> None:
    bus = bus_of(sixteen(), dead=("unit-3", "unit-4", "unit-5", "unit-6"))
    bus.run(30 * S)
    kinds = [reply.kind for poll, reply, _ in bus.log if poll.at_us > S]
    twice = sum(a is b is ReplyKind.SILENT for a, b in pairwise(kinds))
    assert kinds.count(ReplyKind.SILENT) > 20
    assert twice == 0


@pytest.mark.parametrize("line", [SLOW, VERY_SLOW], ids=["19200", "9600"])
@pytest.mark.parametrize("dying", [1, 8, 16])
@pytest.mark.parametrize("answer_ms", [100, 200])
def test_dead_unit_is_known_within_eight_seconds_on_a_full_bus(
    line: Line, dying: int, answer_ms: int
) -> None:
    specs = [replace(spec, timing=Timing(answer_ms=answer_ms)) for spec in sixteen(period_ms=50)]
    bus = bus_of(specs, line=line)
    bus.run(20 * S)
    dead = {f"unit-{number}" for number in range(1, dying + 1)}
    for device in dead:
        bus.units[device].dead = True
    bus.run(40 * S)
    known = {polled.device: at_us for at_us, polled in bus.polled if polled.change}
    assert set(known) == dead
    assert max(known.values()) <= 28 * S


@pytest.mark.parametrize("pressed", [False, True])
@pytest.mark.parametrize("period_ms", [200, 500])
def test_dead_unit_costs_the_live_ones_at_most_a_tenth(*, pressed: bool, period_ms: int) -> None:
    """Change to answer, p99, sixteen units at 19200: all alive against one dead from the start."""
    waited = []
    for dead in ((), ("unit-5",)):
        bus = bus_of(sixteen(pressed=pressed, period_ms=period_ms), dead=dead)
        bus.run(120 * S)
        changes = bus.changes_us(since_us=15 * S, dice=random.Random(7))
        waited.append(changes[len(changes) * 99 // 100])
    assert waited[1] <= 1.10 * waited[0]
    assert waited[0] <= 700 * MS


def test_silent_unit_that_people_press_is_probed_every_two_seconds() -> None:
    dead = ("unit-3", "unit-4", "unit-5", "unit-6")
    bus = bus_of(sixteen(pressed=True), dead=dead)
    bus.run(120 * S)
    for device in dead:
        begins = [p.at_us for p, _, _ in bus.log if p.device == device and p.at_us > 10 * S]
        assert max(b - a for a, b in pairwise(begins)) <= 2 * S


def test_silent_unit_is_probed_ever_more_seldom_up_to_ten_seconds() -> None:
    bus = bus_of(sixteen(), dead=("unit-5",))
    bus.run(180 * S)
    begins = [poll.at_us for poll, _, _ in bus.log if poll.probe]
    pauses = [b - a for a, b in pairwise(begins)]
    assert pauses[0] <= 1.2 * S
    assert all(a <= b + 200 * MS for a, b in pairwise(pauses))
    assert 9 * S < pauses[-1] <= 10.2 * S


def test_probe_is_one_cheap_read() -> None:
    plan = one(*(level(n) for n in range(30)), uptime())
    now_us, _ = until_silent(plan)
    poll = take(plan, now_us + S)
    assert poll.probe
    assert poll.read.table is Table.DISCRETE
    assert poll.read.count == 1


def test_probe_of_a_unit_that_was_heard_waits_only_as_long_as_it_ever_needed() -> None:
    plan = one(timing=Timing(answer_ms=300))
    poll = take(plan, 0)
    assert poll.timing.answer_ms == 300
    plan.done(poll, Reply(OK, (0, 0), took_us=18 * MS), 18 * MS)
    now_us, _ = until_silent(plan)
    waits = []
    for _ in range(16):
        now_us = plan.deadline() or 0
        poll = take(plan, now_us)
        waits.append(poll.timing.answer_ms)
        plan.done(poll, SILENT, now_us + SILENT.took_us)
    assert waits.count(300) == 2
    assert min(waits) < 50


def test_silent_units_take_at_most_a_quarter_of_a_wire_others_need() -> None:
    dead = tuple(f"unit-{number}" for number in range(1, 13))
    bus = bus_of(sixteen(period_ms=20), dead=dead)
    bus.run(60 * S)
    spent = sum(bus.spent_us(device, since_us=10 * S) for device in dead)
    assert spent <= 0.27 * 50 * S


@pytest.mark.parametrize("reply", [refused(2), refused(6), Reply(OK, (1,))])
def test_any_sign_of_life_brings_a_unit_back_at_once(reply: Reply) -> None:
    plan = one()
    now_us, _ = until_silent(plan)
    assert not plan.open("entrance", now_us)
    poll = take(plan, now_us + S)
    now_us += S + 20 * MS
    assert plan.done(poll, reply, now_us).change is Change.BACK
    assert not plan.silent("entrance")
    assert plan.open("entrance", now_us)
    assert take(plan, now_us).read == Read(Table.DISCRETE, 0, 2)


def test_answer_beside_the_plan_is_a_sign_of_life_too() -> None:
    plan = one()
    now_us, _ = until_silent(plan)
    assert plan.noted("entrance", refused(3), now_us + 1).change is Change.BACK


def test_unanswered_requests_beside_the_plan_count_as_failures() -> None:
    plan = one()
    changes = [plan.noted("entrance", SILENT, now_us).change for now_us in range(S, 6 * S, S)]
    assert changes.count(Change.SILENT) == 1


def test_urged_unit_is_probed_at_once() -> None:
    plan = one()
    now_us, _ = until_silent(plan)
    for _ in range(6):
        now_us = plan.deadline() or 0
        plan.done(take(plan, now_us), SILENT, now_us + SILENT.took_us)
    now_us += SILENT.took_us
    assert plan.next(now_us + S) is None
    plan.urge("entrance")
    assert take(plan, now_us + S).probe


def test_gateway_that_does_not_reach_a_unit_makes_it_silent() -> None:
    plan, now_us, changes = one(), 0, []
    for _ in range(8):
        now_us = max(now_us, plan.deadline() or 0)
        poll = take(plan, now_us)
        now_us += 20 * MS
        polled = plan.done(poll, refused(11), now_us)
        changes.append(polled.change)
        if polled.change:
            assert "does not reach it (exception 11)" in polled.why
    assert changes.count(Change.SILENT) == 1


def test_lost_port_says_nothing_about_its_units() -> None:
    plan = one()
    poll = take(plan, 0)
    plan.done(poll, answered(poll), 20 * MS)
    poll = take(plan, 220 * MS)
    assert plan.done(poll, GONE, 240 * MS) == Polled(device="entrance")
    plan.gone(60 * S)
    for _ in range(3):
        now_us = max(60 * S, plan.deadline() or 0)
        poll = take(plan, now_us)
        assert plan.done(poll, SILENT, now_us + SILENT.took_us).change is None


def test_silent_unit_is_probed_at_once_when_the_port_is_back() -> None:
    plan = one()
    now_us, _ = until_silent(plan)
    plan.gone(now_us + 1)
    assert plan.silent("entrance")
    assert take(plan, now_us + 1).probe


def test_noisy_line_makes_no_live_unit_silent() -> None:
    """One request in ten lost, one answer in seven damaged, for ten minutes."""
    bus, dice = bus_of(sixteen(), line=SLOW), random.Random(3)

    def fails(_: int) -> ReplyKind | None:
        roll = dice.random()
        if roll < 0.10:
            return ReplyKind.SILENT
        return ReplyKind.DAMAGED if roll < 0.25 else None

    for model in bus.units.values():
        model.fails = fails
    bus.run(600 * S)
    assert not [polled for _, polled in bus.polled if polled.change]


def test_dead_unit_is_known_within_eight_seconds_on_a_noisy_line_too() -> None:
    bus, dice = bus_of(sixteen(period_ms=50), line=SLOW), random.Random(4)
    for model in bus.units.values():
        model.fails = lambda _: ReplyKind.SILENT if dice.random() < 0.2 else None
    bus.run(30 * S)
    bus.units["unit-7"].dead = True
    bus.run(40 * S)
    known = [(at_us, polled.device) for at_us, polled in bus.polled if polled.change]
    assert [device for _, device in known] == ["unit-7"]
    assert known[0][0] <= 38 * S


def test_unit_that_answers_nothing_but_damage_becomes_silent() -> None:
    bus = bus_of([unit(), unit("other")])
    bus.units["entrance"].fails = lambda _: ReplyKind.DAMAGED
    bus.run(8 * S)
    changes = [polled for _, polled in bus.polled if polled.change]
    assert [polled.device for polled in changes] == ["entrance"]
    assert "damaged" in changes[0].why


# --- retries and refusals ------------------------------------------------------------------------


@pytest.mark.parametrize("reply", [DAMAGED, refused(4)], ids=["damaged", "failure"])
def test_damaged_answer_is_asked_for_again_at_once_but_once(reply: Reply) -> None:
    plan = Plan([unit(), unit("other")], line=SLOW, now_us=0)
    poll = take(plan, 0)
    plan.done(poll, reply, 20 * MS)
    again = take(plan, 20 * MS)
    assert again == replace(poll, at_us=20 * MS, retry=True)
    plan.done(again, reply, 40 * MS)
    assert take(plan, 40 * MS).device == "other"
    assert plan.health().numbers.retries == 1


@pytest.mark.parametrize("code", [5, 6, 15])
def test_busy_unit_is_alive_and_asked_again_later(code: int) -> None:
    plan = one(level(0, 50))
    for _ in range(100):
        now_us = plan.deadline() or 0
        polled = plan.done(take(plan, now_us), refused(code), now_us + 15 * MS)
        assert polled.change is None
        due_us = plan.deadline()
        assert due_us is not None
        assert due_us >= now_us + 200 * MS


def test_wants_of_a_unit_that_is_always_busy_are_stale_once() -> None:
    plan, told = one(), []
    for _ in range(60):
        now_us = plan.deadline() or 0
        polled = plan.done(take(plan, now_us), refused(6), now_us + 15 * MS)
        told += [(now_us, polled.stale)] if polled.stale else []
    assert [keys for _, keys in told] == [("input-0", "input-1")]
    assert 2_900 * MS <= told[0][0] <= 3_500 * MS


def holed(hole: int = 10) -> Plan:
    wants = [level(n) for n in (0, 1, 5, 6)]
    return one(*wants, limits=Limits(hole_bits=hole))


@pytest.mark.parametrize("code", [2, 3])
def test_block_refused_across_a_hole_is_split_and_no_hole_is_read_again(code: int) -> None:
    plan = holed()
    poll = take(plan, 0)
    assert poll.read.count == 7
    assert plan.done(poll, refused(code), 20 * MS).given_up == ()
    reads = set()
    for now_ms in range(20, 2_000, 20):
        again = plan.next(now_ms * MS)
        if again is not None:
            reads.add((again.read.address, again.read.count))
            plan.done(again, answered(again), (now_ms + 15) * MS)
    assert reads == {(0, 2), (5, 2)}


@pytest.mark.parametrize("code", [1, 2, 3])
def test_value_the_unit_refuses_is_given_up_once_and_the_others_go_on(code: int) -> None:
    bus = bus_of([unit("entrance", *(level(n) for n in range(8)))])
    bus.units["entrance"].refuses = lambda read: (
        code if read.address <= 5 < read.address + read.count else 0
    )
    bus.run(20 * S)
    given_up = [each for _, polled in bus.polled for each in polled.given_up]
    assert given_up == [GivenUp(("input-5",), Read(Table.DISCRETE, 5), code)]
    later = {key for poll, _, _ in bus.log if poll.at_us > 10 * S for key in poll.wants}
    assert later == {f"input-{n}" for n in range(8) if n != 5}
    assert bus.plan.health().units["entrance"].given_up == ("input-5",)


def test_unit_that_refuses_everything_is_still_watched() -> None:
    bus = bus_of([unit()])
    bus.units["entrance"].refuses = lambda _: 1
    bus.run(20 * S)
    assert not bus.plan.silent("entrance")
    assert len(bus.log) > 8
    bus.units["entrance"].dead = True
    bus.run(28 * S)
    assert bus.plan.silent("entrance")


def test_what_was_given_up_is_asked_for_again_after_a_silence() -> None:
    bus = bus_of([unit()])
    bus.units["entrance"].refuses = lambda _: 2
    bus.run(5 * S)
    bus.units["entrance"].dead = True
    bus.run(15 * S)
    bus.units["entrance"].dead, bus.units["entrance"].refuses = False, lambda _: 0
    bus.run(20 * S)
    assert bus.polled[-1][1].values == {"input-0": 0, "input-1": 0}


def test_what_was_given_up_is_asked_for_again_after_a_restart() -> None:
    bus = bus_of([unit()])
    bus.units["entrance"].refuses = lambda _: 2
    bus.run(5 * S)
    bus.units["entrance"].refuses = lambda _: 0
    bus.plan.retry_given_up("entrance")
    bus.run(6 * S)
    assert {key for _, polled in bus.polled for key in polled.values} == {"input-0", "input-1"}


def test_read_that_a_living_unit_never_answers_is_put_off_and_its_wants_are_stale() -> None:
    """Units there are that keep silent about what they do not know."""
    bus = bus_of([unit("entrance", level(0), Want("x", Register(Table.COIL, 9), 200 * MS))])
    model = bus.units["entrance"]

    def fails(_: int) -> ReplyKind | None:
        poll = bus.plan.next(bus.now_us)
        return ReplyKind.SILENT if poll is not None and poll.wants == ("x",) else None

    model.fails = fails
    bus.run(60 * S)
    assert not [polled for _, polled in bus.polled if polled.change]
    assert [polled.stale for _, polled in bus.polled if polled.stale] == [("x",)]
    late = [poll for poll, _, _ in bus.log if poll.wants == ("x",) and poll.at_us > 30 * S]
    assert len(late) <= 8
    assert len(bus.answered("entrance")) > 200


# --- numbers -------------------------------------------------------------------------------------


def test_health_counts_what_came_of_requests() -> None:
    plan = Plan([unit(), unit("other")], line=SLOW, now_us=0)
    for reply in (DAMAGED, SILENT, refused(6), GONE, Reply(OK, took_us=8 * MS)):
        plan.noted("entrance", reply, 10 * MS)
    numbers = plan.health().units["entrance"].numbers
    assert numbers == plan.health().numbers
    assert (numbers.requests, numbers.answers, numbers.exceptions) == (5, 1, 1)
    assert (numbers.timeouts, numbers.damaged, numbers.gone) == (1, 1, 1)
    assert (numbers.latency_us, numbers.latency_most_us) == (8 * MS, 8 * MS)
    assert plan.health().units["other"].numbers.requests == 0


def test_health_says_who_is_doubtful_and_who_is_silent() -> None:
    plan = one()
    poll = take(plan, 0)
    plan.done(poll, SILENT, 140 * MS)
    assert plan.health().units["entrance"].doubtful
    until_silent(plan, 140 * MS)
    health = plan.health().units["entrance"]
    assert health.silent
    assert not health.doubtful
    assert health.heard_us is None


def test_health_says_how_far_periods_are_stretched() -> None:
    bus = bus_of(sixteen(period_ms=50))
    bus.run(10 * S)
    assert 4 < bus.plan.health().stretch < 8


def test_pressed_probe_leaves_room_for_whoever_holds_the_wire() -> None:
    assert PROBE_PRESSED_US + 2 * 100 * MS <= 2 * S


def test_plan_is_the_same_whenever_it_is_asked_the_same() -> None:
    first, second = (bus_of(sixteen(), dead=("unit-2",)) for _ in range(2))
    for bus in (first, second):
        bus.run(30 * S)
    assert first.log == second.log
    assert isinstance(first, ModelBus)


# --- what must not be put off --------------------------------------------------------------------


def test_read_made_before_its_time_puts_nothing_off() -> None:
    """Trials of a doubtful unit ask what is not due: ten of them are not ten periods."""
    (block,) = coalesce([uptime(10_000)], Limits(), SLOW)
    row = Row(block, SLOW, 0)
    for now_us in range(0, 1_000 * MS, 100 * MS):
        row.answered(now_us, now_us + 20 * MS)
    assert row.due_us <= 11 * S


def test_read_that_failed_before_its_time_is_soon_made_good() -> None:
    """Somebody may wait for it, and what has failed is not hurried."""
    (block,) = coalesce([uptime(10_000)], Limits(), SLOW)
    row = Row(block, SLOW, 0)
    row.answered(0, 20 * MS)
    row.failed(300 * MS)
    assert row.due_us == 300 * MS


def test_silent_unit_somebody_waits_for_is_probed_twice_a_second() -> None:
    plan = one()
    now_us, _ = until_silent(plan)
    for _ in range(12):
        now_us = plan.deadline() or 0
        plan.done(take(plan, now_us), SILENT, now_us + 140 * MS)
    assert (plan.deadline() or 0) - now_us > 5 * S
    plan.hurry("entrance")
    assert (plan.deadline() or 0) - now_us <= 500 * MS
