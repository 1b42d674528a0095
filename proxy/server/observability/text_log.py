"""Log lines for people: one line each, aligned, with colour where it helps and the terminal can."""

import logging
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from proxy.server.observability.log_facts import facts_of

_RESET: Final = "\033[0m"
_DIM: Final = "\033[2m"
_GREEN: Final = "\033[32m"
_YELLOW: Final = "\033[33m"
_RED: Final = "\033[31m"
_LEVEL_COLOURS: Final = {"WARNING": _YELLOW, "ERROR": _RED, "CRITICAL": _RED}


class TextFormatter(logging.Formatter):
    """The time, the level and the message, then ``name=value`` for each fact; a call has a line of its own kind.

    Args:
        in_colour: whether to use ANSI colours.
    """

    def __init__(self, *, in_colour: bool) -> None:
        super().__init__()
        self._in_colour = in_colour

    def format(self, record: logging.LogRecord) -> str:
        at = datetime.fromtimestamp(record.created, UTC).astimezone().strftime("%H:%M:%S")
        extra = facts_of(record)
        told = self._call(extra) if _is_call(extra) else self._event(record, extra)
        level = self._painted(f"{record.levelname.lower():<7}", _LEVEL_COLOURS.get(record.levelname, ""))
        line = f"{self._painted(at, _DIM)} {level} {told}".rstrip()
        if record.exc_info and not record.exc_text:
            record.exc_text = self.formatException(record.exc_info)
        return f"{line}\n{record.exc_text}" if record.exc_text else line

    def _event(self, record: logging.LogRecord, extra: Mapping[str, Any]) -> str:
        facts = " ".join(f"{name}={shown(value)}" for name, value in extra.items() if value not in (None, "", []))
        return f"{record.getMessage()}  {self._painted(facts, _DIM)}"

    def _call(self, extra: Mapping[str, Any]) -> str:
        """``200 /chat/completions  GPT-5  alice  first 0.42 s  total 3.10 s  12 in  345 out  key 3fa1…``."""
        status = int(extra["status"])
        colour = _GREEN if status < 400 else _YELLOW if status < 500 else _RED
        columns = [
            self._painted(str(status), colour),
            f"{shown(extra.get('route', '')):<19}",
            f"{shown(extra.get('model') or '-'):<22}",
            f"{shown(extra.get('client') or '-'):<12}",
            f"first {_seconds(extra.get('first_text_ms'))}",
            f"total {_seconds(extra.get('duration_ms'))}",
            f"{_count(extra.get('prompt_tokens'))} in",
            f"{_count(extra.get('completion_tokens'))} out",
            " ".join(_attempt(attempt) for attempt in extra.get("attempts") or ()),
        ]
        outcome = "" if extra.get("outcome") == "answered" else self._painted(shown(extra.get("outcome")), colour)
        request_id = self._painted(shown(extra.get("request_id", "")), _DIM)
        return "  ".join(column for column in [*columns, outcome, request_id] if column)

    def _painted(self, text: str, colour: str) -> str:
        return f"{colour}{text}{_RESET}" if self._in_colour and colour and text else text


def shown(value: object) -> str:
    """A value as one word, or quoted: nobody forges a line or paints the terminal with a name of their choice."""
    text = str(value)
    return text if text.isprintable() and " " not in text else repr(text)


def _is_call(extra: Mapping[str, Any]) -> bool:
    return isinstance(extra.get("status"), int) and "duration_ms" in extra


def _seconds(milliseconds: int | None) -> str:
    return "      -" if milliseconds is None else f"{milliseconds / 1000:5.2f} s"


def _count(tokens: int | None) -> str:
    return f"{'-' if tokens is None else tokens:>6}"


def _attempt(attempt: Any) -> str:
    """Key id and outcome of one attempt; the outcome of one that was answered goes without saying."""
    key_id, outcome, _ = attempt
    return shown(key_id) if outcome == "answered" else f"{shown(key_id)}:{shown(outcome)}"
