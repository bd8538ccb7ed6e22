"""What one pass over a document finds: mistakes and warnings, each at its key.

Owns how they are collected. What is wrong is judged by the modules that fill it.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from gateway.config.child import Mistake
from gateway.config.document import Document, Loc, key_path


@dataclass(slots=True)
class Findings:
    """Collects; never raises for what a document says."""

    document: Document
    mistakes: list[Mistake] = field(default_factory=list)
    warnings: list[Mistake] = field(default_factory=list)

    def wrong(self, loc: Loc, what: str, right: str) -> None:
        """Report a mistake."""
        self.mistakes.append(self.document.mistake(loc, what, right))

    def warn(self, loc: Loc, what: str, right: str) -> None:
        """Report something that may stand, but that a person should know of."""
        self.warnings.append(self.document.mistake(loc, what, right))

    def missing(self, loc: Loc, example: str) -> None:
        """Report a key that must be there."""
        self.wrong(loc, "is missing", f"write `{loc[-1]}: {example}`")

    def where(self, loc: Loc) -> str:
        """`points.reception.lamp (line 9)`."""
        return f"{key_path(loc)} (line {self.document.line(loc)})"
