"""From registers as a profile names them to the requests that read and write one. Pure.

Knows word order and bits; knows no unit and no meaning. Reading a value out of an answer is
`blocks.value_of`. A value's high word goes first on the wire unless the register says otherwise.
"""

from __future__ import annotations

from drivers.modbus.wire.request import Read, Request, WriteBit, WriteRegister, WriteRegisters
from gateway.core.profile import Register

BIT_ON, BIT_OFF = 0xFF00, 0x0000
"""The two values function 5 has for a single bit (MODBUS Application Protocol V1.1b3, 6.5)."""

WRITE_REGISTERS = 16


def read_of(register: Register) -> Read:
    """The request that reads exactly this register."""
    return Read(register.table, register.address, register.words)


def with_bit(whole: int, bit: int, value: int) -> int:
    """The mask `whole` with one bit set (value not 0) or cleared."""
    return whole | 1 << bit if value else whole & ~(1 << bit)


def write_of(register: Register, value: int, *, function: int = 6) -> Request:
    """The request that makes a whole register (or coil) hold `value`.

    function: 16 where the unit takes a single register by that alone.
    """
    if register.table.bits:
        return WriteBit(register.address, BIT_ON if value else BIT_OFF)
    if register.words == 1 and function != WRITE_REGISTERS:
        return WriteRegister(register.address, value)
    words = [value >> 16 * index & 0xFFFF for index in range(register.words)]
    if not register.low_word_first:
        words.reverse()
    return WriteRegisters(register.address, tuple(words))
