"""Lives of one emulated gateway, each ended by a power cut, and what the centres hold in the end.

Told by a seed: who presses what, whether the broker is there, and when the power goes. How fast the
machine runs is not in the seed's hand, so a story is the same in kind, not to the millisecond.
"""

from __future__ import annotations

import json
import random
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from campaigns.power.account import Judgement, Life, Manner, Press, judge, said_in
from campaigns.power.disk import Disk
from campaigns.power.machine import BOOT_WITHIN_S, Broken, Machine, wait_for
from campaigns.power.site import COUNTED, LINES, SENDS, SYNC_WAIT_MS, Surroundings, pressed
from gateway.core.model import Json

SETTLED_WITHIN_S = 240.0
STORM_WITHIN_S = 90.0
"""A storm of presses ends with the cut, or after this long on a machine that hardly moves."""

AT_ONCE = 4
"""Fingers at work at one moment."""

Tell = Callable[[str], None]
Proof = Callable[[Machine, Surroundings, Life], None]


def plan(dice: random.Random, cuts: int) -> list[Manner]:
    """How each life is to end. An outage first; then an end of one; then as the dice fall."""
    made: list[Manner] = []
    for number in range(cuts):
        if number == 0:
            made.append(Manner.AWAY)
        elif made[-1] is Manner.AWAY and (number == 1 or dice.random() < 0.6):
            made.append(Manner.BACK)
        else:
            made.append(dice.choice((Manner.AWAY, Manner.UP)))
    return made


class Story:
    """One disk, cut again and again."""

    def __init__(
        self,
        work: Path,
        folder: Path,
        *,
        seed: int,
        tell: Tell,
        sync: str = "full",
        steady: bool = False,
        proof: Proof | None = None,
    ) -> None:
        """work: where the machine was built. folder: of this story alone, empty.

        sync: what SQLite is told in the machine; anything but `full` is there to be caught. steady:
        as of Machine. proof: looks at the service in the first life, before anybody presses.
        """
        self._work = work
        self._folder = folder
        self._dice = random.Random(f"{seed} {sync}")
        self._tell = tell
        self._kernel = "" if sync == "full" else f"rig.sync={sync}"
        self._steady = steady
        self._proof = proof
        self._image = folder / "disk.img"
        self._disk: Disk
        self.lives: list[Life] = []
        self.boots_s: list[float] = []

    def run(self, manners: Sequence[Manner]) -> Judgement:
        """Live and be cut in these manners, live once more in peace, and be judged."""
        self._folder.mkdir(parents=True, exist_ok=True)
        base = str(self._work / "base.img")
        # a copy of its own: the image of a machine that was cut is booted and never written by hand
        subprocess.run(["/bin/cp", "--sparse=always", base, str(self._image)], check=True)
        cable = self._folder / "disk.nbd"
        with (
            Disk(self._image, cable, self._dice) as self._disk,
            Surroundings(self._folder) as around,
        ):
            around.start()
            for manner in manners:
                self._cut_life(around, manner)
            self._last_life(around)
            for centre in around.centres:
                centre.end()
            rows = {centre.route: centre.rows() for centre in around.centres}
            copies = sum(line["copy"] for centre in around.centres for line in centre.lines())
        made = judge(self.lives, rows, sends=SENDS, counted=COUNTED, wait_ms=SYNC_WAIT_MS)
        made.counts["copies the centres were sent"] = copies
        made.counts["sectors lost, never flushed"] = self._disk.lost_sectors
        return made

    # --- one life ---------------------------------------------------------------------------------

    def _cut_life(self, around: Surroundings, manner: Manner) -> None:
        life = self._begin(manner)
        proof = self._proof if life.number == 1 else None
        leaves = proof is not None or self._dice.random() < 0.5
        around.there(running=manner is Manner.UP or (manner is Manner.AWAY and leaves))
        machine = self._machine(life)
        frozen = False
        try:
            self._live(machine, around, life)
            if proof is not None:
                proof(machine, around, life)
            if manner is Manner.AWAY and leaves:
                wait_for("uplink", lambda: logged(machine, "uplink up"))
                # frozen, it takes bytes and answers nothing; stopped, it refuses
                frozen = self._dice.random() < 0.5
                (around.broker.pause if frozen else around.broker.stop)()
            self._storm(machine, around, life)
        finally:
            machine.cut()
            lost = self._disk.cut()
            if frozen:
                around.broker.resume()
        life.lines = list(machine.lines())
        self._tell(
            f"cut {life.number} ({manner.value}): {len(life.presses)} presses,"
            f" {len(said_in(life))} events seen, {lost} unflushed sectors lost"
        )

    def _begin(self, manner: Manner) -> Life:
        self.lives.append(Life(len(self.lives) + 1, manner))
        return self.lives[-1]

    def _machine(self, life: Life) -> Machine:
        name = f"life-{life.number}"
        return Machine(self._work, self._folder, name, steady=self._steady)

    def _live(self, machine: Machine, around: Surroundings, life: Life) -> None:
        """Boot and wait until the service is live."""
        began = time.monotonic()
        machine.start(self._disk.socket, around.disk, kernel=self._kernel).booted()
        wait_for(
            f"live service in life {life.number} ({machine.console})",
            lambda: logged(machine, "state.gateway.restarted"),
            within_s=BOOT_WITHIN_S,
        )
        self.boots_s.append(time.monotonic() - began)

    def _storm(self, machine: Machine, around: Surroundings, life: Life) -> None:
        """Presses, many and from everywhere, until some have been logged and a little longer."""
        fingers = Fingers(machine, life, self._dice)
        if life.manner is Manner.BACK:
            fingers.until(lambda: len(life.presses) >= 5)
            around.there(running=True)
            fingers.until(lambda: logged(machine, "uplink up"))
        else:
            enough = alarms(machine) + self._dice.randrange(6, 40)
            fingers.until(lambda: alarms(machine) >= enough)
        ends_s = time.monotonic() + self._dice.random() * 1.2
        fingers.until(lambda: time.monotonic() >= ends_s)
        fingers.note()

    def _last_life(self, around: Surroundings) -> None:
        """Nobody presses any more: all that is owed must arrive, and the service stop cleanly."""
        around.there(running=True)
        life = self._begin(Manner.UP)
        machine = self._machine(life)
        try:
            self._live(machine, around, life)
            wait_for("uplink", lambda: logged(machine, "uplink up"))
            wait_for("end of what is owed", lambda: _settled(machine), within_s=SETTLED_WITHIN_S)
            stopped = machine.run("systemctl", "stop", "qorgan")
            wait_for("clean stop", lambda: logged(machine, "stopped"))
            if stopped["code"] or not logged(machine, "stopped")[-1]["everything_on_disk"]:
                raise Broken(f"the last stop was not clean: {stopped}")
        finally:
            machine.cut()
        life.lines = list(machine.lines())


def alarms(machine: Machine) -> int:
    """Alarm events logged so far in this boot."""
    return sum(line.get("event", "").startswith("alarm.") for line in machine.lines())


def logged(machine: Machine, event: str) -> list[dict[str, Any]]:
    """The lines of this boot with that event."""
    return [line for line in machine.lines() if line.get("event") == event]


def _settled(machine: Machine) -> bool:
    """Whether the gateway, asked by a guard who is not its user, owes nobody anything."""
    status = status_of(machine, "guard")
    if status is None:
        return False
    return not any(sum(route["owed"].values()) for route in status["routes"].values())


def status_of(machine: Machine, user: str) -> dict[str, Any] | None:
    """`qorgan status --json` as another user of the machine; None when it was refused."""
    words = ("/opt/qorgan/bin/qorgan", "status", "--json")
    told = machine.run("runuser", "-u", user, "--", *words)
    if not told["out"].startswith("{"):
        return None
    status: dict[str, Any] = json.loads(told["out"])
    return status


class Fingers:
    """Presses of one life, one finger a point; what the agent says of each is noted."""

    def __init__(self, machine: Machine, life: Life, dice: random.Random) -> None:
        self._machine = machine
        self._life = life
        self._dice = dice
        self._asked: list[tuple[int, str]] = []
        self._free_s: dict[str, float] = {}
        self._from = len(life.presses)

    def until(self, done: Callable[[], object]) -> None:
        """Press and press until it is so, or the storm has lasted too long."""
        give_up_s = time.monotonic() + STORM_WITHIN_S
        while not done() and time.monotonic() < give_up_s:
            self._press()

    def _press(self) -> None:
        """Press a point whose button is out, and wait for a moment.

        As fast as the machine can follow: a slow one is not buried under presses.
        """
        now_s = time.monotonic()
        pending = [n for n, _ in self._asked[-2 * AT_ONCE :] if not self._machine.answered(n)]
        free = [point for point in LINES if self._free_s.get(point, 0.0) <= now_s]
        if free and len(pending) < AT_ONCE:
            point = self._dice.choice(free)
            ms = self._dice.randrange(40, 300)
            # a fire contact is normal again after 200 ms; the machine may be slow to move it
            self._free_s[point] = now_s + ms / 1_000 + 1.5
            self._asked.append((self._machine.ask("move", steps=finger(point, ms)), point))
            self._life.presses.append(Press(point))
        time.sleep(self._dice.uniform(0.02, 0.25))

    def note(self) -> None:
        """Replace its presses by what the agent has reported of them."""
        mine = [told(self._machine.answered(number), point) for number, point in self._asked]
        self._life.presses[self._from :] = mine


def finger(point: str, ms: int) -> list[Json]:
    """A clean press of so long, as the agent's `move` takes it."""
    return [[pressed(point, closed=True), ms], [pressed(point, closed=False), 300]]


def told(answer: dict[str, Any] | None, point: str) -> Press:
    """A press as the agent has reported it; only begun, when it has not."""
    if answer is None or "moved" not in answer:
        return Press(point)
    (closed_ms, mono_ms), (open_ms, _) = answer["moved"]
    return Press(point, closed_ms, open_ms, mono_ms)
