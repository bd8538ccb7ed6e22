"""Faults that were raised and not cleared: what a start must clear, or need not raise again."""

from __future__ import annotations

from gateway.core.kinds import class_of, phase_of
from gateway.core.model import Event
from gateway.core.standing import name_of
from gateway.record.file import LedgerFile

STANDING_SCHEMA = """
CREATE TABLE open_fault (name TEXT PRIMARY KEY, event INTEGER NOT NULL) STRICT, WITHOUT ROWID;
"""


class Standing:
    """The table of open faults. Its methods belong within the file's `writing`."""

    def __init__(self, file: LedgerFile) -> None:
        self._file = file

    def conclude(self, event: Event, number: int | None) -> None:
        """An event was recorded under that number: a fault begins, changes or ends, or neither."""
        if class_of(event.type) != "fault":
            return
        name = name_of(event.type, event.subject, event.data)
        if phase_of(event.type) == "raised":
            self._file.run("INSERT OR REPLACE INTO open_fault VALUES (?, ?)", (name, number))
        else:
            self._file.run("DELETE FROM open_fault WHERE name = ?", (name,))
