"""`qorgan`, but its ledger is told to sync as RIG_SYNC says: how the rig shows that it sees losses.

Wraps the product from outside; the product knows neither this file nor the variable.
"""  # noqa: INP001 -- no package: it runs alone, inside the machine

from __future__ import annotations

import os
import sys
from typing import Any

from gateway.__main__ import main
from gateway.record.file import LedgerFile

_MODES = {"normal": "NORMAL", "off": "OFF"}


def _loosened(mode: str) -> Any:
    as_it_is = LedgerFile.open.__func__  # type: ignore[attr-defined]  # a classmethod's function

    def opened(cls: type[Any], /, path: str, **options: Any) -> LedgerFile:
        file: LedgerFile = as_it_is(cls, path, **options)
        file.run(f"PRAGMA synchronous = {mode}")
        return file

    return classmethod(opened)


if __name__ == "__main__":
    mode = _MODES[os.environ["RIG_SYNC"]]
    LedgerFile.open = _loosened(mode)  # type: ignore[method-assign]  # the seam that is wrapped
    print(f'{{"event": "rig", "synchronous": "{mode}"}}', file=sys.stderr, flush=True)
    sys.exit(main())
