"""What may stand wrong about one place of a profile: table, address, words, bits, function.

Owns the rules of a single register or a family of them. Knows neither YAML nor pydantic, and opens
nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass

from gateway.config.document import Loc
from gateway.config.profile.models import (
    WORD_MAX,
    FamilySection,
    PlacesSection,
    RegisterSection,
    SettingSection,
)
from gateway.config.profile.unfold import function_of
from gateway.core.profile import Table

REGISTERS = (Table.HOLDING, Table.INPUT)
WRITABLE = (Table.COIL, Table.HOLDING)
EVERYWHERE = tuple(Table)

_FUNCTIONS = {Table.COIL: (5, 15), Table.HOLDING: (6, 16)}
_WORD_BITS = 16


@dataclass(frozen=True, slots=True)
class Places:
    """The rules, with somebody to tell: `wrong(where, what, what would be right)`."""

    wrong: Callable[[Loc, str, str], None]

    def single(
        self, loc: Loc, register: RegisterSection, tables: Collection[Table] = EVERYWHERE
    ) -> None:
        """Judge one register that stands alone and must be in one of these tables."""
        self._value(loc, register, tables)
        if register.bit is not None:
            if register.table.bits:
                self.wrong((*loc, "bit"), f"a {register.table} is one bit already", "remove it")
            elif register.bit >= _WORD_BITS * register.words:
                self.wrong((*loc, "bit"), *_no_such_bit(register.words))
        if register.address + register.words - 1 > WORD_MAX:
            self.wrong((*loc, "address"), "the value ends beyond 65535", "mend address or words")

    def family(
        self,
        loc: Loc,
        places: PlacesSection,
        family: FamilySection,
        tables: Collection[Table] = EVERYWHERE,
    ) -> None:
        """Judge the places of a whole family, which must be in one of these tables."""
        self._value(loc, places, tables)
        self._spread(loc, places, family.count)
        if places.mask:
            if places.table.bits:
                self.wrong((*loc, "mask"), f"a {places.table} is one bit already", "remove it")
            elif family.count > _WORD_BITS * places.words:
                right = f"write words: {-(-family.count // _WORD_BITS)}, or a smaller count"
                self.wrong((*loc, "mask"), f"{family.count} bits do not fit", right)
        elif places.step is not None and 0 < places.step < places.words:
            self.wrong((*loc, "step"), "the values overlap", f"write step: {places.words}")
        highest = self._highest(places, family)
        if highest > WORD_MAX:
            key = "address" if places.addresses is None else "addresses"
            self.wrong((*loc, key), f"the last one is at {highest}", "mend address, step or count")

    def setting(self, loc: Loc, setting: SettingSection) -> None:
        """Judge what a setting says beside its place and its `when`."""
        self.function(loc, setting.table, setting.function)
        if (setting.value is None) is (setting.in_silence is None):
            self.wrong(loc, "needs exactly one of value and in_silence", "write value: N")
        for key in ("when", "before_outputs"):
            if setting.in_silence is not None and key in setting.model_fields_set:
                self.wrong((*loc, key), "is said by in_silence already", "remove it")
        if setting.most is not None and (setting.value is None or setting.most < setting.value):
            right = "write value: N, and most: N or more"
            self.wrong((*loc, "most"), "is less than the value itself", right)
        if setting.blind and (setting.before_outputs or setting.in_silence is not None):
            what = "outputs cannot wait for what cannot be read back"
            self.wrong((*loc, "blind"), what, "remove it, or before_outputs")
        if setting.table is Table.COIL and max(setting.wanted.values(), default=0) > 1:
            self.wrong(loc, "a coil holds 0 or 1", "write value: 0 or 1")

    def function(self, loc: Loc, table: Table, chosen: int | None) -> None:
        """Judge the function of a write to that table."""
        fit = _FUNCTIONS.get(table)
        if fit and function_of(table, chosen) not in fit:
            right = f"write {fit[0]} or {fit[1]}"
            self.wrong((*loc, "function"), f"{chosen} does not write a {table}", right)

    def _value(
        self, loc: Loc, place: RegisterSection | PlacesSection, tables: Collection[Table]
    ) -> None:
        if place.table not in tables:
            right = f"one of {', '.join(tables)}"
            self.wrong((*loc, "table"), f"{place.table} cannot be used here", right)
        if place.table.bits:
            for key in ("words", "low_word_first", "high_byte"):
                if key in place.model_fields_set:
                    what = f"a {place.table} is one bit: it has no {key}"
                    self.wrong((*loc, key), what, "remove it")
            return
        if place.low_word_first and place.words == 1:
            self.wrong((*loc, "low_word_first"), "one word has no order", "write words: 2")
        if place.high_byte and place.words > 1:
            self.wrong((*loc, "high_byte"), "is the upper half of one word", "remove words")

    def _spread(self, loc: Loc, places: PlacesSection, count: int) -> None:
        if (places.address is None) is (places.addresses is None):
            self.wrong(
                loc,
                "needs exactly one of address and addresses",
                "write address: N, or addresses: [N, …] with one for each channel",
            )
        for key in ("step", "mask"):
            if places.addresses is not None and key in places.model_fields_set:
                self.wrong((*loc, key), "has no effect beside addresses", "remove it")
        if places.mask and places.step is not None:
            self.wrong((*loc, "step"), "a mask has one address", "remove it")
        if places.addresses is None:
            return
        if len(places.addresses) != count:
            what = f"{len(places.addresses)} addresses for {count} channels"
            self.wrong((*loc, "addresses"), what, "write one for each channel")
        for n, address in enumerate(places.addresses):
            if address in places.addresses[:n]:
                self.wrong((*loc, "addresses", n), f"{address} stands twice", "name each once")

    @staticmethod
    def _highest(places: PlacesSection, family: FamilySection) -> int:
        if places.addresses is not None:
            last = max(places.addresses)
        else:
            step = places.words if places.step is None else places.step
            steps = 0 if places.mask else family.count - 1
            last = (places.address or 0) + steps * step
        return last + places.words - 1 + (family.groups - 1) * family.group_step


def _no_such_bit(words: int) -> tuple[str, str]:
    return "the value has no such bit", f"write 0 to {_WORD_BITS * words - 1}, or more words"
