"""What no single key of a profile can say: places used twice, settings that contradict each other.

Works on the file's models, as far as their shape is right, so that one run reports these mistakes
beside those of the models. Knows neither YAML nor pydantic.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from gateway.config.child import Mistake
from gateway.config.document import Document, Loc, duration_ms
from gateway.config.profile.models import (
    EventLogSection,
    FamilySection,
    IdentitySection,
    InputFamilySection,
    OutputFamilySection,
    PlacesSection,
    ProfileFile,
    PulseSection,
    SettingSection,
)
from gateway.config.profile.places import REGISTERS, WRITABLE, Places
from gateway.config.profile.unfold import at, names
from gateway.core.profile import PulseKind, Register, Table, When

SAFE = frozenset({When.SAFE_KEEP, When.SAFE_ON, When.SAFE_OFF})
"""What an output can be asked to do when the gateway falls silent."""

_ON_INPUTS = frozenset({When.ALWAYS, When.INPUT_USED, When.PERSON_OPERATED})
_ON_OUTPUTS = frozenset({When.ALWAYS, When.OUTPUT_USED, *SAFE})
_FLASH_MOST = 0x7FFF  # a greater value of function 5 could be taken for its plain on, 0xFF00

_Part: TypeAlias = tuple[str, int] | None
"""What of a register a channel means: a bit, a code, or (None) all of it."""


@dataclass(slots=True)
class ProfileReview:
    """One pass over a profile. Mistakes at or above one of `spoken` are only its consequences."""

    document: Document
    file: ProfileFile
    spoken: frozenset[Loc] = frozenset()
    mistakes: list[Mistake] = field(default_factory=list)
    _wrong_at: set[Loc] = field(default_factory=set)
    _channels: dict[str, Loc] = field(default_factory=dict)
    _taken: dict[tuple[Table, int], dict[_Part, str]] = field(default_factory=dict)
    _flags: frozenset[str] = frozenset()
    _held: dict[Register, tuple[int, str | None, When]] = field(default_factory=dict)

    def run(self) -> None:
        """Look at everything; never raises for what a file says."""
        file, places = self.file, Places(self.wrong)
        if file.event_log:
            self._event_log(file.event_log)
        if file.uptime:
            places.single(("uptime",), file.uptime, REGISTERS)
        if file.identity:
            self._identity(file.identity)
        for name, setting in file.settings.items():
            alone = FamilySection(count=1)
            self._setting(("settings", name), setting, alone, frozenset({When.ALWAYS}))
        for family, inputs in file.inputs.items():
            self._input_family(("inputs", family), inputs)
        for family, outputs in file.outputs.items():
            self._output_family(("outputs", family), outputs)
        self._limits()
        if not (file.inputs or file.outputs or file.like):
            self.wrong(("inputs",), "there is no channel at all", "describe inputs or outputs")

    def wrong(self, loc: Loc, what: str, right: str) -> None:
        """Report a mistake, unless it only follows from one already said at or below `loc`."""
        if any(told[: len(loc)] == loc for told in self.spoken):
            return
        self._wrong_at.add(loc)
        self.mistakes.append(self.document.mistake(loc, what, right))

    def _sound(self, loc: Loc) -> bool:
        """True while nothing wrong has been found at or below that place."""
        told = (*self.spoken, *self._wrong_at)
        return not any(place[: len(loc)] == loc for place in told)

    # --- families -------------------------------------------------------------------------------

    def _input_family(self, loc: Loc, section: InputFamilySection) -> None:
        places = Places(self.wrong)
        if section.level is None and section.counter is None:
            right = "write level: {table: discrete, address: N}"
            self.wrong(loc, "has neither level nor counter", right)
        if section.level:
            places.family((*loc, "level"), section.level, section)
        if section.counter:
            places.family((*loc, "counter"), section.counter, section, REGISTERS)
        self._codes(loc, section)
        self._family(loc, section, _ON_INPUTS)
        if self._sound(loc):
            codes = tuple(section.closed_codes)
            self._occupy(loc, section, {"level": (section.level, codes)})
            self._occupy(loc, section, {"counter": (section.counter, ())})

    def _codes(self, loc: Loc, section: InputFamilySection) -> None:
        if section.unknown_codes and not section.closed_codes:
            self.wrong((*loc, "unknown_codes"), "stands without closed_codes", "write closed_codes")
        if section.closed_codes and section.level is None:
            self.wrong((*loc, "closed_codes"), "there is no level to compare", "write level")
        if section.closed_codes and section.inverted:
            self.wrong((*loc, "inverted"), "closed_codes say already what is closed", "remove it")
        for n, code in enumerate(section.unknown_codes):
            if code in section.closed_codes:
                right = "keep it in one of the two"
                self.wrong((*loc, "unknown_codes", n), f"{code} means closed as well", right)
        if section.level and (section.level.mask or section.level.table.bits):
            for code in (*section.closed_codes, *section.unknown_codes):
                if code > 1:
                    self.wrong((*loc, "closed_codes"), "a bit is 0 or 1", "remove it")
                    break

    def _output_family(self, loc: Loc, section: OutputFamilySection) -> None:
        places = Places(self.wrong)
        places.family((*loc, "write"), section.write, section, WRITABLE)
        places.function(loc, section.write.table, section.function)
        if section.state:
            places.family((*loc, "state"), section.state, section)
        if section.on == section.off:
            self.wrong((*loc, "on"), "is the same as off", "write what each of the two is")
        for key, value in (("on", section.on), ("off", section.off)):
            one_bit = section.write.mask or section.write.table.bits
            if one_bit and value > 1:
                self.wrong((*loc, key), f"{value} is no value of one bit", "write 0 or 1")
        for key, pulse in (("pulse_on", section.pulse_on), ("pulse_off", section.pulse_off)):
            if pulse:
                self._pulse((*loc, key), pulse, section)
        self._family(loc, section, _ON_OUTPUTS)
        if self._sound(loc):
            self._occupy(loc, section, {"write": (section.write, ())})

    def _family(self, loc: Loc, section: FamilySection, whens: frozenset[When]) -> None:
        family = str(loc[-1])
        if family.count("*") != (section.groups > 1):
            right = "write slot*-input with groups: 4, or neither star nor groups"
            self.wrong(loc, "the name's star and groups do not fit together", right)
        if (section.groups > 1) is not (section.group_step > 0):
            self.wrong(
                (*loc, "group_step"), "groups and group_step go together", "write both or none"
            )
        for name, setting in section.settings.items():
            self._setting((*loc, "settings", name), setting, section, whens)
        for channel, _, _ in names(family, section):
            first = self._channels.setdefault(channel, loc)
            if first != loc or channel in self._flags:
                self.wrong(loc, f"there is another {channel}", "give the family a name of its own")
                break

    def _pulse(self, loc: Loc, pulse: PulseSection, family: OutputFamilySection) -> None:
        places = Places(self.wrong)
        timer = pulse.kind is PulseKind.TIMER
        table = Table.HOLDING if timer else Table.COIL
        places.family((*loc, "time"), pulse.time, family, (table,))
        if pulse.mode:
            places.family((*loc, "mode"), pulse.mode, family, (Table.HOLDING,))
        if timer and (pulse.mode is None or pulse.mode_value is None):
            right = "write mode: {table: holding, address: N} and mode_value: N"
            self.wrong(loc, "a timer needs mode and mode_value", right)
        if timer and pulse.mode_value == pulse.mode_off:
            self.wrong((*loc, "mode_value"), "is the same as mode_off", "write the pulse's mode")
        for key in ("mode", "mode_value", "mode_off"):
            if not timer and key in pulse.model_fields_set:
                self.wrong((*loc, key), "a flash has no mode", "remove it")
        steps, most = duration_ms(pulse.longest) // duration_ms(pulse.unit), _FLASH_MOST
        if timer:
            most = (1 << 16 * pulse.time.words) - 1
        if not 1 <= steps <= most:
            what = f"{pulse.longest} is {steps} times {pulse.unit}"
            self.wrong((*loc, "longest"), what, f"write 1 to {most} times the unit")

    # --- settings -------------------------------------------------------------------------------

    def _setting(
        self, loc: Loc, setting: SettingSection, family: FamilySection, whens: frozenset[When]
    ) -> None:
        places = Places(self.wrong)
        places.family(loc, setting, family, WRITABLE)
        places.setting(loc, setting)
        key = "when" if setting.in_silence is None else "in_silence"
        for when in setting.wanted:
            if when not in whens:
                known = ", ".join(sorted(whens - SAFE))
                self.wrong((*loc, key), f"{when} cannot be said here", f"one of {known}")
                break
        outputs_known = self.file.outputs or not self._sound(("outputs",))
        if setting.before_outputs and not outputs_known:
            self.wrong((*loc, "before_outputs"), "the unit has no output", "remove it")
        if self._sound(loc):
            self._hold(loc, setting, family)

    def _hold(self, loc: Loc, setting: SettingSection, family: FamilySection) -> None:
        """Two settings of one register must want the same, unless they exclude each other."""
        for channel, index, shift in names(str(loc[1]), family):
            register = at(setting, index, shift)
            owner = channel if loc[0] != "settings" else None
            for when, value in setting.wanted.items():
                first = self._held.setdefault(register, (value, owner, when))
                apart = first[1] == owner and first[2] != when and {first[2], when} <= SAFE
                if first[0] != value and not apart:
                    place = f"{register.table} {register.address}"
                    what = f"{place} cannot hold both {first[0]} and {value}"
                    self.wrong(loc, what, "keep one of the two settings")
                    return

    # --- places ---------------------------------------------------------------------------------

    def _occupy(
        self,
        loc: Loc,
        section: FamilySection,
        wanted: Mapping[str, tuple[PlacesSection | None, tuple[int, ...]]],
    ) -> None:
        """Every channel has its place to itself; zones of several meanings share a register."""
        for key, (places, codes) in wanted.items():
            for channel, index, shift in names(str(loc[1]), section) if places else ():
                assert places is not None
                other = self._other(at(places, index, shift), codes, channel)
                if other:
                    what = f"{channel} stands where {other} stands"
                    self.wrong((*loc, key), what, "give every channel a place of its own")
                    return

    def _other(self, register: Register, codes: tuple[int, ...], channel: str) -> str | None:
        """Who is at that place already; else `channel` from now on."""
        half = "high code" if register.high_byte else "code"
        parts: tuple[_Part, ...] = tuple((half, code) for code in codes) or (None,)
        if register.bit is not None:
            parts = (("bit", register.bit),)
        for address in range(register.address, register.address + register.words):
            there = self._taken.setdefault((register.table, address), {})
            for part in parts:
                if there and (part is None or part in there or None in there):
                    return there.get(part) or next(iter(there.values()))
                there[part] = channel
        return None

    # --- the rest -------------------------------------------------------------------------------

    def _identity(self, identity: IdentitySection) -> None:
        loc = ("identity",)
        if identity.table not in REGISTERS:
            right = f"one of {', '.join(REGISTERS)}"
            self.wrong((*loc, "table"), f"{identity.table} cannot be used here", right)
        if identity.expect and identity.text:
            self.wrong((*loc, "expect"), "the identity is text", "write expect_text")
        if identity.expect_text and not identity.text:
            self.wrong((*loc, "expect_text"), "the identity is numbers", "write expect, or text")
        if identity.expect and len(identity.expect) != identity.count:
            what = f"{len(identity.expect)} numbers for {identity.count} registers"
            self.wrong((*loc, "expect"), what, "write one for each register")
        room = identity.count * (2 if identity.text == "two" else 1)
        if identity.expect_text and len(identity.expect_text) > room:
            self.wrong((*loc, "expect_text"), f"only {room} characters fit", "mend count")

    def _event_log(self, log: EventLogSection) -> None:
        places, loc = Places(self.wrong), ("event_log",)
        places.single((*loc, "unread"), log.unread, REGISTERS)
        places.single((*loc, "read"), log.read, REGISTERS)
        places.single((*loc, "acknowledge"), log.acknowledge, (Table.HOLDING,))
        zones = range(1, log.zones + 1)
        self._flags = frozenset(f"{flag}-{zone}" for flag in log.flags for zone in zones)
        told: dict[int, str] = {}
        for flag, codes in log.flags.items():
            for n, code in enumerate(codes):
                first = told.setdefault(code, flag)
                if first != flag:
                    what = f"{code} sets {first} already"
                    self.wrong((*loc, "flags", flag, n), what, "name each code once")

    def _limits(self) -> None:
        file, most = self.file, self.file.limits.registers
        sizes: dict[Loc, int] = {}
        if file.identity:
            sizes["identity", "count"] = file.identity.count
        if file.event_log:
            sizes["event_log", "count"] = file.event_log.count
        for loc, size in sizes.items():
            if size > most:
                right = f"write at most {most}, or mend limits.registers"
                self.wrong(loc, f"{size} registers are more than one read may ask for", right)
        for hole, whole in (("hole_registers", "registers"), ("hole_bits", "bits")):
            if getattr(file.limits, hole) >= getattr(file.limits, whole):
                self.wrong(
                    ("limits", hole),
                    "is as long as a whole read",
                    f"write less than {whole}",
                )
