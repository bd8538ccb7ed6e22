"""What a validator complains of, said to a person: one Mistake for each complaint.

Owns the texts for wrong types, unknown and missing keys, with what would be right taken from the
schema. Takes the complaints as plain data; knows neither YAML nor pydantic.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from gateway.config.child import Mistake
from gateway.config.document import Document, Loc, kind_of, suggest
from gateway.config.files import Wrong

_WANTED = {
    "string_type": "text",
    "int_type": "a whole number",
    "list_type": "a list, such as [a, b]",
    "dict_type": "a mapping of names to settings",
    "model_type": "a mapping of keys to values",
}
_EGRESS = (
    "write handle, hardwired (the exit button cuts the lock's supply), "
    "unit (the exit button acts in the lock's unit), or none"
)
_OLD_BOOLS = {"yes": "true", "on": "true", "y": "true", "no": "false", "off": "false", "n": "false"}


def explain(
    document: Document, complaints: Sequence[Mapping[str, Any]], schema: Mapping[str, Any]
) -> list[Mistake]:
    """Mistakes for pydantic's `errors()` on `document`, and for every key that has no value."""
    found: list[Mistake] = []
    spoken: set[Loc] = set()
    for complaint in complaints:
        # pydantic marks a complaint of a mapping's key, not its value, with this last part.
        loc: Loc = tuple(part for part in complaint["loc"] if part != "[key]")
        what, right = _said(complaint, loc, schema)
        if complaint["input"] is not None or complaint["type"] == "extra_forbidden":
            spoken.add(loc)
            found.append(document.mistake(loc, what, right))
    found.extend(
        document.mistake(loc, "has no value", "write one, or remove the key")
        for loc in _empty(document.data, ())
        if loc not in spoken
    )
    return found


def schema_at(schema: Mapping[str, Any], loc: Loc) -> Mapping[str, Any]:
    """The part of a JSON Schema that describes the value at `loc`; empty where there is none."""
    node: Any = schema
    for part in loc:
        node = _mapping_of(schema, node)
        if isinstance(part, int):
            node = node.get("items", {})
        else:
            node = node.get("properties", {}).get(part) or node.get("additionalProperties") or {}
    return _mapping_of(schema, node)


def tidied(node: Any) -> Any:
    """A JSON Schema without titles and without null: a key that has no value is left out."""
    if isinstance(node, list):
        return [tidied(item) for item in node]
    if not isinstance(node, dict):
        return node
    rest = {
        key: tidied(value)
        for key, value in node.items()
        if key != "anyOf" and not (key == "title" and isinstance(value, str))
    }
    if rest.get("default", ...) is None:
        del rest["default"]
    choices = [tidied(choice) for choice in node.get("anyOf", ()) if choice != {"type": "null"}]
    if len(choices) > 1:
        return {**rest, "anyOf": choices}
    return {**choices[0], **rest} if choices else rest


def _resolved(schema: Mapping[str, Any], node: Mapping[str, Any]) -> Mapping[str, Any]:
    name = str(node.get("$ref", "")).removeprefix("#/$defs/")
    return {**schema["$defs"][name], **node} if name else node


def _mapping_of(schema: Mapping[str, Any], node: Mapping[str, Any]) -> Mapping[str, Any]:
    """A node with its reference followed; of several choices, the one that is a mapping."""
    node = _resolved(schema, node)
    choices = [_resolved(schema, choice) for choice in node.get("anyOf", ())]
    return next((choice for choice in choices if "properties" in choice), node)


def _said(complaint: Mapping[str, Any], loc: Loc, schema: Mapping[str, Any]) -> tuple[str, str]:
    value, context = complaint["input"], complaint.get("ctx", {})
    match complaint["type"]:
        case "value_error" if isinstance(context["error"], Wrong):
            return context["error"].what, context["error"].right
        case "missing":
            example = schema_at(schema, loc).get("examples", ["…"])[0]
            return "is missing", f"write `{loc[-1]}: {example}`"
        case "extra_forbidden":
            return _unknown_key(loc, schema)
        case "enum" | "literal_error":
            return _unknown_word(value, loc, schema)
        case _:
            return _misshapen(complaint, loc, schema)


def _misshapen(
    complaint: Mapping[str, Any], loc: Loc, schema: Mapping[str, Any]
) -> tuple[str, str]:
    value, kind = complaint["input"], str(complaint["type"])
    if kind == "bool_type":
        right = _OLD_BOOLS.get(str(value).lower(), "true or false")
        return f"{shown(value)} is neither true nor false in YAML 1.2", f"write {right}"
    if kind in {"greater_than_equal", "less_than_equal"}:
        limits = schema_at(schema, loc)
        span = f"write {limits['minimum']} to {limits['maximum']}"
        return f"{shown(value)} is out of bounds", span
    if kind in {"too_short", "string_too_short"}:
        return "is empty", "name at least one"
    if loc and loc[-1] == "password":
        right = "write {credential: NAME} or {file: PATH}"
        return "a password never stands in this file", right
    return f"is {kind_of(value)}", f"write {_WANTED.get(kind, str(complaint['msg']))}"


def _unknown_key(loc: Loc, schema: Mapping[str, Any]) -> tuple[str, str]:
    name = str(loc[-1])
    if name == "<<":
        return "merge keys are not part of YAML 1.2", "write the keys out"
    if ":" in name:
        key, _, rest = name.partition(":")
        return "a space is missing after the colon", f"write `{key}: {rest}`"
    return "unknown key", suggest(name, schema_at(schema, loc[:-1]).get("properties", {}))


def _unknown_word(value: object, loc: Loc, schema: Mapping[str, Any]) -> tuple[str, str]:
    words = [str(word) for word in schema_at(schema, loc).get("enum", ())]
    if loc[-1] == "egress":
        return f"{shown(value)} is no way out: leaving never depends on the gateway", _EGRESS
    if value == "log" and "sends" in loc:
        return "log is a stream, not a class of events", f"one of {', '.join(words)}"
    if loc[-1] == "kind":
        return f"unknown kind {shown(value)}", suggest(str(value), words)
    return f"{shown(value)} is not known here", suggest(str(value), words)


def shown(value: object) -> str:
    """A value as its author wrote it, short enough for a line."""
    raw = getattr(value, "raw", None)
    if raw is not None:
        return str(raw)
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return repr(value if len(value) <= 40 else value[:40] + "…")
    return kind_of(value)


def _empty(value: object, loc: Loc) -> Iterator[Loc]:
    if value is None:
        yield loc
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from _empty(item, (*loc, key))
    elif isinstance(value, list):
        for n, item in enumerate(value):
            yield from _empty(item, (*loc, n))
