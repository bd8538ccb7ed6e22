"""Doors: one authorisation is one opening, what is freed alarms nobody, closing ends what stood."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.core.counter import Remember
from gateway.core.doors.door import DoorMonitor
from gateway.core.doors.faults import BOLT_MOVES_MS, DOOR_RESTS_MS, UNUSED_MOST
from gateway.core.doors.rights import FLAG_LASTS_US, FLAG_LATE_US
from gateway.core.doors.table import EXPLAINED_BY_CONTROLLER_US, EXPLAINED_US, TABLE, Event, State
from gateway.core.hardware import Door, DoorContact, LockType
from gateway.core.model import Count, Fact, Level, Reading
from gateway.core.monitor import Confirmed, Item
from gateway.core.premises import Input, Line, Point, PointKind

CAREFULLY = settings(derandomize=True, deadline=None, max_examples=200)
NORMAL, ACTIVE, UNKNOWN = Level.NORMAL, Level.ACTIVE, Level.UNKNOWN
S = 1_000_000
CONTACT, EXIT, BOLT, LOCK = "e/input-1", "e/input-2", "e/input-3", "e/relay-1"
GRANTED, DENIED, SAID_FORCED, SAID_HELD, TAMPER = (
    f"e/flag-{name}" for name in ("granted", "denied", "forced", "held", "tamper")
)
PLAIN = Door(lock=LOCK, request_to_exit=DoorContact(EXIT))
BOLTED = replace(PLAIN, bolt=DoorContact(BOLT))
CONTROLLED = replace(
    PLAIN,
    granted=DoorContact(GRANTED),
    denied=DoorContact(DENIED),
    forced=DoorContact(SAID_FORCED),
    held=DoorContact(SAID_HELD),
    tamper=DoorContact(TAMPER),
)


WIRES = Input(normally_open=CONTACT)


def point(door: Door = PLAIN, *, wires: Input = WIRES) -> Point:
    return Point("main", PointKind.DOOR, wires, door=door)


class Site:
    """A door with its wires, moved in whole seconds; starts closed and quiet."""

    def __init__(self, door: Door = PLAIN, *, settled: bool = True, wires: Input = WIRES) -> None:
        self.monitor = DoorMonitor(point(door, wires=wires))
        self.now_us = 0
        self.relock_us: int | None = None
        self.found: list[Item] = []
        if settled:
            for address in self.monitor.addresses:
                locked = self.monitor_locks(door) if address == LOCK else NORMAL
                self.show(address, locked)
            self.wait(1)
            self.found.clear()

    @staticmethod
    def monitor_locks(door: Door) -> Level:
        return ACTIVE if door.energised(released=False) else NORMAL

    def show(self, address: str, level: Level, count: int | None = None) -> None:
        shown = None if count is None else Count(count, 16, 1_000 + self.now_us // S)
        self.found += self.monitor.feed(Reading(address, level, self.now_us, shown))

    def wait(self, seconds: float) -> list[str]:
        """Let time pass; what was found since the last wait."""
        until_us = self.now_us + int(seconds * S)
        if self.relock_us is not None and self.relock_us <= until_us:
            self.now_us, self.relock_us = max(self.now_us, self.relock_us), None
            self.show(LOCK, NORMAL)
        self.now_us = until_us
        self.found += self.monitor.wake(self.now_us)
        found, self.found = self.found, []
        self.last = found
        return words(found)

    def opens(self, seconds: float = 1) -> list[str]:
        self.show(CONTACT, ACTIVE)
        return self.wait(seconds)

    def closes(self, seconds: float = 1) -> list[str]:
        self.show(CONTACT, NORMAL)
        return self.wait(seconds)

    def press(self, address: str, seconds: float = 1) -> list[str]:
        self.show(address, ACTIVE)
        self.now_us += S // 10
        self.show(address, NORMAL)
        return self.wait(seconds)

    def unlock(self, seconds: int = 5, *, obeyed: bool = True) -> list[str]:
        until_us = self.now_us + seconds * S
        self.show(LOCK, ACTIVE if obeyed else NORMAL)
        self.found += self.monitor.unlocked(at_us=self.now_us, until_us=until_us, by="command")
        self.relock_us = until_us if obeyed else None
        return self.wait(0)

    def free(self, *, on: bool, why: str = "fire") -> list[str]:
        self.found += self.monitor.free(on=on, at_us=self.now_us, why=why)
        return self.wait(0)

    def silent(self, seconds: float = 1) -> list[str]:
        for address in self.monitor.addresses:
            self.show(address, UNKNOWN)
        return self.wait(seconds)

    def back(self, *, contact: Level) -> list[str]:
        for address in self.monitor.addresses:
            self.show(address, contact if address == CONTACT else NORMAL)
        return self.wait(1)


def words(found: Iterable[Item]) -> list[str]:
    """Short: `opened by exit`, `door-forced`, `door-forced over`, `stuck.raised bolt thrown`."""
    told = []
    for item in found:
        if isinstance(item, Confirmed):
            told.append(item.alarm + {ACTIVE: "", NORMAL: " over"}[item.level])
        elif isinstance(item, Fact):
            flags = [str(item.data[name]) for name in ("by", "part", "why") if name in item.data]
            flags += ["unseen"] if item.data.get("unseen") else []
            kind = item.type.removeprefix("access.").removeprefix("fault.")
            told.append(" ".join([kind, *flags]))
    return told


FORCED_OPENING = ["opened nobody", "door-forced"]
CLOSED_FORCED = ["closed", "door-forced over"]


# --- by right or by force ------------------------------------------------------------------------


def test_door_opened_by_nobodys_leave_is_forced_until_it_is_closed() -> None:
    site = Site()
    site.closes()
    assert site.opens() == FORCED_OPENING
    assert site.closes() == CLOSED_FORCED


def test_door_forced_is_told_a_fifth_of_a_second_after_it_opened() -> None:
    site = Site()
    opened_us = site.now_us
    site.opens()
    forced = [item for item in site.last if isinstance(item, Confirmed)]
    assert forced == [
        Confirmed("main", ACTIVE, opened_us + 7_000 + EXPLAINED_US, alarm="door-forced")
    ]


def test_door_opened_after_an_exit_press_is_by_exit() -> None:
    site = Site()
    assert site.press(EXIT) == ["exit"]
    assert site.opens() == ["opened exit"]
    assert site.closes() == ["closed"]


def test_door_closed_says_how_long_it_stood_open() -> None:
    site = Site()
    site.press(EXIT)
    site.opens(7)
    site.closes()
    assert [item.data for item in site.last if isinstance(item, Fact)] == [{"open_ms": 7_000}]


def test_door_opened_after_a_grant_is_by_grant() -> None:
    site = Site(CONTROLLED)
    assert site.press(GRANTED) == ["granted"]
    assert site.opens() == ["opened grant"]


def test_door_opened_in_a_timed_opening_is_by_command() -> None:
    site = Site()
    assert site.unlock() == []
    assert site.opens() == ["opened command"]


def test_door_exit_and_opening_read_in_one_round_are_one_exit() -> None:
    """The contact comes first from the bus: the opening waits a moment for its reason."""
    site = Site()
    site.show(CONTACT, ACTIVE)
    site.now_us += 50_000
    assert site.press(EXIT) == ["exit", "opened exit"]
    site.closes()
    assert site.opens() == FORCED_OPENING


def test_door_waits_longer_for_a_controller_that_says_whom_it_let_in() -> None:
    site = Site(CONTROLLED)
    assert site.opens(0.9) == []
    site.show(GRANTED, ACTIVE)
    assert site.wait(1) == ["granted", "opened grant"]
    site = Site(CONTROLLED)
    assert site.opens(EXPLAINED_BY_CONTROLLER_US / S + 0.1) == FORCED_OPENING


@pytest.mark.parametrize("give", ["exit", "grant", "command"])
def test_door_second_opening_on_one_authorisation_is_forced(give: str) -> None:
    site = Site(CONTROLLED)
    match give:
        case "exit":
            site.press(EXIT, 0)
        case "grant":
            site.press(GRANTED, 0)
        case _:
            site.unlock()
    assert site.opens(0.3)[-1] == f"opened {give}"
    site.closes(0.3)
    assert site.opens(2) == FORCED_OPENING


def test_door_opening_uses_up_every_authorisation_there_is() -> None:
    site = Site(CONTROLLED)
    site.press(EXIT, 0.2)
    site.press(GRANTED, 0.2)
    site.unlock()
    assert site.opens(0.5) == ["opened command"]
    site.closes(0.5)
    assert site.opens(2) == FORCED_OPENING


def test_door_held_request_to_exit_is_one_opening() -> None:
    site = Site()
    site.show(EXIT, ACTIVE)
    site.wait(20)
    assert site.opens() == ["opened exit"]
    site.closes()
    assert site.opens() == FORCED_OPENING


@pytest.mark.parametrize(("after_ms", "right"), [(4_990, True), (5_010, False)])
def test_door_grant_runs_out_after_its_time(after_ms: int, right: bool) -> None:  # noqa: FBT001 -- a table's column
    site = Site(CONTROLLED)
    site.show(GRANTED, ACTIVE)
    site.wait(after_ms / 1_000)
    assert (site.opens(2) == ["opened grant"]) is right


@pytest.mark.parametrize(("after_ms", "right"), [(4_990, True), (5_010, False)])
def test_door_on_a_long_line_counts_a_grants_time_to_the_opening_itself(
    after_ms: int,
    right: bool,  # noqa: FBT001 -- a table's column
) -> None:
    """Such a line is believed 50 ms later: that lengthens no grant."""
    site = Site(CONTROLLED, wires=replace(WIRES, line=Line.LONG))
    site.show(GRANTED, ACTIVE)
    site.wait(after_ms / 1_000)
    assert (site.opens(2) == ["opened grant"]) is right


@pytest.mark.parametrize(("after_ms", "right"), [(9_990, True), (10_010, False)])
def test_door_timed_opening_may_be_used_until_its_end_and_a_grants_time_more(
    after_ms: int,
    right: bool,  # noqa: FBT001 -- a table's column
) -> None:
    site = Site()
    site.unlock(5)
    site.wait(after_ms / 1_000)
    assert (site.opens(2) == ["opened command"]) is right


def test_door_refusal_is_told_and_allows_nothing() -> None:
    site = Site(CONTROLLED)
    assert site.press(DENIED) == ["denied"]
    assert site.opens(2) == FORCED_OPENING


# --- held ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("by", ["exit", "nobody"])
def test_door_held_open_is_warned_of_and_then_told(by: str) -> None:
    site = Site()
    if by == "exit":
        site.press(EXIT)
    site.opens()
    assert site.wait(18.9) == []
    assert site.wait(0.2) == ["held-warning"]
    assert site.wait(9.8) == []
    assert site.wait(0.2) == ["door-held"]
    assert site.wait(900) == []
    over = ["door-forced over"] if by == "nobody" else []
    assert site.closes() == ["closed", *over, "door-held over"]


def test_door_held_is_never_told_where_it_may_stand_open() -> None:
    site = Site(replace(PLAIN, held_after_ms=None))
    site.press(EXIT)
    site.opens()
    assert site.wait(9_000) == []


@pytest.mark.parametrize("before_ms", [0, 30_000, 60_000])
def test_door_without_time_for_a_warning_is_not_warned_of(before_ms: int) -> None:
    site = Site(replace(PLAIN, warn_before_ms=before_ms))
    site.press(EXIT)
    site.opens()
    assert site.wait(40) == ["door-held"]


def test_door_closed_in_time_is_not_held() -> None:
    site = Site()
    site.press(EXIT)
    site.opens(25)
    assert site.closes(900) == ["closed"]


# --- under a release -----------------------------------------------------------------------------


def test_door_freed_alarms_nobody_and_says_so_in_the_log() -> None:
    site = Site(CONTROLLED)
    site.free(on=True)
    assert site.opens(2) == ["opened free fire"]
    assert site.wait(60) == ["held"]
    assert site.press(SAID_FORCED) == ["forced"]
    assert site.press(SAID_HELD) == ["held"]
    assert site.closes(10) == ["closed"]
    assert site.opens(1) == ["opened free fire"]


def test_door_open_when_its_release_ends_is_timed_from_then_and_not_forced() -> None:
    site = Site()
    site.free(on=True)
    site.opens(300)
    assert site.free(on=False) == []
    assert site.wait(29.9) == ["held-warning"]
    assert site.wait(0.2) == ["door-held"]
    assert site.closes() == ["closed", "door-held over"]
    assert site.opens() == FORCED_OPENING


def test_door_freed_while_an_opening_waits_for_its_reason_is_free() -> None:
    site = Site()
    site.opens(0.1)
    assert site.free(on=True) == ["opened free fire"]
    assert site.wait(5) == []


def test_door_freed_keeps_the_alarms_that_stood_until_it_is_closed() -> None:
    site = Site()
    site.opens()
    assert site.free(on=True) == []
    assert site.closes() == CLOSED_FORCED


# --- what the controller says --------------------------------------------------------------------


def test_controller_that_says_forced_while_the_contact_does_too_is_one_alarm() -> None:
    site = Site(CONTROLLED)
    assert site.opens(2) == FORCED_OPENING
    assert site.press(SAID_FORCED) == []
    assert site.closes() == CLOSED_FORCED


def test_controller_that_says_forced_first_is_one_alarm_that_ends_with_the_door() -> None:
    site = Site(CONTROLLED)
    assert site.press(SAID_FORCED) == ["door-forced"]
    assert site.opens(5) == ["opened nobody"]
    assert site.closes() == CLOSED_FORCED


def test_controller_that_says_forced_late_says_nothing_new() -> None:
    site = Site(CONTROLLED)
    site.opens(2)
    assert site.closes(FLAG_LATE_US / S - 1) == CLOSED_FORCED
    assert site.press(SAID_FORCED) == []
    site = Site(CONTROLLED)
    site.opens(2)
    site.closes(FLAG_LATE_US / S + 1)
    assert site.press(SAID_FORCED) == ["door-forced"]


def test_controller_that_says_forced_at_a_closed_door_stands_as_long_as_it_says_so() -> None:
    site = Site(CONTROLLED)
    site.show(SAID_FORCED, ACTIVE)
    assert site.wait(60) == ["door-forced"]
    site.show(SAID_FORCED, NORMAL)
    assert site.wait(1) == ["door-forced over"]


def test_controller_flags_that_are_counted_are_told_once_each() -> None:
    site = Site(CONTROLLED)
    for address in (GRANTED, DENIED, SAID_FORCED, TAMPER):
        site.show(address, NORMAL, count=4)
    site.wait(1)
    site.show(DENIED, NORMAL, count=6)
    assert site.wait(1) == ["denied"]
    assert site.last[0] == Fact("access.denied", "main", site.now_us - S, data={"count": 2})
    assert isinstance(site.last[1], Remember)
    site.show(GRANTED, NORMAL, count=5)
    assert site.wait(1) == ["granted"]
    assert site.opens() == ["opened grant"]
    site.closes()
    site.show(SAID_FORCED, NORMAL, count=5)
    assert site.wait(FLAG_LASTS_US / S - 0.1) == ["door-forced"]
    counters = [item.counter for item in site.last if isinstance(item, Confirmed)]
    assert counters[0] == Remember(SAID_FORCED, Count(5, 16, 1_006))
    assert site.wait(1) == ["door-forced over"]


@pytest.mark.parametrize("counted", [False, True])
def test_controller_opened_is_tamper_even_under_a_release(counted: bool) -> None:  # noqa: FBT001 -- a table's column
    site = Site(CONTROLLED)
    site.free(on=True)
    if counted:
        site.show(TAMPER, NORMAL, count=0)
        site.show(TAMPER, NORMAL, count=1)
    else:
        site.show(TAMPER, ACTIVE)
    assert site.wait(0.1) == ["tamper"]
    site.show(TAMPER, NORMAL)
    assert site.wait(5) == ["tamper over"]


def test_controller_that_says_held_is_held_once_until_it_is_closed() -> None:
    site = Site(CONTROLLED)
    site.press(GRANTED)
    site.opens()
    assert site.press(SAID_HELD) == ["door-held"]
    assert site.wait(60) == []
    assert site.closes() == ["closed", "door-held over"]


def test_controller_that_starts_anew_makes_up_no_pass() -> None:
    site = Site(CONTROLLED)
    site.show(GRANTED, NORMAL, count=50)
    site.found += site.monitor.feed(Reading(GRANTED, NORMAL, site.now_us, Count(3, 16, 20)))
    assert site.wait(1) == []


# --- what nobody saw -----------------------------------------------------------------------------


def test_door_closed_at_the_start_ends_what_an_earlier_start_left() -> None:
    site = Site(settled=False)
    site.show(CONTACT, NORMAL)
    assert site.wait(1) == ["door-forced over", "door-held over"]


def test_door_open_at_the_start_is_found_open_and_timed_but_not_forced() -> None:
    site = Site(settled=False)
    site.show(CONTACT, ACTIVE)
    assert site.wait(1) == ["opened unseen"]
    assert site.wait(30) == ["held-warning", "door-held"]
    assert site.closes() == ["closed", "door-forced over", "door-held over"]


def test_door_whose_unit_is_silent_says_nothing_and_knows_nothing() -> None:
    site = Site(CONTROLLED)
    assert site.silent(3_600) == []
    assert site.monitor.level is UNKNOWN
    assert site.monitor.faults == ()
    assert site.monitor.deadline() is None


@pytest.mark.parametrize("door", [PLAIN, CONTROLLED])
def test_door_found_as_it_was_after_a_silence_is_no_news(door: Door) -> None:
    site = Site(door)
    site.silent()
    assert site.back(contact=NORMAL) == []
    assert site.opens(2) == FORCED_OPENING
    site.silent()
    assert site.back(contact=ACTIVE) == []
    assert site.closes() == CLOSED_FORCED


def test_door_found_open_after_a_silence_is_not_forced_and_is_timed() -> None:
    site = Site()
    site.silent()
    assert site.back(contact=ACTIVE) == ["opened unseen"]
    assert site.wait(30) == ["held-warning", "door-held"]


def test_door_found_closed_after_a_silence_ends_what_stood() -> None:
    site = Site()
    site.opens(40)
    site.silent()
    over = ["closed unseen", "door-forced over", "door-held over"]
    assert site.back(contact=NORMAL) == over


def test_door_alarm_stands_while_nobody_can_see_the_door() -> None:
    site = Site()
    site.opens()
    assert site.silent(900) == []


def test_door_lost_while_its_opening_waits_for_a_controllers_word_is_forced() -> None:
    site = Site(CONTROLLED)
    site.opens(0.1)
    assert site.silent(1) == FORCED_OPENING


def test_authorisation_does_not_outlast_a_silence() -> None:
    site = Site()
    site.unlock(60)
    site.silent()
    site.back(contact=NORMAL)
    assert site.opens(2) == FORCED_OPENING


def test_flags_that_were_up_at_the_start_pass_nobody() -> None:
    site = Site(CONTROLLED, settled=False)
    for address in (EXIT, GRANTED, DENIED):
        site.show(address, ACTIVE)
    site.show(CONTACT, NORMAL)
    assert site.wait(1) == []
    assert site.opens(2) == FORCED_OPENING


def test_flags_counted_while_nobody_looked_are_told_and_allow_nothing() -> None:
    kept = {GRANTED: Count(5, 16, 10)}
    monitor = DoorMonitor(point(CONTROLLED), counts=kept)
    found = monitor.feed(Reading(GRANTED, NORMAL, 0, Count(6, 16, 99)))
    assert words(found) == ["granted unseen"]


# --- what is broken ------------------------------------------------------------------------------


def test_request_to_exit_held_for_a_minute_is_stuck_and_asks_no_more() -> None:
    site = Site()
    site.show(EXIT, ACTIVE)
    assert site.wait(61) == ["exit", "stuck.raised request-to-exit held"]
    assert site.monitor.faults == ("stuck",)
    assert site.opens(1) == FORCED_OPENING
    site.show(EXIT, NORMAL)
    assert site.wait(1) == ["stuck.cleared request-to-exit held"]


def test_contact_that_shows_no_opening_of_many_allowed_is_stuck_until_it_does() -> None:
    site = Site()
    for _ in range(UNUSED_MOST - 1):
        site.unlock(1)
        assert site.wait(10) == []
    site.unlock(1)
    assert site.wait(10) == ["stuck.raised contact never-opens"]
    site.unlock(1)
    assert site.opens() == ["stuck.cleared contact never-opens", "opened command"]


def test_contact_is_not_doubted_because_people_walk_past_the_sensor() -> None:
    site = Site()
    for _ in range(3 * UNUSED_MOST):
        assert site.press(EXIT, 10) == ["exit"]


def test_bolt_thrown_while_the_door_stands_open_is_stuck() -> None:
    site = Site(BOLTED)
    site.show(BOLT, ACTIVE)
    site.press(EXIT)
    site.opens()
    site.show(BOLT, NORMAL)
    assert site.wait(DOOR_RESTS_MS / 1_000 + 0.5) == ["stuck.raised bolt thrown-while-open"]
    site.show(BOLT, ACTIVE)
    assert site.wait(1) == ["stuck.cleared bolt thrown-while-open"]


def test_bolt_that_stays_withdrawn_at_a_closed_and_locked_door_is_stuck() -> None:
    site = Site(BOLTED)
    site.show(BOLT, ACTIVE)
    assert site.wait(DOOR_RESTS_MS / 1_000 + 0.5) == ["stuck.raised bolt not-thrown"]
    site.show(BOLT, NORMAL)
    assert site.wait(1) == ["stuck.cleared bolt not-thrown"]


@pytest.mark.parametrize("open_by", ["lock", "release", "command"])
def test_bolt_withdrawn_by_right_is_not_stuck(open_by: str) -> None:
    site = Site(BOLTED)
    match open_by:
        case "lock":
            site.show(LOCK, ACTIVE)
        case "release":
            site.free(on=True)
        case _:
            site.unlock(600)
    site.show(BOLT, ACTIVE)
    site.show(LOCK, ACTIVE)
    assert site.wait(60) == []


def test_bolt_that_a_timed_opening_does_not_withdraw_is_stuck_until_it_moves() -> None:
    site = Site(BOLTED)
    site.unlock(5)
    assert site.wait(BOLT_MOVES_MS / 1_000 + 0.5) == ["stuck.raised bolt not-withdrawn"]
    assert site.wait(60) == []
    site.show(BOLT, ACTIVE)
    assert site.wait(1) == ["stuck.cleared bolt not-withdrawn"]


@pytest.mark.parametrize("lock", list(LockType))
def test_lock_that_does_not_do_what_was_confirmed_is_stuck(lock: LockType) -> None:
    door = replace(PLAIN, lock_type=lock)
    locked, released = (ACTIVE if door.energised(released=r) else NORMAL for r in (False, True))
    site = Site(door)
    site.found += site.monitor.unlocked(at_us=site.now_us, until_us=site.now_us + 5 * S, by="me")
    assert site.wait(3) == ["stuck.raised lock not-released"]
    site.show(LOCK, released)
    assert site.wait(1) == ["stuck.cleared lock not-released"]
    assert site.wait(20) == ["stuck.raised lock not-locked"]
    site.show(LOCK, locked)
    assert site.wait(1) == ["stuck.cleared lock not-locked"]


def test_lock_that_stays_released_after_a_release_is_stuck() -> None:
    site = Site()
    site.show(LOCK, ACTIVE)
    site.free(on=True)
    assert site.wait(60) == []
    site.free(on=False)
    assert site.wait(60) == ["stuck.raised lock not-locked"]


def test_wiring_of_a_pair_and_of_a_pin_is_told_by_its_part() -> None:
    door = replace(PLAIN, request_to_exit=DoorContact("gpio:4"))
    pair = Input(normally_open="gpio:1", normally_closed="gpio:2")
    monitor = DoorMonitor(point(door, wires=pair))
    levels = {"gpio:1": NORMAL, "gpio:2": ACTIVE, "gpio:4": UNKNOWN}
    found: list[Item] = []
    for address, level in levels.items():
        found += monitor.feed(Reading(address, level, 0))
    found += monitor.wake(S)
    assert sorted(words(found)) == [
        "wiring.raised contact both-open",
        "wiring.raised request-to-exit unreadable",
    ]
    assert monitor.faults == ("wiring",)
    for address in levels:
        found = monitor.feed(Reading(address, NORMAL, 2 * S))
    found = monitor.wake(3 * S)
    assert sorted(words(found)) == [
        "door-forced over",
        "door-held over",
        "wiring.cleared contact both-open",
        "wiring.cleared request-to-exit unreadable",
    ]


def test_chatter_is_told_by_its_part() -> None:
    site = Site()
    for number in range(200):
        site.now_us += 5_000
        site.show(EXIT, NORMAL if number % 2 else ACTIVE)
    assert site.wait(1) == ["chatter.raised request-to-exit"]
    assert site.wait(11) == ["chatter.cleared request-to-exit"]


# --- the whole -----------------------------------------------------------------------------------


def test_door_monitor_wants_every_wire_of_its_door() -> None:
    assert set(DoorMonitor(point(CONTROLLED)).addresses) == {
        CONTACT,
        EXIT,
        GRANTED,
        DENIED,
        SAID_FORCED,
        SAID_HELD,
        TAMPER,
        LOCK,
    }


def test_door_monitor_refuses_a_point_without_a_door() -> None:
    with pytest.raises(ValueError, match="main"):
        DoorMonitor(replace(point(), door=None))


def test_table_has_a_way_out_of_every_state() -> None:
    for state in State:
        for event in (Event.OPENS, Event.CLOSES):
            rows = [row for (s, e, _), row in TABLE.items() if (s, e) == (state, event)]
            assert rows or state in {State.CLOSED, State.ASKING, State.OPEN}
            assert all(row[0] is not State.UNSEEN for row in rows)


ACTS = st.lists(
    st.tuples(
        st.sampled_from(
            ["open", "close", "exit", "grant", "unlock", "free", "bind", "silent", "back", "said"]
        ),
        st.sampled_from([0.0, 0.05, 0.3, 1.0, 3.0, 6.0, 31.0]),
    ),
    max_size=60,
)


class Watch:
    """Holds every item against the three promises, in the order they come."""

    def __init__(self) -> None:
        self.allowed = self.used = 0
        self.freed = False
        self.standing: set[str] = set()

    def judge(self, found: list[str]) -> None:
        for number, word in enumerate(found):
            if word in {"door-forced", "door-held"}:
                assert not self.freed
                self.standing.add(word)
            elif word.endswith(" over"):
                self.standing.discard(word.removesuffix(" over"))
            elif word == "opened nobody":
                following = found[number + 1 : number + 2]
                assert "door-forced" in self.standing or following == ["door-forced"]
            elif word in {"opened exit", "opened grant", "opened command"}:
                self.used += 1
                assert self.used <= self.allowed


@CAREFULLY
@given(acts=ACTS)
def test_door_opens_no_more_often_than_it_was_allowed_without_an_alarm(
    acts: list[tuple[str, float]],
) -> None:
    """Nor alarms anybody while it is freed; and closing ends every alarm."""
    site, watch = Site(replace(CONTROLLED, held_after_ms=20_000)), Watch()
    silent = False
    for act, seconds in [*acts, ("back", 12.0), ("bind", 12.0), ("open", 3.0), ("close", 3.0)]:
        if silent and act != "back":
            continue
        watch.judge(site.wait(0))
        match act:
            case "open" | "close":
                site.show(CONTACT, ACTIVE if act == "open" else NORMAL)
            case "exit" | "grant":
                watch.allowed += 1
                watch.judge(site.press(EXIT if act == "exit" else GRANTED, 0.3))
            case "unlock":
                watch.allowed += 1
                watch.judge(site.unlock(1))
            case "free" | "bind":
                watch.freed = act == "free"
                watch.judge(site.free(on=watch.freed))
            case "said":
                watch.judge(site.press(SAID_FORCED, 0.3))
            case "silent":
                silent = True
                watch.judge(site.silent(0))
            case _ if silent:
                silent = False
                watch.judge(site.back(contact=NORMAL))
        watch.judge(site.wait(seconds))
    assert watch.standing == set()


def test_door_monitor_says_the_same_whether_it_is_woken_in_time_or_late() -> None:
    steps = [(0, CONTACT, NORMAL), (0, EXIT, NORMAL), (2, EXIT, ACTIVE), (3, EXIT, NORMAL)]
    steps += [(5, CONTACT, ACTIVE), (60, CONTACT, NORMAL), (70, CONTACT, ACTIVE)]
    late, timely = DoorMonitor(point()), DoorMonitor(point())
    told: tuple[list[Item], list[Item]] = ([], [])
    for second, address, level in [*steps, (200, EXIT, NORMAL)]:
        reading = Reading(address, level, second * S)
        while (due_us := timely.deadline()) is not None and due_us <= reading.at_us:
            told[1].extend(timely.wake(due_us))
        told[0].extend(late.feed(reading))
        told[1].extend(timely.feed(reading))
    assert told[0] == told[1]
    assert words(told[0])[-4:] == ["opened nobody", "door-forced", "held-warning", "door-held"]


def test_timed_opening_that_was_ended_allows_nothing_and_breaks_nothing() -> None:
    site = Site()
    site.unlock(60)
    site.wait(3)
    site.show(LOCK, NORMAL)
    site.relock_us = None
    site.found += site.monitor.locked(at_us=site.now_us)
    assert site.wait(20) == []
    assert site.opens(2) == FORCED_OPENING
