"""No secret gets out of a log record, wherever somebody put it and whichever form it took there."""

import json
import logging
import string
import sys
from collections.abc import Callable, Iterator
from typing import Any, Final
from urllib.parse import quote

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from proxy.server.observability.log_facts import FactsRecord
from proxy.server.observability.logs import JsonFormatter
from proxy.server.observability.redaction import REDACTED, Redaction, secrets_of
from proxy.server.observability.text_log import TextFormatter
from tests.support.serving import make_settings

KEY: Final = "p03-k3y-8f2c61a7"
#: Beside JSON's, which redacts by itself.
FORMATTERS: Final[list[logging.Formatter]] = [TextFormatter(in_colour=False), logging.Formatter()]

Put = Callable[[str], logging.LogRecord]


class Thing:
    """An object whose text is known only when it is asked for."""

    def __init__(self, words: str) -> None:
        self.words = words

    def __str__(self) -> str:
        return self.words


def record(message: str, *arguments: object, error: Exception | None = None, **extra: object) -> logging.LogRecord:
    made = logging.LogRecord("proxy.test", logging.ERROR, "x.py", 1, message, arguments, None)
    if error is not None:
        try:
            raise error  # noqa: TRY301 - a traceback is what this is about
        except Exception:  # noqa: BLE001 - any
            made.exc_info = sys.exc_info()
    made.__dict__.update(extra)
    return made


def chained(words: str) -> Exception:
    error = ValueError("outer")
    error.__cause__ = RuntimeError(words)
    error.add_note(words)
    return error


#: Ways to put words into a record.
PLACES: Final[dict[str, Put]] = {
    "message": record,
    "argument": lambda words: record("it was %s", words),
    "quoted argument": lambda words: record("it was %r", words),
    "mapping argument": lambda words: record("it was %(it)s", {"it": words}),
    "object argument": lambda words: record("it was %s", Thing(words)),
    "extra": lambda words: record("x", reason=words),
    "extra list": lambda words: record("x", attempts=[("id", words, 3)]),
    "extra mapping": lambda words: record("x", headers={"a": {"b": [words]}, words: 1}),
    "extra bytes": lambda words: record("x", body=words.encode()),
    "extra object": lambda words: record("x", thing=Thing(words)),
    "extra in JSON": lambda words: record("x", body=json.dumps({"key": words})),
    "extra in a URL": lambda words: record("x", url=f"https://h/?key={quote(words, safe='')}"),
    "exception": lambda words: record("x", error=ValueError(words)),
    "exception's cause": lambda words: record("x", error=chained(words)),
    "exception as extra": lambda words: record("x", error_was=ValueError(words)),
    "message beside facts": lambda words: FactsRecord("proxy.test", words, {"status": 200}, at=1.5),
    "fact": lambda words: FactsRecord("proxy.test", "x", {"model": words}, at=1.5),
    "fact in a list": lambda words: FactsRecord("proxy.test", "x", {"attempts": [("id", words, 3)]}, at=1.5),
}


def lines(redaction: Redaction, make: Callable[[], logging.LogRecord]) -> Iterator[str]:
    """What each formatter makes of a record; JSON's first."""
    yield JsonFormatter(redaction).format(make())
    for formatter in FORMATTERS:
        one = make()
        assert redaction.filter(one)
        yield formatter.format(one)


secrets = st.text(string.ascii_letters + string.digits + "-_./+=%\"'\\$:", min_size=6, max_size=40)
surroundings = st.text(st.characters(codec="utf-8"), max_size=12)


@pytest.mark.parametrize("place", PLACES)
@given(secret=secrets, before=surroundings, after=surroundings)
def test_a_configured_secret_never_comes_out(place: str, secret: str, before: str, after: str) -> None:
    """And what comes out is still one JSON object a line."""
    assume(secret not in before + after and secret not in REDACTED)
    words = f"{before}{secret}{after}"
    assume(words.count(secret) == 1)
    harmless = [*lines(Redaction([]), lambda: PLACES[place]("-"))]
    assume(not any(secret in line for line in harmless))  # such as "logger", which every line has
    in_json, *texts = lines(Redaction([secret]), lambda: PLACES[place](words))

    unescaped = json.dumps(json.loads(in_json), ensure_ascii=False)
    assert REDACTED in in_json
    for line in (in_json, *texts):
        assert secret not in line
    assert json.dumps(secret)[1:-1] not in unescaped
    assert "\n" not in in_json


@pytest.mark.parametrize("place", [place for place in PLACES if place != "extra in a URL"])
@pytest.mark.parametrize(
    ("words", "secret"),
    [
        ("Authorization: Bearer abc.DEF-123_x", "abc.DEF"),
        ("{'authorization': 'Bearer abcdef123'}", "abcdef123"),
        ("bearer   abcdef123", "abcdef123"),
        ("authorization: Basic dXNlcjpwYXNz", "dXNlcjpwYXNz"),
        ("x-api-key: s3cr3t!", "s3cr3t"),
        ("('api-key', b's3cr3t')", "s3cr3t"),
        ("X-Admin-Token=s3cr3t", "s3cr3t"),
        ("token pp-ab12cd34-Zz9_-xYz0123456789ab was refused", "Zz9_"),
        ("pp-ab12cd34-Zz9_-xYz0123456789ab", "Zz9_"),
        ("key sk-proj-abcDEF0123456789", "abcDEF"),
        ("redis://:pa55@redis:6379/0", "pa55"),
        ("rediss://user:pa55@redis:6379/0", "pa55"),
    ],
    ids=str,
)
def test_what_looks_like_a_credential_never_comes_out(place: str, words: str, secret: str) -> None:
    """Tokens of clients are kept as digests only, so they are known by their looks."""
    in_json, *texts = lines(Redaction([]), lambda: PLACES[place](words))

    assert [line for line in (in_json, *texts) if secret in line] == []
    assert REDACTED in in_json


@pytest.mark.parametrize(
    "words",
    [
        "redis is away",
        "cool account for 5.0 s",
        "a worker died and is replaced",
        "the bearer of bad news",
        "disk-usage-report task-12345678-x app-name-and-more",
        "https://api.poe.com:443/bot/GPT-5",
        "x-api-key is missing",
        "mail me@example.org",
    ],
)
def test_other_words_stay(words: str) -> None:
    cleared = record(
        words, key_id="3fa1c09be211", attempts=[("3fa1c09be211", "answered", 12)], status=200, at=1.5, none=None
    )
    Redaction([KEY]).filter(cleared)

    assert cleared.getMessage() == words
    assert cleared.__dict__["key_id"] == "3fa1c09be211"
    assert [*map(list, cleared.__dict__["attempts"])] == [["3fa1c09be211", "answered", 12]]
    assert (cleared.__dict__["status"], cleared.__dict__["at"], cleared.__dict__["none"]) == (200, 1.5, None)


def test_a_word_too_short_to_be_a_secret_stays() -> None:
    """A Redis with the password ``redis`` would otherwise be unnamed in every line."""
    cleared = record("redis is away")
    Redaction(["redis"]).filter(cleared)

    assert cleared.getMessage() == "redis is away"


class Broken:
    """An object that has no text."""

    def __str__(self) -> str:
        raise RuntimeError(KEY)


@pytest.mark.parametrize(
    "make",
    [
        lambda: record("%d", KEY),
        lambda: record("x", thing=Broken()),
        lambda: record("%s %s", KEY),
        lambda: FactsRecord("proxy.test", KEY, {"thing": Broken()}, at=1.5),
    ],
    ids=range(4),
)
def test_a_record_that_cannot_be_read_harms_nobody(make: Callable[[], logging.LogRecord]) -> None:
    """Raised in a filter, the error would end the request that logged."""
    for line in lines(Redaction([KEY]), make):
        assert "a log record could not be read" in line
        assert KEY not in line


@pytest.mark.parametrize(
    ("redis_url", "secrets"),
    [
        ("redis://:pass%2Fword@h:6379", {"pass%2Fword", "pass/word"}),
        ("rediss://user:password@h", {"password"}),
        ("redis+sentinel://:password@h1:1,h2:2/name", {"password"}),
        ("unix:///run/redis.sock?password=pass%2Fword", {"pass/word"}),
        ("embedded", set()),
    ],
)
def test_the_secrets_of_the_settings_are_keys_and_redis_passwords(redis_url: str, secrets: set[str]) -> None:
    settings = make_settings(poe_api_keys=f"work:{KEY},other-key", redis_url=redis_url)

    assert secrets_of(settings) - {""} == {KEY, "other-key", *secrets}


def test_credentials_of_an_outbound_proxy_are_secrets_too() -> None:
    """The password, and the header that has it."""
    settings = make_settings(poe_api_keys=KEY, https_proxy="http://wanda:pass%2Fword@proxy:3128")
    proxy = settings.https_proxy

    assert proxy is not None
    assert secrets_of(settings) - {""} == {KEY, "pass/word", proxy.authorization.partition(" ")[2]}


def test_every_handler_of_a_process_has_the_filter(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As ``configure_logs`` leaves it, for loggers of libraries too."""
    from proxy.server.observability.logs import configure_logs  # noqa: PLC0415

    root = logging.getLogger()
    monkeypatch.setattr(root, "handlers", [])
    level = root.level
    configure_logs(make_settings(poe_api_keys=KEY))
    try:
        logging.getLogger("aiohttp.client").error(
            "failed with %s", KEY, extra={"headers": {"Authorization": f"Bearer {KEY}"}}
        )
    finally:
        root.setLevel(level)
    told: dict[str, Any] = json.loads(capsys.readouterr().err)

    assert told["message"] == f"failed with {REDACTED}"
    assert told["headers"] == {"Authorization": f"Bearer {REDACTED}"}
