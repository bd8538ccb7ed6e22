"""The real unit on a real gpiochip: what only systemd, a kernel and lgpio together can show.

Each proof is one sentence and what was found; a finding is a promise of the unit that was not held.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from statistics import median

from campaigns.power.account import Life
from campaigns.power.machine import BOOT_WITHIN_S, Machine, wait_for
from campaigns.power.site import LAMPS, LINES, Surroundings, pressed
from campaigns.power.story import finger, logged, status_of, told
from gateway.core.model import Json

TIMED_PRESSES = 6
CONFIRM_MS = 7
"""A tamper contact is confirmed after so long unbroken: the rule of kinds no person presses."""

_PROPERTIES = "ActiveState,SubState,Type,User,StatusText,NRestarts,WatchdogUSec,Result"


@dataclass(slots=True)
class Proof:
    """Called in the first life; `said` is for people, `findings` are promises not held."""

    said: list[str] = field(default_factory=list)
    findings: list[str] = field(default_factory=list)

    def __call__(self, machine: Machine, around: Surroundings, life: Life) -> None:
        """Prove everything; presses are noted in `life`."""
        wait_for("uplink", lambda: logged(machine, "uplink up"))
        self._ready(machine)
        self._asked_by_others(machine)
        self._lines(machine)
        self._bounce(machine)
        self._lamp(machine)
        self._timed(machine, around, life)
        self._watchdog(machine)
        self._clean_stop(machine)

    def _holds(self, what: str, held: object, found: object) -> None:
        (self.said if held else self.findings).append(f"{what}: {found}")

    def _ready(self, machine: Machine) -> None:
        shown = _properties(machine)
        good = (shown["ActiveState"], shown["Type"], shown["User"]) == (
            "active",
            "notify",
            "qorgan",
        )
        about = f"{shown['StatusText']}, as {shown['User']}, watchdog {shown['WatchdogUSec']}"
        self._holds("the unit reaches READY", good and "live" in shown["StatusText"], about)

    def _asked_by_others(self, machine: Machine) -> None:
        status = status_of(machine, "guard")
        points = None if status is None else len(status["points"])
        self._holds("`qorgan status` answers a guard of the group", points, f"{points} points")
        refused = status_of(machine, "stranger") is None
        self._holds("and nobody else", refused, "refused" if refused else "answered")

    def _lines(self, machine: Machine) -> None:
        told_lines = machine.run("gpioinfo")["out"].splitlines()
        inputs = sum('"lg"' in line and "pull-up" in line for line in told_lines)
        outputs = sum('"lg"' in line and "output" in line for line in told_lines)
        wired = 1 + sum(contact is not None for pair in LINES.values() for contact in pair)
        good = (inputs, outputs) == (wired, len(LAMPS))
        self._holds("lgpio holds every line", good, f"{inputs} pulled up, {outputs} lamps")

    def _bounce(self, machine: Machine) -> None:
        before = len(logged(machine, "alarm.medical.raised"))
        shut, free = pressed("nurse", closed=True), pressed("nurse", closed=False)
        bounces: list[Json] = [[state, 2] for _ in range(6) for state in (shut, free)]
        moved = machine.answer(
            machine.ask("move", steps=[*bounces, [shut, 150], *bounces, [free, 400]])
        )
        wait_for("alarm", lambda: len(logged(machine, "alarm.medical.raised")) > before)
        raised = len(logged(machine, "alarm.medical.raised")) - before
        repeated = len(logged(machine, "alarm.medical.repeated"))
        edges = len(moved["moved"])
        good = (raised, repeated) == (1, 0)
        self._holds(
            f"a press of {edges} edges is one alarm", good, f"{raised}, repeated {repeated}"
        )

    def _lamp(self, machine: Machine) -> None:
        line = LAMPS["reception"]
        watching = machine.ask("watch", lines=[line], for_ms=4_000)
        machine.answer(machine.ask("move", steps=finger("reception", 150)))
        seen = machine.answer(watching)["seen"]
        moved = sum(value for _, _, value in seen)
        self._holds("the lamp at the button moves", moved, f"lit {moved} times in 4 s")

    def _timed(self, machine: Machine, around: Surroundings, life: Life) -> None:
        """How long after the edge the alarm says it was confirmed: the kernel's stamp, not ours."""
        for _ in range(TIMED_PRESSES):
            answer = machine.answer(machine.ask("move", steps=finger("cabinet-1", 60)))
            life.presses.append(told(answer, "cabinet-1"))
        edges_ms = [press.mono_ms for press in life.presses if press.mono_ms is not None]

        def confirmed() -> list[float]:
            found = [
                line["data"]["clock"]["monotonic_ms"]
                for line in around.centres[0].lines()
                if line["type"].endswith("alarm.tamper.raised") and not line["copy"]
            ]
            return found if len(found) >= TIMED_PRESSES else []

        delays = [
            at - edge for at, edge in zip(wait_for("alarms", confirmed), edges_ms, strict=True)
        ]
        about = f"p50 {median(delays):.1f} ms, max {max(delays):.1f} ms (rule: {CONFIRM_MS} ms)"
        self._holds("edges carry the kernel's time", min(delays) >= CONFIRM_MS - 1, about)

    def _watchdog(self, machine: Machine) -> None:
        """A frozen daemon is replaced; before that it has lived longer than the watchdog allows."""
        alive = _properties(machine)["NRestarts"]
        machine.run("systemctl", "kill", "--signal=STOP", "qorgan")
        began = time.monotonic()
        wait_for(
            "watchdog",
            lambda: len(logged(machine, "state.gateway.restarted")) > 1,
            within_s=BOOT_WITHIN_S,
        )
        passed = time.monotonic() - began
        restarts = _properties(machine)["NRestarts"]
        about = f"restarts {alive}, then frozen: {restarts}, live again after {passed:.0f} s"
        self._holds("the watchdog is fed, and bites", (alive, restarts) == ("0", "1"), about)

    def _clean_stop(self, machine: Machine) -> None:
        began = time.monotonic()
        code = machine.run("systemctl", "stop", "qorgan")["code"]
        passed = time.monotonic() - began
        lines, shown = logged(machine, "stopped"), _properties(machine)
        whole = bool(lines) and lines[-1]["everything_on_disk"]
        good = not code and whole and shown["Result"] == "success"
        about = f"{shown['Result']}, everything on disk {whole}, {passed:.1f} s"
        self._holds("SIGTERM is a clean stop", good, about)
        failed = [line["input"] for line in logged(machine, "gpio.close.failed")]
        self._holds("and gives every pin back", not failed, f"not given back: {failed or 'none'}")
        lives = len(logged(machine, "state.gateway.restarted"))
        machine.run("systemctl", "start", "qorgan")
        wait_for("restart", lambda: len(logged(machine, "state.gateway.restarted")) > lives)
        ups = len(logged(machine, "uplink up"))
        wait_for("uplink", lambda: ups <= len(logged(machine, "uplink up")))


def _properties(machine: Machine) -> dict[str, str]:
    shown = machine.run("systemctl", "show", "qorgan", f"--property={_PROPERTIES}")["out"]
    return dict(line.split("=", 1) for line in shown.splitlines())
