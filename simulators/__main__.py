"""`python -m simulators`: a building without a building, and the people at the far ends."""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Sequence
from pathlib import Path

from gateway.piped import piped
from simulators.building.waveforms import Shape
from simulators.centre import command as centre


def parser() -> argparse.ArgumentParser:
    """Every command and its help."""
    top = argparse.ArgumentParser(prog="python -m simulators", description=__doc__)
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")

    run = commands.add_parser("run", help="the real daemon on simulated pins")
    run.add_argument("--config", type=Path, required=True, help="the premises' YAML file")
    run.add_argument("--control", type=Path, required=True, help="socket the buttons listen at")
    run.add_argument("--seed", type=int, default=0, help="dice of the waveforms (default 0)")
    run.add_argument(
        "--held", action="append", default=[], metavar="POINT", help="a button held in at the start"
    )

    press = commands.add_parser("press", help="press a button of a running simulation")
    press.add_argument("point", help="the point's id in the configuration")
    press.add_argument("--control", type=Path, required=True, help="the simulation's socket")
    press.add_argument("--shape", default=Shape.CLEAN, help=f"one of {', '.join(Shape)}")
    press.add_argument("--ms", type=int, default=300, help="how long it is held (default 300)")

    for kind, what in (
        ("door", "open, force, close, hold, exit, badge, deny"),
        ("unit", "silent, late, noise, busy, flood, impostor, stuck, reboot, well"),
        ("bus", "unplug, plug, noise, echo, well"),
    ):
        thing = commands.add_parser(kind, help=f"let something happen to a {kind}: {what}")
        thing.add_argument("name", help="its id in the configuration")
        thing.add_argument("do", help=what)
        thing.add_argument("--control", type=Path, required=True, help="the simulation's socket")
        if kind != "bus":
            thing.add_argument("--ms", type=int, help="for how long, or how late")

    listen = commands.add_parser("centre", help="an alarm receiving centre, or a case system")
    centre.add_arguments(listen)

    demo = commands.add_parser("demo", help="a whole school and one told story")
    demo.add_argument("--stay", action="store_true", help="keep running and press by hand")
    demo.add_argument("--picture", type=Path, metavar="SVG", help="draw what was told")
    return top


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; its exit code, 130 after Ctrl-C where nothing else ends it."""
    options = parser().parse_args(argv)
    try:
        return _run(options)
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        return 130


def _run(options: argparse.Namespace) -> int:
    match options.command:
        case "run":
            from simulators.run import run  # noqa: PLC0415 -- loads the whole daemon

            how = {"seed": options.seed, "held": options.held}
            return asyncio.run(run(options.config, options.control, **how))
        case "press":
            from simulators.building.control import press  # noqa: PLC0415 -- loads gpiozero

            return press(options.point, control=options.control, shape=options.shape, ms=options.ms)
        case "door" | "unit" | "bus":
            from simulators.building.control import tell  # noqa: PLC0415 -- as above

            ms = getattr(options, "ms", None)
            return tell(options.command, options.name, options.do, control=options.control, ms=ms)
        case "centre":
            return asyncio.run(centre.run_centre(options))
        case _:
            from simulators.demo.story import run_demo  # noqa: PLC0415 -- loads brokers and screens

            return asyncio.run(run_demo(stay=options.stay, picture=options.picture))


if __name__ == "__main__":
    sys.exit(piped(main))
