"""What a disk held from before the running ledger was there: owed, open and standing again.

Pure but for the questions it asks of a file.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from gateway.core.model import Event, Message, StreamKey
from gateway.record.inquiry import Inquiry


@dataclass(frozen=True, slots=True)
class Found:
    """What a disk held that a running ledger has moved to, from before it was there.

    aside: where a corrupt file went that was in the way; why: what was wrong with it. lost: how
    many owed messages could not be brought from the file before, None when nothing could.
    """

    owed: Mapping[StreamKey, list[tuple[int, int]]] = field(default_factory=dict)
    owed_alarms: Sequence[Message] = ()
    open_events: Sequence[Event] = ()
    open_faults: Sequence[Event] = ()
    holders: Mapping[str, list[str]] = field(default_factory=dict)
    aside: str | None = None
    why: str | None = None
    lost: int | None = 0

    @property
    def debts(self) -> dict[str, Any]:
        """What of it is owed, under the names a start has for it."""
        owed = {"owed": self.owed, "owed_alarms": self.owed_alarms}
        return owed | {"holders": self.holders, "open_events": self.open_events}

    def beyond(self, known: Found) -> Found:
        """What of it is not in `known`; of a stream that holds anything new, all."""
        faults = {event.id for event in known.open_faults}
        return replace(
            self,
            owed={key: all_ for key, all_ in self.owed.items() if known.owed.get(key) != all_},
            owed_alarms=tuple(m for m in self.owed_alarms if m not in known.owed_alarms),
            open_events=tuple(e for e in self.open_events if e.alarm not in known.holders),
            open_faults=tuple(event for event in self.open_faults if event.id not in faults),
            holders={a: routes for a, routes in self.holders.items() if a not in known.holders},
        )

    def and_also(self, more: Found) -> Found:
        """Both, where `more` holds nothing of this."""
        return replace(
            self,
            owed={**self.owed, **more.owed},
            owed_alarms=(*self.owed_alarms, *more.owed_alarms),
            open_events=(*self.open_events, *more.open_events),
            open_faults=(*self.open_faults, *more.open_faults),
            holders={**self.holders, **more.holders},
        )


def found_in(asked: Inquiry) -> Found:
    """All that a file holds of it. LedgerError as `Inquiry`."""
    return Found(
        owed=asked.owed(),
        owed_alarms=tuple(asked.owed_alarms()),
        open_events=tuple(asked.open_alarms()),
        open_faults=tuple(asked.open_faults()),
        holders=asked.holders(),
    )
