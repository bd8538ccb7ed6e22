"""One unit behind an Actuator, and what drives the two as a bus would."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

from drivers.modbus.unit.moves import Masks
from drivers.modbus.unit.outputs import Actuator, Gate
from drivers.modbus.wire.request import (
    Read,
    Reply,
    ReplyKind,
    Request,
    WriteBit,
    WriteBits,
    WriteRegister,
    WriteRegisters,
)
from gateway.core.action import Action, Outcome, Result, Urgency
from gateway.core.profile import OutputChannel, Pulse, PulseKind, Register, Table

MS, S = 1_000, 1_000_000
ADDRESS = "entrance/relay-1"
MODE = Register(Table.HOLDING, 1760)
READY = Gate(speaks=True, ready=True)
WAITING = Gate(speaks=True)
SILENT = Gate(speaks=False)
LOCKED = Gate(speaks=True, locked="it says it is another model")

TIMER = Pulse(PulseKind.TIMER, Register(Table.HOLDING, 1784), 100, 1, 65_000, MODE, 3, 0)
TIMER_OFF = replace(TIMER, time=Register(Table.HOLDING, 1792), mode_value=4)
FLASH = Pulse(PulseKind.FLASH, Register(Table.COIL, 0x200), 100, 1, 0x7FFF)
PLAIN = OutputChannel("relay-1", Register(Table.COIL, 0), 5, state=Register(Table.DISCRETE, 96))
WIREN = replace(PLAIN, pulse_on=TIMER, pulse_off=TIMER_OFF)
WAVESHARE = replace(PLAIN, state=Register(Table.COIL, 0), pulse_on=FLASH)
DUTY = OutputChannel(
    "output-1", Register(Table.HOLDING, 0), 16, on=1000, state=Register(Table.HOLDING, 0)
)
BOLID = OutputChannel("relay-1", Register(Table.COIL, 10_000), 15)


def mask(bit: int) -> OutputChannel:
    register = Register(Table.HOLDING, 50, bit=bit)
    return OutputChannel(f"output-{bit + 1}", register, 6, state=register)


class Unit:
    """Registers that answer as a unit does. deaf, stuck, refuse: what is wrong with it."""

    def __init__(self) -> None:
        self.words: dict[tuple[Table, int], int] = {}
        self.log: list[Request] = []
        self.deaf = 0
        self.stuck = False
        self.lags = 0
        self.refuse: Callable[[Request], int] = lambda _: 0
        self.mirror: dict[tuple[Table, int], tuple[Table, int]] = {
            (Table.COIL, 0): (Table.DISCRETE, 96),
            (Table.COIL, 0x200): (Table.COIL, 0),
        }

    def answer(self, request: Request) -> Reply:
        self.log.append(request)
        if self.deaf:
            self.deaf -= 1
            return Reply(ReplyKind.SILENT)
        code = self.refuse(request)
        if code:
            return Reply(ReplyKind.EXCEPTION, code=code)
        match request:
            case Read(table, address, count):
                words = tuple(self.words.get((table, address + n), 0) for n in range(count))
                return Reply(ReplyKind.ANSWERED, words)
            case WriteBit(address, raw):
                self._set(Table.COIL, address, int(raw != 0))
            case WriteBits(address, values):
                self._set(Table.COIL, address, int(values[0]))
            case WriteRegister(address, value):
                self._set(Table.HOLDING, address, value)
            case WriteRegisters(address, registers):
                self._set(Table.HOLDING, address, registers[0])
        return Reply(ReplyKind.ANSWERED)

    def _set(self, table: Table, address: int, value: int) -> None:
        state = self.mirror.get((table, address))
        if self.stuck and (state is not None or address == 50):
            return
        self.words[table, address] = value
        if state is not None:
            self.words[state] = value


@dataclass
class Scene:
    """Actuators on one unit, driven as a bus would, 10 ms an exchange."""

    channels: tuple[OutputChannel, ...] = (PLAIN,)
    gate: Gate = READY
    now_us: int = 0
    unit: Unit = field(default_factory=Unit)
    results: list[Result] = field(default_factory=list)
    reports: list[str] = field(default_factory=list)
    sent: list[tuple[int, Request]] = field(default_factory=list)

    def __post_init__(self) -> None:
        masks: Masks = {}
        self.actuators = [
            Actuator(
                f"entrance/{channel.name}",
                channel,
                masks,
                tell=self.results.append,
                report=lambda event, _: self.reports.append(event),
            )
            for channel in self.channels
        ]

    def offer(
        self,
        name: str,
        *,
        on: bool = True,
        for_ms: int | None = None,
        within_ms: int = 5_000,
        urgency: Urgency = Urgency.COMMAND,
        output: int = 0,
    ) -> Action:
        action = Action(
            id=name,
            output=self.actuators[output].address,
            on=on,
            for_ms=for_ms,
            not_after_us=self.now_us + within_ms * MS,
            urgency=urgency,
        )
        self.actuators[output].offer(action, self.now_us)
        return action

    def step(self) -> bool:
        """One exchange, the most urgent there is; False: nothing to do now."""
        for actuator in self.actuators:
            actuator.sweep(self.now_us, self.gate)
        wanting = [
            (urgency, index)
            for index, actuator in enumerate(self.actuators)
            if (urgency := actuator.urgency(self.now_us, self.gate)) is not None
        ]
        if not wanting:
            return False
        actuator = self.actuators[min(wanting)[1]]
        request = actuator.ask(self.now_us, self.gate)
        if request is not None:
            self.sent.append((self.now_us, request))
            reply = self.unit.answer(request)
            self.now_us += 10 * MS
            actuator.take(reply, self.now_us)
        return True

    def run(self, for_ms: int = 2_000) -> list[Request]:
        """Exchange by exchange, sleeping until each deadline; what was sent meanwhile."""
        begin, until_us = len(self.unit.log), self.now_us + for_ms * MS
        while self.now_us < until_us:
            if self.step():
                continue
            moments = [one.deadline(self.gate) for one in self.actuators]
            due_us = min((at_us for at_us in moments if at_us is not None), default=until_us)
            self.now_us = min(max(due_us, self.now_us + 1), until_us)
        return self.unit.log[begin:]

    @property
    def outcomes(self) -> list[tuple[str, Outcome]]:
        return [(result.action, result.outcome) for result in self.results]


ON, OFF = WriteBit(0, 0xFF00), WriteBit(0, 0)
STATE = Read(Table.DISCRETE, 96)
READ_MODE = Read(Table.HOLDING, 1760)
