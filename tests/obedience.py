"""A school with doors on pins and a desk that may ask for everything, for the tests of commands."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from gateway.core.commands import Command, command_payload
from gateway.core.hardware import Door, DoorContact
from gateway.core.jws import SigningKey, TokenType, seal
from gateway.core.model import Json
from gateway.core.premises import Input, Point, PointKind, Premises, Route, RouteKey
from gateway.core.verbs import Verb
from gateway.record.disk import InlineDisk
from gateway.seams import Disk
from simulators.centre.core.orders import Ordered
from simulators.virtual.time import VirtualClock
from tests.school import CASE, FIRE, GATEWAY, GYM, RECEPTION, SCHOOL, SECURITY, School, live

MAIN = Point(
    "main-door",
    PointKind.DOOR,
    Input(None, "gpio:16"),
    door=Door(
        lock="gpio:20", request_to_exit=DoorContact("gpio:19"), remote_unlock=True, unlock_ms=3_000
    ),
)
BACK = Point("back-door", PointKind.DOOR, Input(None, "gpio:12"), door=Door(lock="gpio:21"))
GLASS = Point("glass-door", PointKind.DOOR, Input(None, "gpio:26"), door=Door())
LOCKED_DOWN = Point(
    "office", PointKind.LOCKDOWN, Input("gpio:18", None), mechanical_latch=True, lamp=None
)
QUIET = Route("quiet", ("campus",), (), answers=False)
DOORS = replace(
    SCHOOL,
    points=(RECEPTION, GYM, FIRE, MAIN, BACK, GLASS, LOCKED_DOWN),
    routes=(SECURITY, CASE, QUIET),
)
DEPUTY = SigningKey("deputy", bytes(range(32)))
STRANGER = SigningKey("security", bytes(range(1, 33)))
EVERY = tuple(Verb)
UNLOCK: dict[str, Json] = {"door": "main-door"}


def obeying(
    tmp_path: Path,
    scenario: Callable[[School], Coroutine[Any, Any, None]],
    *,
    premises: Premises = DOORS,
    seed: int = 1,
    disk: Callable[[str, VirtualClock], Disk] = lambda path, _: InlineDisk(path),
) -> School:
    """Run a scenario in a school whose first desk may ask for everything; started, heard, at rest.

    The deputy's desk, on the same route, may lock the main door and nothing else.
    """

    async def told(school: School) -> None:
        school.premises = replace(
            school.premises, routes=tuple(map(entitled, school.premises.routes))
        )
        await school.start()
        await school.clock.sleep(12)
        await scenario(school)

    return live(tmp_path, told, premises=premises, seed=seed, disk=disk)


def entitled(route: Route) -> Route:
    """The route as it is, its desks with rights."""
    keys = tuple(replace(key, verbs=EVERY) for key in route.keys)
    if route.id == "security":
        keys += (RouteKey("deputy", DEPUTY.public.x, ("door.lock",), ("main-door",)),)
    return replace(route, keys=keys)


def draft(school: School, verb: str, target: Mapping[str, Json], /, **changes: Any) -> Command:
    """A command as the security desk would make it now, with any member changed."""
    orders = school.centres["security"].core.orders
    name = str(changes.pop("id", f"draft-{school.clock.now_us()}"))
    made = orders.draft(GATEWAY, verb, target, name=name, at_ms=school.now_ms())
    return replace(made, **changes)


def signed(command: Command, key: SigningKey) -> bytes:
    return seal(TokenType.COMMAND, command_payload(command), key)


def slip(school: School, token: bytes, *, route: str = "security", **how: Any) -> None:
    """Somebody who got past the broker's rights publishes on a commands topic."""
    uplink = next(iter(school.brokers))
    school.strangers[uplink].publish(f"qorgan/v1/{GATEWAY}/{route}/commands", token, **how)


async def asked(
    school: School,
    verb: str,
    target: Mapping[str, Json],
    /,
    *,
    route: str = "security",
    then_s: float = 1.0,
    **changes: Any,
) -> Ordered:
    """A command of a desk, and a moment."""
    ordered = school.centres[route].command(verb, target, **changes)
    await school.clock.sleep(then_s)
    return ordered


def answers(school: School, route: str = "security") -> list[tuple[str, dict[str, Any]]]:
    """Every answer to a command that came to a route, in order: phase and data."""
    return [
        (verdict.message.type.rpartition(".")[2], dict(verdict.message.data))
        for verdict in school.heard(route, "state.command.")
        if verdict.message is not None
    ]


def phases(school: School, route: str = "security") -> list[str]:
    """Their phases."""
    return [phase for phase, _ in answers(school, route)]


def released(school: School, door: str) -> bool:
    """True while the lock's output lets the door go: strikes, energised."""
    point = school.premises.point(door)
    assert point.door is not None
    assert point.door.lock is not None
    return school.bench.relay(point.door.lock).on
