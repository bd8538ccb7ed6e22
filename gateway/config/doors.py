"""Doors: nobody may be locked in, whatever somebody writes.

Leaving never depends on the gateway. What is said of fire, egress and locks must fit together, and
be true of the unit that drives them. Knows neither YAML nor pydantic.
"""

from __future__ import annotations

from typing import Any

from gateway.config.document import Loc, duration_ms, mapping, milliseconds, suggest
from gateway.config.findings import Findings
from gateway.config.profile.profiles import safe_states
from gateway.config.wiring import Fleet
from gateway.core.hardware import (
    FIRE_HARDWIRED,
    Door,
    Egress,
    FireOpens,
    LockType,
    OnSilence,
    channel_of,
    device_of,
)
from gateway.core.premises import PointKind
from gateway.core.profile import Profile, When

UNLOCK, GRANT, HELD_AFTER, WARN_BEFORE = "5s", "5s", "30s", "10s"
"""A door's times unless configured."""

_OF_A_LOCK = ("lock_type", "fire_opens", "on_silence", "unlock", "remote_unlock")
_FREE = frozenset({Egress.HANDLE, Egress.NONE})
_NAMES = {When.SAFE_KEEP: "keep it", When.SAFE_ON: "switch it on", When.SAFE_OFF: "switch it off"}


def check_doors(findings: Findings, fleet: Fleet) -> None:
    """Report what is wrong or doubtful with every door."""
    for loc, point in findings.document.entries("points"):
        if point.get("kind") == PointKind.DOOR:
            _egress(findings, loc, point)
            _by_unit(findings, loc, point, fleet)
            _fire(findings, loc, point)
            _held(findings, loc, point)
            if "lock" in point:
                _silence(findings, loc, point, fleet)
                _opening(findings, loc, point, fleet)
            else:
                _lockless(findings, loc, point)


def warn_before_ms(held_after_ms: int | None, written: str | None) -> int:
    """How much earlier the sounder warns: as written, else 10 s or half of held_after."""
    if written is not None:
        return duration_ms(written)
    default_ms = duration_ms(WARN_BEFORE)
    return default_ms if held_after_ms is None else min(default_ms, held_after_ms // 2)


def safe_state(lock_type: LockType, on_silence: OnSilence) -> When:
    """What the lock's output must do by itself for the lock to do so."""
    if on_silence is OnSilence.KEEP:
        return When.SAFE_KEEP
    energised = Door(lock_type=lock_type).energised(released=on_silence is OnSilence.RELEASE)
    return When.SAFE_ON if energised else When.SAFE_OFF


def _is_magnet(door: dict[str, Any]) -> bool:
    return bool(door.get("lock_type") == LockType.MAGNET)


def _egress(findings: Findings, loc: Loc, door: dict[str, Any]) -> None:
    egress, lock = door.get("egress"), door.get("lock")
    if _is_magnet(door) and egress == Egress.HANDLE:
        findings.wrong(
            (*loc, "egress"),
            "a handle does not open a magnet",
            "write hardwired, with a switch at the handle that cuts the magnet's supply",
        )
    if egress == Egress.UNIT and isinstance(lock, str) and device_of(lock) is None:
        findings.wrong(
            (*loc, "egress"),
            "the lock hangs on a pin, and leaving never depends on the gateway",
            "write hardwired, and wire the exit button into the lock's supply",
        )
    asks = door.get("request_to_exit")
    contacts = [asks] if isinstance(asks, str) else list(mapping(asks).values())
    devices = {device_of(contact) for contact in contacts if isinstance(contact, str)}
    if egress == Egress.UNIT and isinstance(lock, str) and devices - {device_of(lock)}:
        findings.wrong(
            (*loc, "egress"),
            "the exit button hangs on another unit than the lock: only the gateway could join them",
            "wire the button to the lock's own unit, or into the lock's supply (hardwired)",
        )


def _by_unit(findings: Findings, loc: Loc, door: dict[str, Any], fleet: Fleet) -> None:
    """A unit that is told to let no input move an output lets nobody out by itself."""
    profile, lock = fleet.profile_of(door.get("lock")), door.get("lock")
    if door.get("egress") != Egress.UNIT or profile is None:
        return
    inputs = {channel.name for channel in profile.inputs}
    told = [s for s in profile.settings if s.before_outputs and s.channel in inputs]
    if told:
        findings.wrong(
            (*loc, "egress"),
            f"{device_of(str(lock))} ({profile.id}) is told to let no input move an output "
            f"({told[0].name})",
            "write hardwired, and wire the exit button into the lock's supply",
        )


def _fire(findings: Findings, loc: Loc, door: dict[str, Any]) -> None:
    points = dict(findings.document.entries("points"))
    fires = [str(at[1]) for at, point in points.items() if point.get("kind") == PointKind.FIRE]
    release, egress = door.get("fire_release"), str(door.get("egress"))
    if release is None and "fire_release" not in door:
        if egress in set(Egress) - _FREE:
            findings.wrong(
                (*loc, "fire_release"),
                f"is missing, and a fire must free a door with egress: {egress}",
                "write hardwired (the fire panel cuts the lock's supply)"
                + (f", or the fire point that releases it: {', '.join(fires)}" if fires else ""),
            )
    elif isinstance(release, str) and release != FIRE_HARDWIRED:
        if release not in fires:
            kind = mapping(mapping(findings.document.data.get("points")).get(release)).get("kind")
            what = f"{release} is a {kind} point" if kind else f"there is no point {release!r}"
            right = suggest(release, [*fires, FIRE_HARDWIRED])
            findings.wrong((*loc, "fire_release"), what, right)
        elif "lock" not in door:
            findings.wrong(
                (*loc, "fire_release"),
                "the gateway has no lock here to release",
                "write hardwired (the fire panel cuts the lock's supply), or name the lock",
            )
    if egress == Egress.NONE and "fire_release" in door:
        findings.warn(
            (*loc, "fire_release"),
            "has no effect: nobody leaves by this door (egress: none)",
            "remove the line, or write how people get out",
        )
    if _is_magnet(door) and door.get("fire_opens") == FireOpens.EXIT:
        findings.wrong(
            (*loc, "fire_opens"),
            "a single magnet can only be both: it holds the door for both sides",
            "write both, or remove the line",
        )


def _held(findings: Findings, loc: Loc, door: dict[str, Any]) -> None:
    held_ms = milliseconds(door.get("held_after"), HELD_AFTER)
    if door.get("held_after") == "never":
        findings.warn(
            (*loc, "held_after"),
            "a door that is left open is never reported",
            f"write {HELD_AFTER}",
        )
    warn_ms = milliseconds(door.get("warn_before"), WARN_BEFORE)
    if "warn_before" not in door:
        return
    if held_ms is not None and warn_ms is not None and warn_ms >= held_ms:
        findings.wrong(
            (*loc, "warn_before"),
            f"is not shorter than held_after ({door.get('held_after', HELD_AFTER)})",
            "write less, so that somebody can still close the door",
        )
    elif "sounder" not in door or held_ms is None:
        why = "nothing sounds" if "sounder" not in door else "held_after is never"
        findings.warn((*loc, "warn_before"), f"has no effect: {why}", "add sounder, or remove it")


def _silence(findings: Findings, loc: Loc, door: dict[str, Any], fleet: Fleet) -> None:
    """What the lock does when the gateway falls silent must be something its unit can do."""
    place, written = (*loc, "on_silence"), door.get("on_silence", OnSilence.KEEP.value)
    wanted = next((silence for silence in OnSilence if silence.value == written), None)
    if wanted is None:
        return
    release = door.get("fire_release")
    if wanted is OnSilence.LOCK and isinstance(release, str) and release != FIRE_HARDWIRED:
        findings.wrong(
            place,
            "a fire that burns the cable would lock again what it had released",
            "write keep or release, or have the fire panel cut the lock's supply "
            "(fire_release: hardwired)",
        )
        return
    lock = door.get("lock")
    profile = fleet.profile_of(lock)
    if isinstance(lock, str) and device_of(lock) is None:
        if wanted is not OnSilence.KEEP:
            what = f"a pin cannot {wanted.value} anything by itself"
            findings.wrong(place, what, "write keep, or hang the lock on a unit that can")
            return
    elif profile is not None and not _can(findings, place, door, wanted, profile):
        return
    if wanted is OnSilence.RELEASE:
        findings.warn(
            place,
            "whoever cuts the bus cable opens the door",
            "write keep, unless leaving matters more than the lock here",
        )
    elif wanted is OnSilence.LOCK:
        findings.warn(
            place,
            "a cut bus cable locks a door that stood released",
            "write keep, unless the lock matters more here",
        )


def _can(
    findings: Findings, place: Loc, door: dict[str, Any], wanted: OnSilence, profile: Profile
) -> bool:
    channel = channel_of(str(door.get("lock")))
    if channel not in {output.name for output in profile.outputs}:
        return True
    able = safe_states(profile, channel)
    lock_type = LockType.MAGNET if _is_magnet(door) else LockType.STRIKE
    if safe_state(lock_type, wanted) in able or (wanted is OnSilence.KEEP and not able):
        return True
    fitting = [s.value for s in OnSilence if safe_state(lock_type, s) in able] or ["keep"]
    can = " or ".join(_NAMES[when] for when in _NAMES if when in able) or "do nothing by itself"
    findings.wrong(
        place,
        f"{wanted.value} is not what {profile.id} can do with {channel} "
        f"when the gateway falls silent: it can {can}",
        f"write on_silence: {' or '.join(fitting)}",
    )
    return False


def _opening(findings: Findings, loc: Loc, door: dict[str, Any], fleet: Fleet) -> None:
    """Warn where nobody ends a timed opening if the gateway dies within it."""
    lock, profile = door.get("lock"), fleet.profile_of(door.get("lock"))
    unlock_ms = milliseconds(door.get("unlock"), UNLOCK)
    if not isinstance(lock, str) or unlock_ms is None:
        return
    if device_of(lock) is not None:
        channel = channel_of(lock)
        if profile is None or channel not in {output.name for output in profile.outputs}:
            return
        output = profile.output(channel)
        pulse = output.pulse_off if _is_magnet(door) else output.pulse_on
        if pulse is not None:
            steps, rest = divmod(unlock_ms, pulse.unit_ms)
            if pulse.least <= steps <= pulse.most and not rest:
                return
        lock_type = LockType.MAGNET if _is_magnet(door) else LockType.STRIKE
        locks = safe_state(lock_type, OnSilence.LOCK) in safe_states(profile, channel)
        if locks and door.get("on_silence") == OnSilence.LOCK:
            return
    findings.warn(
        (*loc, "lock"),
        "its openings are ended by the gateway: if that dies within one, the door stays open",
        "drive the lock from a unit that times openings by itself",
    )


def _lockless(findings: Findings, loc: Loc, door: dict[str, Any]) -> None:
    for key in _OF_A_LOCK:
        if key in door:
            findings.warn(
                (*loc, key), "has no effect: the gateway drives no lock here", "remove the line"
            )
