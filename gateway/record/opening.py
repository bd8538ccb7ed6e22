"""How a ledger's file is had: opened, laid out, read once; a corrupt one set aside for a new one.

Used by a start, and by a running ledger whose file has failed or was never there.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

from gateway.record.aside import move_aside, read_to_the_end, still_to_read
from gateway.record.carry import Carrying
from gateway.record.entry import LedgerError, StorageTrouble
from gateway.record.file import LedgerFile
from gateway.record.inquiry import Inquiry
from gateway.record.room import Place
from gateway.record.schema import SCHEMA, UPGRADES

T = TypeVar("T")

_SENSELESS = frozenset({StorageTrouble.CORRUPT, StorageTrouble.REFUSED})

_HEX8 = re.compile(r"[0-9a-f]{8}")


@dataclass(frozen=True, slots=True)
class Begin:
    """What a start brings: its id, the id of a ledger that has to be made, where and when it is."""

    start: str
    fresh_id: str
    boot: str
    utc_ms: int


@dataclass(frozen=True, slots=True)
class Opened(Generic[T]):
    """What was taken of a sound file; the path of a corrupt one that was in its place, and why.

    lost: how much that owed is in no file any more, None when nobody knows.
    """

    taken: T
    aside: str | None = None
    why: str | None = None
    lost: int | None = 0


def opened(place: Place, begin: Begin, take: Callable[[LedgerFile], T]) -> Opened[T]:
    """Open the file at a place, made when missing, and `take` it.

    What is corrupt, also in the eyes of `take`, is set aside and a new file taken. Raises
    LedgerError when no file can be had, LedgerBusy when another process holds it.
    """
    try:
        return Opened(_sound(place, begin, take))
    except LedgerError as exc:
        if exc.reason is not StorageTrouble.CORRUPT:
            raise
        why = str(exc)
    try:
        aside = move_aside(place.path, begin.utc_ms)
    except OSError as exc:
        text = f"{why}, and it cannot be moved away: {exc.strerror}"
        raise LedgerError(StorageTrouble.CORRUPT, text) from exc
    try:
        return Opened(_sound(place, begin, take), aside, why)
    except LedgerError as exc:
        raise LedgerError(exc.reason, f"{exc}, after a corrupt one was moved to {aside}") from exc


def _sound(place: Place, begin: Begin, take: Callable[[LedgerFile], T]) -> T:
    file = LedgerFile.open(place.path, vfs=place.vfs)
    try:
        with file.writing("the file could not be laid out"):
            lay_out(file, begin.fresh_id)
        taken = take(file)
        prove(file)
    except BaseException:
        file.abandon()
        raise
    return taken


def lay_out(file: LedgerFile, fresh_id: str) -> str:
    """See that the tables are there, as this qorgan knows them; the ledger's id. In `writing`."""
    if file.empty:
        file.create(SCHEMA)
        file.insert("INSERT INTO ledger VALUES (?)", (fresh_id,))
    file.upgrade(UPGRADES)
    ledger = file.one("SELECT id FROM ledger")
    if not isinstance(ledger, str) or not _HEX8.fullmatch(ledger):
        raise LedgerError(StorageTrouble.CORRUPT, "the ledger's id is unreadable")
    return ledger


def prove(file: LedgerFile) -> None:
    """Read what every start reads: damage must show while the file can still be set aside."""
    asked = Inquiry(file)
    for read in (asked.owed, asked.heads, asked.open_alarms, asked.holders, asked.open_faults):
        read()
    for read_too in (asked.owed_alarms, asked.last_inventory, asked.last_proved, asked.kept):
        read_too()


def bring(source: LedgerFile, into: LedgerFile) -> int | None:
    """Bring over what `source` holds, from memory all of it; how much that was owed is lost.

    None when nobody knows: what a damaged source holds made no sense, or could not all be seen.
    LedgerError when it could not be brought and may be tried again: then nothing was.
    """
    carrying = Carrying(source, into)
    try:
        with into.writing("what is owed could not be brought over"):
            carrying.all(settled=not source.durable)
            prove(into)
    except LedgerError as exc:
        if not source.damaged or exc.reason not in _SENSELESS:
            raise
        return None
    except Exception:
        if not source.damaged:
            raise
        return None  # whatever a damaged file holds, it must stop nothing
    return None if carrying.blind else carrying.lost


def saved(
    place: Place, into: LedgerFile, *, but: str | None = None
) -> tuple[str, int | None] | None:
    """Bring over what files that were moved aside owe, as far as they can be read.

    Where the last of them is now, and how many messages of all are lost, None when nobody knows;
    or None: there is no such file. but: one that is read elsewhere. A disk that fails meanwhile is
    no reason not to start: what is not brought is tried again by the next one.
    """
    last, losses = None, list[int | None]()
    for aside in still_to_read(place.path):
        if aside == but:
            continue
        last = aside
        try:
            losses.append(_brought(replace(place, path=aside), into))
        except LedgerError:
            losses.append(None)
        else:
            last = read_to_the_end(place.path, aside)
    return None if last is None else (last, together(losses))


def _brought(aside: Place, into: LedgerFile) -> int | None:
    try:
        source = LedgerFile.found(aside.path, vfs=aside.vfs)
    except LedgerError as exc:
        if exc.reason not in _SENSELESS:
            raise
        return None
    try:
        return bring(source, into)
    finally:
        source.abandon()


def together(losses: Iterable[int | None]) -> int | None:
    """Several losses as one; None where nobody knows one of them."""
    total = 0
    for lost in losses:
        if lost is None:
            return None
        total += lost
    return total
