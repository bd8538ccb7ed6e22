"""A simulated door: when it opens and when it does not, and what its contacts show of it."""

from __future__ import annotations

from dataclasses import replace
from random import Random

import pytest

from gateway.core.hardware import Egress
from simulators.building.hardware import Bench
from simulators.building.waveforms import Shape
from simulators.bus.doors import DoorVerb
from simulators.virtual.time import VirtualClock, run_virtual
from tests.simulators.bus_rig import coil, write
from tests.simulators.bus_school import GYM, MAIN, SCHOOL, bench_of, in_school


def unlock(bench: Bench) -> None:
    coil(bench.plant.unit("entrance"), 0, 0xFF00)


def magnet(bench: Bench, *, on: bool) -> None:
    coil(bench.plant.unit("entrance"), 1, 0xFF00 if on else 0)


def calm(bench: Bench) -> None:
    """Inputs drive no relay and no filter delays them, as after a gateway has set the unit up."""
    for place in (*range(6), 7):
        write(bench.plant.unit("entrance"), 9 + place, 3)
        write(bench.plant.unit("entrance"), 20 + place, 0)


def is_open(bench: Bench, name: str) -> bool:
    return bench.door(name).told()["leaf"] == "open"


def is_free(bench: Bench, name: str) -> bool:
    return bench.door(name).told()["lock"] == "free"


def test_door_rests_closed_with_its_contacts_as_configured() -> None:
    async def scenario(bench: Bench, _clock: VirtualClock) -> None:
        assert bench.contact("entrance/input-1").wire_closed
        assert not bench.contact("entrance/input-2").wire_closed
        assert bench.contact("entrance/input-3").wire_closed
        assert not bench.contact("buttons/input-8").wire_closed
        assert bench.contact("gpio:6").wire_closed
        assert bench.plant.unit("entrance").inputs["input-1"].closings == 0

    in_school(scenario)


def test_door_with_a_strike_opens_from_outside_only_while_it_is_energised() -> None:
    async def scenario(bench: Bench, _clock: VirtualClock) -> None:
        calm(bench)
        door = bench.door("main-door")
        assert not await door.open()
        assert bench.contact("entrance/input-1").wire_closed
        unlock(bench)
        assert await door.open()
        assert not bench.contact("entrance/input-1").wire_closed

    in_school(scenario)


def test_door_with_a_handle_opens_from_inside_whatever_the_lock() -> None:
    async def scenario(bench: Bench, _clock: VirtualClock) -> None:
        door = bench.door("main-door")
        assert not door.free
        assert door.can_leave
        assert await door.open(inside=True)

    in_school(scenario)


def test_door_falls_to_by_itself_and_bounces() -> None:
    async def scenario(bench: Bench, clock: VirtualClock) -> None:
        calm(bench)
        unlock(bench)
        door, unit = bench.door("main-door"), bench.plant.unit("entrance")
        for _ in range(20):
            assert await door.open(for_ms=2_000)
            await clock.sleep(1.9)
            assert is_open(bench, "main-door")
            await clock.sleep(1)
            assert not is_open(bench, "main-door")
            assert bench.contact("entrance/input-1").wire_closed
        assert 20 < unit.inputs["input-1"].closings <= 80

    in_school(scenario)


def test_door_held_stays_open_until_it_is_closed() -> None:
    async def scenario(bench: Bench, clock: VirtualClock) -> None:
        door = bench.door("main-door")
        assert await door.hold()
        await clock.sleep(600)
        assert is_open(bench, "main-door")
        await door.close()
        assert not is_open(bench, "main-door")

    in_school(scenario)


def test_door_forced_opens_though_it_is_locked_and_its_controller_says_so() -> None:
    async def scenario(bench: Bench, clock: VirtualClock) -> None:
        door = bench.door("lab-door")
        assert not await door.open()
        assert await door.force()
        assert not bench.contact("gpio:6").wire_closed
        assert bench.contact("orion/forced-5").wire_closed
        await door.close()
        await clock.sleep(1)
        assert not bench.contact("orion/forced-5").wire_closed

    in_school(scenario)


def test_door_magnet_lets_go_without_power() -> None:
    async def scenario(bench: Bench, _clock: VirtualClock) -> None:
        door = bench.door("gym-door")
        assert is_free(bench, "gym-door")
        magnet(bench, on=True)
        assert not is_free(bench, "gym-door")
        assert not await door.open()
        magnet(bench, on=False)
        assert await door.open()

    in_school(scenario)


def test_door_exit_button_in_the_supply_frees_the_lock_without_the_gateway() -> None:
    async def scenario(bench: Bench, clock: VirtualClock) -> None:
        magnet(bench, on=True)
        door, unit = bench.door("gym-door"), bench.plant.unit("buttons")
        assert await door.exit()
        await clock.sleep(0.1)
        assert unit.inputs["input-7"].closings == 1
        assert unit.inputs["input-8"].level
        await clock.sleep(10)
        assert not door.open_now
        assert not door.free

    in_school(scenario)


def test_door_without_a_way_out_keeps_people_in_when_locked() -> None:
    """The physics say so; it is for the configuration to refuse such a door."""

    async def run(clock: VirtualClock, _dice: Random) -> None:
        assert GYM.door is not None
        bad = replace(GYM, door=replace(GYM.door, egress=Egress.NONE, fire_release=None))
        points = tuple(bad if one.id == bad.id else one for one in SCHOOL.points)
        bench = bench_of(replace(SCHOOL, points=points), clock)
        magnet(bench, on=True)
        assert not bench.door("gym-door").can_leave
        assert not await bench.door("gym-door").exit()

    run_virtual(run, seed=1)


def test_door_exit_button_on_a_unit_frees_the_lock_while_the_unit_has_power() -> None:
    async def run(clock: VirtualClock, _dice: Random) -> None:
        assert MAIN.door is not None
        by_unit = replace(MAIN, door=replace(MAIN.door, egress=Egress.UNIT))
        points = tuple(by_unit if one.id == MAIN.id else one for one in SCHOOL.points)
        bench = bench_of(replace(SCHOOL, points=points), clock)
        bench.plant.afflict("entrance", "silent")
        assert await bench.door("main-door").exit(for_ms=500)
        await clock.sleep(10)
        bench.plant.afflict("entrance", "dead")
        assert not bench.door("main-door").can_leave
        assert not await bench.door("main-door").exit()

    run_virtual(run, seed=1)


def test_door_is_freed_by_the_fire_panel_where_that_is_wired() -> None:
    async def scenario(bench: Bench, clock: VirtualClock) -> None:
        magnet(bench, on=True)
        await bench.press("fire-panel", Shape.STUCK)
        assert bench.fire
        assert is_free(bench, "gym-door")
        assert not is_free(bench, "main-door")
        bench.repair("fire-panel")
        await clock.sleep(0.1)
        assert not is_free(bench, "gym-door")

    in_school(scenario)


def test_door_is_not_freed_by_a_cut_wire_between_panel_and_gateway() -> None:
    async def scenario(bench: Bench, _clock: VirtualClock) -> None:
        magnet(bench, on=True)
        await bench.press("fire-panel", Shape.CUT_NC)
        assert not bench.contact("gpio:12").wire_closed
        assert not bench.fire
        assert not bench.door("gym-door").free

    in_school(scenario)


def test_door_badge_frees_it_for_its_time_and_is_written_in_the_controllers_log() -> None:
    async def scenario(bench: Bench, clock: VirtualClock) -> None:
        door, log = bench.door("lab-door"), bench.plant.unit("orion").makings.log
        assert log is not None
        assert await door.badge()
        assert len(log) == 1
        assert await door.open(for_ms=1_000)
        await clock.sleep(6)
        assert not await door.open()
        assert not await door.badge(granted=False)
        assert len(log) == 2
        assert not await door.open()

    in_school(scenario)


def test_door_bolt_contact_shows_a_withdrawn_bolt() -> None:
    async def scenario(bench: Bench, _clock: VirtualClock) -> None:
        calm(bench)
        assert bench.contact("entrance/input-3").wire_closed
        unlock(bench)
        assert not bench.contact("entrance/input-3").wire_closed
        coil(bench.plant.unit("entrance"), 0, 0)
        assert bench.contact("entrance/input-3").wire_closed

    in_school(scenario)


def test_door_lock_on_a_pin_follows_the_pin() -> None:
    async def scenario(bench: Bench, _clock: VirtualClock) -> None:
        door = bench.door("store-door")
        assert not await door.open()
        driven = bench.pins.at("gpio:19")
        driven.function = "output"
        driven.state = True
        assert bench.relay("gpio:19").on
        assert await door.open()

    in_school(scenario)


def test_door_controller_says_held_after_its_own_time() -> None:
    async def scenario(bench: Bench, clock: VirtualClock) -> None:
        await bench.door("store-door").force()
        await clock.sleep(19)
        assert not bench.contact("buttons/input-6").wire_closed
        await clock.sleep(2)
        assert bench.contact("buttons/input-6").wire_closed
        await bench.door("store-door").close()
        assert not bench.contact("buttons/input-6").wire_closed

    in_school(scenario)


def test_door_damage_lasts_while_the_leaf_moves_and_its_repair_shows_the_leaf() -> None:
    async def scenario(bench: Bench, _clock: VirtualClock) -> None:
        await bench.press("main-door", Shape.SHORT_NC)
        await bench.door("main-door").force()
        assert bench.contact("entrance/input-1").wire_closed
        bench.repair("main-door")
        assert not bench.contact("entrance/input-1").wire_closed

    in_school(scenario)


def test_door_is_not_pressed_as_a_button_is() -> None:
    async def scenario(bench: Bench, _clock: VirtualClock) -> None:
        with pytest.raises(ValueError, match="is a door"):
            await bench.press("main-door")

    in_school(scenario)


@pytest.mark.parametrize("verb", list(DoorVerb))
def test_door_does_every_word(verb: DoorVerb) -> None:
    async def scenario(bench: Bench, _clock: VirtualClock) -> None:
        worked = await bench.door("main-door").do(verb)
        refused = {DoorVerb.OPEN, DoorVerb.DENY}
        assert worked is (verb not in refused)

    in_school(scenario)


def test_door_names_its_words_when_told_another() -> None:
    async def scenario(bench: Bench, _clock: VirtualClock) -> None:
        with pytest.raises(ValueError, match="a door can open, force"):
            await bench.door("main-door").do("slam")
        with pytest.raises(ValueError, match="no door 'barn'; there are main-door"):
            bench.door("barn")

    in_school(scenario)
