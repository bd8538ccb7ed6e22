"""One unit's life: known, set up, and only then its outputs move; what is wrong is said once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.base import Contact, Output, Wire
from drivers.modbus.plan.polls import GivenUp
from drivers.modbus.unit.identity import identity_of, same_identity
from drivers.modbus.unit.life import LOOK_AGAIN_US, Life, Lived
from drivers.modbus.unit.settings import settings_for
from drivers.modbus.wire.line import Line
from drivers.modbus.wire.request import (
    Read,
    Reply,
    ReplyKind,
    Request,
    WriteBit,
    WriteRegister,
    WriteRegisters,
)
from gateway.core.hardware import Device, OnSilence
from gateway.core.model import Condition
from gateway.core.profile import (
    IdentityRule,
    Limits,
    Profile,
    Register,
    Setting,
    Table,
    Timing,
    When,
)

MS = 1_000
S = 1_000_000
LINE = Line(character_us=573.0, margin_us=20_000, piece_us=5_000)
MODEL = Register(Table.HOLDING, 200)
IDENTITY = IdentityRule(MODEL, 6, text="one", expect_text="MRM2")
WORDS = tuple(b"MRM2\0\0")


def holding(address: int, **more: object) -> Register:
    return replace(Register(Table.HOLDING, address), **more)  # type: ignore[arg-type]  # tests name the fields they need


MODE = Setting("mode", holding(9), 3)
SAFE = Setting("safe", holding(30), 1, before_outputs=True)


def device(*settings: Setting, identity: IdentityRule | None = IDENTITY, **more: object) -> Device:
    profile = Profile(
        id="wb",
        vendor="WB",
        model="WB-MRM2",
        verified=True,
        source="",
        identity=identity,
        settings=settings,
        uptime=Register(Table.INPUT, 104, 2),
    )
    profile = replace(profile, **more)  # type: ignore[arg-type]  # tests name the fields they need
    return Device("entrance", "corridor", 11, profile)


@dataclass(slots=True)
class Registers:
    """A unit's registers. refuses: the exception code for a request. lost: writes not kept."""

    holding: dict[int, int] = field(default_factory=dict)
    coils: dict[int, int] = field(default_factory=dict)
    refuses: Callable[[Request], int] = lambda _: 0
    lost: frozenset[int] = frozenset()
    asked: list[Request] = field(default_factory=list)

    def answer(self, request: Request) -> Reply:
        self.asked.append(request)
        code = self.refuses(request)
        if code:
            return Reply(ReplyKind.EXCEPTION, code=code)
        match request:
            case Read(Table.COIL, address, count):
                cells = [self.coils.get(address + offset, 0) for offset in range(count)]
                return Reply(ReplyKind.ANSWERED, tuple(cells))
            case Read(_, address, count):
                cells = [self.holding.get(address + offset, 0) for offset in range(count)]
                return Reply(ReplyKind.ANSWERED, tuple(cells))
            case WriteBit(address, raw):
                self.coils[address] = int(raw == 0xFF00)
            case WriteRegister(address, value):
                self._keep(address, value)
            case WriteRegisters(address, values):
                for offset, value in enumerate(values):
                    self._keep(address + offset, value)
        return Reply(ReplyKind.ANSWERED)

    def _keep(self, address: int, value: int) -> None:
        if address not in self.lost:
            self.holding[address] = value

    @property
    def writes(self) -> list[Request]:
        return [request for request in self.asked if not isinstance(request, Read)]


def known(**more: object) -> Registers:
    """The right model, at its factory settings."""
    cells = {200 + offset: word for offset, word in enumerate(WORDS)}
    return replace(Registers(holding=cells), **more)  # type: ignore[arg-type]  # tests name the fields they need


@dataclass(slots=True)
class Story:
    """What a life said, and when it is."""

    life: Life
    unit: Registers
    now_us: int = 0
    conditions: list[Condition] = field(default_factory=list)
    remembered: list[str] = field(default_factory=list)

    def heard(self, lived: Lived) -> Lived:
        self.conditions += lived.conditions
        self.remembered += [] if lived.remember is None else [lived.remember]
        return lived

    def step(self, reply: Reply | None = None) -> bool:
        """One errand, answered by the unit or as told; False when there is none."""
        due_us = self.life.deadline()
        if due_us is None or due_us > self.now_us + 5 * S:
            return False
        self.now_us = max(self.now_us, due_us)
        errand = self.life.errand(self.now_us)
        assert errand is not None
        assert errand == self.life.errand(self.now_us)
        self.now_us += 20 * MS
        reply = self.unit.answer(errand.request) if reply is None else reply
        self.heard(self.life.done(errand, reply, self.now_us))
        return True

    def settle(self) -> Story:
        """Until nothing is to be asked; a script that never ends fails here."""
        for _ in range(1_000):
            if not self.step():
                return self
        raise AssertionError("never settled")


def story(of: Device, unit: Registers, *, first_seen: str | None = None) -> Story:
    wires = [Wire("entrance/input-1", Contact.NORMALLY_OPEN, pressed=True)]
    outputs = [Output("entrance/relay-1")]
    life = Life(of, wires=wires, outputs=outputs, line=LINE, first_seen=first_seen)
    return Story(life, unit)


SILENT = Reply(ReplyKind.SILENT)
GONE = Reply(ReplyKind.GONE)

# --- set-up --------------------------------------------------------------------------------------


def test_unit_that_is_as_it_must_be_is_only_read() -> None:
    unit = known()
    unit.holding |= {9: 3, 30: 1}
    told = story(device(MODE, SAFE), unit).settle()
    assert unit.writes == []
    assert told.life.outputs_ready
    assert told.life.settled
    assert told.life.locked_because == ""
    assert told.conditions == []


def test_setting_that_differs_is_written_and_read_back() -> None:
    unit = known()
    told = story(device(MODE), unit).settle()
    assert unit.writes == [WriteRegister(9, 3)]
    assert unit.asked[-1] == Read(Table.HOLDING, 9)
    assert told.conditions == []


def test_settings_are_surveyed_in_few_reads() -> None:
    unit = known(
        holding={200 + n: w for n, w in enumerate(WORDS)} | dict.fromkeys(range(20, 28), 7)
    )
    many = [Setting(f"filter-{n}", holding(20 + n), 7) for n in range(8)]
    story(device(*many), unit).settle()
    assert unit.asked == [Read(Table.HOLDING, 200, 6), Read(Table.HOLDING, 20, 8)]


def test_survey_that_is_refused_falls_back_to_single_reads() -> None:
    unit = known(refuses=lambda r: 2 if isinstance(r, Read) and 1 < r.count < 6 else 0)
    unit.holding |= {20: 7}
    settings = [Setting(f"filter-{n}", holding(20 + n), 7) for n in (0, 1)]
    told = story(device(*settings), unit).settle()
    assert unit.writes == [WriteRegister(21, 7)]
    assert told.conditions == []


def test_survey_refused_across_a_hole_is_made_again_without_it() -> None:
    unit = known(
        refuses=lambda r: 3 if isinstance(r, Read) and r.address == 20 < r.count + 13 else 0
    )
    unit.holding |= dict.fromkeys((20, 21, 28, 29), 7)
    places = (20, 21, 28, 29)
    many = [Setting(f"filter-{n}", holding(n), 7) for n in places]
    told = story(device(*many, limits=Limits(hole_registers=10)), unit).settle()
    assert unit.asked[1:] == [
        Read(Table.HOLDING, 20, 10),
        Read(Table.HOLDING, 20, 2),
        Read(Table.HOLDING, 28, 2),
    ]
    assert told.conditions == []


def test_survey_nobody_answers_leaves_it_to_single_reads() -> None:
    many = [Setting(f"filter-{n}", holding(20 + n), 0) for n in range(2)]
    told = story(device(*many), known())
    while (due_us := told.life.deadline()) is not None:
        errand = told.life.errand(due_us)
        assert errand is not None
        told.step(SILENT if errand.purpose == "settings" else None)
    assert told.unit.asked[1:] == [Read(Table.HOLDING, 20), Read(Table.HOLDING, 21)]
    assert told.conditions == []


def test_setting_that_is_never_shown_is_said() -> None:
    told = story(device(MODE), known())
    while (due_us := told.life.deadline()) is not None and due_us < 30 * S:
        errand = told.life.errand(due_us)
        assert errand is not None
        told.step(SILENT if errand.purpose == "read mode" else None)
    assert "does not answer when it is read" in str(told.conditions[0].data["why"])


@pytest.mark.parametrize("code", [4, 6])
def test_setting_of_a_unit_in_trouble_is_tried_again_at_the_next_look(code: int) -> None:
    troubled = known(refuses=lambda r: code if isinstance(r, WriteRegister) else 0)
    told = story(device(MODE), troubled).settle()
    assert f"exception {code}" in str(told.conditions[0].data["why"])
    told.unit.refuses = lambda _: 0
    told.now_us += LOOK_AGAIN_US
    told.settle()
    assert told.unit.holding[9] == 3
    assert [condition.standing for condition in told.conditions] == [True, False]


def test_blind_setting_nobody_answers_is_said() -> None:
    told = story(device(Setting("arm", holding(40), 7, blind=True)), known())
    told.step()
    for _ in range(3):
        told.step(SILENT)
    assert "arm" in str(told.conditions[0].data["why"])


def test_survey_never_crosses_the_limits_of_the_unit() -> None:
    unit = known()
    many = [Setting(f"filter-{n}", holding(20 + n), 0) for n in range(8)]
    story(device(*many, limits=Limits(registers=3)), unit).settle()
    assert max(r.count for r in unit.asked[1:] if isinstance(r, Read)) == 3


@pytest.mark.parametrize(("stands", "written"), [(5, 0), (10, 0), (0, 0), (50, 1)])
def test_anything_up_to_most_is_left_alone(stands: int, written: int) -> None:
    unit = known()
    unit.holding[20] = stands
    setting = Setting("filter", holding(20), 10, most=10)
    story(device(setting), unit).settle()
    assert len(unit.writes) == written


def test_blind_setting_is_written_at_every_start_and_never_read() -> None:
    unit = known()
    told = story(device(Setting("arm", holding(40), 7, blind=True)), unit).settle()
    assert unit.writes == [WriteRegister(40, 7)]
    told.heard(told.life.uptime(100, told.now_us))
    told.heard(told.life.uptime(3, told.now_us))
    told.settle()
    assert unit.writes == [WriteRegister(40, 7)] * 2
    assert Read(Table.HOLDING, 40) not in unit.asked


def test_field_of_a_register_is_written_without_its_neighbours() -> None:
    unit = known()
    unit.holding |= {50: 0b1010, 51: 0x1234}
    bit = Setting("bit", holding(50, bit=0), 1)
    clear = Setting("clear", holding(50, bit=3), 0)
    byte = Setting("byte", holding(51, high_byte=True), 0x56)
    told = story(device(bit, clear, byte), unit).settle()
    assert (unit.holding[50], unit.holding[51]) == (0b0011, 0x5634)
    assert told.conditions == []


def test_long_values_and_coils_are_written_as_they_travel() -> None:
    unit = known()
    long = Setting("long", holding(60, words=2), 0x0001_0002)
    low = Setting("one", holding(62, words=2, low_word_first=True), 0x0001_0002)
    coil = Setting("coil", Register(Table.COIL, 5), 1)
    told = story(device(long, low, coil), unit).settle()
    assert [unit.holding[address] for address in range(60, 64)] == [1, 2, 2, 1]
    assert unit.coils[5] == 1
    assert told.conditions == []


def test_unit_is_left_in_peace_while_it_settles() -> None:
    told = story(device(MODE, timing=Timing(settle_ms=200)), known())
    while not told.unit.writes:
        told.step()
    assert told.life.deadline() == told.now_us + 200 * MS
    assert told.life.errand(told.now_us + 199 * MS) is None


def test_errand_tells_the_rest_its_unit_needs() -> None:
    told = story(device(MODE, timing=Timing(settle_ms=200)), known())
    rests = []
    while (errand := told.life.errand(told.life.deadline() or told.now_us)) is not None:
        rests.append((isinstance(errand.request, Read), errand.rest_us))
        told.step()
    assert set(rests) == {(True, 0), (False, 200 * MS)}


# --- outputs -------------------------------------------------------------------------------------


def test_outputs_move_only_once_what_comes_before_them_was_read_back() -> None:
    told = story(device(MODE, SAFE), known())
    ready = []
    while told.step():
        last = told.unit.asked[-1]
        ready.append((last, told.life.outputs_ready))
    first = next(request for request, is_ready in ready if is_ready)
    assert first == Read(Table.HOLDING, 30)
    assert told.unit.writes[0] == WriteRegister(30, 1)


def test_outputs_are_locked_before_the_unit_is_known() -> None:
    life = story(device(), known()).life
    assert not life.outputs_ready
    assert not life.settled
    assert life.locked_because == "the unit is not set up yet"


def test_unit_without_identity_and_settings_is_ready() -> None:
    life = story(device(identity=None), known()).life
    assert life.outputs_ready
    assert life.settled
    assert life.deadline() is None
    assert life.errand(0) is None


def test_setting_the_unit_does_not_keep_is_written_twice_and_locks_its_outputs() -> None:
    told = story(device(SAFE), known(lost=frozenset({30}))).settle()
    assert told.unit.writes == [WriteRegister(30, 1)] * 2
    assert not told.life.outputs_ready
    [condition] = told.conditions
    assert (condition.kind, condition.subject, condition.standing) == (
        "configuration",
        "entrance",
        True,
    )
    assert condition.data["expected"] == "1"
    assert condition.data["found"] == "0"
    assert condition.data["what"] == ["safe"]
    assert condition.data["outputs_locked"] is True
    assert told.life.locked_because == condition.data["why"]


def test_wrong_setting_that_does_not_come_before_outputs_locks_nothing() -> None:
    told = story(device(MODE, SAFE), known(lost=frozenset({9}))).settle()
    assert told.life.outputs_ready
    assert told.conditions[0].data["outputs_locked"] is False
    assert told.unit.holding[30] == 1


@pytest.mark.parametrize("code", [1, 2, 3])
@pytest.mark.parametrize("refused", [Read, WriteRegister])
@pytest.mark.parametrize("setting", [MODE, SAFE], ids=["after", "before outputs"])
def test_refused_setting_is_said_and_locks_only_before_outputs(
    code: int, refused: type, setting: Setting
) -> None:
    address = setting.register.address

    def refuses(request: Request) -> int:
        return code if isinstance(request, refused) and request.address == address else 0

    told = story(device(setting), known(refuses=refuses)).settle()
    [condition] = told.conditions
    assert f"exception {code}" in str(condition.data["why"])
    assert told.life.outputs_ready is (not setting.before_outputs)


def test_write_nobody_answered_is_read_back_before_it_is_sent_again() -> None:
    told = story(device(MODE), known())
    while True:
        errand = told.life.errand(told.life.deadline() or told.now_us)
        assert errand is not None
        if not isinstance(errand.request, Read):
            break
        told.step()
    told.unit.answer(errand.request)
    told.step(SILENT)
    told.settle()
    assert told.unit.writes == [WriteRegister(9, 3)]
    assert told.conditions == []


def test_write_the_unit_never_answers_is_left_after_three() -> None:
    told = story(device(MODE), known())
    sent = 0
    while (due_us := told.life.deadline()) is not None and due_us < 30 * S:
        errand = told.life.errand(due_us)
        assert errand is not None
        sent += not isinstance(errand.request, Read)
        told.step(None if isinstance(errand.request, Read) else SILENT)
    assert sent == 3
    assert "does not answer" in str(told.conditions[0].data["why"])


def test_busy_unit_is_waited_for() -> None:
    busy = iter([6, 5, 15, 6])
    told = story(device(MODE), known(refuses=lambda _: next(busy, 0))).settle()
    assert told.unit.holding[9] == 3
    assert told.conditions == []
    assert told.now_us >= 2 * S


def test_lost_port_counts_for_nothing() -> None:
    told = story(device(MODE), known())
    for _ in range(50):
        assert told.step(GONE)
    told.settle()
    assert told.conditions == []
    assert told.life.outputs_ready


@given(st.lists(st.sampled_from([SILENT, Reply(ReplyKind.DAMAGED), GONE, None]), max_size=200))
def test_set_up_always_ends_and_never_frees_outputs_it_has_not_verified(
    replies: list[Reply | None],
) -> None:
    told = story(device(MODE, SAFE), known(lost=frozenset({30})))
    for reply in replies:
        told.step(reply)
        assert not told.life.outputs_ready
    told.settle()
    assert told.life.settled
    assert [condition.standing for condition in told.conditions] == [True]


# --- identity ------------------------------------------------------------------------------------


def stranger() -> Registers:
    cells = dict(enumerate(b"MR6C", start=200))
    return Registers(holding=cells)


def test_another_model_locks_the_outputs_and_is_not_set_up() -> None:
    told = story(device(MODE, SAFE), stranger()).settle()
    assert told.unit.writes == []
    assert not told.life.outputs_ready
    [condition] = told.conditions
    assert condition.data["expected"] == "MRM2"
    assert condition.data["found"] == "MR6C"
    assert condition.data["unit"] == 11
    assert "another unit answers here" in str(condition.data["why"])


def test_model_that_is_put_right_is_set_up_and_the_fault_ends() -> None:
    told = story(device(SAFE), stranger()).settle()
    told.unit.holding |= dict(enumerate(WORDS, start=200))
    assert told.life.deadline() == told.now_us + LOOK_AGAIN_US
    told.now_us += LOOK_AGAIN_US
    told.settle()
    assert told.unit.holding[30] == 1
    assert told.life.outputs_ready
    assert [condition.standing for condition in told.conditions] == [True, False]


def test_pinned_identity_stands_above_the_profile() -> None:
    pinned = replace(device(), identity="MR6C")
    assert story(pinned, stranger()).settle().life.outputs_ready
    assert not story(pinned, known()).settle().life.outputs_ready


def test_identity_seen_first_is_given_back_once_to_be_remembered() -> None:
    rule = replace(IDENTITY, expect_text="")
    told = story(device(identity=rule), known()).settle()
    assert told.remembered == ["MRM2"]
    assert told.life.outputs_ready
    told.heard(told.life.back(told.now_us))
    told.settle()
    assert told.remembered == ["MRM2"]


def test_unit_that_was_another_one_before_locks_its_outputs() -> None:
    rule = replace(IDENTITY, expect_text="")
    told = story(device(identity=rule), known(), first_seen="MR6C").settle()
    assert told.remembered == []
    assert not told.life.outputs_ready
    assert "this unit has been MR6C" in told.life.locked_because


def test_unit_swapped_during_a_silence_locks_its_outputs() -> None:
    rule = replace(IDENTITY, expect_text="")
    told = story(device(identity=rule), known()).settle()
    told.heard(told.life.silent(told.now_us, age_us=3 * S, why="x"))
    told.unit = stranger()
    told.heard(told.life.back(told.now_us))
    told.settle()
    assert not told.life.outputs_ready


@pytest.mark.parametrize("reply", [SILENT, Reply(ReplyKind.EXCEPTION, code=2)])
def test_unit_that_does_not_say_what_it_is_locks_its_outputs(reply: Reply) -> None:
    told = story(device(), known())
    while told.step(reply):
        pass
    assert not told.life.outputs_ready
    assert "say what it is" in str(told.conditions[0].data["why"])


@pytest.mark.parametrize(
    ("text", "words", "found"),
    [
        ("one", (0x57, 0x42, 0, 0x58), "WB"),
        ("one", (0x5700 | 0x57, 0x42, 0x20), "WB"),
        ("two", (0x5742, 0x2D4D, 0x0000), "WB-M"),
        ("one", (0xFE, 0x07, 0x42), "\ufffd?B"),
        ("", (5_534, 2), "5534,2"),
    ],
)
def test_identity_is_read_as_its_rule_says(text: str, words: tuple[int, ...], found: str) -> None:
    assert identity_of(IdentityRule(MODEL, len(words), text=text), words) == found


@pytest.mark.parametrize(
    ("text", "one", "other", "same"),
    [
        ("", "0x159E 2", "5534,2", True),
        ("", "5534", "5534,2", False),
        ("", "x", "5534", False),
        ("one", " MRM2", "MRM2", True),
        ("one", "MRM2", "MRM", False),
    ],
)
def test_identity_may_be_spelt_in_two_ways(text: str, one: str, other: str, *, same: bool) -> None:
    assert same_identity(IdentityRule(MODEL, 2, text=text), one, other) is same


# --- silence and restarts ------------------------------------------------------------------------


def test_silence_is_a_fault_and_locks_the_outputs() -> None:
    told = story(device(SAFE), known()).settle()
    told.heard(told.life.silent(10 * S, age_us=3_200 * MS, why="3 requests were not answered"))
    assert not told.life.outputs_ready
    assert told.life.locked_because == "the unit is silent"
    assert told.life.deadline() is None
    assert told.life.errand(60 * S) is None
    [condition] = told.conditions
    assert (condition.kind, condition.standing, condition.at_us) == ("unit-silent", True, 10 * S)
    assert condition.data == {
        "bus": "corridor",
        "unit": 11,
        "why": "3 requests were not answered",
        "last_answer_ms": 3_200,
    }


def test_unit_that_is_back_is_set_up_again_before_the_fault_ends() -> None:
    told = story(device(SAFE), known()).settle()
    told.heard(told.life.silent(told.now_us, age_us=None, why="x"))
    told.unit.holding[30] = 0
    told.heard(told.life.back(told.now_us))
    assert told.life.locked_because
    assert [condition.standing for condition in told.conditions] == [True]
    told.settle()
    assert told.unit.holding[30] == 1
    assert told.life.outputs_ready
    assert [condition.standing for condition in told.conditions] == [True, False]


def test_unit_that_falls_silent_while_it_is_set_up_is_one_fault() -> None:
    told = story(device(SAFE), known())
    for _ in range(3):
        told.heard(told.life.silent(told.now_us, age_us=None, why="x"))
        told.heard(told.life.back(told.now_us))
        told.step()
    told.settle()
    assert [condition.standing for condition in told.conditions] == [True, False]


def test_errand_from_before_a_silence_changes_nothing() -> None:
    told = story(device(SAFE), known())
    errand = told.life.errand(0)
    assert errand is not None
    told.heard(told.life.silent(1, age_us=None, why="x"))
    told.heard(told.life.back(2))
    assert told.life.done(errand, told.unit.answer(errand.request), 3) == Lived()
    assert told.settle().life.outputs_ready


def test_unit_with_nothing_to_set_up_is_back_at_once() -> None:
    life = story(device(identity=None), known()).life
    assert [c.standing for c in life.silent(1, age_us=None, why="x").conditions] == [True]
    assert [c.standing for c in life.back(2).conditions] == [False]
    assert life.outputs_ready


def test_uptime_that_went_down_is_a_restart_and_settings_are_written_again() -> None:
    told = story(device(SAFE), known()).settle()
    assert not told.heard(told.life.uptime(5_000, told.now_us)).restarted
    assert not told.heard(told.life.uptime(5_005, told.now_us)).restarted
    told.unit.holding[30] = 0
    assert told.heard(told.life.uptime(2, told.now_us)).restarted
    assert told.life.locked_because
    told.settle()
    assert told.unit.holding[30] == 1
    assert told.life.outputs_ready
    assert told.conditions == []


def test_uptime_that_wraps_is_no_restart() -> None:
    short = device(uptime=Register(Table.INPUT, 104))
    life = story(short, known()).settle().life
    life.uptime(65_530, 0)
    assert not life.uptime(4, 10 * S).restarted


# --- what is wrong, and is looked at again -------------------------------------------------------


def test_second_look_writes_nothing_that_was_not_kept() -> None:
    told = story(device(SAFE), known(lost=frozenset({30}))).settle()
    writes = len(told.unit.writes)
    for _ in range(10):
        told.now_us += LOOK_AGAIN_US
        told.settle()
    assert len(told.unit.writes) == writes
    assert len(told.conditions) == 1


def test_second_look_sees_what_somebody_has_mended() -> None:
    told = story(device(MODE, SAFE), known(lost=frozenset({30}))).settle()
    told.unit.holding[30] = 1
    told.now_us += LOOK_AGAIN_US
    told.settle()
    assert told.life.outputs_ready
    assert [condition.standing for condition in told.conditions] == [True, False]
    assert told.life.deadline() is None


def test_second_look_takes_nothing_from_the_outputs_while_it_lasts() -> None:
    told = story(device(MODE, SAFE), known(lost=frozenset({9}))).settle()
    told.now_us += LOOK_AGAIN_US
    while told.step():
        assert told.life.outputs_ready
        assert told.life.settled


def test_second_look_spares_a_blind_setting_that_was_refused() -> None:
    arm = Setting("arm", holding(40), 7, blind=True)
    other = Setting("other", holding(41), 7, blind=True)
    refuses = known(refuses=lambda r: 2 if isinstance(r, WriteRegister) and r.address == 40 else 0)
    told = story(device(arm, other), refuses).settle()
    told.now_us += LOOK_AGAIN_US
    told.settle()
    assert told.unit.writes == [WriteRegister(40, 7), WriteRegister(41, 7)]
    assert len(told.conditions) == 1


def test_reads_the_plan_gave_up_are_a_configuration_fault() -> None:
    told = story(device(), known()).settle()
    refused = GivenUp(("input-5",), Read(Table.DISCRETE, 5), 2)
    told.heard(told.life.given_up([refused], told.now_us))
    told.heard(told.life.given_up([refused], told.now_us))
    [condition] = told.conditions
    assert condition.data["why"] == "the unit refuses to show input-5 (exception 2)"
    assert told.life.outputs_ready
    told.heard(told.life.uptime(9, told.now_us))
    told.heard(told.life.uptime(1, told.now_us))
    told.settle()
    assert [condition.standing for condition in told.conditions] == [True, False]


def test_reads_given_up_during_set_up_are_told_with_its_findings() -> None:
    told = story(device(MODE), known(lost=frozenset({9})))
    told.heard(told.life.given_up([GivenUp(("x",), Read(Table.COIL, 1), 1)], 0))
    assert told.conditions == []
    told.settle()
    assert [condition.data["what"] for condition in told.conditions] == [["mode", "x"]]


# --- which settings apply ------------------------------------------------------------------------

EVERY = tuple(Setting(when.value, holding(n), 0, when) for n, when in enumerate(When))
PRESSED = Wire("entrance/input-1", Contact.NORMALLY_OPEN, pressed=True)
WATCHED = Wire("entrance/input-2", Contact.NORMALLY_OPEN)


@pytest.mark.parametrize(
    ("wires", "outputs", "names"),
    [
        ([], [], {"always"}),
        ([WATCHED], [], {"always", "input-used"}),
        ([PRESSED], [], {"always", "input-used", "person-operated"}),
        ([], [Output("entrance/relay-1", OnSilence.KEEP)], {"always", "output-used", "safe-keep"}),
        ([], [Output("entrance/relay-1")], {"always", "output-used", "safe-off"}),
        (
            [],
            [Output("entrance/relay-1", OnSilence.LOCK, energised_locks=True)],
            {"always", "output-used", "safe-on"},
        ),
        (
            [],
            [Output("entrance/relay-1", OnSilence.RELEASE)],
            {"always", "output-used", "safe-on"},
        ),
        (
            [],
            [Output("entrance/relay-1", OnSilence.RELEASE, energised_locks=True)],
            {"always", "output-used", "safe-off"},
        ),
    ],
)
def test_settings_apply_by_what_the_unit_is_used_for(
    wires: list[Wire], outputs: list[Output], names: set[str]
) -> None:
    profile = device(*EVERY).profile
    assert {setting.name for setting in settings_for(profile, wires, outputs)} == names


def test_settings_of_a_channel_apply_to_that_channel_only() -> None:
    mine = Setting("mine", holding(1), 0, When.PERSON_OPERATED, channel="input-1")
    other = Setting("other", holding(2), 0, When.PERSON_OPERATED, channel="input-2")
    chosen = settings_for(device(mine, other).profile, [PRESSED, WATCHED], [])
    assert chosen == (mine,)


def test_settings_before_outputs_come_first() -> None:
    assert settings_for(device(MODE, SAFE).profile, [], []) == (SAFE, MODE)
