"""The `qorgan` command. Light at the top: each command imports what it needs when it runs."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from enum import IntEnum
from pathlib import Path


class Exit(IntEnum):
    """What every command answers with."""

    WELL = 0
    FINDINGS = 1
    USAGE = 2
    CONFIGURATION = 3
    NO_DAEMON = 4


def parser() -> argparse.ArgumentParser:
    """Every command and its help."""
    top = argparse.ArgumentParser(
        prog="qorgan",
        description="Edge gateway for panic buttons and access control.",
        epilog="exit codes: 0 well, 1 findings, 2 usage, 3 configuration, 4 no daemon",
    )
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")

    run = commands.add_parser("run", help="run the gateway in the foreground")
    run.add_argument("config", type=Path, help="the premises' YAML file")
    run.add_argument(
        "--pins",
        choices=("lgpio", "mock"),
        default="lgpio",
        help="where the pins are: lgpio is the real hardware (default); mock has no hardware",
    )

    check = commands.add_parser("check", help="show every mistake in a configuration")
    check.add_argument("config", type=Path, help="the premises' YAML file")
    check.add_argument("--json", action="store_true", help="one JSON object")

    commands.add_parser("schema", help="print the configuration's JSON Schema, for editors")

    keys = commands.add_parser("keys", help="make and show signing keys")
    actions = keys.add_subparsers(dest="action", required=True, metavar="ACTION")
    new = actions.add_parser("new", help="make a key pair: FILE (private) and its .pub.jwk")
    new.add_argument("file", type=Path)
    new.add_argument("--kid", help="key id, up to 16 characters (default: the file's name)")
    new.add_argument("--json", action="store_true", help="print only the public JWK")
    show = actions.add_parser("show", help="print the public half of a key file")
    show.add_argument("file", type=Path)
    show.add_argument("--json", action="store_true", help="print only the public JWK")
    return top


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; its exit code."""
    options = parser().parse_args(argv)
    match options.command:
        case "run":
            from gateway.start import run  # noqa: PLC0415 -- MQTT, SQLite and pins load only here

            return run(options.config, pins=options.pins)
        case "check":
            from gateway.config.load import run_check  # noqa: PLC0415 -- YAML and pydantic load only here

            return run_check(options.config, as_json=options.json)
        case "schema":
            from gateway.config.load import run_schema  # noqa: PLC0415 -- as above

            return run_schema()
        case _:
            return _keys(options)


def _keys(options: argparse.Namespace) -> int:
    import secrets  # noqa: PLC0415 -- only needed here

    from gateway.keys import KeyFileError, load_verify_key, new_key  # noqa: PLC0415 -- as above

    try:
        if options.action == "new":
            kid = options.kid or options.file.name.split(".")[0][:16]
            public = new_key(options.file, kid=kid, seed=secrets.token_bytes(32))
        else:
            public = load_verify_key(options.file)
    except KeyFileError as error:
        print(f"qorgan keys: {error}", file=sys.stderr)
        return Exit.FINDINGS
    if options.json:
        print(json.dumps(public.as_jwk()))
    elif options.action == "new":
        print(f"private key: {options.file} (only for the machine it was made on)")
        print(f"public key:  {options.file.with_suffix('.pub.jwk')} (give this one away)")
        print(f"kid:         {public.kid}")
    else:
        print(json.dumps(public.as_jwk(), indent=2))
    return Exit.WELL


if __name__ == "__main__":
    sys.exit(main())
