"""The pages tell the truth: commands, targets, options, files and links they name exist."""

from __future__ import annotations

import argparse
import re
import shlex
from pathlib import Path

import pytest

from gateway import __main__ as qorgan
from simulators import __main__ as simulators

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
NAMES = [str(page.relative_to(ROOT)) for page in PAGES]
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
TARGETS = set(re.findall(r"^([a-z-]+):", MAKEFILE, re.MULTILINE))


def _code(page: str) -> list[str]:
    """Every line of a shell block, and every inline piece of code."""
    text = (ROOT / page).read_text(encoding="utf-8")
    blocks = re.findall(r"^ *```(?:sh|console|bash)\n(.*?)^ *```", text, re.DOTALL | re.MULTILINE)
    lines = [line.strip().removeprefix("$ ") for block in blocks for line in block.splitlines()]
    rest = re.sub(r"^ *```.*?^ *```", "", text, flags=re.DOTALL | re.MULTILINE)
    return [*lines, *re.findall(r"`([^`\n]+)`", rest)]


def _commands(page: str, program: str) -> list[list[str]]:
    """What follows a program's name wherever a page runs it, up to a comment, pipe or redirect."""
    found = []
    for line in _code(page):
        if line.startswith(f"{program} "):
            words = shlex.split(re.split(r"[|>#]", line)[0], comments=True)
            found.append(words[len(program.split()) :])
    return found


def _understood(words: list[str], parser: argparse.ArgumentParser) -> None:
    """Each command exists and each option is one of its own; values are not looked at."""
    for action in list(parser._actions):
        if isinstance(action, argparse._SubParsersAction) and words:
            for name in words[0].split("|"):
                assert name in action.choices, f"{parser.prog} knows no {name}"
                _understood(words[1:], action.choices[name])
            return
    options = {option for action in parser._actions for option in action.option_strings}
    for word in words:
        if word.startswith("-"):
            assert word.partition("=")[0] in options, f"{parser.prog} knows no {word}"


@pytest.mark.parametrize("page", NAMES)
def test_qorgan_commands_exist(page: str) -> None:
    """`qorgan …` as a page writes it is understood by the command."""
    for words in _commands(page, "qorgan"):
        _understood(words, qorgan.parser())


@pytest.mark.parametrize("page", NAMES)
def test_simulator_commands_exist(page: str) -> None:
    """`python -m simulators …` likewise."""
    for words in _commands(page, "python -m simulators"):
        _understood(words, simulators.parser())


@pytest.mark.parametrize("page", NAMES)
def test_make_targets_exist(page: str) -> None:
    """`make …` names targets of the Makefile; NAME=value sets a variable it reads."""
    for words in _commands(page, "make"):
        for word in words:
            name, is_variable, _ = word.partition("=")
            if is_variable:
                assert f"$({name})" in MAKEFILE or f"$(if $({name})" in MAKEFILE, word
            else:
                assert word in TARGETS, word


@pytest.mark.parametrize("page", NAMES)
def test_linked_files_exist(page: str) -> None:
    """A relative link leads somewhere."""
    text = (ROOT / page).read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", text):
        if "://" not in target:
            assert (ROOT / page).parent.joinpath(target).exists(), f"{page} links to {target}"


@pytest.mark.parametrize("page", NAMES)
def test_named_tests_exist(page: str) -> None:
    """A promise names the test that bears it: the file is there."""
    text = (ROOT / page).read_text(encoding="utf-8")
    for name in re.findall(r"`((?:tests|benchmarks|tools)/[\w/.-]+)`", text):
        assert (ROOT / name).exists(), f"{page} names {name}"


def test_readme_shows_the_two_commands() -> None:
    """A newcomer needs no others."""
    assert _commands("README.md", "make")[:2] == [["demo"], ["test"]]


def test_every_target_says_what_it_is_for() -> None:
    """`make help` lists all there is."""
    shown = set(re.findall(r"^([a-z-]+):.*## ", MAKEFILE, re.MULTILINE))
    assert shown == TARGETS


def test_ci_uses_targets_that_exist() -> None:
    """`.ci/run` calls the same targets as people do."""
    script = (ROOT / ".ci/run").read_text(encoding="utf-8")
    called = re.findall(r"^\s*make ([a-z-]+)", script, re.MULTILINE)
    assert called
    assert set(called) <= TARGETS


def test_unit_runs_a_command_that_exists() -> None:
    """systemd starts what the command line knows."""
    unit = (ROOT / "systemd/qorgan.service").read_text(encoding="utf-8")
    (start,) = re.findall(r"^ExecStart=\S*/qorgan (.*)$", unit, re.MULTILINE)
    _understood(start.split(), qorgan.parser())
