"""`make demo`: a school, its buttons, the security service and the case system, and one told story.

Every part is real but the fingers and the pins: a broker over mutual TLS, the daemon in a process
of its own, two far ends with disks and keys. The story keeps account of every press; the exit code
is 0 only if each arrived at both far ends, once.
"""

from __future__ import annotations

import asyncio
import shutil
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path

from gateway.core.model import AlarmState
from simulators.demo.doors import Doors
from simulators.demo.stage import DemoError, Held, Stage
from simulators.demo.teller import Teller, open_teller
from simulators.site import CENTRES

FOLDER = Path("demo-run")
CHAPTERS = 16
SETTLE_S = 0.6
"""Longer than any confirmation or release: after it, silence means that nothing was sent."""


@dataclass(frozen=True, slots=True)
class Deed:
    """Something done to a button, and what each far end should hold of it.

    until_s: the next deed on the same point. counted_s: from when its time is counted, where that
    is not the deed: the broker's return for what was pressed in the outage, the end of the time a
    door may stand open.
    """

    what: str
    point: str
    began_s: float
    raised: int
    repeated: int = 0
    until_s: float = float("inf")
    counted_s: float | None = None

    def took(self, held: Held) -> str:
        """How long it was on its way."""
        return f"{1e3 * (held.at_s - (self.counted_s or self.began_s)):.0f} ms"


class Story:
    """What happens, in order, and the account of it."""

    def __init__(self, stage: Stage, teller: Teller) -> None:
        self._stage = stage
        self._teller = teller
        self._deeds: list[Deed] = []
        self._broken = 0

    @property
    def security(self) -> list[Held]:
        """What the security service holds so far."""
        return self._stage.far["security"].held

    def check(self, text: str, *, held: bool) -> None:
        """What was promised, and whether it held: one that did not fails the demo."""
        self._broken += not held
        self._teller.result(text, held=held)

    def expect(
        self, what: str, point: str, began_s: float, *, counted_s: float | None = None
    ) -> None:
        """Keep a deed for the account at the end; counted_s: from when its time is counted."""
        self._deeds.append(Deed(what, point, began_s, raised=1, counted_s=counted_s))

    def _of(self, deed: Deed, route: str, phase: str) -> list[Held]:
        return [
            held
            for held in self._stage.far[route].held
            if held.subject == deed.point
            and held.type.startswith("alarm.")
            and held.type.endswith(phase)
            and deed.began_s <= held.at_s <= deed.until_s
        ]

    def _arrived(self, deed: Deed) -> bool:
        return all(
            len(self._of(deed, route, ".raised")) >= deed.raised
            and len(self._of(deed, route, ".repeated")) >= deed.repeated
            for route in CENTRES
        )

    def _latency(self, deed: Deed) -> str:
        first = [(route, self._of(deed, route, ".raised")) for route in CENTRES]
        return ", ".join(f"{route} {deed.took(held[0])}" for route, held in first if held)

    async def _press(
        self,
        what: str,
        point: str,
        shape: str,
        *,
        ms: int = 300,
        raised: int = 1,
        repeated: int = 0,
    ) -> Deed:
        """Press, and keep the deed for the account. The caller says when to look."""
        began_s = await self._stage.press(point, shape, ms)
        deed = Deed(what, point, began_s, raised, repeated)
        self._deeds.append(deed)
        return deed

    async def _expect(self, deed: Deed) -> None:
        arrived = await self._stage.until(lambda: self._arrived(deed))
        self.check(
            f"{deed.what}: held and signed for by both ({self._latency(deed)})", held=arrived
        )

    async def _lamp(self, point: str, flashes: tuple[int, int]) -> None:
        """Watch a lamp for a second and count how often it lights."""
        seen, before = 0, True
        loop = asyncio.get_running_loop()
        end_s = loop.time() + 1.0
        while loop.time() < end_s:
            on = (await self._stage.lamps())[point]
            seen += on and not before
            before = on
            await asyncio.sleep(0.01)
        low, high = flashes
        self.check(f"the lamp at {point} tells it by its rhythm", held=low <= seen <= high)

    async def _answer(self, point: str, state: AlarmState, operator: int = 7) -> None:
        """The operator at the security service says something of a point's open alarms."""
        client = self._stage.far["security"].client
        for alarm in client.core.alarms():
            if alarm.subject == point and not alarm.over:
                client.say(alarm.id, state, operator)

    async def _state(self, point: str, name: str) -> bool:
        """Both far ends hold that change of answer; the case system's register is complete."""
        return await self._stage.until(
            lambda: all(
                any(h.subject == point and h.type == name for h in self._stage.far[route].held)
                for route in CENTRES
            )
        )

    # --- the story -------------------------------------------------------------------------------

    async def tell(self) -> bool:
        """The whole of it; True when everything held."""
        await self._one_press()
        await self._worn_button()
        await self._glitch()
        await self._operator()
        await self._outage()
        await self._cut_wire()
        await self._silent()
        await Doors(self._stage, self._teller, self).tell()
        await self._end()
        return self._account()

    async def _one_press(self) -> None:
        self._teller.chapter("The guard presses the panic button")
        deed = await self._press("panic at the guard post", "guard-post", "clean")
        await self._expect(deed)
        received = await self._state("guard-post", "state.alarm.received")
        self.check("the security service's signed receipt is back at the school", held=received)
        await self._lamp("guard-post", (1, 3))

    async def _worn_button(self) -> None:
        self._teller.chapter("The director's button is worn and bounces")
        await self._expect(await self._press("a bouncing press", "director", "bounce", ms=400))
        self._teller.say("one press is one alarm, however often the contact closed")

    async def _glitch(self) -> None:
        self._teller.chapter("A spike on the duty teacher's line")
        deed = await self._press("a glitch of 3 ms", "duty-teacher", "glitch", raised=0)
        await asyncio.sleep(SETTLE_S)
        quiet = not any(self._of(deed, route, "") for route in CENTRES)
        self.check("nobody is called out for it", held=quiet)

    async def _operator(self) -> None:
        self._teller.chapter("The operator acknowledges, and closes")
        await self._answer("guard-post", AlarmState.ACKNOWLEDGED)
        seen = await self._state("guard-post", "state.alarm.acknowledged")
        self.check("the case system's register shows who answered: operator 7", held=seen)
        lit = await self._stage.lamps()
        self.check(
            "the lamp at the guard post is steady: a person has seen it", held=lit["guard-post"]
        )
        for point in ("guard-post", "director"):
            await self._answer(point, AlarmState.CLOSED)
            over = await self._state(point, "alarm.panic.cleared")
            self.check(f"closed, and the button at {point} is out: the alarm is over", held=over)

    async def _outage(self) -> None:
        self._teller.chapter("The network goes down, and people press")
        self._stage.broker.kill()
        self._teller.say("the broker was killed")
        first = await self._press("panic during the outage", "duty-teacher", "clean")
        second = await self._press("medical during the outage", "nurse", "clean")
        await asyncio.sleep(1.5)
        gone = not any(self._of(deed, route, "") for deed in (first, second) for route in CENTRES)
        self.check("recorded at the school, nowhere else yet", held=gone)
        back_s = time.monotonic()
        self._stage.broker.start()
        self._teller.say("the broker is back; the time counts from here")
        for deed in (first, second):
            self._deeds.remove(deed)
            self._deeds.append(replace(deed, counted_s=back_s))
            await self._expect(self._deeds[-1])
        order = [held.subject for held in self.security if held.type.endswith(".raised")][-2:]
        self.check("in the order they were pressed", held=order == ["duty-teacher", "nurse"])

    async def _cut_wire(self) -> None:
        self._teller.chapter("Somebody cuts a wire at the director's button, then it is pressed")
        deed = await self._press(
            "cut wire, then a press on it", "director", "cut-nc-press", repeated=1
        )
        await self._expect(deed)
        first = self._of(deed, "security", ".raised")
        fault = any(h.type == "fault.wiring.raised" for h in self.security)
        self.check("the cut was told within a quarter of a second, as doubtful", held=fault)
        self.check("marked doubtful for the guard", held=bool(first) and first[0].doubtful)
        await self._stage.repair("director")
        self._teller.say("the wire was mended")

    async def _silent(self) -> None:
        self._teller.chapter("A silent hold-up in accounts")
        client = self._stage.far["security"].client
        busy = {alarm.subject for alarm in client.core.alarms()}
        await self._expect(await self._press("silent hold-up", "accounts", "clean"))
        end_s, dark = time.monotonic() + SETTLE_S, True
        while time.monotonic() < end_s:
            lamps = await self._stage.lamps()
            dark = dark and not any(lit for point, lit in lamps.items() if point not in busy)
            await asyncio.sleep(0.02)
        self.check("no lamp on the premises answers it", held=dark)

    async def _end(self) -> None:
        self._teller.chapter("The operator closes what is open")
        for point in ("duty-teacher", "nurse", "director", "accounts", "library"):
            await self._answer(point, AlarmState.CLOSED)
        client = self._stage.far["security"].client
        calm = await self._stage.until(lambda: all(a.cleared for a in client.core.alarms()))
        self.check("every alarm is over, everywhere", held=calm)

    # --- the account -----------------------------------------------------------------------------

    def _account(self) -> bool:
        rows, lost, doubled = [], 0, 0
        for deed in map(self._bounded, self._deeds):
            cells, missing, extra = [], 0, 0
            for route in CENTRES:
                raised = self._of(deed, route, ".raised")
                missing += max(0, deed.raised - len(raised))
                extra += max(0, len(raised) - deed.raised)
                cells.append(f"{len(raised)}, {deed.took(raised[0])}" if raised else "0")
            rows.append([deed.what, str(deed.raised), *cells, str(missing), str(extra)])
            lost, doubled = lost + missing, doubled + extra
        heads = ["deed", "due", *CENTRES, "lost", "doubled"]
        self._teller.table("Alarms due, and what each far end holds, and how fast", heads, rows)
        refused = sum(len(far.refused) for far in self._stage.far.values())
        copies = sum(far.copies for far in self._stage.far.values())
        self._teller.say("times run from the press; in the outage from the broker's return, and")
        self._teller.say("for the door that was held open from the end of the 5 s it may stand so")
        self._teller.say(
            f"{lost} lost, {doubled} doubled; {refused} messages refused for their signature, "
            f"{copies} second copies shown to nobody"
        )
        return not (lost or doubled or refused or self._broken)

    def _bounded(self, deed: Deed) -> Deed:
        """The deed, up to the next one on the same point."""
        later = [
            d.began_s for d in self._deeds if d.point == deed.point and d.began_s > deed.began_s
        ]
        until_s = min(later, default=float("inf"))
        return replace(deed, until_s=until_s)


def _answer(readable: asyncio.Future[None]) -> None:
    if not readable.done():
        readable.set_result(None)


async def _line() -> str:
    """The next line a person types; empty at the end of input. Ctrl-C gets through meanwhile."""
    loop = asyncio.get_running_loop()
    readable: asyncio.Future[None] = loop.create_future()
    loop.add_reader(sys.stdin, _answer, readable)
    try:
        await readable
    finally:
        loop.remove_reader(sys.stdin)
    return sys.stdin.readline()


async def _stay(stage: Stage, teller: Teller) -> None:
    """Let a person press by hand until they say `q`."""
    teller.chapter("Your turn: type a point's name to press it, q to end")
    teller.say("points: " + ", ".join(await stage.points()))
    teller.say("a shape may follow, e.g. `director bounce`; `repair director` mends it")
    while (line := await _line()).strip() not in {"q", "quit", "exit"}:
        if not line:
            return
        shown = len(stage.far["security"].held)
        name, _, rest = line.strip().partition(" ")
        try:
            if name == "repair":
                await stage.repair(rest)
            elif name:
                await stage.press(name, rest or "clean")
        except DemoError as error:
            teller.say(str(error))
        await asyncio.sleep(SETTLE_S)
        for held in stage.far["security"].held[shown:]:
            teller.say(f"security holds {held.type} of {held.subject}")


async def run_demo(*, stay: bool, picture: Path | None = None, folder: Path = FOLDER) -> int:
    """Play the story in a fresh `folder`; 0 only if all held, 1 if not, 2 if it could not play.

    `picture`: an SVG file to draw what was told into.
    """
    shutil.rmtree(folder, ignore_errors=True)
    teller = open_teller(CHAPTERS, picture)
    try:
        teller.chapter("A school, a broker, a security service and a case system start")
        async with Stage(Path.cwd() / folder) as stage:
            teller.say(f"everything of this run lies in {folder}/")
            held = await Story(stage, teller).tell()
            if not stay:
                teller.say("next: make demo STAY=1 lets you press; README.md follows one press")
            else:
                await _stay(stage, teller)
    except (DemoError, RuntimeError, OSError) as error:
        teller.close()
        print(f"demo: {error}", file=sys.stderr)
        return 2
    finally:
        teller.close()
    return 0 if held else 1
