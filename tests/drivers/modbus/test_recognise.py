"""Which model a unit is, from answers as they come off the wire."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pytest

from drivers.modbus.search.recognise import Guess, questions_of, recognise
from drivers.modbus.search.sweep import Answer
from drivers.modbus.wire.request import Read
from gateway.core.profile import Profile, Table
from simulators.bus.shipped import profile
from tests.drivers.modbus.scan_rig import models

MODEL, LONG = Read(Table.HOLDING, 200, 6), Read(Table.HOLDING, 200, 20)
SIGNATURE, FIRMWARE = Read(Table.HOLDING, 290, 12), Read(Table.INPUT, 250, 16)
ORION, SOFTWARE = Read(Table.HOLDING, 46_152), Read(Table.HOLDING, 0x8000)


def text(read: Read, said: str) -> Answer:
    return Answer(read, tuple(said.encode().ljust(read.count, b"\0")[: read.count]))


def guess(*answers: Answer, profiles: Sequence[Profile] = ()) -> Guess:
    return recognise(answers, profiles or models())


def test_recognise_knows_a_unit_by_its_name() -> None:
    found = guess(text(MODEL, "WBMR6C"))
    assert (found.profiles, found.sure, found.identity) == (("wb-mr6c",), True, "WBMR6C")


def test_recognise_prefers_the_long_name_of_newer_firmware() -> None:
    found = guess(text(MODEL, "WB-MR6"), text(LONG, "WB-MR6C v.3"))
    assert (found.profiles, found.says, found.identity) == (
        ("wb-mr6c-v3",),
        "WB-MR6C v.3",
        "WB-MR6",
    )


@pytest.mark.parametrize(
    ("firmware", "expected"),
    [("1.20.4", "wb-mr6c-legacy"), ("1.25.0", "wb-mr6c"), ("2.3", "wb-mr6c"), ("", "wb-mr6c")],
)
def test_recognise_takes_the_profile_that_suits_the_firmware(firmware: str, expected: str) -> None:
    found = guess(text(MODEL, "WBMR6C"), text(FIRMWARE, firmware))
    assert found.profiles == (expected,)
    assert found.firmware == firmware


def test_recognise_is_sure_of_a_name_that_was_cut_off_only_if_one_model_begins_so() -> None:
    assert guess(text(MODEL, "WBMRM2")).profiles == ("wb-mrm2-mini",)
    several = guess(text(MODEL, "WB-MR6"))
    assert not several.sure
    assert set(several.profiles) >= {"wb-mr6c", "wb-mr6cu", "wb-mr6c-v3"}


def test_recognise_tells_a_name_no_profile_has() -> None:
    found = guess(text(MODEL, "WBMAP3"), text(SIGNATURE, "map3e"), text(FIRMWARE, "4.1.0"))
    assert (found.profiles, found.says, found.firmware) == ((), "WBMAP3", "4.1.0")


@pytest.mark.parametrize(("value", "expected"), [(36, ("bolid-s2000-pp",)), (12, ())])
def test_recognise_knows_a_unit_by_the_number_its_profile_expects(
    value: int, expected: tuple[str, ...]
) -> None:
    assert guess(Answer(ORION, (value,))).profiles == expected


def test_recognise_only_supposes_what_a_register_alone_tells() -> None:
    found = guess(Answer(SOFTWARE, (200,)), Answer(MODEL, code=2))
    assert (found.profiles, found.sure, found.says) == (("waveshare-relay-d",), False, "200")


def test_recognise_supposes_a_model_without_identity_by_where_its_inputs_are() -> None:
    profiles = [*models(), profile("owen-mk110-8d4r")]
    found = guess(Answer(Read(Table.HOLDING, 0x33), (0,)), profiles=profiles)
    assert set(found.profiles) == {"owen-mv110-16d", "owen-mk110-8d4r"}
    assert not found.sure


@pytest.mark.parametrize(
    "said",
    [
        {MODEL: (0, 0, 0, 0, 0, 0)},
        {MODEL: (0xFFFE,) * 6},
        {MODEL: (7, 0x1B, 0x41, 0x42, 0, 0)},
        {},
    ],
)
def test_recognise_takes_no_rubbish_for_a_name(said: Mapping[Read, tuple[int, ...]]) -> None:
    found = guess(*(Answer(read, words) for read, words in said.items()))
    assert found == Guess()


def test_questions_ask_each_register_once_and_names_first() -> None:
    questions = questions_of(models())
    reads = [question.read for question in questions]
    assert len(reads) == len(set(reads))
    assert reads[:2] == [MODEL, ORION]
    assert questions[0].then
