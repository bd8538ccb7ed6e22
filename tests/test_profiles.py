"""Profiles: what is refused and on which line, and what becomes of a family."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.config.files import Folders, Wrong
from gateway.config.profile.profiles import (
    doubts,
    has_counter,
    load_profile,
    narrowed,
    profile_schema,
    safe_states,
)
from gateway.core.plain import to_plain
from gateway.core.profile import (
    EventLog,
    InputChannel,
    Profile,
    Register,
    Setting,
    Table,
    When,
)
from tests.profile_cases import LOG, MODE, PAIR, REFUSALS, TEXT, ZONES

NOWHERE = Folders(Path("/nowhere"))
"""Without a folder beside the premises file, only the shipped profiles are left."""


class Bench:
    """A folder with a profile in it; tests break one thing of it."""

    def __init__(self, folder: Path) -> None:
        self.folders = Folders(folder)
        self.file = folder / "profiles" / "unit.yaml"
        self.file.parent.mkdir()
        self.write(TEXT)

    def write(self, text: str, name: str = "unit") -> None:
        (self.file.parent / f"{name}.yaml").write_text(text, encoding="utf-8")

    def change(self, old: str, new: str) -> None:
        text = self.file.read_text(encoding="utf-8")
        assert text.count(old) == 1, old
        self.write(text.replace(old, new))

    def lines(self, name: str = "unit") -> list[str]:
        """What is wrong, with FILE for the profile's own name."""
        found = load_profile(name, self.folders)
        mistakes = () if isinstance(found, Profile) else found
        return [str(mistake).replace(str(self.file), "FILE") for mistake in mistakes]

    def profile(self, name: str = "unit") -> Profile:
        return of(name, self.folders)


def of(name: str, folders: Folders = NOWHERE) -> Profile:
    """The profile of that name, which has to be right."""
    found = load_profile(name, folders)
    assert isinstance(found, Profile), [str(mistake) for mistake in found]
    return found


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


# --- what is refused ------------------------------------------------------------------------


@pytest.mark.parametrize(("old", "new", "lines"), REFUSALS.values(), ids=REFUSALS.keys())
def test_refusal_names_line_key_fault_and_cure(
    bench: Bench, old: str, new: str, lines: list[str]
) -> None:
    bench.change(old, new)
    assert bench.lines() == lines


def test_mistakes_of_shape_and_of_sense_are_told_together(bench: Bench) -> None:
    """A bad value in one family hides nothing of the others, and nothing follows from it."""
    bench.change("baud: 9600", "baud: 9601")
    bench.change("[7, 0, 1, 2]", "[7, 0, 1, two]")
    bench.change(MODE, "mode: {address: 8, step: 0, value: 3}")
    bench.change("longest: 1m", "longest: 2h")
    bench.change("in_silence: {keep: 0, on: 1}", "in_silence: {keep: 0, off: 1, open: 1}")
    assert [line.split(": ")[:2] for line in bench.lines()] == [
        ["FILE:6", "serial.baud"],
        ["FILE:15", "inputs.input.level.addresses[3]"],
        ["FILE:18", "inputs.input.settings.mode"],
        ["FILE:23", "outputs.relay.pulse_on.longest"],
        ["FILE:25", "outputs.relay.settings.safe.in_silence.open"],
    ]


def test_unknown_name_suggests_a_known_one(bench: Bench) -> None:
    with pytest.raises(Wrong) as refused:
        load_profile("wb-mr6", bench.folders)
    assert refused.value.what == "there is no profile 'wb-mr6'"
    assert refused.value.right == "did you mean 'wb-mr6c'?"


@pytest.mark.parametrize("name", ["../unit", "", "UNIT", "unit.yaml", "a" * 300, "\0"])
def test_name_that_is_none_is_refused(bench: Bench, name: str) -> None:
    with pytest.raises(Wrong):
        load_profile(name, bench.folders)


def test_profile_can_be_named_by_its_file(bench: Bench) -> None:
    assert of("profiles/unit.yaml", bench.folders) == bench.profile()


LINES = TEXT.splitlines(keepends=True)


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_damage_is_told_and_never_raises(bench: Bench, data: st.DataObject) -> None:
    """Lines lost, doubled or cut, values replaced: a Profile or mistakes, each with a cure."""
    lines = list(LINES)
    for _ in range(data.draw(st.integers(1, 4))):
        n = data.draw(st.integers(0, len(lines) - 1))
        garbage = st.sampled_from(
            ["", "  x: [", "null", "-1", "{}", "[]", "70000", "true", "*", "0x", "input: 3", "\t"]
        )
        cut = data.draw(st.integers(0, len(lines[n])))
        lines[n] = lines[n][:cut].rstrip("\n") + data.draw(garbage) + "\n"
    bench.write("".join(lines))
    found = load_profile("unit", bench.folders)
    if not isinstance(found, Profile):
        assert found
        assert all(mistake.what and mistake.right for mistake in found)


# --- what becomes of it ---------------------------------------------------------------------


def test_family_becomes_numbered_channels(bench: Bench) -> None:
    channels = bench.profile().inputs
    assert [channel.name for channel in channels] == ["input-0", "input-1", "input-2", "input-3"]
    assert channels[0].level == Register(Table.DISCRETE, 7)
    assert channels[3] == InputChannel(
        "input-3", level=Register(Table.DISCRETE, 2), counter=Register(Table.INPUT, 35)
    )


def test_groups_shift_every_address(bench: Bench) -> None:
    bench.change("  input:\n", "  slot*-input:\n    groups: 3\n    group_step: 1000\n")
    profile = bench.profile()
    assert profile.input("slot1-input-0").level == Register(Table.DISCRETE, 7)
    assert profile.input("slot3-input-3").level == Register(Table.DISCRETE, 2002)
    assert profile.input("slot3-input-3").counter == Register(Table.INPUT, 2035)


def test_step_follows_the_words_unless_told(bench: Bench) -> None:
    bench.change("address: 32}", "address: 32, words: 2}")
    assert bench.profile().input("input-3").counter == Register(Table.INPUT, 38, words=2)
    bench.change("words: 2}", "words: 2, step: 128}")
    assert bench.profile().input("input-3").counter == Register(Table.INPUT, 416, words=2)


def test_mask_gives_every_channel_its_bit(bench: Bench) -> None:
    bench.change(PAIR, "level: {table: holding, address: 51, mask: true}")
    assert bench.profile().input("input-3").level == Register(Table.HOLDING, 51, bit=3)


def test_setting_in_silence_comes_before_outputs(bench: Bench) -> None:
    found = [setting for setting in bench.profile().settings if setting.channel == "relay-2"]
    place = Register(Table.HOLDING, 939)
    assert found == [
        Setting("safe", place, 0, When.SAFE_KEEP, "relay-2", before_outputs=True),
        Setting("safe", place, 1, When.SAFE_ON, "relay-2", before_outputs=True),
    ]


def test_flags_of_a_log_are_channels(bench: Bench) -> None:
    bench.change("inputs:\n", LOG + "inputs:\n")
    profile = bench.profile()
    assert profile.input("denied-3") == InputChannel("denied-3")
    assert profile.event_log == EventLog(
        unread=Register(Table.HOLDING, 100),
        read=Register(Table.HOLDING, 110),
        count=14,
        acknowledge=Register(Table.HOLDING, 101),
        zone_field=3,
        codes=((26, "denied"), (28, "granted"), (29, "denied")),
    )
    assert profile.event_log.flag(29) == "denied"
    assert profile.event_log.flag(30) is None


def test_flag_and_family_of_one_name_are_refused(bench: Bench) -> None:
    bench.change("inputs:\n", LOG + "inputs:\n")
    bench.change("  relay:\n", "  granted:\n")
    assert bench.lines() == [
        "FILE:28: outputs.granted: there is another granted-1: give the family a name of its own"
    ]


def test_zones_of_several_meanings_share_a_register(bench: Bench) -> None:
    """One register tells fire or silence by its code; the same code twice is a mistake."""
    other = "  silent:\n    count: 4\n    " + ZONES.replace("37, 40", "58") + "\noutputs:\n"
    bench.change(PAIR + "\n    counter: {table: input, address: 32}", ZONES)
    bench.change("outputs:\n", other)
    assert bench.profile().input("silent-2").closed_codes == (58,)
    bench.change("[58]", "[58, 40]")
    assert bench.lines() == [
        (
            "FILE:21: inputs.silent.level: silent-1 stands where input-0 stands: "
            "give every channel a place of its own"
        )
    ]


# --- like -----------------------------------------------------------------------------------


def test_like_takes_what_is_left_out(bench: Bench) -> None:
    bench.write("id: small\nlike: unit\nmodel: Its sister\ninputs: {}\n", "small")
    small, unit = bench.profile("small"), bench.profile()
    assert (small.id, small.vendor, small.model) == ("small", "Somebody", "Its sister")
    assert (small.inputs, small.outputs) == ((), unit.outputs)


def test_site_may_correct_a_shipped_profile_under_its_name(bench: Bench) -> None:
    bench.write("id: adam-6060\nlike: adam-6060\ntiming: {answer: 1s}\n", "adam-6060")
    assert bench.profile("adam-6060").timing.answer_ms == 1_000
    assert of("adam-6060").timing.answer_ms == 200


def test_like_in_a_circle_ends(bench: Bench) -> None:
    bench.write("id: one\nlike: two\n", "one")
    bench.write("id: two\nlike: one\n", "two")
    assert bench.lines("one")[0].endswith(
        "two.yaml:2: like: goes round in a circle: one is like this one: name another profile"
    )


def test_mistake_of_the_other_is_told_where_it_stands(bench: Bench) -> None:
    bench.write("id: small\nlike: unit\n", "small")
    bench.change("count: 4", "count: four")
    assert bench.lines("small") == ["FILE:14: inputs.input.count: is text: write a whole number"]


def test_like_lends_no_id(bench: Bench) -> None:
    bench.write("like: unit\n", "small")
    assert bench.lines("small")[0].endswith(":1: id: is missing: write `id: wb-mr6c`")


# --- what may be asked of it ----------------------------------------------------------------


def test_counter_is_one_only_if_verified(bench: Bench) -> None:
    assert has_counter(bench.profile(), "input-0")
    bench.change("address: 32}", "address: 32, verified: false}")
    assert not has_counter(bench.profile(), "input-0")
    with pytest.raises(KeyError):
        has_counter(bench.profile(), "input-4")


def test_flag_of_a_log_misses_no_press(bench: Bench) -> None:
    bench.change("inputs:\n", LOG + "inputs:\n")
    assert has_counter(bench.profile(), "granted-1")


def test_safe_states_are_those_with_a_setting(bench: Bench) -> None:
    assert safe_states(bench.profile(), "relay-1") == {When.SAFE_KEEP, When.SAFE_ON}
    assert safe_states(of("waveshare-relay-d"), "relay-1") == frozenset()
    with pytest.raises(KeyError):
        safe_states(bench.profile(), "relay-3")


def test_doubts_concern_what_is_used(bench: Bench) -> None:
    bench.change("address: 32}", "address: 32, verified: false}")
    bench.change("value: 10,", "value: 10, verified: false,")
    profile = bench.profile()
    assert doubts(profile, ["input-1"]) == ("settings.poll_timeout_s", "input-1.counter")
    assert doubts(profile, ["relay-1"]) == ("settings.poll_timeout_s",)


def test_doubts_of_an_unverified_profile_are_itself(bench: Bench) -> None:
    bench.change("verified: true", "verified: false")
    assert doubts(bench.profile(), ["input-1"]) == ("unit",)


def test_narrowed_keeps_what_is_used_and_what_always_applies(bench: Bench) -> None:
    profile = narrowed(bench.profile(), ["input-2", "relay-1"])
    assert [channel.name for channel in profile.inputs] == ["input-2"]
    assert [channel.name for channel in profile.outputs] == ["relay-1"]
    assert [setting.name for setting in profile.settings] == [
        *("poll_timeout_s", "mode", "mode", "mode", "mode", "safe", "safe")
    ]


def test_narrowed_sets_up_a_used_slot_once_and_an_unused_one_never() -> None:
    """Whichever channel of the slot is used, in the order the maker asks for."""
    profile = narrowed(of("wb-mio"), ["slot2-input-3", "slot2-input-9"])
    written = [(setting.register.address, setting.value) for setting in profile.settings]
    assert written == [
        *((12_000, 0xFFFF), (12_001, 0), (12_002, 0xFFFF), (12_003, 0), (12_004, 0)),
        *((12_005, 0x4444), (11_999, 1)),
    ]


def test_narrowed_drops_a_log_nobody_listens_to() -> None:
    """To read it is to acknowledge it: what nobody here wants may be wanted elsewhere."""
    bolid = of("bolid-s2000-pp")
    quiet = narrowed(bolid, ["fire-7", "relay-1"])
    assert quiet.event_log is None
    assert doubts(quiet, ["fire-7", "relay-1"]) == ()
    listening = narrowed(bolid, ["granted-7"])
    assert listening.event_log == bolid.event_log
    assert doubts(listening, ["granted-7"]) == ("event_log",)


def test_narrowed_of_six_thousand_zones_is_small() -> None:
    profile = narrowed(of("bolid-s2000-pp"), ["fire-7", "silent-8", "relay-1"])
    assert len(json.dumps(to_plain(profile))) < 4_000


# --- the schema -----------------------------------------------------------------------------


def parts(node: object) -> Iterator[dict[str, object]]:
    """Every mapping inside a JSON Schema."""
    if isinstance(node, dict):
        yield node
        for item in node.values():
            yield from parts(item)
    elif isinstance(node, list):
        for item in node:
            yield from parts(item)


def test_schema_describes_every_key() -> None:
    for node in parts(profile_schema()):
        properties = node.get("properties")
        if isinstance(properties, dict):
            assert node["additionalProperties"] is False
            missing = [key for key, item in properties.items() if "description" not in item]
            assert not missing


def test_schema_asks_less_of_a_profile_that_is_like_another() -> None:
    schema = profile_schema()
    assert schema["required"] == ["id"]
    alone, like = {"required": ["like"]}, schema["oneOf"][1]["required"]
    assert schema["oneOf"][0] == alone
    assert set(like) >= {"vendor", "model", "source", "verified"}
