"""The configuration's child: what crosses to the daemon, and what becomes of a child that fails."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from gateway.config.child import CheckResult, Child, load, read_child, start_child
from gateway.core.plain import from_plain
from tests.config_site import Site


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


def child_that(program: str) -> Child:
    """A child that runs `program` in the place of the check."""
    process = subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, stdin=subprocess.DEVNULL
    )
    return Child(file="p.yaml", process=process)


def by_hand(what: str) -> list[str]:
    name = Path(sys.executable).name
    return [f"p.yaml: {what}: run `{name} -m gateway.config p.yaml` by hand to see why"]


def lines(result: CheckResult) -> list[str]:
    assert result.premises is None
    return [str(mistake) for mistake in result.mistakes]


def test_child_hands_over_what_check_finds(site: Site) -> None:
    site.change("mqtts://backup.example:8884\n    ca: ca.pem", "mqtt://backup.example")
    result = read_child(start_child(site.file))
    assert result == site.check(os.environ)
    assert result.premises
    assert result.warnings


def test_child_hands_over_mistakes(site: Site) -> None:
    site.change("Asia/Almaty", "Almaty")
    result = read_child(start_child(site.file))
    assert result == site.check(os.environ)
    assert len(result.mistakes) == 1


def test_load_hands_over_the_same_without_blocking_the_loop(site: Site) -> None:
    async def count_while_loading() -> tuple[CheckResult, int]:
        turns = 0

        async def count() -> None:
            nonlocal turns
            while True:
                turns += 1
                await asyncio.sleep(0)

        counting = asyncio.create_task(count())
        result = await load(site.file)
        counting.cancel()
        return result, turns

    result, turns = asyncio.run(count_while_loading())
    assert result == site.check(os.environ)
    assert turns > 100


@pytest.mark.parametrize("name", ["gone.yaml", "-c", "--help", "x\ny.yaml", "\udcff.yaml"])
def test_odd_file_names_come_back_as_a_mistake(name: str) -> None:
    (line,) = lines(read_child(start_child(name)))
    assert line == f"{name}: does not exist: start from config/premises.yaml"


def test_killed_child_is_a_mistake() -> None:
    child = child_that("import time; time.sleep(60)")
    child.process.kill()
    what = "the check of the configuration was ended by signal 9"
    assert lines(read_child(child)) == by_hand(what)


def test_hung_child_is_a_mistake_and_is_ended() -> None:
    child = child_that("import time; time.sleep(60)")
    what = "the check of the configuration gave no answer in 0.1 s"
    assert lines(read_child(child, timeout_s=0.1)) == by_hand(what)
    assert child.process.returncode == -9


def test_load_gives_up_on_a_child_that_takes_too_long(site: Site) -> None:
    (line,) = lines(asyncio.run(load(site.file, timeout_s=0.001)))
    assert "the check of the configuration gave no answer in 0.001 s" in line


def test_failing_child_is_a_mistake() -> None:
    what = "the check of the configuration ended with code 7"
    assert lines(read_child(child_that("raise SystemExit(7)"))) == by_hand(what)


@pytest.mark.parametrize(
    "answer", ["", "nonsense", "[]", '{"premises": {}, "mistakes": [], "warnings": []}', '{"x": 1}']
)
def test_garbled_answer_is_a_mistake(answer: str) -> None:
    what = "the check of the configuration gave an answer nobody understands"
    assert lines(read_child(child_that(f"print({answer!r})"))) == by_hand(what)


def test_modules_in_the_working_directory_do_not_shadow_ours(site: Site) -> None:
    (site.folder / "gateway").mkdir()
    (site.folder / "gateway" / "__init__.py").write_text("raise SystemExit(9)")
    (site.folder / "json.py").write_text("raise SystemExit(9)")
    program = (
        "import sys; sys.path.remove('')\n"
        "from gateway.config.child import *\n"
        "print(read_child(start_child('premises.yaml')).premises.id)"
    )
    out = subprocess.run(
        [sys.executable, "-c", program], cwd=site.folder, stdout=subprocess.PIPE, check=True
    )
    assert out.stdout == b"school-12\n"


def test_program_prints_one_object_for_any_file(site: Site) -> None:
    out = subprocess.run(
        [sys.executable, "-m", "gateway.config", str(site.file)], capture_output=True, check=True
    )
    assert out.stderr == b""
    assert from_plain(CheckResult, json.loads(out.stdout)).premises


def test_program_without_a_file_says_how_it_is_used() -> None:
    out = subprocess.run([sys.executable, "-m", "gateway.config"], capture_output=True, check=False)
    assert out.returncode == 2
    assert out.stderr == b"usage: python -m gateway.config FILE\n"


def test_daemons_side_loads_neither_pydantic_nor_yaml() -> None:
    program = (
        "import sys, gateway.config.child\n"
        "heavy = ('pydantic', 'pydantic_core', 'pydantic_settings', 'ruamel', 'cryptography')\n"
        "print([name for name in sys.modules if name.split('.')[0] in heavy])"
    )
    out = subprocess.run([sys.executable, "-c", program], stdout=subprocess.PIPE, check=True)
    assert out.stdout == b"[]\n"
