"""Everything the driver keeps of one unit: its life, its points, its event log, its outputs.

It joins the pure parts and tells what they conclude; when anything is sent is the bus's business.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from drivers.base import DriverError, Output, Wire
from drivers.modbus.plan.blocks import value_of
from drivers.modbus.plan.plan import Change, Plan, PlanUnit, Polled
from drivers.modbus.unit.eventlog import LogReader
from drivers.modbus.unit.life import Life, Lived
from drivers.modbus.unit.moves import Masks
from drivers.modbus.unit.outputs import Actuator, Gate
from drivers.modbus.unit.points import UPTIME, Points, period_us
from drivers.modbus.wire.line import Line
from drivers.modbus.wire.request import Reply, ReplyKind, Request
from drivers.modbus.wire.values import read_of
from gateway.core.action import Result
from gateway.core.hardware import Device, channel_of
from gateway.core.model import Condition, Json, Reading
from gateway.core.profile import Profile


@dataclass(frozen=True, slots=True)
class Voice:
    """Whom the bus tells what. None of these may raise."""

    readings: Callable[[Sequence[Reading]], None]
    condition: Callable[[Condition], None]
    result: Callable[[Result], None]
    report: Callable[[str, Mapping[str, Json]], None]
    remember: Callable[[str, str], None]


class Station:
    """One unit on one bus. Raises DriverError for a channel its profile does not have."""

    def __init__(
        self,
        device: Device,
        wires: Sequence[Wire],
        outputs: Sequence[Output],
        *,
        line: Line,
        first_seen: str | None,
        now_us: int,
        voice: Voice,
    ) -> None:
        self.device = device
        self.heard = False
        self._voice = voice
        profile, poll_us = device.profile, period_us(device.poll_ms)
        flags = [wire for wire in wires if is_flag(profile, channel_of(wire.address))]
        plain = [wire for wire in wires if wire not in flags]
        _check_channels(device, plain, outputs)
        self.points = Points(profile, plain, outputs, poll_us=poll_us)
        self.log: LogReader | None = None
        if flags and profile.event_log is not None:
            self.log = LogReader(profile.event_log, flags, poll_us=poll_us, now_us=now_us)
        self.life = Life(device, wires=wires, outputs=outputs, line=line, first_seen=first_seen)
        masks: Masks = {}
        self.actuators = {
            output.address: Actuator(
                output.address,
                profile.output(channel_of(output.address)),
                masks,
                tell=voice.result,
                report=voice.report,
            )
            for output in outputs
        }
        self._pressed = any(wire.pressed for wire in wires)

    @property
    def plan_unit(self) -> PlanUnit:
        """What the plan must know of it."""
        profile = self.device.profile
        wants = self.points.wants + (() if self.log is None else (self.log.want,))
        return PlanUnit(
            device=self.device.id,
            unit=self.device.unit,
            wants=wants,
            limits=profile.limits,
            timing=profile.timing,
            pressed=self._pressed,
        )

    def gate(self, plan: Plan) -> Gate:
        """What its outputs may do at this moment."""
        if plan.silent(self.device.id) or not self.heard:
            return Gate(speaks=False)
        ready = self.life.outputs_ready
        locked = "" if ready or not self.life.settled else self.life.locked_because
        return Gate(speaks=True, ready=ready, locked=locked)

    def again(self, plan: Plan, now_us: int) -> None:
        """The port is back: who is behind it now is looked at before an output moves."""
        if self.heard:
            self.lived(self.life.back(now_us), plan)

    # --- what came of a request -----------------------------------------------------------------

    def polled(self, polled: Polled, plan: Plan, now_us: int) -> None:
        """Take what the plan made of a reply, and tell what follows from it."""
        life, points, log = self.life, self.points, self.log
        if polled.change is Change.BACK:
            points.restarted()
            self.lived(life.back(now_us), plan)
        readings: list[Reading] = []
        if UPTIME in polled.values:
            self.lived(life.uptime(polled.values[UPTIME], now_us), plan)
        if polled.values:
            readings += points.take(polled.values, now_us)
            readings += [] if log is None else log.take(polled.values, now_us)
        if polled.given_up:
            keys = [key for refused in polled.given_up for key in refused.wants]
            self.lived(life.given_up(polled.given_up, now_us), plan)
            readings += points.refused(keys, now_us)
        if polled.stale:
            readings += points.lost(polled.stale, now_us)
        if polled.change is Change.SILENT:
            self.lived(life.silent(now_us, age_us=polled.age_us, why=polled.why), plan)
            readings += self.unknown(now_us)
        if readings:
            self._voice.readings(readings)
        if points.needs_uptime:
            plan.urge(self.device.id, [UPTIME])
        if points.uncounted:
            plan.urge(self.device.id, points.uncounted)

    def lived(self, lived: Lived, plan: Plan) -> None:
        """Tell what a step of its life changed."""
        if lived.restarted:
            self.points.restarted()
            plan.retry_given_up(self.device.id)
        for condition in lived.conditions:
            self._voice.condition(condition)
        if lived.remember is not None:
            self._voice.remember(self.device.id, lived.remember)

    def acted(self, actuator: Actuator, request: Request, reply: Reply, now_us: int) -> None:
        """An action's request was answered: it goes on, and a state it read is shown."""
        actuator.take(reply, now_us)
        state = actuator.channel.state
        if state is None or reply.kind is not ReplyKind.ANSWERED or request != read_of(state):
            return
        value = value_of(state, read_of(state), reply.values)
        self._voice.readings(self.points.state(actuator.address, value, now_us))

    def logged(self, reply: Reply, now_us: int) -> None:
        """A request of the event log was answered."""
        assert self.log is not None
        self._voice.readings(self.log.done(reply, now_us))

    def unknown(self, now_us: int) -> list[Reading]:
        """Nothing of it can be read: every input UNKNOWN, once."""
        return self.points.silent(now_us) + ([] if self.log is None else self.log.silent(now_us))


def is_flag(profile: Profile, channel: str) -> bool:
    """True for a channel that is a flag of the unit's event log, `<flag>-<zone>`."""
    if profile.event_log is None:
        return False
    flag, _, zone = channel.rpartition("-")
    return zone.isdecimal() and any(flag == known for _, known in profile.event_log.codes)


def _check_channels(device: Device, wires: Iterable[Wire], outputs: Iterable[Output]) -> None:
    profile = device.profile
    for kind, addresses, channels in (
        ("input", [wire.address for wire in wires], profile.inputs),
        ("output", [output.address for output in outputs], profile.outputs),
    ):
        names = [channel.name for channel in channels]
        for address in addresses:
            if channel_of(address) not in names:
                there = ", ".join(names) or "none"
                raise DriverError(f"{address}: {profile.model} has no such {kind}; it has {there}")
            if addresses.count(address) > 1:
                raise DriverError(f"{address}: this {kind} is used twice; give each its own")
