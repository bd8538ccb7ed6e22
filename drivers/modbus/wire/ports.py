"""Which port a bus has: the one place that chooses between a serial device and a connection."""

from __future__ import annotations

from typing import TYPE_CHECKING

from drivers.modbus.wire.port import Port
from drivers.modbus.wire.serial import SerialPort
from drivers.modbus.wire.tcp import TcpPort
from gateway.core.hardware import Bus, Transport

if TYPE_CHECKING:
    from gateway.clock import Clock


def open_port(bus: Bus, clock: Clock) -> Port:
    """The port of a bus on this machine, not yet open; an Opener once the clock is bound to it."""
    if bus.transport is Transport.RTU:
        return SerialPort(bus, clock)
    return TcpPort(bus, clock)
