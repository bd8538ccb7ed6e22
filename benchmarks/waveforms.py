"""A million generated waveforms through the real Monitor: presses missed, noise alarmed, doubles.

    python -m benchmarks.waveforms [--quick] [--count N] [--seed S] [--json] [--rule stable-10ms]

The waveforms are drawn to be as hard as the promise allows: half of every length sits exactly at
its limit, and a third of the bounces are one touch and one gap for all of the time allowed.
Shards have their own seeds: the same seed gives the same waveforms on any number of cores.
`--rule stable-10ms` runs what is commonly built instead through the same rig, and fails.
"""

from __future__ import annotations

import argparse
import multiprocessing
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from random import Random
from typing import Protocol

from benchmarks.command import ended, parser
from benchmarks.table import Figure, at_most, show
from gateway.core.model import Level, Reading
from gateway.core.monitor import Confirmed, Monitor
from gateway.core.premises import Input, Line, Point, PointKind
from gateway.piped import piped
from simulators.building.waveforms import BOUNCE_ORDINARY_US, BOUNCE_WORST_US, TRAVEL_US, emi_burst

COUNT = 1_000_000
COUNT_QUICK = 40_000
SHARD = 1_000
BEGIN_US = 1_000_000
"""First edge; the input has rested since 0."""
REST_US = 1_000_000
"""Watched for this long after the last edge: whatever is going to be concluded has been."""

NO, NC = "normally-open", "normally-closed"
LONE = Point("lone", PointKind.PANIC, Input(normally_open=NO))
PAIR = Point("pair", PointKind.PANIC, Input(normally_open=NO, normally_closed=NC))
LONG = Point("long", PointKind.PANIC, Input(normally_open=NO, line=Line.LONG))

_BELIEVED_US = 7_000  # a touch that counts by itself, so that a release believed too soon doubles

Toggles = list[int]
"""Rising microseconds: the contact leaves its rest at the first, returns at the second …"""


# --- what is played ------------------------------------------------------------------------------


def _up_to(limit_us: int, random: Random, *, least_us: int = 0) -> int:
    """Half of them exactly the limit, because that is where a rule breaks."""
    return limit_us if random.random() < 0.5 else random.randint(least_us, limit_us)


def _from(limit_us: int, most_us: int, random: Random) -> int:
    return limit_us if random.random() < 0.5 else random.randint(limit_us, most_us)


def _press(width_us: int, bounce_us: int, splits: int, random: Random) -> Toggles:
    """First touch to last: `width_us`; each end bounces for up to `bounce_us`."""
    begins = _bounce(bounce_us, splits, random)
    ends = [width_us - at_us for at_us in reversed(_bounce(bounce_us, splits, random))]
    return [0, *begins, *ends, width_us]


def _bounce(bounce_us: int, splits: int, random: Random) -> Toggles:
    """Openings after a touch at 0: cut at random, or one gap for nearly all of the time allowed."""
    if bounce_us > 100 and random.random() < 0.3:
        touch_us = random.choice((random.randint(1, 50), _BELIEVED_US))
        return [min(touch_us, bounce_us // 2), bounce_us]
    cuts = 2 * random.randint(0, splits)
    return sorted(random.sample(range(1, bounce_us + 1), cuts)) if cuts < bounce_us else []


def short_press(random: Random) -> list[Toggles]:
    """A press of 20 ms or more, bouncing up to 6.2 ms at both ends."""
    bounce_us = _up_to(BOUNCE_ORDINARY_US, random)
    return [_press(_from(20_000, 400_000, random), bounce_us, 6, random)]


def pair_press(random: Random) -> list[Toggles]:
    """The same on a change-over pair: both contacts bounce, NC opens before NO closes."""
    width_us = _from(20_000, 400_000, random)
    there_us, back_us = random.randint(*TRAVEL_US), random.randint(*TRAVEL_US)
    bounces = [_up_to(BOUNCE_ORDINARY_US, random) for _ in range(2)]
    made = _press(width_us, bounces[0], 6, random)
    broken = _press(there_us + width_us + back_us, bounces[1], 6, random)
    return [[there_us + at for at in made], broken]


def bad_switch(random: Random) -> list[Toggles]:
    """A press on the worst published switch: it bounces up to 157 ms at both ends."""
    bounce_us = _up_to(BOUNCE_WORST_US, random, least_us=BOUNCE_ORDINARY_US)
    splits = random.choice((1, 2, 5, 30))
    return [_press(2 * bounce_us + _from(20_000, 400_000, random), bounce_us, splits, random)]


def spikes(random: Random) -> list[Toggles]:
    """Spikes of up to 3 ms that begin 10 ms or more apart."""
    toggles: Toggles = []
    at_us = 0
    for _ in range(random.randint(1, 30)):
        toggles += (at_us, at_us + _up_to(3_000, random, least_us=1))
        at_us += _from(10_000, 40_000, random)
    return [toggles]


def long_pulse(random: Random) -> list[Toggles]:
    """On a long line: a press of 100 ms or more, bouncing up to 6.2 ms at both ends."""
    bounce_us = _up_to(BOUNCE_ORDINARY_US, random)
    return [_press(_from(100_000, 600_000, random), bounce_us, 6, random)]


def long_burst(random: Random) -> list[Toggles]:
    """On a long line: what a switched motor puts on it, bursts of up to 15 ms every 300 ms."""
    burst_us = _up_to(15_000, random, least_us=200)
    return [emi_burst(random, bursts=random.randint(1, 2), burst_us=burst_us)]


@dataclass(frozen=True, slots=True)
class Family:
    """Waveforms that share a promise. share: their part of the whole; presses: what is right."""

    point: Point
    draw: Callable[[Random], list[Toggles]]
    presses: int
    share: float


FAMILIES = {
    "presses >= 20 ms": Family(LONE, short_press, 1, 0.25),
    "presses >= 20 ms on a pair": Family(PAIR, pair_press, 1, 0.10),
    "presses with bounce to 157 ms": Family(LONE, bad_switch, 1, 0.20),
    "spikes <= 3 ms, >= 10 ms apart": Family(LONE, spikes, 0, 0.25),
    "long line: pulses >= 100 ms": Family(LONG, long_pulse, 1, 0.10),
    "long line: bursts <= 15 ms": Family(LONG, long_burst, 0, 0.10),
}


def readings(point: Point, drawn: Sequence[Toggles]) -> list[Reading]:
    """What the driver reports: each wired input at rest at 0, then every change in its order."""
    addresses = point.input.addresses
    made = [Reading(address, Level.NORMAL, 0) for address in addresses]
    edges = [
        Reading(address, Level.NORMAL if number % 2 else Level.ACTIVE, BEGIN_US + at_us)
        for address, toggles in zip(addresses, drawn, strict=True)
        for number, at_us in enumerate(toggles)
    ]
    return made + (sorted(edges, key=_at_us) if len(drawn) > 1 else edges)


def _at_us(reading: Reading) -> int:
    return reading.at_us


# --- the rules under test ------------------------------------------------------------------------


class Judge(Protocol):
    """Says how often a point was pressed."""

    def feed(self, reading: Reading) -> int:
        """Presses concluded by this reading."""

    def wake(self, now_us: int) -> int:
        """Presses concluded by now."""


class Qorgan:
    """The product: a Monitor, whatever rule it gives the point."""

    def __init__(self, point: Point) -> None:
        self._monitor = Monitor(point, proved_us=0)

    def feed(self, reading: Reading) -> int:
        found = self._monitor.feed(reading)
        return _presses(found) if found else 0

    def wake(self, now_us: int) -> int:
        return _presses(self._monitor.wake(now_us))


def _presses(found: Sequence[object]) -> int:
    return sum(isinstance(item, Confirmed) and item.level is Level.ACTIVE for item in found)


class Stable10ms:
    """What is commonly built: a level is believed once it has been stable for 10 ms."""

    def __init__(self, point: Point) -> None:
        self._inputs = dict.fromkeys(point.input.addresses, Level.NORMAL)
        self._raw = self._believed = Level.NORMAL
        self._since_us = 0

    def feed(self, reading: Reading) -> int:
        pressed = self.wake(reading.at_us)
        self._inputs[reading.input] = reading.level
        both = set(self._inputs.values())
        raw = Level.ACTIVE if both == {Level.ACTIVE} else Level.NORMAL
        if raw is not self._raw:
            self._raw, self._since_us = raw, reading.at_us
        return pressed

    def wake(self, now_us: int) -> int:
        if self._raw is self._believed or now_us < self._since_us + 10_000:
            return 0
        self._believed = self._raw
        return int(self._believed is Level.ACTIVE)


RULES: dict[str, Callable[[Point], Judge]] = {"qorgan": Qorgan, "stable-10ms": Stable10ms}


# --- the rig -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Shard:
    """A piece of work that depends on nothing but itself."""

    family: str
    number: int
    count: int
    seed: int
    rule: str


@dataclass(frozen=True, slots=True)
class Tally:
    """What a shard found. example: the first waveform judged wrongly, to be looked at."""

    shard: Shard
    none: int
    one: int
    more: int
    example: str = ""


def count_presses(judge: Judge, played: Sequence[Reading]) -> int:
    """How many presses the judge saw, up to a while after the last edge."""
    feed = judge.feed
    pressed = sum([feed(reading) for reading in played])
    return pressed + judge.wake(played[-1].at_us + REST_US)


def run_shard(shard: Shard) -> Tally:
    """Draw, play and judge all waveforms of a shard."""
    family, rule = FAMILIES[shard.family], RULES[shard.rule]
    random = Random(f"{shard.seed}/{shard.family}/{shard.number}")
    seen = [0, 0, 0]
    example = ""
    for index in range(shard.count):
        drawn = family.draw(random)
        pressed = count_presses(rule(family.point), readings(family.point, drawn))
        seen[min(pressed, 2)] += 1
        if pressed != family.presses and not example:
            example = f"shard {shard.number}, waveform {index}: {pressed} presses in {drawn} us"
    return Tally(shard, none=seen[0], one=seen[1], more=seen[2], example=example)


def shards(count: int, seed: int, rule: str) -> list[Shard]:
    """The work for about `count` waveforms, at least one of each family."""
    made = []
    for name, family in FAMILIES.items():
        left = max(1, round(count * family.share))
        made += [
            Shard(name, first // SHARD, min(SHARD, left - first), seed, rule)
            for first in range(0, left, SHARD)
        ]
    return made


def run(work: Sequence[Shard], *, processes: int) -> Iterator[Tally]:
    """Tallies as they come; with one process everything happens in this one."""
    if processes == 1:
        yield from map(run_shard, work)
        return
    with multiprocessing.Pool(processes) as pool:
        yield from pool.imap_unordered(run_shard, work)


def figures(tallies: Sequence[Tally]) -> list[Figure]:
    """The table: what must be 0, per family."""
    rows = []
    for name, family in FAMILIES.items():
        mine = [tally for tally in tallies if tally.shard.family == name]
        of = sum(tally.shard.count for tally in mine)
        none = sum(tally.none for tally in mine)
        more = sum(tally.more for tally in mine)
        if family.presses:
            rows.append(at_most(f"{name}, missed", none, 0, of=of))
            rows.append(at_most(f"{name}, doubled", more, 0, of=of))
        else:
            rows.append(at_most(f"{name}, alarmed", of - none, 0, of=of))
    return rows


def main(arguments: Sequence[str] | None = None) -> int:
    """Run and print; the exit code is `command`'s."""
    made = parser("waveforms", __doc__, quick=f"only {COUNT_QUICK:,}: under 30 s")
    made.add_argument("--count", type=int, help=f"waveforms in all (default {COUNT:,})")
    made.add_argument("--seed", type=int, default=1, help="draws other waveforms (default 1)")
    made.add_argument("--rule", choices=RULES, default="qorgan", help="the rule under test")
    made.add_argument(
        "--processes", type=int, default=multiprocessing.cpu_count(), help="default: all cores"
    )
    chosen = made.parse_args(arguments)
    return ended(lambda: bench(chosen))


def bench(chosen: argparse.Namespace) -> int:
    """Draw, run and print; 0 when every goal is held, 1 when one is missed."""
    count = chosen.count or (COUNT_QUICK if chosen.quick else COUNT)
    work = shards(count, chosen.seed, chosen.rule)
    total = sum(shard.count for shard in work)
    tallies: list[Tally] = []
    began = time.monotonic()
    step = max(1, len(work) // 10)
    for tally in run(work, processes=chosen.processes):
        tallies.append(tally)
        if len(tallies) % step == 0 or len(tallies) == len(work):
            share = sum(tally.shard.count for tally in tallies) / total
            print(f"{share:4.0%}  {time.monotonic() - began:5.1f} s", file=sys.stderr, flush=True)
    for name in FAMILIES:
        wrong = [t for t in tallies if t.shard.family == name and t.example]
        if wrong:
            first = min(wrong, key=lambda tally: tally.shard.number)
            print(f"wrong: {name}: {first.example[:600]}", file=sys.stderr)
    context = {"rule": chosen.rule, "waveforms": total, "seed": chosen.seed}
    return show("Waveforms", figures(tallies), as_json=chosen.json, context=context)


if __name__ == "__main__":
    sys.exit(piped(main))
