"""Log lines: JSON for machines, plain text for a terminal, on standard error."""

import logging
import sys
from datetime import UTC, datetime
from typing import Final, Literal

import orjson

_STANDARD: Final = frozenset(logging.LogRecord("", 0, "", 0, "", None, None).__dict__) | {"message", "taskName"}
#: Loggers whose information is noise to an operator.
_QUIET: Final = ("sanic.root", "sanic.server", "sanic.access", "sanic.error", "asyncio", "aiohttp", "httpx")


def configure_logs(log_format: Literal["auto", "json", "text"], level: str) -> None:
    """Sets up the root logger of this process; replaces what was there."""
    as_text = log_format == "text" or (log_format == "auto" and sys.stderr.isatty())
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_TextFormatter() if as_text else _JsonFormatter())
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level.upper())
    for name in _QUIET:
        logger = logging.getLogger(name)
        logger.handlers = []
        logger.propagate = True
        logger.setLevel(max(logging.WARNING, root.level))


def _extra(record: logging.LogRecord) -> dict[str, object]:
    return {name: value for name, value in record.__dict__.items() if name not in _STANDARD}


class _JsonFormatter(logging.Formatter):
    """One object a line: ``at``, ``level``, ``logger``, ``message``, then the record's own facts."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, object] = {
            "at": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **_extra(record),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return orjson.dumps(line, default=str).decode()


class _TextFormatter(logging.Formatter):
    """One line: the time, the level, the message, then ``name=value`` for each fact."""

    def format(self, record: logging.LogRecord) -> str:
        at = datetime.fromtimestamp(record.created, UTC).astimezone().strftime("%H:%M:%S")
        facts = " ".join(
            f"{name}={_shown(value)}" for name, value in _extra(record).items() if value not in (None, "", [])
        )
        line = f"{at} {record.levelname:<7} {record.getMessage()}  {facts}".rstrip()
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line


def _shown(value: object) -> str:
    """A value as one word, or quoted: nobody forges a line or paints the terminal with a name of their choice."""
    text = str(value)
    return text if text.isprintable() and " " not in text else repr(value)
