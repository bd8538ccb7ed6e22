"""How a far end behaves: as it should, or with the faults a far end can have."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class AutoAnswer(StrEnum):
    """What the simulated desk does by itself with every new alarm."""

    NONE = "none"
    ACKNOWLEDGE = "acknowledge"
    CLOSE = "close"


@dataclass(frozen=True, slots=True)
class Manner:
    """How a far end behaves. deaf: it receives and answers nothing, no heartbeat either.

    slow_ms: everything it says comes that much later. repeat: it says everything so many times.
    """

    answer: AutoAnswer = AutoAnswer.NONE
    deaf: bool = False
    slow_ms: int = 0
    repeat: int = 1
