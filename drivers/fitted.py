"""The driver a configuration calls for: pins alone, or pins and units on buses.

Modbus is loaded only where there is a bus: a school with buttons alone does not carry it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from random import Random
from typing import TYPE_CHECKING

from drivers.base import Driver, Memory
from drivers.gpio import GpioDriver
from drivers.pins import PinFactory
from gateway.core.model import Json
from gateway.core.premises import Premises

if TYPE_CHECKING:
    from drivers.modbus.wire.port import Opener
    from gateway.clock import Clock


def fitted(
    premises: Premises,
    *,
    factory: PinFactory,
    clock: Clock,
    random: Random,
    report: Callable[[str, Mapping[str, Json]], None],
    memory: Memory,
    opener: Opener | None = None,
) -> Driver:
    """Make it, not yet started. opener: how ports are opened; None: those of this machine."""
    pins = GpioDriver(factory=factory, now_us=clock.now_us, report=report)
    if not premises.buses:
        return pins
    from drivers.modbus.driver import ModbusDriver  # noqa: PLC0415 -- only where there is a bus
    from drivers.modbus.wire.ports import open_port  # noqa: PLC0415 -- as above
    from drivers.together import Together  # noqa: PLC0415 -- as above

    units = ModbusDriver(
        premises.buses,
        premises.devices,
        opener=opener if opener is not None else partial(open_port, clock=clock),
        clock=clock,
        random=random,
        report=report,
        identities=memory.identities,
        remember=memory.remember,
    )
    return Together(pins=pins, units=units)
