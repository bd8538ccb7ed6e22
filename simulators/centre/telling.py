"""A message that is no alarm, in words: answers to commands, modes, doors and who went through.

Text that came over the wire is shown without control characters. Decides nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from simulators.centre.core.spans import spans_of
from simulators.centre.core.words import spans_text

_ORDERED = ("why", "by", "outcome", "for_ms", "route", "uplink", "operator", "wanted", "during")


def plain(text: str) -> str:
    """Text from outside with nothing in it that could move a cursor or hide a line."""
    return "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in text)


def told(kind: str, subject: str, data: Mapping[str, Any]) -> str | None:
    """A line for a message of that type (without prefix); None: no better than any other."""
    group, _, phase = kind.rpartition(".")
    match group:
        case "state.command":
            return _answer(phase, data)
        case "state.mode":
            return _mode(phase, data)
        case "state.door" | "access" | "state.isolated":
            return f"{kind}  {plain(subject)}  {_rest(data)}".rstrip()
        case "state" if phase == "gone":
            numbers = spans_text(spans_of(data.get("ranges")))
            where = f"{_text(data.get('stream'))} stream, epoch {_text(data.get('epoch'))}"
            return f"no longer held by the gateway: {where}: {numbers}"
        case _:
            return None


def _answer(phase: str, data: Mapping[str, Any]) -> str:
    """What became of a command, and where it was refused what would be accepted."""
    asked = " ".join([_text(data.get("verb", "command")), *_names(data.get("target"))])
    wanted = data.get("asked")
    if isinstance(wanted, dict):
        numbers = "{stream} {epoch} {from}-{to}".format_map(_Lenient(wanted))
        asked += f" {plain(numbers)}"
    if data.get("by"):
        asked += f" (desk {_text(data['by'])}{', on the premises' if data.get('local') else ''})"
    again = " again" if data.get("again") else ""
    if phase == "refused":
        more = f"; {_text(data['more'])} more like it" if data.get("more") else ""
        why, accepts = _text(data.get("why", "")), _text(data.get("accepts", ""))
        return f"REFUSED{again}: {asked}: {why}; would be accepted: {accepts}{more}"
    left = ", ".join(_names(data.get("left")))
    tail = f"; NOT LOCKED by it: {left}" if left else ""
    if phase == "failed":
        return f"FAILED{again}: {asked}: {_text(data.get('why', ''))}{tail}"
    how = {"confirmed": ", read back", "accepted": ", not read back"}
    brought = [f"{data[name]} {name}" for name in ("sent", "gone") if type(data.get(name)) is int]
    tail += f": {', '.join(brought)}" if brought else ""
    return f"{phase}{again}: {asked}{how.get(str(data.get('outcome')), '')}{tail}"


class _Lenient(dict[str, Any]):
    """What a newer gateway leaves out is shown as a question mark."""

    def __missing__(self, name: str) -> str:
        return "?"


def _mode(phase: str, data: Mapping[str, Any]) -> str:
    name = f"{_text(data.get('mode', ''))} {_text(data.get('subject', ''))}".strip()
    doors = ", ".join(_names(data.get("doors")))
    parts = [f"MODE {phase.upper()}: {name}"]
    if doors:
        parts.append(f"over {doors}")
    if type(data.get("for_ms")) is int:
        parts.append(f"for {_duration(data['for_ms'])}")
    parts.append(f"by {_text(data.get('by', ''))}")
    return "  ".join(parts)


def _rest(data: Mapping[str, Any]) -> str:
    """What a door's message says, in words."""
    return "; ".join(
        _duration(data[name]) if name == "for_ms" else f"{name} {_text(data[name])}"
        for name in _ORDERED
        if data.get(name)
    )


def _text(value: Any) -> str:
    return plain(str(value))


def _names(value: Any) -> list[str]:
    return [_text(name) for name in value] if isinstance(value, list) else []


def _duration(for_ms: Any) -> str:
    """`10 min`, of what is given in milliseconds."""
    if type(for_ms) is not int:
        return _text(for_ms)
    for unit_ms, unit in ((3_600_000, "h"), (60_000, "min"), (1_000, "s")):
        if for_ms >= unit_ms and for_ms % unit_ms == 0:
            return f"{for_ms // unit_ms} {unit}"
    return f"{for_ms / 1_000:g} s"
