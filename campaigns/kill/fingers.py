"""Fingers on a school's buttons, all the time, whether the gateway lives or not.

They know nothing of kills: a press whose process died under it is over at that moment. What they
did is written into the Account, nothing else.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from random import Random

from campaigns.kill.account import Account, Life, Press
from campaigns.kill.school import COUNTED, KillSchool, utc_ms

HOLD_MS = (150, 500)
"""Shortest and longest press: a machine that is busy may not play a shorter one as it was meant."""
PAUSE_S = (0.02, 0.35)
REST_S = 0.5
"""How long a point is left alone after a press: 200 ms unbroken release end it."""
SHAPES = ("clean", "clean", "bounce")
DOORS = ("gym-door", "main-door")
UNSEEN_EVERY_S = 0.5


class Fingers:
    """Presses a school's points at random. life: the life that runs, or ran last.

    pressing: presses under way; each is written down when it is over.
    """

    def __init__(self, school: KillSchool, account: Account, points: Sequence[str]) -> None:
        self.life: Life | None = None
        self.gate = asyncio.Event()
        self.pressing = 0
        self._school = school
        self._account = account
        self._points = tuple(points)
        self._busy: set[str] = set()

    async def run(self, dice: Random) -> None:
        """Press for ever. While the gate is shut nobody presses."""
        while True:
            await asyncio.sleep(dice.uniform(*PAUSE_S))
            await self._open()
            point, ms, shape = (
                dice.choice(self._points),
                dice.randint(*HOLD_MS),
                dice.choice(SHAPES),
            )
            again = dice.random() < 0.1
            if point in self._busy or (self._account.standing(point) and not again):
                continue
            try:
                await self.press(point, ms=ms, shape=shape)
            except OSError:  # nothing runs: whoever presses now is seen by nobody
                self._account.unseen += 1
                await asyncio.sleep(UNSEEN_EVERY_S)

    async def _open(self) -> None:
        """Wait for the gate; whoever was woken when it was shut again waits on."""
        while not self.gate.is_set():
            await self.gate.wait()

    async def press(self, point: str, *, ms: int, shape: str = "clean") -> Press:
        """One press, written down. Raises OSError when nothing listens: then it is not made."""
        assert self.life is not None
        life = self.life
        press = Press(
            point,
            life.number,
            utc_ms(),
            live=life.live_ms is not None,
            joined=self._account.standing(point),
            counted=point == COUNTED,
        )
        self._busy.add(point)
        self.pressing += 1
        try:
            answer = await self._school.ask({"press": point, "shape": shape, "ms": ms})
        finally:
            self.pressing -= 1
            asyncio.get_running_loop().call_later(REST_S, self._busy.discard, point)
        press.whole = answer is not None and answer.get("ok") is True
        press.over_ms = utc_ms()
        self._account.presses.append(press)
        return press

    async def hold(self, point: str) -> Press | None:
        """Press a point and stay on it. None when nothing listened, or it was being pressed."""
        if point in self._busy:
            return None
        try:
            press = await self.press(point, ms=100, shape="stuck")
        except OSError:
            return None
        press.held, press.over_ms = True, None
        self._busy.add(point)
        return press

    async def let_go(self, press: Press) -> None:
        """Come off a held button, whether a process sees it or not."""
        try:
            await self._school.ask({"repair": press.point})
        except OSError:
            self._account.unseen += 1
        press.over_ms = utc_ms()
        asyncio.get_running_loop().call_later(REST_S, self._busy.discard, press.point)

    async def walk(self, dice: Random) -> None:
        """Open a door now and then: what is no alarm goes on beside the alarms."""
        while True:
            await asyncio.sleep(dice.uniform(0.5, 3.0))
            await self._open()
            door, ms = dice.choice(DOORS), dice.randint(100, 800)
            try:
                await self._school.ask({"door": door, "do": "open", "ms": ms})
            except OSError:
                continue
