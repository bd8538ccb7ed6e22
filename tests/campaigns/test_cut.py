"""Power cuts: the disk that has them, the account that is held against the ledger, the campaign."""

from __future__ import annotations

import asyncio
import itertools
import os
import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import apsw
import pytest

from campaigns.cut.__main__ import main, run_shard, shards, whole
from campaigns.cut.account import Account, broken_chain, differences
from campaigns.cut.kinds import Cramped, Threaded, kind_of
from campaigns.cut.kinds import told as tell
from campaigns.cut.outcomes import Outcome, Sync
from campaigns.cut.returning import Returning
from campaigns.cut.scribe import Scribe
from campaigns.cut.stories import Story
from campaigns.words import Wrong, asked
from gateway.core.model import Stream
from gateway.record.entry import Entry, Identity
from simulators.disk.shadow import SECTOR_BYTES, Manner, ShadowDisk

CREATE = apsw.SQLITE_OPEN_CREATE | apsw.SQLITE_OPEN_READWRITE
DATABASE = CREATE | apsw.SQLITE_OPEN_MAIN_DB
JOURNAL = CREATE | apsw.SQLITE_OPEN_WAL
OLD, NEW = b"o" * 2_000, b"n" * 2_000


@pytest.fixture
def disk() -> Iterator[ShadowDisk]:
    disk = ShadowDisk()
    yield disk
    disk.close()


def after_cuts(manner: Manner, *, seeds: int = 60) -> set[bytes]:
    """What is left of OLD, synced, and then NEW, not synced, over it and 1,000 bytes further."""
    left = set()
    for seed in range(seeds):
        disk = ShadowDisk()
        disk.put("a", OLD)
        file = disk.xOpen("a", [DATABASE, 0])
        file.xWrite(NEW[:1_000], 0)
        file.xWrite(NEW, 1_000)
        disk.cut(random.Random(seed), manner)
        left.add(disk.files()["a"])
        disk.close()
    return left


# --- the disk ---------------------------------------------------------------------------------


def test_synced_bytes_survive_every_manner(disk: ShadowDisk) -> None:
    for seed, manner in enumerate(Manner):
        name = f"file-{seed}"
        file = disk.xOpen(name, [JOURNAL, 0])
        file.xWrite(NEW, 300)
        file.xTruncate(1_500)
        file.xSync(0)
        disk.cut(random.Random(seed), manner)
        assert disk.files()[name] == bytes(300) + NEW[:1_200]


def test_unsynced_writes_are_lost_whole_or_kept_whole() -> None:
    assert after_cuts(Manner.LOST) == {OLD}
    assert after_cuts(Manner.KEPT) == {NEW[:1_000] + NEW}


def test_unsynced_writes_are_kept_by_prefix() -> None:
    """In the order they were made: neither, the first, or both."""
    assert after_cuts(Manner.PREFIX) == {OLD, NEW[:1_000] + OLD[1_000:], NEW[:1_000] + NEW}


def test_unsynced_write_is_torn_in_the_middle_of_a_sector() -> None:
    """Bytes of before and after in one sector; nothing that was never written."""
    torn = after_cuts(Manner.TORN)
    assert len(torn) > 20
    assert {byte for image in torn for byte in image} == {ord("o"), ord("n")}
    edges = {at for image in torn for at in range(1, len(image)) if image[at - 1] != image[at]}
    assert any(at % SECTOR_BYTES for at in edges)


def test_unsynced_sectors_are_kept_each_on_its_own() -> None:
    """Any of the first four is old or new whatever the others are, a few are torn as well."""
    firsts = {
        "".join(chr(image[at * SECTOR_BYTES + 1]) for at in range(3))
        for image in after_cuts(Manner.SCATTERED, seeds=200)
    }
    assert firsts == {"".join(three) for three in itertools.product("no", repeat=3)}


@pytest.mark.parametrize("manner", [Manner.LOST, Manner.KEPT, Manner.SCATTERED])
def test_names_are_as_unsynced_as_bytes(manner: Manner) -> None:
    """Made, taken away, renamed: before the folder's sync each may be undone by a cut."""
    seen = set()
    for seed in range(60):
        disk = ShadowDisk()
        disk.put("gone", OLD)
        disk.put("old-name", OLD)
        disk.xOpen("made", [DATABASE, 0]).xSync(0)
        disk.xDelete("gone", syncdir=False)
        disk.rename("old-name", "new-name")
        disk.cut(random.Random(seed), manner)
        seen.add(tuple(sorted(disk.files())))
        disk.close()
    before, after = ("gone", "old-name"), ("made", "new-name")
    if manner is not Manner.SCATTERED:
        assert seen == {before if manner is Manner.LOST else tuple(sorted(after))}
    else:
        assert len(seen) == 8


def test_first_sync_of_a_journal_makes_its_name_safe(disk: ShadowDisk) -> None:
    """As SQLite's own VFS does for journals and WALs, and not for the database."""
    disk.xOpen("a-wal", [JOURNAL, 0]).xSync(0)
    disk.xOpen("b", [DATABASE, 0]).xSync(0)
    disk.cut(random.Random(0), Manner.LOST)
    assert list(disk.files()) == ["a-wal"]


def test_call_the_power_fails_with_has_promised_nothing(disk: ShadowDisk) -> None:
    file = disk.xOpen("a-wal", [JOURNAL, 0])
    file.xSync(0)
    file.xWrite(NEW, 0)
    disk.cut_power(at=1)
    with pytest.raises(apsw.IOError):
        file.xSync(0)
    with pytest.raises(apsw.IOError):
        file.xWrite(NEW, 0)
    with pytest.raises(apsw.IOError):
        file.xRead(1, 0)
    disk.cut(random.Random(0), Manner.LOST)
    assert disk.files() == {"a-wal": b""}
    assert disk.powered


def test_killed_process_leaves_what_it_wrote_as_unsynced_as_it_was(disk: ShadowDisk) -> None:
    file = disk.xOpen("a-wal", [JOURNAL, 0])
    file.xSync(0)
    disk.cut_power(at=1)
    with pytest.raises(apsw.IOError):
        file.xWrite(NEW, 0)
    disk.spare()
    assert disk.xOpen("a-wal", [JOURNAL, 0]).xRead(9_999, 0) == NEW
    disk.cut(random.Random(0), Manner.LOST)
    assert disk.files() == {"a-wal": b""}


def test_same_dice_leave_the_same_disk() -> None:
    assert after_cuts(Manner.SCATTERED, seeds=5) == after_cuts(Manner.SCATTERED, seeds=5)


def test_file_of_before_the_cut_reaches_the_new_disk_no_more(disk: ShadowDisk) -> None:
    disk.put("a", OLD)
    file = disk.xOpen("a", [DATABASE, 0])
    disk.cut(random.Random(0))
    file.xWrite(NEW, 0)
    assert disk.files() == {"a": OLD}


# --- the account ------------------------------------------------------------------------------


def an_account() -> Account:
    """Three alarms on two routes, one settled on one of them."""
    account = Account()
    scribe = Scribe(Identity("1ed9e700", 1, "0000000a"), {}, random.Random(1), utc_ms=1_000)
    for number in range(3):
        event = scribe.event("alarm.panic.raised", data={"n": number})
        account.append([Entry(event, tuple(scribe.messages(event, ("security", "case"))))])
    account.settle(min(account.streams(), key=str), [(1, 1)])
    account.keep({"modes": "{}"})
    return account


def test_account_that_agrees_finds_nothing() -> None:
    sight = an_account().sight()
    assert not differences(sight, an_account().sight())
    assert not list(broken_chain(sight.messages))


def test_account_names_what_is_missing_doubled_or_changed() -> None:
    """Each thing a ledger may get wrong has a word of its own."""
    sight = an_account().sight()
    number, message = next(iter(sight.messages.items()))
    fewer = {n: m for n, m in sight.messages.items() if n != number}
    other = {**sight.messages, number: replace(message, token=b"x")}
    key, sequence = number
    more = {**sight.messages, (key, sequence + 9): message}
    wrong = {
        "lost": replace(sight, messages=fewer),
        "changed": replace(sight, messages=other),
        "unknown": replace(sight, messages=more),
        "owed and forgotten": replace(sight, owed=sight.owed - {min(sight.owed, key=str)}),
        "settled and owed again": replace(sight, owed=sight.owed | {(key, 7)}),
        "open alarms": replace(sight, open_alarms=sight.open_alarms[1:]),
        "kept": replace(sight, kept={}),
        "heads": replace(sight, heads={}),
    }
    for word, seen in wrong.items():
        assert [found.partition(":")[0] for found in differences(sight, seen)] == [word]


def test_account_finds_a_broken_chain() -> None:
    messages = dict(an_account().sight().messages)
    (number,) = [n for n in messages if n[0].route == "case" and n[1] == 2]
    assert number[0].stream is Stream.ALARM
    messages[number] = replace(messages[number], token=b"e|case|0000||")
    assert len(list(broken_chain(messages))) == 2


def test_account_of_a_disk_that_is_back_is_that_of_both() -> None:
    """All from memory; of a file that was taken away only what is owed and needed."""
    memory, disk = an_account(), Account()
    memory.native, disk.native = "0e0e0e0e", "1ed9e701"
    scribe = Scribe(Identity("1ed9e701", 1, "0000000b"), {}, random.Random(2), utc_ms=1_000)
    disk.append([scribe.entry("fault.path.raised")])
    both = memory.brought(disk, settled=True)
    assert set(both.events) == {*disk.events, *memory.events}
    assert both.owed == disk.owed | memory.owed
    assert (both.native, both.faults) == (disk.native, disk.faults)
    memory.settle(max(memory.streams(), key=str), [(1, 3)])
    memory.settle(min(memory.streams(), key=str), [(1, 3)])
    memory.open.clear()
    assert set(memory.brought(disk, settled=False).events) == set(disk.events)


def test_account_of_an_older_copy_forgets_what_is_over_since() -> None:
    now, older = an_account(), an_account()
    now.native = older.native = "1ed9e700"
    for key in now.streams():
        now.settle(key, [(1, 3)])
    now.open.clear()
    now.keep({"modes": "none"})
    both = now.brought(older, settled=False)
    assert (both.owed, both.open, both.kept) == (set(), set(), {"modes": "none"})
    assert both.messages == older.messages


def test_account_lets_the_log_be_dropped_and_no_alarm() -> None:
    account = Account()
    scribe = Scribe(Identity("1ed9e700", 1, "0000000a"), {}, random.Random(1), utc_ms=1_000)
    kinds = ("access.granted", "fault.path.cleared") * 2
    entries = [scribe.entry(kind) for kind in kinds]
    account.append(entries)
    assert account.prunable() == set()
    assert account.droppable() == {entries[0].event.id}


def test_account_knows_that_the_newest_entry_never_leaves() -> None:
    """Also where it is nobody's newest message: it was brought in from another ledger."""
    account = Account()
    account.native = "0ther000"
    scribe = Scribe(Identity("1ed9e700", 1, "0000000a"), {}, random.Random(1), utc_ms=1_000)
    older, newest = (scribe.entry("test.panic.passed") for _ in range(2))
    account.append([older, newest])
    account.owed.clear()
    assert account.prunable() == {older.event.id}


# --- the campaign -----------------------------------------------------------------------------


def told(cuts: int, *, seed: int = 1, sync: Sync = Sync.FULL) -> list[Outcome]:
    return [outcome for shard in shards(cuts, seed, sync) for outcome in run_shard(shard)]


def test_full_loses_nothing_acknowledged() -> None:
    """Cuts in every kind of story and of deed and of every manner, and not a finding."""
    outcomes = told(200)
    assert [finding for outcome in outcomes for finding in outcome.findings] == []
    total = whole(outcomes)
    assert total.cuts == 200
    assert total.kinds == {"ordinary": 100, "returning": 60, "cramped": 20, "threaded": 20}
    assert set(total.manners) == {str(manner) for manner in Manner}
    assert {"open", "raise", "batch", "come back", "swap", "burst"} <= set(total.cut_while)


@pytest.mark.parametrize("kind", [Story, Returning, Cramped, Threaded])
def test_normal_is_caught_losing_what_was_acknowledged(kind: type[Story]) -> None:
    """The same stories with commits that are not synced: nearly every one ends with a loss."""
    seeds = [seed for seed in range(1, 100) if kind_of(seed) is kind][:6]
    outcomes = [tell(seed, cuts=10, sync=Sync.NORMAL)[0] for seed in seeds]
    lost = [o for o in outcomes if any(f.startswith("lost:") for f in o.findings)]
    assert len(lost) >= 4


def test_no_syncs_at_all_are_caught_breaking_the_file() -> None:
    outcomes = told(200, sync=Sync.OFF)
    assert any(f.startswith("set aside:") for o in outcomes for f in o.findings)


def test_story_is_told_by_its_seed_alone() -> None:
    """The same in another process, among other stories, in pieces."""
    digest = whole(told(40, seed=7)).digest
    again = subprocess.run(
        [sys.executable, "-m", "campaigns.cut", "N=40", "SEED=7", "JOBS=2"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert again.returncode == 0, again.stdout + again.stderr
    assert f"sha256 {digest}" in again.stdout
    assert told(10, seed=8)[0] == told(40, seed=7)[1]
    assert digest != whole(told(40, seed=8)).digest


def test_last_story_makes_the_number_of_cuts_exact() -> None:
    assert sum(len(shard.seeds) * shard.cuts for shard in shards(10_003, 1, Sync.FULL)) == 10_003


def test_broken_story_says_how_it_is_replayed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["N=20", "SYNC=normal", "JOBS=1", f"LEAVE={tmp_path}"]) == 1
    text = capsys.readouterr().out
    assert "lost: " in text
    assert "replay: python -m campaigns.cut N=10 SEED=1 SYNC=normal" in text
    assert text.endswith("broken\n")
    assert (tmp_path / "normal-1" / "ledger.db").exists()


@pytest.mark.parametrize("argument", ["N=many", "N=-1", "N=0", "CUTS=5", "SYNC=sometimes", "5"])
def test_wrong_asking_ends_with_2_and_says_what_is_right(argument: str) -> None:
    wrong = subprocess.run(
        [sys.executable, "-m", "campaigns.cut", argument],
        capture_output=True,
        text=True,
        check=False,
    )
    assert wrong.returncode == 2
    assert "python -m campaigns.cut [N=10000]" in wrong.stderr


def test_option_without_a_value_is_its_default() -> None:
    """`make campaign-cut` passes on what it was not given."""
    assert asked(["N=", "SEED=7"], {"N": 10, "SEED": 1}) == {"N": 10, "SEED": 7}
    with pytest.raises(Wrong, match="SEED"):
        asked(["SEED=x"], {"SEED": 1})


def test_ctrl_c_says_how_far_it_came() -> None:
    running = subprocess.Popen(
        [sys.executable, "-m", "campaigns.cut", "N=1000000", "JOBS=2"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert running.stderr is not None
    assert "1,000,000" in running.stderr.readline()
    os.kill(running.pid, signal.SIGINT)
    out, _ = running.communicate(timeout=60)
    assert running.returncode == 130
    assert out.startswith("stopped: ")


def test_story_tells_what_it_does_with_a_ledger_that_forgets() -> None:
    """The rig needs no power cut to see a loss: a disk that comes back empty is another ledger."""

    class Forgetful(ShadowDisk):
        def cut(self, dice: random.Random, manner: Manner | None = None) -> Manner:
            manner = super().cut(dice, manner)
            for name in self.files():
                self.xDelete(name, syncdir=True)
            return manner

    async def tell() -> Outcome:
        story = Story(1, cuts=10)
        story.disk.close()
        story.disk = Forgetful()
        return await story.tell()

    findings = asyncio.run(tell()).findings
    assert any("another ledger" in finding for finding in findings)
    assert any(finding.startswith("lost:") for finding in findings)
