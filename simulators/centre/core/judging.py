"""What a verified message is to a centre: new, a copy, a conflict; what is odd about it. Pure."""

from __future__ import annotations

from dataclasses import replace

from gateway.core.jws import digest
from simulators.centre.core.reading import OpenedMessage
from simulators.centre.core.site import Site
from simulators.centre.core.words import (
    FindingKind,
    Mark,
    Outcome,
    Span,
    Stored,
    Verdict,
)


def judged(
    site: Site, message: OpenedMessage, token: bytes, *, uplink: str, at_ms: int, resent: bool
) -> Verdict:
    """What a verified message is to this centre. Nothing odd about it ever refuses it.

    resent: it came because it was asked for once more.
    """
    hashed = digest(token)
    outcome, keep = site.classify(message.key, message.sequence, hashed)
    row = Stored(
        gateway=site.gateway,
        key=message.key,
        sequence=message.sequence,
        event=message.id,
        type=message.type,
        alarm=message.alarm,
        digest=hashed,
        previous=message.previous,
        resumes=message.resumes,
        conflict=outcome is Outcome.CONFLICT,
        received_ms=at_ms,
        uplink=uplink,
        token=token,
    )
    open_now = site.life.open_now(message)
    if resent:
        row = replace(row, over=message.type.startswith("alarm.") and open_now is False)
    elif outcome is Outcome.NEW:
        site.origin.message(message)
        restored = site.restored(row)
        if restored:
            site.find(FindingKind.RESTORED, restored)
    marks: dict[Mark, str] = {}
    gap: tuple[Span, ...] = ()
    if outcome is Outcome.NEW:
        marks = site.marks(row)
        gap = site.lacks(site.run(message.key), message.sequence - 1)
    known_event = not site.first_sight(message.id, resent=resent)
    if keep:
        site.take(row, resent=resent)
    return Verdict(
        outcome=outcome,
        gateway=site.gateway,
        uplink=uplink,
        at_ms=at_ms,
        why="other bytes under a number that is taken" if row.conflict else "",
        message=message,
        row=row if keep else None,
        marks=tuple(marks),
        notes=tuple(marks.values()),
        gap=gap,
        age=site.life.age(message.clock, at_ms),
        open_now=open_now,
        known_event=known_event,
        resent=resent,
    )
