"""YAML to Premises: every mistake at once, with file, line and key.

The only place of YAML, and of the environment. Runs in a short-lived child (`python -m
gateway.config FILE`) or at a desk (`qorgan check`), never inside the daemon; the daemon's side is
`child.py`.
"""

from __future__ import annotations

import json
import os
import sys
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import AliasChoices, BaseModel, ConfigDict, Field, ValidationError
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
)
from ruamel.yaml import YAML

from gateway.config import models
from gateway.config.build import build
from gateway.config.child import CheckResult, Mistake
from gateway.config.cross import Review
from gateway.config.document import Document, suggest
from gateway.config.explain import explain
from gateway.config.files import Folders, Wrong
from gateway.config.reader import read_document
from gateway.config.traffic import facts
from gateway.core.model import Json
from gateway.core.plain import to_plain

EXIT_WELL, EXIT_USAGE, EXIT_CONFIGURATION = 0, 2, 3


class UplinkOverride(BaseModel):
    """What may be moved without editing the file."""

    model_config = ConfigDict(extra="forbid")

    url: str | None = None


class Settings(BaseSettings):
    """The environment's say: QORGAN_ variables, and what systemd sets for a service.

    QORGAN_UPLINKS__<ID>__URL takes the place of an uplink's url; the id in any case, `-` as `_`.
    """

    model_config = SettingsConfigDict(
        env_prefix="QORGAN_", env_nested_delimiter="__", env_ignore_empty=True, extra="ignore"
    )

    state_directory: str | None = Field(
        None, validation_alias=AliasChoices("QORGAN_STATE_DIRECTORY", "STATE_DIRECTORY")
    )
    credentials_directory: str | None = Field(
        None, validation_alias=AliasChoices("QORGAN_CREDENTIALS_DIRECTORY", "CREDENTIALS_DIRECTORY")
    )
    uplinks: dict[str, UplinkOverride] = {}

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003 — the signature is pydantic-settings'
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,  # noqa: ARG003 — read by `read_settings` instead
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003 — no .env file on a device
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003 — secrets stay in files
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Only what is passed in, so that a check depends on nothing its caller cannot see."""
        return (init_settings,)


def read_settings(environment: Mapping[str, str]) -> tuple[Settings, list[tuple[str, Wrong]]]:
    """The settings in `environment`, and what is wrong with which variable."""
    source = EnvSettingsSource(Settings)
    source.env_vars = {
        name.lower(): value
        for name, value in environment.items()
        if value or not Settings.model_config.get("env_ignore_empty")
    }
    try:
        return Settings(**source()), []
    except SettingsError:
        wrong = Wrong("is not a variable of its own", "write QORGAN_UPLINKS__<ID>__URL=mqtts://…")
        return Settings(), [("QORGAN_UPLINKS", wrong)]
    except ValidationError as error:
        names = ["QORGAN_" + "__".join(map(str, item["loc"])).upper() for item in error.errors()]
        wrong = Wrong("is no setting of Qorgan", "write QORGAN_UPLINKS__<ID>__URL=mqtts://…")
        return Settings(), [(name, wrong) for name in names]


def check(path: str | Path, *, environment: Mapping[str, str]) -> CheckResult:
    """Everything there is to say about a configuration file; never raises for what it says.

    premises is None exactly when there are mistakes. `environment` is read for QORGAN_ variables
    and systemd's directories (`Settings`). Mistakes stand in the order of lines.
    """
    try:
        return _check(path, environment)
    except Exception as error:  # noqa: BLE001 — a fault of ours must reach the person as a line, too
        what = f"the check itself failed ({type(error).__name__})"
        right = "report it together with this file, without its secrets"
        return CheckResult(None, (Mistake(str(path), 0, "", what, right),))


def schema() -> dict[str, Any]:
    """The JSON Schema of a configuration file, for editors."""
    return models.schema()


def run_check(path: str, *, as_json: bool) -> int:
    """`qorgan check`: print what `check` found; 0 when the file is valid, else 3."""
    result = check(path, environment=os.environ)
    if as_json:
        notes = facts(result.premises) if result.premises else ()
        _say(json.dumps({**_plain(result), "facts": list(notes)}, indent=2))
    else:
        for line in _report(path, result):
            _say(line)
        if result.premises is None:  # apart from the lines themselves, which a program may count
            sys.stderr.write(f"{_count(len(result.mistakes), 'mistake')} in {path}\n")
    return EXIT_WELL if result.premises else EXIT_CONFIGURATION


def run_schema() -> int:
    """`qorgan schema`: print the JSON Schema; always 0."""
    _say(json.dumps(schema(), indent=2, ensure_ascii=False))
    return EXIT_WELL


def main(argv: Sequence[str]) -> int:
    """The child: one JSON object on standard output, whatever the file is like; then 0."""
    if len(argv) != 1:
        sys.stderr.write("usage: python -m gateway.config FILE\n")
        return EXIT_USAGE
    _say(json.dumps(_plain(check(argv[0], environment=os.environ))))
    return EXIT_WELL


def _check(path: str | Path, environment: Mapping[str, str]) -> CheckResult:
    document, mistakes = read_document(path, _compose)
    if document is None:
        return CheckResult(None, tuple(mistakes))
    settings, misnamed = read_settings(environment)
    mistakes += [Mistake("environment", 0, name, w.what, w.right) for name, w in misnamed]
    mistakes += _override(document, settings)
    file, complaints = models.validate(document.data)
    mistakes += explain(document, complaints, schema() if complaints else {})
    review = Review(document, folders=_folders(path, settings))
    review.run()
    mistakes += review.mistakes
    found = tuple(sorted(mistakes, key=lambda mistake: mistake.line))
    cautions = tuple(sorted(review.warnings, key=lambda mistake: mistake.line))
    premises = build(file, review) if file and not found else None
    return CheckResult(premises, found, cautions)


def _compose(text: str) -> Any:
    """ruamel.yaml's tree of nodes: it keeps lines, and duplicate keys stay visible."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # an anchor that is used again is allowed by YAML
        return YAML(typ="safe", pure=True).compose(text)


def _folders(path: str | Path, settings: Settings) -> Folders:
    def folder(name: str | None) -> Path | None:
        # systemd joins several StateDirectory= with colons; the first is the ledger's.
        return Path(name.split(":")[0]).absolute() if name else None

    return Folders(
        beside=Path(path).absolute().parent,
        credentials=folder(settings.credentials_directory),
        state=folder(settings.state_directory),
    )


def _override(document: Document, settings: Settings) -> list[Mistake]:
    """Put the environment's addresses in the place of the file's."""
    uplinks = {str(loc[1]).replace("-", "_"): (loc, u) for loc, u in document.entries("uplinks")}
    mistakes = []
    for name, override in settings.uplinks.items():
        variable = f"QORGAN_UPLINKS__{name.upper()}__URL"
        if name not in uplinks:
            what, right = "there is no such uplink", suggest(name, uplinks)
            mistakes.append(Mistake("environment", 0, variable, what, right))
        elif override.url is not None:
            loc, uplink = uplinks[name]
            uplink["url"] = override.url
            document.overridden[(*loc, "url")] = variable
    return mistakes


def _report(path: str, result: CheckResult) -> list[str]:
    lines = [str(mistake) for mistake in result.mistakes]
    lines += [f"warning: {warning}" for warning in result.warnings]
    premises = result.premises
    if premises is None:
        return lines
    counts = [
        _count(len(premises.points), "point"),
        _count(len(premises.uplinks), "uplink"),
        _count(len(premises.routes), "route"),
    ]
    if premises.devices:
        counts.append(_count(len(premises.devices), "device"))
    return [*lines, f"{path} is valid: {', '.join(counts)}", *facts(premises)]


def _count(number: int, word: str) -> str:
    return f"{number} {word}" if number == 1 else f"{number} {word}s"


def _plain(result: CheckResult) -> dict[str, Json]:
    plain = to_plain(result)
    assert isinstance(plain, dict)
    return plain


def _say(line: str) -> None:
    # A file name need not be text, nor a terminal speak UTF-8.
    encoding = sys.stdout.encoding or "utf-8"
    sys.stdout.write(line.encode(encoding, "backslashreplace").decode(encoding) + "\n")
