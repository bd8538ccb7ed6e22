"""Points: which keys a kind needs, and what of a button or a lamp a person should know.

What makes a door a door is judged in `doors.py`. Knows neither YAML nor pydantic.
"""

from __future__ import annotations

from typing import Any

from gateway.config.document import Loc, mapping
from gateway.config.findings import Findings
from gateway.config.profile.profiles import has_counter
from gateway.config.wiring import CONTACTS, DOOR_KEYS, Fleet
from gateway.core.hardware import channel_of, device_of
from gateway.core.kinds import ALARMS
from gateway.core.premises import PERSON_OPERATED, PointKind

SILENT_KINDS = frozenset({PointKind.HOLD_UP, PointKind.DURESS})
"""Silent unless configured otherwise: their alarm must show nowhere on the premises."""

_ALARMLESS = frozenset({PointKind.MAINS, PointKind.BATTERY, PointKind.RESET_KEY})
_KINDS = frozenset(kind.value for kind in PointKind)


def is_silent(point: dict[str, Any]) -> bool:
    """True when the point's alarms must show nowhere on the premises."""
    return point.get("silent", str(point.get("kind")) in SILENT_KINDS) is True


def alarms_of(point: dict[str, Any]) -> frozenset[str]:
    """The kinds of alarm a point can raise."""
    kind = str(point.get("kind"))
    if kind == PointKind.DOOR:
        return frozenset({"door-forced", "door-held", *(("tamper",) if "tamper" in point else ())})
    return frozenset({kind} & ALARMS.keys())


def check_points(findings: Findings, fleet: Fleet) -> None:
    """Report what is wrong or doubtful with every point."""
    if findings.document.data.get("points") == {}:
        findings.wrong(("points",), "there is no point at all", "describe at least one")
    for loc, point in findings.document.entries("points"):
        _keys(findings, loc, point)
        kind = str(point.get("kind"))
        for key in ("lamp", "sounder") if is_silent(point) else ():
            if point.get(key):
                findings.wrong(
                    (*loc, key),
                    f"a {key} would show a silent alarm on the premises",
                    f"remove the {key}, or write silent: false",
                )
        if kind in PERSON_OPERATED:
            _person_operated(findings, loc, point, fleet)
            continue
        for key in ("stuck_after", "mechanical_latch", "wiring_doubt"):
            if key in point:
                findings.warn((*loc, key), f"has no effect on kind {kind}", "remove the line")
        if kind in _ALARMLESS and "lamp" in point:
            what = f"never lights: {kind} raises no alarm"
            findings.warn((*loc, "lamp"), what, "remove the lamp")


def _keys(findings: Findings, loc: Loc, point: dict[str, Any]) -> None:
    """A door has its own keys, everything else has `input`."""
    kind = point.get("kind")
    if str(kind) not in _KINDS:
        return
    if kind == PointKind.DOOR:
        if "input" in point:
            right = "write contact: and the contact that is closed while the door is shut"
            findings.wrong((*loc, "input"), "a door has no input", right)
        elif "contact" not in point:
            findings.missing((*loc, "contact"), "entrance/input-1")
        if "egress" not in point:
            right = "write handle, hardwired, unit or none, as the door truly is"
            findings.wrong((*loc, "egress"), "is missing, and nobody may be locked in", right)
        return
    if "input" not in point:
        example = "{normally_open: gpio:17, normally_closed: gpio:27}"
        findings.missing((*loc, "input"), example)
    for key in DOOR_KEYS:
        if key in point:
            right = "write it under input" if key == "contact" else "remove it, or write kind: door"
            findings.wrong((*loc, key), f"belongs to a door, and this is kind {kind}", right)


def _person_operated(findings: Findings, loc: Loc, point: dict[str, Any], fleet: Fleet) -> None:
    contacts = mapping(point.get("input"))
    wired = [name for name in CONTACTS if name in contacts]
    if len(wired) == 1:
        findings.warn(
            (*loc, "input"),
            "a single contact: a cut or shorted wire can pass for a quiet button",
            "wire both contacts of the button",
        )
    for name in wired:
        address = contacts[name]
        profile = fleet.profile_of(address)
        if profile is not None and not _counts(address, fleet):
            findings.warn(
                (*loc, "input", name),
                f"{channel_of(address)} of {device_of(address)} ({profile.id}) counts nothing: "
                "a short press can begin and end between two polls",
                "wire the button to a pin, or to a unit that counts presses",
            )
    if point.get("prove_within") == "never":
        findings.warn(
            (*loc, "prove_within"), "nobody is reminded to walk-test this point", "write 30d"
        )
    if point.get("mechanical_latch") is True and "stuck_after" in point:
        findings.warn(
            (*loc, "stuck_after"),
            "has no effect beside mechanical_latch: true",
            "remove the line",
        )


def _counts(address: str, fleet: Fleet) -> bool:
    """True where no press is missed, and where nothing can be said of the channel."""
    device, channel = device_of(address), channel_of(address)
    profile = fleet.profile_of(address)
    if device is None or profile is None or channel not in {c.name for c in profile.inputs}:
        return True
    return has_counter(profile, channel)
