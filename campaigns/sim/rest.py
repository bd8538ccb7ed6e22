"""Is the building at rest: nothing owed, open, pending, moved or standing, on either side.

Asks the far ends and the iron, and the gateway's own status, as people would. Judges nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from typing import Any

from simulators.virtual.year_world import YearWorld


async def not_at_rest(world: YearWorld, forgotten: AbstractSet[str]) -> str:
    """What is not at rest, in words; empty when all is. forgotten: alarms no gateway knows of."""
    return _open_at_centres(world, forgotten) or _moved(world) or await _unwell(world)


def _open_at_centres(world: YearWorld, forgotten: AbstractSet[str]) -> str:
    return ", ".join(
        f"{one.type} open at {route}"
        for route, there in world.centres.items()
        for one in there.core.alarms()
        if one.id not in forgotten
    )


def _moved(world: YearWorld) -> str:
    """What is lit, sounds or stands free, as anybody on the premises sees it."""
    return ", ".join(f"{name} is not at rest" for name in world.moved())


async def _unwell(world: YearWorld) -> str:
    """What the gateway itself says is not as it should be."""
    if world.gateway is None or not world.running:
        return "the gateway is not there"
    async for told in world.gateway.desk.status(None):
        return _not_well(told)
    return ""


def _not_well(told: Mapping[str, Any]) -> str:
    """What a gateway's own status says is not at rest; empty when all is."""
    for name, point in told["points"].items():
        if point["faults"] or point["level"] not in {"normal", "-"}:
            return f"{name} is {point['level']} {' '.join(point['faults'])}"
        if point.get("free"):
            return f"{name} stands free: {point['free']}"
    if told["modes"] or told["isolated"]:
        return f"modes {told['modes']} {told['isolated']}"
    for name, route in told["routes"].items():
        if any(route["owed"].values()) or any(path != "good" for path in route["paths"].values()):
            return f"{name} is owed {route['owed']}, paths {route['paths']}"
    return ""
