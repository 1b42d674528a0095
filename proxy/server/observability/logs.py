"""Log lines on standard error: JSON for machines, aligned text for people. No secret gets into either."""

import json
import logging
import os
import sys
from datetime import UTC, datetime
from functools import lru_cache
from typing import Final, TextIO

import orjson

from proxy.request_trace import TRACE
from proxy.server.observability.log_facts import facts_of
from proxy.server.observability.redaction import Redaction, secrets_of
from proxy.server.observability.text_log import TextFormatter
from proxy.settings import Settings

#: What has a text of its own is no JSON by nature: its text has to be seen.
_JSON_ONLY: Final = orjson.OPT_PASSTHROUGH_DATACLASS | orjson.OPT_PASSTHROUGH_DATETIME | orjson.OPT_PASSTHROUGH_SUBCLASS
#: Loggers whose information is noise to an operator.
_QUIET: Final = ("sanic.root", "sanic.server", "sanic.access", "sanic.error", "asyncio", "aiohttp", "httpx")


def configure_logs(settings: Settings) -> None:
    """Sets up the root logger of this process; replaces what was there."""
    _leave_out_what_no_line_shows()
    handler = LineHandler(sys.stderr)
    redaction = Redaction(secrets_of(settings))
    if _is_json_wanted(settings.log_format):
        handler.setFormatter(JsonFormatter(redaction))
    else:
        handler.addFilter(redaction)
        handler.setFormatter(TextFormatter(in_colour=_shows_colour()))
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(settings.log_level.upper())
    TRACE.is_on = settings.log_level == "debug"
    for name in _QUIET:
        logger = logging.getLogger(name)
        logger.handlers = []
        logger.propagate = True
        logger.setLevel(max(logging.WARNING, root.level))


def _leave_out_what_no_line_shows() -> None:
    """The code's place, the thread and the process: a third of what a line costs (logging's HOWTO, Optimization)."""
    logging._srcfile = None  # noqa: SLF001 - documented there
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False


def _is_json_wanted(log_format: str) -> bool:
    return log_format == "json" or (log_format == "auto" and not sys.stderr.isatty())


def _shows_colour() -> bool:
    return sys.stderr.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


class LineHandler(logging.StreamHandler[TextIO]):
    """Writes to a stream that sends each line off by itself, as standard error does: logging would have it do so twice.

    That is a fifth of the Python of a line that is not its own.
    """

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self.stream.write(f"{self.format(record)}\n")
        except RecursionError:  # as in logging: it would only come again
            raise
        except Exception:  # noqa: BLE001 - an edge: a line is worth no request
            self.handleError(record)


class JsonFormatter(logging.Formatter):
    """One object a line: ``at``, ``level``, ``logger``, ``message``, then the record's own facts.

    Args:
        redaction: looks at each line as it would go out, and clears the record where it has to: nearly never. As a
            filter it would take every record apart (``request`` in bench).
    """

    def __init__(self, redaction: Redaction) -> None:
        super().__init__()
        self._redaction = redaction

    def format(self, record: logging.LogRecord) -> str:
        try:
            packed = orjson.dumps(self._facts(record), option=_JSON_ONLY)
            line = packed.decode()
            if self._redaction.is_clear(line, packed):
                return line
        except Exception:  # noqa: BLE001, S110 - whatever an object's text does; then it is looked at piece by piece
            pass
        self._redaction.filter(record)
        facts = self._facts(record)
        try:
            return orjson.dumps(facts).decode()
        except TypeError:  # half of a surrogate pair, or an integer over 64 bits
            return json.dumps(facts, default=str)

    def _facts(self, record: logging.LogRecord) -> dict[str, object]:
        facts: dict[str, object] = {
            "at": _instant(record.created),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **facts_of(record),
        }
        if record.exc_info and not record.exc_text:
            record.exc_text = self.formatException(record.exc_info)
        if record.exc_text:
            facts["exception"] = record.exc_text
        return facts


def _instant(at_s: float) -> str:
    """Unix seconds as RFC 3339 has them, to the millisecond."""
    second, ms = divmod(int(at_s * 1000), 1000)
    return f"{_second(second)}.{ms:03d}+00:00"


@lru_cache(maxsize=4)
def _second(at_s: int) -> str:
    return datetime.fromtimestamp(at_s, UTC).strftime("%Y-%m-%dT%H:%M:%S")
