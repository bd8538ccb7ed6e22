"""Corrupt files beside the ledger: moved out of its place, read as far as they go, then kept.

Owns their names. `<path>.aside-…` is still to be read: every start does it again until what it owes
is in the ledger, so that a power cut between any two steps costs nothing. `<path>.corrupt-…` has
been read, and is evidence.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

EVIDENCE_MAX = 4
"""Corrupt files that are kept: a card that dies slowly must not fill itself with them."""

_WAL = "-wal"


def move_aside(path: str, utc_ms: int) -> str:
    """Rename a file and its WAL to `<path>.aside-<utc_ms>`; the new path. May raise OSError."""
    number = str(utc_ms)
    while Path(f"{path}.aside-{number}").exists() or Path(f"{path}.corrupt-{number}").exists():
        number += "x"  # a clock that starts over gives the same time twice
    aside = f"{path}.aside-{number}"
    wal = Path(path + _WAL)
    if wal.exists():
        wal.rename(aside + _WAL)  # first: SQLite deletes a WAL that has lost its file
    Path(path).rename(aside)
    return aside


def still_to_read(path: str) -> list[str]:
    """The files that were moved aside and not read to the end, oldest name first.

    A move that was cut off after the WAL is completed first: the file is nothing without it.
    """
    place = Path(path)
    with suppress(OSError):
        for wal in sorted(place.parent.glob(f"{place.name}.aside-*{_WAL}")):
            file = Path(str(wal).removesuffix(_WAL))
            if not file.exists() and place.exists() and not Path(path + _WAL).exists():
                place.rename(file)
    found = sorted(str(file) for file in place.parent.glob(f"{place.name}.aside-*"))
    return [name for name in found if not name.endswith(_WAL)]


def read_to_the_end(path: str, aside: str) -> str:
    """What it owes is in the ledger at `path`: it is evidence from now on; under which path.

    Where it cannot be renamed it keeps its name, and the next start reads it again.
    """
    kept = aside.replace(f"{path}.aside-", f"{path}.corrupt-", 1)
    try:
        Path(aside).rename(kept)
    except OSError:
        return aside
    with suppress(OSError):  # there may be none
        Path(aside + _WAL).rename(kept + _WAL)
    with suppress(OSError):
        _bound(path)
    return kept


def _bound(path: str) -> None:
    place = Path(path)
    found = place.parent.glob(f"{place.name}.corrupt-*")
    files = [file for file in found if not file.name.endswith(_WAL)]
    # by when it was renamed, which is when its inode changed last: its name may be of 1970
    for old in sorted(files, key=lambda file: file.stat().st_ctime_ns)[:-EVIDENCE_MAX]:
        old.unlink()
        Path(f"{old}{_WAL}").unlink(missing_ok=True)
