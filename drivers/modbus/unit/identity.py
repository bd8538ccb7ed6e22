"""What a unit's identity registers say, and whether two spellings of it mean the same. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence

from gateway.core.profile import IdentityRule


def identity_of(rule: IdentityRule, words: Sequence[int]) -> str:
    """What identity registers say: text up to its first NUL, or numbers with commas between."""
    if not rule.text:
        return ",".join(str(word) for word in words)
    octets: list[int] = []
    for word in words:
        octets += [word >> 8, word & 0xFF] if rule.text == "two" else [word & 0xFF]
    text = bytes(octets).partition(b"\0")[0].decode("ascii", errors="replace")
    return "".join(char if char.isprintable() else "?" for char in text).strip()


def same_identity(rule: IdentityRule, one: str, other: str) -> bool:
    """True when two spellings mean the same; numbers may be written `0x159E 1` as well."""
    if rule.text:
        return one.strip() == other.strip()
    return _numbers(one) == _numbers(other)


def _numbers(text: str) -> list[int | str]:
    return [_number(token) for token in re.split(r"[,\s]+", text.strip())]


def _number(token: str) -> int | str:
    try:
        return int(token, 0)
    except ValueError:
        return token
