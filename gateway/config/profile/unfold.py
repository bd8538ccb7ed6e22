"""From a profile's file to the Profile: families become channels, spans become milliseconds.

Owns the arithmetic of addresses. Checks nothing: whatever could be wrong has been reported before.
"""

from __future__ import annotations

from collections.abc import Iterator

from gateway.config.document import duration_ms
from gateway.config.profile.models import (
    EventLogSection,
    FamilySection,
    InputFamilySection,
    OutputFamilySection,
    PlacesSection,
    ProfileFile,
    PulseSection,
    RegisterSection,
    SettingSection,
)
from gateway.core import profile as core
from gateway.core.profile import Register, Setting, Table


def unfold(file: ProfileFile) -> core.Profile:
    """The Profile of a file without mistakes."""
    inputs = [channel for item in file.inputs.items() for channel in _inputs(*item)]
    outputs = [channel for item in file.outputs.items() for channel in _outputs(*item)]
    settings = [s for item in file.settings.items() for s in _settings(*item, None, 0, 0)]
    for families in (file.inputs, file.outputs):
        settings += [s for item in families.items() for s in _family_settings(*item)]
    log = file.event_log
    identity = file.identity
    timing = file.timing
    return core.Profile(
        id=file.id,
        vendor=file.vendor,
        model=file.model,
        verified=file.verified,
        source=file.source,
        transports=tuple(str(transport) for transport in file.transports),
        serial=core.SerialDefaults(
            baud=file.serial.baud,
            parity=str(file.serial.parity) if file.serial.parity else None,
            stop_bits=file.serial.stop_bits,
            unit=file.serial.unit,
        ),
        timing=core.Timing(
            answer_ms=duration_ms(timing.answer),
            between_ms=duration_ms(timing.between),
            settle_ms=duration_ms(timing.settle),
            frame_ms=duration_ms(timing.frame),
        ),
        limits=core.Limits(**file.limits.model_dump()),
        identity=core.IdentityRule(
            register=Register(identity.table, identity.address),
            count=identity.count,
            text=identity.text or "",
            expect=tuple(identity.expect),
            expect_text=identity.expect_text or "",
        )
        if identity
        else None,
        uptime=one(file.uptime) if file.uptime else None,
        inputs=tuple(inputs) + (_flags(log) if log else ()),
        outputs=tuple(outputs),
        settings=tuple(settings),
        event_log=_event_log(log) if log else None,
        unverified=tuple(_unverified(file)),
    )


def names(family: str, section: FamilySection) -> Iterator[tuple[str, int, int]]:
    """Every channel of a family: its name, its index from 0, and what its group adds to places."""
    for group in range(section.groups):
        stem = family.replace("*", str(group + 1))
        for index in range(section.count):
            yield f"{stem}-{section.first + index}", index, group * section.group_step


def at(places: PlacesSection, index: int, shift: int) -> Register:
    """Where the value of the channel with that index stands, in a group that is so much on."""
    bit = index if places.mask else None
    if places.addresses is not None:
        address = places.addresses[index]
    else:
        step = places.words if places.step is None else places.step
        address = (places.address or 0) + (0 if places.mask else index * step)
    return Register(
        table=places.table,
        address=address + shift,
        words=places.words,
        low_word_first=places.low_word_first,
        bit=bit,
        high_byte=places.high_byte,
    )


def one(section: RegisterSection) -> Register:
    """The register of a place that stands alone."""
    return Register(**section.model_dump(exclude={"verified"}))


def function_of(table: Table, chosen: int | None) -> int:
    """The function of a write: as chosen, else 5 for a coil and 6 for a register."""
    return chosen or (5 if table is Table.COIL else 6)


def _inputs(family: str, section: InputFamilySection) -> Iterator[core.InputChannel]:
    for name, index, shift in names(family, section):
        yield core.InputChannel(
            name=name,
            level=at(section.level, index, shift) if section.level else None,
            inverted=section.inverted,
            closed_codes=tuple(section.closed_codes),
            unknown_codes=tuple(section.unknown_codes),
            counter=at(section.counter, index, shift) if section.counter else None,
        )


def _outputs(family: str, section: OutputFamilySection) -> Iterator[core.OutputChannel]:
    for name, index, shift in names(family, section):
        yield core.OutputChannel(
            name=name,
            write=at(section.write, index, shift),
            function=function_of(section.write.table, section.function),
            on=section.on,
            off=section.off,
            state=at(section.state, index, shift) if section.state else None,
            pulse_on=_pulse(section.pulse_on, index, shift),
            pulse_off=_pulse(section.pulse_off, index, shift),
        )


def _pulse(section: PulseSection | None, index: int, shift: int) -> core.Pulse | None:
    if section is None:
        return None
    unit_ms = duration_ms(section.unit)
    return core.Pulse(
        kind=section.kind,
        time=at(section.time, index, shift),
        unit_ms=unit_ms,
        least=1,
        most=duration_ms(section.longest) // unit_ms,
        mode=at(section.mode, index, shift) if section.mode else None,
        mode_value=section.mode_value or 0,
        mode_off=section.mode_off,
    )


def _settings(
    name: str, section: SettingSection, channel: str | None, index: int, shift: int
) -> Iterator[Setting]:
    for when, value in section.wanted.items():
        yield Setting(
            name=name,
            register=at(section, index, shift),
            value=value,
            when=when,
            channel=channel,
            most=section.most,
            before_outputs=section.before_outputs or section.in_silence is not None,
            blind=section.blind,
            function=function_of(section.table, section.function),
        )


def _family_settings(family: str, section: FamilySection) -> Iterator[Setting]:
    for channel, index, shift in names(family, section):
        for name, setting in section.settings.items():
            yield from _settings(name, setting, channel, index, shift)


def _flags(log: EventLogSection) -> tuple[core.InputChannel, ...]:
    return tuple(
        core.InputChannel(f"{flag}-{zone}")
        for flag in log.flags
        for zone in range(1, log.zones + 1)
    )


def _event_log(log: EventLogSection) -> core.EventLog:
    return core.EventLog(
        unread=one(log.unread),
        read=one(log.read),
        count=log.count,
        acknowledge=one(log.acknowledge),
        zone_field=log.zone_field,
        codes=tuple(sorted((code, flag) for flag, codes in log.flags.items() for code in codes)),
    )


def _unverified(file: ProfileFile) -> Iterator[str]:
    """Dotted names of whatever the file marks with `verified: false`, channel by channel."""
    parts = {"identity": file.identity, "uptime": file.uptime, "event_log": file.event_log}
    yield from (name for name, part in parts.items() if part and not part.verified)
    yield from (f"settings.{n}" for n, item in file.settings.items() if not item.verified)
    families: dict[str, FamilySection] = {**file.inputs, **file.outputs}
    for family, section in families.items():
        doubtful = _doubtful_parts(section)
        for channel, _, _ in names(family, section):
            if section.verified:
                yield from (f"{channel}.{part}" for part in doubtful)
            else:
                yield channel


def _doubtful_parts(section: FamilySection) -> list[str]:
    parts = [f"settings.{name}" for name, item in section.settings.items() if not item.verified]
    for key in ("level", "counter", "write", "state", "pulse_on", "pulse_off"):
        part: PlacesSection | PulseSection | None = getattr(section, key, None)
        if part is not None and not part.verified:
            parts.append(key)
    return parts
