"""The life of one unit as a state machine: who is it, is it set up, may its outputs move. Pure.

It asks for one request at a time beside the polls, and never holds them up. On first contact, after
every silence and every restart of the unit it reads its identity, then its settings, and writes
those that differ (`setup.py`). It never drives an output.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from drivers.base import Output, Wire
from drivers.modbus.plan.polls import GivenUp
from drivers.modbus.unit.settings import settings_for
from drivers.modbus.unit.setup import Errand, Finding, Script, Setup
from drivers.modbus.wire.line import Line
from drivers.modbus.wire.request import Reply
from gateway.core.hardware import Device
from gateway.core.model import US_PER_MS, Condition, Json

__all__ = ["Errand", "Life", "Lived", "settings_for"]

LOOK_AGAIN_US = 60_000_000
"""What was found wrong is looked at again so often: somebody may have mended it on site."""

WRAP_S = 3_600
"""An uptime this close to its register's end has wrapped when it shows less, not restarted."""


@dataclass(frozen=True, slots=True)
class Lived:
    """What a step changed. conditions: to be told, in order. remember: the identity seen first.

    restarted: the unit has started anew: ask again for what it refused, its counters began at 0.
    """

    conditions: tuple[Condition, ...] = ()
    remember: str | None = None
    restarted: bool = False


_NOTHING = Lived()


class Life:
    """One unit's set-up and standing conditions.

    A Condition is told when it begins to stand, when what it says changes, and when it ends; never
    that one does not stand of which nothing was said.
    """

    def __init__(
        self,
        device: Device,
        *,
        wires: Sequence[Wire] = (),
        outputs: Sequence[Output] = (),
        line: Line,
        first_seen: str | None = None,
    ) -> None:
        """wires, outputs: those of this device. first_seen: the identity remembered of it."""
        self._device = device
        self._settings = settings_for(device.profile, wires, outputs)
        self._line = line
        self._known = first_seen
        self._silent = self._told_silent = False
        self._identified = self._cleared = False
        self._findings: tuple[Finding, ...] = ()
        self._refused: dict[tuple[str, ...], GivenUp] = {}
        self._told: dict[str, Json] | None = None
        self._uptime_s: int | None = None
        self._look_us: int | None = None
        self._looking = False
        self._from_us = 0
        self._errand: Errand | None = None
        self._script: Script | None = None
        self._setup = Setup(device, (), line, first_seen)
        self._begin(0)

    # --- what can be asked ------------------------------------------------------------------------

    @property
    def outputs_ready(self) -> bool:
        """True while outputs may move.

        Its identity is right and its settings before outputs were read back since its last start.
        """
        return not self._silent and self._identified and self._cleared

    @property
    def locked_because(self) -> str:
        """Why outputs may not move, in words; empty when they may."""
        if self.outputs_ready:
            return ""
        if self._silent:
            return "the unit is silent"
        for finding in self._findings:
            if finding.locks:
                return finding.why
        return "the unit is not set up yet"

    @property
    def settled(self) -> bool:
        """True when no set-up is under way (a second look at what is wrong is none)."""
        return self._script is None or self._looking

    def errand(self, now_us: int) -> Errand | None:
        """The request to make now, if `Plan.open` says so too; None: nothing before `deadline`.

        The same until `done` is called. Send at most one between two polls.
        """
        if self._silent:
            return None
        if self._script is None and self._look_us is not None and now_us >= self._look_us:
            self._begin(now_us, looking=True)
        return self._errand if now_us >= self._from_us else None

    def deadline(self) -> int | None:
        """When `errand` will have something; None: not until something happens."""
        if self._silent:
            return None
        return self._look_us if self._errand is None else self._from_us

    # --- what came of it --------------------------------------------------------------------------

    def done(self, errand: Errand, reply: Reply, now_us: int) -> Lived:
        """What came of an errand. The port's loss is no answer: the same is asked again.

        An errand that is no longer the one (its unit fell silent or started anew under it) is
        passed over.
        """
        script = self._script
        if script is None or errand is not self._errand:
            return _NOTHING
        try:
            self._errand = script.send(reply)
        except StopIteration:
            return self._finished(now_us)
        self._from_us = now_us + max(errand.rest_us, self._errand.after_us)
        if not self._looking:
            self._identified, self._cleared = self._setup.identified, self._setup.cleared
        return Lived(remember=self._remembered())

    def silent(self, now_us: int, *, age_us: int | None, why: str) -> Lived:
        """The plan found the unit silent: set-up stops, outputs lock, fault.unit-silent.

        age_us: since its last answer, None when it never answered.
        """
        self._silent = True
        self._drop()
        if self._told_silent:
            return _NOTHING
        self._told_silent = True
        age_ms = None if age_us is None else age_us // US_PER_MS
        data: dict[str, Json] = {**self._where(), "why": why, "last_answer_ms": age_ms}
        return Lived((self._condition("unit-silent", now_us, data, standing=True),))

    def back(self, now_us: int) -> Lived:
        """It answers again: set-up runs from the start; unit-silent clears at its end."""
        self._silent = False
        self._uptime_s = None
        self._refused.clear()
        return self._begin(now_us)

    def uptime(self, value_s: int, now_us: int) -> Lived:
        """What its uptime register shows; less than before is a restart."""
        before_s, self._uptime_s = self._uptime_s, value_s
        register = self._device.profile.uptime
        if before_s is None or value_s >= before_s:
            return _NOTHING
        if register is not None and before_s >= (1 << 16 * register.words) - WRAP_S:
            return _NOTHING
        self._refused.clear()
        begun = self._begin(now_us)
        return replace(begun, restarted=True)

    def given_up(self, refused: Sequence[GivenUp], now_us: int) -> Lived:
        """The plan gave up wants: a standing configuration fault."""
        self._refused.update((each.wants, each) for each in refused)
        return Lived(self._told_again(now_us) if self.settled else ())

    # --- inside -----------------------------------------------------------------------------------

    def _begin(self, now_us: int, *, looking: bool = False) -> Lived:
        """A run from the start. looking: a second look, which takes nothing from the outputs."""
        if not looking:
            self._identified = self._cleared = False
        self._looking, self._look_us = looking, None
        self._setup = Setup(self._device, self._settings, self._line, self._known)
        script = self._setup.run(self._findings if looking else ())
        self._from_us = now_us
        try:
            self._errand = next(script)
        except StopIteration:
            return self._finished(now_us)
        self._script = script
        return _NOTHING

    def _drop(self) -> None:
        if self._script is not None:
            self._script.close()
        self._script = self._errand = self._look_us = None
        self._looking = self._identified = self._cleared = False

    def _finished(self, now_us: int) -> Lived:
        """The run is over: what it found stands, what it did not find is well."""
        setup = self._setup
        self._script = self._errand = None
        self._looking = False
        self._identified, self._cleared = setup.identified, setup.cleared
        self._findings = tuple(setup.findings)
        self._look_us = now_us + LOOK_AGAIN_US if self._findings else None
        conditions = self._told_again(now_us)
        if self._told_silent:
            self._told_silent = False
            whole = self._condition("unit-silent", now_us, self._where(), standing=False)
            conditions = (whole, *conditions)
        return Lived(conditions, remember=self._remembered())

    def _remembered(self) -> str | None:
        """The identity seen first, once."""
        if self._setup.seen is None or self._known is not None:
            return None
        self._known = self._setup.seen
        return self._known

    def _told_again(self, now_us: int) -> tuple[Condition, ...]:
        """The configuration fault, when what is to be said of it has changed."""
        data = self._wrong()
        if data == self._told:
            return ()
        self._told = data
        said = self._where() if data is None else data
        return (self._condition("configuration", now_us, said, standing=data is not None),)

    def _wrong(self) -> dict[str, Json] | None:
        """Everything that is not as configured; None when all is well."""
        refusals = [
            Finding(
                ", ".join(refused.wants),
                f"the unit refuses to show {', '.join(refused.wants)} (exception {refused.code})",
            )
            for refused in self._refused.values()
        ]
        findings = [*self._findings, *refusals]
        if not findings:
            return None
        first = findings[0]
        data: dict[str, Json] = {**self._where(), "why": first.why}
        if first.expected or first.found:
            data |= {"expected": first.expected, "found": first.found}
        data["what"] = [finding.what for finding in findings]
        data["outputs_locked"] = any(finding.locks for finding in findings)
        return data

    def _where(self) -> dict[str, Json]:
        return {"bus": self._device.bus, "unit": self._device.unit}

    def _condition(
        self, kind: str, now_us: int, data: dict[str, Json], *, standing: bool
    ) -> Condition:
        return Condition(kind, self._device.id, standing=standing, at_us=now_us, data=data)
