"""The school of the told year: what hangs where, who is told, and which of its parts are whose.

Owns one Premises and nothing else. Every kind of wiring is in it once: pairs, single contacts,
pins, inputs of a polled unit, a silent point, a strike and a magnet.
"""

from __future__ import annotations

from gateway.core.hardware import (
    FIRE_HARDWIRED,
    Bus,
    Deed,
    Device,
    Door,
    DoorContact,
    Egress,
    FireOpens,
    LockType,
    ReactionRule,
    Transport,
)
from gateway.core.premises import (
    Input,
    LedgerSpec,
    Place,
    Point,
    PointKind,
    Premises,
    Route,
    RouteKey,
    UplinkSpec,
)
from gateway.core.verbs import Verb
from simulators.bus.shipped import profile

GATEWAY = "school-12-main"
CAMPUS, LTE = "campus", "lte"
SECURITY, CASE, DEPUTY = "security", "case", "deputy"
CORRIDOR, ENTRANCE = "corridor", "entrance"
FIRE, RESET_KEY = "fire-panel", "reset-key"
MAIN_DOOR, YARD_DOOR = "main-door", "yard-door"
LTE_HEARTBEAT_MS = 20_000
ACKNOWLEDGE_WITHIN_MS = 60_000
LOCK, SIREN = f"{ENTRANCE}/relay-1", f"{ENTRANCE}/relay-4"

RECEPTION = Point(
    "reception",
    PointKind.PANIC,
    Input("gpio:17", "gpio:27"),
    Place(building="A", floor="1", room="Reception"),
    lamp="gpio:22",
    stuck_after_ms=60_000,
)
GYM = Point("gym", PointKind.PANIC, Input("gpio:5"), Place(building="B"), lamp="gpio:13")
ACCOUNTS = Point("accounts", PointKind.HOLD_UP, Input("gpio:23", "gpio:24"), silent=True)
NURSE = Point("nurse", PointKind.MEDICAL, Input(f"{ENTRANCE}/input-5"), Place(room="Nurse"))
POINTS = (
    RECEPTION,
    GYM,
    ACCOUNTS,
    NURSE,
    Point(FIRE, PointKind.FIRE, Input(None, "gpio:25"), prove_within_ms=None),
    Point(RESET_KEY, PointKind.RESET_KEY, Input("gpio:7"), prove_within_ms=None),
    Point(
        MAIN_DOOR,
        PointKind.DOOR,
        Input(None, f"{ENTRANCE}/input-1"),
        prove_within_ms=None,
        door=Door(
            lock=LOCK,
            request_to_exit=DoorContact(f"{ENTRANCE}/input-2"),
            sounder=f"{ENTRANCE}/relay-2",
            egress=Egress.HARDWIRED,
            fire_release=FIRE,
            fire_opens=FireOpens.BOTH,
            held_after_ms=30_000,
            warn_before_ms=10_000,
            remote_unlock=True,
        ),
    ),
    Point(
        YARD_DOOR,
        PointKind.DOOR,
        Input(None, f"{ENTRANCE}/input-3"),
        prove_within_ms=None,
        door=Door(
            lock=f"{ENTRANCE}/relay-3",
            lock_type=LockType.MAGNET,
            request_to_exit=DoorContact(f"{ENTRANCE}/input-4"),
            egress=Egress.UNIT,
            fire_release=FIRE_HARDWIRED,
            fire_opens=FireOpens.BOTH,
            held_after_ms=30_000,
            warn_before_ms=10_000,
        ),
    ),
)
BUTTONS = tuple(point.id for point in POINTS if point.person_operated)
ON_UNIT = tuple(point.id for point in POINTS if any("/" in wire for wire in point.input.addresses))
"""Points that hang on the unit: while it is silent nothing is known of them."""

_VERBS = tuple(verb.value for verb in Verb)

SCHOOL = Premises(
    id="school-12",
    name="School No. 12",
    timezone="Asia/Almaty",
    gateway=GATEWAY,
    key_file="",
    ledger=LedgerSpec("", keep_days=30),
    points=POINTS,
    uplinks=(
        UplinkSpec(CAMPUS, "broker", 8883),
        UplinkSpec(LTE, "backup", 8883, mqtt="3.1.1", heartbeat_ms=LTE_HEARTBEAT_MS),
    ),
    routes=(
        Route(
            SECURITY,
            (CAMPUS, LTE),
            ("alarm", "fault", "test", "state", "access"),
            keys=(RouteKey(SECURITY, "", verbs=_VERBS),),
            answers=True,
            acknowledge_within_ms=ACKNOWLEDGE_WITHIN_MS,
            then=(DEPUTY,),
        ),
        Route(CASE, (CAMPUS,), ("alarm", "state")),
        Route(DEPUTY, (LTE,), ()),
    ),
    digest="5" * 64,
    buses=(Bus(CORRIDOR, Transport.RTU, port="/nowhere", baud=19_200, echo=False),),
    devices=(Device(ENTRANCE, CORRIDOR, 1, profile("waveshare-relay-d")),),
    reactions=(
        ReactionRule("alarm.fire.raised", Deed.RELEASE, doors=(MAIN_DOOR, YARD_DOOR)),
        ReactionRule("alarm.panic.unanswered", Deed.SOUND, output=SIREN, for_ms=20_000),
    ),
)
"""One gateway, two uplinks, three routes; the unit is polled every 200 ms, as it comes."""
