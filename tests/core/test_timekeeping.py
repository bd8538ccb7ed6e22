"""Is UTC to be believed: told when it is not for too long, or was vouched for and untrue; once."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.core.kinds import contact_id_of, stream_of
from gateway.core.model import Fact, Stamp, Stream
from gateway.core.standing import Standing, patience_of
from gateway.core.timekeeping import (
    LOOK_EVERY_US,
    STEADY_US,
    STEP_MS,
    UNSYNCHRONISED_AFTER_US,
    Timekeeping,
    set_by_ms,
)
from tests.school import SCHOOL

MINUTE_US = 60_000_000
HOUR_MS = 3_600_000


@dataclass
class Box:
    """A machine whose clock can be set; what was told of it, and when."""

    synchronised: bool = True
    utc_ms: int = 1_767_225_600_000
    error_ms: int = 10
    now_us: int = 0
    told: list[Fact] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.core = Timekeeping("school-12-main", 0)

    def look(self) -> None:
        error_ms = self.error_ms if self.synchronised else None
        stamp = Stamp(self.utc_ms, self.synchronised, error_ms, "b0070000", self.now_us // 1_000)
        self.told += self.core.feed(self.now_us, stamp)

    def live(self, minutes: int) -> None:
        """Time passes; it is looked at whenever it is due."""
        end_us = self.now_us + minutes * MINUTE_US
        while self.core.deadline() <= end_us:
            self._pass(self.core.deadline() - self.now_us)
            self.look()
        self._pass(end_us - self.now_us)

    def _pass(self, us: int) -> None:
        self.now_us += us
        self.utc_ms += us // 1_000

    def set_by(self, ms: int, *, synchronised: bool) -> None:
        self.utc_ms += ms
        self.synchronised = synchronised

    @property
    def words(self) -> list[tuple[str, object]]:
        return [(fact.type.rpartition(".")[2], fact.data.get("why")) for fact in self.told]

    def settled(self) -> None:
        """Past the word that nothing stands any more of what a start may have found."""
        self.live(STEADY_US // MINUTE_US + 1)
        self.told.clear()


HALF_HOUR = UNSYNCHRONISED_AFTER_US // MINUTE_US
TEN = STEADY_US // MINUTE_US


def test_box_without_a_time_server_is_told_of_after_half_an_hour_once() -> None:
    box = Box(synchronised=False)
    box.live(HALF_HOUR - 1)
    assert box.told == []
    box.live(1)
    (fact,) = box.told
    assert (fact.type, fact.subject) == ("fault.clock.raised", "school-12-main")
    assert fact.data == {"why": "unsynchronised", "unsynchronised_ms": HALF_HOUR * 60_000}
    box.live(600)
    assert len(box.told) == 1


def test_box_that_finds_its_time_server_late_after_a_boot_is_not_told_of() -> None:
    """1970 for twenty-nine minutes, then right: nobody had vouched for the wrong date."""
    box = Box(synchronised=False, utc_ms=0)
    box.live(HALF_HOUR - 1)
    box.set_by(1_767_225_600_000, synchronised=True)
    box.live(60)
    assert [word for word, _ in box.words if word == "raised"] == []


def test_clock_that_is_found_again_ends_the_fault_and_says_by_how_much_it_was_wrong() -> None:
    box = Box(synchronised=False, utc_ms=0)
    box.live(HALF_HOUR + 15)
    box.set_by(1_767_225_600_000, synchronised=True)
    box.live(1)
    assert box.words == [("raised", "unsynchronised"), ("cleared", "unsynchronised")]
    assert box.told[1].data["by_ms"] == 1_767_225_600_000
    assert box.told[1].data["lasted_ms"] == 16 * 60_000
    box.live(60)
    assert len(box.told) == 2


def test_clock_set_by_hand_and_put_right_soon_is_not_told_of() -> None:
    """What was stamped meanwhile says itself that nobody vouched for it."""
    box = Box()
    box.settled()
    box.set_by(HOUR_MS, synchronised=False)
    box.live(HALF_HOUR - 2)
    box.set_by(-HOUR_MS, synchronised=True)
    box.live(60)
    assert box.told == []


def test_clock_set_by_hand_that_nobody_puts_right_is_told_of() -> None:
    box = Box()
    box.settled()
    box.set_by(HOUR_MS, synchronised=False)
    box.live(HALF_HOUR + 1)
    assert box.words == [("raised", "unsynchronised")]


@pytest.mark.parametrize("by_ms", [-HOUR_MS, -61_000, 61_000, HOUR_MS])
def test_utc_that_was_vouched_for_before_and_after_a_step_is_told_at_once(by_ms: int) -> None:
    """The kernel's word was wrong once, and nothing on the events shows it."""
    box = Box()
    box.settled()
    box.set_by(by_ms, synchronised=True)
    box.live(1)
    (fact,) = box.told
    assert fact.type == "fault.clock.raised"
    assert (fact.data["why"], fact.data["by_ms"]) == ("stepped", by_ms)
    allowed_ms = fact.data["allowed_ms"]
    assert isinstance(allowed_ms, int)
    assert STEP_MS <= allowed_ms < STEP_MS + 100


def test_utc_that_is_vouched_for_again_hours_later_and_differs_is_told() -> None:
    box = Box()
    box.settled()
    box.set_by(0, synchronised=False)
    box.live(20)
    box.set_by(HOUR_MS, synchronised=True)
    box.live(1)
    assert box.words == [("raised", "stepped")]


def test_fault_of_nobody_vouching_ends_before_that_of_a_broken_word_begins() -> None:
    """Two things that are wrong one after the other: each raised once, each cleared once."""
    box = Box()
    box.settled()
    box.set_by(0, synchronised=False)
    box.live(HALF_HOUR + 5)
    box.set_by(HOUR_MS, synchronised=True)
    box.live(1 + TEN)
    assert box.words == [
        ("raised", "unsynchronised"),
        ("cleared", "unsynchronised"),
        ("raised", "stepped"),
        ("cleared", "stepped"),
    ]


@pytest.mark.parametrize("by_ms", [-1_000, 1_000, -STEP_MS, STEP_MS])
def test_leap_second_and_less_than_two_are_no_step(by_ms: int) -> None:
    box = Box()
    box.settled()
    box.set_by(by_ms, synchronised=True)
    box.live(60)
    assert box.told == []


def test_step_within_what_the_kernel_said_is_none() -> None:
    """Nine hours without a server, its bound grown to fifteen seconds: it kept its word."""
    box = Box(error_ms=15_000)
    box.settled()
    box.set_by(14_000, synchronised=True)
    box.live(60)
    assert box.told == []


def test_clock_that_drifts_as_far_as_crystals_do_keeps_its_word() -> None:
    """Its server was gone for a day, at 400 ppm: the bound grows as the kernel's own."""
    box = Box()
    box.settled()
    box.set_by(0, synchronised=False)
    box.live(24 * 60)
    box.set_by(24 * HOUR_MS * 400 // 1_000_000, synchronised=True)
    box.live(1)
    assert box.words == [("raised", "unsynchronised"), ("cleared", "unsynchronised")]


def test_two_services_that_fight_over_a_clock_are_one_fault() -> None:
    box = Box()
    box.settled()
    for _ in range(20):
        for by_ms in (HOUR_MS, -HOUR_MS):
            box.set_by(by_ms, synchronised=True)
            box.live(3)
    assert box.words == [("raised", "stepped")]
    box.live(TEN - 3)
    assert box.words == [("raised", "stepped")]
    box.live(2)
    assert box.words[1:] == [("cleared", "stepped")]


def test_clock_that_was_untrue_must_be_vouched_for_all_the_time_before_it_is_good() -> None:
    box = Box()
    box.settled()
    box.set_by(HOUR_MS, synchronised=True)
    box.live(TEN - 1)
    box.synchronised = False
    box.live(2)
    box.synchronised = True
    box.live(TEN - 1)
    assert box.words == [("raised", "stepped")]
    box.live(3)
    assert box.words[1:] == [("cleared", "stepped")]


def test_clock_fault_is_log_and_goes_under_the_code_for_inaccurate_time() -> None:
    assert stream_of("fault.clock.raised") is Stream.LOG
    code = contact_id_of("fault.clock.raised", None)
    assert code is not None
    assert code["code"] == "626"


# --- through restarts ---


def starts(standing: list[Fact], box: Box, minutes: int) -> list[tuple[str, object]]:
    """What centres hear of a start that lasts so long, with that standing from before."""
    from gateway.core.model import Event  # noqa: PLC0415 -- only here an event is made by hand

    stamp = Stamp(0, synchronised=False, error_ms=None, boot="a", monotonic_ms=0)
    before = [Event("e", fact.type, fact.subject, stamp, data=fact.data) for fact in standing]
    gate = Standing(before, patience_of(SCHOOL), now_us=0)
    heard: list[Fact] = []
    for _ in range(minutes):
        seen = len(box.told)
        box.live(1)
        heard += gate.passed(box.told[seen:])
        heard += gate.passed(gate.wake(box.now_us))
    return [(fact.type.rpartition(".")[2], fact.data.get("unseen")) for fact in heard]


RAISED = Fact("fault.clock.raised", "school-12-main", 0, data={"why": "unsynchronised"})


def test_box_that_never_has_a_time_server_is_told_of_once_in_its_life() -> None:
    assert starts([RAISED], Box(synchronised=False), 600) == []


def test_clock_that_is_right_again_after_a_restart_is_told_once() -> None:
    assert starts([RAISED], Box(), 600) == [("cleared", None)]


def test_start_with_a_clock_that_is_right_has_nothing_to_tell() -> None:
    assert starts([], Box(), 600) == []


# --- whatever happens ---

STEPS = st.tuples(
    st.sampled_from([0, 500, -900, 61_000, -HOUR_MS, 10**12]), st.booleans(), st.integers(1, 45)
)


@settings(derandomize=True, deadline=None)
@given(steps=st.lists(STEPS, max_size=12))
def test_raised_and_cleared_take_turns_whatever_is_done_to_a_clock(
    steps: list[tuple[int, bool, int]],
) -> None:
    box = Box()
    box.settled()
    for by_ms, synchronised, minutes in steps:
        box.set_by(by_ms, synchronised=synchronised)
        box.live(minutes)
    phases = [word for word, _ in box.words]
    assert phases == ["raised", "cleared"] * (len(phases) // 2) + ["raised"] * (len(phases) % 2)
    assert (box.core.standing is not None) is bool(len(phases) % 2)
    box.set_by(0, synchronised=True)
    box.live(TEN + 2)
    assert box.core.standing is None
    assert box.core.doubtful_us is None


def test_look_comes_once_a_minute() -> None:
    box = Box()
    box.look()
    assert box.core.deadline() == LOOK_EVERY_US


def test_set_by_sees_a_step_and_no_time_that_passes() -> None:
    before = Stamp(1_000, synchronised=True, error_ms=1, boot="b", monotonic_ms=50)
    after = Stamp(9_000, synchronised=True, error_ms=1, boot="b", monotonic_ms=1_050)
    assert set_by_ms(before, after) == 7_000
