"""Small things that must outlive a restart beside the events: a name and a JSON text.

What a unit's press counter showed last, what a unit says it is, which modes stand. The newest value
of a name is all that is held.
"""

from __future__ import annotations

from collections.abc import Mapping

from gateway.record.file import LedgerFile

KEPT_SCHEMA = """
CREATE TABLE kept (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;
"""


class Kept:
    """The table of names. Its methods belong within the file's `reading` or `writing`."""

    def __init__(self, file: LedgerFile) -> None:
        self._file = file

    def put(self, values: Mapping[str, str]) -> None:
        """Take the place of what these names had before."""
        for item in values.items():
            self._file.run("INSERT OR REPLACE INTO kept VALUES (?, ?)", item)

    def all(self) -> dict[str, str]:
        """Every name and its value, by name."""
        return dict(self._file.rows("SELECT name, value FROM kept ORDER BY name"))
