"""What a centre notices of one gateway's numbers, with thousands of whole starts behind it."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import example, given, settings
from hypothesis import strategies as st

from gateway.core.model import Stream, StreamKey
from simulators.centre.core.site import Site
from simulators.centre.core.words import Finding, Stored

STEP_MS = 4_000


def key(epoch: int) -> StreamKey:
    return StreamKey("security", Stream.LOG, "aabbccdd", epoch, f"{epoch:08x}")


def row(epoch: int, number: int) -> Stored:
    return Stored(
        *("school-12-main", key(epoch), number, f"{epoch}-{number}", "state.x", None),
        digest=f"{epoch}-{number}",
        previous=f"{epoch}-{number - 1}" if number > 1 else None,
        resumes=None,
        conflict=False,
        received_ms=0,
        uplink="campus",
        token=b"",
    )


class Naive(Site):
    """It looks at every run each time."""

    def doubts(self, at_ms: int) -> list[Finding]:
        self.watched = dict(self.runs)
        return super().doubts(at_ms)

    def doubt_deadline(self) -> int | None:
        self.watched = dict(self.runs)
        return super().doubt_deadline()


STEPS = st.tuples(
    st.sampled_from(["take", "hold", "drop", "head", "name", "gone", "wait"]),
    st.integers(1, 2),
    st.integers(1, 2),
)


def do(site: Site, what: str, epoch: int, number: int) -> None:
    one = (Stream.LOG, "aabbccdd", epoch)
    match what:
        case "take":
            site.take(row(epoch, number))
        case "hold":
            if number in site.run(key(epoch)).pending:
                site.hold(row(epoch, number))
        case "drop":
            site.drop(row(epoch, number))
        case "head":
            site.name_head(key(epoch), number)
        case "name":
            site.name(one, number, history=number % 2 == 0)
        case "gone":
            site.gone(one, "", [(number, number)])


def words(findings: Sequence[Finding]) -> list[str]:
    """Of one moment, in whatever order."""
    return sorted(f"{finding.kind} {finding.text}" for finding in findings)


@given(st.lists(STEPS, max_size=60))
@example([("take", 1, 1), ("head", 1, 1), ("drop", 1, 1), ("wait", 1, 1), ("wait", 1, 1)])
@settings(max_examples=300)
def test_site_notices_what_looking_at_every_run_would(steps: list[tuple[str, int, int]]) -> None:
    site, naive = (made("school-12-main", {}, {"campus": 5_000}) for made in (Site, Naive))
    for moment, (what, epoch, number) in enumerate(steps):
        at_ms = moment * STEP_MS
        for each in (site, naive):
            do(each, what, epoch, number)
        assert site.doubt_deadline() == naive.doubt_deadline()
        assert site.lacking(at_ms) == naive.lacking(at_ms)
        assert words(site.findings(at_ms)) == words(naive.findings(at_ms))


def test_site_looks_no_more_at_what_is_whole() -> None:
    site = Site("school-12-main", {}, {"campus": 5_000})
    for epoch in range(1, 100):
        site.name_head(key(epoch), 1)
        site.take(row(epoch, 1))
        assert site.findings(epoch) == []
    site.name_head(key(99), 2)
    assert list(site.watched) == [key(99)]
