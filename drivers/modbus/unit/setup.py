"""The set-up of one unit as a script: who is it, then its settings, one request after the other.

Pure: a generator that asks and is answered, and knows neither clock nor bus. It writes a setting
only where it differs, reads it back, and never drives an output.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

from drivers.modbus.plan.blocks import Block, Want, coalesce, halves, value_of
from drivers.modbus.unit.identity import identity_of, same_identity
from drivers.modbus.unit.settings import name_of
from drivers.modbus.wire.line import Line
from drivers.modbus.wire.request import Read, Reply, ReplyKind, Request
from drivers.modbus.wire.values import read_of, with_bit, write_of
from gateway.core.hardware import Device
from gateway.core.model import US_PER_MS
from gateway.core.profile import IdentityRule, Register, Setting, Table

READ_TRIES = 3
"""Unanswered reads before a question is left; the unit answers its polls meanwhile."""

LOST_WRITES = 3
"""Writes of one setting that nobody answered and that did not take, before it is left."""

WRITES = 2
"""Echoed writes of one setting: the first, and one more where it reads back as something else."""

BUSY_TRIES = 20
AGAIN_US = 200_000
"""Before the same is asked again after silence or damage."""

BUSY_US = 500_000
"""The same after "busy": with BUSY_TRIES a unit has 10 s to become free."""

IDENTITY = "identity"
"""What a Finding about who the unit is is called."""

_ACCEPTED = 5
_BUSY = frozenset({5, 6, 15})
_PERMANENT = frozenset({1, 2, 3})
_UNREACHED = frozenset({10, 11})


@dataclass(frozen=True, slots=True)
class Errand:
    """One set-up request. rest_us: the unit wants quiet for so long after it (`Plan.noted`).

    after_us: not before so long after the last one was answered.
    """

    request: Request
    purpose: str
    rest_us: int = 0
    after_us: int = 0


@dataclass(frozen=True, slots=True)
class Finding:
    """Something of a unit that is not as it must be. locks: its outputs may not move for it.

    what: the setting (or `identity`). final: trying again without a new start of the unit would
    only wear its memory out.
    """

    what: str
    why: str
    expected: str = ""
    found: str = ""
    locks: bool = False
    final: bool = True


Script: TypeAlias = Generator[Errand, Reply, None]
Answering: TypeAlias = Generator[Errand, Reply, Reply | None]


class Setup:
    """One run through a unit's identity and settings; `findings` grow while it runs.

    identified, cleared: its identity is right; nothing that must be set before outputs move is
    wrong, or still to be looked at. seen: the identity nobody expected and nobody knew before.
    """

    def __init__(
        self, device: Device, settings: Sequence[Setting], line: Line, known: str | None
    ) -> None:
        """known: the identity remembered of this unit."""
        self._device = device
        self._settings = settings
        self._line = line
        self._known = known
        self.identified = device.profile.identity is None
        self.cleared = False
        self.seen: str | None = None
        self.findings: list[Finding] = []

    def run(self, found: Sequence[Finding] = ()) -> Script:
        """Ask, until there is nothing left to ask.

        found: what an earlier run since the unit's start found. Then only that is looked at again,
        and what the unit has once taken and not kept is read and not written: memories wear out.
        """
        rule = self._device.profile.identity
        if rule is not None:
            finding = yield from self._identify(rule)
            if finding is not None:
                self.findings.append(finding)
                return
        self.identified = True
        earlier = {each.what: each for each in found if each.what != IDENTITY}
        settings = [s for s in self._settings if not earlier or name_of(s) in earlier]
        shown = yield from self._survey(settings)
        waiting = sum(setting.before_outputs for setting in settings)
        self.cleared = not waiting
        for index, setting in enumerate(settings):
            before = earlier.get(name_of(setting))
            if before is None or not before.final:
                finding = yield from self._set(setting, shown.get(index))
            elif setting.blind:
                finding = before
            else:
                finding = yield from self._hold(setting, shown.get(index), write=False)
            if finding is not None:
                self.findings.append(finding)
            waiting -= setting.before_outputs
            self.cleared = not waiting and not any(each.locks for each in self.findings)

    def _set(
        self, setting: Setting, words: tuple[int, ...] | None
    ) -> Generator[Errand, Reply, Finding | None]:
        if setting.blind:
            return (yield from self._write_blind(setting))
        return (yield from self._hold(setting, words, write=True))

    def _identify(self, rule: IdentityRule) -> Generator[Errand, Reply, Finding | None]:
        read = replace(read_of(rule.register), count=rule.count)
        reply = yield from self._ask(read, "identity")
        pinned = rule.expect_text or ",".join(str(word) for word in rule.expect)
        expected = self._device.identity or pinned or self._known
        model = self._device.profile.model
        if reply is None or reply.kind is not ReplyKind.ANSWERED:
            says = "does not say what it is" if reply is None else "refuses to say what it is"
            code = "" if reply is None else f" ({_exception(reply)})"
            why = f"the unit {says}{code}, and a {model} does"
            return Finding(IDENTITY, why, expected or "", locks=True, final=False)
        found = identity_of(rule, reply.values)
        if not expected:
            self.seen = found
            return None
        if same_identity(rule, expected, found):
            return None
        where = "this unit has been" if expected == self._known else "the configuration says"
        why = f"another unit answers here: {where} {expected}, and it is {found or 'nameless'}"
        return Finding(IDENTITY, why, expected, found, locks=True, final=False)

    def _survey(
        self, settings: Sequence[Setting]
    ) -> Generator[Errand, Reply, Mapping[int, tuple[int, ...]]]:
        """What the settings are now, in as few reads as the unit allows; without what it refuses.

        By the setting's place. A mask is left out: by its turn another setting may have moved it.
        """
        wants = [
            Want(str(index), setting.register, 1)
            for index, setting in enumerate(settings)
            if not setting.blind and not _partial(setting.register)
        ]
        shown: dict[int, tuple[int, ...]] = {}
        limits = self._device.profile.limits
        blocks = list(coalesce(wants, limits, self._line))
        while blocks:
            block = blocks.pop(0)
            if len(block.wants) == 1:
                continue
            reply = yield from self._ask(block.read, "settings")
            if reply is None:
                continue
            if reply.kind is ReplyKind.ANSWERED:
                shown.update(_words_of(block, reply.values))
            elif block.holes:
                blocks[:0] = coalesce(block.wants, limits, self._line, holes=False)
            elif len(parts := halves(block)) > 1:
                blocks[:0] = parts
        return shown

    def _hold(
        self, setting: Setting, words: tuple[int, ...] | None, *, write: bool
    ) -> Generator[Errand, Reply, Finding | None]:
        """Make one setting hold; what is wrong when it will not. words: what it was seen to be."""
        name, register = name_of(setting), setting.register
        read = read_of(register)
        written = lost = 0
        while True:
            if words is None:
                reply = yield from self._ask(read, f"read {name}")
                if reply is None:
                    return _finding(
                        setting, "the unit does not answer when it is read", final=False
                    )
                if reply.kind is not ReplyKind.ANSWERED:
                    return _refusal(setting, "the unit refuses to show it", reply)
                words = reply.values
            value = value_of(register, read, words)
            if value == setting.value or (setting.most is not None and value <= setting.most):
                return None
            if not write or written == WRITES:
                return _finding(setting, "it does not keep what is written", str(value))
            if lost == LOST_WRITES:
                return _finding(
                    setting, "the unit does not answer when it is written", str(value), final=False
                )
            whole = value_of(_whole(register), read, words)
            request = _write_of(setting, whole)
            reply = yield from self._write(request, name)
            if reply is None:
                lost += 1
            elif _accepted(reply):
                written += 1
            else:
                return _refusal(setting, "the unit refuses it", reply, str(value))
            words = None

    def _write_blind(self, setting: Setting) -> Generator[Errand, Reply, Finding | None]:
        """What cannot be read back holds when its write is echoed."""
        request = _write_of(setting, 0)
        for _ in range(LOST_WRITES):
            reply = yield from self._write(request, name_of(setting))
            if reply is not None:
                if _accepted(reply):
                    return None
                return _refusal(setting, "the unit refuses it", reply)
        return _finding(setting, "the unit does not answer when it is written", final=False)

    def _write(self, request: Request, name: str) -> Answering:
        rest_us = self._device.profile.timing.settle_ms * US_PER_MS
        return self._ask(request, f"write {name}", rest_us=rest_us)

    def _ask(self, request: Request, purpose: str, *, rest_us: int = 0) -> Answering:
        """The answer, or the refusal; None when there is none. Busy is waited for.

        A write nobody answered is not sent again before its register was read; one that the unit
        has accepted (5) is as good as answered. The port's loss counts for nothing: the same is
        asked again.
        """
        unanswered = busy = troubled = after_us = 0
        writes = not isinstance(request, Read)
        while True:
            reply = yield Errand(request, purpose, rest_us, after_us)
            after_us = AGAIN_US
            if reply.kind is ReplyKind.ANSWERED or (writes and _accepted(reply)):
                return reply
            if reply.kind is ReplyKind.GONE:
                continue
            code = reply.code if reply.kind is ReplyKind.EXCEPTION else 0
            if code in _PERMANENT:
                return reply
            if code in _BUSY:
                busy, after_us = busy + 1, BUSY_US
            elif code and code not in _UNREACHED:
                troubled += 1
            else:
                unanswered += 1
            if unanswered == (1 if writes else READ_TRIES):
                return None
            if busy == BUSY_TRIES or troubled == 2:
                return reply


def _finding(setting: Setting, why: str, found: str = "", *, final: bool = True) -> Finding:
    expected = str(setting.value) if setting.most is None else f"at most {setting.most}"
    name = name_of(setting)
    return Finding(name, f"{name}: {why}", expected, found, setting.before_outputs, final)


def _refusal(setting: Setting, why: str, reply: Reply, found: str = "") -> Finding:
    final = reply.code in _PERMANENT
    return _finding(setting, f"{why} ({_exception(reply)})", found, final=final)


def _exception(reply: Reply) -> str:
    return f"exception {reply.code}"


def _accepted(reply: Reply) -> bool:
    if reply.kind is ReplyKind.EXCEPTION:
        return reply.code == _ACCEPTED
    return reply.kind is ReplyKind.ANSWERED


def _partial(register: Register) -> bool:
    return register.bit is not None or register.high_byte


def _whole(register: Register) -> Register:
    return replace(register, bit=None, high_byte=False)


def _write_of(setting: Setting, whole: int) -> Request:
    """The write of a setting into what its register holds beside it."""
    register = setting.register
    value = _with_field(register, whole, setting.value)
    return write_of(_whole(register), value, function=setting.function)


def _with_field(register: Register, whole: int, value: int) -> int:
    """The whole register with this field of it changed, and nothing else."""
    if register.bit is not None and register.table in (Table.HOLDING, Table.INPUT):
        return with_bit(whole, register.bit, value)
    if register.high_byte:
        return whole & ~0xFF00 | value << 8
    return value


def _words_of(block: Block, values: Sequence[int]) -> dict[int, tuple[int, ...]]:
    found: dict[int, tuple[int, ...]] = {}
    for want in block.wants:
        begin = want.register.address - block.read.address
        found[int(want.key)] = tuple(values[begin : begin + want.register.words])
    return found
