"""What can be asked of a unit, and what comes of it. Pure data; nothing of how it travels."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TypeAlias

from gateway.core.profile import Table


@dataclass(frozen=True, slots=True)
class Read:
    """Functions 1 to 4: `count` bits or registers of a table from `address`."""

    table: Table
    address: int
    count: int = 1


@dataclass(frozen=True, slots=True)
class WriteBit:
    """Function 5. raw: the value field as it goes out, 0xFF00, 0x0000 or a unit's own duration."""

    address: int
    raw: int


@dataclass(frozen=True, slots=True)
class WriteRegister:
    """Function 6."""

    address: int
    value: int


@dataclass(frozen=True, slots=True)
class WriteBits:
    """Function 15."""

    address: int
    values: tuple[bool, ...]


@dataclass(frozen=True, slots=True)
class WriteRegisters:
    """Function 16."""

    address: int
    values: tuple[int, ...]


Request: TypeAlias = Read | WriteBit | WriteRegister | WriteBits | WriteRegisters


class ReplyKind(StrEnum):
    """What came of a request.

    ANSWERED: by that unit, to that request, whole. EXCEPTION: the unit refused it (`code`). SILENT:
    nothing came. DAMAGED: something came, and nothing of it can be believed. GONE: the port or the
    connection is not there.
    """

    ANSWERED = "answered"
    EXCEPTION = "exception"
    SILENT = "silent"
    DAMAGED = "damaged"
    GONE = "gone"


@dataclass(frozen=True, slots=True)
class Reply:
    """values: of a Read, exactly as many as asked for (bits are 0 or 1); empty otherwise.

    code: of an exception. why: in words, for DAMAGED and GONE. took_us: from the first byte sent.
    asked: False where nothing was sent, because the unit owes answers that could be mistaken.
    """

    kind: ReplyKind
    values: tuple[int, ...] = ()
    code: int = 0
    why: str = ""
    took_us: int = 0
    asked: bool = True
