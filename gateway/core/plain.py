"""Frozen dataclasses to plain JSON values and back, by their type hints.

Owns the one rule by which the core's types cross a process or a file. It reads hints and builds
objects; it opens nothing, and a value that does not fit is a ValueError that names its path.
"""

from __future__ import annotations

import types
from collections.abc import Mapping
from dataclasses import MISSING, Field, fields, is_dataclass
from enum import StrEnum
from functools import cache
from typing import Any, TypeVar, Union, cast, get_args, get_origin, get_type_hints

from gateway.core.model import Json

T = TypeVar("T")

_UNIONS = (Union, types.UnionType)
_JSON_NATIVE = (str, int, float, bool, list, dict)
_WORDS: dict[type, str] = {str: "text", int: "a whole number", bool: "true or false"}


def to_plain(obj: object) -> Json:
    """`obj` as JSON values: dataclasses and mappings become dicts, tuples lists, enums text.

    Raises ValueError for anything else (bytes, sets, objects), naming its path.
    """
    return _plain(obj, "")


def from_plain(cls: type[T], data: object) -> T:
    """The `cls` that `to_plain` made `data` of: `from_plain(cls, to_plain(x)) == x`.

    Understands nested dataclasses, tuples, `X | None`, StrEnum, dict, Json and the four scalars.
    A field that is left out takes its default. Raises ValueError naming the path: a wrong type, an
    unknown or missing field, a text that is no member of its enum.
    """
    return cast("T", _revive(cls, data, ""))


def _plain(obj: object, path: str) -> Json:
    match obj:
        case StrEnum():
            return obj.value
        case None | bool() | int() | float() | str():
            return obj
        case Mapping():
            return {str(key): _plain(value, _at(path, str(key))) for key, value in obj.items()}
        case tuple() | list():
            return [_plain(item, f"{path}[{n}]") for n, item in enumerate(obj)]
    if is_dataclass(obj) and not isinstance(obj, type):
        names = [f.name for f in fields(obj)]
        return {name: _plain(getattr(obj, name), _at(path, name)) for name in names}
    raise ValueError(f"{path or 'value'}: {type(obj).__name__} has no plain form")


def _revive(hint: Any, data: object, path: str) -> object:
    origin = get_origin(hint)
    if origin in _UNIONS:
        return _revive_union(hint, data, path)
    if origin is tuple:
        return _revive_tuple(get_args(hint), data, path)
    if origin is not None and issubclass(origin, Mapping):
        return _revive_mapping(get_args(hint), data, path)
    return _revive_class(hint, data, path)


def _revive_class(cls: type, data: object, path: str) -> object:
    if is_dataclass(cls):
        return _revive_dataclass(cls, data, path)
    if issubclass(cls, StrEnum):
        return _revive_enum(cls, data, path)
    if cls is float or cls in _WORDS:
        return _revive_scalar(cls, data, path)
    raise ValueError(f"{path or 'value'}: {cls.__name__} cannot be revived")


def _revive_union(hint: object, data: object, path: str) -> object:
    members = get_args(hint)
    if data is None and type(None) in members:
        return None
    others = [m for m in members if m is not type(None)]
    if len(others) == 1:
        return _revive(others[0], data, path)
    if all((get_origin(m) or m) in _JSON_NATIVE for m in others):
        return _plain(data, path)
    raise ValueError(f"{path or 'value'}: the hint {hint!r} cannot be revived")


def _revive_tuple(members: tuple[Any, ...], data: object, path: str) -> tuple[object, ...]:
    if not isinstance(data, list | tuple):
        raise _mismatch(path, "a list", data)
    if len(members) == 2 and members[1] is Ellipsis:
        members = (members[0],) * len(data)
    if len(members) != len(data):
        raise _mismatch(path, f"a list of {len(members)}", data)
    pairs = zip(members, data, strict=True)
    return tuple(_revive(m, item, f"{path}[{n}]") for n, (m, item) in enumerate(pairs))


def _revive_mapping(members: tuple[Any, ...], data: object, path: str) -> dict[object, object]:
    if not isinstance(data, Mapping):
        raise _mismatch(path, "a mapping", data)
    key_hint, value_hint = members
    return {
        _revive(key_hint, key, path): _revive(value_hint, value, _at(path, str(key)))
        for key, value in data.items()
    }


def _revive_dataclass(cls: type, data: object, path: str) -> object:
    if not isinstance(data, Mapping):
        raise _mismatch(path, "a mapping", data)
    hints = _hints(cls)
    known = {f.name: f for f in fields(cls)}
    for key in data:
        if key not in known:
            raise ValueError(f"{_at(path, str(key))}: {cls.__name__} has no such field")
    for name, field in known.items():
        if name not in data and _required(field):
            raise ValueError(f"{_at(path, name)}: is missing")
    return cls(**{key: _revive(hints[key], value, _at(path, key)) for key, value in data.items()})


def _revive_enum(cls: type[StrEnum], data: object, path: str) -> StrEnum:
    members = [member.value for member in cls]
    if not isinstance(data, str) or data not in members:
        raise ValueError(f"{path or 'value'}: {data!r} is not one of {', '.join(members)}")
    return cls(data)


def _revive_scalar(cls: type, data: object, path: str) -> object:
    if cls is float and type(data) in {int, float}:
        return float(cast("float", data))
    # A bool is an int to Python, but never a number in a configuration or a message.
    if type(data) is not cls:
        raise _mismatch(path, _WORDS.get(cls, "a number"), data)
    return data


def _required(field: Field[Any]) -> bool:
    return field.default is MISSING and field.default_factory is MISSING


@cache
def _hints(cls: type) -> dict[str, Any]:
    return get_type_hints(cls)


def _at(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _mismatch(path: str, wanted: str, data: object) -> ValueError:
    return ValueError(f"{path or 'value'}: wanted {wanted}, found {type(data).__name__}")
