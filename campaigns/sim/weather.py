"""What goes wrong in the told year: networks, centres, the gateway, its clock, disk, unit and bus.

Each is told to the spans before it is done, so that the auditor knows what may follow and what
must. Troubles of different things overlap as dice have it.
"""

from __future__ import annotations

from campaigns.sim.spans import ADAPTER, DISK, UNIT, centre, uplink
from campaigns.sim.story import Episode, answered, pressed
from campaigns.sim.told import US_PER_S, Told
from simulators.virtual.year_school import (
    CAMPUS,
    CASE,
    CORRIDOR,
    DEPUTY,
    ENTRANCE,
    GATEWAY,
    LTE,
    SECURITY,
)

ALL = (SECURITY, CASE, DEPUTY)
DAY_MS = 86_400_000
UNIT_US = 8 * US_PER_S
OPENED_AGAIN_S = 6
"""A port that was gone is tried every 5 s; until then its units are not seen."""


# --- networks and centres -------------------------------------------------------------------------


async def outage(t: Told) -> None:
    """A broker dies, or its network swallows everything; perhaps both ways at once."""
    names = t.dice.choice(((CAMPUS,), (CAMPUS,), (LTE,), (CAMPUS, LTE)))
    async with t.holding(names):
        brokers = [t.world.brokers[name] for name in names]
        for_s = t.dice.choice((0.3, 4, 15, 40, 90, 180)) * t.dice.uniform(0.7, 1.3)
        silent = t.dice.random() < 0.5
        t.world.note("outage", uplinks=names, s=round(for_s, 3), silent=silent)
        async with t.trouble(*(uplink(name) for name in names)):
            for name, broker in zip(names, brokers, strict=True):
                if silent:
                    broker.blackhole()
                else:
                    broker.down()
                t.faults.demand_paths(name, uplink(name), ALL)
            await t.clock.sleep(for_s)
            for broker in brokers:
                broker.up()
        await t.clock.sleep(5)


async def flapping(t: Told) -> None:
    """A connection that is thrown away again and again."""
    name = t.dice.choice((CAMPUS, LTE))
    async with t.holding([name]):
        t.world.note("flaps", uplink=name)
        async with t.trouble(uplink(name)):
            for _ in range(t.dice.randint(2, 15)):
                t.world.brokers[name].cut(GATEWAY)
                await t.clock.sleep(t.dice.uniform(0.2, 6))


async def misbehaving(t: Told) -> None:
    """A broker that delivers twice, is slow, or acknowledges alarms and delivers them to nobody."""
    name = t.dice.choice((CAMPUS, LTE))
    broker = t.world.brokers[name]
    async with t.holding([name]):
        how = t.dice.choice(("twice", "slow", "forgets"))
        t.world.note("misbehaves", uplink=name, how=how)
        usual = broker.latency_ms
        async with t.trouble(uplink(name)):
            if how == "twice":
                broker.duplicate("#")
            elif how == "slow":
                broker.latency_ms = (100.0, 900.0)
            else:
                broker.accept_and_forget("qorgan/v1/+/+/alarm")
            await t.clock.sleep(t.dice.uniform(10, 90))
            broker.behave()
            broker.latency_ms = usual


async def deaf(t: Told) -> None:
    """A centre hears and says nothing, or its program is not there at all."""
    route = t.dice.choice(ALL)
    there = t.world.centres[route]
    async with t.holding([route]):
        away = t.dice.random() < 0.5
        for_s = t.dice.uniform(3, 100)
        t.world.note("is away" if away else "is deaf", route=route, s=round(for_s, 3))
        async with t.trouble(centre(route)):
            if away:
                there.leave()
            else:
                there.deaf = True
            for name in there.route.via:
                t.faults.demand_paths(name, centre(route), (route,))
            await t.clock.sleep(for_s)
            if away:
                there.come_back()
            else:
                there.deaf = False
        await t.clock.sleep(5)


# --- the gateway's machine ------------------------------------------------------------------------


async def kill(t: Told) -> None:
    """A kill -9, and started again by systemd, or much later by a person."""
    async with t.holding(["gateway", "disk"]):
        await t.gone(t.world.kill, for_s=t.dice.choice((0.2, 1, 3, 30, 70)))
        await t.clock.sleep(t.dice.uniform(1, 10))


async def upgrade(t: Told) -> None:
    """A clean stop and start."""
    async with t.holding(["gateway", "disk"]):
        await t.gone(t.world.stop, for_s=t.dice.uniform(0.5, 5))
        await t.clock.sleep(t.dice.uniform(1, 10))


async def power_cut(t: Told) -> None:
    """The machine loses its power; it comes back as another boot, perhaps by a wrong clock."""
    async with t.holding(["gateway", "disk", "clock"]):
        error_ms = t.dice.choice((0, 0, -40_000, -3 * DAY_MS, 10_000 - t.clock.true_ms))

        async def cut() -> None:
            t.world.note("power cut", error_ms=error_ms)
            await t.world.cut_power(error_ms=error_ms, synchronised=error_ms == 0)
            t.audit.clocks.clock_set()

        await t.gone(cut, for_s=t.dice.uniform(2, 45))
        await t.clock.sleep(t.dice.uniform(10, 90))
        t.world.set_clock(0, synchronised=True)
        t.audit.clocks.clock_set()
        await t.clock.sleep(2)


async def clock_steps(t: Told) -> None:
    """UTC is lost, jumps forward and back, and is found again."""
    async with t.holding(["clock"]):
        for _ in range(t.dice.randint(1, 4)):
            error_ms = t.dice.choice((-DAY_MS, -61_000, -900, 700, 65_000, 2 * 365 * DAY_MS))
            t.world.set_clock(error_ms, synchronised=False)
            t.audit.clocks.clock_set()
            await t.clock.sleep(t.dice.uniform(2, 40))
        t.world.set_clock(0, synchronised=True)
        t.audit.clocks.clock_set()
        await t.clock.sleep(2)


async def bad_disk(t: Told) -> None:
    """The disk is late, full or broken: every alarm leaves all the same, and it is told once."""
    point = "gym"
    async with t.holding(["disk", "gateway", point]):
        how = t.dice.choice(("late", "late", "full", "broken"))
        t.world.note("disk", how=how)
        machine = t.world.machine
        async with t.trouble(DISK):
            if how == "late":
                machine.late_us = t.dice.randint(80_000, 2_000_000)
            elif how == "full":
                machine.full()
            else:
                machine.broken()
            await t.clock.sleep(t.dice.uniform(0, 10))
            cause = await pressed(t, point)
            t.faults.demand(DISK, (("storage", "ledger", "", ""), 2 * US_PER_S))
            await t.clock.sleep(t.dice.uniform(5, 40))
            machine.well()
        await answered(t, cause, after_s=1)


async def lost_on_the_way(t: Told) -> None:
    """Power is cut while a late disk still owes what was sent: the one case that may be lost."""
    async with t.holding(["disk", "gateway", "clock", "gym"]):
        async with t.trouble(DISK):
            t.world.machine.late_us = 3_000_000
            t.world.note("disk", how="late, then no power")
            cause = await pressed(t, "gym", ms=300)
            await t.clock.sleep(t.dice.uniform(0.05, 2.5))

            async def cut() -> None:
                t.world.machine.well()
                await t.world.cut_power(error_ms=0, synchronised=True)
                t.audit.clocks.clock_set()

            await t.gone(cut, for_s=t.dice.uniform(1, 10))
        await t.clock.sleep(12)
        alarm = await t.alarm_of(cause)
        if alarm is not None:
            await answered(t, cause, after_s=1)


# --- the unit and its bus -------------------------------------------------------------------------


async def sick_unit(t: Told) -> None:
    """The unit is dead, silent, late, starts anew, or its answers are spoiled."""
    async with t.holding(["unit"]):
        how = t.dice.choice(("dead", "silent", "late", "noise", "forgetful", "reboot"))
        for_s = t.dice.uniform(2, 50)
        t.world.note("unit", how=how, s=round(for_s, 3))
        async with t.trouble(UNIT):
            t.world.plant.afflict(ENTRANCE, how, ms=800)
            if how in {"dead", "silent"}:
                t.faults.demand(UNIT, (("unit-silent", ENTRANCE, "", ""), UNIT_US))
            await t.clock.sleep(for_s)
            if how != "reboot":
                t.world.plant.afflict(ENTRANCE, "well")
            await t.clock.sleep(3)
        await t.clock.sleep(15)


async def noisy_bus(t: Told) -> None:
    """A bad line: bits turned, bytes lost, bursts of nothing."""
    async with t.holding(["unit"]):
        t.world.note("noise on the bus")
        async with t.trouble(UNIT):
            t.world.plant.trouble(CORRIDOR, "noise")
            await t.clock.sleep(t.dice.uniform(5, 60))
            t.world.plant.trouble(CORRIDOR, "well")
        await t.clock.sleep(15)


async def unplugged(t: Told) -> None:
    """The bus's adapter is pulled out, and put back in."""
    async with t.holding(["unit"]):
        for_s = t.dice.uniform(1, 40)
        t.world.note("unplugged", s=round(for_s, 3))
        async with t.trouble(ADAPTER, UNIT):
            t.world.plant.trouble(CORRIDOR, "unplug")
            t.faults.demand(ADAPTER, (("bus", CORRIDOR, "", ""), UNIT_US))
            await t.clock.sleep(for_s)
            t.world.plant.trouble(CORRIDOR, "plug")
            await t.clock.sleep(OPENED_AGAIN_S)
        await t.clock.sleep(15 - OPENED_AGAIN_S)


WEATHER: tuple[tuple[Episode, int], ...] = (
    (outage, 6),
    (flapping, 2),
    (misbehaving, 3),
    (deaf, 4),
    (kill, 4),
    (upgrade, 2),
    (power_cut, 2),
    (clock_steps, 3),
    (bad_disk, 3),
    (lost_on_the_way, 1),
    (sick_unit, 4),
    (noisy_bus, 2),
    (unplugged, 1),
)
"""What goes wrong, and how often beside the rest."""
