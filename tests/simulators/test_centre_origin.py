"""Which box speaks: a lost disk, a copied card, an old copy put back, no disk at all; told apart.

With real ledger files under the real daemon: deleted, copied, put back.
"""

from __future__ import annotations

import asyncio
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from gateway.core.model import Stream
from gateway.core.premises import LedgerSpec, Premises
from simulators.centre.core.words import FindingKind, Mark
from tests.obedience import obeying
from tests.school import TWO_UPLINKS, School

ORIGINS = {
    FindingKind.FORK,
    FindingKind.CLONED,
    FindingKind.RESTORED,
    FindingKind.NEW_LEDGER,
    FindingKind.IN_MEMORY,
}


def found(school: School, route: str = "security") -> list[str]:
    """What a centre says of the box itself."""
    findings = school.centres[route].found
    return [finding.kind.value for finding in findings if finding.kind in ORIGINS]


def text(school: School, kind: FindingKind) -> str:
    return next(one.text for one in school.centres["security"].found if one.kind is kind)


def copied(school: School, to: Path) -> Path:
    """The ledger as it lies on the disk now, write-ahead log and all."""
    path = school.premises.ledger.path
    for end in ("", "-wal"):
        if Path(path + end).exists():
            shutil.copyfile(path + end, f"{to}{end}")
    return to


def lost(school: School) -> None:
    """The disk is empty from now on."""
    Path(school.premises.ledger.path).unlink()


def put(school: School, path: Path) -> None:
    """From the next start on the gateway uses that file."""
    school.premises = replace(school.premises, ledger=LedgerSpec(str(path)))


def over(premises: Premises, uplink: str) -> Premises:
    """The same premises, every route by one uplink."""
    routes = tuple(replace(route, via=(uplink,)) for route in premises.routes)
    uplinks = tuple(spec for spec in premises.uplinks if spec.id == uplink)
    return replace(premises, routes=routes, uplinks=uplinks)


async def pressed(school: School, seconds: float = 30) -> None:
    await school.bench.press("reception", "clean", 200)
    await school.clock.sleep(seconds)


def test_plain_restarts_and_kills_are_nothing_to_speak_of(tmp_path: Path) -> None:
    async def scenario(school: School) -> None:
        await pressed(school)
        await school.stop()
        await school.start()
        await pressed(school)
        await school.kill()
        await school.start()
        await pressed(school, 60)

    assert found(obeying(tmp_path, scenario)) == []


def test_disk_that_was_lost_is_told_as_a_new_ledger(tmp_path: Path) -> None:
    async def scenario(school: School) -> None:
        await pressed(school)
        await school.stop()
        lost(school)
        await school.start()
        await school.clock.sleep(60)

    school = obeying(tmp_path, scenario)
    assert found(school) == ["new-ledger"]
    assert school.last_beat().ledger in text(school, FindingKind.NEW_LEDGER)


def test_gateway_without_its_disk_is_told_as_running_in_memory(tmp_path: Path) -> None:
    async def scenario(school: School) -> None:
        await pressed(school)
        await school.stop()
        put(school, tmp_path / "not mounted" / "ledger.db")
        await school.start()
        await school.clock.sleep(60)

    school = obeying(tmp_path, scenario)
    assert found(school) == ["in-memory"]
    assert "without its disk" in text(school, FindingKind.IN_MEMORY)


def test_gateway_that_has_its_old_disk_back_is_nothing_new(tmp_path: Path) -> None:
    async def scenario(school: School) -> None:
        await pressed(school)
        home = Path(school.premises.ledger.path)
        await school.stop()
        put(school, tmp_path / "not mounted" / "ledger.db")
        await school.start()
        await pressed(school)
        await school.stop()
        put(school, home)
        await school.start()
        await pressed(school, 60)

    assert found(obeying(tmp_path, scenario)) == ["in-memory"]


def test_old_copy_that_was_put_back_is_told_when_an_epoch_begins_anew(tmp_path: Path) -> None:
    async def scenario(school: School) -> None:
        await school.stop()
        backup = copied(school, tmp_path / "backup.db")
        for _ in range(3):
            await school.start()
            await pressed(school)
            await school.stop()
        put(school, backup)
        await school.start()
        await pressed(school, 60)

    school = obeying(tmp_path, scenario)
    assert found(school) == ["fork", "restored"]
    assert "was in epoch 4 already" in text(school, FindingKind.RESTORED)
    assert "begins epoch 2 anew" in text(school, FindingKind.RESTORED)


def test_old_copy_of_the_running_epoch_is_told_by_what_it_no_longer_has(tmp_path: Path) -> None:
    """No epoch is repeated: only the numbers show it."""

    async def scenario(school: School) -> None:
        await pressed(school)
        backup = copied(school, tmp_path / "backup.db")
        for _ in range(3):
            await pressed(school)
        await school.kill()
        put(school, backup)
        await school.start()
        await pressed(school, 60)

    school = obeying(tmp_path, scenario)
    assert found(school) == ["restored"]
    assert "are held here" in text(school, FindingKind.RESTORED)
    held = [v for v in school.heard("security") if Mark.RESUMED in v.marks]
    assert held


def test_power_cut_behind_a_late_disk_is_no_old_copy(tmp_path: Path) -> None:
    """What went ahead of the disk is lost at the gateway; that is a moment, and not a day."""

    async def scenario(school: School) -> None:
        await pressed(school)
        backup = copied(school, tmp_path / "cut.db")
        await pressed(school, 1)
        await school.kill()
        put(school, backup)
        await school.start()
        await pressed(school, 60)

    school = obeying(tmp_path, scenario)
    assert found(school) == []
    assert [v for v in school.heard("security") if Mark.RESUMED in v.marks]


def test_two_boxes_with_copies_of_one_card_are_told_as_a_copy(tmp_path: Path) -> None:
    """Both run, on an uplink each, and both are believed."""

    async def scenario(school: School) -> None:
        await school.stop()
        copy = copied(school, tmp_path / "copy.db")
        both = school.premises
        await school.clock.sleep(5)
        school.premises = over(both, "campus")
        await school.start()
        await school.clock.sleep(10)
        other = replace(over(both, "lte"), ledger=LedgerSpec(str(copy)), points=())
        copied_box = await school.start_beside(other)
        await pressed(school, 60)
        copied_box.cancel()
        await asyncio.gather(copied_box, return_exceptions=True)

    school = obeying(tmp_path, scenario, premises=TWO_UPLINKS)
    assert found(school) == ["fork", "cloned"]
    alive = {
        sent.payload["start"] for sent in school.carried("heartbeat") if sent.at_us > 40_000_000
    }
    assert len(alive) == 2
    assert all(start in text(school, FindingKind.CLONED) for start in alive)
    heard = {v.message.key.start for v in school.heard("security") if v.message is not None}
    assert alive <= heard


@pytest.mark.parametrize("stream", list(Stream))
def test_centre_that_starts_again_still_knows_whose_ledger_it_was(
    tmp_path: Path, stream: Stream
) -> None:
    """From its store alone, whichever stream it has a message of."""
    from tests.test_resend import wiped  # noqa: PLC0415 -- only here a centre begins anew

    async def scenario(school: School) -> None:
        await pressed(school)
        rows = [v.row for v in school.centres["security"].new if v.row]
        await school.stop()
        lost(school)
        wiped(school)
        core = school.centres["security"].core
        core.restore([row for row in rows if row.key.stream is stream])
        await school.start()
        await school.clock.sleep(60)

    assert "new-ledger" in found(obeying(tmp_path, scenario))
