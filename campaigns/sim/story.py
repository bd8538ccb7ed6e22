"""What people do in the told school: presses, lessons, tests, drills, fires. One function each.

Every episode takes what it needs for itself, tells the auditor what must come of it before it does
it, and leaves the building as it found it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

from campaigns.sim.causes import Cause
from campaigns.sim.spans import ADAPTER, GATEWAY, OPERATOR, UNIT, wires
from campaigns.sim.told import US_PER_S, WORD_WITHIN_S, Told
from gateway.core.model import AlarmState
from simulators.building.waveforms import Shape
from simulators.virtual.year_school import (
    ACKNOWLEDGE_WITHIN_MS,
    BUTTONS,
    DEPUTY,
    FIRE,
    MAIN_DOOR,
    ON_UNIT,
    RESET_KEY,
    SCHOOL,
    YARD_DOOR,
)

Episode: TypeAlias = Callable[[Told], Awaitable[None]]

PRESSES = (Shape.CLEAN, Shape.BOUNCE, Shape.BOUNCE, Shape.CHATTER)
DAMAGE = {
    Shape.CUT_NO_PRESS: 1,
    Shape.CUT_NC: 1,
    Shape.CUT_NC_PRESS: 2,
    Shape.CUT_COMMON: 1,
    Shape.CUT_COMMON_PRESS: 1,
    Shape.SHORT_NO: 1,
    Shape.SHORT_NO_PRESS: 2,
    Shape.SHORT_NC_PRESS: 1,
}
"""What a damaged pair tells: the doubt, and the press where that is still seen apart from it."""
CONFIRMED_US = 250_000
"""A bounce lasts 157 ms at the most, a doubt 200 ms."""
POLLED_US = 1_500_000
LEAST_MS = {False: 80, True: 700}
"""A press that must be seen: on a pin, and on a unit without counters that is asked at 200 ms."""
_ACK_S = ACKNOWLEDGE_WITHIN_MS / 1e3


def _kind(point: str) -> str:
    return SCHOOL.point(point).kind.value


async def pressed(t: Told, point: str, *, ms: int | None = None, **how: Any) -> Cause:
    """One press that must be told; returns when the finger is off."""
    await t.there()
    on_unit = point in ON_UNIT
    ms = t.dice.randint(LEAST_MS[on_unit], 2_500) if ms is None else ms
    shape = t.dice.choice(PRESSES[:1] if on_unit else PRESSES)
    within_us = POLLED_US if on_unit else CONFIRMED_US
    cause = t.audit.cause(point, _kind(point), within_us=within_us, owned=True, **how)
    t.world.note("presses", point=point, shape=shape.value, ms=ms)
    t.spans.begin(wires(point))
    await t.world.bench.press(point, shape.value, ms)
    t.spans.end(wires(point))
    return cause


async def _again(t: Told, cause: Cause) -> None:
    """The same button once more, before anybody has answered: it counts with the first press.

    A gateway that has started since does not know of the first, and raises it anew.
    """
    cause.tellings += 1
    t.audit.pressed_again[cause.point] = t.clock.now_us()
    ms = t.dice.randint(LEAST_MS[cause.point in ON_UNIT], 900)
    t.world.note("presses again", point=cause.point, ms=ms)
    await t.world.bench.press(cause.point, Shape.CLEAN.value, ms)


async def answered(t: Told, cause: Cause, *, after_s: float) -> None:
    """People answer an alarm from beginning to end."""
    alarm = await t.alarm_of(cause)
    if alarm is None:
        return
    await t.clock.sleep(after_s)
    for state in (AlarmState.ACKNOWLEDGED, AlarmState.DISPATCHED, AlarmState.CLOSED):
        t.say(alarm, state)
        await t.clock.sleep(t.dice.uniform(2, 25))


async def press(t: Told) -> None:
    """Somebody presses a button, perhaps again and again, and is answered."""
    point = t.dice.choice(BUTTONS)
    async with t.holding([point]):
        cause = await pressed(t, point)
        restarts = t.restarts
        for _ in range(t.dice.choice((0, 0, 1, 3))):
            await t.clock.sleep(t.dice.uniform(1.5, 3.0))
            if not t.spans.lasts(GATEWAY) and t.restarts == restarts:
                await _again(t, cause)
        await answered(t, cause, after_s=t.dice.uniform(1, 40))


async def silent(t: Told) -> None:
    """A hold-up, with nothing else going on: nothing on the premises may show it."""
    everything = [*BUTTONS, FIRE, MAIN_DOOR, YARD_DOOR, "unit", "gateway", "disk"]
    async with t.holding(everything):
        await t.clock.sleep(25)
        before = dict(t.doors.moves)
        cause = await pressed(t, "accounts")
        alarm = await t.alarm_of(cause)
        await t.clock.sleep(t.dice.uniform(20, 45))
        if t.doors.moves != before:
            moved = [name for name, moves in t.doors.moves.items() if moves != before[name]]
            t.broken(f"P11: a silent alarm moved {', '.join(moved)}")
        if alarm is not None:
            await answered(t, cause, after_s=1)


async def sleepy(t: Told) -> None:
    """Nobody answers at the security service: the deputy has the alarm when the time is over."""
    point = t.dice.choice([one for one in BUTTONS if one not in ON_UNIT])
    async with t.holding([point, "operator", "gateway"]), t.trouble(OPERATOR):
        cause = await pressed(t, point)
        alarm = await t.alarm_of(cause)
        if alarm is None:
            return
        route = SCHOOL.route(DEPUTY)
        while DEPUTY not in cause.arrived_us:
            told_us = cause.told_us or cause.until_us
            due_us = max(told_us + int(_ACK_S * US_PER_S), t.audit.good_since_us(route))
            if t.clock.now_us() > due_us + 10 * US_PER_S:
                t.broken(f"P4: nobody answered {alarm}, and {DEPUTY} does not have it")
            await t.clock.sleep(0.5)
        await answered(t, cause, after_s=t.dice.uniform(1, 20))


async def damaged(t: Told) -> None:
    """A pair's wires are damaged, it is pressed, mended and proved by a walk test."""
    point = t.dice.choice(("reception", "accounts"))
    async with t.holding([point, "gateway", "walk"]):
        await t.there()
        shape = t.dice.choice(list(DAMAGE))
        t.world.note("damages", point=point, shape=shape.value)
        cause = t.audit.cause(
            point, _kind(point), within_us=2 * US_PER_S, owned=True, tellings=DAMAGE[shape]
        )
        async with t.trouble(wires(point)):
            t.faults.demand(wires(point), (("wiring", point, "", ""), 2 * US_PER_S))
            await t.world.bench.press(point, shape.value, 900)
            await answered(t, cause, after_s=t.dice.uniform(3, 30))
            t.world.bench.repair(point)
            t.world.note("mends", point=point)
            await t.clock.sleep(2)
        await prove(t, point)


async def prove(t: Told, point: str) -> None:
    """A walk test shows that a point works; tried until the desk is heard. Holds `walk`."""
    mode = f"walk-test:{point}"
    while True:
        if await t.ordered("walk-test", mode, point=point, for_ms=30_000):
            await t.clock.sleep(1)
            if t.stands(mode) and await _tested(t, point):
                return
        await t.clock.sleep(10)


async def tend(t: Told) -> None:
    """The evening round: what is in doubt is proved, and a magnet that holds nothing is locked.

    Nobody locks by itself what has lost its power, or was never locked.
    """
    for point in t.faults.to_prove():
        await prove(t, point)
        t.faults.proved(point)
    door = t.world.bench.door(YARD_DOOR)
    if door.free and not t.spans.standing() and t.command("door.lock", door=YARD_DOOR):
        await t.until(lambda: not door.free, within_s=WORD_WITHIN_S)


async def _tested(t: Told, point: str) -> bool:
    """The one press of a walk test: seen by the desk, or by nobody because nobody could."""
    seen = len(t.audit.tests)
    await t.world.bench.press(point, Shape.CLEAN.value, LEAST_MS[point in ON_UNIT] + 300)
    t.world.note("tests", point=point)
    told = await t.until(lambda: len(t.audit.tests) > seen, within_s=25)
    now_us = t.clock.now_us()
    blind = t.spans.touch(GATEWAY, now_us - 60 * US_PER_S, now_us)
    await t.over(f"walk-test:{point}", within_s=130)
    return told or blind


async def walk(t: Told) -> None:
    """The monthly walk through the school: a press under a walk test is no alarm."""
    point = t.dice.choice(BUTTONS)
    async with t.holding([point, "gateway", "walk", "unit"]):
        await prove(t, point)


async def interference(t: Told) -> None:
    """Spikes on the wires of a button: no alarm comes of them."""
    point = t.dice.choice([one for one in BUTTONS if one not in ON_UNIT])
    async with t.holding([point]), t.trouble(wires(point)):
        shape = t.dice.choice((Shape.GLITCH, Shape.EMI))
        t.world.note("interferes", point=point, shape=shape.value)
        await t.world.bench.press(point, shape.value, t.dice.randint(100, 1_500))
        await t.clock.sleep(2)


async def stuck(t: Told) -> None:
    """A button stays in for over a minute: one alarm, and a fault while it lasts."""
    point = t.dice.choice(("reception", "gym"))
    async with t.holding([point, "gateway"]), t.trouble(OPERATOR):
        t.faults.demand(wires(point), (("stuck", point, "", ""), 62 * US_PER_S))
        cause = await pressed(t, point, ms=t.dice.randint(65_000, 80_000))
        await answered(t, cause, after_s=2)


async def isolated(t: Told) -> None:
    """A button is out of service for a while: its press is told as such and is no alarm."""
    point = t.dice.choice(BUTTONS)
    async with t.holding([point, "gateway", "unit"]):
        if not await t.ordered("isolate", f"isolation:{point}", point=point, for_ms=60_000):
            await t.over(f"isolation:{point}", within_s=75)
            return
        await t.clock.sleep(2)
        t.world.note("presses isolated", point=point)
        await t.world.bench.press(point, Shape.CLEAN.value, LEAST_MS[point in ON_UNIT] + 200)
        await t.over(f"isolation:{point}", within_s=75)


# --- doors ----------------------------------------------------------------------------------------


async def lesson(t: Told) -> None:
    """A school hour at a door: people leave by the button, some are let in by the desk."""
    name = t.dice.choice((MAIN_DOOR, MAIN_DOOR, YARD_DOOR))
    door = t.world.bench.door(name)
    async with t.holding([name]):
        for _ in range(t.dice.randint(3, 12)):
            t.world.note("leaves", door=name)
            if not await door.exit(for_ms=t.dice.randint(1_500, 6_000)):
                t.broken(f"P7: somebody could not leave by {name}")
            await t.clock.sleep(t.dice.uniform(10, 50))
            if name == MAIN_DOOR and t.dice.random() < 0.4:
                await _let_in(t)


async def _let_in(t: Told) -> None:
    """Somebody at the main door is let in by the desk, if the desk is heard."""
    door = t.world.bench.door(MAIN_DOOR)
    if t.command("door.unlock", door=MAIN_DOOR, for_ms=5_000):
        await t.until(lambda: door.free, within_s=12)
        await t.clock.sleep(t.dice.uniform(0.8, 2.0))
        if door.free:
            t.world.note("is let in", door=MAIN_DOOR)
            await door.open(for_ms=2_000)
        await t.clock.sleep(8)
        if door.free and not t.spans.touch(
            UNIT, t.clock.now_us() - 30 * US_PER_S, t.clock.now_us()
        ):
            t.broken(f"P7: {MAIN_DOOR} is still free after its time")


async def forced(t: Told) -> None:
    """A door is broken open."""
    name = t.dice.choice((MAIN_DOOR, YARD_DOOR))
    door = t.world.bench.door(name)
    async with t.holding([name]):
        await t.clock.sleep(9)
        await t.there()
        t.audit.cause(name, "door-forced", within_us=2 * US_PER_S)
        t.world.note("forces", door=name)
        await door.force()
        await t.clock.sleep(t.dice.uniform(3, 25))
        await door.close()
        await t.clock.sleep(6)


async def held(t: Told) -> None:
    """A door is held open for too long."""
    name = t.dice.choice((MAIN_DOOR, YARD_DOOR))
    door = t.world.bench.door(name)
    async with t.holding([name]):
        await t.clock.sleep(9)
        await t.there()
        t.audit.cause(name, "door-held", within_us=33 * US_PER_S)
        t.world.note("holds open", door=name)
        await door.exit(for_ms=None)
        await t.clock.sleep(t.dice.uniform(35, 60))
        await door.close()
        await t.clock.sleep(6)


async def lockdown(t: Told) -> None:
    """The desk locks the school down; people still leave; it is ended, or ends by itself."""
    async with t.holding([*BUTTONS, MAIN_DOOR, YARD_DOOR, FIRE, "gateway"]):
        if await t.ordered("lockdown.begin", "lockdown", for_ms=60_000):
            await t.clock.sleep(t.dice.uniform(2, 20))
            t.world.note("leaves in a lockdown", door=MAIN_DOOR)
            if not await t.world.bench.door(MAIN_DOOR).exit():
                t.broken(f"P7: nobody can leave by {MAIN_DOOR} in a lockdown")
            await t.clock.sleep(t.dice.uniform(5, 15))
            if t.dice.random() < 0.3:
                await _fire(t, during="lockdown")
            elif t.dice.random() < 0.6:
                t.command("lockdown.end")
        await t.over("lockdown", within_s=100)


# --- fire -----------------------------------------------------------------------------------------


async def fire(t: Told) -> None:
    """The fire panel calls: doors are free until somebody turns the key on site."""
    async with t.holding([*BUTTONS, FIRE, MAIN_DOOR, YARD_DOOR]):
        await _fire(t)


async def drill(t: Told) -> None:
    """A fire drill: the same, marked as an exercise."""
    async with t.holding([*BUTTONS, FIRE, MAIN_DOOR, YARD_DOOR, "gateway", "unit"]):
        if await t.ordered("drill.begin", "drill:fire", kind="fire", for_ms=300_000):
            await _fire(t, status="exercise")
            while t.stands("drill:fire"):
                t.command("drill.end", kind="fire")
                await t.until(lambda: not t.stands("drill:fire"), within_s=12)
        await t.over("drill:fire", within_s=320)


async def _fire(t: Told, *, status: str = "actual", during: str = "") -> None:
    await t.there()
    t.audit.cause(FIRE, "fire", within_us=CONFIRMED_US, status=status)
    t.world.note("burns", status=status, during=during)
    t.doors.fire()
    burning = asyncio.get_running_loop().create_task(
        t.world.bench.press(FIRE, Shape.CLEAN.value, t.dice.randint(8_000, 40_000))
    )
    await t.clock.sleep(4)
    t.world.note("leaves a fire", door=MAIN_DOOR)
    for name in (MAIN_DOOR, YARD_DOOR):
        if not await t.world.bench.door(name).exit(for_ms=3_000):
            t.broken(f"P7: somebody could not leave a fire by {name}")
    await burning
    await t.clock.sleep(t.dice.uniform(5, 20))
    await _reset(t)


async def _reset(t: Told) -> None:
    """Somebody turns the key on site, again if need be, until the doors are locked."""
    door = t.world.bench.door(MAIN_DOOR)
    for _ in range(40):
        await t.there()
        if not (t.spans.lasts(UNIT) or t.spans.lasts(ADAPTER)):
            t.doors.reset()
            t.world.note("turns the key")
            await t.world.bench.press(RESET_KEY, Shape.CLEAN.value, 500)
            if await t.until(lambda: not door.free, within_s=8):
                return
        await t.clock.sleep(5)
    t.broken(f"P7: the reset key does not lock {MAIN_DOOR} again")


PEOPLE: tuple[tuple[Episode, int], ...] = (
    (lesson, 8),
    (press, 10),
    (silent, 2),
    (sleepy, 2),
    (damaged, 2),
    (walk, 2),
    (interference, 2),
    (stuck, 1),
    (isolated, 1),
    (forced, 2),
    (held, 2),
    (lockdown, 2),
    (fire, 2),
    (drill, 1),
)
"""What people do, and how often beside the rest."""
