"""The iron that hangs on buses: lines, boards and units of one Premises, and their misfortunes.

Built from the configuration alone. In virtual time the product opens its buses by `opener`, in
real time `serve` puts them where the configuration says: serial ports and sockets of this machine.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from pathlib import Path
from random import Random

from drivers.modbus.wire.port import Opener
from gateway.clock import Clock
from gateway.core.hardware import Bus, Device, Transport, channel_of, device_of
from gateway.core.model import Json
from gateway.core.premises import Premises
from gateway.core.profile import Profile
from simulators.bus.faults import (
    Fault,
    Flooding,
    Forgetful,
    Impostor,
    Late,
    LineTrouble,
    Refusing,
    Silent,
    Spoiling,
    StuckOutputs,
    Unpowered,
)
from simulators.bus.line import HANDOVER_US, Line
from simulators.bus.parts import Contact, OutputPart
from simulators.bus.pty import PtyLine
from simulators.bus.registers import BUSY
from simulators.bus.shipped import whole
from simulators.bus.tcp import Board, TcpServer
from simulators.bus.units import SimulatedUnit
from simulators.bus.wire_port import opener

UNIT_VERBS: dict[str, Callable[[int], Fault]] = {
    "silent": lambda _ms: Silent(),
    "dead": lambda _ms: Unpowered(),
    "late": lambda ms: Late(ms * 1_000, ms * 1_000),
    "noise": lambda _ms: Spoiling(0.5),
    "forgetful": lambda _ms: Forgetful(0.5),
    "busy": lambda _ms: Refusing(BUSY),
    "flood": lambda ms: Flooding(max(1, ms) * 1_000),
    "impostor": lambda _ms: Impostor(),
    "stuck": lambda _ms: StuckOutputs(),
}
"""What can be made wrong with a unit by a word; `ms` counts for late and flood."""
_MORE_UNIT_VERBS = ("well", "reboot", "twin")
"""Well ends all of them; a twin is a second unit of the same model and address on its line."""
BUS_VERBS = ("unplug", "plug", "noise", "echo", "well")
_NOISE = LineTrouble(bit_error=0.01, lost=0.005, noise=0.1)


class Plant:
    """Everything on the buses of one premises; empty where there is none."""

    def __init__(
        self,
        premises: Premises,
        *,
        clock: Clock,
        random: Random,
        catalogue: Callable[[Profile], Profile] = whole,
        handover_us: int = HANDOVER_US,
    ) -> None:
        """catalogue: the whole profile of a unit, where the configuration carries a part of it.

        Unused channels are there on a real unit, and numbers count from the first of all.
        handover_us: how often adapters hand over what they hear; more makes simulations faster.
        """
        self._buses = {bus.id: bus for bus in premises.buses}
        self._clock = clock
        self._handover_us = handover_us
        self._twins: dict[str, SimulatedUnit] = {}
        self.units: dict[str, SimulatedUnit] = {}
        self.buses: dict[str, Line | Board] = {}
        for bus in premises.buses:
            hung = [device for device in premises.devices if device.bus == bus.id]
            units = [self._unit(one, catalogue, Random(random.random())) for one in hung]
            self.buses[bus.id] = self._behind(bus, units, Random(random.random()))

    def _unit(
        self, device: Device, catalogue: Callable[[Profile], Profile], random: Random
    ) -> SimulatedUnit:
        whole = replace(device, profile=catalogue(device.profile))
        self.units[device.id] = SimulatedUnit(whole, clock=self._clock, random=random)
        return self.units[device.id]

    def _behind(self, bus: Bus, units: list[SimulatedUnit], random: Random) -> Line | Board:
        if bus.transport is Transport.TCP:
            return Board(units, clock=self._clock)
        line = Line(
            clock=self._clock,
            random=random,
            baud=bus.baud,
            parity=bus.parity,
            stop_bits=bus.stop_bits,
            handover_us=self._handover_us,
        )
        line.trouble.echo = bool(bus.echo)
        for unit in units:
            line.add(unit)
        return line

    # --- where things are -------------------------------------------------------------------

    def contact(self, address: str) -> Contact:
        """The wire at `device/channel`. Raises ValueError that names what there is."""
        return self.unit(device_of(address) or address).contact(channel_of(address))

    def output(self, address: str) -> OutputPart:
        """The output at `device/channel`. Raises ValueError that names what there is."""
        return self.unit(device_of(address) or address).output(channel_of(address))

    def unit(self, name: str) -> SimulatedUnit:
        """The unit of a device's id. Raises ValueError that names what there is."""
        if name not in self.units:
            raise ValueError(f"no unit {name!r}; there are {', '.join(self.units) or 'none'}")
        return self.units[name]

    def bus(self, name: str) -> Line | Board:
        """What is behind a bus. Raises ValueError that names what there is."""
        if name not in self.buses:
            raise ValueError(f"no bus {name!r}; there are {', '.join(self.buses) or 'none'}")
        return self.buses[name]

    def told(self) -> dict[str, Json]:
        """Units and buses in words, for people."""
        units: dict[str, Json] = {
            name: {
                "faults": [type(fault).__name__ for fault in unit.faults],
                "uptime_s": unit.uptime_s,
                "safe": unit.safe,
                "outputs": {part.name: part.on for part in unit.outputs.values()},
            }
            for name, unit in self.units.items()
        }
        buses: dict[str, Json] = {
            name: "plugged" if behind.plugged else "unplugged"
            for name, behind in self.buses.items()
        }
        return {"units": units, "buses": buses}

    # --- what happens to them ---------------------------------------------------------------

    def afflict(self, name: str, verb: str, *, ms: int = 500) -> None:
        """Let something happen to a unit. Raises ValueError for an unknown unit or word."""
        unit = self.unit(name)
        if verb == "well":
            unit.heal()
            self._part(name)
        elif verb == "twin":
            self._double(unit)
        elif verb == "reboot":
            unit.reboot()
        elif verb in UNIT_VERBS:
            unit.afflict(UNIT_VERBS[verb](ms))
        else:
            known = ", ".join([*_MORE_UNIT_VERBS, *UNIT_VERBS])
            raise ValueError(f"a unit can be {known}, not {verb!r}")

    def _double(self, unit: SimulatedUnit) -> None:
        lines = [one for one in self.buses.values() if isinstance(one, Line) and unit in one.units]
        if not lines:
            raise ValueError(f"{unit.id} is on Modbus TCP: no second one answers there")
        if unit.id not in self._twins:
            seed = Random(unit.random.random())
            device = Device(f"{unit.id}-twin", "", unit.unit, unit.profile)
            self._twins[unit.id] = SimulatedUnit(device, clock=self._clock, random=seed)
            lines[0].add(self._twins[unit.id])

    def _part(self, name: str) -> None:
        twin = self._twins.pop(name, None)
        for behind in self.buses.values():
            if twin in behind.units:
                behind.units.remove(twin)

    def trouble(self, name: str, verb: str) -> None:
        """Let something happen to a bus. Raises ValueError for an unknown bus or word."""
        behind = self.bus(name)
        if verb not in BUS_VERBS:
            raise ValueError(f"a bus knows {', '.join(BUS_VERBS)}, not {verb!r}")
        if verb == "unplug":
            behind.unplug()
        elif verb == "plug":
            behind.plug()
        elif not isinstance(behind, Line):
            raise ValueError(f"{name} is Modbus TCP: it can be unplugged and plugged only")
        else:
            well = LineTrouble(echo=bool(self._buses[name].echo))
            now = {"noise": replace(_NOISE, echo=well.echo), "echo": LineTrouble(echo=True)}
            behind.trouble = now.get(verb, well)

    # --- how the product gets at them -------------------------------------------------------

    def opener(self) -> Opener:
        """Ports in process, for virtual time."""
        return opener(self.buses, clock=self._clock)

    @asynccontextmanager
    async def serve(self) -> AsyncIterator[None]:
        """Be there at the ports and sockets the configuration names, until left.

        Raises OSError where one of them is taken or cannot be made.
        """
        async with AsyncExitStack() as stack:
            for name, bus in self._buses.items():
                behind = self.buses[name]
                if bus.transport is Transport.RTU:
                    assert isinstance(behind, Line)
                    await stack.enter_async_context(PtyLine(behind, Path(bus.port)))
                else:
                    server = TcpServer(behind, host=bus.host, port=bus.tcp_port)
                    await stack.enter_async_context(server)
            yield
