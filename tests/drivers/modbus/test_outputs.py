"""One output: what goes on the wire, what never does, and one Result for every action."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from drivers.modbus.unit.moves import Way, way_of
from drivers.modbus.wire.request import (
    Read,
    Request,
    WriteBit,
    WriteBits,
    WriteRegister,
    WriteRegisters,
)
from gateway.core.action import Action, Outcome, Urgency
from gateway.core.profile import OutputChannel, Table
from tests.drivers.modbus.output_scene import (
    ADDRESS,
    BOLID,
    DUTY,
    FLASH,
    LOCKED,
    MS,
    OFF,
    ON,
    PLAIN,
    READ_MODE,
    READY,
    SILENT,
    STATE,
    WAITING,
    WAVESHARE,
    WIREN,
    Scene,
    mask,
)

# --- absolute writes ------------------------------------------------------------------------


def test_output_plain_write_is_read_back_and_confirmed() -> None:
    scene = Scene()
    scene.offer("a")
    assert scene.run() == [ON, STATE]
    assert scene.outcomes == [("a", Outcome.CONFIRMED)]


@pytest.mark.parametrize(
    ("channel", "on", "off"),
    [
        (DUTY, WriteRegisters(0, (1000,)), WriteRegisters(0, (0,))),
        (BOLID, WriteBits(10_000, (True,)), WriteBits(10_000, (False,))),
        (replace(DUTY, function=6, on=1), WriteRegister(0, 1), WriteRegister(0, 0)),
        (replace(PLAIN, on=0, off=1), WriteBit(0, 0), WriteBit(0, 0xFF00)),
    ],
    ids=["duty", "function 15", "function 6", "inverted"],
)
def test_output_is_written_as_its_profile_says(
    channel: OutputChannel, on: Request, off: Request
) -> None:
    scene = Scene((channel,))
    scene.offer("a")
    assert scene.run()[0] == on
    scene.offer("b", on=False)
    assert scene.run()[0] == off
    assert [outcome.done for _, outcome in scene.outcomes] == [True, True]


def test_output_without_a_state_register_is_accepted_not_confirmed() -> None:
    scene = Scene((BOLID,))
    scene.offer("a")
    assert len(scene.run()) == 1
    assert scene.outcomes == [("a", Outcome.ACCEPTED)]


def test_output_write_nobody_answered_is_repeated_once() -> None:
    scene = Scene()
    scene.unit.deaf = 1
    scene.offer("a")
    assert scene.run() == [ON, ON, STATE]
    assert scene.outcomes == [("a", Outcome.CONFIRMED)]


def test_output_write_is_never_sent_a_third_time() -> None:
    scene = Scene()
    scene.unit.deaf = 9
    scene.offer("a")
    assert scene.run() == [ON, ON, STATE]
    assert scene.outcomes == [("a", Outcome.FAILED)]
    assert scene.results[0].why == "the unit did not answer"


def test_output_that_moved_though_no_answer_came_is_confirmed_by_a_look() -> None:
    scene = Scene()
    scene.unit.words[Table.DISCRETE, 96] = 1
    scene.unit.deaf = 2
    scene.offer("a")
    scene.run()
    assert scene.outcomes == [("a", Outcome.CONFIRMED)]


def test_output_that_does_not_follow_is_a_mismatch_within_its_time() -> None:
    scene = Scene()
    scene.unit.stuck = True
    scene.offer("a")
    sent = scene.run(3_000)
    assert [request for request in sent if request != STATE] == [ON, ON]
    assert scene.outcomes == [("a", Outcome.MISMATCH)]
    assert scene.results[0].at_us <= 2 * 600 * MS


def test_output_echoed_without_effect_is_written_again() -> None:
    scene = Scene()
    scene.unit.stuck = True
    scene.offer("a")
    scene.run(300)
    scene.unit.stuck = False
    scene.run()
    assert scene.outcomes == [("a", Outcome.CONFIRMED)]


def test_output_refused_is_failed_at_once_with_the_exception() -> None:
    scene = Scene()
    scene.unit.refuse = lambda request: 2 if request == ON else 0
    scene.offer("a")
    assert scene.run() == [ON]
    assert scene.outcomes == [("a", Outcome.FAILED)]
    assert "exception 2" in scene.results[0].why


def test_output_of_a_busy_unit_is_written_when_it_has_time() -> None:
    scene = Scene()
    busy = [6, 6, 6]
    scene.unit.refuse = lambda request: busy.pop() if busy and request == ON else 0
    scene.offer("a")
    assert scene.run() == [ON, ON, ON, ON, STATE]
    assert scene.outcomes == [("a", Outcome.CONFIRMED)]


def test_output_write_acknowledged_for_later_is_read_back() -> None:
    """Exception 5: the unit has taken it and is doing it."""
    scene = Scene()
    scene.unit.refuse = lambda request: 5 if request == ON else 0
    scene.unit.words[Table.DISCRETE, 96] = 1
    scene.offer("a")
    assert scene.run() == [ON, STATE]
    assert scene.outcomes == [("a", Outcome.CONFIRMED)]


# --- expiry ---------------------------------------------------------------------------------


def test_output_of_a_silent_unit_waits_and_expires_without_a_word_on_the_wire() -> None:
    scene = Scene(gate=SILENT)
    action = scene.offer("a", within_ms=800)
    assert scene.run() == []
    assert scene.outcomes == [("a", Outcome.EXPIRED)]
    assert action.not_after_us < scene.results[0].at_us <= action.not_after_us + 2
    scene.gate = READY
    assert scene.run() == []


def test_output_of_a_silent_unit_moves_when_it_is_back_in_time() -> None:
    scene = Scene(gate=SILENT)
    scene.offer("a", within_ms=800)
    scene.run(500)
    scene.gate = WAITING
    scene.run(100)
    assert scene.unit.log == []
    scene.gate = READY
    assert scene.run() == [ON, STATE]


def test_output_is_not_repeated_after_its_expiry() -> None:
    scene = Scene()
    scene.unit.deaf = 1
    scene.offer("a", within_ms=5)
    assert scene.run() == [ON]
    assert scene.outcomes == [("a", Outcome.FAILED)]


def test_output_expires_while_its_timer_is_being_set() -> None:
    scene = Scene((WIREN,))
    scene.offer("a", for_ms=3_000, within_ms=45)
    assert ON not in scene.run()
    assert scene.outcomes == [("a", Outcome.EXPIRED)]


def test_output_of_a_locked_unit_is_refused_with_the_reason() -> None:
    scene = Scene(gate=LOCKED)
    scene.offer("a")
    assert scene.run() == []
    assert scene.outcomes == [("a", Outcome.LOCKED)]
    assert scene.results[0].why == "it says it is another model"


# --- pulses inside the unit -----------------------------------------------------------------


def test_output_timer_is_set_and_verified_before_the_output_moves() -> None:
    scene = Scene((WIREN,))
    scene.offer("a", for_ms=5_050)
    read_time = Read(Table.HOLDING, 1784)
    assert scene.run() == [
        *(READ_MODE, WriteRegister(1760, 3), READ_MODE),
        *(read_time, WriteRegister(1784, 51), read_time),
        *(ON, STATE),
    ]
    assert scene.outcomes == [("a", Outcome.CONFIRMED)]


def test_output_timer_already_set_is_only_looked_at() -> None:
    scene = Scene((WIREN,))
    scene.unit.words |= {(Table.HOLDING, 1760): 3, (Table.HOLDING, 1784): 50}
    scene.offer("a", for_ms=5_000)
    assert scene.run() == [READ_MODE, Read(Table.HOLDING, 1784), ON, STATE]


def test_output_whose_timer_does_not_take_its_time_does_not_move() -> None:
    scene = Scene((WIREN,))
    scene.unit.refuse = lambda request: 3 if request == WriteRegister(1784, 50) else 0
    scene.offer("a", for_ms=5_000)
    assert ON not in scene.run()
    assert scene.outcomes == [("a", Outcome.FAILED)]
    assert "1784" in scene.results[0].why


def test_output_left_in_a_pulse_mode_is_taken_out_of_it_before_it_is_held() -> None:
    scene = Scene((WIREN,))
    scene.unit.words[Table.HOLDING, 1760] = 3
    scene.offer("a")
    assert scene.run() == [READ_MODE, WriteRegister(1760, 0), READ_MODE, ON, STATE]


def test_output_of_a_unit_without_timer_registers_can_still_be_held() -> None:
    """Firmware before the timers answers exception 2."""
    scene = Scene((WIREN,))
    scene.unit.refuse = lambda request: 2 if request == READ_MODE else 0
    scene.offer("a")
    assert scene.run() == [READ_MODE, ON, STATE]


def test_output_magnet_is_timed_by_the_off_pulse() -> None:
    scene = Scene((WIREN,))
    scene.unit.words |= {(Table.DISCRETE, 96): 1, (Table.COIL, 0): 1}
    scene.offer("a", on=False, for_ms=4_000)
    sent = scene.run()
    assert WriteRegister(1760, 4) in sent
    assert WriteRegister(1792, 40) in sent
    assert sent[-2:] == [OFF, STATE]


def test_output_flash_is_one_write_with_the_time_in_it() -> None:
    scene = Scene((WAVESHARE,))
    scene.offer("a", for_ms=650)
    assert scene.run(1_000) == [WriteBit(0x200, 7), Read(Table.COIL, 0)]
    assert scene.outcomes == [("a", Outcome.CONFIRMED)]


def test_output_flash_is_cancelled_by_a_plain_write() -> None:
    scene = Scene((WAVESHARE,))
    scene.offer("a", for_ms=60_000)
    scene.run(500)
    scene.offer("b", on=False)
    assert scene.run()[0] == OFF


def test_output_flash_nobody_answered_is_repeated_once_and_not_after_a_mismatch() -> None:
    scene = Scene((WAVESHARE,))
    scene.unit.deaf = 1
    scene.offer("a", for_ms=60_000)
    flash = WriteBit(0x200, 600)
    assert scene.run()[:2] == [flash, flash]
    scene.unit.stuck = True
    scene.unit.words.clear()
    scene.offer("b", for_ms=60_000)
    assert scene.run().count(flash) == 1
    assert scene.outcomes == [("a", Outcome.CONFIRMED), ("b", Outcome.MISMATCH)]


def test_output_flash_over_before_anybody_could_look_is_accepted() -> None:
    scene = Scene((WAVESHARE,))
    scene.unit.refuse = lambda request: 6 if isinstance(request, Read) else 0
    scene.offer("a", for_ms=100)
    scene.run()
    assert scene.outcomes == [("a", Outcome.ACCEPTED)]


@settings(derandomize=True, deadline=None)
@given(for_ms=st.integers(1, 10_000_000))
def test_output_pulse_is_never_shorter_than_asked_and_fits_the_unit(for_ms: int) -> None:
    action = Action(id="a", output=ADDRESS, on=True, for_ms=for_ms, not_after_us=0)
    way, steps = way_of(WAVESHARE, action)
    if way is Way.SOFT:
        assert for_ms > FLASH.most * FLASH.unit_ms
    else:
        assert FLASH.least <= steps <= FLASH.most
        assert for_ms <= steps * FLASH.unit_ms < for_ms + FLASH.unit_ms


# --- pulses of ours -------------------------------------------------------------------------


def test_output_pulse_of_ours_goes_back_in_time() -> None:
    scene = Scene()
    scene.offer("a", for_ms=1_000)
    assert scene.run(900) == [ON, STATE]
    assert scene.run(300) == [OFF, STATE]
    assert scene.actuators[0].idle
    assert scene.outcomes == [("a", Outcome.CONFIRMED)]


def test_output_pulse_end_goes_before_commands_and_after_what_saves_lives() -> None:
    scene = Scene((PLAIN, mask(0), mask(1)))
    scene.offer("a", for_ms=100)
    scene.run(90)
    scene.now_us = 200 * MS
    scene.offer("b", output=1)
    assert scene.actuators[0].urgency(scene.now_us, READY) is Urgency.PULSE_END
    scene.offer("c", output=2, urgency=Urgency.LIFE)
    sent = scene.run()
    assert sent.index(WriteRegister(50, 2)) < sent.index(OFF) < sent.index(WriteRegister(50, 3))


def test_output_pulse_end_is_sent_until_it_is_acknowledged() -> None:
    scene = Scene()
    scene.offer("a", for_ms=200)
    scene.run(150)
    scene.unit.deaf = 10
    sent = scene.run(5_000)
    assert sent.count(OFF) > 5
    assert scene.unit.words[Table.COIL, 0] == 0
    assert scene.actuators[0].idle
    assert scene.reports == ["modbus.pulse.stuck", "modbus.pulse.ended"]


def test_output_pulse_end_waits_for_a_silent_unit_and_for_its_set_up() -> None:
    """It may have become another unit meanwhile."""
    scene = Scene()
    scene.offer("a", for_ms=200)
    scene.run(150)
    for gate in (SILENT, WAITING, LOCKED):
        scene.gate = gate
        assert scene.run(10_000) == []
    assert scene.reports == ["modbus.pulse.stuck"]
    scene.gate = READY
    assert scene.run(1_000) == [OFF, STATE]
    assert scene.reports == ["modbus.pulse.stuck", "modbus.pulse.ended"]


def test_output_pulse_nobody_answered_is_ended_all_the_same() -> None:
    """It may have opened the door."""
    scene = Scene()
    scene.unit.deaf = 3
    scene.offer("a", for_ms=1_000)
    assert scene.run(3_000) == [ON, ON, STATE, OFF, STATE]
    assert scene.outcomes == [("a", Outcome.FAILED)]


def test_output_pulse_over_before_anybody_could_look_is_not_begun_again() -> None:
    scene = Scene()
    busy = [6, 6]
    scene.unit.refuse = lambda request: busy.pop() if busy and request == STATE else 0
    scene.offer("a", for_ms=30)
    assert scene.run(3_000).count(ON) == 1
    assert scene.outcomes == [("a", Outcome.ACCEPTED)]


def test_output_pulse_acknowledged_while_the_driver_stops_ends_at_once() -> None:
    scene = Scene()
    scene.offer("a", for_ms=60_000)
    actuator = scene.actuators[0]
    request = actuator.ask(scene.now_us, READY)
    assert request == ON
    actuator.stop(scene.now_us)
    actuator.take(scene.unit.answer(ON), scene.now_us + 10 * MS)
    assert OFF in scene.run(500)
    assert actuator.idle


def test_output_pulse_the_unit_refused_has_no_end() -> None:
    scene = Scene()
    scene.unit.refuse = lambda request: 3 if request == ON else 0
    scene.offer("a", for_ms=1_000)
    assert scene.run(3_000) == [ON]


def test_output_held_during_a_pulse_stays_as_it_is_when_the_pulse_would_end() -> None:
    scene = Scene()
    scene.offer("a", for_ms=1_000)
    scene.run(500)
    scene.offer("fire", urgency=Urgency.LIFE)
    scene.run(5_000)
    assert OFF not in scene.unit.log
    assert scene.outcomes == [("a", Outcome.CONFIRMED), ("fire", Outcome.CONFIRMED)]


def test_output_pulse_is_still_ended_when_what_came_after_it_expired() -> None:
    scene = Scene()
    scene.offer("a", for_ms=1_000)
    scene.run(500)
    scene.gate = WAITING
    scene.offer("b", within_ms=100)
    scene.run(200)
    scene.gate = READY
    assert scene.run(2_000) == [OFF, STATE]
    assert scene.outcomes[-1] == ("b", Outcome.EXPIRED)


def test_output_pulse_is_ended_at_once_when_the_driver_stops() -> None:
    scene = Scene()
    scene.offer("a", for_ms=60_000)
    scene.run(500)
    scene.actuators[0].stop(scene.now_us)
    assert scene.run(100) == [OFF, STATE]
    assert scene.actuators[0].idle


def test_output_pulse_keeps_its_end_when_what_took_it_over_was_refused() -> None:
    scene = Scene((WAVESHARE,))
    scene.offer("a", for_ms=7_000_000)
    scene.run(200)
    scene.unit.refuse = lambda request: 3 if request == WriteBit(0x200, 600) else 0
    scene.offer("b", for_ms=60_000)
    scene.run(200)
    assert scene.outcomes[-1] == ("b", Outcome.FAILED)
    scene.actuators[0].stop(scene.now_us)
    assert scene.run(200)[0] == OFF


def test_output_too_late_at_the_port_itself_has_not_begun() -> None:
    scene = Scene()
    scene.offer("a", for_ms=100)
    scene.run(50)
    actuator = scene.actuators[0]
    action = scene.offer("b", within_ms=1_000)
    assert actuator.ask(scene.now_us, READY) == ON
    assert actuator.not_after_us == action.not_after_us
    actuator.take(None, action.not_after_us + 1)
    assert scene.outcomes[-1] == ("b", Outcome.EXPIRED)
    assert scene.run(200) == [OFF, STATE]


# --- one result each ------------------------------------------------------------------------


def test_output_action_not_begun_is_replaced_by_a_later_one() -> None:
    scene = Scene(gate=SILENT)
    scene.offer("a")
    scene.offer("b", on=False)
    scene.gate = READY
    assert scene.run() == [OFF, STATE]
    assert scene.outcomes == [("a", Outcome.REPLACED), ("b", Outcome.CONFIRMED)]


def test_output_action_that_has_begun_is_finished_without_waiting_for_what_it_shows() -> None:
    scene = Scene()
    scene.unit.stuck = True
    scene.offer("a")
    scene.step()
    scene.offer("b", on=False)
    scene.unit.stuck = False
    begin_us = scene.now_us
    scene.run()
    assert scene.outcomes == [("a", Outcome.MISMATCH), ("b", Outcome.CONFIRMED)]
    assert scene.results[-1].at_us - begin_us < 50 * MS


def test_output_only_the_last_of_those_that_wait_is_done() -> None:
    scene = Scene()
    scene.offer("a")
    scene.step()
    for name in ("b", "c", "d"):
        scene.offer(name, on=False)
    scene.run()
    assert dict(scene.outcomes) == {
        "a": Outcome.CONFIRMED,
        "b": Outcome.REPLACED,
        "c": Outcome.REPLACED,
        "d": Outcome.CONFIRMED,
    }


def test_output_lost_port_fails_what_has_begun_and_keeps_what_waits() -> None:
    scene = Scene((PLAIN, mask(0)))
    scene.offer("a")
    scene.actuators[0].ask(scene.now_us, READY)
    scene.offer("b", output=1)
    for actuator in scene.actuators:
        actuator.cut("unplugged", scene.now_us)
    assert scene.outcomes == [("a", Outcome.FAILED)]
    scene.run()
    assert scene.outcomes[-1] == ("b", Outcome.CONFIRMED)


def test_output_that_frees_a_door_is_tried_until_its_expiry() -> None:
    scene = Scene()
    scene.unit.deaf = 12
    scene.offer("fire", urgency=Urgency.LIFE, within_ms=60_000)
    scene.run(10_000)
    assert scene.outcomes == [("fire", Outcome.CONFIRMED)]
    assert scene.unit.words[Table.COIL, 0] == 1


def test_output_give_up_answers_everything() -> None:
    scene = Scene()
    scene.offer("a", for_ms=9_000)
    scene.step()
    scene.offer("b")
    scene.actuators[0].give_up(scene.now_us)
    assert dict(scene.outcomes) == {"a": Outcome.FAILED, "b": Outcome.FAILED}
    assert scene.actuators[0].idle


# --- masks ----------------------------------------------------------------------------------


def test_output_in_a_mask_leaves_the_others_alone() -> None:
    scene = Scene((mask(0), mask(3)))
    scene.unit.words[Table.HOLDING, 50] = 0b1000_0000
    scene.offer("a")
    scene.offer("b", output=1)
    scene.run()
    assert scene.unit.words[Table.HOLDING, 50] == 0b1000_1001
    scene.offer("c", on=False)
    scene.run()
    assert scene.unit.words[Table.HOLDING, 50] == 0b1000_1000
    assert [outcome for _, outcome in scene.outcomes] == [Outcome.CONFIRMED] * 3


def test_output_in_a_mask_reads_it_again_after_a_write_nobody_answered() -> None:
    scene = Scene((mask(0), mask(1)))
    lost = [WriteRegister(50, 1)]

    def lose(request: Request) -> int:
        if request in lost:
            lost.clear()
            scene.unit.words[Table.HOLDING, 50] = 1
            scene.unit.log.append(request)
            return 11
        return 0

    scene.unit.refuse = lose
    scene.offer("a")
    scene.offer("b", output=1)
    scene.run()
    assert scene.unit.words[Table.HOLDING, 50] == 3
    assert [outcome for _, outcome in scene.outcomes] == [Outcome.CONFIRMED] * 2


def test_output_in_a_mask_never_trusts_what_a_write_nobody_answered_may_have_changed() -> None:
    """Both have read the mask when the other's last write is done, and its echo lost."""
    scene = Scene((mask(0), mask(1)))
    tries = [0]

    def lose(request: Request) -> int:
        if request == WriteRegister(50, 2):
            tries[0] += 1
            if tries[0] == 2:
                scene.unit.words[Table.HOLDING, 50] = 2
            return 11 if tries[0] <= 2 else 0
        return 0

    scene.unit.refuse = lose
    scene.offer("a")
    scene.step()
    scene.offer("b", output=1, urgency=Urgency.PULSE_END)
    scene.run()
    assert scene.unit.words[Table.HOLDING, 50] == 3
