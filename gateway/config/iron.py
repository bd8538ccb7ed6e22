"""The shape of what hangs on wires: points and doors, buses, devices, and local rules.

Owns the models, which are also their part of the JSON Schema. What takes two keys to see is
`points.py`'s, `buses.py`'s, `doors.py`'s and `rules.py`'s.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, ConfigDict, Field, WithJsonSchema, model_validator

from gateway.config.document import bus_address, matching, parsing, unit_number
from gateway.config.fields import (
    EVENT,
    Contact,
    DoorInput,
    Doors,
    Id,
    InputSection,
    Section,
    Span,
    Text,
    Whole,
    Wired,
)
from gateway.config.files import Wrong
from gateway.config.wiring import DOOR_KEYS
from gateway.core import hardware, premises


class PlaceSection(Section):
    """Where a point is. Never the name of a person."""

    building: Text = Field("", description="Building.")
    floor: Text = Field("", description="Floor.")
    room: Text = Field("", description="Room.")
    zone: Text = Field("", description="An area of the premises.")


class CidSection(Section):
    """SIA Contact ID numbers under which this point is reported."""

    partition: Whole = Field(1, ge=0, le=99, description="Contact ID partition, 0 to 99.")
    zone: Whole = Field(0, ge=0, le=999, description="Contact ID zone, 0 to 999.")


def _door_or_not(schema: dict[str, Any]) -> None:
    """Tell an editor which keys a door has and which everything else."""
    forbidden = {"anyOf": [{"required": [key]} for key in DOOR_KEYS]}
    schema["if"] = {"properties": {"kind": {"const": "door"}}, "required": ["kind"]}
    schema["then"] = {"required": ["contact", "egress"], "not": {"required": ["input"]}}
    schema["else"] = {"required": ["input"], "not": forbidden}


class PointSection(Section):
    """One supervised thing."""

    model_config = ConfigDict(json_schema_extra=_door_or_not)

    kind: premises.PointKind = Field(strict=False, description="What it is.", examples=["panic"])
    input: InputSection | None = Field(
        None,
        description="Its contacts; required, but of a door, which has `contact`.",
        examples=["{normally_open: gpio:17, normally_closed: gpio:27}"],
    )
    place: PlaceSection = Field(PlaceSection(), description="Where it is.")
    cid: CidSection = Field(CidSection(), description="Its Contact ID numbers.")
    lamp: Wired | None = Field(
        None, description="The output that lights the lamp at it; refused on a silent point."
    )
    silent: bool | None = Field(
        None,
        description="Its alarm shows nowhere on the premises; true for hold-up and duress.",
    )
    mechanical_latch: bool = Field(
        False, description="The button stays in until a key frees it, and is then not stuck."
    )
    wiring_doubt: premises.WiringDoubt = Field(
        premises.WiringDoubt.ALARM,
        strict=False,
        description="What a damaged pair means on a button: also an alarm, or only a fault.",
    )
    stuck_after: Annotated[str, Span("5s", "24h", never=True)] = Field(
        "60s", description="A button held longer is stuck, 5s to 24h, or never."
    )
    prove_within: Annotated[str, Span("1d", "2y", never=True)] | None = Field(
        None,
        description="Longest time without a press or walk test, 1d to 2y, or never; "
        "30d for kinds a person operates, never for others.",
    )
    contact: DoorInput | None = Field(
        None, description="A door's own contact, closed while it is shut; required of a door."
    )
    request_to_exit: Contact | None = Field(
        None, description="Active while somebody asks to leave: watched, never acted on."
    )
    bolt: Contact | None = Field(None, description="Active while the bolt is withdrawn.")
    granted: Contact | None = Field(None, description="The controller's flag: access granted.")
    denied: Contact | None = Field(None, description="The controller's flag: access denied.")
    forced: Contact | None = Field(None, description="The controller's flag: door forced.")
    held: Contact | None = Field(None, description="The controller's flag: door held open.")
    tamper: Contact | None = Field(None, description="The controller's flag: case opened.")
    lock: Wired | None = Field(None, description="The output that drives the lock.")
    lock_type: hardware.LockType | None = Field(
        None,
        strict=False,
        description="strike: energised releases; magnet: energised locks. Default strike.",
    )
    egress: hardware.Egress | None = Field(
        None,
        strict=False,
        description="How people get out whatever the gateway does; required of a door.",
    )
    fire_release: Id | None = Field(
        None,
        description="hardwired (the fire panel cuts the lock's supply), or the id of the fire "
        "point that releases it; required unless egress is handle or none.",
    )
    fire_opens: hardware.FireOpens | None = Field(
        None,
        strict=False,
        description="The side fire frees by the gateway's hand. Default exit; both for a magnet.",
    )
    on_silence: hardware.OnSilence | None = Field(
        None,
        strict=False,
        description="What the unit does with the lock when the gateway falls silent. Default keep.",
    )
    unlock: Annotated[str, Span("1s", "5m")] | None = Field(
        None, description="How long a timed opening lasts, 1s to 5m. Default 5s."
    )
    grant: Annotated[str, Span("1s", "60s")] | None = Field(
        None,
        description="How long after a grant, an exit or a timed opening it may be opened, "
        "1s to 60s. Default 5s.",
    )
    held_after: Annotated[str, Span("5s", "1h", never=True)] | None = Field(
        None, description="Open longer is door-held, 5s to 1h, or never. Default 30s."
    )
    warn_before: Annotated[str, Span("1s", "10m")] | None = Field(
        None,
        description="How much earlier the sounder warns, 1s to 10m. Default 10s, "
        "and at most half of held_after.",
    )
    sounder: Wired | None = Field(None, description="The output that warns of a door held open.")
    remote_unlock: bool | None = Field(
        None, description="A centre may open it by command. Default false."
    )


# --- buses and what hangs on them -----------------------------------------------------------


class BusSection(Section):
    """One port with units behind it."""

    port: (
        Annotated[
            Text, BeforeValidator(matching(r"/[^\s]*", "write the device's path: /dev/ttyRS485"))
        ]
        | None
    ) = Field(None, description="Serial port (Modbus RTU). Exactly one of port and url.")
    url: Annotated[Text, BeforeValidator(parsing(bus_address))] | None = Field(
        None, description="tcp://HOST[:502] (Modbus TCP) or rtu+tcp://HOST:PORT (a converter)."
    )
    baud: Literal[1200, 2400, 4800, 9600, 19200, 38400, 57600, 115200] = Field(
        9600, description="Speed of the line, in bits per second."
    )
    parity: hardware.Parity = Field(
        hardware.Parity.NONE, strict=False, description="Parity of a character."
    )
    stop_bits: Literal[1, 2] = Field(2, description="Stop bits of a character.")
    echo: bool | None = Field(
        None,
        description="Our own request comes back before the answer; found out if not written.",
    )

    @model_validator(mode="after")
    def _one(self) -> BusSection:
        if (self.port is None) is (self.url is None):
            raise Wrong(
                "needs exactly one of port and url",
                "write port: /dev/ttyRS485, url: tcp://HOST or url: rtu+tcp://HOST:PORT",
            )
        return self


class DeviceSection(Section):
    """One unit on a bus."""

    bus: Id = Field(description="The bus it hangs on.", examples=["corridor"])
    unit: Annotated[
        int,
        BeforeValidator(unit_number),
        WithJsonSchema({"type": "integer", "minimum": 1, "maximum": 255}),
    ] = Field(
        description="Its Modbus address, 1 to 247; 255 is the board itself on Modbus TCP.",
        examples=["11"],
    )
    profile: Text = Field(
        description="Its model: a profile's id, or the name of a file that ends in .yaml.",
        examples=["wb-mr6c"],
    )
    poll: Annotated[str, Span("20ms", "10s")] = Field(
        "200ms", description="How often its inputs are read, 20ms to 10s."
    )
    identity: Text | None = Field(
        None,
        description="What its identity registers must say; else the first answer is remembered.",
    )


# --- local rules ----------------------------------------------------------------------------


class ReactionSection(Section):
    """This event, that deed, with no network in between."""

    on: Annotated[Text, WithJsonSchema({"type": "string", "pattern": EVENT})] = Field(
        description="alarm.KIND.raised, alarm.KIND.unanswered or fault.KIND.raised.",
        examples=["alarm.fire.raised"],
    )
    do: hardware.Deed = Field(strict=False, description="What is done.", examples=["release"])
    doors: Doors | None = Field(
        None, description="all, or a list of doors; what release and lockdown act on."
    )
    output: Wired | None = Field(None, description="What sounds or lights.")
    for_: Annotated[str, Span("1s", "30m")] | None = Field(
        None, alias="for", description="How long it sounds or lights, 1s to 30m. Default 60s."
    )


class LockdownSection(Section):
    """The mode in which doors are locked against whoever is outside."""

    at_most: Annotated[str, Span("1m", "24h")] = Field(
        "2h", description="A lockdown ends by itself after this long, 1m to 24h."
    )
