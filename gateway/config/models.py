"""The shape of a configuration file, key by key: type, default, bounds and what it is for.

Owns the models, which are also the JSON Schema for editors. Beside `config` the only place of
pydantic; what takes two keys to see is `cross.py`'s.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    WithJsonSchema,
    model_validator,
)

from gateway.config.document import (
    address,
    matching,
    parsing,
    pin,
    spelled_once,
    text,
    time_zone,
    unique,
    within,
)
from gateway.config.explain import tidied
from gateway.config.files import Wrong
from gateway.core import model

_ID = r"[a-z0-9][a-z0-9-]{0,62}"
_DURATION = WithJsonSchema({"type": "string", "pattern": r"^(never|[0-9]+(ms|[smhdy]))$"})
_SPELLING = WithJsonSchema({"type": ["string", "number"]})

Text = Annotated[str, BeforeValidator(text), _SPELLING]
Id = Annotated[
    str, BeforeValidator(matching(_ID, "write a-z, 0-9 and -, at most 63, not - first")), _SPELLING
]
Pin = Annotated[
    str,
    BeforeValidator(parsing(pin)),
    WithJsonSchema({"type": "string", "pattern": "^gpio:(1?[0-9]|2[0-7])$"}),
]
Names = Annotated[list[Id], AfterValidator(unique)]
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


# --- models ---------------------------------------------------------------------------------


class Section(BaseModel):
    """A mapping of the file: no key beyond those named, no value bent into another type."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class PremisesSection(Section):
    """The building or buildings; several gateways may share a premises id."""

    id: Id = Field(description="Short name: a-z, 0-9 and -, at most 63.", examples=["school-12"])
    name: Text = Field(description="What people call it.", examples=["School No. 12"])
    timezone: Annotated[Text, BeforeValidator(parsing(time_zone))] = Field(
        description="IANA time zone of the building.", examples=["Asia/Almaty"]
    )


class LedgerSection(Section):
    """The record on disk."""

    path: Text = Field(
        "ledger.db",
        description="The ledger's file; relative to the state directory, else to this file.",
    )
    keep: Annotated[str, BeforeValidator(within("30d", "10y")), _DURATION] = Field(
        "2y", description="How long settled entries stay, 30d to 10y."
    )


class GatewaySection(Section):
    """This box."""

    id: Annotated[
        Text, BeforeValidator(matching(r"[a-z0-9-]{1,63}", "write a-z, 0-9 and -, at most 63"))
    ] = Field(
        description="Unique in the fleet, and its name at the broker: a-z, 0-9 and -, at most 63.",
        examples=["school-12-main"],
    )
    key: Text = Field(
        description="The gateway's private Ed25519 JWK; only its owner may read the file.",
        examples=["gateway.jwk"],
    )
    ledger: LedgerSection = Field(LedgerSection(), description="The record on disk.")
    sync_wait: Annotated[str, BeforeValidator(within("1ms", "500ms")), _DURATION] = Field(
        "50ms", description="How long an alarm waits for the disk at most, 1ms to 500ms."
    )


class InputSection(Section):
    """The contacts of a point, at least one; both are a change-over pair."""

    normally_open: Pin | None = Field(
        None,
        description="The contact that closes when the point is active: gpio:0 to gpio:27.",
    )
    normally_closed: Pin | None = Field(
        None,
        description="The contact that opens when the point is active: gpio:0 to gpio:27.",
    )
    line: model.Line = Field(
        model.Line.SHORT,
        strict=False,
        description="long: single wires near motors, confirmed more slowly.",
    )

    @model_validator(mode="after")
    def _wired(self) -> InputSection:
        if self.normally_open is None and self.normally_closed is None:
            raise Wrong("has no contact", "write normally_open: gpio:N, normally_closed, or both")
        return self


class PlaceSection(Section):
    """Where a point is. Never the name of a person."""

    building: Text = Field("", description="Building.")
    floor: Text = Field("", description="Floor.")
    room: Text = Field("", description="Room.")
    zone: Text = Field("", description="An area of the premises.")


class CidSection(Section):
    """SIA Contact ID numbers under which this point is reported."""

    partition: Annotated[int, BeforeValidator(spelled_once)] = Field(
        1, ge=0, le=99, description="Contact ID partition, 0 to 99."
    )
    zone: Annotated[int, BeforeValidator(spelled_once)] = Field(
        0, ge=0, le=999, description="Contact ID zone, 0 to 999."
    )


class PointSection(Section):
    """One supervised thing."""

    kind: model.PointKind = Field(strict=False, description="What it is.", examples=["panic"])
    input: InputSection = Field(
        description="Its contacts.", examples=["{normally_open: gpio:17, normally_closed: gpio:27}"]
    )
    place: PlaceSection = Field(PlaceSection(), description="Where it is.")
    cid: CidSection = Field(CidSection(), description="Its Contact ID numbers.")
    lamp: Pin | None = Field(
        None, description="The lamp at the button, gpio:0 to gpio:27; refused on a silent point."
    )
    silent: bool | None = Field(
        None,
        description="Its alarm shows nowhere on the premises; true for hold-up and duress.",
    )
    mechanical_latch: bool = Field(
        False, description="The button stays in until a key frees it, and is then not stuck."
    )
    wiring_doubt: model.WiringDoubt = Field(
        model.WiringDoubt.ALARM,
        strict=False,
        description="What a damaged pair means on a button: also an alarm, or only a fault.",
    )
    stuck_after: Annotated[str, BeforeValidator(within("5s", "24h", never=True)), _DURATION] = (
        Field("60s", description="A button held longer is stuck, 5s to 24h, or never.")
    )
    prove_within: (
        Annotated[str, BeforeValidator(within("1d", "2y", never=True)), _DURATION] | None
    ) = Field(
        None,
        description="Longest time without a press or walk test, 1d to 2y, or never; "
        "30d for kinds a person operates, never for others.",
    )


class PasswordSection(Section):
    """Where a password is; never the password."""

    credential: (
        Annotated[Text, BeforeValidator(matching(r"[A-Za-z0-9._-]{1,64}", "write a file name"))]
        | None
    ) = Field(None, description="Name of a systemd credential.")
    file: Text | None = Field(None, description="A file only its owner may read.")

    @model_validator(mode="after")
    def _one(self) -> PasswordSection:
        if (self.credential is None) is (self.file is None):
            raise Wrong("needs exactly one of credential and file", "write {credential: NAME}")
        return self


class UplinkSection(Section):
    """One MQTT connection."""

    url: Annotated[Text, BeforeValidator(parsing(address))] = Field(
        description="mqtts://HOST[:PORT] or mqtt://HOST[:PORT]; ports 8883 and 1883.",
        examples=["mqtts://broker.school-12.example:8883"],
    )
    mqtt: Annotated[
        Literal["5", "3.1.1"],
        BeforeValidator(text),
        WithJsonSchema({"enum": ["5", "3.1.1", 5]}),
    ] = Field("5", description="MQTT version.")
    ca: Text | None = Field(
        None, description="PEM of the authority that signed the broker's certificate; for mqtts."
    )
    certificate: Text | None = Field(
        None, description="One PEM: the gateway's certificate, its chain and private key."
    )
    username: Text | None = Field(
        None, description="User name at the broker; not beside a certificate."
    )
    password: PasswordSection | None = Field(None, description="Where the password is.")
    interface: (
        Annotated[Text, BeforeValidator(matching(r"[A-Za-z0-9_.-]{1,15}", "write wwan0"))] | None
    ) = Field(None, description="Network interface to leave by.")
    heartbeat: Annotated[str, BeforeValidator(within("2s", "5m")), _DURATION] = Field(
        "5s", description="Time between signs of life on the uplink in use, 2s to 5m."
    )


class KeySection(Section):
    """A key of the centre."""

    file: Text = Field(description="Public Ed25519 JWK of the centre.", examples=["security.jwk"])
    verbs: Annotated[list[Verb], AfterValidator(unique)] = Field(
        default=[], description="Commands this key may sign."
    )


class RouteSection(Section):
    """Who is owed which events."""

    via: Names = Field(min_length=1, description="Uplinks, best first.", examples=["[campus]"])
    sends: Annotated[list[Class], AfterValidator(unique)] = Field(
        description="Classes of events this route is owed.",
        examples=["[alarm, fault, test, state]"],
    )
    keys: list[KeySection] = Field(
        default=[], description="The centre's keys; at least one, unless receipts: puback."
    )
    redact: list[Annotated[str, Field(min_length=1)]] = Field(
        default=[], description="Fields of an event's data this route may not see."
    )
    receipt_within: Annotated[str, BeforeValidator(within("1s", "2m")), _DURATION] = Field(
        "5s", description="An alarm without a receipt for longer is a fault, 1s to 2m."
    )
    answers: bool = Field(
        False, description="People here may acknowledge, dispatch and close alarms."
    )
    acknowledge_within: Annotated[str, BeforeValidator(within("5s", "1h")), _DURATION] | None = (
        Field(None, description="An alarm no person acknowledges for longer is a fault, 5s to 1h.")
    )
    then: Names = Field(
        default=[], description="Routes owed the alarm next when this one stays silent."
    )
    receipts: model.Receipts = Field(
        model.Receipts.SIGNED,
        strict=False,
        description="puback: the broker's word is enough (for a consumer that cannot sign).",
    )


class File(Section):
    """The configuration of one Qorgan gateway."""

    premises: PremisesSection = Field(
        description="The building.", examples=["{id: school-12, name: …, timezone: Asia/Almaty}"]
    )
    gateway: GatewaySection = Field(
        description="This box.", examples=["{id: school-12-main, key: gateway.jwk}"]
    )
    points: dict[Id, PointSection] = Field(
        description="What is supervised, by id (a-z, 0-9 and -); at least one.",
        examples=["{reception: {kind: panic, input: …}}"],
    )
    uplinks: dict[Id, UplinkSection] = Field(
        description="MQTT connections, by id (a-z, 0-9 and -).",
        examples=["{campus: {url: mqtts://…, ca: ca.pem}}"],
    )
    routes: dict[Id, RouteSection] = Field(
        description="Who is told, by id (a-z, 0-9 and -); at least one is sent alarms.",
        examples=["{security: {via: [campus], sends: [alarm]}}"],
    )


# --- use ------------------------------------------------------------------------------------


def validate(data: Mapping[str, Any]) -> tuple[File | None, list[dict[str, Any]]]:
    """The file's contents as models, or pydantic's complaints about them."""
    try:
        return File.model_validate(data), []
    except ValidationError as error:
        return None, [dict(item) for item in error.errors(include_url=False)]


def schema() -> dict[str, Any]:
    """The JSON Schema (2020-12) of a configuration file, with descriptions for editors."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **tidied(File.model_json_schema()),
    }
