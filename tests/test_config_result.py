"""Configuration: what a valid file becomes, what is told about it, and its reference page."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gateway.config.build import digest
from gateway.config.document import UNITS_MS, duration_ms
from gateway.config.explain import schema_at
from gateway.config.fields import DURATION, EVENT, WIRED
from gateway.config.load import run_check, run_schema, schema
from gateway.config.traffic import facts
from gateway.config.wiring import DOOR_KEYS
from gateway.core.hardware import (
    Deed,
    Egress,
    FireOpens,
    LockType,
    OnSilence,
    Parity,
)
from gateway.core.premises import Line, PointKind, Premises, Receipts, RouteKey
from tests.config_doors import ROOMY, DoorSite
from tests.config_site import Site

ROOT = Path(__file__).parent.parent


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


def premises_of(site: Site) -> Premises:
    result = site.check()
    assert result.mistakes == ()
    assert result.premises
    return result.premises


def test_valid_file_becomes_premises(site: Site) -> None:
    premises = premises_of(site)
    assert (premises.id, premises.gateway) == ("school-12", "school-12-main")
    assert premises.sync_wait_ms == 50
    assert premises.ledger.keep_days == 730
    reception, fire = premises.points
    assert (reception.kind, reception.input.pair) == (PointKind.PANIC, True)
    assert (fire.kind, fire.input.addresses) == (PointKind.FIRE, ("gpio:5",))
    campus, lte = premises.uplinks
    assert (campus.host, campus.port, campus.tls) == ("broker.example", 8883, True)
    assert (lte.port, lte.certificate) == (8884, None)
    security, case = premises.routes
    assert security.via == ("campus", "lte")
    x = site.key("security", seed=2)["x"]
    assert security.keys == (RouteKey(kid="security", x=x, verbs=("resend",)),)
    assert (case.answers, case.receipts) == (False, Receipts.SIGNED)


def test_only_buttons_can_stick_or_go_unproved(site: Site) -> None:
    reception, fire = premises_of(site).points
    assert (reception.stuck_after_ms, reception.prove_within_ms) == (60_000, 30 * 86_400_000)
    assert (fire.stuck_after_ms, fire.prove_within_ms) == (None, None)


def test_a_latching_button_is_never_stuck(site: Site) -> None:
    site.change("    lamp", "    mechanical_latch: true\n    prove_within: never\n    lamp")
    assert premises_of(site).points[0].stuck_after_ms is None
    assert premises_of(site).points[0].prove_within_ms is None


@pytest.mark.parametrize("kind", [kind for kind in PointKind if kind is not PointKind.DOOR])
def test_hold_up_and_duress_are_silent_unless_told(site: Site, kind: PointKind) -> None:
    site.change("    lamp: gpio:22\n", "")
    site.change("kind: panic", f"kind: {kind}")
    assert premises_of(site).points[0].silent is (kind in {"hold-up", "duress"})
    site.change(f"kind: {kind}", f"kind: {kind}\n    silent: false\n    lamp: gpio:22")
    assert premises_of(site).points[0].silent is False


def test_numbers_keep_their_spelling_where_text_is_meant(site: Site) -> None:
    site.change(
        "    lamp", "    place: {floor: 01, room: 1.10, zone: 1e3, building: 1999-01-02}\n    lamp"
    )
    site.change("    certificate", "    mqtt: 5\n    certificate")
    premises = premises_of(site)
    place = premises.points[0].place
    assert (place.floor, place.room, place.zone, place.building) == (
        "01",
        "1.10",
        "1e3",
        "1999-01-02",
    )
    assert premises.uplinks[0].mqtt == "5"


def test_old_words_for_true_are_text_where_text_is_meant(site: Site) -> None:
    site.change("    lamp", "    place: {floor: on, room: no}\n    lamp")
    place = premises_of(site).points[0].place
    assert (place.floor, place.room) == ("on", "no")


def test_alias_repeats_a_value(site: Site) -> None:
    site.change("    lamp", "    place: &hall {floor: 1}\n    lamp")
    site.change("kind: fire", "kind: fire\n    place: *hall")
    reception, fire = premises_of(site).points
    assert reception.place == fire.place


def test_digest_is_of_everything_else(site: Site) -> None:
    premises = premises_of(site)
    assert re.fullmatch(r"[0-9a-f]{64}", premises.digest)
    assert premises.digest == digest(replace(premises, digest="x"))
    site.change("gpio:5", "gpio:6")
    assert premises_of(site).digest != premises.digest


def test_facts_follow_from_the_heartbeat(site: Site) -> None:
    assert facts(premises_of(site)) == (
        (
            "route security over campus (in use, heartbeat 5 s): the gateway knows a deaf centre "
            "within 9 s, the centre a lost gateway within 17 s"
        ),
        (
            "route security over lte (standby, heartbeat 60 s): the gateway knows a deaf centre "
            "within 64 s, the centre a lost gateway within 182 s"
        ),
        (
            "route case over campus (in use, heartbeat 5 s): the gateway knows a deaf centre "
            "within 9 s, the centre a lost gateway within 17 s"
        ),
        # 518,400 beats of 1,212 B for each of two routes, and a ping of 204 B between beats
        "uplink campus: about 1362 MB a month at rest (heartbeats 1257, keepalive 106)",
        # 43,200 beats, and 14 pings between two of them
        "uplink lte: about 176 MB a month at rest (heartbeats 53, keepalive 123)",
    )


def test_check_says_what_is_valid_and_what_follows(
    site: Site, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_check(str(site.file), as_json=False) == 0
    lines = site.short(capsys.readouterr().out).splitlines()
    assert lines == ["FILE is valid: 2 points, 2 uplinks, 2 routes", *facts(premises_of(site))]


def test_check_prints_warnings_and_still_passes(
    site: Site, capsys: pytest.CaptureFixture[str]
) -> None:
    site.change("8884\n", "8884\n    heartbeat: 20s\n")
    assert run_check(str(site.file), as_json=False) == 0
    assert site.short(capsys.readouterr().out).startswith("warning: FILE:20: uplinks.lte.heartbeat")


def test_check_as_json_carries_the_same(site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_check(str(site.file), as_json=True) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["premises"]["id"] == "school-12"
    assert said["facts"] == list(facts(premises_of(site)))
    site.change("gpio:5", "gpio:22")
    assert run_check(str(site.file), as_json=True) == 3
    said = json.loads(capsys.readouterr().out)
    assert (said["premises"], said["facts"]) == (None, [])
    assert said["mistakes"][0]["line"] == 12


@pytest.mark.parametrize("name", ["premises", "simulated"])
def test_shipped_configuration_is_valid(site: Site, name: str) -> None:
    shutil.copy(ROOT / "config" / f"{name}.yaml", site.file)
    premises = premises_of(site)
    assert len(premises.points) >= 9
    assert not [line for line in site.warnings() if "points" in line]


def test_commented_example_shows_every_choice_of_a_point(site: Site) -> None:
    shutil.copy(ROOT / "config" / "premises.yaml", site.file)
    assert {point.input.line for point in premises_of(site).points} == set(Line)
    text = site.file.read_text(encoding="utf-8")
    choices = (*PointKind, *LockType, *Egress, *FireOpens, *OnSilence, *Deed, *Parity)
    assert [word for word in choices if not re.search(rf"\b{word}\b", text)] == []


# --- the schema and its page -----------------------------------------------------------------


def test_schema_is_printed_for_editors(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_schema() == 0
    assert json.loads(capsys.readouterr().out) == schema()


def test_schema_tells_an_editor_which_keys_a_door_has() -> None:
    point = schema()["$defs"]["PointSection"]
    assert point["if"]["properties"] == {"kind": {"const": "door"}}
    assert point["then"]["required"] == ["contact", "egress"]
    assert point["else"]["required"] == ["input"]
    forbidden = {key for choice in point["else"]["not"]["anyOf"] for key in choice["required"]}
    assert forbidden == set(DOOR_KEYS) < set(point["properties"])


def test_schema_takes_a_contact_as_an_address_or_as_a_mapping() -> None:
    address, mapping = schema()["$defs"]["PointSection"]["properties"]["contact"]["anyOf"]
    assert re.match(address["pattern"], "entrance/input-1")
    assert re.match(address["pattern"], "gpio:27")
    assert not re.match(address["pattern"], "gpio:28")
    assert mapping == {"$ref": "#/$defs/InputSection"}


def keys(node: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Every key of a schema with its path, `<id>` for names an integrator chooses."""
    whole = schema()

    def resolved(part: Mapping[str, Any]) -> Mapping[str, Any]:
        name = part.get("$ref", "").removeprefix("#/$defs/")
        return {**whole["$defs"][name], **part} if name else part

    node = resolved(node)
    for name, child in node.get("properties", {}).items():
        yield f"{path}{name}", {**resolved(child), "required": name in node.get("required", ())}
        yield from keys(child, f"{path}{name}.")
    if isinstance(node.get("additionalProperties"), dict):
        yield from keys(node["additionalProperties"], f"{path}<id>.")
    if "items" in node:
        yield from keys(node["items"], f"{path.removesuffix('.')}[].")


PATTERNS = {WIRED: "address", DURATION: "duration", EVENT: "event"}


def kind_of(part: Mapping[str, Any]) -> str:
    if "enum" in part:
        return ", ".join(dict.fromkeys(f"`{word}`" for word in part["enum"]))
    if "anyOf" in part:
        return "all, or a list" if {"const": "all"} in part["anyOf"] else "contact"
    if "pattern" in part:
        return PATTERNS[part["pattern"]]
    if "enum" in part.get("items", {}):
        return f"list of {kind_of(part['items'])}"
    kind = part.get("type")
    words = {"object": "mapping", "array": "list", "boolean": "true or false", "integer": "number"}
    return words.get(str(kind), "text")


def default_of(part: Mapping[str, Any]) -> str:
    default = part.get("default")
    if part["required"] is True:
        return "required"
    if default in (None, "", {}) or isinstance(default, dict):
        return "none"
    return f"`{json.dumps(default).strip(chr(34))}`"


def test_reference_page_says_what_the_schema_says() -> None:
    """When this fails, put the rows of the assertion into docs/configuration.md."""
    rows = [
        f"| `{path}` | {kind_of(part)} | {default_of(part)} | {part['description']} |"
        for path, part in keys(schema())
    ]
    page = (ROOT / "docs" / "configuration.md").read_text(encoding="utf-8").splitlines()
    assert [line for line in page if line.startswith("| `")] == rows


def durations() -> list[tuple[str, str, str]]:
    found = []
    for path, part in keys(schema()):
        bounds = re.search(r"(\d+[a-z]+) to (\d+[a-z]+)", part["description"])
        if kind_of(part) == "duration":
            assert bounds, f"{path} does not say its bounds"
            found.append((path, bounds[1], bounds[2]))
    return found


PLACES = {
    "gateway": "  key: gateway.jwk\n",
    "points": "    kind: panic\n",
    "uplinks": "    ca: ca.pem\n    certificate: gateway.pem\n",
    "routes": "    answers: true\n",
    "devices": "    profile: door-unit\n",
    "reactions[]": "    output: entrance/relay-2\n",
    "lockdown": "# here\n",
    **dict.fromkeys((f"points.<id>.{key}" for key in DOOR_KEYS), "    egress: hardwired\n"),
    "points.<id>.warn_before": "    held_after: 1h\n",
}


@pytest.mark.parametrize(("path", "low", "high"), durations())
def test_bounds_are_as_described_and_belong_to_them(
    tmp_path: Path, path: str, low: str, high: str
) -> None:
    site = DoorSite(tmp_path)
    place = PLACES.get(path) or PLACES[path.partition(".")[0]]
    indent = " " * (len(place) - len(place.lstrip()))
    within = path.split(".")[path != "lockdown.at_most" :]
    parts = [part for part in within if part != "<id>"]
    key, close = ": {".join(parts) + ": ", "}" * (len(parts) - 1)

    def mistakes_with(value: str) -> list[str]:
        site.write(ROOMY)
        site.change(place, f"{place}{indent}{key}{value}{close}\n")
        return site.mistakes()

    assert [mistakes_with(value) for value in (low, high)] == [[], []]
    for value in (outside(low, -1), outside(high, 1)):
        (line,) = mistakes_with(value)
        assert f"{value} is out of bounds: write {low} to {high}" in line


def outside(duration: str, step: int) -> str:
    """A duration `step` beside this one, in the next smaller unit."""
    unit = duration.lstrip("0123456789")
    smaller = "ms" if unit in {"ms", "s"} else list(UNITS_MS)[list(UNITS_MS).index(unit) - 1]
    return f"{duration_ms(duration) // UNITS_MS[smaller] + step}{smaller}"


def test_schema_walk_ends_quietly_where_there_is_nothing() -> None:
    assert schema_at(schema(), ("points", "x", "nowhere", 3, "y")) == {}
