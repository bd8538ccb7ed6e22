"""The demo's chapters about doors: what the line sees, what a command may do, what fire does.

Judges by what the far ends hold and by the simulated locks, never by what the gateway believes.
"""

from __future__ import annotations

import asyncio
import time
from typing import Protocol

from gateway.core.alarms import REPEAT_EVERY_US
from gateway.core.model import Json
from simulators.demo.stage import Held, Stage
from simulators.demo.teller import Teller

MAIN, GYM = "main-door", "gym-door"
MAY_STAND_OPEN_S = 5.0
"""The main door's `held_after`."""
HELD_WITHIN_S = MAY_STAND_OPEN_S + 4.0
SILENT_WITHIN_S = 10.0
"""A dead unit is told within 8 s."""
AGAIN_S = REPEAT_EVERY_US / 1e6 + 0.1
"""Between two presses of one button whose times are to be compared: a repeat is told a second after
the alarm at the soonest. A finger that is back at once is no second press to a unit either: what
its input's filter (10 ms) does not see open it does not count again."""
BACK_WITHIN_S = 15.0
"""A silent unit without buttons is asked every 10 s at least; then it is set up again."""


class Account(Protocol):
    """What these chapters need of the story: its judgements, and the deeds it keeps account of."""

    def check(self, text: str, *, held: bool) -> None:
        """What was promised, and whether it held."""

    def expect(
        self, what: str, point: str, began_s: float, *, counted_s: float | None = None
    ) -> None:
        """Keep a deed for the account at the end; counted_s: from when its time is counted."""


class Doors:
    """Two doors on one line, and everybody who has a say about them."""

    def __init__(self, stage: Stage, teller: Teller, account: Account) -> None:
        self._stage = stage
        self._teller = teller
        self._account = account

    async def tell(self) -> None:
        """All of it."""
        await self._counted()
        await self._dead_unit()
        await self._forced()
        await self._held()
        await self._command()
        await self._lockdown()
        await self._fire()

    # --- what is looked at -----------------------------------------------------------------------

    def _told(self, kind: str, subject: str, since_s: float, route: str = "security") -> list[Held]:
        held = self._stage.far[route].held
        return [h for h in held if (h.type, h.subject) == (kind, subject) and h.at_s >= since_s]

    async def _comes(
        self,
        kind: str,
        subject: str,
        since_s: float,
        *,
        within_s: float = 5.0,
        route: str = "security",
    ) -> Held | None:
        def done() -> bool:
            return bool(self._told(kind, subject, since_s, route))

        await self._stage.until(done, within_s=within_s)
        found = self._told(kind, subject, since_s, route)
        return found[0] if found else None

    async def _becomes(self, door: str, *, free: bool, within_s: float = 5.0) -> bool:
        end_s = time.monotonic() + within_s
        while time.monotonic() < end_s:
            if await self._stage.free(door) is free:
                return True
        return False

    async def _answer(self, verb: str, target: dict[str, Json], subject: str) -> Held | None:
        """Send a command; what the gateway says of it in the end."""
        since_s = time.monotonic()
        self._stage.command(verb, target)
        kinds = ("state.command.done", "state.command.refused", "state.command.failed")

        def done() -> bool:
            return any(self._told(k, subject, since_s) for k in kinds)

        await self._stage.until(done, within_s=14.0)
        found = [held for kind in kinds for held in self._told(kind, subject, since_s)]
        return found[0] if found else None

    # --- chapters --------------------------------------------------------------------------------

    async def _counted(self) -> None:
        self._teller.chapter("A press of 30 ms in the library, between two looks at the line")
        began_s = await self._stage.press("library", "clean", 30)
        self._account.expect("30 ms press on the line", "library", began_s)
        held = await self._comes("alarm.panic.raised", "library", began_s)
        self._account.check("its unit counted it: one alarm", held=held is not None)

    async def _dead_unit(self) -> None:
        self._teller.chapter("The unit in the gym dies; the others do not wait for it")
        began_s = time.monotonic()
        await self._stage.unit("gym-unit", "silent")
        await asyncio.sleep(AGAIN_S)
        pressed_s = await self._stage.press("library", "clean", 30)
        held = await self._comes("alarm.panic.repeated", "library", pressed_s, within_s=1.0)
        took = f" ({1000 * (held.at_s - pressed_s):.0f} ms)" if held else ""
        self._account.check(f"a press beside it arrives as fast as ever{took}", held=bool(held))
        fault = await self._comes(
            "fault.unit-silent.raised", "gym-unit", began_s, within_s=SILENT_WITHIN_S
        )
        text = f"told after {fault.at_s - began_s:.1f} s" if fault else "told"
        self._account.check(f"the silence was {text}", held=fault is not None)
        await self._stage.unit("gym-unit", "well")
        back = await self._comes(
            "fault.unit-silent.cleared", "gym-unit", began_s, within_s=BACK_WITHIN_S
        )
        self._account.check("it is back, set up again", held=back is not None)

    async def _forced(self) -> None:
        self._teller.chapter("The main door is forced")
        began_s = time.monotonic()
        await self._stage.door(MAIN, "force")
        self._account.expect("door forced", MAIN, began_s)
        held = await self._comes("alarm.door-forced.raised", MAIN, began_s)
        self._account.check("security knows", held=held is not None)
        await self._stage.door(MAIN, "close")
        over = await self._comes("alarm.door-forced.cleared", MAIN, began_s)
        self._account.check("it was shut: the alarm is over by itself", held=over is not None)

    async def _held(self) -> None:
        self._teller.chapter("Somebody leaves by the exit button and props the door open")
        began_s = time.monotonic()
        await self._stage.door(MAIN, "exit")
        await self._stage.door(MAIN, "hold")
        over_s = began_s + MAY_STAND_OPEN_S
        self._account.expect("door held open over 5 s", MAIN, began_s, counted_s=over_s)
        opened = await self._comes("access.opened", MAIN, began_s, route="case")
        self._account.check("the register shows an exit, and no name", held=opened is not None)
        held = await self._comes("alarm.door-held.raised", MAIN, began_s, within_s=HELD_WITHIN_S)
        forced = self._told("alarm.door-forced.raised", MAIN, began_s)
        self._account.check("held too long, and not forced", held=held is not None and not forced)
        await self._stage.door(MAIN, "close")
        await self._comes("alarm.door-held.cleared", MAIN, began_s)

    async def _command(self) -> None:
        self._teller.chapter("Security opens the main door for a visitor, for three seconds")
        answer = await self._answer("door.unlock", {"door": MAIN, "for_ms": 3_000}, MAIN)
        done = answer is not None and answer.type == "state.command.done"
        self._account.check("signed, judged, done, read back from the relay", held=done)
        self._account.check("the lock is free", held=await self._becomes(MAIN, free=True))
        locked = await self._becomes(MAIN, free=False)
        self._account.check("its own unit has locked it again", held=locked)
        answer = await self._answer("door.unlock", {"door": GYM}, "school-12-main")
        refused = answer is not None and answer.type == "state.command.refused"
        self._account.check("the gym is not opened from outside: refused", held=refused)
        if answer is not None:
            self._teller.say(f"the gateway says: {answer.why}")

    async def _lockdown(self) -> None:
        self._teller.chapter("Security orders a lockdown")
        answer = await self._answer("lockdown.begin", {}, "school-12-main")
        done = answer is not None and answer.type == "state.command.done"
        self._account.check("every lock has answered", held=done)
        answer = await self._answer("door.unlock", {"door": MAIN}, "school-12-main")
        refused = answer is not None and answer.type == "state.command.refused"
        self._account.check("no door is opened by command now", held=refused)
        out = await self._stage.door(GYM, "exit")
        self._account.check("whoever is inside gets out, by the handle", held=out)

    async def _fire(self) -> None:
        self._teller.chapter("Fire, in the middle of the lockdown")
        began_s = await self._stage.press("fire-panel", "clean", 1_500)
        self._account.expect("fire", "fire-panel", began_s)
        free = [await self._becomes(door, free=True) for door in (MAIN, GYM)]
        self._account.check("fire comes first: both doors are free", held=all(free))
        alarm = await self._comes("alarm.fire.raised", "fire-panel", began_s)
        self._account.check("security knows, during a lockdown or not", held=alarm is not None)
        await self._comes("alarm.fire.cleared", "fire-panel", began_s)
        still = [await self._stage.free(door) for door in (MAIN, GYM)]
        self._account.check("the fire is over, and nothing relocks by itself", held=all(still))
        await self._stage.press("reset-key", "clean", 400)
        locked = [await self._becomes(door, free=False) for door in (MAIN, GYM)]
        self._account.check("a person with the key resets them on site", held=all(locked))
        await self._answer("lockdown.end", {}, "school-12-main")
