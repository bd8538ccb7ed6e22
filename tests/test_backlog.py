"""What an outage leaves behind: however much it is, new alarms feel nothing and memory little.

The daemon under virtual time for what must hold at any moment; ledger, outbox and tokens alone for
the amounts. `benchmarks/drain.py` has the figures of the real thing.
"""

from __future__ import annotations

import random
import tempfile
import tracemalloc
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.owing import ALARM_EVERY, Past
from gateway.core.jws import SigningKey
from gateway.core.lane import WINDOW_LEAST
from gateway.core.model import Fact, Receipt, Stream
from gateway.core.outbox import Outbox
from gateway.record.disk import InlineDisk
from gateway.record.ledger import Ledger
from gateway.record.writer import Writer
from gateway.restart import Held, held_by
from gateway.seams import Seldom
from gateway.tokens import Tokens
from simulators.virtual.time import VirtualClock, run_virtual
from tests.school import (
    ALL,
    CASE,
    GATEWAY,
    GYM,
    SCHOOL,
    SECURITY,
    US_PER_S,
    School,
    live,
    owed_after,
)

SOON_US = 20_000
"""A few packets of the simulated broker, each 3 ms at most."""

BACKLOG = 2_000
LOGGING = replace(SCHOOL, routes=(replace(CASE, sends=(*ALL, "access")),))


@pytest.fixture
def memory_path() -> Iterator[Path]:
    """A folder without a disk under it where there is one: thousands of syncs are not the point."""
    shared = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=shared if shared.is_dir() else None) as folder:
        yield Path(folder)


# --- a new alarm and a backlog --------------------------------------------------------------------


async def _log(school: School, count: int) -> None:
    """So many people come through a door."""
    for number in range(count):
        assert school.gateway is not None
        school.gateway.tell([Fact("access.granted", "gym", school.clock.now_us())])
        if number % 100 == 0:
            await school.clock.sleep(0.01)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_no_alarm_waits_for_the_log_however_much_is_owed(memory_path: Path, seed: int) -> None:
    """Presses at moments nobody chose while thousands of log entries drain: each there at once."""

    async def scenario(school: School) -> None:
        dice = random.Random(seed)
        await school.start()
        await school.clock.sleep(2)
        school.broker.down()
        await _log(school, BACKLOG)
        await school.stop()
        await school.start()
        school.broker.up()
        while not school.heard("case", "access"):
            await school.clock.sleep(0.01)
        pressed_us = school.clock.now_us()
        for _ in range(3):
            pressed_us += dice.randrange(20_000, 150_000)
            school.finger("reception", "clean", 40, at_us=pressed_us)
            school.finger("gym", "clean", 40, at_us=pressed_us + dice.randrange(5_000))
        await school.clock.sleep(20)

    school = live(memory_path, scenario, premises=LOGGING, seed=seed)
    alarms = school.heard("case", "alarm.panic.")
    log = school.heard("case", "access")
    assert {v.message.subject for v in alarms if v.message is not None} == {"reception", "gym"}
    assert len(log) == BACKLOG
    for alarm in alarms:
        assert alarm.message is not None
        confirmed_us = alarm.message.clock.monotonic_ms * 1_000
        assert school.arrived_us(alarm) - confirmed_us <= SOON_US
    assert log[0].at_ms < alarms[0].at_ms < log[-1].at_ms
    assert not list(owed_after(school))


def test_deaf_centre_is_sent_every_new_alarm_at_once_and_few_again(memory_path: Path) -> None:
    """Hundreds of alarms, a broker that takes them all, nobody who answers: repeats stay few."""

    async def scenario(school: School) -> None:
        school.centres["security"].deaf = True
        await school.start()
        await school.clock.sleep(2)
        for _ in range(300):
            assert school.gateway is not None
            school.gateway.tell([Fact("fault.mains.raised", "gym", school.clock.now_us())])
            await school.clock.sleep(0.1)
        await school.clock.sleep(60)
        school.centres["security"].deaf = False
        await school.clock.sleep(20)

    premises = replace(SCHOOL, points=(GYM,), routes=(SECURITY,))
    school = live(memory_path, scenario, premises=premises)
    mains = [s for s in school.carried("alarm") if s.payload["type"].endswith("mains.raised")]
    first_us = {sent.payload["sequence"]: sent.at_us for sent in reversed(mains)}
    assert len(first_us) == 300
    last_us = max(first_us.values())
    later_us = range(last_us + 5 * US_PER_S, last_us + 55 * US_PER_S)
    quiet = [sent for sent in mains if sent.at_us in later_us]
    assert quiet
    assert len(quiet) <= 10 * WINDOW_LEAST
    assert not list(owed_after(school))


# --- a great many ---------------------------------------------------------------------------------

MANY = 10_000
GROWTH_MAX_BYTES = 10_000_000
STEP = 18


def _filled(path: Path) -> None:
    """A ledger that owes a route MANY messages, a tenth of them alarms."""
    ledger = Ledger.open(str(path), start="0ddba115", fresh_id="b0a710ad", boot="0b", utc_ms=0)
    past = Past(SCHOOL, SECURITY, SigningKey("gateway", bytes(32))).entries(ledger, MANY)
    for _ in range(0, MANY, 1_000):
        ledger.append([next(past) for _ in range(1_000)])
    ledger.close()


async def _drain(held: Held, writer: Writer, clock: VirtualClock) -> tuple[list[Stream], int]:
    """Offer and receipt all of it, as a lane and a centre do; the streams in turn, and the peak."""
    outbox, tokens = Outbox(SECURITY), Tokens(writer, Seldom(lambda *_: None, clock))
    outbox.restore(held.owed, held.owed_alarms, clock.now_us())
    outbox.up("campus", clock.now_us())
    outbox.heard("campus", 0)
    streams: list[Stream] = []
    settled = 0
    while refs := outbox.take("campus", clock.now_us(), log=True, limit=STEP):
        found, gone = await tokens.fetch(refs)
        assert not gone
        assert [ref for ref, _ in found] == refs
        for key, last in {ref.key: ref.sequence for ref in refs}.items():
            receipt = Receipt(GATEWAY, key, last)
            struck, _ = outbox.receipt(receipt, uplink="campus", now_us=clock.now_us())
            tokens.forget(key, struck)
            writer.settle(key, struck, 0)
            settled += sum(last - first + 1 for first, last in struck)
            streams.append(key.stream)
    assert settled == MANY
    return streams, tracemalloc.get_traced_memory()[1]


def test_ten_thousand_owed_messages_weigh_little_and_alarms_go_first(memory_path: Path) -> None:
    """From the start of the process to the last one settled."""
    _filled(memory_path / "ledger.db")

    async def scenario(clock: VirtualClock, _dice: random.Random) -> tuple[list[Stream], int]:
        tracemalloc.start()
        try:
            writer, _ = await InlineDisk(str(memory_path / "ledger.db")).open(
                start="57a47006",
                fresh_id="f5e50000",
                boot="b0070001",
                utc_ms=0,
                on_trouble=lambda *_: None,
                on_recovered=lambda: None,
            )
            held = await writer.call(held_by)
            found = await _drain(held, writer, clock)
            assert await writer.call(lambda ledger: ledger.owed()) == {}
            await writer.stop(within_s=1)
            return found
        finally:
            tracemalloc.stop()

    streams, peak_bytes = run_virtual(scenario, seed=1)
    assert peak_bytes <= GROWTH_MAX_BYTES
    assert streams == sorted(streams, key=lambda stream: stream is Stream.LOG)
    assert streams.count(Stream.ALARM) * STEP >= 2 * MANY // ALARM_EVERY
