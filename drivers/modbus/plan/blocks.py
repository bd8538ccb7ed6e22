"""What is wanted of a unit's registers, and the reads that fetch it: coalesced, split, unpacked.

Pure. A block never asks for more than the unit's Limits, and never takes longer on the wire than
one slice; who is read when is `plan.py`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from drivers.modbus.wire.line import Line
from drivers.modbus.wire.request import Read
from gateway.core.profile import Limits, Register, Table

SLICE_US = 100_000
"""The longest one read may take, so that whoever comes next never waits longer for the wire."""

TYPICAL_ANSWER_US = 20_000
"""Left of a slice for the unit's own thinking: measured units begin to answer after 5..50 ms."""


@dataclass(frozen=True, slots=True)
class Want:
    """A value somebody wants, again and again.

    key: the caller's name for it, unique within its unit. period_us: how often, more than 0.
    high: inputs and counters, which never wait for what is not; False: health, read when there is
    room and forced once it is a second behind.
    """

    key: str
    register: Register
    period_us: int
    high: bool = True


REQUEST_CHARS = 8
ANSWER_CHARS = 5
"""Of a read, and of its answer beside what was read (V1.1b3, 6.1 to 6.4, and two bytes of CRC)."""


def frames_us(line: Line, read: Read) -> int:
    """What the bytes of a read and its answer take on the wire."""
    octets = (read.count + 7) // 8 if read.table.bits else 2 * read.count
    return line.wire_us(REQUEST_CHARS + ANSWER_CHARS + octets)


def exchange_us(line: Line, read: Read) -> int:
    """The same with the silence that ends each of the two frames; the unit's thinking left out."""
    return frames_us(line, read) + 2 * line.silence_us()


@dataclass(frozen=True, slots=True)
class Block:
    """One read and the wants it answers. holes: it also reads what nobody wants."""

    read: Read
    wants: tuple[Want, ...]
    holes: bool = False

    @property
    def high(self) -> bool:
        """True when anything in it is of the high class."""
        return any(want.high for want in self.wants)

    @property
    def period_us(self) -> int:
        """The shortest period of what is in it."""
        return min(want.period_us for want in self.wants)


def coalesce(
    wants: Iterable[Want], limits: Limits, line: Line, *, holes: bool = True
) -> tuple[Block, ...]:
    """The fewest reads that answer these wants within the unit's limits and one slice each.

    High and low wants share no block, unless they stand in the same registers. holes: registers
    nobody wants may be read in between, as far as the limits allow. A single value that alone
    takes longer than a slice is a block of its own; ValueError names one longer than the limits.
    """
    spans: dict[_Span, list[Want]] = {}
    for want in wants:
        register = want.register
        span = _Span(register.table, register.address, register.words)
        if span.words > _most(limits, span.table):
            raise ValueError(f"{want.key}: {span.words} words, more than the unit reads at once")
        spans.setdefault(span, []).append(want)
    groups: dict[tuple[Table, bool], list[_Span]] = {}
    for span in sorted(spans, key=_place):
        high = any(want.high for want in spans[span])
        groups.setdefault((span.table, high), []).append(span)
    blocks: list[Block] = []
    for group in groups.values():
        blocks += _merged(group, spans, limits if holes else _unbroken(limits), line)
    return tuple(blocks)


def halves(block: Block) -> tuple[Block, ...]:
    """A refused block without holes in two, to find out what of it is refused.

    One block, itself, where all its wants stand in the same registers.
    """
    spans: dict[_Span, list[Want]] = {}
    for want in block.wants:
        register = want.register
        spans.setdefault(_Span(register.table, register.address, register.words), []).append(want)
    ordered = sorted(spans, key=_place)
    middle = len(ordered) // 2
    if not middle:
        return (block,)
    return tuple(_block(half, spans) for half in (ordered[:middle], ordered[middle:]))


def value_of(register: Register, read: Read, values: Sequence[int]) -> int:
    """The register's value out of the answer to a read that covers it.

    Raises ValueError when it does not.
    """
    begin = register.address - read.address
    words = list(values[begin : begin + register.words]) if begin >= 0 else []
    if len(words) != register.words or register.table is not read.table:
        raise ValueError(f"{read} does not cover {register}")
    if register.low_word_first:
        words.reverse()
    value = 0
    for word in words:
        value = value << 16 | word
    if register.high_byte:
        return value >> 8 & 0xFF
    if register.bit is not None:
        return value >> register.bit & 1
    return value


def values_of(block: Block, values: Sequence[int]) -> dict[str, int]:
    """Every want's value out of the answer to the block's read, by key."""
    return {want.key: value_of(want.register, block.read, values) for want in block.wants}


@dataclass(frozen=True, slots=True)
class _Span:
    """Registers that hold one value: they are never torn apart."""

    table: Table
    address: int
    words: int

    @property
    def end(self) -> int:
        return self.address + self.words


def _place(span: _Span) -> tuple[str, int, int]:
    return span.table, span.address, span.words


def _most(limits: Limits, table: Table) -> int:
    return limits.bits if table.bits else limits.registers


def _unbroken(limits: Limits) -> Limits:
    return replace(limits, hole_registers=0, hole_bits=0)


def _merged(
    spans: Sequence[_Span], wanted: Mapping[_Span, Sequence[Want]], limits: Limits, line: Line
) -> list[Block]:
    """Neighbours of one table merged, first come first merged; `spans` are sorted."""
    table = spans[0].table
    hole = limits.hole_bits if table.bits else limits.hole_registers
    runs: list[list[_Span]] = []
    end = 0
    for span in spans:
        if runs and span.address - end <= hole:
            read = Read(table, runs[-1][0].address, max(end, span.end) - runs[-1][0].address)
            slow = exchange_us(line, read) + TYPICAL_ANSWER_US > SLICE_US
            if read.count <= _most(limits, table) and not slow:
                runs[-1].append(span)
                end = max(end, span.end)
                continue
        runs.append([span])
        end = span.end
    return [_block(run, wanted) for run in runs]


def _block(run: Sequence[_Span], wanted: Mapping[_Span, Sequence[Want]]) -> Block:
    first, end, holes = run[0], run[0].address, False
    for span in run:
        holes = holes or span.address > end
        end = max(end, span.end)
    read = Read(first.table, first.address, end - first.address)
    return Block(read, tuple(want for span in run for want in wanted[span]), holes)
