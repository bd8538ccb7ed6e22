"""Requests as bytes, answers as values: PDUs, the CRC, and what an answer must look like.

The only file that knows pymodbus, and only its PDUs: its framer believes late and glued answers,
and loses a good frame behind a noisy byte. Holds no state; finding frames in what comes in is
`framing.py`'s.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from functools import lru_cache

from pymodbus.pdu.bit_message import (
    ReadCoilsRequest,
    ReadCoilsResponse,
    ReadDiscreteInputsRequest,
    ReadDiscreteInputsResponse,
    WriteMultipleCoilsRequest,
)
from pymodbus.pdu.pdu import ModbusPDU
from pymodbus.pdu.register_message import (
    ReadHoldingRegistersRequest,
    ReadHoldingRegistersResponse,
    ReadInputRegistersRequest,
    ReadInputRegistersResponse,
    WriteMultipleRegistersRequest,
    WriteSingleRegisterRequest,
)

from drivers.modbus.wire.request import (
    Read,
    Request,
    WriteBit,
    WriteBits,
    WriteRegister,
    WriteRegisters,
)
from gateway.core.profile import Table

FUNCTIONS = {Table.COIL: 1, Table.DISCRETE: 2, Table.HOLDING: 3, Table.INPUT: 4}
"""The read function of each table (MODBUS Application Protocol V1.1b3, 6.1 to 6.4)."""

EXCEPTION = 0x80
"""Set in the function of an answer that refuses (V1.1b3, 7)."""

SHORTEST_RTU, LONGEST_RTU = 5, 256
"""Unit, exception, code, CRC; and the longest frame a line carries (Serial Line V1.02, 2.5.1)."""

# How much one request may ask for or write, V1.1b3, 6.1, 6.3, 6.11 and 6.12.
_MOST_READ = {True: 2_000, False: 125}
_MOST_BITS_WRITTEN, _MOST_REGISTERS_WRITTEN = 1_968, 123

_ASK: dict[Table, type[ModbusPDU]] = {
    Table.COIL: ReadCoilsRequest,
    Table.DISCRETE: ReadDiscreteInputsRequest,
    Table.HOLDING: ReadHoldingRegistersRequest,
    Table.INPUT: ReadInputRegistersRequest,
}
_ANSWERS: dict[int, type[ModbusPDU]] = {
    1: ReadCoilsResponse,
    2: ReadDiscreteInputsResponse,
    3: ReadHoldingRegistersResponse,
    4: ReadInputRegistersResponse,
}


@dataclass(frozen=True, slots=True)
class Ask:
    """A request to one unit, and all that is known of its answer before it comes.

    pdu: what goes out. head: how the PDU of the answer begins: function and byte count of a read,
    the echo of a write (address and value, or address and count). answer_bytes: its whole length.
    """

    unit: int
    request: Request
    pdu: bytes
    head: bytes
    answer_bytes: int

    @property
    def function(self) -> int:
        """The function code asked for."""
        return self.pdu[0]

    @property
    def writes(self) -> bool:
        """True when it changes something in the unit, so that it may go out once only."""
        return not isinstance(self.request, Read)

    def answered_by(self, pdu: bytes) -> bool:
        """True for an answer of the right function, length and byte count, or the right echo."""
        return len(pdu) == self.answer_bytes and pdu.startswith(self.head)

    def refused_by(self, pdu: bytes) -> bool:
        """True for an exception to this function."""
        return len(pdu) == 2 and pdu[0] == self.function | EXCEPTION

    def fits(self, pdu: bytes) -> bool:
        """True for what may be an answer to this, of either kind."""
        return self.answered_by(pdu) or self.refused_by(pdu)


@lru_cache(maxsize=1_024)
def ask_of(unit: int, request: Request) -> Ask:
    """A request to unit 1..255, ready to go out. Raises ValueError for what cannot be asked.

    Unit 0 is everybody and answers nothing: Qorgan never broadcasts.
    """
    if not 1 <= unit <= 255:
        raise ValueError(f"unit {unit}: a unit has an address of 1 to 247, a TCP board 255")
    _inside(request)
    pdu = _pdu(request)
    if isinstance(request, Read):
        size = (request.count + 7) // 8 if request.table.bits else 2 * request.count
        return Ask(unit, request, pdu, bytes((pdu[0], size)), 2 + size)
    return Ask(unit, request, pdu, pdu[:5], 5)


def values_of(ask: Ask, pdu: bytes) -> tuple[int, ...]:
    """The values in an answer that `answered_by` accepted: as many as asked for, none of a write.

    Bits come first bit first and padded to whole bytes (V1.1b3, 6.1); the padding is cut off.
    """
    request = ask.request
    return _decoded(pdu, request.count) if isinstance(request, Read) else ()


@lru_cache(maxsize=1_024)
def rtu(unit: int, pdu: bytes) -> bytes:
    """The frame of a PDU on a serial line: unit, PDU, CRC with the low byte first."""
    frame = bytes((unit,)) + pdu
    return frame + crc(frame).to_bytes(2, "little")


def mbap(number: int, unit: int, pdu: bytes) -> bytes:
    """The frame of a PDU in TCP: transaction number, protocol 0, length, unit, PDU."""
    return struct.pack(">HHHB", number, 0, len(pdu) + 1, unit) + pdu


def crc(data: bytes | bytearray, start: int = 0xFFFF) -> int:
    """CRC-16 of a serial line (V1.02, 6.2.2). Over a whole frame with its own CRC it is 0."""
    value = start
    for byte in data:
        value = (value >> 8) ^ _CRC[(value ^ byte) & 0xFF]
    return value


def rtu_size(head: bytes | bytearray) -> int | None:
    """How long an answer that begins like this is on a serial line; 0: too early to tell.

    None: nothing that answers us begins like this.
    """
    if len(head) < 2:
        return 0
    function = head[1]
    if function in {1, 2, 3, 4}:
        if len(head) < 3:
            return 0
        size = 5 + head[2]
        return size if 5 < size <= LONGEST_RTU else None
    if function in {5, 6, 15, 16}:
        return 8
    if function & EXCEPTION:
        return SHORTEST_RTU
    return None


def shape_of(pdu: bytes) -> bytes:
    """What of an answer tells to which requests it may belong: the `head` of their Ask."""
    return pdu[:2] if pdu[0] in {1, 2, 3, 4} else pdu[:5]


@lru_cache(maxsize=1_024)
def _decoded(pdu: bytes, count: int) -> tuple[int, ...]:
    """The values of a read. Most answers are the same again and again, hence the cache."""
    answer = _ANSWERS[pdu[0]]()
    answer.decode(pdu[1:])
    found = answer.bits if pdu[0] in {1, 2} else answer.registers
    return tuple(int(value) for value in found[:count])


def _inside(request: Request) -> None:
    """ValueError for an address, a count or a value that no frame can carry."""
    if isinstance(request, Read):
        count, most = request.count, _MOST_READ[request.table.bits]
    elif isinstance(request, WriteBits):
        count, most = len(request.values), _MOST_BITS_WRITTEN
    elif isinstance(request, WriteRegisters):
        count, most = len(request.values), _MOST_REGISTERS_WRITTEN
    else:
        count, most = 1, 1
    if not 1 <= count <= most:
        raise ValueError(f"{request}: {count} values in one request; 1 to {most} fit")
    if not 0 <= request.address <= 65_536 - count:
        raise ValueError(f"{request}: addresses end at 65535")
    for value in _words(request):
        if not 0 <= value <= 0xFFFF:
            raise ValueError(f"{request}: {value} does not fit into 16 bits")


def _words(request: Request) -> tuple[int, ...]:
    if isinstance(request, WriteRegisters):
        return request.values
    if isinstance(request, WriteRegister):
        return (request.value,)
    return (request.raw,) if isinstance(request, WriteBit) else ()


def _pdu(request: Request) -> bytes:
    if isinstance(request, WriteBit):
        # pymodbus knows on and off only; units that time an output take the time as this value.
        return struct.pack(">BHH", 5, request.address, request.raw)
    message: ModbusPDU
    if isinstance(request, Read):
        message = _ASK[request.table](address=request.address, count=request.count)
    elif isinstance(request, WriteRegister):
        message = WriteSingleRegisterRequest(address=request.address, registers=[request.value])
    elif isinstance(request, WriteBits):
        message = WriteMultipleCoilsRequest(address=request.address, bits=list(request.values))
    else:
        message = WriteMultipleRegistersRequest(
            address=request.address, registers=list(request.values)
        )
    return bytes((message.function_code,)) + message.encode()


def _crc_table() -> tuple[int, ...]:
    """Polynomial 0xA001, bit-reversed 0x8005."""
    table = []
    for byte in range(256):
        value = byte
        for _ in range(8):
            value = (value >> 1) ^ (0xA001 if value & 1 else 0)
        table.append(value)
    return tuple(table)


_CRC = _crc_table()
