"""`python -m gateway.config FILE`: the child that validates, and answers with one JSON object."""

from __future__ import annotations

import sys

from gateway.config.load import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
