"""Wiren Board units as they leave the factory, and what they do by themselves.

Sources: the makers' own templates for their Modbus driver (registers, factory values, modes). What
leaves the factory is unsafe for doors: inputs drive relays, and silence leaves them as they are.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from gateway.core.profile import Table
from simulators.bus.makings import Makings
from simulators.bus.parts import OutputPart, is_on
from simulators.bus.registers import Cell

if TYPE_CHECKING:
    from simulators.bus.units import SimulatedUnit

_WB_FACTORY = {110: 96, 111: 0, 112: 2, 113: 0, 114: 0}
_WB_LATCHED = {"wb-mcm8"}
"""Models with inputs only: their mode register chooses counting, and drives no relay."""


def wiren_board(unit: SimulatedUnit, makings: Makings) -> None:
    """The registers all of them share, then those of this model."""
    keep, show, kept = unit.registers.keep, unit.registers.show, unit.registers.kept
    for address, value in _WB_FACTORY.items():
        keep(Table.HOLDING, address, value)
    keep(Table.HOLDING, 128, unit.unit, least=1, most=247)
    unit.registers.put(
        Table.HOLDING, 120, Cell(lambda: 0, lambda on: unit.reboot() if on else None)
    )
    _wb_health(unit)
    if not unit.profile.id.startswith("wb-mio"):
        _wb_inputs(unit)
        if unit.outputs:
            _wb_outputs(unit)
            makings.poll_timeout_s = lambda: kept[Table.HOLDING, 8]
    else:
        _wb_side_modules(unit)
    unit.registers.holes_read = lambda: kept[Table.HOLDING, 114] != 0
    show(Table.INPUT, 119, lambda: 3_290)

    def restarted() -> None:
        if kept[Table.HOLDING, 114] == 1:
            kept[Table.HOLDING, 114] = 0

    makings.restarted = restarted


def _wb_health(unit: SimulatedUnit) -> None:
    show = unit.registers.show
    show(Table.INPUT, 104, lambda: unit.uptime_s >> 16 & 0xFFFF)
    show(Table.INPUT, 105, lambda: unit.uptime_s & 0xFFFF)
    for address, value in {121: 24_010, 122: 23_900, 123: 3_300, 124: 251}.items():
        show(Table.INPUT, address, partial(int, value))
    for index, word in enumerate((0x00FE, 0x4000 + unit.unit)):
        show(Table.INPUT, 270 + index, partial(int, word))
    for index, letter in enumerate(b"1.30.2".ljust(16, b"\x00")):
        show(Table.INPUT, 250 + index, partial(int, letter))
    for index, letter in enumerate(unit.profile.id.encode()[:12].ljust(12, b"\x00")):
        show(Table.HOLDING, 290 + index, partial(int, letter))
    if unit.profile.identity is None:
        for index, letter in enumerate(unit.profile.id.upper().encode()[:6].ljust(6, b"\x00")):
            show(Table.HOLDING, 200 + index, partial(int, letter))


def _wb_inputs(unit: SimulatedUnit) -> None:
    """Mode, filter and press times lie at the input's own bit address plus a base."""
    keep, kept = unit.registers.keep, unit.registers.kept
    relays = [one for one in unit.profile.outputs if one.write.table is Table.COIL]
    for channel in unit.profile.inputs:
        if channel.level is None:
            continue
        place = channel.level.address
        part = unit.inputs[channel.name]
        drives = unit.profile.id not in _WB_LATCHED
        keep(Table.HOLDING, 9 + place, 2 if drives and place == 7 else 0, most=6)
        keep(Table.HOLDING, 20 + place, 50, most=2_000)
        keep(Table.HOLDING, 1_100 + place, 1_000, least=500, most=5_000)
        keep(Table.HOLDING, 1_140 + place, 300, most=2_000)
        part.filter_ms = partial(kept.__getitem__, (Table.HOLDING, 20 + place))
        if drives:
            own = [unit.outputs[one.name] for one in relays if one.write.address == place]
            part.on_change.append(partial(_wb_local, unit, place, own))
    if "mr6c" in unit.profile.id and relays:
        keep(Table.HOLDING, 5, 0)


def _wb_local(
    unit: SimulatedUnit,
    place: int,
    own: list[OutputPart],
    closed: bool,  # noqa: FBT001 -- InputPart tells it so
) -> None:
    """What an input does to the relays by itself, by its mode: 3 is nothing.

    0 push button, 1 latching switch, 2 all relays off; 4 and 6 are tables that begin empty.
    """
    mode = unit.registers.kept[Table.HOLDING, 9 + place]
    if mode == 2 and closed:
        for output in unit.outputs.values():
            output.drive(on=False)
    elif mode == 1 or (mode == 0 and closed):
        for output in own:
            output.command(not output.on)


def _wb_outputs(unit: SimulatedUnit) -> None:
    keep, kept = unit.registers.keep, unit.registers.kept
    keep(Table.HOLDING, 6, 0, most=2)
    keep(Table.HOLDING, 8, 10, least=1, most=65_534)
    if unit.profile.id.endswith("-v3"):
        keep(Table.HOLDING, 19, 0, most=2)
    for channel in unit.profile.outputs:
        place, output = channel.write.address, unit.outputs[channel.name]
        for base, most in ((930, 1), (938, 1), (946, 2)):
            keep(Table.HOLDING, base + place, 0, most=most)
        output.safe = partial(_wb_safe, kept, place)
        output.power_on = partial(_wb_power_on, unit, place, output)
        if not unit.profile.id.endswith("-legacy"):
            _wb_timers(unit, place, output)


def _wb_timers(unit: SimulatedUnit, place: int, output: OutputPart) -> None:
    """What firmware 1.24 to 1.26 brought: the relay's own state, timers, one-way commands."""
    keep, kept, show = unit.registers.keep, unit.registers.kept, unit.registers.show
    for base, least, most, value in (
        *((1_728, 0, 999, 0), (1_736, 0, 999, 0), (1_760, 0, 5, 0)),
        *((1_784, 1, 65_000, 30), (1_792, 1, 65_000, 30)),
    ):
        keep(Table.HOLDING, base + place, value, least=least, most=most)
    show(Table.DISCRETE, 96 + place, partial(is_on, output))
    show(Table.INPUT, 1_864 + place, partial(_tenths_left, output))
    output.pulse_ms = partial(_wb_pulse_ms, kept, place)
    for base, does in ((100, False), (108, True)):
        command = Cell(lambda: 0, partial(_when_one, output, does))
        unit.registers.put(Table.COIL, base + place, command)


def _when_one(output: OutputPart, does: bool, value: int) -> None:  # noqa: FBT001 -- one command
    if value:
        output.command(does)


def _wb_pulse_ms(kept: dict[tuple[Table, int], int], place: int, on: bool) -> int:  # noqa: FBT001 -- as OutputPart asks
    mode = kept[Table.HOLDING, 1_760 + place]
    if on and mode == 3:
        return kept[Table.HOLDING, 1_784 + place] * 100
    if not on and mode == 4:
        return kept[Table.HOLDING, 1_792 + place] * 100
    return 0


def _wb_safe(kept: dict[tuple[Table, int], int], place: int) -> bool | None:
    if kept[Table.HOLDING, 938 + place] == 0:
        return None
    return kept[Table.HOLDING, 930 + place] == 1


def _wb_power_on(unit: SimulatedUnit, place: int, output: OutputPart) -> bool:
    if unit.registers.kept[Table.HOLDING, 6] == 1:
        return output.on
    return unit.registers.kept[Table.HOLDING, 930 + place] == 1


def _wb_side_modules(unit: SimulatedUnit) -> None:
    """A module in each slot the profile has channels of, and the registers that start it."""
    slots = set()
    for channel in unit.profile.inputs:
        if channel.level is not None:
            slots.add(channel.level.address // 1_000)
    bases = [slot * 1_000 for slot in sorted(slots)]
    bases += sorted({one.write.address // 1_000 * 1_000 + 500 for one in unit.profile.outputs})
    for base in bases:
        for address in (9_999, *range(10_000, 10_006)):
            unit.registers.keep(Table.HOLDING, base + address, 0)
    for slot, address in enumerate((997, 996, 995, 993), start=1):
        unit.registers.show(Table.INPUT, address, partial(int, 2 if slot in slots else 0))


def _tenths_left(output: OutputPart) -> int:
    return -(-output.left_ms() // 100)
