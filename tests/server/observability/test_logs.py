"""What the log tells of a call: one JSON object, or one line that a person can read."""

import json
import logging
import os
import pty
import re
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any, Final

import httpx
import pytest

from proxy.core.failures import InvalidToken
from proxy.credentials import fingerprint
from proxy.server.observability.log_facts import FactsRecord, facts_of
from proxy.server.observability.logs import JsonFormatter
from proxy.server.observability.redaction import Redaction
from proxy.server.observability.refusal_log import LINES, RefusalLog
from proxy.server.observability.text_log import TextFormatter
from proxy.settings import Settings
from tests.support.scripted_poe import DONE, Reply, ScriptedPoe, echo, failure, text
from tests.support.serving import KEYS, TOKEN, http, serving
from tests.support.waiting import wait_until

CHAT: Final[dict[str, Any]] = {"model": "Echo", "messages": [{"role": "user", "content": "a private thought"}]}

#: What is known of every call, in the order of its line.
FIELDS: Final = (
    *("at", "level", "logger", "message", "request_id", "route", "client", "model", "stream", "status", "outcome"),
    *(
        "first_text_ms",
        "duration_ms",
        "prompt_tokens",
        "completion_tokens",
        "reasoning_tokens",
        "waited_ms",
        "upstream",
        "attempts",
    ),
)


class Kept(logging.Handler):
    """Keeps records, cleared as the real handler has them."""

    def __init__(self) -> None:
        super().__init__()
        self.addFilter(Redaction(KEYS))
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)


@pytest.fixture(name="kept")
def _kept() -> Iterator[Kept]:
    """The records of calls."""
    kept = Kept()
    logger = logging.getLogger("proxy.request")
    logger.addHandler(kept)
    logger.setLevel(logging.INFO)
    yield kept
    logger.setLevel(logging.NOTSET)
    logger.removeHandler(kept)


async def line_of(kept: Kept) -> dict[str, Any]:
    """The one call's line, as JSON has it."""
    await wait_until(lambda: bool(kept.records), "the call is logged", within_s=5)
    [record] = kept.records
    line: dict[str, Any] = json.loads(JsonFormatter(Redaction(KEYS)).format(record))
    return line


def event(message: str = "key is %s", *arguments: object, **extra: object) -> logging.LogRecord:
    record = logging.LogRecord("proxy.keypool.pool", logging.WARNING, "x.py", 1, message, arguments, None)
    record.__dict__.update(extra)
    return record


def call(**changes: object) -> logging.LogRecord:
    """A call's record."""
    facts = {
        "request_id": "req_1",
        "route": "/chat/completions",
        "client": "alice",
        "model": "GPT-5",
        "stream": True,
        "status": 200,
        "outcome": "answered",
        "first_text_ms": 420,
        "duration_ms": 3100,
        "prompt_tokens": 12,
        "completion_tokens": 345,
        "reasoning_tokens": 0,
        "waited_ms": 1,
        "upstream": "bot",
        "attempts": [["3fa1c09be211", "answered", 3100]],
    }
    record = logging.LogRecord("proxy.request", logging.INFO, "x.py", 1, "%s", ("/v1/chat/completions",), None)
    record.__dict__.update({**facts, **changes})
    return record


async def test_a_call_leaves_one_line_with_all_there_is_to_know(
    raw: httpx.AsyncClient, kept: Kept, poe: ScriptedPoe
) -> None:
    """And not a word of what was said."""
    poe.script = lambda _: (
        failure(429, retry_after="60")
        if len(poe.queries) == 1
        else Reply([text("*Thinking...*\n\n> Thoughts.\n\nAn answer of some words"), DONE])
    )
    answer = (await raw.post("/v1/chat/completions", json=CHAT, headers={"x-request-id": "mine"})).json()
    line = await line_of(kept)

    assert tuple(line) == FIELDS
    used = [fingerprint(key) for key in poe.keys_used()]
    assert [(key_id, outcome.partition(":")[0]) for key_id, outcome, _ in line["attempts"]] == [
        (used[0], "rate_limit_exceeded"),
        (used[1], "answered"),
    ]
    usage = answer["usage"]
    assert (line["prompt_tokens"], line["completion_tokens"]) == (usage["prompt_tokens"], usage["completion_tokens"])
    assert line["reasoning_tokens"] == usage["completion_tokens_details"]["reasoning_tokens"] > 0
    assert (line["request_id"], line["client"], line["model"], line["status"]) == ("mine", "tester", "Echo", 200)
    assert (line["outcome"], line["stream"], line["level"]) == ("answered", False, "info")
    assert 0 <= line["first_text_ms"] <= line["duration_ms"]
    assert [word for word in ("private", "Thoughts", "answer of", *KEYS) if word in json.dumps(line)] == []


async def test_a_failed_call_leaves_one_too(raw: httpx.AsyncClient, kept: Kept, poe: ScriptedPoe) -> None:
    poe.script = lambda _: failure(404)
    await raw.post("/v1/chat/completions", json={**CHAT, "stream": True})
    line = await line_of(kept)

    assert (line["status"], line["outcome"], line["stream"]) == (404, "model_not_found", True)
    assert (line["first_text_ms"], line["prompt_tokens"]) == (None, None)


def lines_of(kept: Kept) -> list[dict[str, Any]]:
    """All lines so far, as JSON has them."""
    return [json.loads(JsonFormatter(Redaction(KEYS)).format(record)) for record in kept.records]


async def test_a_refusal_before_a_model_is_known_leaves_one_too(settings: Settings, kept: Kept) -> None:
    """A stranger, a managed client without Redis, a body that is none, and no room for a body."""
    settings = settings.model_copy(update={"redis_url": "redis://127.0.0.1:9/0", "max_bodies_bytes": 5_000})
    refused: dict[str, tuple[str | None, dict[str, Any]]] = {
        "invalid_api_key": ("a-wrong-token", CHAT),
        "store_unavailable": (f"pp-{'a' * 8}-{'b' * 32}", CHAT),
        "invalid_value": (TOKEN, {**CHAT, "messages": "none"}),
        "too_many_large_requests": (TOKEN, {**CHAT, "user": "x" * 6_000}),
    }
    async with serving(settings) as base_url:
        for token, body in refused.values():
            async with http(base_url, token) as raw:
                await raw.post("/v1/chat/completions", json=body, headers={"x-request-id": "mine"})
    lines = lines_of(kept)

    assert [line["outcome"] for line in lines] == list(refused)
    assert [line["status"] for line in lines] == [401, 503, 400, 503]
    assert [line["client"] for line in lines] == [None, None, "tester", "tester"]
    assert {(line["route"], line["request_id"], line["logger"]) for line in lines} == {
        ("/chat/completions", "mine", "proxy.request")
    }
    assert [word for word in ("private", "a-wrong-token", "bbbb") if word in json.dumps(lines)] == []


async def test_a_flood_of_refusals_leaves_few_lines_and_hides_no_other_kind(proxy: str, kept: Kept) -> None:
    async with http(proxy, "a-wrong-token") as stranger, http(proxy) as raw:
        for _ in range(LINES + 5):
            await stranger.post("/v1/chat/completions", json=CHAT)
            await stranger.post("/v1/no/such/url", json=CHAT)
        await raw.post("/v1/chat/completions", json={**CHAT, "messages": "none"})

    assert [line["outcome"] for line in lines_of(kept)] == ["invalid_api_key"] * LINES + ["invalid_value"]


def test_the_next_line_says_how_many_were_left_out(kept: Kept) -> None:
    now = 0.0
    log = RefusalLog(clock=lambda: now)
    route = SimpleNamespace(path="v1/usage")
    request: Any = SimpleNamespace(route=route, ctx=SimpleNamespace(), stream=None, path="/v1/usage", headers={})
    for _ in range(LINES + 5):
        log.note(request, InvalidToken())
    now = 61.0
    for _ in range(2):
        log.note(request, InvalidToken())

    assert len(kept.records) == LINES + 2
    assert [line.get("left_out") for line in lines_of(kept)[-3:]] == [None, 5, None]


def test_bodies_cannot_be_logged() -> None:
    """There is no setting for it, whatever it is called."""
    assert [name for name in Settings.model_fields if "bod" in name and "log" in name] == []


async def test_no_body_is_logged_at_the_most_talkative_level(
    raw: httpx.AsyncClient, poe: ScriptedPoe, caplog: pytest.LogCaptureFixture
) -> None:
    poe.script = echo
    with caplog.at_level(logging.DEBUG):
        await raw.post("/v1/chat/completions", json=CHAT)
        await wait_until(lambda: any(one.name == "proxy.request" for one in caplog.records), "the call is in the log")

    told = [
        JsonFormatter(Redaction(KEYS)).format(record) for record in caplog.records if record.name.startswith("proxy")
    ]
    assert told
    assert [line for line in told if "a private thought" in line] == []


@pytest.mark.parametrize("value", ["\ud800", 2**70, object()], ids=["half a pair", "a large number", "an object"])
def test_whatever_is_logged_is_json(value: object) -> None:
    assert json.loads(JsonFormatter(Redaction(KEYS)).format(event("x", value=value)))["message"] == "x"


def test_what_is_known_apart_is_logged_like_any_other_fact() -> None:
    """A call's line is a record of another kind: quicker to make, and the same to read."""
    usual = call()
    apart = FactsRecord(usual.name, usual.getMessage(), facts_of(usual), at=usual.created)

    for formatter in (JsonFormatter(Redaction([])), TextFormatter(in_colour=False)):
        assert formatter.format(apart) == formatter.format(usual)


@pytest.mark.parametrize("at", [0.0, 1.9999, 1_764_470_000.0, 1_764_470_000.0005, 1_764_470_000.9996])
def test_a_line_says_when_to_the_millisecond(at: float) -> None:
    said = json.loads(JsonFormatter(Redaction([])).format(FactsRecord("x", "x", {}, at=at)))["at"]

    assert datetime.fromisoformat(said) == datetime.fromtimestamp(int(at * 1000) / 1000, UTC)
    assert len(said) == len("2026-11-30T02:34:35.056+00:00")


def test_calls_are_aligned_for_people() -> None:
    """Columns stand below one another, whatever is in them."""
    formatter = TextFormatter(in_colour=False)
    lines = [
        formatter.format(call()),
        formatter.format(
            call(status=502, outcome="upstream_error", first_text_ms=None, prompt_tokens=None, completion_tokens=None)
        ),
        formatter.format(call(model="Claude-Opus-4.6", client="bob", route="/completions", duration_ms=61_000)),
    ]

    assert re.fullmatch(
        r"\d\d:\d\d:\d\d info    200  /chat/completions    GPT-5                   alice         first  0.42 s  "
        r"total  3.10 s      12 in     345 out  3fa1c09be211  req_1",
        lines[0],
    )
    assert [line.index("total") for line in lines] == [lines[0].index("total")] * 3
    assert [line.index(" out") for line in lines] == [lines[0].index(" out")] * 3
    assert lines[1].endswith("3fa1c09be211  upstream_error  req_1")


def test_a_failed_attempt_is_named_for_people() -> None:
    attempts = [["aaaa", "rate_limit_exceeded: slow down", 5], ["bbbb", "answered", 9]]

    assert "aaaa:'rate_limit_exceeded: slow down' bbbb" in TextFormatter(in_colour=False).format(
        call(attempts=attempts)
    )


def test_other_events_tell_their_facts() -> None:
    line = TextFormatter(in_colour=False).format(event("key is %s", "retired", key_id="3fa1", points=0, reason=None))

    assert line[9:] == "warning key is retired  key_id=3fa1 points=0"


@pytest.mark.parametrize("field", ["client", "model", "route", "request_id", "outcome"])
def test_nobody_forges_a_line_or_paints_the_terminal(field: str) -> None:
    """Names come from callers."""
    line = TextFormatter(in_colour=False).format(call(**{field: "a\n12:00:00 \033[31mforged"}))

    assert "\n" not in line
    assert "\033" not in line


@pytest.mark.parametrize(
    ("status", "colour"), [(200, "32"), (404, "33"), (429, "33"), (499, "33"), (500, "31"), (504, "31")]
)
def test_the_colour_tells_how_it_ended(status: int, colour: str) -> None:
    assert f"\033[{colour}m{status}\033[0m" in TextFormatter(in_colour=True).format(call(status=status))


def test_without_colours_nothing_else_changes() -> None:
    """The same text, so that what is copied from a terminal is what a file has."""
    painted = TextFormatter(in_colour=True).format(call())
    plain = TextFormatter(in_colour=False).format(call())

    assert painted != plain
    assert re.sub(r"\033\[\d+m", "", painted) == plain


def program(log_format: str) -> list[str]:
    """A process that logs one line with this LOG_FORMAT."""
    source = (
        "import logging\nfrom proxy.settings import Settings\n"
        "from proxy.server.observability.logs import configure_logs\n"
        f"configure_logs(Settings(log_format={log_format!r}))\nlogging.getLogger('proxy').warning('hello')"
    )
    return [sys.executable, "-c", source]


def told_on_a_terminal(log_format: str, **environment: str) -> str:
    """What it writes when its standard error is a terminal."""
    ours, theirs = pty.openpty()
    clean = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "TERM")}
    subprocess.run(program(log_format), stderr=theirs, env={**clean, **environment}, check=True)
    os.close(theirs)
    told = os.read(ours, 10_000).decode()
    os.close(ours)
    return told


def test_a_terminal_gets_colours() -> None:
    assert "\033[33mwarning\033[0m hello" in told_on_a_terminal("auto")


@pytest.mark.parametrize("environment", [{"NO_COLOR": "1"}, {"TERM": "dumb"}], ids=str)
def test_unless_it_does_not_want_them(environment: dict[str, str]) -> None:
    """https://no-color.org."""
    told = told_on_a_terminal("auto", **environment)

    assert "warning hello" in told
    assert "\033" not in told


def test_an_empty_no_color_means_nothing() -> None:
    """As no-color.org has it."""
    assert "\033[33m" in told_on_a_terminal("text", NO_COLOR="")


def test_text_in_a_file_has_no_colours() -> None:
    told = subprocess.run(program("text"), capture_output=True, text=True, check=True).stderr

    assert told[9:] == "warning hello\n"


def test_json_is_json_on_a_terminal_too() -> None:
    assert json.loads(told_on_a_terminal("json"))["message"] == "hello"
