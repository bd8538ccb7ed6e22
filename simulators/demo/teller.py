"""How the demo is told: lines with live progress on a terminal, plain lines anywhere else."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table


class Teller(Protocol):
    """What the story needs of a screen."""

    def chapter(self, title: str) -> None:
        """The next part of the story begins."""

    def say(self, text: str) -> None:
        """Something happened."""

    def result(self, text: str, *, held: bool) -> None:
        """What was promised here, and whether it held."""

    def table(self, title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """The account at the end."""

    def close(self) -> None:
        """The story is over; the screen is a person's again."""


class PlainTeller:
    """Lines that survive a log file."""

    def chapter(self, title: str) -> None:
        print(f"\n== {title}", flush=True)

    def say(self, text: str) -> None:
        print(f"   {text}", flush=True)

    def result(self, text: str, *, held: bool) -> None:
        print(f"   {'ok  ' if held else 'FAIL'} {text}", flush=True)

    def table(self, title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        cells = [list(columns), *(list(row) for row in rows)]
        widths = [max(len(row[at]) for row in cells) for at in range(len(columns))]
        print(f"\n{title}")
        for row in cells:
            line = "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
            print(line.rstrip())
        sys.stdout.flush()

    def close(self) -> None:
        sys.stdout.flush()


class RichTeller:
    """The same story with colour, and a bar that shows how far it has come."""

    def __init__(self, chapters: int, picture: Path | None = None) -> None:
        self._picture = picture
        self._console = Console(highlight=False, record=picture is not None)
        self._progress = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            TimeElapsedColumn(),
            console=self._console,
            transient=True,
        )
        self._task = self._progress.add_task("starting", total=chapters + 1)
        self._progress.start()

    def chapter(self, title: str) -> None:
        self._progress.update(self._task, advance=1, description=title)
        self._console.print(f"\n[bold cyan]{escape(title)}[/]")

    def say(self, text: str) -> None:
        self._console.print(f"   [dim]{escape(text)}[/]")

    def result(self, text: str, *, held: bool) -> None:
        mark = "[green]✔[/]" if held else "[bold red]✘[/]"
        self._console.print(f" {mark} {escape(text)}")

    def table(self, title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        self.close()
        table = Table(title=title, title_justify="left", title_style="bold")
        for at, column in enumerate(columns):
            table.add_column(column, justify="right" if at else "left")
        for row in rows:
            table.add_row(*map(escape, row))
        self._console.print()
        self._console.print(table)

    def close(self) -> None:
        self._progress.stop()
        if self._picture is not None:
            self._console.save_svg(str(self._picture), title="make demo", clear=False)


def open_teller(chapters: int, picture: Path | None) -> Teller:
    """The teller that fits where standard output goes; a picture needs the rich one."""
    if sys.stdout.isatty() or picture is not None:
        return RichTeller(chapters, picture)
    return PlainTeller()
