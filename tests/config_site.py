"""A directory with everything a configuration names: keys, certificates, passwords."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from gateway.config.child import CheckResult
from gateway.config.load import check
from gateway.core.jws import SigningKey
from simulators.network.pki import Pki

# The line numbers in the tests are those of this text.
TEXT = """\
premises: {id: school-12, name: School No. 12, timezone: Asia/Almaty}
gateway:
  id: school-12-main
  key: gateway.jwk
points:
  reception:
    kind: panic
    input: {normally_open: gpio:17, normally_closed: gpio:27}
    lamp: gpio:22
  fire-panel:
    kind: fire
    input: {normally_closed: gpio:5}
uplinks:
  campus:
    url: mqtts://broker.example
    ca: ca.pem
    certificate: gateway.pem
  lte:
    url: mqtts://backup.example:8884
    ca: ca.pem
routes:
  security:
    via: [campus, lte]
    sends: [alarm, fault, test, state]
    answers: true
    keys: [{file: security.jwk, verbs: [resend]}]
  case:
    via: [campus]
    sends: [alarm]
    keys: [{file: case.jwk}]
"""


class Site:
    """A valid site in a directory; tests break one thing of it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.file = folder / "premises.yaml"
        pki = Pki(folder)
        pki.client("school-12-main").rename(folder / "gateway.pem")
        self.private("gateway", seed=1)
        for seed, name in enumerate(("security", "case", "deputy"), start=2):
            self.public(name, seed=seed)
        self.write(TEXT)

    def key(self, kid: str, *, seed: int) -> dict[str, str]:
        """A private JWK, the same for the same seed."""
        return SigningKey(kid, bytes([seed]) * 32).as_jwk()

    def private(self, name: str, *, seed: int) -> None:
        """Write NAME.jwk with a private key."""
        self.put(f"{name}.jwk", json.dumps(self.key(name, seed=seed)))

    def public(self, name: str, *, seed: int, **members: object) -> None:
        """Write NAME.jwk with a public key; a member given as None is left out."""
        jwk = {**self.key(name, seed=seed), "d": None, **members}
        self.put(f"{name}.jwk", json.dumps({k: v for k, v in jwk.items() if v is not None}))

    def put(self, name: str, content: str | bytes, mode: int = 0o600) -> Path:
        """Write a file of the site."""
        path = self.folder / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        path.chmod(mode)
        return path

    def write(self, text: str) -> None:
        """Write the configuration."""
        self.file.write_text(text, encoding="utf-8")

    def change(self, old: str, new: str) -> None:
        """Change one place of the configuration, which must be there."""
        text = self.file.read_text(encoding="utf-8")
        assert old in text
        self.write(text.replace(old, new, 1))

    def check(self, environment: Mapping[str, str] | None = None) -> CheckResult:
        """What a check of the configuration finds."""
        return check(self.file, environment=environment or {})

    def mistakes(self, environment: Mapping[str, str] | None = None) -> list[str]:
        """Its mistakes as printed, with FILE for the file and DIR for the directory."""
        return [self.short(line) for line in self.check(environment).mistakes]

    def warnings(self) -> list[str]:
        """Its warnings as printed, shortened likewise; there must be no mistake."""
        result = self.check()
        assert result.mistakes == ()
        return [self.short(line) for line in result.warnings]

    def short(self, line: object) -> str:
        """A line without the temporary directory."""
        return str(line).replace(str(self.file), "FILE").replace(str(self.folder), "DIR")
