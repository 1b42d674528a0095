"""What a caller reads of Poe's own words, and what never gets through."""

import asyncio
import contextlib
import json
import re
from collections.abc import Callable
from typing import Any, Final

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core import failures
from proxy.core.failures import PoeError
from proxy.settings import Settings
from proxy.upstreams.poe.faults import fault_of_event, fault_of_response
from proxy.upstreams.poe.unreached import Dropped, PoeUnreachable
from tests.support.scripted_poe import META, Reply, ScriptedPoe, error_event, event, failure
from tests.support.serving import KEYS, http, serving

KEY = "sk-poe-0123456789abcdefghij"
TOO_LONG = "This model's maximum context length is exceeded. Please reduce the length of the messages."
#: Zero-width characters, a joiner, a variation selector, fillers: some of them count as printable.
UNSEEN = ("\u200b", "\u200d", "\ufeff", "\u2060", "\u034f", "\ufe0f", "\u3164", "\u115f")
#: Words by which pi and other agents know that trying again may help.
RETRIED = re.compile(r"connection.?lost|connection.?error|timed? out|server.?error|terminated", re.IGNORECASE)


def of_body(words: object, *, status: int = 400, key: str = KEY, **more: str) -> PoeError:
    """The fault of a JSON error body."""
    return fault_of_response(status, {}, json.dumps({"error": {"message": words, **more}}).encode(), key=key)


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (of_body("Unsupported file: x.xyz"), "Unsupported file: x.xyz (said by Poe)"),
        (of_body("Pick another size.", status=422), "Pick another size. (said by Poe)"),
        (of_body("Blocked by moderation.", status=403), "Blocked by moderation. (said by Poe)"),
        (fault_of_event("user_caused_error", "Unsupported file"), "Unsupported file (said by the bot)"),
        (
            fault_of_event("privacy_authorization_error", "Open the bot once and agree."),
            "Open the bot once and agree. (said by the bot)",
        ),
        (
            fault_of_event("privacy_authorization_error", ""),
            "This model needs an authorization that the Poe account has not given.",
        ),
        (fault_of_event("user_message_too_long", ""), TOO_LONG),
        (of_body("", status=413), TOO_LONG),
        (
            of_body("prompt is too long: 12 tokens > 10 maximum"),
            f"{TOO_LONG} (Poe: prompt is too long: 12 tokens > 10 maximum)",
        ),
        (fault_of_event("", "Input too long"), f"{TOO_LONG} (the bot: Input too long)"),
        (of_body("a\r\nb\u202e\x1b[31m\u2028c\x00"), "a b[31m c (said by Poe)"),
    ],
)
def test_the_callers_own_fault_comes_with_the_words(error: PoeError, message: str) -> None:
    assert error.message == message
    assert error.blame is failures.Blame.CALLER


@pytest.mark.parametrize(
    "error",
    [
        of_body("", status=400),
        of_body(["not", "words"]),
        of_body({"nested": "x"}),
        of_body(f"Your key {KEY} may not do this."),
        of_body(f"Your key {KEY[:9]}*** may not do this."),
        of_body(f"Your key ***{KEY[-8:]} may not do this."),
        of_body("Your key " + " ".join(KEY) + " may not do this."),
        *(of_body(f"Unsupported value {mark.join(KEY)}.") for mark in UNSEEN),
        of_body(f"Unsupported value {KEY[:5]}\u200b\u034f {KEY[5:9]}***."),
        of_body("short k is a key", key="short"),
        of_body("\x00\x01\x02"),
        fault_of_response(400, {}, b"<html><title>Bad request</title></html>", key=KEY),
        fault_of_response(403, {}, b"plain text of somebody", key=KEY),
        fault_of_response(400, {}, json.dumps({"detail": [{"msg": "field required"}]}).encode(), key=KEY),
    ],
)
def test_without_words_of_poes_or_with_a_quoted_key_the_message_is_ours(error: PoeError) -> None:
    assert error.message == type(error).default_message


@pytest.mark.parametrize("status", [401, 402, 404, 429, 500, 503])
def test_what_is_no_fault_of_the_callers_is_told_in_our_words(status: int) -> None:
    """The account and its points are nobody's business, and a 5xx may be a page of anything."""
    error = of_body("Account of jane@example.org", status=status)

    assert error.message == type(error).default_message


#: Hypothesis takes a tenth of a second to make up a text so long.
LONG: Final = st.text("a \u202e\n", min_size=1, max_size=50).map(lambda words: words * (12_000 // len(words)))


@given(words=st.text(max_size=2_000) | LONG)
def test_the_words_are_one_bounded_printable_line(words: str) -> None:
    for error in (of_body(words), fault_of_event("user_caused_error", words)):
        assert error.message.isprintable()
        assert len(error.message) <= 560


@pytest.mark.parametrize(
    "kind", [failures.StreamCut, Dropped, failures.PoeTimeout, failures.PoeFailed, failures.Draining, PoeUnreachable]
)
def test_what_may_be_tried_again_says_so_in_words_that_are_known(kind: Callable[[], failures.ProxyError]) -> None:
    error = kind()

    assert RETRIED.search(error.message)
    assert "server error" in error.message


def test_a_prompt_that_is_too_long_has_words_that_agents_compact_by() -> None:
    message = failures.PromptTooLong().message

    assert "maximum context length" in message
    assert "reduce the length of the messages" in message


WORDS = "Unsupported file: only .png, it was .xyz"


@pytest.mark.parametrize(
    "reply",
    [failure(400, {"message": WORDS}), error_event(WORDS, error_type="user_caused_error")],
    ids=["status", "event"],
)
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
async def test_the_words_reach_the_client_and_no_log(
    raw: httpx.AsyncClient, poe: ScriptedPoe, capsys: pytest.CaptureFixture[str], reply: Reply, stream: bool
) -> None:
    poe.script = lambda _: reply
    body = {"model": "Echo", "messages": [{"role": "user", "content": "hi"}], "stream": stream}
    response = await raw.post("/v1/chat/completions", json=body)

    error = response.json()["error"]
    assert response.status_code == 400
    assert error["message"].startswith(WORDS)
    assert error["code"] == "invalid_value"
    assert len(poe.queries) == 1
    if reply.status == 200:  # a bot's author may quote the conversation there
        await asyncio.sleep(0.3)
        assert WORDS not in capsys.readouterr().err


async def test_the_words_come_as_an_event_once_the_stream_is_open(settings: Settings, poe: ScriptedPoe) -> None:
    go_on = asyncio.Event()
    failed = event("error", {"text": f"{WORDS} with {KEYS[0][:8]}", "error_type": "user_caused_error"})
    poe.script = lambda _: Reply([META, go_on, failed])
    body: dict[str, Any] = {"model": "Echo", "messages": [{"role": "user", "content": "hi"}], "stream": True}
    async with (
        serving(settings.model_copy(update={"commit_hold_s": 0.1, "heartbeat_s": 0.1})) as url,
        http(url) as client,
        client.stream("POST", "/v1/chat/completions", json=body) as response,
    ):
        lines = []
        with contextlib.suppress(httpx.RemoteProtocolError):  # the body breaks off after the event
            async for line in response.aiter_lines():
                lines.append(line)
                go_on.set()

    [error] = [json.loads(line[6:])["error"] for line in lines if '"error"' in line]
    assert error["message"] == failures.RefusedByBot.default_message, "it quotes the key"
    assert "data: [DONE]" not in lines
