"""One gateway's ledger through a few power cuts: what a daemon asks of it, until the power goes.

A story is told by its seed alone. The ledger and the writer are the product's, the disk is a
ShadowDisk; after each cut the ledger is opened again and compared with the Account.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from random import Random
from typing import Any, TypeVar

import apsw

from campaigns.cut.account import INVENTORY, Account, Sight, broken_chain, differences, look
from campaigns.cut.outcomes import Outcome, Sync
from campaigns.cut.scribe import ROUTES, Scribe, receipt
from gateway.core.model import StreamKey
from gateway.record.entry import Entry, Identity
from gateway.record.ledger import Ledger
from gateway.record.opening import Begin
from gateway.record.room import Place
from gateway.record.writer import InlineWriter, Writer
from simulators.disk.shadow import ShadowDisk

T = TypeVar("T")

PATH = "/nowhere/ledger.db"
BEGAN_UTC_MS = 1_780_000_000_000
STEPS_MEANT = (15, 80, 200)
"""How far a life gets, on average, in steps of the disk: while opening, early, after a while."""
LARGE_BYTES = (10_000, 60_000, 500_000)
"""Of a large token; two of the last make the ledger move its WAL when it is idle (250 pages)."""
KILLED_SHARE = 0.2
"""So often only the process ends: what it finds was never synced, and must hold all the same."""
EVERYTHING = 1 << 20
STOP_WITHIN_S = 20.0
"""The power is gone or the disk is in memory: only a defect takes so long."""
DAY_MS = 86_400_000


class Story:
    """One told from `seed`: lives of a ledger with a power cut at the end of each.

    `found` is what the last cut left on the disk.
    """

    def __init__(self, seed: int, *, cuts: int, sync: Sync = Sync.FULL) -> None:
        self._dice = Random(f"cut/{seed}")
        self._sync = sync
        self._cuts = cuts
        self._account = Account()
        self._doubts: list[Account] = []
        self._fresh_ids: list[str] = []
        self._me = Identity("", 0, "")
        self._ledger_id: str | None = None
        self._first_utc_ms: set[int] = set()
        self._epoch = 0
        self._unseen_starts = 0
        self._utc_ms = BEGAN_UTC_MS
        self._boot = ("b0070000", BEGAN_UTC_MS)
        self._leaving = False
        self._doing = ""
        self._connections: list[apsw.Connection] = []
        self._trace = hashlib.sha256()
        self.found: dict[str, bytes] = {}
        self.disk = ShadowDisk()
        self.outcome = Outcome(seed)
        self._deeds: dict[Callable[[], Any], int] = {
            self._raise: 30,
            self._log: 12,
            self._batch: 10,
            self._follow: 14,
            self._bring_in: 5,
            self._again: 4,
            self._settle: 22,
            self._settle_by_writer: 8,
            self._keep: 8,
            self._prune: 7,
            self._inventory: 3,
            self._large: 4,
            self._retain: 10,
            self._fault: 8,
            self._tidy: 4,
            self._restart: 5,
        }

    async def tell(self) -> Outcome:
        """All of it. The disk is taken down at the end."""
        apsw.connection_hooks.append(self._connections.append)
        try:
            while self.outcome.cuts < self._cuts and not self.outcome.findings:
                await self._live()
            if not self.outcome.findings:
                await self._open()  # what the last cut left
                await self._drop()
        finally:
            apsw.connection_hooks.remove(self._connections.append)
            self._connections.clear()
            self.disk.close()
        self.outcome.digest = self._trace.hexdigest()
        return self.outcome

    # --- a life -------------------------------------------------------------------------------

    async def _live(self) -> None:
        """Open, do what a daemon does, until the power goes or the process is killed."""
        steps = 1 + int(self._dice.expovariate(1 / self._dice.choice(STEPS_MEANT)))
        self.disk.cut_power(at=steps)
        await self._open()
        while self.disk.powered and not self.outcome.findings:
            (deed,) = self._dice.choices(list(self._deeds), list(self._deeds.values()))
            self._doing = deed.__name__.strip("_").replace("_", " ")
            await deed()
        await self._drop()
        if self.outcome.findings:
            return
        if self._dice.random() < KILLED_SHARE:
            self.disk.spare()
            self.outcome.kills += 1
            return
        manner = self.disk.cut(self._dice)
        self.found = self.disk.files()
        self._utc_ms += 60_000
        self._boot = (self._dice.randbytes(4).hex(), self._utc_ms)
        self.outcome.cuts += 1
        self.outcome.cut_while[self._doing] += 1
        self.outcome.manners[manner] += 1
        self._trace.update(f"{self._doing} {steps} {manner} {len(self._account.events)}\n".encode())

    async def _open(self) -> None:
        """Open as a daemon does; with the power still on, hold the ledger to the account."""
        self._doing = "open"
        dice = self._dice
        start, fresh_id = dice.randbytes(4).hex(), dice.randbytes(4).hex()
        self._fresh_ids.append(fresh_id)
        self._utc_ms += 1_000
        self._first_utc_ms.add(self._utc_ms)
        self._unseen_starts += 1
        begin = Begin(start, fresh_id, self._boot[0], self._utc_ms)
        ledger = await self._start(partial(Ledger.at, self._place(), begin))
        if not self.disk.powered:
            return
        self._me = ledger.identity
        if self._had(ledger):
            self._scribe = Scribe(
                ledger.identity, ledger.heads(), dice, utc_ms=self._utc_ms, boot=self._boot
            )
        self._set_wrongly()

    def _set_wrongly(self) -> None:
        if self._sync is not Sync.FULL and self._connections:
            self._connections[-1].pragma("synchronous", self._sync.value)
        self._connections.clear()

    def _place(self) -> Place:
        return Place(PATH, self.disk.name)

    async def _start(self, opening: Callable[[], Ledger]) -> Ledger:
        writer = InlineWriter(opening, on_trouble=self._trouble, on_recovered=self._recovered)
        self._writer: Writer = writer
        return await writer.start(within_s=0)

    def _had(self, ledger: Ledger) -> bool:
        """Hold a ledger that was opened to the account; False when there is nothing to hold."""
        if not ledger.durable or ledger.set_aside is not None:
            self._find(f"set aside: {ledger.set_aside_why or ledger.trouble}")
            return False
        self._compare(ledger)
        return True

    def _compare(self, ledger: Ledger) -> None:
        """The ledger shows what was acknowledged, or that and the one thing that was in hand."""
        me = ledger.identity
        if not self._knows(me.ledger):
            self._find(f"another ledger: {me.ledger} instead of {self._ledger_id or 'a new one'}")
        if not self._epoch < me.epoch <= self._epoch + self._unseen_starts:
            self._find(f"epoch {me.epoch} after {self._epoch}")
        first_utc_ms = ledger.first_start_utc_ms()
        if first_utc_ms not in self._first_utc_ms:
            self._find(f"first start: {first_utc_ms} is none of {sorted(self._first_utc_ms)}")
        self._ledger_id, self._epoch, self._unseen_starts = me.ledger, me.epoch, 0
        self._first_utc_ms = {first_utc_ms}
        for held in (self._account, *self._doubts):
            held.native = me.ledger
        self._agree(look(ledger, self._keys()))
        self._doubts, self._leaving = [], False

    def _knows(self, ledger_id: str) -> bool:
        """True when the ledger may have that id."""
        return ledger_id in ([self._ledger_id] if self._ledger_id else self._fresh_ids)

    def _keys(self) -> list[StreamKey]:
        """Every stream that is, or might be, held."""
        held = (self._account, *self._doubts)
        return sorted(set().union(*(account.streams() for account in held)), key=str)

    def _agree(self, seen: Sight) -> None:
        """Take what a ledger shows for the account if it may be, else say what is wrong with it."""
        found = differences(self._account.sight(), seen)
        for other in self._doubts if found else ():
            if not differences(other.sight(), seen):
                self._account, found = other, []
                break
        if found and self._leaving:
            left = self._account.copy()
            events = {message.event for message in seen.messages.values()}
            left.leave(event for event in self._leavers() if event not in events)
            if not differences(left.sight(), seen):
                self._account, found = left, []
        for what in (*found, *broken_chain(seen.messages)):
            self._find(what)

    def _leavers(self) -> set[str]:
        """The events that housekeeping may take out."""
        return self._account.prunable()

    async def _drop(self) -> None:
        """The process ends; with the power gone nothing more reaches the disk."""
        await self._writer.stop(within_s=STOP_WITHIN_S)

    def _trouble(self, why: str, text: str) -> None:
        if self.disk.powered:
            self._find(f"trouble with the power on: {why}, {text}")

    def _recovered(self) -> None:
        """Everything that waited is on disk."""

    def _find(self, what: str) -> None:
        self.outcome.findings.append(f"{what} (cut {self.outcome.cuts}, while: {self._doing})")

    # --- what a daemon does -------------------------------------------------------------------

    def _done(self, future: asyncio.Future[Any], happened: Callable[[Account], object]) -> bool:
        """Enter a deed in the account when it was acknowledged, in the doubt when it was not.

        What is answered after the power went has been heard by nobody.
        """
        if self.disk.powered and future.done() and future.exception() is None:
            happened(self._account)
            return True
        if self.disk.powered:
            error = future.exception() if future.done() else "no answer"
            self._find(f"refused with the power on: {error}")
            return False
        doubt = self._account.copy()
        happened(doubt)
        self._doubts = [doubt]
        return False

    async def _call(self, fn: Callable[[Ledger], T]) -> asyncio.Future[T]:
        future = self._writer.call(fn)
        await self._answered(future)
        return future

    async def _answered(self, future: asyncio.Future[Any]) -> None:
        """Wait until it is, or never can be."""
        del future
        await asyncio.sleep(0)

    async def _append(self, *entries: Entry) -> None:
        """By the writer when it is one, in one transaction when it is more."""
        if len(entries) == 1:
            future = self._writer.append(entries[0])
            await self._answered(future)
        else:
            future = await self._call(lambda ledger: ledger.append(entries))
        if self._done(future, lambda account: account.append(entries)):
            self.outcome.entries += len(entries)

    async def _raise(self) -> None:
        await self._append(self._scribe.entry("alarm.panic.raised"))

    async def _log(self) -> None:
        await self._append(
            self._scribe.entry(self._dice.choice(("access.door.granted", "test.panic.passed")))
        )

    async def _batch(self) -> None:
        count = self._dice.randrange(2, 9)
        kinds = [self._dice.choice(("alarm.panic.raised", "access.granted")) for _ in range(count)]
        await self._append(*[self._scribe.entry(kind) for kind in kinds])

    async def _large(self) -> None:
        padding = self._dice.choice(LARGE_BYTES)
        await self._append(self._scribe.entry("access.granted", padding=padding))
        if self.disk.powered:
            self._doing = "tidy"
            await self._tidy()

    async def _inventory(self) -> None:
        await self._append(self._scribe.entry(INVENTORY))

    async def _follow(self) -> None:
        """Something more of an open alarm, its end as likely as not."""
        if self._account.open:
            alarm = self._dice.choice(sorted(self._account.open))
            kinds = ("state.alarm.received", "alarm.panic.repeated", "alarm.panic.cleared")
            await self._append(self._scribe.entry(self._dice.choice(kinds), alarm=alarm))

    async def _bring_in(self) -> None:
        """A further route is owed an alarm that is recorded already."""
        if self._account.open:
            event = self._account.events[self._dice.choice(sorted(self._account.open))]
            await self._append(Entry(event, tuple(self._scribe.messages(event, ("control",)))))

    async def _again(self) -> None:
        """What is recorded is handed in once more, as after a failure that was none."""
        mine = [
            event
            for event, numbers in self._account.numbers.items()
            if all(Identity(key.ledger, key.epoch, key.start) == self._me for key, _ in numbers)
        ]
        if mine:
            event = self._account.events[self._dice.choice(mine)]
            held = tuple(self._account.messages[n] for n in self._account.numbers[event.id])
            await self._append(Entry(event, held))

    async def _settle(self) -> None:
        covered = receipt(self._account, self._dice)
        if covered is not None:
            key, ranges = covered
            settle = partial(Ledger.settle, key=key, ranges=ranges, utc_ms=self._scribe.utc_ms)
            future = await self._call(settle)
            self._done(future, lambda account: account.settle(key, ranges))

    async def _settle_by_writer(self) -> None:
        """As delivery does; acknowledged when the ledger itself no longer says that it is owed."""
        covered = receipt(self._account, self._dice)
        if covered is None:
            return
        key, ranges = covered
        self._writer.settle(key, ranges, self._scribe.utc_ms)
        after = self._account.copy()
        after.settle(key, ranges)
        shown = await self._call(lambda ledger: ledger.owed().get(key, []))
        wanted = list(after.owed_ranges().get(key, ()))
        if not self.disk.powered:
            self._doubts = [after]
        elif shown.done() and shown.exception() is None and shown.result() == wanted:
            self._account = after
        else:
            self._find(f"settled, and {shown} is owed instead of {wanted}")

    async def _keep(self) -> None:
        values = {name: str(self._dice.randrange(10_000)) for name in ("modes", "identity unit-1")}
        future = await self._call(lambda ledger: ledger.keep(values))
        self._done(future, lambda account: account.keep(values))

    async def _prune(self) -> None:
        before_ms = self._scribe.utc_ms - self._dice.choice((0, 20_000, 200_000))
        future = await self._call(partial(Ledger.prune, before_utc_ms=before_ms, limit=EVERYTHING))
        self._done(future, lambda account: account.prune(before_ms))

    async def _retain(self) -> None:
        """The daily housekeeping, to its end: what is settled and old leaves, step by step."""
        if self._dice.random() < 0.5:
            self._scribe.utc_ms += DAY_MS
        now, keep_ms = self._scribe.now(), self._dice.choice((0, DAY_MS))
        keys = self._keys()

        def retain(ledger: Ledger) -> Sight:
            ledger.retain(now, keep_ms=keep_ms)
            while ledger.tidy(idle=False):
                pass
            return look(ledger, keys)

        self._leaving = True
        shown = await self._call(retain)
        if not self.disk.powered:
            return
        self._leaving = self._done(shown, lambda _: None)
        if self._leaving:
            self._agree(shown.result())
            self._leaving = False

    async def _fault(self) -> None:
        """Something of our own is broken, or whole again."""
        standing = [self._account.events[event] for event in self._account.faults.values()]
        if standing and self._dice.random() < 0.5:
            event = self._dice.choice(standing)
            cleared = event.type.replace(".raised", ".cleared")
            event = replace(self._scribe.event(cleared, data=event.data), subject=event.subject)
        else:
            kind = self._dice.choice(("fault.path.raised", "fault.storage.raised"))
            event = self._scribe.event(kind, data={"route": self._dice.choice(ROUTES)})
        await self._append(Entry(event, tuple(self._scribe.messages(event, ROUTES))))

    async def _tidy(self) -> None:
        await self._call(partial(Ledger.tidy, idle=True))

    async def _restart(self) -> None:
        """A clean stop, and the next start."""
        await self._drop()
        if self.disk.powered:
            await self._open()
