"""What a centre holds of one start of one stream: its numbers, and what is odd about them. Pure."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field

from gateway.core.model import Stream, StreamKey
from simulators.centre.core.spans import Ranges

Epoch = tuple[Stream, str, int]
"""A stream's numbers of one epoch of one ledger, whatever its start."""


@dataclass(slots=True)
class Run:
    """One StreamKey's numbers: `held` are on disk, `seen` also those whose commit is under way.

    head: the greatest number the gateway has named. doubt: the lowest number missing below it and
    since when; said: that a person was told; asking: that what is missing may be asked for at once.
    moments: when the latest came. trouble: the gateway's last word on its disk was a fault.
    """

    key: StreamKey
    held: Ranges = field(default_factory=Ranges)
    seen: Ranges = field(default_factory=Ranges)
    pending: set[int] = field(default_factory=set)
    conflicts: OrderedDict[str, None] = field(default_factory=OrderedDict)
    previous: str | None = None
    resumes: tuple[int, int] | None = None
    head: int = 0
    doubt: tuple[int, int] | None = None
    said: bool = False
    asking: bool = False
    moments: OrderedDict[int, int] = field(default_factory=OrderedDict)
    trouble: bool = False

    @property
    def epoch(self) -> Epoch:
        """What a resend names it by."""
        return self.key.stream, self.key.ledger, self.key.epoch

    @property
    def title(self) -> str:
        """`alarm stream, epoch 6`: for people."""
        return f"{self.key.stream.value} stream, epoch {self.key.epoch}"
