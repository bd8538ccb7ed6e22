"""The ledger keeps what it was told, across starts, broken disks and damaged files."""

from __future__ import annotations

import random
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.core.jws import digest
from gateway.core.message import Head
from gateway.core.model import Message, Stream, StreamKey
from gateway.record.entry import Entry, LedgerBusy, LedgerError, StorageTrouble
from gateway.record.ledger import Ledger
from simulators.disk.faulty import Fault, FaultyDisk
from simulators.disk.shadow import ShadowDisk
from tests.ledger_cases import BEGAN_UTC_MS, ROUTES, Numbers, open_ledger

ALARM, LOG = Stream.ALARM, Stream.LOG


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ledger.db"


@pytest.fixture
def disk() -> Iterator[FaultyDisk]:
    disk = FaultyDisk()
    yield disk
    disk.close()


def read_all(ledger: Ledger) -> list[Message]:
    """Every message the ledger still owes, in order."""
    return [
        message
        for key, ranges in ledger.owed().items()
        for first, last in ranges
        for message in ledger.read(key, first, last)
    ]


# --- starts -----------------------------------------------------------------------------------


def test_first_start_takes_the_fresh_id_and_epoch_one(path: Path) -> None:
    ledger = open_ledger(path)
    assert (ledger.identity.ledger, ledger.identity.epoch) == ("1ed9e700", 1)
    assert (ledger.durable, ledger.set_aside, ledger.trouble) == (True, None, None)
    ledger.close()


def test_every_start_is_a_new_epoch_of_the_same_ledger(path: Path) -> None:
    for epoch in (1, 2, 3):
        ledger = Ledger.open(
            str(path), start=f"0000000{epoch}", fresh_id=f"{epoch:08x}", boot="b0070000", utc_ms=1
        )
        assert (ledger.identity.ledger, ledger.identity.epoch) == ("00000001", epoch)
        ledger.close()


def test_first_start_is_remembered(path: Path) -> None:
    for utc_ms in (500, 900):
        ledger = Ledger.open(
            str(path), start="0000000a", fresh_id="1ed9e700", boot="b0070000", utc_ms=utc_ms
        )
        assert ledger.first_start_utc_ms() == 500
        ledger.close()


def test_file_says_what_it_is_and_syncs_every_commit(path: Path) -> None:
    """application_id and user_version are readable by any SQLite; no shared memory file appears."""
    ledger = open_ledger(path)
    assert not Path(f"{path}-shm").exists()
    ledger.close()
    with sqlite3.connect(path) as plain:
        assert plain.execute("PRAGMA application_id").fetchone() == (0x514F5247,)
        assert plain.execute("PRAGMA user_version").fetchone() == (3,)
        assert plain.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    plain.close()


def test_append_returns_only_after_a_sync(path: Path) -> None:
    disk = FaultyDisk(record=True)
    ledger = open_ledger(path, vfs=disk.name)
    assert disk.calls is not None
    disk.calls.clear()
    ledger.append([Numbers(ledger.identity).alarm()])
    assert [call.operation for call in disk.calls if call.file.endswith("-wal")][-1] == "sync"
    ledger.close()
    disk.close()


def test_second_process_is_refused(path: Path) -> None:
    """Two daemons must never number the same ledger: no in-memory ledger for the second."""
    ledger = open_ledger(path)
    program = (
        "import sys; from gateway.record.ledger import Ledger\n"
        "Ledger.open(sys.argv[1], start='0'*8, fresh_id='0'*8, boot='0'*8, utc_ms=1)"
    )
    second = subprocess.run(
        [sys.executable, "-c", program, str(path)], capture_output=True, text=True, check=False
    )
    assert second.returncode != 0
    assert "LedgerBusy" in second.stderr
    assert "another qorgan holds it" in second.stderr
    ledger.close()


def test_second_opening_in_one_process_is_refused(path: Path) -> None:
    ledger = open_ledger(path)
    with pytest.raises(LedgerBusy):
        open_ledger(path)
    ledger.append([Numbers(ledger.identity).alarm()])
    ledger.close()


def test_close_leaves_one_file(path: Path) -> None:
    ledger = open_ledger(path)
    ledger.append([Numbers(ledger.identity).alarm()])
    ledger.close()
    ledger.close()
    assert [item.name for item in path.parent.iterdir()] == ["ledger.db"]


# --- what was appended ------------------------------------------------------------------------


def test_messages_come_back_as_they_were(path: Path) -> None:
    ledger = open_ledger(path)
    numbers = Numbers(ledger.identity)
    entries = [numbers.alarm(), numbers.log(), numbers.alarm()]
    ledger.append(entries[:1])
    ledger.append(entries[1:])
    key = numbers.key("case", "alarm.panic.raised")
    mine = [message for entry in entries for message in entry.messages if message.key == key]
    assert ledger.read(key, 1, 99) == mine
    assert ledger.read(key, 2, 2) == mine[1:]
    assert ledger.read(key, 3, 99) == []
    assert ledger.read(replace(key, start="ffffffff"), 1, 9) == []
    assert ledger.read(replace(key, ledger="ffffffff"), 1, 9) == []
    ledger.close()


def test_read_after_a_restart_names_the_old_epoch(path: Path) -> None:
    ledger = open_ledger(path, start="0000000a")
    numbers = Numbers(ledger.identity)
    entry = numbers.alarm()
    ledger.append([entry])
    ledger.close()
    ledger = open_ledger(path, start="0000000b")
    assert sorted(read_all(ledger), key=lambda m: m.key) == sorted(
        entry.messages, key=lambda m: m.key
    )
    ledger.close()


def test_batch_is_all_or_nothing(path: Path) -> None:
    ledger = open_ledger(path)
    numbers = Numbers(ledger.identity)
    good, bad = numbers.alarm(), numbers.entry(numbers.event(data={"what": b"bytes"}))  # type: ignore[dict-item]  # the mistake under test
    with pytest.raises(LedgerError) as caught:
        ledger.append([good, bad])
    assert caught.value.reason is StorageTrouble.REFUSED
    assert ledger.owed() == {}
    ledger.append([good])
    assert len(read_all(ledger)) == 2
    ledger.close()


def test_append_of_what_is_there_changes_nothing(path: Path) -> None:
    ledger = open_ledger(path)
    numbers = Numbers(ledger.identity)
    entries = [numbers.alarm(), numbers.entry(numbers.event("access.door.granted"), routes=())]
    ledger.append(entries)
    key = entries[0].messages[0].key
    ledger.settle(key, [(1, 1)], utc_ms=1)
    ledger.append(entries)
    assert key not in ledger.owed()
    assert len(ledger.open_alarms()) == 1
    ledger.close()


def test_event_may_gain_messages_later(path: Path) -> None:
    """A route that is owed an alarm only when nobody acknowledged it."""
    ledger = open_ledger(path)
    numbers = Numbers(ledger.identity)
    event = numbers.event()
    ledger.append([numbers.entry(event, routes=("security",))])
    ledger.append([numbers.entry(event, routes=("deputy",))])
    assert ledger.holders() == {event.id: ["security", "deputy"]}
    assert ledger.open_alarms() == [event]
    assert len(read_all(ledger)) == 2
    ledger.close()


def test_number_of_another_event_is_refused(path: Path) -> None:
    ledger = open_ledger(path)
    numbers = Numbers(ledger.identity)
    first = numbers.alarm()
    ledger.append([first])
    thief = Entry(numbers.event(), (replace(first.messages[0], token=b"other"),))
    with pytest.raises(LedgerError) as caught:
        ledger.append([thief])
    assert caught.value.reason is StorageTrouble.REFUSED
    assert ledger.read(first.messages[0].key, 1, 9) == [first.messages[0]]
    ledger.close()


def test_number_of_another_start_is_refused(path: Path) -> None:
    ledger = open_ledger(path)
    stranger = Numbers(replace(ledger.identity, start="ffffffff")).alarm()
    with pytest.raises(LedgerError) as caught:
        ledger.append([stranger])
    assert caught.value.reason is StorageTrouble.REFUSED
    ledger.close()


def test_heads_of_a_new_epoch_name_what_the_ledger_holds(path: Path) -> None:
    """Epoch 6 sealed 1, 2, 3, but 3 never reached the disk: epoch 7 resumes 6/2."""
    for _ in range(5):
        open_ledger(path).close()
    ledger = open_ledger(path, start="00000006")
    assert ledger.identity.epoch == 6
    numbers = Numbers(ledger.identity)
    one, two, _three = (numbers.alarm(routes=("security",)) for _ in range(3))
    ledger.append([one, two])
    ledger.close()
    ledger = open_ledger(path, start="00000007")
    assert ledger.heads() == {
        ("security", ALARM): Head(0, digest(two.messages[0].token), (6, 2)),
    }
    assert [m.sequence for m in read_all(ledger)] == [1, 2]
    ledger.close()


def test_heads_reach_back_over_quiet_epochs(path: Path) -> None:
    ledger = open_ledger(path)
    entry = Numbers(ledger.identity).log(routes=("case",))
    ledger.append([entry])
    ledger.close()
    for _ in range(3):
        ledger = open_ledger(path)
        ledger.close()
    ledger = open_ledger(path)
    assert ledger.heads() == {("case", LOG): Head(0, digest(entry.messages[0].token), (1, 1))}
    ledger.close()


# --- what is owed -----------------------------------------------------------------------------


def test_owed_is_oldest_epoch_first_and_alarm_before_log(path: Path) -> None:
    for start in ("0000000a", "0000000b"):
        ledger = open_ledger(path, start=start)
        numbers = Numbers(ledger.identity)
        ledger.append([numbers.log(), numbers.alarm(), numbers.log()])
        order = [(key.epoch, key.stream, ranges) for key, ranges in ledger.owed().items()]
        ledger.close()
    assert order == [
        (epoch, stream, [(1, last)])
        for epoch in (1, 2)
        for stream, last in ((ALARM, 1), (ALARM, 1), (LOG, 2), (LOG, 2))
    ]


def test_settle_says_how_many_were_owed(path: Path) -> None:
    ledger = open_ledger(path)
    numbers = Numbers(ledger.identity)
    ledger.append([numbers.alarm(routes=("case",)) for _ in range(10)])
    key = numbers.key("case", "alarm.panic.raised")
    assert ledger.settle(key, [(1, 3), (5, 5)], utc_ms=1) == 4
    assert ledger.settle(key, [(1, 6)], utc_ms=1) == 2
    assert ledger.settle(key, [(1, 6), (0, 0), (9, 8)], utc_ms=1) == 0
    assert ledger.owed() == {key: [(7, 10)]}
    assert ledger.settle(key, [(1, 1 << 60)], utc_ms=1) == 4
    assert ledger.settle(replace(key, route="nobody"), [(1, 9)], utc_ms=1) == 0
    assert ledger.owed() == {}
    ledger.close()


def test_settle_reaches_old_epochs(path: Path) -> None:
    ledger = open_ledger(path, start="0000000a")
    numbers = Numbers(ledger.identity)
    ledger.append([numbers.alarm(routes=("case",))])
    key = numbers.key("case", "alarm.panic.raised")
    ledger.close()
    ledger = open_ledger(path, start="0000000b")
    assert ledger.settle(replace(key, start="0000000c"), [(1, 1)], utc_ms=1) == 0
    assert ledger.settle(key, [(1, 1)], utc_ms=1) == 1
    ledger.close()
    ledger = open_ledger(path, start="0000000c")
    assert ledger.owed() == {}
    ledger.close()


Step = tuple[str, int, int]
STEPS = st.lists(
    st.tuples(
        st.sampled_from(["append", "lose", "settle", "reopen"]),
        st.integers(min_value=1, max_value=40),
        st.integers(min_value=0, max_value=12),
    ),
    max_size=25,
)


@settings(max_examples=60, deadline=None)
@given(STEPS)
def test_owed_equals_a_plain_set(steps: list[Step]) -> None:
    """Appends with gaps, receipts in any order and starts in between, against the obvious model."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "ledger.db"
        model: dict[StreamKey, set[int]] = {}
        start = 0
        ledger = open_ledger(path, start=f"{start:08x}")
        numbers = Numbers(ledger.identity)
        for what, at, length in steps:
            key = numbers.key("case", "alarm.panic.raised")
            if what == "reopen":
                ledger.close()
                start += 1
                ledger = open_ledger(path, start=f"{start:08x}")
                numbers = Numbers(ledger.identity)
            elif what == "settle":
                for any_key in [key, *model]:
                    span = range(at, at + length + 1)
                    count = len(model.get(any_key, set()).intersection(span))
                    assert ledger.settle(any_key, [(span[0], span[-1])], utc_ms=1) == count
                    model.get(any_key, set()).difference_update(span)
            else:
                entries = [numbers.alarm(routes=("case",)) for _ in range(length + 1)]
                if what == "append":
                    ledger.append(entries)
                    given_out = {m.sequence for entry in entries for m in entry.messages}
                    model.setdefault(key, set()).update(given_out)
            owed = {
                key: {n for first, last in ranges for n in range(first, last + 1)}
                for key, ranges in ledger.owed().items()
            }
            assert owed == {key: owing for key, owing in model.items() if owing}
        ledger.close()


def test_hundred_thousand_owed_messages_are_a_handful_of_ranges(path: Path) -> None:
    """What is owed is known at a start without going through the messages."""
    disk = FaultyDisk()
    ledger = open_ledger(path)
    numbers = Numbers(ledger.identity)
    for _ in range(50):
        ledger.append([numbers.alarm(routes=("case",)) for _ in range(2_000)])
    ledger.close()
    ledger = open_ledger(path, vfs=disk.name)
    before = disk.count
    ((_, ranges),) = ledger.owed().items()
    assert ranges == [(1, 100_000)]
    assert disk.count - before < 20
    ledger.close()
    disk.close()


# --- what a start wants to know ---------------------------------------------------------------


def test_open_alarms_come_back_exactly_and_in_order(path: Path) -> None:
    ledger = open_ledger(path)
    numbers = Numbers(ledger.identity)
    first = numbers.event(data={"also_open": [], "doubtful": False, "n": 1.5, "text": "қорған"})
    second = numbers.event(subject="gym", utc_ms=5)
    about = [
        numbers.event("alarm.panic.repeated", alarm=first.id, data={"count": 2}),
        numbers.event("state.alarm.received", alarm=second.id),
        numbers.event("alarm.panic.cleared", alarm=second.id, subject="gym"),
        numbers.event("state.alarm.acknowledged", alarm=first.id),
        numbers.event("fault.delivery.raised", alarm=first.id, subject="case"),
        numbers.event("fault.delivery.cleared", alarm=first.id, subject="case"),
    ]
    ledger.append([numbers.entry(event) for event in (first, second, *about)])
    ledger.close()
    ledger = open_ledger(path)
    assert ledger.open_alarms() == [first, about[0], about[3]]
    ledger.close()


def test_holders_are_listed_in_the_order_they_came_to(path: Path) -> None:
    ledger = open_ledger(path)
    numbers = Numbers(ledger.identity)
    alarm, closed = numbers.event(), numbers.event()
    ledger.append([numbers.entry(alarm, routes=("security",)), numbers.entry(closed)])
    later = numbers.event("state.alarm.received", alarm=alarm.id)
    ledger.append([numbers.entry(later, routes=("case", "security"))])
    ledger.append([numbers.entry(numbers.event("alarm.panic.cleared", alarm=closed.id))])
    assert ledger.holders() == {alarm.id: ["security", "case"]}
    ledger.close()


def test_owed_alarms_are_the_raising_messages_without_a_receipt(path: Path) -> None:
    ledger = open_ledger(path)
    numbers = Numbers(ledger.identity)
    entries = [numbers.alarm(), numbers.log(), numbers.alarm()]
    ledger.append(entries)
    ledger.settle(numbers.key("case", "alarm.panic.raised"), [(1, 1)], utc_ms=1)
    assert ledger.owed_alarms() == [entries[0].messages[0], *entries[2].messages]
    ledger.close()


def test_point_is_proved_by_a_press_that_is_not_in_doubt(path: Path) -> None:
    ledger = open_ledger(path)
    numbers = Numbers(ledger.identity)
    for event in (
        numbers.event(subject="gym", utc_ms=10),
        numbers.event("alarm.panic.repeated", subject="gym", alarm="x", utc_ms=20),
        numbers.event(subject="gym", utc_ms=30, data={"doubtful": True}),
        numbers.event("alarm.panic.cleared", subject="gym", alarm="x", utc_ms=40),
        numbers.event("test.panic.passed", subject="hall", utc_ms=50),
        numbers.event("fault.wiring.raised", subject="office", utc_ms=60),
    ):
        ledger.append([numbers.entry(event)])
    assert ledger.last_proved() == {"gym": 20, "hall": 50}
    ledger.close()


# --- leaving ----------------------------------------------------------------------------------


def test_prune_removes_settled_entries_only(path: Path) -> None:
    ledger = open_ledger(path)
    numbers = Numbers(ledger.identity)
    ledger.append([numbers.log(routes=("case",)) for _ in range(10)])
    key = numbers.key("case", "access.door.granted")
    ledger.settle(key, [(1, 4), (7, 10)], utc_ms=1)
    assert ledger.prune(before_utc_ms=BEGAN_UTC_MS + 100, limit=100) == 7
    assert [m.sequence for m in ledger.read(key, 1, 99)] == [5, 6, 10]
    assert ledger.owed() == {key: [(5, 6)]}
    ledger.close()


def test_prune_keeps_what_is_young(path: Path) -> None:
    ledger = open_ledger(path)
    numbers = Numbers(ledger.identity)
    ledger.append([numbers.log(routes=("case",)) for _ in range(10)])
    key = numbers.key("case", "access.door.granted")
    ledger.settle(key, [(1, 10)], utc_ms=1)
    assert ledger.prune(before_utc_ms=BEGAN_UTC_MS + 3, limit=100) == 2
    assert ledger.read(key, 1, 99)[0].sequence == 3
    ledger.close()


def test_prune_keeps_open_alarms(path: Path) -> None:
    ledger = open_ledger(path)
    numbers = Numbers(ledger.identity)
    alarm = numbers.alarm(routes=("case",))
    later = numbers.log(routes=("case",))
    end = numbers.entry(numbers.event("alarm.panic.cleared", alarm=alarm.event.id), routes=())
    ledger.append([alarm, numbers.alarm(routes=("case",)), later])
    for kind in ("alarm.panic.raised", "access.door.granted"):
        ledger.settle(numbers.key("case", kind), [(1, 9)], utc_ms=1)
    assert ledger.prune(before_utc_ms=1 << 60, limit=100) == 0
    ledger.append([end, numbers.entry(numbers.event("access.door.granted"), routes=())])
    assert ledger.prune(before_utc_ms=1 << 60, limit=100) == 2
    assert alarm.event not in ledger.open_alarms()
    ledger.close()


def test_prune_keeps_the_head_of_the_chain(path: Path) -> None:
    ledger = open_ledger(path)
    numbers = Numbers(ledger.identity)
    last = [numbers.log() for _ in range(5)][-1]
    ledger.append([last])
    for route in ROUTES:
        ledger.settle(numbers.key(route, "access.door.granted"), [(1, 9)], utc_ms=1)
    ledger.close()
    for _ in range(2):
        ledger = open_ledger(path)
        ledger.prune(before_utc_ms=1 << 60, limit=100)
        assert ledger.heads()["case", LOG] == Head(0, digest(last.messages[1].token), (1, 5))
        ledger.close()


def test_prune_keeps_the_last_inventory(path: Path) -> None:
    ledger = open_ledger(path)
    numbers = Numbers(ledger.identity)
    events = [numbers.event("state.inventory", data={"points": count}) for count in (1, 2)]
    assert ledger.last_inventory() is None
    ledger.append([*(numbers.entry(e, routes=("case",)) for e in events), numbers.log()])
    for route in ROUTES:
        ledger.settle(numbers.key(route, "state.inventory"), [(1, 9)], utc_ms=1)
    assert ledger.prune(before_utc_ms=1 << 60, limit=100) == 1
    assert ledger.last_inventory() == events[1]
    ledger.close()


def test_prune_in_small_steps_ends_where_one_large_step_does(path: Path) -> None:
    ledger = open_ledger(path)
    numbers = Numbers(ledger.identity)
    ledger.append([numbers.log(routes=("case",)) for _ in range(100)])
    key = numbers.key("case", "access.door.granted")
    ledger.settle(key, [(first, first) for first in range(1, 100, 3)], utc_ms=1)
    gone = [ledger.prune(before_utc_ms=1 << 60, limit=3) for _ in range(40)]
    assert max(gone) == 3
    assert sum(gone) == 33
    assert ledger.prune(before_utc_ms=1 << 60, limit=1_000) == 0
    ledger.close()


def test_prune_forgets_starts_that_hold_nothing(path: Path) -> None:
    for _ in range(20):
        ledger = open_ledger(path)
        ledger.prune(before_utc_ms=1 << 60, limit=100)
        ledger.close()
    with sqlite3.connect(path) as plain:
        assert plain.execute("SELECT epoch FROM start").fetchall() == [(1,), (20,)]
    plain.close()


# --- a disk that fails ------------------------------------------------------------------------


def test_unusable_place_gives_a_ledger_in_memory(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    for path in (tmp_path / "folder", tmp_path / "missing" / "l.db", Path("/proc/qorgan.db")):
        ledger = open_ledger(path)
        assert not ledger.durable
        assert ledger.trouble
        assert ledger.set_aside is None
        assert ledger.identity.ledger == "1ed9e700"
        ledger.append([Numbers(ledger.identity).alarm()])
        assert len(read_all(ledger)) == 2
        ledger.close()
    assert (tmp_path / "folder").is_dir()


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (Fault.READ_ONLY, "read-only"),
        (Fault.FULL, "full"),
        (Fault.IO_ERROR, "I/O error"),
    ],
)
def test_file_that_cannot_be_written_gives_a_ledger_in_memory(
    path: Path, disk: FaultyDisk, fault: Fault, words: str
) -> None:
    """The epoch could not be committed, so none of the file's numbers may be used."""
    open_ledger(path, vfs=disk.name).close()
    disk.fail(fault, times=None, operations=frozenset({"write"}))
    ledger = open_ledger(path, vfs=disk.name)
    assert not ledger.durable
    assert ledger.trouble is not None
    assert words in ledger.trouble
    disk.heal()
    again = open_ledger(path, vfs=disk.name)
    assert (again.durable, again.identity.epoch) == (True, 2)
    again.close()
    ledger.close()


def test_memory_makes_room_of_what_is_settled() -> None:
    ledger = Ledger.in_memory(
        start="0000000a", fresh_id="1ed9e700", boot="b0070000", utc_ms=1, trouble="no disk"
    )
    numbers = Numbers(ledger.identity, token_bytes=1_000_000)
    key = numbers.key("case", "access.door.granted")
    for sequence in range(1, 200):
        ledger.append([numbers.log(routes=("case",))])
        ledger.settle(key, [(1, sequence)], utc_ms=1)
    assert ledger.read(key, 199, 199)
    assert not ledger.read(key, 1, 1)
    ledger.close()


def scenario(path: Path, disk: FaultyDisk | ShadowDisk) -> tuple[list[Message], list[Message]]:
    """A start, three appends and a receipt on a failing disk: messages acknowledged, and tried."""
    acknowledged: list[Message] = []
    tried: list[Message] = []
    ledger = open_ledger(path, start="0000000b", vfs=disk.name)
    if ledger.durable:
        numbers = Numbers(ledger.identity)
        for _ in range(3):
            entry = numbers.alarm()
            tried += entry.messages
            try:
                ledger.append([entry])
            except LedgerError:
                continue
            acknowledged += entry.messages
        try:
            ledger.tidy(idle=True)
            ledger.close()
        except LedgerError:
            pass  # nothing more was promised: what was, is looked for afterwards
    else:
        ledger.close()
    return acknowledged, tried


@pytest.mark.parametrize("fault", [Fault.IO_ERROR, Fault.FULL])
@pytest.mark.parametrize("times", [1, None])
def test_no_failing_call_loses_an_acknowledged_message(
    tmp_path: Path, fault: Fault, times: int | None
) -> None:
    """For every n: the n-th I/O call fails, once or for good; what was acknowledged is there."""
    disk = FaultyDisk()
    base = tmp_path / "base.db"
    ledger = open_ledger(base)
    ledger.append([Numbers(ledger.identity).alarm()])
    ledger.close()
    image, n, failed = base.read_bytes(), 0, True
    while failed:
        n += 1
        path = tmp_path / f"{n}.db"
        path.write_bytes(image)
        disk.fail(fault, at=n, times=times)
        reached = disk.count + n
        acknowledged, tried = scenario(path, disk)
        failed = disk.count >= reached
        disk.heal()
        ledger = open_ledger(path, start="0000000c", vfs=disk.name)
        assert (ledger.durable, ledger.set_aside) == (True, None), n
        held = read_all(ledger)
        assert set(acknowledged) <= set(held), n
        assert {m for m in held if m.key.epoch != 1} <= set(tried), n
        assert len({(m.key, m.sequence) for m in held}) == len(held), n
        ledger.append([Numbers(ledger.identity).alarm()])
        ledger.close()
    disk.close()
    assert n > 30


def test_append_works_again_after_every_single_failure(path: Path, disk: FaultyDisk) -> None:
    """The same entry is tried again on the same connection, as the writer does.

    A disk that was full for one call needs nobody to try again: append makes room by itself.
    """
    ledger = open_ledger(path, vfs=disk.name)
    numbers = Numbers(ledger.identity)
    entries: list[Entry] = []
    reasons: set[StorageTrouble] = set()
    for at in range(1, 12):
        for fault in (Fault.IO_ERROR, Fault.FULL):
            entries.append(numbers.alarm())
            disk.fail(fault, at=at)
            try:
                ledger.append(entries[-1:])
            except LedgerError as exc:
                reasons.add(exc.reason)
                ledger.append(entries[-1:])
            disk.heal()
    assert reasons == {StorageTrouble.IO_ERROR}
    ledger.close()
    ledger = open_ledger(path)
    assert set(read_all(ledger)) == {m for entry in entries for m in entry.messages}
    ledger.close()


def test_power_cut_at_any_call_loses_no_acknowledged_message(tmp_path: Path) -> None:
    """Unsynced writes are kept, lost or torn by seeded dice; the file opens and holds its word.

    The short of it; `campaigns/cut/` is the long.
    """
    base = tmp_path / "base.db"
    open_ledger(base).close()
    path = Path("/nowhere/ledger.db")
    for seed in range(150):
        dice = random.Random(seed)
        disk = ShadowDisk()
        disk.put(str(path), base.read_bytes())
        disk.cut_power(at=dice.randrange(1, 60))
        acknowledged, _ = scenario(path, disk)
        disk.cut(dice)
        ledger = open_ledger(path, start="0000000c", vfs=disk.name)
        assert (ledger.durable, ledger.set_aside) == (True, None), seed
        assert set(acknowledged) <= set(read_all(ledger)), seed
        ledger.append([Numbers(ledger.identity).alarm()])
        ledger.close()
        disk.close()


# --- a file that is damaged -------------------------------------------------------------------


def flip_header(path: Path) -> None:
    path.write_bytes(b"NOT A LEDGER" + path.read_bytes()[12:])


def cut_in_half(path: Path) -> None:
    data = path.read_bytes().rstrip(b"\0")  # the file is longer than what it holds
    path.write_bytes(data[: len(data) // 2])


def make_text(path: Path) -> None:
    path.write_text("premises: {id: school-12}\n" * 200)


def make_foreign(path: Path) -> None:
    path.unlink()
    with sqlite3.connect(path) as other:
        other.execute("CREATE TABLE recipe (name TEXT)")
    other.close()


def make_newer(path: Path) -> None:
    with sqlite3.connect(path) as plain:
        plain.execute("PRAGMA user_version = 99")
    plain.close()


def lose_table(path: Path) -> None:
    with sqlite3.connect(path) as plain:
        plain.execute("DROP TABLE owed")
    plain.close()


def spoil_id(path: Path) -> None:
    with sqlite3.connect(path) as plain:
        plain.execute("UPDATE ledger SET id = 'x'")
    plain.close()


def spoil_body(path: Path) -> None:
    with sqlite3.connect(path) as plain:
        plain.execute("UPDATE event SET body = x'00ff'")
    plain.close()


def spoil_ranges(path: Path) -> None:
    with sqlite3.connect(path) as plain:
        plain.execute("UPDATE owed SET last = last + 1000000")
    plain.close()


@pytest.mark.parametrize(
    "damage",
    [
        *(flip_header, cut_in_half, make_text, make_foreign, make_newer),
        *(lose_table, spoil_id, spoil_body, spoil_ranges),
    ],
)
def test_damaged_file_is_set_aside_and_replaced(path: Path, damage: Callable[[Path], None]) -> None:
    ledger = open_ledger(path)
    ledger.append([Numbers(ledger.identity).alarm()])
    ledger.close()
    damage(path)
    size = path.stat().st_size
    ledger = Ledger.open(
        str(path), start="0000000b", fresh_id="f5e54000", boot="b0070000", utc_ms=77
    )
    assert ledger.set_aside == f"{path}.corrupt-77"
    assert ledger.set_aside_why
    assert Path(ledger.set_aside).stat().st_size == size
    assert (ledger.durable, ledger.identity.ledger, ledger.identity.epoch) == (True, "f5e54000", 1)
    ledger.append([Numbers(ledger.identity).alarm()])
    ledger.close()


def test_wal_of_a_damaged_file_goes_with_it(path: Path) -> None:
    make_text(path)
    Path(f"{path}-wal").write_bytes(b"evidence")
    for expected in ("corrupt-1780000000000", "corrupt-1780000000000x"):
        ledger = open_ledger(path)
        assert ledger.set_aside == f"{path}.{expected}"
        ledger.close()
        make_text(path)
    assert Path(f"{path}.corrupt-1780000000000-wal").read_bytes() == b"evidence"


def test_empty_file_is_a_new_ledger(path: Path) -> None:
    ledger = open_ledger(path)
    ledger.append([Numbers(ledger.identity).alarm()])
    ledger.close()
    path.write_bytes(b"")
    ledger = open_ledger(path)
    assert (ledger.durable, ledger.set_aside, ledger.identity.epoch) == (True, None, 1)
    ledger.close()


@pytest.mark.parametrize("seed", range(40))
def test_flipped_bytes_never_stop_a_start(path: Path, seed: int) -> None:
    """Found and set aside, or harmless: in any case there is a ledger that takes an alarm."""
    dice = random.Random(seed)
    ledger = open_ledger(path)
    numbers = Numbers(ledger.identity, token_bytes=600)
    for _ in range(20):
        ledger.append([numbers.alarm(), numbers.log()])
    ledger.close()
    data = bytearray(path.read_bytes().rstrip(b"\0"))
    for _ in range(dice.choice([1, 20])):
        data[dice.randrange(len(data))] ^= 1 << dice.randrange(8)
    path.write_bytes(data)
    ledger = open_ledger(path)
    assert ledger.durable
    for answer in (ledger.owed, ledger.heads, ledger.open_alarms, ledger.holders):
        answer()
    ledger.append([Numbers(ledger.identity).alarm()])
    ledger.close()
