"""Which model a unit is, from what its identity registers say. Pure; the profiles are the facts.

A profile says where its model tells what it is. What else the units of one maker tell there
(firmware, serial number) stands here. A guess is for people: nothing is ever driven by it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from drivers.modbus.search.sweep import Answer, Question
from drivers.modbus.unit.identity import identity_of
from drivers.modbus.wire.request import Read
from gateway.core.profile import IdentityRule, Profile, Register, Table

_MODEL = Read(Table.HOLDING, 200, 6)
_LONG_MODEL, _SIGNATURE = Read(Table.HOLDING, 200, 20), Read(Table.HOLDING, 290, 12)
_FIRMWARE, _SERIAL = Read(Table.INPUT, 250, 16), Read(Table.INPUT, 270, 2)
_MORE = {_MODEL: (_LONG_MODEL, _SIGNATURE, _FIRMWARE, _SERIAL)}
"""What else a Wiren Board unit tells: its model in 20 characters (newer firmware), the signature of
its firmware, that firmware's version, its serial number. From the maker's own driver and wiki."""

_ALTERNATIVE = re.compile(r"firmware before (\d+)\.(\d+)")
_NAME = re.compile(r"[A-Za-z0-9 ._/-]{2,}")


@dataclass(frozen=True, slots=True)
class Guess:
    """What a unit may be. profiles: the likeliest first, empty where none fits.

    sure: it says so itself (a name, or what the profile expects); else its registers merely exist.
    says: the text or numbers found; identity: the same as `identity` of a device, for the first
    profile; firmware, serial: empty where it does not tell.
    """

    profiles: tuple[str, ...] = ()
    sure: bool = False
    says: str = ""
    identity: str = ""
    firmware: str = ""
    serial: str = ""


def questions_of(profiles: Sequence[Profile]) -> tuple[Question, ...]:
    """What to ask a unit to find out which of these it is: texts first, each register once."""
    rules = [profile.identity for profile in profiles if profile.identity is not None]
    rules.sort(key=lambda rule: (not rule.text, not rule.expect))
    witnesses = [_witness(profile) for profile in profiles]
    reads = [*(_read(rule) for rule in rules), *(one for one in witnesses if one is not None)]
    return tuple(Question(read, _MORE.get(read, ())) for read in dict.fromkeys(reads))


def recognise(answers: Sequence[Answer], profiles: Sequence[Profile]) -> Guess:
    """The guess for a unit that gave these answers."""
    said = {answer.read: answer.words for answer in answers if answer.words}
    told = [p for p in profiles if p.identity is not None and _read(p.identity) in said]
    guess = _by_number(told, said) or _by_name(told, said) or _by_register(told, said)
    if not guess.profiles and not guess.says:
        guess = Guess(tuple(p.id for p in profiles if _witness(p) in said))
    firmware, serial = _text(said.get(_FIRMWARE, ())), said.get(_SERIAL, ())
    number = str(serial[0] << 16 | serial[1]) if len(serial) == 2 else ""
    return Guess(
        profiles=guess.profiles,
        sure=guess.sure,
        says=guess.says,
        identity=guess.identity,
        firmware=firmware if _NAME.fullmatch(firmware) else "",
        serial=number,
    )


def _read(rule: IdentityRule) -> Read:
    return Read(rule.register.table, rule.register.address, rule.count)


def _witness(profile: Profile) -> Read | None:
    """A register few others have, of a model that does not say what it is: where its inputs are.

    A first register (address 0) says nothing, and bits are answered by everybody.
    """
    levels = [channel.level for channel in profile.inputs[:1] if channel.level is not None]
    if profile.identity is not None or not levels or levels[0].table.bits:
        return None
    return Read(levels[0].table, levels[0].address) if levels[0].address else None


def _by_number(told: Sequence[Profile], said: Mapping[Read, tuple[int, ...]]) -> Guess | None:
    """Those whose registers say what their profile expects."""
    for profile in told:
        rule = profile.identity
        assert rule is not None
        identity = identity_of(rule, said[_read(rule)])
        expected = bool(rule.expect) and said[_read(rule)] == rule.expect
        if expected or (rule.expect_text and identity == rule.expect_text):
            return Guess((profile.id,), sure=True, says=identity, identity=identity)
    return None


def _by_name(told: Sequence[Profile], said: Mapping[Read, tuple[int, ...]]) -> Guess | None:
    """Those whose name the unit's text is; a text that fills its registers may be cut off."""
    named = [profile for profile in told if profile.identity and profile.identity.text]
    for profile in named:
        rule = profile.identity
        assert rule is not None
        identity = identity_of(rule, said[_read(rule)])
        long, signature = (_text(said.get(read, ())) for read in (_LONG_MODEL, _SIGNATURE))
        names = [name for name in (long, signature, identity) if _NAME.fullmatch(name)]
        if not names:
            continue
        says = long if long in names else identity
        same = [p for p in named if p.identity and _read(p.identity) == _read(rule)]
        fits = _named(same, names, _text(said.get(_FIRMWARE, ())))
        if not fits and len(identity) == rule.count:
            fits = [p for p in same if _plain(p.id).startswith(_plain(identity))]
        ids = tuple(p.id for p in fits)
        return Guess(ids, sure=len(ids) == 1, says=says, identity=identity)
    return None


def _named(profiles: Sequence[Profile], names: Sequence[str], firmware: str) -> list[Profile]:
    """The profiles one of these names means, the one for this firmware first."""
    for name in names:
        wanted = _plain(name)
        fits = [
            profile
            for profile in profiles
            if wanted in {_plain(profile.id), _plain(profile.model.partition(",")[0])}
        ]
        if fits:
            return sorted(fits, key=lambda profile: _rank(profile, firmware))[:1]
    return []


def _rank(profile: Profile, firmware: str) -> int:
    """How well it suits this firmware: `firmware before 1.25` in its model is a limit."""
    limit = _ALTERNATIVE.search(profile.model)
    version = re.match(r"(\d+)\.(\d+)", firmware)
    if limit is None:
        return 1
    if version is None:
        return 2
    older = (int(version[1]), int(version[2])) < (int(limit[1]), int(limit[2]))
    return 0 if older else 2


def _by_register(told: Sequence[Profile], said: Mapping[Read, tuple[int, ...]]) -> Guess:
    """Those whose registers exist, where no source tells what stands in them."""
    some = [
        profile
        for profile in told
        if profile.identity
        and not (profile.identity.text or profile.identity.expect or profile.identity.expect_text)
    ]
    if not some or some[0].identity is None:
        return Guess()
    identity = identity_of(some[0].identity, said[_read(some[0].identity)])
    return Guess(tuple(p.id for p in some), sure=False, says=identity, identity=identity)


def _text(words: Sequence[int]) -> str:
    rule = IdentityRule(Register(Table.HOLDING, 0), len(words), text="one")
    return identity_of(rule, words)


def _plain(name: str) -> str:
    """A name without what people write differently: case, dashes, dots, the maker's letters."""
    return "".join(char for char in name.lower() if char.isalnum()).removeprefix("wb")
