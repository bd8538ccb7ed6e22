"""The log: key-value lines, JSON under systemd, readable on a terminal. The only structlog."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping

import structlog

from gateway.seams import Log


def open_log(name: str) -> Log:
    """A Log that writes to standard error. `level` in the fields sets the level, else info."""
    pretty = sys.stderr.isatty() and "JOURNAL_STREAM" not in os.environ
    renderer: structlog.typing.Processor = (
        structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)
        if pretty
        else structlog.processors.JSONRenderer(ensure_ascii=False)
    )
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.dict_tracebacks if not pretty else structlog.dev.set_exc_info,
            renderer,
        ],
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    logger = structlog.get_logger().bind(logger=name)

    def log(event: str, fields: Mapping[str, object]) -> None:
        rest = {key: value for key, value in fields.items() if key != "level"}
        logger.log(_LEVELS.get(str(fields.get("level")), _LEVELS["info"]), event, **rest)

    return log


_LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40}
