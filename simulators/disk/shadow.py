"""A disk in memory whose power can be cut: an apsw VFS that knows what was synced and what was not.

Every file has a safe image and a list of the writes and truncations no sync has covered; the
folder likewise, of names made, taken away and changed. `cut` decides by dice what of that a
machine finds at its next start. Nothing here is ledger's business.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator
from enum import StrEnum

import apsw

SECTOR_BYTES = 512
"""What most disks write whole or not at all; `Manner.TORN` does not even grant that."""

_TORN_SHARE = 1 / 16
"""Of scattered pieces: so many are torn as well."""

_POWERSAFE_OVERWRITE = 0x1000
"""SQLITE_IOCAP_POWERSAFE_OVERWRITE, as SQLite's own VFS says of any disk under Linux: a write may
be torn, but never spoils the bytes beside it."""

_SYNCS_FOLDER = (
    apsw.SQLITE_OPEN_WAL | apsw.SQLITE_OPEN_MAIN_JOURNAL | apsw.SQLITE_OPEN_SUPER_JOURNAL
)
"""Files of these kinds sync their folder with their own first sync (SQLite's os_unix.c)."""

_serial = itertools.count(1)


class Manner(StrEnum):
    """What becomes of everything that was not synced when the power went."""

    LOST = "lost whole"
    KEPT = "kept whole"
    PREFIX = "kept by prefix"
    SCATTERED = "kept at random"
    TORN = "torn"


class _Node:
    """One file's bytes, whatever its name: as the process sees them and as the disk holds them."""

    __slots__ = ("folder_too", "live", "pending", "safe")

    def __init__(self, image: bytes | bytearray = b"") -> None:
        self.live = bytearray(image)
        self.safe = bytearray(image)
        self.pending: list[tuple[int, int, bytes | None]] = []
        self.folder_too = False

    def sync(self) -> None:
        for _, offset, data in self.pending:
            _put(self.safe, offset, data)
        self.pending.clear()


class ShadowDisk(apsw.VFS):
    """The disk; open a database on it with `vfs=disk.name` and any path.

    `steps` counts the calls that change something; the power can be made to fail at any of them.
    Reads and failing calls are not counted. While it is `away` nothing can be opened.
    """

    def __init__(self) -> None:
        self.name = f"shadow-{next(_serial)}"
        self.steps = 0
        self.powered = True
        self.away = False
        self._ends: int | None = None
        self._order = 0
        self._live: dict[str, _Node] = {}
        self._safe: dict[str, _Node] = {}
        self._pending: list[tuple[int, str, _Node, str | None]] = []
        super().__init__(self.name, "", exclude={"xCurrentTime", "xCurrentTimeInt64"})

    # --- what a campaign says -----------------------------------------------------------------

    def cut_power(self, *, at: int = 1) -> None:
        """The power fails with the `at`-th step from now on, which is then as unsynced as others.

        A write in progress may be there, gone or torn; a sync in progress has promised nothing.
        """
        self._ends = self.steps + at

    def cut(self, dice: random.Random, manner: Manner | None = None) -> Manner:
        """Cut the power if it is still on, and switch it on again: only what survived is there.

        manner: drawn when it is not given. Databases that are open see none of the new files;
        close them before.
        """
        manner = manner or dice.choice(tuple(Manner))
        upto = self._upto(manner, dice)
        survivors: dict[int, _Node] = {}
        names: dict[str, _Node] = {}
        for name, node in self._named(manner, upto, dice).items():
            if id(node) not in survivors:
                survivors[id(node)] = _Node(_survived(node, manner, upto, dice))
            names[name] = survivors[id(node)]
        self._live, self._safe, self._pending = dict(names), dict(names), []
        self._ends, self.powered = None, True
        return manner

    def spare(self) -> None:
        """Only the process has died, not the machine: what was not synced is still there to read.

        It is as unsynced as it was. Close open databases before.
        """
        self._ends, self.powered = None, True

    def _upto(self, manner: Manner, dice: random.Random) -> int:
        """Everything before this place in the order of all that is unsynced was written."""
        if manner is Manner.KEPT:
            return self._order + 1
        unsynced = {order for order, *_ in self._pending}
        for node in {
            id(node): node for node in (*self._live.values(), *self._safe.values())
        }.values():
            unsynced.update(order for order, *_ in node.pending)
        places = [*sorted(unsynced), self._order + 1]
        return dice.choice(places[:-1] if manner is Manner.TORN and unsynced else places)

    def _named(self, manner: Manner, upto: int, dice: random.Random) -> dict[str, _Node]:
        """The folder after a cut."""
        names = dict(self._safe)
        for order, name, node, to in self._pending:
            if manner is Manner.LOST:
                break
            kept = dice.random() < 0.5 if manner is Manner.SCATTERED else order < upto
            if kept:
                _rename(names, name, node, to)
        return names

    def rename(self, old: str, new: str) -> None:
        """Give a file another name, as a program does beside SQLite. KeyError if there is none."""
        node = self._live[old]
        self.step()
        self.folder(old, node, new)

    def put(self, name: str, image: bytes) -> None:
        """Place a file on the disk, synced."""
        self._live[name] = self._safe[name] = _Node(image)

    def take(self, name: str) -> None:
        """Somebody takes a file away for good; who has it open can still use it."""
        self._live.pop(name, None)
        self._safe.pop(name, None)
        self._pending = [change for change in self._pending if name not in change]

    def files(self) -> dict[str, bytes]:
        """Every file by its name, as a process sees it."""
        return {name: bytes(node.live) for name, node in sorted(self._live.items())}

    def close(self) -> None:
        """Take the VFS out of SQLite's list; open databases must be closed before."""
        self.unregister()

    # --- for the files ------------------------------------------------------------------------

    def step(self) -> None:
        """Count a call that changes something; without power it fails and changes nothing."""
        if not self.powered:
            raise apsw.IOError("the power is gone")
        self.steps += 1

    def end(self) -> None:
        """The call in hand is all the disk does if it is the one the power fails with."""
        if self._ends is not None and self.steps >= self._ends:
            self.powered = False
            raise apsw.IOError("the power went")

    def next_place(self) -> int:
        """The place of a change in the order of all changes."""
        self._order += 1
        return self._order

    def folder(self, name: str, node: _Node, to: str | None) -> None:
        """A name appears (`to` is the name), goes (None) or becomes another: not yet synced."""
        _rename(self._live, name, node, to)
        self._pending.append((self.next_place(), name, node, to))
        self.end()

    def sync_folder(self) -> None:
        """The names are safe."""
        for _, name, node, to in self._pending:
            _rename(self._safe, name, node, to)
        self._pending.clear()

    # --- what SQLite asks ---------------------------------------------------------------------

    def xOpen(self, name: str | apsw.URIFilename | None, flags: list[int]) -> ShadowFile:  # type: ignore[override]  # noqa: N802 -- SQLite's name; apsw takes any object with a file's methods
        """Open a file, or make it when the flags say so."""
        if not self.powered or self.away:
            raise apsw.CantOpenError("the power is gone, or the disk")
        path = name.filename() if isinstance(name, apsw.URIFilename) else name or ""
        flags[1] = flags[0]
        node = self._live.get(path)
        if node is None:
            if not flags[0] & apsw.SQLITE_OPEN_CREATE:
                raise apsw.CantOpenError(f"{path} is not there")
            node = _Node()
            node.folder_too = bool(flags[0] & _SYNCS_FOLDER)
            if path:
                self.step()
                self.folder(path, node, path)
        return ShadowFile(self, node)

    def xAccess(self, pathname: str, flags: int) -> bool:  # noqa: N802 -- SQLite's name
        """True when the file is there."""
        del flags
        return pathname in self._live

    def xFullPathname(self, name: str) -> str:  # noqa: N802 -- SQLite's name
        """Names are what they are: there is one folder."""
        return name

    def xDelete(self, filename: str, syncdir: bool) -> None:  # noqa: FBT001, N802 -- SQLite's signature
        """Take a name away; safe at once when SQLite asks for the folder's sync with it."""
        node = self._live.get(filename)
        if node is None:
            missing = apsw.IOError(f"{filename} is not there")
            missing.extendedresult = apsw.SQLITE_IOERR_DELETE_NOENT  # type: ignore[attr-defined]  # as apsw's manual says
            raise missing
        self.step()
        self.folder(filename, node, None)
        if syncdir:
            self.sync_folder()

    def excepthook(self, *_: object) -> bool:
        """The exception also reaches whoever ran the statement: no second report."""
        return True


class ShadowFile:
    """One open file of a ShadowDisk: every method SQLite asks of a file."""

    __slots__ = ("_disk", "_node")

    def __init__(self, disk: ShadowDisk, node: _Node) -> None:
        self._disk = disk
        self._node = node

    def xRead(self, amount: int, offset: int) -> bytes:  # noqa: N802 -- SQLite's name
        """The bytes as last written."""
        if not self._disk.powered:
            raise apsw.IOError("the power is gone")
        return bytes(self._node.live[offset : offset + amount])

    def xWrite(self, data: bytes | memoryview, offset: int) -> None:  # noqa: N802 -- SQLite's name
        """Write, for the time being in memory only."""
        self._change(offset, bytes(data))

    def xTruncate(self, newsize: int) -> None:  # noqa: N802 -- SQLite's name
        """Shorten, for the time being in memory only."""
        self._change(newsize, None)

    def _change(self, offset: int, data: bytes | None) -> None:
        self._disk.step()
        _put(self._node.live, offset, data)
        self._node.pending.append((self._disk.next_place(), offset, data))
        self._disk.end()

    def xSync(self, flags: int) -> None:  # noqa: N802 -- SQLite's name
        """What was written is safe when this returns, and the name of a fresh journal with it."""
        del flags
        self._disk.step()
        self._disk.end()
        self._node.sync()
        if self._node.folder_too:
            self._node.folder_too = False
            self._disk.sync_folder()

    def xFileSize(self) -> int:  # noqa: N802 -- SQLite's name
        """Bytes as last written."""
        return len(self._node.live)

    def xLock(self, level: int) -> None:  # noqa: N802 -- SQLite's name
        """One process uses this disk."""

    def xUnlock(self, level: int) -> None:  # noqa: N802 -- SQLite's name
        """One process uses this disk."""

    def xCheckReservedLock(self) -> bool:  # noqa: N802 -- SQLite's name
        """One process uses this disk."""
        return False

    def xFileControl(self, op: int, ptr: int) -> bool:  # noqa: N802 -- SQLite's name
        """Nothing beyond the ordinary is understood."""
        del op, ptr
        return False

    def xSectorSize(self) -> int:  # noqa: N802 -- SQLite's name
        """As SQLite's own VFS."""
        return 4_096

    def xDeviceCharacteristics(self) -> int:  # noqa: N802 -- SQLite's name
        """As SQLite's own VFS."""
        return _POWERSAFE_OVERWRITE

    def xClose(self) -> None:  # noqa: N802 -- SQLite's name
        """Nothing is held; what was not synced stays unsynced."""

    def excepthook(self, *_: object) -> bool:
        """As ShadowDisk.excepthook."""
        return True


def _rename(names: dict[str, _Node], name: str, node: _Node, to: str | None) -> None:
    if to is None or to != name:
        if names.get(name) is not node:
            return  # what this undoes did not survive itself
        del names[name]
    if to is not None:
        names[to] = node


def _put(image: bytearray, offset: int, data: bytes | None) -> None:
    if data is None:
        del image[offset:]
        return
    if len(image) < offset:
        image.extend(bytes(offset - len(image)))
    image[offset : offset + len(data)] = data


def _survived(node: _Node, manner: Manner, upto: int, dice: random.Random) -> bytearray:
    """A file's bytes after a cut."""
    image = bytearray(node.safe)
    if manner is Manner.LOST:
        return image
    for order, offset, data in node.pending:
        if manner is Manner.SCATTERED:
            _scatter(image, offset, data, dice)
        elif order < upto:
            _put(image, offset, data)
        elif order == upto and manner is Manner.TORN and data is not None:
            _tear(image, offset, data, dice)
    return image


def _scatter(image: bytearray, offset: int, data: bytes | None, dice: random.Random) -> None:
    """Each sector on its own: written, not written, torn; past the end a hole of who knows what."""
    if data is None:
        if dice.random() < 0.5:
            del image[offset:]
        return
    for place, piece in _sectors(offset, data):
        fate = dice.random()
        if fate < _TORN_SHARE:
            _tear(image, place, piece, dice)
        elif fate < 0.5:
            _put(image, place, piece)
        elif fate < 0.6 and place >= len(image):
            _put(image, place, dice.randbytes(len(piece)))
        elif fate < 0.7 and place >= len(image):
            _put(image, place, bytes(len(piece)))


def _sectors(offset: int, data: bytes) -> Iterator[tuple[int, bytes]]:
    begin = 0
    while begin < len(data):
        end = begin + SECTOR_BYTES - (offset + begin) % SECTOR_BYTES
        yield offset + begin, data[begin:end]
        begin = end


def _tear(image: bytearray, offset: int, data: bytes, dice: random.Random) -> None:
    """Its first bytes are there, or its last ones: the tear is anywhere, in a sector's middle."""
    at = dice.randrange(len(data) + 1)
    if dice.random() < 0.5:
        _put(image, offset, data[:at])
    elif len(image) >= offset + at:
        _put(image, offset + at, data[at:])
