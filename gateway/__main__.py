"""The `qorgan` command. Light at the top: each command imports what it needs when it runs."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from enum import IntEnum
from pathlib import Path

from gateway.piped import piped


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

    schema = commands.add_parser("schema", help="print a JSON Schema, for editors")
    schema.add_argument(
        "--profile", action="store_true", help="a profile's instead of the configuration's"
    )

    _live(commands)
    _scan(commands)
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


def _live(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """The commands that need a running daemon."""
    socket = argparse.ArgumentParser(add_help=False)
    socket.add_argument(
        "--socket",
        type=Path,
        default=Path("/run/qorgan/control"),
        help="the daemon's control socket; it names it when it starts (default: %(default)s)",
    )
    socket.add_argument("--json", action="store_true", help="one JSON object a line")

    commands.add_parser("status", parents=[socket], help="how points, doors, routes and buses are")

    command = commands.add_parser(
        "command",
        parents=[socket],
        help="ask the running gateway for something, signed",
        epilog="verbs: door.unlock, door.lock, door.release DOOR; lockdown.begin [DOOR,…], "
        "lockdown.end; drill.begin, drill.end fire|lockdown|earthquake; isolate, walk-test POINT",
    )
    command.add_argument("verb", help="what is to be done")
    command.add_argument("name", nargs="?", help="the door, point or drill")
    command.add_argument("--for", dest="for_", metavar="TIME", help="how long: 5s, 2m, 0 ends it")
    command.add_argument("--key", type=Path, required=True, help="private JWK of the desk")


def _scan(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """The command that looks for units on a bus."""
    scan = commands.add_parser(
        "scan",
        help="list ports; find the units on a bus and name them, never writing to it",
        epilog="exit codes: 0 found something, 1 nothing, 4 no daemon where one was needed",
    )
    scan.add_argument(
        "target", nargs="?", help="/dev/ttyUSB0, tcp://HOST, rtu+tcp://HOST:PORT or a bus"
    )
    scan.add_argument("--config", type=Path, help="the premises' YAML file, for its buses")
    scan.add_argument("--units", help="addresses to ask, such as 1-32,40 (default: all)")
    bauds = (1_200, 2_400, 4_800, 9_600, 19_200, 38_400, 57_600, 115_200)
    scan.add_argument("--baud", type=int, action="append", choices=bauds, help="one more to try")
    scan.add_argument("--parity", choices=("none", "even", "odd"), help="with --baud")
    scan.add_argument("--stop-bits", type=int, choices=(1, 2), help="with --baud")
    scan.add_argument("--only", action="store_true", help="no speeds but those of --baud")
    scan.add_argument("--thorough", action="store_true", help="all common speeds, each unit twice")
    scan.add_argument("--answer", metavar="TIME", help="how long a unit may think (default: 30ms)")
    scan.add_argument("--force", action="store_true", help="though doors on it are in service")
    scan.add_argument("--socket", type=Path, help="of the daemon that holds the port")
    scan.add_argument("--json", action="store_true", help="one JSON object")


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; its exit code."""
    return piped(lambda: _run(argv))


def _run(argv: Sequence[str] | None) -> int:  # noqa: PLR0911 -- one for each command
    options = parser().parse_args(argv)
    match options.command:
        case "run":
            from gateway.start import run  # noqa: PLC0415 -- MQTT, SQLite and pins load only here

            return run(options.config, pins=options.pins)
        case "check":
            from gateway.config.load import run_check  # noqa: PLC0415 -- YAML and pydantic load only here

            return run_check(options.config, as_json=options.json)
        case "schema":
            return _schema(profile=options.profile)
        case "status":
            from gateway.local import run_status  # noqa: PLC0415 -- signatures load only here

            return run_status(options.socket, as_json=options.json)
        case "command":
            return _command(options)
        case "scan":
            from gateway.scan.command import run_scan  # noqa: PLC0415 -- profiles and ports load only here

            return run_scan(options)
        case _:
            return _keys(options)


def _schema(*, profile: bool) -> int:
    from gateway.config.load import run_schema  # noqa: PLC0415 -- YAML and pydantic load only here
    from gateway.config.profile.profiles import profile_schema  # noqa: PLC0415 -- as above

    if not profile:
        return run_schema()
    print(json.dumps(profile_schema(), indent=2, ensure_ascii=False))
    return Exit.WELL


def _command(options: argparse.Namespace) -> int:
    from gateway.config.document import duration_ms  # noqa: PLC0415 -- only needed here
    from gateway.config.files import Wrong  # noqa: PLC0415 -- as above
    from gateway.core.verbs import Verb  # noqa: PLC0415 -- as above
    from gateway.local import run_command  # noqa: PLC0415 -- as above

    try:
        for_ms = None
        if options.for_ is not None:
            for_ms = 0 if options.for_ == "0" else duration_ms(options.for_)
    except Wrong as wrong:
        print(f"qorgan command: --for {wrong.what}: {wrong.right}", file=sys.stderr)
        return Exit.USAGE
    if options.verb not in set(Verb):
        print(f"qorgan command: no verb {options.verb!r}: {', '.join(Verb)}", file=sys.stderr)
        return Exit.USAGE
    return run_command(
        options.socket,
        options.verb,
        name=options.name,
        for_ms=for_ms,
        key=options.key,
        as_json=options.json,
    )


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
