"""Reads a verified payload strictly: a member missing, odd or left over refuses the whole of it.

Receipts, heartbeats and commands come from outside; none of them is half believed.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from gateway.core.jws import TokenRefused

NUMBER_MAX = 2**53 - 1
"""Beyond it other languages' JSON loses digits (RFC 8259, section 6)."""

_HEX8 = re.compile(r"[0-9a-f]{8}")
_Parsed = TypeVar("_Parsed")


class Members:
    """The members of an object, taken one by one; every refusal is a TokenRefused that names one.

    what: the payload's word in a refusal, such as `receipt`.
    """

    def __init__(self, payload: Any, what: str) -> None:
        if not isinstance(payload, Mapping):
            raise TokenRefused(f"the {what} is not an object")
        self._left = dict(payload)
        self._what = what

    def parsed(self, name: str, parse: Callable[[Any], _Parsed], default: Any = ...) -> _Parsed:
        """A member through `parse`, which may raise ValueError, TypeError and the like."""
        value = self._left.pop(name, default)
        if value is ...:
            raise TokenRefused(f"the {self._what} has no {name}")
        try:
            return parse(value)
        except (ValueError, TypeError, AttributeError, OverflowError) as exc:
            raise TokenRefused(f"the {self._what}'s {name} is not valid") from exc

    def text(self, name: str) -> str:
        """A text that is not empty."""
        return self.parsed(name, text)

    def hex8(self, name: str) -> str:
        """Eight lower-case hex digits: a ledger, a start, a boot."""
        return self.parsed(name, hex8)

    def truth(self, name: str) -> bool:
        """True or false."""
        return self.parsed(name, truth)

    def number(self, name: str, *, least: int = 0) -> int:
        """A whole number from `least` to 2**53 - 1."""
        value = self.parsed(name, whole_number)
        if value < least:
            raise TokenRefused(f"the {self._what}'s {name} must be at least {least}")
        return value

    def optional_number(self, name: str) -> int | None:
        """The same, None where it is missing or null."""
        if self._left.get(name) is None:
            self._left.pop(name, None)
            return None
        return self.number(name)

    def done(self) -> None:
        """Refuse what nobody has asked for."""
        if self._left:
            raise TokenRefused(f"the {self._what} has unknown members")


def whole_number(value: Any) -> int:
    """A whole number from 0 to 2**53 - 1, else ValueError; true and 1.0 are none."""
    if type(value) is not int or not 0 <= value <= NUMBER_MAX:
        raise ValueError("a whole number is needed")
    return value


def listed(value: Any) -> list[Any]:
    """A list, else TypeError."""
    if not isinstance(value, list):
        raise TypeError("a list is needed")
    return value


def text(value: Any) -> str:
    """A text that is not empty, else ValueError."""
    if not isinstance(value, str) or not value:
        raise ValueError("text is needed")
    return value


def hex8(value: Any) -> str:
    """Eight lower-case hex digits, else ValueError."""
    if not isinstance(value, str) or not _HEX8.fullmatch(value):
        raise ValueError("8 lower-case hex digits are needed")
    return value


def truth(value: Any) -> bool:
    """True or false, else TypeError."""
    if not isinstance(value, bool):
        raise TypeError("true or false is needed")
    return value
