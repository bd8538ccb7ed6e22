"""The recorder decides who is owed an event: by the route's list, by what it holds, by name."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from gateway.core.jws import SigningKey
from gateway.core.model import Event, Fact, Message
from gateway.core.premises import Route
from gateway.record.entry import Entry
from gateway.record.ledger import Ledger
from gateway.record.opening import Begin
from gateway.record.room import Place
from gateway.record.writer import InlineWriter
from gateway.recorder import EVERY_ROUTE, Recorder
from simulators.virtual.time import VirtualClock, run_virtual
from tests.disk_cases import Told
from tests.ledger_cases import BEGAN_UTC_MS
from tests.school import CASE, SECURITY, with_routes

PREMISES = with_routes(SECURITY, CASE, Route("deputy", ("campus",), ()))
ALARM = "a" * 32


class Noted(InlineWriter):
    """The real writer; `entries` is what it was handed."""

    entries: list[Entry]

    def append(self, entry: Entry) -> asyncio.Future[None]:
        """As Writer.append."""
        self.entries.append(entry)
        return super().append(entry)


class Rig:
    """A recorder over a real ledger; `sent` is what it has let go of."""

    def __init__(self, clock: VirtualClock, writer: Noted, ledger: Ledger) -> None:
        self.writer = writer
        self.sent: list[Message] = []
        self.recorder = Recorder(
            PREMISES,
            identity=ledger.identity,
            heads={},
            holders={},
            signer=SigningKey("gateway", bytes(32)),
            writer=writer,
            clock=clock,
            random=random.Random(1),
            release=self._release,
            late=lambda: None,
        )

    def _release(self, messages: Sequence[Message]) -> None:
        self.sent += messages

    def raised(self) -> Event:
        """A press at the reception."""
        (event,) = self.recorder.record(
            [Fact("alarm.panic.raised", "reception", 1, alarm=ALARM, id=ALARM)]
        )
        return event

    def routes(self, kind: str) -> list[str]:
        """Who was sent events of that type, in order."""
        return [message.key.route for message in self.sent if message.type == kind]


def run(path: Path, scenario: Callable[[Rig], None]) -> Rig:
    """Play it, and wait until everything is on disk."""

    async def told(clock: VirtualClock, _dice: random.Random) -> Rig:
        disk = Told()
        begin = Begin("0000000a", "0e0e0e0e", "b0070000", BEGAN_UTC_MS)
        writer = Noted(
            partial(Ledger.at, Place(str(path)), begin),
            on_trouble=disk.trouble,
            on_recovered=disk.recovered,
        )
        writer.entries = []
        ledger = await writer.start(within_s=0)
        rig = Rig(clock, writer, ledger)
        scenario(rig)
        await clock.sleep(1)
        await writer.stop(within_s=1)
        assert disk.words == []
        return rig

    return run_virtual(told, seed=1)


def test_route_is_owed_what_its_list_names(tmp_path: Path) -> None:
    def scenario(rig: Rig) -> None:
        rig.recorder.record([Fact("fault.bus.raised", "corridor", 1)])
        rig.recorder.record([Fact("alarm.panic.raised", "gym", 2, alarm=ALARM, id=ALARM)])

    rig = run(tmp_path / "l.db", scenario)
    assert rig.routes("fault.bus.raised") == ["security"]
    assert rig.routes("alarm.panic.raised") == ["security", "case"]


def test_fact_named_for_a_route_or_for_all_goes_beyond_their_lists(tmp_path: Path) -> None:
    def scenario(rig: Rig) -> None:
        rig.recorder.record([Fact("fault.path.raised", "campus", 1, to=("case",))])
        rig.recorder.record([Fact("fault.clock.raised", "gateway", 2, to=(EVERY_ROUTE,))])

    rig = run(tmp_path / "l.db", scenario)
    assert rig.routes("fault.path.raised") == ["security", "case"]
    assert rig.routes("fault.clock.raised") == ["security", "case", "deputy"]


def test_route_hears_nothing_of_an_alarm_it_does_not_hold(tmp_path: Path) -> None:
    """What people did about it is told to whoever holds it, although both lists name `state`."""

    def scenario(rig: Rig) -> None:
        rig.recorder.restore([], {ALARM: ["security"]})
        rig.recorder.record([Fact("state.alarm.received", "reception", 1, alarm=ALARM)])

    rig = run(tmp_path / "l.db", scenario)
    assert rig.routes("state.alarm.received") == ["security"]


def test_route_that_holds_an_alarm_is_owed_its_end_whatever_its_list(tmp_path: Path) -> None:
    def scenario(rig: Rig) -> None:
        rig.recorder.restore([], {ALARM: ["case"]})
        rig.recorder.record([Fact("test.panic.passed", "reception", 1, alarm=ALARM)])

    assert run(tmp_path / "l.db", scenario).routes("test.panic.passed") == ["security", "case"]


def test_alarm_is_brought_to_a_further_route_once_and_only_while_it_is_open(
    tmp_path: Path,
) -> None:
    said: list[bool] = []

    def scenario(rig: Rig) -> None:
        recorder = rig.recorder
        said.append(recorder.owe_also(ALARM, "case"))
        event = rig.raised()
        said.append(recorder.owe_also(ALARM, "case"))
        recorder.record([Fact("alarm.panic.cleared", "reception", 2, alarm=ALARM)])
        said.append(recorder.owe_also(ALARM, "case"))
        recorder.restore([event], {ALARM: ["security"]})
        said.extend(recorder.owe_also(ALARM, "case") for _ in range(2))
        recorder.record([Fact("alarm.panic.cleared", "reception", 3, alarm=ALARM)])
        said.append(recorder.owe_also(ALARM, "deputy"))

    rig = run(tmp_path / "l.db", scenario)
    assert said == [False, False, False, True, False, False]
    assert rig.routes("alarm.panic.raised") == ["security", "case", "case"]


def test_what_must_be_kept_goes_to_disk_with_the_first_of_the_facts_alone(tmp_path: Path) -> None:
    """What is written with every one of them would take the place of what came in between."""

    def scenario(rig: Rig) -> None:
        presses = [Fact("test.panic.passed", "reception", at_us) for at_us in (1, 2)]
        rig.recorder.record(presses, {"counter": "2"})

    rig = run(tmp_path / "l.db", scenario)
    assert [entry.kept for entry in rig.writer.entries] == [{"counter": "2"}, {}]
