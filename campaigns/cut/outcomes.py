"""What a story of power cuts came to: how often, while what, and what was found broken."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from enum import StrEnum


class Sync(StrEnum):
    """What SQLite is told of syncs. The product says FULL; the others show what the rig catches."""

    FULL = "full"
    NORMAL = "normal"
    OFF = "off"


@dataclass(slots=True)
class Outcome:
    """How a story went. findings: what was broken, in words; a story ends with the first."""

    seed: int
    cuts: int = 0
    kills: int = 0
    entries: int = 0
    findings: list[str] = field(default_factory=list)
    kinds: Counter[str] = field(default_factory=Counter)
    cut_while: Counter[str] = field(default_factory=Counter)
    manners: Counter[str] = field(default_factory=Counter)
    digest: str = ""
