"""The lives of one ledger: a gateway is started, pressed, killed, and started again.

Owns when and how things die, all of it drawn by seed, school and life. What must be true afterwards
is `account`'s.
"""

from __future__ import annotations

import asyncio
import json
import signal
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from random import Random
from typing import Any

from campaigns.kill import evidence
from campaigns.kill.account import BOTH, Account, Life, Press
from campaigns.kill.fingers import Fingers
from campaigns.kill.school import BUTTONS, COUNTED, START_WITHIN_S, KillSchool, Program, until
from simulators.site import GATEWAY

FINGERS = 6
HELD = "duty-teacher"
"""The button somebody holds in through kills now and then; no other finger presses it."""
HOLD_EVERY, LET_GO = 0.25, 0.4
SETTLED_WITHIN_S = 40.0
BROKEN_WITHIN_S = 5.0
"""A story that has found something is broken, whatever else comes: it waits for nothing long."""
SETTLED_EVERY = 20
"""Every so many lives at least the gateway is given the time to deliver all it owes."""
CENTRE_TROUBLE, BROKER_TROUBLE = 0.08, 0.12
"""In so many lives a centre, or the broker, goes too."""


class When(StrEnum):
    """At which moment of its life a gateway is killed."""

    LOADING = "loading"
    OPENING = "opening the ledger"
    FIRST = "in its first moments"
    PRESSED = "right after a press"
    ARRIVED = "a receipt on its way"
    LATER = "some time later"
    SETTLED = "all delivered"


_WEIGHTS = {
    When.LOADING: 4,
    When.OPENING: 18,
    When.FIRST: 16,
    When.PRESSED: 24,
    When.ARRIVED: 20,
    When.LATER: 10,
    When.SETTLED: 8,
}


class Story:
    """One school's. `tell` it; `findings` and `counts` are there at any time."""

    def __init__(
        self,
        folder: Path,
        *,
        seed: int,
        number: int,
        on_kill: Callable[[], None],
        plant: str = "",
        away: float = BROKER_TROUBLE,
    ) -> None:
        """on_kill: called after each. away: in what share of the lives the broker goes too."""
        self.account = Account()
        self.counts: Counter[str] = Counter()
        self.findings: list[str] = []
        self._seed = f"kill/{seed}/{number}"
        self._school = KillSchool(folder, plant=plant)
        points = [name for name in (*BUTTONS, COUNTED) if name != HELD]
        self._fingers = Fingers(self._school, self.account, points)
        self._on_kill = on_kill
        self._away = away
        self._held: Press | None = None
        self._arrived: dict[str, set[str]] = {route: set() for route in BOTH}
        self._troubles: list[asyncio.Task[None]] = []
        self._life = Life(0)
        self._failed = False

    async def tell(self, kills: int) -> None:
        """Kill so many times, then let everything come to rest and judge it."""
        dice = Random(self._seed)
        restless: list[asyncio.Task[None]] = []
        try:
            await self._school.open()
            restless = [
                asyncio.create_task(self._fingers.run(Random(dice.random())))
                for _ in range(FINGERS)
            ]
            restless.append(asyncio.create_task(self._fingers.walk(Random(dice.random()))))
            for number in range(kills):
                await self._live(number, Random(f"{self._seed}/{number}"))
                self._on_kill()
                if self._failed:
                    return
            await self._rest(kills)
        finally:
            for task in (*restless, *self._troubles):
                task.cancel()
            await asyncio.gather(*restless, *self._troubles, return_exceptions=True)
            self._school.close()

    # --- one life -----------------------------------------------------------------------------

    async def _live(self, number: int, dice: Random) -> None:
        when = dice.choices(list(_WEIGHTS), list(_WEIGHTS.values()))[0]
        if number % SETTLED_EVERY == SETTLED_EVERY - 1:
            when = When.SETTLED
        await self._release_or_keep(dice)
        program = self._begin(number)
        over = asyncio.Event()
        if self._away < 1 or when is When.SETTLED:
            over.set()
        self._trouble(dice, over)
        watch = asyncio.create_task(self._watch(program, self._life))
        try:
            await self._until_then(when, program, dice)
        finally:
            self._life.killed_ms = self._school.kill()
            over.set()
            watch.cancel()
            await asyncio.gather(watch, return_exceptions=True)
            self._read(program, self._life)
        self.counts[f"killed {when}"] += 1

    def _begin(self, number: int) -> Program:
        self._life = self._fingers.life = Life(number)
        self.account.lives.append(self._life)
        held = () if self._held is None else (self._held.point,)
        if held:
            self.counts["held over a kill"] += 1
        self._fingers.gate.set()
        return self._school.start(number, held=held)

    async def _until_then(self, when: When, program: Program, dice: Random) -> None:
        """Wait for the moment of the kill."""
        if when is When.LOADING:
            await asyncio.sleep(dice.uniform(0.0, 1.2))
            return
        if not await self._comes(program, self._school.site.control.exists):
            return
        if when is When.OPENING:
            await asyncio.sleep(dice.uniform(0.0, 0.03))
            return
        if not await self._comes(program, lambda: self._life.live_ms is not None):
            return
        if dice.random() < HOLD_EVERY and self._held is None:
            self._held = await self._fingers.hold(HELD)
        match when:
            case When.FIRST:
                await asyncio.sleep(dice.uniform(0.0, 0.12))
            case When.PRESSED:
                await asyncio.sleep(dice.uniform(0.05, 0.6))
                here = [p for p in BUTTONS if p != HELD]
                press = asyncio.create_task(self._press(dice.choice(here)))
                await asyncio.sleep(dice.uniform(0.0, 0.07))
                self._troubles.append(press)
            case When.ARRIVED:
                await asyncio.sleep(dice.uniform(0.1, 0.8))
                before = self._heard()
                await until(lambda: self._heard() > before, within_s=2.0)
                await asyncio.sleep(dice.uniform(0.0, 0.006))
            case When.LATER:
                await asyncio.sleep(dice.uniform(0.3, 2.5))
            case _:
                await self._settled()
                self._fingers.gate.set()
                await asyncio.sleep(dice.uniform(0.0, 0.2))

    async def _comes(self, program: Program, question: Callable[[], bool]) -> bool:
        """Wait for a step of a start; one that never comes is a finding."""
        await until(lambda: question() or not self._school.running)
        if question():
            return True
        self._find(f"start: life {self._life.number} did not come up, see {program.err.path}")
        self._failed = True
        return False

    async def _press(self, point: str) -> None:
        with suppress(OSError):
            await self._fingers.press(point, ms=200)

    async def _release_or_keep(self, dice: Random) -> None:
        """Somebody who holds a button comes off it while the gateway is dead, or does not."""
        if self._held is not None and dice.random() < LET_GO:
            await self._fingers.let_go(self._held)
            self._held = None

    # --- what else goes wrong -----------------------------------------------------------------

    def _trouble(self, dice: Random, over: asyncio.Event) -> None:
        """The broker or a centre goes too, now and then, and comes back by itself.

        over: from when the broker may be back. Where it goes in every life, it stays away until
        the kill: then something is owed at that kill, whatever the machine's speed.
        """
        self._troubles = [task for task in self._troubles if not task.done()]
        if self._troubles:
            return
        if dice.random() < self._away:
            self._troubles.append(asyncio.create_task(self._broker_away(dice, over)))
        elif dice.random() < CENTRE_TROUBLE:
            self._troubles.append(asyncio.create_task(self._centre_away(dice)))

    async def _broker_away(self, dice: Random, over: asyncio.Event) -> None:
        await asyncio.sleep(dice.uniform(0.0, 1.5))
        kill = dice.random() < 0.5
        self.counts["broker killed" if kill else "broker stopped"] += 1
        broker = self._school.broker
        await asyncio.to_thread(broker.kill if kill else broker.stop)
        await asyncio.sleep(dice.uniform(0.1, 3.0))
        await over.wait()
        await asyncio.to_thread(broker.start)

    async def _centre_away(self, dice: Random) -> None:
        await asyncio.sleep(dice.uniform(0.0, 1.5))
        route = dice.choice(BOTH)
        self.counts["centre killed"] += 1
        self._school.kill_centre(route)
        await asyncio.sleep(dice.uniform(0.0, 1.0))
        await self._school.start_centre(route)

    # --- what is said -------------------------------------------------------------------------

    async def _watch(self, program: Program, life: Life) -> None:
        while True:
            self._read(program, life)
            await asyncio.sleep(0.002)

    def _read(self, program: Program, life: Life) -> None:
        texts = program.err.lines()
        strange = [text for text in texts if not text.startswith("{")]
        if strange:
            self._find(f"said: life {life.number}: {strange[0]} … {strange[-1]}")
        for text in texts:
            if text in strange:
                continue
            line: dict[str, Any] = json.loads(text)
            at_ms = datetime.fromisoformat(line["timestamp"]).timestamp() * 1_000
            if "id" in line and "subject" in line:
                self.account.note(life, line, at_ms)
            if line["event"] == "state.gateway.restarted":
                life.live_ms = at_ms

    def _heard(self) -> int:
        """Take in what the centres have printed; how many lines so far."""
        for route in BOTH:
            for line in self._school.heard(route):
                self.counts["lines"] += 1
                self.counts["copies"] += line["copy"]
                self._arrived[route].add(line["id"])
                late = line["type"].startswith("org.qorgan.alarm.") and (
                    line["age_s"] is None or line["age_s"] > 60
                )
                if not line["verified"] or line["late"] is not late:
                    self._find(f"said: {route} shows {line['type']} wrongly: {line}")
        return self.counts["lines"]

    def _find(self, text: str) -> None:
        self.findings.append(text)

    async def _settled(self) -> None:
        """Wait until nothing is owed and every alarm that is certain has arrived at both centres.

        Else it is a finding. Nobody presses meanwhile, nor until the gate is opened again.
        """
        await asyncio.gather(*self._troubles, return_exceptions=True)
        self._fingers.gate.clear()
        loop = asyncio.get_running_loop()
        deadline = loop.time() + (BROKEN_WITHIN_S if self.findings else SETTLED_WITHIN_S)
        while True:
            owed = await self._school.owed()
            self._heard()
            sure = self.account.certain_alarms()
            missing = {route: sure - self._arrived[route] for route in BOTH}
            if owed == 0 and not any(missing.values()):
                break
            if loop.time() > deadline:
                self._find(f"late: life {self._life.number} owes {owed}, missing are {missing}")
                break
            await asyncio.sleep(0.05)

    # --- the end ------------------------------------------------------------------------------

    async def _rest(self, number: int) -> None:
        """Start once more, let all be delivered, stop everything, and judge."""
        await asyncio.gather(*self._troubles, return_exceptions=True)
        program = self._begin(number)
        watch = asyncio.create_task(self._watch(program, self._life))
        try:
            if await self._comes(program, lambda: self._life.live_ms is not None):
                if self._held is not None:
                    await self._fingers.let_go(self._held)
                await asyncio.sleep(0.5)
                await self._settled()
                await asyncio.sleep(1.5 * START_WITHIN_S / 60)
                # other schools' judgement may have held up this loop, and the presses in it
                await until(lambda: self._fingers.pressing == 0)
                await self._settled()
        finally:
            watch.cancel()
        self._read(program, self._life)
        self._heard()
        self._school.close(number=signal.SIGTERM)
        self._judge()

    def _judge(self) -> None:
        held = {}
        jwk = self._school.site.directory / "gateway.pub.jwk"
        for route in BOTH:
            store = self._school.store(route)
            held[route], wrong = evidence.read(store, jwk)
            self.findings += wrong
            self.findings += evidence.broken(held[route])
            self.findings += evidence.verdicts(store, route, GATEWAY, jwk)
            self.counts["messages verified"] += len(held[route])
            for text in self._school.remarks(route):
                if text.startswith("REFUSED") and "heartbeat" not in text:
                    self._find(f"said: {route}: {text}")
        self.findings += self.account.judge(held)
        self.counts += self.account.counts
