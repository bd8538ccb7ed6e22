"""The shape of a configuration file, key by key: type, default, bounds and what it is for.

Owns the models, which are also the JSON Schema for editors: the file whole, its uplinks and routes.
What hangs on wires is in `iron.py`; what takes two keys to see is `cross.py`'s.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    ValidationError,
    WithJsonSchema,
    model_validator,
)

from gateway.config.document import address, matching, parsing, text, time_zone, unique
from gateway.config.explain import tidied
from gateway.config.fields import Class, Id, Names, Section, Span, Text, Verb
from gateway.config.files import Wrong
from gateway.config.iron import (
    BusSection,
    DeviceSection,
    LockdownSection,
    PointSection,
    ReactionSection,
)
from gateway.core import premises


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
    keep: Annotated[str, Span("30d", "10y")] = Field(
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
    sync_wait: Annotated[str, Span("1ms", "500ms")] = Field(
        "50ms", description="How long an alarm waits for the disk at most, 1ms to 500ms."
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


_A_CARD = "write a network card's name, such as wwan0, at most 15 characters"


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
        Annotated[Text, BeforeValidator(matching(r"[A-Za-z0-9_.-]{1,15}", _A_CARD))] | None
    ) = Field(None, description="Network interface to leave by.")
    heartbeat: Annotated[str, Span("2s", "5m")] = Field(
        "5s", description="Time between signs of life on the uplink in use, 2s to 5m."
    )


class KeySection(Section):
    """A key of the centre."""

    file: Text = Field(description="Public Ed25519 JWK of the centre.", examples=["security.jwk"])
    verbs: Annotated[list[Verb], AfterValidator(unique)] = Field(
        default=[], description="Commands this key may sign."
    )
    targets: Names = Field(
        default=[], description="Doors and points its commands may name; all if none is listed."
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
    receipt_within: Annotated[str, Span("1s", "2m")] = Field(
        "5s", description="An alarm without a receipt for longer is a fault, 1s to 2m."
    )
    answers: bool = Field(
        False, description="People here may acknowledge, dispatch and close alarms."
    )
    acknowledge_within: Annotated[str, Span("5s", "1h")] | None = Field(
        None, description="An alarm no person acknowledges for longer is a fault, 5s to 1h."
    )
    then: Names = Field(
        default=[], description="Routes owed the alarm next when this one stays silent."
    )
    receipts: premises.Receipts = Field(
        premises.Receipts.SIGNED,
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
    buses: dict[Id, BusSection] = Field(
        default={}, description="Ports with units behind them, by id (a-z, 0-9 and -)."
    )
    devices: dict[Id, DeviceSection] = Field(
        default={}, description="Units on buses, by id (a-z, 0-9 and -)."
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
    reactions: list[ReactionSection] = Field(
        default=[], description="Local rules, which need no network."
    )
    lockdown: LockdownSection = Field(
        LockdownSection(), description="Doors locked against whoever is outside."
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
