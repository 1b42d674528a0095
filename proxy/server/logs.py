"""Log lines on standard error: JSON for machines, aligned text for people. No secret gets into either."""

import json
import logging
import os
import sys
from datetime import UTC, datetime
from typing import Final

import orjson

from proxy.server.redaction import Redaction, extra_fields, secrets_of
from proxy.server.text_log import TextFormatter
from proxy.settings import Settings

#: Loggers whose information is noise to an operator.
_QUIET: Final = ("sanic.root", "sanic.server", "sanic.access", "sanic.error", "asyncio", "aiohttp", "httpx")


def configure_logs(settings: Settings) -> None:
    """Sets up the root logger of this process; replaces what was there."""
    _leave_out_what_no_line_shows()
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_formatter(settings.log_format))
    handler.addFilter(Redaction(secrets_of(settings)))
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(settings.log_level.upper())
    for name in _QUIET:
        logger = logging.getLogger(name)
        logger.handlers = []
        logger.propagate = True
        logger.setLevel(max(logging.WARNING, root.level))


def _leave_out_what_no_line_shows() -> None:
    """The code's place, the thread and the process: a third of what a line costs (logging's HOWTO, Optimization)."""
    logging._srcfile = None  # noqa: SLF001 - documented there
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False


def _formatter(log_format: str) -> logging.Formatter:
    is_terminal = sys.stderr.isatty()
    if log_format == "json" or (log_format == "auto" and not is_terminal):
        return JsonFormatter()
    return TextFormatter(in_colour=is_terminal and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb")


class JsonFormatter(logging.Formatter):
    """One object a line: ``at``, ``level``, ``logger``, ``message``, then the record's own facts."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, object] = {
            "at": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **extra_fields(record),
        }
        if record.exc_info and not record.exc_text:
            record.exc_text = self.formatException(record.exc_info)
        if record.exc_text:
            line["exception"] = record.exc_text
        try:
            return orjson.dumps(line, default=str).decode()
        except TypeError:  # half of a surrogate pair, or an integer over 64 bits
            return json.dumps(line, default=str)
