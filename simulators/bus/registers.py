"""The four tables of a simulated unit, and what it answers to a request for them.

Owns cells by table and address, the answers to functions 1 to 6, 15 and 16, and the exceptions 1
(function), 2 (address) and 3 (value) of the application protocol V1.1b3. Knows no line, no time.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial

from gateway.core.profile import Limits, Table

ILLEGAL_FUNCTION, ILLEGAL_ADDRESS, ILLEGAL_VALUE, BUSY = 1, 2, 3, 6
ON, OFF = 0xFF00, 0x0000
HOLE = 0xFFFE
"""What Wiren Board units put into a register that is not there, with continuous read on."""

_READS = {1: Table.COIL, 2: Table.DISCRETE, 3: Table.HOLDING, 4: Table.INPUT}
_WRITES = {5: Table.COIL, 6: Table.HOLDING, 15: Table.COIL, 16: Table.HOLDING}
_MOST_WRITTEN = {15: 1_968, 16: 123}


class ModbusError(Exception):
    """A request the unit refuses; `code` goes back in the exception answer."""

    def __init__(self, code: int) -> None:
        super().__init__(f"exception {code}")
        self.code = code


@dataclass(slots=True)
class Cell:
    """One bit or register. write: None is read only. functions: those that may, None is all.

    raw: takes the value field of function 5 as it came, for units that put a time there.
    """

    read: Callable[[], int]
    write: Callable[[int], None] | None = None
    raw: Callable[[int], None] | None = None
    functions: frozenset[int] | None = None


class Registers:
    """Cells by table and address; `holes_read` decides whether gaps in a block are answered."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._cells: dict[Table, dict[int, Cell]] = {table: {} for table in Table}
        self._spans: dict[tuple[Table, int, int], tuple[Callable[[], int], ...]] = {}
        self.kept: dict[tuple[Table, int], int] = {}
        self.holes_read: Callable[[], bool] = lambda: False

    def has(self, table: Table, address: int) -> bool:
        """True when the unit knows that address."""
        return address in self._cells[table]

    def put(self, table: Table, address: int, cell: Cell) -> None:
        """Give an address its cell; the later one counts."""
        self._cells[table][address] = cell
        self._spans.clear()

    def show(self, table: Table, address: int, read: Callable[[], int]) -> None:
        """A cell that is only read."""
        self.put(table, address, Cell(read))

    def keep(
        self,
        table: Table,
        address: int,
        value: int,
        *,
        least: int = 0,
        most: int = 0xFFFF,
        functions: frozenset[int] | None = None,
    ) -> None:
        """A cell that remembers what was written, through restarts; exception 3 outside bounds."""
        self.kept[table, address] = value

        def write(written: int) -> None:
            if not least <= written <= most:
                raise ModbusError(ILLEGAL_VALUE)
            self.kept[table, address] = written

        read = partial(self.kept.__getitem__, (table, address))
        self.put(table, address, Cell(read, write, functions=functions))

    def read(self, table: Table, address: int, count: int) -> list[int]:
        """Values from `address` on. Raises ModbusError where one of them does not exist."""
        span = self._spans.get((table, address, count))
        if span is None:
            cells = self._cells[table]
            wanted = [cells.get(one) for one in range(address, address + count)]
            there = [cell.read for cell in wanted if cell is not None]
            if len(there) < count:
                if not self.holes_read():
                    raise ModbusError(ILLEGAL_ADDRESS)
                hole = 0 if table.bits else HOLE
                return [hole if cell is None else cell.read() for cell in wanted]
            span = self._spans[table, address, count] = tuple(there)
        return [read() for read in span]

    def write(self, table: Table, address: int, values: Sequence[int], *, function: int) -> None:
        """Write them all, or none where one of the addresses cannot be written."""
        writers = []
        for one in range(address, address + len(values)):
            cell = self._cells[table].get(one)
            if cell is None or cell.write is None:
                raise ModbusError(ILLEGAL_ADDRESS)
            if cell.functions is not None and function not in cell.functions:
                raise ModbusError(ILLEGAL_FUNCTION)
            writers.append(cell.write)
        for write, value in zip(writers, values, strict=True):
            write(value)

    def answer(self, pdu: bytes) -> bytes:
        """The answer PDU to a request PDU, an exception where there is a reason for one."""
        try:
            return self._answer(pdu)
        except ModbusError as error:
            return refusal(pdu, error.code)
        except struct.error:
            return refusal(pdu, ILLEGAL_VALUE)

    def _answer(self, pdu: bytes) -> bytes:
        function = pdu[0]
        table = _READS.get(function) or _WRITES.get(function)
        if table is None or not self._cells[table]:
            raise ModbusError(ILLEGAL_FUNCTION)
        address, field = struct.unpack_from(">HH", pdu, 1)
        if function in {5, 6} and len(pdu) != 5:
            raise ModbusError(ILLEGAL_VALUE)
        if function in _READS:
            return self._answer_read(pdu, table, address, field)
        if function == 5:
            self._write_bit(address, field)
        elif function == 6:
            self.write(table, address, [field], function=6)
        else:
            self._write_many(pdu, table, address, field)
        return pdu[:5]

    def _answer_read(self, pdu: bytes, table: Table, address: int, count: int) -> bytes:
        most = self._limits.bits if table.bits else self._limits.registers
        if len(pdu) != 5 or not 1 <= count <= most:
            raise ModbusError(ILLEGAL_VALUE)
        values = self.read(table, address, count)
        return _told(pdu[0], table.bits, tuple(values))

    def _write_bit(self, address: int, field: int) -> None:
        cell = self._cells[Table.COIL].get(address)
        if cell is None or (cell.write is None and cell.raw is None):
            raise ModbusError(ILLEGAL_ADDRESS)
        if cell.functions is not None and 5 not in cell.functions:
            raise ModbusError(ILLEGAL_FUNCTION)
        if cell.raw is not None:
            cell.raw(field)
        elif field in {ON, OFF} and cell.write is not None:
            cell.write(1 if field == ON else 0)
        else:
            raise ModbusError(ILLEGAL_VALUE)

    def _write_many(self, pdu: bytes, table: Table, address: int, count: int) -> None:
        size = -(-count // 8) if table.bits else 2 * count
        if not 1 <= count <= _MOST_WRITTEN[pdu[0]] or len(pdu) != 6 + size or pdu[5] != size:
            raise ModbusError(ILLEGAL_VALUE)
        body = pdu[6:]
        if table.bits:
            values = [body[one // 8] >> one % 8 & 1 for one in range(count)]
        else:
            values = list(struct.unpack(f">{count}H", body))
        self.write(table, address, values, function=pdu[0])


@lru_cache(maxsize=1_024)
def _told(function: int, bits: bool, values: tuple[int, ...]) -> bytes:  # noqa: FBT001 -- cached
    """The answer to a read. Nearly all of them are alike."""
    body = packed_bits(values) if bits else struct.pack(f">{len(values)}H", *values)
    return bytes([function, len(body)]) + body


def refusal(pdu: bytes, code: int) -> bytes:
    """The exception answer to a request."""
    return bytes([pdu[0] | 0x80, code])


def packed_bits(values: Sequence[int]) -> bytes:
    """Bits as functions 1 and 2 answer them: the first in the lowest bit of the first byte."""
    packed = bytearray(-(-len(values) // 8))
    for one, value in enumerate(values):
        packed[one // 8] |= (1 if value else 0) << one % 8
    return bytes(packed)
