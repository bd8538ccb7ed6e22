"""Local rules: which events may do what on the premises, and which never.

Owns what is refused for life safety (a fire never locks, leaving hangs on no rule) and for silence
(nothing on the premises may show a silent alarm). Knows neither YAML nor pydantic.
"""

from __future__ import annotations

from typing import Any

from gateway.config.document import Loc, mapping, suggest
from gateway.config.findings import Findings
from gateway.config.points import SILENT_KINDS, alarms_of, is_silent
from gateway.core.hardware import Deed, Egress, LockType
from gateway.core.kinds import ALARMS, FAULTS, class_of, kind_of
from gateway.core.premises import PointKind

EVENTS = (
    *(f"alarm.{kind}.{phase}" for kind in ALARMS for phase in ("raised", "unanswered")),
    *(f"fault.{kind}.raised" for kind in FAULTS),
)
"""The events a rule may hang on."""

AT_THE_BUTTON = frozenset({"wiring", "chatter", "stuck"})
"""Faults a press can bring about at the button itself."""

ON_THE_WAY = frozenset({"delivery", "path", "storage"})
"""Faults an alarm can bring about on its way to the centre, a silent one too: no rule acts."""

_MOVES = frozenset({Deed.RELEASE, Deed.LOCKDOWN})
_WIRE_IT = (
    "wire the exit button into the lock's supply (egress: hardwired) or into the unit "
    "(egress: unit)"
)
_SHAPE = "write alarm.KIND.raised, alarm.KIND.unanswered or fault.KIND.raised"


def all_doors(findings: Findings, deed: Deed) -> tuple[str, ...]:
    """What `doors: all` means: every door with a lock; for a release, those people leave by."""
    return tuple(
        str(loc[1])
        for loc, point in findings.document.entries("points")
        if point.get("kind") == PointKind.DOOR
        and "lock" in point
        and (deed is not Deed.RELEASE or point.get("egress") != Egress.NONE)
    )


def check_rules(findings: Findings) -> None:
    """Report what is wrong or doubtful with every local rule."""
    rules = findings.document.data.get("reactions")
    for n, rule in enumerate(rules if isinstance(rules, list) else ()):
        if isinstance(rule, dict):
            loc: Loc = ("reactions", n)
            _keys(findings, loc, rule)
            if _event(findings, loc, rule):
                _silence(findings, loc, rule)
            _doors(findings, loc, rule)


def _keys(findings: Findings, loc: Loc, rule: dict[str, Any]) -> None:
    """Doors are moved, an output sounds or lights."""
    deed = str(rule.get("do"))
    if deed not in set(Deed):
        return
    needed, strange = ("doors", ("output", "for")) if deed in _MOVES else ("output", ("doors",))
    if needed not in rule:
        findings.missing((*loc, needed), "all" if deed in _MOVES else "entrance/relay-3")
    for key in strange:
        if key in rule:
            whose = "sound and light" if deed in _MOVES else "release and lockdown"
            findings.wrong((*loc, key), f"belongs to {whose}, not to {deed}", "remove it")


def _event(findings: Findings, loc: Loc, rule: dict[str, Any]) -> bool:
    """True when the rule hangs on an event there is, and may."""
    event, deed, place = rule.get("on"), rule.get("do"), (*loc, "on")
    if not isinstance(event, str) or not event:
        return False
    if class_of(event) == "access" and deed == Deed.RELEASE:
        findings.wrong(place, "leaving never depends on the gateway", _WIRE_IT)
        return False
    if event not in EVENTS:
        what = f"{event[:60]!r} is no event a rule can hang on"
        findings.wrong(place, what, suggest(event, EVENTS) if len(event) < 60 else _SHAPE)
        return False
    if class_of(event) == "fault" and kind_of(event) in ON_THE_WAY:
        findings.wrong(
            place,
            "an alarm on its way brings it about, a silent one too: no rule may show it",
            "remove the rule; routes are told of it",
        )
        return False
    if event.startswith("alarm.fire.") and deed == Deed.LOCKDOWN:
        findings.wrong(place, "a fire frees doors and never locks one", "write do: release")
        return False
    points = [point for _, point in findings.document.entries("points")]
    kinds = frozenset[str]().union(*(alarms_of(point) for point in points))
    if class_of(event) == "alarm" and kind_of(event) not in kinds:
        findings.warn(place, f"no point raises alarm.{kind_of(event)}", "remove the rule")
    return True


def _silence(findings: Findings, loc: Loc, rule: dict[str, Any]) -> None:
    """Nothing a silent point's alarm brings about may show on the premises."""
    event = str(rule["on"])
    kind, is_alarm = kind_of(event), class_of(event) == "alarm"
    if not is_alarm and (kind not in AT_THE_BUTTON or str(rule.get("do")) in _MOVES):
        return
    if is_alarm and kind == PointKind.FIRE and rule.get("do") == Deed.RELEASE:
        return  # a fire frees doors, silent or not
    points = list(findings.document.entries("points"))
    raising = [(at, point) for at, point in points if not is_alarm or kind in alarms_of(point)]
    silent = [at for at, point in raising if is_silent(point)]
    if silent:
        findings.wrong(
            (*loc, "on"),
            f"a silent alarm of {findings.where(silent[0])} would show on the premises",
            "a silent alarm is told to routes only: hang the rule on another event",
        )
    elif is_alarm and kind in SILENT_KINDS and not raising:
        findings.wrong(
            (*loc, "on"),
            f"alarm.{kind} is silent, and would show on the premises",
            "a silent alarm is told to routes only: hang the rule on another event",
        )


def _doors(findings: Findings, loc: Loc, rule: dict[str, Any]) -> None:
    """Every door named is there, and has a lock."""
    deed = next((move for move in _MOVES if move == rule.get("do")), None)
    if deed is None:
        return
    doors, points = (
        all_doors(findings, Deed.LOCKDOWN),
        mapping(findings.document.data.get("points")),
    )
    named = rule.get("doors")
    if named == "all" and not all_doors(findings, deed):
        what = (
            "no door people leave by has a lock" if deed is Deed.RELEASE else "no door has a lock"
        )
        findings.wrong((*loc, "doors"), what, "write lock: at a door, or remove the rule")
    elif isinstance(named, list) and not named:
        findings.wrong((*loc, "doors"), "is empty", "write all, or name doors")
    for n, name in enumerate(named if isinstance(named, list) else ()):
        if not isinstance(name, str):
            continue
        point = mapping(points.get(name))
        if name in doors:
            magnet = point.get("lock_type") == LockType.MAGNET
            if rule.get("do") == Deed.LOCKDOWN and magnet and point.get("egress") == Egress.NONE:
                findings.warn(
                    (*loc, "doors", n),
                    f"a lockdown leaves {name} as it is: its magnet would lock in whoever is there",
                    "remove it here",
                )
            continue
        if point.get("kind") == PointKind.DOOR:
            findings.wrong(
                (*loc, "doors", n), f"{name} has no lock", f"write lock: at points.{name}"
            )
        else:
            findings.wrong((*loc, "doors", n), f"there is no door {name!r}", suggest(name, doors))
