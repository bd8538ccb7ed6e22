"""Stories in which the disk was away, or is taken away for another one, between the power cuts.

The writer itself must notice, find what is in the ledger's place and bring over what it holds; all
under virtual time, because it looks only every few seconds.
"""

from __future__ import annotations

import asyncio
import tempfile
from dataclasses import dataclass
from pathlib import Path

from campaigns.cut.account import Account, look
from campaigns.cut.outcomes import Outcome, Sync
from campaigns.cut.stories import Story
from gateway.record.ledger import Ledger
from gateway.record.room import Place

AWAY_SHARE = 0.35
"""So often a life begins without its disk."""
FOUND_WITHIN_S = 12.0
"""The writer looks every 5 s, and tries what waits every second."""
OLDER_SHARE = 0.5
"""So often a disk that was taken away is followed by an older copy of itself, not an empty one."""
DEEDS_IN_MEMORY = 8


@dataclass(frozen=True, slots=True)
class _Copy:
    """A file as it was at a clean stop, and what it held."""

    image: bytes
    account: Account
    epoch: int
    ledger_id: str
    first_utc_ms: frozenset[int]


class Returning(Story):
    """As Story, with disks that come back and disks that are swapped."""

    def __init__(self, seed: int, *, cuts: int, sync: Sync = Sync.FULL) -> None:
        super().__init__(seed, cuts=cuts, sync=sync)
        self._deeds[self._swap] = 6
        self._copy: _Copy | None = None
        self._former: set[str] = set()
        self._told: list[str] = []

    async def tell(self) -> Outcome:
        """As Story; a file in the ledger's place says which disk is in it."""
        with tempfile.TemporaryDirectory(prefix="qorgan-cut-") as folder:
            self._there = Path(folder) / "ledger.db"
            self._there.touch()
            return await super().tell()

    def _place(self) -> Place:
        return Place(str(self._there), self.disk.name)

    def _file_name(self) -> str:
        return str(self._there)

    # --- away at the start ----------------------------------------------------------------------

    async def _open(self) -> None:
        self._told.clear()
        self.disk.away = not self._leaving and self._dice.random() < AWAY_SHARE
        if not self.disk.away:
            await super()._open()
            return
        self._on_disk = [self._account, *self._doubts]
        self._account, self._doubts = Account(), []
        await super()._open()
        if not self.outcome.findings:
            await self._come_back()

    def _had(self, ledger: Ledger) -> bool:
        if not self.disk.away:
            return super()._had(ledger)
        if ledger.durable:
            self._find("a ledger on a disk that is away")
        self._account.native = ledger.identity.ledger
        return True

    async def _come_back(self) -> None:
        """Live in memory for a while; then the disk is there, with what it held."""
        deeds = (self._raise, self._log, self._follow, self._settle, self._keep, self._fault)
        for _ in range(self._dice.randrange(DEEDS_IN_MEMORY)):
            deed = self._dice.choice(deeds)
            self._doing = f"{deed.__name__.strip('_')} in memory"
            await deed()
        memory, before = self._account, self._on_disk
        self._doing = "come back"
        whole = [memory.brought(held, settled=True) for held in before]
        self._account, self._doubts = before[0], [*before[1:], *whole]
        self.disk.away = False
        await asyncio.sleep(FOUND_WITHIN_S)
        if not self.disk.powered:
            return
        self._account, self._doubts = whole[0], whole[1:]
        await self._held_there()

    async def _held_there(self) -> None:
        """With the power still on: the disk is in use, and holds what it must."""
        if "recovered" not in self._told:
            self._find(f"a disk was there and is not used: {self._told}")
            return
        shown = await self._call(lambda ledger: (ledger.native(), look(ledger, self._keys())))
        if not shown.done() or shown.exception() is not None:
            self._find(f"a disk was there and cannot be read: {shown}")
            return
        native, seen = shown.result()
        for held in (self._account, *self._doubts):
            held.native = native
        self._agree(seen)
        self._doubts = []
        self._set_wrongly()

    def _trouble(self, why: str, text: str) -> None:
        if self._doing == "swap":
            self._told.append(why)
        else:
            super()._trouble(why, text)

    def _recovered(self) -> None:
        self._told.append("recovered")

    # --- taken away -----------------------------------------------------------------------------

    async def _swap(self) -> None:
        """Somebody takes the disk and leaves an empty one, or an older copy."""
        copy = self._copy if self._dice.random() < OLDER_SHARE else None
        before, base = self._account, copy.account.copy() if copy else Account()
        entry = self._scribe.entry("alarm.panic.raised")
        carried = before.brought(base, settled=False)
        added = carried.copy()
        added.append([entry])
        name = self._file_name()
        for taken in (name, f"{name}-wal"):
            self.disk.take(taken)
        if copy is not None:
            self.disk.put(name, copy.image)
        other = self._there.with_suffix(".new")  # made while the first is there: another inode
        other.touch()
        other.replace(self._there)
        self._former |= {self._ledger_id or "", before.native or ""}
        self._ledger_id = copy.ledger_id if copy else None
        self._unseen_starts += self._epoch + 1
        self._epoch = copy.epoch if copy else 0
        if copy is not None:
            self._first_utc_ms = set(copy.first_utc_ms)
        self._account, self._doubts = base, [carried, added]
        self._told.clear()
        future = self._writer.append(entry)
        await asyncio.sleep(FOUND_WITHIN_S)
        if not self.disk.powered:
            return
        if not future.done() or future.exception() is not None:
            self._find(f"not recorded on another disk: {future}")
            return
        self._account, self._doubts = added, []
        await self._held_there()

    def _knows(self, ledger_id: str) -> bool:
        if self._ledger_id is None and self._former:
            return ledger_id not in self._former
        return super()._knows(ledger_id)

    async def _restart(self) -> None:
        await self._drop()
        if not self.disk.powered:
            return
        image, wal = (self.disk.files().get(self._file_name() + end) for end in ("", "-wal"))
        known = self._account.native
        if image and not wal and known and self._me.ledger == known:
            self._copy = _Copy(
                image, self._account.copy(), self._epoch, known, frozenset(self._first_utc_ms)
            )
        await self._open()
