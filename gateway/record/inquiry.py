"""What a ledger can be asked: what is owed, what is open, where the streams go on.

The reading half of `ledger.py`: it changes nothing, and it says CORRUPT of what makes no sense.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator

from gateway.core.jws import digest
from gateway.core.message import Head
from gateway.core.model import Event, Message, Stream, StreamKey
from gateway.record.entry import Identity, revive
from gateway.record.file import LedgerFile
from gateway.record.kept import Kept
from gateway.record.owed import SEQUENCE_BITS, SEQUENCE_MAX, Owed


class Inquiry:
    """Asks one file. Every method may raise LedgerError."""

    def __init__(self, file: LedgerFile) -> None:
        self._ask(file)

    def _ask(self, file: LedgerFile) -> None:
        self._file = file
        self._owed = Owed(file)
        self._kept = Kept(file)
        self._streams: dict[StreamKey, int] = {}

    def owed(self) -> dict[StreamKey, list[tuple[int, int]]]:
        """Unsettled numbers as ranges, both ends in; oldest start first, alarm before log."""
        with self._file.reading("what is owed could not be read"):
            ranges: dict[int, list[tuple[int, int]]] = {}
            for number, first, last in self._owed.ranges():
                ranges.setdefault(number, []).append((first, last))
            owed = {key: ranges.pop(number) for number, key in self.streams() if number in ranges}
            if ranges:
                raise ValueError("ranges of streams that are not held")
        return owed

    def heads(self) -> dict[tuple[str, Stream], Head]:
        """Where this epoch's streams go on: the last message the ledger holds of each.

        To be asked before the first append of an epoch.
        """
        heads: dict[tuple[str, Stream], Head] = {}
        with self._file.reading("the streams' heads could not be read"):
            for stream, key in self._newest().items():
                token, epoch = self._file.one(
                    "SELECT token, epoch FROM message JOIN stream ON stream.number = key >> ?"
                    " JOIN start ON begun = start.number WHERE key = ?",
                    (SEQUENCE_BITS, key),
                )
                heads[stream] = Head(0, digest(token), (epoch, key & SEQUENCE_MAX))
        return heads

    def read(self, key: StreamKey, first: int, last: int, *, most: int = -1) -> list[Message]:
        """The messages held of a range of numbers, both ends in, in order, settled or not.

        At most the first `most` of them, unless it is negative.
        """
        with self._file.reading("messages could not be read"):
            number = self._stream(key)
            if number is None:
                return []
            base = number << SEQUENCE_BITS
            span = (base + max(first, 1), base + min(last, SEQUENCE_MAX), most)
            return [
                Message(key, held & SEQUENCE_MAX, event, kind, alarm, token)
                for held, event, kind, alarm, token in self._file.rows(
                    "SELECT key, id, type, alarm, token FROM message JOIN event"
                    " ON number = event WHERE key BETWEEN ? AND ? ORDER BY key LIMIT ?",
                    span,
                )
            ]

    def runs(self, route: str, stream: Stream, ledger: str, epoch: int) -> list[StreamKey]:
        """What is held of one epoch of a route's stream: a stream for each of its starts."""
        with self._file.reading("the streams could not be read"):
            return [
                StreamKey(route, stream, ledger, epoch, start)
                for (start,) in self._file.rows(
                    "SELECT start FROM stream JOIN start ON begun = start.number WHERE route = ?"
                    " AND stream = ? AND ledger = ? AND epoch = ? ORDER BY begun",
                    (route, stream.value, ledger, epoch),
                )
            ]

    def earlier(
        self, route: str, stream: Stream, ledger: str, epoch: int
    ) -> tuple[str, int, int] | None:
        """Ledger, epoch and number of the newest message held of a stream from before an epoch.

        None: nothing older is held, or the epoch is of a ledger nobody here knows.
        """
        with self._file.reading("the streams could not be read"):
            row = self._file.one(
                "SELECT ledger, epoch, (SELECT max(key) FROM message WHERE key BETWEEN"
                " stream.number << :bits AND (stream.number + 1 << :bits) - 1) AS newest"
                " FROM stream JOIN start ON begun = start.number WHERE route = :route AND"
                " stream = :stream AND newest IS NOT NULL AND begun <"
                " coalesce((SELECT min(number) FROM start WHERE ledger = :ledger AND epoch ="
                " :epoch), (SELECT max(number) + 1 FROM start WHERE ledger = :ledger AND epoch <"
                " :epoch), 0) ORDER BY begun DESC LIMIT 1",
                {
                    "bits": SEQUENCE_BITS,
                    "route": route,
                    "stream": stream.value,
                    "ledger": ledger,
                    "epoch": epoch,
                },
            )
            return (row[0], row[1], row[2] & SEQUENCE_MAX) if row else None

    def open_alarms(self) -> list[Event]:
        """Every alarm and state.alarm event of the alarms not yet cleared, as recorded."""
        with self._file.reading("the open alarms could not be read"):
            return [
                revive(*row)
                for row in self._file.rows(
                    "SELECT id, type, alarm, utc_ms, body FROM event WHERE alarm IN open_alarm"
                    " AND (type GLOB 'alarm.*' OR type GLOB 'state.alarm.*') ORDER BY number"
                )
            ]

    def owed_alarms(self) -> list[Message]:
        """The raising messages of open alarms that no receipt has covered, in recorded order."""
        owed: list[Message] = []
        with self._file.reading("the alarms still owed could not be read"):
            keys = dict(self.streams())
            for event, kind, alarm, packed in self._file.rows(
                "SELECT id, type, alarm, keys FROM event WHERE alarm IN open_alarm"
                " AND type GLOB 'alarm.*.raised' ORDER BY number"
            ):
                for key in filter(self._owed.holds, array("q", packed)):
                    token = self._file.one("SELECT token FROM message WHERE key = ?", (key,))
                    stream, sequence = keys[key >> SEQUENCE_BITS], key & SEQUENCE_MAX
                    owed.append(Message(stream, sequence, event, kind, alarm, token))
        return owed

    def oldest(self) -> Event | None:
        """The first event held; None in a ledger that holds none."""
        with self._file.reading("the oldest event could not be read"):
            row = self._file.one(
                "SELECT id, type, alarm, utc_ms, body FROM event ORDER BY number LIMIT 1"
            )
            return revive(*row) if row else None

    def last_inventory(self) -> Event | None:
        """The newest state.inventory recorded: what the centres were last told is supervised."""
        with self._file.reading("the last inventory could not be read"):
            row = self._file.one(
                "SELECT id, type, alarm, utc_ms, body FROM event"
                " WHERE type = 'state.inventory' ORDER BY number DESC LIMIT 1"
            )
            return revive(*row) if row else None

    def open_faults(self) -> list[Event]:
        """The raising events of the faults not cleared, as recorded, oldest first."""
        with self._file.reading("the open faults could not be read"):
            return [
                revive(*row)
                for row in self._file.rows(
                    "SELECT id, type, alarm, utc_ms, body FROM event"
                    " WHERE number IN (SELECT event FROM open_fault) ORDER BY number"
                )
            ]

    def holders(self) -> dict[str, list[str]]:
        """Per open alarm the routes that hold a message of it, in the order they came to."""
        holders: dict[str, list[str]] = {}
        with self._file.reading("the alarms' holders could not be read"):
            keys = dict(self.streams())
            for alarm, packed in self._file.rows(
                "SELECT alarm, keys FROM event WHERE alarm IN open_alarm ORDER BY number"
            ):
                routes = holders.setdefault(alarm, [])
                for key in array("q", packed):
                    route = keys[key >> SEQUENCE_BITS].route
                    if route not in routes:
                        routes.append(route)
        return holders

    def last_proved(self) -> dict[str, int]:
        """Per point the UTC ms of its last alarm raised or repeated or test not in doubt."""
        with self._file.reading("when points were proved could not be read"):
            return dict(self._file.rows("SELECT point, utc_ms FROM proved ORDER BY point"))

    def kept(self) -> dict[str, str]:
        """Every name that was kept, with its newest value."""
        with self._file.reading("what was kept could not be read"):
            return self._kept.all()

    def first_start_utc_ms(self) -> int:
        """When this ledger began, UTC ms as the first start believed it."""
        with self._file.reading("the first start could not be read"):
            return int(self._file.one("SELECT utc_ms FROM start ORDER BY number LIMIT 1"))

    def streams(self) -> Iterator[tuple[int, StreamKey]]:
        """Every stream with its number in the file, oldest start first; within `reading`."""
        for number, route, stream, ledger, epoch, start in self._file.rows(
            "SELECT stream.number, route, stream, ledger, epoch, start FROM stream"
            " JOIN start ON begun = start.number ORDER BY begun, stream, route"
        ):
            yield number, StreamKey(route, Stream(stream), ledger, epoch, start)

    def _stream(self, key: StreamKey) -> int | None:
        number = self._streams.get(key)
        if number is None:
            number = self._file.one(
                "SELECT stream.number FROM stream JOIN start ON begun = start.number"
                " WHERE route = ? AND stream = ? AND ledger = ? AND epoch = ? AND start = ?",
                (key.route, key.stream.value, key.ledger, key.epoch, key.start),
            )
            if number is not None:
                self._streams[key] = number
        return number

    def heads_held(self) -> frozenset[int]:
        """The keys of the streams' newest messages, which never leave; within `reading`."""
        return frozenset(self._newest().values())

    def native(self) -> str:
        """The id the file itself goes under, whatever other ledgers' streams it holds."""
        with self._file.reading("the ledger's id could not be read"):
            return str(self._file.one("SELECT id FROM ledger"))

    def holds(self, me: Identity) -> bool:
        """True when that very start has written here."""
        with self._file.reading("the starts could not be read"):
            known = "SELECT count(*) FROM start WHERE ledger = ? AND epoch = ? AND start = ?"
            return bool(self._file.one(known, (me.ledger, me.epoch, me.start)))

    def _newest(self) -> dict[tuple[str, Stream], int]:
        """The key of the newest message held of every stream, over this file's own epochs."""
        newest: dict[tuple[str, Stream], int] = {}
        for route, stream, key in self._file.rows(
            "SELECT route, stream, (SELECT max(key) FROM message WHERE key BETWEEN"
            " stream.number << :bits AND (stream.number + 1 << :bits) - 1) AS newest"
            " FROM stream JOIN start ON begun = start.number"
            " JOIN ledger ON start.ledger = ledger.id WHERE newest IS NOT NULL ORDER BY begun",
            {"bits": SEQUENCE_BITS},
        ):
            newest[route, Stream(stream)] = key
        return newest
