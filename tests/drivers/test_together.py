"""Two drivers as one: each gets what is its own, and neither is left behind."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

import pytest

from drivers.base import Contact, DriverError, Ear, Output, Wire
from drivers.together import Together
from gateway.core.action import Action
from gateway.core.model import Json

PIN, UNIT = Wire("gpio:17", Contact.NORMALLY_OPEN), Wire("entrance/input-1", Contact.NORMALLY_OPEN)
LAMP, RELAY = Output("gpio:22"), Output("entrance/relay-1")
EAR = Ear(lambda _: None, lambda _: None, lambda _: None)


class Noted:
    """A driver that notes what it is told."""

    def __init__(self, *, fails: str = "") -> None:
        self.told: list[object] = []
        self.fails = fails

    def start(self, *, wires: Sequence[Wire], outputs: Sequence[Output], ear: Ear) -> None:
        assert ear is EAR
        if self.fails == "start":
            raise DriverError("entrance/input-9: no such input")
        self.told.append(("start", *wires, *outputs))

    def light(self, address: str, *, on: bool) -> None:
        self.told.append((address, on))

    def act(self, action: Action) -> None:
        self.told.append(action)

    def check(self) -> None:
        self.told.append("check")

    def status(self) -> Mapping[str, Json]:
        return {} if self.fails else {f"bus-{len(self.told)}": "well"}

    async def stop(self) -> None:
        self.told.append("stop")
        if self.fails == "stop":
            raise OSError("stuck")

    def close(self) -> None:
        self.told.append("close")


def start(together: Together) -> None:
    together.start(wires=[PIN, UNIT], outputs=[RELAY, LAMP], ear=EAR)


def test_together_gives_each_driver_what_is_its_own() -> None:
    pins, units = Noted(), Noted()
    together = Together(pins=pins, units=units)
    action = Action(id="a", output=RELAY.address, on=True, not_after_us=0)
    start(together)
    together.light(LAMP.address, on=True)
    together.act(action)
    together.check()
    assert together.status() == {"bus-3": "well"}
    asyncio.run(together.stop())
    assert pins.told == [("start", PIN, LAMP), (LAMP.address, True), "check", "stop"]
    assert units.told == [("start", UNIT, RELAY), action, "check", "stop"]


def test_together_gives_the_pins_back_when_the_units_cannot_start() -> None:
    pins, units = Noted(), Noted(fails="start")
    with pytest.raises(DriverError, match="input-9"):
        start(Together(pins=pins, units=units))
    assert pins.told[-1] == "close"


def test_together_does_not_start_the_units_when_the_pins_cannot_be_had() -> None:
    pins, units = Noted(fails="start"), Noted()
    with pytest.raises(DriverError):
        start(Together(pins=pins, units=units))
    assert units.told == []


def test_together_stops_both_whatever_one_of_them_says() -> None:
    pins, units = Noted(fails="stop"), Noted()
    together = Together(pins=pins, units=units)
    start(together)
    with pytest.raises(OSError, match="stuck"):
        asyncio.run(together.stop())
    assert units.told[-1] == "stop"
