"""What makers built into their units beyond what a Profile tells: factory settings and habits.

One function a family, chosen by the profile's id, each from the makers' register lists. It gives a
SimulatedUnit the registers it leaves the factory with and ties them to what they do: filters, local
control, timers, the state for a silent master. A unit of no family gets the profile's settings.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from gateway.core.profile import OutputChannel, Table
from simulators.bus.makings import Makings
from simulators.bus.orion import OrionLog
from simulators.bus.parts import OutputPart, is_on
from simulators.bus.registers import ILLEGAL_VALUE, OFF, ON, Cell, ModbusError
from simulators.bus.wirenboard import wiren_board

if TYPE_CHECKING:
    from simulators.bus.units import SimulatedUnit

_TOGGLE = 0x5500
_MAX_OWEN_DUTY = 1_000


def outfit(unit: SimulatedUnit) -> Makings:
    """Give a unit all that its makers built in."""
    log = None
    if unit.profile.event_log is not None:
        log = OrionLog(unit.profile.event_log, unit.registers, unit.clock)
    makings = Makings(_answer_us(unit, 1_000, 8_000), log=log)
    family = next((build for name, build in _FAMILIES if unit.profile.id.startswith(name)), None)
    if family is not None:
        family(unit, makings)
    else:
        _plain(unit, makings)
    return makings


def _answer_us(unit: SimulatedUnit, least: int, most: int) -> tuple[int, int]:
    """Answer times, within what the profile allows."""
    limit_us = max(1, unit.profile.timing.answer_ms) * 1_000
    return min(least, limit_us), min(most, limit_us)


def _plain(unit: SimulatedUnit, makings: Makings) -> None:
    """A unit nobody knows more of: its settings are registers that begin at 0."""
    del makings
    for setting in unit.profile.settings:
        register = setting.register
        for address in range(register.address, register.address + register.words):
            if not unit.registers.has(register.table, address):
                unit.registers.keep(register.table, address, 0)


# --- Waveshare ------------------------------------------------------------------------------


def _waveshare(unit: SimulatedUnit, makings: Makings) -> None:
    makings.answer_us = _answer_us(unit, 2_000, 10_000)
    for channel in unit.profile.outputs:
        place, output = channel.write.address, unit.outputs[channel.name]
        unit.registers.put(
            Table.COIL, place, Cell(partial(is_on, output), output_writer(output), _raw(output))
        )
        for base, on in ((0x200, True), (0x400, False)):
            flash = Cell(lambda: 0, raw=partial(_flash, output, on))
            unit.registers.put(Table.COIL, base + place, flash)
    if unit.outputs:
        every = Cell(lambda: 0, partial(_drive_all, unit))
        unit.registers.put(Table.COIL, 0xFF, every)
    for one in unit.profile.inputs:
        if one.level is None:
            continue
        place = one.level.address
        unit.registers.keep(Table.HOLDING, 0x1000 + place, 0, most=3)
        own = [unit.outputs[o.name] for o in unit.profile.outputs if o.write.address == place]
        unit.inputs[one.name].on_change.append(partial(_waveshare_local, unit, place, own))
    unit.registers.keep(Table.HOLDING, 0x4000, unit.unit, least=1, most=255)
    unit.registers.keep(Table.HOLDING, 0x2000, 0x0001)
    if not unit.registers.has(Table.HOLDING, 0x8000):
        unit.registers.show(Table.HOLDING, 0x8000, lambda: 120)


def output_writer(output: OutputPart) -> Callable[[int], None]:
    """What a plain write of 0 or 1 does."""
    return lambda value: output.command(bool(value))


def _raw(output: OutputPart) -> Callable[[int], None]:
    def raw(value: int) -> None:
        if value not in {ON, OFF, _TOGGLE}:
            raise ModbusError(ILLEGAL_VALUE)
        output.drive(on=not output.on if value == _TOGGLE else value == ON)

    return raw


def _flash(output: OutputPart, on: bool, tenths: int) -> None:  # noqa: FBT001 -- one command
    if not 1 <= tenths <= 0x7FFF:
        raise ModbusError(ILLEGAL_VALUE)
    output.drive(on=on, for_ms=tenths * 100)


def _drive_all(unit: SimulatedUnit, value: int) -> None:
    for output in unit.outputs.values():
        output.drive(on=bool(value))


def _waveshare_local(
    unit: SimulatedUnit,
    place: int,
    own: list[OutputPart],
    closed: bool,  # noqa: FBT001 -- InputPart tells it so
) -> None:
    """0 commands only, 1 relay follows input, 2 a pulse toggles, 3 every edge toggles."""
    mode = unit.registers.kept[Table.HOLDING, 0x1000 + place]
    for output in own:
        if mode == 1:
            output.drive(on=closed)
        elif mode == 3 or (mode == 2 and closed):
            output.drive(on=not output.on)


# --- Owen, Bolid, Advantech -------------------------------------------------------------------


def _owen(unit: SimulatedUnit, makings: Makings) -> None:
    """Masks of all inputs and all outputs; an output is also a number from 0 to 1000."""
    makings.answer_us = _answer_us(unit, 2_000, 15_000)
    registers, kept = unit.registers, unit.registers.kept
    # Of the small door node only function 16 was seen to write.
    writes = frozenset({16}) if "mk110" in unit.profile.id else None
    if unit.inputs:
        for table in (Table.HOLDING, Table.INPUT):
            registers.show(table, 0x33, partial(_input_mask, unit))
        if "mk110" in unit.profile.id:
            for place, part in enumerate(unit.inputs.values()):
                registers.keep(Table.HOLDING, 0xC8 + place, 1, most=1, functions=writes)
                part.filter_ms = partial(_owen_filter_ms, kept, place)
    if not unit.outputs:
        return
    registers.keep(Table.HOLDING, 0x30, 0, most=600, functions=writes)
    makings.poll_timeout_s = lambda: kept[Table.HOLDING, 0x30]
    for place, output in enumerate(unit.outputs.values()):
        duty = Cell(partial(_duty, output), partial(_set_duty, output), functions=writes)
        registers.put(Table.HOLDING, place, duty)
        registers.keep(Table.HOLDING, 0x10 + place, 0, most=_MAX_OWEN_DUTY, functions=writes)
        output.safe = partial(_owen_safe, kept, place)
    mask = Cell(partial(_output_mask, unit), partial(_set_mask, unit), functions=frozenset({16}))
    registers.put(Table.HOLDING, 0x32, mask)


def _owen_filter_ms(kept: dict[tuple[Table, int], int], place: int) -> int:
    """With its filter on; how long it is no source tells, 50 ms is assumed."""
    return 50 if kept[Table.HOLDING, 0xC8 + place] else 0


def _owen_safe(kept: dict[tuple[Table, int], int], place: int) -> bool | None:
    return kept[Table.HOLDING, 0x10 + place] > 0


def _duty(output: OutputPart) -> int:
    return _MAX_OWEN_DUTY if output.on else 0


def _set_duty(output: OutputPart, duty: int) -> None:
    if duty > _MAX_OWEN_DUTY:
        raise ModbusError(ILLEGAL_VALUE)
    output.command(duty > 0)


def _input_mask(unit: SimulatedUnit) -> int:
    return sum(part.level << bit for bit, part in enumerate(unit.inputs.values()))


def _output_mask(unit: SimulatedUnit) -> int:
    return sum(part.on << bit for bit, part in enumerate(unit.outputs.values()))


def _set_mask(unit: SimulatedUnit, mask: int) -> None:
    for bit, part in enumerate(unit.outputs.values()):
        part.command(bool(mask >> bit & 1))


def _bolid(unit: SimulatedUnit, makings: Makings) -> None:
    makings.answer_us = _answer_us(unit, 4_500, 6_900)
    for channel in unit.profile.outputs:
        _written_by(unit, channel, frozenset({15}))


def _written_by(unit: SimulatedUnit, channel: OutputChannel, functions: frozenset[int]) -> None:
    output = unit.outputs[channel.name]
    unit.registers.put(
        channel.write.table,
        channel.write.address,
        Cell(partial(is_on, output), output_writer(output), functions=functions),
    )


def _advantech(unit: SimulatedUnit, makings: Makings) -> None:
    """Inputs stand among the coils; some firmware also answers function 2 for them."""
    makings.answer_us = _answer_us(unit, 30_000, 60_000)
    _plain(unit, makings)


_FAMILIES: tuple[tuple[str, Callable[[SimulatedUnit, Makings], None]], ...] = (
    ("wb-", wiren_board),
    ("waveshare", _waveshare),
    ("owen", _owen),
    ("bolid", _bolid),
    ("adam", _advantech),
)
