"""Takes secrets out of log records, whoever put them there. The second line of defence: the first is to log none.

Replaced are the secrets this process was configured with, and whatever looks like a credential: bearers, tokens of
managed clients, keys like OpenAI's, credential headers, passwords in URLs. In messages, arguments, extra fields
and exceptions alike.
"""

import json
import logging
import re
import traceback
from collections.abc import Iterable, Mapping
from typing import Any, Final
from urllib.parse import parse_qs, quote, quote_plus, unquote, urlsplit

import orjson

from proxy.server.observability.log_facts import change_facts, facts_of
from proxy.server.observability.secret_index import SecretIndex
from proxy.settings import Settings

REDACTED: Final = "[redacted]"

#: A configured secret shorter than this is no secret, and replacing it would make logs unreadable.
_SHORTEST: Final = 6

#: What one of the patterns below may match has one of these in it, in whatever case, also within JSON. Looking for
#: them is quicker than for the patterns, and one after another quicker than all at once (``request`` in bench).
_HINTS: Final = ("bearer", "authorization", "-key", "-token", "sk-", "pp-", "@")

_CREDENTIALS: Final = (
    (re.compile(r"(?i)\b(bearer\s+)[\w.~+/=-]{6,}"), rf"\1{REDACTED}"),
    (
        re.compile(
            r"(?i)\b((?:proxy-)?authorization|(?:x-)?api-key|x-admin-token)(\W{0,3}[:=,]\W{0,3}(?:b[\"'])?)"
            r"(?:basic\s+)?[^\s\"',;]{3,}"
        ),
        rf"\1\2{REDACTED}",
    ),
    (re.compile(r"(?<![A-Za-z0-9])pp-[a-z0-9]{4,16}-[\w-]{6,}"), REDACTED),
    (re.compile(r"(?<![A-Za-z0-9])sk-[\w-]{8,}"), REDACTED),
    (re.compile(r"(://[^\s:/@\"']*:)[^\s@\"']+@"), rf"\1{REDACTED}@"),
)

#: Nothing to find in these; a look at the type is quicker than a match.
_PLAIN: Final = frozenset({bool, int, float, type(None)})


class Redaction(logging.Filter):
    """Clears every record that passes the handler it is on.

    Args:
        secrets: to be replaced wherever they show.
    """

    def __init__(self, secrets: Iterable[str]) -> None:
        super().__init__()
        forms = {form for secret in secrets if len(secret) >= _SHORTEST for form in _forms(secret)}
        self._secrets = sorted(forms, key=len, reverse=True)
        self._in_json = SecretIndex({orjson.dumps(form.encode(errors="replace").decode())[1:-1] for form in forms})

    def filter(self, record: logging.LogRecord) -> bool:
        """Lets every record pass, without secrets. One that cannot be read comes out empty."""
        try:
            self._clear(record)
        except Exception:  # noqa: BLE001 - whatever an object's text does: raised here it would end a request
            _empty(record)
        return True

    def _clear(self, record: logging.LogRecord) -> None:
        if record.args or type(record.msg) is not str:
            record.msg, record.args = record.getMessage(), None
        if record.exc_info and not record.exc_text:
            record.exc_text = "".join(traceback.format_exception(*record.exc_info)).rstrip("\n")
        if record.exc_text:
            record.exc_text = self.cleared(record.exc_text)
        if record.stack_info:
            record.stack_info = self.cleared(record.stack_info)
        record.msg = self.cleared(record.msg)
        change_facts(record, {name: self._cleared_value(value) for name, value in facts_of(record).items()})

    def is_clear(self, line: str, packed: bytes) -> bool:
        """Whether JSON by orjson, which is both, certainly holds no secret: nearly always so, and told by one look."""
        return not _has_hint(line) and not self._in_json.may_be_in(packed)

    def cleared(self, text: str) -> str:
        """The text without secrets."""
        for secret in self._secrets:
            if secret in text:
                text = text.replace(secret, REDACTED)
        if _has_hint(text):
            for pattern, replacement in _CREDENTIALS:
                text = pattern.sub(replacement, text)
        return text

    def _cleared_value(self, value: Any) -> Any:
        """An extra field; what is no plain value becomes text, as the formatters would make it."""
        if type(value) in _PLAIN:
            return value
        if isinstance(value, str):
            return self.cleared(value)
        match value:
            case Mapping():
                return {self.cleared(str(name)): self._cleared_value(one) for name, one in value.items()}
            case list() | tuple() | set() | frozenset():
                return [self._cleared_value(one) for one in value]
            case bytes():
                return self.cleared(value.decode(errors="replace"))
        return self.cleared(str(value))


def secrets_of(settings: Settings) -> set[str]:
    """What the settings hold that must not show: Poe keys, and passwords of Redis and of outbound proxies.

    Of tokens this process knows digests only.
    """
    parts = urlsplit(settings.redis_url)
    written = parts.netloc.rpartition("@")[0].partition(":")[2]
    proxies = {proxy for proxy in (settings.outbound.https, settings.outbound.http) if proxy is not None}
    return {
        *(key.secret for key in settings.poe_api_keys),
        *(secret for proxy in proxies for secret in (proxy.password, proxy.authorization.removeprefix("Basic "))),
        *(written, unquote(written)),
        *parse_qs(parts.query).get("password", []),
    }


def _empty(record: logging.LogRecord) -> None:
    record.msg, record.args = "a log record could not be read", None
    record.exc_info = record.exc_text = record.stack_info = None
    change_facts(record, {})


def _has_hint(text: str) -> bool:
    """Whether a pattern may match."""
    lowered = text.lower()
    for hint in _HINTS:  # noqa: SIM110 - a generator for each line would take longer than the search
        if hint in lowered:
            return True
    return False


def _forms(secret: str) -> set[str]:
    """As it is, and as it looks within other text: quoted by Python (beside either quote), in JSON, in a URL."""
    return {
        secret,
        repr(secret)[1:-1],
        repr('"' + secret)[2:-1],
        json.dumps(secret)[1:-1],
        quote(secret, safe=""),
        quote_plus(secret),
    }
