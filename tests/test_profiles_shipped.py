"""Every profile that comes with the gateway: well-formed, and true to what its maker says."""

from __future__ import annotations

import json
import time
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.config.files import Folders
from gateway.config.profile.profiles import has_counter, load_profile, safe_states, shipped
from gateway.core.hardware import Parity, Transport
from gateway.core.plain import from_plain, to_plain
from gateway.core.profile import (
    IdentityRule,
    OutputChannel,
    Profile,
    Pulse,
    PulseKind,
    Register,
    Table,
    When,
)

ROOT = Path(__file__).parent.parent


def of(name: str) -> Profile:
    """The shipped profile of that name."""
    found = load_profile(name, Folders(Path("/nowhere")))
    assert isinstance(found, Profile), [str(mistake) for mistake in found]
    return found


SHIPPED = shipped()


def test_the_parts_on_sale_are_shipped() -> None:
    assert set(SHIPPED) >= {
        *("wb-mcm8", "wb-mr6c", "wb-mr6c-v3", "wb-mr6c-legacy", "wb-mr6cu", "wb-mrm2-mini"),
        *("wb-mio", "waveshare-relay-d", "owen-mv110-16d", "owen-mu110-16r", "owen-mk110-8d4r"),
        *("bolid-s2000-pp", "adam-6060", "generic"),
    }


def registers(profile: Profile) -> Iterator[Register]:
    for channel in profile.inputs:
        yield from (r for r in (channel.level, channel.counter) if r)
    for output in profile.outputs:
        yield from (r for r in (output.write, output.state) if r)
        for pulse in (output.pulse_on, output.pulse_off):
            yield from (r for r in (pulse and pulse.time, pulse and pulse.mode) if r)
    yield from (setting.register for setting in profile.settings)
    yield from (r for r in (profile.uptime, profile.identity and profile.identity.register) if r)
    log = profile.event_log
    yield from (log.unread, log.read, log.acknowledge) if log else ()


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_profile_is_whole(name: str) -> None:
    profile = of(name)
    assert profile.id == name
    assert profile.vendor
    assert profile.model
    assert profile.source
    assert {Transport(word) for word in profile.transports}
    assert profile.serial.parity is None or Parity(profile.serial.parity)
    assert profile.inputs or profile.outputs


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_profile_crosses_a_process(name: str) -> None:
    profile = of(name)
    assert from_plain(Profile, json.loads(json.dumps(to_plain(profile)))) == profile


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_registers_are_in_range(name: str) -> None:
    for register in registers(of(name)):
        assert 0 <= register.address <= register.address + register.words - 1 <= 0xFFFF
        if register.table.bits:
            assert (register.words, register.bit, register.high_byte) == (1, None, False)
        assert register.bit is None or 0 <= register.bit < 16 * register.words


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_channels_have_places_of_their_own(name: str) -> None:
    profile = of(name)
    channels = [channel.name for channel in profile.inputs]
    channels += [output.name for output in profile.outputs]
    assert len(set(channels)) == len(channels)
    places: list[object] = []
    for channel in profile.inputs:
        codes = channel.closed_codes or (None,)
        places += [(channel.level, code) for code in codes if channel.level]
        places += [channel.counter] if channel.counter else []
    places += [output.write for output in profile.outputs]
    assert len(set(places)) == len(places)


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_settings_are_sane(name: str) -> None:
    profile = of(name)
    known = {channel.name for channel in profile.inputs}
    known |= {output.name for output in profile.outputs}
    for setting in profile.settings:
        assert setting.register.table in {Table.HOLDING, Table.COIL}
        assert setting.function in ({5, 15} if setting.register.table.bits else {6, 16})
        assert 0 <= setting.value <= 0xFFFF
        assert setting.channel is None or setting.channel in known
        assert setting.channel or setting.when is When.ALWAYS
        assert setting.most is None or setting.most >= setting.value
        assert not (setting.blind and setting.before_outputs)


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_unit_that_acts_in_silence_is_told_before_outputs(name: str) -> None:
    """What a unit does by itself, or lets its inputs do, is settled before a relay moves."""
    profile = of(name)
    for setting in profile.settings:
        if setting.when.startswith("safe-"):
            assert setting.before_outputs
    if "mode" in {setting.name for setting in profile.settings} and profile.outputs:
        modes = [setting for setting in profile.settings if setting.name == "mode"]
        assert {setting.channel for setting in modes} == {c.name for c in profile.inputs}
        assert all(setting.before_outputs for setting in modes)


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_timing_and_limits_are_sane(name: str) -> None:
    profile = of(name)
    timing, limits = profile.timing, profile.limits
    assert 10 <= timing.answer_ms <= 1_000
    assert 0 <= timing.between_ms <= 200
    assert 0 <= timing.frame_ms <= 20
    widest = max(register.words for register in registers(profile))
    assert widest <= limits.registers <= 125
    assert 1 <= limits.bits <= 2_000
    assert profile.identity is None or profile.identity.count <= limits.registers


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_doubts_name_what_is_there(name: str) -> None:
    profile = of(name)
    channels = {channel.name: channel for channel in profile.inputs}
    outputs = {output.name: output for output in profile.outputs}
    for doubt in profile.unverified:
        owner, _, part = doubt.partition(".")
        if owner in channels or owner in outputs:
            thing = channels.get(owner) or outputs[owner]
            settings_of = {f"settings.{s.name}" for s in profile.settings if s.channel == owner}
            assert not part or part in settings_of or getattr(thing, part) is not None
        else:
            assert getattr(profile, owner) is not None


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_press_is_short_enough_where_it_can_be(name: str) -> None:
    """A filter that can be set is set to at most 10 ms on every input a person may press."""
    profile = of(name)
    filters = [s for s in profile.settings if s.name == "debounce_ms"]
    if filters:
        assert {s.channel for s in filters} == {channel.name for channel in profile.inputs}
        assert all(s.when is When.PERSON_OPERATED for s in filters)
        assert all((s.value, s.most) == (10, 10) for s in filters)


COUNTING = {
    "wb-mcm8": True, "wb-mr6c": True, "wb-mr6c-v3": True, "wb-mr6c-legacy": True,
    "wb-mrm2-mini": True, "wb-mio": True, "owen-mk110-8d4r": True,
    "waveshare-relay-d": False, "owen-mv110-16d": False, "adam-6060": False, "generic": False,
}  # fmt: skip


@pytest.mark.parametrize(("name", "counts"), COUNTING.items())
def test_shipped_unit_counts_presses_or_not(name: str, counts: bool) -> None:  # noqa: FBT001 — a table's column
    profile = of(name)
    assert {has_counter(profile, channel.name) for channel in profile.inputs} == {counts}


HOLDING, INPUT, COIL, DISCRETE = Table.HOLDING, Table.INPUT, Table.COIL, Table.DISCRETE

LEVELS = [
    ("wb-mcm8", "input-8", Register(DISCRETE, 7), Register(INPUT, 74, words=2)),
    ("wb-mr6c", "input-0", Register(DISCRETE, 7), Register(INPUT, 39)),
    ("wb-mr6c-v3", "input-6", Register(DISCRETE, 5), Register(INPUT, 37)),
    ("wb-mrm2-mini", "input-2", Register(DISCRETE, 1), Register(INPUT, 33)),
    ("wb-mio", "slot1-input-1", Register(COIL, 1000), Register(HOLDING, 1250)),
    ("wb-mio", "slot4-input-14", Register(COIL, 4013), Register(HOLDING, 4263)),
    ("waveshare-relay-d", "input-8", Register(DISCRETE, 7), None),
    ("owen-mv110-16d", "input-16", Register(HOLDING, 0x33, bit=15), None),
    ("owen-mk110-8d4r", "input-8", Register(HOLDING, 0x33, bit=7), Register(HOLDING, 0x47)),
    ("bolid-s2000-pp", "fire-512", Register(HOLDING, 40_511, high_byte=True), None),
    ("adam-6060", "input-6", Register(COIL, 5), Register(HOLDING, 10, 2, low_word_first=True)),
    ("generic", "input-16", Register(DISCRETE, 15), None),
]  # fmt: skip


@pytest.mark.parametrize(("name", "channel", "level", "counter"), LEVELS)
def test_shipped_input_stands_where_its_maker_says(
    name: str, channel: str, level: Register, counter: Register | None
) -> None:
    found = of(name).input(channel)
    assert (found.level, found.counter) == (level, counter)


RELAYS = [
    ("wb-mr6c", "relay-6", 5, Register(COIL, 5), Register(DISCRETE, 101)),
    ("wb-mr6c-legacy", "relay-6", 5, Register(COIL, 5), Register(COIL, 5)),
    ("wb-mrm2-mini", "relay-2", 5, Register(COIL, 1), Register(DISCRETE, 97)),
    ("wb-mio", "slot4-relay-8", 5, Register(COIL, 4507), Register(COIL, 4507)),
    ("waveshare-relay-d", "relay-8", 5, Register(COIL, 7), Register(COIL, 7)),
    ("owen-mu110-16r", "relay-16", 6, Register(HOLDING, 15), Register(HOLDING, 15)),
    ("owen-mk110-8d4r", "relay-4", 16, Register(HOLDING, 3), Register(HOLDING, 3)),
    ("bolid-s2000-pp", "relay-255", 15, Register(COIL, 10_254), Register(COIL, 10_254)),
    ("adam-6060", "relay-6", 5, Register(COIL, 21), Register(COIL, 21)),
]  # fmt: skip


@pytest.mark.parametrize(("name", "channel", "function", "write", "state"), RELAYS)
def test_shipped_output_is_driven_where_its_maker_says(
    name: str, channel: str, function: int, write: Register, state: Register
) -> None:
    found = of(name).output(channel)
    assert (found.function, found.write, found.state) == (function, write, state)


def test_mr6c_is_made_safe_for_doors() -> None:
    """Factory settings let inputs drive relays and leave them as they are in silence."""
    held = [(s.register.address, s.value) for s in of("wb-mr6c").settings if s.when is When.ALWAYS]
    assert held == [(5, 0), (6, 0), (8, 10), *((n, 3) for n in (16, 9, 10, 11, 12, 13, 14))]
    silence = {
        (s.when, s.register.address, s.value)
        for s in of("wb-mr6c").settings
        if s.channel == "relay-6"
    }
    assert silence == {
        *((When.SAFE_KEEP, 935, 0), (When.SAFE_KEEP, 943, 0)),
        *((When.SAFE_OFF, 935, 0), (When.SAFE_OFF, 943, 1)),
        *((When.SAFE_ON, 935, 1), (When.SAFE_ON, 943, 1)),
    }


def test_units_time_their_own_pulses() -> None:
    wb, waveshare = of("wb-mr6c").output("relay-2"), of("waveshare-relay-d").output("relay-2")
    mode = Register(HOLDING, 1761)
    assert wb.pulse_on == Pulse(
        PulseKind.TIMER, Register(HOLDING, 1785), 100, 1, 65_000, mode=mode, mode_value=3
    )
    assert wb.pulse_off == Pulse(
        PulseKind.TIMER, Register(HOLDING, 1793), 100, 1, 6_000, mode=mode, mode_value=4
    )
    assert waveshare.pulse_on == Pulse(PulseKind.FLASH, Register(COIL, 0x201), 100, 1, 32_760)
    assert waveshare.pulse_off == Pulse(PulseKind.FLASH, Register(COIL, 0x401), 100, 1, 32_760)


def test_owen_relay_is_a_number() -> None:
    relay = of("owen-mu110-16r").output("relay-1")
    assert relay == OutputChannel(
        "relay-1", Register(HOLDING, 0), 6, on=1000, off=0, state=Register(HOLDING, 0)
    )
    assert safe_states(of("owen-mu110-16r"), "relay-1") == {When.SAFE_ON, When.SAFE_OFF}


def test_bolid_says_what_it_is_and_what_it_cannot_know() -> None:
    bolid = of("bolid-s2000-pp")
    assert bolid.identity == IdentityRule(Register(HOLDING, 46_152), 1, expect=(36,))
    assert bolid.input("silent-1").closed_codes == (58,)
    assert all(c.unknown_codes == (187, 250) for c in bolid.inputs if c.level is not None)


def test_largest_profile_loads_in_a_moment() -> None:
    """6,000 channels are expanded in the check of a configuration, which may take 20 s."""
    began = time.perf_counter()
    of("bolid-s2000-pp")
    assert time.perf_counter() - began < 5


def test_installed_gateway_brings_its_profiles_along() -> None:
    """Where `profiles.py` looks for them when there is no checkout."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    wheel = project["tool"]["hatch"]["build"]["targets"]["wheel"]
    assert wheel["force-include"]["config"] == "gateway/share/config"


def test_example_of_a_unit_of_your_own_is_right(tmp_path: Path) -> None:
    page = (ROOT / "docs" / "devices.md").read_text(encoding="utf-8")
    example = page.partition("```yaml\n")[2].partition("```")[0]
    (tmp_path / "my-unit.yaml").write_text(example, encoding="utf-8")
    found = load_profile("my-unit.yaml", Folders(tmp_path))
    assert isinstance(found, Profile), [str(mistake) for mistake in found]
    assert found.input("input-8").counter == Register(INPUT, 46, words=2)


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_profile_stands_in_the_table_of_devices(name: str) -> None:
    page = (ROOT / "docs" / "devices.md").read_text(encoding="utf-8")
    assert f"| `{name}` |" in page
