"""Drives the lamps at the buttons from the register of alarms; what they show: `core/lamp.py`."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from drivers.base import Driver
from gateway.core.alarms import Alarm, Register
from gateway.core.lamp import LampState, lit, next_change_us
from gateway.core.model import AlarmState
from gateway.core.premises import Point


def lamp_state(alarm: Alarm | None) -> LampState:
    """What the lamp at a point shows of the newest alarm there."""
    if alarm is None:
        return LampState.IDLE
    match alarm.state:
        case AlarmState.RAISED:
            return LampState.SENDING
        case AlarmState.RECEIVED:
            return LampState.RECEIVED
        case _:
            return LampState.ACKNOWLEDGED


@dataclass(slots=True)
class _Lamp:
    point: str
    address: str
    state: LampState = LampState.IDLE
    since_us: int = 0
    on: bool = False


class Lamps:
    """Every lamp of points that are not silent: a silent alarm shows nothing on the premises."""

    def __init__(self, points: Iterable[Point], driver: Driver) -> None:
        self._driver = driver
        self._lamps = [
            _Lamp(point.id, point.lamp)
            for point in points
            if point.lamp is not None and not point.silent
        ]

    @property
    def addresses(self) -> tuple[str, ...]:
        """The outputs the driver must open."""
        return tuple(lamp.address for lamp in self._lamps)

    def darken(self) -> None:
        """At a start: a lamp on a unit may still be lit from before."""
        for lamp in self._lamps:
            self._driver.light(lamp.address, on=False)

    def show(self, register: Register, now_us: int) -> None:
        """Bring every lamp to what its alarm and its rhythm say now."""
        for lamp in self._lamps:
            state = lamp_state(register.latest_at(lamp.point))
            if state is not lamp.state:
                lamp.state, lamp.since_us = state, now_us
            on = lit(lamp.state, lamp.since_us, now_us)
            if on is not lamp.on:
                lamp.on = on
                self._driver.light(lamp.address, on=on)

    def deadline(self, now_us: int) -> int | None:
        """When a lamp next changes by its rhythm; None: none does."""
        moments = (next_change_us(lamp.state, lamp.since_us, now_us) for lamp in self._lamps)
        return min((moment for moment in moments if moment is not None), default=None)
