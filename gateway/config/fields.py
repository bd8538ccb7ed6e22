"""The kinds of value a configuration knows: text, ids, durations, addresses, contacts.

Owns how pydantic takes one value and how a JSON Schema describes it. The sections made of them are
in `iron.py` and `models.py`; what a value means is `document.py`'s to parse.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    WithJsonSchema,
    model_validator,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema

from gateway.config.document import (
    DOORS_ALL,
    kind_of,
    matching,
    parsing,
    pin_or_channel,
    spelled_once,
    text,
    unique,
    within,
)
from gateway.config.files import Wrong
from gateway.core import premises
from gateway.core.kinds import ALARMS, FAULTS

_ID = r"[a-z0-9][a-z0-9-]{0,62}"
WIRED = r"^(gpio:(1?[0-9]|2[0-7])|[a-z0-9][a-z0-9-]*/[a-z0-9][a-z0-9-]*)$"
"""The pattern of a pin or of a device's channel, for editors."""

EVENT = rf"^(alarm\.({'|'.join(ALARMS)})\.(raised|unanswered)|fault\.({'|'.join(FAULTS)})\.raised)$"
"""The pattern of an event a local rule may hang on, for editors."""

DURATION = r"^(never|[0-9]+(ms|[smhdy]))$"
"""The pattern of a duration, for editors."""

SPELLING = WithJsonSchema({"type": ["string", "number"]})


class Section(BaseModel):
    """A mapping of the file: no key beyond those named, no value bent into another type."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


@dataclass(frozen=True, slots=True)
class Span:
    """Annotates a duration from `low` to `high`, or `never` where that is allowed."""

    low: str
    high: str
    never: bool = False

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        check = within(self.low, self.high, never=self.never)
        return core_schema.no_info_before_validator_function(check, handler(source))

    def __get_pydantic_json_schema__(
        self, core: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        return {"type": "string", "pattern": DURATION}


Text = Annotated[str, BeforeValidator(text), SPELLING]
Id = Annotated[
    str, BeforeValidator(matching(_ID, "write a-z, 0-9 and -, at most 63, not - first")), SPELLING
]
Names = Annotated[list[Id], AfterValidator(unique)]
Whole = Annotated[int, BeforeValidator(spelled_once)]
Wired = Annotated[
    str,
    BeforeValidator(parsing(pin_or_channel)),
    WithJsonSchema({"type": "string", "pattern": WIRED}),
]


class InputSection(Section):
    """The contacts of a point, at least one; both are a change-over pair."""

    normally_open: Wired | None = Field(
        None, description="The contact that closes when the point is active."
    )
    normally_closed: Wired | None = Field(
        None, description="The contact that opens when the point is active."
    )
    line: premises.Line = Field(
        premises.Line.SHORT,
        strict=False,
        description="long: single wires near motors, confirmed more slowly.",
    )

    @model_validator(mode="after")
    def _wired(self) -> InputSection:
        if self.normally_open is None and self.normally_closed is None:
            raise Wrong("has no contact", "write normally_open: gpio:N, normally_closed, or both")
        return self


class ContactSection(Section):
    """One more contact of a door, by how it rests; exactly one key."""

    normally_open: Wired | None = Field(None, description="It closes when active.")
    normally_closed: Wired | None = Field(None, description="It opens when active.")

    @model_validator(mode="after")
    def _one(self) -> ContactSection:
        if (self.normally_open is None) is (self.normally_closed is None):
            raise Wrong(
                "needs exactly one of normally_open and normally_closed",
                "write DEVICE/CHANNEL for a contact that closes when active",
            )
        return self


def _spelled_short(key: str) -> Callable[[object], object]:
    """A contact written as its address alone stands for that key of the mapping."""

    def expand(value: object) -> object:
        if isinstance(value, str):
            return {key: pin_or_channel(value)}
        if isinstance(value, dict):
            return value
        raise Wrong(f"is {kind_of(value)}", "write gpio:N or DEVICE/CHANNEL")

    return expand


class _OrAddress:
    """In the JSON Schema: a mapping of contacts, or one address."""

    def __get_pydantic_json_schema__(
        self, core: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        return {"anyOf": [{"type": "string", "pattern": WIRED}, handler(core)]}


DoorInput = Annotated[
    InputSection, BeforeValidator(_spelled_short("normally_closed")), _OrAddress()
]
"""A door's own contact. An address alone: it is closed while the door is shut."""

Contact = Annotated[ContactSection, BeforeValidator(_spelled_short("normally_open")), _OrAddress()]
"""Another contact of a door. An address alone: it closes when active."""


def _all_or_names(value: object) -> object:
    if value == "all":
        return [DOORS_ALL]
    if isinstance(value, str):
        raise Wrong(f"{value!r} is no list of doors", f"write all, or [{value}]")
    return value


Doors = Annotated[
    list[Annotated[str, BeforeValidator(text)]],
    BeforeValidator(_all_or_names),
    AfterValidator(unique),
    WithJsonSchema(
        {"anyOf": [{"const": "all"}, {"type": "array", "items": {"type": ["string", "number"]}}]}
    ),
]
"""The doors a rule acts on; `all` becomes the one name no door can have."""

Verb = Literal[
    "door.unlock",
    "door.lock",
    "door.release",
    "lockdown.begin",
    "lockdown.end",
    "drill.begin",
    "drill.end",
    "isolate",
    "walk-test",
    "resend",
]
Class = Literal["alarm", "fault", "access", "state", "test"]
