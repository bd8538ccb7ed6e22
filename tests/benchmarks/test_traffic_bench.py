"""What `check` says of traffic is measured, and found true: bytes do not depend on the machine."""

from __future__ import annotations

import json

import pytest

from benchmarks import traffic


def test_traffic_at_rest_is_what_check_says(capsys: pytest.CaptureFixture[str]) -> None:
    """Over two heartbeats of the uplink in use."""
    assert traffic.main(["--minutes", str(10 / 60), "--json"]) == 0
    whole = json.loads(capsys.readouterr().out)
    found = {figure["figure"]: figure["found"] for figure in whole["figures"]}
    assert 0.8 <= found["campus: measured / predicted"] <= 1.2
    assert found["campus: payload up"] > 2 * 2 * 500
