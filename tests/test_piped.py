"""`program | head`: whoever reads the output may leave, and no traceback follows them."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from gateway.piped import READER_LEFT, piped
from tests.processes import ROOT, WITHIN_S


def unread(*words: str, buffered: bool) -> tuple[int, str]:
    """Run `python …` with nobody at the other end of its output: exit code and standard error."""
    reading, writing = os.pipe()
    os.close(reading)
    environment = {name: text for name, text in os.environ.items() if name != "PYTHONUNBUFFERED"}
    if not buffered:
        environment["PYTHONUNBUFFERED"] = "1"
    try:
        done = subprocess.run(
            [sys.executable, *words],
            cwd=ROOT,
            env=environment,
            stdout=writing,
            stderr=subprocess.PIPE,
            timeout=WITHIN_S,
            check=False,
        )
    finally:
        os.close(writing)
    return done.returncode, done.stderr.decode()


@pytest.mark.parametrize("buffered", [True, False])
@pytest.mark.parametrize("campaign", ["cut", "faults", "kill", "power", "sim"])
def test_help_of_a_campaign_may_be_left_unread(campaign: str, buffered: bool) -> None:  # noqa: FBT001 -- a parameter
    code, said = unread("-m", f"campaigns.{campaign}", "--help", buffered=buffered)
    assert said == ""
    assert code == (0 if buffered else READER_LEFT)


@pytest.mark.parametrize("module", ["simulators", "benchmarks.history", "gateway"])
def test_help_of_a_program_may_be_left_unread(module: str) -> None:
    assert unread("-m", module, "--help", buffered=True) == (0, "")


def test_schema_may_be_left_unread() -> None:
    assert unread("-m", "gateway", "schema", buffered=False) == (READER_LEFT, "")


@pytest.mark.parametrize(("text", "code"), [("'a line'", 0), ("'a line', flush=True", READER_LEFT)])
def test_code_of_what_was_done_stays_and_what_was_broken_off_has_its_own(
    text: str, code: int
) -> None:
    """Written at its end it was all done, and only the words are lost."""
    imports = "import sys; from gateway.piped import piped"
    program = f"{imports}; sys.exit(piped(lambda: print({text}) or 0))"
    assert unread("-c", program, buffered=True) == (code, "")


def test_broken_pipe_that_is_not_its_output_comes_out() -> None:
    def main() -> int:
        reading, writing = os.pipe()
        os.close(reading)
        try:
            return os.write(writing, b"to somebody else")
        finally:
            os.close(writing)

    with pytest.raises(BrokenPipeError):
        piped(main)
